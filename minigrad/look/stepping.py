"""One backward pass, step by step: a position that goes forwards and back, breakpoints, and finite differences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.graph import Step
from minigrad.core.op import running
from minigrad.look.differences import Comparison, Differences, magnitude, slope, step_for, weighted
from minigrad.look.recording import Recorder, StepRecord
from minigrad.ops import Array

HUGE = 1e7  # beside a number of this size a step is no longer small
VERIFIED = 64  # elements of one input that ``verify`` compares, chosen by a fixed seed where there are more


@dataclass(frozen=True)
class Breakpoint:
    """Where to stop: an op, a module, a parameter or other tensor, a source line, a bad or a big number."""

    kind: str  # "op", "module", "tensor", "line", "nonfinite", "norm"
    value: str = ""

    def __str__(self) -> str:
        return {"nonfinite": "a number that is not finite", "norm": f"gradient norm over {self.value}"}.get(
            self.kind, f"{self.kind} {self.value}"
        )


@dataclass(frozen=True)
class Verification:
    """One input of an op: whether the gradient that the run gave it is the slope, and where it is farthest from it.

    ``unknown`` of the ``checked`` elements cannot be told: the function is not finite there, or next to there.
    """

    name: str
    checked: int
    size: int
    difference: float
    index: tuple[int, ...]
    analytic: float
    numeric: float
    agrees: bool
    unknown: int = 0


class Stepper:
    """One backward pass, at a position: 0 is before the first step. Steps already made can be looked at again."""

    def __init__(self, recorder: Recorder, steps: Iterator[Step]) -> None:
        self.recorder = recorder
        self.trace = recorder.trace
        self.steps = steps
        self.position = 0
        self.finished = False
        self.breakpoints: list[Breakpoint] = []
        self.total = len(self.trace.ancestors(self.trace.passes[-1].root))

    @property
    def made(self) -> list[StepRecord]:
        """The steps that have been made so far."""
        return self.trace.passes[-1].steps

    @property
    def current(self) -> StepRecord | None:
        """The step we stand at; None before the first."""
        return self.made[self.position - 1] if self.position else None

    def forward(self) -> bool:
        """Go one step on, making it if it has not been made; False at the end."""
        if self.position == len(self.made):
            for step in self.steps:
                if self.recorder.step(step) is not None:
                    break
            else:
                self.finished = True
                return False
        self.position += 1
        return True

    def back(self) -> bool:
        """Look at the step before; nothing is undone. False at the start."""
        if self.position == 0:
            return False
        self.position -= 1
        return True

    def next_module(self) -> bool:
        """Go on to the first step of another module; False at the end."""
        here = self.module()
        while self.forward():
            if self.module() != here:
                return True
        return False

    def to_break(self) -> Breakpoint | None:
        """Go on to a breakpoint, which is returned, or to the end."""
        while self.forward():
            for point in self.breakpoints:
                if self.hits(point):
                    return point
        return None

    def module(self) -> str:
        """The module of the current step."""
        return "" if self.current is None else self.trace.ops[self.current.op].module

    def hits(self, point: Breakpoint) -> bool:
        """Whether the current step is where a breakpoint wants to stop."""
        step = self.current
        assert step is not None
        op = self.trace.ops[step.op]
        given = [g for g in step.grads if g is not None]
        if point.kind == "op":
            return op.op == point.value
        if point.kind == "module":
            return op.module == point.value or op.module.startswith(point.value + ".")
        if point.kind == "tensor":
            return any(self.trace.label(g.tensor) == point.value for g in given)
        if point.kind == "line":
            file, _, line = point.value.rpartition(":")
            return op.source is not None and op.source.line == int(line) and op.source.file.endswith(file)
        if point.kind == "nonfinite":
            return bool(step.dz.nonfinite) or any(g.contribution.nonfinite for g in given)
        seen = (step.dz, *(g.contribution for g in given))  # an infinity or nan is over every limit
        return any(s.nonfinite or (s.norm or 0) > float(point.value) for s in seen)

    def breakpoint_for(self, text: str) -> Breakpoint:
        """What a user means by ``matmul``, ``blocks.0.attention``, ``head.weight``, ``41``, ``model.py:41``, ``nan``,
        ``norm > 10``. Raises ValueError for what nothing in this pass can hit."""
        text = text.strip()
        size = re.fullmatch(r"norm\s*>\s*([0-9.eE+-]+)", text)
        if size:
            return Breakpoint("norm", str(float(size[1])))
        if text in ("nan", "inf", "nonfinite"):
            return Breakpoint("nonfinite")
        used = [self.trace.ops[i] for i in self.trace.ancestors(self.trace.passes[-1].root)]
        if re.fullmatch(r"(.*:)?\d+", text):
            point = Breakpoint("line", text if ":" in text else f":{text}")
            file, _, line = point.value.rpartition(":")
            if not any(o.source and o.source.line == int(line) and o.source.file.endswith(file) for o in used):
                raise ValueError(f"no op of this backward pass was made on line {text}")
            return point
        if any(o.op == text for o in used):
            return Breakpoint("op", text)
        labels = {self.trace.label(i["tensor"]) for o in used for i in o.inputs if "tensor" in i}
        if text in labels:
            return Breakpoint("tensor", text)
        if any(o.module == text or o.module.startswith(text + ".") for o in used):
            return Breakpoint("module", text)
        raise ValueError(f"{text!r} is no op, module, tensor or line of this backward pass")

    def verify(self) -> list[Verification]:
        """Compare what the run computed in the current step with central differences, for each input with a gradient.

        The differences are of the function that runs for the op, in float64, weighted with the step's own cotangent.
        Raises ValueError where the arrays of the forward pass were not recorded.
        """
        step = self.current
        if step is None:
            raise ValueError("there is no step to verify yet: s makes one")
        if step.op not in self.recorder.calls:
            raise ValueError("the inputs of this op were not recorded: run it under `python -m minigrad step`")
        op, given, constants = self.recorder.calls[step.op]
        record, inputs = self.trace.ops[step.op], [_raised(x) for x in given]
        z, dz = self.recorder.arrays[record.output], self.recorder.upstream[step.op]
        tame = all((np.abs(x) < 1e15).all() for x in inputs if isinstance(x, np.ndarray | float) and np.size(x))
        undefined = bool((dz[~np.isfinite(z)] != 0).any())  # the loss follows an output that is not finite

        def total() -> float:
            return weighted([dz], [np.asarray(running(op)(*inputs, **constants)[0], dtype=np.float64)])

        found = []
        for slot, x, arrival in zip(record.inputs, inputs, self.recorder.arrived[step.op], strict=False):
            wanted = "tensor" in slot and self.trace.tensors[slot["tensor"]].kind != "constant"
            if wanted and isinstance(x, np.ndarray) and x.dtype.kind == "f":
                dx = np.zeros(x.shape, z.dtype) if arrival is None else arrival.contribution
                with np.errstate(all="ignore"):
                    found.append(_verified(self.trace.label(slot["tensor"]), total, x, dx, z, dz, undefined, tame))
        return found


def _raised(x: Any) -> Any:
    """A floating array as a float64 copy of its own; anything else as it is."""
    return x.astype(np.float64, order="C") if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def _verified(
    name: str, total: Callable[[], float], x: Array, dx: Array, z: Array, dz: Array, undefined: bool, tame: bool
) -> Verification:
    """The gradient dx of a run against the slopes of ``total``, as closely as the dtype of the run can tell.

    They cannot tell where a result that matters is not finite (``undefined``), beside an input that is not finite or
    astronomic (not ``tame``), at huge numbers, and where a smaller step gives another slope.
    """
    epsilon = float(np.finfo(dx.dtype).eps)
    rtol = max(1e-6, math.sqrt(epsilon))
    atol = rtol * float(np.abs(dx).max(initial=0, where=np.isfinite(dx))) + 4 * epsilon * float(np.abs(dz).sum())
    differences = Differences(step_for(np.float64), atol, rtol, np.random.default_rng(0))
    c = Comparison(name, x.copy(), dx, atol, rtol)
    differences.compare(c, total, x, VERIFIED, magnitude([dz], [z]))
    beyond = ~(np.abs(c.numeric) <= np.finfo(dx.dtype).max)  # nan, or more than the dtype of the run can hold
    astronomic = ~(np.abs(c.analytic) < 1e15) & (not tame)
    doubtful = beyond | undefined | astronomic | (np.abs(x) > HUGE)
    unknown = np.array((c.wrong & doubtful) | (c.checked & beyond))
    noise = 7 * differences.rounding(np.float64, magnitude([dz], [z]))
    for place in zip(*np.nonzero(np.atleast_1d(c.wrong & ~unknown)), strict=True):
        at = place if x.shape else ()
        small = abs(float(x[at])) < differences.eps
        nearer = slope(total, x, at, abs(float(x[at])) / 7 if small and x[at] else differences.eps / 7).central
        unknown[at] = not abs(nearer - c.numeric[at]) <= (0 if small else noise) + 1e-3 * abs(nearer)
    wrong = c.wrong & ~unknown
    among = wrong if wrong.any() else c.checked & ~unknown & ~c.kink
    among = among if among.any() else c.checked
    if not among.any():  # an empty input, or one that is infinite throughout
        return Verification(name, 0, x.size, 0.0, (), 0.0, 0.0, agrees=x.size == 0)
    at = np.unravel_index(int(np.where(among, c.error(), -1).argmax()), x.shape)
    known = int(c.checked.sum() - unknown.sum())
    return Verification(
        name,
        int(c.checked.sum()),
        x.size,
        float(c.error()[at]),
        tuple(int(i) for i in at),
        float(c.analytic[at]),
        float(c.numeric[at]),
        agrees=known > 0 and not wrong.any(),
        unknown=int(unknown.sum()),
    )
