"""The multi-layer perceptron."""

from __future__ import annotations

import pytest
from every_parameter import all_gradients

import minigrad as mg
from minigrad.models.mlp import MLP


def test_every_gradient_and_the_shape():
    mg.manual_seed(0)
    network = MLP([3, 4, 4, 2]).to(mg.float64)
    x = mg.randn(5, 3, dtype=mg.float64, requires_grad=True)
    assert network(x).shape == (5, 2)
    assert all_gradients(network, lambda: network(x))


@pytest.mark.parametrize("sizes", [[3], [], [3, 0, 2]])
def test_sizes_that_make_no_network(sizes):
    with pytest.raises(ValueError, match="input and an output size"):
        MLP(sizes)
