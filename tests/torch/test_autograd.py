"""grad, gradcheck, users' own ops, and the search for NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import autograd
from minigrad.autograd import AnomalyError, GradcheckError, gradcheck
from minigrad.nn import functional as F


def leaf(*shape: int, seed: int = 0) -> mg.Tensor:
    return mg.tensor(np.random.default_rng(seed).normal(size=shape), dtype=mg.float32, requires_grad=True)


def broken(scale: float):
    """x * x with its gradient wrong by a factor."""

    def op(x):
        return x * x, lambda dz: (dz * 2 * x * scale,)

    return lambda x: mg.apply(op, x)


def test_grad_returns_instead_of_adding():
    x, y = leaf(3), leaf(3, seed=1)
    h = x * y
    dx, dh = autograd.grad((h * h).sum(), [x, h], retain_graph=True)
    np.testing.assert_allclose(dh.numpy(), 2 * h.detach().numpy())
    np.testing.assert_allclose(dx.numpy(), (2 * h * y).detach().numpy(), rtol=1e-6)
    assert x.grad is None and y.grad is None
    with pytest.raises(RuntimeError, match="do not depend on input 1"):
        autograd.grad(x.sum(), [x, y])
    assert autograd.grad(x.sum(), [x, y], allow_unused=True)[1] is None
    (both,) = autograd.grad([x.sum(), (2 * x).sum()], x)
    assert both.tolist() == [3, 3, 3]


def test_gradcheck_accepts_the_truth_and_restores_the_inputs():
    x, w = leaf(2, 3), leaf(4, 3, seed=1)
    before = x.detach().clone(), w.detach().clone()
    assert gradcheck(lambda x, w: F.gelu(F.linear(x, w)), (x, w))
    assert gradcheck(lambda x: (x.softmax(-1), x.exp()), x)
    assert (x == before[0]).all() and (w == before[1]).all() and x.dtype == mg.float32


def test_gradcheck_in_float32_takes_wider_steps():
    seen = []

    def f(x):
        seen.append(x.dtype)
        return x.tanh()

    assert gradcheck(f, leaf(4), upcast=False, atol=1e-3, rtol=1e-2)
    assert not gradcheck(broken(1.1), leaf(4), upcast=False, atol=1e-3, rtol=1e-2, raise_exception=False)
    assert set(seen) == {mg.float32}
    assert gradcheck(f, leaf(4)) and seen[-1] == mg.float64


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.01, 2.0])
def test_gradcheck_catches_a_wrong_factor(scale):
    with pytest.raises(GradcheckError, match=r"input 0\[\d\]: backward says .* finite difference"):
        gradcheck(broken(scale), leaf(3))
    assert not gradcheck(broken(scale), leaf(3), raise_exception=False)


def test_gradcheck_catches_what_a_plain_sum_hides():
    def softmax_without_gradient(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True), lambda dz: (np.zeros_like(x),)

    assert not gradcheck(lambda x: mg.apply(softmax_without_gradient, x), leaf(4), raise_exception=False)


def test_gradcheck_at_kinks():
    x = mg.tensor([0.0, 1.0, -1.0], requires_grad=True)
    assert gradcheck(lambda x: x.relu() + x.abs(), x)

    def wrong(x):
        return np.abs(x), lambda dz: (dz * np.where(x == 0, 3, np.sign(x)),)

    with pytest.raises(GradcheckError, match="kink"):
        gradcheck(lambda x: mg.apply(wrong, x), x)


def test_gradcheck_notices_random_functions():
    with pytest.raises(RuntimeError, match="dropout"):
        gradcheck(lambda x: F.dropout(x, 0.5), leaf(20))
    with pytest.raises(ValueError, match="requires_grad"):
        gradcheck(lambda x: x, mg.ones(3))


def test_function():
    class Cube(autograd.Function):
        """z = x ** 3
        dx = dz * 3 * x ** 2
        """

        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return scale * x * x * x

        @staticmethod
        def backward(ctx, dz):
            (x,) = ctx.saved_tensors
            return dz * 3 * ctx.scale * x * x, None

    assert gradcheck(lambda x: Cube.apply(x, 2.0), leaf(3))
    x = leaf(2)
    y = Cube.apply(x, 1.0)
    assert y.grad_fn.op.__name__ == "Cube"
    x.data.zero_()
    with pytest.raises(RuntimeError, match=r"Cube.*changed in place"):
        y.sum().backward()


def test_anomaly_stops_at_the_line():
    x = mg.tensor([1.0, -1.0], requires_grad=True)
    with mg.detect_anomaly():
        with pytest.raises(
            AnomalyError, match=r"(?s)log\(\(2,\)\) made nan at index \[1\].*test_autograd.py.*x.log\(\)"
        ):
            x.log()
        masked = x.masked_fill(x < 0, -np.inf).softmax(-1)
        assert masked.tolist() == [1, 0]
    zero = mg.tensor([0.0], requires_grad=True)
    with mg.detect_anomaly(), pytest.raises(AnomalyError, match="backward of sqrt"):
        zero.sqrt().sum().backward()
    x.detach().exp()


def test_grad_fn_has_the_names_and_the_links_of_pytorch():
    torch = pytest.importorskip("torch")

    def names(t: Any) -> list[Any]:
        x, w = t.ones(2, 3), t.ones(3, requires_grad=True)
        loss = ((x * w)[0] + 1).mean()
        found, fn = [], loss.grad_fn
        while fn is not None and hasattr(fn, "next_functions"):
            found.append((fn.name(), [None if f is None else f.name() for f, _ in fn.next_functions]))
            fn = next((f for f, number in fn.next_functions if f is not None and number == 0), None)
        assert fn is None
        return found

    ours, theirs = names(mg), names(torch)
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    assert ours[-2][1] == theirs[-2][1] == [None, "torch::autograd::AccumulateGrad"]


def test_the_links_of_grad_fn_end_at_the_leaves():
    w = mg.ones(3, requires_grad=True)
    loss = (w * w).sum()
    ((product, _),) = loss.grad_fn.next_functions
    left, right = (fn for fn, _ in product.next_functions)
    assert left.variable is w and left == right and left.next_functions == ()
    assert "mul" in repr(product) and "(3,)" in repr(product)
    loss.backward()
    assert loss.grad_fn.next_functions == () and loss.grad_fn.name() == "SumBackward0"
