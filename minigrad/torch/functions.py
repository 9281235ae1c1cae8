"""The tensor's methods as functions: each comes from ``public`` beside the method, see ``torch/methods``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from minigrad.core.tensor import Tensor
from minigrad.torch.methods import functions

# PyTorch's names of arguments that are named so in the function alone, and the method's
ARGUMENTS = {
    "isin": {"elements": "self"},
    "split": {"tensor": "self", "split_size_or_sections": "split_size"},
    "true_divide": {"dividend": "self", "divisor": "other"},
}


def function(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method as a function, which PyTorch lets one call with ``input=`` too."""
    renamed = {"input": "self", **ARGUMENTS.get(name, {})}

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        for theirs in kwargs.keys() & renamed.keys():
            ours = renamed[theirs]
            value = kwargs.pop(theirs)
            if ours == "self":
                args = (value, *args)
            else:
                kwargs[ours] = value
        return method(*args, **kwargs)

    call.takes = {**getattr(method, "takes", {}), **renamed}  # type: ignore[attr-defined]
    return call


_FUNCTIONS = {name: function(name, getattr(Tensor, name)) for name in functions(Tensor)}
globals().update(_FUNCTIONS)

__all__ = sorted(_FUNCTIONS)
