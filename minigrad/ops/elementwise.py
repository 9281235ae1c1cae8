"""More ops on each element alone: exponentials, angles, absolute values, choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.arithmetic import scale_nonzero
from minigrad.core.op import Array, Backward, op


@op(elementwise=True)
def log1p(x: Array) -> tuple[Array, Backward]:
    """z = log(1 + x)
    dx = dz / (1 + x)

    Exact for small x too.
    """

    def backward(dz):
        with np.errstate(divide="ignore"):
            return (scale_nonzero(dz, 1 / (1 + x)),)

    return np.log1p(x), backward


@op(elementwise=True)
def expm1(x: Array) -> tuple[Array, Backward]:
    """z = exp(x) - 1
    dx = dz * (z + 1)

    Exact for small x too.
    """
    z = np.expm1(x)

    def backward(dz):
        return (dz * (z + 1),)

    return z, backward


@op(elementwise=True)
def sqrt(x: Array) -> tuple[Array, Backward]:
    """z = sqrt(x)
    dx = dz / (2 * z)
    """
    z = np.sqrt(x)

    def backward(dz):
        with np.errstate(divide="ignore"):
            return (scale_nonzero(dz, 0.5 / z),)

    return z, backward


@op(elementwise=True)
def sin(x: Array) -> tuple[Array, Backward]:
    """z = sin(x)
    dx = dz * cos(x)
    """

    def backward(dz):
        return (dz * np.cos(x),)

    return np.sin(x), backward


@op(elementwise=True)
def cos(x: Array) -> tuple[Array, Backward]:
    """z = cos(x)
    dx = -dz * sin(x)
    """

    def backward(dz):
        return (-dz * np.sin(x),)

    return np.cos(x), backward


@op(elementwise=True)
def atan(x: Array) -> tuple[Array, Backward]:
    """z = arctan(x)
    dx = dz / (1 + x ** 2)
    """

    def backward(dz):
        return (dz / (1 + x * x),)

    return np.arctan(x), backward


@op(elementwise=True)
def abs(x: Array) -> tuple[Array, Backward]:
    """z = |x|
    dx = dz * sign(x)

    At x = 0 the gradient is 0.
    """

    def backward(dz):
        return (dz * np.sign(x),)

    return np.abs(x), backward


@op(elementwise=True)
def maximum(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = max(x, y)
    dx = dz * [x > y]
    dy = dz * [y > x]

    A tie gives half to each, so that the gradients still sum to dz.
    """

    def backward(dz):
        share = _share(x > y, x == y, dz)
        return dz * share, dz * (1 - share)

    return np.maximum(x, y), backward


@op(elementwise=True)
def minimum(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = min(x, y)
    dx = dz * [x < y]
    dy = dz * [y < x]

    A tie gives half to each, so that the gradients still sum to dz.
    """

    def backward(dz):
        share = _share(x < y, x == y, dz)
        return dz * share, dz * (1 - share)

    return np.minimum(x, y), backward


def _share(wins: Array, ties: Array, dz: Array) -> Array:
    """1 where x wins, 1/2 at a tie, 0 elsewhere, in the dtype of dz."""
    return np.where(ties, 0.5, wins).astype(dz.dtype, copy=False)


@op(elementwise=True)
def clamp(x: Array, *, min: Any = None, max: Any = None) -> tuple[Array, Backward]:
    """z = min(max(x, lowest), highest)
    dx = dz * [lowest <= x <= highest]
    """
    if min is None and max is None:
        raise ValueError("give min, max or both")

    def backward(dz):
        inside = np.ones_like(x, dtype=bool)
        if min is not None:
            inside &= x >= min
        if max is not None:
            inside &= x <= max
        return (dz * inside,)

    return np.clip(x, min, max), backward


@op(elementwise=True)
def where(x: Array, y: Array, *, condition: Array) -> tuple[Array, Backward]:
    """z = x where condition, else y
    dx = dz where condition, else 0
    dy = 0 where condition, else dz
    """
    condition = np.asarray(condition, dtype=bool)

    def backward(dz):
        return dz * condition, dz * ~condition

    return np.where(condition, x, y), backward


@op(elementwise=True)
def masked_fill(x: Array, *, mask: Array, value: float) -> tuple[Array, Backward]:
    """z = value where mask, else x
    dx = 0 where mask, else dz
    """
    if mask.dtype != bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}: write mask=(m == 0) or (m != 0)")

    def backward(dz):
        return (dz * ~mask,)

    return np.where(mask, x.dtype.type(value), x), backward


@op(elementwise=True, grad_fn="ToCopy")
def cast(x: Array, *, dtype: np.dtype[Any]) -> tuple[Array, Backward]:
    """z = x in another dtype
    dx = dz in the dtype of x
    """
    origin = x.dtype

    def backward(dz):
        return (dz.astype(origin, copy=False),)

    return x.astype(dtype), backward


@op(elementwise=True)
def clone(x: Array) -> tuple[Array, Backward]:
    """z = x, in memory of its own
    dx = dz
    """

    def backward(dz):
        return (dz,)

    return x.copy(), backward
