"""Longformer, Linformer and Performer: against dense references, without leaks from the future, and truly cheaper."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

B, H, D = 2, 2, 4


def heads(T, S=None, size=D, dtype=np.float64, scale=1.0, seed=0, requires_grad=False):
    """Query (B, H, T, D), key and value (B, H, S, D)."""
    rng = np.random.default_rng(seed)
    lengths = (T, S or T, S or T)
    return [
        mg.tensor((rng.normal(size=(B, H, n, size)) * scale).astype(dtype), requires_grad=requires_grad)
        for n in lengths
    ]


def padding(S, ignored):
    """(B, S), True for the keys to ignore: the last ones of the second sequence."""
    mask = np.zeros((B, S), dtype=bool)
    mask[1, S - ignored :] = True
    return mg.tensor(mask)


def variants(T, size=D, dtype=mg.float64):
    """Each of the three, and whether it is called with is_causal."""
    mg.manual_seed(0)
    longformer = nn.LongformerAttention(3, num_global=2)
    performer = nn.PerformerAttention(size, 16, dtype=dtype)
    return [
        (longformer, False),
        (longformer, True),
        (nn.LinformerAttention(T, 3, dtype=dtype), False),
        (performer, False),
        (performer, True),
    ]


every_variant = pytest.mark.parametrize(
    "which", range(5), ids=lambda i: "long long-causal lin per per-causal".split()[i]
)


# All three


@every_variant
@pytest.mark.parametrize("ignored", [0, 2])
def test_gradients(which, ignored):
    module, is_causal = variants(6)[which]
    module.eval()
    mask = padding(6, ignored) if ignored else None
    inputs = heads(6, requires_grad=True)
    assert all_gradients(module, lambda q, k, v: module(q, k, v, mask, is_causal=is_causal), *inputs)


@every_variant
def test_ignored_keys_do_not_count(which):
    module, is_causal = variants(9)[which]
    q, k, v = heads(9)
    out = module(q, k, v, padding(9, 4), is_causal=is_causal)
    for x in (k, v):
        x[1, :, 5:] = 7.0
    assert module(q, k, v, padding(9, 4), is_causal=is_causal).equal(out)
    k[1, :, 0] = 7.0
    assert not module(q, k, v, padding(9, 4), is_causal=is_causal).equal(out)


@every_variant
def test_where_every_key_is_ignored_nothing_is_nan(which):
    module, is_causal = variants(9)[which]
    inputs = heads(9, requires_grad=True)
    out = module(*inputs, padding(9, 9), is_causal=is_causal)
    out.sum().backward()
    assert not out[1].detach().numpy().any() and out[0].detach().numpy().all()
    assert all(np.isfinite(x.grad.numpy()).all() for x in inputs)


@every_variant
def test_implied_weights_are_the_matrix_behind_the_output(which):
    module, is_causal = variants(9)[which]
    q, k, v = heads(9)
    weights = module.implied_weights(q, k, padding(9, 2), is_causal).detach()
    assert weights.shape == (B, H, 9, 9)
    assert (weights @ v).allclose(module(q, k, v, padding(9, 2), is_causal), atol=1e-12)
    assert not weights[1, :, :, 7:].numpy().any()
    if is_causal:
        assert weights.tril().equal(weights)
    if not isinstance(module, nn.LinformerAttention):
        assert np.allclose(weights.sum(-1).numpy(), 1)


@every_variant
@pytest.mark.parametrize("ignored", [0, 150])
@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 1), (np.float32, 10), (np.float32, 100), (np.float16, 1), (np.float16, 10)]
)
def test_dtype_stays_and_values_are_finite(which, dtype, scale, ignored):
    module, is_causal = variants(150, dtype=dtype)[which]
    inputs = heads(150, dtype=dtype, scale=scale, requires_grad=True)
    out = module(*inputs, padding(150, ignored), is_causal=is_causal)
    out.backward(mg.ones_like(out))
    assert out[0].detach().numpy().any()
    for x in (out.detach(), *(x.grad for x in inputs)):
        assert x.dtype == dtype and np.isfinite(x.numpy()).all()


@pytest.mark.parametrize("module", [nn.LongformerAttention(20, num_global=3), nn.PerformerAttention(D, 16)], ids=repr)
@pytest.mark.parametrize("scale", [1, 10])
def test_no_output_depends_on_a_later_token(module, scale):
    inputs = heads(150, dtype=np.float32, scale=scale)
    out = module(*inputs, is_causal=True).numpy()
    for t in (0, 1, 31, 63, 64, 100, 149):
        moved = [x.clone() for x in inputs]
        for x in moved:
            x[:, :, t] = x[:, :, t] * -30
        other = module(*moved, is_causal=True).numpy()
        assert other[:, :, :t].tobytes() == out[:, :, :t].tobytes()
        assert (other[:, :, t:] != out[:, :, t:]).any()


def peak(module, is_causal, length):
    """The most bytes allocated at any time while going forward and backward."""
    inputs = heads(length, size=16, dtype=np.float32, requires_grad=True)
    module(*inputs, is_causal=is_causal).sum().backward()
    tracemalloc.start()
    module(*inputs, is_causal=is_causal).sum().backward()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@every_variant
def test_memory_grows_with_the_length_alone(which):
    module, is_causal = variants(2048, 16, mg.float32)[which]
    assert peak(module, is_causal, 2048) < 2.6 * peak(module, is_causal, 1024)


@every_variant
def test_cost_grows_with_the_length_alone(which):
    module, _ = variants(8192)[which]
    short, long = module.cost(1024, 1024), module.cost(8192, 8192)
    for kind in ("multiply_adds", "scratch_bytes"):
        assert 7 * short[kind] < long[kind] < 9 * short[kind]
    assert long["multiply_adds"] < 2 * 8192 * 8192 * 64


def test_wrong_inputs_are_named():
    q, k, v = heads(5)
    for module, _ in variants(5):
        with pytest.raises(ValueError, match="batch, heads, time, size"):
            module(q[0], k[0], v[0])
        with pytest.raises(ValueError, match=r"bool \(2, 5\)"):
            module(q, k, v, mg.zeros(2, 4, dtype=mg.bool))
        with pytest.raises(ValueError, match="bool"):
            module(q, k, v, mg.zeros(2, 5))


# Longformer


def dense(module, q, k, v, ignored, is_causal):
    """The same attention with a T x T mask, cell by cell."""
    T = q.shape[2]
    allowed = np.zeros((B, 1, T, T), dtype=bool)
    for b in range(B):
        for t in range(T):
            for s in range(t + 1 if is_causal else T):
                near = abs(t - s) <= module.window or t < module.num_global or s < module.num_global
                allowed[b, 0, t, s] = near and not (ignored is not None and ignored.numpy()[b, s])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mg.tensor(allowed))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    ("T", "window", "num_global"),
    [(70, 4, 0), (70, 4, 3), (97, 40, 2), (80, 40, 0), (5, 40, 1), (40, 0, 1), (3, 1, 9), (1, 1, 1), (33, 32, 33)],
)
def test_longformer_is_full_attention_under_a_mask(T, window, num_global, is_causal):
    module = nn.LongformerAttention(window, num_global)
    for ignored in (None, padding(T, min(3, T - 1))):
        one, other = heads(T, requires_grad=True), heads(T, requires_grad=True)
        out = module(*one, ignored, is_causal=is_causal)
        expected = dense(module, *other, ignored, is_causal)
        assert out.allclose(expected, rtol=1e-11, atol=1e-13)
        dz = mg.tensor(np.random.default_rng(1).normal(size=out.shape))
        out.backward(dz)
        expected.backward(dz)
        for x, y in zip(one, other, strict=True):
            assert x.grad.allclose(y.grad, rtol=1e-10, atol=1e-12)


def test_longformer_is_for_self_attention():
    with pytest.raises(ValueError, match="one sequence"):
        nn.LongformerAttention(2)(*heads(4, 5))
    with pytest.raises(ValueError, match="negative"):
        nn.LongformerAttention(-1)


# Linformer


def test_linformer_is_attention_to_projected_keys():
    mg.manual_seed(1)
    for num_heads in (None, H):
        module = nn.LinformerAttention(8, 3, num_heads, dtype=mg.float64)
        q, k, v = heads(5, 7)
        E, G = (p.detach().numpy()[..., :7] for p in (module.key_projection, module.value_projection))
        weights = np.exp(q.numpy() @ (E @ k.numpy()).swapaxes(-1, -2) / np.sqrt(D))
        expected = weights / weights.sum(-1, keepdims=True) @ (G @ v.numpy())
        assert np.allclose(module(q, k, v).detach().numpy(), expected)
        assert list(module.state_dict()) == ["key_projection", "value_projection"]
        assert E.shape == ((3, 7) if num_heads is None else (H, 3, 7))


def test_linformer_refuses_what_it_cannot_do():
    module = nn.LinformerAttention(6, 3, dtype=mg.float64)
    with pytest.raises(ValueError, match="cannot be causal"):
        module(*heads(6), is_causal=True)
    with pytest.raises(ValueError, match="7 keys do not fit into max_length=6"):
        module(*heads(7))
    with pytest.raises(ValueError, match="at least 1"):
        nn.LinformerAttention(6, 0)


# Performer


@pytest.mark.parametrize("is_causal", [False, True])
def test_performer_comes_nearer_to_softmax_with_more_features(is_causal):
    q, k, v = heads(100, size=8, scale=0.4)
    exact = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    mg.manual_seed(0)
    errors = []
    for num_features in (8, 64, 512, 4096):
        module = nn.PerformerAttention(8, num_features, dtype=mg.float64)
        found = []
        for _ in range(3):
            module.redraw()
            found.append(float((module(q, k, v, is_causal=is_causal) - exact).norm() / exact.norm()))
        errors.append(np.mean(found))
    assert all(better < 0.6 * worse for worse, better in pairwise(errors)), errors
    assert errors[-1] < 0.02


@pytest.mark.parametrize("is_causal", [False, True])
def test_performer_is_the_ratio_of_its_features(is_causal):
    """Against the formula, with no shift of any exponent: several chunks, and a T x T matrix."""
    module = nn.PerformerAttention(D, 12, dtype=mg.float64)
    q, k, v = heads(140)
    phi_query, phi_key = (
        np.exp(x @ module.projection.numpy().T - (x * x).sum(-1, keepdims=True) / 2)
        for x in (q.numpy() / D**0.25, k.numpy() / D**0.25)
    )
    weights = phi_query @ phi_key.swapaxes(-1, -2)
    weights = np.tril(weights) if is_causal else weights
    expected = weights / weights.sum(-1, keepdims=True) @ v.numpy()
    assert np.allclose(module(q, k, v, is_causal=is_causal).numpy(), expected, rtol=1e-9)


def test_performer_directions_are_orthogonal_and_lengths_normal():
    mg.manual_seed(0)
    module = nn.PerformerAttention(16, 1600, dtype=mg.float64)
    rows = module.projection.numpy().reshape(100, 16, 16)
    products = rows @ rows.swapaxes(-1, -2)
    assert np.allclose(products * (1 - np.eye(16)), 0, atol=1e-12)
    assert np.allclose(np.trace(products, axis1=1, axis2=2).mean(), 16 * 16, rtol=0.05)
    assert abs(rows.mean()) < 0.02  # no side of space is preferred


def test_performer_is_saved_and_resumed(tmp_path):
    """Five calls, a checkpoint, five more: the same as ten, with a redraw after every fourth."""

    def trained(module, calls):
        return [module(*heads(6)).numpy() for _ in range(calls)]

    mg.manual_seed(3)
    module = nn.PerformerAttention(D, 8, redraw_interval=4, dtype=mg.float64)
    trained(module, 5)
    mg.save(module.state_dict(), tmp_path / "performer.npz")
    place = mg.get_rng_state()
    place = {"seed": place["seed"], "state": dict(place["state"])}
    rest = trained(module, 5)
    mg.manual_seed(99)
    other = nn.PerformerAttention(D, 8, redraw_interval=4, dtype=mg.float64)
    other.load_state_dict(mg.load(tmp_path / "performer.npz"))
    mg.set_rng_state(place)
    again = trained(other, 5)
    assert all(x.tobytes() == y.tobytes() for x, y in zip(rest, again, strict=True))
    same = [np.array_equal(x, y) for x, y in pairwise(rest)]
    assert same == [True, True, False, True]  # calls 6 to 10: the ninth is the first with the third projection


def test_performer_redraws_in_training_alone():
    mg.manual_seed(0)
    module = nn.PerformerAttention(D, 8, redraw_interval=2)
    first = module.projection
    for _ in range(5):
        module.eval()(*heads(3, dtype=np.float32))
        with mg.no_grad():
            module.train()(*heads(3, dtype=np.float32))
    assert module.projection is first and module.calls.item() == 0
    never = nn.PerformerAttention(D, 8, redraw_interval=None)
    before = never.projection
    for _ in range(5):
        never(*heads(3, dtype=np.float32))
    assert never.projection is before
    never.redraw()
    assert not never.projection.equal(before)


def test_performer_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="head_dim=3"):
        nn.PerformerAttention(3)(*heads(5))
    with pytest.raises(ValueError, match="as many queries as keys"):
        nn.PerformerAttention(D)(*heads(5, 6), is_causal=True)
    with pytest.raises(ValueError, match="at least 1"):
        nn.PerformerAttention(4, 0)
    with pytest.raises(ValueError, match="redraw_interval"):
        nn.PerformerAttention(4, redraw_interval=0)
