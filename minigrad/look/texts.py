"""What the checks' texts are made of: the user's line, the module, the operand's name, the index."""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minigrad.tools.lines import is_users


class Line(NamedTuple):
    """A line of a file, printed as in a traceback."""

    file: str
    number: int

    def text(self) -> str:
        """What stands there."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f'  File "{self.file}", line {self.number}' + (f"\n    {self.text()}" if self.text() else "")


def user_line() -> Line | None:
    """The innermost line that is running now and is not the library's own."""
    frame = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else Line(frame.f_code.co_filename, frame.f_lineno)


def inside(scope: str) -> str:
    """Where an op ran: " in blocks.0.mlp", or nothing outside all modules."""
    return f" in {scope}" if scope else ""


def index(place: Any) -> str:
    """The index of an element, as it stands behind a name: [0, 2]."""
    return str([int(i) for i in place])


def operand_names(op: Callable[..., Any], count: int) -> list[str]:
    """What an op calls its first ``count`` operands; "input 2" where it has no names for them."""
    named = _names(op)
    return [*named, *(f"input {i}" for i in range(len(named), count))][:count]


@lru_cache(maxsize=256)
def _names(op: Callable[..., Any]) -> tuple[str, ...]:
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return tuple(p.name for p in inspect.signature(op).parameters.values() if p.kind in kinds)


def broadcasts(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Whether broadcasting spreads the first shape over the second."""
    try:
        return np.broadcast_shapes(shape, over) == over
    except ValueError:
        return False
