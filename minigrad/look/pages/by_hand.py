"""Attention that a program writes itself, seen as its ops run: product, scale, mask, softmax, product, in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad.core.graph import Node
from minigrad.core.tensor import Tensor
from minigrad.nn import Parameter
from minigrad.ops import Array

FAR = -1e3  # what is added to a score to forbid a key is below this, where it is not -inf
MAKES_NEW = {"matmul", "linear", "embedding", "einsum", "layer_norm", "rms_norm", "softmax"}  # end of a look back


@dataclass
class Found:
    """One attention as it was computed: scores = scale * query @ keyᵀ + bias, weights (T, S) from them, output."""

    query: Array
    key: Array
    value: Array
    scale: float
    bias: Array | None
    allowed: Array
    scores: Array
    softmax: Array | None  # the softmax over the last axis, where the weights are not that
    weights: Tensor
    output: Array
    notes: list[str]


@dataclass
class _Way:
    """From a product to weights: what is known so far of an array on the way."""

    query: Tensor
    key: Tensor  # transposed, as it stands in the product
    product: Array
    array: Array  # kept, so that its id stays its own
    scale: float = 1.0
    scores: Array | None = None  # what the softmax was given
    axis: int = -1
    softmax: Array | None = None
    exp: bool = False  # a softmax in several ops has begun


class ByHand:
    """Follows products of two results through elementwise ops to a softmax and a second product."""

    def __init__(self) -> None:
        self.ways: dict[int, _Way] = {}  # id of an array on the way

    def on_op(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> Found | None:
        """Look at an op that has run; what was found, where it was the last product of an attention."""
        name, found = op.__name__, None
        if name == "matmul":
            way = self.ways.get(id(inputs[0]._array)) if isinstance(inputs[0], Tensor) else None
            if way is not None and (way.softmax is not None or way.exp) and isinstance(inputs[1], Tensor):
                found = _found(way, inputs[0], inputs[1], out)
            if found is None and all(isinstance(x, Tensor) and x.ndim > 1 and not _learned(x) for x in inputs):
                self.ways[id(out._array)] = _Way(inputs[0], inputs[1], out._array, out._array)
            return found
        ways = ((x, self.ways.get(id(x._array))) for x in inputs if isinstance(x, Tensor))
        x, way = next(((x, way) for x, way in ways if way is not None), (None, None))
        if x is None or way is None or out.shape != x.shape:
            return None
        way = replace(way, array=out._array)
        if name in ("mul", "div") and way.scores is None:
            other = inputs[1] if inputs[0] is x else inputs[0]
            if np.size(other._array if isinstance(other, Tensor) else other) == 1:
                factor = float(other.item() if isinstance(other, Tensor) else other)
                way.scale = way.scale * factor if name == "mul" else way.scale / factor if factor else math.nan
        elif name == "softmax":
            way.scores, way.axis, way.softmax = x._array, constants.get("axis", -1), out._array
        elif name == "exp" and way.scores is None:
            way.scores, way.exp = x._array, True
        self.ways[id(out._array)] = way
        return None


def _found(way: _Way, weights: Tensor, value: Tensor, out: Tensor) -> Found | None:
    A, scores = weights._array, way.scores
    if scores is None or scores.shape != A.shape or A.ndim < 2:
        return None
    if way.softmax is None:  # in several ops: exp, sum, division; if it comes to a softmax it is one
        if not np.allclose(A.sum(-1), 1, atol=1e-4) or A.min() < 0:
            return None
        way.softmax = A
    with np.errstate(invalid="ignore", over="ignore"):
        added = scores - way.scale * way.product
    last = way.axis in (-1, A.ndim - 1)
    shut = (A == 0) & ((scores == -np.inf) | (added < FAR))
    allowed = ~shut
    apart = np.where(allowed, added, 0)
    biased = np.abs(apart).max(initial=0) > 1e-5 * max(1.0, np.abs(scores[allowed]).max(initial=0))
    scores = np.where(allowed, scores, -np.inf)
    plain = last and np.allclose(A, way.softmax, atol=1e-6)
    exact = None if plain else _softmax(scores)
    key = way.key._array.swapaxes(-1, -2)
    notes = _notes(way, A, allowed, last, plain)
    return Found(
        way.query._array, key, value._array, way.scale, apart if biased else None, allowed, scores, exact, weights,
        out._array, notes,
    )  # fmt: skip


def _notes(way: _Way, A: Array, allowed: Array, last: bool, plain: bool) -> list[str]:
    """What is odd: facts that can be seen in the numbers, or in the ops that ran."""
    notes = []
    size = way.query.shape[-1]
    sums = A.sum(-1)
    off = f"rows sum to {sums.min():.3g} … {sums.max():.3g}, not to 1"
    if not last:
        notes.append(f"softmax over axis {way.axis}: {off}" if not np.allclose(sums, 1, atol=1e-3)
                     else f"softmax over axis {way.axis}, which is not the keys'")  # fmt: skip
    elif not plain and not np.allclose(sums, 1, atol=1e-3):
        notes.append(f"the weights are changed after the softmax: {off}")
    usual = 1 / math.sqrt(size)
    if size > 1 and not (_scaled(way.query) or _scaled(way.key)):
        if way.scale == 1:
            notes.append(f"no scale: the scores are not divided by √{size} = {math.sqrt(size):.4g}")
        elif not math.isclose(way.scale, usual, rel_tol=1e-3):
            notes.append(f"the scores are multiplied by {way.scale:.4g}, not by 1/√{size} = {usual:.4g}")
    T, S = A.shape[-2:]
    if T == S > 2 and (allowed == np.triu(np.ones((T, S), dtype=bool))).all():
        notes.append("each token sees itself and those after it: the mask is the wrong way round for a causal one")
    return notes


def _softmax(scores: Array) -> Array:
    with np.errstate(invalid="ignore"):
        z = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), np.finfo(scores.dtype).min))
    return z / np.maximum(z.sum(-1, keepdims=True), np.finfo(scores.dtype).tiny)


def _learned(x: Tensor) -> bool:
    """Whether this is a parameter, turned round at most: then a product with it is a layer, no attention."""
    node: Any = x if x._node is None else x._node
    while type(node) is Node and node.op.__name__ in ("transpose", "permute", "reshape", "view", "expand", "clone"):
        node = node.parents[0]
    return isinstance(node, Parameter)


def _scaled(x: Tensor) -> bool:
    """Whether a query or key was multiplied by something before the product, on its way from the layer that made it."""
    todo: list[Any] = [x._node]
    while todo:
        node = todo.pop()
        if type(node) is Node and node.op.__name__ not in MAKES_NEW:
            if node.op.__name__ in ("mul", "div", "normalize"):
                return True
            todo += node.parents
    return False
