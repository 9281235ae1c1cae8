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


class Context:
    """What a Function keeps from forward to backward."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Tensor, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors


class Function:
    """An op of your own: write ``forward(ctx, *args)`` and ``backward(ctx, *dz)`` as static methods, call ``apply``.

    Both work on tensors, outside the graph; backward returns one gradient (or None) per argument of forward.
    """

    _op: Callable[..., Any]

    def __init_subclass__(cls) -> None:
        cls._op = staticmethod(_op_of(cls))

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        raise NotImplementedError("write forward(ctx, *args) as a static method")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        raise NotImplementedError("write backward(ctx, *grad_outputs) as a static method")

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        tensors = tuple(isinstance(a, Tensor) for a in args)
        needs = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        return apply(cls._op, *args, function=cls, tensors=tensors, needs_input_grad=needs)


def _op_of(function: type[Function]) -> Callable[..., Any]:
    """A Function in the form of an op, under its own name and docstring."""

    def op(*args: Any, function: type[Function], tensors: Sequence[bool], needs_input_grad: tuple[bool, ...]) -> Any:
        ctx = Context()
        ctx.needs_input_grad = needs_input_grad
        with no_grad():
            out = function.forward(ctx, *(Tensor(a) if t else a for a, t in zip(args, tensors, strict=True)))
        if not isinstance(out, Tensor):
            raise TypeError(f"forward must return one Tensor, got {type(out).__name__}")
        saved = tuple(t._array for t in ctx.saved_tensors)

        def backward(dz: Array) -> tuple[Array | None, ...]:
            ctx.saved_tensors = tuple(Tensor(array) for array in saved)
            with no_grad():
                grads = function.backward(ctx, Tensor(dz))
            grads = grads if isinstance(grads, tuple) else (grads,)
            return tuple(np.array(g._array) if isinstance(g, Tensor) else None for g in grads)

        return out._array.view(), backward

    op.__name__ = function.__name__
    arguments = [*inspect.signature(function.forward).parameters.values()][1:]  # without ctx
    op.__dict__["__signature__"] = inspect.Signature(arguments)  # error texts name the operands as forward does
    op.__doc__ = function.__doc__ if function.__doc__ != Function.__doc__ else f"{function.__name__}, a user's own op"
    return op
