"""L-BFGS: it ends where the minimum is known, and takes PyTorch's steps where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim

SETTINGS = [
    {"lr": 0.1}, {"lr": 1.0, "max_iter": 4, "history_size": 2}, {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 5, "history_size": 3, "lr": 0.5}, {"lr": 0.5, "max_eval": 3},
]  # fmt: skip


def rosenbrock(x):
    return ((1 - x[:-1]) ** 2 + 10 * (x[1:] - x[:-1] ** 2) ** 2).sum()


def run(library, loss, settings, steps):
    x = library.tensor(np.array([-0.5, 0.7, 0.2]), requires_grad=True)
    optimizer = library.optim.LBFGS([x], **settings)
    seen = []

    def closure():
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        seen.append(value.item())
        return value

    first = [optimizer.step(closure).item() for _ in range(steps)]
    return x.detach().numpy(), seen, first


def test_it_finds_the_minimum():
    x, seen, first = run(mg, rosenbrock, {"line_search_fn": "strong_wolfe", "tolerance_change": 0}, 9)
    np.testing.assert_allclose(x, 1, atol=1e-5)
    assert first[0] == seen[0] == rosenbrock(mg.tensor(np.array([-0.5, 0.7, 0.2]))).item()
    matrix = mg.tensor(np.diag([1.0, 5.0, 20.0]))
    x, seen, _ = run(mg, lambda x: (x @ matrix @ x) / 2 - x.sum(), {"line_search_fn": "strong_wolfe"}, 2)
    np.testing.assert_allclose(x, [1, 1 / 5, 1 / 20], atol=1e-6)
    assert len(seen) < 40


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_takes_pytorchs_steps(settings):
    torch = pytest.importorskip("torch")
    steps = 2
    (x, seen, first), (y, wanted, start) = (run(library, rosenbrock, settings, steps) for library in (mg, torch))
    count = min(len(seen), len(wanted))
    np.testing.assert_allclose(seen[:count], wanted[:count], 1e-5, 1e-9)
    assert len(seen) == len(wanted)
    np.testing.assert_allclose(first, start, 1e-5, 1e-9)
    np.testing.assert_allclose(x, y, 1e-5, 1e-7)


def test_what_it_needs_is_said():
    x = mg.ones(1, requires_grad=True)
    with pytest.raises(TypeError, match="needs a closure"):
        optim.LBFGS([x]).step()
    with pytest.raises(ValueError, match="one group"):
        optim.LBFGS([{"params": [x]}, {"params": [mg.ones(1, requires_grad=True)]}])
    with pytest.raises(ValueError, match="strong_wolfe"):
        optim.LBFGS([x], line_search_fn="armijo")
