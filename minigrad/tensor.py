"""The tensor: an array, its gradient, and the node that made it. Its methods are one-liners over the ops.

Names, argument order and semantics are PyTorch's. Each operation goes through ``apply``, which runs the op on the
arrays and, where a gradient is wanted, records a node.
"""

from __future__ import annotations

import operator
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minigrad import graph, ops
from minigrad.graph import Node, note_write, state
from minigrad.ops import Array, Op
from minigrad.ops.registry import CHOSEN
from minigrad.random import Generator, rng

Number: TypeAlias = "bool | int | float"
Dim: TypeAlias = "int | tuple[int, ...] | list[int] | None"

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int8, int16, int32, int64, uint8 = (np.dtype(n) for n in ("int8", "int16", "int32", "int64", "uint8"))
bool_ = np.dtype("bool")


class _Settings:
    default_dtype = float32


def get_default_dtype() -> np.dtype[Any]:
    """The dtype that Python floats turn into."""
    return _Settings.default_dtype


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats turn into; float32 unless set."""
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"the default dtype must be a floating one, got {np.dtype(dtype)}")
    _Settings.default_dtype = np.dtype(dtype)


class ValuesIndices(NamedTuple):
    """What a reduction that also finds the place returns: the values, and their indices along the axis."""

    values: Tensor
    indices: Tensor


def apply(op: Op, *inputs: Any, **constants: Any) -> Tensor:
    """Run an op on tensors (plain numbers and None are constants) and record it where a gradient is wanted.

    Raises what the op raises, with the op, the shapes and the running module's path in front.
    """
    arrays = [x._array if isinstance(x, Tensor) else x for x in inputs]
    try:
        z, backward = CHOSEN.get(op, op)(*arrays, **constants)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, op, arrays) from error
    out = Tensor(z)
    if state.grad_enabled:
        tracked = False
        parents: list[Any] = []
        for x in inputs:
            parent: Any = None
            if isinstance(x, Tensor):
                if x._node is not None:
                    parent = x._node
                    if parent.backward is None and op is ops.add:
                        _warn_released(parent)
                elif x._requires_grad:
                    parent = x
            if parent is not None:
                tracked = True
            parents.append(parent)
        if tracked:
            out._node = Node(op, backward, tuple(parents), out._array.shape, out._array.dtype, state.scope)
    if state.observer is not None:
        state.observer(op, inputs, constants, out)
    return out


def _warn_released(node: Node) -> None:
    warnings.warn(
        f"adding the result of {graph.describe(node)}, whose graph backward() has released: a running sum of losses "
        "made so keeps growing a graph, and cannot be walked back. For the value alone use .item() or .detach()",
        stacklevel=5,
    )


def _explained(error: Exception, op: Op, arrays: Sequence[Any]) -> Exception:
    """The same kind of error, with the op, its inputs and the module in front of the text."""
    given = ", ".join(f"{a.shape} {a.dtype}" if isinstance(a, np.ndarray) else repr(a) for a in arrays)
    where = f" in {state.scope}" if state.scope else ""
    kind: type[Exception] = ValueError
    if isinstance(error, IndexError):
        kind = IndexError
    elif isinstance(error, TypeError):
        kind = TypeError
    return kind(f"{op.__name__}({given}){where}: {error}")


class Tensor:
    """An n-dimensional array that remembers how it was made.

    ``Tensor(array)`` wraps a NumPy array without copying; ``minigrad.tensor(data)`` copies. ``requires_grad=True``
    makes it a leaf whose ``.grad`` collects d loss / d tensor at ``loss.backward()``.
    """

    __slots__ = ("__dict__", "__weakref__", "_array", "_grad", "_node", "_requires_grad", "hooks")
    __array_ufunc__ = None  # NumPy arrays and numbers on the left leave the operator to the tensor

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._array: Array = data if isinstance(data, np.ndarray) else np.asarray(data)
        self._grad: Tensor | None = None
        self._node: Node | None = None
        self._requires_grad = False
        self.hooks: list[graph.Hook] | None = None
        if requires_grad:
            self.requires_grad_()

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
    def device(self) -> str:
        return "cpu"

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
            raise TypeError(f"only floating tensors can require a gradient, this one is {self.dtype}: use .float()")
        if self._node is not None:
            if not requires_grad:
                raise RuntimeError(f"made by {self._node.op.__name__}: use y = x.detach() to leave the graph")
            return self
        self._requires_grad = bool(requires_grad)
        return self

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        return self.dtype.itemsize

    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        return bool(self._array.flags.c_contiguous)

    # Gradient

    @property
    def grad(self) -> Tensor | None:
        """d loss / d self after ``backward()``, None before. Only leaves keep one, others after ``retain_grad()``."""
        if self._grad is None and self._node is not None and "retained" not in self.__dict__:
            warnings.warn(
                f"the result of {self._node.op.__name__} {self.shape} does not keep its gradient, only leaves do: "
                "call .retain_grad() on it before backward()",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad must be a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape:
                raise ValueError(f"grad must have the shape of the tensor, {self.shape}, got {value.shape}")
        self._grad = value

    def receive(self, dz: Array) -> None:
        """Add an array that nobody else holds to the gradient."""
        if self._grad is None:
            self._grad = Tensor(dz)
        else:
            self._grad._array += dz

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Fill ``.grad`` of every leaf this was made from with the derivative of this, added to what is there.

        ``gradient`` is d loss / d self, of the same shape; it may be left out for a single number. The graph is
        released on the way unless ``retain_graph``. Raises RuntimeError where there is no graph, or no longer.
        """
        steps = self.backward_steps(gradient, retain_graph, create_graph)
        if state.walker is not None:
            state.walker(self, self._cotangent(gradient), steps)
        for _ in steps:
            pass

    def backward_steps(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> Iterator[graph.Step]:
        """The same walk one step at a time: each item is a node, its gradient, and the gradients of its inputs."""
        if create_graph:
            raise NotImplementedError("derivatives of derivatives (create_graph=True) are not offered by this engine")
        if not self.requires_grad:
            raise RuntimeError(
                "backward() on a tensor that no recorded op made: none of its inputs has requires_grad=True, or it "
                "was computed under no_grad() or detached"
            )
        return graph.backward_steps([(self._node or self, self._cotangent(gradient))], retain_graph=retain_graph)

    def _cotangent(self, gradient: Any) -> Array:
        if gradient is None:
            if self.numel() != 1:
                raise RuntimeError(
                    f"backward() without a gradient needs a single number, this has shape {self.shape}: "
                    "reduce it with .sum() or .mean(), or pass gradient="
                )
            return np.ones_like(self._array)
        dz = gradient._array if isinstance(gradient, Tensor) else np.asarray(gradient)
        if dz.shape != self.shape:
            raise ValueError(f"gradient must have the shape of the tensor, {self.shape}, got {dz.shape}")
        return dz.astype(self.dtype, copy=False)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in ``.grad``."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad() on a tensor that does not require a gradient")
        if self._node is None or "retained" in self.__dict__:
            return
        self.__dict__["retained"] = True
        reference = weakref.ref(self)

        def keep(dz: Array) -> None:
            tensor = reference()
            if tensor is not None:
                tensor.receive(dz.copy())

        self.register_hook(keep, raw=True)

    @property
    def retains_grad(self) -> bool:
        return "retained" in self.__dict__

    def register_hook(self, hook: Callable[..., Any], *, raw: bool = False) -> RemovableHandle:
        """Call ``hook(grad)`` when the gradient of this tensor is complete; a tensor it returns takes its place."""
        if not self.requires_grad:
            raise RuntimeError("register_hook() on a tensor that does not require a gradient")

        def on_array(dz: Array) -> Array | None:
            changed = hook(Tensor(dz))
            return None if changed is None else changed._array

        entry = hook if raw else on_array
        owner: Any = self._node if self._node is not None else self
        if owner.hooks is None:
            owner.hooks = []
        owner.hooks.append(entry)
        return RemovableHandle(owner.hooks, entry)

    def detach(self) -> Tensor:
        """The same memory, out of the graph."""
        return Tensor(self._array)

    def detach_(self) -> Tensor:
        """Leave the graph for good."""
        self._node = None
        self._requires_grad = False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, out of the graph; assigning another tensor replaces the values."""
        return Tensor(self._array)

    @data.setter
    def data(self, value: Any) -> None:
        note_write(self._array)  # a graph that still needs the old values must hear of it
        self._array = value._array if isinstance(value, Tensor) else np.asarray(value)
        note_write(self._array)

    # Out of the library

    def numpy(self) -> Array:
        """The values as a NumPy array that shares memory. Raises RuntimeError while a gradient is wanted."""
        if self.requires_grad and state.grad_enabled:
            raise RuntimeError("numpy() would leave the graph silently: say .detach().numpy()")
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def item(self) -> Any:
        """The one number in it, as a Python number."""
        if self.numel() != 1:
            raise ValueError(
                f"item() needs exactly one element, this has shape {self.shape}: index it, or use tolist()"
            )
        return self._array.item()

    def tolist(self) -> Any:
        return self._array.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise TypeError(f"only an integer tensor can be an index, this one is {self.dtype}")
        return operator.index(self.item())

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous: use .any() or .all()")
        return bool(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor has no len()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("cannot iterate over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self._array == _plain(value)).any())

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        values = np.array2string(self._array, separator=", ", prefix="tensor(", precision=4, threshold=1000)
        notes = [f"shape={self.shape}", f"dtype={self.dtype}"]
        if self._node is not None:
            notes.append(f"op={self._node.op.__name__}")
        elif self._requires_grad:
            notes.append("requires_grad=True")
        return f"tensor({values}, {', '.join(notes)})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 or (spec and self.numel() == 1) else format(str(self), spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaves can be deep-copied: use .detach().clone()")
        new = type(self).__new__(type(self))
        Tensor.__init__(new, self._array.copy())
        new._requires_grad = self._requires_grad
        if self._grad is not None:
            new._grad = Tensor(self._grad._array.copy())
        memo[id(self)] = new
        return new

    # Arithmetic

    def __add__(self, other: Any) -> Tensor:
        return _binary(ops.add, self, other)

    def __sub__(self, other: Any) -> Tensor:
        return _binary(ops.sub, self, other)

    def __mul__(self, other: Any) -> Tensor:
        return _binary(ops.mul, self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary(ops.div, self, other, floating=True)

    def __pow__(self, other: Any) -> Tensor:
        return _binary(ops.pow, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary(ops.add, other, self)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary(ops.sub, other, self)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary(ops.mul, other, self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary(ops.div, other, self, floating=True)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary(ops.pow, as_tensor(other), self)

    def __matmul__(self, other: Any) -> Tensor:
        return apply(ops.matmul, *_same_dtype(self, as_tensor(other)))

    def __rmatmul__(self, other: Any) -> Tensor:
        return as_tensor(other) @ self

    def __neg__(self) -> Tensor:
        return apply(ops.neg, self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return apply(ops.abs, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _plain_binary(np.floor_divide, self, other)

    def __mod__(self, other: Any) -> Tensor:
        return _plain_binary(np.remainder, self, other)

    def add(self, other: Any, *, alpha: Number = 1) -> Tensor:
        return self + other if alpha == 1 else self + other * alpha

    def sub(self, other: Any, *, alpha: Number = 1) -> Tensor:
        return self - other if alpha == 1 else self - other * alpha

    mul = multiply = __mul__
    div = divide = true_divide = __truediv__
    pow = __pow__
    matmul = mm = bmm = __matmul__
    neg = negative = __neg__
    abs = absolute = __abs__

    def maximum(self, other: Any) -> Tensor:
        return _binary(ops.maximum, self, other)

    def minimum(self, other: Any) -> Tensor:
        return _binary(ops.minimum, self, other)

    def exp(self) -> Tensor:
        return apply(ops.exp, _floating(self))

    def log(self) -> Tensor:
        return apply(ops.log, _floating(self))

    def sqrt(self) -> Tensor:
        return apply(ops.sqrt, _floating(self))

    def rsqrt(self) -> Tensor:
        return _floating(self) ** -0.5

    def square(self) -> Tensor:
        return self**2

    def reciprocal(self) -> Tensor:
        return 1 / self

    def sin(self) -> Tensor:
        return apply(ops.sin, _floating(self))

    def cos(self) -> Tensor:
        return apply(ops.cos, _floating(self))

    def tanh(self) -> Tensor:
        return apply(ops.tanh, _floating(self))

    def sigmoid(self) -> Tensor:
        return apply(ops.sigmoid, _floating(self))

    def relu(self) -> Tensor:
        return apply(ops.relu, self)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        if isinstance(min, Tensor) or isinstance(max, Tensor):  # bounds that have a gradient of their own
            x = self if min is None else self.maximum(min)
            return x if max is None else x.minimum(max)
        return apply(ops.clamp, self, min=min, max=max)

    clip = clamp

    def where(self, condition: Tensor, other: Any) -> Tensor:
        return where(condition, self, other)

    # Comparisons and roundings, which have no gradient

    def __eq__(self, other: object) -> Any:
        return _plain_binary(np.equal, self, other)

    def __ne__(self, other: object) -> Any:
        return _plain_binary(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _plain_binary(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _plain_binary(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _plain_binary(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _plain_binary(np.greater_equal, self, other)

    def __and__(self, other: Any) -> Tensor:
        return _plain_binary(np.bitwise_and, self, other)

    def __or__(self, other: Any) -> Tensor:
        return _plain_binary(np.bitwise_or, self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _plain_binary(np.bitwise_xor, self, other)

    def __invert__(self) -> Tensor:
        return Tensor(~self._array)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__
    logical_not = __invert__

    def sign(self) -> Tensor:
        return Tensor(np.sign(self._array))

    def floor(self) -> Tensor:
        return Tensor(np.floor(self._array))

    def ceil(self) -> Tensor:
        return Tensor(np.ceil(self._array))

    def round(self, decimals: int = 0) -> Tensor:
        return Tensor(np.round(self._array, decimals))

    def isnan(self) -> Tensor:
        return Tensor(np.isnan(self._array))

    def isinf(self) -> Tensor:
        return Tensor(np.isinf(self._array))

    def isfinite(self) -> Tensor:
        return Tensor(np.isfinite(self._array))

    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return Tensor(np.any(self._array, axis=_axis(dim), keepdims=keepdim))

    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return Tensor(np.all(self._array, axis=_axis(dim), keepdims=keepdim))

    def equal(self, other: Tensor) -> bool:
        return np.array_equal(self._array, other._array)

    def allclose(self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
        return bool(np.allclose(self._array, other._array, rtol, atol, equal_nan))

    # Reductions

    def sum(self, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        x = self if dtype is None else self.to(dtype)
        return apply(ops.sum, x, axis=_axis(dim), keepdims=keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        x = self if dtype is None else self.to(dtype)
        if x.dtype.kind != "f":
            raise TypeError(f"mean() of {x.dtype}: use .float().mean()")
        return apply(ops.mean, x, axis=_axis(dim), keepdims=keepdim)

    def var(self, dim: Dim = None, keepdim: bool = False, *, correction: float = 1, unbiased: bool = True) -> Tensor:
        return apply(ops.var, self, axis=_axis(dim), correction=correction if unbiased else 0, keepdims=keepdim)

    def std(self, dim: Dim = None, keepdim: bool = False, *, correction: float = 1, unbiased: bool = True) -> Tensor:
        return apply(ops.std, self, axis=_axis(dim), correction=correction if unbiased else 0, keepdims=keepdim)

    def prod(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return apply(ops.prod, self, axis=dim, keepdims=keepdim)

    def logsumexp(self, dim: Dim, keepdim: bool = False) -> Tensor:
        return apply(ops.logsumexp, self, axis=_axis(dim), keepdims=keepdim)

    def cumsum(self, dim: int) -> Tensor:
        return apply(ops.cumsum, self, axis=dim)

    def norm(self, p: float = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
        if p == 2:
            return (self * self).sum(dim, keepdim).sqrt()
        if p == 1:
            return self.abs().sum(dim, keepdim)
        if p == float("inf"):
            return self.abs().amax(dim, keepdim)
        return (self.abs() ** p).sum(dim, keepdim) ** (1 / p)

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The largest along dim; ties share the gradient evenly."""
        return apply(ops.max, self, axis=_axis(dim), keepdims=keepdim)

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The smallest along dim; ties share the gradient evenly."""
        return apply(ops.min, self, axis=_axis(dim), keepdims=keepdim)

    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Of all elements (ties share the gradient); with dim, values and indices (the first of a tie gets it all)."""
        if isinstance(dim, Tensor):
            return self.maximum(dim)
        return self.amax() if dim is None else self._extreme(np.argmax, dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Of all elements (ties share the gradient); with dim, values and indices (the first of a tie gets it all)."""
        if isinstance(dim, Tensor):
            return self.minimum(dim)
        return self.amin() if dim is None else self._extreme(np.argmin, dim, keepdim)

    def _extreme(self, find: Callable[..., Any], dim: int, keepdim: bool) -> ValuesIndices:
        if self.ndim == 0:
            return ValuesIndices(self, Tensor(np.zeros((), dtype=np.int64)))
        indices = Tensor(find(self._array, axis=dim, keepdims=True))
        values = self.gather(dim, indices)
        return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(dim), indices.squeeze(dim))

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return Tensor(np.argmax(self._array, axis=dim, keepdims=keepdim))

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return Tensor(np.argmin(self._array, axis=dim, keepdims=keepdim))

    def argsort(self, dim: int = -1, descending: bool = False) -> Tensor:
        key = -self._array if descending else self._array
        return Tensor(np.argsort(key, axis=dim, kind="stable"))

    def sort(self, dim: int = -1, descending: bool = False) -> ValuesIndices:
        indices = self.argsort(dim, descending)
        return ValuesIndices(self.gather(dim, indices), indices)

    def topk(self, k: int, dim: int = -1) -> ValuesIndices:
        """The k largest along dim, largest first, and where they stand."""
        if not 0 <= k <= self.shape[dim]:
            raise ValueError(f"topk: k={k} is not between 0 and the {self.shape[dim]} elements along dim {dim}")
        order = np.argsort(-self._array, axis=dim, kind="stable")
        indices = Tensor(np.take(order, range(k), axis=dim))
        return ValuesIndices(self.gather(dim, indices), indices)

    def softmax(self, dim: int) -> Tensor:
        return apply(ops.softmax, _floating(self), axis=dim)

    def log_softmax(self, dim: int) -> Tensor:
        return apply(ops.log_softmax, _floating(self), axis=dim)

    # Shape

    def reshape(self, *shape: Any) -> Tensor:
        return apply(ops.reshape, self, shape=_ints(shape))

    def view(self, *shape: Any) -> Tensor:
        """As ``reshape``; where the memory does not allow a view, it copies instead of raising."""
        return self.reshape(*shape)

    def view_as(self, other: Tensor) -> Tensor:
        return self.reshape(other.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        if self.ndim == 0:
            return self.reshape(1)
        start, end = start_dim % self.ndim, end_dim % self.ndim
        return self.reshape(*self.shape[:start], int(np.prod(self.shape[start : end + 1])), *self.shape[end + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        dim = dim % self.ndim
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    def permute(self, *dims: Any) -> Tensor:
        return apply(ops.permute, self, dims=_ints(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return apply(ops.transpose, self, axis0=dim0, axis1=dim1)

    def t(self) -> Tensor:
        if self.ndim > 2:
            raise ValueError(f"t() is for at most two axes, this has {self.ndim}: use transpose(dim0, dim1)")
        return self if self.ndim < 2 else self.transpose(0, 1)

    @property
    def T(self) -> Tensor:
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> Tensor:
        return self.transpose(-2, -1)

    def squeeze(self, dim: Dim = None) -> Tensor:
        return apply(ops.squeeze, self, axis=_axis(dim))

    def unsqueeze(self, dim: int) -> Tensor:
        return apply(ops.unsqueeze, self, axis=dim)

    def expand(self, *sizes: Any) -> Tensor:
        return apply(ops.expand, self, shape=_ints(sizes))

    def expand_as(self, other: Tensor) -> Tensor:
        return self.expand(other.shape)

    def repeat(self, *sizes: Any) -> Tensor:
        """Copies side by side, sizes[i] of them along axis i."""
        counts = _ints(sizes)
        x = self.reshape((1,) * (len(counts) - self.ndim) + self.shape)
        pairs = [n for count, size in zip(counts, x.shape, strict=True) for n in (count, size)]
        spread = x.reshape([n for size in x.shape for n in (1, size)]).expand(pairs)
        return spread.reshape([count * size for count, size in zip(counts, x.shape, strict=True)])

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces of split_size along dim (the last may be smaller), or of the sizes listed."""
        n = self.shape[dim]
        if isinstance(split_size, int):
            if split_size <= 0:
                raise ValueError(f"split_size must be positive, got {split_size}")
            sizes = [min(split_size, n - start) for start in range(0, n, split_size)] or [0]
        else:
            sizes = [int(s) for s in split_size]
            if sum(sizes) != n:
                raise ValueError(f"split sizes {sizes} sum to {sum(sizes)}, the tensor has {n} along dim {dim}")
        ends = np.cumsum(sizes).tolist()
        return tuple(self.narrow(dim, end - size, size) for size, end in zip(sizes, ends, strict=True))

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most that many pieces of equal size along dim (the last may be smaller)."""
        if chunks < 1:
            raise ValueError(f"chunks must be at least 1, got {chunks}")
        return self.split(max(1, -(-self.shape[dim] // chunks)), dim)

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        return self[(slice(None),) * (dim % self.ndim) + (slice(start, start + length),)]

    def select(self, dim: int, index: int) -> Tensor:
        return self[(slice(None),) * (dim % self.ndim) + (index,)]

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        return tuple(self.select(dim, i) for i in range(self.shape[dim]))

    def flip(self, *dims: Any) -> Tensor:
        return apply(ops.flip, self, axis=_ints(dims))

    def roll(self, shifts: Any, dims: Any = None) -> Tensor:
        return apply(ops.roll, self, shifts=shifts, axis=dims)

    def contiguous(self) -> Tensor:
        return self if self.is_contiguous() else self.clone()

    def clone(self) -> Tensor:
        """A copy with memory of its own, in the graph."""
        return apply(ops.clone, self)

    # Picking

    def __getitem__(self, index: Any) -> Tensor:
        return apply(ops.getitem, self, index=_index(index))

    def gather(self, dim: int, index: Tensor) -> Tensor:
        return apply(ops.gather, self, axis=dim, index=index._array)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        return self[(slice(None),) * (dim % self.ndim) + (index,)]

    def tril(self, diagonal: int = 0) -> Tensor:
        return apply(ops.tril, self, diagonal=diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        return apply(ops.triu, self, diagonal=diagonal)

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        return apply(ops.masked_fill, self, mask=_plain(mask), value=float(value))

    def masked_select(self, mask: Tensor) -> Tensor:
        return self[mask]

    def nonzero(self) -> Tensor:
        return Tensor(np.argwhere(self._array))

    # Dtype

    def to(self, *args: Any, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        """In another dtype, or that of another tensor; the only device is "cpu"."""
        for arg in args:
            if isinstance(arg, Tensor):
                dtype = arg.dtype
            elif isinstance(arg, str) and not arg.startswith(("float", "int", "uint", "bool")):
                device = arg
            elif not isinstance(arg, bool):
                dtype = arg
        if device is not None and str(device) != "cpu":
            raise ValueError(f"device {str(device)!r}: this engine runs on NumPy, its only device is 'cpu'")
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self
        if np.dtype(dtype).kind != "f":
            return Tensor(self._array.astype(dtype))
        return apply(ops.cast, self, dtype=np.dtype(dtype))

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return self.to(float32)

    def double(self) -> Tensor:
        return self.to(float64)

    def half(self) -> Tensor:
        return self.to(float16)

    def long(self) -> Tensor:
        return self.to(int64)

    def int(self) -> Tensor:
        return self.to(int32)

    def bool(self) -> Tensor:
        return self.to(bool_)

    # In place: for values outside the graph (under no_grad, on .data, on buffers)

    def _write(self, values: Any, index: Any = ...) -> Tensor:
        values = values if isinstance(values, Tensor) else _plain(values)
        if state.grad_enabled:
            if self._node is not None or getattr(values, "requires_grad", False):
                raise RuntimeError(
                    "writing in place to a tensor in the graph would make its gradient wrong: build a new one with "
                    "where(), masked_fill(), stack() or cat(), or write under no_grad()"
                )
            if self._requires_grad:
                raise RuntimeError(
                    "a leaf that requires a gradient is being written to in place: write under "
                    "`with minigrad.no_grad():`, or on its .data"
                )
        self._array[index] = _plain(values)
        note_write(self._array)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self._write(value, _index(index))

    def _update(self, compute: Callable[[Tensor, Any], Tensor], other: Any) -> Tensor:
        """``x += y`` and its like: in place, or where the graph is being recorded, as x = x + y."""
        if state.grad_enabled and (self._node is not None or getattr(other, "requires_grad", False)):
            return compute(self, other)
        with graph.no_grad():
            values = compute(self, other)
        return self._write(values)

    def __iadd__(self, other: Any) -> Tensor:
        return self._update(Tensor.__add__, other)

    def __isub__(self, other: Any) -> Tensor:
        return self._update(Tensor.__sub__, other)

    def __imul__(self, other: Any) -> Tensor:
        return self._update(Tensor.__mul__, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._update(Tensor.__truediv__, other)

    def _compute_write(self, compute: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """The in-place form of a method: its result is written, where ``_write`` allows it."""
        return self._write(compute(self, *args, **kwargs))

    def add_(self, other: Any, *, alpha: Number = 1) -> Tensor:
        return self._compute_write(Tensor.add, other, alpha=alpha)

    def sub_(self, other: Any, *, alpha: Number = 1) -> Tensor:
        return self._compute_write(Tensor.sub, other, alpha=alpha)

    def mul_(self, other: Any) -> Tensor:
        return self._compute_write(Tensor.mul, other)

    def div_(self, other: Any) -> Tensor:
        return self._compute_write(Tensor.div, other)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        return self._compute_write(Tensor.clamp, min, max)

    def masked_fill_(self, mask: Tensor, value: Any) -> Tensor:
        return self._compute_write(Tensor.masked_fill, mask, value)

    def copy_(self, source: Any) -> Tensor:
        """Take over the values of another tensor, which must fit in shape."""
        values = _plain(source)
        if np.broadcast_shapes(self.shape, np.shape(values)) != self.shape:
            raise ValueError(f"copy_: a source of shape {np.shape(values)} does not fit into {self.shape}")
        return self._write(source)

    def fill_(self, value: Any) -> Tensor:
        return self._write(value)

    def zero_(self) -> Tensor:
        return self._write(0)

    def normal_(self, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
        return self._write(rng(generator).normal(mean, std, self.shape))

    def uniform_(self, a: Any = 0.0, b: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
        return self._write(rng(generator).uniform(a, b, self.shape))


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away again."""

    def __init__(self, hooks: list[Any], entry: Any) -> None:
        self._hooks = hooks
        self._entry = entry

    def remove(self) -> None:
        if self._entry in self._hooks:
            self._hooks.remove(self._entry)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data: Python floats become float32, ints int64; arrays keep their dtype."""
    return Tensor(_array_of(data, dtype, copy=True), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor, sharing memory where it can."""
    if isinstance(data, Tensor) and dtype in (None, data.dtype):
        return data
    return Tensor(_array_of(data, dtype, copy=False))


def _array_of(data: Any, dtype: Any, copy: bool) -> Array:
    if isinstance(data, Tensor):
        data = data._array
    given = isinstance(data, np.ndarray | np.generic)
    if not given and isinstance(data, list | tuple) and any(isinstance(d, Tensor) for d in data):
        data = [d.tolist() if isinstance(d, Tensor) else d for d in data]
    array = np.array(data, dtype=dtype) if copy else np.asarray(data, dtype=dtype)
    if dtype is None and not given and array.dtype == np.float64:
        array = array.astype(_Settings.default_dtype)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"cannot make a tensor of {array.dtype} from {type(data).__name__}: numbers only")
    return array


