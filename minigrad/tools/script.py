"""Runs a user's script as ``python SCRIPT`` does, in this process, so that a recorder or a debugger can watch."""

from __future__ import annotations

import argparse
import importlib
import json
import linecache
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType

from minigrad.tools.start import PYTHONS


@contextmanager
def started(path: Path, arguments: Sequence[str] = (), main: ModuleType | None = None) -> Iterator[None]:
    """While it lasts, sys.argv and imports are those of ``python PATH ARGUMENTS``: what is beside the file comes first.

    A file there that is named as a module of Python, such as random.py, is then what the script gets by that name. The
    package and NumPy go on with Python's own: they are loaded before.
    """
    folder = path.resolve().parent
    own = {file.stem for file in folder.glob("*.py")} & sys.stdlib_module_names - PYTHONS
    if own:
        _load_everything()
        for file in (path, *folder.glob("*.py")):
            linecache.getlines(str(file))  # tools show them; reading one later takes Python's tokenize
    before = sys.argv, sys.path[:], sys.modules.copy()
    for name in _parts(own):
        del sys.modules[name]
    if main is not None:
        sys.modules["__main__"] = main
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.argv, sys.path[:], modules = before
        for name in _parts(own):
            del sys.modules[name]
        sys.modules.update({name: modules[name] for name in (*_parts(own, modules), "__main__")})


def _parts(names: Set[str], modules: Mapping[str, object] = sys.modules) -> list[str]:
    """The modules, and the modules of packages, of these names."""
    return [name for name in modules if name.partition(".")[0] in names]


def _load_everything() -> None:
    """The package as a whole, and what NumPy loads late; without the compiled twins, which take long."""
    importlib.import_module("numpy.random")
    for module in pkgutil.walk_packages(importlib.import_module("minigrad").__path__, "minigrad."):
        if not module.name.startswith(("minigrad.speed.compiled", "minigrad.__main__")):
            linecache.getlines(str(importlib.import_module(module.name).__file__))


def run_script(
    path: str | Path, arguments: Sequence[str] = (), failed: Callable[[Exception], None] | None = None
) -> None:
    """Run a file as ``__main__`` with these arguments; an exit with status 0 returns, another one comes out.

    A notebook (.ipynb) runs as its code cells, one after the other. What the script raises is shown as Python would
    show it, from the script's own first line on, told to ``failed``, and ends with exit status 1. Raises
    FileNotFoundError where there is no such file, ValueError for a notebook that is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such script", str(path))
    main = ModuleType("__main__")
    main.__file__ = str(path)
    source = _cells(path) if path.suffix == ".ipynb" else path.read_bytes()
    try:
        with started(path, arguments, main):
            exec(compile(source, str(path), "exec", dont_inherit=True), vars(main))
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    except Exception as error:
        traceback.print_exception(type(error), error, _from(error.__traceback__, str(path)))
        if failed is not None:
            failed(error)
        raise SystemExit(1) from None


def _cells(path: Path) -> str:
    """The code of a notebook, with a comment line before each cell; lines for IPython alone (%, !) are left out."""
    try:
        cells = json.loads(path.read_bytes())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no notebook of Jupyter ({type(error).__name__}: {error})") from None
    lines: list[str] = []
    for number, text in enumerate(code, 1):
        lines.append(f"# cell {number}")
        if text.startswith("%%"):  # of another language, or for IPython
            text = "# " + text.replace("\n", "\n# ")
        lines += [re.sub(r"^(\s*)([%!?].*)", r"\1pass  # \2", line) for line in text.split("\n")]
    linecache.cache[str(path)] = (
        len(lines),
        None,
        [line + "\n" for line in lines],
        str(path),
    )  # for tracebacks and tools
    return "\n".join(lines) + "\n"


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
