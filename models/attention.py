"""What GPT, BERT and T5 have in common: attention with three visible projections, and a feed-forward network.

What else attention may have (positions, masks, a cache, less work) is in ``models/parts.py``.
Shapes: B batch, T target time (queries), S source time (keys), C channels, H heads, D = C / H.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
from minigrad import nn
from minigrad.models.parts import Cache, KeysAndValues, TransformerConfig, combined_mask, efficient_attention
from minigrad.nn import functional as F


class Attention(nn.Module):
    """Each token asks, and gathers what the others offer: (B, T, C) -> (B, T, C). Vaswani et al. 2017, section 3.2.

    Self-attention unless a memory is given, the keys and values of another sequence: cross-attention.
    """

    def __init__(self, config: TransformerConfig, causal: bool = False, cross: bool = False) -> None:
        super().__init__()
        self.heads = config.n_head
        self.causal = causal
        self.dropout = config.dropout
        C = config.n_embd
        self.query, self.key, self.value = (nn.Linear(C, C, bias=config.bias) for _ in range(3))
        self.output = nn.Linear(C, C, bias=config.bias)
        self.output_dropout = nn.Dropout(config.dropout)
        rotary = config.positions == "rotary" and not cross  # two sequences have no distance from one another
        self.rotary = nn.RotaryPositions(C // config.n_head) if rotary else None
        self.efficient = None if cross else efficient_attention(config, causal)

    def forward(
        self, x: mg.Tensor, memory: Any = None, padding: Any = None, bias: Any = None, cache: Cache | None = None
    ) -> mg.Tensor:
        """memory: keys and values (B, H, S, D) of another sequence. padding (B, S): True where a key is to be ignored.

        bias (H, T, S) is added to the scores. With a cache, x follows the tokens whose keys and values the cache holds,
        and is added to it.
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

    def attend(self, query: mg.Tensor, key: mg.Tensor, value: mg.Tensor, padding: Any, bias: Any) -> mg.Tensor:
        """softmax(query @ keyᵀ / √D + bias) @ value, over the allowed keys: -> (B, H, T, D)."""
        T, S = query.shape[2], key.shape[2]
        causal, mask = self.causal and T > 1, None  # the last token sees all there is
        if padding is not None or bias is not None or (causal and T != S):
            mask, causal = combined_mask(T, S, causal, padding, bias), False
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)

    def keys_and_values(self, x: mg.Tensor) -> KeysAndValues:
        """What the tokens of x (B, S, C) offer: the memory for cross-attention, made once however often it is read."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))  # (B, H, S, D) each

    def split_heads(self, x: mg.Tensor) -> mg.Tensor:
        """(B, T, C) -> (B, H, T, D): the channels of a token are cut first, then heads go before time, as a batch does.

        A view to (B, H, T, D) at once would mix the channels of different tokens.
        """
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
