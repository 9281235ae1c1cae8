"""``minigrad.nn.functional``, usually imported as F: the ops of networks as functions, with PyTorch's signatures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functions import where
from minigrad.graph import no_grad
from minigrad.nn.spatial import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    max_pool1d,
    max_pool2d,
)
from minigrad.ops import Array
from minigrad.random import rng
from minigrad.tensor import Tensor, apply


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weightᵀ + bias: (..., I), (O, I), (O,) -> (..., O)."""
    return apply(ops.linear, input, weight, bias)


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, *_: Any
) -> Tensor:
    """Rows of a table: integer ids (...), table (V, C) -> (..., C); the row padding_idx gets no gradient."""
    if max_norm is not None:
        raise ValueError("max_norm is not covered: scale the rows of the table under no_grad()")
    if padding_idx is not None:
        padding_idx = row_of(padding_idx, weight.shape[0])
    return apply(ops.embedding, weight, ids=input._array, padding_idx=padding_idx)


def row_of(index: int, rows: int) -> int:
    """An index that may count from the end, as one that counts from 0; ValueError where there is no such row."""
    if not -rows <= index < rows:
        raise ValueError(f"padding_idx={index} is not one of the {rows} rows of the table")
    return index % rows


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, then times weight plus bias: (..., C) -> (..., C). Ba et al. 2016."""
    _check_last(input, normalized_shape)
    return apply(ops.layer_norm, input, weight, bias, ndim=len(normalized_shape), eps=eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Mean square 1 over the last axes, then times weight: (..., C) -> (..., C). Zhang and Sennrich 2019."""
    _check_last(input, normalized_shape)
    return apply(ops.rms_norm, input, weight, ndim=len(normalized_shape), eps=eps)


def _check_last(input: Tensor, shape: Sequence[int]) -> None:
    if input.shape[-len(shape) :] != tuple(shape):
        raise ValueError(f"the input must end in the normalized_shape {tuple(shape)}, it has shape {input.shape}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p; the input itself when not training. Srivastava et al. 2014.

    ``inplace`` is accepted; the result is always a new tensor.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    return apply(ops.dropout, input, mask=_dropout_mask(input.shape, p, input.dtype))


def _dropout_mask(shape: tuple[int, ...], p: float, dtype: np.dtype[Any]) -> Array:
    mask = (rng().random(shape, dtype=np.float32) >= p).astype(dtype)
    if p < 1:
        mask *= 1 / (1 - p)
    return mask


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); ``inplace`` is accepted, the result is always a new tensor."""
    return apply(ops.relu, input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; approximate="tanh" is GPT-2's. Hendrycks and Gimpel 2016."""
    if approximate == "none":
        return apply(ops.gelu, input)
    if approximate == "tanh":
        return apply(ops.gelu_tanh, input)
    raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x, or negative_slope * x where x is below 0. Maas et al. 2013."""
    return where(input > 0, input, negative_slope * input)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x, or weight * x where x is below 0, with one weight or one per channel (N, C, ...). He et al. 2015."""
    if weight.numel() > 1:
        weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
    return where(input > 0, input, weight * input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha * (exp(x) - 1) where x is below 0. Clevert et al. 2016."""
    return where(input > 0, input, alpha * input.clamp(max=0).expm1())


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha * (exp(x / alpha) - 1) where x is below 0. Barron 2017."""
    return where(input > 0, input, alpha * (input.clamp(max=0) / alpha).expm1())


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the constants that keep mean 0 and variance 1. Klambauer et al. 2017."""
    return 1.0507009873554805 * elu(input, 1.6732632423543772)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold."""
    x = input * beta
    return where(x > threshold, input, -logsigmoid(-x) / beta)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), which does not overflow."""
    zero = input.new_zeros(input.shape)
    return input.minimum(zero) - (-input.abs()).exp().log1p()


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x, no less than min_val and no more than max_val; no gradient at the two themselves."""
    inside = (input > min_val) & (input < max_val)
    return where(inside, input, input.detach().clamp(min_val, max_val))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return hardtanh(input + 3, 0.0, 6.0) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6. Howard et al. 2019."""
    return input * hardsigmoid(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (1 + input.abs())


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(log(1 + exp(x))). Misra 2019."""
    return input * softplus(input).tanh()


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above the threshold, else a value."""
    return input.masked_fill(input <= threshold, value)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along dim times sigmoid of the second. Dauphin et al. 2017."""
    left, right = input.chunk(2, dim)
    return left * right.sigmoid()


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, lambd nearer to 0, and 0 in between."""
    return where(input > lambd, input - lambd, where(input < -lambd, input + lambd, input * 0))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 where it is between -lambd and lambd."""
    return input.masked_fill((input >= -lambd) & (input <= lambd), 0.0)


