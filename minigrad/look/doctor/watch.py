"""What the doctor notes while a training runs: per step, weight, loss and layer of units. It judges nothing."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.core.graph import Node, Step, backward_steps, state
from minigrad.core.module import Module
from minigrad.core.op import Array, facts
from minigrad.core.tensor import Tensor
from minigrad.higher.again import nodes_behind
from minigrad.look.doctor.places import (
    arrays_in_reach,
    assigned,
    attribute_line,
    calling_modules,
    name_of,
    plain_holder,
    user_frames,
)
from minigrad.look.texts import Line, user_line
from minigrad.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

SAMPLE = 1 << 16  # numbers of one tensor that are looked at; of a larger one every n-th
EXAMPLES = 2000  # pairs of input and target that are kept to see whether one tells the other
CLASSIFYING = ("cross_entropy", "nll_loss")
LOSSES = (*CLASSIFYING, "soft_cross_entropy", "bce_with_logits", "binary_cross_entropy", "mse_loss", "l1_loss",
          "smooth_l1_loss")  # fmt: skip
TURNS = 63  # applications of an activation at one line that are told apart
PRODUCTS = ("linear", "matmul", "einsum")
CHOOSING = ("getitem", "gather", "embedding", "where", "stack", "cat")  # what they give is other data
UNITS = ("relu", "sigmoid", "tanh")  # activations with flat parts
PASSING = ("dropout", "cast", "clone", "div", "masked_fill")  # what a mark survives, besides ops that only move numbers


@dataclass(eq=False)
class Weight:
    """A leaf that wants a gradient or that an optimizer has, and what each step did to it."""

    tensor: Tensor
    name: str
    place: int  # in the order of the forward pass
    shape: tuple[int, ...]
    line: Line | None = None  # where it was first used
    product: bool = False  # a matrix or kernel that multiplies
    embedding: bool = False
    in_model: bool = True
    holder: tuple[str, Line | None] | None = None  # the plain list that it stands in
    optimizer: Any = None
    late: bool = False  # it came up after the first forward pass had begun
    touched: bool = False  # an op took it
    copied: Array | None = None
    raw: float | None = None  # norm of the gradient as backward left it
    cleared: bool = True
    steps: list[int] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    gradient: list[float | None] = field(default_factory=list)  # at the step, after clipping
    unclipped: list[float | None] = field(default_factory=list)
    update: list[float] = field(default_factory=list)
    descent: list[float] = field(default_factory=list)  # -gradient · update: by how much the loss should fall
    decay: list[float] = field(default_factory=list)  # norm of the part of the update that weight decay makes
    pull: list[float] = field(default_factory=list)  # norm of the part that the gradient makes, on the same scale
    alike: list[bool] = field(default_factory=list)  # all its rows, or all its columns, are equal
    carried: list[bool] = field(default_factory=list)  # its gradient still had that of the step before in it

    def ratios(self) -> Array:
        """Update to weight, per step; nan where the weight is all zeros."""
        size = np.array(self.size)
        return np.divide(self.update, size, out=np.full(size.shape, np.nan), where=size > 0)


@dataclass
class LossSeen:
    """One loss that was computed in the course of a step."""

    op: str
    value: float
    line: Line | None
    classes: int = 0
    targets: Array | None = None
    probabilities: bool = False  # the scores are probabilities: none negative, each row sums to 1
    after_softmax: bool = False
    unit_interval: bool = False
    sigmoid: bool = False
    variance: float = math.nan  # of the targets, where these are numbers
    entropy: float = math.nan  # of the targets, where these are classes


@dataclass
class BatchSeen:
    """What a model was given: its first input that is data."""

    array: Array
    memory: int
    line: Line | None
    digest: bytes
    generator: int


@dataclass
class StepSeen:
    """One step: everything between two updates."""

    number: int
    optimizer: Any
    loss: float
    lr: float
    line: Line | None  # of the update
    backward_line: Line | None
    losses: list[LossSeen]
    nodes: int
    old_nodes: int
    alive: int
    clip: float  # what the gradient's norm was multiplied with between backward and update
    batch: BatchSeen | None
    batch_is_held: bool
    training: dict[str, bool]  # model -> whether it was in train mode


@dataclass
class Layer:
    """The units behind one activation, per step: which never left the flat part."""

    op: str
    scope: str
    line: Line | None
    units: int
    flat: list[Array] = field(default_factory=list)  # per step, True for a unit that was flat for all examples
    steps: list[int] = field(default_factory=list)
    histogram: list[int] = field(default_factory=list)
    edges: tuple[float, float] = (0.0, 1.0)
    feeds: bool = False  # a later op multiplies it with a weight


@dataclass
class Input:
    """Numbers from outside that are multiplied with a weight."""

    scope: str
    line: Line | None
    size: list[float] = field(default_factory=list)  # root mean square, per step
    mean: list[float] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf
    columns: list[float] = field(default_factory=list)  # largest root mean square of a column, over the smallest


@dataclass
class Evaluation:
    """A forward pass in train mode without a graph."""

    step: int
    digest: bytes  # of what the model was given
    line: Line | None
    dropped: bool = False  # dropout drew a mask
    loss: bool = False  # a loss was computed of it
    used: bool = False  # its result went on into a graph: it was no evaluation


@dataclass
class Model:
    """An outermost module that was called."""

    module: Module
    name: str
    draws: bool  # dropout or batch norm: train and eval mode differ
    trained: dict[int, bool] = field(default_factory=dict)  # step -> its training flag in a forward pass with a graph
    evaluated: list[Evaluation] = field(default_factory=list)
    eval_line: Line | None = None


@dataclass
class Sight:
    """Which positions of the input a target's own score depends on, and where among them the target itself stands."""

    offset: int | None  # of the targets in the ids: 1 for the next token
    last: int  # the last position that position ``asked`` depends on
    asked: int
    length: int
    line: Line | None


