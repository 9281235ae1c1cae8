"""More ops on each element alone: the rest of arithmetic, exponentials, angles, absolute values, choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.arithmetic import NUMBERS
from minigrad.core.op import Array, Backward, op


def scale_nonzero(dz: Array, factor: Array) -> Array:
    """dz * factor, with 0 * anything = 0: a branch that ``where`` did not choose must not give NaN."""
    with np.errstate(invalid="ignore"):
        product = dz * factor
    return np.where(dz == 0, 0, product).astype(product.dtype, copy=False)


@op(elementwise=True, symbol="−")  # noqa: RUF001
def sub(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x - y
    dx = dz
    dy = -dz
    """

    def backward(dz):
        return dz, -dz

    return x - y, backward


@op(elementwise=True, symbol="÷")
def div(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x / y
    dx = dz / y
    dy = -dz * z / y
    """
    z = x / y

    def backward(dz):
        if isinstance(y, NUMBERS) and y * y > 1e-14:  # not 0, and no dtype makes it 0
            return dz / y, None
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = 1 / np.asarray(y, z.dtype)
            return scale_nonzero(dz, slope), scale_nonzero(dz, -z * slope)

    return z, backward


@op(elementwise=True, symbol="−")  # noqa: RUF001
def neg(x: Array) -> tuple[Array, Backward]:
    """z = -x
    dx = -dz
    """

    def backward(dz):
        return (-dz,)

    return -x, backward


@op(elementwise=True)
def log(x: Array) -> tuple[Array, Backward]:
    """z = log(x)
    dx = dz / x
    """

    def backward(dz):
        with np.errstate(divide="ignore"):
            return (scale_nonzero(dz, 1 / x),)

    return np.log(x), backward


@op(elementwise=True, symbol="^")
def pow(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x ** y
    dx = dz * y * x ** (y - 1)
    dy = dz * z * log(x)

    Where x = 0 the gradient of y is 0 (the limit for y > 0). A plain number y is a constant.
    """
    z = power(x, y)

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            dx = scale_nonzero(dz, np.where(y == 0, 0, y * power(x, y - 1)))
            return dx, None if isinstance(y, NUMBERS) else scale_nonzero(dz, np.where(x == 0, 0, z * np.log(x)))

    return z, backward


def power(x: Array, y: Any) -> Array:
    """x ** y; NumPy's own float32 x ** 3 is a hundred times slower than two products."""
    if isinstance(y, NUMBERS) and y in (1, 2, 3):
        return (+x, x * x, x * x * x)[int(y) - 1]
    return x**y


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
