"""Picking and placing along an axis by an array of places.

An element that is picked more than once gets the sum of the gradients of its copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, Op, op


@op
def gather(x: Array, *, axis: int, index: Array) -> tuple[Array, Backward]:
    """z[i][j][k] = x[index[i][j][k]][j][k], for axis 0, and likewise for the others
    dx = 0, plus dz at index
    """
    where = _places(x, axis, index)
    shape = x.shape

    def backward(dz):
        dx = np.zeros_like(dz, shape=shape)
        np.add.at(dx, where, dz)
        return (dx,)

    return x[where], backward


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
            dx = np.copy(dz)
            dx[where] = 0
        if not part:
            return dx, dz[where].sum()
        dy = np.zeros_like(dz, shape=shape)
        dy[part] = dz[where]
        return dx, dy

    return z, backward


@op
def setitem(x: Array, y: Array, *, index: Any, add: bool = False) -> tuple[Array, Backward]:
    """z = x, with z[index] = y; or += if add, for each time that an element is in the index
    dx = dz, with 0 at index, unless add
    dy = dz at index
    """
    z = x.copy()
    if add:
        np.add.at(z, index, y)
    else:
        z[index] = y

    def backward(dz):
        dx = dz
        if not add:
            dx = np.copy(dz)
            dx[index] = 0
        return dx, np.copy(dz[index])

    return z, backward


@op(grad_fn="CopySlices")
def view_written(x: Array, y: Array, *, view: Op, constants: dict[str, Any]) -> tuple[Array, Backward]:
    """z = x, with y in place of a view of it
    dx = dz, with 0 in that view
    dy = that view of dz

    view is the op that made the view of x, with its constants.
    """
    z = x.copy()
    view(z, **constants)[0][...] = y

    def backward(dz):
        dx = np.copy(dz)
        view(dx, **constants)[0][...] = 0
        return dx, np.copy(view(dz, **constants)[0])

    return z, backward
