"""Gradients by name: ``grad``, and users' own ops: ``Function``."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.core.graph import no_grad, state
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor, apply
from minigrad.core.written import writes
from minigrad.higher.again import steps_to
from minigrad.higher.traced import Traced
from minigrad.torch.methods.gradients import steps_into_grad


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """d outputs / d inputs, returned instead of added to ``.grad``: a tuple, one tensor per input, in its shape.

    ``inputs`` are a tensor, several, or a dict of them; then so are the gradients.

    ``create_graph`` puts them in a graph, so that they can be differentiated in turn, and keeps the graph, as
    ``retain_graph`` does. Raises RuntimeError for an input that the outputs do not depend on, unless ``allow_unused``
    (then None) or ``materialize_grads`` (then zeros).
    """
    if is_grads_batched:
        raise NotImplementedError("is_grads_batched: a loop over grad_outputs with retain_graph=True does the same")
    if not only_inputs:
        raise NotImplementedError("only_inputs=False: backward() adds to the .grad of all leaves")
    if isinstance(inputs, dict):
        found_for = grad(
            outputs, list(inputs.values()), grad_outputs, retain_graph, create_graph, True, allow_unused, False,
            materialize_grads,
        )  # fmt: skip
        return dict(zip(inputs, found_for, strict=True))
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads=True gives zeros for unused inputs: leave allow_unused out")
    wanted = _listed(inputs)
    roots = _roots("grad", _listed(outputs), grad_outputs, create_graph)
    for i, x in enumerate(wanted):
        if not x.requires_grad:
            raise RuntimeError(
                f"grad: input {i} does not require a gradient; call requires_grad_() on it before using it"
            )
    found: dict[int, Any] = {}

    def take(key: Any, dz: Any, shared: bool) -> None:
        if isinstance(dz, Traced):
            dz = dz.copy() if shared or dz.tensor._array.base is not None else dz
        elif shared and id(key) not in found:
            dz = dz.copy()
        found[id(key)] = found[id(key)] + dz if id(key) in found else dz

    keys = [x._node or x for x in wanted]
    keep = create_graph if retain_graph is None else retain_graph
    for _ in steps_to(roots, keys, take, retain_graph=keep, create_graph=create_graph):
        pass
    grads = [found.get(id(key)) for key in keys]
    missing = [i for i, dx in enumerate(grads) if dx is None]
    if missing and not allow_unused and not materialize_grads:
        raise RuntimeError(
            f"grad: the outputs do not depend on input {missing[0]}; allow_unused=True gives None for it, "
            "materialize_grads=True zeros"
        )
    if materialize_grads:
        grads = [np.zeros(x.shape, x.dtype) if dx is None else dx for x, dx in zip(wanted, grads, strict=True)]
    return tuple(dx if dx is None else dx.tensor if isinstance(dx, Traced) else Tensor(dx) for dx in grads)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add d tensors / d leaf to the ``.grad`` of every leaf, or of the ``inputs`` alone, leaves or results.

    ``grad_tensors`` are the gradients of the tensors, which may be left out for single numbers; ``grad_variables`` is
    their old name. With ``create_graph`` what is in ``.grad`` can be differentiated in turn.
    """
    grad_tensors = grad_variables if grad_tensors is None else grad_tensors
    roots = _roots("backward", _listed(tensors), grad_tensors, create_graph)
    for _ in steps_into_grad(roots, inputs, retain_graph, create_graph):
        pass


