"""Tensors made from nothing and tensors joined, as the layers here need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.tensor import Tensor, apply


def empty(*size: int, dtype: Any = None) -> Tensor:
    """To be filled; zeros until then."""
    return Tensor(Tensor._zeros(size, dtype))


zeros = empty


def ones(*size: int, dtype: Any = None) -> Tensor:
    """All 1."""
    return full(size, 1, dtype=dtype)


def full(size: Sequence[int], value: float, *, dtype: Any = None) -> Tensor:
    """All the same number."""
    array = Tensor._zeros(tuple(size), dtype)
    array[...] = value
    return Tensor(array)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """One after the other along an axis they have."""
    return apply(ops.cat, *tensors, axis=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Side by side along a new axis."""
    return apply(ops.stack, *tensors, axis=dim)


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    """x where the condition (bool) holds, else y; one of them at least is a tensor."""
    return (x if isinstance(x, Tensor) else Tensor(np.asarray(x, y.dtype))).where(condition, y)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sums of products written with letters, as in ``numpy.einsum``."""
    return apply(ops.einsum, *operands, equation=equation)
