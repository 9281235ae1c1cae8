"""Parameters that are computed: what is learned, what comes out, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils import parametrize, remove_weight_norm, spectral_norm, weight_norm


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2

    def right_inverse(self, x):
        return x / 2


def test_a_computed_parameter():
    layer = nn.Linear(3, 3)
    weight = layer.weight.detach().clone()
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer, "bias")
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert layer.weight.equal(layer.weight.T) and layer.weight.triu().equal(weight.triu())
    assert isinstance(layer, nn.Linear) and type(layer).__name__ == "ParametrizedLinear"
    x = mg.randn(2, 3)
    layer(x).sum().backward()
    assert layer.parametrizations.weight.original.grad.tril(-1).abs().sum() == 0
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    assert len(layer.parametrizations["weight"]) == 2
    after = layer(x)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and layer(x).equal(after) and isinstance(layer.weight, nn.Parameter)
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight"]


def test_assigning_goes_the_way_back():
    layer = nn.Linear(2, 2, bias=False)
    weight = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert layer.weight.equal(weight)
    layer.weight = mg.ones(2, 2)
    assert layer.parametrizations.weight.original.tolist() == [[0.5, 0.5], [0.5, 0.5]] and layer.weight.sum() == 4
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(ValueError, match="no parametrization of 'weight'"):
        parametrize.remove_parametrizations(layer, "weight")
    with pytest.raises(ValueError, match="no parameter 'bias'"):
        parametrize.register_parametrization(layer, "bias", Doubled())
    with pytest.raises(ValueError, match=r"turns \(2, 2\) into \(4,\)"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))


def test_weight_norm_is_length_times_direction():
    layer = weight_norm(nn.Conv1d(2, 3, 2))
    g, v = (getattr(layer.parametrizations.weight, name) for name in ("original0", "original1"))
    assert g.shape == (3, 1, 1) and v.shape == (3, 2, 2)
    assert np.allclose(g.detach().numpy()[:, 0, 0], np.linalg.norm(v.detach().numpy().reshape(3, -1), axis=1))
    with mg.no_grad():
        g.fill_(2.0)
    assert np.allclose(np.linalg.norm(layer.weight.detach().numpy().reshape(3, -1), axis=1), 2)
    whole = weight_norm(nn.Linear(2, 3), dim=None)
    assert whole.parametrizations.weight.original0.shape == ()
    remove_weight_norm(layer)
    assert np.allclose(np.linalg.norm(layer.weight.detach().numpy().reshape(3, -1), axis=1), 2)


@pytest.mark.parametrize("layer", [nn.Linear(5, 4), nn.Conv2d(2, 3, 2), nn.ConvTranspose1d(2, 3, 2)])
def test_spectral_norm_makes_the_largest_singular_value_one(layer):
    axis = int(isinstance(layer, nn.ConvTranspose1d))
    spectral_norm(layer)
    for _ in range(60):
        weight = layer.weight
    matrix = np.moveaxis(weight.detach().numpy(), axis, 0).reshape(weight.shape[axis], -1)
    assert abs(np.linalg.svd(matrix, compute_uv=False)[0] - 1) < 1e-4
    layer.eval()
    assert layer.weight.equal(layer.weight) and "parametrizations.weight.0._u" in layer.state_dict()
