"""Matrix products: in every combination of dimensions, and the linear layer as one op."""

from __future__ import annotations

import math

import numpy as np

from minigrad.core.op import Array, Backward, op


@op(symbol="@", reads=("y", "x"))
def matmul(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x @ y
    dx = dz @ yᵀ
    dy = xᵀ @ dz

    The shapes tell where the transposes go: of x (n, k), y (k, m) and dz (n, m), only dz @ yᵀ is (n, k), as dx must be.
    1-D operands are a row on the left, a column on the right; further axes in front are batches, and broadcast.
    """
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        raise ValueError("both operands need at least one dimension; multiply by a number with *")
    if x.shape[-1] != y.shape[-2:][0]:  # the last axis but one, or the only one
        raise ValueError(f"the inner sizes differ: x has {x.shape[-1]} columns, y has {y.shape[-2:][0]} rows")

    def backward(dz):
        left, right = np.atleast_2d(x), y[:, None] if y.ndim == 1 else y
        dz = dz[..., None] if y.ndim == 1 else dz
        dz = dz[..., None, :] if x.ndim == 1 else dz
        dx = dz @ right.swapaxes(-1, -2)
        # One y for a whole batch: one product of all rows, in place of one for each matrix and a sum of these.
        dy = _rows(left).T @ _rows(dz) if right.ndim == 2 else left.swapaxes(-1, -2) @ dz
        return dx[..., 0, :] if x.ndim == 1 else dx, dy[..., 0] if y.ndim == 1 else dy

    if x.ndim > 2 and y.ndim == 2:
        return (_rows(x) @ y).reshape(*x.shape[:-1], y.shape[1]), backward
    return x @ y, backward


def _rows(x: Array) -> Array:
    """All but the last axis as one; reshape(-1, n) would refuse n = 0."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@op(grad_fn="Addmm", reads=("weight", "flat", ""))
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Backward]:
    """z = x @ weightᵀ + bias
    dx = dz @ weight
    dweight = dzᵀ @ x
    dbias = sum dz

    x: (..., I), weight: (O, I), bias: (O,) or None -> (..., O).
    """
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x {x.shape} must end in the input size of weight (out, in) = {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have the output size of weight, ({weight.shape[0]},), got {bias.shape}")
    flat, has_bias = _rows(x), bias is not None  # a bool, so that backward does not keep the whole bias
    z = flat.dot(weight.T)  # of two matrices, dot is matmul and begins sooner
    if bias is not None:
        z += bias

    def backward(dz):
        flat_dz = _rows(dz)
        dx = flat_dz.dot(weight).reshape(*dz.shape[:-1], weight.shape[1])
        return dx, flat_dz.T.dot(flat), flat_dz.sum(0) if has_bias else None

    return z.reshape(*x.shape[:-1], weight.shape[0]), backward
