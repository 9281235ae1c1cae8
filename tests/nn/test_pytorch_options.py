"""Options of layers that PyTorch programs use now and then: what they mean, also beside PyTorch itself."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


@pytest.mark.parametrize(("bias_kv", "zero"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("mask", ["none", "padding", "bool", "float"])
def test_attention_with_more_keys(bias_kv, zero, mask):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours = nn.MultiheadAttention(4, 2, add_bias_kv=bias_kv, add_zero_attn=zero, dtype=mg.float64)
    theirs = torch.nn.MultiheadAttention(4, 2, add_bias_kv=bias_kv, add_zero_attn=zero, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, y = rng.normal(size=(3, 2, 4)), rng.normal(size=(5, 2, 4))
    more = {
        "none": {}, "padding": {"key_padding_mask": np.array([[0, 0, 1, 0, 1], [0, 1, 1, 1, 1]], bool)},
        "bool": {"attn_mask": rng.random((3, 5)) > 0.6}, "float": {"attn_mask": rng.normal(size=(3, 5))},
    }[mask]  # fmt: skip
    for need in (True, False):
        (a, w), (b, v) = (
            net(*(lib.tensor(z) for z in (x, y, y)), need_weights=need, **{k: lib.tensor(m) for k, m in more.items()})
            for lib, net in ((mg, ours), (torch, theirs))
        )
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), 1e-7, 1e-9)
        if need:
            np.testing.assert_allclose(w.detach().numpy(), v.detach().numpy(), 1e-7, 1e-9)
            assert w.shape == (2, 3, 5 + bias_kv + zero)


def test_attention_to_zeros_alone_gives_the_bias():
    net = nn.MultiheadAttention(4, 2, add_zero_attn=True)
    nn.init.constant_(net.out_proj.bias, 0.5)
    x = mg.randn(3, 2, 4)
    out, weights = net(x, x, x, attn_mask=mg.ones(3, 3, dtype=mg.bool))
    assert mg.allclose(out, mg.full((3, 2, 4), 0.5)) and weights[..., :3].sum() == 0 and (weights[..., 3] == 1).all()


def test_rows_of_an_embedding_are_shortened_where_they_are_looked_up():
    table = nn.Embedding(4, 2, padding_idx=0, max_norm=1.0, norm_type=1.0, sparse=True)
    with mg.no_grad():
        table.weight.copy_(mg.tensor([[0.0, 0.0], [3.0, -1.0], [0.2, 0.3], [5.0, 5.0]]))
    out = table(mg.tensor([[1, 2], [1, 0]]))
    expected = [[0, 0], [0.75, -0.25], [0.2, 0.3], [5, 5]]
    assert np.allclose(table.weight.detach(), expected, atol=1e-6) and np.allclose(
        out[0].detach(), expected[1:3], atol=1e-6
    )
    weight = mg.tensor([[3.0, 4.0]])
    assert np.allclose(F.embedding(mg.tensor([0]), weight, None, 1.0), [[0.6, 0.8]]) and np.allclose(
        weight, [[0.6, 0.8]]
    )
    assert (table.max_norm, table.norm_type, table.scale_grad_by_freq, table.sparse) == (1.0, 1.0, False, True)
    given = nn.Embedding(1, 2, _weight=weight, _freeze=True)
    assert given.weight.equal(weight) and not given.weight.requires_grad and nn.Embedding(3, 2).max_norm is None
    loaded = nn.Embedding.from_pretrained(weight, freeze=False, max_norm=0.5)
    assert loaded.weight.requires_grad and abs(loaded(mg.tensor(0)).norm().item() - 0.5) < 1e-5
    assert copy.deepcopy(loaded)(mg.tensor([0])).shape == (1, 2)
    for make in (
        lambda: nn.Embedding(3, 2, scale_grad_by_freq=True),
        lambda: F.embedding(mg.tensor(0), weight, scale_grad_by_freq=True),
    ):
        with pytest.raises(ValueError, match="divide weight"):
            make()
    with pytest.raises(ValueError, match=r"_weight must be \(2, 2\)"):
        nn.Embedding(2, 2, _weight=weight)


def test_names_that_programs_reach_for():
    conv = nn.Conv2d(1, 2, 2)
    x = mg.randn(1, 1, 3, 3)
    assert conv._conv_forward(x, conv.weight, conv.bias).equal(conv(x))
    assert conv._conv_forward(x, conv.weight * 2, None).equal(F.conv2d(x, conv.weight * 2))
    assert nn.GRU(2, 3)._flat_weights_names == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert isinstance(nn.Linear(1, 1).state_dict(), OrderedDict)
    assert nn.utils.clip_grad_norm is nn.utils.clip_grad_norm_ and nn.modules.Linear is nn.Linear
    assert nn.utils.get_total_norm([mg.tensor([3.0]), mg.tensor([4.0])]).item() == 5


def test_lists_add_and_pop():
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3)
    chain = nn.Sequential(a, b) + nn.Sequential(c)
    assert list(chain) == [a, b, c] and isinstance(chain, nn.Sequential) and chain(mg.ones(1, 1)).shape == (1, 3)
    both = nn.ModuleList([a]) + nn.ModuleList([b, c])
    assert list(both) == [a, b, c] and both.pop(1) is b and list(both) == [a, c] and both.pop() is c
    assert [name for name, _ in both.named_parameters()] == ["0.weight", "0.bias"]


def test_a_name_of_another_kind_is_not_dropped():
    net = nn.Module()
    net.w, net.part, net.plain = nn.Parameter(mg.ones(1)), nn.Linear(1, 1), 3
    net.register_buffer("b", mg.ones(1))
    for register in (
        lambda: net.register_buffer("w", mg.ones(1)), lambda: net.add_module("w", nn.ReLU()),
        lambda: net.register_parameter("b", nn.Parameter(mg.ones(1))), lambda: net.register_buffer("part", mg.ones(1)),
        lambda: net.register_parameter("plain", None), lambda: net.register_module("plain", nn.ReLU()),
    ):  # fmt: skip
        with pytest.raises(KeyError, match="exists already in Module"):
            register()
    assert [n for n, _ in net.named_parameters()] == ["w", "part.weight", "part.bias"] and net.plain == 3
    net.register_buffer("b", mg.zeros(1))
    net.register_parameter("w", nn.Parameter(mg.zeros(1)))
    assert net.b.item() == net.w.item() == 0


def test_tensor_types():
    x = mg.tensor([1.7, -2.0])
    assert x.type(mg.LongTensor).tolist() == [1, -2] and x.type("torch.DoubleTensor").dtype == mg.float64
    assert x.type(mg.float16).type() == "torch.HalfTensor" and x.type(torch_type := mg.FloatTensor) is x
    assert isinstance(x, torch_type) and not isinstance(x, mg.DoubleTensor) and mg.IntTensor(2, 3).shape == (2, 3)
    assert mg.ByteTensor([1, 2]).dtype == mg.uint8 and x.to("torch.float64").dtype == mg.float64
    with pytest.raises(ValueError, match="only device"):
        x.type("torch.cuda.FloatTensor")
    with pytest.raises(TypeError, match=r"no tensor type 'torch\.QuickTensor'"):
        x.type("torch.QuickTensor")
    mg.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert mg.tensor(1.0).dtype == mg.float64
    finally:
        mg.set_default_tensor_type(mg.FloatTensor)


def test_inverse_functions():
    x = mg.tensor([-0.5, 0.0, 1e-4, 0.5], dtype=mg.float64)
    for name, array in (("asinh", np.arcsinh(x)), ("atanh", np.arctanh(x)), ("sinc", np.sinc(x))):
        assert np.allclose(getattr(mg, name)(x), array, 1e-12), name
    assert np.allclose((x.abs() + 1).acosh(), np.arccosh(np.abs(x) + 1)) and mg.tensor(0.5).acosh().isnan()
    y = x.clone().requires_grad_()
    y.sinc().sum().backward()
    h = 1e-6
    assert np.allclose(y.grad, (np.sinc(x + h) - np.sinc(x - h)) / (2 * h), atol=1e-7) and y.grad[1] == 0
    assert mg.atan2(mg.tensor([1, -1]), mg.tensor([0, -1])).tolist() == pytest.approx([np.pi / 2, -3 * np.pi / 4])
