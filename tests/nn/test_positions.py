"""Positions: values known from the papers, what depends on differences only, offsets, gradients."""

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad
from minigrad import nn
from minigrad.core.tensor import Tensor
from minigrad.nn import functional as F


@pytest.fixture(autouse=True)
def seeded():
    minigrad.manual_seed(0)


def randn(*shape, requires_grad=False):
    return Tensor(np.random.default_rng(sum(shape)).standard_normal(shape), requires_grad)


def test_sinusoidal_values():
    table = nn.SinusoidalPositions(4).table(3, dtype=np.float64)._array
    want = [[np.sin(t), np.cos(t), np.sin(t / 100), np.cos(t / 100)] for t in range(3)]
    np.testing.assert_allclose(table, want, atol=1e-15)
    assert nn.SinusoidalPositions(5).table(2).shape == (2, 5)
    assert nn.SinusoidalPositions(4).table(2).dtype == np.float32


def test_sinusoidal_positions_shift_by_a_rotation():
    """P[t + k] is the same linear map of P[t] for every t: why the paper chose waves."""
    table = nn.SinusoidalPositions(8).table(40, dtype=np.float64)._array
    here, there = table[:30], table[7:37]
    shift = np.linalg.lstsq(here, there, rcond=None)[0]
    np.testing.assert_allclose(here @ shift, there, atol=1e-9)
    np.testing.assert_allclose(shift @ shift.T, np.eye(8), atol=1e-9)


@pytest.mark.parametrize("make", [lambda: nn.SinusoidalPositions(6), lambda: nn.LearnedPositions(9, 6).double()])
def test_added_positions(make):
    module, x = make(), randn(2, 9, 6)
    whole = module(x)
    assert whole.shape == x.shape and whole.dtype == x.dtype
    assert (whole - x)[0].allclose((whole - x)[1])
    assert not (whole - x)[0, 0].allclose((whole - x)[0, 1])
    assert module(x[:, 5:7], offset=5).equal(whole[:, 5:7])


def test_learned_positions():
    module = nn.LearnedPositions(4, 3)
    assert list(module.state_dict()) == ["weight"] and module.weight.shape == (4, 3)
    assert 0.019 < nn.LearnedPositions(200, 50).weight.std().item() < 0.021
    for length, offset in ((5, 0), (2, 3), (1, -1)):
        with pytest.raises(ValueError, match="there are 0 to 3"):
            module(randn(length, 3), offset)
    all_gradients(module.double(), lambda x: module(x, offset=1), randn(2, 2, 3, requires_grad=True))


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_products_depend_on_the_difference_only(interleaved):
    rotary = nn.RotaryPositions(8, interleaved=interleaved)
    query, key = randn(8), randn(1, 8)[0]
    turned_query, turned_key = rotary(query.expand(12, 8), key.expand(12, 8))
    scores = (turned_query @ turned_key.T)._array  # (T, S)
    for distance in range(-11, 12):
        np.testing.assert_allclose(np.ptp(np.diagonal(scores, distance)), 0, atol=1e-12)
    assert np.ptp(scores[0]) > 0.1
    np.testing.assert_allclose(scores[0, 0], (query * key).sum().item(), atol=1e-12)
    far = rotary(query.expand(12, 8), key.expand(12, 8), offset=100)
    np.testing.assert_allclose((far[0] @ far[1].T)._array, scores, atol=1e-11)


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_turns(interleaved):
    rotary, x = nn.RotaryPositions(4, interleaved=interleaved), randn(2, 3, 5, 4)
    turned = rotary.rotate(x)
    assert turned.shape == x.shape and turned.dtype == np.float64
    assert rotary.rotate(x.float()).dtype == np.float32
    np.testing.assert_allclose(turned.norm(dim=-1)._array, x.norm(dim=-1)._array, atol=1e-12)
    assert turned[:, :, 0].equal(x[:, :, 0])
    assert rotary.rotate(x[:, :, 3:], offset=3).equal(turned[:, :, 3:])
    first, second = (0, 1) if interleaved else (0, 2)
    unit = Tensor(np.eye(4)[[first, first]])
    want = np.zeros(4)
    want[first], want[second] = np.cos(1), np.sin(1)
    np.testing.assert_allclose(rotary.rotate(unit)[1]._array, want, atol=1e-12)
    all_gradients(rotary, rotary, randn(2, 3, 4, requires_grad=True), randn(3, 4, requires_grad=True))


def test_both_rotary_pairings_are_one_up_to_the_order_of_channels():
    x = randn(5, 6)
    order = [0, 2, 4, 1, 3, 5]
    halves = nn.RotaryPositions(6, interleaved=False).rotate(x[:, order])
    assert halves.allclose(nn.RotaryPositions(6).rotate(x)[:, order])


def test_alibi_slopes():
    assert nn.ALiBi(8).slopes.tolist() == [2.0**-h for h in range(1, 9)]
    assert nn.ALiBi(1).slopes.tolist() == [2.0**-8]
    np.testing.assert_allclose(nn.ALiBi(16).slopes._array, [2 ** (-h / 2) for h in range(1, 17)], rtol=1e-6)
    want = [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]  # 4 heads, then every other one of 8
    assert nn.ALiBi(6).slopes.tolist() == want
    assert list(nn.ALiBi(8).state_dict()) == []


