"""Dropout. The mask is a constant: whoever draws the random numbers stands above the ops."""

from __future__ import annotations

from minigrad.ops.registry import Array, Backward, op


@op
def dropout(x: Array, *, mask: Array) -> tuple[Array, Backward]:
    """z = x * mask, mask = 0 with probability p, else 1 / (1 - p)
    dx = dz * mask

    Srivastava et al. 2014, scaled at training time.
    """

    def backward(dz):
        return (dz * mask,)

    return x * mask, backward
