"""A run as plain data: the ops with formulas, source lines and values, and every step back. What all views read."""

from __future__ import annotations

import itertools
import json
import linecache
import math
import os
import sys
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node, Step, state
from minigrad.core.tensor import Tensor, apply
from minigrad.core.written import saved_arrays
from minigrad.higher import traced
from minigrad.higher.again import nodes_behind
from minigrad.higher.traced import Traced
from minigrad.nn import Module, Parameter
from minigrad.ops import Array, Op
from minigrad.tools.lines import is_users
from minigrad.train.files import atomic_write

HIGHER = os.path.dirname(traced.__file__) + os.sep  # what runs ops on traced arrays
NUMPY = os.path.dirname(np.__file__) + os.sep

SCHEMA = 1
VIEWS: dict[str, Callable[[Trace], str]] = {}  # how a notebook shows a trace: pages, which know this file, enter it
MARK = f'{{"schema":{SCHEMA},"tensors":['.encode()  # how a file of ours begins


@dataclass
class Summary:
    """An array in few numbers: all of it where it is small (``data``, flat), else a corner.

    The statistics are those of the finite elements, to 6 digits. ``corner`` has at most 8 rows and columns of the last
    two axes, at index 0 of the others, as rows. ``histogram`` counts the finite elements in 20 equal steps from ``min``
    to ``max``. Numbers that JSON lacks are "nan", "inf", "-inf".
    """

    shape: list[int]
    dtype: str
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    norm: float | None = None
    nonfinite: int = 0
    data: list[Any] | None = None
    corner: list[list[Any]] | None = None
    histogram: list[int] | None = None


@dataclass
class Source:
    """A line of the user's: the innermost that is not the library's own.

    ``turn`` counts from 1 how often this call on the line has run: the iterations of a loop, the layers of a model.
    """

    file: str
    line: int
    function: str
    text: str
    turn: int = 1


@dataclass
class TensorRecord:
    """A tensor. ``kind``: parameter, leaf (another that wants a gradient), constant, or result (of op ``made_by``).

    ``text`` is the piece of source that made a result, where Python tells (from 3.11 on).
    """

    id: int
    kind: str
    name: str | None
    value: Summary
    made_by: int | None = None
    text: str = ""


@dataclass
class OpRecord:
    """One application of an op. ``inputs``: a tensor's id, or a plain number, or None, by position."""

    id: int
    op: str
    formulas: list[str]
    module: str
    module_type: str
    source: Source | None
    inputs: list[dict[str, Any]]
    constants: dict[str, Any]
    output: int
    saved: dict[str, Summary]


@dataclass
class Contribution:
    """What one step adds to the gradient of one input, and that gradient before (None: not yet reached) and after.

    ``waiting`` is how many contributions are still to come before the gradient is complete.
    """

    tensor: int
    contribution: Summary
    before: Summary | None
    after: Summary
    waiting: int


@dataclass
class StepRecord:
    """One step of backward: the op, the gradient of its output, and what goes to each input (None: nothing)."""

    op: int
    dz: Summary
    grads: list[Contribution | None]


@dataclass
class Pass:
    """One call of backward: from which tensor, with which gradient, and its steps.

    ``number`` counts the calls from 1. ``held`` are the leaves whose gradient was not zero before, by tensor id: the
    number of the pass that it has not been zeroed since.
    """

    root: int
    gradient: Summary
    source: Source | None
    steps: list[StepRecord] = field(default_factory=list)
    number: int = 1
    held: dict[int, int] = field(default_factory=dict)


