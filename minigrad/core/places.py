"""Ops that move elements and compute nothing: shapes, indexing, rows of a table, joining.

An element that is picked more than once gets the sum of the gradients of its copies. Where NumPy can, the result is a
view of the input's memory.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, op


@op(view=True, reshapes=True, grad_fn="View")
def reshape(x: Array, *, shape: tuple[int, ...]) -> tuple[Array, Backward]:
    """z = x in another shape
    dx = dz in the shape of x
    """
    origin = x.shape
    if min(shape, default=0) < -1:
        raise ValueError(f"a size is at least 0, or -1 for what is left over, got {shape}")

    def backward(dz):
        return (dz.reshape(origin),)

    return x.reshape(shape), backward


@op(view=True, reshapes=True)
def transpose(x: Array, *, axis0: int, axis1: int) -> tuple[Array, Backward]:
    """z = x with two axes exchanged
    dx = dz with the same two exchanged
    """

    def backward(dz):
        return (dz.swapaxes(axis0, axis1),)

    return x.swapaxes(axis0, axis1), backward


@op(view=True)
def getitem(x: Array, *, index: Any) -> tuple[Array, Backward]:
    """z = x[index]
    dx = 0, plus dz at index
    """
    shape = x.shape
    z = x[index]
    if isinstance(z, np.generic):  # a single element: as a view too
        z = x[(*index, ...) if isinstance(index, tuple) else (index, ...)]

    def backward(dz):
        dx = np.zeros_like(dz, shape=shape)
        if is_basic(index):
            dx[index] = dz
        else:
            np.add.at(dx, index, dz)  # dx[index] += dz would count an element that is picked twice only once
        return (dx,)

    return z, backward


def is_basic(index: Any) -> bool:
    """Whether an index is made of ints, slices, None and ... alone: then no element can be picked twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, int | slice | np.integer) for p in parts)


@op
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Backward]:
    """z = weight[ids]
    dweight = 0, plus dz at row ids; repeated ids add up

    weight: (V, C), ids: integers of any shape -> (*ids.shape, C). The row padding_idx gets no gradient.
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, got {ids.dtype}")
    shape = weight.shape
    if ids.size and (ids.min() < 0 or ids.max() >= shape[0]):
        raise IndexError(f"ids run from {ids.min()} to {ids.max()}, the table has rows 0 to {shape[0] - 1}")

    def backward(dz):
        dweight = np.zeros_like(dz, shape=shape)
        np.add.at(dweight, ids, dz)
        if padding_idx is not None:
            dweight[padding_idx] = 0
        return (dweight,)

    return weight[ids], backward


def ints(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape: ``(2, 3)`` and ``((2, 3),)`` alike."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    return tuple(map(operator.index, sizes))
