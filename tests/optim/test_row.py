"""Small parameters in one row of memory: what moves into it, what does not, and that nothing else tells."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim
from minigrad.core.tensor import Tensor
from minigrad.nn.utils import clip_grad_norm_


def model():
    minigrad.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def loss(net, step=0):
    return net(Tensor(np.random.default_rng(step).standard_normal((5, 3)).astype(net[0].weight.dtype))).pow(2).sum()


def trained(steps, net=None, optimizer=None, events=()):
    net = model() if net is None else net
    optimizer = optimizer or optim.AdamW(net.parameters(), lr=0.1)
    for step in range(steps):
        for at, event in events:
            if at == step:
                event(net, optimizer)
        optimizer.zero_grad()
        loss(net, step).backward()
        clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return net, optimizer


def rows(params):
    return {id(p._array.base) for p in params if p._array.base is not None}


def bits(net, optimizer):
    kept = [
        value.numpy().tobytes() if isinstance(value, Tensor) else value
        for p in net.parameters()
        for _, value in sorted(optimizer.state[p].items())
    ]
    return [p.detach().numpy().tobytes() for p in net.parameters()], kept


def test_one_update_for_all():
    calls = []

    class Counting(optim.AdamW):
        elementwise = True

        def update(self, p, grad, state, group):
            calls.append(p.shape)
            super().update(p, grad, state, group)

    net = model()
    trained(3, net, Counting(net.parameters()))
    assert calls == [(34,)] * 3 and len(rows(net.parameters())) == 1


def freeze(net, _):
    net[0].bias.requires_grad_(False)


def thaw(net, _):
    net[0].bias.requires_grad_(True)


def replace(net, _):
    net[1].weight.data = Tensor(np.full(4, 2.0, np.float32))


def view(net, _):
    net[2].weight.data = Tensor(np.arange(8, dtype=np.float32).reshape(4, 2).T)


def load(net, optimizer):
    net.load_state_dict({name: value * 0.5 for name, value in net.state_dict().items()})
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def forget(net, optimizer):
    del optimizer.state[net[0].weight]


def put(net, optimizer):
    optimizer.state[net[0].weight]["exp_avg"] = Tensor(np.ones((4, 3), np.float32))


def single(net, optimizer):
    optimizer.param_groups[0]["params"].remove(net[0].weight)
    optimizer.add_param_group({"params": [net[0].weight], "lr": 0.01})


@pytest.mark.parametrize(
    "events",
    [
        [],
        [(0, freeze), (2, thaw)],
        [(2, freeze), (4, thaw)],
        [(2, lambda net, _: net.double()), (4, lambda net, _: net.float())],
        [(2, replace)],
        [(2, view)],
        [(0, replace), (3, load)],
        [(2, forget)],
        [(2, put)],
        [(2, single)],
        [(2, lambda net, optimizer: optimizer.param_groups[0].update(amsgrad=True))],
        [(3, lambda net, optimizer: optimizer.state.clear())],
    ],
)
def test_whatever_happens_the_bits_are_those_of_one_at_a_time(events, monkeypatch):
    together = bits(*trained(6, events=events))
    monkeypatch.setattr(optim.Adam, "elementwise", False)
    assert together == bits(*trained(6, events=events))


@pytest.mark.parametrize(
    "share",
    [
        lambda net: net[0].weight.detach(),
        lambda net: net.state_dict()["0.weight"],
        lambda net: net[0].weight.data[:],
        lambda net: net[0].weight.data.reshape(-1),
        lambda net: Tensor(net[0].weight.detach().numpy()),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_who_shares_the_memory_of_a_weight_goes_on_sharing_it(share, before):
    net, optimizer = trained(before)
    shared = share(net)
    trained(3, net, optimizer)
    assert np.array_equal(shared.numpy().reshape(-1), net[0].weight.detach().numpy().reshape(-1))
    del shared
    trained(2, net, optimizer)
    assert len(rows(net.parameters())) == 1  # nobody holds it any more


def test_a_graph_kept_over_the_first_step_refuses():
    net = model()
    kept = loss(net)
    trained(1, net)
    with pytest.raises(RuntimeError, match=r"in place|written|changed"):
        kept.backward()


def test_writing_one_weight_does_not_spoil_a_graph_that_needs_another():
    net, optimizer = trained(2)
    assert len(rows(net.parameters())) == 1
    x = Tensor(np.ones((1, 3), np.float32), requires_grad=True)
    kept = net[0](x).sum()
    net[2].weight.data.zero_()
    kept.backward()
    kept = net[0](x).sum()
    optimizer.zero_grad()
    net[2](Tensor(np.ones((1, 4), np.float32))).sum().backward()
    optimizer.step()  # of the last layer alone
    kept.backward()
    kept = net[0](x).sum()
    net[0].weight.data.zero_()
    with pytest.raises(RuntimeError):
        kept.backward()


def test_a_frozen_weight_can_be_written_to_in_a_graph():
    net, _ = trained(2)
    weight = net[0].weight.requires_grad_(False)
    x = Tensor(np.float32(2), requires_grad=True)
    weight.mul_(x)
    weight.sum().backward()
    assert x.grad is not None


def test_gradients_stay_the_users():
    net, optimizer = trained(2)
    optimizer.zero_grad()
    loss(net).backward()
    held = net[0].weight.grad
    before = held.numpy().copy()
    total = float(clip_grad_norm_(net.parameters(), 0.5))
    np.testing.assert_allclose(held.numpy(), before * (0.5 / total), rtol=1e-5)  # PyTorch scales p.grad in place
    assert net[0].weight.grad is held
    clipped = held.numpy().copy()
    optimizer.step()
    optimizer.zero_grad()
    loss(net).backward()
    optimizer.step()
    assert np.array_equal(held.numpy(), clipped)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_by_itself(copied):
    pair = trained(3)
    net, optimizer = copied(pair)
    before = bits(*pair)
    trained(2, net, optimizer)
    assert bits(*pair) == before
    assert bits(net, optimizer) == bits(*trained(2, *pair))


def test_resumed_bit_for_bit():
    net, optimizer = trained(3)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    fresh = model()
    again = optim.AdamW(fresh.parameters(), lr=0.1)
    fresh.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    assert bits(*trained(4, fresh, again)) == bits(*trained(4, net, optimizer))


def test_the_state_dict_shares_memory_with_the_row():
    net, optimizer = trained(2)
    shown = optimizer.state_dict()["state"][0]["exp_avg"]
    trained(2, net, optimizer)
    assert np.array_equal(shown.numpy(), optimizer.state[net[0].weight]["exp_avg"].numpy())


def test_a_dropped_optimizer_leaves_the_weights_and_no_cycle():
    gc.disable()
    try:
        net, optimizer = trained(3)
        gone = weakref.ref(optimizer)
        before = [p.detach().numpy().copy() for p in net.parameters()]
        del optimizer
        assert gone() is None
        assert all(np.array_equal(a, p.detach().numpy()) for a, p in zip(before, net.parameters(), strict=True))
    finally:
        gc.enable()
    trained(2, net)
    assert len(rows(net.parameters())) == 1  # another optimizer, the same row


def test_two_optimizers_take_turns():
    net = model()
    first, second = (optim.AdamW(net.parameters(), lr=lr) for lr in (0.1, 0.01))
    alone = model()
    third, fourth = (optim.AdamW(alone.parameters(), lr=lr) for lr in (0.1, 0.01))
    third.elementwise = fourth.elementwise = False
    for _ in range(3):
        trained(1, net, first), trained(2, net, second)
        trained(1, alone, third), trained(2, alone, fourth)
    assert bits(net, first) == bits(alone, third) and bits(net, second) == bits(alone, fourth)


def test_workers_see_the_row():
    net, alone = model(), model()
    shared = nn.DataParallel(net, range(2))
    optimizers = optim.AdamW(net.parameters(), lr=0.1), optim.AdamW(alone.parameters(), lr=0.1)
    x = Tensor(np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32))
    try:
        for _ in range(4):
            for module, optimizer in zip((shared, alone), optimizers, strict=True):
                optimizer.zero_grad()
                module(x).pow(2).sum().backward()
                optimizer.step()
    finally:
        shared.close()
    assert len(rows(net.parameters())) == 1
    for p, q in zip(net.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-3, atol=1e-4)


def test_a_weight_keeps_its_layout():
    net = model()
    net[2].weight.data = Tensor(np.asfortranarray(np.ones((2, 4), np.float32)))
    trained(2, net)
    assert net[2].weight._array.flags.f_contiguous and net[2].weight._array.base is None
    assert len(rows(net.parameters())) == 1  # of the others


def test_who_shares_the_memory_of_a_moment_goes_on_sharing_it():
    net, optimizer = trained(2)
    optimizer.load_state_dict(optimizer.state_dict())
    held = optimizer.state[net[0].weight]["exp_avg"].numpy()
    before = held.copy()
    trained(2, net, optimizer)
    assert np.array_equal(held, optimizer.state[net[0].weight]["exp_avg"].numpy())
    assert not np.array_equal(held, before)


def test_moments_keep_their_dtypes():
    net, optimizer = trained(2)
    kept = optimizer.state[net[0].weight]
    kept["exp_avg"] = kept["exp_avg"].double()
    trained(2, net, optimizer)
    dtypes = [optimizer.state[p]["exp_avg"].dtype for p in net.parameters()]
    assert dtypes == [np.float64] + [np.float32] * 5


def test_a_graph_that_saved_a_gradient_hears_that_it_was_clipped():
    net, _ = trained(1)
    x = Tensor(np.ones((4, 3), np.float32), requires_grad=True)
    kept = (net[0].weight.grad * x).sum()
    (x * 2).sum().backward()  # another graph does not mind
    clip_grad_norm_(net.parameters(), 1e-3)
    with pytest.raises(RuntimeError, match=r"in place|written|changed"):
        kept.backward()


def test_a_part_and_its_row_are_noted_apart():
    net, optimizer = trained(2)
    before = minigrad.core.written.writes.latest
    net[0].weight.data.zero_()
    times = [minigrad.core.written.writes.time(p._array) for p in net.parameters()]
    assert times[0] > before >= max(times[1:]) > 0
    trained(1, net, optimizer)
    assert min(minigrad.core.written.writes.time(p._array) for p in net.parameters()) > times[0]
