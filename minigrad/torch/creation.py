"""Tensors made from data, from nothing and at random."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.core.places import ints
from minigrad.core.tensor import Tensor
from minigrad.tools.random import Generator, rng
from minigrad.torch.dtypes import (
    array_from,
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
    uint8,
)

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor",
    "LongTensor", "ShortTensor", "arange", "as_tensor", "asarray", "bernoulli", "empty", "empty_like", "eye",
    "from_numpy", "full", "full_like", "linspace", "logspace", "normal", "ones", "ones_like", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "tensor", "tril_indices", "triu_indices", "zeros",
    "zeros_like",
]  # fmt: skip


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data: Python floats become float32, ints int64; arrays keep their dtype."""
    check_device(device)
    return Tensor(array_from(data, dtype, copy=True), requires_grad=requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor, sharing memory where it can."""
    check_device(device)
    if isinstance(data, Tensor) and dtype in (None, data.dtype):
        return data
    return Tensor(array_from(data, dtype, copy=False))


def _made(array: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    return Tensor(np.asarray(array).astype(_or_default(dtype), copy=False), requires_grad=requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 0."""
    return _made(np.zeros(ints(size), dtype=_or_default(dtype)), dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 1."""
    return _made(np.ones(ints(size), dtype=_or_default(dtype)), dtype, device, requires_grad)


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
    """Zeros in a tensor's shape and dtype."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in a tensor's shape and dtype."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


empty_like = zeros_like


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One number in a tensor's shape and dtype."""
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
    return _made(rng(generator).random(ints(size)), dtype, device, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    return _made(rng(generator).standard_normal(ints(size)), dtype, device, requires_grad)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Normal with a mean and a standard deviation for each element, or in a size."""
    mean, std = (v._array if isinstance(v, Tensor) else v for v in (mean, std))
    return _made(rng(generator).normal(mean, std, size), None, None, False)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element gives, else 0."""
    return input.bernoulli(generator=generator)


def rand_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Drawn evenly from 0..1, in a tensor's shape and dtype."""
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Drawn from the standard normal distribution, in a tensor's shape and dtype."""
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
    """Integers from ``low`` up to, but without, ``high``, in a tensor's shape and dtype."""
    return randint(low, high, input.shape, dtype=input.dtype)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = np.int64, device: Any = None) -> Tensor:
    """0 ... n - 1 in random order."""
    return _made(rng(generator).permutation(n), dtype, device, False)


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Where the lower triangle is, (2, N)."""
    return Tensor(np.stack(np.tril_indices(row, offset, col)))


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Where the upper triangle is, (2, N)."""
    return Tensor(np.stack(np.triu_indices(row, offset, col)))


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
