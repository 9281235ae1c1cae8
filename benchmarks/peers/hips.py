"""HIPS autograd: its NumPy, and functions of a dictionary of weights."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable
from typing import Any

import autograd.numpy as np
from autograd import grad, value_and_grad
from autograd.scipy.special import logsumexp

from benchmarks.configs import NORM_EPS, Config
from benchmarks.peers.adamw import AdamW

VERSION = f"autograd {importlib.metadata.version('autograd')}, NumPy {np.__version__}"
Weights = dict[str, Any]


def linear(weights: Weights, name: str, x: Any) -> Any:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Any) -> Any:
    centered = x - np.mean(x, -1, keepdims=True)
    deviation = np.sqrt(np.mean(centered * centered, -1, keepdims=True) + NORM_EPS)
    return centered / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attention(config: Config, weights: Weights, name: str, x: Any) -> Any:
    B, T, C = x.shape
    query, key, value = (
        np.transpose(np.reshape(linear(weights, f"{name}.{part}", x), (B, T, config.heads, -1)), (0, 2, 1, 3))
        for part in ("query", "key", "value")
    )  # (B, H, T, D)
    scores = query @ np.swapaxes(key, -1, -2) * (1 / math.sqrt(C // config.heads))  # (B, H, T, T)
    scores = np.where(np.tri(T, dtype=bool), scores, np.float32(-1e9))
    shares = np.exp(scores - np.max(scores, -1, keepdims=True))
    shares = shares / np.sum(shares, -1, keepdims=True)
    out = np.reshape(np.transpose(shares @ value, (0, 2, 1, 3)), (B, T, C))
    return linear(weights, f"{name}.output", out)


def feed_forward(weights: Weights, name: str, x: Any) -> Any:
    x = linear(weights, f"{name}.expand", x)
    x = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return linear(weights, f"{name}.contract", x)


def loss_of(weights: Weights, config: Config, ids: Any, targets: Any) -> Any:
    x = weights["token_embedding.weight"][ids] + weights["positions.added.weight"]  # (B, T, C)
    for n in range(config.layers):
        block = f"blocks.{n}"
        x = x + attention(config, weights, f"{block}.attention", layer_norm(weights, f"{block}.attention_norm", x))
        x = x + feed_forward(weights, f"{block}.mlp", layer_norm(weights, f"{block}.mlp_norm", x))
    logits = layer_norm(weights, "norm", x) @ weights["token_embedding.weight"].T  # (B, T, V)
    logits = np.reshape(logits, (-1, config.vocabulary))
    chosen = logits[np.arange(len(logits)), targets.ravel()]
    return np.mean(logsumexp(logits, axis=-1) - chosen)


def trainer(config: Config, weights: Weights) -> Callable[[Any, Any], float]:
    optimizer = AdamW(weights)
    loss_and_grads = value_and_grad(loss_of)

    def step(ids: Any, targets: Any) -> float:
        loss, grads = loss_and_grads(weights, config, ids, targets)
        optimizer.step(grads)
        return float(loss)

    return step


def expression() -> Callable[[], None]:
    slopes = grad(lambda a, b, c: np.sum(np.maximum(a * b + c, 0)), argnum=(0, 1, 2))
    a, b, c = (np.array([1.0, -2.0, 3.0], np.float32) for _ in range(3))

    def run() -> None:
        slopes(a, b, c)

    return run


def chain(length: int) -> None:
    def adds(x: Any) -> Any:
        for _ in range(length):
            x = x + 1.0
        return np.sum(x)

    grad(adds)(np.array([1.0, 2.0, 3.0], np.float32))
