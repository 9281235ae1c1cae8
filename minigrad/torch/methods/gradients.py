"""Gradients of results, hooks, and leaving the graph."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.core.graph import Step, state
from minigrad.core.op import Array
from minigrad.core.written import note_write, writes
from minigrad.higher.again import steps_to
from minigrad.higher.traced import Traced
from minigrad.torch.errors import OpTypeError, OpValueError
from minigrad.torch.hooks import RemovableHandle, add_hook
from minigrad.torch.methods.base import Base, is_tensor, public

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class Gradients(Base):
    __slots__ = ()

    def retain_grad(self: Any) -> None:
        """Keep the gradient of this intermediate result in ``.grad``."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad() on a tensor that does not require a gradient")
        if self._node is None or "retained" in self.__dict__:
            return
        reference = weakref.ref(self)

        def keep(dz: Array) -> None:
            tensor = reference()
            if tensor is not None:
                receive(tensor, dz, shared=True)

        self.__dict__["retained"] = self.register_hook(keep, raw=True)

    @property
    def retains_grad(self: Any) -> bool:
        """Whether it keeps a gradient though an op made it, see ``retain_grad``."""
        return "retained" in self.__dict__

    def register_hook(self: Any, hook: Callable[..., Any], *, raw: bool = False) -> RemovableHandle:
        """Call ``hook(grad)`` when the gradient of this tensor is complete; a tensor it returns takes its place."""
        if not self.requires_grad:
            raise RuntimeError("register_hook() on a tensor that does not require a gradient")

        def on_array(dz: Any) -> Any:
            changed = hook(dz.tensor if isinstance(dz, Traced) else self._made(dz))
            if changed is None:
                return None
            return Traced(changed) if isinstance(dz, Traced) else changed._array

        entry = hook if raw else on_array
        owner: Any = self._node if self._node is not None else self
        if owner.hooks is None:
            owner.hooks = []
        owner.hooks.append(entry)
        return RemovableHandle(owner.hooks, entry)

    @public
    def detach(self: Any) -> Tensor:
        """The same memory, out of the graph."""
        return self._made(self._array)

    def _constant(self: Any, name: str) -> Array:
        """The array of an argument that gets no gradient; RuntimeError where one is wanted."""
        if state.grad_enabled and self.requires_grad:
            raise RuntimeError(f"{name} requires a gradient, and none is computed for it: pass {name}.detach()")
        return self._array

    def _steps_to(
        self: Any, inputs: Any, gradient: Any, retain_graph: bool | None, create_graph: bool
    ) -> Iterator[Step]:
        """The walk of ``backward()``, into the ``.grad`` of these tensors alone, leaves or results; or in a graph."""
        return steps_into_grad([(self, self._seed(gradient, create_graph))], inputs, retain_graph, create_graph)

    def _seed(self: Any, gradient: Any, create_graph: bool) -> Any:
        """The gradient that a walk starts with, as a tensor; in a graph where that is to be differentiated."""
        dz = self.cotangent(gradient)
        return gradient.to(self.dtype) if create_graph and is_tensor(gradient) else self._made(dz)

    def receive_in_graph(self: Any, dz: Tensor, shared: bool) -> None:
        """Add a gradient that is in a graph itself."""
        if self._grad is None:
            self._grad = dz.clone() if shared else dz
            _warn_of_cycle()
        else:
            self._grad = self._grad + dz

    def register_post_accumulate_grad_hook(self: Any, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call ``hook(tensor)`` of a leaf whenever ``backward()`` has added all of its gradient to ``.grad``.

        So an optimizer can step, and the gradient go, while the rest of the backward is still to come.
        """
        if self._node is not None or not self._requires_grad:
            raise RuntimeError("register_post_accumulate_grad_hook() is for leaves that require a gradient")
        if not isinstance(self, Watched):
            self.register_hook(_unchanged, raw=True)  # a leaf with hooks gets its gradient in one piece
            self.__class__ = type(type(self).__name__, (Watched, type(self)), {"__slots__": ()})
            self.__dict__["after"] = []
        return add_hook(self.__dict__["after"], hook)

    def detach_(self: Any) -> Tensor:
        """Leave the graph for good."""
        self._node = None
        self._requires_grad = False
        return self

    @property
    def data(self: Any) -> Tensor:
        """The same memory, out of the graph; assigning another tensor replaces the values."""
        return self._made(self._array)

    @data.setter
    def data(self, value: Any) -> None:
        note_write(self._array)  # a graph that still needs the old values must hear of it
        self._set(value._array if is_tensor(value) else np.asarray(value), self._node)
        note_write(self._array)

    def _warn_no_grad(self: Any) -> None:
        """Say why ``.grad`` of a result is None."""
        if "retained" not in self.__dict__:
            warnings.warn(
                f"the result of {self._node.op.__name__} {self.shape} does not keep its gradient, only leaves do: "
                "call .retain_grad() on it before backward()",
                stacklevel=3,
            )

    @staticmethod
    def _warn_released(node: Any) -> None:
        """A running sum of losses, ``total += loss``, keeps every step's graph."""
        warnings.warn(
            f"adding the result of {node}, whose graph backward() has released: a running sum of losses "
            "made so keeps growing a graph, and cannot be walked back. For the value alone use .item() or .detach()",
            stacklevel=5,
        )

    def _clear_grad(self: Any, set_to_none: bool) -> None:
        """Forget the gradient, or fill it with zeros."""
        if set_to_none:
            self._grad = None
        elif self._grad is not None:
            self._grad.detach_()
            self._grad._array[...] = 0
            note_write(self._grad._array)

    def _checked_grad(self: Any, value: Any) -> Any:
        """What ``.grad`` may be set to: None, or a tensor of the same shape."""
        if value is not None:
            if not is_tensor(value):
                raise TypeError(f"grad must be a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape:
                raise ValueError(f"grad must have the shape of the tensor, {self.shape}, got {value.shape}")
        return value

    @property
    def is_leaf(self: Any) -> bool:
        """Whether no recorded op made it."""
        return self._node is None

    @property
    def requires_grad(self: Any) -> bool:
        """Whether a gradient is wanted: a leaf that collects one, or the result of a recorded op."""
        if writes.in_graph:
            self._follow()
        return self._requires_grad or self._node is not None

    @requires_grad.setter
    def requires_grad(self: Any, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self: Any, requires_grad: bool = True) -> Tensor:
        """Make it a leaf that collects a gradient (floating dtypes only), or stop it."""
        if requires_grad and self.dtype.kind != "f":
            raise OpTypeError(f"only floating tensors can require a gradient, this one is {self.dtype}: use .float()")
        if self._node is None:
            self._requires_grad = bool(requires_grad)
        elif not requires_grad:
            raise RuntimeError(f"made by {self._node.op.__name__}: use y = x.detach() to leave the graph")
        return self

    def cotangent(self: Any, gradient: Any) -> Array:
        """d loss / d self as an array; of a single number it is 1."""
        if gradient is None:
            if self._array.size != 1:
                raise RuntimeError(
                    f"backward() without a gradient needs a single number, this has shape {self.shape}: "
                    "reduce it with .sum() or .mean(), or pass gradient="
                )
            return np.ones(self.shape, self.dtype)
        dz = gradient._array if is_tensor(gradient) else np.asarray(gradient)
        if dz.shape != self.shape:
            raise OpValueError(f"gradient must have the shape of the tensor, {self.shape}, got {dz.shape}")
        return dz.astype(self.dtype, copy=False)

    def _no_graph(self: Any) -> RuntimeError:
        return RuntimeError(
            "backward() on a tensor that no recorded op made: none of its inputs has requires_grad=True, or it was "
            "computed under no_grad() or detached"
        )


def steps_into_grad(
    roots: Sequence[tuple[Any, Any]], inputs: Any, retain_graph: bool | None, create_graph: bool
) -> Iterator[Step]:
    """The walk back from tensors, each with its gradient, into the ``.grad`` of ``inputs``; None is for all leaves."""
    inputs = inputs.values() if isinstance(inputs, dict) else inputs
    wanted: Any = None if inputs is None else [inputs] if isinstance(inputs, Base) else list(inputs)
    if wanted == []:
        raise RuntimeError("backward: inputs is empty: leave it out for all leaves")
    owners: dict[int, Any] = {id(x._node): x for x in wanted or () if x._node is not None}

    def take(key: Any, dz: Any, shared: bool) -> None:
        receive(owners.get(id(key), key), dz, shared)

    return steps_to(
        roots,
        None if wanted is None else [x._node or x for x in wanted],
        take,
        retain_graph=create_graph if retain_graph is None else bool(retain_graph),
        create_graph=create_graph,
    )


def receive(tensor: Any, dz: Any, shared: bool) -> None:
    """Add what a walk brings to a tensor's gradient."""
    if isinstance(dz, Traced):
        tensor.receive_in_graph(dz.tensor, shared or dz.tensor._array.base is not None)
    else:
        tensor.receive(dz, shared)


def _warn_of_cycle() -> None:
    warnings.warn(
        "backward(create_graph=True) makes a cycle of references: a leaf's .grad holds a graph that leads to the leaf. "
        "Set .grad to None when done, or use autograd.grad, which keeps nothing in .grad",
        stacklevel=2,
    )


class Watched:
    """Base of the type of a leaf with hooks that come after its gradient."""

    __slots__ = ()

    def receive(self: Any, dz: Array, shared: bool) -> None:
        super().receive(dz, shared)  # type: ignore[misc]
        self._run_after()

    def receive_in_graph(self: Any, dz: Any, shared: bool) -> None:
        super().receive_in_graph(dz, shared)  # type: ignore[misc]
        self._run_after()

    def _run_after(self: Any) -> None:
        for hook in list(self.__dict__["after"]):
            hook(self)


def _unchanged(dz: Array) -> None:
    """A hook that lets the gradient be."""
