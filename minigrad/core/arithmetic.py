"""Ops on each element alone: add, multiply, exp, and what makes a network more than a line: tanh, GELU, dropout."""

from __future__ import annotations

import math

import numpy as np

from minigrad.core.op import Array, Backward, op

NUMBERS = (int, float)  # an operand of these kinds is a constant: nobody asks for its gradient


@op(elementwise=True, symbol="+")
def add(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x + y
    dx = dz
    dy = dz
    """

    def backward(dz):
        return dz, dz

    return x + y, backward


@op(elementwise=True, symbol="×", reads=("y", "x"))  # dx reads y, dy reads x  # noqa: RUF001
def mul(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x * y
    dx = dz * y
    dy = dz * x
    """

    def backward(dz):
        return None if isinstance(x, NUMBERS) else dz * y, None if isinstance(y, NUMBERS) else dz * x

    return x * y, backward


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
def tanh(x: Array) -> tuple[Array, Backward]:
    """z = tanh(x)
    dx = dz * (1 - z ** 2)
    """
    z = np.tanh(x)  # a variable of the op that backward reads (a closure) is kept until then

    def backward(dz):
        return (dz * (1 - z * z),)

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
        near = np.clip(x, -99, 99)  # far out 1 - t ** 2 is 0, and du could overflow to inf: 0 * inf is nan
        du = c * (1 + 3 * 0.044715 * (near * near))
        return (dz * ((1 + t) / 2 + near / 2 * (1 - t * t) * du),)

    return x * ((1 + t) / 2), backward


@op(elementwise=True, grad_fn="Mul")
def dropout(x: Array, *, mask: Array) -> tuple[Array, Backward]:
    """z = x * mask, mask = 0 with probability p, else 1 / (1 - p)
    dx = dz * mask
    """

    def backward(dz):
        return (dz * mask,)

    return x * mask, backward
