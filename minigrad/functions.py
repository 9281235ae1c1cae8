"""PyTorch's function names: tensors made from nothing, tensors joined, and the tensor's methods as functions."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.random import Generator, rng
from minigrad.tensor import Tensor, _ints, apply, as_tensor, get_default_dtype, result_type, where


def _made(array: Any, dtype: Any, requires_grad: bool) -> Tensor:
    return Tensor(np.asarray(array).astype(get_default_dtype() if dtype is None else dtype, copy=False), requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 0."""
    return _made(np.zeros(_ints(size), dtype=dtype or get_default_dtype()), dtype, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 1."""
    return _made(np.ones(_ints(size), dtype=dtype or get_default_dtype()), dtype, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """To be filled; all 0 until then, so that nothing depends on what the memory held."""
    return zeros(*size, dtype=dtype, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All the same number, whose kind gives the dtype."""
    return Tensor(np.full(size, fill_value, dtype=dtype or as_tensor(fill_value).dtype), requires_grad)


def zeros_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return Tensor(np.zeros_like(x._array, dtype=dtype), requires_grad)


def ones_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return Tensor(np.ones_like(x._array, dtype=dtype), requires_grad)


empty_like = zeros_like


def full_like(x: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    return Tensor(np.full_like(x._array, fill_value, dtype=dtype))


def arange(start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, ... before end; integers give int64."""
    start, end = (0, start) if end is None else (start, end)
    given = [v.item() if isinstance(v, Tensor) else v for v in (start, end, step)]
    if dtype is None:
        dtype = np.int64 if builtins.all(isinstance(v, int) for v in given) else get_default_dtype()
    return Tensor(np.arange(*given).astype(dtype, copy=False))


def linspace(start: float, end: float, steps: int, dtype: Any = None, device: Any = None) -> Tensor:
    """That many equal steps, both ends included."""
    return _made(np.linspace(start, end, steps), dtype, False)


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """1 on the diagonal, 0 elsewhere."""
    return _made(np.eye(n, m), dtype, False)


def from_numpy(array: Any) -> Tensor:
    """A tensor on the array's own memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy needs a NumPy array, got {type(array).__name__}: use tensor(data)")
    return Tensor(array)


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform in [0, 1)."""
    return _made(rng(generator).random(_ints(size)), dtype, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    return _made(rng(generator).standard_normal(_ints(size)), dtype, requires_grad)


def rand_like(x: Tensor) -> Tensor:
    return rand(x.shape, dtype=x.dtype)


def randn_like(x: Tensor) -> Tensor:
    return randn(x.shape, dtype=x.dtype)


def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: Any = np.int64
) -> Tensor:
    """Integers in [low, high); ``randint(high, size)`` starts at 0."""
    if size is None:
        low, high, size = 0, low, high
    return Tensor(rng(generator).integers(low, high, tuple(size)).astype(dtype, copy=False))


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """0 ... n - 1 in random order."""
    return Tensor(rng(generator).permutation(n))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Draw indices with the given weights: (K,) or (B, K), not negative -> (num_samples,) or (B, num_samples)."""
    weights = np.atleast_2d(input._array).astype(np.float64)
    total = weights.sum(-1, keepdims=True)
    if not np.isfinite(weights).all() or (weights < 0).any() or (total <= 0).any():
        raise ValueError("multinomial: the weights must be finite, not negative, and not all zero")
    if not replacement and (num_samples > (weights > 0).sum(-1)).any():
        raise ValueError(f"multinomial: fewer than {num_samples} weights are above zero; pass replacement=True")
    if replacement or num_samples == 1:
        levels = np.cumsum(weights, -1)
        draws = rng(generator).random((weights.shape[0], num_samples)) * total
        ids = (draws[:, :, None] >= levels[:, None, :]).sum(-1)
    else:  # the largest of log weight + Gumbel noise are a draw without replacement (Gumbel top-k)
        noise = rng(generator).gumbel(size=weights.shape)
        with np.errstate(divide="ignore"):
            ids = np.argsort(-(np.log(weights) + noise), axis=-1, kind="stable")[:, :num_samples]
    return Tensor(ids[0] if input.ndim == 1 else ids)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """One after the other along an axis they have."""
    return apply(ops.cat, *_joined(tensors, "cat"), axis=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Side by side along a new axis."""
    return apply(ops.stack, *_joined(tensors, "stack"), axis=dim)


concat = concatenate = cat


def _joined(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    if len(tensors) == 0:
        raise ValueError(f"{name} needs at least one tensor")
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = result_type(Tensor(np.empty((1,), dtype)), t)
    return [t.to(dtype) for t in tensors]


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sums of products written with letters, as in ``numpy.einsum``."""
    return apply(ops.einsum, *operands, equation=equation)


def is_tensor(x: object) -> bool:
    return isinstance(x, Tensor)


def outer(x: Tensor, y: Tensor) -> Tensor:
    return x.unsqueeze(1) * y.unsqueeze(0)


def dot(x: Tensor, y: Tensor) -> Tensor:
    return x @ y


add, sub, mul, div, pow, matmul, neg = (
    Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.pow, Tensor.matmul, Tensor.neg,
)  # fmt: skip
mm, bmm, maximum, minimum, clamp = Tensor.mm, Tensor.bmm, Tensor.maximum, Tensor.minimum, Tensor.clamp
exp, log, sqrt, rsqrt, square, abs, sin, cos = (
    Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.rsqrt, Tensor.square, Tensor.abs, Tensor.sin, Tensor.cos,
)  # fmt: skip
tanh, sigmoid, relu, softmax, log_softmax = (
    Tensor.tanh, Tensor.sigmoid, Tensor.relu, Tensor.softmax, Tensor.log_softmax,
)  # fmt: skip
sum, mean, var, std, prod, logsumexp, cumsum, norm = (
    Tensor.sum, Tensor.mean, Tensor.var, Tensor.std, Tensor.prod, Tensor.logsumexp, Tensor.cumsum, Tensor.norm,
)  # fmt: skip
max, min, amax, amin, argmax, argmin, argsort, sort, topk = (
    Tensor.max, Tensor.min, Tensor.amax, Tensor.amin, Tensor.argmax, Tensor.argmin, Tensor.argsort, Tensor.sort,
    Tensor.topk,
)  # fmt: skip
reshape, flatten, permute, transpose, t, squeeze, unsqueeze = (
    Tensor.reshape, Tensor.flatten, Tensor.permute, Tensor.transpose, Tensor.t, Tensor.squeeze, Tensor.unsqueeze,
)  # fmt: skip
split, chunk, unbind, flip, roll, narrow, clone = (
    Tensor.split, Tensor.chunk, Tensor.unbind, Tensor.flip, Tensor.roll, Tensor.narrow, Tensor.clone,
)  # fmt: skip
gather, index_select, tril, triu, masked_fill, masked_select, nonzero = (
    Tensor.gather, Tensor.index_select, Tensor.tril, Tensor.triu, Tensor.masked_fill, Tensor.masked_select,
    Tensor.nonzero,
)  # fmt: skip
eq, ne, lt, le, gt, ge, equal, allclose = (
    Tensor.eq, Tensor.ne, Tensor.lt, Tensor.le, Tensor.gt, Tensor.ge, Tensor.equal, Tensor.allclose,
)  # fmt: skip
isnan, isinf, isfinite, sign, floor, ceil, round = (
    Tensor.isnan, Tensor.isinf, Tensor.isfinite, Tensor.sign, Tensor.floor, Tensor.ceil, Tensor.round,
)  # fmt: skip
any, all, numel, is_floating_point = Tensor.any, Tensor.all, Tensor.numel, Tensor.is_floating_point

__all__ = [
    "abs", "add", "all", "allclose", "amax", "amin", "any", "arange", "argmax", "argmin", "argsort", "bmm", "cat",
    "ceil", "chunk", "clamp", "clone", "concat", "concatenate", "cos", "cumsum", "div", "dot", "einsum", "empty",
    "empty_like", "eq", "equal", "exp", "eye", "flatten", "flip", "floor", "from_numpy", "full", "full_like",
    "gather", "ge", "gt", "index_select", "is_floating_point", "is_tensor", "isfinite", "isinf", "isnan", "le",
    "linspace", "log", "log_softmax", "logsumexp", "lt", "masked_fill", "masked_select", "matmul", "max", "maximum",
    "mean", "min", "minimum", "mm", "mul", "multinomial", "narrow", "ne", "neg", "nonzero", "norm", "numel", "ones",
    "ones_like", "outer", "permute", "pow", "prod", "rand", "rand_like", "randint", "randn", "randn_like",
    "randperm", "relu", "reshape", "result_type", "roll", "round", "rsqrt", "sigmoid", "sign", "sin", "softmax",
    "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "sub", "sum", "t", "tanh", "topk", "transpose",
    "tril", "triu", "unbind", "unsqueeze", "var", "where", "zeros", "zeros_like",
]  # fmt: skip
