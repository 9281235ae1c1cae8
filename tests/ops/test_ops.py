"""Every op: its gradients against numerical differences, what it may touch, and values known by hand."""

from __future__ import annotations

import math
import warnings
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from cases import CASES, NUMBERS, Case, check, cotangent, differentiable, read_only

from minigrad import ops
from minigrad.core.graph import unbroadcast
from minigrad.core.written import memory_of
from minigrad.ops.activation import erf

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def run(name: str, *inputs: Any, dz: Any = None, **constants: Any) -> tuple[Any, tuple[Any, ...]]:
    """The op's output and its gradients at dz (ones unless given), un-broadcast, with warnings as errors."""
    given = [read_only(np.array(x)) if isinstance(x, list | np.ndarray) else x for x in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z, backward = ops.OPS[name](*given, **constants)
        grads = backward(read_only(np.ones_like(z) if dz is None else np.array(dz)))
    fitted = [
        unbroadcast(np.asarray(dx), x.shape) if dx is not None and isinstance(x, np.ndarray) else dx
        for x, dx in zip(given, grads, strict=False)
    ]
    return z, tuple(fitted)


def held(function: Any) -> list[np.ndarray]:
    """The arrays a backward's closure holds, those inside tuples and lists too."""
    found: list[np.ndarray] = []

    def look(content: Any) -> None:
        if isinstance(content, np.ndarray):
            found.append(content)
        elif isinstance(content, tuple | list):
            for part in content:
                look(part)

    for cell in function.__closure__ or ():
        look(cell.cell_contents)
    return found


# All ops


def test_an_array_of_an_op_that_backward_reads_is_seen():
    """One that only a nested function holds would be missed when it is changed in place, and the gradient wrong."""
    nested = 0
    for case in CASES:
        inputs = case.inputs()
        z, backward = ops.OPS[case.op](*inputs, **case.constants)
        seen = [memory_of(x) for x in held(backward)]
        exposed = [memory_of(x) for x in (*inputs, z) if isinstance(x, np.ndarray)]
        for cell in backward.__closure__ or ():
            for x in held(cell.cell_contents) if isinstance(cell.cell_contents, FunctionType) else ():
                nested += 1
                if any(memory_of(x) is y for y in exposed):
                    assert any(memory_of(x) is y for y in seen), case
    assert nested, "no backward has a nested function with arrays: this test can be simpler"


def test_every_op_has_cases_and_formulas():
    assert {case.op for case in CASES} == set(ops.OPS)
    assert set(ops.OPS) <= set(ops.__all__)
    assert len(NUMBERS) == len(CASES), "two cases share a name"
    for name, function in ops.OPS.items():
        lines = ops.formulas(function)
        assert lines[0].startswith("z"), name
        assert len(lines) > 1 and all(line.startswith("d") for line in lines[1:]), name
        assert all("=" in line for line in lines), name


@every_case
def test_gradients(case: Case):
    check(case)


@every_case
def test_float32_stays_float32(case: Case):
    inputs = [x.astype(np.float32) if differentiable(x) else x for x in case.inputs()]
    constants = {k: v.astype(np.float32) if differentiable(v) else v for k, v in case.constants.items()}
    z, backward = ops.OPS[case.op](*inputs, **constants)
    assert z.dtype == case.constants.get("dtype", np.float32)
    for x, dx in zip(inputs, backward(cotangent(z, case)), strict=False):
        assert dx is None or not differentiable(x) or dx.dtype == np.float32


@every_case
def test_backward_is_pure(case: Case):
    inputs = case.inputs()
    z, backward = ops.OPS[case.op](*inputs, **case.constants)
    dz = cotangent(z, case)
    before = dz.tobytes()
    once, twice = backward(dz), backward(dz)
    assert dz.tobytes() == before
    assert all(
        x.tobytes() == y.tobytes() for x, y in zip(inputs, case.inputs(), strict=True) if isinstance(x, np.ndarray)
    )
    theirs = [x for x in inputs if isinstance(x, np.ndarray)] + held(backward)
    for dx, again in zip(once, twice, strict=True):
        if not isinstance(dx, np.ndarray):
            continue
        assert dx.tobytes() == again.tobytes()
        assert np.shares_memory(dx, dz) or not any(np.shares_memory(dx, array) for array in theirs)


# Values known by hand


def test_ties_share_the_gradient():
    for name in ("maximum", "minimum"):
        _, (dx, dy) = run(name, np.array([1.0, 2.0]), np.array([1.0, 2.0]))
        assert dx.tolist() == dy.tolist() == [0.5, 0.5]
    for name in ("max", "min"):
        _, (dx,) = run(name, np.array([[2.0, 2.0, 2.0, 2.0]]), axis=1)
        assert dx.tolist() == [[0.25] * 4]
    assert run("max", np.array([1.0, 3.0, 3.0]))[1][0].tolist() == [0, 0.5, 0.5]


def test_gradient_at_a_kink():
    assert run("relu", np.array([-1.0, 0.0, 2.0]))[1][0].tolist() == [0, 0, 1]
    assert run("abs", np.array([-1.0, 0.0, 2.0]))[1][0].tolist() == [-1, 0, 1]
    assert run("clamp", np.array([-1.0, 0.0, 0.5, 1.0, 2.0]), min=0, max=1)[1][0].tolist() == [0, 1, 1, 1, 0]
    assert run("l1_loss", np.array([1.0]), np.array([1.0]))[1][0].tolist() == [0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_stay_finite(dtype):
    x = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype=dtype)
    for name in ("softmax", "log_softmax", "logsumexp", "sigmoid", "silu", "gelu", "gelu_tanh", "tanh"):
        z, (dx,) = run(name, x)
        assert np.isfinite(z).all() and np.isfinite(dx).all(), name
    z, (dx,) = run("cross_entropy", x, target=np.array([1, 2]))
    assert np.isfinite(z) and np.isfinite(dx).all()
    z, grads = run("soft_cross_entropy", x, np.full((2, 3), 1 / 3, dtype=dtype))
    assert np.isfinite(z) and all(np.isfinite(d).all() for d in grads)
    target = np.array([[0, 1, 1], [0, 1, 0.5]], dtype=dtype)
    z, (dx, _) = run("bce_with_logits", x, target)
    assert np.isfinite(z) and np.isfinite(dx).all()
    assert run("logsumexp", np.full(2, 1e4, dtype=dtype))[0] == pytest.approx(1e4 + math.log(2))
    assert run("cross_entropy", x[:1], target=np.array([1]))[0] == 2e4


def test_a_row_of_minus_infinity():
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    z, (dx,) = run("softmax", x, dz=[[1.0, 2.0], [3.0, 4.0]])
    assert z.tolist() == [[0, 0], [1, 0]]
    assert dx.tolist() == [[0, 0], [0, 0]]
    z, (dx,) = run("logsumexp", x, axis=1)
    assert z.tolist() == [-np.inf, 0] and dx.tolist() == [[0, 0], [1, 0]]
    z, (dx,) = run("log_softmax", x)
    assert not np.isnan(z).any() and not np.isnan(dx).any()


def test_attention_with_a_fully_masked_row():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(3, 3)) for _ in range(3))
    mask = np.array([[True, True, False], [False, False, False], [True, True, True]])
    z, grads = run("scaled_dot_product_attention", q, k, v, mask=mask)
    assert z[1].tolist() == [0, 0, 0] and grads[0][1].tolist() == [0, 0, 0]
    assert all(np.isfinite(dx).all() for dx in grads if dx is not None)
    bias = np.where(mask, 0, -np.inf)
    same, more = run("scaled_dot_product_attention", q, k, v, bias)
    assert np.array_equal(same, z)
    assert all(np.array_equal(dx, dy) for dx, dy in zip(grads[:3], more[:3], strict=True))


