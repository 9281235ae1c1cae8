"""Errors that say which op failed, on what, and where; PyTorch programs can catch each of them as RuntimeError."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class OpValueError(ValueError, RuntimeError):
    """An op was given arrays that do not fit: a ValueError that PyTorch programs can catch as RuntimeError."""


class OpTypeError(TypeError, RuntimeError):
    """An op was given a dtype it has no rule for: a TypeError that PyTorch programs can catch as RuntimeError."""


class OpIndexError(IndexError, RuntimeError):
    """An index or an axis is not there: an IndexError that PyTorch programs can catch as RuntimeError."""


_RUNTIME = {IndexError: OpIndexError, TypeError: OpTypeError, ValueError: OpValueError}  # AxisError is both of the ends


def explained(error: Exception, op: Callable[..., Any], arrays: Sequence[Any], scope: str) -> Exception:
    """The same kind of error, with the op, its inputs and the running module in front of the text."""
    given = ", ".join(f"{a.shape} {a.dtype}" if isinstance(a, np.ndarray) else repr(a) for a in arrays)
    where = f" in {scope}" if scope else ""
    text = f"{op.__name__}({given}){where}: {error}"
    for kind, raised in _RUNTIME.items():
        if isinstance(error, kind):
            return raised(text)
    return RuntimeError(text)
