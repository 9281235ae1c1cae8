"""Classic mistakes of backpropagation, planted on purpose into a replay of a recorded run, to see where it goes wrong.

The engine has no switch for this. A replay runs the recorded ops again on the recorded arrays and walks back by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import unbroadcast
from minigrad.core.op import running
from minigrad.look.recording import Contribution, OpRecord, Recorder, StepRecord, summarize
from minigrad.ops import Array, Backward, Op

BUGS = {
    "overwrite": "a gradient replaces the one that arrived before, instead of being added to it",
    "depth-first": "a node goes on as soon as its first gradient arrives, not after the last",
    "no-unbroadcast": "the gradient of a broadcast input is not summed back to the shape of the input",
    "no-max-shift": "softmax does not subtract the largest score before exp, so large scores overflow",
    "no-scale": "the scores of attention are not divided by \u221aD",
}


@dataclass
class Judge:
    """Who is right about one element of a gradient: the slope of the loss there, by a central difference in float64."""

    tensor: int
    index: list[int]
    right: float
    wrong: float
    slope: float


@dataclass
class BugReport:
    """What a bug does to a recorded backward pass.

    ``order`` are the ops in the order the faulty engine takes them; at place ``parts`` its numbers are for the first
    time not those of the right engine at the same op (None: all agree). ``steps`` are the wrong steps from there on.
    ``error`` is what stopped the faulty engine early, if anything did. ``loss`` is the root's value, right and wrong
    (None where it is not one number).
    """

    name: str
    says: str
    order: list[int]
    parts: int | None = None
    steps: list[StepRecord] = field(default_factory=list)
    error: str | None = None
    judge: Judge | None = None
    loss: tuple[float, float] | None = None


def with_bug(
    name: str, recorder: Recorder, which: int = 0, most: int | None = None, right: Replay | None = None
) -> BugReport:
    """Backward pass number ``which`` of a live recording, done again with a bug from ``BUGS``.

    Of the wrong steps the first ``most`` are reported, all unless given. ``right`` is the same pass without a bug,
    where it has been replayed before. Raises ValueError for an unknown bug, and for a recording without arrays.
    """
    if name not in BUGS:
        raise ValueError(f"there is no bug {name!r}; choose one of {', '.join(BUGS)}")
    right = right or Replay(recorder, which).backward()
    wrong = Replay(recorder, which, bug=name).backward()
    by_op = {step.op: step for step in right.steps}
    parts = next((i for i, step in enumerate(wrong.steps) if _parts(by_op[step.op], step)), None)
    if parts is None and wrong.error is not None:
        parts = len(wrong.steps)
    report = BugReport(name, BUGS[name], [step.op for step in wrong.steps], parts, error=wrong.error)
    if parts is not None:
        end = None if most is None else parts + most
        report.steps = [step.record(recorder.limit) for step in wrong.steps[parts:end]]
        report.judge = _judge(recorder, which, right, wrong)
    if right.root_value.size == 1:
        report.loss = float(right.root_value.item()), float(wrong.root_value.item())
    return report


@dataclass
class _Arrival:
    """What a step sends to one input, as arrays: see ``trace.Contribution``."""

    tensor: int
    contribution: Array
    before: Array | None
    after: Array
    waiting: int


@dataclass
class ReplayStep:
    """One step of a replay, as arrays: see ``trace.StepRecord``."""

    op: int
    dz: Array
    grads: list[_Arrival | None] = field(default_factory=list)

    def record(self, limit: int) -> StepRecord:
        """The step as plain data."""

        def plain(g: _Arrival) -> Contribution:
            before = None if g.before is None else summarize(g.before, limit)
            after = summarize(g.after, limit)
            return Contribution(g.tensor, summarize(g.contribution, limit), before, after, g.waiting)

        return StepRecord(self.op, summarize(self.dz, limit), [None if g is None else plain(g) for g in self.grads])


class Replay:
    """The ops behind one backward pass of a live recording, run again: ``values`` by tensor id, ``backwards`` by op id.

    ``changed`` puts other arrays in the place of tensors; ``dtype`` casts the leaves. Raises ValueError for a recording
    without arrays.
    """

    def __init__(
        self,
        recorder: Recorder,
        which: int = 0,
        *,
        bug: str = "",
        changed: dict[int, Array] | None = None,
        dtype: Any = None,
    ) -> None:
        self.trace = recorder.trace
        self.bug = bug
        self.root = self.trace.passes[which].root
        self.seed = self.trace.passes[which].gradient
        self.order = self.trace.ancestors(self.root)
        if any(number not in recorder.calls for number in self.order):
            raise ValueError("this recording kept no arrays to replay: record the forward pass with trace(live=True)")
        self.values: dict[int, Array] = dict(changed or {})
        self.backwards: dict[int, Backward] = {}
        self.steps: list[ReplayStep] = []
        self.error: str | None = None
        self.gradients: dict[int, Array] = {}
        for number in self.order:
            op, given, constants = recorder.calls[number]
            record = self.trace.ops[number]
            inputs = []
            for slot, value in zip(record.inputs, given, strict=True):
                if "tensor" in slot:
                    value = self.values.get(slot["tensor"])
                    if value is None:
                        value = recorder.arrays[slot["tensor"]]
                        if dtype is not None and value.dtype.kind == "f":
                            value = value.astype(dtype)
                        self.values[slot["tensor"]] = value
                inputs.append(value)
            if bug:
                op, inputs, constants = self._planted(record, op, inputs, constants)
            with np.errstate(all="ignore"):
                z, self.backwards[number] = running(op)(*inputs, **constants)
            self.values.setdefault(record.output, np.asarray(z))

    @property
    def root_value(self) -> Array:
        """The value that backward starts from."""
        return self.values[self.root]

    def loss(self) -> float:
        """The root times the gradient that backward was given: the number whose slopes the gradients are."""
        return float(np.vdot(self.root_value, self.start()))

    def start(self) -> Array:
        """The gradient that backward was given. Raises ValueError where it is too large to be in the recording."""
        if self.seed.data is None:
            raise ValueError(f"the gradient given to backward, {self.seed.shape}, is too large for a replay")
        return np.array(self.seed.data, dtype=self.root_value.dtype).reshape(self.seed.shape)

    def backward(self) -> Replay:
        """Walk back, with the bug if there is one; fills ``steps`` and ``gradients``."""
        self.gradients = {self.root: self.start()}
        made_by = {t.id: t.made_by for t in self.trace.tensors}
        waiting: dict[int, int] = {}
        for number in self.order:
            for slot in self.trace.ops[number].inputs:
                if "tensor" in slot:
                    waiting[slot["tensor"]] = waiting.get(slot["tensor"], 0) + 1
        stack = [self.order[-1]] if self.bug == "depth-first" else self.order[:]
        done: set[int] = set()
        while stack:
            number = stack.pop()
            if number in done or self.trace.ops[number].output not in self.gradients:
                continue
            done.add(number)
            try:
                step = self._step(number, waiting)
            except (ValueError, TypeError, IndexError) as error:
                self.error = f"{self.trace.ops[number].op} stops with an error: {error}"
                break
            self.steps.append(step)
            if self.bug == "depth-first":
                reached = [made_by[g.tensor] for g in step.grads if g is not None]
                stack += [n for n in reversed(reached) if n is not None]
        return self

    def _planted(
        self, record: OpRecord, op: Op, inputs: list[Any], constants: dict[str, Any]
    ) -> tuple[Op, list[Any], dict[str, Any]]:
        """An op and what it is given, with the fault in it where the bug is one of the forward pass."""
        if self.bug == "no-scale":
            if op is ops.scaled_dot_product_attention:
                constants = {**constants, "scale": 1.0}
            elif op in (ops.mul, ops.div) and self._is_attention_scale(record, inputs):
                inputs = [x if "tensor" in slot else 1.0 for slot, x in zip(record.inputs, inputs, strict=True)]
        if self.bug == "no-max-shift":
            if op in (ops.softmax, ops.log_softmax, ops.cross_entropy):
                op = _unshifted(op)
            elif op is ops.scaled_dot_product_attention:
                op = _unshifted_attention
        return op, inputs, constants

    def _is_attention_scale(self, record: OpRecord, inputs: list[Any]) -> bool:
        """Whether a product or quotient is the one of hand-written attention: query @ keyᵀ with the number √D."""
        numbers = [x for slot, x in zip(record.inputs, inputs, strict=True) if "tensor" not in slot]
        made_by = [self.trace.tensors[slot["tensor"]].made_by for slot in record.inputs if "tensor" in slot]
        if len(numbers) != 1 or made_by[0] is None or self.trace.ops[made_by[0]].op != "matmul":
            return False
        size = self.values[self.trace.ops[made_by[0]].inputs[0]["tensor"]].shape[-1]
        fits = any(math.isclose(numbers[0], size**power, rel_tol=1e-3) for power in (0.5, -0.5))
        return fits and size > 1 and any(o.op == "softmax" for o in self.trace.ops)

    def _step(self, number: int, waiting: dict[int, int]) -> ReplayStep:
        record = self.trace.ops[number]
        dz = self.gradients[record.output]
        step = ReplayStep(number, dz)
        with np.errstate(all="ignore"):
            raw = self.backwards[number](dz)
        for slot, dx in zip(record.inputs, raw, strict=False):
            if dx is None or "tensor" not in slot or self.trace.tensors[slot["tensor"]].kind == "constant":
                step.grads.append(None)
                continue
            tensor = slot["tensor"]
            if self.bug != "no-unbroadcast":
                dx = unbroadcast(dx, self.values[tensor].shape)
            dx = dx.astype(self.values[tensor].dtype, copy=False)
            before = self.gradients.get(tensor)
            after = dx if before is None or self.bug == "overwrite" else np.asarray(before + dx)
            self.gradients[tensor] = after
            waiting[tensor] -= 1
            step.grads.append(_Arrival(tensor, dx, before, after, waiting[tensor]))
        return step


def _unshifted(op: Op) -> Op:
    """softmax, and what is made of it, from exp(x) as it is.

    What is given to the op is log(exp(x) / sum exp(x)): the same softmax, or nan where exp overflows.
    """

    def faulty(x: Array, **constants: Any) -> tuple[Array, Backward]:
        axis = constants.get("axis", -1 if op is not ops.cross_entropy or x.ndim == 1 else 1)
        e = np.exp(x)
        return op(np.log(e / e.sum(axis, keepdims=True)), **constants)

    return faulty


def _unshifted_attention(
    query: Array, key: Array, value: Array, bias: Array | None = None, **constants: Any
) -> tuple[Array, Backward]:
    """Attention whose rows are nan where the exp of a score overflows, or where all underflow."""
    scale = constants.get("scale") or 1 / math.sqrt(query.shape[-1])
    s = scale * (query @ key.swapaxes(-1, -2))
    s = s if bias is None else s + bias
    if constants.get("is_causal"):
        s = np.where(np.tri(*s.shape[-2:]) == 0, -np.inf, s)
    if constants.get("mask") is not None:
        s = np.where(constants["mask"], s, -np.inf)
    total = np.exp(s).sum(-1, keepdims=True)
    spoilt = np.where((total > 0) & np.isfinite(total), 1, np.nan).astype(query.dtype)
    z, backward = ops.scaled_dot_product_attention(query, key, value, bias, **constants)
    return z * spoilt, lambda dz: backward(dz * spoilt)


def _parts(right: ReplayStep, wrong: ReplayStep) -> bool:
    """Whether a step goes wrong: a gradient or a contribution differs, or the sum does after the same beginning."""
    size = float(np.abs(right.dz).sum(where=np.isfinite(right.dz)))
    noise = 16 * _precision(right.dz) * size  # of sums that cancel to nothing
    if _differ(right.dz, wrong.dz):
        return True
    for a, b in zip(right.grads, wrong.grads, strict=True):
        if a is None or b is None:
            continue
        if _differ(a.contribution, b.contribution, noise):
            return True
        if a.before is None or b.before is None:
            same_before = a.before is b.before
        else:
            same_before = not _differ(a.before, b.before, noise)
        if same_before and _differ(a.after, b.after, noise):
            return True
    return False


def _precision(a: Array) -> float:
    return float(np.finfo(a.dtype).eps) if a.dtype.kind == "f" else 0.0


def _differ(a: Array, b: Array, noise: float = 0.0) -> bool:
    """Whether two arrays differ by more than rounding; the same infinity is no difference."""
    if a.shape != b.shape:
        return True
    allowed = math.sqrt(_precision(a)) * float(np.max(np.abs(a), initial=0, where=np.isfinite(a))) + noise
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a - b) > allowed
    return bool(np.any(apart)) or bool(np.any(np.isnan(a) != np.isnan(b)))


def _judge(recorder: Recorder, which: int, right: Replay, wrong: Replay) -> Judge | None:
    """The finite difference at the element that the bug got most wrong, of a leaf if any is wrong."""
    kinds = {t.id: t.kind for t in right.trace.tensors}
    candidates = [t for t in right.gradients if t in wrong.gradients and t != right.root]
    candidates = [t for t in candidates if _differ(right.gradients[t], wrong.gradients[t])]
    leaves = [t for t in candidates if kinds[t] != "result"]
    worst: tuple[float, int, tuple[int, ...]] | None = None
    for tensor in leaves or candidates:
        a, b = right.gradients[tensor], wrong.gradients[tensor]
        b = b[(0,) * (b.ndim - a.ndim)]  # where not summed, the first of what should have been
        b = b[tuple(slice(0, n) for n in a.shape)]
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.where(a == b, 0, np.nan_to_num(np.abs(a - b), nan=np.inf))
        where = np.unravel_index(int(gap.argmax()), a.shape)
        if worst is None or gap[where] > worst[0]:
            worst = float(gap[where]), tensor, tuple(int(i) for i in where)
    if worst is None:
        return None
    _, tensor, place = worst
    value = right.values[tensor].astype(np.float64)
    epsilon = 1e-5 * max(1.0, abs(float(value[place])))
    losses = []
    for sign in (1, -1):
        moved = value.copy()
        moved[place] += sign * epsilon
        losses.append(Replay(recorder, which, dtype=np.float64, changed={tensor: moved}).loss())
    wrong_gradient = wrong.gradients[tensor]
    there = (0,) * (wrong_gradient.ndim - len(place)) + place
    return Judge(
        tensor,
        list(place),
        float(right.gradients[tensor][place]),
        float(wrong_gradient[there]),
        (losses[0] - losses[1]) / (2 * epsilon),
    )
