"""More ops that reduce along axes: extremes, spreads, products, log-sums, and the running sum.

``axis`` is None (all axes), an int or a tuple of ints, negative ones count from the end.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.core.op import Array, Backward, op
from minigrad.core.sums import Axis, widen
from minigrad.ops.elementwise import chosen, numbers, sign


@op(reduces=True)
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = max x
    dx = dz / (how many x equal z) where x = z, else 0

    Ties share the gradient evenly. NaN is larger, and smaller, than all.
    """
    return extreme(x, x.max(axis, keepdims=True), axis, keepdims)


@op(reduces=True)
def min(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = min x
    dx = dz / (how many x equal z) where x = z, else 0

    Ties share the gradient evenly. NaN is larger, and smaller, than all.
    """
    return extreme(x, x.min(axis, keepdims=True), axis, keepdims)


def extreme(x: Array, z: Array, axis: Axis, keepdims: bool) -> tuple[Array, Backward]:
    def backward(dz):
        return (chosen(*shared(widen(dz, x.ndim, axis, keepdims), hits(x, z), axis)),)

    return (z if keepdims else z.squeeze(axis)), backward


def hits(x: Array, z: Array) -> Array:
    """Where x is the extreme z of its row."""
    hit = x == z
    return hit | np.isnan(x) if np.isnan(z).any() else hit


def shared(dz: Array, hit: Array, axis: Axis) -> tuple[Array, Array]:
    """The gradient of a row, divided by how many elements share it, and which do."""
    with np.errstate(invalid="ignore"):
        return (dz / hit.sum(axis, keepdims=True)).astype(dz.dtype, copy=False), hit


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
def norm(x: Array, *, p: float = 2, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = (sum |x| ** p) ** (1 / p)
    dx = dz * sign(x) * (|x| / z) ** (p - 1)

    p = 0 counts the elements that are not 0, p = inf and -inf take the largest and the smallest |x|. Where z = 0, and
    where x = 0 with p below 1, the slope is infinite or has no direction: there the gradient is 0.
    """
    if p == 2:
        size = x
        z = np.sqrt((x * x).sum(axis, keepdims=True))
    else:
        size = np.abs(x)
    if p == 0:
        z = (x != 0).sum(axis, keepdims=True).astype(x.dtype)
    elif p == 1:
        z = size.sum(axis, keepdims=True)
    elif math.isinf(p):
        z = (size.max if p > 0 else size.min)(axis, keepdims=True)
    elif p != 2:
        with np.errstate(divide="ignore"):
            z = (size**p).sum(axis, keepdims=True) ** (1 / p)

    def backward(dz):
        dz = widen(dz, x.ndim, axis, keepdims)
        if p == 0:
            return (None,)
        if p == 1:
            return (dz * sign(x),)
        if math.isinf(p):
            return (chosen(*shared(dz, hits(size, z), axis)) * sign(x),)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = x / z if p == 2 else sign(x) * (size / z) ** (p - 1)
        flat = z == 0 if p >= 1 else (z == 0) | (x == 0)
        return (np.where(flat, 0, dz * slope).astype(x.dtype, copy=False),)

    return (z if keepdims else z.squeeze(axis)), backward


@op(reduces=True)
def prod(x: Array, *, axis: int | None = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = product of x
    dx = dz * (product of all the other x)

    The others are multiplied up from both ends, not divided out, so zeros in x are no trouble.
    """
    z = x.prod(axis, keepdims=keepdims)

    def backward(dz):
        line = x.reshape(-1) if axis is None or x.ndim == 0 else np.moveaxis(x, axis, -1)
        one = np.ones_like(line[..., :1])
        before = np.cumprod(np.concatenate([one, line[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([one, np.flip(line[..., 1:], -1)], -1), -1)
        others = before * np.flip(after, -1)
        others = others.reshape(x.shape) if axis is None or x.ndim == 0 else np.moveaxis(others, -1, axis)
        return (widen(dz, x.ndim, axis, keepdims) * others,)

    return z, backward


@op(reduces=True)
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    """z = log sum exp(x)
    dx = dz * exp(x - z)

    Where all x are -inf the gradient is 0.
    """
    top = finite(numbers(x).max(axis, keepdims=True, initial=-np.inf))
    with np.errstate(divide="ignore"):
        z = np.log(np.exp(x - top).sum(axis, keepdims=True)) + top

    def backward(dz):
        share = np.exp(x - np.where(z == -np.inf, 0, z))
        return (widen(dz, x.ndim, axis, keepdims) * share,)

    return (z if keepdims else z.squeeze(axis)), backward


def finite(x: Array) -> Array:
    """x, with 0 in place of infinities, which nothing can be subtracted from."""
    return np.where(np.isinf(x), 0, x).astype(x.dtype, copy=False)


@op
def cumsum(x: Array, *, axis: int = 0) -> tuple[Array, Backward]:
    """z_i = x_1 + ... + x_i
    dx_i = dz_i + ... + dz_n
    """

    def backward(dz):
        return (cumsum_back(dz, axis),)

    return np.cumsum(np.atleast_1d(x), axis).reshape(x.shape), backward


def cumsum_back(dz: Array, axis: int) -> Array:
    """Sums from each element to the end."""
    line = np.flip(np.atleast_1d(dz), axis)
    return np.flip(np.cumsum(line, axis), axis).reshape(np.shape(dz))


@op
def logcumsumexp(x: Array, *, axis: int = 0) -> tuple[Array, Backward]:
    """z_i = log(exp(x_1) + ... + exp(x_i))
    dx_i = exp(x_i) * (dz_i / exp(z_i) + ... + dz_n / exp(z_n))
    """
    z = np.logaddexp.accumulate(np.atleast_1d(x), axis).reshape(x.shape)

    def backward(dz):
        finite = np.where(z == -np.inf, 0, z)
        share, end, rows = (np.moveaxis(np.atleast_1d(a), axis, 0) for a in (np.exp(x - finite), finite, dz))
        found, later = [], 0 * rows[:1].sum(0)
        for i in range(len(rows) - 1, -1, -1):  # z never falls, so no exp is above 1
            total = rows[i] + later  # what comes to z_i, directly and through the later ones
            found.append(share[i] * total)
            later = total * np.exp(end[i - 1] - end[i]) if i else later
        dx = np.stack(found[::-1]) if found else rows
        return (np.moveaxis(dx, 0, axis).reshape(x.shape),)

    return z, backward


def count(x: Array, axis: Axis) -> int:
    """How many elements each result is made of."""
    if axis is None or x.ndim == 0:
        return x.size
    count = 1
    for a in axis if isinstance(axis, tuple) else (axis,):
        count *= x.shape[a]
    return count
