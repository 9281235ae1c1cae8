"""The bookkeeping: which op made which tensor, and the walk back through it. Knows no op and no tensor."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Hook = Callable[[Array], "Array | None"]

_clock = itertools.count(1)  # one tick for each node made and each array written: tells which came first


class Leaf(Protocol):
    """What ends the walk: something with a gradient of its own, such as a parameter."""

    hooks: list[Hook] | None

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def receive(self, dz: Array, shared: bool) -> None:
        """Add a contribution to the gradient; a shared array is held by others too, so it must be copied to be kept."""


class Node:
    """One application of an op: how to go back through it, and to whom.

    It does not know the tensor it made, so there is no reference cycle: memory goes as soon as the last tensor does.
    ``parents`` has one entry per positional argument of the op: the node that made it, a leaf, or None where no
    gradient is wanted. ``backward`` is None once the graph has been released. ``scope`` is the dotted path of the
    module that was running.
    """

    __slots__ = ("__weakref__", "backward", "dtype", "hooks", "op", "order", "parents", "scope", "shape")

    def __init__(
        self,
        op: Callable[..., Any],
        backward: Callable[[Array], tuple[Array | None, ...]],
        parents: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        scope: str,
    ) -> None:
        self.order = next(_clock)
        self.op = op
        self.backward: Callable[[Array], tuple[Array | None, ...]] | None = backward
        self.parents = parents
        self.shape = shape
        self.dtype = dtype
        self.scope = scope
        self.hooks: list[Hook] | None = None

    def name(self) -> str:
        """PyTorch's name for the thing behind ``grad_fn``."""
        return f"{self.op.__name__}_backward"

    def __repr__(self) -> str:
        where = f" in {self.scope}" if self.scope else ""
        return f"<{self.name()} {self.shape} {self.dtype}{where}>"


@dataclass(slots=True, eq=False)  # half the time of a NamedTuple
class Step:
    """One step of backward: a node, the gradient of its output, and that of each of its inputs.

    ``grads`` has the shapes of the inputs, and None where no gradient is wanted.
    """

    node: Node
    dz: Array
    grads: tuple[Array | None, ...]


class _State(threading.local):
    """What the current thread is doing."""

    grad_enabled = True
    scope = ""  # dotted path of the module that is running
    observer: Callable[..., None] | None = None  # called after each op with (op, inputs, constants, output)
    step_observer: Callable[[Step], None] | None = None  # called after each step back
    walker: Callable[..., None] | None = None  # given (tensor, its gradient, the steps) by backward(), walks first


state = _State()


class _GradMode:
    """Context manager and decorator that switches recording on or off, for the current thread."""

    enabled: bool

    def __new__(cls, mode: Any = None) -> Any:
        return cls()(mode) if callable(mode) else super().__new__(cls)  # ``@no_grad`` without brackets

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.grad_enabled)
        state.grad_enabled = self.enabled

    def __exit__(self, *_: object) -> None:
        state.grad_enabled = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return inside


class no_grad(_GradMode):
    """Inside, no graph is recorded: for evaluation, sampling and updates. ``with no_grad():`` or ``@no_grad()``."""

    enabled = False


class enable_grad(_GradMode):
    """Inside, the graph is recorded even where ``no_grad`` is in force."""

    enabled = True


class set_grad_enabled(_GradMode):
    """Switch recording on or off at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._at_call = state.grad_enabled
        self.enabled = state.grad_enabled = bool(mode)

    def __enter__(self) -> None:
        self._before.append(self._at_call)
        state.grad_enabled = self.enabled

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad_enabled = self._at_call  # as a decorator, it is for the function alone
        return (enable_grad if self.enabled else no_grad)()(function)


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return state.grad_enabled


def unbroadcast(dx: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient back to the shape its input had before broadcasting.

    Strict: only axes that broadcasting added in front, or stretched from size 1, are summed. Raises ValueError for
    any other difference, which can only be a wrong backward.
    """
    if dx.shape == shape:
        return dx
    extra = dx.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, dx.shape[extra:], strict=True)):
        raise ValueError(f"a gradient of shape {dx.shape} cannot belong to an input of shape {shape}")
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and dx.shape[i + extra] != 1))
    return dx.sum(axes, keepdims=True).reshape(shape)


