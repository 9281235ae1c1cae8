"""Scaled dot-product attention as one op."""

from __future__ import annotations

import math

import numpy as np

from minigrad.core.op import Array, Backward, op
from minigrad.core.sums import softmax


@op
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    *,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_mask: Array | None = None,
) -> tuple[Array, Backward]:
    """z = a @ value, a = softmax(s), s = scale * query @ keyᵀ + bias
    dquery = scale * ds @ key, ds = a * (da - sum(da * a)), da = dz @ valueᵀ
    dkey = scale * dsᵀ @ query
    dvalue = aᵀ @ dz
    dbias = ds

    query: (..., T, D), key: (..., S, D), value: (..., S, E) -> (..., T, E); scale is 1 / sqrt(D) unless given.
    mask: bool, (..., T, S), True where attention is allowed; is_causal allows each query the keys up to its own place.
    A row with nothing allowed gives zeros. dropout_mask multiplies a. Vaswani et al. 2017, eq. 1.
    """
    check_shapes(query, key, value)
    if bias is not None and bias.dtype.kind != "f":
        raise TypeError(f"a mask must be bool or floating, got {bias.dtype}: write mask != 0")
    has_bias = bias is not None
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)

    s = (query * factor) @ key.swapaxes(-1, -2)  # (..., T, S): scores, and of their softmax the weights a
    if bias is not None:
        s = s + bias
    if is_causal:
        np.copyto(s, -np.inf, where=np.tri(*s.shape[-2:]) == 0)  # above the diagonal; exp(-inf) is 0
    if mask is not None:
        s = np.where(mask, s, -np.inf).astype(s.dtype, copy=False)
    a, _ = softmax(s, axis=-1)
    dropped = a if dropout_mask is None else a * dropout_mask

    def backward(dz):
        dvalue = dropped.swapaxes(-1, -2) @ dz
        da = dz @ value.swapaxes(-1, -2)
        da = da if dropout_mask is None else da * dropout_mask
        ds = a * (da - (da * a).sum(-1, keepdims=True))  # as in softmax
        dquery, dkey = (ds @ key) * factor, (ds.swapaxes(-1, -2) @ query) * factor
        return dquery, dkey, dvalue, ds if has_bias else None

    return dropped @ value, backward


def check_shapes(query: Array, key: Array, value: Array) -> None:
    """Raise ValueError unless these are query (..., T, D), key (..., S, D) and value (..., S, E)."""
    if query.ndim < 2 or key.ndim < 2 or value.ndim < 2:
        raise ValueError("query, key and value need the shape (..., time, size)")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"query and key differ in size: {query.shape[-1]} and {key.shape[-1]}")
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(f"key and value differ in length: {key.shape[-2]} and {value.shape[-2]}")
