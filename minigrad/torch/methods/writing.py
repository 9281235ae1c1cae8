"""Writing in place: to values outside the graph (under no_grad, on .data, on buffers), and in a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import no_grad, state
from minigrad.core.op import facts
from minigrad.core.written import note_write
from minigrad.tools.random import Generator, rng
from minigrad.torch.arguments import Dim
from minigrad.torch.dtypes import plain
from minigrad.torch.errors import OpValueError
from minigrad.torch.methods.base import Base

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class InPlace(Base):
    __slots__ = ()

    def _write(self: Any, values: Any, index: Any = ...) -> Tensor:
        if state.grad_enabled:
            if self._requires_grad:
                raise RuntimeError(
                    "a leaf that requires a gradient is being written to in place: write under "
                    "`with minigrad.no_grad():`, or on its .data"
                )
            if self._node is not None or getattr(values, "requires_grad", False):
                values = values.to(self.dtype) if isinstance(values, Base) else np.asarray(values, self.dtype)
                return self._become(self._apply(ops.setitem, self, values, index=index))
        self._array[index] = plain(values)
        note_write(self._array)
        return self

    def _become(self: Any, result: Tensor) -> Tensor:
        """Take the place of an op's result: what writing in place means in a graph, where nothing is overwritten."""
        if self._array.base is not None and (self._node is None or facts(self._node.op).view):
            raise RuntimeError(
                "writing in place to a view of another tensor would not reach that tensor in the graph: write to the "
                "tensor itself, or build a new one with where(), masked_fill(), stack() or cat()"
            )
        self._set(result._array, result._node)
        return self

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        self._write(value, self._index(index))

    def _update(self: Any, compute: Callable[[Tensor, Any], Tensor], other: Any) -> Tensor:
        """``x += y`` and its like: in place, or where the graph is being recorded, as x = x + y."""
        if state.grad_enabled and (self._node is not None or getattr(other, "requires_grad", False)):
            return compute(self, other)
        with no_grad():
            values = compute(self, other)
        return self._write(values)

    def __iadd__(self: Any, other: Any) -> Tensor:
        return self._update(operator.add, other)

    def __isub__(self: Any, other: Any) -> Tensor:
        return self._update(operator.sub, other)

    def __imul__(self: Any, other: Any) -> Tensor:
        return self._update(operator.mul, other)

    def __itruediv__(self: Any, other: Any) -> Tensor:
        return self._update(operator.truediv, other)

    def _compute_write(self: Any, name: str, *args: Any, **kwargs: Any) -> Tensor:
        """The in-place form of a method: its result is written, or in a graph takes the place of the old value."""
        result = getattr(self, name)(*args, **kwargs)
        if result.shape != self.shape:
            raise OpValueError(f"the result has shape {result.shape}, which does not fit into {self.shape} in place")
        if not state.grad_enabled or self._requires_grad or not result.requires_grad:
            return self._write(result)
        return self._become(result.to(self.dtype))

    def _reshape_write(self: Any, name: str, *args: Any) -> Tensor:
        """The in-place form of a method that changes the shape: the tensor itself has it from now on."""
        if self._requires_grad:
            raise RuntimeError(f"{name}_ of a leaf that requires a gradient: write x = x.{name}(...)")
        result = getattr(self, name)(*args)
        self._set(result._array, result._node)
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

    def copy_(self: Any, source: Any) -> Tensor:
        """Take over the values of another tensor, which must fit in shape."""
        values = plain(source)
        if np.broadcast_shapes(self.shape, np.shape(values)) != self.shape:
            raise ValueError(f"copy_: a source of shape {np.shape(values)} does not fit into {self.shape}")
        return self._write(source)

    def fill_(self: Any, value: Any) -> Tensor:
        """In place: every element one number."""
        return self._write(value)

    def zero_(self: Any) -> Tensor:
        """In place: every element 0."""
        return self._write(0)

    def normal_(self: Any, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
        """In place: drawn from a normal distribution."""
        return self._write(rng(generator).normal(mean, std, self.shape))

    def uniform_(self: Any, a: Any = 0.0, b: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
        """In place: drawn evenly from ``from`` up to ``to``."""
        return self._write(rng(generator).uniform(a, b, self.shape))

    def bernoulli_(self: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """In place: 1 with probability ``p``, else 0."""
        return self._write(rng(generator).random(self.shape) < plain(p))

    def exponential_(self: Any, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """In place: drawn from an exponential distribution of rate ``lambd``."""
        return self._write(rng(generator).exponential(1 / lambd, self.shape))

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
