"""Whether inputs tell their targets at all: a nearest neighbour and a line try, before a network is blamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.op import Array

PAIRS = 1000  # that are compared with one another


@dataclass
class Score:
    """Shares from 0 to 1: how well targets are told from inputs, as they are given and shifted by one place."""

    given: float
    shifted: float
    shift: int
    chance: float
    count: int
    continuous: bool  # the inputs are numbers of many values


def score(batches: Sequence[tuple[Array, Array, Any]], classes: bool) -> Score | None:
    """How well the nearest other input tells the target; for numbers, the share of the variance that a line explains.

    ``batches`` are pairs of inputs (N, C) and targets (N,). None where there is too little to say.
    """
    widths = {x.shape[1] for x, *_ in batches}
    if len(widths) != 1:
        return None
    given = _try(batches, 0, classes)
    if given is None:
        return None
    shifted, shift = max(((_try(batches, by, classes) or (0.0,))[0], by) for by in (1, -1))
    x = np.concatenate([x for x, *_ in batches])[:PAIRS]
    y = np.concatenate([y for _, y, *_ in batches])[:PAIRS]
    chance = float(np.unique(y, return_counts=True)[1].max() / len(y)) if classes else 0.0
    many = len(np.unique(x[:, int(np.argmax(x.std(0)))])) > 16
    return Score(given[0], shifted, shift, chance, given[1], many)


def _try(batches: Sequence[tuple[Array, Array, Any]], by: int, classes: bool) -> tuple[float, int] | None:
    """The better of two guesses on pairs that they have not seen, with the targets of each batch shifted."""
    parts = [(x[: len(x) - by], y[by:]) if by >= 0 else (x[-by:], y[:by]) for x, y, *_ in batches]
    x = np.concatenate([x for x, _ in parts]).astype(np.float64)
    y = np.concatenate([y for _, y in parts])
    x, first = np.unique(x, axis=0, return_index=True)  # the same example twice would tell its own target
    y = y[first]
    order = np.random.default_rng(0).permutation(len(x))[:PAIRS]
    x, y = x[order], y[order].astype(np.float64)
    if len(x) < 60 or not np.isfinite(x).all():
        return None
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    half = len(x) // 2
    a, b, ya, yb = x[:half], x[half:], y[:half], y[half:]
    distance = (a * a).sum(1) - 2 * b @ a.T
    near = ya[np.argpartition(distance, min(4, half - 1), axis=1)[:, :5]]
    line = np.concatenate([a, np.ones((half, 1))], 1)
    test = np.concatenate([b, np.ones((len(b), 1))], 1)
    ridge = np.linalg.solve(line.T @ line + 0.1 * half**0.5 * np.eye(line.shape[1]), line.T)
    if classes:
        names = np.unique(y)
        votes = (near[:, :, None] == names).sum(1)
        linear = test @ (ridge @ (ya[:, None] == names).astype(float))
        guesses = names[votes.argmax(1)], names[linear.argmax(1)]
        return max(float((guess == yb).mean()) for guess in guesses), len(x)
    spread = float(((yb - ya.mean()) ** 2).mean()) or 1.0
    wrong = [float(((guess - yb) ** 2).mean()) for guess in (near.mean(1), test @ (ridge @ ya))]
    return max(0.0, 1 - min(wrong) / spread), len(x)
