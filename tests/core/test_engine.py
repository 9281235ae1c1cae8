"""The engine: what other engines fell into, each a test."""

from __future__ import annotations

import copy
import gc
import itertools
import os
import subprocess
import sys
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest
from paths import ROOT

import minigrad as mg
from minigrad.core.graph import backward_steps, unbroadcast
from minigrad.core.tensor import apply
from minigrad.nn import functional as F


def leaf(*shape: int, seed: int = 0, dtype: object = mg.float32) -> mg.Tensor:
    values = np.random.default_rng(seed).normal(size=shape)
    return mg.tensor(values, dtype=dtype, requires_grad=True)


# The walk


def test_a_reused_node_waits_until_it_is_complete():
    a = mg.tensor(1.0, requires_grad=True)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.item() == 4


def test_sixty_doublings_are_sixty_steps():
    a = mg.tensor(1.0, dtype=mg.float64, requires_grad=True)
    x = a
    for _ in range(60):
        x = x + x
    assert sum(1 for _ in x.backward_steps()) == 60
    assert a.grad.item() == 2.0**60


@pytest.mark.parametrize("do", ["backward", "delete"])
def test_a_chain_of_100_000_ops(do):
    a = mg.tensor(1.0, requires_grad=True)
    x = a
    for _ in range(100_000):
        x = x + 1.0
    repr(x)
    if do == "backward":
        x.backward()
        assert a.grad.item() == 1
    node = weakref.ref(x.grad_fn)
    del x
    assert node() is None


def test_retained_backward_doubles_and_spent_graph_is_named():
    a = mg.tensor(2.0, requires_grad=True)
    b = a * a
    c = b * a
    c.backward(retain_graph=True)
    assert a.grad.item() == 12
    c.backward()
    assert a.grad.item() == 24
    with pytest.raises(RuntimeError, match=r"mul, which made \(\) float32.*retain_graph=True"):
        c.backward()
    with pytest.warns(UserWarning, match=r"adding the result of mul, .*released.*\.item\(\) or \.detach\(\)"):
        again = b + 1
    with pytest.raises(RuntimeError, match="mul, which made"):
        again.backward()


def test_a_running_sum_of_losses_is_noticed():
    w, total = leaf(3), mg.tensor(0.0)
    for _ in range(2):
        loss = (w * w).sum()
        loss.backward()
        with pytest.warns(UserWarning, match=r"keeps growing a graph.*\.item\(\)"):
            total = total.detach() + loss
        total += loss.detach()


def test_gradients_never_share_memory():
    a, b = leaf(3), leaf(3, seed=1)
    (a + b).sum().backward()
    a.grad += 1
    assert b.grad.tolist() == [1, 1, 1]
    assert not np.shares_memory(a.grad.numpy(), b.grad.numpy())
    a = leaf(3)
    seed = mg.ones(3)
    (a + 0.0).backward(seed)
    a.grad.zero_()
    assert seed.tolist() == [1, 1, 1]
    x = leaf(2, 3)
    x.reshape(6).backward(mg.ones(6))
    x.grad += 1


def test_a_root_that_is_a_leaf():
    a = mg.tensor(3.0, requires_grad=True)
    a.backward()
    assert a.grad.item() == 1


SHAPES = [(), (1,), (3,), (1, 3), (2, 1), (2, 3), (4, 1, 3)]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum", "pow", "where"])
def test_broadcast_gradients_have_the_shape_of_the_data(name):
    for left, right in itertools.product(SHAPES, SHAPES):
        try:
            np.broadcast_shapes(left, right)
        except ValueError:
            continue
        x, y = leaf(*left), leaf(*right, seed=1)
        if name == "pow":
            z = (x.abs() + 1) ** y
        elif name == "where":
            z = mg.where(x > y, x, y)
        else:
            z = getattr(mg, name)(x, y)
        z.sum().backward()
        assert x.grad.shape == left and y.grad.shape == right, (left, right)


def test_unbroadcast_is_strict():
    assert unbroadcast(np.ones((4, 2, 3)), (2, 1)).tolist() == [[12], [12]]
    for shape in [(2, 2), (4, 3), (2, 3, 1), (5, 4, 2, 3)]:
        with pytest.raises(ValueError, match="cannot belong"):
            unbroadcast(np.ones((4, 2, 3)), shape)


