"""``torch.autograd.functional``: Jacobians, Hessians and their products with vectors, of functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.torch.func import _columns, _not_strict, _rows
from minigrad.torch.variables import Level

Tensors = Any  # a tensor, or a tuple of them


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivatives of all outputs by all inputs: a tensor (*output, *input), for tuples a tuple of these each way.

    ``strategy`` may be "forward-mode", which takes one walk for each input; ``vectorize`` changes nothing here.
    """
    _not_strict(strict)
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"strategy must be 'reverse-mode' or 'forward-mode', got {strategy!r}")
    with Level(create_graph) as level:
        xs, several_inputs = _variables("jacobian", level, inputs)
        outs, several_outputs = _outputs("jacobian", func(*xs))
        table = (_rows if strategy == "reverse-mode" else _columns)(level, outs, xs)
    rows = [tuple(row) if several_inputs else row[0] for row in table]
    return tuple(rows) if several_outputs else rows[0]


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a single number: (*input, *input), for a tuple of inputs a tuple of tuples."""
    _not_strict(strict)
    with Level(create_graph) as level:
        xs, several = _variables("hessian", level, inputs)
        out = _single("hessian", func(*xs))
        first = level.gradients([out], xs, [_ones(out)], create_graph=True)
        table = _rows(level, first, xs)
    return tuple(map(tuple, table)) if several else table[0][0]


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The outputs, and v times the Jacobian; v has the shapes of the outputs, and may be left out for one number."""
    _not_strict(strict)
    with Level(create_graph) as level:
        xs, several_inputs = _variables("vjp", level, inputs)
        outs, several_outputs = _outputs("vjp", func(*xs))
        if v is None and (len(outs) != 1 or outs[0].numel() != 1):
            raise RuntimeError("vjp: v can be left out only where the function returns a single number")
        seeds = [_ones(outs[0])] if v is None else _vectors("vjp", v, outs, "output")
        grads = level.gradients(outs, xs, seeds)
        values = [level.result(x) for x in outs]
    return _joined(values, several_outputs), _joined(grads, several_inputs)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The outputs, and the Jacobian times v; v has the shapes of the inputs, and may be left out for one number."""
    _not_strict(strict)
    with Level(create_graph) as level:
        xs, _ = _variables("jvp", level, inputs)
        if v is None and (len(xs) != 1 or xs[0].numel() != 1):
            raise RuntimeError("jvp: v can be left out only where the input is a single number")
        along = [_ones(xs[0])] if v is None else _vectors("jvp", v, xs, "input")
        outs, several_outputs = _outputs("jvp", func(*xs))
        moved = level.pushed(outs, xs, along)
        values = [level.result(x) for x in outs]
    return _joined(values, several_outputs), _joined(moved, several_outputs)


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a function that returns a single number, and v times its Hessian."""
    return _products("vhp", func, inputs, v, create_graph, strict)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a function that returns a single number, and its Hessian times v, which is the same as ``vhp``.

    The Hessian is never made: it costs about two more walks back, however many numbers there are (Pearlmutter 1994).
    """
    return _products("hvp", func, inputs, v, create_graph, strict)


def _products(name: str, func: Any, inputs: Any, v: Any, create_graph: bool, strict: bool) -> tuple[Any, Any]:
    _not_strict(strict)
    with Level(create_graph) as level:
        xs, several = _variables(name, level, inputs)
        if v is None and (len(xs) != 1 or xs[0].numel() != 1):
            raise RuntimeError(f"{name}: v can be left out only where the input is a single number")
        along = [_ones(xs[0])] if v is None else _vectors(name, v, xs, "input")
        out = _single(name, func(*xs))
        first = level.gradients([out], xs, [_ones(out)], create_graph=True)
        second = level.gradients(first, xs, along)
        value = level.result(out)
    return value, _joined(second, several)


def _ones(x: Tensor) -> Tensor:
    return Tensor(np.ones(x.shape, x.dtype))


def _joined(tensors: Sequence[Tensor], several: bool) -> Any:
    return tuple(tensors) if several else tensors[0]


def _variables(name: str, level: Level, inputs: Any) -> tuple[list[Tensor], bool]:
    several = isinstance(inputs, tuple | list)
    return [level.variable(x) for x in _tensors(name, "input", inputs)], several


def _outputs(name: str, out: Any) -> tuple[list[Tensor], bool]:
    return _tensors(name, "output", out), isinstance(out, tuple | list)


def _tensors(name: str, what: str, given: Any) -> list[Tensor]:
    found = list(given) if isinstance(given, tuple | list) else [given]
    for x in found:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}: each {what} must be a tensor, or all a tuple of tensors, got a {type(x).__name__}"
            )
    return found


def _single(name: str, out: Any) -> Tensor:
    outs, _ = _outputs(name, out)
    if len(outs) != 1 or outs[0].numel() != 1:
        raise RuntimeError(f"{name}: the function must return a single number, not {[x.shape for x in outs]}")
    return outs[0]


def _vectors(name: str, v: Any, like: Sequence[Tensor], what: str) -> list[Tensor]:
    found = _tensors(name, "v", v)
    if len(found) != len(like):
        raise RuntimeError(f"{name}: v has {len(found)} tensors for {len(like)} {what}s")
    for i, (given, x) in enumerate(zip(found, like, strict=True)):
        if given.shape != x.shape:
            raise RuntimeError(f"{name}: v {i} has shape {given.shape}, the {what} {x.shape}")
    return found


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
