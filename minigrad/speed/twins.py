"""Twins of ops: the same arguments, the same result, in less time or memory; and which of them run."""

from __future__ import annotations

from collections.abc import Callable

from minigrad.core.op import RUNS, Op

TWINS: dict[str, dict[Op, Op]] = {"tuned": {}, "compiled": {}}  # kind -> an op -> its twin


def twin(definition: Op, kind: str = "tuned") -> Callable[[Op], Op]:
    """Enter a twin of an op, to run for it where ``use_twins`` says so."""

    def enter(function: Op) -> Op:
        TWINS[kind][definition] = function
        return function

    return enter


def use_twins(*kinds: str) -> None:
    """Let twins of these kinds run, the last kind first; ``use_twins()`` runs every op as it is written."""
    RUNS.clear()
    for kind in kinds:
        RUNS.update(TWINS[kind])
