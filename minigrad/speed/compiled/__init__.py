"""Compiled twins of ops, by numba: off until asked for, since importing numba takes longer than importing all of this.

``minigrad.fast.enable()``, or MINIGRAD_FAST=1 in the environment; ``pip install numba`` brings it.
"""

from __future__ import annotations

import importlib
import os

from minigrad.core.op import RUNS
from minigrad.optim import adam
from minigrad.speed.twins import use_twins

__all__ = ["disable", "enable", "enabled"]

_before: list[tuple[str, ...]] = []  # the kinds of twins that ran before; empty while this is off


def enabled() -> bool:
    """Whether the compiled twins are in use."""
    return bool(_before)


def enable() -> None:
    """Use the compiled twins from now on; ImportError without numba. Each is compiled when first called."""
    twins = importlib.import_module("minigrad.speed.compiled.twins")
    if not enabled():
        kinds = ("tuned",) if RUNS else ()
        _before.append(kinds)
        use_twins(*kinds, "compiled")
        adam.compiled = twins.adam


def disable() -> None:
    """Go back to what ran before ``enable``."""
    if enabled():
        use_twins(*_before.pop())
    adam.compiled = None


def start() -> None:
    """What runs from the beginning, by the environment: tuned twins unless MINIGRAD_PLAIN=1, compiled with FAST."""
    if os.environ.get("MINIGRAD_PLAIN") != "1":
        use_twins("tuned")
        if os.environ.get("MINIGRAD_FAST") == "1":
            enable()
