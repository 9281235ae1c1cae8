"""What is alike in a graph and forms a chain: blocks of a model, turns of a loop. Such rows are drawn once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.look.recording import OpRecord

if TYPE_CHECKING:
    from minigrad.look.pages.picture import Record

TURN = "↻"  # how a part of a path begins that stands for a loop; the part after it is the number of the turn
FEWEST = 3  # turns that make a loop
LENGTH = 8  # ops in all of them
LONGEST = 2000  # ops in one turn


class Chain:
    """Groups of ops that are alike: each takes what the one before gave, and from elsewhere what the first took.

    So drawing all of them as the first can neither make a circle nor give an op more inputs than it has.
    """

    def __init__(self, record: Record, first: Sequence[OpRecord]) -> None:
        self.record = record
        self.groups = [list(first)]
        self.shape = self._shape(first)
        self.links: dict[tuple[int, int], Any] | None = None

    def add(self, group: Sequence[OpRecord]) -> bool:
        """Take another group at the end; False where it does not go on the chain."""
        if len(group) != len(self.groups[0]) or self._shape(group) != self.shape:
            return False
        links = self._links(group)
        if links is None or (self.links is not None and links != self.links):
            return False
        self.links = links
        self.groups.append(list(group))
        return True

    def _shape(self, group: Sequence[OpRecord]) -> list[Any]:
        """Which op takes what of the group's own, and what kinds of things from outside."""
        place = {op.output: i for i, op in enumerate(group)}

        def sign(given: dict[str, Any]) -> Any:
            if "tensor" not in given:
                return str(given["number"])
            tensor = self.record.trace.tensors[given["tensor"]]
            return place.get(tensor.id, "outside"), tensor.kind == "parameter", tuple(tensor.value.shape)

        return [(op.op, *(sign(given) for given in op.inputs)) for op in group]

    def _links(self, group: Sequence[OpRecord]) -> dict[tuple[int, int], Any] | None:
        """Where what a group takes from outside comes from; None where that is no chain."""
        own = {op.output for op in group}
        before = {op.output: i for i, op in enumerate(self.groups[-1])}
        links: dict[tuple[int, int], Any] = {}
        for i, (op, model) in enumerate(zip(group, self.groups[0], strict=True)):
            for j, (given, first) in enumerate(zip(op.inputs, model.inputs, strict=True)):
                tensor = given.get("tensor")
                if tensor is None or tensor in own:
                    continue
                if tensor in before:
                    links[i, j] = before[tensor]
                elif tensor == first["tensor"]:
                    links[i, j] = "the same"
                elif self.record.trace.tensors[tensor].made_by is None:
                    links[i, j] = "a leaf"
                else:
                    return None
        return links if any(isinstance(link, int) for link in links.values()) else None


class Row(NamedTuple):
    """Groups that are links of a chain, by their numbers, and which op of each gives to the next."""

    members: list[int]
    carries: int


def rows(record: Record, groups: Sequence[Sequence[OpRecord]]) -> list[Row]:
    """Which groups follow one another as links of a chain: two or more each."""
    chains: list[tuple[list[int], Chain]] = []
    for number, group in enumerate(groups):
        if chains and chains[-1][1].add(group):
            chains[-1][0].append(number)
        else:
            chains.append(([number], Chain(record, group)))
    return [
        Row(members, max(link for link in chain.links.values() if isinstance(link, int)))
        for members, chain in chains
        if chain.links
    ]


def with_loops(record: Record, paths: dict[int, str]) -> dict[int, str]:
    """The paths of ops with the turns of loops as modules of their own: ``cell.linear`` -> ``↻0.17.cell.linear``.

    A loop is a sequence of ops that comes three times or more, from the same lines, each time with what the last gave.
    """
    ops = record.ops
    numbers: dict[Any, int] = {}
    labels = np.array([numbers.setdefault(_label(op, paths[op.id]), len(numbers)) for op in ops])
    taken = np.zeros(len(ops), dtype=bool)
    found = dict(paths)
    count = 0
    for start, period, times in _repeats(labels):
        if taken[start : start + period * times].any():
            continue
        turns = [ops[start + k * period : start + (k + 1) * period] for k in range(times)]
        row = max((row.members for row in rows(record, turns)), key=len, default=[])
        if len(row) < FEWEST:
            continue
        members = [turns[k] for k in row]
        inside = _common([paths[op.id] for turn in members for op in turn])
        for k, turn in enumerate(members):
            for op in turn:
                rest = paths[op.id][len(inside) :].lstrip(".")
                found[op.id] = ".".join(filter(None, (inside, f"{TURN}{count}", str(k), rest)))
        taken[start + row[0] * period : start + (row[-1] + 1) * period] = True
        count += 1
    return found


def real(path: str) -> str:
    """A path without the turns of loops: that of a module."""
    parts = path.split(".")
    turns = [part.startswith(TURN) for part in parts]
    return ".".join(part for i, part in enumerate(parts) if not turns[i] and not (i and turns[i - 1]))


def _label(op: OpRecord, path: str) -> Any:
    return path, op.op, op.source and (op.source.file, op.source.line)


def _repeats(labels: Any) -> list[tuple[int, int, int]]:
    """Sequences that come several times without a gap, as start, length and times; first those that take in most."""
    found = []
    for period in range(1, min(len(labels) // FEWEST, LONGEST) + 1):
        equal = np.concatenate([[False], labels[:-period] == labels[period:], [False]])
        edges = np.flatnonzero(equal[1:] != equal[:-1])
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            times = int(end - start) // period + 1
            if times >= FEWEST and times * period >= LENGTH:
                found.append((int(start), period, times))
    return sorted(found, key=lambda each: (-each[1] * each[2], each[1], each[0]))


def _common(paths: Sequence[str]) -> str:
    """The path of the innermost module that all of these are in."""
    parts = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(same[0] for same in takewhile(lambda each: len(set(each)) == 1, parts))
