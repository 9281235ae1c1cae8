"""``python -m minigrad check FILE:NAME``: the gradients of a function, op or module of yours by finite differences."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

import minigrad
from minigrad.autograd import Function
from minigrad.core.op import FACTS, Op
from minigrad.core.tensor import Tensor, apply
from minigrad.look.commands.watch import add_as_torch, hint, imports
from minigrad.look.gradcheck import examine
from minigrad.look.influence import influence
from minigrad.tools.cli import natural_int, positive_int
from minigrad.tools.script import started

HELP = """NAME is a function of tensors, an op (marked with @op or not), a Function, or a Module that is made without
arguments; it is called with one random tensor per --shape. Without --shape, NAME is a function that is called
without arguments and returns what to check and on what: (function, inputs) or (module, batch)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(message)


def main(arguments: Sequence[str]) -> int:
    """Check what the arguments name; 0 if its gradients are right, 1 if not. Raises ValueError for misuse."""
    parser = _Parser(prog="python -m minigrad check", description="Check gradients by finite differences.", epilog=HELP)
    option = parser.add_argument
    option("target", metavar="FILE:NAME", help="a Python file and what to check in it")
    option("--shape", action="append", default=[], type=_shape, help='of one input, such as 3,4; "" is a number')
    option("--seed", type=natural_int, default=0, help="of all random numbers (default 0)")
    option("--max-elements", type=positive_int, metavar="N", help="check N elements of each tensor, drawn at random")
    add_as_torch(parser)
    option("--causal", action="store_true", help="check that no output of NAME() sees what is ahead of it")
    option("--influence", action="store_true", help="the same without --causal: rows of a batch, heads, padding")
    option(
        "--padding",
        type=natural_int,
        metavar="ID",
        help="with these: the id that stands for padding, to be seen by none",
    )
    option("--page", type=Path, metavar="FILE.html", help="with these: write the map as a page")
    settings = parser.parse_args(arguments)
    minigrad.manual_seed(settings.seed)
    file, colon, name = settings.target.rpartition(":")
    if not colon or not name:
        raise ValueError(f"{settings.target!r} should be FILE:NAME, such as model.py:loss")
    with imports(settings.as_torch), started(Path(file)), warnings.catch_warnings(record=True) as notes:
        module = _load(Path(file))
        warnings.simplefilter("always")
        try:
            func, inputs = _resolve(module, name, settings.shape, settings.seed)
            if settings.causal or settings.influence:
                return _influence(func, inputs, name, settings)
            report = examine(func, inputs, seed=settings.seed, max_elements=settings.max_elements)
        except Exception as error:
            place = _place(error, module.__file__)
            if not place and not isinstance(error, TypeError):
                raise
            said = f"{place}{type(error).__name__}: {error}" if place else str(error)
            raise ValueError(said + hint(file)) from error
    if not report.failed and not report.elements:
        raise ValueError(f"there is nothing to check: the inputs of {name} have no elements")
    for note in notes:
        print(note.message, file=sys.stderr)
    if report.failed:
        print(f"{name}: {report.text}")
        return 1
    for text in report.notes:
        print(f"note: {text}")
    count = len(report.comparisons)
    print(
        f"{name}: {report.elements} elements of {count} input{'s' * (count != 1)} agree with finite differences "
        f"(largest difference {report.largest:.1e})"
    )
    return 0


def _influence(func: Any, inputs: Any, name: str, settings: argparse.Namespace) -> int:
    """What the outputs depend on, printed; 1 where something is wrong with it."""
    given = [inputs] if isinstance(inputs, Tensor | np.ndarray) else list(inputs)
    padding = None
    if settings.padding is not None:
        padding = np.asarray(given[0]._array if isinstance(given[0], Tensor) else given[0]) == settings.padding
    found = influence(func, *given, causal=settings.causal, padding=padding, seed=settings.seed)
    print(f"{name}: {found}")
    if settings.page is not None:
        found.save(settings.page)
        print(f"map: {settings.page}")
    return 1 if found.findings else 0


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in text.split(",") if n.strip())
    except ValueError:
        shape = (-1,)
    if any(n < 0 for n in shape):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 3,4")
    return shape


def _load(path: Path) -> Any:
    """The file as a module."""
    name = f"minigrad_check_{path.stem}"  # not its own, which may be that of another module, such as random
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"there is no Python file {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    except (Exception, SystemExit) as error:
        place = _place(error, module.__file__)
        raise ValueError(f"{path} cannot be loaded: {place}{type(error).__name__}: {error}") from error
    return module


def _place(error: BaseException, file: str | None) -> str:
    """The file and the last line of it on the way to an error, as "mine.py:7: "; nothing if it was not on the way."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(str(file)).name}:{lines[-1]}: " if lines else ""


def _resolve(module: Any, name: str, shapes: list[tuple[int, ...]], seed: int) -> tuple[Any, Any]:
    """What to check, and on which inputs."""
    target = getattr(module, name, None)
    if not callable(target):
        there = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise ValueError(f"{module.__file__} has no function {name!r}; it has {', '.join(there) or 'none'}")
    if inspect.isclass(target):
        if not shapes:
            raise ValueError(f"{name} is a class: say the shapes of its inputs with --shape")
        if issubclass(target, Function):
            target = target.apply
        else:
            _fits(target, name, [])
            target = target()
    elif not shapes:
        _fits(target, name, [])
        pair = target()
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
            raise ValueError(f"{name}() should return (function, inputs) or (module, batch), or take --shape inputs")
        return pair
    rng = np.random.default_rng(seed)
    inputs = [Tensor(np.asarray(rng.normal(size=shape)), requires_grad=True) for shape in shapes]
    _fits(getattr(target, "forward", target), name, inputs)
    if target in FACTS or _is_op(target, inputs):
        target = functools.partial(apply, cast(Op, target))
    return target, inputs


def _is_op(target: Any, inputs: list[Tensor]) -> bool:
    """Whether a function without @op is an op all the same: it takes arrays, and returns a result and its backward."""
    try:
        found = target(*(x._array.copy() for x in inputs))
    except Exception:  # one of tensors, say
        return False
    return isinstance(found, tuple) and len(found) == 2 and inspect.isfunction(found[1])


def _fits(func: Any, name: str, inputs: list[Tensor]) -> None:
    """Whether the function takes that many arguments."""
    try:
        inspect.signature(func).bind(*inputs)
    except TypeError as error:
        given = f"{len(inputs)} of --shape" if inputs else "no arguments"
        raise ValueError(f"{name}{inspect.signature(func)} with {given}: {error}") from None
