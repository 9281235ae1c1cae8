"""The ops that a transformer spends its time in, tuned: fewer passes over memory, in pieces for several cores."""

from __future__ import annotations

import math

import numpy as np

from minigrad.ops import activation, matmul, normalize
from minigrad.ops.registry import Array, Backward, twin
from minigrad.ops.tuned.workers import WORTH, parts, share


@twin(matmul.linear)
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Backward]:
    """z = x @ weightᵀ + bias
    dx = dz @ weight
    dweight = dzᵀ @ x
    dbias = sum dz
    """
    size = x.size * len(weight) if weight.ndim == 2 else 0
    if (
        size < WORTH
        or x.shape[-1] != weight.shape[1]
        or {a.dtype for a in (x, weight, bias) if a is not None} != {x.dtype}
    ):
        return matmul.linear(x, weight, bias)
    if bias is not None and bias.shape != weight.shape[:1]:
        return matmul.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    z = np.empty((len(flat), len(weight)), x.dtype)
    rows = parts(len(flat))

    def forward(piece):
        own = rows[piece]
        np.matmul(flat[own], weight.T, out=z[own])
        if bias is not None:
            z[own] += bias

    share(len(rows), forward, size)
    has_bias = bias is not None

    def backward(dz):
        dz = dz.reshape(len(flat), -1)
        dx, dweight = np.empty_like(flat), np.empty_like(weight)
        wide = weight.shape[1] > weight.shape[0]  # the longer side of dweight is the one to cut
        pieces = parts(max(weight.shape))

        def step(piece):
            if piece < len(rows):
                own = rows[piece]
                np.matmul(dz[own], weight, out=dx[own])
            elif wide:
                own = pieces[piece - len(rows)]
                np.matmul(dz.T, flat[:, own], out=dweight[:, own])
            else:
                own = pieces[piece - len(rows)]
                np.matmul(dz[:, own].T, flat, out=dweight[own])

        share(len(rows) + len(pieces), step, 2 * size)
        return dx.reshape(x.shape), dweight, np.ones(len(dz), dz.dtype) @ dz if has_bias else None

    return z.reshape(*x.shape[:-1], len(weight)), backward


@twin(activation.gelu_tanh)
def gelu_tanh(x: Array) -> tuple[Array, Backward]:
    """z = x * (1 + t) / 2, t = tanh(u), u = sqrt(2 / pi) * (x + 0.044715 * x ** 3)
    dx = dz * ((1 + t) / 2 + x / 2 * (1 - t ** 2) * du), du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x ** 2)

    With s = (1 + t) / 2: z = x * s, dx = dz * s * (1 + 2 * x * (1 - s) * du).
    """
    if 16 * x.size < WORTH or x.dtype.itemsize < 4:
        return activation.gelu_tanh(x)
    c = math.sqrt(2 / math.pi)
    flat = x.reshape(-1)
    z, s = np.empty_like(flat), np.empty_like(flat)
    pieces = parts(x.size)

    def forward(piece):
        own = pieces[piece]
        a, t = flat[own], s[own]
        np.multiply(a, a, out=t)
        t *= 0.044715 * c
        t += c
        t *= a
        np.tanh(t, out=t)
        t *= 0.5
        t += 0.5
        np.multiply(a, t, out=z[own])

    share(len(pieces), forward, 16 * x.size)

    def backward(dz):
        dz = dz.reshape(-1)
        dx = np.empty_like(flat)

        def step(piece):
            own = pieces[piece]
            a, t, slope = flat[own], s[own], dx[own]
            np.multiply(a, a, out=slope)
            slope *= 6 * 0.044715 * c
            slope += 2 * c
            slope *= a
            slope *= 1 - t
            slope += 1
            slope *= t
            slope *= dz[own]

        share(len(pieces), step, 16 * x.size)
        return (dx.reshape(x.shape),)

    return z.reshape(x.shape), backward


@twin(normalize.layer_norm)
def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, ndim: int = 1, eps: float = 1e-5
) -> tuple[Array, Backward]:
    """z = n * weight + bias, n = (x - mean x) / sqrt(var x + eps)
    dx = (dn - mean dn - n * mean(dn * n)) / sqrt(var x + eps), dn = dz * weight
    dweight = sum dz * n
    dbias = sum dz
    """
    if weight is None or bias is None or ndim != 1 or 12 * x.size < WORTH or x.dtype.itemsize < 4:
        return normalize.layer_norm(x, weight, bias, ndim=ndim, eps=eps)
    if not weight.shape == bias.shape == x.shape[-1:] or not weight.dtype == bias.dtype == x.dtype:
        return normalize.layer_norm(x, weight, bias, ndim=ndim, eps=eps)
    flat = x.reshape(-1, x.shape[-1])
    n, z, rstd = np.empty_like(flat), np.empty_like(flat), np.empty((len(flat), 1), x.dtype)
    average = np.full(len(weight), 1 / len(weight), x.dtype)  # a product with it is a mean, made by BLAS
    pieces = parts(len(flat))

    def forward(piece):
        own = pieces[piece]
        a = n[own]
        np.subtract(flat[own], (flat[own] @ average)[:, None], out=a)
        variance = np.einsum("ij,ij->i", a, a)
        variance *= 1 / len(weight)
        variance += eps
        np.divide(1, np.sqrt(variance), out=rstd[own, 0])
        a *= rstd[own]
        np.multiply(a, weight, out=z[own])
        z[own] += bias

    share(len(pieces), forward, 12 * x.size)

    def backward(dz):
        dz = dz.reshape(flat.shape)
        dx, sums = np.empty_like(flat), np.empty((2, len(pieces), len(weight)), x.dtype)

        def step(piece):
            own = pieces[piece]
            d, a, slope, each = dz[own], n[own], dx[own], np.ones(own.stop - own.start, x.dtype)
            np.multiply(d, a, out=slope)
            sums[0, piece] = each @ slope
            sums[1, piece] = each @ d
            pull, shift = slope @ (weight * average), d @ (weight * average)  # the means of dn * n and of dn
            np.multiply(d, weight, out=slope)
            slope -= shift[:, None]
            slope -= a * pull[:, None]
            slope *= rstd[own]

        share(len(pieces), step, 16 * x.size)
        return dx.reshape(x.shape), sums[0].sum(0), sums[1].sum(0)

    return z.reshape(x.shape), backward
