"""What is to be seen in a picture of a graph, before anyone lays it out: boxes, arrows and clusters as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from minigrad.core.op import OPS, Facts, facts
from minigrad.look.pages.folds import TURN, real, rows, with_loops
from minigrad.look.recording import OpRecord, Summary, TensorRecord, Trace

BARS = 24  # of the gradients of a row of modules
SMALL = 40  # a graph of so many ops shows values, gradients and saved arrays


def facts_of(name: str) -> Facts:
    """The facts of an op by its name; of one that is not in the table (a user's own), none."""
    return facts(OPS[name]) if name in OPS else Facts()


def symbol(name: str) -> str:
    """How pictures write an op: its symbol, or else its name."""
    return facts_of(name).symbol or name


@dataclass
class Box:
    """Something to be seen.

    ``kind``: op, module, parameter, leaf, input, constant, value, saved, result, joint or note.
    ``heat`` is how large its gradient is, from 0 to 1. ``copies`` is how many alike are folded into it. ``opens`` is
    the path of the module whose inside it hides.
    """

    id: str
    kind: str
    lines: list[str]
    module: str = ""
    tooltip: list[str] = field(default_factory=list)
    heat: float | None = None
    copies: int = 1
    opens: str | None = None


@dataclass
class Arrow:
    """From one box to another. ``kind``: flow, parameter, saved, tied, or again: from a turn of a loop to the next."""

    tail: str
    head: str
    label: str = ""
    kind: str = "flow"


@dataclass
class Cluster:
    """A frame around what belongs to one module."""

    path: str
    parent: str
    title: str
    tooltip: list[str] = field(default_factory=list)


@dataclass
class Picture:
    """All of it; ``across`` is the direction of reading: from left to right, else downwards."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    heat_range: tuple[float, float] | None = None
    across: bool = False


@dataclass
class Record:
    """What pictures are drawn from: the ops that made one tensor, and the gradients that are known, by tensor id."""

    trace: Trace
    root: int
    ops: list[OpRecord]
    gradients: dict[int, Summary]

    @classmethod
    def of(cls, trace: Trace, root: int | None = None) -> Record:
        """The ops behind a tensor of a trace: by default the one that backward last started from, or the last result.

        Raises ValueError where nothing was recorded.
        """
        if not trace.ops:
            raise ValueError(
                "nothing was recorded, so there is no graph to draw: run ops on tensors with requires_grad=True"
            )
        passes = [p for p in trace.passes if root is None or p.root == root]
        if root is None:
            root = passes[-1].root if passes else trace.ops[-1].output
        gradients: dict[int, Summary] = {}
        if passes:
            gradients[root] = passes[-1].gradient
            for step in passes[-1].steps:
                gradients.update({g.tensor: g.after for g in step.grads if g is not None})
        made_by = [trace.ops[i] for i in trace.ancestors(root)]
        if not made_by:
            raise ValueError(f"no recorded op made {trace.label(root)}, so there is no graph to draw")
        return cls(trace, root, made_by, gradients)

    def module(self, op: OpRecord) -> str:
        """The path of the module an op ran in; nothing for the outermost, which has a type but no path."""
        return op.module if op.module in self.trace.modules else ""

    @cached_property
    def names(self) -> dict[int, str]:
        """What the tensors are called; several of one name are told apart: wei, wei′; of many by number: h[17]."""
        seen: dict[str, list[int]] = {}
        for tensor in sorted({i["tensor"] for op in self.ops for i in op.inputs if "tensor" in i} | {self.root}):
            name = self.trace.tensors[tensor].name
            if name is not None:
                seen.setdefault(name, []).append(tensor)
        found = {}
        for name, tensors in seen.items():
            for n, tensor in enumerate(tensors):
                found[tensor] = f"{name}[{n}]" if len(tensors) > 4 else name + primes(n)
        return found

    def label(self, tensor: int) -> str:
        """The name of a tensor; where it has none, what a trace calls it."""
        return self.names.get(tensor) or self.trace.label(tensor)

    def heat(self, tensors: Iterable[int]) -> float | None:
        """The largest gradient norm among these tensors."""
        norms = [self.gradients[t].norm for t in tensors if t in self.gradients]
        return max((n for n in norms if n), default=None)


def slope(norms: list[float]) -> str:
    """Norms of gradients as a row of bars, by their logarithms, with the first and the last: do they grow or vanish?

    What is not finite is an exclamation mark.
    """
    if len(norms) < 2:
        return ""
    shown = [norms[round(i * (len(norms) - 1) / (min(len(norms), BARS) - 1))] for i in range(min(len(norms), BARS))]
    sizes = [norm for norm in shown if math.isfinite(norm)] or [1.0]
    span = max(math.log(max(sizes)) - math.log(min(sizes)), math.log(10))
    heights = [round(7 + 7 * math.log(n / max(sizes)) / span) if math.isfinite(n) else -1 for n in shown]
    return f"gradient {''.join('▁▂▃▄▅▆▇█!'[height] for height in heights)} {short(norms[0], 2)} … {short(norms[-1], 2)}"


def primes(number: int) -> str:
    """What tells the second, third, fourth of one name apart: ′, ″, ‴, (5), ..."""
    return "′″‴"[max(0, number - 1) : number] if number < 4 else f" ({number + 1})"  # noqa: RUF001


def size(shape: Iterable[int]) -> str:
    """A shape as it stands on an arrow: 12×64×128; nothing for a single number."""
    return "×".join(str(n) for n in shape)  # noqa: RUF001


def numbers(summary: Summary | None, most: int = 4) -> str:
    """A small array in short; nothing for one that is larger or not known."""
    if summary is None or summary.data is None or len(summary.data) > most:
        return ""

    def text(value: Any) -> Any:
        return [text(v) for v in value] if isinstance(value, list) else short(value, 4 if single else 3)

    single = len(summary.data) == 1

    nested = text(np.array(summary.data, dtype=object).reshape(summary.shape).tolist())
    return str(nested).replace("'", "")


def short(value: Any, digits: int = 4) -> str:
    """A number as a reader wants it; what JSON has as text ("nan") as it is."""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def leaf_kind(tensor: TensorRecord) -> str:
    """How to draw a tensor that no recorded op made: a constant that the program has a name for is an input."""
    return "input" if tensor.kind == "constant" and tensor.name is not None else tensor.kind


def describe_tensor(record: Record, tensor: int) -> list[str]:
    """What a tooltip says of a tensor."""
    value = record.trace.tensors[tensor].value
    lines = [f"{record.label(tensor)}: {size(value.shape) or 'a number'}, {value.dtype}"]
    constant = record.trace.tensors[tensor].kind == "constant"
    for name, summary in (("value", value), ("gradient", record.gradients.get(tensor))):
        if summary is None and constant:
            continue
        if summary is None:
            lines.append(f"{name}: not computed")
        elif numbers(summary):
            lines.append(f"{name}: {numbers(summary)}")
        elif summary.norm is not None:
            lines.append(f"{name}: norm {short(summary.norm)}, from {short(summary.min)} to {short(summary.max)}")
        if summary is not None and summary.nonfinite:
            lines.append(f"{name}: {summary.nonfinite} not finite")
    return lines


def describe_op(record: Record, op: OpRecord) -> list[str]:
    """What a tooltip says of an op: formulas, module, line, what is saved."""
    lines = [op.op, *op.formulas]
    if op.module:
        lines.append(f"module: {op.module}" + (f" ({op.module_type})" if op.module_type not in ("", op.module) else ""))
    if op.source is not None:
        lines += [f"{op.source.file}:{op.source.line} in {op.source.function}", f"    {op.source.text}"]
    if op.saved:
        lines.append("saved for backward: " + ", ".join(f"{n} {size(s.shape)}".rstrip() for n, s in op.saved.items()))
    return [*lines, *describe_tensor(record, op.output)]


class Modules:
    """The tree of modules that ops ran in, and which of them are alike.

    A module that merely holds others (a list, a wrapper around one) is passed over: its content stands for it.
    """

    def __init__(self, record: Record, fold: bool, loops: bool | None = None) -> None:
        self.types = dict(record.trace.modules)
        self.paths = {op.id: record.module(op) for op in record.ops}
        if fold if loops is None else loops:
            self.paths = with_loops(record, self.paths)
        self.inside: dict[str, list[OpRecord]] = {}  # path -> the ops of it and of all below it
        own: set[str] = set()
        children: dict[str, dict[str, None]] = {}
        self.visits: dict[tuple[int, str], int] = {}  # op id, path -> how often the run had left the path before
        before: set[str] = set()
        for op in record.ops:
            path = self.paths[op.id]
            around = prefixes(path)
            own.add(path)
            for prefix in around:
                earlier = self.inside.setdefault(prefix, [])
                last = self.visits[earlier[-1].id, prefix] if earlier else 0
                self.visits[op.id, prefix] = last + (bool(earlier) and prefix not in before)
                earlier.append(op)
            for parent, child in zip(["", *around], around, strict=False):
                children.setdefault(parent, {})[child] = None
            before = set(around)
        self.group: dict[str, list[str]] = {}  # path -> the paths of all that are alike, itself too
        self.gives: dict[str, int] = {}  # path of one of these -> the tensor that it gives to the next
        self.first: dict[int, int] = {}  # op id -> that of the first alike
        for parent in ["", *self.inside]:
            turns = parent.rpartition(".")[2].startswith(TURN)
            if fold or turns:
                numbered = [c for c in children.get(parent, ()) if c.rpartition(".")[2].isdigit()]
                for row in rows(record, [self.inside[path] for path in numbered]):
                    self._fold([numbered[k] for k in row.members], row.carries)
        self.shown: set[str] = set(self.group)
        for path in self.inside:
            below = [c.rpartition(".")[2] for c in children.get(path, ())]
            listing = real(path) not in self.types and all(name.isdigit() for name in below)
            wraps = len(below) < 2 or listing or path.rpartition(".")[2].startswith(TURN)
            if path in own or not below or not wraps:
                self.shown.add(path)
        self.leaves = {path for path in self.shown if not children.get(path)}

    def _fold(self, row: list[str], carries: int) -> None:
        """Let the first of a row stand for all of it. Parents come before children, so an outer fold wins."""
        for path in row:
            self.group[path] = row
            self.gives[path] = self.inside[path][carries].output
            for op, first in zip(self.inside[path], self.inside[row[0]], strict=True):
                if path != row[0]:
                    self.first.setdefault(op.id, first.id)

    def chain(self, path: str) -> list[str]:
        """The modules that are shown around a path, outermost first, itself last."""
        return [p for p in prefixes(path) if p in self.shown]

    def canonical(self, op: int) -> int:
        """The first op alike."""
        while op in self.first:
            op = self.first[op]
        return op

    def alike(self, path: str) -> str:
        """The path of the first module that is like this one."""
        for prefix in prefixes(path):
            first = self.group.get(prefix, [prefix])[0]
            if first != prefix:
                return self.alike(first + path[len(prefix) :])
        return path

    def apart(self, a: str, b: str) -> str:
        """Where two paths lead through different members of one fold: "turn" of a loop, or "block"; else nothing."""
        for p, q in zip(prefixes(a), prefixes(b), strict=False):
            if p != q:
                return "" if q not in self.group.get(p, ()) else "turn" if is_turn(p) else "block"
        return ""

    def title(self, path: str, parent: str) -> tuple[str, str]:
        """What to call a module inside another: its name there, or those of all alike; and its type, or nothing."""
        name, kind = real(path[len(parent) + 1 :] if parent else path), self.types.get(real(path), "")
        row = self.group.get(path)
        if row:
            last = row[-1].rpartition(".")[2]
            name = f"t = {path.rpartition('.')[2]} … {last}" if is_turn(path) else f"{name} … {last}"
            kind = f"{'' if is_turn(path) else kind} ×{len(row)}".strip()  # noqa: RUF001
        return name, kind


def is_turn(path: str) -> bool:
    """Whether a path is that of one turn of a loop."""
    return path.rpartition(".")[0].rpartition(".")[2].startswith(TURN)


def prefixes(path: str) -> list[str]:
    """a.b.c -> a, a.b, a.b.c"""
    parts = path.split(".") if path else []
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def draw(
    record: Record, modules: Modules, opened: set[str], limit: int, plumbing: bool = True, small: bool = False
) -> Picture:
    """The graph with some modules open, as clusters, and each other one as a box.

    Without ``plumbing``, ops that only reorder numbers (views, transposes) are left out. At most ``limit`` boxes of ops
    and modules are drawn, the last ones. ``small`` adds values, gradients and saved arrays.
    """
    return _Drawing(record, modules, opened, plumbing, small).draw(limit)


class _Drawing:
    """The work of ``draw``: gather ops into boxes, then connect the boxes as the ops are connected."""

    def __init__(self, record: Record, modules: Modules, opened: set[str], plumbing: bool, small: bool) -> None:
        self.record, self.modules, self.opened, self.small = record, modules, opened, small
        self.tensors = record.trace.tensors
        self.made = {op.output: op for op in record.ops}
        self.root = self.made.get(record.root)
        self.picture = Picture(record.label(record.root))
        self.place: dict[int, tuple[str, str]] = {}  # op id -> the closed module it is in, or "", in which open one
        self.keys: dict[int, Any] = {}  # op id -> its box: a closed module and which visit to it, or the first op alike
        self.members: dict[Any, list[OpRecord]] = {}  # such a key -> the ops of that box
        self.through: dict[int, int] = {}  # what an op that is left out made -> what it made that of
        self.names: dict[Any, str] = {}  # a key of members, or a leaf -> box id
        self.arrows: dict[tuple[str, str, str], list[str]] = {}  # tail, head, kind -> labels
        for op in record.ops:
            self._gather(op, plumbing)

    def draw(self, limit: int) -> Picture:
        keys = sorted(self.members, key=lambda key: self.members[key][-1].id)[-limit:]
        left_out = len(self.members) - len(keys)
        if left_out:
            self.picture.notes.append(f"showing the last {len(keys):,} boxes of {len(self.members):,}")
            self.names["cut"] = self._add("note", [f"{left_out:,} earlier boxes", "not shown"]).id
        for key in sorted(keys, key=lambda key: self.members[key][0].id):
            self.names[key] = self._box(self.members[key]).id
        for key in keys:
            for op in self.members[key]:
                self._inputs(op, self.names[key])
        self.picture.arrows = [
            Arrow(tail, head, ", ".join(labels[:2]), kind)
            for (tail, head, kind), labels in self.arrows.items()
            if tail != head or kind == "again"
        ]
        self._clusters()
        _join(self.picture)
        if not self.small:
            _scale_heat(self.picture, self.record)
        elif not self.record.gradients:
            self.picture.notes.append("gradients not computed: call backward() while tracing")
        return self.picture

    def _gather(self, op: OpRecord, plumbing: bool) -> None:
        """Say in which box an op goes."""
        first = self.modules.canonical(op.id)
        chain = self.modules.chain(self.modules.paths[first])
        closed = next((p for p in chain if p not in self.opened), "")
        around = ["", *(chain[: chain.index(closed)] if closed else chain)]
        self.place[op.id] = closed, around[-1]
        self.keys[op.id] = (closed, self.modules.visits[first, closed]) if closed else first
        if not plumbing and not closed and facts_of(op.op).reshapes and op is not self.root:
            source = op.inputs[0].get("tensor", -1)
            source = self.through.get(source, source)
            if source in self.made:
                self.through[op.output] = source
                return
        self.members.setdefault(self.keys[op.id], []).append(op)

    def _add(self, kind: str, lines: list[str], module: str = "", about: list[str] | None = None) -> Box:
        box = Box(f"n{len(self.picture.boxes)}", kind, [line for line in lines if line], module, about or [])
        self.picture.boxes.append(box)
        return box

    def _connect(self, tail: str, head: str, label: str = "", kind: str = "flow") -> None:
        labels = self.arrows.setdefault((tail, head, kind), [])
        if label and label not in labels:
            labels.append(label)

    def _box(self, inside: list[OpRecord]) -> Box:
        """The box of a closed module, or of an op and those that are alike."""
        closed, around = self.place[inside[0].id]
        return self._module(closed, around, inside) if closed else self._op(around, inside)

    def _module(self, path: str, around: str, inside: list[OpRecord]) -> Box:
        """A closed module; ops outside of it between two of its own make it two boxes, the second one with a prime."""
        name, kind = self.modules.title(path, around)
        name += primes(self.keys[inside[0].id][1])
        given = {i["tensor"] for op in inside for i in op.inputs if "tensor" in i}
        parameters = sum(math.prod(self.tensors[t].value.shape) for t in given if self.tensors[t].kind == "parameter")
        single = {self.modules.canonical(op.id) for op in inside}
        about = [f"{real(path)} ({kind})" if kind else path, f"ops: {len(inside)}, parameters: {parameters:,}"]
        if len(inside) > len(single):
            about[-1] += f", in all {len(inside) // len(single)} alike"
        if path in self.modules.leaves and len(single) == 1:
            about += describe_op(self.record, inside[0])
        norms = self._norms(path)
        about += [f"gradient of {number}: norm {short(norm)}" for number, norm in norms.items()]
        box = self._add("module", [name, kind, slope(list(norms.values()))], around, about)
        box.opens, box.copies = path, len(self.modules.group.get(path, [path]))
        box.heat = self.record.heat([inside[-1].output])
        return box

    def _op(self, around: str, inside: list[OpRecord]) -> Box:
        last = any(op is self.root for op in inside)
        op = self.root if self.root is not None and last else inside[0]
        result = self.tensors[op.output]
        lines = [symbol(op.op)]
        if self.small:
            lines += [self.record.names.get(result.id, ""), *self._values(result)]
        elif last:
            lines += [self.record.names.get(result.id, ""), numbers(result.value)]
        elif lines[0] == op.op:
            lines.append(size(result.value.shape))
        box = self._add("result" if last else "op", lines, around, describe_op(self.record, op))
        if not self.small and not last:
            box.heat = self.record.heat(o.output for o in inside)
        return box

    def _values(self, tensor: TensorRecord) -> list[str]:
        """The lines of a box on a small graph: value, or shape, and gradient."""
        gradient = numbers(self.record.gradients.get(tensor.id))
        return [numbers(tensor.value) or size(tensor.value.shape), f"grad {gradient}" if gradient else ""]

    def _inputs(self, op: OpRecord, head: str) -> None:
        """Connect what an op is given to its box. Leaves are drawn for the first of ops that are alike only."""
        closed, around = self.place[op.id]
        first = self.modules.canonical(op.id) == op.id
        for given in op.inputs:
            source = self.through.get(given.get("tensor", -1), given.get("tensor", -1))
            if source in self.made:
                self._flow(self.made[source], op, head, size(self.tensors[given["tensor"]].value.shape))
            elif source >= 0 and self.tensors[source].kind == "parameter" and closed:
                self._tie(self.tensors[source], op, head)
            elif source >= 0 and first and not (closed and self.tensors[source].name is None):
                self._leaf(self.tensors[source], around, head)
            elif self.small and given.get("number") is not None:
                self._connect(self._add("constant", [short(given["number"])], around, ["a plain number"]).id, head)
        for name, value in op.constants.items():
            whole = isinstance(value, dict) and value["array"]["dtype"].startswith("int")  # ids, targets; not masks
            if first and isinstance(value, dict) and (whole or not closed):
                array = Summary(**value["array"])
                about = [f"{name}: {size(array.shape) or 'a number'}, {array.dtype}"]
                box = self._add(
                    "input" if whole else "constant", [name, numbers(array) if self.small else ""], around, about
                )
                self._connect(box.id, head, size(array.shape))
        if self.small and not closed:
            for name, array in op.saved.items():
                about = [f"{name}: kept until backward reads it", size(array.shape), numbers(array)]
                self._connect(self._add("saved", [name, numbers(array)], around, about).id, head, kind="saved")

    def _flow(self, maker: OpRecord, op: OpRecord, head: str, label: str) -> None:
        apart = self.modules.apart(self.modules.paths[maker.id], self.modules.paths[op.id])
        tail = self.names.get(self.keys[maker.id], self.names.get("cut", ""))
        if apart == "turn":
            self._connect(tail, head, kind="again")
        elif not apart:
            self._connect(tail, head, label)

    def _tie(self, parameter: TensorRecord, op: OpRecord, head: str) -> None:
        """An arrow from the closed module that a parameter belongs to, to another one that uses it too."""
        path, _, name = (parameter.name or "").rpartition(".")
        home = next((p for p in self.modules.chain(path) if p not in self.opened), ""), 0
        if self.names.get(home, head) != head and not self.modules.apart(path, self.modules.paths[op.id]):
            self._connect(self.names[home], head, name, "tied")

    def _leaf(self, tensor: TensorRecord, around: str, head: str) -> None:
        """Parameters stand in each module that uses them, other leaves outside of all."""
        parameter = tensor.kind == "parameter"
        module = around if parameter else ""
        if (tensor.id, module) not in self.names:
            name = self.record.label(tensor.id)
            if parameter and name.rpartition(".")[0] == real(around):
                name = name.rpartition(".")[2]
            lines = [name, *(self._values(tensor) if self.small else [size(tensor.value.shape)])]
            box = self._add(leaf_kind(tensor), lines, module, describe_tensor(self.record, tensor.id))
            box.heat = None if self.small else self.record.heat([tensor.id])
            self.names[tensor.id, module] = box.id
        label = "" if parameter else size(tensor.value.shape)
        self._connect(self.names[tensor.id, module], head, label, "parameter" if parameter else "flow")

    def _clusters(self) -> None:
        used = {path for box in self.picture.boxes for path in self.modules.chain(box.module)}
        for path in sorted(used, key=lambda p: (p.count("."), p)):
            parent = ["", *self.modules.chain(path)][-2]
            name, kind = self.modules.title(path, parent)
            norms = self._norms(path)
            title = ", ".join(filter(None, (f"{name}: {kind}" if kind else name, slope(list(norms.values())))))
            about = [f"gradient of {number}: norm {short(norm)}" for number, norm in norms.items()]
            self.picture.clusters.append(Cluster(path, parent, title, about))

    def _norms(self, path: str) -> dict[str, float]:
        """Of a module that stands for several alike: the norm of the gradient of what each gave, by its number."""
        row = self.modules.group.get(path, ())
        found = {}
        for member in row:
            gradient = self.record.gradients.get(self.modules.gives[member])
            if gradient is not None and (gradient.norm or gradient.nonfinite):
                whole = gradient.norm is not None and not gradient.nonfinite
                found[member.rpartition(".")[2]] = gradient.norm if whole and gradient.norm else math.nan
        return found


def _join(picture: Picture) -> None:
    """Let what goes to several boxes of one cluster enter it once, and part inside: x = x + f(x) stays in its frame."""
    around = {cluster.path: cluster.parent for cluster in picture.clusters}
    home = {box.id: box.module for box in picture.boxes}

    def within(box: str, cluster: str) -> bool:
        path = home[box]
        while path and path != cluster:
            path = around[path]
        return path == cluster

    for cluster in picture.clusters:
        entering: dict[str, list[Arrow]] = {}
        for arrow in picture.arrows:
            if arrow.kind == "flow" and within(arrow.head, cluster.path) and not within(arrow.tail, cluster.path):
                entering.setdefault(arrow.tail, []).append(arrow)
        for tail, arrows in entering.items():
            if len(arrows) > 1:
                joint = f"j{sum(box.kind == 'joint' for box in picture.boxes)}"
                picture.boxes.append(Box(joint, "joint", [], cluster.path))
                home[joint] = cluster.path
                label = arrows[0].label
                picture.arrows.insert(picture.arrows.index(arrows[0]), Arrow(tail, joint, label))
                for arrow in arrows:
                    arrow.tail = joint
                    arrow.label = "" if arrow.label == label else arrow.label


def _scale_heat(picture: Picture, record: Record) -> None:
    """From gradient norms to 0 (small) ... 1 (large), by their logarithms; the scale is that of the whole graph."""
    norms = [g.norm for tensor, g in record.gradients.items() if g.norm and tensor != record.root]
    if not norms:
        return
    low, high = max(min(norms), max(norms) * 1e-4), max(norms)  # some gradients are 0 but for rounding
    picture.heat_range = low, high
    span = math.log(high / low) or 1.0
    for box in picture.boxes:
        if box.heat:
            box.heat = round(min(1.0, max(0.0, math.log(box.heat / low) / span)), 3)
