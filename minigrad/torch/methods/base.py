"""What the groups of methods share: how they reach ops and make tensors, and how a method gets its other names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, overload

import numpy as np

from minigrad.core.op import Array, Op
from minigrad.ops import elementwise, shape
from minigrad.torch.dtypes import array_from, check_dtype, get_default_dtype, int64, legacy_array, plain, result_type
from minigrad.torch.errors import OpTypeError
from minigrad.torch.indexing import numpy_index

if TYPE_CHECKING:
    from minigrad.core.graph import Node
    from minigrad.core.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Names:
    """What a method is called besides: a function of the module, ``name_`` in place, and further names for it."""

    function: bool = True
    in_place: bool = False
    also: str = ""


@overload
def public(method: F) -> F: ...
@overload
def public(*, function: bool = True, in_place: bool = False, also: str = "") -> Callable[[F], F]: ...
def public(method: Any = None, **names: Any) -> Any:
    """Give a method further names, ``@public`` or ``@public(in_place=True)``, see ``Names``."""
    if method is None:
        return lambda method: public_as(method, Names(**names))
    return public_as(method, Names())


def public_as(method: F, names: Names) -> F:
    method.public = names  # type: ignore[attr-defined]
    return method


class Base:
    """Base of all groups. Of its subclass, the tensor, they know these names alone."""

    __slots__ = ()

    if TYPE_CHECKING:
        _array: Array
        shape: Any
        _node: Node | None
        _grad: Tensor | None
        _requires_grad: bool
        _apply: Callable[..., Tensor]  # an op on tensors, recorded
        _binary: Callable[..., Tensor]  # an op on two operands, after dtype promotion
        _made: Callable[[Any], Tensor]  # a tensor on an array, outside the graph

    _array_from = staticmethod(legacy_array)

    @classmethod
    def of_shape(cls: Any, *shape: int, dtype: Any = None, device: Any = None) -> Any:
        """To be filled: zeros, of the default dtype unless another is given."""
        return cls(cls._zeros(shape, dtype))

    @staticmethod
    def _zeros(shape: tuple[int, ...], dtype: Any) -> Array:
        return np.zeros(shape, dtype=get_default_dtype() if dtype is None else check_dtype(dtype))

    def _floating(self: Any, dtype: Any = None) -> Tensor:
        """In a dtype; without one, integers and bools as floats, as PyTorch does where the result is a fraction."""
        if dtype is not None:
            return self.to(dtype)
        return self if self._array.dtype.kind == "f" else self._made(self._array.astype(get_default_dtype()))

    def _summed(self: Any, dtype: Any) -> Tensor:
        """What is summed up: integers and bools as int64, the rest as it is, unless a dtype is asked for."""
        if dtype is None and self._array.dtype.kind == "f":
            return self
        return self.to(int64 if dtype is None else dtype)

    def _averaged(self: Any, dtype: Any) -> Tensor:
        """What is averaged: in a dtype, or as it is; OpTypeError for integers and bools."""
        x: Tensor = self if dtype is None else self.to(dtype)
        if x.dtype.kind != "f":
            raise OpTypeError(f"mean() of {x.dtype}: use .float().mean()")
        return x

    def _set(self: Any, array: Array, node: Node | None) -> None:
        """Hold another array from now on, which that node made."""
        self._array, self._node = array, node

    def _like(self: Any, data: Any) -> Tensor:
        """A tensor as it is; other data as a tensor, sharing memory where it can."""
        made: Tensor = data if is_tensor(data) else self._made(array_from(data, None, copy=False))
        return made

    def _as(self: Any, x: Any, dtype: np.dtype[Any]) -> Tensor:
        made: Tensor = x if is_tensor(x) else self._made(np.asarray(x))
        return made if made.dtype == dtype else made.to(dtype)

    def _promoted(self: Any, op: Op, other: Any, reflected: bool = False) -> tuple[Tensor, Tensor]:
        """Both operands at the dtype they have together; a quotient is floating."""
        dtype = result_type(self, other)
        if op is elementwise.div and dtype.kind != "f":
            dtype = get_default_dtype()
        x, y = self._as(self, dtype), self._as(other, dtype)
        return (y, x) if reflected else (x, y)

    def _compute(self: Any, function: Callable[..., Any], y: Any) -> Any:
        """A NumPy function without a gradient on two operands, after promotion; NotImplemented for foreign types."""
        if not isinstance(y, Base | np.ndarray | np.generic | bool | int | float):
            return NotImplemented
        dtype = result_type(self, y)
        return self._made(np.asarray(function(self._as(self, dtype)._array, self._as(y, dtype)._array)))

    def _joined(self: Any, tensors: Sequence[Tensor], dim: int) -> Tensor:
        return self._apply(shape.cat, *tensors, axis=dim)

    def _index(self: Any, index: Any) -> Any:
        return numpy_index(index, self.shape)


def is_tensor(x: object) -> TypeGuard[Tensor]:
    """Whether it is a Tensor, which a method cannot name: only Tensor inherits this."""
    return isinstance(x, Base)


def takes(**names: str) -> Callable[[F], F]:
    """Let a method take keyword arguments under PyTorch's names too, some of which Python reserves: theirs=ours."""

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **{names.get(name, name): value for name, value in kwargs.items()})

        renamed.takes = names  # type: ignore[attr-defined]
        return renamed  # type: ignore[return-value]

    return decorate


def dim_of(dim: int, ndim: int) -> int:
    """An axis that may count from the end, as one that counts from 0."""
    if not -ndim <= dim < max(ndim, 1):
        raise IndexError(f"there is no dim {dim} in a tensor with {ndim} axes (from {-ndim} to {ndim - 1})")
    return dim % ndim if ndim else 0


def with_numpy_names(method: F) -> F:
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

    return renamed  # type: ignore[return-value]


__all__ = ["Base", "Names", "dim_of", "is_tensor", "plain", "public", "takes", "with_numpy_names"]
