"""Optimizers against steps worked out by hand, their state, and the values of the schedules."""

import inspect
import math

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim
from minigrad.core.tensor import Tensor
from minigrad.optim import lr_scheduler
from minigrad.optim.blocks import BLOCK
from minigrad.optim.rows import SMALL
from minigrad.torch.creation import tensor

BEFORE = np.array([1.0, -2.0, 3.0])
GRADS = [np.array(g) for g in ([0.5, -1.0, 0.25], [-0.5, 2.0, 1.0], [1.0, 1.0, -4.0])]


def run(make, grads=GRADS):
    p = nn.Parameter(Tensor(BEFORE.copy()))
    optimizer = make([p])
    for g in grads:
        p.grad = Tensor(g.copy())
        optimizer.step()
    return p.numpy() if not p.requires_grad else p.detach().numpy()


def test_sgd_by_hand():
    np.testing.assert_allclose(run(lambda ps: optim.SGD(ps, lr=0.1)), BEFORE - 0.1 * sum(GRADS))
    np.testing.assert_allclose(run(lambda ps: optim.SGD(ps, lr=0.1, maximize=True)), BEFORE + 0.1 * sum(GRADS))


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_momentum_and_decay_by_hand(nesterov):
    p, v = BEFORE, None
    for g in GRADS:
        g = g + 0.01 * p
        v = g if v is None else 0.9 * v + g
        p = p - 0.1 * (g + 0.9 * v if nesterov else v)
    got = run(lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov))
    np.testing.assert_allclose(got, p)


def test_sgd_dampening_spares_the_first_step():
    v = GRADS[0]
    p = BEFORE - 0.1 * v
    for g in GRADS[1:]:
        v = 0.9 * v + 0.5 * g
        p = p - 0.1 * v
    np.testing.assert_allclose(run(lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.5)), p)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_adam_by_hand(kind, amsgrad):
    p, m, v, top = BEFORE, 0.0, 0.0, 0.0
    for t, g in enumerate(GRADS, start=1):
        if kind is optim.AdamW:
            p = p - 0.1 * 0.3 * p
        else:
            g = g + 0.3 * p
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        top = np.maximum(top, v) if amsgrad else v
        p = p - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(top / (1 - 0.9**t)) + 1e-3)
    got = run(lambda ps: kind(ps, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.3, amsgrad=amsgrad))
    np.testing.assert_allclose(got, p)


def test_first_step_of_adam_is_lr_whatever_the_gradient():
    np.testing.assert_allclose(run(optim.Adam, GRADS[:1]), BEFORE - 1e-3 * np.sign(GRADS[0]), rtol=1e-7)


def test_defaults_are_pytorchs():
    p = nn.Parameter(minigrad.ones(1))
    assert optim.SGD([p]).defaults["lr"] == 1e-3
    assert optim.Adam([p]).defaults["weight_decay"] == 0
    group = optim.AdamW([p]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-8, 1e-2)
    assert "fused" in inspect.signature(optim.AdamW).parameters
    optim.AdamW([p], fused=True, foreach=False)


MAKERS = [
    lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.1),
    lambda ps: optim.Adam(ps, weight_decay=0.1, amsgrad=True),
    optim.AdamW,
]


@pytest.mark.parametrize("settings", [{}, {"amsgrad": True, "weight_decay": 0.1}])
def test_small_parameters_are_updated_together_and_nothing_changes(settings, monkeypatch):
    """Of several ages, dtypes and shapes, each without a gradient at times, and a state put back halfway."""

    def train():
        rng = np.random.default_rng(0)
        shapes = [(), (3,), (2, 5), (4,), (SMALL + 1,), (3,)]
        params = [nn.Parameter(rng.normal(size=n).astype(np.float64 if n == (4,) else np.float32)) for n in shapes]
        params.append(nn.Parameter(np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float32))))
        optimizer = optim.AdamW(params, lr=0.1, **settings)
        for step in range(8):
            for i, p in enumerate(params):
                dtype = {2: np.float64, 3: np.float32}.get(i, p.dtype)  # of two, not the parameter's own
                p.grad = None if (step + i) % (i + 2) == 1 else Tensor(rng.normal(size=p.shape).astype(dtype))
            optimizer.step()
            if step == 0:
                early = optimizer.state_dict()["state"][2]["exp_avg"]
            if step == 3:
                optimizer.load_state_dict(optimizer.state_dict())
        return params, optimizer, early

    params, optimizer, early = train()
    monkeypatch.setattr(optim.Adam, "elementwise", False)
    for p, q in zip(params, (alone := train())[0], strict=True):
        assert p.shape == q.shape and p.data.numpy().tobytes() == q.data.numpy().tobytes()
        kept, own = optimizer.state[p], alone[1].state[q]
        assert kept.keys() == own.keys() and kept["step"] == own["step"]
        assert all(np.array_equal(kept[name].numpy(), own[name].numpy()) for name in kept if name != "step")
    assert len({optimizer.state[p]["step"] for p in params}) > 1
    assert np.array_equal(early.numpy(), alone[2].numpy())  # what state_dict gave goes on with the state