@pytest.mark.parametrize(
    ("name", "constants"), [("sqrt", {}), ("log", {}), ("pow", {"y": 0.5}), ("pow", {"y": np.array(0.5)})]
)
def test_the_branch_not_taken_is_harmless(name, constants):
    x = np.array([0.0, 4.0])
    safe = x > 1
    with np.errstate(divide="ignore"):
        z, back = ops.OPS[name](x, *constants.values())
    _, choose = ops.where(z, x, condition=safe)
    dz, dx = choose(np.ones(2))
    inside = back(dz)[0]
    assert inside[0] == 0 and np.isfinite(inside).all()
    assert (inside + dx)[0] == 1


def test_division_by_zero_not_taken_is_harmless():
    with np.errstate(divide="ignore"):
        _, backward = ops.div(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    dx, dy = backward(np.array([0.0, 1.0]))
    assert dx.tolist() == [0, 0.5] and dy.tolist() == [0, -0.25]


@pytest.mark.parametrize("y", [0, 0.0, 1e-50, math.nan])
def test_division_by_such_a_number_not_taken_is_harmless(y):
    with np.errstate(divide="ignore"):
        _, backward = ops.div(np.ones(2, np.float32), y)
    dx, _ = backward(np.zeros(2, np.float32))
    assert dx.tolist() == [0, 0] and dx.dtype == np.float32


def test_power_at_zero():
    _, (dx, dy) = run("pow", np.array([0.0, 0.0, 0.0]), np.array([2.0, 1.0, 0.0]))
    assert dx.tolist() == [0, 1, 0] and dy.tolist() == [0, 0, 0]
    for y, slope in ((0, 0), (1, 1), (2, 0), (3, 0)):
        assert run("pow", np.array([0.0]), y)[1][0].tolist() == [slope]
    assert run("pow", np.array([-2.0]), np.array([3.0]))[1][0].tolist() == [12]


def test_zero_spread_and_zero_factors():
    z, (dx,) = run("std", np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]]), axis=1)
    assert z.tolist() == [0, 1] and dx[0].tolist() == [0, 0, 0]
    z, (dx,) = run("prod", np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]]), axis=1)
    assert z.tolist() == [0, 0] and dx.tolist() == [[0, 6, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="correction=0"):
        ops.var(np.array([1.0]))


def test_repeated_ids_add_up():
    dz = np.arange(8.0).reshape(4, 2)
    z, (dw,) = run("embedding", np.eye(3, 2), ids=np.array([1, 0, 1, 1]), dz=dz)
    assert z.tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert dw.tolist() == [[2, 3], [10, 13], [0, 0]]
    _, (dw,) = run("embedding", np.eye(3, 2), ids=np.array([1, 0, 1, 1]), padding_idx=1, dz=dz)
    assert dw.tolist() == [[2, 3], [0, 0], [0, 0]]
    _, (dx,) = run("getitem", np.zeros(3), index=np.array([2, 2, -1, 0]))
    assert dx.tolist() == [1, 0, 3]
    _, (dx,) = run("gather", np.zeros((2, 2)), axis=0, index=np.array([[1, 1], [1, 0]]))
    assert dx.tolist() == [[0, 1], [2, 1]]


def test_errors_name_the_cause():
    x = np.zeros((2, 3))
    with pytest.raises(IndexError, match=r"target 3 at \(1,\) is not one of the 3 classes \(0 to 2\)"):
        ops.cross_entropy(x, target=np.array([0, 3]))
    with pytest.raises(IndexError, match=r"target -1 at \(0,\)"):
        ops.nll_loss(x, target=np.array([-1, 0]))
    with pytest.raises(ValueError, match=r"target must have shape \(2,\)"):
        ops.cross_entropy(x, target=np.array([0, 1, 2]))
    with pytest.raises(TypeError, match="class indices"):
        ops.cross_entropy(x, target=np.array([True, False]))
    with pytest.raises(ValueError, match="reduction"):
        ops.cross_entropy(x, target=np.array([0, 1]), reduction="avg")
    with pytest.raises(IndexError, match="rows 0 to 1"):
        ops.embedding(x, ids=np.array([2]))
    with pytest.raises(TypeError, match="integers"):
        ops.embedding(x, ids=np.array([1.0]))
    with pytest.raises(IndexError, match="axis 1 of x has 3"):
        ops.gather(x, axis=1, index=np.array([[3], [0]]))
    with pytest.raises(ValueError, match="inner sizes differ"):
        ops.matmul(x, x)
    with pytest.raises(TypeError, match="bool"):
        ops.masked_fill(x, mask=np.ones((2, 3)), value=0)
    with pytest.raises(ValueError, match="differ in size"):
        ops.scaled_dot_product_attention(x, np.zeros((2, 4)), x)


def test_ignored_targets():
    x = np.random.default_rng(0).normal(size=(3, 4))
    z, (dx,) = run("cross_entropy", x, target=np.array([1, -100, 2]))
    alone, (dx_alone,) = run("cross_entropy", x[[0, 2]], target=np.array([1, 2]))
    assert z == pytest.approx(alone, rel=1e-15)
    assert np.allclose(dx[[0, 2]], dx_alone) and dx[1].tolist() == [0] * 4
    z, (dx,) = run("cross_entropy", x, target=np.full(3, -100))
    assert np.isnan(z) and not dx.any()  # as in PyTorch: 0 / 0


def test_where_takes_any_condition():
    for condition in (True, np.array([2, 0]), np.array([1.0, 0.0])):
        chosen = np.broadcast_to(np.asarray(condition, dtype=bool), 2)
        z, (dx, dy) = run("where", np.array([1.0, 2.0]), np.array([3.0, 4.0]), condition=condition)
        assert np.array_equal(z, np.where(chosen, [1.0, 2.0], [3.0, 4.0]))
        assert np.array_equal(dx, chosen * 1.0) and np.array_equal(dy, ~chosen * 1.0)


def test_erf():
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.0, -0.0, 1e-300, 30.0, -30.0, np.inf, -np.inf]])
    exact = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - exact).max() <= 1e-15
    single = x.astype(np.float32)
    exact = np.array([math.erf(v) for v in single])
    assert erf(single).dtype == np.float32
    assert np.abs(erf(single) - exact).max() <= 3e-7
    assert np.isnan(erf(np.array([np.nan]))).all()


