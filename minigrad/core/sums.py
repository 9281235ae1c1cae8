"""Ops that sum along axes: sum, mean, and softmax. ``axis`` is None (all), an int or a tuple of ints."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from minigrad.core.op import Array, Backward, op

Axis: TypeAlias = "int | tuple[int, ...] | None"


@op(reduces=True)
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = sum x
    dx = dz, repeated over the summed axes
    """
    shape = x.shape

    def backward(dz):
        return (np.broadcast_to(widen(dz, len(shape), axis, keepdims), shape),)

    return x.sum(axis, keepdims=keepdims), backward


@op(reduces=True)
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = sum x / n
    dx = dz / n, repeated over the averaged axes
    """
    shape = x.shape
    total = x.sum(axis, keepdims=keepdims)
    n = x.size // max(total.size, 1)

    def backward(dz):
        return (np.broadcast_to(widen(dz / n, len(shape), axis, keepdims), shape),)

    with np.errstate(invalid="ignore"):  # 0 / 0: the mean of nothing
        return total / n, backward


@op
def softmax(x: Array, *, axis: int = -1) -> tuple[Array, Backward]:
    """z = exp(x) / sum exp(x)
    dx = z * (dz - sum(dz * z))

    A larger x[i] raises z[i] and lowers every other z, as they share the sum: dz[i] counts less the mean of dz weighted
    by z. The largest x is subtracted first, so that exp cannot overflow; it cancels in the quotient. A slice that is
    all -inf (a row with every position masked) gives zeros.
    """
    z = np.exp(x - finite_max(x, axis))
    total = z.sum(axis, keepdims=True)
    z /= np.where(total == 0, 1, total)

    def backward(dz):
        dx = dz * z
        dx -= z * dx.sum(axis, keepdims=True)  # the formula, multiplied out
        return (dx,)

    return z, backward


@op
def log_softmax(x: Array, *, axis: int = -1) -> tuple[Array, Backward]:
    """z = x - log sum exp(x)
    dx = dz - exp(z) * sum(dz)
    """
    shifted = x - finite_max(x, axis)
    total = np.exp(shifted).sum(axis, keepdims=True)
    z = shifted - np.log(np.where(total == 0, 1, total))

    def backward(dz):
        return (dz - np.exp(z) * dz.sum(axis, keepdims=True),)

    return z, backward


def finite_max(x: Array, axis: int | tuple[int, ...] | None) -> Array:
    """max x along the axis, kept as size 1; at least the lowest finite number, so that -inf - max is never NaN."""
    return getattr(x, "numbers", x).max(axis, keepdims=True, initial=np.finfo(x.dtype).min)  # see ops.elementwise


def widen(dz: Array, ndim: int, axis: Axis, keepdims: bool) -> Array:
    """Give a reduced array its reduced axes back, as size 1."""
    if keepdims or ndim == 0:
        return dz
    return dz.reshape((1,) * ndim) if axis is None else np.expand_dims(dz, axis)
