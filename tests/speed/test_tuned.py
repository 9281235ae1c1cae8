"""Tuned twins: the plain op's values and gradients, with less time or memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from cases import CASES, cotangent, differentiable, read_only
from paths import ROOT

import minigrad as mg
from minigrad import ops
from minigrad.core.graph import unbroadcast
from minigrad.core.op import OPS, RUNS
from minigrad.nn import functional as F
from minigrad.optim.blocks import BLOCK
from minigrad.speed.tuned import blocked_attention as tuned
from minigrad.speed.twins import TWINS

plain = ops.scaled_dot_product_attention
blocked = TWINS["tuned"][plain]
CASES_OF_ATTENTION = [case for case in CASES if case.op == "scaled_dot_product_attention"]


def both(inputs, constants, dz=None, rtol=1e-10, atol=1e-12, definition=plain):
    """Check that the twins agree at these arrays in value, gradients, shapes and dtype."""
    z, back = definition(*inputs, **constants)
    dz = read_only(np.random.default_rng(1).normal(size=z.shape).astype(z.dtype)) if dz is None else dz
    other, other_back = TWINS["tuned"][definition](*inputs, **constants)
    assert other.shape == z.shape and other.dtype == z.dtype
    np.testing.assert_allclose(other, z, rtol=rtol, atol=atol)
    once, again = other_back(dz), other_back(dz)
    for x, dx, found, same in zip(inputs, back(dz), once, again, strict=False):
        if x is None or dx is None:
            assert found is None
            continue
        assert found.dtype == dx.dtype and found.tobytes() == same.tobytes()
        np.testing.assert_allclose(unbroadcast(found, x.shape), unbroadcast(dx, x.shape), rtol=rtol, atol=atol)


def arrays(*shapes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [read_only(rng.normal(size=shape).astype(dtype)) for shape in shapes]


@pytest.mark.parametrize("case", [c for c in CASES if c.op in {op.__name__ for op in TWINS["tuned"]}], ids=str)
def test_every_case_of_every_twin(case):
    both(case.inputs(), case.constants, definition=OPS[case.op], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (ops.gelu_tanh, [(3, 7, 1001)]),
        (ops.layer_norm, [(3, 37, 40), (40,), (40,)]),
        (ops.scaled_dot_product_attention, [(2, 3, 9, 8)] * 3),
    ],
    ids=lambda x: x.__name__ if callable(x) else "",
)
def test_twins_at_larger_sizes(op, shapes, dtype):
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    constants = {"is_causal": True} if op is ops.scaled_dot_product_attention else {}
    both(arrays(*shapes, dtype=dtype), constants, definition=op, rtol=tolerance, atol=tolerance)


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Blocks of two rows for every length, so that small inputs take the blocked path."""
    monkeypatch.setattr(tuned, "SMALL", 0)
    monkeypatch.setattr(tuned, "BLOCK", 2)


@pytest.mark.parametrize("case", CASES_OF_ATTENTION, ids=str)
def test_every_case_of_attention_in_blocks_of_two(case, tiny_blocks):
    inputs = case.inputs()
    both(inputs, case.constants, cotangent(plain(*inputs, **case.constants)[0], case))


@pytest.mark.parametrize("case", CASES_OF_ATTENTION, ids=str)
def test_float32_stays_float32_in_blocks(case, tiny_blocks):
    inputs = [x.astype(np.float32) if differentiable(x) else x for x in case.inputs()]
    constants = {k: v.astype(np.float32) if differentiable(v) else v for k, v in case.constants.items()}
    both(inputs, constants, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_the_usual_size(is_causal, dtype):
    """300 queries and 290 keys: three blocks, the last not full."""
    q, k, v, bias = arrays((2, 1, 300, 8), (2, 3, 290, 8), (3, 290, 5), (3, 300, 290), dtype=dtype)
    rng = np.random.default_rng(3)
    mask = rng.random((2, 1, 300, 290)) < 0.8
    mask[0, 0, 7] = False  # this query may look at nothing
    drop = (1.25 * (rng.random((2, 3, 300, 290)) < 0.8)).astype(dtype)
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-4}
    assert tuned.SMALL < 300 * 290
    both([q, k, v], {"is_causal": is_causal}, **close)
    both([q, k, v, bias], {"is_causal": is_causal, "mask": mask, "dropout_mask": drop, "scale": 0.3}, **close)
    z, back = blocked(q, k, v, bias, is_causal=is_causal, mask=mask)
    assert not z[0, :, 7].any() and z[1, :, 7].all()
    grads = back(np.ones_like(z))
    assert not grads[0][0, :, 7].any() and all(np.isfinite(dx).all() for dx in grads)


