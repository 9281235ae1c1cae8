"""The traced array: stands in for an array while an op or its backward runs, and puts what is computed into the graph.

An op is NumPy code. NumPy lets an object answer for itself where a function, an operator or a method meets it: so the
code of the op, unchanged, can be made to apply ops to tensors. What no derivative has to follow, such as a comparison
or a shape, comes out plain; what cannot be followed raises TypeError, as a gradient must not get lost in silence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigrad import ops
from minigrad.core.op import Array, Op, facts
from minigrad.core.places import ints, is_basic
from minigrad.ops.elementwise import numbers

if TYPE_CHECKING:
    from minigrad.core.graph import Node
    from minigrad.core.tensor import Tensor


class Traced(NDArrayOperatorsMixin):
    """A tensor in the place of an array. What is written into it in place makes it hold another tensor.

    A view of one writes through to what it is a view of, and sees what is written there.
    """

    __slots__ = ("_base", "_seen", "_tensor")

    def __init__(self, tensor: Tensor, base: tuple[Traced, Op, dict[str, Any]] | None = None) -> None:
        self._tensor = tensor
        self._base = base  # what it is a view of, and by which op
        self._seen = None if base is None else base[0].tensor

    @property
    def tensor(self) -> Tensor:
        """The tensor that it stands for now."""
        if self._base is not None:
            base, op, constants = self._base
            if base.tensor is not self._seen:
                self._seen = base.tensor
                self._tensor = self._seen._apply(op, self._seen, **constants)
        return self._tensor

    @property
    def numbers(self) -> Array:
        """The plain array."""
        return self.tensor._array

    def becomes(self, node: Node) -> None:
        """Be that node's result from now on."""
        array, self._base = self.numbers, None
        self._tensor = self._tensor._made(array)
        self._tensor._set(array, node)

    def write(self, value: Any) -> Traced:
        """Hold a value from now on, at its own shape and dtype; what it is a view of holds it in its place."""
        z = traced(value, self)
        if z.shape != self.shape:
            z = z.broadcast_to(self.shape)
        tensor = z.astype(self.dtype, copy=False).tensor
        if self._base is not None:
            base, op, constants = self._base
            base.write(run(ops.view_written, base, Traced(tensor), view=op, constants=constants))
            self._seen = base.tensor
        self._tensor = tensor
        return self

    # What NumPy asks

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **kwargs: Any) -> Any:
        name = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
        if any(not isinstance(z, Traced) for z in out) or (method == "at" and not isinstance(inputs[0], Traced)):
            lost(f"writing into a plain array, by {name},")
        z = _of_ufunc(ufunc, method, inputs, kwargs)
        if z is NotImplemented:
            lost(name)
        return out[0].write(z) if out else z

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in PLAIN:
            return function(*plain(args), **plain(kwargs))
        if function in FUNCTIONS:
            return FUNCTIONS[function](*args, **kwargs)
        if hasattr(Traced, function.__name__) and args and isinstance(args[0], Traced):  # np.sum(x) is x.sum()
            return getattr(args[0], function.__name__)(*args[1:], **kwargs)
        lost(f"np.{function.__name__}")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        lost("making a plain array of it, as np.asarray, np.array and a write into a plain array do,")

    def __float__(self) -> NoReturn:
        lost("float()")

    def __int__(self) -> NoReturn:
        lost("int()")

    def __bool__(self) -> bool:
        lost("asking whether it is true")

    def item(self) -> NoReturn:
        lost(".item()")

    def tolist(self) -> NoReturn:
        lost(".tolist()")

    # What an array says of itself: plain

    base = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def ndim(self) -> int:
        return self.numbers.ndim

    @property
    def size(self) -> int:
        return self.numbers.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.numbers.dtype

    @property
    def itemsize(self) -> int:
        return self.numbers.itemsize

    @property
    def flags(self) -> Any:
        return self.numbers.flags

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Traced]:
        return (self[i] for i in range(len(self)))

    def any(self, *args: Any, **kwargs: Any) -> Any:
        return self.numbers.any(*args, **kwargs)

    def all(self, *args: Any, **kwargs: Any) -> Any:
        return self.numbers.all(*args, **kwargs)

    # What an array can do: by ops

    def __getitem__(self, index: Any) -> Traced:
        return run(ops.getitem, self, index=plain(index), viewing=is_basic(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        value = traced(value, self).astype(self.dtype, copy=False)
        self.write(run(ops.setitem, self, value, index=plain(index)))

    @property
    def T(self) -> Traced:
        return self.transpose()

    def reshape(self, *shape: Any, order: str = "C") -> Traced:
        if order != "C":
            lost(f"reshape with order={order!r}")
        return run(ops.reshape, self, shape=ints(shape), viewing=True)

    def ravel(self) -> Traced:
        return self.reshape(-1)

    def flatten(self) -> Traced:
        return self.reshape(-1).copy()

    def swapaxes(self, axis0: int, axis1: int) -> Traced:
        return run(ops.transpose, self, axis0=axis0, axis1=axis1, viewing=True)

    def transpose(self, *axes: Any) -> Traced:
        order = ints(axes) if axes and axes[0] is not None else tuple(range(self.ndim))[::-1]
        return run(ops.permute, self, dims=order, viewing=True)

    def squeeze(self, axis: Any = None) -> Traced:
        return run(ops.squeeze, self, axis=axis, viewing=True)

    def expand_dims(self, axis: Any) -> Traced:
        return self.reshape(np.expand_dims(self.numbers, axis).shape)

    def moveaxis(self, source: Any, destination: Any) -> Traced:
        order = np.moveaxis(np.empty(tuple(range(self.ndim))), source, destination).shape
        return self.transpose(*order)

    def broadcast_to(self, shape: Any) -> Traced:
        return run(ops.expand, self, shape=ints((shape,)))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Traced:
        return run(ops.diagonal, self, offset=offset, axis0=axis1, axis1=axis2, viewing=True)

    def astype(self, dtype: Any, *, copy: bool = True, casting: Any = None) -> Traced:
        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self.copy() if copy else self
        return run(ops.cast, self, dtype=dtype)

    def copy(self, order: Any = None) -> Traced:
        return run(ops.clone, self)

    def view(self, dtype: Any = None) -> Any:
        return Bits(self) if dtype is not None and np.dtype(dtype).kind == "i" else self[...]

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Traced:
        return run(ops.sum, self._in(dtype), axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Traced:
        return run(ops.mean, self._in(dtype), axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False) -> Traced:
        return run(ops.var, self._in(dtype), axis=axis, correction=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False) -> Traced:
        return run(ops.std, self._in(dtype), axis=axis, correction=ddof, keepdims=keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Traced:
        return run(ops.prod, self._in(dtype), axis=axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None) -> Traced:
        x = self._in(dtype)
        return run(ops.cumsum, x.ravel() if axis is None else x, axis=axis or 0)

    def cumprod(self, axis: int) -> Traced:
        rows = list(self.moveaxis(axis, 0))
        return run(ops.stack, *itertools.accumulate(rows, np.multiply)).moveaxis(0, axis) if rows else self

    def max(self, axis: Any = None, keepdims: bool = False) -> Traced:
        return run(ops.max, self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Traced:
        return run(ops.min, self, axis=axis, keepdims=keepdims)

    def clip(self, min: Any = None, max: Any = None) -> Traced:
        return run(ops.clamp, self, min=plain(min), max=plain(max))

    def dot(self, other: Any) -> Traced:
        return run(ops.matmul if self.ndim and np.ndim(other) else ops.mul, self, other)

    def flip(self, axis: Any = None) -> Traced:
        return run(ops.flip, self, axis=tuple(range(self.ndim)) if axis is None else axis)

    def roll(self, shift: Any, axis: Any = None) -> Traced:
        return run(ops.roll, self, shifts=shift, axis=axis)

    def tril(self, k: int = 0) -> Traced:
        return run(ops.tril, self, diagonal=k)

    def triu(self, k: int = 0) -> Traced:
        return run(ops.triu, self, diagonal=k)

    def split(self, places: Any, axis: int = 0) -> list[Traced]:
        ends = [part.shape[axis] for part in np.split(self.numbers, places, axis)]
        starts = np.cumsum([0, *ends])
        before = (slice(None),) * (axis % self.ndim)
        indices = [(*before, slice(a, b)) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
        return [self[index] for index in indices]

    def applied(self, op: Op) -> Traced:
        return run(op, self)

    def _in(self, dtype: Any) -> Traced:
        """In a dtype; as it is for None."""
        return self if dtype is None else self.astype(dtype, copy=False)


class Bits:
    """A traced array taken as whole numbers, to be multiplied by a condition and taken back: see ``ops.chosen``."""

    def __init__(self, x: Traced) -> None:
        self.x = x

    def __mul__(self, condition: Array) -> Bits:
        if isinstance(condition, Traced) or np.asarray(condition).dtype != bool:
            lost("arithmetic on its bits")
        return Bits(run(ops.where, self.x, 0, condition=condition))

    def view(self, dtype: Any) -> Traced:
        return self.x


def run(op: Op, *inputs: Any, viewing: bool = False, **constants: Any) -> Traced:
    """Apply an op to traced arrays and others; with ``viewing``, what is written into the result is written there."""
    first = next(x for x in inputs if isinstance(x, Traced))
    tensors = [x.tensor if isinstance(x, Traced) else of_array(x, first) for x in inputs]
    out = first.tensor._apply(op, *tensors, **constants)
    if viewing and facts(op).view and out._array.base is not None:
        return Traced(out, (first, op, constants))
    return Traced(out)


def of_array(x: Any, like: Traced) -> Any:
    """What an op is given for an array that is not traced: a tensor. Plain numbers stay what they are."""
    if isinstance(x, np.floating) and x.dtype == like.dtype:
        return float(x)
    return like._tensor._made(np.asarray(x)) if isinstance(x, np.ndarray | np.generic) else x


def traced(x: Any, like: Traced) -> Traced:
    """Anything as a traced array."""
    return x if isinstance(x, Traced) else Traced(like._tensor._made(np.asarray(x, getattr(x, "dtype", like.dtype))))


def plain(x: Any) -> Any:
    """What is not to be followed: the numbers of traced arrays, also of those in tuples, lists and dicts."""
    if isinstance(x, tuple | list):
        return type(x)(plain(part) for part in x)
    return {key: plain(part) for key, part in x.items()} if isinstance(x, dict) else numbers(x)


class Lost(TypeError):
    """An op did something that cannot be followed."""


def lost(what: str) -> NoReturn:
    """Say that a derivative would get lost."""
    raise Lost(
        f"{what} takes its numbers out of the graph. Write it with NumPy's functions of whole arrays, and a gradient "
        "into np.zeros_like(dz, shape=...)"
    )


# What NumPy's functions are among the ops


def _of_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a ufunc gives, or one of its methods; NotImplemented where there is no op for it."""
    if method == "at" and ufunc is np.add:
        x, index, y = inputs
        return x.write(run(ops.setitem, x, y, index=plain(index), add=True))
    if method == "accumulate" and ufunc in ACCUMULATE and kwargs.keys() <= {"axis"}:
        return run(ACCUMULATE[ufunc], *inputs, axis=kwargs.get("axis", 0))
    if method == "reduce" and ufunc in REDUCE:
        return getattr(inputs[0], REDUCE[ufunc])(**{"axis": 0, **kwargs})
    if method != "__call__":
        return NotImplemented
    if ufunc in STEPS:
        return ufunc(*plain(inputs), **kwargs)
    dtype = kwargs.pop("dtype", None)
    if ufunc not in UFUNCS or kwargs:
        return NotImplemented
    z = UFUNCS[ufunc](*inputs)
    return z if dtype is None else z.astype(dtype, copy=False)


def _op(op: Op) -> Callable[..., Traced]:
    return lambda *inputs: run(op, *inputs)


def _where(condition: Any, x: Any, y: Any) -> Any:
    if not isinstance(x, Traced) and not isinstance(y, Traced):
        return np.where(numbers(condition), x, y)
    return run(ops.where, x, y, condition=numbers(condition))


def _einsum(equation: str, *operands: Any, optimize: Any = True) -> Traced:
    return run(ops.einsum, *operands, equation=equation)


def _windows(x: Traced, spans: Any, axis: Any, writeable: bool = False) -> Traced:
    spans = ints((spans,))
    if tuple(axis) != tuple(range(x.ndim - len(spans), x.ndim)):
        lost("a sliding window over other than the last axes")
    once = (1,) * len(spans)
    return run(ops.windows, x, viewing=True, size=spans, stride=once, dilation=once)


def _copyto(x: Any, y: Any, casting: Any = None, where: Any = True) -> None:
    if not isinstance(x, Traced):
        lost("writing into a plain array, by np.copyto,")
    x.write(_where(where, y, x))


def _made_like(make: Any) -> Callable[..., Any]:
    """np.zeros_like and its kin: constants, but such that something traced can be written into them."""

    def made(x: Any, *args: Any, **kwargs: Any) -> Any:
        array = make(numbers(x), *args, **kwargs)
        return Traced(x.tensor._made(array)) if array.dtype.kind == "f" else array

    return made


def _at_least(n: int) -> Callable[[Traced], Traced]:
    return lambda x: x if x.ndim >= n else x.reshape((1,) * (n - x.ndim) + x.shape)


STEPS = {  # nothing changes between their steps, or they are of conditions
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isnan, np.isfinite, np.isinf,
    np.sign, np.signbit, np.floor, np.ceil, np.trunc, np.rint, np.floor_divide, np.logical_not, np.logical_and,
    np.logical_or, np.logical_xor,
}  # fmt: skip
PLAIN = {  # what is asked of an array's form, or of which elements
    np.shape, np.ndim, np.size, np.result_type, np.argmax, np.argmin, np.argsort, np.any, np.all, np.count_nonzero,
    np.nonzero, np.flatnonzero, np.argwhere, np.isposinf, np.isneginf, np.isclose, np.allclose, np.array_equal,
    np.iscomplexobj, np.round,
}  # fmt: skip
SAME: dict[Any, Op] = {  # what is an op of its own
    np.add: ops.add, np.subtract: ops.sub, np.multiply: ops.mul, np.divide: ops.div, np.power: ops.pow,
    np.matmul: ops.matmul, np.negative: ops.neg, np.absolute: ops.abs, np.maximum: ops.maximum,
    np.minimum: ops.minimum, np.exp: ops.exp, np.exp2: ops.exp2, np.expm1: ops.expm1, np.log: ops.log,
    np.log2: ops.log2, np.log10: ops.log10, np.log1p: ops.log1p, np.sqrt: ops.sqrt, np.sin: ops.sin,
    np.cos: ops.cos, np.tan: ops.tan, np.sinh: ops.sinh, np.cosh: ops.cosh, np.tanh: ops.tanh,
    np.arcsin: ops.asin, np.arccos: ops.acos, np.arctan: ops.atan, np.arcsinh: ops.asinh, np.arccosh: ops.acosh,
    np.arctanh: ops.atanh, np.arctan2: ops.atan2, np.hypot: ops.hypot, np.logaddexp: ops.logaddexp,
    np.remainder: ops.remainder, np.fmod: ops.fmod,
}  # fmt: skip
UFUNCS: dict[Any, Callable[..., Traced]] = {
    np.positive: lambda x: x[...],
    np.square: lambda x: x * x,
    np.reciprocal: lambda x: 1 / x,
    **{ufunc: _op(op) for ufunc, op in SAME.items()},
}
ACCUMULATE = {np.add: ops.cumsum, np.logaddexp: ops.logcumsumexp}
REDUCE = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min"}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.einsum: _einsum,
    np.copyto: _copyto,
    np.sinc: _op(ops.sinc),
    np.lib.stride_tricks.sliding_window_view: _windows,
    np.atleast_1d: _at_least(1),
    np.atleast_2d: _at_least(2),
    np.concatenate: lambda arrays, axis=0: run(ops.cat, *arrays, axis=axis),
    np.stack: lambda arrays, axis=0: run(ops.stack, *arrays, axis=axis),
    **{make: _made_like(make) for make in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)},
}