def backward_steps(
    roots: Iterable[tuple[Node | Leaf, Array]],
    *,
    retain_graph: bool = False,
    receive: Callable[[Any, Array, bool], None] = lambda leaf, dz, shared: leaf.receive(dz, shared),
) -> Iterator[Step]:
    """Walk back from the roots, one step per node, newest node first.

    The creation number reversed is a valid order: whatever used a result was made after it, so a node's gradient is
    complete when its turn comes. ``roots`` are pairs of a node (or leaf) and its gradient. ``receive(leaf, dz,
    shared)`` takes what arrives at a leaf, by default into its ``.grad``; a shared array is not its own to keep. The
    graph is released as it is walked unless ``retain_graph``. Raises RuntimeError where it was released before, or
    where an array that a backward needs has been written to since.
    """
    pending: dict[Node, Array] = {}
    summed: set[Node] = set()  # nodes whose pending gradient is a sum made here, free to add to in place
    queue: list[tuple[int, Node]] = []
    hooked: dict[Leaf, Array] = {}  # leaves with hooks wait for their whole gradient

    def arrive(parent: Any, dz: Array, shared: bool) -> None:
        if type(parent) is not Node:
            if parent.hooks:
                hooked[parent] = hooked[parent] + dz if parent in hooked else dz.copy() if shared else dz
            else:
                receive(parent, dz, shared)
        elif parent not in pending:
            pending[parent] = dz
            heappush(queue, (-parent.order, parent))
        elif parent in summed:
            pending[parent] += dz
        else:
            pending[parent] = np.asarray(pending[parent] + dz)
            summed.add(parent)

    for root, dz in roots:
        arrive(root, dz, shared=True)
    while queue:
        node = heappop(queue)[1]
        dz = pending.pop(node)
        summed.discard(node)
        if node.hooks:
            dz = _run_hooks(node.hooks, dz)
        if node.backward is None:
            raise RuntimeError(_released(node))
        if node.order < _writes.latest:
            _check_unwritten(node)
        raw = node.backward(dz)
        parents = node.parents
        if len(raw) != len(parents):
            _check_count(node, raw)
        grads: list[Array | None] = []
        for i, parent in enumerate(parents):
            dx = raw[i]
            if parent is None or dx is None:
                grads.append(None)
                continue
            shared = type(parent) is not Node and (dx is dz or dx.base is not None or _given_twice(dx, raw))
            if dx.shape != parent.shape:
                dx, shared = _fit(dx, parent.shape, node), False
            if dx.dtype != parent.dtype:
                dx, shared = dx.astype(parent.dtype), False
            grads.append(dx)
            arrive(parent, dx, shared)
        if not retain_graph:
            node.backward = None
            node.parents = ()
        step = Step(node, dz, tuple(grads))
        if state.step_observer is not None:
            state.step_observer(step)
        yield step
    for leaf, dz in hooked.items():
        receive(leaf, np.asarray(_run_hooks(leaf.hooks or [], dz)), True)


def nodes_behind(root: Node) -> list[Node]:
    """A node and all the nodes it was made from, oldest first."""
    found, todo = {root}, [root]
    while todo:
        for parent in todo.pop().parents:
            if type(parent) is Node and parent not in found:
                found.add(parent)
                todo.append(parent)
    return sorted(found, key=lambda node: node.order)


def _check_count(node: Node, raw: tuple[Array | None, ...]) -> None:
    count = len(node.parents)
    if len(raw) < count or any(dx is not None for dx in raw[count:]):  # None for arguments left out may follow
        raise RuntimeError(f"{describe(node)}: backward gave {len(raw)} gradients for {count} inputs")


def _given_twice(dx: Array, raw: tuple[Array | None, ...]) -> bool:
    times = 0
    for other in raw:  # not count(): arrays are compared element by element
        times += other is dx
    return times > 1


def _run_hooks(hooks: list[Hook], dz: Array) -> Array:
    for hook in list(hooks):
        changed = hook(dz)
        dz = dz if changed is None else changed
    return dz


def _fit(dx: Array, shape: tuple[int, ...], node: Node) -> Array:
    try:
        return unbroadcast(dx, shape)
    except ValueError as error:
        raise RuntimeError(f"{describe(node)}: {error}") from None


def describe(node: Node) -> str:
    """A node in an error text: "mul, which made (2, 3) float32 in blocks.0.mlp"."""
    where = f" in {node.scope}" if node.scope else ""
    return f"{node.op.__name__}, which made {node.shape} {node.dtype}{where}"


def _released(node: Node) -> str:
    return (
        f"{describe(node)}: backward has been through here already and released the arrays it needs. Pass "
        "retain_graph=True to the first backward(), or run the forward pass again; to use the value as a plain number, "
        "detach() it before."
    )


class _Writes:
    """When each array was last written to in place, for as long as the array lives."""

    def __init__(self) -> None:
        self.latest = 0
        self.times: dict[int, tuple[weakref.ref[Any], int]] = {}

    def note(self, array: Array) -> None:
        memory = memory_of(array)
        key = id(memory)
        self.latest = next(_clock)
        self.times[key] = (weakref.ref(memory, lambda _: self.times.pop(key, None)), self.latest)

    def time(self, array: Array) -> int:
        memory = memory_of(array)
        reference, time = self.times.get(id(memory), (None, 0))
        return time if reference is not None and reference() is memory else 0


def memory_of(array: Array) -> Array:
    """The array whose memory this is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


_writes = _Writes()
note_write = _writes.note


def saved_arrays(node: Node) -> dict[str, Array]:
    """The arrays a node's backward holds, by the names its op gives them."""
    function: Any = node.backward
    closure = getattr(function, "__closure__", None) or ()
    found: dict[str, Array] = {}
    for name, cell in zip(function.__code__.co_freevars if closure else (), closure, strict=True):
        content = cell.cell_contents
        if isinstance(content, np.ndarray):
            found[name] = content
        elif isinstance(content, tuple | list):
            found.update({f"{name}[{i}]": a for i, a in enumerate(content) if isinstance(a, np.ndarray)})
    return found


def _check_unwritten(node: Node) -> None:
    for name, array in saved_arrays(node).items():
        if _writes.time(array) > node.order:
            raise RuntimeError(
                f"{describe(node)}: its backward needs {name} {array.shape}, which was changed in place after the "
                "forward pass. Change it after backward(), or work on a copy: x = x.clone()."
            )
