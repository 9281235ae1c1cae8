"""A multi-layer perceptron: the smallest network worth stepping through."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import minigrad as mg
from minigrad import nn


class MLP(nn.Module):
    """Linear layers with tanh between them: (B, sizes[0]) -> (B, sizes[-1]). Rumelhart, Hinton and Williams 1986."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"an MLP needs an input and an output size, all at least 1, got {list(sizes)}")
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).tanh()
        return self.layers[-1](x)
