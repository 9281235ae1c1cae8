"""Runs a user's script as ``python SCRIPT`` does, in this process, so that a recorder or a debugger can watch."""

from __future__ import annotations

import argparse
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


def run_script(path: str | Path, arguments: Sequence[str] = ()) -> None:
    """Run a file as ``__main__`` with these arguments; an exit with status 0 returns, another one comes out.

    What the script raises is shown as Python would show it, from the script's own first line on, and ends with exit
    status 1. Raises FileNotFoundError where there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such script", str(path))
    before = sys.argv, sys.path[:]
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    except Exception as error:
        traceback.print_exception(type(error), error, _from(error.__traceback__, str(path)))
        raise SystemExit(1) from None
    finally:
        sys.argv, sys.path[:] = before


def _from(trace: TracebackType | None, script: str) -> TracebackType | None:
    """The part of a traceback that begins in the script; nothing, where the script never began (a syntax error)."""
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    return trace


def script_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, str, list[str]]:
    """Split ``[options] SCRIPT [its arguments]``: our options (known to the parser, anywhere), the script, its own.

    After ``--`` everything is the script's. The parser must have optional arguments only.
    """
    cut = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, rest = parser.parse_known_args(arguments[:cut])
    if not rest or rest[0].startswith("-"):
        parser.error(f"{rest[0]} is no option of this command" if rest else "which script?")
    return options, rest[0], [*rest[1:], *arguments[cut + 1 :]]
