"""Ops that sum along axes: sum, mean, the largest, and softmax, which is a choice made soft.

``axis`` is None (all axes), an int or a tuple of ints, negative ones count from the end.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from minigrad.core.op import Array, Backward, op

Axis: TypeAlias = "int | tuple[int, ...] | None"
Dim: TypeAlias = "int | tuple[int, ...] | list[int] | None"  # PyTorch's name for it


@op(reduces=True)
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = sum x
    dx = dz, repeated over the summed axes
    """
    shape = x.shape

    def backward(dz):
        return (spread(dz, shape, axis, keepdims),)

    return x.sum(axis, keepdims=keepdims), backward


@op(reduces=True)
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = sum x / n
    dx = dz / n, repeated over the averaged axes
    """
    shape = x.shape
    n = count(x, axis)

    def backward(dz):
        return (spread(dz / n, shape, axis, keepdims),)

    if n == 0 or x.dtype.itemsize < 4:  # NumPy warns of the first, and adds up half precision in single
        return x.mean(axis, keepdims=keepdims), backward
    return x.sum(axis, keepdims=keepdims) / n, backward


@op
def softmax(x: Array, *, axis: int = -1) -> tuple[Array, Backward]:
    """z = exp(x) / sum exp(x)
    dx = z * (dz - sum(dz * z))

    The largest x is subtracted first, which changes nothing but the overflow. A slice that is all -inf (a row with
    every position masked) gives zeros.
    """
    z = exp_shifted(x, axis)
    total = z.sum(axis, keepdims=True)
    z /= np.where(total == 0, 1, total)

    def backward(dz):
        dx = dz * z
        dx -= z * dx.sum(axis, keepdims=True)
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


def exp_shifted(x: Array, axis: int) -> Array:
    """exp(x - max x), with zeros for a slice that is all -inf."""
    z = np.asarray(x - finite_max(x, axis))
    return np.exp(z, out=z)


def finite_max(x: Array, axis: int | tuple[int, ...] | None) -> Array:
    """max x along the axis, kept as size 1; at least the lowest finite number, so that -inf - max is never NaN."""
    return x.max(axis, keepdims=True, initial=np.finfo(x.dtype).min)


def widen(dz: Array, ndim: int, axis: Axis, keepdims: bool) -> Array:
    """Give a reduced array its reduced axes back, as size 1."""
    if keepdims or ndim == 0:
        return dz
    if axis is None:
        return dz.reshape((1,) * ndim)
    axes = [a % ndim for a in _as_tuple(axis)]
    return dz[tuple([None if a in axes else slice(None) for a in range(ndim)])]


def spread(dz: Array, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Array:
    """Repeat a reduced array over its reduced axes, as a view."""
    if axis is None:  # one number: what broadcast_to does, in a fifth of its time
        z = np.ndarray(shape, dz.dtype, dz, strides=(0,) * len(shape))
        z.flags.writeable = False  # all elements are one
        return z
    return np.broadcast_to(widen(dz, len(shape), axis, keepdims), shape)


def _as_tuple(axis: int | tuple[int, ...]) -> tuple[int, ...]:
    return axis if isinstance(axis, tuple) else (axis,)


def count(x: Array, axis: Axis) -> int:
    """How many elements each result is made of."""
    if axis is None or x.ndim == 0:
        return x.size
    count = 1
    for a in _as_tuple(axis):
        count *= x.shape[a]
    return count


def axis_of(dim: Dim) -> Axis:
    """PyTorch takes a list of axes too."""
    return tuple(dim) if isinstance(dim, list) else dim
