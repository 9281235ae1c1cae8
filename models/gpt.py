"""GPT: a decoder-only transformer that predicts the next token. Read ``models/attention.py`` first.

The pre-norm architecture of GPT-2 (Radford et al. 2019): the decoder of Vaswani et al. 2017 without cross-attention.
Shapes: B batch, T target time (new tokens), S source time (all tokens), C channels, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import minigrad as mg
from minigrad import nn
from minigrad.models.attention import Attention, FeedForward, init_weights
from minigrad.models.generate import Generates
from minigrad.models.parts import Cache, Positions, TransformerConfig
from minigrad.nn import functional as F


@dataclass(frozen=True)
class GPTConfig(TransformerConfig):
    """The sizes and choices of a GPT: the fields of ``TransformerConfig``, in ``models/parts.py``."""


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


class GPT(Generates, nn.Module):
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
        past, T = caches[0].length if caches else 0, ids.shape[1]  # in training there is no cache: past = 0
        if past + T > self.config.block_size:
            raise ValueError(f"{past + T} tokens do not fit into the context of {self.config.block_size}")
        x = self.token_embedding(ids)  # (B, T, C)
        if self.positions.added is not None:  # the order of the tokens, if it is not in the scores or the queries
            x = self.positions.added(x, past)
        bias = None if self.positions.scored is None else self.positions.scored(T, offset=past)  # (H, T, S)
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, bias, caches[layer] if caches else None)
        logits = self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, self.config.vocab_size), targets.view(-1))