@dataclass
class Failure:
    """What stopped a run: the error, the user's line, and the op that raised it (if one did) with what it was given.

    ``inputs`` are {"label", "shape", "dtype"} of a tensor, or {"number"}.
    """

    error: str
    source: Source | None
    op: str | None = None
    module: str = ""
    inputs: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Trace:
    """A recorded run: tensors and ops in the order they came up (their ids count from 0), and the backward passes.

    ``modules`` has the type of each module that an op ran in, or in a part of, by its path. ``failure`` is the error
    that ended the run, if one did.
    """

    tensors: list[TensorRecord] = field(default_factory=list)
    ops: list[OpRecord] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None

    def __repr__(self) -> str:
        counts = (self.ops, "op", "s"), (self.tensors, "tensor", "s"), (self.passes, "backward pass", "es")
        return f"Trace({', '.join(f'{len(of)} {name}{ending * (len(of) != 1)}' for of, name, ending in counts)})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the stepper's page; nothing but the text of it where nothing walked back."""
        return VIEWS["stepper"](self) if "stepper" in VIEWS and any(p.steps for p in self.passes) else None

    def to_json(self) -> str:
        """All of it as JSON; the same program gives the same text."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, allow_nan=False, separators=(",", ":"))

    def save(self, path: str | Path) -> None:
        """Write the JSON to a file, in one piece."""
        with atomic_write(path, MARK) as file:
            file.write(self.to_json().encode("utf-8"))

    @classmethod
    def from_json(cls, text: str) -> Trace:
        """The trace that ``to_json`` wrote. Raises ValueError for anything else."""
        try:
            data = json.loads(text)
            if data.get("schema") != SCHEMA:
                raise ValueError(
                    f"this trace has schema {data.get('schema')}, this version reads {SCHEMA}: record it anew"
                )
            return cls(
                [TensorRecord(**{**t, "value": Summary(**t["value"])}) for t in data["tensors"]],
                [_op_from(o) for o in data["ops"]],
                [_pass_from(p) for p in data["passes"]],
                dict(data.get("modules", {})),
                _failure_from(data.get("failure")),
            )
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"this is no trace written by minigrad: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a file that ``save`` wrote."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    def label(self, tensor: int) -> str:
        """The name of a tensor; where it has none, the op that made it and its number: ``matmul_12``."""
        record = self.tensors[tensor]
        if record.name is not None:
            return record.name
        return (
            f"{record.kind}_{tensor}" if record.made_by is None else f"{self.ops[record.made_by].op}_{record.made_by}"
        )

    def ancestors(self, root: int) -> list[int]:
        """The ops that a tensor was made by, oldest first."""
        found: set[int] = set()
        todo = [root]
        while todo:
            made_by = self.tensors[todo.pop()].made_by
            if made_by is not None and made_by not in found:
                found.add(made_by)
                todo += [i["tensor"] for i in self.ops[made_by].inputs if "tensor" in i]
        return sorted(found)


def _op_from(data: dict[str, Any]) -> OpRecord:
    source = data["source"] and Source(**data["source"])
    return OpRecord(**{**data, "source": source, "saved": {k: Summary(**v) for k, v in data["saved"].items()}})


def _failure_from(data: dict[str, Any] | None) -> Failure | None:
    return data and Failure(**{**data, "source": data["source"] and Source(**data["source"])})  # type: ignore[return-value]


def _pass_from(data: dict[str, Any]) -> Pass:
    steps = [
        StepRecord(s["op"], Summary(**s["dz"]), [g and _contribution_from(g) for g in s["grads"]])
        for s in data["steps"]
    ]
    held = {int(tensor): number for tensor, number in data.get("held", {}).items()}
    source = data["source"] and Source(**data["source"])
    return Pass(data["root"], Summary(**data["gradient"]), source, steps, data.get("number", 1), held)


def _contribution_from(data: dict[str, Any]) -> Contribution:
    parts = {k: data[k] and Summary(**data[k]) for k in ("contribution", "before", "after")}
    return Contribution(data["tensor"], **parts, waiting=data["waiting"])


@dataclass
class Arrival:
    """What one step adds to the gradient of one input, as arrays: see ``Contribution``."""

    tensor: int
    contribution: Array
    before: Array | None
    after: Array
    waiting: int

    def record(self, limit: int) -> Contribution:
        """The same as plain data."""
        before = None if self.before is None else summarize(self.before, limit)
        after = summarize(self.after, limit)
        return Contribution(self.tensor, summarize(self.contribution, limit), before, after, self.waiting)


class Sums:
    """The gradients of one backward pass, by tensor id, as they are summed up step by step."""

    def __init__(self, trace: Trace, root: int) -> None:
        self.gradients: dict[int, Array] = {}
        uses = (slot["tensor"] for n in trace.ancestors(root) for slot in trace.ops[n].inputs if "tensor" in slot)
        self.waiting = Counter(uses)  # contributions that are still to come

    def arrive(self, record: OpRecord, grads: Sequence[Array | None]) -> list[Arrival | None]:
        """Add what one step gives to the inputs of its op."""
        return [
            None if dx is None or "tensor" not in slot else self._one(slot["tensor"], dx.copy())
            for slot, dx in zip(record.inputs, grads, strict=False)
        ]

    def _one(self, tensor: int, dx: Array) -> Arrival:
        before = self.gradients.get(tensor)
        after = self.gradients[tensor] = dx if before is None else self.add(before, dx)
        self.waiting[tensor] -= 1
        return Arrival(tensor, dx, before, after, self.waiting[tensor])

    def add(self, before: Array, dx: Array) -> Array:
        """The multivariate chain rule: contributions of several uses add up."""
        return np.asarray(before + dx)


class trace:
    """Record what runs inside as a ``Trace``: ``with minigrad.trace() as t: loss = ...; loss.backward()``.

    Arrays of up to ``limit`` elements are recorded whole. Only ops that take part in a graph are recorded. With
    ``live=True`` the recorder keeps the arrays themselves as well (``recorder.arrays``, ``recorder.calls``).
    """

    def __new__(cls, limit: Any = 256, live: bool = False) -> Any:
        return limit.trace() if isinstance(limit, Tensor) else super().__new__(cls)  # of a matrix, PyTorch's trace

    def __init__(self, limit: int = 256, live: bool = False) -> None:
        self.recorder = Recorder(limit, live)

    def __enter__(self) -> Trace:
        self._before = state.observer, state.walker
        state.observer, state.walker = self.recorder.on_op, self.recorder.on_backward
        return self.recorder.trace

    def __exit__(self, kind: Any, error: BaseException | None, _: object) -> None:
        state.observer, state.walker = self._before
        if isinstance(error, Exception):
            self.recorder.failed(error)


class Recorder:
    """Fills a Trace as ops run (``on_op``) and as backward walks (``on_backward``, or ``begin`` and then ``step``)."""

    def __init__(self, limit: int = 256, live: bool = False) -> None:
        self.trace = Trace()
        self.limit = limit
        self.live = live
        self.arrays: dict[int, Array] = {}  # by tensor id, if live
        self.calls: dict[int, tuple[Op, list[Any], dict[str, Any]]] = {}  # by op id, if live: op, inputs, constants
        self.upstream: dict[int, Array] = {}  # of the current pass, by op id, if live: dz
        self.arrived: dict[int, list[Arrival | None]] = {}  # of the current pass, by op id, if live: by input
        self._here = weakref.ref(self.trace)
        self._made: weakref.WeakKeyDictionary[Node, int] = weakref.WeakKeyDictionary()  # node -> op id
        self._leaves: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # id(tensor) -> itself, tensor id
        self._leaf_tensors: dict[int, weakref.ref[Tensor]] = {}  # tensor id -> itself
        self._filled: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # id(leaf) -> itself, pass that first added to it
        self._turns: dict[Any, int] = {}  # by code, place in it and op
        self._call: FrameType | None = None
        self._called: TensorRecord | None = None
        self.skipped = 0  # backward passes that were not recorded

    # Forward

    def on_op(self, op: Op, inputs: tuple[Any, ...], constants: dict[str, Any], out: Tensor) -> None:
        """Record one op; called after it ran."""
        node = out._node
        if node is None:
            return
        frames = list(_frames())
        given = [self._input(x, frames) for x in inputs]
        source = self._turn(frames[-1], op) if frames else None
        number, tensor = len(self.trace.ops), len(self.trace.tensors)
        self.trace.tensors.append(TensorRecord(tensor, "result", None, self.summary(out._array), number))
        self._note_piece(frames)
        module = next((f.f_locals["self"] for f in frames if isinstance(f.f_locals.get("self"), Module)), None)
        self.trace.ops.append(
            OpRecord(
                number,
                op.__name__,
                ops.formulas(op),
                state.scope,
                type(module).__name__ if module is not None and state.scope else "",
                source,
                given,
                {name: self._constant(value) for name, value in constants.items()},
                tensor,
                {name: self.summary(array) for name, array in saved_arrays(node.backward).items()},
            )
        )
        if state.scope and state.scope not in self.trace.modules:
            self.trace.modules.update(_types())
        self._made[node] = number
        _recorded[node] = self._here, tensor
        if self.live:
            self.arrays[tensor] = out._array
            self.calls[number] = op, [x._array if isinstance(x, Tensor) else x for x in inputs], constants

    def _note_piece(self, frames: list[FrameType]) -> None:
        """The piece of source that the newest tensor is the value of; it is that of the last op of a call."""
        call = frames[-2] if len(frames) > 1 else None  # where the library was entered
        if call is not None and call is self._call and self._called is not None:
            self._called.text = ""
        self._call, self._called = call, self.trace.tensors[-1]
        self._called.text = _piece(frames[-1]) if frames else ""

    def _turn(self, frame: FrameType, op: Op) -> Source:
        """The line, and how often this op came from this place in it."""
        source, place = _source(frame), (frame.f_code, frame.f_lasti, op)
        self._turns[place] = source.turn = self._turns.get(place, 0) + 1
        return source

    def _input(self, x: Any, frames: list[FrameType]) -> dict[str, Any]:
        if not isinstance(x, Tensor):
            return {"number": _jsonable(x)}
        number = self._known(x)
        if number is None:
            number = self._new_leaf(x)
        record = self.trace.tensors[number]
        if record.name is None:
            record.name = _name(x, frames)
        return {"tensor": number}

    def _known(self, x: Tensor) -> int | None:
        if x._node is not None:
            made = self._made.get(x._node)
            return None if made is None else self.trace.ops[made].output
        reference, number = self._leaves.get(id(x), (None, 0))
        return number if reference is not None and reference() is x else None

    def _new_leaf(self, x: Tensor) -> int:
        number = len(self.trace.tensors)
        kind = "parameter" if isinstance(x, Parameter) else "leaf" if x.requires_grad else "constant"
        self.trace.tensors.append(TensorRecord(number, kind, None, self.summary(x._array)))
        self._leaves[id(x)] = weakref.ref(x), number
        self._leaf_tensors[number] = weakref.ref(x)
        if self.live:
            self.arrays[number] = x._array.copy()  # the optimizer will write to it
        return number

    def _constant(self, value: Any) -> Any:
        """A keyword argument of an op as JSON: plain values as they are, arrays as summaries, the rest as text."""
        if isinstance(value, np.ndarray):
            return {"array": asdict(self.summary(value))}
        if isinstance(value, tuple | list):
            return [self._constant(v) for v in value]
        return _jsonable(value)

    def summary(self, array: Array) -> Summary:
        """The array in few numbers."""
        return summarize(array, self.limit)

    def from_graph(self, root: Tensor) -> None:
        """Record a graph that was made before; source lines and the values of results are no longer known."""
        for node in nodes_behind([root._node]) if root._node is not None else ():
            given: list[dict[str, Any]] = []
            for parent in node.parents:
                if type(parent) is Node:
                    given.append({"tensor": self.trace.ops[self._made[parent]].output})
                elif parent is not None:
                    known = self._known(parent)
                    given.append({"tensor": self._new_leaf(parent) if known is None else known})
                else:
                    given.append({"number": None})
            number, tensor = len(self.trace.ops), len(self.trace.tensors)
            shape_only = Summary(list(node.shape), str(node.dtype))
            self.trace.tensors.append(TensorRecord(tensor, "result", None, shape_only, number))
            saved = {name: self.summary(array) for name, array in saved_arrays(node.backward).items()}
            self.trace.ops.append(
                OpRecord(
                    number, node.op.__name__, ops.formulas(node.op), node.scope, "", None, given, {}, tensor, saved
                )
            )
            self._made[node] = number

    def failed(self, error: Exception) -> None:
        """Record what stopped the run."""
        places = list(traceback.walk_tb(error.__traceback__))
        users = [(frame, line) for frame, line in places if is_users(frame.f_code.co_filename)]
        frame, line = users[-1] if users else (None, 0)
        failure = Failure(f"{type(error).__name__}: {error}", _source(frame, line) if frame else None)
        call = next((f.f_locals for f, _ in places if f.f_code is apply.__code__), None)
        for name, value in {**frame.f_globals, **frame.f_locals}.items() if frame is not None else ():
            known = self._known(value) if isinstance(value, Tensor) else None
            if known is not None:
                self.trace.tensors[known].name = self.trace.tensors[known].name or name
        if call is not None and frame is not None:
            failure.op, failure.module = call["op"].__name__, state.scope
            failure.inputs = [self._given(x, [frame]) for x in call["inputs"]]
        self.trace.failure = failure

    def _given(self, x: Any, frames: list[FrameType]) -> dict[str, Any]:
        if not isinstance(x, Tensor):
            return {"number": _jsonable(x)}
        known = self._known(x)
        name = (self.trace.label(known) if known is not None else None) or _name(x, frames)
        return {"label": name or "a tensor", "shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch.")}

    # Backward

    def on_backward(self, root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        """Record a whole backward pass while walking it."""
        if self.begin(root, gradient):
            for step in steps:
                self.step(step)

    def begin(self, root: Tensor, gradient: Array) -> bool:
        """Start the record of a backward pass; False where the root is not of this recording."""
        number = self._known(root)
        if number is None:
            return False
        frames = list(_frames())
        record = self.trace.tensors[number]
        record.name = record.name or _name(root, frames)
        count = self.skipped + len(self.trace.passes) + 1
        source = _source(frames[-1]) if frames else None
        self.trace.passes.append(Pass(number, self.summary(gradient), source, number=count))
        self.upstream, self.arrived = {}, {}
        self._sums = Sums(self.trace, number)
        self._sums.gradients[number] = gradient
        self.trace.passes[-1].held = self._note_held(self._sums.waiting, count)
        return True

    def _note_held(self, tensors: Iterable[int], count: int) -> dict[int, int]:
        """Which leaves still hold a gradient as pass number ``count`` begins, and the pass since when."""
        held = {}
        for tensor in tensors:
            leaf = self._leaf_tensors.get(tensor, lambda: None)()
            if leaf is None or leaf._node is not None:
                continue
            reference, since = self._filled.get(id(leaf), (None, count))
            if leaf.grad is None:
                since = count
            else:
                self._sums.gradients[tensor] = leaf.grad._array.copy()
                if leaf.grad._array.any():
                    held[tensor] = since = since if reference is not None and reference() is leaf else count
                else:
                    since = count
            self._filled[id(leaf)] = weakref.ref(leaf), since
        return held

    def skip(self, root: Tensor, steps: Iterator[Step]) -> None:
        """Let a backward pass go by, and forget what was recorded so far."""
        known = self.begin(root, root._array)
        for _ in steps:
            pass
        if known:
            self.trace.tensors.clear()
            self.trace.ops.clear()
            self.trace.passes.clear()
            self.skipped += 1
            self.arrays, self.calls = {}, {}
            self._made, self._leaves, self._leaf_tensors = weakref.WeakKeyDictionary(), {}, {}

    def step(self, step: Step) -> StepRecord | None:
        """Record one step of the current pass; None where its node is not of this recording."""
        made = self._made.get(step.node)
        if made is None:
            return None
        arrivals = self._sums.arrive(self.trace.ops[made], step.grads)
        if self.live:
            self.upstream[made], self.arrived[made] = step.dz, arrivals
        grads = [None if a is None else a.record(self.limit) for a in arrivals]
        record = StepRecord(made, self.summary(step.dz), grads)
        self.trace.passes[-1].steps.append(record)
        return record


_recorded: weakref.WeakKeyDictionary[Node, tuple[weakref.ref[Trace], int]] = weakref.WeakKeyDictionary()


def recorded(node: Node) -> tuple[Trace, int] | None:
    """The trace in which a node's op was recorded, if someone still has it, and the number of the tensor it made."""
    reference, tensor = _recorded.get(node, (None, 0))
    found = reference() if reference is not None else None
    return None if found is None else (found, tensor)