def test_zero_gradient_of_the_branch_not_taken():
    x = mg.tensor([-1.0, 4.0], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the forward sqrt(-1) is not chosen
        mg.where(x > 0, x.sqrt(), x).sum().backward()
    assert x.grad.tolist() == [1, 0.25]


def test_ties():
    x = mg.tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]
    x.grad = None
    x.max(0).values.backward()
    assert x.grad.tolist() == [0, 1, 0]
    zero = mg.tensor(0.0, requires_grad=True)
    (zero.relu() + zero.abs()).backward()
    assert zero.grad.item() == 0


def test_repeated_indices_accumulate():
    w = leaf(5, 2)
    w[[3, 3, 3]].sum().backward()
    assert w.grad[3].tolist() == [3, 3] and w.grad[0].tolist() == [0, 0]
    w.grad = None
    F.embedding(mg.tensor([[1, 1], [1, 4]]), w).sum().backward()
    assert w.grad[:, 0].tolist() == [0, 3, 0, 0, 1]


def test_axes():
    x = np.arange(24.0).reshape(2, 3, 4)
    t = mg.tensor(x, requires_grad=True)
    for dim, keepdim in itertools.product([None, 0, 1, -1, (0, 2), (-1, 0), [1, 2]], [False, True]):
        axis = tuple(dim) if isinstance(dim, list) else dim
        for name in ("sum", "mean", "amax", "amin", "var"):
            options = {"ddof": 1} if name == "var" else {}
            expected = getattr(np, name)(x, axis=axis, keepdims=keepdim, **options)
            np.testing.assert_allclose(getattr(t, name)(dim, keepdim=keepdim).detach().numpy(), expected)
    assert t.reshape(2, -1, 6).shape == (2, 2, 6)
    with pytest.raises(IndexError, match=r"sum\(\(2, 3, 4\) float64\): axis 3 is out of bounds"):
        t.sum(3)


# Dtypes


def test_float32_stays_float32():
    x = leaf(2, 3)
    results = [
        x * 2, 2.0 * x, x / 3, 1 - x, x * np.float64(2), np.float64(2) * x, x**2,
        (x * x) ** 0.5,
        x + mg.tensor(2.0, dtype=mg.float64),
        x.sum() * np.float64(2), x.mean(0), x.var(), x.std(0),
        x.softmax(-1), x.sum().exp(),
        F.gelu(x), F.layer_norm(x, (3,)),
        F.dropout(x, 0.5), x + mg.tensor([1, 2, 3]), F.cross_entropy(x, mg.tensor([0, 1])), x.masked_fill(x > 0, 1.0),
    ]  # fmt: skip
    for y in results:
        assert y.dtype == mg.float32, y
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == mg.float32


def test_promotion_is_pytorchs():
    i, f, b = mg.tensor([1, 2]), mg.tensor([1.0, 2.0]), mg.tensor([True, False])
    d = f.double()
    assert (i + 1).dtype == mg.int64 and (i + 1.5).dtype == mg.float32 and (i / 2).dtype == mg.float32
    assert (i + f).dtype == mg.float32 and (f + d).dtype == mg.float64 and (b + i).dtype == mg.int64
    assert i.float().mean().item() == 1.5 and i.exp().dtype == mg.float32
    assert (f == i).tolist() == [True, True] and (f < 1.5).dtype == mg.bool
    with pytest.raises(TypeError, match="float"):
        i.mean()
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    (w * d).sum().backward()
    assert w.grad.dtype == mg.float32


def test_numpy_on_the_left():
    t = leaf(2)
    for z in (np.ones(2) * t, np.float64(2) * t, np.ones((3, 2)) @ t, np.ones(2) + t, np.float32(1) / t):
        assert isinstance(z, mg.Tensor) and z.requires_grad
    assert isinstance(np.ones(2) < t, mg.Tensor)


def test_numpy_out_of_the_graph_is_said():
    x = mg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="numpy\\(\\) would leave the graph silently"):
        x.numpy()
    assert np.shares_memory(x.numpy(force=True), x.detach().numpy())


def test_numpy_scalars_are_tensors():
    x = mg.tensor([[3.0]], requires_grad=True)
    for z in (x.sum(), x.mean(), x[0, 0], x.max(), x.sum() * x.sum(), x.squeeze().exp()):
        assert isinstance(z._array, np.ndarray) and z.shape == ()
        z.backward(retain_graph=True)


