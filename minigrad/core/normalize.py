"""Layer normalisation, with its scale and shift as one op."""

from __future__ import annotations

import numpy as np

from minigrad.core.op import Array, Backward, op


@op(grad_fn="NativeLayerNorm")
def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, ndim: int = 1, eps: float = 1e-5
) -> tuple[Array, Backward]:
    """z = n * weight + bias, n = (x - mean x) / sqrt(var x + eps)
    dx = (dn - mean dn - n * mean(dn * n)) / sqrt(var x + eps), dn = dz * weight
    dweight = sum dz * n
    dbias = sum dz

    Means and variance run over the last ndim axes of x, whose shape weight and bias have. Ba et al. 2016.
    """
    axes, has_bias = last_axes(x, weight, ndim), bias is not None
    n = x - x.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(np.mean(n * n, axes, keepdims=True) + eps)  # reciprocal of the standard deviation
    n *= rstd
    z = n * weight if weight is not None else n.copy()
    if bias is not None:
        z += bias

    def backward(dz):
        dn = dz * weight if weight is not None else dz
        dx = dn - dn.mean(axes, keepdims=True)  # x reaches n directly, and through the mean
        dx -= n * np.mean(dn * n, axes, keepdims=True)  # and through the variance
        dx *= rstd
        return dx, None if weight is None else dz * n, dz if has_bias else None  # summed in the walk: broadcast inputs

    return z, backward


def last_axes(x: Array, weight: Array | None, ndim: int) -> tuple[int, ...]:
    """The last ndim axes of x. Raises ValueError unless x has so many, in the shape of weight."""
    if ndim < 1 or ndim > x.ndim:
        raise ValueError(f"cannot normalise over the last {ndim} of {x.ndim} axes")
    if weight is not None and weight.shape != x.shape[x.ndim - ndim :]:
        raise ValueError(f"weight {weight.shape} must have the shape of the last {ndim} axes of x {x.shape}")
    return tuple(range(-ndim, 0))
