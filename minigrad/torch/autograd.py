"""Gradients by name: ``grad``, and users' own ops: ``Function``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.core.graph import backward_steps, no_grad
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor, apply


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """d outputs / d inputs, returned instead of added to ``.grad``; one tensor per input, in its shape.

    Raises RuntimeError for an input that the outputs do not depend on, unless ``allow_unused`` (then None).
    """
    if create_graph:
        raise NotImplementedError("derivatives of derivatives (create_graph=True) are not offered by this engine")
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] if grad_outputs is None or isinstance(grad_outputs, Tensor) else list(grad_outputs)
    seeds = seeds * len(outs) if len(seeds) == 1 and grad_outputs is None else seeds
    if len(seeds) != len(outs):
        raise ValueError(f"{len(seeds)} grad_outputs for {len(outs)} outputs")
    found: dict[Any, Array] = {}

    def take(key: Any, dz: Array, shared: bool) -> None:
        found[key] = found[key] + dz if key in found else dz.copy() if shared else dz

    handles = []
    for x in wanted:
        if not x.requires_grad:
            raise RuntimeError(
                "grad: an input does not require a gradient; call requires_grad_() on it before using it"
            )
        if x.grad_fn is not None:
            node = x.grad_fn
            handles.append(x.register_hook(lambda dz, node=node: take(node, dz, True), raw=True))
    try:
        roots = [(out.grad_fn or out, out.cotangent(seed)) for out, seed in zip(outs, seeds, strict=True)]
        for _ in backward_steps(roots, retain_graph=retain_graph, receive=take):
            pass
    finally:
        for handle in handles:
            handle.remove()
    arrays = [found.get(x.grad_fn if x.grad_fn is not None else x) for x in wanted]
    missing = [i for i, a in enumerate(arrays) if a is None]
    if missing and not allow_unused:
        raise RuntimeError(
            f"grad: the outputs do not depend on input {missing[0]}; allow_unused=True gives None for it"
        )
    return tuple(None if a is None else Tensor(a) for a in arrays)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add d tensors / d leaf to the ``.grad`` of every leaf, or of the ``inputs`` alone, leaves or results.

    ``grad_tensors`` are the gradients of the tensors, which may be left out for single numbers.
    """
    if inputs is None:
        outs = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        given = [grad_tensors] if grad_tensors is None or isinstance(grad_tensors, Tensor) else list(grad_tensors)
        seeds = given * len(outs) if grad_tensors is None else given
        if create_graph:
            raise NotImplementedError("derivatives of derivatives (create_graph=True) are not offered by this engine")
        roots = [(out.grad_fn or out, out.cotangent(seed)) for out, seed in zip(outs, seeds, strict=True)]
        for _ in backward_steps(roots, retain_graph=bool(retain_graph)):
            pass
        return
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    found = grad(tensors, wanted, grad_tensors, bool(retain_graph), create_graph, allow_unused=True)
    for x, dx in zip(wanted, found, strict=True):
        if dx is not None:
            x.receive(dx._array, shared=False)


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

    def split(self, dz: Array) -> list[Tensor]:
        """One gradient for each tensor that was returned; zeros for those without."""
        if self.single and self.learned:
            return [Tensor(dz)]
        parts, start = [], 0
        for i, value in enumerate(self.values):
            if i in self.learned:
                part = dz[start : start + value.numel()].reshape(value.shape)
                parts.append(Tensor(part.astype(value.dtype, copy=False)))
                start += value.numel()
            elif isinstance(value, Tensor):
                parts.append(Tensor(np.zeros(value.shape, value.dtype)))
        return parts

    def taken_from(self, joined: Tensor) -> Any:
        """What apply returns: the op's result, or its pieces in the graph and the rest as it is."""
        if self.single:
            return joined if self.learned else Tensor(self.values[0]._array)
        found, start = list(self.values), 0
        for i in self.learned:
            value = self.values[i]
            found[i] = joined[start : start + value.numel()].reshape(value.shape).to(value.dtype)
            start += value.numel()
        return tuple(found)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """The backward as it is: derivatives of derivatives are not offered anyway."""
    return backward


def _op_of(function: type[Function]) -> Callable[..., Any]:
    """A Function in the form of an op, under its own name and docstring."""
    apart = function.setup_context is not Function.setup_context

    def op(
        *args: Any, function: type[Function], tensors: Sequence[bool], needs_input_grad: tuple[bool, ...], made: Outputs
    ) -> Any:
        ctx = Context()
        ctx.needs_input_grad = needs_input_grad
        inputs = tuple(Tensor(a) if t else a for a, t in zip(args, tensors, strict=True))
        with no_grad():
            if apart:
                out = function.forward(*inputs)
                function.setup_context(ctx, inputs, out)
            else:
                out = function.forward(ctx, *inputs)
        array = made.put(out, ctx.constants)
        saved = tuple(None if t is None else t._array for t in ctx.saved_tensors)

        def backward(dz: Array) -> tuple[Array | None, ...]:
            ctx.saved_tensors = tuple(None if array is None else Tensor(array) for array in saved)
            with no_grad():
                grads = function.backward(ctx, *made.split(dz))
            grads = grads if isinstance(grads, tuple) else (grads,)
            return tuple(np.array(g._array) if isinstance(g, Tensor) else None for g in grads)

        return array, backward

    op.__name__ = function.__name__
    arguments = [*inspect.signature(function.forward).parameters.values()][0 if apart else 1 :]  # without ctx
    op.__dict__["__signature__"] = inspect.Signature(arguments)  # error texts name the operands as forward does
    op.__doc__ = function.__doc__ if function.__doc__ != Function.__doc__ else f"{function.__name__}, a user's own op"
    return op


class _IsTensor(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)

    def __call__(cls, data: Any = (), requires_grad: bool = False, volatile: bool = False) -> Tensor:
        tensor = data.detach() if isinstance(data, Tensor) else Tensor(data)
        return tensor.requires_grad_() if requires_grad else tensor


class Variable(metaclass=_IsTensor):
    """PyTorch's old name for a tensor that can have a gradient: ``Variable(tensor)`` is one on the same memory."""
