"""Compiled twins: the plain ops' values, gradients and steps, and a switch that goes both ways."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import CASES, cotangent, read_only
from paths import ROOT

import minigrad as mg
from minigrad import fast, ops, optim
from minigrad.core.graph import unbroadcast
from minigrad.core.op import OPS, RUNS

pytest.importorskip("numba", reason="the compiled twins need numba: pip install numba")
NAMES = "gelu gelu_tanh layer_norm rms_norm softmax cross_entropy embedding scaled_dot_product_attention".split()


@pytest.fixture
def on():
    was = fast.enabled()
    fast.enable()
    yield
    if not was:
        fast.disable()


def agree(op, inputs, constants, rtol, atol, dz=None):
    """Check the compiled twin against the plain op in value, gradients and dtype, and that it repeats itself."""
    z, back = op(*inputs, **constants)
    twin = RUNS[op]
    other, other_back = twin(*inputs, **constants)
    assert np.shape(other) == np.shape(z) and other.dtype == z.dtype
    np.testing.assert_allclose(other, z, rtol=rtol, atol=atol)
    if dz is None:
        dz = read_only(np.asarray(np.random.default_rng(1).normal(size=np.shape(z)), z.dtype))
    once, again = other_back(dz), twin(*inputs, **constants)[1](dz)
    for x, dx, found, same in zip(inputs, back(dz), once, again, strict=False):
        if dx is None:
            assert found is None
            continue
        assert found.dtype == dx.dtype and found.tobytes() == same.tobytes()
        np.testing.assert_allclose(unbroadcast(found, x.shape), unbroadcast(dx, x.shape), rtol=rtol, atol=atol)


def test_these_are_the_ops(on):
    assert {op.__name__ for op, twin in RUNS.items() if twin.__module__ == "minigrad.speed.compiled.twins"} == set(
        NAMES
    )


@pytest.mark.parametrize("case", [c for c in CASES if c.op in NAMES], ids=str)
def test_every_case(case, on):
    inputs = case.inputs()
    agree(
        OPS[case.op], inputs, case.constants, 1e-9, 1e-10, cotangent(OPS[case.op](*inputs, **case.constants)[0], case)
    )


def arrays(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [read_only(rng.normal(size=shape).astype(dtype)) for shape in shapes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "shapes", "constants"),
    [
        (ops.gelu, [(3, 7, 1001)], {}),
        (ops.gelu_tanh, [(3, 7, 1001)], {}),
        (ops.layer_norm, [(3, 37, 40), (40,), (40,)], {}),
        (ops.layer_norm, [(3, 37, 4, 10), (4, 10)], {"ndim": 2}),
        (ops.rms_norm, [(3, 37, 300), (300,)], {"eps": 1e-6}),
        (ops.softmax, [(5, 7, 101)], {}),
        (ops.cross_entropy, [(301, 65)], {"target": np.arange(301) % 65}),
        (ops.cross_entropy, [(31, 65)], {"target": np.arange(31) % 65, "ignore_index": 3, "reduction": "sum"}),
        (ops.embedding, [(50, 33)], {"ids": np.arange(120).reshape(3, 40) % 23, "padding_idx": 4}),
        (ops.scaled_dot_product_attention, [(2, 3, 19, 8)] * 3, {"is_causal": True}),
        (ops.scaled_dot_product_attention, [(2, 3, 19, 8), (2, 3, 40, 8), (2, 3, 40, 5)], {}),
        (ops.scaled_dot_product_attention, [(70, 3, 13, 8)] * 3, {"is_causal": True}),  # in three parts
        (ops.scaled_dot_product_attention, [(3, 9, 8)] * 3, {"mask": np.arange(9) % 4 > 0}),
        (ops.scaled_dot_product_attention, [(3, 9, 8)] * 3, {"mask": np.arange(9) % 4 > 0, "scale": -0.3}),
    ],
    ids=lambda x: x.__name__ if callable(x) else "",
)
def test_usual_sizes(op, shapes, constants, dtype, on):
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    agree(op, arrays(*shapes, dtype=dtype), constants, tolerance, tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_infinity_and_the_ends_of_the_range_are_the_plain_ops(dtype, on):
    end = float(np.log(np.finfo(dtype).max))
    x = np.array([[0, -0.0, 1, -1, 40, -40, 1e20, -1e20, np.inf, -np.inf, np.nan, end, -end]], dtype).T
    weight = np.ones(4, dtype)
    rows = np.array(
        [[np.inf, 1, 2, 3], [-np.inf] * 4, [-np.inf, 0, 1, 2], [np.nan, 1, -np.inf, 2], [end, 0, -end, 1]], dtype
    )
    target = np.array([1, 0, 1, 2, 0])
    calls = [
        (ops.gelu, [x], {}),
        (ops.gelu_tanh, [x], {}),
        (ops.softmax, [rows], {}),
        (ops.layer_norm, [rows, weight, weight], {}),
        (ops.rms_norm, [rows, weight], {}),
        (ops.cross_entropy, [rows], {"target": target, "reduction": "none"}),
    ]
    with np.errstate(all="ignore"):
        for op, inputs, constants in calls:
            z = op(*inputs, **constants)[0]
            agree(op, inputs, constants, 1e-5, 1e-6, dz=np.full_like(z, 0.5))


def test_queries_that_may_look_at_nothing_give_zeros(on):
    q, k, v = arrays((2, 6, 4), (2, 6, 4), (2, 6, 4))
    mask = np.ones((6, 6), bool)
    mask[[0, 3]] = False
    z, back = RUNS[ops.scaled_dot_product_attention](q, k, v, mask=mask)
    dq, dk, dv, _ = back(np.ones_like(z))
    assert not z[:, [0, 3]].any() and not dq[:, [0, 3]].any()
    assert all(np.isfinite(x).all() for x in (z, dq, dk, dv))


def test_no_output_depends_on_a_later_token(on):
    attend = RUNS[ops.scaled_dot_product_attention]
    q, k, v = arrays((2, 3, 70, 8), (2, 3, 70, 8), (2, 3, 70, 8))
    z, _ = attend(q, k, v, is_causal=True)
    for t in (0, 1, 31, 32, 69):
        moved = [x.copy() for x in (q, k, v)]
        for x in moved:
            x[:, :, t] *= -30
        other, _ = attend(*moved, is_causal=True)
        assert other[:, :, :t].tobytes() == z[:, :, :t].tobytes()
        assert (other[:, :, t:] != z[:, :, t:]).any()


def test_what_does_not_fit_is_left_to_the_plain_ops(on):
    half = np.linspace(-2, 2, 12).astype(np.float16).reshape(3, 4)
    for op in (ops.gelu, ops.gelu_tanh, ops.softmax, ops.layer_norm, ops.rms_norm):
        assert RUNS[op](half)[0].tobytes() == op(half)[0].tobytes()
    with pytest.raises(IndexError, match="target 9 at"):
        RUNS[ops.cross_entropy](np.zeros((2, 4)), target=np.array([1, 9]))
    with pytest.raises(IndexError, match="ids run from 0 to 4, the table has rows 0 to 3"):
        RUNS[ops.embedding](np.zeros((4, 2)), ids=np.array([0, 4]))
    with pytest.raises(ValueError, match="weight"):
        RUNS[ops.layer_norm](np.zeros((2, 4)), np.ones(3))
    with pytest.raises(ValueError, match="differ in size"):
        RUNS[ops.scaled_dot_product_attention](np.zeros((2, 3)), np.zeros((2, 4)), np.zeros((2, 4)))


def attend_to_itself(x):
    return mg.nn.functional.scaled_dot_product_attention(x, x, x)


def test_a_written_input_is_noticed(on):
    F = mg.nn.functional
    for function in (F.gelu, lambda x: F.layer_norm(x, (5,)), lambda x: F.rms_norm(x, (5,)), attend_to_itself):
        x = mg.tensor(arrays((4, 5))[0], requires_grad=True)
        z = function(x).sum()
        with mg.no_grad():
            x += 1
        with pytest.raises(RuntimeError, match="changed in place"):
            z.backward()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (optim.AdamW, {}),
        (optim.AdamW, {"amsgrad": True, "maximize": True}),
        (optim.Adam, {"weight_decay": 0.1, "betas": (0.5, 0.7)}),
    ],
)
def test_twenty_steps_of_adam_are_the_same_to_the_last_bit(kind, settings, dtype, on):
    start, *grads = arrays(*[(33, 70)] * 21, dtype=dtype)

    def train():
        p = mg.tensor(start.copy(), requires_grad=True)
        optimizer = kind([p], lr=0.01, **settings)
        for grad in grads:
            p.grad = mg.tensor(grad.copy())
            optimizer.step()
        return p.detach().numpy().copy()

    compiled = train()
    fast.disable()
    assert np.abs(compiled - start).max() > 0.01 and train().tobytes() == compiled.tobytes()


def test_the_switch_goes_both_ways():
    was = fast.enabled()
    fast.disable()
    before = dict(RUNS)
    fast.enable()
    fast.enable()
    assert fast.enabled() and before != RUNS and optim.adam.compiled is not None
    fast.disable()
    fast.disable()
    assert not fast.enabled() and before == RUNS and optim.adam.compiled is None
    if was:
        fast.enable()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "False False"),
        ({"MINIGRAD_FAST": "1"}, "True True"),
        ({"MINIGRAD_FAST": "1", "MINIGRAD_PLAIN": "1"}, "False False"),
    ],
)
def test_numba_is_imported_only_when_asked_for(environment, expected):
    code = "import sys, minigrad.fast; print(minigrad.fast.enabled(), 'numba' in sys.modules)"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MINIGRAD_")} | environment
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
