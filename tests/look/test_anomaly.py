"""Each way to a NaN is stopped at its op, with the place, the inputs there, and the cause."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.autograd import AnomalyError, detect_anomaly
from minigrad.core.graph import state
from minigrad.nn import functional as F

inf, nan = float("inf"), float("nan")


def tensor(*data, dtype=mg.float32, learned=True) -> mg.Tensor:
    return mg.tensor(data, dtype=dtype, requires_grad=learned)


def stopped(func) -> str:
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        func()
    return str(caught.value)


@pytest.mark.parametrize(
    ("func", "made", "cause"),
    [
        (lambda: tensor(1, 0).log(), r"log\(\(2,\)\) made -inf at index \[1\]", "the log of 0"),
        (lambda: tensor(1, -2).log(), r"log\(\(2,\)\) made nan at index \[1\]", "the log of a negative number"),
        (lambda: tensor(-1).sqrt(), "sqrt", "the square root of a negative number"),
        (lambda: tensor(1, 1) / tensor(1, 0), r"div.* made inf at index \[1\]", "a division by 0"),
        (lambda: tensor(1.0) / 1e-40, "div", "a division by 1e-40, which is too close to 0"),
        (lambda: tensor(0.0) / 0, "div", "0 / 0: both are 0 there"),
        (lambda: tensor(-1.0) ** 0.5, "pow", "a negative number to a power that is not whole"),
        (lambda: tensor(0.0) ** -1, "pow", "0 to a negative power"),
        (lambda: tensor(3, 89).exp(), "exp", r"exp overflows float32 above 88\.7"),
        (lambda: tensor(710, dtype=mg.float64).exp(), "exp", r"exp overflows float64 above 709\.8"),
        (lambda: tensor(1e38, 1e38, learned=False) * 10, "mul", "overflow: float32 ends at 3.4e.38"),
        (lambda: tensor(300.0, dtype=mg.float16) ** 2, "pow", r"overflow: float16 ends at 6\.55e\+04"),
        (lambda: tensor(1e5).half(), "cast", "overflow: float16 ends"),
        (lambda: mg.zeros(3, 2) @ tensor([1.0, nan], [0, 0]), "mat", r"y of matmul came in with nan at index \[0, 1\]"),
        (lambda: tensor(1, nan, learned=False) + 1, "add", "x of add came in with nan .* look at the data"),
        (lambda: tensor(1, inf) * 2, "mul", "x of mul came in with inf .* learned: it held inf from the start, or"),
        (lambda: mg.tensor(inf) - mg.tensor(inf), "sub", "inf - inf, which is no number"),
        (lambda: mg.tensor([-inf, 0]) * mg.tensor([0.0, 1]), r"mul.* made nan at index \[0\]", "an infinity times 0"),
        (lambda: F.cross_entropy(tensor([1.0, 2]), mg.tensor([-100])), "cross_entropy", "every target is ignore_index"),
        (lambda: F.cross_entropy(mg.tensor([[-inf, 2]]), mg.tensor([0])), "cross_", "the score of a target is -inf"),
        (lambda: mg.zeros(0).mean(), "mean", "the mean of no elements"),
    ],
)  # fmt: skip
def test_forward(func, made, cause):
    text = stopped(func)
    assert re.match(made, text) and re.search(f"likely cause: .*{cause}", text), text
    assert "test_anomaly.py" in text


def test_a_softmax_by_hand_of_a_masked_row():
    def softmax(x):
        e = (x - x.max(-1, keepdim=True).values).exp()
        return e / e.sum(-1, keepdim=True)

    scores = tensor([1.0, 2], [3.0, 4])
    masked = scores.masked_fill(mg.tensor([[False, True], [True, True]]), -inf)
    text = stopped(lambda: softmax(masked))
    assert text.startswith("sub((2, 2), (2, 1)) made nan at index [1, 0]")
    assert "x[1] is -inf throughout: everything in this row is masked" in text
    with detect_anomaly():
        assert masked.softmax(-1).tolist()[1] == [0, 0], "the library's own gives zeros"


@pytest.mark.parametrize(
    ("func", "made", "cause"),
    [
        (lambda: tensor(4, 0).sqrt(), r"sqrt.* made inf at index \[1\] in the gradient of x", r"take sqrt\(x \+ eps\)"),
        (lambda: (tensor(0, 0) ** 2).sum().sqrt(), "sqrt", "the slope of sqrt at 0 is infinite"),
        (lambda: tensor(0, 1) ** 0.5, "pow", "the slope of pow at 0 is infinite"),
        (lambda: tensor(1.0) / (tensor(1.0) * 1e-25), "div", "overflow: a gradient beyond 3.4e.38"),
    ],
)
def test_backward(func, made, cause):
    text = stopped(lambda: func().sum().backward())
    assert re.match(f"the backward of {made}", text) and re.search(f"likely cause: .*{cause}", text), text
    assert "test_anomaly.py" in text.splitlines()[1] and "lambda: (func" not in text, "the line of the forward pass"


def test_backward_of_a_forward_outside():
    loss = tensor(0.0).sqrt().sum()
    text = stopped(loss.backward)
    assert text.startswith("the backward of sqrt, which made (1,) float32, made inf") and "test_anomaly.py" in text


class Net(nn.Module):
    """Two layers, and a square, or a log that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)

    def forward(self, x):
        x = self.second(self.first(x))
        return x * x if self.training else (x * 0 - 1).log()