def where(condition: Tensor, x: Any = None, y: Any = None) -> Any:
    """x where the condition (bool) holds, else y; with the condition alone, the indices where it holds."""
    mask = _plain(condition)
    if x is None and y is None:
        return tuple(Tensor(i) for i in np.nonzero(mask))
    if mask.dtype != bool:
        raise TypeError(f"where: the condition must be bool, got {mask.dtype}: write condition != 0")
    return _binary(ops.where, x, y, condition=mask)


def _plain(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return value._array if isinstance(value, Tensor) else value


def _floating(x: Tensor) -> Tensor:
    """Integers and bools as floats, as PyTorch does where the result is a fraction."""
    return x if x._array.dtype.kind == "f" else Tensor(x._array.astype(_Settings.default_dtype))


def _binary(op: Op, x: Any, y: Any, *, floating: bool = False, **constants: Any) -> Tensor:
    """Apply an op to two operands after PyTorch's dtype promotion."""
    dx = x._array.dtype if isinstance(x, Tensor) else None
    dy = y._array.dtype if isinstance(y, Tensor) else None
    if dx is dy or type(y) in _NUMBERS or type(x) in _NUMBERS:  # NumPy keeps the dtype of an array beside a number
        dtype = dx or dy
        if dtype is not None and dtype.kind == "f":
            return apply(op, x, y, **constants)
    dtype = result_type(x, y)
    if floating and dtype.kind != "f":
        dtype = _Settings.default_dtype
    return apply(op, _as(x, dtype), _as(y, dtype), **constants)


def _plain_binary(function: Callable[..., Any], x: Any, y: Any) -> Tensor:
    """A NumPy function without a gradient on two operands, after promotion; NotImplemented for foreign types."""
    if not isinstance(y, Tensor | np.ndarray | np.generic | bool | int | float):
        return NotImplemented
    dtype = result_type(x, y)
    return Tensor(np.asarray(function(_as(x, dtype)._array, _as(y, dtype)._array)))


def _same_dtype(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.dtype == y.dtype:
        return x, y
    dtype = result_type(x, y)
    return _as(x, dtype), _as(y, dtype)


def _as(x: Any, dtype: np.dtype[Any]) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(np.asarray(x))
    return x if x.dtype == dtype else x.to(dtype)


def result_type(x: Any, y: Any) -> np.dtype[Any]:
    """The dtype of x and y together, by PyTorch's rule.

    Floating beats integer beats bool. Within one of these kinds, a tensor with axes beats a 0-d one, and that beats a
    plain number: so float32 stays float32 beside numbers and float64 scalars.
    """
    (rank_x, dtype_x), (rank_y, dtype_y) = _rank(x), _rank(y)
    kind_x, kind_y = _KINDS[dtype_x.kind], _KINDS[dtype_y.kind]
    if kind_x != kind_y:
        return dtype_x if kind_x > kind_y else dtype_y
    if rank_x != rank_y:
        return dtype_x if rank_x > rank_y else dtype_y
    return np.promote_types(dtype_x, dtype_y)


_NUMBERS = frozenset((bool, int, float))
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def _rank(x: Any) -> tuple[int, np.dtype[Any]]:
    if isinstance(x, bool):
        return 0, bool_
    if isinstance(x, int):
        return 0, int64
    if isinstance(x, float):
        return 0, _Settings.default_dtype
    dtype = np.asarray(x).dtype if not isinstance(x, Tensor | np.ndarray | np.generic) else x.dtype
    if dtype.kind not in _KINDS:
        raise TypeError(f"cannot compute with {type(x).__name__} of dtype {dtype}: numbers and tensors only")
    return (1 if np.ndim(_plain(x)) == 0 else 2), dtype


def _axis(dim: Dim) -> int | tuple[int, ...] | None:
    return tuple(dim) if isinstance(dim, list) else dim


def _ints(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """``(2, 3)`` and ``((2, 3),)`` alike."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    return tuple(operator.index(n) for n in sizes)


def _index(index: Any) -> Any:
    """An index with arrays for tensors, inside tuples and lists too."""
    if isinstance(index, Tensor):
        return index._array
    if isinstance(index, tuple):
        return tuple(_index(i) for i in index)
    if isinstance(index, list):
        return np.asarray([_index(i) for i in index])
    return index
