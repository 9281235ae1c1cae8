"""The op pattern: what an op is, and the table of all of them.

An op is a pure NumPy function ``op(*arrays, **constants) -> (z, backward)``. Positional arguments are differentiable,
keyword-only arguments are constants. ``backward(dz)`` returns one gradient per positional argument, in order, at the
shape that broadcasting gave it: the engine sums it back to the input's shape. The docstring starts with the formulas.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Gradients: TypeAlias = "tuple[Array | None, ...]"
Backward: TypeAlias = Callable[[Array], Gradients]
Op: TypeAlias = Callable[..., tuple[Any, Backward]]

OPS: dict[str, Op] = {}
TWINS: dict[Op, Op] = {}  # an op -> its tuned twin: same arguments, same result, made with less time or memory
CHOSEN: dict[Op, Op] = {} if os.environ.get("MINIGRAD_PLAIN") == "1" else TWINS  # what runs in place of an op


def op(function: Op) -> Op:
    """Enter an op into the table; the function itself stays as it is."""
    name = function.__name__
    if name in OPS:
        raise ValueError(f"an op named {name!r} exists already (in {OPS[name].__module__})")
    if not (function.__doc__ or "").strip():
        raise ValueError(f"op {name!r} has no formulas: start its docstring with 'z = ...', then one line per gradient")
    OPS[name] = function
    return function


def twin(definition: Op) -> Callable[[Op], Op]:
    """Enter the tuned twin of an op: it runs instead, unless the environment says MINIGRAD_PLAIN=1."""

    def enter(function: Op) -> Op:
        TWINS[definition] = function
        return function

    return enter


def formulas(function: Op) -> list[str]:
    """The formula lines of an op's docstring (all before the first blank line), forward first, then the gradients."""
    lines = []
    for line in (function.__doc__ or "").strip().splitlines():
        if not line.strip():
            break
        lines.append(line.strip())
    return lines


def scale_nonzero(dz: Array, factor: Array) -> Array:
    """dz * factor, with 0 * anything = 0.

    An element whose upstream gradient is zero (the branch that ``where`` did not choose, say) does not take part, so
    an infinite or undefined slope there must not turn into NaN.
    """
    with np.errstate(invalid="ignore"):
        product = dz * factor
    return np.where(dz == 0, 0, product).astype(product.dtype, copy=False)
