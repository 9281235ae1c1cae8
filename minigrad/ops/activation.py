"""More of the curves that networks bend lines with: ReLU, sigmoid, SiLU, GELU and the error function in it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from minigrad.core.op import OPS, Array, Backward, op
from minigrad.ops.elementwise import chosen

F = TypeVar("F", bound=Callable[..., Any])


def elementary(name: str) -> Callable[[F], F]:
    """Say of a function of an array that it is an op: one that is traced then takes the op's derivative."""

    def enter(function: F) -> F:
        @functools.wraps(function)
        def call(x: Any) -> Any:
            return x.applied(OPS[name]) if hasattr(x, "applied") else function(x)

        return call  # type: ignore[return-value]

    return enter


@op(elementwise=True)
def relu(x: Array) -> tuple[Array, Backward]:
    """z = max(x, 0)
    dx = dz where x > 0, else 0

    At x = 0 the gradient is 0; an infinite dz is no trouble there.
    """
    z = np.maximum(x, 0)

    def backward(dz):
        return (chosen(dz, z != 0),)

    return z, backward


@op(elementwise=True)
def sigmoid(x: Array) -> tuple[Array, Backward]:
    """z = 1 / (1 + exp(-x))
    dx = dz * z * (1 - z)
    """
    z = logistic(x)

    def backward(dz):
        return (dz * z * (1 - z),)

    return z, backward


@elementary("sigmoid")
def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), from exp(-|x|), which never overflows and keeps the small values on the left."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@op(elementwise=True)
def silu(x: Array) -> tuple[Array, Backward]:
    """z = x * sigmoid(x)
    dx = dz * sigmoid(x) * (1 + x * (1 - sigmoid(x)))

    Hendrycks and Gimpel 2016 (SiL); Ramachandran et al. 2017 (Swish).
    """
    s = logistic(x)

    def backward(dz):
        return (dz * s * (1 + x * (1 - s)),)

    return x * s, backward


@op(elementwise=True)
def gelu(x: Array) -> tuple[Array, Backward]:
    """z = x * P(x), P(x) = (1 + erf(x / sqrt(2))) / 2
    dx = dz * (P(x) + x * exp(-x ** 2 / 2) / sqrt(2 pi))

    Hendrycks and Gimpel 2016.
    """
    p = (1 + erf(x * math.sqrt(0.5))) / 2

    def backward(dz):
        return (dz * (p + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),)

    return x * p, backward


# Chebyshev interpolants of exp(x^2) erfc(x) in t = (x - 3.75) / (x + 3.75), written as polynomials in t, highest power
# last (Schonfelder 1978 uses the same variable). In float64 erf is good to 3e-16, in float32 to 3e-7.
_ERFC_FLOAT64 = (
    0.14558972127503855, -0.2734219314954265, 0.2260080669166215, -0.16357189552392382, 0.10260431203219417,
    -0.05480232669498341, 0.024143223972534017, -0.008220621154042809, 0.001802962415713805, -2.5535332060151198e-05,
    -0.00015246265771506537, 4.789878864355871e-05, 3.5836846491181257e-06, -6.183465333063934e-06,
    7.486303447884821e-07, 6.595443735932354e-07, -1.835580176282618e-07, -7.277941260383501e-08, 3.168440970766106e-08,
    9.358461392351241e-09, -5.071114656572606e-09, -1.4646579385889007e-09, 7.644775541278864e-10,
    2.530929047820208e-10, -9.634288479206549e-11, -3.802280137923997e-11, 7.207028235604977e-12, 3.291619437808281e-12,
)  # fmt: skip


_ERFC_FLOAT32 = (
    0.14558972131048603, -0.2734219314392816, 0.22600806343026308, -0.16357190103202465, 0.10260436884143634,
    -0.05480223808046023, 0.024142870655470588, -0.008221158692243354, 0.0018040364595229422, -2.3969502781516514e-05,
    -0.00015421810877033746, 4.5519901029392586e-05, 5.157386700271196e-06, -4.321205088287072e-06,
)  # fmt: skip


@elementary("error_function")
def erf(x: Array) -> Array:
    """The error function, element by element: erf(x) = sign(x) * (1 - exp(-x^2) * p(t))."""
    coefficients = _ERFC_FLOAT64 if x.dtype.itemsize > 4 else _ERFC_FLOAT32
    a = np.abs(x)
    a = np.minimum(a, 9.0)  # erf is 1 to the last bit long before
    t = (a - 3.75) / (a + 3.75)
    p = np.full_like(t, coefficients[-1])
    for c in coefficients[-2::-1]:
        p *= t
        p += c
    p *= np.exp(-a * a)
    return np.copysign(1 - p, x)