def test_alibi_bias():
    module = nn.ALiBi(2)
    bias = module(3)
    assert bias.shape == (2, 3, 3) and bias.dtype == np.float32 and module.double()(3).dtype == np.float64
    assert bias[0].tolist() == [[0, -1 / 16, -2 / 16], [-1 / 16, 0, -1 / 16], [-2 / 16, -1 / 16, 0]]
    assert module(1, offset=4).equal(module(5)[:, 4:])
    assert module(2, 6, offset=1).shape == (2, 2, 6)


@pytest.mark.parametrize(
    ("relative", "both", "causal"),
    [
        (0, 0, 0), (-1, 1, 1), (-7, 7, 7), (-8, 8, 8), (-11, 8, 11), (-12, 9, 12), (-15, 9, 15), (-16, 10, 16),
        (-22, 10, 18), (-23, 11, 18), (-24, 11, 19), (-32, 12, 21), (-64, 14, 26), (-90, 14, 29), (-91, 15, 29),
        (-112, 15, 30), (-113, 15, 31), (-127, 15, 31), (-128, 15, 31), (-1000, 15, 31), (1, 17, 0), (7, 23, 0),
        (8, 24, 0), (16, 26, 0), (64, 30, 0), (128, 31, 0), (1000, 31, 0),
    ],
)  # fmt: skip
def test_t5_buckets(relative, both, causal):
    assert nn.RelativeBuckets(1).buckets(relative).item() == both
    assert nn.RelativeBuckets(1, bidirectional=False).buckets(relative).item() == causal


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias(bidirectional):
    module = nn.RelativeBuckets(3, 8, 10, bidirectional)
    bias = module(6)
    assert list(module.state_dict()) == ["weight"] and module.weight.shape == (8, 3) and bias.shape == (3, 6, 6)
    for t, s in ((0, 0), (5, 0), (2, 4), (4, 2)):
        assert bias[:, t, s].equal(module.weight[module.buckets(s - t).item()])
    assert bias[:, 1:, 1:].equal(bias[:, :-1, :-1])
    assert module(2, offset=4).equal(bias[:, 4:])
    assert module(2, 3, offset=1).equal(bias[:, 1:3, :3])
    all_gradients(module.double(), lambda: module(4))


@pytest.mark.parametrize("make", [lambda: nn.ALiBi(2), lambda: nn.RelativeBuckets(2, 8, 10)])
def test_a_bias_fits_both_kinds_of_attention(make):
    module = make().double()
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True).double(), randn(3, 5, 8)
    bias = module(5)
    mixed, _ = attention(x, x, x, attn_mask=bias.repeat(3, 1, 1), need_weights=False)  # (B * H, T, S)
    query, key, value = (
        y.reshape(3, 5, 2, 4).transpose(1, 2)
        for y in F.linear(x, attention.in_proj_weight, attention.in_proj_bias).split(8, dim=-1)
    )
    plain = F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).reshape(3, 5, 8)
    assert attention.out_proj(plain).allclose(mixed)
    assert not mixed.allclose(attention(x, x, x)[0])


@pytest.mark.parametrize("interleaved", [True, False])
def test_cached_decoding_with_rotary_is_the_whole_at_once(interleaved):
    rotary = nn.RotaryPositions(4, interleaved=interleaved)
    query, key, value = (Tensor(np.random.default_rng(i).standard_normal((2, 5, 4))) for i in range(3))
    whole = F.scaled_dot_product_attention(*rotary(query, key), value, is_causal=True)
    cache = []
    for t in range(5):
        new_query, new_key = rotary(query[:, t : t + 1], key[:, t : t + 1], offset=t)
        cache.append(new_key)
        step = F.scaled_dot_product_attention(new_query, minigrad.cat(cache, dim=1), value[:, : t + 1])
        assert step[:, 0].allclose(whole[:, t])


def test_wrong_settings_are_named():
    for make, text in (
        (lambda: nn.SinusoidalPositions(0), "embedding_dim"),
        (lambda: nn.RotaryPositions(5), "even"),
        (lambda: nn.ALiBi(0), "num_heads"),
        (lambda: nn.RelativeBuckets(1, 6), "multiple of 4"),
        (lambda: nn.RelativeBuckets(1, 32, 8), "max_distance"),
        (lambda: nn.RotaryPositions(4).rotate(randn(3, 6)), "head_dim=4"),
        (lambda: nn.RotaryPositions(4).rotate(randn(3, 4), offset=-1), "offset"),
        (lambda: nn.ALiBi(2)(3, offset=-1), "offset"),
    ):
        with pytest.raises(ValueError, match=text):
            make()


def test_repr_shows_the_settings():
    assert repr(nn.ALiBi(8)).startswith("ALiBi(8)")
    assert repr(nn.RotaryPositions(4)) == "RotaryPositions(4, base=10000.0, interleaved=True)"
    assert repr(nn.SinusoidalPositions(4)) == "SinusoidalPositions(4, base=10000.0)"
    assert repr(nn.LearnedPositions(4, 2)).startswith("LearnedPositions(4, 2)")
    assert repr(nn.RelativeBuckets(2)).startswith("RelativeBuckets(2, num_buckets=32, max_distance=128, bidirectional")
