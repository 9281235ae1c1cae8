"""GPT: a decoder-only transformer that predicts the next token. Its attention is in ``models/blocks.py``; read both.

The pre-norm architecture of GPT-2 (Radford et al. 2019): the decoder of Vaswani et al. 2017 without cross-attention.
Shapes: B batch, T target time (new tokens), S source time (all tokens), C channels, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from models.blocks import Attention, Cache, FeedForward, Positions, TransformerConfig, init_weights
from models.sampling import check, choose


@dataclass(frozen=True)
class GPTConfig(TransformerConfig):
    """The sizes and choices of a GPT."""


class Block(nn.Module):
    """Communicate, then compute; each adds to the stream it read from: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = Attention(config, causal=True)
        self.mlp_norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = FeedForward(config, nn.GELU(approximate="tanh"))

    def forward(self, x: mg.Tensor, bias: mg.Tensor | None = None, cache: Cache | None = None) -> mg.Tensor:
        x = x + self.attention(self.attention_norm(x), bias=bias, cache=cache)
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    """Tokens to logits for the next token at every position: (B, T) -> (B, T, V)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = Positions(config, bidirectional=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "mlp.contract.weight")):
                # The stream is a sum of 2 n_layer branches: start each smaller, so that the sum has the usual size.
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layer))
        self.head.weight = self.token_embedding.weight  # tied: a token's row is what it is and what predicts it

    def forward(
        self, ids: mg.Tensor, targets: mg.Tensor | None = None, caches: list[Cache] | None = None
    ) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Logits (B, T, V), and the mean cross-entropy in nats per token if targets (B, T) are given.

        With ``caches`` (start with ``new_caches()``), ids are the tokens that follow those already seen.
        """
        past = caches[0].length if caches else 0
        T = ids.shape[1]
        if past + T > self.config.block_size:
            raise ValueError(f"{past + T} tokens do not fit into the context of {self.config.block_size}")
        x = self.dropout(self.positions(self.token_embedding(ids), past))  # (B, T, C)
        bias = self.positions.bias(T, past)  # (H, T, S) or None
        for layer, block in enumerate(self.blocks):
            x = block(x, bias, caches[layer] if caches else None)
        logits = self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, self.config.vocab_size), targets.view(-1))

    def new_caches(self) -> list[Cache]:
        """A cache per layer, with room for as many tokens as the context has."""
        return [Cache(self.config.block_size) for _ in self.blocks]

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
        are seen; their positions move with each step, so from there on the cache is of no use. Nor is there one for
        efficient attention.
        """
        check(temperature, top_k, top_p)
        if ids.shape[1] == 0:
            raise ValueError("generate needs at least one token to start from")
        was_training = self.training
        self.eval()
        caches = self.new_caches() if use_cache and self.config.attention == "full" else None
        for _ in range(max_new_tokens):
            if ids.shape[1] > self.config.block_size:
                caches = None
            start = caches[0].length if caches else -self.config.block_size
            logits, _ = self(ids[:, start:], caches=caches)
            chosen = choose(logits[:, -1], temperature, top_k, top_p, generator)  # (B, 1)
            ids = mg.cat([ids, chosen], dim=1)
        self.train(was_training)
        return ids
