"""Whose line of code it is: the library's own, or the user's. The models and examples count as the user's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy.lib.mixins

OPERATORS = numpy.lib.mixins.__file__  # where NumPy's operators of other arrays are: between two lines of the library
LIBRARY = str(Path(__file__).parent.parent) + os.sep
USERS = tuple(LIBRARY + name + os.sep for name in ("models", "examples"))


def is_users(file: str) -> bool:
    """Whether a file name, as a frame's code has it, belongs to neither the library nor the machinery around it."""
    return not file.startswith((LIBRARY, OPERATORS, "<frozen")) or file.startswith(USERS)
