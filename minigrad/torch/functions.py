"""The tensor's methods as functions: each comes from ``public`` beside the method, see ``torch/methods``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from minigrad.core.tensor import Tensor
from minigrad.torch.methods import functions


def function(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method as a function, which PyTorch lets one call with ``input=`` too."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return method(*args, **kwargs)

    return call


_FUNCTIONS = {name: function(getattr(Tensor, name)) for name in functions(Tensor)}
globals().update(_FUNCTIONS)

__all__ = sorted(_FUNCTIONS)
