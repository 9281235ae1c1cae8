"""Llama: a decoder-only transformer like GPT, with four parts exchanged. Read ``models/gpt.py`` first.

Touvron et al. 2023 (arXiv 2302.13971): RMSNorm, SwiGLU, rotary positions; grouped queries since Llama 2 (2307.09288).
SmolLM2 is one. Nothing has a bias, and nothing is added to the embeddings.
Shapes: B batch, T target time, S source time, C channels, H heads, G groups (key-value heads), D = C / H, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minigrad as mg
from minigrad import nn
from minigrad.models.attention import Attention, init_weights
from minigrad.models.generate import Generates
from minigrad.models.parts import Cache, KeysAndValues, TransformerConfig
from minigrad.nn import functional as F


@dataclass(frozen=True)
class LlamaConfig(TransformerConfig):
    """The sizes and choices of a Llama. Raises ValueError for those that do not fit together."""

    bias: bool = False
    positions: str = "rotary"
    n_kv_head: int = 0  # how many heads of keys and values the query heads share; 0: as many as query heads
    n_hidden: int = 0  # the width of the feed-forward network; 0: 8 / 3 of the channels
    rotary_base: float = 10000.0
    interleaved: bool = True  # which channels are turned together: neighbours, or (False) those half a head apart
    norm_eps: float = 1e-5
    tied: bool = True  # one matrix embeds tokens and predicts them

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positions != "rotary" or self.attention != "full" or self.bias:
            raise ValueError("a Llama has rotary positions, full attention and no bias")
        if self.n_kv_head < 0 or self.n_head % self.kv_heads:
            raise ValueError(f"n_head={self.n_head} must be divisible by n_kv_head={self.n_kv_head}: groups are equal")

    @property
    def kv_heads(self) -> int:
        """G, the heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def hidden(self) -> int:
        """The width of the feed-forward network."""
        return self.n_hidden or 8 * self.n_embd // 3


class GroupedAttention(Attention):
    """Attention in which H / G heads of queries share a head of keys and values: (B, T, C) -> (B, T, C).

    The cache is smaller by that factor. Ainslie et al. 2023, section 2.2.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config, causal=True)
        self.shared = config.n_head // config.kv_heads  # H / G
        D = config.n_embd // config.n_head
        if self.shared > 1:
            self.key, self.value = (nn.Linear(config.n_embd, config.kv_heads * D, bias=False) for _ in range(2))
        self.rotary = nn.RotaryPositions(D, config.rotary_base, config.interleaved)

    def attend(self, query: mg.Tensor, key: mg.Tensor, value: mg.Tensor, padding: Any, bias: Any) -> mg.Tensor:
        """Each head of keys and values once for every query head that shares it, then attention: -> (B, H, T, D)."""
        key, value = (x.repeat_interleave(self.shared, dim=1) for x in (key, value))  # (B, H, S, D)
        return super().attend(query, key, value, padding, bias)

    def keys_and_values(self, x: mg.Tensor) -> KeysAndValues:
        """What the tokens of x (B, S, C) offer: (B, G, S, D) each."""
        B, S, _ = x.shape
        groups = self.heads // self.shared
        key, value = (part(x).view(B, S, groups, -1).transpose(1, 2) for part in (self.key, self.value))
        return key, value


class SwiGLU(nn.Module):
    """A hidden layer of which one half opens or shuts the other: (B, T, C) -> (B, T, C). Shazeer 2020, eq. 6."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.n_embd, config.hidden, bias=False)
        self.expand = nn.Linear(config.n_embd, config.hidden, bias=False)
        self.contract = nn.Linear(config.hidden, config.n_embd, bias=False)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.contract(F.silu(self.gate(x)) * self.expand(x))


class Block(nn.Module):
    """Communicate, then compute, as in GPT; the norm divides by the root mean square only: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.n_embd, eps=config.norm_eps)  # Zhang and Sennrich 2019
        self.attention = GroupedAttention(config)
        self.mlp_norm = nn.RMSNorm(config.n_embd, eps=config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: mg.Tensor, cache: Cache | None = None) -> mg.Tensor:
        x = x + self.attention(self.attention_norm(x), cache=cache)
        return x + self.mlp(self.mlp_norm(x))


class Llama(Generates, nn.Module):
    """Tokens to logits for the next token at every position: (B, T) -> (B, T, V)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.n_embd, eps=config.norm_eps)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(init_weights)
        if config.tied:
            self.head.weight = self.token_embedding.weight

    def forward(
        self, ids: mg.Tensor, targets: mg.Tensor | None = None, caches: list[Cache] | None = None
    ) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Logits (B, T, V), and the mean cross-entropy in nats per token if targets (B, T) are given.

        With ``caches`` (start with ``new_caches()``), ids are the tokens that follow those already seen. Raises
        ValueError for more tokens than the context has.
        """
        past = caches[0].length if caches else 0
        if past + ids.shape[1] > self.config.block_size:
            raise ValueError(f"{past + ids.shape[1]} tokens do not fit into the context of {self.config.block_size}")
        x = self.token_embedding(ids)  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, caches[layer] if caches else None)
        logits = self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, self.config.vocab_size), targets.view(-1))
