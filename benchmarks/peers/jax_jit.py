"""JAX: one compiled function per step, optimizer included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.configs import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, NORM_EPS, Config

VERSION = f"JAX {jax.__version__}"
Weights = dict[str, Any]


def linear(weights: Weights, name: str, x: Any) -> Any:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Any) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centered * centered).mean(-1, keepdims=True) + NORM_EPS)
    return centered * scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attention(config: Config, weights: Weights, name: str, x: Any) -> Any:
    B, T, C = x.shape
    query, key, value = (
        linear(weights, f"{name}.{part}", x).reshape(B, T, config.heads, -1) for part in ("query", "key", "value")
    )  # (B, T, H, D)
    out = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return linear(weights, f"{name}.output", out.reshape(B, T, C))


def feed_forward(weights: Weights, name: str, x: Any) -> Any:
    return linear(weights, f"{name}.contract", jax.nn.gelu(linear(weights, f"{name}.expand", x), approximate=True))


def loss_of(weights: Weights, config: Config, ids: Any, targets: Any) -> Any:
    x = weights["token_embedding.weight"][ids] + weights["positions.added.weight"]  # (B, T, C)
    for n in range(config.layers):
        block = f"blocks.{n}"
        x = x + attention(config, weights, f"{block}.attention", layer_norm(weights, f"{block}.attention_norm", x))
        x = x + feed_forward(weights, f"{block}.mlp", layer_norm(weights, f"{block}.mlp_norm", x))
    logits = layer_norm(weights, "norm", x) @ weights["token_embedding.weight"].T  # (B, T, V)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)
    return -chosen.mean()


@partial(jax.jit, static_argnums=4, donate_argnums=(0, 1, 2))
def update(weights: Weights, means: Weights, squares: Weights, n: Any, config: Config, ids: Any, targets: Any) -> Any:
    """The n-th step, n from 1."""
    loss, grads = jax.value_and_grad(loss_of)(weights, config, ids, targets)
    norm = jnp.sqrt(sum((g * g).sum() for g in grads.values()))
    factor = jnp.minimum(1.0, CLIP / (norm + 1e-6))
    first, second = BETAS
    for name, g in grads.items():
        g = g * factor
        means[name] = first * means[name] + (1 - first) * g
        squares[name] = second * squares[name] + (1 - second) * g * g
        root = jnp.sqrt(squares[name] / (1 - second**n)) + EPS
        weights[name] = weights[name] * (1 - LEARNING_RATE * DECAY)
        weights[name] -= LEARNING_RATE / (1 - first**n) * means[name] / root
    return weights, means, squares, n + 1, loss


def trainer(config: Config, weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
    first = {name: jnp.asarray(array) for name, array in weights.items()}
    state = first, jax.tree.map(jnp.zeros_like, first), jax.tree.map(jnp.zeros_like, first), jnp.float32(1)

    def step(ids: np.ndarray, targets: np.ndarray) -> float:
        nonlocal state
        *state, loss = update(*state, config, ids, targets)
        return float(loss)

    return step


def expression() -> Callable[[], None]:
    slopes = jax.jit(jax.grad(lambda a, b, c: jax.nn.relu(a * b + c).sum(), argnums=(0, 1, 2)))
    a, b, c = (jnp.array([1.0, -2.0, 3.0]) for _ in range(3))

    def run() -> None:
        jax.block_until_ready(slopes(a, b, c))

    return run