def _listed(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _roots(name: str, tensors: list[Tensor], gradients: Any, create_graph: bool) -> list[tuple[Tensor, Tensor]]:
    """The tensors that a walk starts from, each with its gradient."""
    given = [None] * len(tensors) if gradients is None else _listed(gradients)
    if len(given) != len(tensors):
        raise RuntimeError(f"{name}: {len(given)} gradients for {len(tensors)} outputs")
    for i, x in enumerate(tensors):
        if not x.requires_grad:
            raise RuntimeError(
                f"{name}: output {i} does not require a gradient: no recorded op made it, or none of what it was made "
                "from has requires_grad=True"
            )
    return [(x, x._seed(dz, create_graph)) for x, dz in zip(tensors, given, strict=True)]


class Context:
    """What a Function keeps from forward to backward."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Tensor | None, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()
        self.constants: tuple[Tensor, ...] = ()  # outputs that have no gradient

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs and results on the way; None keeps a place."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Say of outputs that they have no gradient; backward is given zeros for them."""
        self.constants = outputs

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Refused: a forward that writes into its inputs is not covered."""
        raise NotImplementedError("mark_dirty: let forward return a new tensor instead of writing into its input")

    def set_materialize_grads(self, value: bool) -> None:
        """Accepted; backward is given zeros, never None, for an output that nothing depends on."""


class Function:
    """An op of your own: write ``forward(ctx, *args)`` and ``backward(ctx, *dz)`` as static methods, call ``apply``.

    Both work on tensors, outside the graph. forward returns a tensor or a tuple of tensors and constants; backward gets
    one gradient for each output and returns one (or None) for each argument of forward. Or forward(*args) without ctx,
    and ``setup_context(ctx, inputs, output)``.
    """

    _op: Callable[..., Any]

    def __init_subclass__(cls) -> None:
        cls._op = staticmethod(_op_of(cls))

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("write forward(ctx, *args) as a static method")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("write forward(ctx, *args), or forward(*args) and setup_context")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        raise NotImplementedError("write backward(ctx, *grad_outputs) as a static method")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        tensors = tuple(isinstance(a, Tensor) for a in args)
        needs = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        made = Outputs()
        joined = apply(cls._op, *args, function=cls, tensors=tensors, needs_input_grad=needs, made=made)
        return made.taken_from(joined)


class Outputs:
    """What a forward returned, and how the outputs that have a gradient lie in the one array that an op makes."""

    def __init__(self) -> None:
        self.single = True
        self.values: tuple[Any, ...] = ()
        self.learned: list[int] = []  # the places of those with a gradient

    def put(self, out: Any, constants: tuple[Tensor, ...]) -> Array:
        """Note what was returned; the array of the op: the output itself, or several in one row."""
        self.single = not isinstance(out, tuple)
        self.values = (out,) if self.single else out
        tensors = [v for v in self.values if isinstance(v, Tensor)]
        if not tensors or (self.single and not isinstance(out, Tensor)):
            raise TypeError(f"forward must return a Tensor or a tuple with one in it, got {type(out).__name__}")
        fixed = {id(c) for c in constants}
        self.learned = [
            i for i, v in enumerate(self.values)
            if isinstance(v, Tensor) and v.dtype.kind == "f" and id(v) not in fixed
        ]  # fmt: skip
        if self.single and self.learned:
            return self.values[0]._array.view()
        return np.concatenate([self.values[i]._array.reshape(-1) for i in self.learned] or [np.zeros(0, np.float32)])

    def split(self, dz: Tensor) -> list[Tensor]:
        """One gradient for each tensor that was returned; zeros for those without."""
        taken = self.pieces(dz)
        zeros = (Tensor(np.zeros(v.shape, v.dtype)) if isinstance(v, Tensor) else None for v in self.values)
        parts = [taken.get(i, zero) for i, zero in enumerate(zeros)]
        return [part for part in parts if part is not None]

    def taken_from(self, joined: Tensor) -> Any:
        """What apply returns: the op's result, or its pieces in the graph and the rest as it is."""
        taken = self.pieces(joined)
        if self.single:
            return taken.get(0, Tensor(self.values[0]._array))
        return tuple(taken.get(i, value) for i, value in enumerate(self.values))

    def pieces(self, joined: Tensor) -> dict[int, Tensor]:
        """The op's result, or a tensor of its shape, as the outputs that have a gradient, by their places."""
        if self.single:
            return dict.fromkeys(self.learned, joined)
        found, start = {}, 0
        for i in self.learned:
            value = self.values[i]
            found[i] = joined[start : start + value.numel()].reshape(value.shape).to(value.dtype)
            start += value.numel()
        return found


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward of a Function outside the graph: whoever differentiates its gradients gets a RuntimeError."""

    @functools.wraps(backward)
    def once(ctx: Any, *dz: Any) -> Any:
        with no_grad():
            grads = backward(ctx, *dz)
        given = [x for x in dz if isinstance(x, Tensor) and x.requires_grad]
        if not state.grad_enabled or not given:
            return grads
        found = [
            apply(differentiated_twice, *given, value=g._array) if isinstance(g, Tensor) else g
            for g in (grads if isinstance(grads, tuple) else (grads,))
        ]
        return tuple(found) if isinstance(grads, tuple) else found[0]

    return once


def differentiated_twice(*dz: Array, value: Array) -> tuple[Array, Callable[..., Any]]:
    """z = the gradient that a backward marked @once_differentiable gave
    ddz = none: it cannot be differentiated
    """

    def backward(ddz: Array) -> Any:
        raise RuntimeError("trying to differentiate twice a Function whose backward is marked @once_differentiable")

    return value, backward


def _op_of(function: type[Function]) -> Callable[..., Any]:
    """A Function in the form of an op, under its own name and docstring."""
    apart = function.setup_context is not Function.setup_context

    def op(
        *args: Any, function: type[Function], tensors: Sequence[bool], needs_input_grad: tuple[bool, ...], made: Outputs
    ) -> Any:
        ctx = Context()
        ctx.needs_input_grad = needs_input_grad
        inputs = tuple(Tensor(a) if t else a for a, t in zip(args, tensors, strict=True))
        begun = writes.latest
        with no_grad():
            if apart:
                out = function.forward(*inputs)
                function.setup_context(ctx, inputs, out)
            else:
                out = function.forward(ctx, *inputs)
        array = made.put(out, ctx.constants)
        saved = tuple(None if t is None else t._array for t in ctx.saved_tensors)
        places = [_place(t, inputs, made.values) for t in ctx.saved_tensors]
        held = [weakref.ref(x) if isinstance(x, Tensor) else None for x in inputs]

        def backward(dz: Array) -> tuple[Array | None, ...]:
            ctx.saved_tensors = tuple(None if array is None else Tensor(array) for array in saved)
            with no_grad():
                grads = function.backward(ctx, *made.split(Tensor(dz)))
            grads = grads if isinstance(grads, tuple) else (grads,)
            return tuple(np.array(g._array) if isinstance(g, Tensor) else None for g in grads)

        def again(*traced: Any, **_: Any) -> tuple[Traced, Callable[..., Any]]:
            """The backward in the graph: what forward saved of inputs and outputs is theirs; it does not run again."""
            if writes.time(array) > begun:
                raise RuntimeError(f"{function.__name__}: its result was changed in place after the forward pass")
            z = Traced(Tensor(array))

            def in_graph(dz: Traced) -> tuple[Traced | None, ...]:
                sources: dict[Any, Tensor] = {
                    ("input", i): x.tensor for i, x in enumerate(traced) if isinstance(x, Traced)
                }
                sources.update({("output", i): x for i, x in made.pieces(z.tensor).items()})
                ctx.saved_tensors = tuple(
                    sources[place] if place in sources else None if array is None else Tensor(array)
                    for place, array in zip(places, saved, strict=True)
                )
                own = [(x and x(), sources.get(("input", i))) for i, x in enumerate(held)]
                own += [(made.values[i], sources[kind, i]) for kind, i in sources if kind == "output"]
                with _in_graph([(x, source) for x, source in own if x is not None and source is not None]):
                    grads = function.backward(ctx, *made.split(dz.tensor))
                ctx.saved_tensors = ()  # its own result among them would be a cycle of references
                grads = grads if isinstance(grads, tuple) else (grads,)
                return tuple(Traced(g) if isinstance(g, Tensor) else None for g in grads)

            return z, in_graph

        backward.__dict__["again"] = again
        return array, backward

    op.__name__ = function.__name__
    arguments = [*inspect.signature(function.forward).parameters.values()][0 if apart else 1 :]  # without ctx
    op.__dict__["__signature__"] = inspect.Signature(arguments)  # error texts name the operands as forward does
    op.__doc__ = function.__doc__ if function.__doc__ != Function.__doc__ else f"{function.__name__}, a user's own op"
    return op


def _place(tensor: Tensor | None, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[str, int] | None:
    """Which of a forward's inputs or outputs a saved tensor is; None for what it computed on the way."""
    named = [("input", i, x) for i, x in enumerate(inputs)] + [("output", i, x) for i, x in enumerate(outputs)]
    return next(((kind, i) for kind, i, x in named if x is tensor and tensor is not None), None)


@contextmanager
def _in_graph(pairs: list[tuple[Any, Tensor]]) -> Iterator[None]:
    """Let a forward's own tensors, which it may have kept in ctx, have the places of those that they stand for."""
    before = [x._node for x, _ in pairs]
    try:
        for x, source in pairs:
            x._node = source.view_as(source)._node
        yield
    finally:
        for (x, _), node in zip(pairs, before, strict=True):
            x._node = node


class _IsTensor(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)

    def __call__(cls, data: Any = (), requires_grad: bool = False, volatile: bool = False) -> Tensor:
        tensor = data.detach() if isinstance(data, Tensor) else Tensor(data)
        return tensor.requires_grad_() if requires_grad else tensor


class Variable(metaclass=_IsTensor):
    """PyTorch's old name for a tensor that can have a gradient: ``Variable(tensor)`` is one on the same memory."""