def test_a_row_that_a_bias_of_minus_a_billion_forbids_altogether():
    q, k, v = arrays((150, 4), (150, 4), (150, 4), dtype=np.float32)
    bias = np.zeros((150, 150), np.float32)
    bias[3] = -1e9
    both([q, k, v, bias], {}, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("T", [1, 3])
def test_whole_numbers_are_attended_to_as_by_the_plain_op(T):
    x = np.arange(24).reshape(2, 3, 4)
    both([x[:, :T], x[:, :T], x[:, :T]], {})


def test_float16_stays_float16():
    q, k, v = arrays((200, 8), (200, 8), (200, 8), dtype=np.float16)
    both([q, k, v], {"is_causal": True}, rtol=0.02, atol=0.01)


def test_large_scores_stay_finite():
    q, k, v = (x * 100 for x in arrays((200, 8), (200, 8), (200, 8), dtype=np.float32))
    z, back = blocked(q, k, v)
    assert np.isfinite(z).all() and all(np.isfinite(dx).all() for dx in back(z)[:3])


@pytest.mark.parametrize("score", [88.6, 120.0])  # exp is finite, and the sum of a row is not; or neither is
def test_scores_beyond_exp_warn_of_nothing(score):
    q = np.full((2, 8, 4), (score / 2) ** 0.5, np.float32)
    (v,) = arrays((2, 8, 4), dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        z, _ = tuned.small(q, q, v, True, 0.5)
    wanted, _ = ops.scaled_dot_product_attention(q, q, v, is_causal=True, scale=0.5)
    np.testing.assert_allclose(z, wanted, rtol=1e-4, atol=1e-5)


def test_no_output_depends_on_a_later_token():
    q, k, v = arrays((2, 300, 8), (2, 300, 8), (2, 300, 8), dtype=np.float32)
    z, _ = blocked(q, k, v, is_causal=True)
    for t in (0, 1, 127, 128, 200, 299):
        moved = [x.copy() for x in (q, k, v)]
        for x in moved:
            x[:, t] *= -30
        other, _ = blocked(*moved, is_causal=True)
        assert other[:, :t].tobytes() == z[:, :t].tobytes()
        assert (other[:, t:] != z[:, t:]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_of_more_than_one_block(dtype):
    close = {"rtol": 1e-9, "atol": 1e-10} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-6}
    (x,) = arrays((3, BLOCK // 2 + 5), dtype=dtype)
    for a in (x, x.T, x[:, 1:], x[0, 0]):  # the second and third do not lie in memory row by row
        both([a], {}, definition=ops.gelu_tanh, **close)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_odd_rows(dtype, reduction):
    end, inf = float(np.log(np.finfo(dtype).max)), np.inf
    rows = [[inf, 1, 2], [-inf, -inf, -inf], [-inf, 0, 1], [np.nan, 1, -inf], [end, 0, -end], [0, -inf, 1], [2, 0, 1]]
    x = np.array(rows, dtype)
    close = {"rtol": 1e-5, "atol": 1e-6}
    with np.errstate(all="ignore"):
        for target in ([1, 0, 1, 2, 0, 1, 0], [5, 0, 5, 5, 2, 5, 0], [5] * 7):
            constants = {"target": np.array(target), "ignore_index": 5, "reduction": reduction}
            both([x], constants, definition=ops.cross_entropy, **close)
            both([x[4:]], constants | {"target": np.array(target[4:], np.int8)}, definition=ops.cross_entropy, **close)
    for target in ([0, 3], [0, -1], [0.0, 1.0], [[0, 1]]):
        for op in (ops.cross_entropy, TWINS["tuned"][ops.cross_entropy]):
            with pytest.raises((ValueError, IndexError, TypeError), match=r"^target"):
                op(x[-2:], target=np.array(target), reduction=reduction)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_short_sequences_with_scores_of_any_size(is_causal, dtype):
    """Some rows need no shift, in others exp would overflow, or all be 0."""
    q, k, v = (x.copy() for x in arrays((2, 3, 40, 8), (2, 3, 40, 8), (2, 3, 40, 5), dtype=dtype))
    k[..., 0] = 3
    q[0, :, ::4, 0] = 3000
    q[0, :, 1::4, 0] = -3000
    close = {"rtol": 1e-9, "atol": 1e-10} if dtype == np.float64 else {"rtol": 2e-2, "atol": 2e-3}
    both([q, k, v], {"is_causal": is_causal}, **close)
    assert all(np.isfinite(dx).all() for dx in blocked(q, k, v, is_causal=is_causal)[1](v)[:3])


def test_short_sequences_do_not_look_ahead_to_the_last_bit():
    q, k, v = arrays((2, 3, 40, 8), (2, 3, 40, 8), (2, 3, 40, 5), dtype=np.float32)
    z, _ = blocked(q, k, v, is_causal=True)
    for t in (1, 20, 39):
        moved = [x.copy() for x in (q, k, v)]
        for x in moved:
            x[:, :, t] *= -300
        other, _ = blocked(*moved, is_causal=True)
        assert other[:, :, :t].tobytes() == z[:, :, :t].tobytes()
        assert (other[:, :, t:] != z[:, :, t:]).any()


def test_heads_are_joined_without_a_copy():
    """The results lie in memory as the inputs do: (B, T, H, D) behind (B, H, T, D)."""
    q, k, v = (x.swapaxes(1, 2) for x in arrays((2, 20, 3, 4), (2, 20, 3, 4), (2, 20, 3, 5)))
    z, back = blocked(q, k, v)
    for x in (z, *back(v)[:3]):
        assert x.swapaxes(1, 2).flags.c_contiguous


def test_errors_are_the_plain_ops():
    x = np.zeros((200, 3))
    with pytest.raises(ValueError, match="differ in size"):
        blocked(x, np.zeros((200, 4)), x)
    with pytest.raises(ValueError, match="differ in length"):
        blocked(x, x, np.zeros((190, 3)))
    with pytest.raises(ValueError, match="shape"):
        blocked(x[0], x, x)


def peak(function, *args, **kwargs):
    """The most bytes that were allocated at any time during a call."""
    tracemalloc.start()
    function(*args, **kwargs)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("is_causal", [False, True])
def test_memory_grows_with_the_length_alone(is_causal):
    def there_and_back(op, length):
        q, k, v = arrays((2, length, 16), (2, length, 16), (2, length, 16), dtype=np.float32)
        z, back = op(q, k, v, is_causal=is_causal)
        back(z)

    assert peak(there_and_back, blocked, 2048) < 2.6 * peak(there_and_back, blocked, 1024)
    assert peak(there_and_back, plain, 1024) > 2.6 * peak(there_and_back, plain, 512)  # the measure does tell
    assert peak(there_and_back, blocked, 1024) < peak(there_and_back, plain, 1024) / 3


def test_the_benchmark_measures_every_kind(tmp_path):
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.attention", "--lengths", "16", "160", "--rounds", "1", "--max-mb", "1"]
    done = subprocess.run([*command, "--json", file], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| causal, ms | T=16 | T=160 |" in done.stdout
    rows = [row for row in json.loads(file.read_text()) if not row["name"].startswith("PyTorch")]
    assert len(rows) == 2 * 4 + 2 * 5
    for row in rows:
        if row["name"] == "full, plain" and row["length"] == 160:
            assert row["ms"] is None  # its T x T arrays are over the limit
        else:
            assert row["ms"] > 0 and row["peak_mb"] > 0
        if row["name"] == "full, blocked":
            assert row["error"] < 1e-5


def test_the_library_runs_the_twin_unless_told_otherwise():
    assert RUNS.get(plain) is (None if os.environ.get("MINIGRAD_PLAIN") == "1" else blocked)
    code = "import minigrad as mg; from minigrad.core.op import RUNS; print(len(RUNS))"
    for setting, expected in (("1", "0"), ("0", str(len(TWINS["tuned"])))):
        env = os.environ | {"MINIGRAD_PLAIN": setting}
        out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        assert out.strip() == expected


def test_a_written_input_is_noticed():
    q, k, v = (mg.tensor(x, requires_grad=True) for x in arrays((200, 4), (200, 4), (200, 4)))
    z = F.scaled_dot_product_attention(q, k, v).sum()
    with mg.no_grad():
        k += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()
