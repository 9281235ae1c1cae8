"""The graph: which op made which tensor, and backpropagation, the walk back through it. Knows no op and no tensor."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, TypeVar

import numpy as np

from minigrad.core.op import Array, Backward, Op
from minigrad.core.written import clock, writes, written_since
from minigrad.torch.grad_fn import GradFn, generating

F = TypeVar("F", bound=Callable[..., Any])
Hook = Callable[[Array], "Array | None"]


@dataclass(slots=True, eq=False, repr=False)
class Node(GradFn):
    """One application of an op: how to go back through it, and to whom.

    It does not know the tensor it made, so there is no reference cycle. How it prints is in ``GradFn``, and its errors.
    """

    op: Op
    backward: Backward | None  # None once the graph has been released
    parents: tuple[Any, ...]  # per positional argument: the node that made it, a leaf, or None if no gradient is wanted
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scope: str  # the dotted path of the module that was running
    constants: dict[str, Any] | None = None  # with which, and with these inputs, the op could run again:
    given: dict[int, Any] | None = None  # those that want no gradient, by position
    hooks: list[Hook] | None = None
    order: int = field(default_factory=clock.__next__)  # higher than that of every parent


@dataclass(slots=True, eq=False)  # half the time of a NamedTuple
class Step:
    """One step of backward: a node, the gradient of its output, and that of each input (None where none is wanted)."""

    node: Node
    dz: Array
    grads: tuple[Array | None, ...]


class State(threading.local):
    """What the current thread is doing."""

    grad_enabled = True
    scope = ""  # dotted path of the module that is running
    paths: dict[int, str] | None = None  # those of all modules under the outermost that is running, by id
    observer: Callable[..., None] | None = None  # called after each op with (op, inputs, constants, output)
    step_observer: Callable[[Step], None] | None = None  # called after each step back
    walker: Callable[..., None] | None = None  # given (tensor, its gradient, the steps) by backward(), walks first


state = State()


class no_grad:
    """Inside, no graph is recorded: for evaluation, sampling and updates. ``with no_grad():`` or ``@no_grad()``."""

    enabled = False

    def __new__(cls, mode: Any = None) -> Any:
        return cls()(mode) if callable(mode) else super().__new__(cls)  # ``@no_grad`` without brackets

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.grad_enabled)
        state.grad_enabled = self.enabled

    def __exit__(self, *_: object) -> None:
        state.grad_enabled = self._before.pop()

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return generating(type(self), function)  # type: ignore[no-any-return]

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]


def unbroadcast(dx: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient back to the shape its input had before broadcasting: over axes added in front or stretched from 1.

    Raises ValueError for any other difference, which can only be a wrong backward.
    """
    if dx.shape == shape:
        return dx
    extra = dx.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, dx.shape[extra:], strict=True)):
        raise ValueError(f"a gradient of shape {dx.shape} cannot belong to an input of shape {shape}")
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and dx.shape[i + extra] != 1))
    summed: Array = dx.sum(axes, keepdims=True, dtype=np.float32 if dx.dtype.itemsize < 4 else None)
    return summed.reshape(shape)


def backward_steps(
    roots: Iterable[tuple[Any, Array]],
    *,
    retain_graph: bool = False,
    backwards: Mapping[Node, Backward | None] | None = None,
    receive: Callable[[Any, Array, bool], None] = lambda leaf, dz, shared: leaf.receive(dz, shared),
) -> Iterator[Step]:
    """Walk back from the roots in reverse topological order, one step per node: the newest node is next.

    Whatever used a result was made after it, so a node's gradient is complete when its turn comes. A max-heap of the
    nodes whose gradient has begun to arrive hands out the newest. ``roots`` are pairs of a node (or leaf) and its
    gradient. ``receive(leaf, dz, shared)`` takes what arrives at a leaf, by default into its ``.grad``; a shared array
    is held by others too: copy it to keep it. ``backwards``, if given, are the nodes to visit, with what runs for each;
    None where the walk ends. The graph is released on the way unless ``retain_graph``. Raises RuntimeError where it was
    released before, or where an array that a backward needs has been written to since.
    """
    pending: dict[Node, Array] = {}
    summed: set[Node] = set()  # nodes whose pending gradient is a sum made here, free to add to in place
    queue: list[tuple[int, Node]] = []  # heapq hands out the smallest, so the orders are negated
    hooked: dict[Any, Array] = {}  # leaves with hooks wait for their whole gradient

    def arrive(parent: Any, dz: Array, shared: bool) -> None:
        if type(parent) is not Node:
            if parent.hooks:
                hooked[parent] = np.copy(hooked[parent] + dz if parent in hooked else dz)
            else:
                receive(parent, dz, shared)
        elif parent not in pending:
            if backwards is None or parent in backwards:
                pending[parent] = dz
                heappush(queue, (-parent.order, parent))
        elif parent in summed:
            pending[parent] += dz
        else:
            pending[parent] = pending[parent] + dz
            summed.add(parent)

    for root, dz in roots:
        arrive(root, dz, shared=True)
    while queue:
        node = heappop(queue)[1]
        dz = pending.pop(node)
        summed.discard(node)
        if node.hooks:
            dz = run_hooks(node.hooks, np.copy(dz))  # others may hold the array, and a hook may write to it
        backward = node.backward if backwards is None else backwards[node]
        if backward is None:
            if backwards is None:
                raise node.released()
            continue
        if node.order < writes.latest and (late := written_since(node)):
            raise node.overwritten(late)
        raw = backward(dz)
        parents = node.parents
        if len(raw) != len(parents):
            node.check_count(raw)
        grads: list[Array | None] = []
        for i, parent in enumerate(parents):
            dx = raw[i]
            if parent is None or dx is None:
                grads.append(None)
                continue
            shared = type(parent) is not Node and (  # for a leaf: is it dz itself, a view, or another input's too?
                dx is dz or dx.base is not None or [d is dx for d in raw].count(True) > 1
            )
            if dx.shape != parent.shape:
                try:
                    dx, shared = unbroadcast(dx, parent.shape), False
                except ValueError as error:
                    raise RuntimeError(f"{node}: {error}") from None
            if dx.dtype != parent.dtype:
                dx, shared = dx.astype(parent.dtype), False
            grads.append(dx)
            arrive(parent, dx, shared)
        if not retain_graph:
            node.backward = None
            node.parents, node.constants, node.given = (), None, None
        step = Step(node, dz, tuple(grads))
        if state.step_observer is not None:
            state.step_observer(step)
        yield step
    for leaf, dz in hooked.items():
        receive(leaf, run_hooks(leaf.hooks or [], dz), True)


def run_hooks(hooks: list[Hook], dz: Array) -> Array:
    """The gradient after each hook has had its say."""
    for hook in list(hooks):
        changed = hook(dz)
        dz = dz if changed is None else changed
    return dz
