"""What a derivative's graph keeps, lets go and refuses."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import func, nn, ops
from minigrad.autograd import Function, GradcheckError, functional, grad, gradgradcheck
from minigrad.core.graph import Node
from minigrad.core.op import RUNS
from minigrad.higher.again import nodes_behind
from minigrad.nn import functional as F


def leaf(*data: float) -> mg.Tensor:
    return mg.tensor(data, dtype=mg.float64, requires_grad=True)


def size_of_graph(x: mg.Tensor) -> int:
    return len(nodes_behind([x.grad_fn]))


def test_the_graph_of_exp_does_not_grow():
    x = leaf(0.3)
    y = x.exp()
    sizes = []
    for _ in range(5):
        (y,) = grad(y, x, create_graph=True)
        sizes.append(size_of_graph(y))
    assert y.item() == pytest.approx(np.exp(0.3), rel=1e-14)
    assert sizes == [2] * 5, "the one exp, and a product with dz"


def test_no_cycle_of_references():
    gc.collect()
    gc.disable()
    try:
        x, w = leaf(0.5, -1.0), mg.ones(2, 2, dtype=mg.float64, requires_grad=True)
        (g,) = grad(F.softmax((x @ w).tanh(), 0)[0], x, create_graph=True)
        (h,) = grad(g.sum(), x, create_graph=True)
        (k,) = grad(h.sum(), x)
        ends = [weakref.ref(node) for node in nodes_behind([h.grad_fn])]
        del g, h, k
        assert all(end() is None for end in ends)
        assert func.grad(func.grad(lambda x: x.sin()))(mg.tensor(0.3)).item() == pytest.approx(-np.sin(0.3), rel=1e-6)
        assert not [x for x in gc.get_objects() if type(x) is Node]
    finally:
        gc.enable()


def test_no_cycle_through_what_a_function_saved():
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            z = x.exp()
            ctx.save_for_backward(z)
            ctx.x = x
            return z

        @staticmethod
        def backward(ctx, dz):
            (z,) = ctx.saved_tensors
            return dz * z + 0 * ctx.x

    gc.collect()
    gc.disable()
    try:
        x = leaf(0.5, -1.0)
        y = Exp.apply(x)
        (g,) = grad(y.sum(), x, create_graph=True)
        assert mg.allclose(g.detach(), x.detach().exp())
        end = weakref.ref(y.grad_fn)
        del y, g
        assert end() is None
    finally:
        gc.enable()


def test_memory_stays_flat():
    x = leaf(*np.linspace(-1, 1, 20))

    def product() -> None:
        functional.hvp(lambda x: (x.tanh() * x.exp()).sum(), x, mg.ones(20, dtype=mg.float64))

    for _ in range(5):
        product()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            product()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()


def test_backward_with_create_graph_warns_of_the_cycle_it_makes():
    x = leaf(1.0)
    with pytest.warns(UserWarning, match="cycle of references"):
        (x**3).backward(create_graph=True)
    x.grad.backward()
    assert x.grad.tolist() == [9.0]  # 3 + 6


def test_zero_grad_takes_a_gradient_out_of_its_graph():
    x = leaf(2.0)
    with pytest.warns(UserWarning, match="cycle"):
        (x**2).backward(create_graph=True)
    optimizer = mg.optim.SGD([x], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0.0] and not x.grad.requires_grad


def test_what_cannot_be_followed_is_an_error_with_the_way_out():
    def written(x):
        """z = sin(x)
        dx = dz * cos(x)
        """

        def backward(dz):
            dx = np.zeros(x.shape)
            dx[...] = dz * np.cos(x)
            return (dx,)

        return np.sin(x), backward

    def converted(x):
        """z = sin(x)
        dx = dz * cos(x)
        """

        def backward(dz):
            return (np.asarray(dz) * np.cos(x),)

        return np.sin(x), backward

    def unknown(x):
        """z = sorted x
        dx = dz in the old order
        """

        def backward(dz):
            return (np.sort(dz),)

        return x, backward

    def forgotten(x):
        """z = x
        dx = ones
        """

        def backward(dz):
            return (np.ones(x.shape),)

        return x, backward

    reasons = {written: "zeros_like", converted: "asarray", unknown: r"np\.sort", forgotten: "not computed"}
    for op, text in reasons.items():
        x = leaf(1.0, 2.0)
        y = mg.apply(op, x).sum()
        with pytest.raises(TypeError, match=f"{op.__name__}.*{text}"):
            grad(y, x, create_graph=True)
        assert grad(y, x)[0].shape == (2,), "the first derivative is as it was"


def test_what_is_not_here_is_refused_with_what_to_do():
    x = leaf(1.0)
    for call in (
        lambda: func.vmap(lambda x: x),
        lambda: grad(x * 2, x, is_grads_batched=True),
        lambda: functional.jacobian(lambda x: x, x, strict=True),
        lambda: func.jvp(lambda x: x, (x,), (x,), strict=True),
    ):
        with pytest.raises(NotImplementedError, match=r"loop|zero"):
            call()


def test_a_function_whose_forward_is_random():
    class Noisy(Function):
        @staticmethod
        def forward(ctx, x):
            mask = (mg.rand(4) < 0.5).double()
            ctx.save_for_backward(x, mask)
            return x**3 * mask

        @staticmethod
        def backward(ctx, dz):
            x, mask = ctx.saved_tensors
            return 3 * x**2 * mask * dz

    x = leaf(1.0, 2.0, 3.0, 4.0)
    y = Noisy.apply(x)
    (g,) = grad((y**2).sum(), x, create_graph=True)
    mask = (y.detach() != 0).double()
    assert mg.equal(g.detach(), (6 * x**5 * mask).detach())
    assert mg.allclose(grad(g.sum(), x)[0], (30 * x**4 * mask).detach())


def test_dropout_keeps_its_mask():
    x = mg.ones(50, dtype=mg.float64, requires_grad=True)
    y = F.dropout(x, 0.5)
    (g,) = grad((y**3).sum(), x, create_graph=True)
    assert mg.allclose(grad(g.sum(), x)[0], (6 * y * (y / x) ** 2).detach())


def test_half_precision_computes_in_single():
    x = mg.tensor([300.0, 0.5], dtype=mg.float16, requires_grad=True)
    (g,) = grad((x.float() ** 3).sum() * 1e-4, x, create_graph=True)
    (h,) = grad((x * x).sum() + g.sum(), x)
    assert g.dtype == h.dtype == mg.float16
    assert np.allclose(h.numpy(), [2 * 300 + 6e-4 * 300, 1 + 3e-4], rtol=2e-3)


def test_a_buffer_written_since_the_forward_is_refused():
    x, buffer = leaf(1.0, 2.0), mg.ones(2, dtype=mg.float64)
    y = (x**2 + buffer).sum()
    buffer += 1
    with pytest.raises(RuntimeError, match=r"input 1.*changed in place"):
        grad(y, x, create_graph=True)
    assert grad(y, x)[0].tolist() == [2, 4]


def test_data_parallel_says_why_not():
    parallel = pytest.importorskip("minigrad.speed.data_parallel")
    if not parallel.possible():
        pytest.skip("no workers here")
    model = nn.DataParallel(nn.Linear(3, 2), device_ids=[0, 1])
    x = mg.ones(4, 3, requires_grad=True)
    try:
        y = model(x)
        with pytest.raises(RuntimeError, match="call the module itself"):
            grad(y.sum(), x, create_graph=True)
    finally:
        model.close()


def test_gradgradcheck_finds_a_second_derivative_that_is_wrong():
    x = mg.tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
    assert gradgradcheck(lambda x: x.tanh().softmax(-1), x)
    assert gradgradcheck(nn.Sequential(nn.Linear(3, 2), nn.GELU(), nn.LayerNorm(2)), x, max_elements=20)
    assert gradgradcheck(lambda x: x**3, x, mg.ones(2, 3))

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            s = x.sin()
            ctx.save_for_backward(x, s)
            return s * s

        @staticmethod
        def backward(ctx, dz):
            x, s = ctx.saved_tensors
            return 2 * s * x.cos() * dz  # s is not x's sine to the graph

    with pytest.raises(GradcheckError):
        gradgradcheck(Half.apply, x)
    assert not gradgradcheck(Half.apply, x, raise_exception=False)


def test_a_twin_takes_no_part_in_it(monkeypatch):
    ran = []

    def twin(x):
        ran.append(x)
        z, backward = ops.tanh(x)
        return z, lambda dz: (np.asarray(backward(np.asarray(dz))[0]),)

    monkeypatch.setitem(RUNS, ops.tanh, twin)
    x = leaf(0.3, -0.5)
    (g,) = grad(x.tanh().sum(), x, create_graph=True)
    z = np.tanh(x.detach().numpy())
    assert np.allclose(grad(g.sum(), x)[0].numpy(), -2 * z * (1 - z * z))
    assert ran


def test_the_second_derivative_of_a_bend_is_neither_side_too_much():
    """At 0, -0, around and far out: softplus and its kin have curvature there, and formulas with |x| would lose it."""
    places = [-30.0, -1.0, -1e-3, -0.0, 0.0, 1e-3, 1.0, 30.0]
    for name, curvature in (
        ("softplus", lambda s: s * (1 - s)),
        ("logsigmoid", lambda s: -s * (1 - s)),
        ("sigmoid", lambda s: s * (1 - s) * (1 - 2 * s)),
    ):
        x = leaf(*places)
        (g,) = grad(getattr(F, name)(x).sum(), x, create_graph=True)
        s = 1 / (1 + np.exp(-np.array(places)))
        expected = np.where(np.array(places) > 20, 0 if name == "softplus" else curvature(s), curvature(s))
        assert np.allclose(grad(g.sum(), x)[0].numpy(), expected, atol=1e-12), name
    x = leaf(1.0, 1.0)
    (g,) = grad(x.logcumsumexp(0)[1], x, create_graph=True)
    assert np.allclose(grad(g[0], x)[0].numpy(), [0.25, -0.25])
