"""The tensor: an array, its gradient, and the node that made it. Its methods are one-liners over the ops.

Names, argument order and semantics are PyTorch's. Each operation goes through ``apply``, which runs the op on the
arrays and, where a gradient is wanted, records a node.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minigrad import ops
from minigrad.graph import Hook, Node, Step, backward_steps, describe, memory_of, no_grad, note_write, state
from minigrad.methods import Methods
from minigrad.ops import Array, Op
from minigrad.ops.registry import CHOSEN
from minigrad.printing import array_text, with_notes
from minigrad.random import Generator, rng

Number: TypeAlias = "bool | int | float"
Dim: TypeAlias = "int | tuple[int, ...] | list[int] | None"

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int8, int16, int32, int64, uint8 = (np.dtype(n) for n in ("int8", "int16", "int32", "int64", "uint8"))
bool_ = np.dtype("bool")


class Device(str):
    """The name of a place for tensors, "cpu" being the only one where there are any."""

    def __new__(cls, type: str, index: int | None = None) -> Device:
        return super().__new__(cls, type if index is None else f"{type}:{index}")

    @property
    def type(self) -> str:
        return str(self).partition(":")[0]

    @property
    def index(self) -> Any:
        return int(str(self).partition(":")[2]) if ":" in self else None

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


CPU = Device("cpu")


def check_device(name: Any) -> None:
    """Raise ValueError, with what to write instead, for any device but the CPU."""
    if name is not None and str(name).partition(":")[0] != "cpu":
        raise ValueError(f"device {str(name)!r}: this engine runs on NumPy, its only device is 'cpu'")


class _MissingDtype:
    """A dtype that NumPy does not have: it can be named, not used."""

    def __init__(self, name: str, instead: str) -> None:
        self.name = name
        self.instead = instead

    def __repr__(self) -> str:
        return self.name


def check_dtype(dtype: Any) -> Any:
    """The dtype, unless it is one that NumPy does not have: then TypeError with what to use instead."""
    if isinstance(dtype, _MissingDtype):
        raise OpTypeError(f"{dtype.name}: NumPy has no such dtype, use {dtype.instead}")
    return dtype


bfloat16 = _MissingDtype("bfloat16", "float32")


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
                elif parent.backward is None and op is ops.add:
                    _warn_released(parent)
        else:
            arrays.append(x)
        if parent is not None:
            tracked = True
        parents.append(parent)
    try:
        z, backward = CHOSEN.get(op, op)(*arrays, **constants)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, op, arrays) from error
    out = Tensor(z)
    if tracked:
        out._node = Node(op, backward, tuple(parents), out._array.shape, out._array.dtype, state.scope)
    if state.observer is not None:
        state.observer(op, inputs, constants, out)
    return out


def _warn_released(node: Node) -> None:
    warnings.warn(
        f"adding the result of {describe(node)}, whose graph backward() has released: a running sum of losses "
        "made so keeps growing a graph, and cannot be walked back. For the value alone use .item() or .detach()",
        stacklevel=5,
    )


def _explained(error: Exception, op: Op, arrays: Sequence[Any]) -> Exception:
    """The same kind of error, with the op, its inputs and the module in front of the text."""
    given = ", ".join(f"{a.shape} {a.dtype}" if isinstance(a, np.ndarray) else repr(a) for a in arrays)
    where = f" in {state.scope}" if state.scope else ""
    text = f"{op.__name__}({given}){where}: {error}"
    for kind, raised in _RUNTIME.items():
        if isinstance(error, kind):
            return raised(text)
    return RuntimeError(text)


class OpValueError(ValueError, RuntimeError):
    """An op was given arrays that do not fit: a ValueError that PyTorch programs can catch as RuntimeError."""


class OpTypeError(TypeError, RuntimeError):
    """An op was given a dtype it has no rule for: a TypeError that PyTorch programs can catch as RuntimeError."""


class OpIndexError(IndexError, RuntimeError):
    """An index or an axis is not there: an IndexError that PyTorch programs can catch as RuntimeError."""


_RUNTIME = {IndexError: OpIndexError, TypeError: OpTypeError, ValueError: OpValueError}  # AxisError is both of the ends


class Tensor(Methods):
    """An n-dimensional array that remembers how it was made.

    ``Tensor(array)`` wraps a NumPy array without copying; ``minigrad.tensor(data)`` copies. ``requires_grad=True``
    makes it a leaf whose ``.grad`` collects d loss / d tensor at ``loss.backward()``. As in PyTorch, a list makes
    floats, and sizes (``Tensor(2, 3)``) make a tensor to be filled.
    """

    __slots__ = ("__dict__", "__weakref__", "_array", "_grad", "_node", "_requires_grad", "hooks")

    def __init__(self, data: Any = (), *sizes: int, requires_grad: bool = False) -> None:
        if sizes and isinstance(sizes[0], bool):
            requires_grad = sizes[0]
        self._array: Array = data if isinstance(data, np.ndarray) else _legacy_array(data, sizes)
        self._grad: Tensor | None = None
        self._node: Node | None = None
        self._requires_grad = False
        self.hooks: list[Hook] | None = None
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
    def device(self) -> Device:
        return CPU

    @property
    def is_cuda(self) -> bool:
        return False

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

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
        if self._node is not None:
            if not requires_grad:
                raise RuntimeError(f"made by {self._node.op.__name__}: use y = x.detach() to leave the graph")
            return self
        self._requires_grad = bool(requires_grad)
        return self

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        """How many elements of memory lie between neighbours along each axis."""
        strides = tuple(step // self.dtype.itemsize for step in self._array.strides)
        return strides if dim is None else strides[dim]

    def dim(self) -> int:
        return self.ndim

    ndimension = dim

    @property
    def is_sparse(self) -> bool:
        return False

    def data_ptr(self) -> int:
        return self._array.ctypes.data

    def storage_offset(self) -> int:
        """How many elements into its memory a view starts."""
        start = memory_of(self._array)
        return (self._array.ctypes.data - start.ctypes.data) // self.dtype.itemsize

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
            state.walker(self, self._cotangent(gradient), steps)
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
        return backward_steps([(self._node or self, self._cotangent(gradient))], retain_graph=retain_graph)

    def _cotangent(self, gradient: Any) -> Array:
        if gradient is None:
            if self.numel() != 1:
                raise RuntimeError(
                    f"backward() without a gradient needs a single number, this has shape {self.shape}: "
                    "reduce it with .sum() or .mean(), or pass gradient="
                )
            return np.array(1, self.dtype).reshape(self.shape)
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
                tensor.receive(dz, shared=True)

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

    def numpy(self, *, force: bool = False) -> Array:
        """The values as a NumPy array that shares memory. RuntimeError while a gradient is wanted, unless ``force``."""
        if self.requires_grad and state.grad_enabled and not force:
            raise RuntimeError("numpy() would leave the graph silently: say .detach().numpy()")
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """What NumPy's own functions, and its arrays and numbers left of an operator, do with a tensor."""
        if method == "__call__" and not kwargs:
            if ufunc in _OPERATORS:
                return _OPERATORS[ufunc](as_tensor(inputs[0]), inputs[1])
            if len(inputs) == 1 and hasattr(Tensor, ufunc.__name__):
                return getattr(self, ufunc.__name__)()
        found = getattr(ufunc, method)(*(x.numpy() if isinstance(x, Tensor) else x for x in inputs), **kwargs)
        return found if "out" in kwargs or isinstance(found, tuple) else Tensor(found)

    def item(self) -> Any:
        """The one number in it, as a Python number."""
        if self.numel() != 1:
            raise OpValueError(
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
            raise OpValueError(f"the truth of a tensor of shape {self.shape} is ambiguous: use .any() or .all()")
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
        text = "tensor(" + (array_text(self._array, len("tensor(")) if self.numel() else "[]")
        notes = []
        if self.numel() == 0 and self.ndim != 1:
            notes.append(f"size={self.shape}")
        shown = (_Settings.default_dtype,) if self.numel() == 0 else (_Settings.default_dtype, int64, bool_)
        if self.dtype not in shown:
            notes.append(f"dtype={self.dtype}")
        if self._node is not None:
            notes.append(f"grad_fn=<{_backward_name(self._node)}>")
        elif self._requires_grad:
            notes.append("requires_grad=True")
        return with_notes(text, notes, len("tensor("))

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
        return _plain_binary(_quiet(np.floor_divide), self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return as_tensor(other) // self

    def __mod__(self, other: Any) -> Tensor:
        if state.grad_enabled and (self.requires_grad or getattr(other, "requires_grad", False)):
            return self - other * (self.detach() // (other.detach() if isinstance(other, Tensor) else other))
        return _plain_binary(_quiet(np.remainder), self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return as_tensor(other) % self

    def __lshift__(self, other: Any) -> Tensor:
        return _plain_binary(np.left_shift, self, other)

    def __rshift__(self, other: Any) -> Tensor:
        return _plain_binary(np.right_shift, self, other)

    def add(self, other: Any, *, alpha: Number = 1) -> Tensor:
        return self + other if alpha == 1 else self + other * alpha

    def sub(self, other: Any, *, alpha: Number = 1) -> Tensor:
        return self - other if alpha == 1 else self - other * alpha

    subtract = sub

    def div(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        if rounding_mode is None:
            return self / other
        if rounding_mode not in ("floor", "trunc"):
            raise ValueError(f"rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
        return self // other if rounding_mode == "floor" else (self / other).trunc().to(result_type(self, other))

    mul = multiply = __mul__
    divide = div
    true_divide = __truediv__
    floor_divide = __floordiv__
    remainder = __mod__
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

    def expm1(self) -> Tensor:
        return apply(ops.expm1, _floating(self))

    def log(self) -> Tensor:
        return apply(ops.log, _floating(self))

    def log1p(self) -> Tensor:
        return apply(ops.log1p, _floating(self))

    def erf(self) -> Tensor:
        return apply(ops.error_function, _floating(self))

    def sqrt(self) -> Tensor:
        return apply(ops.sqrt, _floating(self))

    def sin(self) -> Tensor:
        return apply(ops.sin, _floating(self))

    def cos(self) -> Tensor:
        return apply(ops.cos, _floating(self))

    def atan(self) -> Tensor:
        return apply(ops.atan, _floating(self))

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
    bitwise_and, bitwise_or, bitwise_xor, bitwise_not = __and__, __or__, __xor__, __invert__

    def sign(self) -> Tensor:
        return Tensor(np.sign(self._array))

    def floor(self) -> Tensor:
        return Tensor(np.floor(self._array))

    def ceil(self) -> Tensor:
        return Tensor(np.ceil(self._array))

    def trunc(self) -> Tensor:
        return Tensor(np.trunc(self._array))

    def round(self, *, decimals: int = 0) -> Tensor:
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
        return apply(ops.sum, self._summed(dtype), axis=_axis(dim), keepdims=keepdim)

    def _summed(self, dtype: Any) -> Tensor:
        """What is summed up: integers and bools as int64, the rest as it is, unless a dtype is asked for."""
        if dtype is None and self._array.dtype.kind == "f":
            return self
        return self.to(int64 if dtype is None else dtype)

    def mean(self, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        x = self if dtype is None else self.to(dtype)
        if x.dtype.kind != "f":
            raise OpTypeError(f"mean() of {x.dtype}: use .float().mean()")
        return apply(ops.mean, x, axis=_axis(dim), keepdims=keepdim)

    def var(
        self, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
    ) -> Tensor:
        return self._spread_along(ops.var, dim, unbiased, keepdim, correction)

    def std(
        self, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
    ) -> Tensor:
        return self._spread_along(ops.std, dim, unbiased, keepdim, correction)

    def _spread_along(self, op: Op, dim: Any, unbiased: bool, keepdim: bool, correction: float | None) -> Tensor:
        if isinstance(dim, bool):  # var(False) means var(unbiased=False)
            dim, unbiased = None, dim
        correction = int(unbiased) if correction is None else correction
        return apply(op, self, axis=_axis(dim), correction=correction, keepdims=keepdim)

    def prod(self, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return apply(ops.prod, self._summed(dtype), axis=dim, keepdims=keepdim)

    def logsumexp(self, dim: Dim, keepdim: bool = False) -> Tensor:
        return apply(ops.logsumexp, _floating(self), axis=_axis(dim), keepdims=keepdim)

    def cumsum(self, dim: int, *, dtype: Any = None) -> Tensor:
        return apply(ops.cumsum, self._summed(dtype), axis=dim)

    def norm(self, p: Any = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
        if p in (2, "fro"):
            return (self * self).sum(dim, keepdim).sqrt()
        if p == 1:
            return self.abs().sum(dim, keepdim)
        if p == 0:
            return (self != 0).sum(dim, keepdim).to(self.dtype)
        if p == float("inf"):
            return self.abs().amax(dim, keepdim)
        if p == -float("inf"):
            return self.abs().amin(dim, keepdim)
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

    def median(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The middle element (the lower of two), of all, or along dim with its index."""
        if dim is None:
            return self.reshape(-1).median(0).values
        middle = (self.shape[dim] - 1) // 2
        return self._extreme(_kth(middle), dim, keepdim)

    def kthvalue(self, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
        """The k-th smallest along dim, counted from 1, and its index."""
        return self._extreme(_kth(k - 1), dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return Tensor(np.argmax(self._array, axis=dim, keepdims=keepdim))

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return Tensor(np.argmin(self._array, axis=dim, keepdims=keepdim))

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        return Tensor(_order(self._array, dim, descending))

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
        if self.ndim == 0:
            return ValuesIndices(self, Tensor(np.zeros((), dtype=np.int64)))
        indices = self.argsort(dim, descending)
        return ValuesIndices(self.gather(dim, indices), indices)

    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
        """The k largest (or smallest) along dim, best first, and where they stand."""
        if self.ndim and not 0 <= k <= self.shape[dim]:
            raise OpValueError(f"topk: k={k} is not between 0 and the {self.shape[dim]} elements along dim {dim}")
        indices = Tensor(np.take(_order(self._array, dim, largest), range(k), axis=dim))
        return ValuesIndices(self.gather(dim, indices), indices)

    def softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return apply(ops.softmax, _floating(self if dtype is None else self.to(dtype)), axis=dim)

    def log_softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return apply(ops.log_softmax, _floating(self if dtype is None else self.to(dtype)), axis=dim)

    # Shape

    def reshape(self, *shape: Any) -> Tensor:
        return apply(ops.reshape, self, shape=_ints(shape))

    def view(self, *shape: Any) -> Tensor:
        """As ``reshape``; where the memory does not allow a view, it copies instead of raising."""
        return apply(ops.reshape, self, shape=_ints(shape))

    def view_as(self, other: Tensor) -> Tensor:
        return self.reshape(other.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        if self.ndim == 0:
            return self.reshape(1)
        start, end = _dim(start_dim, self.ndim), _dim(end_dim, self.ndim)
        return self.reshape(*self.shape[:start], math.prod(self.shape[start : end + 1]), *self.shape[end + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        dim = _dim(dim, self.ndim)
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
        dim = _dim(dim, self.ndim)
        n = self.shape[dim]
        if isinstance(split_size, int):
            if split_size <= 0:
                raise OpValueError(f"split_size must be positive, got {split_size}")
            sizes = [min(split_size, n - start) for start in range(0, n, split_size)] or [0]
        else:
            sizes = [int(s) for s in split_size]
            if sum(sizes) != n:
                raise OpValueError(f"split sizes {sizes} sum to {sum(sizes)}, the tensor has {n} along dim {dim}")
        starts = itertools.accumulate(sizes, initial=0)  # and the end
        return tuple(self.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=False))

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most that many pieces of equal size along dim (the last may be smaller)."""
        if chunks < 1:
            raise OpValueError(f"chunks must be at least 1, got {chunks}")
        return self.split(max(1, -(-self.shape[dim] // chunks)), dim)

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        dim, start = _dim(dim, self.ndim), operator.index(start)
        start = start + self.shape[dim] if start < 0 else start
        if not 0 <= start <= start + length <= self.shape[dim]:
            raise OpValueError(f"narrow: {start} to {start + length} are not within the {self.shape[dim]} along {dim}")
        return self[(slice(None),) * dim + (slice(start, start + length),)]

    def select(self, dim: int, index: int) -> Tensor:
        return self[(slice(None),) * _dim(dim, self.ndim) + (index,)]

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        return tuple(self.select(dim, i) for i in range(self.shape[dim]))

    def flip(self, *dims: Any) -> Tensor:
        return apply(ops.flip, self, axis=_ints(dims))

    def roll(self, shifts: Any, dims: Any = None) -> Tensor:
        return apply(ops.roll, self, shifts=shifts, axis=dims)

    def contiguous(self, memory_format: Any = None) -> Tensor:
        return self if self.is_contiguous() else self.clone()

    def clone(self, *, memory_format: Any = None) -> Tensor:
        """A copy with memory of its own, in the graph."""
        return apply(ops.clone, self)

    # Picking

    def __getitem__(self, index: Any) -> Tensor:
        return apply(ops.getitem, self, index=_index(index, self.shape))

    def gather(self, dim: int, index: Tensor) -> Tensor:
        return apply(ops.gather, self, axis=dim, index=index._array)

    def scatter(self, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None) -> Tensor:
        """A copy with ``src`` (a tensor or a number) put at index along dim."""
        if reduce not in (None, "add"):
            raise ValueError(f"scatter knows reduce=None and 'add', got {reduce!r}: use scatter_reduce's parts by hand")
        put = src if value is None else value
        put = put.to(self.dtype) if isinstance(put, Tensor) else self.dtype.type(put)
        return apply(ops.scatter, self, put, axis=dim, index=index._array, add=reduce == "add")

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with ``src`` added at index along dim; where an index comes twice, both are added."""
        return self.scatter(dim, index, src, reduce="add")

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        return self[(slice(None),) * _dim(dim, self.ndim) + (index,)]

    def tril(self, diagonal: int = 0) -> Tensor:
        return apply(ops.tril, self, diagonal=diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        return apply(ops.triu, self, diagonal=diagonal)

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        value = value.item() if isinstance(value, Tensor) else value
        return apply(ops.masked_fill, self, mask=_plain(mask), value=value)

    def masked_select(self, mask: Tensor) -> Tensor:
        return self[mask]

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Where it is not 0: one row of indices per element (N, ndim), or one index per axis."""
        return where(self != 0) if as_tuple else Tensor(np.argwhere(self._array))

    # In place: for values outside the graph (under no_grad, on .data, on buffers)

    def _write(self, values: Any, index: Any = ...) -> Tensor:
        if state.grad_enabled:
            if self._requires_grad:
                raise RuntimeError(
                    "a leaf that requires a gradient is being written to in place: write under "
                    "`with minigrad.no_grad():`, or on its .data"
                )
            if self._node is not None or getattr(values, "requires_grad", False):
                values = values.to(self.dtype) if isinstance(values, Tensor) else np.asarray(values, self.dtype)
                return self._become(apply(ops.setitem, self, values, index=index))
        self._array[index] = _plain(values)
        note_write(self._array)
        return self

    def _become(self, result: Tensor) -> Tensor:
        """Take the place of an op's result: what writing in place means in a graph, where nothing is overwritten."""
        if self._array.base is not None and (self._node is None or self._node.op in _VIEWS):
            raise RuntimeError(
                "writing in place to a view of another tensor would not reach that tensor in the graph: write to the "
                "tensor itself, or build a new one with where(), masked_fill(), stack() or cat()"
            )
        self._array, self._node = result._array, result._node
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self._write(value, _index(index, self.shape))

    def _update(self, compute: Callable[[Tensor, Any], Tensor], other: Any) -> Tensor:
        """``x += y`` and its like: in place, or where the graph is being recorded, as x = x + y."""
        if state.grad_enabled and (self._node is not None or getattr(other, "requires_grad", False)):
            return compute(self, other)
        with no_grad():
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
        """The in-place form of a method: its result is written, or in a graph takes the place of the old value."""
        result = compute(self, *args, **kwargs)
        if result.shape != self.shape:
            raise OpValueError(f"the result has shape {result.shape}, which does not fit into {self.shape} in place")
        if not state.grad_enabled or self._requires_grad or not result.requires_grad:
            return self._write(result)
        return self._become(result.to(self.dtype))

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

    def bernoulli_(self, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        return self._write(rng(generator).random(self.shape) < _plain(p))

    def exponential_(self, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        return self._write(rng(generator).exponential(1 / lambd, self.shape))

    def random_(self, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
        """Integers in [low, high), or below low if it is all there is."""
        low, high = (0, low or 1 << 24) if high is None else (low, high)
        return self._write(rng(generator).integers(low, high, self.shape))

    def bernoulli(self, *, generator: Generator | None = None) -> Tensor:
        """1 with the probability that each element gives, else 0."""
        return Tensor((rng(generator).random(self.shape) < self._array).astype(self.dtype))

    def multinomial(self, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
        """Draw indices with these weights: (K,) or (B, K), not negative -> (num_samples,) or (B, num_samples)."""
        weights = np.atleast_2d(self._array).astype(np.float64)
        total = weights.sum(-1, keepdims=True)
        if not np.isfinite(weights).all() or (weights < 0).any() or (total <= 0).any():
            raise OpValueError("multinomial: the weights must be finite, not negative, and not all zero")
        if not replacement and (num_samples > (weights > 0).sum(-1)).any():
            raise OpValueError(f"multinomial: fewer than {num_samples} weights are above zero; pass replacement=True")
        if replacement or num_samples == 1:
            levels = np.cumsum(weights, -1)
            top = levels[:, -1:]
            draws = np.minimum(rng(generator).random((len(weights), num_samples)) * top, np.nextafter(top, 0))
            ids = np.stack([np.searchsorted(*row, side="right") for row in zip(levels, draws, strict=True)])
        else:  # the largest of log weight + Gumbel noise are a draw without replacement (Gumbel top-k)
            noise = rng(generator).gumbel(size=weights.shape)
            with np.errstate(divide="ignore"):
                ids = np.argsort(-(np.log(weights) + noise), axis=-1, kind="stable")[:, :num_samples]
        return Tensor(ids[0] if self.ndim == 1 else ids)

    @staticmethod
    def _plain(array: Any) -> Tensor:
        return Tensor(array)

    @staticmethod
    def _joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
        return apply(ops.cat, *tensors, axis=dim)

    # Dtype

    def to(self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **_: Any) -> Tensor:
        """In another dtype, or that of another tensor; the only device is "cpu"."""
        dtype = destination(args, dtype, device)
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self.clone() if copy else self
        if np.dtype(dtype).kind != "f":
            with np.errstate(invalid="ignore"):  # NaN as an integer: some number, as in PyTorch
                return Tensor(self._array.astype(dtype))
        return apply(ops.cast, self, dtype=np.dtype(dtype))

    def type(self, dtype: Any = None) -> Any:
        """In another dtype; without one, the name of the kind of tensor."""
        return f"torch.{_LEGACY[self.dtype.name]}Tensor" if dtype is None else self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    def cpu(self) -> Tensor:
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        """Refused: there is no such device here."""
        return self.to(device="cuda")

    def pin_memory(self) -> Tensor:
        return self

    def bfloat16(self) -> Tensor:
        return self.to(bfloat16)

    def short(self) -> Tensor:
        return self.to(int16)

    def byte(self) -> Tensor:
        return self.to(uint8)

    def char(self) -> Tensor:
        return self.to(int8)

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


def _with_numpy_names(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, taking NumPy's names axis and keepdims for dim and keepdim too, as PyTorch does."""

    @functools.wraps(method)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            if "out" in kwargs and kwargs["out"] is None:  # np.sum(tensor) says so
                del kwargs["out"]
            for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
                if theirs in kwargs:
                    kwargs[ours] = kwargs.pop(theirs)
        return method(*args, **kwargs)

    return renamed


for _name in (
    "sum mean var std prod max min amax amin argmax argmin any all logsumexp cumsum cumprod norm median argsort sort "
    "topk squeeze unsqueeze split chunk unbind softmax log_softmax gather index_select nansum nanmean count_nonzero"
).split():
    setattr(Tensor, _name, _with_numpy_names(getattr(Tensor, _name)))


def _in_place(name: str) -> Callable[..., Tensor]:
    method = getattr(Tensor, name)

    def write(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._compute_write(method, *args, **kwargs)

    write.__name__ = f"{name}_"
    write.__doc__ = f"``{name}`` in place."
    return write


for _name in (
    "add sub mul div pow neg abs clamp clamp_min clamp_max masked_fill exp log sqrt rsqrt reciprocal square tanh "
    "sigmoid relu sin cos floor ceil round trunc sign remainder floor_divide lerp addcmul addcdiv addmm tril triu "
    "scatter scatter_add index_add index_copy index_fill masked_scatter nan_to_num cumsum cumprod "
    "eq ne lt le gt ge logical_not logical_and logical_or bitwise_and bitwise_or bitwise_not tan sinh cosh atan "
    "asin acos expm1 exp2 log1p log2 log10 logit erf fmod frac fill_diagonal"
).split():
    setattr(Tensor, f"{_name}_", _in_place(_name))


def _reshaped_in_place(name: str) -> Callable[..., Tensor]:
    method = getattr(Tensor, name)

    def change(self: Tensor, *args: Any) -> Tensor:
        if self._requires_grad:
            raise RuntimeError(f"{name}_ of a leaf that requires a gradient: write x = x.{name}(...)")
        result = method(self, *args)
        self._array, self._node = result._array, result._node
        return self

    change.__name__ = f"{name}_"
    change.__doc__ = f"``{name}`` in place."
    return change


for _name in ("squeeze", "unsqueeze", "transpose", "t"):
    setattr(Tensor, f"{_name}_", _reshaped_in_place(_name))


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away again."""

    def __init__(self, hooks: list[Any], entry: Any) -> None:
        self._hooks = hooks
        self._entry = entry

    def remove(self) -> None:
        if self._entry in self._hooks:
            self._hooks.remove(self._entry)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data: Python floats become float32, ints int64; arrays keep their dtype."""
    check_device(device)
    return Tensor(_array_of(data, dtype, copy=True), requires_grad=requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor, sharing memory where it can."""
    check_device(device)
    if isinstance(data, Tensor) and dtype in (None, data.dtype):
        return data
    return Tensor(_array_of(data, dtype, copy=False))


def _array_of(data: Any, dtype: Any, copy: bool) -> Array:
    check_dtype(dtype)
    if isinstance(data, Tensor):
        data = data._array
    given = isinstance(data, np.ndarray | np.generic)
    if not given and isinstance(data, list | tuple):
        data = _without_tensors(data)
    array = np.array(data, dtype=dtype) if copy else np.asarray(data, dtype=dtype)
    if dtype is None and not given and array.dtype == np.float64:
        array = array.astype(_Settings.default_dtype)
    if array.dtype.kind not in "biuf":
        raise OpTypeError(f"cannot make a tensor of {array.dtype} from {type(data).__name__}: numbers only")
    return array


def _without_tensors(data: Any) -> Any:
    """Nested lists with plain numbers in place of tensors."""
    if isinstance(data, list | tuple):
        return [_without_tensors(d) for d in data]
    return data.tolist() if isinstance(data, Tensor) else data


def _legacy_array(data: Any, sizes: tuple[int, ...]) -> Array:
    """What ``Tensor(...)`` of something else than an array holds: PyTorch's oldest constructor makes floats."""
    if isinstance(data, np.generic):
        return np.asarray(data)
    if isinstance(data, Tensor):
        return data._array
    if sizes or isinstance(data, int):
        return np.zeros((data, *sizes), dtype=_Settings.default_dtype)
    return _array_of(data, _Settings.default_dtype, copy=True)


def destination(args: Sequence[Any], dtype: Any, device: Any) -> Any:
    """The dtype that the arguments of ``to()`` ask for, None for none; ValueError for a device that is not there."""
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg.dtype
        elif isinstance(arg, str) and not arg.startswith(("float", "int", "uint", "bool")):
            device = arg
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    check_device(device)
    return check_dtype(dtype)


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function that says nothing of infinities and NaN."""

    def quiet(*args: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return function(*args)

    return quiet


def _order(x: Array, dim: int, descending: bool) -> Array:
    """What puts the elements along dim in order, equal ones as they stand, NaN counting as the largest."""
    if x.ndim == 0:
        return np.zeros((), dtype=np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    last = x.shape[dim] - 1  # backwards twice: equal elements keep their order
    return np.flip(last - np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)


def _kth(k: int) -> Callable[..., Any]:
    def find(x: Array, axis: int, keepdims: bool) -> Array:
        return np.take(np.argsort(x, axis=axis, kind="stable"), [k], axis=axis)

    return find


def _dim(dim: int, ndim: int) -> int:
    """An axis that may count from the end, as one that counts from 0."""
    if not -ndim <= dim < max(ndim, 1):
        raise IndexError(f"there is no dim {dim} in a tensor with {ndim} axes (from {-ndim} to {ndim - 1})")
    return dim % ndim if ndim else 0


_OPERATORS: dict[np.ufunc, Callable[[Any, Any], Any]] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.true_divide: operator.truediv,
    np.floor_divide: operator.floordiv, np.remainder: operator.mod, np.power: operator.pow, np.matmul: operator.matmul,
    np.equal: operator.eq, np.not_equal: operator.ne, np.less: operator.lt, np.less_equal: operator.le,
    np.greater: operator.gt, np.greater_equal: operator.ge, np.bitwise_and: operator.and_, np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
}  # fmt: skip
_VIEWS = frozenset((
    ops.reshape, ops.permute, ops.transpose, ops.squeeze, ops.unsqueeze, ops.expand, ops.getitem
))  # fmt: skip
_LEGACY = {
    "float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "int32": "Int", "int16": "Short",
    "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip
_BACKWARD_NAMES = {
    "reshape": "View", "error_function": "Erf", "linear": "Addmm", "cross_entropy": "NllLoss", "pad": "ConstantPadNd",
    "layer_norm": "NativeLayerNorm", "gelu_tanh": "Gelu", "cast": "ToCopy", "dropout": "Mul",
    "bce_with_logits": "BinaryCrossEntropyWithLogits",
}  # fmt: skip


def _backward_name(node: Node) -> str:
    """PyTorch's name for what a node does, such as AddBackward0."""
    name = node.op.__name__
    camel = _BACKWARD_NAMES.get(name) or "".join(part.capitalize() for part in name.split("_"))
    variant = 0
    if name in ("sum", "mean"):
        variant = int(node.shape != ())
    elif name in ("max", "min"):
        camel, variant = (camel, 1) if node.shape == () else (f"A{name}", 0)
    elif name == "matmul":
        camel = "Mm" if len(node.shape) == 2 else "Bmm" if len(node.shape) == 3 else "Dot"
    elif name == "linear" and node.parents[2:] in ((), (None,)):
        camel = "Mm"
    elif name == "getitem" and node.backward is not None:
        function: Any = node.backward
        saved = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        index = saved["index"].cell_contents
        basic = index if isinstance(index, tuple) else (index,)
        kinds = {type(i) for i in basic}
        camel = "Select" if kinds == {int} else "Slice" if kinds <= {int, slice} else "Index"
    return f"{camel}Backward{variant}"


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where the condition (bool) holds, else other; with the condition alone, the indices where it holds."""
    mask, x, y = _plain(condition), input, other
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
    return tuple(map(operator.index, sizes))


def _index(index: Any, shape: tuple[int, ...]) -> Any:
    """An index as NumPy takes it, with arrays for tensors and lists, that picks what PyTorch picks."""
    if not isinstance(index, tuple):
        found = _index_part(index)
        return found if not isinstance(found, tuple) else _index(found, shape)
    parts = tuple(map(_index_part, index))
    if not any(isinstance(i, np.ndarray) for i in parts):
        return parts
    kinds = "".join(
        "i" if isinstance(i, int | np.integer) else "a" if isinstance(i, np.ndarray) else " " for i in parts
    )
    if "i" in kinds and "a" in kinds and " " in kinds.strip():
        # NumPy takes a number beside arrays for an array, and puts the picked axes in front where a slice lies between
        # them; PyTorch takes the numbers first, and leaves the rest in its place.
        places = np.arange(math.prod(shape)).reshape(shape)
        whole = slice(None)
        first: list[Any] = []
        for i in parts:
            first += [whole] * (i.ndim if i.dtype == bool else 1) if isinstance(i, np.ndarray) else [i]
        rest = tuple(
            i if isinstance(i, np.ndarray) or i is Ellipsis else whole
            for i in parts
            if not isinstance(i, int | np.integer)
        )
        return np.unravel_index(places[tuple(first)][rest], shape)
    return parts


def _index_part(index: Any) -> Any:
    """One entry of an index; a tensor of one integer counts as that integer."""
    if isinstance(index, Tensor):
        array = index._array
        return int(array) if array.ndim == 0 and array.dtype.kind in "iu" else array
    if isinstance(index, range):
        return np.arange(index.start, index.stop, index.step)
    if isinstance(index, list):
        if any(isinstance(i, slice) or i is None for i in index):
            return tuple(index)
        return np.asarray([_plain(i) for i in index], dtype=None if index else np.int64)
    return index
