"""The ops and the optimizer step whose loops are compiled; where one does not apply, what ran before runs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core import attention, loss
from minigrad.core.op import Array, Backward, Op
from minigrad.speed.compiled import kernels
from minigrad.speed.twins import TWINS

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
SMALL = 256 * 256  # up to this many weights per head a head's weights are kept
TOGETHER = 1 << 15  # so many weights are made before the next step looks at them: they are in the core's cache then


def compiled(definition: Op) -> Callable[[Callable[..., Any]], Op]:
    """Enter the compiled twin of an op: a function that returns None for arguments that it is not made for."""
    before = TWINS["tuned"].get(definition, definition)

    def enter(function: Callable[..., Any]) -> Op:
        @functools.wraps(function)
        def twin(*arrays: Any, **constants: Any) -> tuple[Any, Backward]:
            return function(*arrays, **constants) or before(*arrays, **constants)

        TWINS["compiled"][definition] = twin
        return twin

    return enter


def flat(x: Array, *shape: int) -> Array:
    """The array in that shape; a copy if not contiguous, or read-only: all would be compiled once more for those."""
    if x.flags.carray:
        return x.reshape(shape)
    return np.require(x.reshape(shape), requirements=("C", "W"))


def elementwise(x: Array, forward: Callable[..., None], back: Callable[..., None]) -> tuple[Array, Backward] | None:
    """An op of one array by its kernels forward(x, z) and back(x, dz, dx); nothing but x is kept."""
    if x.dtype not in FLOATS:
        return None
    a, z = flat(x, -1), np.empty(x.size, x.dtype)
    forward(a, z)

    def backward(dz):
        dx = np.empty_like(a)
        back(a, flat(dz, -1), dx)
        return (dx.reshape(dz.shape),)

    return z.reshape(x.shape), backward


@compiled(ops.gelu)
def gelu(x: Array) -> tuple[Array, Backward] | None:
    """z = x * P(x); P(x) is made anew on the way back."""
    return elementwise(x, kernels.gelu, kernels.gelu_backward)


@compiled(ops.gelu_tanh)
def gelu_tanh(x: Array) -> tuple[Array, Backward] | None:
    """z = x * s, s = (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)); s is made anew on the way back."""
    return elementwise(x, kernels.gelu_tanh, kernels.gelu_tanh_backward)


@compiled(ops.layer_norm)
def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, ndim: int = 1, eps: float = 1e-5
) -> tuple[Array, Backward] | None:
    """z = n * weight + bias; n is made anew from x and two numbers per row on the way back."""
    return normalized(x, weight, bias, ndim, eps, True)


@compiled(ops.rms_norm)
def rms_norm(
    x: Array, weight: Array | None = None, *, ndim: int = 1, eps: float | None = None
) -> tuple[Array, Backward] | None:
    """z = n * weight, n = x / sqrt(mean x ** 2 + eps)"""
    return normalized(x, weight, None, ndim, float(np.finfo(x.dtype).eps) if eps is None else eps, False)


def normalized(
    x: Array, weight: Array | None, bias: Array | None, ndim: int, eps: float, center: bool
) -> tuple[Array, Backward] | None:
    """Both normalisations: with the mean taken away, or without."""
    shape = x.shape[x.ndim - ndim :] if 1 <= ndim <= x.ndim else ()
    size, dtype = math.prod(shape), x.dtype
    if size < 2 or not x.size or dtype not in FLOATS:
        return None  # a number is its own mean, and what is left is 0 but for rounding
    for given in (weight, bias):
        if given is not None and (given.shape != shape or given.dtype != dtype):
            return None
    a = flat(x, -1, size)
    w = np.ones(size, dtype) if weight is None else flat(weight, size)
    b = np.zeros(size, dtype) if bias is None else flat(bias, size)
    z, mean, rstd = np.empty_like(a), np.empty(len(a), dtype), np.empty(len(a), dtype)
    kernels.normalize(a, z, mean, rstd, w, b, dtype.type(eps), center)
    has_weight, has_bias = weight is not None, bias is not None

    def backward(dz):
        dx, dweight, dbias = np.empty_like(a), np.zeros(size, dtype), np.zeros(size, dtype)
        kernels.normalize_backward(a, flat(dz, -1, size), dx, mean, rstd, w, dweight, dbias, center)
        dx = dx.reshape(dz.shape)
        return dx, dweight.reshape(shape) if has_weight else None, dbias.reshape(shape) if has_bias else None

    return z.reshape(x.shape), backward


@compiled(ops.softmax)
def softmax(x: Array, *, axis: int = -1) -> tuple[Array, Backward] | None:
    """z = exp(x) / sum exp(x), along the last axis."""
    if x.dtype not in FLOATS or not x.size or not x.ndim or axis not in (-1, x.ndim - 1):
        return None
    z, one = x.reshape(-1, x.shape[-1]).copy(), x.dtype.type(1)
    kernels.softmax(z, one, 0)

    def backward(dz):
        dx = dz.reshape(z.shape).copy()
        kernels.softmax_backward(z, dx, one)
        return (dx.reshape(dz.shape),)

    return z.reshape(x.shape), backward


@compiled(ops.cross_entropy)
def cross_entropy(
    x: Array, *, target: Array, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Array, Backward] | None:
    """z = mean of log sum exp(x) - x[target], for class indices; two numbers per row are kept for the way back."""
    if x.dtype not in FLOATS or x.ndim != 2 or not x.size:
        return None
    if target.dtype != np.int64 or target.shape != x.shape[:1] or reduction not in ("mean", "sum", "none"):
        return None
    a, wanted = flat(x, *x.shape), flat(target, -1)
    tops, totals, losses = np.empty(len(a), x.dtype), np.empty(len(a), x.dtype), np.empty(len(a), x.dtype)
    count = kernels.cross_entropy(a, wanted, tops, totals, losses, ignore_index)
    if count < 0:
        return None  # the plain op says what is wrong

    def backward(dz):
        each = np.empty(len(a), a.dtype)
        each[:] = loss.each_loss(dz, reduction, count)
        dx = np.empty_like(a)
        kernels.cross_entropy_backward(a, wanted, tops, totals, each, dx, ignore_index)
        return (dx,)

    return loss.reduced(losses, reduction, count), backward


@compiled(ops.embedding)
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Backward] | None:
    """z = weight[ids]; the rows that belong to one id are added up in their order on the way back."""
    if weight.dtype not in FLOATS or ids.dtype != np.int64 or weight.ndim != 2 or not (ids.size and weight.size):
        return None
    shape, rows = weight.shape, flat(ids, -1)
    if not kernels.within(rows, shape[0]):
        return None  # the plain op says what is wrong

    def backward(dz):
        dweight = np.zeros(shape, dz.dtype)
        kernels.add_rows(flat(dz, -1, shape[1]), rows, dweight)
        if padding_idx is not None:
            dweight[padding_idx] = 0
        return (dweight,)

    return weight[ids], backward


@compiled(attention.scaled_dot_product_attention)
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    *,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_mask: Array | None = None,
) -> tuple[Array, Backward] | None:
    """z = softmax(scale * query @ keyᵀ) @ value; NumPy makes the products, the kernels all between them."""
    attention.check_shapes(query, key, value)
    T, S = query.shape[-2], key.shape[-2]
    if bias is not None or dropout_mask is not None or not 0 < T * S <= SMALL or not query.size:
        return None
    if query.dtype not in FLOATS or not query.dtype == key.dtype == value.dtype:
        return None
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        return None
    factor = query.dtype.type(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    scores = (*query.shape[:-1], S)
    if mask is not None and (factor <= 0 or np.broadcast_shapes(mask.shape, scores) != scores):
        return None  # times such a factor, a score of -inf would not stay one
    last = T if is_causal else 0
    q, k, v = (heads(x) for x in (query, key, value))
    a = np.empty((*q.shape[:-1], S), q.dtype)
    hidden = None if mask is None else ~np.broadcast_to(mask, scores).reshape(a.shape)
    z = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))  # laid out as q is: joining the heads copies nothing
    step = max(1, TOGETHER // a[0].size)
    parts = [slice(i, i + step) for i in range(0, len(q), step)]
    for i in parts:
        np.matmul(q[i], np.ascontiguousarray(k[i].swapaxes(-1, -2)), out=a[i])
        if hidden is not None:
            np.copyto(a[i], -np.inf, where=hidden[i])
        kernels.softmax(a[i].reshape(-1, S), factor, last)
        np.matmul(a[i], v[i], out=z[i])

    def backward(dz):
        d = heads(dz)
        dq, dk, dv = (np.empty_like(x) for x in (q, k, v))
        for i in parts:
            np.matmul(a[i].swapaxes(-1, -2), d[i], out=dv[i])
            ds = d[i] @ np.ascontiguousarray(v[i].swapaxes(-1, -2))  # da, and turned into ds in place
            kernels.softmax_backward(a[i].reshape(-1, S), ds.reshape(-1, S), factor)
            np.matmul(ds, k[i], out=dq[i])
            np.matmul(ds.swapaxes(-1, -2), q[i], out=dk[i])
        return dq.reshape(query.shape), dk.reshape(key.shape), dv.reshape(value.shape), None

    return z.reshape(*query.shape[:-1], value.shape[-1]), backward


def heads(x: Array) -> Array:
    """(..., T, D) -> (B, H, T, D), of size 1 where there are fewer axes."""
    return x.reshape(-1, *(1, *x.shape)[-3:])


def adam(arrays: tuple[Array, ...], numbers: tuple[float, ...], amsgrad: bool, maximize: bool) -> bool:
    """One step of Adam on p, g, m, v and the largest v; False, and nothing done, for arrays it is not made for."""
    p = arrays[0]
    if p.dtype not in FLOATS or any(a.dtype != p.dtype or not a.flags.carray for a in arrays):
        return False
    scalars = [p.dtype.type(x) for x in numbers]
    kernels.adam(*[a.reshape(-1) for a in arrays], *scalars, amsgrad, maximize)
    return True
