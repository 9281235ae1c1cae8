"""Ops on each element: the angle of a point, the inverse hyperbolic functions, and sin(x) / x."""

from __future__ import annotations

import numpy as np

from minigrad.core.op import Array, Backward, op


@op(elementwise=True)
def atan2(y: Array, x: Array) -> tuple[Array, Backward]:
    """z = angle of the point (x, y), from -pi to pi
    dy = dz * x / (x ** 2 + y ** 2)
    dx = -dz * y / (x ** 2 + y ** 2)
    """

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            length = np.hypot(x, y)
            return dz * (x / length / length), -dz * (y / length / length)

    return np.arctan2(y, x), backward


@op(elementwise=True)
def asinh(x: Array) -> tuple[Array, Backward]:
    """z = arsinh(x)
    dx = dz / sqrt(x ** 2 + 1)
    """

    def backward(dz):
        return (dz / np.hypot(x, 1),)

    return np.arcsinh(x), backward


@op(elementwise=True)
def acosh(x: Array) -> tuple[Array, Backward]:
    """z = arcosh(x)
    dx = dz / sqrt(x ** 2 - 1)
    """

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            return (dz / np.sqrt((x - 1) * (x + 1)),)

    with np.errstate(invalid="ignore"):
        return np.arccosh(x), backward


@op(elementwise=True)
def atanh(x: Array) -> tuple[Array, Backward]:
    """z = artanh(x)
    dx = dz / (1 - x ** 2)
    """

    def backward(dz):
        with np.errstate(divide="ignore", invalid="ignore"):
            return (dz / ((1 - x) * (1 + x)),)

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arctanh(x), backward


@op(elementwise=True)
def sinc(x: Array) -> tuple[Array, Backward]:
    """z = sin(pi x) / (pi x)
    dx = dz * (cos(pi x) - z) / x

    At 0 they are 1 and 0.
    """
    z = np.sinc(x)

    def backward(dz):
        small = np.abs(x) < 1e-2  # there the difference loses its digits, and a few terms of the series are exact
        slope = (np.cos(np.pi * x) - z) / np.where(small, 1, x)
        square = (np.pi * x) ** 2
        series = -(np.pi**2) * x * (1 / 3 - square * (1 / 30 - square * (1 / 840 - square / 45360)))
        return ((dz * np.where(small, series, slope)).astype(dz.dtype, copy=False),)

    return z.astype(x.dtype, copy=False), backward