def test_the_inputs_there_and_the_ops_that_led_there():
    mg.manual_seed(0)
    text = stopped(lambda: nn.Sequential(Net()).eval()(mg.ones(5, 3)))
    assert text.startswith("log((5, 2)) made nan at index [0, 0] in 0\n")
    assert "\n  x (5, 2) is -1 there\n" in text
    assert (
        "after linear -> (5, 4) in 0.first, linear -> (5, 2) in 0.second, mul -> (5, 2) in 0, sub -> (5, 2) in 0"
    ) in text


def test_rows_and_columns_of_a_product():
    x, w = np.ones((2, 3)), np.ones((4, 3))
    x[1], w[2] = 1e200, 1e200
    x, w = mg.tensor(x), mg.tensor(w)
    text = stopped(lambda: F.linear(x, w))
    assert "made inf at index [1, 2]" in text
    assert "x (2, 3) goes from 1e+200 to 1e+200 there" in text and "weight (4, 3) goes from 1e+200 to 1e+200" in text
    text = stopped(lambda: x @ w.T)
    assert "x (2, 3) goes from 1e+200 to 1e+200 there" in text and "y (3, 4) goes from 1e+200 to 1e+200" in text
    text = stopped(lambda: mg.tensor([[1e308, 1], [1.5e308, 2]], dtype=mg.float64).sum(0))
    assert "made inf at index [0]" in text and "x (2, 2) goes from 1e+308 to 1.5e+308 there" in text


def test_weights_that_ran_away_are_named():
    mg.manual_seed(0)
    net = Net()
    with mg.no_grad():
        net.second.weight.mul_(1e30)
    text = stopped(lambda: net(mg.ones(1, 3)).sum().backward())
    assert re.search(
        r"likely cause: weight of linear in second reached [\d.]+e\+\d\d: lower the learning rate", text
    ), text


def test_a_learning_rate_that_is_too_high():
    mg.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), mg.randn(8, 3)
    optimizer = mg.optim.SGD(net.parameters(), lr=1e4)

    def train():
        for _ in range(100):
            optimizer.zero_grad()
            (net(x) ** 2).mean().backward()
            optimizer.step()

    text = stopped(train)
    assert re.search(r"weight of linear in \d reached [\d.]+e\+\d\d: lower the learning rate", text), text


def test_a_parameter_that_is_nan_already():
    net = Net()
    with mg.no_grad():
        net.second.bias[1] = nan
    text = stopped(lambda: net(mg.ones(1, 3)))
    assert "bias of linear in second came in with nan at index [1] already, and it is learned: an update made" in text


def test_what_is_meant_passes():
    with detect_anomaly():
        x = tensor([1.0, 2, 3])
        mask = mg.tensor([[True, False, True]])
        scores = x.masked_fill(mask, -inf) + mg.tensor(-inf) * 1
        assert np.isneginf(scores.detach().numpy()).all()
        (x.masked_fill(mask, -inf).softmax(-1) ** 2).sum().backward()
        assert np.isfinite(x.grad.numpy()).all()
        y = mg.tensor([1.0, nan])
        assert mg.where(mg.tensor([True, False]), y, mg.zeros(2)).tolist() == [1, 0]
        assert F.scaled_dot_product_attention(
            mg.ones(1, 2, 2), mg.ones(1, 2, 2), mg.ones(1, 2, 2), is_causal=True
        ).tolist() == [[[1, 1], [1, 1]]]


def test_it_ends_with_the_block_and_can_be_switched_off():
    with detect_anomaly():
        pass
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(tensor(-1.0).log().item())
    with detect_anomaly(check_nan=False), pytest.warns(RuntimeWarning, match="invalid value"):
        tensor(-1.0).log()


def test_another_observer_still_watches():
    seen, before = [], state.observer
    state.observer = lambda op, *_: seen.append(op.__name__)
    try:
        with detect_anomaly():
            tensor(1.0).exp()
    finally:
        state.observer = before
    assert seen == ["exp"]


def test_a_long_run_keeps_nothing():
    with detect_anomaly():
        watch = state.observer.__self__
        total = tensor(0.0)
        for _ in range(50):
            total = total.detach() + tensor(1.0) * 2
    assert len(watch.paths) <= 2 and len(watch.calls) <= 2