class Enough(SystemExit):
    """The steps that were asked for have been seen."""


class Watch:
    """Notes what happens between ``start`` and ``stop``; ``steps`` of the busiest optimizer, then it only looks on."""

    def __init__(self, steps: int = 50, stop_script: bool = False) -> None:
        self.limit = steps
        self.stop_script = stop_script
        self.steps: list[StepSeen] = []
        self.weights: dict[int, Weight] = {}
        self.layers: dict[Any, Layer] = {}
        self.inputs: dict[Any, Input] = {}
        self.models: dict[int, Model] = {}
        self.optimizers: dict[int, tuple[Any, str, Line | None]] = {}
        self.masks: dict[Any, tuple[str, Line | None, set[int]]] = {}
        self.sights: list[Sight] = []
        self.examples: list[tuple[Array, Array, float]] = []
        self.pairings: list[tuple[str, str, int, int, Line | None]] = []
        self.larger: tuple[str, int] | None = None  # data that has far more rows than the batch
        self.copied_whole = False  # the user's data, all of it, is copied anew for each step
        self.backwards = 0
        self.done = False
        self.sampled = False
        self._roots: dict[int, tuple[Any, Model | None]] = {}
        self._marks: dict[int, tuple[weakref.ref[Tensor], frozenset[str]]] = {}
        self._losses: list[LossSeen] = []
        self._ids: list[tuple[Array, weakref.ref[Node]]] = []
        self._scores: list[tuple[Tensor, Array, Line | None]] = []
        self._batch: BatchSeen | None = None
        self._before_batch: list[BatchSeen] = []
        self._place = 0
        self._latest = -1  # the newest node at the last update
        self._nodes: list[weakref.ref[Node]] = []
        self._lines: weakref.WeakKeyDictionary[Node, Line | None] = weakref.WeakKeyDictionary()
        self.kept_line: Line | None = None
        self._walked: tuple[int, int, float, Line | None] = (0, 0, math.nan, None)
        self._training: dict[str, bool] = {}
        self._by_optimizer: dict[int, int] = {}
        self._manual = False
        self._looked: set[Any] = set()
        self._before: Any = None
        self._handles: list[Any] = []
        self._sources: dict[int, tuple[weakref.ref[Tensor], Array]] = {}  # of what was computed of data alone
        self._turns: dict[Any, int] = {}
        self._mask_lines: dict[str, Line | None] = {}
        self._inside: Model | None = None  # where the op before this one ran

    # Beginning and end

    def start(self) -> None:
        """Watch this thread from now on."""
        self._before = state.observer, state.walker
        state.observer, state.walker = self.on_op, self.on_backward
        self._handles = [
            register_optimizer_step_pre_hook(self.before_update),
            register_optimizer_step_post_hook(self.after_update),
        ]

    def stop(self) -> None:
        """Watch no longer."""
        for handle in self._handles:
            handle.remove()
        if not self.done:
            self._manual_update()
        state.observer, state.walker = self._before
        self._marks.clear()
        self._scores.clear()

    # Forward

    def on_op(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        """Called after each op."""
        if self._before[0] is not None:
            self._before[0](op, inputs, constants, out)
        if self.done:
            return
        name, graph = op.__name__, out.grad_fn is not None
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        model = self._model()
        line = user_line()
        if out.grad_fn is not None:
            self._nodes.append(weakref.ref(out.grad_fn))
            self._lines[out.grad_fn] = line
            for x in tensors:
                if x.requires_grad and x.is_leaf:
                    self._use(x, name, model, line, len(tensors))
        if not out.requires_grad and tensors and name not in CHOOSING:
            key = id(out)
            self._sources[key] = weakref.ref(out, lambda _: self._sources.pop(key, None)), self._source(tensors[0])
        if not all(x.numel() for x in (*tensors, out)):
            return
        self._note_batch(name, tensors, constants, graph, model, line)
        if model is not None:
            self._note_mode(model, name, constants, graph, line, tensors)
        if graph:
            for x in tensors:
                if "free" in self._marks_of(x):
                    for m in self.models.values():
                        for evaluation in m.evaluated[-1:]:
                            evaluation.used = True
        self._inside = model
        marks = self._note_marks(name, op, inputs, constants, out, line)
        if name in PRODUCTS and graph and len(tensors) > 1:
            self._note_input(tensors, line)
            for x in tensors:
                for mark in self._marks_of(x):
                    if mark.startswith("units "):
                        layer = self.layers.get(mark)
                        if layer is not None:
                            layer.feeds = True
        if graph and (name in UNITS or (name == "clamp" and constants.get("min") == 0) or _is_rectifier(name, inputs)):
            self._note_units(name if name in UNITS else "relu", inputs, out, line)
        if name == "embedding" and graph and out.grad_fn is not None:
            self._ids.append((np.asarray(constants["ids"]), weakref.ref(out.grad_fn)))
        if name in LOSSES and tensors:
            self._note_loss(name, inputs, constants, out, line, graph, marks)

    def _model(self) -> Model | None:
        """The outermost module that is running."""
        paths = state.paths
        if paths is None:
            return None
        known = self._roots.get(id(paths))
        if known is None or known[0] is not paths:
            running = calling_modules()
            model = self._enter(running[-1]) if running else None
            self._roots[id(paths)] = known = paths, model
        return known[1]

    def _enter(self, module: Module) -> Model | None:
        model = self.models.get(id(module))
        if model is None:
            kinds = [m for m in module.modules() if type(m).__name__ == "Dropout" and getattr(m, "p", 0) > 0]
            kinds += [m for m in module.modules() if type(m).__name__.startswith("BatchNorm")]
            kinds += [m for m in module.modules() if isinstance(getattr(m, "dropout", None), float) and m.dropout > 0]
            frames = user_frames()
            name = name_of(module, frames)
            name = name.removeprefix("self.") if name != "self" else ""
            model = self.models[id(module)] = Model(module, name or type(module).__name__, bool(kinds))
            early = not self.steps and self.backwards == 0 and not model.trained
            for path, parameter in module.named_parameters():
                weight = self._weight(parameter, path)
                weight.late = not early and not weight.steps
        else:
            for path, parameter in module.named_parameters():
                if id(parameter) not in self.weights:
                    self._weight(parameter, path).late = True
        return model

    def _weight(self, tensor: Tensor, name: str, **more: Any) -> Weight:
        weight = self.weights.get(id(tensor))
        if weight is None:
            weight = self.weights[id(tensor)] = Weight(tensor, name, 1 << 30, tensor.shape, **more)
            self.sampled = self.sampled or tensor.numel() > SAMPLE
        return weight

    def _use(self, x: Tensor, op: str, model: Model | None, line: Line | None, count: int) -> None:
        """An op took a leaf that wants a gradient."""
        weight = self.weights.get(id(x))
        if weight is None:
            weight = self._new_leaf(x, model)
        if not weight.touched:
            weight.touched, weight.line = True, line
            weight.place, self._place = self._place, self._place + 1
            weight.product = x.ndim >= 2 and op not in ("embedding", "add", "mul", "sub", "div", "getitem")
            weight.embedding = op == "embedding"

    def _new_leaf(self, x: Tensor, model: Model | None) -> Weight:
        if model is not None:
            for path, parameter in model.module.named_parameters():
                if parameter is x:
                    weight = self._weight(x, path)
                    weight.late = bool(model.trained)
                    return weight
        modules, frames = calling_modules(), user_frames()
        own = next((m for m in modules if any(p is x for p in m._parameters.values())), None)
        name, holder = "", None
        if own is not None:
            attribute = next(n for n, p in own._parameters.items() if p is x)
            name = f"{type(own).__name__}.{attribute}"
            found = plain_holder(own, modules[-1])
        else:
            name = name_of(x, frames)
            found = plain_holder(x, modules[-1]) if modules else None
            attribute = ""
        if found is not None:
            path, keeper = found
            name = f"{path}.{attribute}" if attribute else path
            holder = path.partition("[")[0], attribute_line(keeper, path.partition("[")[0].rpartition(".")[2])
        return self._weight(x, name or f"a tensor {x.shape}", in_model=False, holder=holder)

    def _note_batch(
        self, op: str, tensors: list[Tensor], constants: dict[str, Any], graph: bool, model: Model | None, line: Any
    ) -> None:
        if not graph or self._batch is not None:
            return
        data: Any = constants.get("ids") if op == "embedding" else None
        if data is None:
            plain = [x for x in tensors if not x.requires_grad and x.ndim and x.numel() > 1]
            if not plain or (op in LOSSES and model is None):
                return
            data = self._source(plain[0])
        elif isinstance(data, Tensor):
            data = data.numpy()
        self._batch = _batch(np.asarray(data), line)
        frames = user_frames()
        step = len(self.steps)
        if step in (1, 4, 9):
            self._look_for_data(self._batch.array, frames)

    def _source(self, x: Tensor) -> Array:
        """The data that a tensor was computed from."""
        reference, array = self._sources.get(id(x), (None, None))
        return array if array is not None and reference is not None and reference() is x else x.detach().numpy()

    def _look_for_data(self, batch: Array, frames: list[Any]) -> None:
        """Whether the user's code can see data of which the batch is a small part."""
        rows, place = len(batch), batch.__array_interface__["data"][0]
        for name, array in arrays_in_reach(frames):
            if array.dtype.kind not in "fiu" or (array.__array_interface__["data"][0] == place and len(array) == rows):
                continue
            alike = array.ndim == batch.ndim and array.shape[1:] == batch.shape[1:]
            text = batch.dtype.kind in "iu" and array.ndim == 1 and batch.ndim == 2 and array.size >= 4 * batch.size
            if (alike and len(array) >= 4 * rows and _contains(array, batch[0])) or (text and array.dtype.kind in "iu"):
                self.larger = name, len(array)
            if alike and rows <= len(array) < 2 * rows and _contains(array, batch[0]):
                self.copied_whole = True

    def _note_mode(
        self, model: Model, op: str, constants: dict[str, Any], graph: bool, line: Line | None, tensors: list[Tensor]
    ) -> None:
        """In which mode a model runs: with a graph, and without one."""
        step, training = len(self.steps), model.module.training
        if graph:
            model.trained[step] = training
            self._training[model.name] = training
            if not training and model.eval_line is None:
                model.eval_line = line
        elif not state.grad_enabled and training and model.draws:
            if self._inside is not model or not model.evaluated or model.evaluated[-1].step != step:
                given = [constants["ids"]] if op == "embedding" else tensors[:1]
                model.evaluated.append(Evaluation(step, _digest((), given), line))
            model.evaluated[-1].dropped |= op == "dropout"

    def _marks_of(self, x: Any) -> frozenset[str]:
        reference, marks = self._marks.get(id(x), (None, frozenset()))
        return marks if reference is not None and reference() is x else frozenset()

    def _mark(self, x: Tensor, marks: frozenset[str]) -> None:
        key = id(x)
        self._marks[key] = weakref.ref(x, lambda _: self._marks.pop(key, None)), marks

    def _note_marks(
        self, name: str, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor, line: Line | None
    ) -> frozenset[str]:
        """What a tensor has come through: a softmax, a sigmoid, the addition of a mask of zeros and ones."""
        marks: frozenset[str] = frozenset()
        if name in ("softmax", "sigmoid"):
            if name == "softmax" and out.grad_fn is not None:
                for mark in self._marks_of(inputs[0]):
                    if mark.startswith("mask "):
                        self._mask(mark.removeprefix("mask "), self._mask_lines.get(mark))
            marks = frozenset([name])
        elif facts(op).reshapes or name in PASSING or (name in ("mul", "add", "sub") and _number_in(inputs)):
            source = next((x for x in inputs if isinstance(x, Tensor)), None)
            marks = self._marks_of(source)
            if name in ("mul", "add", "sub", "div"):
                marks = frozenset(m for m in marks if m not in ("softmax", "sigmoid"))
        elif name in ("add", "mul") and out.grad_fn is not None:
            for x, other in (inputs, inputs[::-1]):
                both = isinstance(x, Tensor) and isinstance(other, Tensor) and min(x.ndim, other.ndim) >= 2
                if both and x.shape[-2:] == other.shape[-2:] and _is_mask(x):
                    mark = f"mask {'added to' if name == 'add' else 'multiplied with'}"
                    self._mask_lines[mark] = line
                    marks = self._marks_of(other) | {mark}
        if name == "scaled_dot_product_attention" and len(inputs) > 3 and _is_mask(inputs[3]):
            self._mask("added to", line)
        if not state.grad_enabled and state.paths is not None:
            marks |= {"free"}
        if marks:
            self._mark(out, marks)
        return marks

    def _mask(self, how: str, line: Line | None) -> None:
        self.masks.setdefault((how, line), (how, line, set()))[2].add(len(self.steps))

    def _note_input(self, tensors: list[Tensor], line: Line | None) -> None:
        x, *others = tensors
        if x.requires_grad or x.ndim < 2 or x.dtype.kind != "f" or not any(y.requires_grad for y in others):
            return
        array = _sample(x.detach().numpy().reshape(-1, x.shape[-1]), rows=True)
        with np.errstate(all="ignore"):
            square = np.square(array, dtype=np.float64)
            seen = self.inputs.setdefault((state.scope, line), Input(state.scope, line))
            if len(seen.size) > len(self.steps):
                return
            seen.size.append(math.sqrt(square.mean()))
            seen.mean.append(float(array.mean()))
            seen.low, seen.high = min(seen.low, float(array.min())), max(seen.high, float(array.max()))
            columns = np.sqrt(square.mean(0))
            columns = columns[columns > 0]
            seen.columns.append(float(columns.max() / columns.min()) if columns.size > 1 else 1.0)

    def _note_units(self, name: str, inputs: Sequence[Any], out: Tensor, line: Line | None) -> None:
        if out.ndim < 2:
            return
        axis = 1 if out.ndim == 4 else out.ndim - 1
        z = np.moveaxis(out.detach().numpy(), axis, -1)
        z = _sample(z.reshape(-1, z.shape[-1]), rows=True)
        place = state.scope, line, z.shape[-1], name
        turn = self._turns[place] = min(self._turns.get(place, -1) + 1, TURNS)  # one line may apply several
        key = f"units {place} {turn}"
        layer = self.layers.setdefault(key, Layer(name, state.scope, line, z.shape[-1]))
        if name == "relu":
            flat = (z <= 0).all(0)
        else:
            low = 0.0 if name == "sigmoid" else -1.0
            flat = ((z - low < 0.01 * (1 - low)) | (1 - z < 0.01 * (1 - low))).mean(0) > 0.9
        step = len(self.steps)
        if layer.steps and layer.steps[-1] == step:
            layer.flat[-1] = layer.flat[-1] & flat
        else:
            layer.steps.append(step)
            layer.flat.append(np.asarray(flat))
        x = inputs[0].detach().numpy() if isinstance(inputs[0], Tensor) else z
        finite = _sample(x.ravel()).astype(np.float64)
        finite = finite[np.isfinite(finite)]
        if finite.size:
            counts, edges = np.histogram(finite, bins=20)
            layer.histogram, layer.edges = counts.tolist(), (float(edges[0]), float(edges[-1]))
        self._mark(out, self._marks_of(out) | {key})

    def _note_loss(
        self,
        name: str,
        inputs: Sequence[Any],
        constants: dict[str, Any],
        out: Tensor,
        line: Any,
        graph: bool,
        marks: Any,
    ) -> None:
        x = inputs[0]
        if not isinstance(x, Tensor):
            return
        array = x.detach().numpy()
        value = float(out.detach().numpy().mean())
        if constants.get("reduction") == "sum":
            value /= max(1, constants["target"].size if "target" in constants else array.size)
        seen = LossSeen(name, value, line)
        came_through = self._marks_of(x)
        if name in (*CLASSIFYING, "soft_cross_entropy"):
            axis = 0 if array.ndim == 1 else 1
            seen.classes = array.shape[axis]
            rows = _sample(np.moveaxis(array, axis, -1).reshape(-1, seen.classes), rows=True)
            sums = rows.sum(-1)
            seen.probabilities = bool((rows >= 0).all() and np.allclose(sums, 1, atol=1e-4)) and rows.shape[-1] > 1
            seen.after_softmax = "softmax" in came_through
        else:
            seen.unit_interval = bool((array >= 0).all() and (array <= 1).all())
            seen.sigmoid = "sigmoid" in came_through
        target: Any = constants.get("target")
        if target is None and len(inputs) > 1:
            target = inputs[1]
        target = target.detach().numpy() if isinstance(target, Tensor) else target
        if isinstance(target, np.ndarray):
            self._note_targets(seen, name, x, target, constants, line, graph)
        if graph:
            self._losses.append(seen)
        else:
            for model in self.models.values():
                for evaluation in model.evaluated[-1:]:
                    evaluation.loss |= evaluation.step == len(self.steps)

    def _note_targets(
        self, seen: LossSeen, name: str, x: Tensor, target: Array, constants: dict[str, Any], line: Any, graph: bool
    ) -> None:
        if name in CLASSIFYING:
            counted = target[target != constants.get("ignore_index", -100)]
            if counted.size:
                shares = np.bincount(counted.ravel().astype(np.int64).clip(0)) / counted.size
                shares = shares[shares > 0]
                seen.entropy = float(-(shares * np.log(shares)).sum())
        elif target.dtype.kind == "f":
            seen.variance = float(target.var())
        seen.targets = target
        if not graph:
            return
        if name in CLASSIFYING:
            self._scores.append((x, target, line))
        batch = self._batch
        if batch is not None and len(batch.array) == len(target) and batch.array.ndim and target.ndim <= 2:
            self._note_pairs(batch.array, target, seen)

    def _note_pairs(self, x: Array, target: Array, seen: LossSeen) -> None:
        """Keep some pairs of input and target, and see whether the user's data has them as pairs too."""
        flat = x.reshape(len(x), -1)
        one = target.ndim == 1 or target.shape[1] == 1
        if x.dtype.kind == "f" and one and flat.shape[1] <= 1024 and sum(len(a) for a, *_ in self.examples) < EXAMPLES:
            self.examples.append((flat.copy(), target.reshape(-1).copy(), seen.value))
        if len(self.steps) not in (1, 3, 6) or not one or len(flat) < 8:
            return
        arrays = list(arrays_in_reach(user_frames()))
        y = target.reshape(-1)
        for name, data in arrays:
            if data.ndim < 2 or len(data) < 2 * len(flat) or data.dtype.kind != x.dtype.kind:
                continue
            if math.prod(data.shape[1:]) != flat.shape[1] or data.size > 1 << 22:
                continue
            at = _rows_in(data.reshape(len(data), -1), flat)
            if at is None:
                continue
            best: tuple[int, str] | None = None
            for other, labels in arrays:
                if labels.size == len(data) and labels.ndim <= 2 and labels.dtype.kind in "fiu" and other != name:
                    there = labels.reshape(-1)[at]
                    same = int(np.isclose(there, y).sum()) if there.dtype.kind in "fiu" else 0
                    if set(np.unique(y)[:50].tolist()) <= set(np.unique(labels).tolist()):
                        best = max(best or (same, other), (same, other))
            if best is not None:
                self.pairings.append((name, best[1], best[0], len(y), seen.line))

    # Backward

    def on_backward(self, root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        """Called by ``backward()``: notes the graph, walks, and notes the gradients."""
        if self._before[1] is not None:
            self._before[1](root, gradient, steps)
        if self.done:
            return
        self._manual_update()
        if self.done:
            return
        for weight in self.weights.values():
            grad = weight.tensor.grad if weight.tensor.is_leaf else None
            weight.cleared = weight.cleared or grad is None or not grad.numpy().any()
        nodes = nodes_behind([root.grad_fn]) if root.grad_fn is not None else []
        old = sum(node.order <= self._latest for node in nodes)
        value = float(np.mean(root.detach().numpy()))
        frames = user_frames()
        line = Line(frames[0].f_code.co_filename, frames[0].f_lineno) if frames else None
        self._walked = len(nodes), old, value, line
        self._turns.clear()
        self.backwards += 1
        if len(self.sights) < 3:
            self._see(nodes)
        for _ in steps:
            pass
        for weight in self.weights.values():
            grad = weight.tensor.grad if weight.tensor.is_leaf else None
            weight.raw = None if grad is None else _norm(grad.numpy())
        if not self._by_optimizer:
            for weight in self.weights.values():
                weight.copied = _sample(weight.tensor.detach().numpy().ravel()).copy()
            self._manual = True

    def _see(self, nodes: list[Node]) -> None:
        """What the score of one target depends on, from one walk of its own."""
        here = set(nodes)
        ids = [(array, node()) for array, node in self._ids]
        sources = [(a, node) for a, node in ids if node is not None and node in here and a.ndim == 2]
        scores = [s for s in self._scores if s[0].grad_fn is not None and s[0].grad_fn in here]
        if len(scores) != 1 or any(node.op.__name__ == "replica" for node in nodes):
            return
        tokens = [
            a for a, _ in sources if a.shape == sources[0][0].shape and not np.array_equal(a[0], np.arange(a.shape[1]))
        ]
        x, target, line = scores[0]
        if len(tokens) != 1:
            return
        array = tokens[0]
        node = next(node for a, node in sources if a is array)
        B, T = array.shape
        if target.size % B or T < 4 or target.size // B not in (T, T - 1) or target.size < 16:
            return
        wanted = target.reshape(B, -1)
        offset = _offset(wanted, array)
        place = np.unravel_index(1, target.shape)  # of the second target of the first row
        index: Any = (place[0], slice(None), *place[1:]) if x.ndim > 1 else (slice(None),)
        cotangent = np.zeros(x.shape, x.dtype)
        cotangent[index] = np.random.default_rng(0).normal(size=cotangent[index].shape)
        assert x.grad_fn is not None
        watching, state.step_observer = state.step_observer, None
        try:
            for step in backward_steps([(x.grad_fn, cotangent)], retain_graph=True, receive=lambda *_: None):
                if step.node is node:
                    seen = np.flatnonzero(np.abs(step.dz[0]).sum(-1) > 0)
                    if seen.size:
                        self.sights.append(Sight(offset, int(seen.max()), 1, T, line))
        except RuntimeError:
            return
        finally:
            state.step_observer = watching

    # Updates

    def before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Called before an optimizer's step."""
        if self.done:
            return
        if id(optimizer) not in self.optimizers:
            frames = user_frames()
            name = name_of(optimizer, frames) or "the optimizer"
            self.optimizers[id(optimizer)] = optimizer, name, assigned(optimizer, frames)
        for p in _parameters(optimizer):
            weight = self.weights.get(id(p)) or self._weight(p, f"a parameter {p.shape}", in_model=False)
            weight.optimizer = optimizer
            weight.copied = _sample(p.detach().numpy().ravel()).copy()

    def after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Called after an optimizer's step."""
        if self.done:
            return
        self._manual = False
        clips = []
        for group in optimizer.param_groups:
            for p in group["params"]:
                weight = self.weights.get(id(p))
                if weight is not None:
                    self._updated(weight, group, optimizer)
                    if weight.unclipped[-1] and weight.gradient[-1] is not None:
                        clips.append((weight.gradient[-1], weight.unclipped[-1]))
        total = math.hypot(*(raw for _, raw in clips)) if clips else 0.0
        clip = math.hypot(*(now for now, _ in clips)) / total if total > 0 and math.isfinite(total) else 1.0
        self._finish(optimizer, float(np.asarray(optimizer.param_groups[0].get("lr", math.nan))), clip)

    def _updated(self, weight: Weight, group: dict[str, Any], optimizer: Any) -> None:
        p = weight.tensor
        before, after = weight.copied, _sample(p.detach().numpy().ravel())
        if before is None or before.shape != after.shape:
            before = after.copy()
        grad = p.grad
        slopes = None if grad is None else _sample(grad.numpy().ravel())
        scale = math.sqrt(p.numel() / max(1, after.size))
        with np.errstate(all="ignore"):
            change = after.astype(np.float64) - before
            size, update = scale * _norm(before), scale * _norm(change)
            gradient = None if slopes is None else scale * _norm(slopes)
            descent = 0.0 if slopes is None else -float(np.vdot(slopes, change)) * scale**2
            decay, lr = float(group.get("weight_decay", 0) or 0), float(np.asarray(group.get("lr", 0)))
            if getattr(optimizer, "decoupled", False):
                shrink = lr * decay
                weight.decay.append(shrink * size)
                weight.pull.append(scale * _norm(change + shrink * before))
            else:
                weight.decay.append(decay * size)
                weight.pull.append(gradient or 0.0)
        weight.steps.append(len(self.steps))
        weight.size.append(size)
        weight.update.append(update)
        weight.gradient.append(gradient)
        weight.unclipped.append(weight.raw)
        weight.descent.append(descent)
        weight.alike.append(_alike(p.detach().numpy()))
        weight.carried.append(not weight.cleared and gradient is not None)
        weight.cleared = False
        weight.copied = None

    def _manual_update(self) -> None:
        """Where no optimizer is at work: whether the weights have changed since the last backward pass."""
        if not self._manual or self._by_optimizer:
            return
        self._manual = False
        held = [w for w in self.weights.values() if w.copied is not None]
        if not any(not np.array_equal(w.copied, _sample(w.tensor.detach().numpy().ravel())) for w in held):  # type: ignore[arg-type]
            return
        lr = math.nan
        for weight in held:
            if weight.raw is not None:
                if weight.tensor.grad is None:  # cleared already
                    weight.cleared = True
                self._updated(weight, {}, None)
                if weight.gradient[-1] is None:
                    weight.gradient[-1] = weight.raw
        self._finish(None, lr, 1.0)

    def _finish(self, optimizer: Any, lr: float, clip: float) -> None:
        """A step is over."""
        nodes, old, value, backward_line = self._walked
        line = user_line() if optimizer is not None else backward_line
        self._nodes = [n for n in self._nodes if (node := n()) is not None and node.backward is not None]
        alive = len(self._nodes)
        if self._nodes and len(self.steps) > 2:
            first = self._nodes[0]()
            self.kept_line = self._lines.get(first) if first is not None else None
        held = bool(self._batch and self._before_batch and self._batch.memory == self._before_batch[-1].memory)
        self.steps.append(
            StepSeen(
                len(self.steps), optimizer, value, lr, line, backward_line, self._losses, nodes, old, alive, clip,
                self._batch, held, dict(self._training),
            )
        )  # fmt: skip
        if self._batch is not None:
            self._before_batch = [*self._before_batch[-2:], self._batch]
        if len(self.steps) > 3 and (batch := self.steps[-4].batch) is not None:
            batch.array = batch.array[:0]  # the numbers themselves are not kept
        for loss in self._losses:
            loss.targets = None
        self._losses, self._ids, self._scores, self._batch = [], [], [], None
        self._latest = max((node.order for n in self._nodes if (node := n()) is not None), default=self._latest)
        self._latest = max(self._latest, _clock())
        key = id(optimizer)
        if optimizer is not None:
            self._by_optimizer[key] = self._by_optimizer.get(key, 0) + 1
        count = self._by_optimizer.get(key, len(self.steps))
        if count >= self.limit:
            self.done = True
            if self.stop_script:
                raise Enough(0)


def _clock() -> int:
    """The number of the newest node, now: taken from one that is made for it."""
    return Node(_clock, None, (), (), np.dtype(float), "").order  # type: ignore[arg-type]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _norm(x: Array) -> float:
    with np.errstate(all="ignore"):
        flat = _sample(x.ravel()).astype(np.float64, copy=False)
        return math.sqrt(float(np.vdot(flat, flat)) * x.size / max(1, flat.size))


def _sample(x: Array, rows: bool = False) -> Array:
    """The array, or every n-th of its numbers or rows where it has more than are looked at."""
    count = len(x) if rows else x.size
    most = max(1, SAMPLE // x.shape[-1]) if rows else SAMPLE
    return x if count <= most else x[:: -(-count // most)]


def _alike(w: Array) -> bool:
    """Whether all rows of a matrix are equal, or all columns."""
    if w.ndim < 2 or w.size == 0:
        return False
    w = _sample(w.reshape(len(w), -1), rows=True)
    near = 1e-6 * float(np.abs(w).max())
    return any(w.shape[axis] > 1 and float(np.ptp(w, axis=axis).max()) <= near for axis in (0, 1))


def _is_mask(x: Any) -> bool:
    """Whether something is a tensor of zeros and ones, and of both, that nobody learns."""
    if not isinstance(x, Tensor) or x.requires_grad or x.dtype.kind != "f" or x.numel() < 2:
        return False
    array = x.detach().numpy()
    return bool(((array == 0) | (array == 1)).all()) and 0 < float(array.mean()) < 1


def _number_in(inputs: Sequence[Any]) -> bool:
    return any(not isinstance(x, Tensor) or x.numel() == 1 for x in inputs)


def _is_rectifier(name: str, inputs: Sequence[Any]) -> bool:
    return name == "maximum" and any(
        (not isinstance(x, Tensor) and x == 0) or (isinstance(x, Tensor) and x.numel() == 1 and x.item() == 0)
        for x in inputs[1:]
    )


def _batch(array: Array, line: Line | None) -> BatchSeen:
    address = array.__array_interface__["data"][0]
    return BatchSeen(array, address, line, _digest(array.shape, [array]), 0)


def _digest(shape: tuple[int, ...], arrays: Sequence[Any]) -> bytes:
    """A fingerprint of arrays."""
    parts = [repr(shape).encode()]
    for x in arrays:
        array = x.detach().numpy() if isinstance(x, Tensor) else x
        parts.append(np.ascontiguousarray(_sample(array.ravel())).tobytes())
    return hash(b"".join(parts)).to_bytes(8, "big", signed=True)


def _contains(data: Array, row: Array) -> bool:
    return bool(np.isclose(data.reshape(len(data), -1), row.reshape(-1), rtol=1e-6).all(1).any())


def _rows_in(data: Array, rows: Array) -> Array | None:
    """Where each row stands in the data; None unless all are found, each once."""
    known: dict[bytes, int] = {}
    data, rows = np.ascontiguousarray(data), np.ascontiguousarray(rows.astype(data.dtype, copy=False))
    for i, row in enumerate(data):
        key = row.tobytes()
        if key in known:
            return None
        known[key] = i
    found = [known.get(row.tobytes(), -1) for row in rows]
    return None if min(found, default=-1) < 0 else np.array(found)


def _offset(wanted: Array, ids: Array) -> int | None:
    """By how many places the targets (B, T) are ahead of the ids (B, T), if it is the same number everywhere."""
    if len(np.unique(ids)) < 3:
        return None
    T = wanted.shape[1]
    found = []
    for offset in (1, 0, 2, -1):
        low, high = max(0, -offset), min(T, ids.shape[1] - offset)
        a, b = wanted[:, low:high], ids[:, low + offset : high + offset]
        if a.size >= 8 and np.array_equal(a, b):
            found.append(offset)
    return found[0] if len(found) == 1 else None
