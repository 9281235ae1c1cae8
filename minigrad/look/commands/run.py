"""``python -m minigrad run``: a script in this process, in which ``import torch`` may mean minigrad."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import minigrad
from minigrad.tools.script import run_script


def main(arguments: Sequence[str]) -> int | None:
    """``python -m minigrad run [--as-torch] SCRIPT [args]``: run a script as ``python SCRIPT args`` would."""
    parser = argparse.ArgumentParser(prog="python -m minigrad run", description="Run a Python script.")
    parser.add_argument("--as-torch", action="store_true", help="`import torch` in it means minigrad")
    parser.add_argument("script", help="the script")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="what the script is given")
    options = parser.parse_args(arguments)
    if options.as_torch:
        minigrad.as_torch()
    run_script(options.script, options.args)
    return 0
