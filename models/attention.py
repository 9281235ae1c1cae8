"""What GPT, BERT and T5 have in common: attention with three visible projections, positions, a feed-forward network.

Which positions and which attention a model uses are words in its config, in ``models/parts.py``.
Shapes: B batch, T target time (queries), S source time (keys), C channels, H heads, D = C / H.
"""

from __future__ import annotations

import math

import minigrad as mg
from minigrad import nn
from minigrad.models.parts import Cache, KeysAndValues, TransformerConfig, efficient_attention
from minigrad.nn import functional as F


class Positions(nn.Module):
    """How the model knows the order of its tokens, by ``config.positions``: each scheme acts in one of three places.

    Added to the input (learned, sinusoidal): the call, (B, T, C) -> (B, T, C). Added to the scores (alibi, relative):
    ``bias``. Turned into queries and keys (rotary): in ``Attention``.
    """

    def __init__(self, config: TransformerConfig, bidirectional: bool = True) -> None:
        super().__init__()
        self.added: nn.Module | None = None
        self.scored: nn.Module | None = None
        if config.positions == "learned":
            self.added = nn.LearnedPositions(config.block_size, config.n_embd)
        elif config.positions == "sinusoidal":
            self.added = nn.SinusoidalPositions(config.n_embd)
        elif config.positions == "alibi":
            self.scored = nn.ALiBi(config.n_head)
        elif config.positions == "relative":
            self.scored = nn.RelativeBuckets(config.n_head, bidirectional=bidirectional)

    def forward(self, x: mg.Tensor, offset: int = 0) -> mg.Tensor:
        return x if self.added is None else self.added(x, offset)

    def bias(self, T: int, offset: int = 0) -> mg.Tensor | None:
        """What is added to the scores of T queries from position offset, and all keys up to the last: (H, T, S)."""
        return None if self.scored is None else self.scored(T, offset=offset)


class Attention(nn.Module):
    """Each token asks, and gathers what the others offer: (B, T, C) -> (B, T, C). Vaswani et al. 2017, section 3.2.

    Self-attention unless a memory is given, the keys and values of another sequence: cross-attention.
    """

    def __init__(self, config: TransformerConfig, causal: bool = False, cross: bool = False) -> None:
        super().__init__()
        self.heads = config.n_head
        self.causal = causal
        self.dropout = config.dropout
        self.query = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.key = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.value = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.output = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.output_dropout = nn.Dropout(config.dropout)
        size = config.n_embd // config.n_head
        rotary = config.positions == "rotary" and not cross  # two sequences have no distance from one another
        self.rotary = nn.RotaryPositions(size) if rotary else None
        self.efficient = None if cross else efficient_attention(config, causal)

    def forward(
        self,
        x: mg.Tensor,
        memory: KeysAndValues | None = None,
        padding: mg.Tensor | None = None,
        bias: mg.Tensor | None = None,
        cache: Cache | None = None,
    ) -> mg.Tensor:
        """padding (B, S): True where a key is to be ignored; bias (H, T, S) is added to the scores.

        With a cache, x follows the tokens whose keys and values the cache holds, and is added to it.
        """
        B, T, C = x.shape
        query = self.split_heads(self.query(x))  # (B, H, T, D)
        key, value = self.keys_and_values(x) if memory is None else memory  # (B, H, S, D)
        if self.rotary is not None:
            query, key = self.rotary(query, key, 0 if cache is None else cache.length)
        if cache is not None:
            key, value = cache.append(key, value)  # (B, H, S, D), S = past + T
        if self.efficient is None:
            out = self.attend(query, key, value, padding, bias)  # (B, H, T, D)
        else:
            out = self.efficient(query, key, value, padding, self.causal)
        out = out.transpose(1, 2).reshape(B, T, C)  # the heads side by side
        return self.output_dropout(self.output(out))

    def attend(
        self,
        query: mg.Tensor,
        key: mg.Tensor,
        value: mg.Tensor,
        padding: mg.Tensor | None,
        bias: mg.Tensor | None,
    ) -> mg.Tensor:
        """softmax(query @ keyᵀ / √D + bias) @ value, over the allowed keys: -> (B, H, T, D)."""
        T, S = query.shape[2], key.shape[2]
        causal = self.causal and T > 1  # the last token sees all there is
        plain = T == S and padding is None and bias is None
        allowed = None
        if causal and not plain:
            allowed = mg.ones(T, S, dtype=mg.bool).tril(S - T)  # query t stands at position S - T + t
        if padding is not None:
            keep = ~padding.reshape(-1, 1, 1, S)
            allowed = keep if allowed is None else keep & allowed
        mask = allowed
        if bias is not None:
            mask = bias if allowed is None else bias.masked_fill(~allowed, -math.inf)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal and plain)

    def keys_and_values(self, x: mg.Tensor) -> KeysAndValues:
        """What the tokens of x (B, S, C) offer: the memory for cross-attention, made once however often it is read."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))  # (B, H, S, D) each

    def split_heads(self, x: mg.Tensor) -> mg.Tensor:
        B, T, C = x.shape
        return x.view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, D)


class FeedForward(nn.Module):
    """Each token on its own, through a hidden layer four times as wide: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, activation: nn.Module) -> None:
        super().__init__()
        self.expand = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.activation = activation
        self.contract = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.dropout(self.contract(self.activation(self.expand(x))))


def init_weights(module: nn.Module) -> None:
    """For ``model.apply``: weights from N(0, 0.02²), biases 0, as GPT and BERT start. Radford et al. 2018."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
