"""``python -m minigrad run``: a script in this process, in which ``import torch`` may mean minigrad."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Sequence
from types import TracebackType

from minigrad.script import run_script
from minigrad.torch_names import as_torch


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad run [--as-torch] SCRIPT [args]``: run a script as ``python SCRIPT args`` would."""
    parser = argparse.ArgumentParser(prog="python -m minigrad run", description="Run a Python script.")
    parser.add_argument("--as-torch", action="store_true", help="`import torch` in it means minigrad")
    parser.add_argument("script", help="the script")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="what the script is given")
    options = parser.parse_args(arguments)
    if options.as_torch:
        as_torch()
    try:
        run_script(options.script, options.args)
    except FileNotFoundError as error:
        if error.filename == str(options.script):
            raise
        return _report(error, str(options.script))
    except Exception as error:
        return _report(error, str(options.script))
    return 0


def _report(error: Exception, script: str) -> int:
    """Print what the script raised, from its own first line on."""
    traceback.print_exception(type(error), error, _from(error.__traceback__, script))
    return 1


def _from(trace: TracebackType | None, script: str) -> TracebackType | None:
    """The part of a traceback that begins in the script; all of it, where the script never began."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename != script:
        inner = inner.tb_next
    return inner or trace
