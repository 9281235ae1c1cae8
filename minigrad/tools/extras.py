"""The one door to packages that minigrad can do without: imported when asked for, with one line on how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType


def need(package: str, distribution: str = "") -> ModuleType:
    """The package, imported now; ImportError with the distribution that brings it where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise ImportError(f"this needs the package {name}: pip install {distribution or name}") from error
