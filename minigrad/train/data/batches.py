"""Ids to batches of windows: x and y of shape (B, T) in int64, y one step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.tools.random import Generator, rng
from minigrad.train.data.errors import DataError

Ids: TypeAlias = npt.NDArray[np.int64]
Text: TypeAlias = npt.NDArray[np.integer[Any]]  # ids of a whole text, in a small type where it is long


def split(ids: Text, val_fraction: float = 0.1) -> tuple[Text, Text]:
    """The first part to train on, the rest to validate."""
    if not 0 <= val_fraction < 1:
        raise DataError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")
    end = len(ids) - int(len(ids) * val_fraction)
    return ids[:end], ids[end:]


def _check(ids: Text, block_size: int, what: str) -> None:
    if len(ids) < block_size + 1:
        raise DataError(
            f"the {what} has {len(ids)} characters, a context of {block_size} needs at least {block_size + 1}: use a "
            "longer text or a smaller context"
        )


class RandomBatches:
    """Endless batches of windows that start anywhere in the text; its place in the random stream can be saved."""

    def __init__(self, ids: Text, batch_size: int, block_size: int, generator: Generator | None = None) -> None:
        _check(ids, block_size, "training text")
        self.ids = ids
        self.batch_size = batch_size
        self.block_size = block_size
        self.generator = generator if generator is not None else Generator()

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        return self

    def __next__(self) -> tuple[Ids, Ids]:
        starts = rng(self.generator).integers(0, len(self.ids) - self.block_size, self.batch_size)
        windows = self.ids[starts[:, None] + np.arange(self.block_size + 1)].astype(np.int64)  # (B, T + 1)
        return windows[:, :-1], windows[:, 1:]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])


def eval_windows(ids: Text, batch_size: int, block_size: int, limit: int | None = None) -> list[tuple[Ids, Ids]]:
    """Batches of windows side by side from the start, the same each time; at most ``limit``, spread over the text."""
    _check(ids, block_size, "validation text")
    starts = np.arange(0, len(ids) - block_size, block_size)
    batches = [starts[i : i + batch_size] for i in range(0, len(starts), batch_size)]
    if limit is not None and len(batches) > limit:
        batches = [batches[i] for i in np.linspace(0, len(batches) - 1, limit).astype(int)]
    windows = [ids[s[:, None] + np.arange(block_size + 1)].astype(np.int64) for s in batches]
    return [(w[:, :-1], w[:, 1:]) for w in windows]
