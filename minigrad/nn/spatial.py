"""Convolution and pooling as functions: windows of the input, then one sum of products, a maximum or a mean.

Sequences are (N, C, L), images (N, C, H, W); without N for a single one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigrad import ops
from minigrad.core.tensor import Tensor, apply
from minigrad.nn.tensors import einsum, full


def several(value: Any, n: int) -> tuple[int, ...]:
    """``3`` as (3, 3), ``(3, 4)`` as it is."""
    values = (value,) * n if isinstance(value, int) else tuple(value)
    if len(values) != n:
        raise ValueError(f"one number or {n} are needed, got {value}")
    return values


def _windows(
    x: Tensor, size: Sequence[int], stride: Sequence[int], padding: Any, dilation: Sequence[int], fill: float
) -> Tensor:
    """(N, C, *L) -> (N, C, *O, *size), after a border of ``fill``."""
    n = len(size)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError("padding='same' needs stride 1")
        total = [(k - 1) * d for k, d in zip(size, dilation, strict=True)]
        borders = [(t // 2, t - t // 2) for t in total]
    else:
        borders = [(p, p) for p in several(0 if padding == "valid" else padding, n)]
    if any(p for pair in borders for p in pair):
        x = apply(ops.pad, x, widths=((0, 0),) * (x.ndim - n) + tuple(borders), value=fill)
    return apply(ops.windows, x, size=tuple(size), stride=tuple(stride), dilation=tuple(dilation))


def _conv(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    n = weight.ndim - 2
    if x.ndim == n + 1:
        return _conv(x.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    channels = weight.shape[1] * groups
    if x.ndim != n + 2 or x.shape[1] != channels:
        raise ValueError(f"input must have {n + 2} axes, of which the second {channels} channels, got {x.shape}")
    windows = _windows(x, weight.shape[2:], several(stride, n), padding, several(dilation, n), 0.0)
    places, size = "xyz"[:n], "uvw"[:n]
    if groups == 1:
        out = einsum(f"nc{places}{size},oc{size}->no{places}", windows, weight)
    else:
        windows = windows.unflatten(1, (groups, weight.shape[1]))
        grouped = weight.unflatten(0, (groups, weight.shape[0] // groups))
        out = einsum(f"ngc{places}{size},goc{size}->ngo{places}", windows, grouped).flatten(1, 2)
    return out if bias is None else out + bias.reshape(-1, *(1,) * n)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Each output is a window of the input times the weight: (N, C, L), (O, C / groups, K), (O,) -> (N, O, L')."""
    return _conv(input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Each output is a window of the image times the weight: (N, C, H, W), (O, C / groups, K, L) -> (N, O, H', W')."""
    return _conv(input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Tensor:
    """A convolution turned round: zeros between the elements of the input, then the kernel back to front."""
    n = weight.ndim - 2
    if x.ndim == n + 1:
        args = (bias, stride, padding, output_padding, groups, dilation)
        return _conv_transpose(x.unsqueeze(0), weight, *args).squeeze(0)
    if x.ndim != n + 2 or x.shape[1] != weight.shape[0]:
        raise ValueError(f"input must have {n + 2} axes, of which the second {weight.shape[0]} channels, got {x.shape}")
    stride, padding, extra, dilation = (several(v, n) for v in (stride, padding, output_padding, dilation))
    sizes = [(length - 1) * s + 1 for length, s in zip(x.shape[2:], stride, strict=True)]
    every: Any = (..., *(slice(None, None, s) for s in stride))
    spread = apply(ops.setitem, x.new_zeros(*x.shape[:2], *sizes), x, index=every)
    reach = [(k - 1) * d - p for k, d, p in zip(weight.shape[2:], dilation, padding, strict=True)]
    widths = ((0, 0), (0, 0), *((r, r + e) for r, e in zip(reach, extra, strict=True)))
    spread = apply(ops.pad, spread, widths=widths, value=0.0)
    kernel = weight.unflatten(0, (groups, weight.shape[0] // groups)).transpose(1, 2).flatten(0, 1)
    return _conv(spread, kernel.flip(tuple(range(2, n + 2))), bias, 1, 0, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The backward of conv1d as a function: (N, C, L), (C, O / groups, K), (O,) -> (N, O, L')."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The backward of conv2d as a function: (N, C, H, W), (C, O / groups, K, L), (O,) -> (N, O, H', W')."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)


def _pool(
    x: Tensor, n: int, size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, fill: float
) -> Tensor:
    """(..., *L) -> (..., *O, elements of a window)."""
    size, padding, dilation = (several(v, n) for v in (size, padding, dilation))
    stride = several(stride or size, n)
    if any(2 * p > k for p, k in zip(padding, size, strict=True)):
        raise ValueError(f"padding {padding} must be at most half the window {size}")
    if ceil_mode:
        more = _more(x.shape[-n:], size, stride, padding, dilation)
        x = apply(ops.pad, x, widths=((0, 0),) * (x.ndim - n) + more, value=fill)
    return _windows(x, size, stride, padding, dilation, fill).flatten(-n)


def _more(lengths: Sequence[int], *settings: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """What ceil_mode adds at the end of each axis for one more window, which must begin within what was there."""
    added = []
    for length, size, stride, padding, dilation in zip(lengths, *settings, strict=True):
        span = dilation * (size - 1) + 1
        count = -(-(length + 2 * padding - span) // stride)
        count -= count * stride >= length + padding
        added.append((0, max(0, count * stride + span - length - 2 * padding)))
    return tuple(added)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest of each window, whose first such element gets the gradient: (N, C, L) -> (N, C, L')."""
    _refuse_indices(return_indices)
    return _pool(input, 1, kernel_size, stride, padding, dilation, ceil_mode, -math.inf).max(-1).values


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest of each window, whose first such element gets the gradient: (N, C, H, W) -> (N, C, H', W')."""
    _refuse_indices(return_indices)
    return _pool(input, 2, kernel_size, stride, padding, dilation, ceil_mode, -math.inf).max(-1).values


def _refuse_indices(return_indices: bool) -> None:
    if return_indices:
        raise ValueError("return_indices=True is not covered: argmax of Tensor.unfold's windows says where they are")


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window: (N, C, L) -> (N, C, L').

    The padding counts as zeros, or unless count_include_pad not at all; what ceil_mode adds never counts.
    """
    return _averaged(input, 1, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window, or its sum divided by divisor_override: (N, C, H, W) -> (N, C, H', W').

    The padding counts as zeros, or unless count_include_pad not at all; what ceil_mode adds never counts.
    """
    return _averaged(input, 2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _averaged(
    x: Tensor, n: int, size: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool, divisor: int | None
) -> Tensor:
    windows = _pool(x, n, size, stride, padding, 1, ceil_mode, 0.0)
    if divisor is not None:
        return windows.sum(-1) / divisor
    size, padding = several(size, n), several(padding, n)
    if not ceil_mode and (include or not any(padding)):
        return windows.mean(-1)
    stride, lengths = several(stride or size, n), x.shape[-n:]
    counted = full(lengths, 1.0, dtype=x.dtype)  # what there is to count, once for all channels
    counted = apply(ops.pad, counted, widths=tuple((p, p) for p in padding), value=float(include))
    if ceil_mode:
        counted = apply(ops.pad, counted, widths=_more(lengths, size, stride, padding, (1,) * n), value=0.0)
    return windows.sum(-1) / _pool(counted, n, size, stride, 0, 1, False, 0.0).sum(-1)


def adaptive_avg_pool1d(input: Tensor, output_size: int) -> Tensor:
    """Means of output_size stretches as equal as can be: (N, C, L) -> (N, C, output_size)."""
    return _adaptive(input, -1, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of fields as equal as can be: (N, C, H, W) -> (N, C, *output_size)."""
    height, width = several(output_size, 2)
    return _adaptive(_adaptive(input, -1, width), -2, height)


def _adaptive(x: Tensor, dim: int, count: int) -> Tensor:
    length = x.shape[dim]
    if length % count == 0:
        return x.unflatten(dim % x.ndim, (count, length // count)).mean(dim % x.ndim + 1)
    edges = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
    parts = [x.narrow(dim, a, b - a).mean(dim, keepdim=True) for a, b in edges]
    return apply(ops.cat, *parts, axis=dim)


__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "conv1d", "conv2d",
    "conv_transpose1d", "conv_transpose2d", "max_pool1d", "max_pool2d",
]  # fmt: skip
