"""Every attention layer of a model during one forward and backward pass, as arrays that add up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node, Step, backward_steps, state
from minigrad.core.tensor import Tensor
from minigrad.look.pages.by_hand import ByHand
from minigrad.look.pages.what_if import Output
from minigrad.nn import Module
from minigrad.nn.efficient_attention import EfficientAttention, LongformerAttention
from minigrad.nn.functional import cross_entropy
from minigrad.ops import Array
from minigrad.torch.grad_mode import enable_grad

ARRAYS = "query", "key", "value", "bias", "allowed", "scores", "weights", "output", "gradient", "exact"


@dataclass
class AttentionLayer:
    """One attention layer, for the first sequence of the batch: H heads, T queries, S keys, sizes D and E.

    weights = softmax(scores), scores = scale * query @ keyᵀ + bias, -inf where attention is not allowed;
    output = weights @ value; gradient = d loss / d weights.
    ``notes`` say what is odd about attention that a program writes itself, where the weights may be no softmax:
    ``exact`` is then what that would be. An efficient variant makes no such weights: its ``weights`` are the ones it
    implies, ``exact`` those of softmax attention on the same queries and keys, ``cost`` what it counts up to
    (multiply-adds, bytes), beside that of exact.
    """

    path: str
    kind: str  # "self" or "cross"
    method: str  # "exact", "written by hand" where the weights are no softmax, or the class of the efficient variant
    query: Array  # (H, T, D)
    key: Array  # (H, S, D)
    value: Array  # (H, S, E)
    scale: float
    bias: Array | None  # (H, T, S)
    allowed: Array  # (H, T, S)
    scores: Array  # (H, T, S)
    weights: Array  # (H, T, S)
    output: Array  # (H, T, E)
    gradient: Array | None = None  # (H, T, S)
    exact: Array | None = None  # (H, T, S)
    cost: dict[str, int] | None = None
    notes: list[str] = field(default_factory=list)
    places: list[Output | None] = field(default_factory=list, repr=False)  # where each head's output is made


def attention_layers(
    model: Module, inputs: Sequence[Any], loss: Callable[[Any], Tensor] | None = None
) -> list[AttentionLayer]:
    """Run ``model(*inputs)`` in evaluation mode and back, and return its attention layers in the order they ran.

    Seen are ``F.scaled_dot_product_attention``, ``nn.MultiheadAttention`` and the efficient variants, wherever in the
    model they are, and attention written by hand: a product of two results, a softmax, a product. Heads that are
    modules of their own, one beside the other, are one layer. ``loss(output)`` is what the gradients are of; without
    it, the loss that the model returns, or else the cross-entropy of its own likeliest answers. Neither the model nor
    any ``.grad`` is changed. Raises ValueError where the model has no such layer.
    """
    watcher = _Watcher(model, _batch(inputs))
    was_training = model.training
    before = state.observer
    hooks = [
        m.register_forward_hook(watcher.on_efficient) for m in model.modules() if isinstance(m, EfficientAttention)
    ]
    hooks += [m.register_forward_pre_hook(watcher.on_call) for m in model.modules()]
    model.eval()
    try:
        state.observer = watcher.observe
        with enable_grad():
            output = model(*inputs)
            state.observer = before
            root = loss(output) if loss is not None else _own_loss(output)
        if not watcher.layers:
            raise ValueError(
                f"{type(model).__name__} ran no attention that can be seen: use F.scaled_dot_product_attention or "
                "nn.MultiheadAttention in it, or softmax between two products, query @ keyᵀ and weights @ value"
            )
        if root._node is not None:
            start = [(root._node, np.ones_like(root._array))]
            for step in backward_steps(start, receive=lambda leaf, dz, shared: None):
                watcher.on_step(step)
    finally:
        state.observer = before
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return _side_by_side(watcher.layers)


def _batch(inputs: Sequence[Any]) -> int:
    """How many sequences a model is given."""
    first = inputs[0] if inputs else None
    return first.shape[0] if isinstance(first, Tensor) and first.ndim > 1 else 1


def _side_by_side(layers: list[AttentionLayer]) -> list[AttentionLayer]:
    """Single heads that follow one another, ``heads.0``, ``heads.1``, ..., and ask alike, as the heads of one layer."""
    found: list[AttentionLayer] = []
    names: list[list[str]] = []  # the last parts of the paths of those in each
    for layer in layers:
        around, _, name = layer.path.rpartition(".")
        last = found[-1] if found else None
        if (
            last is not None
            and name.isdigit()
            and int(name) == int(names[-1][-1] if names[-1][-1].isdigit() else -2) + 1
            and last.path.rpartition(".")[0] == around
            and len(layer.weights) == 1
            and (last.kind, last.method, last.scale) == (layer.kind, layer.method, layer.scale)
            and all(_shape(getattr(last, each)) == _shape(getattr(layer, each)) for each in ARRAYS)
        ):
            for each in ARRAYS:
                if getattr(last, each) is not None:
                    setattr(last, each, np.concatenate([getattr(last, each), getattr(layer, each)]))
            last.places += layer.places
            last.notes += [note for note in layer.notes if note not in last.notes]
            names[-1].append(name)
        else:
            found.append(layer)
            names.append([name])
    for layer, parts in zip(found, names, strict=True):
        layer.path += f" … {parts[-1]}" if len(parts) > 1 else ""
    return found


def _shape(array: Array | None) -> Any:
    return None if array is None else array.shape[1:]


def _own_loss(output: Any) -> Tensor:
    """The scalar a model returns beside its answers, or the cross-entropy of its own likeliest answers."""
    parts = [p for p in (output if isinstance(output, tuple | list) else [output]) if isinstance(p, Tensor)]
    for part in parts:
        if part.numel() == 1 and part.requires_grad:
            return part.reshape(())
    scores = parts[0].reshape(-1, parts[0].shape[-1])
    return cross_entropy(scores, scores.detach().argmax(-1))


class _Watcher:
    """Collects attention layers as ops run, and their gradients as backward walks."""

    def __init__(self, model: Module, batch: int) -> None:
        self.batch = batch
        self.ops = 0  # so many have run
        self.latest: Array | None = None  # what the last of them made
        self.by_hand = ByHand()
        self.layers: list[AttentionLayer] = []
        self.paths = {id(m): path or type(m).__name__ for path, m in model.named_modules()}
        self.efficient = {self.paths[id(m)] for m in model.modules() if isinstance(m, EfficientAttention)}
        self.cross: set[str] = set()  # paths of modules that were given two sequences
        self.made: dict[Node, tuple[AttentionLayer, str]] = {}  # whose gradient tells that of the weights

    def on_call(self, module: Any, args: tuple[Any, ...]) -> None:
        two = [x for x in args[:2] if isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1]
        if len(two) > 1 and two[0] is not two[1] and two[0].shape[-1] == two[1].shape[-1]:
            self.cross.add(self.paths[id(module)])

    def observe(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        self.latest = out._array
        self.on_op(op, inputs, constants, out)
        self.ops += 1

    def on_op(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        if state.scope in self.efficient:
            return  # what it is made of is not to be shown as attention of its own
        if op is ops.scaled_dot_product_attention:
            query, key, value = (x._array for x in inputs[:3])
            bias = inputs[3]._array if len(inputs) > 3 and inputs[3] is not None else None
            layer = _exact(state.scope, query, key, value, bias, constants, out._array)
            self._add(layer, out, "output")
            self._place(layer, None)
            return
        found = self.by_hand.on_op(op, inputs, constants, out)
        if found is None:
            return
        query, key, value, allowed, scores, weights, output = (
            self._one(x)
            for x in (
                found.query,
                found.key,
                found.value,
                found.allowed,
                found.scores,
                found.weights._array,
                found.output,
            )
        )
        bias, softmax = (None if x is None else self._one(x) for x in (found.bias, found.softmax))
        method = "exact" if softmax is None else "written by hand"
        layer = AttentionLayer(
            state.scope, "self", method, query, key, value, found.scale, bias, allowed, scores, weights, output,
            exact=softmax, notes=found.notes,
        )  # fmt: skip
        if state.scope in self.cross:
            layer.kind = "cross"
        self._add(layer, found.weights, "weights")
        self._place(layer, self.batch, axis=found.axis)

    def _one(self, x: Array) -> Array:
        """The first sequence of a batch, of which the first axis is part where there is none for the heads."""
        if x.ndim == 3 and self.batch > 1 and len(x) % self.batch == 0:
            return x[: len(x) // self.batch]
        return _one(x)

    def on_efficient(self, module: Any, args: tuple[Any, ...], out: Tensor) -> None:
        query, key, value = (x._array for x in args[:3])
        made = self.latest
        ignored, is_causal = (*args[3:], None, False)[:2] if len(args) < 5 else args[3:5]
        mask = None if ignored is None else ~ignored._array[:, None, None, :]
        layer = _exact(self.paths[id(module)], query, key, value, None, {"mask": mask, "is_causal": is_causal})
        layer.method, layer.exact, layer.output = type(module).__name__, layer.weights, _one(out._array)
        observer, state.observer = state.observer, None
        layer.weights = _one(module.implied_weights(args[0], args[1], ignored, is_causal)._array)
        state.observer = observer
        counted = {"is_causal": bool(is_causal)} if isinstance(module, LongformerAttention) else {}
        layer.cost = module.cost(query.shape[-2], key.shape[-2], query.shape[-1], **counted)
        self._add(layer, out, "output")
        if out._array is made:
            self._place(layer, None, back=1)

    def _place(self, layer: AttentionLayer, batch: int | None, back: int = 0, axis: int | None = None) -> None:
        heads = range(len(layer.weights))
        layer.places = [Output(self.ops - back, slice(h, h + 1), batch, axis) for h in heads]

    def _add(self, layer: AttentionLayer, out: Tensor, what: str) -> None:
        if layer.query.shape[1] != layer.key.shape[1] or "cross" in layer.path:
            layer.kind = "cross"
        self.layers.append(layer)
        if out._node is not None:
            self.made[out._node] = layer, what

    def on_step(self, step: Step) -> None:
        layer, what = self.made.get(step.node, (None, ""))
        if layer is not None:
            layer.gradient = self._one(step.dz) if what == "weights" else _one(step.dz) @ layer.value.swapaxes(-1, -2)


def _exact(
    path: str,
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None,
    constants: dict[str, Any],
    output: Array | None = None,
) -> AttentionLayer:
    """Softmax attention as the op computes it, with everything between kept."""
    whole = (*np.broadcast_shapes(query.shape[:-2], key.shape[:-2]), query.shape[-2], key.shape[-2])
    mask, factor = constants.get("mask"), constants.get("scale")
    allowed = np.ones(whole, dtype=bool) if mask is None else np.broadcast_to(mask, whole)
    if constants.get("is_causal"):
        allowed = allowed & (np.tri(*whole[-2:]) == 1)
    scale = 1 / math.sqrt(query.shape[-1]) if factor is None else float(factor)
    query, key, value, allowed = (_one(x) for x in (query, key, value, allowed))
    added = None if bias is None else _one(np.broadcast_to(bias, whole))
    scores = scale * query @ key.swapaxes(-1, -2)  # (H, T, S)
    if added is not None:
        scores = scores + added
        allowed = allowed & np.isfinite(added)
        added = np.where(np.isfinite(added), added, 0) if np.isfinite(added).any() and added[allowed].any() else None
    scores = np.where(allowed, scores, -np.inf)
    weights = ops.softmax(scores, axis=-1)[0]
    output = weights @ value if output is None else _one(output)
    return AttentionLayer(path, "self", "exact", query, key, value, scale, added, allowed, scores, weights, output)


def _one(x: Array) -> Array:
    """The first sequence of a batch, with an axis for the heads: (..., H, T, D) or (T, D) -> (H, T, D)."""
    if x.ndim < 3:
        return x.reshape(1, *x.shape)
    return x[(0,) * (x.ndim - 3)]
