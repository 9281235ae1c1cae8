"""Writing in place: to values outside the graph (under no_grad, on .data, on buffers), and in a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import no_grad, state
from minigrad.core.written import note_write
from minigrad.tools.random import Generator, rng
from minigrad.torch.arguments import Dim
from minigrad.torch.dtypes import plain
from minigrad.torch.errors import OpValueError
from minigrad.torch.methods.base import Base, is_tensor, takes

KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}  # of numbers: a later kind does not fit into an earlier one

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class InPlace(Base):
    __slots__ = ()

    def _write(self: Any, values: Any, index: Any = ...) -> Tensor:
        """Write values, recorded where the tensor or the values are in the graph."""
        if not self._array.flags.writeable:
            raise RuntimeError(
                "the elements of this tensor are read-only, or stand for several (expand): write to x.clone()"
            )
        if state.grad_enabled and self._check_writable(values):
            values = values.to(self.dtype) if is_tensor(values) else np.asarray(values, self.dtype)
            return self._become(self._apply(ops.setitem, self, values, index=index), index)
        self._array[index] = plain(values)
        note_write(self._array)
        return self

    def _become(self: Any, result: Tensor, index: Any = ...) -> Tensor:
        """Take over an op's values, in the same memory, and its place in the graph."""
        self._array[index] = result._array[index]
        note_write(self._array)
        self._written(result._node)
        return self

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        self._write(value, self._index(index))

    def _update(self: Any, compute: Callable[[Tensor, Any], Tensor], other: Any) -> Tensor:
        """``x += y`` and its like."""
        if state.grad_enabled and self._check_writable(other):
            reads = compute not in (operator.add, operator.sub)  # its backward needs the value that is written over
            return self._become(self._fitting(compute(self._before() if reads else self, other)))
        with no_grad():
            values = compute(self, other)
        return self._write(self._fitting(values))

    def _fitting(self: Any, result: Tensor) -> Tensor:
        """A result that is to be written: RuntimeError where shape or kind of number do not fit."""
        if not is_tensor(result):
            raise TypeError(f"cannot compute in place with a {type(result).__name__}")
        if result.shape != self.shape:
            raise OpValueError(f"the result has shape {result.shape}, which does not fit into {self.shape} in place")
        if KINDS[result.dtype.kind] > KINDS[self.dtype.kind]:
            raise RuntimeError(f"the result is {result.dtype}, in place it would be cut to {self.dtype}: write x = ...")
        return result.to(self.dtype)

    def __iadd__(self: Any, other: Any) -> Tensor:
        return self._update(operator.add, other)

    def __isub__(self: Any, other: Any) -> Tensor:
        return self._update(operator.sub, other)

    def __imul__(self: Any, other: Any) -> Tensor:
        return self._update(operator.mul, other)

    def __itruediv__(self: Any, other: Any) -> Tensor:
        return self._update(operator.truediv, other)

    def __ifloordiv__(self: Any, other: Any) -> Tensor:
        return self._update(operator.floordiv, other)

    def __imod__(self: Any, other: Any) -> Tensor:
        return self._update(operator.mod, other)

    def __ipow__(self: Any, other: Any) -> Tensor:
        return self._update(operator.pow, other)

    def __iand__(self: Any, other: Any) -> Tensor:
        return self._update(operator.and_, other)

    def __ior__(self: Any, other: Any) -> Tensor:
        return self._update(operator.or_, other)

    def __ixor__(self: Any, other: Any) -> Tensor:
        return self._update(operator.xor, other)

    def _compute_write(self: Any, name: str, *args: Any, **kwargs: Any) -> Tensor:
        """The in-place form of a method: its result is written."""
        wanted = any(getattr(x, "requires_grad", False) for x in (*args, *kwargs.values()))
        if state.grad_enabled and (self._check_writable(None) or wanted):
            return self._become(self._fitting(getattr(self._before(), name)(*args, **kwargs)))
        return self._write(self._fitting(getattr(self, name)(*args, **kwargs)))

    def _reshape_write(self: Any, name: str, *args: Any) -> Tensor:
        """The in-place form of a method that changes the shape: the tensor itself has it from now on."""
        if self._requires_grad:
            raise RuntimeError(f"{name}_ of a leaf that requires a gradient: write x = x.{name}(...)")
        before = self._made(self._array)  # the tensor is a view of what it was
        before._set(self._array, self._node)
        for fact in ("_view", "_changed"):
            if hasattr(self, fact):
                setattr(before, fact, getattr(self, fact))
        result = getattr(before, name)(*args)
        self._set(result._array, result._node)
        self._view = result._view
        return self

    def squeeze_(self: Any, dim: Dim = None) -> Tensor:
        """``squeeze`` in place."""
        return self._reshape_write("squeeze", dim)

    def unsqueeze_(self: Any, dim: int) -> Tensor:
        """``unsqueeze`` in place."""
        return self._reshape_write("unsqueeze", dim)

    def transpose_(self: Any, dim0: int, dim1: int) -> Tensor:
        """``transpose`` in place."""
        return self._reshape_write("transpose", dim0, dim1)

    def t_(self: Any) -> Tensor:
        """``t`` in place."""
        return self._reshape_write("t")

    def _check_floating(self: Any) -> None:
        if self.dtype.kind != "f":
            raise RuntimeError(f"fractions drawn at random would be cut to {self.dtype}: use .float()")

    def copy_(self: Any, src: Any, non_blocking: bool = False) -> Tensor:
        """Take over the values of another tensor, which must fit in shape."""
        values = plain(src)
        if np.broadcast_shapes(self.shape, np.shape(values)) != self.shape:
            raise ValueError(f"copy_: a source of shape {np.shape(values)} does not fit into {self.shape}")
        return self._write(src)

    def fill_(self: Any, value: Any) -> Tensor:
        """In place: every element one number."""
        return self._write(value)

    def zero_(self: Any) -> Tensor:
        """In place: every element 0."""
        return self._write(0)

    def normal_(self: Any, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
        """In place: drawn from a normal distribution."""
        self._check_floating()
        return self._write(rng(generator).normal(mean, std, self.shape))

    @takes(**{"from": "a", "to": "b"})
    def uniform_(self: Any, a: Any = 0.0, b: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
        """In place: drawn evenly from ``from`` up to ``to``."""
        self._check_floating()
        return self._write(rng(generator).uniform(a, b, self.shape))

    def bernoulli_(self: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """In place: 1 with probability ``p``, else 0."""
        return self._write(rng(generator).random(self.shape) < plain(p))

    def exponential_(self: Any, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """In place: drawn from an exponential distribution of rate ``lambd``."""
        self._check_floating()
        return self._write(rng(generator).exponential(1 / lambd, self.shape))

    @takes(**{"from": "low", "to": "high"})
    def random_(self: Any, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
        """Integers in [low, high), or below low if it is all there is."""
        low, high = (0, low or 1 << 24) if high is None else (low, high)
        return self._write(rng(generator).integers(low, high, self.shape))


def in_place(name: str) -> Callable[..., Tensor]:
    """The in-place form of a method."""

    def write(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        return self._compute_write(name, *args, **kwargs)

    write.__name__ = f"{name}_"
    write.__doc__ = f"``{name}`` in place."
    return write