@pytest.mark.parametrize("part", [slice(None), slice(1, 3)])
def test_two_parameters_in_one_memory_both_move_it(part):
    p = nn.Parameter(tensor([1.0, 2.0, 3.0, 4.0]))
    q = nn.Parameter(p.data[part])
    for _ in range(2):
        p.grad, q.grad = minigrad.ones(p.shape), minigrad.ones(q.shape)
        optim.Adam([p, q], lr=0.5).step()  # the first step moves each element by lr
    np.testing.assert_allclose(p.data[part].numpy(), np.array([-1.0, 0.0, 1.0, 2.0])[part], atol=1e-6)


def test_an_update_of_ones_own_gets_each_parameter_in_its_shape():
    seen = []

    class Looking(optim.AdamW):
        def update(self, p, grad, state, group):
            seen.append(p.shape)
            super().update(p, grad, state, group)

    params = [nn.Parameter(minigrad.ones(n)) for n in ((2,), (3, 2))]
    for p in params:
        p.grad = minigrad.ones(p.shape)
    Looking(params).step()
    assert seen == [(2,), (3, 2)]


@pytest.mark.parametrize("make", MAKERS)
def test_float32_stays_float32_and_blocks_do_not_matter(make):
    rng = np.random.default_rng(0)
    start, g = (rng.standard_normal((2, BLOCK + 7)).astype(np.float32) for _ in range(2))
    whole, parts = nn.Parameter(start.copy()), [nn.Parameter(row.copy()) for row in start]
    strided = nn.Parameter(np.asfortranarray(start))
    optimizer = make([whole, *parts, strided])
    optimizer.param_groups[0]["lr"] = np.float64(0.01)
    for _ in range(2):
        whole.grad, strided.grad = Tensor(g.copy()), Tensor(np.asfortranarray(g))
        for part, row in zip(parts, g, strict=True):
            part.grad = Tensor(row.copy())
        optimizer.step()
    assert whole.dtype == strided.dtype == np.float32
    for kept in optimizer.state.values():
        assert all(value.dtype == np.float32 for value in kept.values() if isinstance(value, Tensor))
    np.testing.assert_array_equal(whole._array, np.stack([part._array for part in parts]))
    np.testing.assert_array_equal(whole._array, strided._array)
    assert (whole._array != start).all()


def test_parameters_without_gradient_are_left_alone():
    a, b = nn.Parameter(minigrad.ones(2)), nn.Parameter(minigrad.ones(2))
    optimizer = optim.AdamW([a, b])
    optimizer.step()
    a.grad = minigrad.ones(2)
    optimizer.step()
    assert b.tolist() == [1, 1] and a.tolist() != [1, 1] and b not in optimizer.state
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert a.grad is None


def test_tied_weights_are_updated_once():
    table, head = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)
    head.weight = table.weight
    before = table.weight.detach().clone()
    optimizer = optim.SGD(nn.Sequential(table, head).parameters(), lr=0.5)
    head(table(tensor([0, 1]))).sum().backward()
    grad = table.weight.grad.clone()
    optimizer.step()
    assert table.weight.detach().equal(before - 0.5 * grad)


def test_closure_runs_with_gradients():
    p = nn.Parameter(tensor([2.0]))
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4 and p.item() == 1


def test_an_update_between_forward_and_backward_is_noticed():
    p, x = nn.Parameter(tensor([2.0])), tensor([3.0], requires_grad=True)
    loss = (p * x).sum()
    p.grad = minigrad.ones(1)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_groups_have_settings_of_their_own():
    a, b = nn.Parameter(minigrad.ones(1)), nn.Parameter(minigrad.ones(1))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b}], lr=0.1)
    a.grad, b.grad = minigrad.ones(1), minigrad.ones(1)
    optimizer.step()
    assert a.item() == 0.5 and b.item() == pytest.approx(0.9)
    optimizer.add_param_group({"params": nn.Parameter(minigrad.ones(1)), "lr": 3})
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1, 3]
    assert "Parameter Group 2: 1 tensors" in repr(optimizer)


