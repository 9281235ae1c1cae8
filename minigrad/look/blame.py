"""The walk from a wrong gradient to its origin: the first op whose own backward is wrong, or a value that lost it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.graph import state, unbroadcast
from minigrad.core.op import Array, running
from minigrad.core.tensor import Tensor
from minigrad.look.calls import Call
from minigrad.look.diagnosis import diagnose, rounding
from minigrad.look.differences import Comparison, Differences, magnitude, sizes, weighted
from minigrad.look.suspects import Suspects
from minigrad.look.texts import index
from minigrad.ops import formulas

OP_ELEMENTS = 2000  # checked of each operand of an op under suspicion


@dataclass
class Kept(Call):
    """An op with copies of its inputs, to run it again, and its result, to find who used it."""

    copies: list[Any]
    z: Array


def record(run: Callable[[], Any]) -> list[Kept]:
    """The ops of one run, in order."""
    calls: list[Kept] = []

    def note(op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        copies = [x._array.copy() if isinstance(x, Tensor) else x for x in inputs]
        calls.append(Kept.of(op, inputs, constants, out, copies=copies, z=out._array))

    before, state.observer = state.observer, note
    try:
        run()
    finally:
        state.observer = before
    return [call for call in calls if call.z.dtype.kind == "f"]


def first_wrong(calls: list[Kept], differences: Differences) -> list[str]:
    """The first op whose own backward is wrong: its formulas, the user's line, and what is wrong. Empty if none is."""
    for call in calls:
        complaints, _ = check_op(call, differences) if call.recorded else ([], [])
        if complaints:
            shown = [f"      {line}" for line in formulas(call.op)]
            return [f"the first wrong op is {call}", *shown, *([str(call.line)] if call.line else []), *complaints]
    return []


def check_op(call: Kept, differences: Differences) -> tuple[list[str], list[Comparison]]:
    """What is wrong with the backward of one op, checked alone on the inputs it had; and the operands at a kink."""
    op = _Alone(call, differences)
    try:
        compared = [op.compare(i, dx) for i, dx in op.gradients() if dx is None or not op.agrees(i, dx)]
    except _Unusable as error:
        return [f"  {error}"], []
    wrong = [c for c in compared if c.wrong.any() and not rounding(c)]
    for c in wrong:
        c.others = [other for other in wrong if other is not c]
    complaints = [line for c in wrong for line in (f"  {worst_line(c)}", f"    {diagnose(c)}")]
    return complaints, [c for c in compared if c.kink.any() and not c.wrong.any()]


def broadcast_notes(calls: list[Kept], differences: Differences) -> list[str]:
    """Where an op of the user's gives an input that was broadcast a gradient of the result's shape: a sentence each."""
    found: dict[str, None] = {}
    for call in calls:
        if call.recorded and not call.op.__module__.startswith("minigrad.") and "function" not in call.constants:
            alone = _Alone(call, differences)
            for i, dx in alone.gradients():
                shape = np.shape(call.copies[i])
                if dx is not None and dx.shape != shape:
                    text = f"{call} gives {call.names[i]} {shape} a gradient of shape {dx.shape}: the engine sums"
                    found[f"{text} it over what was broadcast; by hand, sum it"] = None
    return list(found)


class _Unusable(Exception):
    """A backward whose result cannot be compared."""


class _Alone:
    """One op by itself, on float64 copies of the inputs it had."""

    def __init__(self, call: Kept, differences: Differences) -> None:
        self.call, self.differences = call, differences
        self.arrays = [
            x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in call.copies
        ]
        z, self.backward = self.run()
        self.z = np.asarray(z)
        self.weights = differences.weights(self.z.shape)

    def run(self) -> tuple[Any, Any]:
        return running(self.call.op)(*self.arrays, **self.call.constants)

    def total(self) -> float:
        return weighted([self.weights], [self.run()[0]])

    def gradients(self) -> list[tuple[int, Array | None]]:
        """What backward gives, as it gives it, to each input that wants a gradient."""
        dz = self.weights.astype(self.z.dtype)
        dz.flags.writeable = False
        try:
            grads = self.backward(dz)
        except Exception as error:
            raise _Unusable(f"its backward raises {type(error).__name__}: {error}") from error
        if not isinstance(grads, tuple | list):
            raise _Unusable(f"its backward returns {type(grads).__name__}, not a tuple: one gradient for each input")
        if len(grads) < len(self.arrays):
            raise _Unusable(f"its backward gives {len(grads)} gradients for {len(self.arrays)} inputs")
        given = [None if dx is None else np.asarray(dx) for dx in grads]
        return [(i, given[i]) for i, wanted in enumerate(self.call.wanted) if wanted]

    def summed(self, i: int, dx: Array) -> Array:
        """The gradient as the engine sums it back over broadcast axes."""
        try:
            return unbroadcast(dx, self.arrays[i].shape)
        except ValueError as error:
            raise _Unusable(f"{self.call.names[i]}: {error}") from error

    def agrees(self, i: int, dx: Array) -> bool:
        return self.differences.agrees(self.total, self.arrays[i], self.summed(i, dx))

    def compare(self, i: int, dx: Array | None) -> Comparison:
        names, x, differences = self.call.names, self.arrays[i], self.differences
        given = None if dx is None else self.summed(i, dx)
        c = Comparison(names[i], x.copy(), given, differences.atol, differences.rtol)
        c.dtype = None if dx is None else dx.dtype
        size = magnitude([self.weights], [self.z])
        c.precision, c.resolution = self.z.dtype, differences.rounding(self.z.dtype, size)
        c.outputs = self.z.shape
        c.sizes += sizes(self.z.shape, " of the output")
        for j, y in enumerate(self.arrays):
            c.sizes += sizes(y.shape, f" of {names[j]}") if j != i and isinstance(y, np.ndarray) else []

        def share(mask: Array) -> Array:
            part, masked = Comparison("", x, None, differences.atol, differences.rtol), self.weights * mask
            return differences.compare(part, lambda: weighted([masked], [self.run()[0]]), x, None, 0).numeric

        c.share = share if x.size <= OP_ELEMENTS else None
        op, constants = self.call.op, self.call.constants  # the definition, which can be followed
        function = constants.get("function")  # a Function, whose forward is written with tensors
        suspects = Suspects(
            lambda *arrays: op(*arrays, **constants)[0], self.arrays, names, self.weights,
            on_tensors=None if function is None else lambda *given: _forward(function, given),
        )  # fmt: skip
        c.suspects = lambda: suspects.name(i, c.analytic, c.checked)
        return differences.compare(c, self.total, x, OP_ELEMENTS, size)


