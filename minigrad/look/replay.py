"""A recorded backward pass, done again: the recorded ops on the recorded arrays, walked back by the engine itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.graph import Hook, Node, Step, backward_steps, state
from minigrad.core.op import running
from minigrad.look.recording import Arrival, OpRecord, Recorder, StepRecord, Sums, summarize
from minigrad.ops import Array, Backward, Op


@dataclass
class ReplayStep:
    """One step of a replay, as arrays: see ``recording.StepRecord``."""

    op: int
    dz: Array
    grads: list[Arrival | None]

    def record(self, limit: int) -> StepRecord:
        """The step as plain data."""
        grads = [None if g is None else g.record(limit) for g in self.grads]
        return StepRecord(self.op, summarize(self.dz, limit), grads)


@dataclass(eq=False)
class _Leaf:
    """Where a replayed walk ends. What arrives is summed up by the replay."""

    shape: tuple[int, ...]
    dtype: Any
    hooks: list[Hook] | None = None

    def receive(self, dz: Array, shared: bool) -> None:
        pass


class Replay(Sums):
    """The ops behind one backward pass of a live recording, run again.

    ``values`` are by tensor id, ``nodes`` and ``backwards`` by op id; ``backward()`` fills ``steps`` and
    ``gradients``. ``changed`` puts other arrays in the place of tensors; ``dtype`` casts the leaves. Raises ValueError
    for a recording without arrays. A planted mistake is a subclass that gets one of ``planted``, ``walk``,
    ``contributions`` or ``add`` wrong.
    """

    def __init__(
        self, recorder: Recorder, which: int = 0, *, changed: dict[int, Array] | None = None, dtype: Any = None
    ) -> None:
        self.recorder, self.which = recorder, which
        self.trace = recorder.trace
        self.root = self.trace.passes[which].root
        super().__init__(self.trace, self.root)
        self.seed = self.trace.passes[which].gradient
        self.order = self.trace.ancestors(self.root)
        if any(number not in recorder.calls for number in self.order):
            raise ValueError("this recording kept no arrays to replay: record the forward pass with trace(live=True)")
        self.values: dict[int, Array] = dict(changed or {})
        self.nodes: dict[int, Node] = {}
        self.numbers: dict[Any, int] = {}  # the other way round
        self.backwards: dict[int, Backward] = {}
        self.steps: list[ReplayStep] = []
        self.error: str | None = None
        self._ends: dict[int, Node | _Leaf | None] = {}  # by tensor id: what the graph has for it
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
            op, inputs, constants = self.planted(record, op, inputs, constants)
            with np.errstate(all="ignore"):
                z, self.backwards[number] = running(op)(*inputs, **constants)
            self._enter(number, op, np.asarray(z))

    def _enter(self, number: int, op: Op, z: Array) -> None:
        """The node of an op that ran."""
        record = self.trace.ops[number]
        parents = tuple(self._end(slot["tensor"]) if "tensor" in slot else None for slot in record.inputs)
        node = Node(op, self.backwards[number], parents, z.shape, z.dtype, record.module)
        self.nodes[number] = self._ends[record.output] = node
        self.numbers[node] = number
        self.values.setdefault(record.output, z)

    def _end(self, tensor: int) -> Node | _Leaf | None:
        if tensor not in self._ends:
            x = self.values[tensor]
            wanted = self.trace.tensors[tensor].kind != "constant"
            self._ends[tensor] = _Leaf(x.shape, x.dtype) if wanted else None
        return self._ends[tensor]

    @property
    def root_value(self) -> Array:
        """The value that backward starts from."""
        return self.values[self.root]

    def loss(self) -> float:
        """The root times the cotangent that backward was given: the number whose slopes the gradients are."""
        return float(np.vdot(self.root_value, self.start()))

    def start(self) -> Array:
        """The cotangent that backward was given. Raises ValueError where it is too large to be in the recording."""
        if self.seed.data is None:
            raise ValueError(f"the gradient given to backward, {self.seed.shape}, is too large for a replay")
        return np.array(self.seed.data, dtype=self.root_value.dtype).reshape(self.seed.shape)

    def backward(self) -> Replay:
        """Walk back; fills ``steps`` and ``gradients``, and ``error`` with what stopped the walk early, if anything."""
        self.gradients[self.root] = self.start()
        watching, state.step_observer = state.step_observer, None
        try:
            with np.errstate(all="ignore"):
                for step in self.walk():
                    number = self.numbers[step.node]
                    arrivals = self.arrive(self.trace.ops[number], step.grads)
                    self.steps.append(ReplayStep(number, step.dz, arrivals))
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            self.error = str(error)
        finally:
            state.step_observer = watching
        return self

    # What a mistake may get wrong, beside ``add``

    def planted(
        self, record: OpRecord, op: Op, inputs: list[Any], constants: dict[str, Any]
    ) -> tuple[Op, list[Any], dict[str, Any]]:
        """An op and what it is given in the forward pass."""
        return op, inputs, constants

    def walk(self) -> Iterator[Step]:
        """The steps back: reverse topological order, as the engine goes."""
        roots = [(self.nodes[self.order[-1]], self.gradients[self.root])] if self.order else []
        return backward_steps(roots, retain_graph=True)

    def alone(self, number: int) -> Step:
        """One op's step with the gradient that has arrived so far, for a walk that is not the engine's."""
        node, dz = self.nodes[number], self.gradients[self.trace.ops[number].output]
        try:
            return self.contributions(node, dz)
        except (ValueError, TypeError, IndexError) as error:
            raise RuntimeError(f"{node.op.__name__} stops with an error: {error}") from error

    def contributions(self, node: Node, dz: Array) -> Step:
        """The vector-Jacobian product of one op, summed back over broadcast axes: one step of the engine."""
        return next(backward_steps([(node, dz)], retain_graph=True))
