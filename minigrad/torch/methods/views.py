"""A view follows its base: both are one memory, and after a write in the graph each takes its new place there.

``apply`` notes of every view which tensor it shows and how (``_view``). What is written to is placed anew at once, and
so are the tensors it is a view of; other views of them are when they are next used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minigrad import ops
from minigrad.core.graph import Node
from minigrad.core.written import memory_of, writes
from minigrad.torch.grad_mode import enable_grad
from minigrad.torch.methods.base import Base

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


def follow(tensors: Iterable[Any]) -> None:
    """Before they are used: the place that each has in the graph since its base was written to."""
    for x in tensors:
        if isinstance(x, Views):
            x._follow()


class Views(Base):
    __slots__ = ()

    def _base(self: Any) -> Tensor | None:
        """The tensor that this is a view of; None where it is none, or has memory of its own."""
        view = getattr(self, "_view", None)
        return view[0] if view is not None and memory_of(view[0]._array) is memory_of(self._array) else None

    def _follow(self: Any) -> None:
        """Take the place in the graph that this part of the base has since the base was written to."""
        base = self._base()
        if base is None:
            return
        base._follow()
        _, op, constants, time, recorded = self._view
        changed = getattr(base, "_changed", 0)
        if changed <= time:
            return
        self._view, self._changed = (base, op, constants, changed, recorded), changed
        if recorded:
            with enable_grad():
                again = self._apply(op, base, **constants)
            if (again.shape, again._array.strides) != (self.shape, self._array.strides):
                raise RuntimeError(f"a view of shape {self.shape} was made of a tensor that has another shape since")
            self._place(again._node)

    def _place(self: Any, node: Node | None) -> None:
        """A new place in the graph. A gradient that is to be kept is that of the new value from now on."""
        retained = self.__dict__.pop("retained", None)
        if retained is not None:
            retained.remove()
        self._set(self._array, node)
        if retained is not None and node is not None:
            self.retain_grad()

    def _written(self: Any, node: Node | None) -> None:
        """Take the place of a value written just now, and let the tensors that this is a view of have it in them."""
        self._place(node)
        self._changed = writes.in_graph = writes.latest
        base = self._base()
        if base is not None:
            _, op, constants, _, recorded = self._view
            self._view = base, op, constants, writes.latest, recorded
            base._written(self._apply(ops.view_written, base, self, view=op, constants=constants)._node)

    def _check_writable(self: Any, values: Any) -> bool:
        """Whether a write belongs in the graph; RuntimeError where it must not be made."""
        self._follow()
        x: Any = self
        while x is not None:
            if x._requires_grad:
                raise RuntimeError(
                    "a leaf that requires a gradient, or a view of one, is being written to in place: write under "
                    "`with minigrad.no_grad():`, or on its .data"
                )
            base = x._base()
            if base is not None and not x._view[4] and base.requires_grad:
                raise RuntimeError(
                    "this view was made under no_grad() of a tensor in the graph: make it outside, or write there"
                )
            x = base
        return self._node is not None or bool(getattr(values, "requires_grad", False))

    def _before(self: Any) -> Tensor:
        """The tensor as it is now, at its place in the graph, in memory that nobody will write to."""
        x = self._made(self._array.copy())
        x._set(x._array, self._node)
        return x

    def __getstate__(self: Any) -> Any:
        """What is pickled: without the tensor that this is a view of."""
        names = ("_array", "_grad", "_node", "_requires_grad", "hooks")
        return self.__dict__ or None, {name: getattr(self, name) for name in names}


__all__ = ["Views", "follow"]