@op(elementwise=True, grad_fn="Erf")
def error_function(x: Array) -> tuple[Array, Backward]:
    """z = erf(x)
    dx = dz * exp(-x ** 2) * 2 / sqrt(pi)
    """

    def backward(dz):
        return (dz * np.exp(-x * x) * (2 / math.sqrt(math.pi)),)

    return erf_to_the_last_digit(x), backward


@op(elementwise=True, grad_fn="Erfc")
def complementary_error_function(x: Array) -> tuple[Array, Backward]:
    """z = erfc(x) = 1 - erf(x)
    dx = -dz * exp(-x ** 2) * 2 / sqrt(pi)
    """

    def backward(dz):
        return (-dz * np.exp(-x * x) * (2 / math.sqrt(math.pi)),)

    return erfc_to_the_last_digit(x), backward


@elementary("complementary_error_function")
def erfc_to_the_last_digit(x: Array) -> Array:
    """erfc with all its digits on the right too."""
    return np.where(x < 0.5, 1 - erf_to_the_last_digit(x), erfc_above(x)).astype(x.dtype, copy=False)


@elementary("error_function")
def erf_to_the_last_digit(x: Array) -> Array:
    """erf with all its digits near 0 too, by the Taylor series there."""
    small = np.clip(x.astype(np.float64), -0.5, 0.5)
    square, series = small * small, np.zeros_like(small)
    for n in range(14, -1, -1):
        series = series * -square / (n + 1) + 1 / (2 * n + 1)
    near = small * series * (2 / math.sqrt(math.pi))
    far = np.copysign(1 - erfc_above(np.abs(x)), x)
    return np.where(np.abs(x) <= 0.5, near, far).astype(x.dtype, copy=False)


def erfc_above(x: Array) -> Array:
    """erfc for x from 0.5 on, in float64: exp(-x ** 2) * p(t), the square in two parts so that no digit is lost."""
    a = np.clip(x.astype(np.float64), 0.5, 28.0)  # erfc(28) is 0
    t = (a - 3.75) / (a + 3.75)
    p = np.full_like(t, _ERFC_FLOAT64[-1])
    for c in _ERFC_FLOAT64[-2::-1]:
        p = p * t + c
    high = np.round(a * 16) / 16
    return p * np.exp(-high * high) * np.exp((high - a) * (high + a))


@op(elementwise=True)
def elu(x: Array, *, alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0) -> tuple[Array, Backward]:
    """z = scale * x where x > 0, else scale * alpha * (exp(inner * x) - 1)
    dx = dz * scale where x > 0, else dz * scale * alpha * inner * exp(inner * x)

    Clevert et al. 2016; SELU and CELU are this with other constants.
    """
    below = np.minimum(x, 0) * inner

    def backward(dz):
        slope = np.exp(np.where(x < 0, x, 0) * inner) * (scale * alpha * inner)
        return (dz * np.where(x <= 0, slope, scale).astype(dz.dtype, copy=False),)

    return np.where(x > 0, x * scale, np.expm1(below) * (scale * alpha)), backward


@op(elementwise=True)
def hardswish(x: Array) -> tuple[Array, Backward]:
    """z = x * min(max(x + 3, 0), 6) / 6
    dx = dz * (x / 3 + 1 / 2) where -3 < x < 3, dz where x > 3, else 0

    Howard et al. 2019.
    """

    def backward(dz):
        return (chosen(dz * np.where(x < 3, x / 3 + 0.5, 1).astype(dz.dtype, copy=False), ~(x <= -3)),)

    return x * np.clip(x + 3, 0, 6) / 6, backward


@op(elementwise=True)
def softplus(x: Array, *, beta: float = 1.0, threshold: float = 20.0) -> tuple[Array, Backward]:
    """z = log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold
    dx = dz * sigmoid(beta * x), and dz there
    """
    t = x * beta
    z = (np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))) / beta

    def backward(dz):
        return (dz * np.where(t > threshold, 1, logistic(t)).astype(dz.dtype, copy=False),)

    return np.where(t > threshold, x, z), backward


@op(elementwise=True, grad_fn="LogSigmoid")
def logsigmoid(x: Array) -> tuple[Array, Backward]:
    """z = log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|))
    dx = dz * sigmoid(-x)
    """

    def backward(dz):
        return (dz * logistic(-x),)

    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))), backward
