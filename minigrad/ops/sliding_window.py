"""Attention to the neighbourhood, and to a few tokens that everyone sees, as one op."""

from __future__ import annotations

import numpy as np

from minigrad.core.attention import check_shapes, scaled_dot_product_attention
from minigrad.core.op import Array, Backward, op

BLOCK = 32  # queries that are taken together, or `window` of them where that is more


@op
def sliding_window_attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    window: int,
    num_global: int = 0,
    is_causal: bool = False,
    mask: Array | None = None,
) -> tuple[Array, Backward]:
    """z = a @ value, a = softmax(s), s = query @ keyᵀ / sqrt(D) where |t - s| <= window, t or s < num_global, else -inf
    dquery = ds @ key / sqrt(D), ds = a * (da - sum(da * a)), da = dz @ valueᵀ
    dkey = dsᵀ @ query / sqrt(D)
    dvalue = aᵀ @ dz

    query, key: (..., T, D), value: (..., T, E) -> (..., T, E), with time and memory that grow with T * window.
    mask: bool, (..., T), True for a key that may be seen; is_causal allows s <= t only. A row with nothing allowed
    gives zeros. Beltagy et al. 2020, section 3.1.
    """
    check_shapes(query, key, value)
    T = query.shape[-2]
    if key.shape[-2] != T:
        raise ValueError(f"a window needs queries and keys of one sequence, got lengths {T} and {key.shape[-2]}")
    if window < 0 or num_global < 0:
        raise ValueError(f"window and num_global must not be negative, got {window} and {num_global}")
    batch = np.broadcast_shapes(
        query.shape[:-2], key.shape[:-2], value.shape[:-2], () if mask is None else mask.shape[:-1]
    )
    results = []
    parts = []  # of each block of queries: which they are, the keys they may see, and the way back
    for rows, columns in blocks(T, window, num_global, is_causal):
        allowed = visible(np.arange(T)[rows, None], columns, window, num_global, is_causal)
        if mask is not None:
            allowed = allowed & mask[..., None, columns]
        z, back = scaled_dot_product_attention(
            query[..., rows, :], key[..., columns, :], value[..., columns, :], mask=allowed
        )
        results.append(z)
        parts.append((rows, columns, back))

    def backward(dz):
        dquery, dkey, dvalue = (np.zeros_like(dz, shape=(*batch, *x.shape[-2:])) for x in (query, key, value))
        for rows, columns, back in parts:
            dq, dk, dv, _ = back(dz[..., rows, :])
            dquery[..., rows, :] = dq
            dkey[..., columns, :] += dk
            dvalue[..., columns, :] += dv
        return dquery, dkey, dvalue

    return np.concatenate(results or [np.zeros_like(value, shape=(*batch, 0, value.shape[-1]))], -2), backward


def visible(t: Array, s: Array, window: int, num_global: int, is_causal: bool) -> Array:
    """Whether the query at t may look at the key at s."""
    seen = (abs(t - s) <= window) | (t < num_global) | (s < num_global)
    return seen & (s <= t) if is_causal else seen


def blocks(T: int, window: int, num_global: int, is_causal: bool) -> list[tuple[slice, Array]]:
    """The queries, block by block, each with the positions of all keys that one of them may see."""
    found = []
    g = min(num_global, T)
    if g:
        found.append((slice(0, g), np.arange(g if is_causal else T)))
    size = max(window, BLOCK)
    for start in range(g, T, size):
        stop = min(start + size, T)
        near = np.arange(max(g, start - window), stop if is_causal else min(T, stop + window))
        found.append((slice(start, stop), np.concatenate([np.arange(g), near])))
    return found