def _forward(function: Any, given: Sequence[Any]) -> Any:
    """What the forward of a Function returns, in the graph."""
    return function.forward(*given) if "setup_context" in vars(function) else function.forward(_Context(), *given)


class _Context:
    """Takes what a forward wants to keep, and forgets it."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def worst_line(c: Comparison) -> str:
    """The operand and its worst element: both numbers and their ratio."""
    at = c.worst()
    found, numeric = c.analytic[at] + 0.0, c.numeric[at]  # + 0: no -0
    ratio = f", ratio {found / numeric + 0.0:.5g}" if numeric and np.isfinite(found / numeric) else ""
    kink = f"; kink (slopes {c.left[at]:.6g} and {c.right[at]:.6g})" if c.kink[at] else ""
    return f"{c.name}{index(at)}: backward says {found:.6g}, finite difference {numeric:.6g}{ratio}{kink}"


def elsewhere(calls: list[Kept], run: Callable[[], Any], operands: Sequence[Array], differences: Differences) -> str:
    """What may be wrong where every op is right: a value that lost its gradient, ops at a kink, or what no op sees."""
    leak = _leak(calls, run, operands, differences)
    kinks = dict.fromkeys(str(call) for call in calls if call.recorded and check_op(call, differences)[1])
    what = "so the fault is outside of them: a hook, a write to .data, or values that left the graph"
    if leak:
        what = leak
    elif kinks:
        what = f"but at a kink each picks one of its slopes: {', '.join(kinks)}; check it at another input"
    return f"every op is right by itself, {what}"


def _leak(calls: list[Kept], run: Callable[[], Any], operands: Sequence[Array], differences: Differences) -> str:
    """Where a value goes on without its gradient: it moves when the operands are moved."""
    before = [x.copy() for x in operands]
    try:
        for x in operands:
            x += 1e-4 * differences.rng.uniform(0.5, 1, x.shape) * np.where(np.isfinite(x), 1 + np.abs(x), 0)
        moved = record(run)
    finally:
        for x, values in zip(operands, before, strict=True):
            x[...] = values
    none_recorded = not any(call.recorded for call in calls)  # nothing that is returned carries a gradient
    for call, other in zip(calls, moved, strict=False):
        if call.op is not other.op:
            return ""
        parts = [*zip(call.names, call.copies, other.copies, call.wanted, call.inputs, strict=True)]
        parts += [(f"its {name}", x, other.constants.get(name), False, None) for name, x in call.constants.items()]
        for name, x, y, wanted, source in parts:
            if (call.recorded or none_recorded) and not wanted and _differ(x, y):
                how = _lost(source, calls) or "as after detach(), .data, numpy() or item()"
                line = f"\n{call.line}" if call.line else ""
                return f"but {name} of {call} follows the inputs without carrying a gradient, {how}{line}"
    return ""


def _lost(array: Any, calls: list[Kept]) -> str:
    """Where the gradient was lost of an array that an op made; nothing if none of these did."""
    made = next((call for call in calls if call.z is array), None)
    if made is None:
        return ""
    if made.recorded or any(made.wanted):
        return f"being made of the result of {made}, {'detached' if made.recorded else 'under no_grad()'}"
    return next((how for source in made.inputs if (how := _lost(source, calls))), "")


def _differ(x: Any, y: Any) -> bool:
    """Whether two floats or float arrays differ."""
    is_float = isinstance(x, float) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")
    return is_float and not np.array_equal(x, y, equal_nan=True)
