"""Clipping and AdamW on NumPy arrays, for the peers that bring no optimizer."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.configs import BETAS, CLIP, DECAY, EPS, LEARNING_RATE


class AdamW:
    """Updates arrays in place, by name."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.means = {name: np.zeros_like(w) for name, w in weights.items()}
        self.squares = {name: np.zeros_like(w) for name, w in weights.items()}
        self.steps = 0

    def step(self, grads: dict[str, np.ndarray]) -> None:
        self.steps += 1
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads.values()))
        factor = min(1.0, CLIP / (norm + 1e-6))
        first, second = BETAS
        for name, g in grads.items():
            w, m, v = self.weights[name], self.means[name], self.squares[name]
            g = g * factor
            w *= 1 - LEARNING_RATE * DECAY
            m += (1 - first) * (g - m)
            v += (1 - second) * (g * g - v)
            root = np.sqrt(v) / math.sqrt(1 - second**self.steps) + EPS
            w -= LEARNING_RATE / (1 - first**self.steps) * m / root
