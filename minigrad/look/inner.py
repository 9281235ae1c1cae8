"""The inner steps of an op's forward, and what goes back through each: paths can be cut, and gradients put in.

The forward is NumPy code; on traced arrays it leaves a graph of its own. ``suspects`` builds wrong gradients from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.core.graph import Node, unbroadcast
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.higher.again import nodes_behind
from minigrad.higher.traced import Traced


@dataclass
class Inner:
    """The inner steps of a forward, oldest first, its operands as leaves, and the values on the way."""

    nodes: list[Node]
    leaves: dict[int, Tensor]
    values: dict[Any, Array]
    dz: Array
    dead: set[tuple[Node, int]] = field(default_factory=set)

    def edges(self) -> Iterator[tuple[Node, int]]:
        """Each input of each step, newest first."""
        for node in reversed(self.nodes):
            for k, parent in enumerate(node.parents):
                if parent is not None and (node, k) not in self.dead:
                    yield node, k

    def walk(
        self,
        cut: Collection[tuple[Node, int]] = (),
        inject: tuple[Any, Array] | None = None,
        keep: dict[Any, Array] | None = None,
        root: bool = True,
    ) -> dict[int, Array]:
        """The gradients of the operands, without what goes through the edges that are cut, with what is injected."""
        gradients: dict[int, Array] = {id(self.nodes[-1]): self.dz.reshape(self.nodes[-1].shape)} if root else {}
        if inject is not None:
            gradients[id(inject[0])] = unbroadcast(inject[1], tuple(inject[0].shape))
        for node in reversed(self.nodes):
            if id(node) not in gradients:
                continue
            dz = gradients[id(node)]
            if keep is not None:
                keep[node] = dz
            for k, dx in enumerate(node.backward(dz)):  # type: ignore[misc]
                parent = node.parents[k]
                if parent is not None and dx is not None and (node, k) not in cut and (node, k) not in self.dead:
                    dx = unbroadcast(np.asarray(dx), tuple(parent.shape))
                    gradients[id(parent)] = gradients[id(parent)] + dx if id(parent) in gradients else dx
        return {i: np.asarray(gradients.get(id(x), np.zeros(x.shape))) for i, x in self.leaves.items()}

    def part(self, node: Node, k: int) -> dict[int, Array] | None:
        """What goes to the operands through an edge; None where that is nothing."""
        right, rest = self.walk(), self.walk({(node, k)})
        parts = {i: right[i] - rest[i] for i in right}
        return (
            parts
            if any(np.abs(p).max(initial=0) > 1e-9 * (1 + np.abs(right[i]).max(initial=0)) for i, p in parts.items())
            else None
        )

    def shared(
        self, node: Node, k: int, cut: Collection[tuple[Node, int]] = ()
    ) -> tuple[Array, Array, Array, Any] | None:
        """Of an edge from what was reduced and is spread again: the gradient before it is summed back, how each number
        that was reduced moves the reduced, the reduced itself, and where these numbers come from.
        """
        parent = node.parents[k]
        kept: dict[Any, Array] = {}
        self.walk(cut, keep=kept)
        if type(parent) is not Node or node not in kept:
            return None
        spread = np.asarray(node.backward(kept[node])[k])  # type: ignore[misc]
        if spread.shape == tuple(parent.shape):
            return None
        slope, at = np.ones(parent.shape), parent
        while type(at) is Node:
            place = next(place for place, p in enumerate(at.parents) if p is not None)
            slope = np.asarray(at.backward(slope)[place])  # type: ignore[misc]
            at = at.parents[place]
            if tuple(at.shape) == spread.shape:
                value = self.values.get(parent)
                return None if value is None else (spread, np.broadcast_to(slope, spread.shape), value, at)
        return None

    def skipping(self) -> Iterator[tuple[Node, Node, dict[int, Array]]]:
        """The gradients where what comes to one step is passed on to an earlier one, and what is between left out."""
        kept: dict[Any, Array] = {}
        right = self.walk(keep=kept)
        for early in self.nodes[:-1]:
            here = self.walk(inject=(early, kept[early]), root=False) if early in kept else {}
            for late in reversed(self.nodes):
                if here and late.order > early.order and late in kept and late.shape == early.shape:
                    there = self.walk(inject=(early, kept[late]), root=False)
                    yield early, late, {i: right[i] - here[i] + there[i] for i in right}


def in_small_steps(z: Tensor) -> Any:
    """A tensor made again from its leaves, on traced arrays: each op as the steps of NumPy that it is written in."""
    values: dict[Any, Any] = {}
    for node in nodes_behind([z._node]):
        given = node.given or {}
        inputs = [
            values[p] if type(p) is Node else Traced(p) if p is not None else given[k]
            for k, p in enumerate(node.parents)
        ]  # fmt: skip
        values[node], _ = node.op(*inputs, **(node.constants or {}))
    return values[z._node]
