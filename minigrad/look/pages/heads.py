"""Every attention layer of a model during one forward and backward pass, as arrays that add up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node, Step, backward_steps, state
from minigrad.core.tensor import Tensor
from minigrad.nn import Module, MultiheadAttention
from minigrad.nn.efficient_attention import EfficientAttention, LongformerAttention
from minigrad.nn.functional import cross_entropy
from minigrad.ops import Array
from minigrad.torch.grad_mode import enable_grad


@dataclass
class AttentionLayer:
    """One attention layer, for the first sequence of the batch: H heads, T queries, S keys, sizes D and E.

    weights = softmax(scores), scores = scale * query @ keyᵀ + bias, -inf where attention is not allowed;
    output = weights @ value; gradient = d loss / d weights.
    An efficient variant makes no such weights: its ``weights`` are the ones it implies, ``exact`` those of softmax
    attention on the same queries and keys, ``cost`` what it counts up to (multiply-adds, bytes), beside that of exact.
    """

    path: str
    kind: str  # "self" or "cross"
    method: str  # "exact", or the class of the efficient variant
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


def attention_layers(
    model: Module, inputs: Sequence[Any], loss: Callable[[Any], Tensor] | None = None
) -> list[AttentionLayer]:
    """Run ``model(*inputs)`` in evaluation mode and back, and return its attention layers in the order they ran.

    Seen are ``F.scaled_dot_product_attention``, ``nn.MultiheadAttention`` and the efficient variants, wherever in the
    model they are. ``loss(output)`` is what the gradients are of; without it, the loss that the model returns, or else
    the cross-entropy of its own likeliest answers. Neither the model nor any ``.grad`` is changed. Raises ValueError
    where the model has no such layer.
    """
    watcher = _Watcher(model)
    was_training = model.training
    before = state.observer
    hooks = [
        m.register_forward_hook(watcher.on_efficient) for m in model.modules() if isinstance(m, EfficientAttention)
    ]
    hooks += [m.register_forward_pre_hook(watcher.on_call) for m in model.modules() if type(m) is MultiheadAttention]
    model.eval()
    try:
        state.observer = watcher.on_op
        with enable_grad():
            output = model(*inputs)
            state.observer = before
            root = loss(output) if loss is not None else _own_loss(output)
        if not watcher.layers:
            raise ValueError(
                f"{type(model).__name__} ran no attention that can be seen: use F.scaled_dot_product_attention or "
                "nn.MultiheadAttention in it"
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
    return watcher.layers


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

    def __init__(self, model: Module) -> None:
        self.layers: list[AttentionLayer] = []
        self.paths = {id(m): path or type(m).__name__ for path, m in model.named_modules()}
        self.efficient = {self.paths[id(m)] for m in model.modules() if isinstance(m, EfficientAttention)}
        self.composed = {self.paths[id(m)] for m in model.modules() if type(m) is MultiheadAttention}
        self.cross: set[str] = set()  # paths of a MultiheadAttention that was given two sequences
        self.made: dict[Node, tuple[AttentionLayer, str]] = {}  # whose gradient tells that of the weights
        self.products: list[tuple[Any, ...]] = []  # inputs of the latest products in a MultiheadAttention
        self.pending: tuple[Array, Tensor] | None = None  # scores and weights that wait for their values

    def on_call(self, module: Any, args: tuple[Any, ...]) -> None:
        if len(args) > 1 and args[0] is not args[1]:
            self.cross.add(self.paths[id(module)])

    def on_op(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        if state.scope in self.efficient:
            return  # what it is made of is not to be shown as attention of its own
        if op is ops.scaled_dot_product_attention:
            query, key, value = (x._array for x in inputs[:3])
            bias = inputs[3]._array if len(inputs) > 3 and inputs[3] is not None else None
            layer = _exact(state.scope, query, key, value, bias, constants, out._array)
            self._add(layer, out, "output")
        elif state.scope in self.composed:
            self._composed(op, inputs, out)

    def _composed(self, op: Any, inputs: Sequence[Any], out: Tensor) -> None:
        """MultiheadAttention with need_weights: query @ keyᵀ, scaled and masked, softmax, @ value."""
        if op is ops.softmax:
            self.pending = inputs[0]._array, out
        elif op is ops.matmul and self.pending is None:
            self.products = [tuple(inputs)]
        elif op is ops.matmul and self.pending is not None and self.products:
            query, key = (x._array for x in self.products[0])
            query, key, value = _one(query), _one(key).swapaxes(-1, -2), _one(inputs[1]._array)
            scores, weights = self.pending
            scale = 1 / math.sqrt(query.shape[-1])
            layer = AttentionLayer(
                state.scope, "self", "exact", query, key, value, scale, None, np.isfinite(_one(scores)),
                _one(scores), _one(weights._array), _one(out._array),
            )  # fmt: skip
            added = layer.scores - scale * query @ key.swapaxes(-1, -2)
            if np.abs(added[layer.allowed]).max(initial=0) > 1e-5 * max(1, np.abs(layer.scores[layer.allowed]).max()):
                layer.bias = np.where(layer.allowed, added, 0)
            self._add(layer, weights, "weights")
            self.pending = None

    def on_efficient(self, module: Any, args: tuple[Any, ...], out: Tensor) -> None:
        query, key, value = (x._array for x in args[:3])
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

    def _add(self, layer: AttentionLayer, out: Tensor, what: str) -> None:
        if layer.query.shape[1] != layer.key.shape[1] or "cross" in layer.path or layer.path in self.cross:
            layer.kind = "cross"
        self.layers.append(layer)
        if out._node is not None:
            self.made[out._node] = layer, what

    def on_step(self, step: Step) -> None:
        layer, what = self.made.get(step.node, (None, ""))
        if layer is not None:
            dz = _one(step.dz)
            layer.gradient = dz if what == "weights" else dz @ layer.value.swapaxes(-1, -2)


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
