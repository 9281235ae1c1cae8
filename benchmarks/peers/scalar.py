"""Backpropagation through single numbers in pure Python, and the same GPT out of them: where the idea is plainest."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any

from benchmarks.configs import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, NORM_EPS, Config

VERSION = f"Python {platform.python_version()}"
tape: list[Value] = []  # in the order they were made: backwards, it is an order to go back in


class Value:
    """A number, its gradient, and the numbers it was made from, each with its slope."""

    __slots__ = ("data", "grad", "parents", "slopes")

    def __init__(self, data: float, parents: tuple[Value, ...] = (), slopes: tuple[float, ...] = ()) -> None:
        self.data, self.grad, self.parents, self.slopes = data, 0.0, parents, slopes
        if parents:
            tape.append(self)

    def __add__(self, other: Value) -> Value:
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Value) -> Value:
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def shift(self, by: float) -> Value:
        return Value(self.data + by, (self,), (1.0,))

    def scale(self, by: float) -> Value:
        return Value(self.data * by, (self,), (by,))

    def exp(self) -> Value:
        z = math.exp(self.data)
        return Value(z, (self,), (z,))

    def log(self) -> Value:
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def power(self, n: float) -> Value:
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),))

    def relu(self) -> Value:
        return Value(max(self.data, 0.0), (self,), (float(self.data > 0),))

    def gelu(self) -> Value:
        x, c = self.data, math.sqrt(2 / math.pi)
        t = math.tanh(c * (x + 0.044715 * x**3))
        slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
        return Value(0.5 * x * (1 + t), (self,), (slope,))

    def backward(self) -> None:
        self.grad = 1.0
        for value in reversed(tape):
            for parent, slope in zip(value.parents, value.slopes, strict=True):
                parent.grad += slope * value.grad
        tape.clear()


Row = list[Value]
Weights = dict[str, Any]  # name -> Row, or a list of them


def add(a: Row, b: Row) -> Row:
    return [x + y for x, y in zip(a, b, strict=True)]


def total(row: Row) -> Value:
    result = row[0]
    for x in row[1:]:
        result = result + x
    return result


def dot(a: Row, b: Row) -> Value:
    return total([x * y for x, y in zip(a, b, strict=True)])


def linear(weights: Weights, name: str, x: Row) -> Row:
    return [dot(row, x) + bias for row, bias in zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)]


def layer_norm(weights: Weights, name: str, x: Row) -> Row:
    mean = total(x).scale(-1 / len(x))
    centered = [value + mean for value in x]
    scale = dot(centered, centered).scale(1 / len(x)).shift(NORM_EPS).power(-0.5)
    parts = zip(centered, weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
    return [value * scale * weight + bias for value, weight, bias in parts]


def softmax(x: Row) -> Row:
    top = max(value.data for value in x)
    powers = [value.shift(-top).exp() for value in x]
    inverse = total(powers).power(-1)
    return [value * inverse for value in powers]


def attention(config: Config, weights: Weights, name: str, rows: list[Row]) -> list[Row]:
    query, key, value = ([linear(weights, f"{name}.{part}", x) for x in rows] for part in ("query", "key", "value"))
    size = config.channels // config.heads
    outs: list[Row] = [[] for _ in rows]
    for at in range(0, config.channels, size):  # one head after the other
        head = slice(at, at + size)
        for t, out in enumerate(outs):
            scores = [dot(query[t][head], key[s][head]).scale(size**-0.5) for s in range(t + 1)]
            shares = softmax(scores)
            out += [dot(shares, [value[s][d] for s in range(t + 1)]) for d in range(at, at + size)]
    return [linear(weights, f"{name}.output", out) for out in outs]


def feed_forward(weights: Weights, name: str, x: Row) -> Row:
    hidden = [value.gelu() for value in linear(weights, f"{name}.expand", x)]
    return linear(weights, f"{name}.contract", hidden)


def loss_of(config: Config, weights: Weights, ids: list[int], targets: list[int]) -> Value:
    table = weights["token_embedding.weight"]
    rows = [add(table[i], place) for i, place in zip(ids, weights["positions.added.weight"], strict=True)]
    for n in range(config.layers):
        normed = [layer_norm(weights, f"blocks.{n}.attention_norm", x) for x in rows]
        rows = list(map(add, rows, attention(config, weights, f"blocks.{n}.attention", normed)))
        rows = [add(x, feed_forward(weights, f"blocks.{n}.mlp", layer_norm(weights, f"blocks.{n}.mlp_norm", x)))
                for x in rows]  # fmt: skip
    losses = []
    for x, target in zip(rows, targets, strict=True):
        x = layer_norm(weights, "norm", x)
        losses.append(softmax([dot(row, x) for row in table])[target].log())
    return total(losses)


def trainer(config: Config, weights: Weights) -> Callable[[Any, Any], float]:
    numbers = {
        name: [Value(x) for x in w.tolist()] if w.ndim == 1 else [[Value(x) for x in row] for row in w.tolist()]
        for name, w in weights.items()
    }
    flat = [x for w in numbers.values() for row in w for x in (row if isinstance(row, list) else [row])]
    means, squares = [0.0] * len(flat), [0.0] * len(flat)
    steps = 0

    def step(ids: Any, targets: Any) -> float:
        nonlocal steps
        steps += 1
        losses = [loss_of(config, numbers, *pair) for pair in zip(ids.tolist(), targets.tolist(), strict=True)]
        loss = total(losses).scale(-1 / ids.size)
        loss.backward()
        factor = min(1.0, CLIP / (math.sqrt(sum(p.grad * p.grad for p in flat)) + 1e-6))
        first, second = BETAS
        for i, p in enumerate(flat):
            g, p.grad = p.grad * factor, 0.0
            means[i] = first * means[i] + (1 - first) * g
            squares[i] = second * squares[i] + (1 - second) * g * g
            root = math.sqrt(squares[i] / (1 - second**steps)) + EPS
            p.data -= LEARNING_RATE * (DECAY * p.data + means[i] / (1 - first**steps) / root)
        return loss.data

    return step


def expression() -> Callable[[], None]:
    a, b, c = ([Value(x) for x in (1.0, -2.0, 3.0)] for _ in range(3))

    def run() -> None:
        total([(x * y + z).relu() for x, y, z in zip(a, b, c, strict=True)]).backward()

    return run


def chain(length: int) -> None:
    y = Value(1.0)
    for _ in range(length):
        y = y.shift(1.0)
    y.backward()
