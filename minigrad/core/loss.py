"""The loss of a language model: how surprised it is by the token that came."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, op
from minigrad.core.sums import log_softmax


@op(grad_fn="NllLoss")
def cross_entropy(
    x: Array,
    *,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> tuple[Array, Backward]:
    """z = mean of -log softmax(x)[target]
    dx = dz * (softmax(x) - onehot(target)) / N

    x: (C,), (N, C) or (N, C, d1, ...); target: class indices without the class axis, or probabilities in the shape of
    x. Targets equal to ignore_index do not count. With label smoothing e the one-hot target becomes
    (1 - e) onehot + e / C (Szegedy et al. 2016).
    """
    axis = 0 if x.ndim == 1 else 1
    if x.ndim == 0:
        raise ValueError("x needs a class axis: (C,) or (N, C, ...)")
    classes = x.shape[axis]
    if target.dtype.kind == "f":
        wanted, keep = soft_targets(x, target, axis), None
    else:
        wanted, keep = hard_targets(x, target, axis, ignore_index)
    if label_smoothing:
        wanted = wanted * (1 - label_smoothing) + label_smoothing / classes
        if keep is not None:
            wanted *= np.expand_dims(keep, axis)
    scale = None
    if weight is not None:
        scale = weight.reshape((-1,) + (1,) * (x.ndim - axis - 1))
        wanted = wanted * scale
    if keep is None:
        count = max(x.size // max(classes, 1), 1)
    elif weight is None:
        count = keep.sum()
    else:
        count = np.where(keep, weight[np.where(keep, target, 0)], 0).sum()

    logp, _ = log_softmax(x, axis=axis)
    with np.errstate(invalid="ignore"):
        losses = -np.where(wanted == 0, 0, wanted * logp).sum(axis).astype(x.dtype, copy=False)
    total = wanted.sum(axis, keepdims=True)

    def backward(dz):
        each = each_loss(dz, reduction, count)
        if reduction == "none":
            each = np.expand_dims(each, axis)
        dx = np.exp(logp)
        dx *= total
        dx -= wanted
        dx *= each
        return (dx,)

    return reduced(losses, reduction, count), backward


def hard_targets(x: Array, target: Array, axis: int, ignore_index: int) -> tuple[Array, Array]:
    """One-hot rows in the shape of x, zeros for targets that do not count, and which do."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target must be class indices (integers) or probabilities (floats), got {target.dtype}")
    expected = x.shape[:axis] + x.shape[axis + 1 :]
    if target.shape != expected:
        raise ValueError(f"target must have shape {expected} for x of shape {x.shape}, got {target.shape}")
    keep = target != ignore_index
    classes = x.shape[axis]
    wrong = keep & ((target < 0) | (target >= classes))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise IndexError(
            f"target {int(target[where])} at {where} is not one of the {classes} classes (0 to {classes - 1})"
        )
    wanted = np.zeros_like(x)
    hot = np.expand_dims(np.where(keep, target, 0), axis)
    np.put_along_axis(wanted, hot, np.expand_dims(keep, axis), axis)
    return wanted, keep


def soft_targets(x: Array, target: Array, axis: int) -> Array:
    if target.shape != x.shape:
        raise ValueError(f"target probabilities must have the shape of x, {x.shape}, got {target.shape}")
    return target.astype(x.dtype, copy=False)


def reduced(losses: Array, reduction: str, count: Any = None) -> Array:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        total = losses.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            return total / total.dtype.type(losses.size if count is None else count)
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def each_loss(dz: Array, reduction: str, count: Any) -> Array:
    """The gradient of each single loss."""
    return dz / dz.dtype.type(count or 1) if reduction == "mean" else dz
