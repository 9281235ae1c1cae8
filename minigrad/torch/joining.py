"""Functions of several tensors: joining, grids, sums of products, distances; and what asks or decides about them."""

from __future__ import annotations

import builtins
import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from minigrad import ops
from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor, apply, binary
from minigrad.torch.creation import as_tensor
from minigrad.torch.dtypes import plain, result_type
from minigrad.torch.methods.base import with_numpy_names

__all__ = [
    "atleast_1d", "block_diag", "broadcast_shapes", "broadcast_tensors", "bucketize", "cartesian_prod", "cat",
    "cdist", "column_stack", "combinations", "concat", "concatenate", "dstack", "einsum", "hstack",
    "inference_mode", "is_tensor", "meshgrid", "promote_types", "searchsorted", "stack", "tensordot", "vstack",
    "where",
]  # fmt: skip


@with_numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """One after the other along an axis they have."""
    _check_dim(dim, "cat")
    some = [t for t in tensors if t.shape != (0,)]  # an empty list, so to speak, fits everywhere
    return apply(ops.cat, *_joined(some or tensors, "cat"), axis=dim)


@with_numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Side by side along a new axis."""
    _check_dim(dim, "stack")
    return apply(ops.stack, *_joined(tensors, "stack"), axis=dim)


def _check_dim(dim: Any, name: str) -> None:
    if isinstance(dim, Tensor):
        raise TypeError(f"{name} takes a list of tensors: write {name}([a, b])")


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
    """With at least one axis: a number becomes (1,); several tensors become a tuple."""
    parts = tuple(t.reshape(1) if t.ndim == 0 else t for t in tensors)
    return parts[0] if len(tensors) == 1 and not isinstance(tensors[0], tuple | list) else parts


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All at the shape they have together."""
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that these shapes have together; an error where they do not fit."""
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
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def promote_types(type1: Any, type2: Any) -> np.dtype[Any]:
    """The dtype of tensors of the two dtypes together."""
    return result_type(Tensor(np.empty(1, type1)), Tensor(np.empty(1, type2)))


def inference_mode(mode: Any = True) -> Any:
    """As ``no_grad``, which is all that is left of it without a compiler; ``inference_mode(False)`` changes nothing."""
    if callable(mode):
        return no_grad()(mode)
    return no_grad() if mode else contextlib.nullcontext()


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Any, other: Any) -> Tensor: ...
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where the condition (bool) holds, else other; with the condition alone, the indices where it holds."""
    mask, x, y = plain(condition), input, other
    if x is None and y is None:
        return tuple(Tensor(i) for i in np.nonzero(mask))
    if mask.dtype != bool:
        raise TypeError(f"where: the condition must be bool, got {mask.dtype}: write condition != 0")
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x, y = as_tensor(x), as_tensor(y)
    return binary(ops.where, x, y, condition=mask)


concat = concatenate = cat
