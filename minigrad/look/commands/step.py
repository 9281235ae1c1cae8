"""``python -m minigrad step``: runs a script and stops at its first backward(), in the terminal or for a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minigrad.core.graph import Step, state
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.look.pages.stepper_page import LIMIT, save_stepper_page, stepper_path
from minigrad.look.recording import Recorder, trace
from minigrad.look.terminal import Debugger, Quit
from minigrad.tools.script import run_script, script_arguments


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad step [--html FILE] SCRIPT [arguments]``."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad step",
        usage="%(prog)s [--html FILE] SCRIPT [arguments of the script]",
        description="Run a script and stop at its first backward(), to walk it step by step.",
        epilog="In the terminal h lists the commands. The page that --html writes needs no network. What follows -- "
        "belongs to the script.",
        allow_abbrev=False,
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the steps as a page instead of asking")
    options, script, rest = script_arguments(parser, arguments)
    if options.html is None:
        if sys.stdin is None:
            raise ValueError("there is no terminal to ask: write a page with --html FILE")
        recording = trace(live=True)
        walker = Debugger(recording.recorder).on_backward
    else:
        stepper_path(options.html, script)
        recording = trace(LIMIT, live=True)
        walker = _first_pass(recording.recorder)
    with recording as record:
        state.walker = walker
        run_script(script, rest)
    if not record.passes:
        raise ValueError(f"{script} ended without calling backward() on anything that wants a gradient")
    if options.html is not None:
        print(save_stepper_page(options.html, recording.recorder, Path(script).name))
    return 0


def _first_pass(recorder: Recorder) -> Callable[..., None]:
    def on_backward(root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        recorder.on_backward(root, gradient, steps)
        if recorder.trace.passes:
            raise Quit(0)  # run_script takes it for the end

    return on_backward
