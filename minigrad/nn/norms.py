"""Normalisations as functions: batch, group, instance, root mean square."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad import ops
from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor, apply


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Mean square 1 over the last axes, then times weight: (..., C) -> (..., C). Zhang and Sennrich 2019."""
    if input.shape[-len(normalized_shape) :] != tuple(normalized_shape):
        raise ValueError(f"the input must end in normalized_shape {tuple(normalized_shape)}, it has {input.shape}")
    return apply(ops.rms_norm, input, weight, ndim=len(normalized_shape), eps=eps)


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