def test_the_mean_of_half_precision_is_added_up_in_single():
    assert mg.full((70000,), 2.0, dtype=mg.float16).mean().item() == 2


def test_overflow():
    x = mg.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, mg.tensor([1])) + x.softmax(-1).sum() + x.logsumexp(-1).sum()
    loss.backward()
    assert np.isfinite(loss.item()) and np.isfinite(x.grad.numpy()).all()


def test_fully_masked_row():
    scores = leaf(2, 3)
    allowed = mg.tensor([[True, True, False], [False, False, False]])
    weights = scores.masked_fill(~allowed, -np.inf).softmax(-1)
    weights.backward(mg.ones(2, 3))
    assert weights[1].tolist() == [0, 0, 0] and np.isfinite(scores.grad.numpy()).all()
    assert weights[0].sum().item() == pytest.approx(1)


# Written in place, spent, kept


def test_writing_to_a_saved_array_is_caught_and_named():
    def edit(x):
        x.data[0] = 5.0

    def assign(x):
        x.data = x.detach() * 2

    def update(x):
        with mg.no_grad():
            x -= 1.0

    for change in (edit, assign, update):
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        y = (x * x).sum()
        change(x)
        with pytest.raises(RuntimeError, match=r"mul, which made \(2,\) float32: its backward needs x \(2,\), which"):
            y.backward()
    for power in (lambda x: x**3, lambda x: x**-0.5, mg.Tensor.square):
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        y = power(x).sum()
        update(x)
        with pytest.raises(RuntimeError, match=r"pow, which made \(2,\) float32: its backward needs x \(2,\), which"):
            y.backward()
    x = leaf(3)
    y = x.exp()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match=r"exp.*changed in place"):
        y.sum().backward()


def test_writing_where_nothing_needs_it_is_fine():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = (x + 1).sum()
    x.data[0] = 5.0
    y.backward()
    assert x.grad.tolist() == [1, 1]
    for _ in range(2):  # and the usual loop
        loss = (x * x).sum()
        loss.backward()
        with mg.no_grad():
            x -= 0.1 * x.grad


def test_in_place_on_a_leaf_or_a_view_is_refused_with_the_rewrite():
    w = leaf(2)
    with pytest.raises(RuntimeError, match="no_grad"):
        w.zero_()
    with pytest.raises(RuntimeError, match="no_grad"):
        w += 1
    with pytest.raises(RuntimeError, match="no_grad"):
        w[0] = 1.0
    with pytest.raises(RuntimeError, match="no_grad"):
        w[:1].mul_(3)


def test_in_place_on_a_result_takes_its_place():
    w = leaf(3)
    total, z = w * 0, mg.zeros(3, dtype=mg.float64)
    before = total
    total += w
    z[1:] = w[:2]
    y = (w * 2).exp() * 1
    y[0] = 5.0
    y.masked_fill_(mg.tensor([False, True, False]), 0).mul_(w)
    assert before.tolist() == w.tolist() and z.tolist() == [0, *w[:2].tolist()] and y[1].item() == 0
    (total + 3 * z + y).sum().backward()
    at = w.detach().numpy()
    np.testing.assert_allclose(w.grad.numpy(), [1 + 3 + 5, 1 + 3, 1 + np.exp(2 * at[2]) * (1 + 2 * at[2])])


def test_grad_that_is_not_kept_says_why():
    x = leaf(2)
    y = x * 2
    with pytest.warns(UserWarning, match=r"result of mul \(2,\).*retain_grad"):
        assert y.grad is None
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * y.detach().numpy())