def test_integer_constants_keep_float32():
    x = np.zeros(2, dtype=np.float32)
    z, (dx, _) = run("bce_with_logits", x, np.array([0, 1]))
    assert z.dtype == dx.dtype == np.float32


def test_a_number_to_the_power_of_an_array_keeps_float32():
    y = np.ones(2, dtype=np.float32)
    z, (_, dy) = run("pow", np.array(2, dtype=np.float32), y)
    assert z.dtype == dy.dtype == np.float32


# Fused ops and their composed twins


def agree(one: tuple[Any, tuple[Any, ...]], other: tuple[Any, tuple[Any, ...]]) -> None:
    assert np.allclose(one[0], other[0], rtol=1e-12, atol=1e-13)
    for dx, dy in zip(one[1], other[1], strict=True):
        assert np.allclose(dx, dy, rtol=1e-11, atol=1e-13)


def test_softmax_agrees_with_its_parts():
    rng = np.random.default_rng(1)
    x, dz = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    e, exp_back = ops.exp(x)
    total, sum_back = ops.sum(e, axis=1, keepdims=True)
    z, div_back = ops.div(e, total)
    de, dtotal = div_back(dz)
    (more,) = sum_back(unbroadcast(dtotal, total.shape))
    agree(run("softmax", x, dz=dz), (z, exp_back(de + more)))
    logz, log_back = ops.log(z)
    (dz2,) = log_back(dz)
    de, dtotal = div_back(dz2)
    (more,) = sum_back(unbroadcast(dtotal, total.shape))
    agree(run("log_softmax", x, dz=dz), (logz, exp_back(de + more)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_agrees_with_log_softmax_and_nll(reduction):
    rng = np.random.default_rng(2)
    x, constants = rng.normal(size=(5, 4)), {"target": rng.integers(0, 4, 5), "reduction": reduction}
    logp, back = ops.log_softmax(x, axis=1)
    z, nll_back = ops.nll_loss(logp, **constants)
    dz = rng.normal(size=np.shape(z))
    agree(run("cross_entropy", x, dz=dz, **constants), (z, back(*nll_back(dz))))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_agrees_with_one_hot_probabilities(reduction):
    rng = np.random.default_rng(2)
    x, target = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    dz = rng.normal(size=5 if reduction == "none" else ())
    z, (dx, _) = run("soft_cross_entropy", x, np.eye(4)[target], dz=dz, reduction=reduction)
    agree(run("cross_entropy", x, dz=dz, target=target, reduction=reduction), (z, (dx,)))


def test_layer_norm_agrees_with_its_parts():
    rng = np.random.default_rng(3)
    x, weight, bias, dz = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=5), rng.normal(size=(3, 5))
    m, mean_back = ops.mean(x, axis=1, keepdims=True)
    v, var_back = ops.var(x, axis=1, correction=0, keepdims=True)
    s, sqrt_back = ops.sqrt(v + 1e-5)
    n, div_back = ops.div(x - m, s)
    z, mul_back = ops.mul(n, weight)
    dn, dweight = mul_back(dz)
    dx, ds = div_back(dn)
    through_var = var_back(*sqrt_back(ds.sum(1, keepdims=True)))[0]
    through_mean = mean_back(-dx.sum(1, keepdims=True))[0]
    agree(
        run("layer_norm", x, weight, bias, dz=dz),
        (z + bias, (dx + through_var + through_mean, dweight.sum(0), dz.sum(0))),
    )


def test_attention_agrees_with_its_parts():
    rng = np.random.default_rng(4)
    q, k, v = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 6))
    bias, dz = rng.normal(size=(3, 5)), rng.normal(size=(2, 3, 6))
    s, s_back = ops.matmul(q, k.swapaxes(1, 2))
    masked, fill_back = ops.masked_fill(s / 2 + bias, mask=np.tri(3, 5) == 0, value=-np.inf)
    a, a_back = ops.softmax(masked)
    z, z_back = ops.matmul(a, v)
    da, dv = z_back(dz)
    (ds,) = fill_back(*a_back(da))
    dq, dk = s_back(ds / 2)
    agree(
        run("scaled_dot_product_attention", q, k, v, bias, dz=dz, is_causal=True),
        (z, (dq, dk.swapaxes(1, 2), dv, ds.sum(0))),
    )


