"""The one door to packages that minigrad can do without: imported when asked for, with one line on how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType


def need(package: str, extra: str | None = None) -> ModuleType:
    """The package, imported now; ImportError naming the extra that brings it where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        wanted = f"'minigrad[{extra}]'" if extra else package
        raise ImportError(f"this needs the package {package}: pip install {wanted}") from error
