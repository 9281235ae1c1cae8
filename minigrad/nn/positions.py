"""How a model knows the order of its tokens: five ways, added to the input, turned into it, or added to the scores.

Each takes an offset, the position of the first query: with cached keys and values, the number of tokens in the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.tensors import cat, empty, stack
from minigrad.ops import Array
from minigrad.torch.dtypes import get_default_dtype


def _angles(length: int, offset: int, size: int, base: float) -> Array:
    """t / base^(2i / size) for the positions t from offset and the pairs i of a vector of that size: (T, pairs)."""
    if offset < 0:
        raise ValueError(f"offset must not be negative, got {offset}")
    positions = np.arange(offset, offset + length, dtype=np.float64)
    return positions[:, None] * base ** (-np.arange(0, size, 2) / size)


class SinusoidalPositions(Module):
    """Adds waves of slower and slower pace to a sequence: (..., T, C) -> (..., T, C).

        P[t, 2i] = sin(t / base^(2i / C)),  P[t, 2i + 1] = cos(t / base^(2i / C)),  base = 10000

    Nothing is learned, and no length is too long. Vaswani et al. 2017, section 3.5.
    """

    def __init__(self, embedding_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if embedding_dim <= 0:
            raise ValueError(f"embedding_dim must be positive, got {embedding_dim}")
        self.embedding_dim = embedding_dim
        self.base = base

    def table(self, length: int, offset: int = 0, dtype: Any = None) -> Tensor:
        """P for the positions offset to offset + T - 1: (T, C)."""
        angles = _angles(length, offset, self.embedding_dim, self.base)
        waves = np.empty((length, self.embedding_dim), dtype=get_default_dtype() if dtype is None else dtype)
        waves[:, 0::2] = np.sin(angles)
        waves[:, 1::2] = np.cos(angles[:, : self.embedding_dim // 2])
        return Tensor(waves)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        return input + self.table(input.shape[-2], offset, input.dtype)

    def extra_repr(self) -> str:
        return f"{self.embedding_dim}, base={self.base}"


class RotaryPositions(Module):
    """Turns each pair of channels by an angle that grows with the position: query, key (..., T, D) -> the same, turned.

        a' = a cos(t w_i) - b sin(t w_i),  b' = a sin(t w_i) + b cos(t w_i),  w_i = base^(-2i / D)

    so that query at t times key at s depends on t - s only. The pair (a, b) number i is (x[2i], x[2i + 1]), or, with
    interleaved=False, (x[i], x[i + D / 2]) as in Llama. A cache holds turned keys. Su et al. 2021, eq. 34.
    """

    def __init__(self, head_dim: int, base: float = 10000.0, interleaved: bool = True) -> None:
        super().__init__()
        if head_dim <= 0 or head_dim % 2:
            raise ValueError(f"head_dim must be even and positive, got {head_dim}")
        self.head_dim = head_dim
        self.base = base
        self.interleaved = interleaved

    def rotate(self, x: Tensor, offset: int = 0) -> Tensor:
        """One sequence (..., T, D) whose first position is offset."""
        if x.shape[-1] != self.head_dim:
            raise ValueError(f"the last axis must be head_dim={self.head_dim}, got {x.shape}")
        angles = _angles(x.shape[-2], offset, self.head_dim, self.base)  # (T, D / 2)
        cos, sin = (Tensor(f(angles).astype(x.dtype)) for f in (np.cos, np.sin))
        if self.interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
        else:
            a, b = x.split(self.head_dim // 2, dim=-1)
        turned = [a * cos - b * sin, a * sin + b * cos]  # (..., T, D / 2) each
        return stack(turned, dim=-1).flatten(-2) if self.interleaved else cat(turned, dim=-1)

    def forward(self, query: Tensor, key: Tensor, offset: int = 0) -> tuple[Tensor, Tensor]:
        return self.rotate(query, offset), self.rotate(key, offset)

    def extra_repr(self) -> str:
        return f"{self.head_dim}, base={self.base}, interleaved={self.interleaved}"


def _distances(query_length: int, key_length: int | None, offset: int) -> Array:
    """s - t for queries t from offset and keys s from 0 (up to the last query unless key_length): (T, S)."""
    if offset < 0:
        raise ValueError(f"offset must not be negative, got {offset}")
    key_length = offset + query_length if key_length is None else key_length
    return np.arange(key_length) - np.arange(offset, offset + query_length)[:, None]


class ALiBi(Module):
    """A penalty on attention that grows with the distance: lengths T and S -> a bias (H, T, S) to add to the scores.

        bias[h, t, s] = -slope_h * |t - s|,  slope_h = 2^(-8h / H),  h = 1 ... H

    For an H that is no power of two, the slopes of the next lower power, then every other one of the next higher.
    Nothing is learned; future keys still need a causal mask. Press et al. 2022, section 3.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        if num_heads <= 0:
            raise ValueError(f"num_heads must be positive, got {num_heads}")
        self.num_heads = num_heads
        power = 2 ** int(math.log2(num_heads))
        slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
        slopes += [2 ** (-4 * h / power) for h in range(1, 2 * power, 2)][: num_heads - power]
        self.register_buffer("slopes", Tensor(np.array(slopes, dtype=get_default_dtype())), persistent=False)

    def forward(self, query_length: int, key_length: int | None = None, offset: int = 0) -> Tensor:
        far = Tensor(np.abs(_distances(query_length, key_length, offset)).astype(self.slopes.dtype))  # (T, S)
        return -self.slopes.reshape(-1, 1, 1) * far

    def extra_repr(self) -> str:
        return f"{self.num_heads}"


