"""Borders, resizing, one-hot rows, dropout of whole channels, a bilinear form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.tensor import Tensor, apply


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
            scale = scale_factor if isinstance(scale_factor, int | float) else scale_factor[axis]
            count = int(n * scale)
        step = n / count if size is not None else 1 / scale  # as in PyTorch, the scale given, not the one it came to
        places = np.minimum((np.arange(count) * np.float32(step)).astype(np.int64), n - 1)
        input = input.index_select(axis + 2, Tensor(places))
    return input


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels at once, (N, C, ...): zeros with probability p, the rest divided by 1 - p. Tompson et al. 2015."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return apply(ops.dropout, input, mask=input._dropout_mask(p, shape))


dropout2d = dropout1d


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


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1ᵀ weight input2: (..., I), (..., J), (O, I, J) -> (..., O)."""
    out = apply(ops.einsum, input1, weight, input2, equation="...i,oij,...j->...o")
    return out if bias is None else out + bias
