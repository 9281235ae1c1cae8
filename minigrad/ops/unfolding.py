"""The op beneath convolution and pooling: every window of an image, or of a sequence, as axes of its own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minigrad.core.op import Array, Backward, op


@op(view=True)
def windows(
    x: Array, *, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Array, Backward]:
    """z[..., o, k] = x[..., o * stride + k * dilation]
    dx = sum of dz over the windows that an element is in

    The last axes (L1, L2, ...), as many as size has, become places of windows and places in a window:
    (..., L1, L2) -> (..., O1, O2, K1, K2).
    """
    n = len(size)
    shape = x.shape
    spans = tuple((k - 1) * d + 1 for k, d in zip(size, dilation, strict=True))
    if x.ndim < n or any(length < span for length, span in zip(shape[x.ndim - n :], spans, strict=True)):
        raise ValueError(f"a window of {spans} elements does not fit into the last {n} axes of x {shape}")
    every = np.lib.stride_tricks.sliding_window_view(
        x, spans, tuple(range(x.ndim - n, x.ndim)), writeable=x.flags.writeable
    )
    picked: Any = (..., *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))
    z = every[picked]

    def backward(dz):
        dx = np.zeros_like(dz, shape=shape)
        counts = dz.shape[dz.ndim - 2 * n : dz.ndim - n]
        for place in itertools.product(*(range(k) for k in size)):
            starts = [p * d for p, d in zip(place, dilation, strict=True)]
            steps = zip(starts, counts, stride, strict=True)
            from_place: Any = (..., *place)
            reached: Any = (..., *(slice(a, a + (c - 1) * s + 1, s) for a, c, s in steps))
            dx[reached] += dz[from_place]
        return (dx,)

    return z, backward
