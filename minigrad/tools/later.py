"""Names of a package that are loaded when they are first used, so that importing it stays quick."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def later(package: dict[str, Any], names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package, given by its ``globals()``: names -> the modules that hold them.

    A name whose module is the package's own part of that name is the module. Of any other name that is not there, the
    error says what to use instead.
    """
    here = package["__name__"]
    for name in names:
        package.pop(name, None)  # the package's own part of that name, which the name hides

    def __getattr__(name: str) -> Any:
        if name in names:
            module = import_module(names[name])
            package[name] = module if names[name] == f"{here}.{name}" else getattr(module, name)
            return package[name]
        if name.startswith("__"):
            raise AttributeError(f"module {here!r} has no attribute {name!r}")
        raise AttributeError(import_module("minigrad.torch.as_torch").missing(here, name, package["__all__"]))

    return __getattr__, lambda: sorted({*package, *names})
