"""Why a weight changed in one step: its change split by term of the optimizer, by place in the batch, and by use.

The optimizers here are linear in what they add up, once their divisor is known. So the change of a weight is a sum:
what this step's gradient brings, and of that each place of the batch; what clipping took off; what earlier steps left
in the momentum; weight decay; and the rounding of the floating-point numbers, which is what is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.core.graph import Node, Step, state
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.look.doctor.places import calling_modules
from minigrad.look.pages.why_page import save_why_page
from minigrad.optim import SGD, Adam, AdamW, Optimizer
from minigrad.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

ROWS = 4096  # places of an op without a formula of its own that are asked one by one
SHOWN = 10  # places in the printed text


@dataclass(eq=False)
class Use:
    """One op that a weight went into: what is needed to tell each place's share of its gradient."""

    op: str
    scope: str
    argument: int
    inputs: list[Any]
    constants: dict[str, Any]
    backward: Any
    dz: Array | None = None

    def rows(self) -> int:
        """How many places the result has: all its axes but the last."""
        assert self.dz is not None
        return math.prod(self.dz.shape[:-1]) if self.dz.ndim > 1 else 1

    def shares(self, index: tuple[int, ...]) -> Array:
        """What each place adds to the gradient of one element, in float64: (rows,)."""
        assert self.dz is not None
        dz = self.dz.reshape(self.rows(), -1).astype(np.float64)
        if self.op == "linear" and self.argument == 1:
            x = self.inputs[0].reshape(len(dz), -1).astype(np.float64)
            return dz[:, index[0]] * x[:, index[1]]
        if self.op == "linear" and self.argument == 2:
            return dz[:, index[0]]
        if self.op == "embedding":
            return np.where(self.ids() == index[0], dz[:, index[1]], 0.0)
        return np.array([part[index] for part in self._one_by_one()])

    def along(self, direction: Array) -> Array:
        """The product of each place's share of the gradient with an array of the weight's shape: (rows,)."""
        assert self.dz is not None
        dz = self.dz.reshape(self.rows(), -1).astype(np.float64)
        if self.op == "linear" and self.argument == 1:
            x = self.inputs[0].reshape(len(dz), -1).astype(np.float64)
            return np.asarray(((dz @ direction) * x).sum(1))
        if self.op == "linear" and self.argument == 2:
            return np.asarray(dz @ direction)
        if self.op == "embedding":
            return np.asarray((dz * direction[self.ids()]).sum(1))
        return np.array([float(np.vdot(part, direction)) for part in self._one_by_one()])

    def ids(self) -> Array:
        """The rows of the table that an embedding read: (rows,)."""
        return np.asarray(self.constants["ids"]).reshape(-1)

    def _one_by_one(self) -> Iterator[Array]:
        """The share of each place, from the op's own backward, which is linear in dz."""
        assert self.dz is not None
        count = self.rows()
        if count > ROWS:
            raise ValueError(f"{self.op} has {count:,} places, more than the {ROWS:,} that are asked one by one")
        shape = self.inputs[self.argument].shape
        for row in range(count):
            alone = np.zeros_like(self.dz)
            alone.reshape(count, -1)[row] = self.dz.reshape(count, -1)[row]
            dx = np.asarray(self.backward(alone)[self.argument])
            extra = dx.ndim - len(shape)
            axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and dx.shape[i + extra] != 1))
            yield dx.sum(axes, keepdims=True).reshape(shape).astype(np.float64)


@dataclass(eq=False)
class Moved:
    """A weight in one step: before, after, and all that decided on it."""

    before: Array
    gradient: Array  # as the optimizer got it
    unclipped: Array  # as backward left it
    kept: dict[str, Array]  # the optimizer's state before
    group: dict[str, Any]
    optimizer: Optimizer
    after: Array = field(default_factory=lambda: np.zeros(0))
    kept_after: dict[str, Any] = field(default_factory=dict)


