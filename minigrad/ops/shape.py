"""More ops that move elements and change none: size-1 axes, repeating, stacking, padding, flipping, triangles.

Where NumPy can, the result is a view of the input's memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, op


@op(view=True, reshapes=True)
def permute(x: Array, *, dims: tuple[int, ...]) -> tuple[Array, Backward]:
    """z = x with its axes in the order dims
    dx = dz with its axes put back
    """
    axes = range(x.ndim)
    order = [d % x.ndim if x.ndim else d for d in dims]
    if sorted(order) != list(axes):
        raise ValueError(f"dims must name each of the {x.ndim} axes once, got {dims}")

    def backward(dz):
        return (dz.transpose([order.index(axis) for axis in axes]),)

    return x.transpose(dims), backward


@op(view=True, reshapes=True)
def squeeze(x: Array, *, axis: int | tuple[int, ...] | None = None) -> tuple[Array, Backward]:
    """z = x without axes of size 1
    dx = dz with them again
    """
    shape = x.shape
    if axis is not None:  # as in PyTorch, an axis of another size stays
        axes = axis if isinstance(axis, tuple) else (axis,)
        axis = tuple(a for a in axes if (x.shape or (0,))[a] == 1)  # PyTorch lets a number be asked too

    def backward(dz):
        return (dz.reshape(shape),)

    return x.squeeze(axis), backward


@op(view=True, reshapes=True)
def unsqueeze(x: Array, *, axis: int) -> tuple[Array, Backward]:
    """z = x with a new axis of size 1
    dx = dz without it
    """

    def backward(dz):
        return (dz.squeeze(axis),)

    return np.expand_dims(x, axis), backward


@op(view=True, reshapes=True)
def expand(x: Array, *, shape: tuple[int, ...]) -> tuple[Array, Backward]:
    """z = x, repeated along its size-1 axes and new ones in front
    dx = dz, summed over them

    In the shape, -1 keeps the axis as it is.
    """
    extra = len(shape) - x.ndim
    if extra < 0 or any(n == -1 for n in shape[:extra]):
        raise ValueError(
            f"cannot expand shape {x.shape} to {tuple(shape)}: give one size per axis, -1 only for its own"
        )
    shape = tuple(x.shape[i - extra] if n == -1 else n for i, n in enumerate(shape))

    def backward(dz):
        return (dz,)

    return x[...] if x.shape == shape else np.broadcast_to(x, shape), backward


@op
def cat(*xs: Array, axis: int = 0) -> tuple[Array, Backward]:
    """z = the xs one after the other along an axis
    dx_i = the part of dz that x_i became
    """
    sizes = [x.shape[axis] for x in xs]

    def backward(dz):
        return tuple(np.split(dz, np.cumsum(sizes)[:-1], axis))

    return np.concatenate(xs, axis), backward


@op
def stack(*xs: Array, axis: int = 0) -> tuple[Array, Backward]:
    """z = the xs along a new axis
    dx_i = slice i of dz along it
    """

    def backward(dz):
        return tuple(np.moveaxis(dz, axis, 0))

    return np.stack(xs, axis), backward


@op(grad_fn="ConstantPadNd")
def pad(x: Array, *, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> tuple[Array, Backward]:
    """z = x with a border of a constant, widths (before, after) for each axis
    dx = the inside of dz

    A negative width cuts off that many.
    """
    if len(widths) != x.ndim:
        raise ValueError(f"widths for {len(widths)} axes, x has {x.ndim}")
    for n, (before, after) in zip(x.shape, widths, strict=True):
        if n + before + after < 0:
            raise ValueError(f"widths {(before, after)} cut more than the {n} elements there are")
    kept = tuple(
        slice(max(0, -before), max(0, n - max(0, -after))) for n, (before, after) in zip(x.shape, widths, strict=True)
    )
    z = np.full_like(x, value, shape=[n + b + a for n, (b, a) in zip(x.shape, widths, strict=True)])
    inside = tuple(slice(max(0, b), max(0, n - max(0, a))) for n, (b, a) in zip(z.shape, widths, strict=True))
    z[inside] = x[kept]
    origin = x.shape

    def backward(dz):
        dx = np.zeros_like(dz, shape=origin)
        dx[kept] = dz[inside]
        return (dx,)

    return z, backward


@op
def flip(x: Array, *, axis: int | tuple[int, ...]) -> tuple[Array, Backward]:
    """z = x back to front along an axis
    dx = dz back to front along it
    """

    def backward(dz):
        return (np.flip(dz, axis),)

    return np.flip(x, axis).copy(), backward  # a view would pass on what is written in place


@op(view=True)
def diagonal(x: Array, *, offset: int = 0, axis0: int = 0, axis1: int = 1) -> tuple[Array, Backward]:
    """z_i = x[i][i + offset], of two axes, as the last axis
    dx = 0, plus dz on that diagonal
    """
    shape = x.shape

    def backward(dz):
        dx = np.zeros_like(dz, shape=shape)
        diagonal(dx, offset=offset, axis0=axis0, axis1=axis1)[0][...] = dz
        return (dx,)

    z = np.diagonal(x, offset, axis0, axis1)
    z.flags.writeable = x.flags.writeable
    return z, backward


@op
def roll(x: Array, *, shifts: Any, axis: Any = None) -> tuple[Array, Backward]:
    """z = x moved along an axis, what falls off one end comes in at the other
    dx = dz moved back
    """

    def backward(dz):
        return (np.roll(dz, -np.asarray(shifts), axis),)

    return np.roll(x, shifts, axis), backward


@op(elementwise=True)
def tril(x: Array, *, diagonal: int = 0) -> tuple[Array, Backward]:
    """z = x on and below a diagonal, 0 above
    dx = dz on and below it, 0 above
    """
    _check_matrix(x)

    def backward(dz):
        return (np.tril(dz, diagonal),)

    return np.tril(x, diagonal), backward


@op(elementwise=True)
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
