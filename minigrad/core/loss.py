"""The loss of a language model: how surprised it is by the token that came."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, op
from minigrad.core.sums import log_softmax


@op(grad_fn="NllLoss")
def cross_entropy(
    x: Array, *, target: Array, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Array, Backward]:
    """z = mean of -log softmax(x)[target]
    dx = dz * (softmax(x) - onehot(target)) / N

    x: raw scores (C,), (N, C) or (N, C, d1, ...); target: class indices without the class axis. Targets equal to
    ignore_index do not count. reduction: "mean", "sum" or "none".
    """
    axis = check_classes(x)
    wanted, keep = one_hot(x, target, axis, ignore_index)
    logp, _ = log_softmax(x, axis=axis)  # an op is a function like any other; its backward is not needed
    losses = -(wanted * np.where(wanted == 0, 0, logp)).sum(axis)  # 0 * -inf would be nan

    def backward(dz):
        each = each_loss(dz, reduction, keep.sum())
        each = np.expand_dims(each, axis) if reduction == "none" else each
        return ((np.where(np.expand_dims(keep, axis), np.exp(logp), 0) - wanted) * each,)

    return reduced(losses, reduction, keep.sum()), backward


def check_classes(x: Array) -> int:
    """The class axis of scores (C,) or (N, C, ...)."""
    if x.ndim == 0:
        raise ValueError("x needs a class axis: (C,) or (N, C, ...)")
    return 0 if x.ndim == 1 else 1


def one_hot(x: Array, target: Array, axis: int, ignore_index: int) -> tuple[Array, Array]:
    """One-hot rows in the shape of x, zeros for targets that do not count; and which do, in the shape of target."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target must be class indices (integers) or probabilities (floats), got {target.dtype}")
    expected = x.shape[:axis] + x.shape[axis + 1 :]
    if target.shape != expected:
        raise ValueError(f"target must have shape {expected} for x of shape {x.shape}, got {target.shape}")
    keep, classes = target != ignore_index, x.shape[axis]
    wrong = np.argwhere(keep & ((target < 0) | (target >= classes))).tolist()
    if wrong:
        at = tuple(wrong[0])
        raise IndexError(f"target {target[at]} at {at} is not one of the {classes} classes (0 to {classes - 1})")
    wanted = np.zeros(x.shape, x.dtype)
    np.put_along_axis(wanted, np.expand_dims(np.where(keep, target, 0), axis), np.expand_dims(keep, axis), axis)
    return wanted, keep


def reduced(losses: Array, reduction: str, count: Any) -> Array:
    """The losses themselves, their sum, or their mean over those that count."""
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if reduction == "mean":
        with np.errstate(invalid="ignore"):  # 0 / 0: the mean of nothing
            return losses.sum() / losses.dtype.type(count)
    return losses.sum() if reduction == "sum" else losses


def each_loss(dz: Array, reduction: str, count: Any) -> Array:
    """The gradient of each single loss: 1 / N of dz for a mean; N is 1 where no target counts."""
    return dz / dz.dtype.type(count or 1) if reduction == "mean" else dz