class record_step:
    """Record one step of a training, for ``why``: ``with minigrad.record_step() as step: ...``.

    Inside stand the forward pass, ``backward()`` and ``optimizer.step()``. It keeps the arrays of that step.
    """

    def __init__(self) -> None:
        self.uses: dict[int, list[Use]] = {}
        self.moved: dict[int, Moved] = {}
        self.names: dict[str, Tensor] = {}
        self.ids: Array | None = None  # (B, T), of the first embedding
        self.number = 0  # as the optimizer counts, where it does
        self.loss = math.nan
        self._nodes: dict[Node, list[Use]] = {}
        self._raw: dict[int, Array] = {}
        self._leaves: dict[int, Tensor] = {}
        self._handles: list[Any] = []
        self._paths: Any = None  # of the model that ran last

    def __enter__(self) -> record_step:
        self._before = state.observer, state.walker
        state.observer, state.walker = self.on_op, self.on_backward
        self._handles = [
            register_optimizer_step_pre_hook(self.before_update),
            register_optimizer_step_post_hook(self.after_update),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Record no longer."""
        if self._handles:
            state.observer, state.walker = self._before
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._nodes.clear()

    def on_op(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        """Called after each op."""
        if self._before[0] is not None:
            self._before[0](op, inputs, constants, out)
        if op.__name__ == "embedding" and self.ids is None and np.ndim(constants["ids"]) == 2:
            self.ids = np.array(constants["ids"])
        node = out.grad_fn
        if node is None:
            return
        if state.paths is not None and state.paths is not self._paths:
            self._paths = state.paths
            for module in calling_modules()[-1:]:
                self.names.update((name, p) for name, p in module.named_parameters() if name not in self.names)
        arrays = [x.detach().numpy() if isinstance(x, Tensor) else x for x in inputs]
        for i, x in enumerate(inputs):
            if isinstance(x, Tensor) and x.requires_grad and x.is_leaf:
                use = Use(op.__name__, state.scope, i, arrays, constants, node.backward)
                self.uses.setdefault(id(x), []).append(use)
                self._nodes.setdefault(node, []).append(use)
                self._leaves[id(x)] = x

    def on_backward(self, root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        """Called by ``backward()``: walks, and keeps what arrives at the ops that took a weight."""
        if self._before[1] is not None:
            self._before[1](root, gradient, steps)
        self.loss = float(np.mean(root.detach().numpy()))
        for step in steps:
            for use in self._nodes.pop(step.node, ()):
                use.dz = step.dz.copy()
        for key, leaf in self._leaves.items():
            if leaf.grad is not None:
                self._raw[key] = leaf.grad.numpy().copy()

    def before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Called before the optimizer's step."""
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    kept = {k: v.numpy().copy() for k, v in optimizer.state[p].items() if isinstance(v, Tensor)}
                    settings = {name: value for name, value in group.items() if name != "params"}
                    gradient = p.grad.numpy().copy()
                    raw = self._raw.get(id(p), gradient)
                    before = p.detach().numpy().copy()
                    self.moved[id(p)] = Moved(before, gradient, raw, kept, settings, optimizer)
                    self._leaves[id(p)] = p

    def after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Called after the optimizer's step."""
        for group in optimizer.param_groups:
            for p in group["params"]:
                moved = self.moved.get(id(p))
                if moved is not None and moved.optimizer is optimizer:
                    moved.after = p.detach().numpy().copy()
                    for name, value in optimizer.state[p].items():
                        moved.kept_after[name] = value.numpy().copy() if isinstance(value, Tensor) else value
                    self.number = int(moved.kept_after.get("step", 0)) or self.number

    def restart(self) -> None:
        """Forget what was recorded: another step begins."""
        for kept in (self.uses, self.moved, self._nodes, self._raw):
            kept.clear()
        self.ids = None


@dataclass
class Place:
    """A place of the batch, and its part of the change. ``token`` is its id where the run has tokens."""

    use: str
    row: int
    part: float
    example: int | None = None
    position: int | None = None
    token: int | None = None


@dataclass
class Why:
    """The change of a weight in one step, as sums: ``terms`` and ``places`` each add up to ``change``.

    Of one element they are signed numbers, and ``change`` is after - before. Of a whole weight they are lengths along
    the direction in which it moved, and ``change`` is the length of the move. ``rest`` holds what no place of this
    batch has brought: momentum, decay, rounding.
    """

    name: str
    index: tuple[int, ...] | None
    before: float
    after: float
    change: float
    terms: dict[str, float]
    places: list[Place]
    rest: dict[str, float]
    optimizer: str
    step: int
    record: Any = field(repr=False, default=None)

    def by_example(self) -> dict[int | None, float]:
        """The part of each example of the batch."""
        parts: dict[int | None, list[float]] = {}
        for place in self.places:
            parts.setdefault(place.example, []).append(place.part)
        return {example: math.fsum(values) for example, values in parts.items()}

    def by_token(self) -> dict[int | None, float]:
        """The part of each token of the vocabulary, over all its places."""
        parts: dict[int | None, list[float]] = {}
        for place in self.places:
            parts.setdefault(place.token, []).append(place.part)
        return {token: math.fsum(values) for token, values in parts.items()}

    def by_use(self) -> dict[str, float]:
        """The part of each op that took the weight: a shared one has several paths to the loss."""
        parts: dict[str, list[float]] = {}
        for place in self.places:
            parts.setdefault(place.use, []).append(place.part)
        return {use: math.fsum(values) for use, values in parts.items()}

    def __str__(self) -> str:
        what = self.name if self.index is None else f"{self.name}[{', '.join(map(str, self.index))}]"
        number = f" in step {self.step}" if self.step else ""
        moved = "moved by" if self.index is None else f"went from {self.before:.9g} to {self.after:.9g}:"
        lines = [f"{what}{number} {moved} {self.change:+.9g}, by {self.optimizer}"]
        lines += [f"  {part + 0.0:+.9e}  {term}" for term, part in self.terms.items()]
        lines.append(f"  {math.fsum(self.terms.values()):+.9e}  together")
        order = sorted(self.places, key=lambda place: -abs(place.part))
        shown = [place for place in order[:SHOWN] if place.part]
        if shown:
            total = math.fsum(place.part for place in self.places)
            lines.append(f"this step's gradient, each element by its own divisor: {total:+.3e}, by place:")
        lines += [f"  {place.part:+.3e}  {_where(place)}" for place in shown]
        if len(self.places) > len(shown) > 0:
            lines.append(f"  and {len(self.places) - len(shown):,} more places")
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write the page of the weight: pick an element, see the terms and the places that moved it."""
        save_why_page(path, page_data(self))


def _where(place: Place) -> str:
    parts = [] if place.example is None else [f"example {place.example}"]
    parts += [] if place.position is None else [f"position {place.position}"]
    parts += [] if place.token is None else [f"token {place.token}"]
    return ", ".join([*(parts or [f"row {place.row}"]), place.use])


def why(weight: Any, step: record_step, index: Any = None) -> Why:
    """Why a weight changed in a recorded step: a ``Why``, whose parts add up to the change to the last digit.

    ``weight`` is a parameter, or its name in the model that ran; ``index`` picks one element. Split by term are SGD,
    Adam and AdamW, with all their settings. Raises ValueError for a weight that took no part, and for an index that it
    does not have.
    """
    if isinstance(weight, str):
        ends = [n for n in step.names if n == weight or n.endswith(f".{weight}")]
        if weight not in ends and len(ends) != 1:
            near = ", ".join(list(step.names)[:8])
            raise ValueError(f"the step has no weight named {weight!r}; there are {near or 'none'}")
        name, weight = weight, step.names[weight if weight in ends else ends[0]]
    else:
        name = next((n for n, p in step.names.items() if p is weight), f"a weight {tuple(weight.shape)}")
    moved = step.moved.get(id(weight))
    if moved is None or not moved.after.size:
        raise ValueError(f"{name} was changed by no optimizer in this step: it got no gradient, or none has it")
    terms, factor = split(moved)
    change = moved.after.astype(np.float64) - moved.before.astype(np.float64)
    uses = [use for use in step.uses.get(id(weight), []) if use.dz is not None]
    if any(use.op == "replica" for use in uses):
        raise ValueError(f"the batch of {name} was shared by workers, who keep its places to themselves: use workers=1")
    scaled = factor * _clipping(moved)
    if index is not None:
        at = (index,) if isinstance(index, int) else tuple(int(i) for i in index)
        if len(at) != change.ndim or any(not -n <= i < n for i, n in zip(at, change.shape, strict=True)):
            raise ValueError(f"{name} has the shape {change.shape}: an index is {change.ndim} numbers below these")
        at = tuple(i % n for i, n in zip(at, change.shape, strict=True))
        parts = {term: float(values[at]) for term, values in terms.items()}
        total, before, after = float(change[at]), float(moved.before[at]), float(moved.after[at])
        shares = [(use, use.shares(at) * scaled[at]) for use in uses]
    else:
        at = None
        total = math.sqrt(math.fsum((change.ravel() ** 2).tolist()))
        direction = change / total if total else change
        parts = {term: math.fsum((values * direction).ravel().tolist()) for term, values in terms.items()}
        before, after = (float(np.linalg.norm(x.astype(np.float64))) for x in (moved.before, moved.after))
        shares = [(use, use.along(direction * scaled)) for use in uses]
    places = [_place(use, row, float(part), step.ids) for use, values in shares for row, part in enumerate(values)]
    of_places = [place.part for place in places]
    parts = _closed(parts, total, [])
    earlier = {k: v for k, v in parts.items() if k not in ("gradient", "clipping", "second moment", "rounding")}
    if factor.size and "second moment" in parts:  # of the momentum and the decay: with the divisor that they had
        earlier = _undivided(moved, at, change, total)
    rest = _closed(earlier, total, of_places)
    kind = type(moved.optimizer).__name__
    return Why(name, at, before, after, total, parts, places, rest, kind, step.number, (step, weight, moved))


def _place(use: Use, row: int, part: float, ids: Array | None) -> Place:
    label = f"{use.op} in {use.scope}" if use.scope else use.op
    if ids is not None and use.rows() == ids.size:
        return Place(label, row, part, row // ids.shape[1], row % ids.shape[1], int(ids.reshape(-1)[row]))
    assert use.dz is not None
    examples = use.dz.shape[0] if use.dz.ndim > 1 else 1
    return Place(label, row, part, row * examples // max(1, use.rows()))


def _closed(parts: dict[str, float], total: float, more: list[float]) -> dict[str, float]:
    """The parts with what is left as rounding, so that they add up."""
    left = math.fsum([total, *(-v for v in parts.values()), *(-v for v in more)])
    return {**parts, "rounding": left}


def _clipping(moved: Moved) -> Array:
    """What each element of the gradient was multiplied with between backward and the step."""
    raw, now = moved.unclipped.astype(np.float64), moved.gradient.astype(np.float64)
    return np.divide(now, raw, out=np.ones_like(raw), where=raw != 0)


def split(moved: Moved) -> tuple[dict[str, Array], Array]:
    """The parts of the change by term, in float64, and what one unit of gradient was worth, each in the weight's shape.

    ``second moment`` is what dividing each element by its own root mean square makes of the step, beside dividing all
    by one: their harmonic mean.
    """
    linear, decay, divisor, unit = _linear(moved)
    mean = 1 / np.mean(1 / divisor) if divisor.size else 1.0
    terms = {term: values / mean for term, values in linear.items()}
    if "exp_avg_sq" in moved.kept_after:
        whole = sum(linear.values(), np.zeros(moved.before.shape))
        terms["second moment"] = whole / divisor - whole / mean
    return {**terms, **decay}, unit / divisor


def _linear(moved: Moved) -> tuple[dict[str, Array], dict[str, Array], Array, float]:
    """The terms before they are divided, those that are not divided, the divisor, and the factor of the gradient."""
    group, kind = moved.group, type(moved.optimizer)
    w, raw = moved.before.astype(np.float64), moved.unclipped.astype(np.float64)
    clipped = moved.gradient.astype(np.float64) - raw
    one = np.ones(w.shape)
    if kind not in (SGD, Adam, AdamW):
        change = moved.after.astype(np.float64) - w
        return {}, {f"{kind.__name__}, which is not split": change}, one, 0.0
    lr, decay = float(group["lr"]), float(group["weight_decay"])
    sign = -1.0 if group["maximize"] else 1.0
    if kind is SGD:
        momentum, keep = float(group["momentum"]), 1.0 - float(group["dampening"])
        old = moved.kept.get("momentum_buffer")
        into = keep if momentum and old is not None else 1.0  # of the gradient, into the velocity
        now = 1 + momentum * into if momentum and group["nesterov"] else into
        carried = (momentum**2 if group["nesterov"] else momentum) if old is not None else 0.0
        unit, past, divisor = -lr * now, -lr * carried, one
        memory = old
    else:
        beta1, beta2 = (float(beta) for beta in group["betas"])
        step = int(moved.kept_after["step"])
        root = math.sqrt(1 - beta2**step)
        rate = lr * root / (1 - beta1**step)
        square = moved.kept_after["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"].astype(np.float64)
        divisor = np.sqrt(square) + float(group["eps"]) * root
        divisor = np.where(divisor > 0, divisor, 1.0)
        unit, past, memory = -rate * (1 - beta1), -rate * beta1, moved.kept.get("exp_avg")
    linear = {"gradient": sign * unit * raw, "clipping": sign * unit * clipped}
    linear["momentum"] = past * memory.astype(np.float64) if memory is not None else np.zeros(w.shape)
    apart: dict[str, Array] = {}
    if decay and kind is AdamW:
        apart["weight decay"] = -lr * decay * w
    elif decay:
        linear["weight decay"] = unit * decay * w
    return linear, apart, divisor, sign * unit


def _undivided(moved: Moved, at: tuple[int, ...] | None, change: Array, total: float) -> dict[str, float]:
    """What earlier steps and decay bring, each element with its own divisor."""
    linear, apart, divisor, _ = _linear(moved)
    arrays = {**{k: v / divisor for k, v in linear.items() if k not in ("gradient", "clipping")}, **apart}
    if at is not None:
        return {name: float(values[at]) for name, values in arrays.items()}
    direction = change / total if total else change
    return {name: math.fsum((values * direction).ravel().tolist()) for name, values in arrays.items()}


MOST = 1 << 16  # elements of a weight, and numbers of a use, that a page holds


def page_data(found: Why) -> dict[str, Any]:
    """What the page shows: the change as a map, and for each element its terms and the places that moved it."""
    step, weight, moved = found.record
    terms, factor = split(moved)
    change = moved.after.astype(np.float64) - moved.before
    wide = change.reshape(len(change), -1) if change.ndim > 1 else change.reshape(1, -1)
    rows, columns = min(wide.shape[0], 256), min(wide.shape[1], 256)

    def corner(x: Array) -> list[float]:
        return [float(f"{v:.7g}") for v in x.reshape(wide.shape)[:rows, :columns].ravel()]

    uses = []
    for use in step.uses.get(id(weight), []):
        if use.dz is None or use.op not in ("linear", "embedding"):
            continue
        count = min(use.rows(), 2048)
        dz = use.dz.reshape(use.rows(), -1)[:count, : rows if use.argument == 1 else columns]
        uses.append(
            {
                "label": f"{use.op} in {use.scope}" if use.scope else use.op,
                "kind": "embedding" if use.op == "embedding" else ("weight" if use.argument == 1 else "bias"),
                "rows": count,
                "cut": use.rows() > count,
                "dz": [float(f"{v:.6g}") for v in dz.ravel()],
                "x": [float(f"{v:.6g}") for v in use.inputs[0].reshape(use.rows(), -1)[:count, :columns].ravel()]
                if use.op == "linear" and use.argument == 1
                else None,
                "ids": use.ids()[:count].tolist() if use.op == "embedding" else None,
            }
        )
    tokens = None if step.ids is None else {"ids": step.ids.ravel()[:2048].tolist(), "length": step.ids.shape[1]}
    return {
        "name": found.name,
        "optimizer": found.optimizer,
        "step": found.step,
        "loss": step.loss,
        "shape": list(change.shape),
        "rows": rows,
        "columns": columns,
        "cut": wide.shape != (rows, columns),
        "before": corner(moved.before.astype(np.float64)),
        "change": corner(change),
        "factor": corner(factor * _clipping(moved)),
        "terms": {name: corner(values) for name, values in terms.items()},
        "uses": uses,
        "tokens": tokens,
        "whole": {
            "change": found.change,
            "terms": found.terms,
            "places": [
                [p.example, p.position, p.token, p.use, float(f"{p.part:.6g}")]
                for p in sorted(found.places, key=lambda p: -abs(p.part))[:60]
            ],
            "examples": [[k, float(f"{v:.6g}")] for k, v in found.by_example().items()],
        }
        if found.index is None
        else None,
        "picked": None if found.index is None else int(np.ravel_multi_index(found.index, change.shape)),
    }
