"""``python -m minigrad why``: runs a training to one of its steps, and says why a weight changed there."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad.look.commands.travel import back_to
from minigrad.look.doctor.watch import Enough
from minigrad.look.pages.why_page import why_path
from minigrad.look.why import record_step, why
from minigrad.optim.optimizer import register_optimizer_step_post_hook
from minigrad.tools.cli import positive_int
from minigrad.tools.script import run_script, script_arguments
from minigrad.train.checkpoints import load

LISTED = 12  # weights in the list of those that moved most


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad why [--step N] [--weight NAME] [--index I,J] [--html FILE] SCRIPT [arguments]``."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad why",
        usage="%(prog)s [--step N] [--weight NAME] [--index I,J] [--html FILE] SCRIPT [arguments of the script]",
        description="Run a training script to one of its steps, and say why a weight changed there: by term of the "
        "optimizer and by place of the batch. Without --weight, list the weights that moved most.",
        epilog="A script that resumes a run with --resume CHECKPOINT goes back to the state before the step, if the "
        "run kept states (--travel). What follows -- belongs to the script.",
        allow_abbrev=False,
    )
    parser.add_argument("--step", type=positive_int, default=1, metavar="N", help="which step (default: 1, the first)")
    parser.add_argument("--weight", metavar="NAME", help="which weight, such as head.weight")
    parser.add_argument("--index", type=_index, metavar="I,J", help="which element of it (default: the whole)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page of the weight")
    parser.add_argument("--as-torch", action="store_true", help="`import torch` in it means minigrad")
    options, script, rest = script_arguments(parser, arguments)
    if options.weight is None and (options.html is not None or options.index is not None):
        raise ValueError("--index and --html are of one weight: name it with --weight")
    if options.html is not None:
        why_path(options.html, script)
    if options.as_torch:
        minigrad.as_torch()
    with back_to(options.step, rest) as (words, start):
        step, reached = _record(script, words, options.step, start)
    if not step.moved or reached < options.step:
        raise ValueError(f"{script} ended after {reached} steps, before step {options.step}")
    _compare(step, rest, start, options.step)
    if options.weight is None:
        print(_list(step))
        return 0
    found = why(options.weight, step, options.index)
    print(found)
    if options.html is not None:
        found.save(options.html)
        print(options.html)
    return 0


def _index(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an index such as 3,4") from None


def _record(script: str, words: list[str], wanted: int, start: int) -> tuple[record_step, int]:
    """Run the script to a step, and record that."""
    step, counts = record_step(), {"now": start, "of": 0}
    first: list[Any] = []

    def count(optimizer: Any, args: Any, kwargs: Any) -> None:
        first[:] = first or [optimizer]
        if optimizer is first[0]:  # of several, the one that steps first
            counts["now"] += 1
        if counts["now"] == wanted:
            step.after_update(optimizer, args, kwargs)  # its own turn would come after this one
            step.number = wanted
            raise Enough(0)
        if counts["now"] == wanted - 1 and optimizer is first[0]:
            step.__enter__()
            step.restart()

    if start == wanted - 1:
        step.__enter__()
    handle = register_optimizer_step_post_hook(count)
    try:
        run_script(script, words)
    finally:
        handle.remove()
        step.close()
    return step, counts["now"]


def _compare(step: record_step, rest: Sequence[str], start: int, wanted: int) -> None:
    """Say whether a step that was run again is the one that the run had, where that can be known."""
    if not start:
        return
    before = load(rest[list(rest).index("--resume") + 1] if "--resume" in rest else _joined(rest))
    curves = before.get("curves", {}) if isinstance(before, dict) else {}
    losses = np.asarray(curves.get("loss", ()), dtype=np.float32)
    if len(losses) < wanted:
        return
    then, now = float(losses[wanted - 1]), float(np.float32(step.loss))
    same = then == now or (math.isnan(then) and math.isnan(now))
    text = "as it was then, to the last bit" if same else f"and it was {then:.9g} then: something has changed"
    print(f"step {wanted} was run again from the state of step {start}: its loss is {now:.9g}, {text}", file=sys.stderr)


def _joined(rest: Sequence[str]) -> str:
    return next(word for word in rest if word.startswith("--resume=")).split("=", 1)[1]


def _list(step: record_step) -> str:
    """The weights by how far they moved, relative to their size."""
    rows = []
    for name, p in step.names.items():
        moved = step.moved.get(id(p))
        if moved is not None:
            change = float(np.linalg.norm(moved.after.astype(np.float64) - moved.before))
            size = float(np.linalg.norm(moved.before.astype(np.float64)))
            rows.append((change / size if size else math.inf, change, name))
    rows.sort(reverse=True)
    lines = [f"step {step.number}, loss {step.loss:.6g}; weights by how far they moved, relative to their size:"]
    lines += [f"  {ratio:9.3g}  {name} (moved by {change:.3g})" for ratio, change, name in rows[:LISTED]]
    return "\n".join([*lines, "ask of one with --weight NAME"])
