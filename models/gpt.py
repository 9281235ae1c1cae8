"""GPT: a decoder-only transformer that predicts the next token. Read it from top to bottom.

The pre-norm architecture of GPT-2 (Radford et al. 2019): the decoder of Vaswani et al. 2017 without cross-attention.
Shapes: B batch, T target time (new tokens), S source time (all tokens), C channels, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from models.sampling import check, choose


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT. Raises ValueError for sizes that do not fit together."""

    vocab_size: int
    block_size: int = 64  # the longest context, in tokens
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd={self.n_embd} must be divisible by n_head={self.n_head}: heads share the channels"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")


Cache = list[tuple[mg.Tensor, mg.Tensor]]  # per layer: the keys and the values of all tokens so far, (B, H, S, D)


class CausalSelfAttention(nn.Module):
    """Each token looks at itself and the tokens before it: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.dropout = config.dropout
        self.query = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.key = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.value = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.output = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.output_dropout = nn.Dropout(config.dropout)

    def forward(self, x: mg.Tensor, cache: Cache | None = None, layer: int = 0) -> mg.Tensor:
        B, T, C = x.shape
        query = self.split_heads(self.query(x))  # (B, H, T, D)
        key = self.split_heads(self.key(x))
        value = self.split_heads(self.value(x))
        past = 0
        if cache is not None:
            if layer < len(cache):
                past = cache[layer][0].shape[2]
                key = mg.cat([cache[layer][0], key], dim=2)  # (B, H, S, D), S = past + T
                value = mg.cat([cache[layer][1], value], dim=2)
                cache[layer] = key, value
            else:
                cache.append((key, value))
        # Query t stands at position past + t and may look at positions 0 ... past + t.
        allowed = None if past == 0 else mg.ones(T, past + T, dtype=mg.bool).tril(past)
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0, is_causal=past == 0
        )  # (B, H, T, D)
        out = out.transpose(1, 2).reshape(B, T, C)
        return self.output_dropout(self.output(out))

    def split_heads(self, x: mg.Tensor) -> mg.Tensor:
        B, T, C = x.shape
        return x.view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, D)


class MLP(nn.Module):
    """Each token on its own, through a hidden layer four times as wide: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU(approximate="tanh")
        self.contract = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.dropout(self.contract(self.gelu(self.expand(x))))


class Block(nn.Module):
    """Communicate, then compute; each adds to the stream it read from."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = CausalSelfAttention(config)
        self.mlp_norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: mg.Tensor, cache: Cache | None = None, layer: int = 0) -> mg.Tensor:
        x = x + self.attention(self.attention_norm(x), cache, layer)
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    """Tokens to logits for the next token at every position: (B, T) -> (B, T, V)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self.init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "mlp.contract.weight")):
                # The stream is a sum of 2 n_layer branches: start each smaller, so that the sum has the usual size.
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layer))
        self.head.weight = self.token_embedding.weight  # tied: a token's row is what it is and what predicts it

    @staticmethod
    def init_weights(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self, ids: mg.Tensor, targets: mg.Tensor | None = None, cache: Cache | None = None
    ) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Logits (B, T, V), and the mean cross-entropy in nats per token if targets (B, T) are given.

        With a cache (start with an empty list), ids are the tokens that follow those already seen.
        """
        past = cache[0][0].shape[2] if cache else 0
        T = ids.shape[1]
        if past + T > self.config.block_size:
            raise ValueError(f"{past + T} tokens do not fit into the context of {self.config.block_size}")
        positions = mg.arange(past, past + T)  # (T,)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(positions))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        logits = self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, self.config.vocab_size), targets.view(-1))

    @mg.no_grad()
    def generate(
        self,
        ids: mg.Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: mg.Generator | None = None,
        use_cache: bool = True,
    ) -> mg.Tensor:
        """Continue ids (B, T) by drawing one token after another: (B, T + max_new_tokens).

        ``models.sampling.choose`` explains the settings. Past the context length only the last ``block_size`` tokens
        are seen; their positions move with each step, so from there on the cache is of no use.
        """
        check(temperature, top_k, top_p)
        if ids.shape[1] == 0:
            raise ValueError("generate needs at least one token to start from")
        was_training = self.training
        self.eval()
        cache: Cache = []
        for _ in range(max_new_tokens):
            window = ids[:, -self.config.block_size :]
            if not use_cache or ids.shape[1] > self.config.block_size:
                logits, _ = self(window)
            else:
                logits, _ = self(window if not cache else ids[:, -1:], cache=cache)
            chosen = choose(logits[:, -1], temperature, top_k, top_p, generator)  # (B, 1)
            ids = mg.cat([ids, chosen], dim=1)
        self.train(was_training)
        return ids
