"""``python -m minigrad examples``: lists the examples, and copies them to where they can be run and changed."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


def folder() -> Path:
    """Where the examples are: inside the package as it is installed, beside it in a checkout."""
    inside, beside = PACKAGE / "examples", PACKAGE.parent / "examples"
    return inside if inside.is_dir() else beside


def main(arguments: Sequence[str]) -> int:
    """``python -m minigrad examples [NAME ...] [-o DIR]``. Raises ValueError for misuse."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad examples",
        description="List the examples, or copy those that are named to the current folder.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which to copy, such as train_char_gpt; all: every one"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path(), metavar="DIR", help="where to (default: here)")
    options = parser.parse_args(arguments)
    there = {path.stem: path for path in sorted(folder().glob("*.py"))}
    if not options.names:
        for name, path in there.items():
            print(f"{name:24} {_first_line(path)}")
        return 0
    names = [*there] if options.names == ["all"] else [name.removesuffix(".py") for name in options.names]
    for name in names:
        if name not in there:
            raise ValueError(f"there is no example {name!r}; there are {', '.join(there)}, and all")
    copies = {there[name]: options.out / there[name].name for name in names}
    for source, copy in copies.items():
        if copy.exists() and copy.read_bytes() != source.read_bytes():
            raise ValueError(f"{copy} is there already, with other content: move it away, or name another folder by -o")
    options.out.mkdir(parents=True, exist_ok=True)
    for source, copy in copies.items():
        copy.write_bytes(source.read_bytes())
        print(copy)
    return 0


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    return text.partition("\n")[0]
