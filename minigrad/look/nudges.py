"""What a gradient promises, held against what really happens: a number of a leaf is moved, and the loss run again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigrad.core.op import running
from minigrad.look.recording import Recorder
from minigrad.look.replay import Replay
from minigrad.look.spelled import figure
from minigrad.ops import Array

POINTS = 5  # on each side of a curve
ELEMENTS = 64  # of a leaf: those with the largest gradients
WORK = 150_000  # ops to run again for all the curves of a page; an op on many numbers counts more


@dataclass
class Nudge:
    """One element of a leaf: ``losses`` are at ``value`` + k * ``step`` for k from -POINTS to POINTS."""

    tensor: int
    index: list[int]
    value: float
    gradient: float
    step: float
    losses: list[float]


class Rerun:
    """The ops behind a backward pass, run forward again in float64 from a changed leaf: only those that depend on it.

    Raises ValueError for a recording without arrays.
    """

    def __init__(self, recorder: Recorder, which: int = 0) -> None:
        self.recorder = recorder
        self.base = Replay(recorder, which, dtype=np.float64)
        self.cotangent = self.base.start().astype(np.float64)
        self._after: dict[int, list[int]] = {}  # by tensor

    def after(self, tensor: int) -> list[int]:
        """The ops that a tensor has an influence on, in order."""
        if tensor not in self._after:
            reached, found = {tensor}, []
            for number in self.base.order:
                record = self.base.trace.ops[number]
                if any(slot.get("tensor") in reached for slot in record.inputs):
                    reached.add(record.output)
                    found.append(number)
            self._after[tensor] = found
        return self._after[tensor]

    def work(self, tensor: int) -> float:
        """How much one run costs, in small ops."""
        outputs = (self.base.values[self.base.trace.ops[number].output].size for number in self.after(tensor))
        return sum(1 + size / 2000 for size in outputs)

    def loss(self, tensor: int, value: Array) -> float:
        """The loss with this value in the place of a tensor's."""
        values = {tensor: value}
        for number in self.after(tensor):
            op, given, constants = self.recorder.calls[number]
            record = self.base.trace.ops[number]
            inputs = [
                values.get(slot["tensor"], self.base.values[slot["tensor"]]) if "tensor" in slot else x
                for slot, x in zip(record.inputs, given, strict=True)
            ]
            with np.errstate(all="ignore"):
                values[record.output] = np.asarray(running(op)(*inputs, **constants)[0])
        return float(np.vdot(values.get(self.base.root, self.base.root_value), self.cotangent))

    def moved(self, tensor: int, place: tuple[int, ...], by: float) -> float:
        """The loss with one element moved."""
        value = self.base.values[tensor].astype(np.float64)
        value[place] += by
        return self.loss(tensor, value)

    def nudge(self, tensor: int, place: tuple[int, ...], gradient: float) -> Nudge:
        """The loss over one element."""
        x = self.base.values[tensor]
        step = step_of(x, place)
        losses = [self.moved(tensor, place, k * step) for k in range(-POINTS, POINTS + 1)]
        return Nudge(tensor, [int(i) for i in place], float(x[place]), gradient, step, losses)


def step_of(x: Array, place: tuple[int, ...]) -> float:
    """A round step that is a tenth or less of the number, or, of a small one, of the usual size in its array."""
    finite = x[np.isfinite(x)]
    size = max(abs(float(x[place])), math.sqrt(float(np.mean(finite * finite))) if finite.size else 0.0)
    return float(10.0 ** (math.floor(math.log10(size)) - 1)) if 0 < size < math.inf else 0.1


def explore(recorder: Recorder, gradients: dict[int, Array], which: int = 0) -> list[Nudge]:
    """Of each leaf the elements with the largest gradients, as many as the work allows; in the order of tensors."""
    rerun = Rerun(recorder, which)
    kinds = recorder.trace.tensors
    leaves = [t for t in gradients if kinds[t].kind in ("parameter", "leaf") and t in rerun.base.values]
    leaves = [t for t in leaves if rerun.base.values[t].dtype.kind == "f" and gradients[t].size]
    found: list[Nudge] = []
    left = float(WORK)
    rounds = {t: _largest(gradients[t]) for t in leaves}
    for _ in range(ELEMENTS):
        for tensor in leaves:
            place = next(rounds[tensor], None)
            cost = rerun.work(tensor) * 2 * POINTS
            if place is None or cost > left:
                continue
            left -= cost
            found.append(rerun.nudge(tensor, place, float(gradients[tensor][place])))
    return sorted(found, key=lambda nudge: nudge.tensor)


def _largest(gradient: Array) -> Iterator[tuple[int, ...]]:
    """The places of a gradient, from the largest on; what is not finite cannot be held against anything."""
    size = np.where(np.isfinite(gradient), np.abs(gradient), -1).ravel()
    most = min(ELEMENTS, size.size)
    first = np.argpartition(-size, most - 1)[:most]
    for flat in first[np.argsort(-size[first], kind="stable")]:
        if size[flat] >= 0:
            yield tuple(int(i) for i in np.unravel_index(int(flat), gradient.shape))


def promise(name: str, value: float, by: float, gradient: float, before: float, after: float) -> str:
    """``w1 from -3 to -2.9: the gradient promises +0.1, really +0.0866``."""
    promised, really = gradient * by, after - before
    signs = [f"{'+' if x >= 0 else ''}{figure(x)}" for x in (promised, really)]
    return f"{name} from {figure(value)} to {figure(value + by)}: the gradient promises {signs[0]}, really {signs[1]}"
