"""The tensor: an array, its gradient, and the node that made it. Here an op meets the graph, in ``apply``.

Names, argument order and semantics are PyTorch's. What is called on ``self`` and not defined here is in ``Methods``,
with the longer tail of PyTorch's methods: ``_floating`` makes integers floating, ``cotangent`` checks a gradient given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.core import arithmetic, places, products, sums
from minigrad.core.graph import Hook, Node, Step, backward_steps, state
from minigrad.core.op import FACTS, NO_FACTS, RUNS, Array, Op
from minigrad.core.written import writes
from minigrad.torch.arguments import Dim, axis_of
from minigrad.torch.methods import Methods, explained, follow, in_single


def apply(op: Op, *inputs: Any, **constants: Any) -> Tensor:
    """Run an op on tensors (plain numbers and None are constants) and record it where a gradient is wanted."""
    recording, written = state.grad_enabled, writes.in_graph
    if written:  # in place, in a graph: views of what was written have another place in it
        follow(inputs)
    arrays: list[Any] = []
    parents: list[Any] = []
    given: dict[int, Any] = {}
    tracked = False
    for x in inputs:
        parent: Any = None
        if isinstance(x, Tensor):
            arrays.append(x._array)
            if recording:
                parent = x._node  # or, for a leaf that wants a gradient, the leaf itself
                if parent is None:
                    parent = x if x._requires_grad else None
                elif parent.backward is None and op is arithmetic.add:
                    Tensor._warn_released(parent)  # total += loss keeps every step's graph
        else:
            arrays.append(x)
        if parent is None:
            given[len(parents)] = arrays[-1]
        else:
            tracked = True
        parents.append(parent)
    run = RUNS.get(op, op)  # as running(op), without a call
    if arrays and getattr(arrays[0], "itemsize", 4) == 2:  # half precision: compute in single, then round
        run = in_single(op, run)
    try:
        z, backward = run(*arrays, **constants)
    except (ValueError, TypeError, IndexError) as error:
        raise explained(error, op, arrays, state.scope) from error  # names the op, the shapes and the module
    out = Tensor(z if type(z) is np.ndarray else np.asarray(z))
    array = out._array
    if tracked:
        out._node = Node(op, backward, tuple(parents), array.shape, array.dtype, state.scope, constants, given)
    if array.base is not None and FACTS.get(op, NO_FACTS).view:
        out._view = inputs[0], op, constants, written, recording  # for ``follow``
    if state.observer is not None:
        state.observer(op, inputs, constants, out)
    return out


def binary(op: Op, x: Any, y: Any, **constants: Any) -> Tensor:
    """Apply an op to two operands, after dtype promotion where they are not of one floating dtype already."""
    left = x._array.dtype if isinstance(x, Tensor) else None
    right = y._array.dtype if isinstance(y, Tensor) else None
    alike = left is right or type(y) in arithmetic.NUMBERS or type(x) in arithmetic.NUMBERS  # numbers change no dtype
    if alike and (left or right).kind == "f":  # type: ignore[union-attr]
        return apply(op, x, y, **constants)
    pair = x._promoted(op, y) if isinstance(x, Tensor) else y._promoted(op, x, reflected=True)
    return apply(op, *pair, **constants)


class Tensor(Methods):
    """An n-dimensional array that remembers how it was made.

    ``Tensor(array)`` wraps a NumPy array without copying; ``minigrad.tensor(data)`` copies. ``requires_grad=True``
    makes it a leaf whose ``.grad`` collects d loss / d tensor at ``loss.backward()``.
    """

    __slots__ = ("__dict__", "__weakref__", "_array", "_changed", "_grad", "_node", "_requires_grad", "_view", "hooks")

    def __init__(self, data: Any = (), *sizes: int, requires_grad: bool = False) -> None:
        if sizes and isinstance(sizes[0], bool):  # Tensor(array, True)
            requires_grad = sizes[0]
        self._array: Array = data if isinstance(data, np.ndarray) else self._array_from(data, sizes)
        self._grad: Tensor | None = None
        self._node: Node | None = None
        self._requires_grad = False
        self.hooks: list[Hook] | None = None
        if requires_grad:
            self.requires_grad_()

    _apply, _binary = staticmethod(apply), staticmethod(binary)  # for Methods, which knows nothing of this file
    _made = staticmethod(lambda array: Tensor(array))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def grad_fn(self) -> Node | None:
        """The node that made it, None for a leaf."""
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """d loss / d self after ``backward()``, None before. Only leaves keep one, others after ``retain_grad()``."""
        if self._grad is None and self._node is not None:
            self._warn_no_grad()
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        self._grad = None if value is None else self._checked_grad(value)

    def receive(self, dz: Array, shared: bool) -> None:
        """Add an array to the gradient; a copy is kept of one that others hold too."""
        if self._grad is None:
            self._grad = Tensor(dz.copy() if shared else dz)
        elif self._grad._node is not None:
            self._grad = Tensor(self._grad._array + dz)
        else:
            self._grad._array += dz

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Fill ``.grad`` of every leaf this was made from with the derivative of this, added to what is there.

        ``gradient`` is d loss / d self; it may be left out for a single number. ``inputs`` get one alone, where given.
        The graph is released unless ``retain_graph``, or ``create_graph``: then the gradients have a graph themselves.
        Raises RuntimeError where there is no graph, or no longer.
        """
        steps = self.backward_steps(gradient, retain_graph, create_graph, inputs)
        if state.walker is not None:
            state.walker(self, self.cotangent(gradient), steps)
        for _ in steps:  # the walk does its work as it is asked for the next step
            pass

    def backward_steps(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> Iterator[Step]:
        """The same walk one step at a time: each item is a node, its gradient, and the gradients of its inputs."""
        if self._node is None and not self._requires_grad:
            raise self._no_graph()
        single = gradient is None and self._array.size == 1
        dz = np.ones(self.shape, self.dtype) if single else self.cotangent(gradient)
        if create_graph or inputs is not None:
            return self._steps_to(inputs, gradient, retain_graph, create_graph)
        return backward_steps([(self._node or self, dz)], retain_graph=bool(retain_graph))

    def __add__(self, other: Any) -> Tensor:
        return binary(arithmetic.add, self, other)

    def __mul__(self, other: Any) -> Tensor:
        return binary(arithmetic.mul, self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return binary(products.matmul, self, other)

    def exp(self) -> Tensor:
        return apply(arithmetic.exp, self._floating())

    def tanh(self) -> Tensor:
        return apply(arithmetic.tanh, self._floating())

    def sum(self, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return apply(sums.sum, self._summed(dtype), axis=axis_of(dim), keepdims=keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return apply(sums.mean, self._averaged(dtype), axis=axis_of(dim), keepdims=keepdim)

    def softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return apply(sums.softmax, self._floating(dtype), axis=dim)

    def reshape(self, *sizes: Any, shape: Any = ()) -> Tensor:
        return apply(places.reshape, self, shape=places.ints(sizes or (shape,)))

    view = reshape  # where the memory does not allow a view, it copies instead of raising

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return apply(places.transpose, self, axis0=dim0, axis1=dim1)

    def __getitem__(self, index: Any) -> Tensor:
        return apply(places.getitem, self, index=index if places.is_basic(index) else self._index(index))
