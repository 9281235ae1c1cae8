"""PyTorch's function names: tensors made from nothing, tensors joined, and the tensor's methods as functions."""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.graph import no_grad
from minigrad.random import Generator, rng
from minigrad.tensor import (
    Tensor,
    _ints,
    _with_numpy_names,
    apply,
    as_tensor,
    bool_,
    check_device,
    check_dtype,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    result_type,
    uint8,
    where,
)


def _made(array: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    return Tensor(np.asarray(array).astype(_or_default(dtype), copy=False), requires_grad=requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 0."""
    return _made(np.zeros(_ints(size), dtype=_or_default(dtype)), dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 1."""
    return _made(np.ones(_ints(size), dtype=_or_default(dtype)), dtype, device, requires_grad)


def _or_default(dtype: Any) -> Any:
    return get_default_dtype() if dtype is None else check_dtype(dtype)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """To be filled; all 0 until then, so that nothing depends on what the memory held."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All the same number, whose kind gives the dtype."""
    value = as_tensor(fill_value)
    return _made(np.full(size, value._array), dtype or value.dtype, device, requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


empty_like = zeros_like


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    array = np.full(input.shape, as_tensor(fill_value)._array, dtype=check_dtype(dtype) or input.dtype)
    return _made(array, array.dtype, device, requires_grad)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... before end; integers give int64."""
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (v.item() if isinstance(v, Tensor | np.generic) else v for v in (start, end, step))
    if dtype is None and builtins.all(isinstance(v, int) for v in (start, end, step)):
        dtype = np.int64
    count = math.ceil((end - start) / step)
    if count < 0 or (end - start) / step != (end - start) / step:
        raise ValueError(f"arange: no steps of {step} lead from {start} to {end}")
    return _made(start + step * np.arange(count), dtype, device, requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """That many equal steps, both ends included."""
    return _made(np.linspace(float(start), float(end), steps), dtype, device, requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """base to the power of that many equal steps from start to end."""
    return _made(np.logspace(float(start), float(end), steps, base=base), dtype, None, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """1 on the diagonal, 0 elsewhere."""
    return _made(np.eye(n, m), dtype, device, requires_grad)


def from_numpy(array: Any) -> Tensor:
    """A tensor on the array's own memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy needs a NumPy array, got {type(array).__name__}: use tensor(data)")
    return Tensor(array)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor, sharing memory where it can."""
    return as_tensor(obj, dtype=dtype, device=device)


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform in [0, 1)."""
    return _made(rng(generator).random(_ints(size)), dtype, device, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    return _made(rng(generator).standard_normal(_ints(size)), dtype, device, requires_grad)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Normal with a mean and a standard deviation for each element, or in a size."""
    mean, std = (v._array if isinstance(v, Tensor) else v for v in (mean, std))
    return _made(rng(generator).normal(mean, std, size), None, None, False)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element gives, else 0."""
    return input.bernoulli(generator=generator)


def rand_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return randn(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = np.int64,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high); ``randint(high, size)`` starts at 0."""
    if isinstance(high, tuple | list):
        high, size = None, high
    low, high = (0, low) if high is None else (low, high)
    return _made(rng(generator).integers(int(low), int(high), tuple(size)), dtype, device, requires_grad)


def randint_like(input: Tensor, low: int, high: int | None = None) -> Tensor:
    return randint(low, high, input.shape, dtype=input.dtype)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = np.int64, device: Any = None) -> Tensor:
    """0 ... n - 1 in random order."""
    return _made(rng(generator).permutation(n), dtype, device, False)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """One after the other along an axis they have."""
    some = [t for t in tensors if t.shape != (0,)]  # an empty list, so to speak, fits everywhere
    return apply(ops.cat, *_joined(some or tensors, "cat"), axis=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Side by side along a new axis."""
    return apply(ops.stack, *_joined(tensors, "stack"), axis=dim)


cat, stack = _with_numpy_names(cat), _with_numpy_names(stack)
concat = concatenate = cat


def _joined(tensors: Sequence[Tensor], name: str) -> Sequence[Tensor]:
    """The tensors at the dtype they have together."""
    if len(tensors) == 0:
        raise ValueError(f"{name} needs at least one tensor")
    if len({t.dtype for t in tensors}) == 1:
        return tensors
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = result_type(Tensor(np.empty((1,), dtype)), t)
    return [t.to(dtype) for t in tensors]


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side: along the second axis, or the only one."""
    parts = atleast_1d(*tensors)
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """One under the other, vectors as rows."""
    return cat([t.reshape(1, -1) if t.ndim < 2 else t for t in tensors], 0)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side, vectors as columns."""
    return cat([t.reshape(-1, 1) if t.ndim < 2 else t for t in tensors], 1)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the third axis."""
    return cat([t if t.ndim > 2 else (t.reshape(1, -1) if t.ndim < 2 else t).unsqueeze(2) for t in tensors], 2)


def atleast_1d(*tensors: Tensor) -> Any:
    parts = tuple(t.reshape(1) if t.ndim == 0 else t for t in tensors)
    return parts[0] if len(tensors) == 1 and not isinstance(tensors[0], tuple | list) else parts


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All at the shape they have together."""
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(*shapes)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors as the coordinates of a grid: (N,), (M,) -> (N, M), (N, M)."""
    if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
        tensors = tuple(tensors[0])
    if indexing == "xy" and len(tensors) > 1:
        return tuple(t.transpose(0, 1) for t in meshgrid(*tensors))
    n = len(tensors)
    return broadcast_tensors(*(t.reshape((1,) * i + (-1,) + (1,) * (n - i - 1)) for i, t in enumerate(tensors)))


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every combination of the elements of vectors: (N,), (M,) -> (N * M, 2)."""
    return stack([t.reshape(-1) for t in meshgrid(*tensors)], 1) if len(tensors) > 1 else tensors[0]


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Where the lower triangle is, (2, N)."""
    return Tensor(np.stack(np.tril_indices(row, offset, col)))


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Where the upper triangle is, (2, N)."""
    return Tensor(np.stack(np.triu_indices(row, offset, col)))


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products written with letters, as in ``numpy.einsum``."""
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    return apply(ops.einsum, *_joined(operands, "einsum"), equation=equation)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over the last axes of a and the first of b, or over the pairs of axes listed."""
    if isinstance(dims, int):
        dims = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    over_a, over_b = ([d % t.ndim for d in part] for part, t in zip(dims, (a, b), strict=True))
    free_a = [d for d in range(a.ndim) if d not in over_a]
    free_b = [d for d in range(b.ndim) if d not in over_b]
    n = math.prod(a.shape[d] for d in over_a)
    left = a.permute(*free_a, *over_a).reshape(math.prod(a.shape[d] for d in free_a), n)
    right = b.permute(*over_b, *free_b).reshape(n, math.prod(b.shape[d] for d in free_b))
    return (left @ right).reshape([*(a.shape[d] for d in free_a), *(b.shape[d] for d in free_b)])


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices one after the other along the diagonal of a big one."""
    parts = [t.reshape(1, -1) if t.ndim < 2 else t for t in tensors]
    width, done, rows = builtins.sum(p.shape[1] for p in parts), 0, []
    for p in parts:
        rows.append(cat([p.new_zeros(len(p), done), p, p.new_zeros(len(p), width - done - p.shape[1])], 1))
        done += p.shape[1]
    return cat(rows, 0)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of r elements of a vector, (choices, r)."""
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return input[as_tensor(np.array(list(choose(range(len(input)), r)), dtype=np.int64).reshape(-1, r))]


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """The distance of every row of x1 from every row of x2: (..., N, D), (..., M, D) -> (..., N, M)."""
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


def searchsorted(sorted_sequence: Tensor, input: Any, *, right: bool = False) -> Tensor:
    """Where each element would have to be put into a sorted vector (N,) to keep it sorted."""
    values = input._array if isinstance(input, Tensor) else input
    return Tensor(np.searchsorted(sorted_sequence._array, values, "right" if right else "left"))


def bucketize(input: Any, boundaries: Tensor, *, right: bool = False) -> Tensor:
    """Which interval between the boundaries (N,) each element lies in."""
    return searchsorted(boundaries, input, right=right)


def is_tensor(obj: object) -> bool:
    return isinstance(obj, Tensor)


def promote_types(type1: Any, type2: Any) -> np.dtype[Any]:
    """The dtype of tensors of the two dtypes together."""
    return result_type(Tensor(np.empty(1, type1)), Tensor(np.empty(1, type2)))


def inference_mode(mode: Any = True) -> Any:
    """As ``no_grad``, which is all that is left of it without a compiler; ``inference_mode(False)`` changes nothing."""
    if callable(mode):
        return no_grad()(mode)
    return no_grad() if mode else contextlib.nullcontext()


def _legacy(dtype: Any) -> Callable[..., Tensor]:
    def make(*data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], int):
            return as_tensor(np.array(as_tensor(data[0])._array, dtype=dtype))
        return zeros(*data, dtype=dtype)

    make.__doc__ = f"A {np.dtype(dtype)} tensor of the data, or to be filled in the sizes."
    return make


FloatTensor, DoubleTensor, HalfTensor = _legacy(float32), _legacy(float64), _legacy(float16)
LongTensor, IntTensor, ShortTensor, CharTensor = _legacy(int64), _legacy(int32), _legacy(int16), _legacy(int8)
ByteTensor, BoolTensor = _legacy(uint8), _legacy(bool_)


def _function(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method as a function, which PyTorch lets one call with ``input=`` too."""

    @functools.wraps(method)
    def function(*args: Any, **kwargs: Any) -> Any:
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return method(*args, **kwargs)

    return function


def _functions(*methods: Callable[..., Any]) -> list[Callable[..., Any]]:
    return [_function(method) for method in methods]


(
    add, sub, subtract, mul, multiply, div, divide, true_divide, floor_divide, remainder, fmod, pow, neg,
    negative,
) = _functions(
    Tensor.add, Tensor.sub, Tensor.subtract, Tensor.mul, Tensor.multiply, Tensor.div, Tensor.divide,
    Tensor.true_divide, Tensor.floor_divide, Tensor.remainder, Tensor.fmod, Tensor.pow, Tensor.neg,
    Tensor.negative,
)  # fmt: skip
matmul, mm, bmm, mv, dot, inner, outer, ger, addmm, baddbmm, addmv, addcmul, addcdiv, lerp = _functions(
    Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.mv, Tensor.dot, Tensor.inner, Tensor.outer, Tensor.ger,
    Tensor.addmm, Tensor.baddbmm, Tensor.addmv, Tensor.addcmul, Tensor.addcdiv, Tensor.lerp,
)  # fmt: skip
maximum, minimum, clamp, clip, clamp_min, clamp_max, abs, absolute = _functions(
    Tensor.maximum, Tensor.minimum, Tensor.clamp, Tensor.clip, Tensor.clamp_min, Tensor.clamp_max, Tensor.abs,
    Tensor.absolute,
)  # fmt: skip
asin, acos, atan, erfc, deg2rad, rad2deg, hypot, logaddexp = _functions(
    Tensor.asin, Tensor.acos, Tensor.atan, Tensor.erfc, Tensor.deg2rad, Tensor.rad2deg, Tensor.hypot,
    Tensor.logaddexp,
)  # fmt: skip
heaviside, fmax, fmin, cummax, cummin, logcumsumexp, mode = _functions(
    Tensor.heaviside, Tensor.fmax, Tensor.fmin, Tensor.cummax, Tensor.cummin, Tensor.logcumsumexp, Tensor.mode,
)  # fmt: skip
(
    exp, expm1, exp2, log, log1p, log2, log10, sqrt, rsqrt, square, reciprocal, sin, cos, tan, sinh, cosh, tanh,
    sigmoid, erf, logit, relu,
) = _functions(
    Tensor.exp, Tensor.expm1, Tensor.exp2, Tensor.log, Tensor.log1p, Tensor.log2, Tensor.log10, Tensor.sqrt,
    Tensor.rsqrt, Tensor.square, Tensor.reciprocal, Tensor.sin, Tensor.cos, Tensor.tan, Tensor.sinh,
    Tensor.cosh, Tensor.tanh, Tensor.sigmoid, Tensor.erf, Tensor.logit, Tensor.relu,
)  # fmt: skip
(
    sign, floor, ceil, round, trunc, frac, nan_to_num, isnan, isinf, isfinite, isposinf, isneginf, isclose,
    isin,
) = _functions(
    Tensor.sign, Tensor.floor, Tensor.ceil, Tensor.round, Tensor.trunc, Tensor.frac, Tensor.nan_to_num,
    Tensor.isnan, Tensor.isinf, Tensor.isfinite, Tensor.isposinf, Tensor.isneginf, Tensor.isclose, Tensor.isin,
)  # fmt: skip
(
    sum, mean, var, std, var_mean, std_mean, prod, logsumexp, cumsum, cumprod, norm, nansum, nanmean, median,
    kthvalue, quantile,
) = _functions(
    Tensor.sum, Tensor.mean, Tensor.var, Tensor.std, Tensor.var_mean, Tensor.std_mean, Tensor.prod,
    Tensor.logsumexp, Tensor.cumsum, Tensor.cumprod, Tensor.norm, Tensor.nansum, Tensor.nanmean, Tensor.median,
    Tensor.kthvalue, Tensor.quantile,
)  # fmt: skip
(
    max, min, amax, amin, aminmax, argmax, argmin, argsort, sort, topk, softmax, log_softmax, count_nonzero,
    any, all,
) = _functions(
    Tensor.max, Tensor.min, Tensor.amax, Tensor.amin, Tensor.aminmax, Tensor.argmax, Tensor.argmin,
    Tensor.argsort, Tensor.sort, Tensor.topk, Tensor.softmax, Tensor.log_softmax, Tensor.count_nonzero,
    Tensor.any, Tensor.all,
)  # fmt: skip
unique, bincount, histc, histogram = _functions(
    Tensor.unique, Tensor.bincount, Tensor.histc, Tensor.histogram,
)  # fmt: skip
(
    reshape, flatten, unflatten, ravel, permute, transpose, t, squeeze, unsqueeze, swapaxes, swapdims, movedim,
    moveaxis,
) = _functions(
    Tensor.reshape, Tensor.flatten, Tensor.unflatten, Tensor.ravel, Tensor.permute, Tensor.transpose, Tensor.t,
    Tensor.squeeze, Tensor.unsqueeze, Tensor.swapaxes, Tensor.swapdims, Tensor.movedim, Tensor.moveaxis,
)  # fmt: skip
(
    tile, repeat_interleave, broadcast_to, split, tensor_split, chunk, unbind, flip, fliplr, flipud, roll,
    narrow, select, clone,
) = _functions(
    Tensor.tile, Tensor.repeat_interleave, Tensor.broadcast_to, Tensor.split, Tensor.tensor_split, Tensor.chunk,
    Tensor.unbind, Tensor.flip, Tensor.fliplr, Tensor.flipud, Tensor.roll, Tensor.narrow, Tensor.select,
    Tensor.clone,
)  # fmt: skip
detach, diagonal, diag, diag_embed, trace, diff, rot90, hsplit, vsplit, kron, cross = _functions(
    Tensor.detach, Tensor.diagonal, Tensor.diag, Tensor.diag_embed, Tensor.trace, Tensor.diff, Tensor.rot90,
    Tensor.hsplit, Tensor.vsplit, Tensor.kron, Tensor.cross,
)  # fmt: skip
(
    gather, scatter, scatter_add, index_select, index_add, index_copy, index_fill, take, take_along_dim, tril,
    triu, masked_fill,
) = _functions(
    Tensor.gather, Tensor.scatter, Tensor.scatter_add, Tensor.index_select, Tensor.index_add, Tensor.index_copy,
    Tensor.index_fill, Tensor.take, Tensor.take_along_dim, Tensor.tril, Tensor.triu, Tensor.masked_fill,
)  # fmt: skip
masked_select, masked_scatter, nonzero, argwhere, multinomial = _functions(
    Tensor.masked_select, Tensor.masked_scatter, Tensor.nonzero, Tensor.argwhere, Tensor.multinomial,
)  # fmt: skip
eq, ne, lt, le, gt, ge, equal, allclose, logical_and, logical_or, logical_xor, logical_not = _functions(
    Tensor.eq, Tensor.ne, Tensor.lt, Tensor.le, Tensor.gt, Tensor.ge, Tensor.equal, Tensor.allclose,
    Tensor.logical_and, Tensor.logical_or, Tensor.logical_xor, Tensor.logical_not,
)  # fmt: skip
bitwise_and, bitwise_or, bitwise_xor, bitwise_not = _functions(
    Tensor.bitwise_and, Tensor.bitwise_or, Tensor.bitwise_xor, Tensor.bitwise_not,
)  # fmt: skip
numel, is_floating_point = _functions(
    Tensor.numel, Tensor.is_floating_point,
)  # fmt: skip
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor",
    "LongTensor", "ShortTensor", "abs", "absolute", "acos", "add", "addcdiv", "addcmul", "addmm", "addmv", "all",
    "allclose", "amax", "amin", "aminmax", "any", "arange", "argmax", "argmin", "argsort", "argwhere", "asarray",
    "asin", "atan", "atleast_1d", "baddbmm", "bernoulli", "bincount", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "block_diag", "bmm", "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize",
    "cartesian_prod", "cat", "cdist", "ceil", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "clone",
    "column_stack", "combinations", "concat", "concatenate", "cos", "cosh", "count_nonzero", "cross", "cummax",
    "cummin", "cumprod", "cumsum", "deg2rad", "detach", "diag", "diag_embed", "diagonal", "diff", "div", "divide",
    "dot", "dstack", "einsum", "empty", "empty_like", "eq", "equal", "erf", "erfc", "exp", "exp2", "expm1", "eye",
    "flatten", "flip", "fliplr", "flipud", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "from_numpy",
    "full", "full_like", "gather", "ge", "ger", "greater", "greater_equal", "gt", "heaviside", "histc", "histogram",
    "hsplit", "hstack", "hypot", "index_add", "index_copy", "index_fill", "index_select", "inference_mode", "inner",
    "is_floating_point", "is_tensor", "isclose", "isfinite", "isin", "isinf", "isnan", "isneginf", "isposinf",
    "kron", "kthvalue", "le", "lerp", "less", "less_equal", "linspace", "log", "log1p", "log2", "log10",
    "log_softmax", "logaddexp", "logcumsumexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logit",
    "logspace", "logsumexp", "lt", "masked_fill", "masked_scatter", "masked_select", "matmul", "max", "maximum",
    "mean", "median", "meshgrid", "min", "minimum", "mm", "mode", "moveaxis", "movedim", "mul", "multinomial",
    "multiply", "mv", "nan_to_num", "nanmean", "nansum", "narrow", "ne", "neg", "negative", "nonzero", "norm",
    "normal", "not_equal", "numel", "ones", "ones_like", "outer", "permute", "pow", "prod", "promote_types",
    "quantile", "rad2deg", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
    "ravel", "reciprocal", "relu", "remainder", "repeat_interleave", "reshape", "result_type", "roll", "rot90",
    "round", "rsqrt", "scatter", "scatter_add", "searchsorted", "select", "sigmoid", "sign", "sin", "sinh",
    "softmax", "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "std_mean", "sub", "subtract", "sum",
    "swapaxes", "swapdims", "t", "take", "take_along_dim", "tan", "tanh", "tensor_split", "tensordot", "tile",
    "topk", "trace", "transpose", "tril", "tril_indices", "triu", "triu_indices", "true_divide", "trunc", "unbind",
    "unflatten", "unique", "unsqueeze", "var", "var_mean", "vsplit", "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip
