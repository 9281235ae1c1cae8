"""What every command line here shares: mistakes of the user end in one line and exit status 2, never a traceback."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(main: Callable[[], int | None]) -> None:
    """Call main and exit with its status; expected errors are printed in one line, with exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that cannot show a character must not end the run
    try:
        status = main() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # the reader (head, less) left
        sys.stderr.close()
        status = 0
    except MemoryError as error:
        print(f"error: not enough memory{f': {error}' if str(error) else ''}", file=sys.stderr)
        status = 2
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        text = " ".join(str(error).split())
        if isinstance(error, OSError) and error.strerror and error.filename:
            text = f"{error.filename}: {error.strerror}"
        print(f"error: {text}", file=sys.stderr)
        status = 2
    sys.exit(status)


FELL_SHORT = 3  # the exit status of an example that did all it should, and whose result is worse than it says


def verdict(*claims: tuple[bool, str]) -> int:
    """The exit status for what an example says of its result: 0, or FELL_SHORT with a line for what did not come true.

    That is no error: a small model, few steps or another seed may well end so.
    """
    missed = [text for reached, text in claims if not reached]
    for text in missed:
        print(f"not reached this time: {text}", file=sys.stderr)
    return FELL_SHORT if missed else 0


def positive_int(text: str) -> int:
    """For argparse: an integer of at least 1."""
    return _number(text, int, 1, "an integer of at least 1")


def natural_int(text: str) -> int:
    """For argparse: an integer of at least 0."""
    return _number(text, int, 0, "an integer of at least 0")


def natural_float(text: str) -> float:
    """For argparse: a number of at least 0."""
    return _number(text, float, 0, "a number of at least 0")


def _number(text: str, kind: Callable[[str], Any], lowest: float, wanted: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = lowest - 1
    if not lowest <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    if kind is int and value > sys.maxsize:
        raise argparse.ArgumentTypeError(f"{text} is more than can be counted here, {sys.maxsize}")
    return value


def fresh_path(path: Path) -> Path:
    """The path itself, or with -2, -3, ... before the ending where files of that name exist."""
    candidate, n = path, 1
    while candidate.exists():
        n += 1
        candidate = path.with_name(f"{path.stem}-{n}{path.suffix}")
    return candidate
