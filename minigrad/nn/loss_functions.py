"""Losses: from what a model says and what was wanted to one number."""

from __future__ import annotations

import math
import warnings

from minigrad import ops
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor, apply, binary
from minigrad.nn.curves import logsigmoid
from minigrad.nn.distances import cosine_similarity, pairwise_distance
from minigrad.nn.tensors import where
from minigrad.torch.arguments import reduction_of


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of -input[target]: log-probabilities (N, C, ...), class indices (N, ...)."""
    reduction = reduction_of(size_average, reduce, reduction)
    settings = {"weight": _raw(weight), "ignore_index": ignore_index, "reduction": reduction}
    return apply(ops.nll_loss, input, target=target._array, **settings)


def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Mean of (input - target) squared, of equal shapes."""
    _warn_if_shapes_differ(input, target)
    return binary(ops.mse_loss, input, target, reduction=reduction_of(size_average, reduce, reduction))


def l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Mean of |input - target|, of equal shapes."""
    _warn_if_shapes_differ(input, target)
    return binary(ops.l1_loss, input, target, reduction=reduction_of(size_average, reduce, reduction))


def _warn_if_shapes_differ(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"the loss of input {input.shape} and target {target.shape} is taken after broadcasting, which is hardly "
            "what is meant: reshape one of them",
            stacklevel=3,
        )


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Mean of the cross-entropy of a yes/no decision: raw scores and targets from 0 to 1, of equal shapes."""
    return apply(
        ops.bce_with_logits,
        input,
        target.to(input.dtype),
        weight=_raw(weight),
        pos_weight=_raw(pos_weight, "pos_weight"),
        reduction=reduction_of(size_average, reduce, reduction),
    )


def _reduced(losses: Tensor, reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> Tensor:
    reduction = reduction_of(size_average, reduce, reduction)
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return losses.mean() if reduction == "mean" else losses.sum()


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Mean of d ** 2 / (2 * beta) where d = |input - target| is below beta, else d - beta / 2. Girshick 2015."""
    if beta < 0:
        raise ValueError(f"beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    _warn_if_shapes_differ(input, target)
    reduction = reduction_of(size_average, reduce, reduction)
    return binary(ops.smooth_l1_loss, input, target, beta=beta, reduction=reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """delta times the smooth L1 loss with beta = delta. Huber 1964."""
    if delta <= 0:
        raise ValueError(f"delta must be above 0, got {delta}")
    return smooth_l1_loss(input, target, reduction=reduction, beta=delta) * delta


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of -(t * log p + (1 - t) * log(1 - p)), p probabilities; logs stop at -100, as in PyTorch."""
    if input.shape != target.shape:
        raise ValueError(f"target must have the shape of input, {input.shape}, got {target.shape}")
    if input.numel() and not (float(input.min()) >= 0 and float(input.max()) <= 1):
        raise RuntimeError("binary_cross_entropy needs probabilities from 0 to 1: use the loss with logits")
    reduction = reduction_of(size_average, reduce, reduction)
    return apply(ops.binary_cross_entropy, input, target.to(input.dtype), weight=_raw(weight), reduction=reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Mean of t * (log t - input), input log-probabilities; "batchmean" divides the sum by the batch size."""
    if log_target:
        losses = target.exp() * (target - input)
    else:
        losses = where(target > 0, target * (where(target > 0, target, 1.0).log() - input), 0.0)
    if size_average is None and reduce is None and reduction == "batchmean":
        return losses.sum() / input.shape[0]
    return _reduced(losses, reduction, size_average, reduce)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of exp(input) - target * input, or of input - target * log(input + eps) without log_input.

    ``full`` adds Stirling's approximation of log(target!) for targets above 1.
    """
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + where(target > 1, stirling, 0.0)
    return _reduced(losses, reduction, size_average, reduce)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Mean of (log var + (input - target) ** 2 / var) / 2, var no less than eps."""
    var = var + (var.detach().clamp(min=eps) - var.detach())
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)
    return _reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Mean of log(1 + exp(-target * input)), targets 1 or -1."""
    return _reduced(-logsigmoid(target * input), reduction, size_average, reduce)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of input where the target is 1, max(0, margin - input) where it is -1."""
    return _reduced(where(target == 1, input, (margin - input).relu()), reduction, size_average, reduce)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of max(0, -target * (input1 - input2) + margin)."""
    return _reduced((-target * (input1 - input2) + margin).relu(), reduction, size_average, reduce)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of 1 - cosine where the target is 1, max(0, cosine - margin) where it is -1."""
    cosine = cosine_similarity(input1, input2, -1)
    return _reduced(where(target == 1, 1 - cosine, (cosine - margin).relu()), reduction, size_average, reduce)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean of max(0, |anchor - positive| - |anchor - negative| + margin). Balntas et al. 2016."""
    near, far = (pairwise_distance(anchor, x, p, eps) for x in (positive, negative))
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced((near - far + margin).relu(), reduction, size_average, reduce)


def _raw(tensor: Tensor | None, name: str = "weight") -> Array | None:
    return None if tensor is None else tensor._constant(name)
