"""All a Llama does when it writes, on one page: NumPy alone, no module, no graph. ``models/inference.py`` is GPT's.

Shapes: B batch, T new tokens, S all tokens so far, C channels, H heads, G groups (key-value heads), D = C / H.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.models.inference import array_of

COVERED = {
    *(f"minigrad.models.llama.{name}" for name in ("Llama", "Block", "GroupedAttention", "SwiGLU")),
    *(f"minigrad.core.layers.{name}" for name in ("ModuleList", "Linear", "Dropout")),
    *(f"minigrad.nn.{name}" for name in ("embedding.Embedding", "layers.RMSNorm", "positions.RotaryPositions")),
}


class LlamaPage:
    """The weights of a Llama, and the keys and values of the tokens it has read."""

    covered, positions_kind = COVERED, "rotary"

    def __init__(self, model: Any, batch: int) -> None:
        config = model.config
        self.words = array_of(model.token_embedding.weight)  # (V, C)
        self.blocks = [
            (
                norm_of(block.attention_norm),
                [array_of(layer.weight) for layer in (attention.query, attention.key, attention.value)],
                array_of(attention.output.weight),
                norm_of(block.mlp_norm),
                [array_of(layer.weight) for layer in (block.mlp.gate, block.mlp.expand, block.mlp.contract)],
            )
            for block in model.blocks
            for attention in [block.attention]
        ]
        self.norm, self.head = norm_of(model.norm), array_of(model.head.weight)
        self.interleaved = config.interleaved
        D, self.size = config.n_embd // config.n_head, config.block_size
        self.speeds = config.rotary_base ** (-np.arange(0, D, 2) / D)  # (D / 2,)
        # Memory is taken when it is written: a short text takes little of a long context.
        self.kept = np.empty((len(self.blocks), 2, batch, config.kv_heads, self.size, D), self.words.dtype)
        self.past = 0  # so many tokens have been read

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """For the token after ids (B, S): (B, V). It reads those that are new, or all where the context is full."""
        if ids.shape[1] > self.size:
            self.past = 0  # all positions have moved: nothing that was kept is of use
        new = ids[:, -self.size :][:, self.past :]  # (B, T)
        angles = np.arange(self.past, self.past + new.shape[1])[:, None] * self.speeds  # (T, D / 2)
        turn = np.cos(angles).astype(self.words.dtype), np.sin(angles).astype(self.words.dtype)
        x = self.words[new]  # (B, T, C)
        for kept, (attention_norm, projections, output, mlp_norm, (gate, expand, contract)) in zip(
            self.kept, self.blocks, strict=True
        ):
            x += self.attend(rms_norm(x, attention_norm), projections, turn, kept) @ output.T
            n = rms_norm(x, mlp_norm)
            x += (silu(n @ gate.T) * (n @ expand.T)) @ contract.T
        self.past += new.shape[1]
        return rms_norm(x[:, -1], self.norm) @ self.head.T

    def attend(self, x: np.ndarray, projections: list[np.ndarray], turn: Any, kept: np.ndarray) -> np.ndarray:
        """Causal attention of the new tokens x (B, T, C) to all; H / G heads share keys and values: (B, T, C)."""
        (B, T, C), (_, _, G, _, D) = x.shape, kept.shape
        query, key, value = ((x @ w.T).reshape(B, T, -1, D).swapaxes(1, 2) for w in projections)  # (B, H or G, T, D)
        S = self.past + T
        kept[0, :, :, self.past : S], kept[1, :, :, self.past : S] = self.turned(key, turn), value
        keys, values = kept[:, :, :, :S]  # (B, G, S, D) each
        query = self.turned(query, turn).reshape(B, G, -1, D)  # (B, G, H / G * T, D)
        scores = query @ keys.swapaxes(-1, -2) / np.asarray(math.sqrt(D), x.dtype)  # (B, G, H / G * T, S)
        if T > 1:
            seen = np.tri(T, S, self.past, dtype=bool)
            scores = np.where(seen, scores.reshape(B, G, -1, T, S), -math.inf).reshape(scores.shape)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return (weights @ values).reshape(B, -1, T, D).swapaxes(1, 2).reshape(B, T, C)  # the heads side by side

    def turned(self, x: np.ndarray, turn: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Each pair of channels by the angle of its position (Su et al. 2021): (..., T, D) -> the same."""
        (cos, sin), z, half = turn, np.empty_like(x, order="C"), x.shape[-1] // 2
        first, second = (
            (np.s_[..., ::2], np.s_[..., 1::2]) if self.interleaved else (np.s_[..., :half], np.s_[..., half:])
        )
        a, b = x[first], x[second]
        z[first], z[second] = a * cos - b * sin, a * sin + b * cos
        return z


def rms_norm(x: np.ndarray, layer: tuple[np.ndarray, float]) -> np.ndarray:
    weight, eps = layer
    return x * (weight / np.sqrt(np.vecdot(x, x)[..., None] / x.dtype.type(len(weight)) + x.dtype.type(eps)))


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-np.clip(x, -80, None)))


def norm_of(layer: Any) -> tuple[np.ndarray, float]:
    return array_of(layer.weight), layer.eps
