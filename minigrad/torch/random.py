"""``torch.random``: the default generator's methods as functions."""

from __future__ import annotations

from typing import Any

from minigrad.tools.random import Generator, default_generator

__all__ = [
    "Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state",
]  # fmt: skip


def manual_seed(seed: int) -> Generator:
    """Seed all randomness of the library; returns the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed all randomness of the library with a number that nobody has chosen, and return it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed in force (0 unless set)."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """The default generator's place in its stream."""
    return default_generator.get_state()


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the default generator back to a place ``get_rng_state`` returned."""
    default_generator.set_state(state)
