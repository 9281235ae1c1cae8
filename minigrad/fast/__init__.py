"""Compiled twins of ops, by numba: off until asked for, since importing numba takes longer than importing all of this.

``minigrad.fast.enable()``, or MINIGRAD_FAST=1 in the environment; ``pip install 'minigrad[fast]'`` brings numba.
"""

from __future__ import annotations

import importlib
import os

from minigrad.ops.registry import CHOSEN, Op
from minigrad.optim import adam

__all__ = ["disable", "enable", "enabled"]

_before: dict[Op, Op | None] = {}  # what ran in place of each op; empty while this is off


def enabled() -> bool:
    """Whether the compiled twins are in use."""
    return bool(_before)


def enable() -> None:
    """Use the compiled twins from now on; ImportError without numba. Each is compiled when first called."""
    twins = importlib.import_module("minigrad.fast.twins")
    if not enabled():
        _before.update({op: CHOSEN.get(op) for op in twins.COMPILED})
        CHOSEN.update(twins.COMPILED)
        adam.compiled = twins.adam


def disable() -> None:
    """Go back to what ran before ``enable``."""
    for op, before in _before.items():
        if before is None:
            del CHOSEN[op]
        else:
            CHOSEN[op] = before
    _before.clear()
    adam.compiled = None


if os.environ.get("MINIGRAD_FAST") == "1" and os.environ.get("MINIGRAD_PLAIN") != "1":
    enable()
