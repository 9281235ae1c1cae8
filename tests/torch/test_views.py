"""A view and its base are one memory, in the graph too: random programs against NumPy's own views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

VIEWS: list[Callable[[Any], Any]] = [
    lambda x: x[0, ...], lambda x: x[-1:], lambda x: x[..., 0], lambda x: x[..., 1:], lambda x: x.reshape(-1),
    lambda x: x.T, lambda x: x[None], lambda x: x[..., ::2], lambda x: x.swapaxes(0, -1),
]  # fmt: skip


def plus(x: Any, s: Any) -> Any:
    x += s
    return x


def minus_itself(x: Any, s: Any) -> Any:
    x -= x * s
    return x


def times(x: Any, s: Any) -> Any:
    x *= s
    return x


def over(x: Any, s: Any) -> Any:
    x /= 2 + s * s
    return x


def put(x: Any, s: Any) -> Any:
    x[0, ...] = s
    return x


def fill(x: Any, s: Any) -> Any:
    x[...] = s * 3
    return x


WRITES = [plus, minus_itself, times, over, put, fill]


def program(rng: np.random.Generator) -> Callable[[Any, Any], Any]:
    """A function of (3, 4) and a number that makes views, writes, results, and sums all there is at the end."""
    steps = [(rng.choice(["view", "view", "write", "result"]), rng.integers(9), rng.integers(9)) for _ in range(9)]
    shares = rng.normal(size=20)

    def run(w: Any, s: Any) -> Any:
        every = [w * 1]
        for kind, which, how in steps:
            x = every[which % len(every)]
            if kind == "result":
                every.append(x + s * 2)
            elif kind == "view" and x.ndim:
                every.append(VIEWS[how % len(VIEWS)](x))
            elif kind == "write" and x.ndim:
                every[which % len(every)] = WRITES[how % len(WRITES)](x, s)
        return sum((x * x).sum() * share for x, share in zip(every, shares, strict=False))

    return run


def slopes(run: Callable[[Any, Any], Any], w: np.ndarray, s: np.ndarray) -> list[np.ndarray]:
    """Central differences for each element of both."""
    found = []
    for x in (w, s):
        slope = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            ends = []
            for step in (1e-6, -1e-6):
                x[at] += step
                ends.append(run(w, s))
                x[at] -= step
            slope[at] = (ends[0] - ends[1]) / 2e-6
        found.append(slope)
    return found


def test_random_programs_give_numpys_values_and_their_slopes():
    right = refused = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        run = program(rng)
        w, s = rng.normal(size=(3, 4)), np.array(rng.normal())
        x, y = mg.tensor(w, requires_grad=True), mg.tensor(s, requires_grad=True)
        z = run(x, y)
        assert z.item() == pytest.approx(float(run(w, s)), rel=1e-9, abs=1e-9), seed
        try:
            z.backward()
        except RuntimeError as error:
            assert "changed in place" in str(error), seed
            refused += 1
            continue
        dw, ds = slopes(run, w, s)
        np.testing.assert_allclose(x.grad.numpy(), dw, rtol=1e-4, atol=1e-5, err_msg=str(seed))
        np.testing.assert_allclose(0 if y.grad is None else y.grad.numpy(), ds, rtol=1e-4, atol=1e-5, err_msg=str(seed))
        right += 1
    assert right > 150, f"{refused} of 300 programs are refused"


def test_a_name_of_the_same_tensor_sees_what_is_written():
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    for write in (plus, times, over, minus_itself):
        h = w * 1
        other, view = h, h[1:]
        write(h, mg.tensor(3.0))
        assert other.tolist() == h.tolist() and view.tolist() == h.tolist()[1:]
    h = w * 1
    other = h
    h **= 2
    assert other is h and h.tolist() == [1, 4]
    h.sum().backward()
    assert w.grad.tolist() == [2, 4]


def test_elements_diagonals_and_windows_are_views_and_copies_are_copies():
    x = mg.tensor([1.0, 2.0, 3.0])
    x[0].add_(5)
    for e in x:
        e.mul_(2)
    assert x.tolist() == [12, 4, 6]
    x.flip(0).zero_(), x.repeat(1).zero_(), x.tile(1).zero_(), x.repeat(2, 1).zero_(), x[[0, 1]].zero_()
    assert x.tolist() == [12, 4, 6]
    x.unfold(0, 2, 1)[1].zero_()
    assert x.tolist() == [12, 0, 0]
    m = mg.zeros(2, 3)
    m.diagonal().add_(1)
    m.diagonal(1)[-1] = 5
    mg.diag(mg.eye(2)).zero_()
    assert m.tolist() == [[1, 0, 0], [0, 1, 5]]
    mg.zeros(3).expand(3).add_(1)
    with pytest.raises(RuntimeError, match=r"expand.*clone"):
        mg.zeros(1).expand(3).add_(1)


def test_a_write_to_a_view_reaches_the_base_in_the_graph_and_other_views_follow():
    w = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    h = w * 1
    column, flat = h[:, 0], h.view(-1)
    h[0].mul_(10)
    assert column.tolist() == [10, 3] and flat.tolist() == [10, 20, 3, 4]
    (column.sum() + 2 * flat.sum()).backward()
    assert w.grad.tolist() == [[30, 20], [3, 2]]
    zeros, v = mg.zeros(2, 2), mg.tensor(5.0, requires_grad=True)
    before = zeros[1]
    zeros[0][1] = v
    zeros.diagonal().mul_(v)
    assert zeros.requires_grad and before.requires_grad
    zeros.sum().backward()
    assert v.grad.item() == 1


def test_writes_that_have_no_right_place_are_refused():
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="no_grad"):
        w[0].add_(1)
    h = w * 1
    with mg.no_grad():
        view = h[:1]
    with pytest.raises(RuntimeError, match=r"made under no_grad\(\)"):
        view.add_(1)
    y = w.exp()
    y += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_the_gradient_kept_is_that_of_the_value_written_last():
    a = mg.tensor([1.0], requires_grad=True).clone()
    a.retain_grad()
    a.mul_(2)
    (a * 3).sum().backward()
    assert a.grad.tolist() == [3]


def test_a_written_number_has_a_gradient():
    t = mg.tensor(2.0, requires_grad=True)
    x = mg.tensor(1.0, requires_grad=True)
    y = x * 1
    y[...] = t
    (y * 3).backward()
    assert t.grad.item() == 3 and x.grad.item() == 0
