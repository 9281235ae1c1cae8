"""Tensors made from data, from nothing and at random."""

from __future__ import annotations

import builtins
import math
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
    set_default_dtype,
    uint8,
)

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor",
    "LongTensor", "ShortTensor", "arange", "as_tensor", "asarray", "bernoulli", "channels_last",
    "contiguous_format", "empty", "empty_like", "eye", "from_numpy", "full", "full_like", "linspace", "logspace",
    "normal", "ones", "ones_like", "preserve_format", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "set_default_tensor_type", "tensor", "tril_indices", "triu_indices", "zeros",
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


def zeros(*sizes: Any, size: Any = (), dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 0."""
    return _made(np.zeros(ints(sizes or size), dtype=_or_default(dtype)), dtype, device, requires_grad)


def ones(*sizes: Any, size: Any = (), dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All 1."""
    return _made(np.ones(ints(sizes or size), dtype=_or_default(dtype)), dtype, device, requires_grad)


def _or_default(dtype: Any) -> Any:
    return get_default_dtype() if dtype is None else check_dtype(dtype)


def empty(*sizes: Any, size: Any = (), dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """To be filled; all 0 until then, so that nothing depends on what the memory held."""
    return zeros(*sizes, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All the same number, whose kind gives the dtype."""
    value = as_tensor(fill_value)
    return _made(np.full(size, value._array), dtype or value.dtype, device, requires_grad)


def zeros_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Zeros in a tensor's shape and dtype."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Ones in a tensor's shape and dtype."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


empty_like = zeros_like


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
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


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor on the array's own memory."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy needs a NumPy array, got {type(ndarray).__name__}: use tensor(data)")
    return Tensor(ndarray)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """The data as a tensor, sharing memory where it can, or a copy."""
    made = tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype=dtype, device=device)
    return made.requires_grad_() if requires_grad else made


def rand(
    *sizes: Any,
    size: Any = (),
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform in [0, 1)."""
    return _made(rng(generator).random(ints(sizes or size)), dtype, device, requires_grad)


def randn(
    *sizes: Any,
    size: Any = (),
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    return _made(rng(generator).standard_normal(ints(sizes or size)), dtype, device, requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with a mean and a standard deviation for each element, or in a size."""
    given: list[Any] = [v.dtype for v in (mean, std) if isinstance(v, Tensor)]
    mean, std = (v._array if isinstance(v, Tensor) else v for v in (mean, std))
    return _made(rng(generator).normal(mean, std, size), dtype or (given or [None])[0], device, requires_grad)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element gives, else 0."""
    return input.bernoulli(generator=generator)


def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Drawn evenly from 0..1, in a tensor's shape and dtype."""
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
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


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers from ``low`` up to, but without, ``high``, in a tensor's shape and dtype."""
    return randint(low, high, input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = np.int64,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """0 ... n - 1 in random order."""
    return _made(rng(generator).permutation(n), dtype, device, requires_grad)


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Where the lower triangle is, (2, N)."""
    return Tensor(np.stack(np.tril_indices(row, offset, col)))


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Where the upper triangle is, (2, N)."""
    return Tensor(np.stack(np.triu_indices(row, offset, col)))


class _OfDtype(type):
    """The type of PyTorch's first tensor types: their tensors are Tensors of one dtype."""

    dtype: Any

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype

    def __call__(cls, *data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], int):
            return as_tensor(np.array(as_tensor(data[0])._array, dtype=cls.dtype))
        return zeros(*data, dtype=cls.dtype)


class FloatTensor(metaclass=_OfDtype):
    """A float32 tensor of the data, or to be filled in the sizes; as a type, what such tensors are."""

    dtype = float32


class DoubleTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, float64."""

    dtype = float64


class HalfTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, float16."""

    dtype = float16


class LongTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, int64."""

    dtype = int64


class IntTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, int32."""

    dtype = int32


class ShortTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, int16."""

    dtype = int16


class CharTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, int8."""

    dtype = int8


class ByteTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, uint8."""

    dtype = uint8


class BoolTensor(metaclass=_OfDtype):
    """As ``FloatTensor``, bool."""

    dtype = bool_


preserve_format, contiguous_format, channels_last = "preserve_format", "contiguous_format", "channels_last"


def set_default_tensor_type(t: Any) -> None:
    """Set the dtype that Python floats turn into, by a tensor type or its name, "torch.DoubleTensor"."""
    set_default_dtype(check_dtype(t))