class RelativeBuckets(Module):
    """A learned bias for each head and range of distances: lengths T and S -> a bias (H, T, S) to add to the scores.

        bias[h, t, s] = weight[bucket(s - t), h]

    With N buckets for a direction, the distances n < N / 2 have a bucket each; farther ones share buckets whose width
    grows with the logarithm, and from max_distance on all share the last one:

        bucket = n  or  min(N - 1, N/2 + floor(N/2 * log(n / (N/2)) / log(max_distance / (N/2))))

    bidirectional: the first half of the buckets for s <= t, the second for s > t. Otherwise all are for s <= t, and
    later keys, to be masked, count as distance 0. weight (num_buckets, H) starts as N(0, 0.02²). T5: Raffel et al.
    2020, section 2.1. T5 itself does not scale its scores by 1 / sqrt(D).
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        least = 4 if bidirectional else 2
        if num_buckets < least or num_buckets % least:
            raise ValueError(f"num_buckets must be a multiple of {least}, got {num_buckets}")
        if max_distance <= num_buckets // least:
            raise ValueError(f"max_distance must be above {num_buckets // least}, got {max_distance}")
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.weight = Parameter(empty(num_buckets, num_heads, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial biases anew."""
        init.normal_(self.weight, std=0.02)

    def buckets(self, relative: Any) -> Tensor:
        """The bucket of each relative position s - t, integers (...) -> int64 (...)."""
        relative = np.asarray(relative)
        count, first = self.num_buckets, np.zeros(relative.shape, dtype=np.int64)
        if self.bidirectional:
            count //= 2
            first = np.where(relative > 0, count, 0)
            distance = np.abs(relative)
        else:
            distance = np.maximum(-relative, 0)
        exact = count // 2
        ratio = np.maximum(distance, exact).astype(np.float32) / exact  # float32 as T5: it decides at the edges
        steps = np.log(ratio) / np.float32(math.log(self.max_distance / exact)) * (count - exact)
        far = np.minimum(exact + steps.astype(np.int64), count - 1)
        return Tensor(first + np.where(distance < exact, distance, far))

    def forward(self, query_length: int, key_length: int | None = None, offset: int = 0) -> Tensor:
        ids = self.buckets(_distances(query_length, key_length, offset))  # (T, S)
        return F.embedding(ids, self.weight).permute(2, 0, 1)

    def extra_repr(self) -> str:
        return (
            f"{self.num_heads}, num_buckets={self.num_buckets}, max_distance={self.max_distance}, "
            f"bidirectional={self.bidirectional}"
        )
