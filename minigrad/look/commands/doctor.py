"""``python -m minigrad doctor``: watches the first steps of a training script, and says what is wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import minigrad
from minigrad.look.doctor.findings import chart, examine
from minigrad.look.doctor.session import missing, report, summary
from minigrad.look.doctor.watch import Watch
from minigrad.look.pages.doctor_page import doctor_path, save_doctor_page
from minigrad.tools.cli import positive_int
from minigrad.tools.script import run_script, script_arguments


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad doctor [--html FILE] SCRIPT [arguments]``; 1 if something is found, 0 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad doctor",
        usage="%(prog)s [--steps N] [--html FILE] [--as-torch] SCRIPT [arguments of the script]",
        description="Run a training script for some steps, and say what is wrong with it: each finding with its "
        "evidence, its line and the mend.",
        epilog="The script ends after these steps. What follows -- belongs to the script.",
        allow_abbrev=False,
    )
    parser.add_argument("--steps", type=positive_int, default=50, metavar="N", help="steps to watch (default: 50)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the findings as a page, with curves")
    parser.add_argument("--as-torch", action="store_true", help="`import torch` in it means minigrad")
    options, script, rest = script_arguments(parser, arguments)
    if options.html is not None:
        doctor_path(options.html, script)
    if options.as_torch:
        minigrad.as_torch()
    watch = Watch(options.steps, stop_script=True)
    watch.start()
    failed = None
    try:
        run_script(script, rest)
    except SystemExit as end:  # the script's own end, or an error in it, which has been shown
        failed = end
    finally:
        watch.stop()
    nothing = missing(watch)
    if nothing:
        if failed is not None:
            raise failed
        raise ValueError(f"{script} has nothing for the doctor: {nothing}")
    findings = examine(watch)
    print(report(watch, findings), file=sys.stderr)
    if options.html is not None:
        save_doctor_page(options.html, Path(script).name, summary(watch, findings), findings, chart(watch))
        print(options.html)
    if failed is not None:
        raise failed
    return 1 if findings else 0
