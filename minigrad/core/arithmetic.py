"""Ops on each element alone: arithmetic, powers, exponentials, and the curves that networks bend lines with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, op

NUMBERS = (int, float)  # an operand of these kinds is a constant: nobody asks for its gradient


def scale_nonzero(dz: Array, factor: Array) -> Array:
    """dz * factor, with 0 * anything = 0.

    An element whose upstream gradient is zero (the branch that ``where`` did not choose, say) does not take part, so
    an infinite or undefined slope there must not turn into NaN.
    """
    with np.errstate(invalid="ignore"):
        product = dz * factor
    return np.where(dz == 0, 0, product).astype(product.dtype, copy=False)


@op(elementwise=True, symbol="+")
def add(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x + y
    dx = dz
    dy = dz
    """
    return x + y, to_both


def to_both(dz: Array) -> tuple[Array, Array]:
    """The backward of every sum: it needs nothing of the forward pass, so one function does for all."""
    return dz, dz


@op(elementwise=True, symbol="−")  # noqa: RUF001
def sub(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x - y
    dx = dz
    dy = -dz
    """

    def backward(dz):
        return dz, -dz

    return x - y, backward


@op(elementwise=True, symbol="×")  # noqa: RUF001
def mul(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x * y
    dx = dz * y
    dy = dz * x
    """

    def backward(dz):
        return None if isinstance(x, NUMBERS) else dz * y, None if isinstance(y, NUMBERS) else dz * x

    return x * y, backward


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
def exp(x: Array) -> tuple[Array, Backward]:
    """z = exp(x)
    dx = dz * z
    """
    z = np.exp(x)

    def backward(dz):
        return (dz * z,)

    return z, backward


@op(elementwise=True)
def log(x: Array) -> tuple[Array, Backward]:
    """z = log(x)
    dx = dz / x
    """

    def backward(dz):
        with np.errstate(divide="ignore"):
            return (scale_nonzero(dz, 1 / x),)

    return np.log(x), backward


@op(elementwise=True)
def tanh(x: Array) -> tuple[Array, Backward]:
    """z = tanh(x)
    dx = dz * (1 - z ** 2)
    """
    z = np.tanh(x)

    def backward(dz):
        return (dz * (1 - z * z),)

    return z, backward


@op(elementwise=True)
def relu(x: Array) -> tuple[Array, Backward]:
    """z = max(x, 0)
    dx = dz * [x > 0]

    At x = 0 the gradient is 0.
    """
    z = np.maximum(x, 0)

    def backward(dz):
        return (dz * (z > 0),)

    return z, backward


@op(elementwise=True, grad_fn="Gelu")
def gelu_tanh(x: Array) -> tuple[Array, Backward]:
    """z = x * (1 + t) / 2, t = tanh(u), u = sqrt(2 / pi) * (x + 0.044715 * x ** 3)
    dx = dz * ((1 + t) / 2 + x / 2 * (1 - t ** 2) * du), du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x ** 2)

    The approximation of GELU that GPT-2 uses.
    """
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * (x * x * x)))

    def backward(dz):
        du = c * (1 + 3 * 0.044715 * (x * x))
        return (dz * ((1 + t) / 2 + x / 2 * (1 - t * t) * du),)

    return x * ((1 + t) / 2), backward


@op(elementwise=True, grad_fn="Mul")
def dropout(x: Array, *, mask: Array) -> tuple[Array, Backward]:
    """z = x * mask, mask = 0 with probability p, else 1 / (1 - p)
    dx = dz * mask

    Srivastava et al. 2014, scaled at training time.
    """

    def backward(dz):
        return (dz * mask,)

    return x * mask, backward
