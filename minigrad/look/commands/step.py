"""``python -m minigrad step``: runs a script and stops at a backward(), in the terminal or for a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from minigrad.core.graph import Step
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.look.commands.travel import add_at, travelling
from minigrad.look.commands.watch import add_as_torch, hint, watch, what_ran
from minigrad.look.pages.stepper_page import LIMIT, read_quiz_code, save_stepper_page, stepper_path
from minigrad.look.recording import Recorder, trace
from minigrad.look.terminal import Debugger, Quit
from minigrad.tools.cli import positive_int
from minigrad.tools.script import script_arguments

MOST_PASSES = 20  # that --passes puts into a page


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad step [--html FILE] [--pass N] SCRIPT [arguments]``."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad step",
        usage="%(prog)s [--html FILE] [--pass N | --passes] [more options] SCRIPT [arguments of the script]",
        description="Run a script or notebook and stop at its first backward(), to walk it step by step.",
        epilog="In the terminal h lists the commands. The page that --html writes needs no network. What follows -- "
        "belongs to the script.",
        allow_abbrev=False,
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the steps as a page instead of asking")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--pass",
        type=positive_int,
        default=1,
        metavar="N",
        dest="number",
        help="stop at the N-th backward() (default: 1)",
    )
    choice.add_argument(
        "--passes", action="store_true", help=f"with --html: all backward passes, at most {MOST_PASSES}, in one page"
    )
    parser.add_argument("--quiz", action="store_true", help="with --html: ask what each step gives before it is shown")
    parser.add_argument(
        "--quiz-code", metavar="CODE", help="say what the code that a quiz on this script gave is worth"
    )
    add_at(parser)
    add_as_torch(parser)
    options, script, rest = script_arguments(parser, arguments)
    return travelling(options, rest, lambda rest: _walk(parser, options, script, rest))


def _walk(parser: argparse.ArgumentParser, options: argparse.Namespace, script: str, rest: list[str]) -> int | None:
    if options.html is None and (options.passes or options.quiz):
        parser.error(f"--{'passes' if options.passes else 'quiz'} is for a page: say --html FILE")
    if options.html is None and options.quiz_code is None:
        if sys.stdin is None:
            raise ValueError("there is no terminal to ask: write a page with --html FILE")
        recording = trace(live=True)
        walker = Debugger(recording.recorder, skip=options.number - 1).on_backward
    else:
        if options.html is not None:
            stepper_path(options.html, script)
        recording = trace(LIMIT, live=True)
        walker = _Passes(recording.recorder, options.number, options.passes).on_backward
    status = watch(recording, walker, script, rest, options.as_torch)
    recorder = recording.recorder
    record = recorder.trace
    if record.failure is not None:
        print("\n".join(what_ran(recording)))
        if options.html is None or not record.ops:
            return status
    elif not record.passes:
        called = recorder.skipped
        raise ValueError(
            f"{script} ended after {called} backward passes, there is none to step through as --pass {options.number}"
            if called
            else f"{script} ended without calling backward() on anything that wants a gradient{hint(script)}"
        )
    if options.quiz_code is not None:
        right, count = read_quiz_code(options.quiz_code, record, 0)
        print(f"{right} of {count} right at the first try")
    if options.html is not None:
        which = range(len(record.passes)) if options.passes and record.passes else 0
        print(save_stepper_page(options.html, recorder, Path(script).name, which, options.quiz))
    return status


class _Passes:
    """Records the wanted backward passes and ends the script after the last of them."""

    def __init__(self, recorder: Recorder, number: int, every: bool) -> None:
        self.recorder = recorder
        self.skip = number - 1
        self.most = MOST_PASSES if every else 1

    def on_backward(self, root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        if self.recorder.skipped < self.skip:
            self.recorder.skip(root, steps)
            return
        self.recorder.on_backward(root, gradient, steps)
        if len(self.recorder.trace.passes) == self.most:
            raise Quit(0)  # run_script takes it for the end
