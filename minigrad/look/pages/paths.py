"""Backpropagation as a sum over paths: from one element of a weight to the loss, along single numbers."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import numpy as np

from minigrad.core.graph import unbroadcast
from minigrad.look.replay import Replay
from minigrad.ops import Array

MAX_OPS = 500
MAX_PRODUCTS = 40_000  # local derivatives to look at, zeros too
MAX_ELEMENTS = 200  # elements of weights that get their paths
MAX_PATHS = 8  # of an element: the strongest
MAX_PLACES = 20_000  # numbers that all the paths pass, together

Place = tuple[int, int]  # a tensor's id, and the flat index of an element


@dataclass
class Path:
    """One way from an element to the loss: the elements passed, between them ops (entered at ``slots``), and slopes."""

    places: list[Place]
    ops: list[int]
    slots: list[int]
    derivatives: list[float]
    product: float


@dataclass
class Element:
    """An element of a weight: its gradient, how many paths lead to the loss, and the strongest of them."""

    tensor: int
    index: int
    gradient: float
    count: int
    paths: list[Path]


@dataclass
class Paths:
    """The elements that were looked at; ``note`` says what was left out."""

    elements: list[Element] = field(default_factory=list)
    note: str = ""


def jacobian(replay: Replay, op: int) -> list[Array | None]:
    """The local derivatives of one op: per input d output / d input, (output elements, input elements), or None.

    Each row is what backward makes of a unit vector.
    """
    record = replay.trace.ops[op]
    z = replay.values[record.output]
    wanted = ["tensor" in s and replay.trace.tensors[s["tensor"]].kind != "constant" for s in record.inputs]
    shapes = [replay.values[s["tensor"]].shape if w else () for s, w in zip(record.inputs, wanted, strict=True)]
    found: list[Array | None] = [
        np.zeros((z.size, int(np.prod(s)))) if w else None for w, s in zip(wanted, shapes, strict=True)
    ]
    for row in range(z.size):
        unit = np.zeros(z.size, dtype=z.dtype)
        unit[row] = 1
        with np.errstate(all="ignore"):
            for matrix, shape, dx in zip(found, shapes, replay.backwards[op](unit.reshape(z.shape)), strict=False):
                if matrix is not None and dx is not None:
                    matrix[row] = unbroadcast(dx, shape).ravel()
    return found


def products(replay: Replay) -> int:
    """How many local derivatives there are between single numbers."""
    total = 0
    for number in replay.order:
        record = replay.trace.ops[number]
        inputs = {s["tensor"] for s in record.inputs if "tensor" in s}
        total += replay.values[record.output].size * sum(
            replay.values[t].size for t in inputs if replay.trace.tensors[t].kind != "constant"
        )
    return total


def explore(replay: Replay) -> Paths:
    """The paths behind the gradients of a replayed backward pass.

    Along each the local derivatives multiply, and the products add up to the gradient. Paths along which a local
    derivative is 0 add nothing and are left out. For large graphs there are no paths, only the note.
    """
    if replay.root_value.size != 1:
        return Paths(note="Paths are shown where backward starts from a single number.")
    if len(replay.order) > MAX_OPS:
        return Paths(note=f"This graph has {len(replay.order):,} ops. Paths are shown for graphs of up to {MAX_OPS}.")
    total = products(replay)
    if total > MAX_PRODUCTS:
        return Paths(
            note=f"This graph has {total:,} local derivatives between single numbers. "
            f"Paths are shown for graphs of up to {MAX_PRODUCTS:,}: try one neuron, or smaller layers."
        )
    graph = _Scalars(replay)
    result = Paths()
    places = 0
    candidates = [t for t in sorted(replay.values) if replay.trace.tensors[t].kind in ("parameter", "leaf")]
    sizes = [replay.values[t].size for t in candidates]
    each = MAX_ELEMENTS if sum(sizes) <= MAX_ELEMENTS else max(1, MAX_ELEMENTS // len(sizes))
    for tensor, size in zip(candidates, sizes, strict=True):
        for index in range(min(size, each)):
            if places < MAX_PLACES:
                element = graph.element((tensor, index))
                result.elements.append(element)
                places += sum(len(p.places) for p in element.paths)
    if len(result.elements) < sum(sizes):
        result.note = f"Shown are {len(result.elements)} of {sum(sizes)} elements: of each tensor the first {each}."
    return result


class _Scalars:
    """The graph of single numbers: from each, where it goes and with which local derivative."""

    def __init__(self, replay: Replay) -> None:
        self.root: Place = (replay.root, 0)
        self.forward: dict[Place, list[tuple[Place, int, int, float]]] = {}
        self.gradient: dict[Place, float] = {self.root: float(replay.start().item())}
        self.count: dict[Place, int] = {self.root: 1}
        self.best: dict[Place, float] = {self.root: 1.0}  # the largest |product| of a path from here to the root
        for number in reversed(replay.order):
            record = replay.trace.ops[number]
            for slot, matrix in enumerate(jacobian(replay, number)):
                if matrix is None:
                    continue
                tensor = record.inputs[slot]["tensor"]
                for row, column in np.argwhere(matrix):
                    above = (record.output, int(row))
                    if above in self.count:
                        self._connect((tensor, int(column)), above, number, slot, float(matrix[row, column]))

    def _connect(self, place: Place, above: Place, op: int, slot: int, derivative: float) -> None:
        """An edge upwards; everything above is known already, as the newest op comes first."""
        self.forward.setdefault(place, []).append((above, op, slot, derivative))
        self.gradient[place] = self.gradient.get(place, 0.0) + self.gradient[above] * derivative
        self.count[place] = self.count.get(place, 0) + self.count[above]
        self.best[place] = max(self.best.get(place, 0.0), abs(derivative) * self.best[above])

    def element(self, place: Place) -> Element:
        """The strongest paths of an element, strongest first: best-first search with an exact bound."""
        found: list[Path] = []
        tie = itertools.count()
        queue = [(-self.best.get(place, 0.0), next(tie), Path([place], [], [], [], 1.0))]
        while queue and len(found) < MAX_PATHS and place in self.count:
            _, _, path = heapq.heappop(queue)
            here = path.places[-1]
            if here == self.root:
                found.append(path)
                continue
            for above, op, slot, derivative in self.forward.get(here, []):
                product = path.product * derivative
                longer = Path(
                    [*path.places, above],
                    [*path.ops, op],
                    [*path.slots, slot],
                    [*path.derivatives, derivative],
                    product,
                )
                heapq.heappush(queue, (-abs(product) * self.best[above], next(tie), longer))
        start = self.gradient[self.root]
        for path in found:
            path.product *= start
        return Element(*place, self.gradient.get(place, 0.0), self.count.get(place, 0), found)
