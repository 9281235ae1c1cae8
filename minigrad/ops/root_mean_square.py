"""Normalisation by the root of the mean square, with its scale as one op."""

from __future__ import annotations

import numpy as np

from minigrad.core.normalize import last_axes
from minigrad.core.op import Array, Backward, op


@op
def rms_norm(
    x: Array, weight: Array | None = None, *, ndim: int = 1, eps: float | None = None
) -> tuple[Array, Backward]:
    """z = n * weight, n = x / sqrt(mean x ** 2 + eps)
    dx = (dn - n * mean(dn * n)) / sqrt(mean x ** 2 + eps), dn = dz * weight
    dweight = sum dz * n

    The mean runs over the last ndim axes; eps is the dtype's own when None. Zhang and Sennrich 2019.
    """
    axes = last_axes(x, weight, ndim)
    rrms = 1 / np.sqrt(np.mean(x * x, axes, keepdims=True) + (float(np.finfo(x.dtype).eps) if eps is None else eps))
    n = x * rrms
    z = n * weight if weight is not None else n.copy()

    def backward(dz):
        dn = dz * weight if weight is not None else dz
        dx = dn - n * np.mean(dn * n, axes, keepdims=True)
        dx *= rrms
        return dx, None if weight is None else dz * n

    return z, backward