def summarize(array: Array, limit: int = 256) -> Summary:
    """An array in few numbers; whole if it has at most ``limit`` elements."""
    summary = Summary(list(array.shape), str(array.dtype))
    if array.size:
        numbers = array.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        summary.nonfinite = int(array.size - finite.size)
        if finite.size:
            statistics = finite.min(), finite.max(), finite.mean(), math.sqrt(np.vdot(finite, finite))
            summary.min, summary.max, summary.mean, summary.norm = (float(f"{v:.6g}") for v in statistics)
            if array.size > limit:
                summary.histogram = np.histogram(finite, bins=20)[0].tolist()
    if array.size <= limit:
        summary.data = [_jsonable(v) for v in array.ravel()]
    else:
        rows = array.reshape(-1, array.shape[-1])[: array.shape[-2] if array.ndim > 1 else 1]
        summary.corner = [[_jsonable(v) for v in row[:8]] for row in rows[:8]]
    return summary


def _jsonable(value: Any) -> Any:
    """A number, text or None that JSON can hold; a float in the fewest digits that give back its own dtype's value."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(str(value)) if np.isfinite(value) else str(value)
    if isinstance(value, slice):
        return ":".join("" if v is None else str(v) for v in (value.start, value.stop, value.step)).removesuffix(":")
    return str(value) if isinstance(value, np.dtype) else type(value).__name__


def _frames() -> Iterator[FrameType]:
    """The frames from the op outwards, up to and with the innermost of the user's; none if there is no such frame.

    Where the code of an op runs on traced arrays, up to that code: its own line is what computes.
    """
    frame: FrameType | None = sys._getframe(2)
    inside: list[FrameType] = []
    traced = False
    while frame is not None:
        inside.append(frame)
        file = frame.f_code.co_filename
        traced = traced or file.startswith(HIGHER)
        if is_users(file) if not traced else not file.startswith((HIGHER, NUMPY)):
            yield from inside
            return
        frame = frame.f_back


def _types() -> dict[str, str]:
    """The types of the modules that are running, by path, outermost first; the outermost itself has no path."""
    paths, found = state.paths or {}, {}
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is Module.__call__.__code__:
            module = frame.f_locals["self"]
            if paths.get(id(module)):
                found[paths[id(module)]] = type(module).__name__
        frame = frame.f_back
    return dict(reversed(found.items()))


def _source(frame: FrameType, line: int = 0) -> Source:
    file, line = frame.f_code.co_filename, line or frame.f_lineno
    text = linecache.getline(file, line, frame.f_globals).strip()
    here = os.getcwd() + os.sep
    return Source(file.removeprefix(here), line, frame.f_code.co_name, text)


def _piece(frame: FrameType) -> str:
    """The operator or call of a user's line that runs now; nothing where it takes several lines, or Python is 3.10."""
    positions = getattr(frame.f_code, "co_positions", None)
    if positions is None:
        return ""
    first, last, start, end = next(itertools.islice(positions(), frame.f_lasti // 2, None), (None,) * 4)
    if first is None or first != last or start is None or end is None:
        return ""
    line = linecache.getline(frame.f_code.co_filename, first, frame.f_globals).encode()
    return line[start:end].decode("utf-8", "replace")


def _name(x: Tensor, frames: list[FrameType]) -> str | None:
    """What the program calls a tensor: the path of a parameter, or the user's variable that holds it."""
    for frame in frames:
        module = frame.f_locals.get("self")
        if isinstance(module, Module):
            for name, parameter in module._parameters.items():
                if parameter is x:
                    return name if state.scope == type(module).__name__ else f"{state.scope}.{name}"
            break
    user = frames[-1] if frames else None
    for variables in (user.f_locals, user.f_globals) if user is not None else ():
        for name, value in variables.items():
            if value is x or (isinstance(value, Traced) and value.tensor is x):
                return name
    return None
