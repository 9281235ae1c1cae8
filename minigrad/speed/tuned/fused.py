"""GELU, layer norm, cross-entropy and embedding in fewer passes over memory, or over what the cache still holds."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minigrad.core import arithmetic, loss, normalize, places
from minigrad.core.op import Array, Backward
from minigrad.core.sums import finite_max
from minigrad.ops import activation
from minigrad.optim.blocks import blocks
from minigrad.speed.twins import twin

SMALL = 1 << 14  # one-hot numbers: so many are multiplied faster than ids are sorted


@twin(arithmetic.gelu_tanh)
def gelu_tanh(x: Array) -> tuple[Array, Backward]:
    """z = x * (1 + t) / 2, t = tanh(u), u = sqrt(2 / pi) * (x + 0.044715 * x ** 3)
    dx = dz * ((1 + t) / 2 + x / 2 * (1 - t ** 2) * du), du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x ** 2)

    With s = (1 + t) / 2: z = x * s, dx = dz * s * (1 + 2 * x * (1 - s) * du).
    """
    if x.dtype.itemsize < 4:
        return arithmetic.gelu_tanh(x)
    c = math.sqrt(2 / math.pi)
    whole_s, z = np.empty_like(x), np.empty_like(x)
    for a, s, out, _ in blocks(x, whole_s, z):
        np.multiply(a, a, out=s)
        s *= 0.044715 * c
        s += c
        s *= a
        np.tanh(s, out=s)
        s *= 0.5
        s += 0.5
        np.multiply(a, s, out=out)

    def backward(dz):
        dx = np.empty_like(x)
        for a, s, d, slope, rest in blocks(x, whole_s, dz, dx):
            near = np.clip(a, -99, 99)
            np.multiply(near, near, out=slope)
            slope *= 6 * 0.044715 * c
            slope += 2 * c
            slope *= near
            slope *= np.subtract(1, s, out=rest)
            slope += 1
            slope *= s
            slope *= d
        return (dx,)

    return z, backward


@twin(activation.gelu)
def gelu(x: Array) -> tuple[Array, Backward]:
    """z = x * P(x), P(x) = (1 + erf(x / sqrt(2))) / 2
    dx = dz * (P(x) + x * exp(-x ** 2 / 2) / sqrt(2 pi))
    """
    p = np.asarray(activation.erf(x * math.sqrt(0.5)))
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


@twin(normalize.layer_norm)
def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, ndim: int = 1, eps: float = 1e-5
) -> tuple[Array, Backward]:
    """z = n * weight + bias, n = (x - mean x) / sqrt(var x + eps)
    dx = (dn - mean dn - n * mean(dn * n)) / sqrt(var x + eps), dn = dz * weight
    dweight = sum dz * n
    dbias = sum dz
    """
    if weight is None or bias is None or ndim != 1 or x.size == 0 or x.dtype.itemsize < 4:
        return normalize.layer_norm(x, weight, bias, ndim=ndim, eps=eps)
    if not weight.shape == bias.shape == x.shape[-1:] or not weight.dtype == bias.dtype == x.dtype:
        return normalize.layer_norm(x, weight, bias, ndim=ndim, eps=eps)
    flat, size, dtype = x.reshape(-1, x.shape[-1]), len(weight), x.dtype
    average = constants(1 / size, size, dtype)  # a product with it is a mean, made by BLAS
    n = flat - (flat @ average)[:, None]
    spread = np.vecdot(n, n)
    spread /= size
    spread += eps
    rstd = np.reciprocal(np.sqrt(spread, out=spread), out=spread)[:, None]
    n *= rstd
    z = n * weight
    z += bias

    def backward(dz):
        dz = dz.reshape(flat.shape)
        each = constants(1, len(dz), dtype)
        scaled = weight * average
        dx = dz * n
        dweight, dbias = each @ dx, each @ dz
        pull, shift = dx @ scaled, dz @ scaled  # the means of dn * n and of dn
        np.multiply(dz, weight, out=dx)
        dx -= shift[:, None]
        dx -= n * pull[:, None]
        dx *= rstd
        return dx.reshape(x.shape), dweight, dbias

    return z.reshape(x.shape), backward


@functools.lru_cache(maxsize=64)
def constants(value: float, size: int, dtype: np.dtype[Any]) -> Array:
    """So many times the same number; not to be written to."""
    array = np.full(size, value, dtype)
    array.flags.writeable = False
    return array


@twin(loss.cross_entropy)
def cross_entropy(
    x: Array, *, target: Array, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Array, Backward]:
    """z = mean of log sum exp(x) - x[target]
    dx = dz * (softmax(x) - onehot(target)) / N
    """
    rows_of_scores = x.ndim == 2 and x.size > 0 and x.dtype.itemsize >= 4
    if rows_of_scores and target.dtype.kind in "iu" and target.shape == x.shape[:1]:
        lowest, highest = np.minimum.reduce(target), np.maximum.reduce(target)
        if lowest >= 0 and highest < x.shape[1] and not lowest <= ignore_index <= highest:
            return cross_entropy_of_indices(x, target, None, reduction)
        keep = target != ignore_index
        wanted = np.where(keep, target, 0)
        if wanted.min() >= 0 and wanted.max() < x.shape[1]:
            return cross_entropy_of_indices(x, wanted, keep, reduction)
    return loss.cross_entropy(x, target=target, ignore_index=ignore_index, reduction=reduction)


def cross_entropy_of_indices(x: Array, wanted: Array, keep: Array | None, reduction: str) -> tuple[Array, Backward]:
    """No one-hot rows are made, and one array in the shape of x is kept; ``keep`` is None where all targets count."""
    count, rows = len(x) if keep is None else keep.sum(), np.arange(len(x))
    e = x - finite_max(x, 1)
    picked = e[rows, wanted]
    np.exp(e, out=e)
    total = e.sum(1, keepdims=True)
    np.maximum(total, 1, out=total)  # it is less, namely 0, in a row of -inf alone
    losses = np.log(total[:, 0])
    losses -= picked
    if keep is not None:
        losses[~keep] = 0

    def backward(dz):
        each = loss.each_loss(dz, reduction, count)
        dx = e / total
        dx[rows, wanted] -= 1
        dx *= each[:, None] if each.ndim else each
        if keep is not None:
            dx[~keep] = 0  # also where the scores of such a row are not finite
        return (dx,)

    return loss.reduced(losses, reduction, count), backward


@twin(places.embedding)
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Backward]:
    """z = weight[ids]
    dweight = 0, plus dz at row ids; repeated ids add up

    Equal ids are brought side by side: then one sum per run of them does. A small table is a product with one-hot rows.
    """
    z, _ = places.embedding(weight, ids=ids, padding_idx=padding_idx)
    shape = weight.shape

    def backward(dz):
        flat = ids.reshape(-1)
        dz = dz.reshape(flat.size, *shape[1:])
        if len(shape) == 2 and flat.size * shape[0] <= SMALL and dz.dtype.itemsize >= 4:
            dweight = (flat == np.arange(shape[0])[:, None]).astype(dz.dtype) @ dz
            if not math.isfinite(dweight.sum()):  # 0 * inf is NaN
                dweight = sum_of_rows(dz, flat, shape)
        else:
            dweight = sum_of_rows(dz, flat, shape)
        if padding_idx is not None:
            dweight[padding_idx] = 0
        return (dweight,)

    return z, backward


def sum_of_rows(dz: Array, ids: Array, shape: tuple[int, ...]) -> Array:
    """dz (N, ...) added up in the rows ids (N,) of an array of that shape."""
    dweight = np.zeros(shape, dtype=dz.dtype)
    if ids.size:
        order = np.argsort(ids, kind="stable")
        found, starts = np.unique(ids[order], return_index=True)
        dweight[found] = np.add.reduceat(dz[order], starts, axis=0)
    return dweight
