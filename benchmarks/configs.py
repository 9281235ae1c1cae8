"""What every peer is given: sizes, first weights, batches, the settings of the optimizer. Knows NumPy alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

LEARNING_RATE, BETAS, EPS, DECAY = 1e-3, (0.9, 0.95), 1e-8, 0.1  # AdamW, for all parameters alike
CLIP = 1.0
NORM_EPS = 1e-5
BATCHES = 16  # different ones, taken in turn
CHECKED = 3  # the losses before and after so many updates must agree


class Config(NamedTuple):
    """The sizes of a GPT and of its batches."""

    batch: int
    context: int
    layers: int
    heads: int
    channels: int
    vocabulary: int


CONFIGS = {
    "micro": Config(1, 16, 1, 4, 16, 27),
    "tiny": Config(32, 8, 1, 4, 16, 65),
    "nano": Config(12, 64, 4, 4, 128, 65),
    "mid": Config(8, 256, 4, 4, 256, 65),
    "full": Config(64, 256, 6, 6, 384, 65),
}


def config_of(name: str) -> Config:
    """By name, or as six numbers "1,16,1,4,16,27" in the order of ``Config``. Raises ValueError."""
    if name in CONFIGS:
        return CONFIGS[name]
    try:
        config = Config(*map(int, name.split(",")))
    except (TypeError, ValueError):
        raise ValueError(
            f"{name!r} is no config: take {', '.join(CONFIGS)}, or six numbers {','.join(Config._fields)}"
        ) from None
    if min(config) < 1 or config.channels % config.heads:
        raise ValueError(f"{name!r} makes no model: all sizes are at least 1, and the heads share the channels evenly")
    return config


def weights_of(config: Config) -> dict[str, np.ndarray]:
    """The first weights by name, the head (tied to the token embedding) left out; linear layers are (out, in)."""
    C, V = config.channels, config.vocabulary
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding.weight": (V, C),
        "positions.added.weight": (config.context, C),
    }
    for n in range(config.layers):
        shapes[f"blocks.{n}.attention_norm.weight"] = shapes[f"blocks.{n}.attention_norm.bias"] = (C,)
        for name in ("query", "key", "value", "output"):
            shapes[f"blocks.{n}.attention.{name}.weight"] = (C, C)
            shapes[f"blocks.{n}.attention.{name}.bias"] = (C,)
        shapes[f"blocks.{n}.mlp_norm.weight"] = shapes[f"blocks.{n}.mlp_norm.bias"] = (C,)
        shapes[f"blocks.{n}.mlp.expand.weight"], shapes[f"blocks.{n}.mlp.expand.bias"] = (4 * C, C), (4 * C,)
        shapes[f"blocks.{n}.mlp.contract.weight"], shapes[f"blocks.{n}.mlp.contract.bias"] = (C, 4 * C), (C,)
    shapes["norm.weight"] = shapes["norm.bias"] = (C,)
    rng = np.random.default_rng(1)
    return {
        name: np.full(shape, float(name.endswith("norm.weight")), np.float32)
        if len(shape) == 1
        else (0.02 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_task(config: Config, path: Path) -> None:
    """An .npz with the weights, and with random ids and targets (BATCHES, B, T)."""
    rng = np.random.default_rng(2)
    text = rng.integers(config.vocabulary, size=(BATCHES, config.batch, config.context + 1))
    np.savez(path, ids=text[..., :-1], targets=text[..., 1:], **weights_of(config))
