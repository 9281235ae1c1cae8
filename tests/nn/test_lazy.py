"""Lazy layers: widths from the first batch, the same object afterwards, the ordinary layer's numbers."""

from __future__ import annotations

import copy

import pytest

import minigrad as mg
from minigrad import nn

LAYERS = [
    (nn.LazyLinear, (3,), nn.Linear, (4, 2, 5), 5),
    (nn.LazyConv1d, (3, 2), nn.Conv1d, (4, 6, 5), 6),
    (nn.LazyConv2d, (6, 2, 1, 1, 1, 2), nn.Conv2d, (2, 4, 5, 5), 4),
    (nn.LazyConvTranspose1d, (3, 2), nn.ConvTranspose1d, (4, 6, 5), 6),
    (nn.LazyConvTranspose2d, (3, 2), nn.ConvTranspose2d, (2, 4, 5, 5), 4),
    (nn.LazyBatchNorm1d, (), nn.BatchNorm1d, (4, 6), 6),
    (nn.LazyBatchNorm2d, (1e-3,), nn.BatchNorm2d, (4, 6, 2, 2), 6),
    (nn.LazyInstanceNorm1d, (), nn.InstanceNorm1d, (4, 6, 3), 6),
    (nn.LazyInstanceNorm2d, (), nn.InstanceNorm2d, (4, 6, 2, 2), 6),
]


@pytest.mark.parametrize(("lazy", "args", "becomes", "shape", "width"), LAYERS)
def test_it_becomes_the_ordinary_layer(lazy, args, becomes, shape, width):
    layer, x = lazy(*args), mg.randn(*shape)
    given = list(layer.parameters())
    assert isinstance(layer, becomes) and layer.has_uninitialized_params() == bool(given)
    mg.manual_seed(0)
    out = layer(x)
    assert (type(layer) is becomes and list(layer.parameters()) == given) or not given
    ordinary = becomes(width, *args)
    assert all(type(p) is nn.Parameter for p in given) and repr(layer) == repr(ordinary)
    assert set(layer.__getstate__()) == set(ordinary.__getstate__())
    ordinary.load_state_dict({**layer.state_dict()})
    if hasattr(ordinary, "running_mean") and ordinary.running_mean is not None:
        ordinary.running_mean.zero_(), ordinary.running_var.fill_(1)
    assert ordinary(x).equal(out) and layer(x).shape == out.shape


def test_an_optimizer_made_before_the_first_batch_moves_the_weights():
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1, bias=False))
    optimizer = mg.optim.SGD(net.parameters(), lr=0.1)
    x = mg.randn(3, 5)
    net(x).sum().backward()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer.step()
    for p, old in zip(net.parameters(), before, strict=True):
        assert mg.allclose(p, old - 0.1 * p.grad) and (p.grad.abs().sum() > 0)
    assert net[0].in_features == 5 and net[2].in_features == 4 and net[2].bias is None


def test_a_copy_made_before_learns_its_own_width():
    lazy = nn.Sequential(nn.LazyLinear(2))
    other = copy.deepcopy(lazy)
    lazy(mg.ones(1, 3))
    other(mg.ones(1, 7))
    assert lazy[0].weight.shape == (2, 3) and other[0].weight.shape == (2, 7)


def test_what_needs_a_shape_says_that_there_is_none_yet():
    layer = nn.LazyLinear(2)
    for use in (
        lambda: layer.weight.shape, lambda: nn.init.xavier_uniform_(layer.weight), layer.state_dict,
        lambda: layer.load_state_dict({"weight": mg.ones(2, 1), "bias": mg.ones(2)}),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="run a batch through the model first"):
            use()
    assert repr(layer) == "LazyLinear(in_features=0, out_features=2, bias=True)  # 0 parameters"