def test_hooks():
    x = leaf(3)
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (y + x).sum().backward(retain_graph=True)
    assert x.grad.tolist() == [21, 21, 21] and seen == [[21, 21, 21]]
    handle.remove()
    x.grad = None
    (y * 1.0).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_graphs_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        w = leaf(4, 4)
        x = (w @ w).tanh()
        loss = x.sum()
        nodes = [weakref.ref(loss.grad_fn), weakref.ref(x.grad_fn)]
        saved = weakref.ref(x)
        loss.backward()
        del loss, x
        assert all(n() is None for n in nodes) and saved() is None
        y = (w @ w).softmax(-1).sum()  # never walked
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_memory_is_flat_over_many_steps():
    model = mg.nn.Sequential(mg.nn.Linear(64, 64), mg.nn.Tanh(), mg.nn.Linear(64, 64))
    optimizer = mg.optim.AdamW(model.parameters())
    x = mg.randn(32, 64)

    def train(steps):
        for _ in range(steps):
            loss = (model(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    train(5)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        train(100)  # Python's and NumPy's own lists of free blocks fill up meanwhile
        before, _ = tracemalloc.get_traced_memory()
        train(500)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 20_000 and peak - before < 2_000_000


def test_order_of_parameters_does_not_depend_on_the_hash_seed():
    code = (
        "import minigrad as mg; from models.gpt import GPT, GPTConfig;"
        "print([n for n, _ in GPT(GPTConfig(vocab_size=5, n_embd=8)).named_parameters()])"
    )
    outs = set()
    for seed in "012":
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        outs.add(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    assert len(outs) == 1


def test_errors_before_the_walk():
    with pytest.raises(RuntimeError, match="no recorded op"):
        mg.ones(1).backward()
    with pytest.raises(RuntimeError, match=r"shape \(2,\)"):
        leaf(2).exp().backward()
    with pytest.raises(ValueError, match=r"shape of the tensor, \(2,\), got \(3,\)"):
        leaf(2).exp().backward(mg.ones(3))
    with pytest.raises(TypeError, match="int64"):
        mg.tensor([1, 2], requires_grad=True)
    with pytest.raises(ValueError, match=r"matmul\(\(2, 3\) float32, \(2, 3\) float32\): the inner sizes differ"):
        leaf(2, 3) @ leaf(2, 3)
    with pytest.raises(ValueError, match=r"add\(\(2,\) float32, \(3,\) float32\)"):
        leaf(2) + leaf(3)


def test_no_grad_and_its_relatives():
    x = leaf(2)
    with mg.no_grad():
        assert not (x * 2).requires_grad
        with mg.enable_grad():
            assert (x * 2).requires_grad
        assert not mg.is_grad_enabled()

    @mg.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad and (x * 2).requires_grad
    with mg.set_grad_enabled(False):
        assert not mg.is_grad_enabled()

    @mg.set_grad_enabled(False)
    def g():
        return x * 2

    assert mg.is_grad_enabled() and not g().requires_grad
    assert mg.is_grad_enabled()
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()


def test_wrong_backward_of_a_user_op_is_named():
    def double(x):
        return 2 * x, lambda dz: (np.ones((7, 7)),)

    with pytest.raises(RuntimeError, match=r"double, which made \(2,\).*\(7, 7\) cannot belong"):
        mg.apply(double, leaf(2)).sum().backward()


# Reading and writing


def test_repr_shows_what_pytorch_shows():
    assert repr(mg.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"
    x = mg.tensor([1.0], requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)" and repr(x * 2) == "tensor([2.], grad_fn=<MulBackward0>)"
    assert f"{mg.tensor(1.23456):.2f}" == "1.23"


def test_indexing_reads_and_writes():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    t = mg.tensor(x)
    for index in [
        0, (0, 1), (slice(None), [-1]), (slice(None), -1), (Ellipsis, 2), (None, 1), (slice(None), slice(-2, None)),
        [1, 0], (x > 5), (slice(None), [0, 2], slice(1, 3)),
    ]:  # fmt: skip
        np.testing.assert_array_equal(t[index].numpy(), x[index])
    ids = mg.tensor([[0, 1], [1, 1]])
    assert t[ids].shape == (2, 2, 3, 4)
    n = mg.tensor(2)
    assert t[:, :n].shape == (2, 2, 4)
    t[t < 5] = -np.inf
    t[0, 0] = mg.tensor([1.0, 2.0, 3.0, 4.0])
    assert t[0, 0].tolist() == [1, 2, 3, 4] and t[0, 1, 0].item() == -np.inf


def test_split_chunk_and_friends():
    x = leaf(7, 2)
    parts = x.split(3)
    assert [p.shape[0] for p in parts] == [3, 3, 1] and [p.shape[0] for p in x.chunk(4)] == [2, 2, 2, 1]
    mg.cat(parts).sum().backward()
    assert (x.grad == 1).all()
    assert x.repeat(2, 3).shape == (14, 6) and x.unbind(1)[0].shape == (7,)
    np.testing.assert_array_equal(x.detach().repeat(2, 3).numpy(), np.tile(x.detach().numpy(), (2, 3)))
    with pytest.raises(ValueError, match="sum to 5"):
        x.split([2, 3])
    assert x.topk(2, dim=0).values.shape == (2, 2)


def test_deepcopy():
    x = leaf(2)
    y = copy.deepcopy([x, x])
    assert y[0] is y[1] and y[0] is not x and y[0].requires_grad
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(x * 2)


def test_seed():
    mg.manual_seed(3)
    a, state = mg.randn(3), mg.get_rng_state()
    b = mg.randn(3)
    mg.set_rng_state(state)
    assert (mg.randn(3) == b).all()
    mg.manual_seed(3)
    assert (mg.randn(3) == a).all()
    ids = mg.multinomial(mg.tensor([0.0, 1.0, 3.0]), 4000, replacement=True)
    assert set(ids.tolist()) == {1, 2} and (ids == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert sorted(mg.multinomial(mg.ones(5), 5).tolist()) == [0, 1, 2, 3, 4]


def test_one_array_given_to_a_leaf_and_then_to_a_node():
    """What is later added to the leaf's gradient must not reach the node."""

    def both(x, y):
        def backward(dz):
            dx = dz * 2
            return dx, dx

        return 2 * (x + y), backward

    x, other = leaf(3), leaf(3)
    y = other * 1.0
    w = x * 3.0  # its backward runs between those of ``both`` and of y
    (apply(both, x, y) + w).sum().backward()
    assert x.grad.tolist() == [5, 5, 5] and other.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("reduced", [lambda y: y.sum(), lambda y: y.mean() * 3, lambda y: y.sum(0).sum()])
def test_a_hook_may_write_into_elements_that_were_one_in_memory(reduced):
    x = leaf(3)
    y = x * 1.0
    y.register_hook(lambda dz: dz.mul_(2))
    reduced(y).backward()
    np.testing.assert_allclose(x.grad.numpy(), [2, 2, 2], rtol=1e-6)


@pytest.mark.parametrize("returned", [True, False])
def test_a_hook_of_a_result_writes_into_nothing_that_others_hold(returned):
    x, w = leaf(3), mg.tensor([1.0, 2.0, 3.0])
    first, second = x * 1.0, x * 1.0
    total = first + second
    for y in (second, total):
        y.register_hook(lambda dz: [dz.mul_(10), None][not returned])
    total.backward(w)
    assert x.grad.tolist() == [110, 220, 330] and w.tolist() == [1, 2, 3]


def test_what_a_hook_does_to_its_array_stays_there():
    def add(w):
        x, y = leaf(3), leaf(3)
        x.register_hook(seen.append)
        x.register_hook(lambda dz: dz.mul_(2))
        (x + y).backward(w)
        return x, y

    seen, w = [], mg.tensor([1.0, 2.0, 3.0])
    x, y = add(w)
    x.grad += 1
    assert x.grad.tolist() == [3, 5, 7] and seen[0].tolist() == [2, 4, 6]
    assert y.grad.tolist() == w.tolist() == [1, 2, 3]


def test_gradients_handed_out_are_arrays_of_their_own():
    x, y, w = leaf(2), leaf(2), mg.tensor([5.0, 6.0])
    dx, dy = mg.autograd.grad(x + y, [x, y], [w])
    dx += 1
    z = x + y
    z.retain_grad()
    z.backward(w)
    z.grad += 1
    assert dy.tolist() == w.tolist() == y.grad.tolist() == [5, 6]


def test_steps_are_what_backward_does():
    def make():
        x = leaf(3, 3)
        return x, ((x @ x).softmax(-1) * x).sum()

    x, loss = make()
    steps = list(loss.backward_steps())
    other, again = make()
    again.backward()
    assert (x.grad == other.grad).all()
    assert [s.node.op.__name__ for s in steps] == ["sum", "mul", "softmax", "matmul"]
    assert steps[0].dz.item() == 1 and steps[3].grads[0].shape == (3, 3)
    assert list(backward_steps([])) == []


def test_import_needs_numpy_only():
    code = "import sys, minigrad; print(sorted({'tqdm', 'graphviz', 'torch'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
