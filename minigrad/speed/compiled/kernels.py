"""Loops that numba compiles: one pass over memory where NumPy takes ten.

Sums may be added up in another order than written (that is what lets them use vector instructions), and a product and
a sum may be rounded once instead of twice; NaN and infinity keep their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.ops.activation import _ERFC_FLOAT32, _ERFC_FLOAT64
from minigrad.tools.extras import need

numba = need("numba")

loop = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
exact = numba.njit(nogil=True, cache=True, error_model="numpy")  # every operation rounded as NumPy rounds it
INNER = {"error_model": "numpy", "fastmath": {"contract"}, "forceinline": True}  # no "reassoc": order matters there


def exponential(real: Any, whole: Any, digits: int, high: float, low: float, degree: int) -> Callable[[Any], Any]:
    """exp for one dtype, without a branch: exp(x) = 2 ** n * exp(r), n whole, |r| <= log(2) / 2, exp(r) by Taylor."""
    bias = np.finfo(real).maxexp - 1
    to_whole, half = real(1.5 * 2**digits), whole(bias - 1)  # adding to_whole rounds, and leaves n in the last bits
    log2e, log2_high, log2_low, two = real(1 / math.log(2)), real(high), real(low), real(2)
    smallest, largest = real((3 - bias) * math.log(2)), real(math.log(np.finfo(real).max))
    zero, infinity, last, shift = real(0), real(np.inf), real(1 / math.factorial(degree)), whole(digits)
    coefficients = tuple(real(1 / math.factorial(k)) for k in range(degree - 1, -1, -1))

    def exp(x: Any) -> Any:
        shifted = x * log2e + to_whole
        n = shifted - to_whole
        r = x - n * log2_high
        r = r - n * log2_low
        p = last
        for c in coefficients:
            p = p * r + c
        power = whole((real(shifted).view(whole) + half) << shift).view(real)  # 2 ** (n - 1), written as its bits
        z = p * power * two
        z = infinity if x > largest else z  # NaN stays
        return zero if x < smallest else z

    return exp


def exp(x: Any) -> Any:
    """exp(x) inside a kernel, in the dtype of x; results below about 1e-37 (float32) become 0."""
    raise NotImplementedError("for use in kernels")


_EXP = {
    numba.float32: exponential(np.float32, np.int32, 23, 0.693359375, -2.12194440e-4, 7),
    numba.float64: exponential(np.float64, np.int64, 52, 6.93147180369123816490e-01, 1.90821492927058770002e-10, 13),
}


@numba.extending.overload(exp, jit_options=INNER)
def _exp(x: Any) -> Any:
    return _EXP.get(x)


def maximum(real: Any, whole: Any) -> Callable[..., Any]:
    """The largest element of a row for one dtype, found among whole numbers: only those are compared many at a time."""
    last, flip, least = whole(8 * whole().itemsize - 1), np.iinfo(whole).max, np.iinfo(whole).min
    zero, forbidden = real(0), real(-np.inf)

    def highest(x: Any, i: int) -> Any:
        top = whole(least)
        for j in range(x.shape[1]):
            bits = real(x[i, j]).view(whole)
            bits = whole(bits ^ ((bits >> last) & whole(flip)))  # grows with the number; of a negative one it falls
            top = bits if bits > top else top
        found = whole(top ^ ((top >> last) & whole(flip))).view(real)
        return zero if found == forbidden else found

    return highest


def highest(x: Any, i: int) -> Any:
    """The largest element of row i inside a kernel, 0 if all are -inf."""
    raise NotImplementedError("for use in kernels")


_HIGHEST = {numba.float32: maximum(np.float32, np.int32), numba.float64: maximum(np.float64, np.int64)}


@numba.extending.overload(highest, jit_options=INNER)
def _highest(x: Any, i: int) -> Any:
    return _HIGHEST.get(x.dtype)


def gaussian(real: Any, erfc: tuple[float, ...]) -> Callable[[Any], Any]:
    """The normal distribution for one dtype, from the interpolant of exp(a ** 2) * erfc(a) that the plain op uses."""
    root, middle, far, half, one = real(math.sqrt(0.5)), real(3.75), real(27), real(0.5), real(1)
    last, coefficients = real(erfc[-1]), tuple(real(c) for c in erfc[-2::-1])

    def normal(x: Any) -> Any:
        a = abs(x) * root
        a = far if a > far else a  # exp(-far ** 2) is 0
        t = (a - middle) / (a + middle)
        p = last
        for c in coefficients:
            p = p * t + c
        e = exp(-a * a)
        tail = half * p * e
        return (tail if x < 0 else one - tail), e

    return normal


def normal(x: Any) -> Any:
    """Inside a kernel: how likely a standard normal number is below x, and exp(-x ** 2 / 2)."""
    raise NotImplementedError("for use in kernels")


_NORMAL = {numba.float32: gaussian(np.float32, _ERFC_FLOAT32), numba.float64: gaussian(np.float64, _ERFC_FLOAT64)}


@numba.extending.overload(normal, jit_options=INNER)
def _normal(x: Any) -> Any:
    return _NORMAL.get(x)


@loop
def gelu(x: Any, z: Any) -> None:
    for i in range(len(x)):
        z[i] = x[i] * normal(x[i])[0]


@loop
def gelu_backward(x: Any, dz: Any, dx: Any) -> None:
    scale = x.dtype.type(1 / math.sqrt(2 * math.pi))
    for i in range(len(x)):
        below, density = normal(x[i])
        dx[i] = dz[i] * (below + x[i] * density * scale)


@loop
def gelu_tanh(x: Any, z: Any) -> None:
    one, a, b = x.dtype.type(1), x.dtype.type(-2 * math.sqrt(2 / math.pi)), x.dtype.type(0.044715)
    for i in range(len(x)):
        z[i] = x[i] / (one + exp(a * (x[i] + b * x[i] * x[i] * x[i])))


@loop
def gelu_tanh_backward(x: Any, dz: Any, dx: Any) -> None:
    one, a, b = x.dtype.type(1), x.dtype.type(2 * math.sqrt(2 / math.pi)), x.dtype.type(0.044715)
    three, far = x.dtype.type(3), x.dtype.type(99)
    for i in range(len(x)):
        near = far if x[i] > far else x[i]  # beyond, s is 0 or 1, and the slope of what is within it 0
        near = -far if near < -far else near
        square = near * near
        s = one / (one + exp(-a * (near + b * square * near)))
        dx[i] = dz[i] * s * (one + near * (one - s) * a * (one + three * b * square))


@loop
def normalize(x: Any, z: Any, mean: Any, rstd: Any, weight: Any, bias: Any, eps: Any, center: bool) -> None:
    columns = x.shape[1]
    one, size = x.dtype.type(1), x.dtype.type(columns)
    for i in range(len(x)):
        total = x.dtype.type(0)
        if center:
            for j in range(columns):
                total += x[i, j]
        m = total / size
        square = x.dtype.type(0)
        for j in range(columns):
            square += (x[i, j] - m) * (x[i, j] - m)
        r = one / np.sqrt(square / size + eps)
        mean[i], rstd[i] = m, r
        for j in range(columns):
            z[i, j] = (x[i, j] - m) * r * weight[j] + bias[j]


@loop
def normalize_backward(
    x: Any, dz: Any, dx: Any, mean: Any, rstd: Any, weight: Any, dweight: Any, dbias: Any, center: bool
) -> None:  # fmt: skip
    columns = x.shape[1]
    size = x.dtype.type(columns)
    for i in range(len(x)):
        m, r = mean[i], rstd[i]
        shift, pull = x.dtype.type(0), x.dtype.type(0)
        for j in range(columns):
            n, dn = (x[i, j] - m) * r, dz[i, j] * weight[j]
            shift += dn
            pull += dn * n
            dweight[j] += dz[i, j] * n
            dbias[j] += dz[i, j]
        shift, pull = shift / size if center else x.dtype.type(0), pull / size
        for j in range(columns):
            dx[i, j] = (dz[i, j] * weight[j] - shift - (x[i, j] - m) * r * pull) * r


@loop
def softmax(x: Any, factor: Any, last: int) -> None:
    """x becomes softmax(factor * x) of each row; the rows are those of causal matrices of ``last`` rows unless it is 0.

    In place, here and on the way back: where two arrays may overlap, no vector instructions are used. All the largest
    elements come first, for then no row waits for its own.
    """
    columns, one, forbidden = x.shape[1], x.dtype.type(1), x.dtype.type(-np.inf)
    top = np.empty(len(x), x.dtype)
    for i in range(len(x)):
        allowed = i % last if last else columns
        for j in range(columns):
            x[i, j] = x[i, j] * factor if j <= allowed else forbidden
        top[i] = highest(x, i)
    for i in range(len(x)):
        total, largest = x.dtype.type(0), top[i]
        for j in range(columns):
            x[i, j] = exp(x[i, j] - largest)
            total += x[i, j]
        scale = one / (one if total == 0 else total)
        for j in range(columns):
            x[i, j] *= scale


@loop
def softmax_backward(z: Any, dz: Any, factor: Any) -> None:
    """dz becomes factor * dx."""
    columns = z.shape[1]
    for i in range(len(z)):
        total = z.dtype.type(0)
        for j in range(columns):
            total += dz[i, j] * z[i, j]
        for j in range(columns):
            dz[i, j] = z[i, j] * (dz[i, j] - total) * factor


@exact
def surprise(total: Any, score: Any, top: Any) -> Any:
    """-log softmax of a score, with the sums in this order."""
    return np.log(total) - (score - top)


@loop
def cross_entropy(x: Any, target: Any, tops: Any, totals: Any, losses: Any, ignored: int) -> int:
    """Of each row the largest element, sum exp(x - that) and the loss; how many count, or -1 for a wrong target."""
    count, columns = 0, x.shape[1]
    for i in range(len(x)):
        if target[i] != ignored and (target[i] < 0 or target[i] >= columns):
            return -1
        top = highest(x, i)
        total = x.dtype.type(0)
        for j in range(columns):
            total += exp(x[i, j] - top)
        tops[i] = top
        totals[i] = x.dtype.type(1) if total == 0 else total
        losses[i] = x.dtype.type(0)
        if target[i] != ignored:
            count += 1
            losses[i] = surprise(totals[i], x[i, target[i]], top)
    return count


@loop
def cross_entropy_backward(x: Any, target: Any, tops: Any, totals: Any, dz: Any, dx: Any, ignored: int) -> None:
    for i in range(len(x)):
        if target[i] == ignored:
            dx[i] = x.dtype.type(0)
            continue
        share = dz[i] / totals[i]
        for j in range(x.shape[1]):
            dx[i, j] = exp(x[i, j] - tops[i]) * share
        dx[i, target[i]] -= dz[i]


@loop
def within(ids: Any, rows: int) -> bool:
    """Whether a table of so many rows has all of these."""
    fine = True
    for i in range(len(ids)):
        fine &= 0 <= ids[i] < rows
    return fine


@exact
def add_rows(dz: Any, ids: Any, dweight: Any) -> None:
    for i in range(len(ids)):
        for j in range(dz.shape[1]):
            dweight[ids[i], j] += dz[i, j]


@exact
def adam(
    p: Any, g: Any, m: Any, v: Any, top: Any, keep: Any, decay: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
    rate: Any, eps: Any, amsgrad: bool, maximize: bool,
) -> None:  # fmt: skip
    for i in range(len(p)):
        grad = -g[i] if maximize else g[i]
        w = p[i] * keep
        grad = grad + decay * w if decay else grad
        m[i] = m[i] * beta1 + grad * rest1
        v[i] = v[i] * beta2 + grad * grad * rest2
        if amsgrad:
            top[i] = v[i] if v[i] > top[i] or v[i] != v[i] else top[i]
        largest = top[i] if amsgrad else v[i]
        p[i] = w - m[i] / (np.sqrt(largest) + eps) * rate
