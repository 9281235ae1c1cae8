"""The one source of randomness: every mask, initial weight, batch and sample is drawn from here."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


class Generator:
    """A stream of random numbers: NumPy's PCG64 under the name and methods PyTorch gives it.

    The same seed gives the same numbers on every machine (not PyTorch's numbers).
    """

    def __init__(self, device: object = "cpu") -> None:
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to a seed (any integer)."""
        self._seed = int(seed)
        self._stream: np.random.Generator | None = None
        return self

    @property
    def numpy(self) -> np.random.Generator:
        """NumPy's generator, made when it is first wanted: importing ``numpy.random`` takes a while."""
        if self._stream is None:
            self._stream = np.random.default_rng(abs(self._seed) * 2 + (self._seed < 0))
        return self._stream

    @numpy.setter
    def numpy(self, stream: np.random.Generator) -> None:
        self._stream = stream

    def seed(self) -> int:
        """Start a stream that nobody has chosen, and return its seed."""
        return self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1).initial_seed()

    def initial_seed(self) -> int:
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """The place in the stream, as plain data that goes into JSON."""
        return {"seed": self._seed, "state": self.numpy.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> Generator:
        """Go to a place that ``get_state`` returned."""
        self._seed = state["seed"]
        self.numpy.bit_generator.state = state["state"]
        return self


default_generator = Generator()


def rng(generator: Generator | None = None) -> np.random.Generator:
    """The NumPy generator to draw from."""
    return (default_generator if generator is None else generator).numpy
