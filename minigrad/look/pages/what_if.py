"""A model's answers beside its attention: what it predicts, what a head is worth, what each layer would have said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.graph import state
from minigrad.core.tensor import Tensor
from minigrad.nn import Embedding, Module
from minigrad.nn.functional import cross_entropy
from minigrad.ops import Array
from minigrad.torch.grad_mode import enable_grad

MOST_HEADS = 200  # each costs a forward pass


@dataclass
class Output:
    """Where the output of some heads was made: the op, counted from the first, and which of its heads."""

    op: int
    heads: slice
    batch: int | None = None  # how many sequences share the first axis of an array without one for the heads
    axis: int | None = None  # of the heads, where they do not stand before T and E


@dataclass
class Answers:
    """What a model answers to a text, T tokens, V of them known.

    ``logits`` (T, V) are those of the first sequence; ``loss`` is that of ``what``; ``off`` has by layer and head how
    much it grows when the output of that head is 0; ``lens`` the answers after each block, by its path.
    """

    logits: Array | None
    loss: float
    what: str
    following: bool  # whether the answer at a token is the one after it
    off: list[list[float | None]] | None
    lens: list[tuple[str, Array]]


def ask(
    model: Module,
    inputs: Sequence[Any],
    layers: Sequence[Any],
    loss: Callable[[Any], Tensor] | None = None,
    most: int = MOST_HEADS,
) -> Answers:
    """Run a model again, in evaluation mode: as it is, without each of its heads, and as if it ended after each block.

    ``layers`` are its attention layers. ``loss`` is the loss of its output; without it that of the next tokens, where
    no token looks ahead and the answers are over the tokens that the model embeds; or else the model's own. Of more
    than ``most`` heads none is switched off.
    """
    training = model.training
    model.eval()
    try:
        with enable_grad():  # the same ops as when the heads were found
            output = model(*inputs)
            logits = logits_of(output)
            ids = next((x for x in inputs if isinstance(x, Tensor) and x.dtype.kind in "iu" and x.ndim == 2), None)
            if logits is not None and (ids is None or logits.shape[1] not in _embedded(model)):
                logits = None
            following = (
                logits is not None
                and ids is not None
                and 1 < len(logits) == ids.shape[1]
                and all(not np.triu(layer.allowed, 1).any() for layer in layers if layer.kind == "self")
            )
            what = "the loss that was given"
            if loss is None and following and ids is not None:
                loss, what = _of_the_next(ids[0, 1:]), "the mean loss of the tokens that follow"
            if loss is None:
                loss, what = _own(output)
            value = float(loss(output).item())
            heads = sum(len(layer.places) for layer in layers)
            off = None
            if heads <= most:
                off = [
                    [None if place is None else without(model, inputs, place, loss) - value for place in layer.places]
                    for layer in layers
                ]
            steps = lens(model, inputs, [layer.path for layer in layers]) if logits is not None else []
            return Answers(logits, value, what, following, off, steps)
    finally:
        model.train(training)


def _embedded(model: Module) -> set[int]:
    """How many tokens the tables of a model have."""
    return {module.weight.shape[0] for module in model.modules() if isinstance(module, Embedding)}


def _of_the_next(target: Tensor) -> Callable[[Any], Tensor]:
    return lambda output: cross_entropy(_first(output)[0, :-1], target)


def _first(output: Any) -> Tensor:
    parts = output if isinstance(output, tuple | list) else [output]
    return next(part for part in parts if isinstance(part, Tensor) and part.numel() > 1)


def _own(output: Any) -> tuple[Callable[[Any], Tensor], str]:
    """The loss that a model returns, or that of the answers it finds likeliest when it runs as it is."""
    parts = [x for x in (output if isinstance(output, tuple | list) else [output]) if isinstance(x, Tensor)]
    at = next((i for i, part in enumerate(parts) if part.numel() == 1 and part.requires_grad), None)

    def returned(output: Any) -> Tensor:
        parts = [x for x in (output if isinstance(output, tuple | list) else [output]) if isinstance(x, Tensor)]
        return parts[at or 0].reshape(())

    if at is not None:
        return returned, "the loss that the model returns"
    likeliest = parts[0].detach().argmax(-1).reshape(-1)

    def kept(output: Any) -> Tensor:
        scores = _first(output)
        return cross_entropy(scores.reshape(-1, scores.shape[-1]), likeliest)

    return kept, "the loss of the answers that it finds likeliest"


def logits_of(output: Any) -> Array | None:
    """The scores (T, V) that a model gives for the first sequence: its first result, if it is of that kind."""
    parts = output if isinstance(output, tuple | list) else [output]
    first = next((part for part in parts if isinstance(part, Tensor) and part.numel() > 1), None)
    return None if first is None or first.ndim != 3 else first.detach().numpy()[0]


def probabilities(logits: Array) -> Array:
    """Softmax of scores (T, V) over V, in double precision."""
    z = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def without(model: Module, inputs: Sequence[Any], where: Output, loss: Callable[[Any], Tensor]) -> float:
    """The loss of a model when the output of some heads is 0."""
    count = 0

    def switch_off(op: Any, inputs: Any, constants: Any, out: Tensor) -> None:
        nonlocal count
        if count == where.op:
            array = out._array
            if where.axis is not None:
                np.moveaxis(array, where.axis, 0)[where.heads] = 0
            elif array.ndim >= 4:
                array[..., where.heads, :, :] = 0
            elif array.ndim == 3 and where.batch and where.batch > 1:
                shared = array.reshape(where.batch, -1, *array.shape[1:])  # (B * H, T, E) -> (B, H, T, E)
                shared[:, where.heads] = 0
            elif array.ndim == 3:
                array[where.heads] = 0
            else:
                array[:] = 0
        count += 1

    with _observed(switch_off):
        return float(loss(model(*inputs)).item())


def blocks_of(model: Module, paths: Sequence[str]) -> list[str]:
    """The paths of the blocks, one after the other, that the last attention layers are in: blocks.0, blocks.1, ..."""
    for path in reversed(paths):
        parts = path.split(" ")[0].split(".")
        for i, part in enumerate(parts):
            around = ".".join(parts[:i])
            if part.isdigit():
                found = [f"{around}.{n}" if around else str(n) for n in range(len(dict(_children(model, around))))]
                if len(found) > 1:
                    return found
    return []


def _children(model: Module, path: str) -> Iterator[tuple[str, Module]]:
    return model.get_submodule(path).named_children()


def lens(model: Module, inputs: Sequence[Any], paths: Sequence[str]) -> list[tuple[str, Array]]:
    """What the model would answer if it ended after each block: its path, and scores (T, V) for the first sequence.

    The state after a block is put in the place of that after the last one, so that what follows reads it: the logit
    lens (nostalgebraist 2020). Empty where the blocks do not follow one another, or give more than one tensor.
    """
    given: list[Any] = []
    made: list[Any] = []
    blocks = blocks_of(model, paths)
    modules = [model.get_submodule(path) for path in blocks]

    def watch(module: Module, args: tuple[Any, ...], out: Any) -> None:
        given.append(args[0] if args else None)
        made.append(out)

    hooks = [module.register_forward_hook(watch) for module in modules]
    try:
        logits = logits_of(model(*inputs))
    finally:
        for hook in hooks:
            hook.remove()
    if logits is None or not modules or len(made) != len(modules):
        return []
    states = [given[0], *made]
    if not all(isinstance(x, Tensor) and x.shape == made[0].shape for x in (*given, *made)):
        return []
    if any(x is not y for x, y in zip(given[1:], made[:-1], strict=True)):
        return []
    found = []
    for path, reached in zip(["start", *blocks], states, strict=True):
        hook = modules[-1].register_forward_hook(_instead(reached))
        try:
            scores = logits_of(model(*inputs))
        finally:
            hook.remove()
        if scores is None:
            return []
        found.append((path, scores))
    return found


def _instead(reached: Tensor) -> Callable[..., Tensor]:
    return lambda module, args, out: reached


@contextmanager
def _observed(observer: Callable[..., None]) -> Iterator[None]:
    before, state.observer = state.observer, observer
    try:
        yield
    finally:
        state.observer = before
