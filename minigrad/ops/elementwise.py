"""More ops on each element alone: the rest of arithmetic, exponentials, angles, absolute values, choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.core.arithmetic import NUMBERS
from minigrad.core.op import Array, Backward, op

WHOLE = {2: np.int16, 4: np.int32, 8: np.int64}  # whole numbers as wide as a float of so many bytes


def chosen(dz: Array, where: Array) -> Array:
    """dz where the condition holds, else 0, also where dz is infinite or NaN: times the condition that would be NaN.

    The bits, taken as a whole number, times 1 stay and times 0 are 0. That is as fast as a product, where ``np.where``
    takes up to nine times as long.
    """
    return (dz.view(WHOLE[dz.itemsize]) * where).view(dz.dtype)


def numbers(x: Any) -> Any:
    """The plain numbers of an array, for what no derivative has to follow: a shift that cancels."""
    return getattr(x, "numbers", x)


def scale_nonzero(dz: Array, factor: Array) -> Array:
    """dz * factor, with 0 * anything = 0: a branch that ``where`` did not choose must not give NaN.

    A finite factor is multiplied even there: the product is 0, but it changes with dz.
    """
    with np.errstate(invalid="ignore"):
        product = dz * factor
    finite = np.isfinite(factor)
    return product if finite.all() else np.where((dz == 0) & ~finite, 0, product)


@op(elementwise=True, symbol="−")  # noqa: RUF001
def sub(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x - y
    dx = dz
    dy = -dz
    """

    def backward(dz):
        return dz, -dz

    return x - y, backward


