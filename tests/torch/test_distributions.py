"""Distributions against known values, their own draws, and PyTorch where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.distributions import Bernoulli, Categorical, Normal, Uniform, kl_divergence, register_kl

P = [[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]]


def test_known_values():
    normal = Normal(1.0, 2.0)
    assert math.isclose(
        normal.log_prob(mg.tensor(3.0)).item(), -0.5 - math.log(2 * math.sqrt(2 * math.pi)), rel_tol=1e-6
    )
    assert math.isclose(normal.entropy().item(), 0.5 * math.log(2 * math.pi * math.e * 4), rel_tol=1e-6)
    assert math.isclose(normal.cdf(mg.tensor(3.0)).item(), 0.8413447, rel_tol=1e-5)
    coin = Bernoulli(mg.tensor([0.25, 1.0]))
    assert np.allclose(coin.log_prob(mg.tensor([1.0, 1.0])), [math.log(0.25), 0], atol=1e-6)
    assert np.allclose(coin.entropy(), [-0.25 * math.log(0.25) - 0.75 * math.log(0.75), 0], atol=2e-6)
    dice = Categorical(mg.tensor([2.0, 1.0, 1.0]))
    assert np.allclose(dice.log_prob(mg.tensor([0, 2])), [math.log(0.5), math.log(0.25)])
    assert math.isclose(dice.entropy().item(), 1.5 * math.log(2), rel_tol=1e-6) and dice.mode == 0
    box = Uniform(1.0, 3.0)
    assert np.allclose(box.log_prob(mg.tensor([1.0, 2.9, 3.0])), [-math.log(2), -math.log(2), -math.inf])
    assert math.isclose(box.entropy().item(), math.log(2), rel_tol=1e-6)
    assert math.isclose(
        kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0)).item(), math.log(2) + 2 / 8 - 0.5, rel_tol=1e-6
    )
    assert kl_divergence(Categorical(mg.tensor([0.5, 0.5])), Categorical(mg.tensor([1.0, 0.0]))).item() == math.inf
    assert repr(normal) == "Normal(loc: 1.0, scale: 2.0)" and repr(dice) == "Categorical(probs: (3,))"


@pytest.mark.parametrize(
    ("made", "mean", "deviation"),
    [
        (lambda: Normal(mg.tensor([1.0, -1.0]), 0.5), [1, -1], 0.5),
        (lambda: Uniform(mg.tensor([0.0, 2.0]), 4.0), [2, 3], [4 / 12**0.5, 2 / 12**0.5]),
        (lambda: Bernoulli(mg.tensor([0.2, 0.9])), [0.2, 0.9], [0.4, 0.3]),
        (lambda: Categorical(mg.tensor(P)), [1.1, 0.5], [0.7, 0.65**0.5]),
    ],
)
def test_draws_have_the_moments(made, mean, deviation):
    mg.manual_seed(3)
    draws = made().sample((20000,))
    assert draws.shape == (20000, 2) and not draws.requires_grad
    assert np.allclose(draws.double().mean(0), mean, atol=0.03)
    assert np.allclose(draws.double().std(0), deviation, atol=0.03)


def test_gradients_through_draws_and_through_scores():
    loc, scale = mg.tensor([1.0], requires_grad=True), mg.tensor([2.0], requires_grad=True)
    draw = Normal(loc, scale).rsample((5,))
    draw.sum().backward()
    assert loc.grad.item() == 5 and np.isclose(scale.grad.item(), ((draw.detach() - 1) / 2).sum())
    logits = mg.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    policy = Categorical(logits=logits)
    (-policy.log_prob(mg.tensor([2])) * 3).sum().backward()
    assert np.allclose(logits.grad, 3 * (np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum() - [0, 0, 1]), atol=1e-6)
    with pytest.raises(NotImplementedError, match=r"Categorical has no rsample\(\)"):
        policy.rsample()


def test_what_makes_no_sense_is_refused():
    for made, said in (
        (lambda: Normal(0.0, -1.0), "scale"), (lambda: Bernoulli(mg.tensor(1.5)), "from 0 to 1"),
        (lambda: Categorical(mg.tensor([-1.0, 2.0])), "negative"), (lambda: Categorical(), "one of them"),
        (lambda: Uniform(2.0, 1.0), "below"), (lambda: Categorical(logits=mg.tensor([math.nan, 1.0])), "NaN"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            made()
    with pytest.raises(NotImplementedError, match="no formula for Normal and Uniform"):
        kl_divergence(Normal(0.0, 1.0), Uniform(0.0, 1.0))
    register_kl(Normal, Uniform)(lambda p, q: p.loc)
    try:
        assert kl_divergence(Normal(7.0, 1.0), Uniform(0.0, 1.0)).item() == 7
    finally:
        mg.distributions._KL.pop((Normal, Uniform))


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b, s, t = rng.normal(size=4), rng.normal(size=4), rng.random(4) + 0.2, rng.random(4) + 0.2
    p, q, u, v = rng.random((2, 3)), rng.random((2, 3)), rng.random(4), rng.random(4)

    def numbers(library):
        def tensor(x):
            return library.tensor(np.array(x, np.float64), requires_grad=True)

        d, given = library.distributions, [tensor(x) for x in (a, b, s, t, p, q, u, v)]
        A, B, S, T, P, Q, U, _ = given
        pairs = [
            (d.Normal(A, S), d.Normal(B, T), B),
            (d.Bernoulli(U), d.Bernoulli(logits=B), library.tensor(a > 0).double()),
            (d.Categorical(P), d.Categorical(logits=Q), library.tensor([[0, 1], [2, 2], [1, 0]])),
        ]  # fmt: skip
        found = []
        for one, two, value in pairs:
            found += [one.log_prob(value), two.log_prob(value), one.entropy(), two.entropy()]
            found += [d.kl_divergence(one, two), d.kl_divergence(two, one)]
        found += [pairs[0][0].cdf(B), d.Uniform(A - 5, A + S + 5).log_prob(B), d.Categorical(P).enumerate_support()]
        sum(f.sum() for f in found[:-1]).backward()
        return [f.detach().numpy() for f in found] + [g.grad.numpy() for g in given[:7]]

    for i, (ours, theirs) in enumerate(zip(numbers(mg), numbers(torch), strict=True)):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-7, err_msg=str(i))
