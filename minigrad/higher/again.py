"""How a derivative is derived: each op behind a result runs again, on traced arrays, for a backward in the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node, Step, backward_steps, state
from minigrad.core.op import Array, Backward, Op, running
from minigrad.core.written import writes
from minigrad.higher.traced import Lost, Traced, lost, plain, run
from minigrad.ops.elementwise import numbers
from minigrad.torch.grad_mode import enable_grad
from minigrad.torch.halves import in_single

STEPPED = {  # ops whose slope changes in steps, and whether PyTorch gives its derivative as zeros, or as None
    ops.abs: False, ops.fmod: True, ops.l1_loss: False, ops.norm: False, ops.relu: True, ops.remainder: True,
}  # fmt: skip


def nodes_behind(roots: Iterable[Any]) -> list[Node]:
    """The nodes among these and all that they were made from, oldest first."""
    todo = [root for root in roots if type(root) is Node]
    found = set(todo)
    while todo:
        for parent in todo.pop().parents:
            if type(parent) is Node and parent not in found:
                found.add(parent)
                todo.append(parent)
    return sorted(found, key=lambda node: node.order)


def leading_to(wanted: Sequence[Any], nodes: Sequence[Node]) -> set[Node]:
    """Of nodes, oldest first: those whose inputs are, or were made from, what is wanted, nodes or leaves."""
    ends = {id(x) for x in wanted}
    found: set[Node] = set()
    for node in nodes:
        if any(id(parent) in ends or (type(parent) is Node and parent in found) for parent in node.parents):
            found.add(node)
    return found


def steps_to(
    roots: Sequence[tuple[Any, Any]],
    wanted: Sequence[Any] | None,
    receive: Callable[..., None],
    *,
    retain_graph: bool,
    create_graph: bool,
) -> Iterator[Step]:
    """The walk back from ``roots``, pairs of a tensor and its gradient, to nodes and leaves that are ``wanted`` alone.

    ``receive`` takes what arrives there: an array, or with ``create_graph`` a traced one. None is for all leaves.
    """
    ends = [root._node or root for root, _ in roots]
    nodes = nodes_behind(ends)
    leading = set(nodes) if wanted is None else leading_to(wanted, nodes)
    keys = None if wanted is None else {id(x) for x in wanted}
    targets = [x for x in dict.fromkeys(wanted or ()) if type(x) is Node]
    backwards: dict[Node, Backward | None] = dict.fromkeys(targets)
    for node in nodes:
        if node in leading:
            if node.backward is None:
                raise node.released()
            backwards[node] = node.backward

    def take(leaf: Any, dz: Any, shared: bool) -> None:
        if keys is None or id(leaf) in keys:
            receive(leaf, dz, shared)

    def walk() -> Iterator[Step]:
        for node in targets:
            node.hooks = [*(node.hooks or []), partial(receive, node, shared=True)]
        try:
            if create_graph:
                backwards.update(derived(nodes, leading, roots[0][0]))
            seeds: list[Any] = [Traced(dz) if create_graph else dz._array for _, dz in roots]
            starts = zip(ends, seeds, strict=True)
            steps = backward_steps(starts, retain_graph=retain_graph, backwards=backwards, receive=take)
            yield from _plain(steps) if create_graph else steps
        finally:
            for node in targets:
                (node.hooks or []).pop()

    return enable_grad()(walk)() if create_graph else walk()  # the mode holds while the generator runs


def _plain(steps: Iterator[Step]) -> Iterator[Step]:
    """The steps as whoever watches wants them: in plain arrays."""
    while True:
        observer, state.step_observer = state.step_observer, None
        try:
            step = next(steps, None)
        finally:
            state.step_observer = observer
        if step is None:
            return
        shown = Step(step.node, numbers(step.dz), tuple(map(numbers, step.grads)))
        if observer is not None:
            observer(shown)
        yield shown


def derived(nodes: Sequence[Node], leading: set[Node], like: Any) -> dict[Node, Backward]:
    """For each leading node a backward that takes and gives traced arrays. The nodes are in order, oldest first."""
    values: dict[Node, Traced] = {}
    found: dict[Node, Backward] = {}
    for node in nodes:
        if node.backward is None:
            raise node.released()
        constants, given = node.constants or {}, node.given or {}
        inputs = [
            values[parent] if type(parent) is Node
            else Traced(parent) if parent is not None
            else Traced(like._made(given[i])) if isinstance(given[i], np.ndarray) else given[i]
            for i, parent in enumerate(node.parents)
        ]  # fmt: skip
        if node.order < writes.latest:
            _check_unwritten(node, inputs, constants)
        if node in leading:
            z, found[node] = again(node, inputs, constants)
        else:  # only its value is needed
            arrays = plain(inputs)
            z, _ = _as_in_apply(node.op, running(node.op), arrays)(*arrays, **constants)
        if not isinstance(z, Traced) or any(z is x for x in inputs):
            z = Traced(like._made(np.asarray(numbers(z))))
        z.becomes(node)
        values[node] = z
    return found


def again(node: Node, inputs: list[Any], constants: dict[str, Any]) -> tuple[Any, Backward]:
    """The op of a node on traced arrays, and its backward for traced gradients."""
    scope = f"{node.scope}.{node.op.__name__}_backward".lstrip(".")
    op = _as_in_apply(node.op, getattr(node.backward, "again", node.op), inputs)
    with _inside(node, scope):
        z, traced_backward = op(*inputs, **constants)

    def backward(dz: Any) -> tuple[Any, ...]:
        with _inside(node, scope):
            grads = [dx if dx is None else _followed(dx, dz) for dx in traced_backward(dz)]
            if node.op in STEPPED:
                grads = [_beside(dx, x, STEPPED[node.op]) for dx, x in zip(grads, inputs, strict=True)]
            return tuple(grads)

    return z, backward


def _as_in_apply(op: Op, run: Op, inputs: Sequence[Any]) -> Op:
    """What runs: of half precision, the op in single."""
    return in_single(op, run) if inputs and getattr(inputs[0], "itemsize", 4) == 2 else run


@contextmanager
def _inside(node: Node, scope: str) -> Iterator[None]:
    """What runs inside belongs to that scope; what cannot be followed there is an error that names the node."""
    before, state.scope = state.scope, scope
    try:
        yield
    except Lost as error:
        raise TypeError(f"{node}: its backward cannot be differentiated (create_graph=True): {error}") from error
    finally:
        state.scope = before


def _followed(dx: Any, dz: Traced) -> Traced:
    """What a backward gave for an input. A plain array has lost the way to dz, unless it is 0."""
    if not isinstance(dx, Traced):
        if np.any(dx):
            lost("a gradient that is not computed from dz")
        dx = Traced(dz.tensor._made(np.asarray(dx)))
    return dx


def _beside(dx: Any, x: Any, zeros: bool) -> Any:
    """A gradient in the graph of x too: so that it can be asked for its derivative, which is 0."""
    if dx is None or (dx.tensor.requires_grad and not zeros) or not isinstance(x, Traced) or not x.tensor.requires_grad:
        return dx
    return run(steady, dx, x, zeros=zeros)


def steady(y: Array, x: Array, *, zeros: bool) -> tuple[Array, Backward]:
    """z = y, which x changes in steps
    dy = dz
    dx = 0
    """
    shape = x.shape

    def backward(dz: Array) -> tuple[Array | None, ...]:
        return dz, np.zeros_like(dz, shape=shape) if zeros else None

    return y[...], backward


def _check_unwritten(node: Node, inputs: Sequence[Any], constants: dict[str, Any]) -> None:
    """Raise RuntimeError where what an op ran with was written to since, so that it cannot run again."""
    held = {f"input {i}": x for i, x in enumerate(inputs) if type(node.parents[i]) is not Node} | constants
    for name, array in plain(held).items():
        if isinstance(array, np.ndarray) and writes.time(array) > node.order:
            raise node.overwritten(f"{name} {array.shape}")
