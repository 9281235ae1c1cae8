"""``python -m minigrad graph``: runs a script until its first backward pass is over, and draws the graph of that."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from minigrad.core.graph import Step
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.look.commands.travel import add_at, travelling
from minigrad.look.commands.watch import add_as_torch, hint, watch, what_ran
from minigrad.look.pages.graph_page import ENDINGS, LEVELS, MARKS, Graph
from minigrad.look.recording import trace
from minigrad.tools.cli import natural_int, positive_int
from minigrad.tools.script import script_arguments
from minigrad.train.files import output_path


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad graph SCRIPT [arguments] -o FILE [--level LEVEL]``."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad graph",
        usage="%(prog)s [-o FILE] [--level LEVEL] [more options] SCRIPT [arguments of the script]",
        description="Run a script until its first backward() and draw the graph that was walked, or, if it calls "
        "none, the graph of its last result.",
        epilog="What follows -- belongs to the script.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-o", "--out", type=_out, default=Path("graph.svg"), metavar="FILE",
        help=f"where to draw (default: graph.svg); ends in {', '.join(ENDINGS)}",
    )  # fmt: skip
    parser.add_argument("--level", choices=LEVELS, help="what a box is (default: the finest that fits)")
    parser.add_argument("--depth", type=natural_int, metavar="N", help="open so many levels of modules (default: all)")
    parser.add_argument("--no-fold", action="store_true", help="draw each block, though they are alike")
    parser.add_argument("--no-legend", action="store_true", help="leave the legend out")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="the most boxes to draw")
    parser.add_argument("--pass", type=positive_int, default=1, metavar="N", dest="number", help="which backward pass")
    add_at(parser)
    add_as_torch(parser)
    options, script, rest = script_arguments(parser, arguments)
    return travelling(options, rest, lambda rest: _draw(options, script, rest))


def _draw(options: argparse.Namespace, script: str, rest: list[str]) -> int | None:
    output_path(options.out, MARKS[ENDINGS[options.out.suffix.lower()]], [script])
    recording = trace()
    recorder = recording.recorder

    def on_backward(root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        recorder.on_backward(root, gradient, steps)
        if len(recorder.trace.passes) == options.number:
            raise SystemExit(0)  # that is all there is to see; run_script takes it for the end

    status = watch(recording, on_backward, script, rest, options.as_torch)
    record = recorder.trace
    if record.failure is not None:
        print("\n".join(what_ran(recording)))
        if not record.ops:
            return status
    if not record.ops:
        raise ValueError(f"{script} ended without running an op on anything that wants a gradient{hint(script)}")
    if record.passes and len(record.passes) < options.number:
        raise ValueError(f"{script} ended after {len(record.passes)} backward passes, there is none to draw as --pass")
    drawn = Graph.from_trace(
        record,
        options.level,
        depth=options.depth,
        fold=not options.no_fold,
        limit=options.limit,
        legend=not options.no_legend,
    )
    drawn.save(options.out)
    print(f"{options.out}: {len(drawn.record.ops)} ops, level {drawn.level}")
    return status


def _out(text: str) -> Path:
    if Path(text).suffix.lower() not in ENDINGS:
        raise argparse.ArgumentTypeError(f"{text!r} must end in one of {', '.join(ENDINGS)}")
    return Path(text)
