"""Values made of tensors, tuples, lists, dicts and plain things: what a module takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minigrad.core.tensor import Tensor


def rebuilt(like: Any, parts: list[Any]) -> Any:
    """A tuple, named tuple or list of these parts."""
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)


def replaced(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The value, with all of a kind in it changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: replaced(part, kind, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return rebuilt(value, [replaced(part, kind, change) for part in value])
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in a value, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(part)