def test_linear_agrees_with_matmul_and_einsum():
    rng = np.random.default_rng(5)
    x, w, b, dz = rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 4)), rng.normal(size=5), rng.normal(size=(2, 3, 5))
    z, (dx, dw) = run("matmul", x, w.T, dz=dz)
    fused = run("linear", x, w, b, dz=dz)
    agree(fused, (z + b, (dx, dw.T, dz.sum((0, 1)))))
    z, (dx, dw) = run("einsum", x, w, dz=dz, equation="bti,oi->bto")
    agree(fused, (z + b, (dx, dw, dz.sum((0, 1)))))


def test_gelu_agrees_with_plain_formulas():
    x = np.linspace(-4, 4, 81)
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    agree(run("gelu_tanh", x), (0.5 * x * (1 + t), (slope,)))
    p = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    agree(run("gelu", x), (x * p, (p + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),)))


def test_losses_agree_with_plain_formulas():
    rng = np.random.default_rng(6)
    x, t, w, p = rng.normal(size=(2, 3)), rng.uniform(size=(2, 3)), rng.uniform(1, 2, (2, 3)), rng.uniform(1, 2, 3)
    s = 1 / (1 + np.exp(-x))
    z = (w * -(p * t * np.log(s) + (1 - t) * np.log(1 - s))).mean()
    dx = w * ((1 - t) * s - p * t * (1 - s)) / x.size
    dt = w * (np.log(1 - s) - p * np.log(s)) / x.size
    agree(run("bce_with_logits", x, t, weight=w, pos_weight=p), (z, (dx, dt)))
    agree(run("mse_loss", x, t), (((x - t) ** 2).mean(), (2 * (x - t) / 6, -2 * (x - t) / 6)))
    rms = np.sqrt((x * x).mean(1, keepdims=True) + 1e-3)
    assert np.allclose(run("rms_norm", x, p, eps=1e-3)[0], x / rms * p)
