"""A clock for the walk back: tells which arrays were changed in place after an op had saved them for its backward."""

from __future__ import annotations

import itertools
import weakref
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.core.op import Array, facts

clock = itertools.count(1)  # one tick for each node made and each array written: tells which came first


class Writes:
    """When each array was last written to in place, for as long as the array lives."""

    def __init__(self) -> None:
        self.latest = 0
        self.in_graph = 0  # the latest to a tensor in a graph: its views then get a new place in it
        self.times: dict[int, tuple[weakref.ref[Any], int]] = {}

    def note(self, array: Array) -> None:
        memory = memory_of(array)
        key = id(memory)
        self.latest = next(clock)
        self.times[key] = (weakref.ref(memory, lambda _: self.times.pop(key, None)), self.latest)

    def time(self, array: Array) -> int:
        memory = memory_of(array)  # what it lies in, if that is no array, is noted apart: all of it was written then
        found = [(m, *self.times.get(id(m), (None, 0))) for m in (memory, memory.base)]
        return max(time if ref is not None and ref() is m else 0 for m, ref, time in found)


def memory_of(array: Array) -> Array:
    """The array whose memory this is a view of."""
    base: Any = array
    while (base := getattr(base, "base", None)) is not None:  # some of NumPy's views have a go-between
        array = base if isinstance(base, np.ndarray) else array
    return array


def saved(backward: Any) -> dict[str, Any]:
    """What a backward function, and the functions it calls from its op, close over: by the names of the variables."""
    found: dict[str, Any] = {}
    functions = [backward]
    for function in functions:  # the list grows meanwhile
        cells = getattr(function, "__closure__", None) or ()
        for name, cell in zip(function.__code__.co_freevars if cells else (), cells, strict=True):
            if name not in found:
                found[name] = cell.cell_contents
                functions += [found[name]] if isinstance(found[name], FunctionType) else []
    return found


def saved_arrays(backward: Any) -> dict[str, Array]:
    """The arrays among these, also those in a tuple or list: ``x``, ``parts[0]``."""
    found: dict[str, Array] = {}
    for name, content in saved(backward).items():
        if isinstance(content, np.ndarray):
            found[name] = content
        elif isinstance(content, tuple | list):
            found.update({f"{name}[{i}]": a for i, a in enumerate(content) if isinstance(a, np.ndarray)})
    return found


def written_since(node: Any) -> str:
    """The first array that a node's backward needs and that was written to since it was made: "x (2, 3)", or ""."""
    reads = facts(node.op).reads
    needed = " ".join(names for names, parent in zip(reads, node.parents, strict=False) if parent is not None).split()
    late = ((name, a) for name, a in saved_arrays(node.backward).items() if writes.time(a) > node.order)
    return next((f"{name} {a.shape}" for name, a in late if not reads or name in needed), "")


writes = Writes()
note_write = writes.note
