"""What registering a hook returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away again."""

    def __init__(self, hooks: list[Any], entry: Any) -> None:
        self._hooks = hooks
        self._entry = entry

    def remove(self) -> None:
        if self._entry in self._hooks:
            self._hooks.remove(self._entry)


def add_hook(hooks: list[Any], hook: Callable[..., Any]) -> RemovableHandle:
    """Put a hook at the end of a list."""
    entry = partial(hook)  # compares by identity, so the same hook can be there twice
    hooks.append(entry)
    return RemovableHandle(hooks, entry)
