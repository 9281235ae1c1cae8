"""What an op is, the table of all ops, and which function runs for each: the first file of the house.

An op is a pure NumPy function ``op(*arrays, **constants) -> (z, backward)``. Positional arguments are differentiable,
keyword-only arguments are constants. ``backward(dz)`` returns one gradient per positional argument, in order, at the
shape that broadcasting gave it: the walk in ``graph.py`` sums it back to the input's shape. ``dz`` is short for
d loss / dz, the gradient of the result; ``dx`` for that of x. The docstring starts with the formulas.
What ``backward`` saves is what it closes over: error texts and pages show it under the names of these variables, so an
array it needs is a variable of the op, or stands in a tuple or list that is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, overload

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Backward: TypeAlias = "Callable[[Array], tuple[Array | None, ...]]"
Op: TypeAlias = Callable[..., tuple[Any, Backward]]
F = TypeVar("F", bound=Op)


@dataclass(frozen=True)
class Facts:
    """What others read about an op: it is said once, beside the op."""

    elementwise: bool = False  # each element of z comes from the same element of each input
    view: bool = False  # z may be a view of the input's memory
    reshapes: bool = False  # z has the numbers of x and no others: axes are split, joined, exchanged or repeated
    reduces: bool = False  # z has one number for all of x along the axes that it is told
    symbol: str = ""  # how pictures write it: "+"
    grad_fn: str = ""  # how PyTorch prints its node, where that is not the op's own name: "View"
    reads: tuple[str, ...] = ()  # per input: the saved variables that its gradient needs, where that is not all


OPS: dict[str, Op] = {}
FACTS: dict[Op, Facts] = {}
NO_FACTS = Facts()
RUNS: dict[Op, Op] = {}  # an op -> what runs in its place (see ``minigrad/speed``); usually nothing is in here


@overload
def op(function: F, /) -> F: ...
@overload
def op(**facts: Any) -> Callable[[F], F]: ...
def op(function: Any = None, **facts: Any) -> Any:
    """Enter an op into the table, ``@op`` or ``@op(elementwise=True)``; the function itself stays as it is."""
    if function is None:
        return lambda function: op(function, **facts)
    name = function.__name__
    if name in OPS:
        raise ValueError(f"an op named {name!r} exists already (in {OPS[name].__module__})")
    if __debug__ and not (function.__doc__ or "").strip():  # python -OO strips docstrings
        raise ValueError(f"op {name!r} has no formulas: start its docstring with 'z = ...', then one line per gradient")
    OPS[name] = function
    FACTS[function] = Facts(**facts)
    return function


def facts(function: Op) -> Facts:
    """The facts of an op; a function that is not in the table has none."""
    return FACTS.get(function, NO_FACTS)


def running(definition: Op) -> Op:
    """The function that runs for an op now."""
    return RUNS.get(definition, definition)
