"""More ops that reduce along axes: extremes, spreads, products, log-sums, and the running sum.

``axis`` is None (all axes), an int or a tuple of ints, negative ones count from the end.
"""

from __future__ import annotations

import numpy as np

from minigrad.core.op import Array, Backward, op
from minigrad.core.sums import Axis, finite_max, widen


@op(reduces=True)
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = max x
    dx = dz * [x = z] / (how many x equal z)

    Ties share the gradient evenly.
    """
    return extreme(x, x.max(axis, keepdims=True), axis, keepdims)


@op(reduces=True)
def min(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = min x
    dx = dz * [x = z] / (how many x equal z)

    Ties share the gradient evenly.
    """
    return extreme(x, x.min(axis, keepdims=True), axis, keepdims)


def extreme(x: Array, z: Array, axis: Axis, keepdims: bool) -> tuple[Array, Backward]:
    def backward(dz):
        hit = (x == z).astype(dz.dtype)
        return (widen(dz, x.ndim, axis, keepdims) * hit / hit.sum(axis, keepdims=True),)

    return (z if keepdims else z.squeeze(axis)), backward


@op(reduces=True)
def var(x: Array, *, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = sum (x - mean x) ** 2 / (n - correction)
    dx = dz * 2 * (x - mean x) / (n - correction)
    """
    ndim = x.ndim
    centred = x - x.mean(axis, keepdims=True)
    n = _degrees_of_freedom(x, axis, correction)

    def backward(dz):
        return (widen(dz, ndim, axis, keepdims) * centred * (2 / n),)

    return (centred * centred).sum(axis, keepdims=keepdims) / n, backward


@op(reduces=True)
def std(x: Array, *, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = sqrt(sum (x - mean x) ** 2 / (n - correction))
    dx = dz * (x - mean x) / (z * (n - correction))

    Where all x are equal (z = 0) the gradient is 0.
    """
    ndim = x.ndim
    centred = x - x.mean(axis, keepdims=True)
    n = _degrees_of_freedom(x, axis, correction)
    z = np.sqrt((centred * centred).sum(axis, keepdims=True) / n)

    def backward(dz):
        slope = centred / (np.where(z == 0, 1, z) * n)
        return (widen(dz, ndim, axis, keepdims) * slope.astype(dz.dtype, copy=False),)

    return (z if keepdims else z.squeeze(axis)), backward


def _degrees_of_freedom(x: Array, axis: Axis, correction: float) -> float:
    n = count(x, axis)
    if n <= correction:
        raise ValueError(f"needs more than {correction} elements along axis {axis}, got {n}; correction=0 divides by n")
    return n - correction


@op(reduces=True)
def prod(x: Array, *, axis: int | None = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = product of x
    dx = dz * (product of all the other x)

    The others are multiplied up from both ends, not divided out, so zeros in x are no trouble.
    """
    z = x.prod(axis, keepdims=keepdims)

    def backward(dz):
        line = x.reshape(-1) if axis is None else np.moveaxis(x, axis, -1)
        before, after = np.ones_like(line), np.ones_like(line)
        np.cumprod(line[..., :-1], -1, out=before[..., 1:])
        np.cumprod(line[..., :0:-1], -1, out=after[..., -2::-1])
        others = before * after
        others = others.reshape(x.shape) if axis is None else np.moveaxis(others, -1, axis)
        return (widen(dz, x.ndim, axis, keepdims) * others,)

    return z, backward


@op(reduces=True)
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = log sum exp(x)
    dx = dz * exp(x - z)
    """
    top = finite_max(x, axis)
    with np.errstate(divide="ignore"):
        z = np.log(np.exp(x - top).sum(axis, keepdims=True)) + top

    def backward(dz):
        share = np.exp(x - np.where(np.isinf(z), 0, z))
        return (widen(dz, x.ndim, axis, keepdims) * share,)

    return (z if keepdims else z.squeeze(axis)), backward


@op
def cumsum(x: Array, *, axis: int = 0) -> tuple[Array, Backward]:
    """z_i = x_1 + ... + x_i
    dx_i = dz_i + ... + dz_n
    """

    def backward(dz):
        line = np.flip(np.atleast_1d(dz), axis)
        return (np.flip(np.cumsum(line, axis), axis).reshape(dz.shape),)

    return np.cumsum(x, axis).reshape(x.shape), backward


def count(x: Array, axis: Axis) -> int:
    """How many elements each result is made of."""
    if axis is None or x.ndim == 0:
        return x.size
    count = 1
    for a in axis if isinstance(axis, tuple) else (axis,):
        count *= x.shape[a]
    return count
