"""Multi-head attention with PyTorch's parameters and masks, in one module."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.layers import Linear
from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor, apply
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.tensors import cat, empty, zeros
from minigrad.ops import Array


class MultiheadAttention(Module):
    """Attention in num_heads subspaces: query (T, B, E), key (S, B, kdim), value (S, B, vdim) -> (T, B, E), weights.

    With batch_first the shapes are (B, T, E) and so on; without a batch (T, E). The projections of query, key and value
    are rows of one in_proj_weight (3E, E), or three matrices where kdim or vdim differ from E. Vaswani et al. 2017,
    section 3.2.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout probability must be between 0 and 1, got {dropout}")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = Parameter(empty(3 * embed_dim, embed_dim, dtype=dtype))
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                self.register_parameter(name, None)
        else:
            self.q_proj_weight = Parameter(empty(embed_dim, embed_dim, dtype=dtype))
            self.k_proj_weight = Parameter(empty(embed_dim, self.kdim, dtype=dtype))
            self.v_proj_weight = Parameter(empty(embed_dim, self.vdim, dtype=dtype))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", Parameter(zeros(3 * embed_dim, dtype=dtype)) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, Parameter(empty(1, 1, embed_dim, dtype=dtype)) if add_bias_kv else None)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output and, if need_weights, the weights: (B, T, S), or (B, H, T, S) if not averaged over the heads.

        key_padding_mask: (B, S); attn_mask: (T, S) or (B * H, T, S). A bool mask is True where attention is NOT
        allowed, a float one is added to the scores. A position that may attend to nothing gets zeros before the output
        projection. is_causal says that attn_mask is the causal one; without attn_mask it makes it.
        """
        batched = query.ndim == 3
        if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
            shapes = f"{query.shape}, {key.shape} and {value.shape}"
            raise ValueError(f"query, key and value must all have 3 axes, or 2 without a batch, got {shapes}")
        alone = query is key and key is value  # self-attention: one product projects all three
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        if alone:
            key = value = query
        batch, time, source = query.shape[0], query.shape[1], key.shape[1]

        query, key, value = self._project(query, key, value)
        key, value, added = self._longer(key, value)
        query, key, value = (self._split_heads(x) for x in (query, key, value))  # (B, H, T or S, D)
        bias, allowed = self._masks(key_padding_mask, attn_mask, batch, time, source)
        if is_causal and attn_mask is None:
            causal = np.tri(time, source, dtype=bool)
            allowed = causal if allowed is None else allowed & causal
        if added:  # which everybody may attend to
            bias = None if bias is None else cat([bias, bias.new_zeros(*bias.shape[:-1], added)], -1)
            if allowed is not None:
                allowed = np.concatenate([allowed, np.ones((*allowed.shape[:-1], added), dtype=bool)], -1)
        drop = self.dropout if self.training else 0.0

        weights: Tensor | None = None
        if need_weights:
            scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(self.head_dim))  # (B, H, T, S)
            if bias is not None:
                scores = scores + bias
            if allowed is not None:
                scores = scores.masked_fill(Tensor(~allowed), -math.inf)
            weights = F.dropout(scores.softmax(-1), drop)
            mixed = weights @ value  # (B, H, T, D)
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            settings = {"mask": allowed}
            if drop > 0:
                settings["dropout_mask"] = query._dropout_mask(drop, (batch, self.num_heads, time, source))
            mixed = apply(ops.scaled_dot_product_attention, query, key, value, bias, **settings)  # (B, H, T, D)

        output = self.out_proj(mixed.transpose(1, 2).reshape(batch, time, self.embed_dim))  # (B, T, E)
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        size = self.embed_dim
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.split(size)
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        elif query is key and key is value:
            return list(F.linear(query, self.in_proj_weight, self.in_proj_bias).split(size, dim=-1))
        else:
            weights = self.in_proj_weight.split(size)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]

    def _longer(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, int]:
        """Keys and values (B, S, E) with a learned step at the end, then one of zeros, where asked for; how many."""
        ends = [] if self.bias_k is None else [(self.bias_k, self.bias_v)]
        ends += [(key.new_zeros(1, 1, self.embed_dim),) * 2] if self.add_zero_attn else []
        for more_key, more_value in ends:
            pairs = ((key, more_key), (value, more_value))
            key, value = (cat([x, more.expand(x.shape[0], 1, self.embed_dim)], 1) for x, more in pairs)
        return key, value, len(ends)

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, T, E) -> (B, H, T, D)."""
        return x.reshape(x.shape[0], x.shape[1], self.num_heads, self.head_dim).transpose(1, 2)

    def _masks(
        self, key_padding_mask: Tensor | None, attn_mask: Tensor | None, batch: int, time: int, source: int
    ) -> tuple[Tensor | None, Array | None]:
        """Both masks in a shape that broadcasts to (B, H, T, S): what is added, and where attention is allowed."""
        masks = []
        if key_padding_mask is not None:
            if key_padding_mask.shape != (batch, source):
                raise ValueError(f"key_padding_mask must be {(batch, source)}, got {key_padding_mask.shape}")
            masks.append(key_padding_mask.reshape(batch, 1, 1, source))
        if attn_mask is not None:
            if attn_mask.shape == (time, source):
                masks.append(attn_mask)
            elif attn_mask.shape == (batch * self.num_heads, time, source):
                masks.append(attn_mask.reshape(batch, self.num_heads, time, source))
            else:
                shapes = f"{(time, source)} or {(batch * self.num_heads, time, source)}"
                raise ValueError(f"attn_mask must be {shapes}, got {attn_mask.shape}")
        bias: Tensor | None = None
        allowed: Array | None = None
        for mask in masks:
            if mask.dtype == bool:
                allowed = ~mask._array if allowed is None else allowed & ~mask._array
            elif mask.dtype.kind == "f":
                bias = mask if bias is None else bias + mask
            else:
                raise TypeError(f"a mask must be bool or floating, got {mask.dtype}: write mask != 0")
        return bias, allowed