def test_clear_errors():
    p = nn.Parameter(minigrad.ones(1))
    with pytest.raises(ValueError, match="no parameters"):
        optim.SGD([])
    with pytest.raises(ValueError, match="twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match="twice"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(ValueError, match="lr must not be negative"):
        optim.AdamW([p], lr=-1)
    with pytest.raises(ValueError, match=r"betas\[1\]"):
        optim.Adam([p], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(TypeError, match="single tensor"):
        optim.SGD(p)
    with pytest.raises(TypeError, match="got str"):
        optim.SGD(["p"])
    with pytest.raises(ValueError, match="leaves"):
        optim.SGD([p * 2])


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (optim.SGD, {"momentum": 0.9}),
        (optim.AdamW, {"amsgrad": True}),
        (optim.RMSprop, {"momentum": 0.9, "centered": True}),
        (optim.NAdam, {}),
    ],
)
def test_the_state_of_a_single_number_comes_back_from_a_file(make, settings, tmp_path):
    def steps(start, count, state=None):
        p = nn.Parameter(tensor(start))
        optimizer = make([p], lr=0.1, **settings)
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(count):
            p.grad = 2 * p.detach()
            optimizer.step()
        return p.item(), optimizer.state_dict()

    there, state = steps(3.0, 2)
    minigrad.save(state, tmp_path / "state.npz")
    loaded = minigrad.load(tmp_path / "state.npz")
    assert steps(there, 2, loaded)[0] == steps(3.0, 4)[0] != there
    for kept in loaded["state"].values():  # PyTorch keeps all of it as tensors
        kept.update({name: minigrad.as_tensor(value).double() for name, value in kept.items()})
    assert steps(there, 2, loaded)[0] == steps(3.0, 4)[0]


def training(make, steps, start=None):
    """Some steps on a fixed task, from the beginning or from a saved state; the model's weights and the whole state."""
    minigrad.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = make(net.parameters())
    schedule = lr_scheduler.CosineWarmup(optimizer, 3, 10, 1e-4)
    first = 0
    if start is not None:
        first, saved_net, saved_optimizer, saved_schedule = start
        net.load_state_dict(saved_net)
        optimizer.load_state_dict(saved_optimizer)
        schedule.load_state_dict(saved_schedule)
    for i in range(first, steps):
        x = Tensor(np.random.default_rng(i).standard_normal((5, 3)).astype(np.float32))
        optimizer.zero_grad()
        (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        schedule.step()
    return steps, net.state_dict(), optimizer.state_dict(), schedule.state_dict()


@pytest.mark.parametrize("make", MAKERS)
def test_resuming_is_exact(make):
    whole = training(make, 8)
    resumed = training(make, 8, start=training(make, 5))
    assert all(a.equal(resumed[1][name]) for name, a in whole[1].items())
    assert whole[2]["param_groups"] == resumed[2]["param_groups"] and whole[3] == resumed[3]


def test_state_dict_has_pytorchs_layout():
    saved = training(optim.AdamW, 2)[2]
    assert list(saved) == ["state", "param_groups"]
    assert list(saved["state"]) == [0, 1, 2, 3] == saved["param_groups"][0]["params"]
    assert set(saved["state"][0]) == {"step", "exp_avg", "exp_avg_sq"} and saved["state"][0]["step"] == 2
    assert saved["state"][0]["exp_avg"].shape == (4, 3)


def test_loading_a_state_that_does_not_fit():
    saved = training(optim.AdamW, 2)[2]
    with pytest.raises(ValueError, match=r"\[4\] parameters"):
        optim.AdamW([nn.Parameter(minigrad.ones(1))]).load_state_dict(saved)
    other = optim.AdamW([nn.Parameter(minigrad.ones(2)) for _ in range(4)])
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(4, 3\)"):
        other.load_state_dict(saved)
    assert not other.state


def rates(make, steps, lr=1.0):
    optimizer = optim.SGD([nn.Parameter(minigrad.ones(1))], lr=lr)
    schedule = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        assert schedule.get_last_lr() == [found[-1]]
        optimizer.step()
        schedule.step()
    return found


def test_schedules():
    assert rates(lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (t + 1)), 3, lr=2.0) == [2, 1, pytest.approx(2 / 3)]
    assert rates(lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5), 5) == [1, 1, 0.5, 0.5, 0.25]
    cosine = rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 4, eta_min=0.2), 6)
    np.testing.assert_allclose(cosine, [0.6 + 0.4 * math.cos(math.pi * t / 4) for t in range(6)])


def test_nanogpts_schedule():
    found = rates(lambda o: lr_scheduler.CosineWarmup(o, 4, 8, min_lr=0.1), 11)
    np.testing.assert_allclose(found[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(found[6], 0.55)
    np.testing.assert_allclose(found[8:], 0.1)
    assert rates(lambda o: lr_scheduler.CosineWarmup(o, 0, 0, min_lr=0.1), 2) == [0.1, 0.1]


def test_noam_rises_then_falls():
    found = rates(lambda o: lr_scheduler.Noam(o, 512, 4000), 3)
    np.testing.assert_allclose(found, [512**-0.5 * n * 4000**-1.5 for n in (1, 2, 3)])
    found = rates(lambda o: lr_scheduler.Noam(o, 64, 4, factor=2.0), 10)
    assert found.index(max(found)) == 3 and found[8] == pytest.approx(2 / 8 / 3)
