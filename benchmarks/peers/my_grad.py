"""MyGrad as its users run it: tensors with a backward method, memory guard on, layers composed of its ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import softmax
from mygrad.nnet.losses import softmax_crossentropy

from benchmarks.configs import NORM_EPS, Config
from benchmarks.peers.adamw import AdamW

VERSION = f"MyGrad {mg.__version__}, NumPy {np.__version__}"
Weights = dict[str, Any]
f32 = np.float32  # a Python number would make everything float64


def linear(weights: Weights, name: str, x: Any) -> Any:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Any) -> Any:
    centered = x - mg.mean(x, axis=-1, keepdims=True)
    deviation = mg.sqrt(mg.mean(centered * centered, axis=-1, keepdims=True) + f32(NORM_EPS))
    return centered / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attention(config: Config, weights: Weights, name: str, x: Any) -> Any:
    B, T, C = x.shape
    query, key, value = (
        linear(weights, f"{name}.{part}", x).reshape(B, T, config.heads, -1).transpose(0, 2, 1, 3)
        for part in ("query", "key", "value")
    )  # (B, H, T, D)
    scores = query @ mg.swapaxes(key, -1, -2) * f32(1 / math.sqrt(C // config.heads))  # (B, H, T, T)
    scores = scores + np.where(np.tri(T, dtype=bool), f32(0), f32(-1e9))
    out = (softmax(scores, axis=-1) @ value).transpose(0, 2, 1, 3).reshape(B, T, C)
    return linear(weights, f"{name}.output", out)


def feed_forward(weights: Weights, name: str, x: Any) -> Any:
    x = linear(weights, f"{name}.expand", x)
    x = f32(0.5) * x * (f32(1) + mg.tanh(f32(math.sqrt(2 / math.pi)) * (x + f32(0.044715) * x * x * x)))
    return linear(weights, f"{name}.contract", x)


def loss_of(config: Config, weights: Weights, ids: np.ndarray, targets: np.ndarray) -> Any:
    x = weights["token_embedding.weight"][ids] + weights["positions.added.weight"]  # (B, T, C)
    for n in range(config.layers):
        block = f"blocks.{n}"
        x = x + attention(config, weights, f"{block}.attention", layer_norm(weights, f"{block}.attention_norm", x))
        x = x + feed_forward(weights, f"{block}.mlp", layer_norm(weights, f"{block}.mlp_norm", x))
    logits = layer_norm(weights, "norm", x) @ weights["token_embedding.weight"].T  # (B, T, V)
    return softmax_crossentropy(logits.reshape(-1, config.vocabulary), targets.ravel())


def trainer(config: Config, weights: Weights) -> Callable[[np.ndarray, np.ndarray], float]:
    tensors = {name: mg.tensor(array, copy=False) for name, array in weights.items()}
    optimizer = AdamW({name: tensor.data for name, tensor in tensors.items()})

    def step(ids: np.ndarray, targets: np.ndarray) -> float:
        loss = loss_of(config, tensors, ids, targets)
        loss.backward()
        optimizer.step({name: tensor.grad for name, tensor in tensors.items()})
        return loss.item()

    return step


def expression() -> Callable[[], None]:
    a, b, c = (mg.tensor([1.0, -2.0, 3.0], dtype=f32) for _ in range(3))

    def run() -> None:
        mg.sum(mg.maximum(a * b + c, f32(0))).backward()

    return run


def chain(length: int) -> None:
    y = mg.tensor([1.0, 2.0, 3.0], dtype=f32)
    for _ in range(length):
        y = y + f32(1)
    y.sum().backward()
