"""Normalisations over the last axes, each with its scale and shift as one op."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.ops.registry import Array, Backward, op


def _last_axes(x: Array, weight: Array | None, ndim: int) -> tuple[int, ...]:
    if ndim < 1 or ndim > x.ndim:
        raise ValueError(f"cannot normalise over the last {ndim} of {x.ndim} axes")
    if weight is not None and weight.shape != x.shape[x.ndim - ndim :]:
        raise ValueError(f"weight {weight.shape} must have the shape of the last {ndim} axes of x {x.shape}")
    return tuple(range(-ndim, 0))


@op
def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, ndim: int = 1, eps: float = 1e-5
) -> tuple[Array, Backward]:
    """z = n * weight + bias, n = (x - mean x) / sqrt(var x + eps)
    dx = (dn - mean dn - n * mean(dn * n)) / sqrt(var x + eps), dn = dz * weight
    dweight = sum dz * n
    dbias = sum dz

    Means and variance run over the last ndim axes. Ba et al. 2016.
    """
    axes, has_bias = _last_axes(x, weight, ndim), bias is not None
    n = x - x.mean(axes, keepdims=True)
    rstd = _rsqrt(np.mean(n * n, axes, keepdims=True) + eps)
    n *= rstd
    z = n * weight if weight is not None else n.copy()
    if bias is not None:
        z += bias

    def backward(dz):
        dn = dz * weight if weight is not None else dz
        dx = dn - dn.mean(axes, keepdims=True)
        dx -= n * np.mean(dn * n, axes, keepdims=True)
        dx *= rstd
        return dx, None if weight is None else dz * n, dz if has_bias else None

    return z, backward


@op
def rms_norm(
    x: Array, weight: Array | None = None, *, ndim: int = 1, eps: float | None = None
) -> tuple[Array, Backward]:
    """z = n * weight, n = x / sqrt(mean x ** 2 + eps)
    dx = (dn - n * mean(dn * n)) / sqrt(mean x ** 2 + eps), dn = dz * weight
    dweight = sum dz * n

    The mean runs over the last ndim axes; eps is the dtype's own when None. Zhang and Sennrich 2019.
    """
    axes = _last_axes(x, weight, ndim)
    rrms = _rsqrt(np.mean(x * x, axes, keepdims=True) + (float(np.finfo(x.dtype).eps) if eps is None else eps))
    n = x * rrms
    z = n * weight if weight is not None else n.copy()

    def backward(dz):
        dn = dz * weight if weight is not None else dz
        dx = dn - n * np.mean(dn * n, axes, keepdims=True)
        dx *= rrms
        return dx, None if weight is None else dz * n

    return z, backward


def _rsqrt(x: Any) -> Array:
    return 1 / np.sqrt(x)
