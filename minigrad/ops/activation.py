"""The nonlinearities of networks, and softmax."""

from __future__ import annotations

import math

import numpy as np

from minigrad.ops.registry import Array, Backward, op


@op
def relu(x: Array) -> tuple[Array, Backward]:
    """z = max(x, 0)
    dx = dz * [x > 0]

    At x = 0 the gradient is 0.
    """
    z = np.maximum(x, 0)

    def backward(dz):
        return (dz * (z > 0),)

    return z, backward


@op
def sigmoid(x: Array) -> tuple[Array, Backward]:
    """z = 1 / (1 + exp(-x))
    dx = dz * z * (1 - z)
    """
    z = logistic(x)

    def backward(dz):
        return (dz * z * (1 - z),)

    return z, backward


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), from exp(-|x|), which never overflows and keeps the small values on the left."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@op
def tanh(x: Array) -> tuple[Array, Backward]:
    """z = tanh(x)
    dx = dz * (1 - z ** 2)
    """
    z = np.tanh(x)

    def backward(dz):
        return (dz * (1 - z * z),)

    return z, backward


@op
def silu(x: Array) -> tuple[Array, Backward]:
    """z = x * sigmoid(x)
    dx = dz * sigmoid(x) * (1 + x * (1 - sigmoid(x)))

    Hendrycks and Gimpel 2016 (SiL); Ramachandran et al. 2017 (Swish).
    """
    s = logistic(x)

    def backward(dz):
        return (dz * s * (1 + x * (1 - s)),)

    return x * s, backward


@op
def gelu(x: Array) -> tuple[Array, Backward]:
    """z = x * P(x), P(x) = (1 + erf(x / sqrt(2))) / 2
    dx = dz * (P(x) + x * exp(-x ** 2 / 2) / sqrt(2 pi))

    Hendrycks and Gimpel 2016.
    """
    p = np.asarray(erf(x * math.sqrt(0.5)))
    p += 1
    p *= 0.5

    def backward(dz):
        slope = np.asarray(x * x)
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= x
        slope *= 1 / math.sqrt(2 * math.pi)
        slope += p
        slope *= dz
        return (slope,)

    return x * p, backward


@op
def gelu_tanh(x: Array) -> tuple[Array, Backward]:
    """z = x * (1 + t) / 2, t = tanh(u), u = sqrt(2 / pi) * (x + 0.044715 * x ** 3)
    dx = dz * ((1 + t) / 2 + x / 2 * (1 - t ** 2) * du), du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x ** 2)

    The approximation of GELU that GPT-2 uses.
    """
    c = math.sqrt(2 / math.pi)
    t = np.asarray(x * x)
    t *= 0.044715 * c
    t += c
    t *= x
    np.tanh(t, out=t)
    z = np.asarray(t + 1)
    z *= x
    z *= 0.5

    def backward(dz):
        du = np.asarray(x * x)
        du *= 3 * 0.044715 * c
        du += c
        du *= x
        slope = np.asarray(t * t)
        np.subtract(1, slope, out=slope)
        slope *= du
        slope += t
        slope += 1
        slope *= 0.5
        slope *= dz
        return (slope,)

    return z, backward


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


@op
def error_function(x: Array) -> tuple[Array, Backward]:
    """z = erf(x)
    dx = dz * exp(-x ** 2) * 2 / sqrt(pi)
    """

    def backward(dz):
        return (dz * np.exp(-x * x) * (2 / math.sqrt(math.pi)),)

    return np.asarray(erf(x)), backward


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


def exp_shifted(x: Array, axis: int) -> Array:
    """exp(x - max x), with zeros for a slice that is all -inf."""
    z = np.asarray(x - finite_max(x, axis))
    return np.exp(z, out=z)


def finite_max(x: Array, axis: int | tuple[int, ...] | None) -> Array:
    """max x along the axis, kept as size 1; at least the lowest finite number, so that -inf - max is never NaN."""
    return x.max(axis, keepdims=True, initial=np.finfo(x.dtype).min)


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
