"""Classic mistakes of backpropagation, planted on purpose into a replay of a recorded run, to see where it goes wrong.

The engine has no switch for this. A mistake is a ``Replay`` that gets one thing wrong: what runs in the forward pass
(``planted``), the order back (``walk``), what an op gives to its inputs (``contributions``), or how that is added up
(``add``). To plant another one, write such a class and enter it into BUGS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node, Step
from minigrad.look.differences import slope, step_for
from minigrad.look.recording import OpRecord, Recorder, StepRecord
from minigrad.look.replay import Replay, ReplayStep
from minigrad.ops import Array, Backward, Op


class Mistake(Replay):
    """A replay with a fault; ``says`` is the fault in a sentence."""

    says: ClassVar[str]

    def goes_wrong(self, right: ReplayStep, wrong: ReplayStep) -> bool:
        """Whether it is this step that goes wrong, beside what its numbers tell."""
        return False


class OneByOne(Mistake):
    """A walk that takes the ops one by one, newest first, with whatever gradient each has by then."""

    def walk(self) -> Iterator[Step]:
        for number in reversed(self.order):
            if self.trace.ops[number].output in self.gradients:
                yield self.alone(number)


class Overwrite(OneByOne):
    says = "a gradient replaces the one that arrived before, instead of being added to it"

    def add(self, before: Array, dx: Array) -> Array:
        return dx


class DepthFirst(Mistake):
    says = "a node goes on as soon as its first gradient arrives, not after the last"

    def walk(self) -> Iterator[Step]:
        stack, done = self.order[-1:], set()
        while stack:
            number = stack.pop()
            if number not in done:
                done.add(number)
                step = self.alone(number)
                yield step
                reached = zip(step.node.parents, step.grads, strict=False)
                stack += [self.numbers[p] for p, dx in reached if dx is not None and p in self.numbers][::-1]


class NoUnbroadcast(OneByOne):
    says = "the gradient of a broadcast input is not summed back to the shape of the input"

    def contributions(self, node: Node, dz: Array) -> Step:
        grads = zip(node.parents, self.backwards[self.numbers[node]](dz), strict=False)
        return Step(node, dz, tuple(None if p is None or dx is None else dx.astype(p.dtype) for p, dx in grads))


class NoMaxShift(Mistake):
    says = "softmax does not subtract the largest score before exp, so large scores overflow"

    def planted(
        self, record: OpRecord, op: Op, inputs: list[Any], constants: dict[str, Any]
    ) -> tuple[Op, list[Any], dict[str, Any]]:
        if op in (ops.softmax, ops.log_softmax, ops.cross_entropy):
            op = _unshifted(op)
        elif op is ops.scaled_dot_product_attention:
            op = _unshifted_attention
        return op, inputs, constants


class NoScale(Mistake):
    says = "the scores of attention are not divided by \u221aD"

    def planted(
        self, record: OpRecord, op: Op, inputs: list[Any], constants: dict[str, Any]
    ) -> tuple[Op, list[Any], dict[str, Any]]:
        if op is ops.scaled_dot_product_attention:
            constants = {**constants, "scale": 1.0}
        elif op in (ops.mul, ops.div) and self._is_attention_scale(record, inputs):
            inputs = [x if "tensor" in slot else 1.0 for slot, x in zip(record.inputs, inputs, strict=True)]
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


class NotZeroed(Mistake):
    says = "zero_grad() was forgotten: the gradients of an earlier pass like this one are still there, and are added to"

    def backward(self) -> Replay:
        leaves = {t for t, node in self._ends.items() if node is not None and self.trace.tensors[t].made_by is None}
        before = Replay(self.recorder, self.which).backward().gradients
        self.gradients |= {t: before[t].copy() for t in leaves if t in before}
        return super().backward()

    def goes_wrong(self, right: ReplayStep, wrong: ReplayStep) -> bool:
        leaves = [g for g in wrong.grads if g is not None and self.trace.tensors[g.tensor].made_by is None]
        return any(g.before is not None and g.before.any() for g in leaves)


class WrongAxis(Mistake):
    says = "softmax is taken over the axis before the right one: the columns sum to 1, not the rows"

    def planted(
        self, record: OpRecord, op: Op, inputs: list[Any], constants: dict[str, Any]
    ) -> tuple[Op, list[Any], dict[str, Any]]:
        if op in (ops.softmax, ops.log_softmax) and np.ndim(inputs[0]) > 1:
            axis = constants.get("axis", -1) % np.ndim(inputs[0])
            constants = {**constants, "axis": axis - 1 if axis else 1}
        return op, inputs, constants


class MaskAfterSoftmax(Mistake):
    says = "the mask of attention is applied after softmax, not before: what is left of a row no longer sums to 1"

    def planted(
        self, record: OpRecord, op: Op, inputs: list[Any], constants: dict[str, Any]
    ) -> tuple[Op, list[Any], dict[str, Any]]:
        if op is ops.scaled_dot_product_attention:
            length, others = inputs[0].shape[-2], inputs[1].shape[-2]
            allowed = np.tri(length, others, dtype=inputs[0].dtype) if constants.get("is_causal") else np.ones(())
            for kept in (constants.get("mask"), constants.get("dropout_mask")):
                allowed = allowed if kept is None else (allowed * kept).astype(inputs[0].dtype)
            constants = {
                **constants,
                "mask": None,
                "is_causal": False,
                "dropout_mask": allowed if allowed.ndim else None,
            }
        elif op is ops.masked_fill and any(self._hides(n) == record.id for n in self.order):
            constants = {**constants, "mask": np.zeros_like(constants["mask"])}
        elif op is ops.softmax and (hidden := self._hides(record.id)) is not None:
            op = _masked(op, ~self.recorder.calls[hidden][2]["mask"])
        return op, inputs, constants

    def _hides(self, number: int) -> int | None:
        """The op that masks the input of a softmax, if one does."""
        record = self.trace.ops[number]
        made_by = self.trace.tensors[record.inputs[0].get("tensor", 0)].made_by if record.op == "softmax" else None
        return made_by if made_by is not None and self.trace.ops[made_by].op == "masked_fill" else None


class NotTransposed(OneByOne):
    says = "the backward of a matrix product multiplies with the other matrix as it is, not transposed"

    def contributions(self, node: Node, dz: Array) -> Step:
        step = super().contributions(node, dz)
        if node.op not in (ops.matmul, ops.linear) or step.grads[0] is None:
            return step
        slots = self.trace.ops[self.numbers[node]].inputs[:2]
        x, y = (self.values[slot["tensor"]] for slot in slots)
        if y.ndim != 2:
            return step
        other = y if node.op is ops.matmul else y.T
        if dz.ndim == 0 or dz.shape[-1] != other.shape[0]:
            raise ValueError(f"the shapes {dz.shape} and {other.shape} do not fit together")
        dx = dz @ other
        return Step(node, dz, (dx, *step.grads[1:])) if dx.shape == x.shape else step


class MeanForSum(OneByOne):
    says = "the backward of sum divides by how many there are, as that of mean does"

    def contributions(self, node: Node, dz: Array) -> Step:
        step = super().contributions(node, dz)
        if node.op is ops.sum and step.grads[0] is not None:
            dx = step.grads[0] / max(1, step.grads[0].size // max(1, dz.size))
            step = Step(node, dz, (np.asarray(dx, dtype=dz.dtype),))
        return step


class Sign(OneByOne):
    says = "the minus sign is forgotten in the backward of a difference: both sides get the gradient as it is"

    def contributions(self, node: Node, dz: Array) -> Step:
        step = super().contributions(node, dz)
        turned = {ops.sub: 1, ops.neg: 0}.get(node.op)
        grads = [None if dx is None or i != turned else -dx for i, dx in enumerate(step.grads)]
        return (
            step
            if turned is None
            else Step(node, dz, tuple(g if i == turned else step.grads[i] for i, g in enumerate(grads)))
        )


class Detached(OneByOne):
    says = "a result is detached half way: what it was made from gets no gradient through it"

    def contributions(self, node: Node, dz: Array) -> Step:
        step, record = super().contributions(node, dz), self.trace.ops[self.numbers[node]]
        made = [n for n in self.order if any(self._made(slot) for slot in self.trace.ops[n].inputs)]
        if not made or record.id != made[len(made) // 2]:
            return step
        first = next(i for i, slot in enumerate(record.inputs) if self._made(slot))
        return Step(node, dz, tuple(None if i == first else dx for i, dx in enumerate(step.grads)))

    def _made(self, slot: dict[str, Any]) -> bool:
        return "tensor" in slot and self.trace.tensors[slot["tensor"]].made_by is not None

    def goes_wrong(self, right: ReplayStep, wrong: ReplayStep) -> bool:
        return any((a is None) != (b is None) for a, b in zip(right.grads, wrong.grads, strict=True))


def _masked(op: Op, kept: Array) -> Op:
    """The op with a mask on its result."""

    def faulty(x: Array, **constants: Any) -> tuple[Array, Backward]:
        z, backward = op(x, **constants)
        return z * kept, lambda dz: backward(dz * kept)

    return faulty


BUGS: dict[str, type[Mistake]] = {
    "overwrite": Overwrite,
    "depth-first": DepthFirst,
    "no-unbroadcast": NoUnbroadcast,
    "no-max-shift": NoMaxShift,
    "no-scale": NoScale,
    "not-zeroed": NotZeroed,
    "wrong-axis": WrongAxis,
    "mask-after-softmax": MaskAfterSoftmax,
    "not-transposed": NotTransposed,
    "mean-for-sum": MeanForSum,
    "sign": Sign,
    "detached": Detached,
}


@dataclass
class Judge:
    """Who is right about one element of a gradient: the slope of the loss there, by a central difference in float64.

    ``shapes`` are those of the gradient, right and wrong.
    """

    tensor: int
    index: list[int]
    right: float
    wrong: float
    slope: float
    shapes: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))

    @property
    def differs(self) -> bool:
        """Whether the numbers themselves differ, by more than rounding."""
        return not math.isclose(self.right, self.wrong, rel_tol=1e-4)

    def __str__(self) -> str:
        shape = "" if self.shapes[0] == self.shapes[1] else f", in the shape {_shape(self.shapes[1])}"
        expected = f" where {_shape(self.shapes[0])} is right" if shape else ""
        same = ", the same number" if shape and not self.differs else ""
        return (
            f"finite difference {self.slope:.6g}, right {self.right:.6g}, with the bug {self.wrong:.6g}"
            f"{same}{shape}{expected}"
        )


def _shape(shape: list[int]) -> str:
    return str(tuple(shape)) if shape else "() of a single number"


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
    by_op = {step.op: step for step in right.steps}
    faulty = BUGS[name](recorder, which)
    wrong = faulty.backward()
    parts = next(
        (
            i
            for i, step in enumerate(wrong.steps)
            if _parts(by_op[step.op], step) or faulty.goes_wrong(by_op[step.op], step)
        ),
        None,
    )
    if parts is None and wrong.error is not None:
        parts = len(wrong.steps)
    report = BugReport(name, BUGS[name].says, [step.op for step in wrong.steps], parts, error=wrong.error)
    if parts is not None:
        end = None if most is None else parts + most
        report.steps = [step.record(recorder.limit) for step in wrong.steps[parts:end]]
        report.judge = _judge(recorder, which, right, wrong)
    if right.root_value.size == 1:
        report.loss = float(right.root_value.item()), float(wrong.root_value.item())
    return report


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
    zero = {t: np.zeros_like(g) for t, g in right.gradients.items()}  # where nothing arrives at all
    wrong.gradients = {**zero, **wrong.gradients}
    candidates = [t for t in right.gradients if t != right.root and _differ(right.gradients[t], wrong.gradients[t])]
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
    value = right.values[tensor].astype(np.float64)  # a copy, which slope moves

    def loss() -> float:
        return Replay(recorder, which, dtype=np.float64, changed={tensor: value}).loss()

    central = slope(loss, value, place, step_for(np.float64) * max(1.0, abs(float(value[place])))).central
    wrong_gradient = wrong.gradients[tensor]
    there = (0,) * (wrong_gradient.ndim - len(place)) + place
    return Judge(
        tensor,
        list(place),
        float(right.gradients[tensor][place]),
        float(wrong_gradient[there]),
        central,
        (list(right.gradients[tensor].shape), list(wrong_gradient.shape)),
    )
