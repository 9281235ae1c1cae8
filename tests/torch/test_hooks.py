"""Hooks around an optimizer's step, and after a leaf's gradient."""

from __future__ import annotations

import pytest

import minigrad as mg
from minigrad import nn, optim


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.LBFGS])
def test_hooks_of_a_step(kind):
    net = nn.Linear(2, 1)
    optimizer, seen = kind(net.parameters(), lr=0.1), []

    def closure():
        optimizer.zero_grad()
        loss = net(mg.ones(1, 2)).sum() ** 2
        loss.backward()
        return loss

    before = net.weight.detach().clone()
    first = optimizer.register_step_pre_hook(
        lambda o, args, kwargs: seen.append((o is optimizer, net.weight.equal(before)))
    )
    optimizer.register_step_post_hook(
        lambda o, args, kwargs: seen.append((args[0] is closure, net.weight.equal(before)))
    )
    optimizer.step(closure)
    assert seen == [(True, True), (True, False)]
    first.remove()
    optimizer.step(closure)
    assert len(seen) == 3
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((closure,), {}))
    assert optimizer.step() is not None  # the hook gave the closure


def test_a_step_of_ones_own_has_hooks_too():
    class Own(optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    parameter, seen = nn.Parameter(mg.ones(1)), []
    optimizer = Own([parameter], lr=1.0)
    optimizer.register_step_post_hook(lambda *_: seen.append(parameter.item()))
    parameter.sum().backward()
    optimizer.step()
    assert seen == [0.0]


def test_a_hook_after_the_gradient_of_a_leaf_sees_all_of_it_once():
    w = nn.Parameter(mg.ones(2))
    seen = []
    handle = w.register_post_accumulate_grad_hook(lambda p: seen.append((p is w, p.grad.tolist())))
    assert isinstance(w, nn.Parameter) and type(w).__name__ == "Parameter"
    (w * 2 + w * w).sum().backward()
    w.sum().backward()
    assert seen == [(True, [4, 4]), (True, [5, 5])]
    assert mg.autograd.grad((w * 3).sum(), w)[0].tolist() == [3, 3] and len(seen) == 2
    handle.remove()
    optimizer = optim.SGD([w], lr=0.5)

    def step_now(parameter):
        optimizer.step()
        parameter.grad = None

    w.grad = None
    w.register_post_accumulate_grad_hook(step_now)
    w.sum().backward()
    assert w.grad is None and w.tolist() == [0.5, 0.5] and len(seen) == 2
    with pytest.raises(RuntimeError, match="for leaves"):
        (w * 1).register_post_accumulate_grad_hook(print)