def softmin(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """softmax(-x)."""
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A draw from softmax(logits) with a gradient: soft, or one-hot forwards only if hard. Jang et al. 2017."""
    noise = Tensor(rng().gumbel(size=logits.shape).astype(logits.dtype))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    one = soft.new_zeros(soft.shape).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one - soft.detach() + soft


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x times sigmoid(x), also called swish; ``inplace`` is accepted, the result is always a new tensor."""
    return apply(ops.silu, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum exp(x) along dim; zeros for a slice that is all -inf."""
    dim = _default_dim(input) if dim is None else dim
    return (input if dtype is None else input.to(dtype)).softmax(dim)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """x - log sum exp(x) along dim."""
    dim = _default_dim(input) if dim is None else dim
    return (input if dtype is None else input.to(dtype)).log_softmax(dim)


def _default_dim(input: Tensor) -> int:
    """The axis PyTorch takes where none is given: a guess that is better written down."""
    return 0 if input.ndim in (0, 1, 3) else 1


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean of -log softmax(input)[target]: raw scores (N, C, ...), and class indices (N, ...) or probabilities.

    Label smoothing: Szegedy et al. 2016.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    return apply(
        ops.cross_entropy,
        input,
        target=target._array,
        weight=_raw(weight),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


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
    return apply(
        ops.nll_loss,
        input,
        target=target._array,
        weight=_raw(weight),
        ignore_index=ignore_index,
        reduction=reduction,
    )


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of (input - target) squared, of equal shapes."""
    _warn_if_shapes_differ(input, target)
    return apply(ops.mse_loss, input, target, reduction=reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of |input - target|, of equal shapes."""
    _warn_if_shapes_differ(input, target)
    return apply(ops.l1_loss, input, target, reduction=reduction)


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
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Mean of the cross-entropy of a yes/no decision: raw scores and targets from 0 to 1, of equal shapes."""
    return apply(
        ops.bce_with_logits,
        input,
        target=target._array.astype(input.dtype, copy=False),
        weight=_raw(weight),
        pos_weight=_raw(pos_weight),
        reduction=reduction,
    )


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return losses.mean() if reduction == "mean" else losses.sum()


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Mean of d ** 2 / (2 * beta) where d = |input - target| is below beta, else d - beta / 2. Girshick 2015."""
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    _warn_if_shapes_differ(input, target)
    d = input - target
    return _reduced(where(d.abs() < beta, d * d / (2 * beta), d.abs() - beta / 2), reduction)


def huber_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """delta times the smooth L1 loss with beta = delta. Huber 1964."""
    return smooth_l1_loss(input, target, reduction=reduction, beta=delta) * delta


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Mean of -(t * log p + (1 - t) * log(1 - p)), p probabilities; logs stop at -100, as in PyTorch."""
    if input.shape != target.shape:
        raise ValueError(f"target must have the shape of input, {input.shape}, got {target.shape}")
    if input.numel() and not (float(input.min()) >= 0 and float(input.max()) <= 1):
        raise RuntimeError("binary_cross_entropy needs probabilities from 0 to 1: use the loss with logits")
    with np.errstate(divide="ignore"):
        losses = -(target * input.log().clamp(min=-100) + (1 - target) * (1 - input).log().clamp(min=-100))
    return _reduced(losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Mean of t * (log t - input), input log-probabilities; "batchmean" divides the sum by the batch size."""
    if log_target:
        losses = target.exp() * (target - input)
    else:
        losses = where(target > 0, target * (target.clamp(min=1e-38).log() - input), target * 0)
    if reduction == "batchmean":
        return losses.sum() / input.shape[0]
    return _reduced(losses, reduction)


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, *, reduction: str = "mean") -> Tensor:
    """Mean of exp(input) - target * input, or of input - target * log(input + 1e-8) without log_input."""
    losses = input.exp() - target * input if log_input else input - target * (input + 1e-8).log()
    return _reduced(losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Mean of (log var + (input - target) ** 2 / var) / 2, var no less than eps."""
    var = var + (var.detach().clamp(min=eps) - var.detach())
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)
    return _reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of log(1 + exp(-target * input)), targets 1 or -1."""
    return _reduced(-logsigmoid(target * input), reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """Mean of input where the target is 1, max(0, margin - input) where it is -1."""
    return _reduced(where(target == 1, input, (margin - input).relu()), reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of max(0, -target * (input1 - input2) + margin)."""
    return _reduced((-target * (input1 - input2) + margin).relu(), reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of 1 - cosine where the target is 1, max(0, cosine - margin) where it is -1."""
    cosine = cosine_similarity(input1, input2, -1)
    return _reduced(where(target == 1, 1 - cosine, (cosine - margin).relu()), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Mean of max(0, |anchor - positive| - |anchor - negative| + margin). Balntas et al. 2016."""
    near, far = (pairwise_distance(anchor, x, p, eps) for x in (positive, negative))
    return _reduced((near - far + margin).relu(), reduction)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along dim, each length no less than eps."""
    lengths = x1.norm(2, dim).clamp(min=eps) * x2.norm(2, dim).clamp(min=eps)
    return (x1 * x2).sum(dim) / lengths


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input divided by its p-norm along dim, which is no less than eps."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1ᵀ weight input2: (..., I), (..., J), (O, I, J) -> (..., O)."""
    out = apply(ops.einsum, input1, weight, input2, equation="...i,oij,...j->...o")
    return out if bias is None else out + bias


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0, variance 1 of each channel over batch and places: (N, C, ...) -> (N, C, ...). Ioffe and Szegedy 2015.

    In training the running values are updated; otherwise they are used.
    """
    line = (-1, *(1,) * (input.ndim - 2))  # channels against (N, C, ...)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm outside of training needs running_mean and running_var")
        x = (input - running_mean.reshape(line)) * (running_var.reshape(line) + eps).rsqrt()
    else:
        count = input.numel() // max(input.shape[1], 1)
        if count <= 1:
            raise ValueError(f"batch_norm in training needs more than one value per channel, got input {input.shape}")
        rows = input.transpose(0, 1).flatten(1)  # (C, N * ...)
        with no_grad():
            if running_mean is not None:
                running_mean.copy_(running_mean * (1 - momentum) + rows.mean(1) * momentum)
            if running_var is not None:
                running_var.copy_(running_var * (1 - momentum) + rows.var(1) * momentum)
        rows = apply(ops.layer_norm, rows, None, None, ndim=1, eps=eps)
        x = rows.reshape(input.shape[1], input.shape[0], *input.shape[2:]).transpose(0, 1)
    return _scaled(x, weight, bias, line)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Mean 0, variance 1 over each group of channels of each item: (N, C, ...) -> (N, C, ...). Wu and He 2018."""
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise ValueError(f"input must be (N, C, ...) with C a multiple of num_groups={num_groups}, got {input.shape}")
    rows = input.reshape(input.shape[0], num_groups, -1)
    x = apply(ops.layer_norm, rows, None, None, ndim=1, eps=eps).reshape(input.shape)
    return _scaled(x, weight, bias, (-1, *(1,) * (input.ndim - 2)))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None, line: tuple[int, ...]) -> Tensor:
    x = x if weight is None else x * weight.reshape(line)
    return x if bias is None else x + bias.reshape(line)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0, variance 1 of each channel of each item: (N, C, ...) -> (N, C, ...). Ulyanov et al. 2016."""
    if running_mean is not None or not use_input_stats:
        raise ValueError("instance_norm with running statistics is not covered: use batch_norm, or group_norm")
    return group_norm(input, input.shape[1], weight, bias, eps)


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Each place takes the value of the nearest one of the input: (N, C, L, ...) -> (N, C, L', ...)."""
    if mode != "nearest":
        raise ValueError(f"interpolate knows mode='nearest' only, got {mode!r}")
    axes = input.ndim - 2
    for axis in range(axes):
        n = input.shape[axis + 2]
        if size is not None:
            count = size if isinstance(size, int) else size[axis]
        else:
            count = int(n * (scale_factor if isinstance(scale_factor, int | float) else scale_factor[axis]))
        input = input.index_select(axis + 2, Tensor(np.arange(count) * n // count))
    return input


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels at once, (N, C, ...): zeros with probability p, the rest divided by 1 - p. Tompson et al. 2015."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return apply(ops.dropout, input, mask=_dropout_mask(shape, p, input.dtype))


dropout2d = dropout1d


def _raw(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else tensor._array


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (...) -> int64 (..., num_classes) with a 1 at each integer's place; -1: as many as are needed."""
    ids = tensor._array
    if ids.dtype.kind not in "iu":
        raise TypeError(f"one_hot needs integers, got {ids.dtype}")
    if num_classes == -1:
        if ids.size == 0:
            raise ValueError("one_hot of no elements needs num_classes")
        num_classes = int(ids.max()) + 1
    if ids.size and (ids.min() < 0 or ids.max() >= num_classes):
        raise ValueError(f"values run from {ids.min()} to {ids.max()}, there are classes 0 to {num_classes - 1}")
    return Tensor((ids[..., None] == np.arange(num_classes)).astype(np.int64))


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A border: pad = (before, after) of the last axis, then of the one before it, and so on.

    It is a constant, the elements inside mirrored ("reflect"), the outermost ones ("replicate") or those of the other
    end ("circular").
    """
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(f"mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(f"pad needs a (before, after) pair for at most {input.ndim} axes, got {tuple(pad)}")
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    if mode != "constant":
        how = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        for axis, pair in enumerate(pairs):
            places = np.pad(np.arange(input.shape[-1 - axis]), pair, mode=how)  # type: ignore[call-overload]
            input = input.index_select(input.ndim - 1 - axis, Tensor(places))
        return input
    widths = ((0, 0),) * (input.ndim - len(pairs)) + tuple(reversed(pairs))
    return apply(ops.pad, input, widths=widths, value=0.0 if value is None else float(value))


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ keyᵀ * scale + bias) @ value: (..., T, D), (..., S, D), (..., S, E) -> (..., T, E).

    attn_mask (..., T, S): bool, True where attention is allowed; or a float bias that is added and has a gradient.
    is_causal allows s <= t. dropout_p is applied whenever it is above 0. enable_gqa repeats the heads of key and value,
    at dim -3, to those of query (Ainslie et al. 2023). Vaswani et al. 2017, eq. 1.
    """
    if attn_mask is not None and is_causal:
        raise ValueError("give attn_mask or is_causal=True, not both")
    if enable_gqa:
        key, value = (_repeat_heads(x, query.shape[-3]) for x in (key, value))
    bias, mask = split_mask(attn_mask)
    return attend(query, key, value, bias, mask, dropout_p, is_causal, scale)


def split_mask(attn_mask: Tensor | None) -> tuple[Tensor | None, Array | None]:
    """A mask as a bias (float) or as an array of what is allowed (bool)."""
    if attn_mask is None or attn_mask.dtype.kind == "f":
        return attn_mask, None
    if attn_mask.dtype.kind == "b":
        return None, attn_mask._array
    raise TypeError(f"a mask must be bool or floating, got {attn_mask.dtype}: write mask != 0")


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Array | None,
    dropout_p: float,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The attention op, with a dropout mask drawn for the weights (..., T, S)."""
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {dropout_p}")
    drop = None
    if dropout_p > 0:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        drop = _dropout_mask((*batch, query.shape[-2], key.shape[-2]), dropout_p, query.dtype)
    return apply(
        ops.scaled_dot_product_attention,
        query,
        key,
        value,
        bias,
        mask=mask,
        is_causal=is_causal,
        scale=scale,
        dropout_mask=drop,
    )


def _repeat_heads(x: Tensor, heads: int) -> Tensor:
    """(..., h, S, D) -> (..., heads, S, D), each head repeated side by side."""
    times, rest = divmod(heads, x.shape[-3])
    if rest:
        raise ValueError(f"the {heads} heads of query must be a multiple of the {x.shape[-3]} of key and value")
    if times == 1:
        return x
    *batch, own, length, size = x.shape
    return x.unsqueeze(-3).expand(*batch, own, times, length, size).reshape(*batch, heads, length, size)


__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "batch_norm", "bilinear",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "conv1d", "conv2d", "conv_transpose1d",
    "conv_transpose2d", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "dropout", "dropout1d",
    "dropout2d", "elu", "embedding", "gaussian_nll_loss", "gelu", "glu", "group_norm", "gumbel_softmax",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hinge_embedding_loss", "huber_loss", "instance_norm",
    "interpolate", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid",
    "margin_ranking_loss", "max_pool1d", "max_pool2d", "mish", "mse_loss", "nll_loss", "normalize", "one_hot",
    "pad", "pairwise_distance", "poisson_nll_loss", "prelu", "relu", "relu6", "rms_norm",
    "scaled_dot_product_attention", "selu", "sigmoid", "silu", "smooth_l1_loss", "soft_margin_loss", "softmax",
    "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "triplet_margin_loss",
]  # fmt: skip
