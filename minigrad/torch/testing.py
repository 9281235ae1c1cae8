"""``torch.testing``: the comparison that tests of PyTorch code use."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.torch.creation import as_tensor

_TOLERANCES = {"float16": (1e-3, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    msg: str | None = None,
    **_: Any,
) -> None:
    """Raise AssertionError unless shapes, dtypes and values agree, within tolerances that the dtype suggests."""
    a, b = as_tensor(actual), as_tensor(expected)
    if a.shape != b.shape:
        raise AssertionError(msg or f"the shapes differ: {a.shape} and {b.shape}")
    if check_dtype and a.dtype != b.dtype:
        raise AssertionError(msg or f"the dtypes differ: {a.dtype} and {b.dtype}")
    usual = _TOLERANCES.get(a.dtype.name, (0.0, 0.0))
    rtol, atol = usual[0] if rtol is None else rtol, usual[1] if atol is None else atol
    close = np.isclose(a._array, b._array, rtol, atol, equal_nan)
    if not close.all():
        gap = np.abs(a._array.astype(np.float64) - b._array)
        where = tuple(int(i) for i in np.argwhere(~close)[0])
        raise AssertionError(
            msg or f"{(~close).sum()} of {close.size} elements differ, first at {where}, by up to {gap.max():.6g}"
        )


__all__ = ["assert_close"]