@op(elementwise=True, symbol="÷", reads=("y", "x y"))
def div(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x / y
    dx = dz / y
    dy = -dz * z / y
    """
    z = x / y
    dtype = z.dtype

    def backward(dz):  # needs no z, so that scores can be masked in place after they were scaled
        if isinstance(y, NUMBERS) and y * y > 1e-14:  # not 0, and no dtype makes it 0
            return dz / y, None
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.divide(1, y, dtype=dtype)
            return scale_nonzero(dz, slope), scale_nonzero(dz, -(x / y) * slope)

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
            slope = power(x, y - 1)
            dx = scale_nonzero(dz, np.where((y == 0) & ~np.isfinite(slope), 0, y * slope))
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
def exp2(x: Array) -> tuple[Array, Backward]:
    """z = 2 ** x
    dx = dz * z * log(2)
    """
    z = np.exp2(x)

    def backward(dz):
        return (dz * z * math.log(2),)

    return z, backward


@op(elementwise=True)
def log2(x: Array) -> tuple[Array, Backward]:
    """z = log(x) / log(2)
    dx = dz / (x * log(2))
    """

    def backward(dz):
        with np.errstate(divide="ignore"):
            return (scale_nonzero(dz, 1 / (x * math.log(2))),)

    return np.log2(x), backward


@op(elementwise=True)
def log10(x: Array) -> tuple[Array, Backward]:
    """z = log(x) / log(10)
    dx = dz / (x * log(10))
    """

    def backward(dz):
        with np.errstate(divide="ignore"):
            return (scale_nonzero(dz, 1 / (x * math.log(10))),)

    return np.log10(x), backward


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
def tan(x: Array) -> tuple[Array, Backward]:
    """z = tan(x)
    dx = dz * (1 + z ** 2)
    """
    z = np.tan(x)

    def backward(dz):
        return (dz * (1 + z * z),)

    return z, backward


@op(elementwise=True)
def asin(x: Array) -> tuple[Array, Backward]:
    """z = arcsin(x)
    dx = dz / sqrt(1 - x ** 2)
    """

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            return (scale_nonzero(dz, 1 / np.sqrt((1 - x) * (1 + x))),)

    return np.arcsin(x), backward


@op(elementwise=True)
def acos(x: Array) -> tuple[Array, Backward]:
    """z = arccos(x)
    dx = -dz / sqrt(1 - x ** 2)
    """

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            return (scale_nonzero(dz, -1 / np.sqrt((1 - x) * (1 + x))),)

    return np.arccos(x), backward


@op(elementwise=True)
def atan(x: Array) -> tuple[Array, Backward]:
    """z = arctan(x)
    dx = dz / (1 + x ** 2)
    """

    def backward(dz):
        return (dz / (1 + x * x),)

    return np.arctan(x), backward


@op(elementwise=True)
def sinh(x: Array) -> tuple[Array, Backward]:
    """z = (exp(x) - exp(-x)) / 2
    dx = dz * cosh(x)
    """

    def backward(dz):
        return (dz * np.cosh(x),)

    return np.sinh(x), backward


@op(elementwise=True)
def cosh(x: Array) -> tuple[Array, Backward]:
    """z = (exp(x) + exp(-x)) / 2
    dx = dz * sinh(x)
    """

    def backward(dz):
        return (dz * np.sinh(x),)

    return np.cosh(x), backward


@op(elementwise=True)
def hypot(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = sqrt(x ** 2 + y ** 2)
    dx = dz * x / z
    dy = dz * y / z

    Nothing overflows on the way. Where x = y = 0 the gradient is 0.
    """
    z = np.hypot(x, y)

    def backward(dz):
        length = np.where(z == 0, 1, z)
        return dz * (x / length), dz * (y / length)

    return z, backward


@op(elementwise=True)
def logaddexp(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = log(exp(x) + exp(y))
    dx = dz * exp(x - z)
    dy = dz * exp(y - z)

    Where both are -inf the gradient is 0.
    """
    z = np.logaddexp(x, y)

    def backward(dz):
        with np.errstate(invalid="ignore"):
            top = np.where(z == -np.inf, 0, z)
            return dz * np.exp(x - top), dz * np.exp(y - top)

    return z, backward


@op(elementwise=True)
def remainder(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x - y * floor(x / y), without rounding on the way
    dx = dz
    dy = -dz * floor(x / y)

    It has the sign of y.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.remainder(x, y)

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            return dz, -dz * np.floor_divide(x, y)

    return z, backward


@op(elementwise=True)
def fmod(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x - y * trunc(x / y), without rounding on the way
    dx = dz
    dy = -dz * trunc(x / y)

    It has the sign of x, as in C.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.fmod(x, y)

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            return dz, -dz * np.trunc(np.divide(x, y, dtype=dz.dtype))

    return z, backward


@op(elementwise=True)
def abs(x: Array) -> tuple[Array, Backward]:
    """z = |x|
    dx = dz * sign(x)

    At x = 0 the gradient is 0, and at NaN.
    """

    def backward(dz):
        return (dz * sign(x),)

    return np.abs(x), backward


def sign(x: Array) -> Array:
    """-1, 0 or 1; 0 for NaN, as in PyTorch, so that a NaN which nothing came of does not go on."""
    return np.subtract(x > 0, x < 0, dtype=np.int8)


@op(elementwise=True)
def maximum(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = max(x, y)
    dx = dz where x > y, else 0
    dy = dz where y > x, else 0

    A tie gives half to each, so that the gradients still sum to dz; NaN gives it to both.
    """

    def backward(dz):
        if (ties := x == y).any():
            dz = np.where(ties, dz / 2, dz)
        return chosen(dz, ~(x < y)), chosen(dz, ~(y < x))

    return np.maximum(x, y), backward


@op(elementwise=True)
def minimum(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = min(x, y)
    dx = dz where x < y, else 0
    dy = dz where y < x, else 0

    A tie gives half to each, so that the gradients still sum to dz; NaN gives it to both.
    """

    def backward(dz):
        if (ties := x == y).any():
            dz = np.where(ties, dz / 2, dz)
        return chosen(dz, ~(x > y)), chosen(dz, ~(y > x))

    return np.minimum(x, y), backward


@op(elementwise=True)
def clamp(x: Array, *, min: Any = None, max: Any = None) -> tuple[Array, Backward]:
    """z = min(max(x, lowest), highest)
    dx = dz where lowest <= x <= highest, else 0
    """
    if min is None and max is None:
        raise ValueError("give min, max or both")

    def backward(dz):
        inside = np.ones(x.shape, dtype=bool)
        if min is not None:
            inside &= x >= min
        if max is not None:
            inside &= x <= max
        return (chosen(dz, inside),)

    return np.clip(x, min, max), backward


@op(elementwise=True)
def where(x: Array, y: Array, *, condition: Array) -> tuple[Array, Backward]:
    """z = x where condition, else y
    dx = dz where condition, else 0
    dy = 0 where condition, else dz
    """
    condition = np.asarray(condition, dtype=bool)

    def backward(dz):
        return chosen(dz, condition), chosen(dz, ~condition)

    return np.where(condition, x, y), backward


@op(elementwise=True)
def masked_fill(x: Array, *, mask: Array, value: float) -> tuple[Array, Backward]:
    """z = value where mask, else x
    dx = 0 where mask, else dz
    """
    if mask.dtype != bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}: write mask=(m == 0) or (m != 0)")

    def backward(dz):
        return (chosen(dz, ~mask),)

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
