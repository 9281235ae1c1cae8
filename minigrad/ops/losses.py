"""More losses: each one op, from raw scores to the number, so that nothing overflows on the way.

``reduction`` is "mean", "sum" or "none".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.loss import check_classes, each_loss, one_hot, reduced
from minigrad.core.op import Array, Backward, op
from minigrad.core.sums import log_softmax
from minigrad.ops.activation import logistic
from minigrad.ops.elementwise import sign


@op
def nll_loss(
    x: Array, *, target: Array, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Array, Backward]:
    """z = mean of -x[target]
    dx = -dz * onehot(target) / N

    x: log-probabilities, (C,), (N, C) or (N, C, d1, ...); target: class indices without the class axis.
    """
    axis = check_classes(x)
    wanted, _ = one_hot(x, target, axis, ignore_index)
    if weight is not None:
        wanted *= weight.reshape((-1,) + (1,) * (x.ndim - axis - 1))
    count = wanted.sum()
    losses = -np.where(wanted == 0, 0, wanted * x).sum(axis)

    def backward(dz):
        each = each_loss(dz, reduction, count)
        if reduction == "none":
            each = np.expand_dims(each, axis)
        return (-wanted * each,)

    return reduced(losses, reduction, count), backward


@op
def mse_loss(x: Array, y: Array, *, reduction: str = "mean") -> tuple[Array, Backward]:
    """z = mean of (x - y) ** 2
    dx = dz * 2 * (x - y) / N
    dy = -dx
    """
    difference = x - y

    def backward(dz):
        dx = 2 * difference * each_loss(dz, reduction, difference.size)
        return dx, -dx

    return reduced(difference * difference, reduction, difference.size), backward


@op
def l1_loss(x: Array, y: Array, *, reduction: str = "mean") -> tuple[Array, Backward]:
    """z = mean of |x - y|
    dx = dz * sign(x - y) / N
    dy = -dx
    """
    difference = x - y

    def backward(dz):
        dx = sign(difference) * each_loss(dz, reduction, difference.size)
        return dx, -dx

    return reduced(np.abs(difference), reduction, difference.size), backward


@op
def smooth_l1_loss(x: Array, y: Array, *, beta: float = 1.0, reduction: str = "mean") -> tuple[Array, Backward]:
    """z = mean of d ** 2 / (2 * beta) where d < beta, else d - beta / 2, d = |x - y|
    dx = dz * (x - y) / beta / N where d < beta, else dz * sign(x - y) / N
    dy = -dx

    Girshick 2015.
    """
    difference = x - y
    d = np.abs(difference)
    small = np.minimum(d, beta)

    def backward(dz):
        dx = np.clip(difference / beta, -1, 1) * each_loss(dz, reduction, d.size)
        return dx, -dx

    return reduced(small * small / (2 * beta) + (d - small), reduction, d.size), backward


@op(grad_fn="BinaryCrossEntropy")
def binary_cross_entropy(
    x: Array, target: Array, *, weight: Array | None = None, reduction: str = "mean"
) -> tuple[Array, Backward]:
    """z = mean of -(t * log x + (1 - t) * log(1 - x)), t the target; a log is no less than -100
    dx = dz * (x - t) / max(x * (1 - x), 1e-12) / N
    dtarget = dz * (log(1 - x) - log x) / N

    x: probabilities. Each element counts weight times.
    """
    with np.errstate(divide="ignore"):
        up, down = np.log(x), np.log1p(-x)
    losses = -(target * np.maximum(up, -100) + (1 - target) * np.maximum(down, -100))
    if weight is not None:
        losses = losses * weight

    def backward(dz):
        each = each_loss(dz, reduction, losses.size)
        if weight is not None:
            each = each * weight
        return each * (x - target) / np.maximum(x * (1 - x), 1e-12), each * (down - up)

    return reduced(losses, reduction, losses.size), backward


@op(grad_fn="BinaryCrossEntropyWithLogits")
def bce_with_logits(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> tuple[Array, Backward]:
    """z = mean of -(t * log s + (1 - t) * log(1 - s)), s = sigmoid(x), t the target
    dx = dz * (s - t) / N
    dtarget = -dz * x / N

    Positive targets count pos_weight times, each element weight times.
    """
    if target.shape != x.shape:
        raise ValueError(f"target must have the shape of x, {x.shape}, got {target.shape}")
    target = target.astype(x.dtype, copy=False)
    tail = np.log1p(np.exp(-np.abs(x)))  # log(1 + exp(-|x|)) never overflows
    positive = tail + np.maximum(-x, 0)  # -log s
    negative = tail + np.maximum(x, 0)  # -log(1 - s)
    up = target if pos_weight is None else target * pos_weight
    losses = up * positive + (1 - target) * negative
    if weight is not None:
        losses = losses * weight

    def backward(dz):
        s = logistic(x)
        each = each_loss(dz, reduction, x.size)
        if weight is not None:
            each = each * weight
        slope = (positive if pos_weight is None else pos_weight * positive) - negative
        return ((1 - target) * s - up * (1 - s)) * each, slope * each

    return reduced(losses, reduction, losses.size), backward


@op(grad_fn="CrossEntropyLoss")
def soft_cross_entropy(
    x: Array, target: Array, *, weight: Array | None = None, count: Any = None, reduction: str = "mean"
) -> tuple[Array, Backward]:
    """z = mean of -sum w * target * log softmax(x), w a weight for each class
    dx = dz * (softmax(x) * sum(w * target) - w * target) / N
    dtarget = -dz * w * log softmax(x) / N

    x: raw scores (C,), (N, C) or (N, C, d1, ...); target: probabilities in the shape of x. N is count, if given, which
    need not be a whole number: the weights of the targets that count.
    """
    axis = check_classes(x)
    if target.shape != x.shape:
        raise ValueError(f"target probabilities must have the shape of x, {x.shape}, got {target.shape}")
    scale = 1 if weight is None else weight.reshape((-1,) + (1,) * (x.ndim - axis - 1))
    wanted = target * scale
    n = max(x.size // max(x.shape[axis], 1), 1) if count is None else count
    logp, _ = log_softmax(x, axis=axis)
    losses = -np.where(wanted == 0, 0, wanted * np.where(wanted == 0, 0, logp)).sum(axis)

    def backward(dz):
        each = each_loss(dz, reduction, n)
        each = np.expand_dims(each, axis) if reduction == "none" else each
        dx = (np.exp(logp) * wanted.sum(axis, keepdims=True) - wanted) * each
        return dx, -(logp * scale) * each

    return reduced(losses, reduction, n), backward
