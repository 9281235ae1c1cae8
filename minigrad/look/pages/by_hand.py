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
    axis: int | None  # of the heads in what the last product made, where they do not stand before T and E


@dataclass
class _Way:
    """From a product to weights: what is known so far of an array on the way."""

    query: Array
    key: Array
    factors: tuple[Tensor, Tensor]  # what both came from
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
        name = op.__name__
        if name in ("matmul", "einsum"):
            return self._product(inputs, constants.get("equation"), out)
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

    def _product(self, inputs: Sequence[Any], equation: str | None, out: Tensor) -> Found | None:
        """A product may end an attention, or begin one."""
        if len(inputs) != 2 or not all(isinstance(x, Tensor) and x.ndim > 1 for x in inputs):
            return None
        for weights, value in (inputs, inputs[::-1]):
            way = self.ways.get(id(weights._array))
            if way is not None and (way.softmax is not None or way.exp):
                if not equation:
                    found = _found(way, weights, value._array, out._array) if weights is inputs[0] else None
                elif (order := _last(equation, weights is inputs[1])) is not None:
                    found = _found(way, weights, value._array.transpose(order[0]), out._array.transpose(order[1]))
                    if found is not None and len(order[1]) > 3:
                        found.axis = order[1][-3]
                else:
                    found = None
                if found is not None:
                    return found
        if any(_learned(x) for x in inputs):
            return None
        query, key = inputs
        if not equation:
            arrays = query._array, key._array.swapaxes(-1, -2)
        else:
            begun = _first(equation)
            if begun is None:
                return None
            first, second, swapped = begun
            query, key = (key, query) if swapped else (query, key)
            arrays = query._array.transpose(first), key._array.transpose(second)
        self.ways[id(out._array)] = _Way(*arrays, (query, key), out._array, out._array)
        return None


def _letters(equation: str) -> tuple[str, str, str] | None:
    """The indices of the two factors and of the result of an einsum, where all are single letters."""
    sides = equation.replace(" ", "").split("->")
    factors = sides[0].split(",")
    if len(sides) != 2 or len(factors) != 2 or "." in equation:
        return None
    a, b, z = *factors, sides[1]
    return (a, b, z) if all(len(set(part)) == len(part) for part in (a, b, z)) else None


def _first(equation: str) -> tuple[list[int], list[int], bool] | None:
    """bthd, bshd -> bhts: how to turn queries to (..., T, D) and keys to (..., S, D), and whether keys come first."""
    letters = _letters(equation)
    if letters is None or len(letters[2]) < 2:
        return None
    a, b, z = letters
    *batch, t, s = list(z)
    swapped = t in b
    query, key = (b, a) if swapped else (a, b)
    summed = [letter for letter in query if letter in key and letter not in z]
    if len(summed) != 1 or sorted(query) != sorted([*batch, t, *summed]) or sorted(key) != sorted([*batch, s, *summed]):
        return None
    return [query.index(x) for x in (*batch, t, *summed)], [key.index(x) for x in (*batch, s, *summed)], swapped


def _last(equation: str, second: bool) -> tuple[list[int], list[int]] | None:
    """bhts, bshd -> bthd: how to turn values to (..., S, E), and the result to (..., T, E)."""
    letters = _letters(equation)
    if letters is None:
        return None
    weights, value = (letters[1], letters[0]) if second else letters[:2]
    z, (*batch, t, s) = letters[2], list(weights)
    own = [letter for letter in value if letter not in weights]
    if len(own) != 1 or sorted(value) != sorted([*batch, s, *own]) or sorted(z) != sorted([*batch, t, *own]):
        return None
    return [value.index(x) for x in (*batch, s, *own)], [z.index(x) for x in (*batch, t, *own)]


def _found(way: _Way, weights: Tensor, value: Array, output: Array) -> Found | None:
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
    notes = _notes(way, A, allowed, last, plain)
    return Found(
        way.query, way.key, value, way.scale, apart if biased else None, allowed, scores, exact, weights, output, notes,
        None,
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
    if size > 1 and not any(_scaled(factor) for factor in way.factors):
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
