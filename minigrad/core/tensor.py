"""The tensor: an array, its gradient, and the node that made it. Its methods are one-liners over the ops.

Names, argument order and semantics are PyTorch's. Each operation goes through ``apply``, which runs the op on the
arrays and, where a gradient is wanted, records a node. The longer tail of PyTorch's methods is in ``Methods``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.core import arithmetic, places, products, sums
from minigrad.core.graph import Hook, Node, Step, backward_steps, state
from minigrad.core.op import RUNS, Array, Op
from minigrad.torch.methods import Methods, OpTypeError, OpValueError, explained


def apply(op: Op, *inputs: Any, **constants: Any) -> Tensor:
    """Run an op on tensors (plain numbers and None are constants) and record it where a gradient is wanted.

    Raises what the op raises, with the op, the shapes and the running module's path in front.
    """
    recording = state.grad_enabled
    arrays: list[Any] = []
    parents: list[Any] = []
    tracked = False
    for x in inputs:
        parent: Any = None
        if isinstance(x, Tensor):
            arrays.append(x._array)
            if recording:
                parent = x._node
                if parent is None:
                    parent = x if x._requires_grad else None
                elif parent.backward is None and op is arithmetic.add:
                    Tensor._warn_released(parent)
        else:
            arrays.append(x)
        if parent is not None:
            tracked = True
        parents.append(parent)
    try:
        z, backward = RUNS.get(op, op)(*arrays, **constants)
    except (ValueError, TypeError, IndexError) as error:
        raise explained(error, op, arrays, state.scope) from error
    out = Tensor(z)
    if tracked:
        out._node = Node(op, backward, tuple(parents), out._array.shape, out._array.dtype, state.scope)
    if state.observer is not None:
        state.observer(op, inputs, constants, out)
    return out


def binary(op: Op, x: Any, y: Any, **constants: Any) -> Tensor:
    """Apply an op to two operands, after dtype promotion where they are not of one floating dtype already."""
    dx = x._array.dtype if isinstance(x, Tensor) else None
    dy = y._array.dtype if isinstance(y, Tensor) else None
    alike = dx is dy or type(y) in arithmetic.NUMBERS or type(x) in arithmetic.NUMBERS  # NumPy keeps an array's dtype
    if alike and (dx or dy).kind == "f":  # type: ignore[union-attr]
        return apply(op, x, y, **constants)
    if isinstance(x, Tensor):
        return apply(op, *x._promoted(op, y, reflected=False), **constants)
    return apply(op, *y._promoted(op, x, reflected=True), **constants)


class Tensor(Methods):
    """An n-dimensional array that remembers how it was made.

    ``Tensor(array)`` wraps a NumPy array without copying; ``minigrad.tensor(data)`` copies. ``requires_grad=True``
    makes it a leaf whose ``.grad`` collects d loss / d tensor at ``loss.backward()``. As in PyTorch, a list makes
    floats, and sizes (``Tensor(2, 3)``) make a tensor to be filled.
    """

    __slots__ = ("__dict__", "__weakref__", "_array", "_grad", "_node", "_requires_grad", "hooks")

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

    @staticmethod
    def _made(array: Any) -> Tensor:
        return Tensor(array)

    # What it is

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
    def is_leaf(self) -> bool:
        """Whether no recorded op made it."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that made it, None for a leaf."""
        return self._node

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad or self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Make it a leaf that collects a gradient (floating dtypes only), or stop it."""
        if requires_grad and self.dtype.kind != "f":
            raise OpTypeError(f"only floating tensors can require a gradient, this one is {self.dtype}: use .float()")
        if self._node is None:
            self._requires_grad = bool(requires_grad)
        elif not requires_grad:
            raise RuntimeError(f"made by {self._node.op.__name__}: use y = x.detach() to leave the graph")
        return self

    def numpy(self, *, force: bool = False) -> Array:
        """The values as a NumPy array that shares memory. RuntimeError while a gradient is wanted, unless ``force``."""
        if self.requires_grad and state.grad_enabled and not force:
            raise RuntimeError("numpy() would leave the graph silently: say .detach().numpy()")
        return self._array

    def item(self) -> Any:
        """The one number in it, as a Python number."""
        if self._array.size != 1:
            raise OpValueError(f"item() needs one element, this has shape {self.shape}: index it, or use tolist()")
        return self._array.item()

    # Its gradient

    @property
    def grad(self) -> Tensor | None:
        """d loss / d self after ``backward()``, None before. Only leaves keep one, others after ``retain_grad()``."""
        if self._grad is None and self._node is not None:
            self._warn_no_grad()
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and (not isinstance(value, Tensor) or value.shape != self.shape):
            given = getattr(value, "shape", type(value).__name__)
            raise OpTypeError(f"grad must be None or a Tensor of the tensor's own shape {self.shape}, got {given}")
        self._grad = value

    def receive(self, dz: Array, shared: bool) -> None:
        """Add an array to the gradient; a copy is kept of one that others hold too."""
        if self._grad is None:
            self._grad = Tensor(dz.copy() if shared else dz)
        else:
            self._grad._array += dz

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Fill ``.grad`` of every leaf this was made from with the derivative of this, added to what is there.

        ``gradient`` is d loss / d self, of the same shape; it may be left out for a single number. The graph is
        released on the way unless ``retain_graph``. Raises RuntimeError where there is no graph, or no longer.
        """
        steps = self.backward_steps(gradient, retain_graph, create_graph)
        if state.walker is not None:
            state.walker(self, self.cotangent(gradient), steps)
        for _ in steps:
            pass

    def backward_steps(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> Iterator[Step]:
        """The same walk one step at a time: each item is a node, its gradient, and the gradients of its inputs."""
        if create_graph:
            raise NotImplementedError("derivatives of derivatives (create_graph=True) are not offered by this engine")
        if not self.requires_grad:
            raise RuntimeError(
                "backward() on a tensor that no recorded op made: none of its inputs has requires_grad=True, or it "
                "was computed under no_grad() or detached"
            )
        return backward_steps([(self._node or self, self.cotangent(gradient))], retain_graph=retain_graph)

    def cotangent(self, gradient: Any) -> Array:
        """d loss / d self as an array; of a single number it is 1."""
        if gradient is None:
            if self._array.size != 1:
                raise RuntimeError(
                    f"backward() without a gradient needs a single number, this has shape {self.shape}: "
                    "reduce it with .sum() or .mean(), or pass gradient="
                )
            return np.ones(self.shape, self.dtype)
        dz = gradient._array if isinstance(gradient, Tensor) else np.asarray(gradient)
        if dz.shape != self.shape:
            raise ValueError(f"gradient must have the shape of the tensor, {self.shape}, got {dz.shape}")
        return dz.astype(self.dtype, copy=False)

    # Arithmetic

    def __add__(self, other: Any) -> Tensor:
        return binary(arithmetic.add, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return binary(arithmetic.add, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return binary(arithmetic.sub, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return binary(arithmetic.sub, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return binary(arithmetic.mul, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return binary(arithmetic.mul, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return binary(arithmetic.div, self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return binary(arithmetic.div, other, self)

    def __pow__(self, other: Any) -> Tensor:
        return binary(arithmetic.pow, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return binary(arithmetic.pow, self._like(other), self)

    def __matmul__(self, other: Any) -> Tensor:
        return binary(products.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return binary(products.matmul, other, self)

    def __neg__(self) -> Tensor:
        return apply(arithmetic.neg, self)

    def exp(self) -> Tensor:
        return apply(arithmetic.exp, self._floating())

    def log(self) -> Tensor:
        return apply(arithmetic.log, self._floating())

    def tanh(self) -> Tensor:
        return apply(arithmetic.tanh, self._floating())

    def relu(self) -> Tensor:
        return apply(arithmetic.relu, self)

    # Sums

    def sum(self, dim: sums.Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return apply(sums.sum, self._summed(dtype), axis=sums.axis_of(dim), keepdims=keepdim)

    def mean(self, dim: sums.Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        x = self if dtype is None else self.to(dtype)
        if x.dtype.kind != "f":
            raise OpTypeError(f"mean() of {x.dtype}: use .float().mean()")
        return apply(sums.mean, x, axis=sums.axis_of(dim), keepdims=keepdim)

    def softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return apply(sums.softmax, self._floating(dtype), axis=dim)

    def log_softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return apply(sums.log_softmax, self._floating(dtype), axis=dim)

    # Places

    def view(self, *shape: Any) -> Tensor:
        """As ``reshape``; where the memory does not allow a view, it copies instead of raising."""
        return apply(places.reshape, self, shape=places.ints(shape))

    def reshape(self, *shape: Any) -> Tensor:
        return apply(places.reshape, self, shape=places.ints(shape))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return apply(places.transpose, self, axis0=dim0, axis1=dim1)

    def __getitem__(self, index: Any) -> Tensor:
        return apply(places.getitem, self, index=index if places.is_basic(index) else self._index(index))
