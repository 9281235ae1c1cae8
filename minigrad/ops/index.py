"""Ops that pick elements: indexing, gather, embedding look-up, triangles, masks.

An element that is picked more than once gets the sum of the gradients of its copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.ops.registry import Array, Backward, op


@op
def getitem(x: Array, *, index: Any) -> tuple[Array, Backward]:
    """z = x[index]
    dx = 0, plus dz at index
    """
    shape = x.shape
    z = x[index]

    def backward(dz):
        dx = np.zeros(shape, dtype=dz.dtype)
        if is_basic(index):
            dx[index] = dz
        else:
            np.add.at(dx, index, dz)
        return (dx,)

    return z, backward


def is_basic(index: Any) -> bool:
    """Whether an index is made of ints, slices, None and ... alone: then no element can be picked twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, int | slice | np.integer) for p in parts)


@op
def setitem(x: Array, y: Array, *, index: Any) -> tuple[Array, Backward]:
    """z = x, with z[index] = y
    dx = dz, with 0 at index
    dy = dz at index
    """
    z = x.copy()
    z[index] = y

    def backward(dz):
        dx = dz.copy()
        dx[index] = 0
        return dx, np.array(dz[index])

    return z, backward


@op
def gather(x: Array, *, axis: int, index: Array) -> tuple[Array, Backward]:
    """z[i][j][k] = x[index[i][j][k]][j][k], for axis 0, and likewise for the others
    dx = 0, plus dz at index
    """
    where = _places(x, axis, index)
    shape = x.shape

    def backward(dz):
        dx = np.zeros(shape, dtype=dz.dtype)
        np.add.at(dx, where, dz)
        return (dx,)

    return np.asarray(x[where]), backward


def _places(x: Array, axis: int, index: Array) -> tuple[Array, ...]:
    """The index along one axis as an index of whole elements of x."""
    if index.dtype.kind not in "iu":
        raise TypeError(f"index must hold integers, got {index.dtype}")
    if index.ndim != x.ndim:
        raise ValueError(f"index must have as many axes as x, got shapes {index.shape} and {x.shape}")
    if x.ndim == 0:
        return ()
    axis = axis % x.ndim
    if any(n > m for k, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if k != axis):
        raise ValueError(f"index {index.shape} is larger than x {x.shape} on an axis other than {axis}")
    if index.size and (index.min() < 0 or index.max() >= x.shape[axis]):
        raise IndexError(f"index runs from {index.min()} to {index.max()}, axis {axis} of x has {x.shape[axis]}")
    place = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    place[axis] = index
    return tuple(place)


@op
def scatter(x: Array, y: Array, *, axis: int, index: Array, add: bool = False) -> tuple[Array, Backward]:
    """z = x, with z[index[i][j][k]][j][k] = y[i][j][k] for axis 0, and likewise for the others; or += if add
    dx = dz, with 0 where y was put, unless add
    dy = dz at index

    Where an index comes twice, the last y stays; its gradient goes to all of them, as in PyTorch.
    """
    where = _places(x, axis, index)
    if np.ndim(y) and any(n > m for n, m in zip(index.shape, y.shape, strict=True)):
        raise ValueError(f"y {y.shape} must be at least as large as index {index.shape}")
    part = tuple(slice(n) for n in index.shape) if np.ndim(y) else ()
    shape = np.shape(y)
    z = x.copy()
    if add:
        np.add.at(z, where, y[part] if part else y)
    else:
        z[where] = y[part] if part else y

    def backward(dz):
        dx = dz
        if not add:
            dx = dz.copy()
            dx[where] = 0
        if not part:
            return dx, np.asarray(dz[where].sum())
        dy = np.zeros(shape, dtype=dz.dtype)
        dy[part] = dz[where]
        return dx, dy

    return z, backward


@op
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Backward]:
    """z = weight[ids]
    dweight = 0, plus dz at row ids; repeated ids add up

    weight: (V, C), ids: integers of any shape -> (*ids.shape, C). The row padding_idx gets no gradient.
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, got {ids.dtype}")
    shape = weight.shape
    rows = shape[0]
    if ids.size and (ids.min() < 0 or ids.max() >= rows):
        raise IndexError(f"ids run from {ids.min()} to {ids.max()}, the table has rows 0 to {rows - 1}")

    def backward(dz):
        flat = ids.reshape(-1)
        dweight = np.zeros(shape, dtype=dz.dtype)
        if flat.size:
            order = np.argsort(flat, kind="stable")  # equal ids side by side, then one sum per run of them
            found, starts = np.unique(flat[order], return_index=True)
            dz = dz.reshape(flat.size, *shape[1:])
            dweight[found] = np.add.reduceat(dz[order], starts, axis=0)
            if padding_idx is not None:
                dweight[padding_idx] = 0
        return (dweight,)

    return weight[ids], backward


@op
def tril(x: Array, *, diagonal: int = 0) -> tuple[Array, Backward]:
    """z = x on and below a diagonal, 0 above
    dx = dz on and below it, 0 above
    """
    _check_matrix(x)

    def backward(dz):
        return (np.tril(dz, diagonal),)

    return np.tril(x, diagonal), backward


@op
def triu(x: Array, *, diagonal: int = 0) -> tuple[Array, Backward]:
    """z = x on and above a diagonal, 0 below
    dx = dz on and above it, 0 below
    """
    _check_matrix(x)

    def backward(dz):
        return (np.triu(dz, diagonal),)

    return np.triu(x, diagonal), backward


def _check_matrix(x: Array) -> None:
    if x.ndim < 2:
        raise ValueError(f"a triangle needs a matrix (or a batch of them), got shape {x.shape}")


@op
def masked_fill(x: Array, *, mask: Array, value: float) -> tuple[Array, Backward]:
    """z = value where mask, else x
    dx = 0 where mask, else dz
    """
    if mask.dtype != bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}: write mask=(m == 0) or (m != 0)")

    def backward(dz):
        return (dz * ~mask,)

    return np.where(mask, x.dtype.type(value), x), backward
