"""``torch.utils.checkpoint``: the plain call, which gives the same gradients and keeps all activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``; nothing is computed twice, and no memory is saved."""
    return function(*args, **kwargs)


__all__ = ["checkpoint"]
