"""Each planted error gets its own diagnosis, and what is right gets none."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import CASES, cotangent, differentiable

import minigrad as mg
from minigrad import nn
from minigrad.autograd import Function, GradcheckError, gradcheck
from minigrad.look.blame import check_op, record
from minigrad.look.differences import Differences
from minigrad.look.gradcheck import examine
from minigrad.nn import functional as F
from minigrad.ops import OPS


def leaf(*shape: int, seed: int = 0, dtype=mg.float32) -> mg.Tensor:
    return mg.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype, requires_grad=True)


def failure(func, inputs, **settings) -> str:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(func, inputs, **settings)
    return str(caught.value)


def square(change):
    """x * x with something done to its gradient."""

    def square(x):
        """z = x ** 2
        dx = dz * 2 * x
        """
        return x * x, lambda dz: (change(dz * 2 * x),)

    return lambda x: mg.apply(square, x)


def only(where, change):
    """The change in some places alone."""

    def changed(dx):
        dx = dx.copy()
        dx[where] = change(dx[where])
        return dx

    return changed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (np.negative, "sign flipped everywhere"),
        (lambda dx: 2 * dx, r"2 times what it should be everywhere \(counted twice\)"),
        (lambda dx: dx / 2, "0.5 times what it should be everywhere .counted half"),
        (lambda dx: 5 * dx, r"\(5 is the size of axis 0.*: a missing mean"),
        (lambda dx: dx / 5, r"1/5, 5 being the size of axis 0.*: a mean"),
        (lambda dx: dx * 3**0.5, r"sqrt\(3\), 3 being the size of axis 1: a missing 1/sqrt\(3\)"),
        (lambda dx: dx / 3**0.5, r"1/sqrt\(3\), 3 being the size of axis 1: scaled once too often"),
        (lambda dx: dx * 1.01, "1.01 times what it should be everywhere$"),
        (np.zeros_like, "backward gives 0 everywhere"),
        (lambda dx: None, "no gradient arrives"),
        (lambda dx: dx.T.reshape(5, 3), "transposed: axes 0 and 1"),
        (lambda dx: np.roll(dx, 1, 1), "shifted by 1 along axis 1"),
        (lambda dx: np.roll(dx, -1, 0), "shifted by -1 along axis 0"),
        (lambda dx: dx[::-1], "reversed along axis 0"),
        (lambda dx: dx + 0.5, "off by the same amount, 0.5 everywhere"),
        (lambda dx: dx.astype(int), "backward gives int64 where the input is float64"),
        (only((2, 1), lambda dx: np.nan), "backward gives nan at 1 of 15 elements"),
        (only((2, 1), lambda dx: np.inf), "backward gives inf at 1 of 15 elements"),
        (lambda dx: dx * np.inf, "backward gives -?inf everywhere"),
        (only(np.s_[:, 0], np.negative), r"sign flipped only in column \[0\]"),
        (only(np.s_[-1], lambda dx: 0 * dx), "backward gives 0 only in the last row"),
        (only(np.s_[1:3], lambda dx: dx**3), r"no simple pattern: wrong only in row \[1, 2\]; worst \["),
        (only(np.s_[1, 1], lambda dx: dx * 3), r"no simple pattern: wrong at 1 of 15 elements; worst \[1, 1\]"),
    ],
)
def test_one_op(change, sentence):
    text = failure(square(change), leaf(5, 3))
    assert re.search(sentence, text.splitlines()[-1]), text
    assert "the first wrong op is square\n" in text and "dx = dz * 2 * x" in text and "test_gradcheck.py" in text


def test_the_worst_element_is_shown_with_both_numbers_and_their_ratio():
    text = failure(square(only((3, 0), lambda dx: 3 * dx)), leaf(5, 3))
    numbers = re.search(r"input 0\[3, 0\]: backward says (\S+), finite difference (\S+), ratio (\S+)\n", text)
    assert float(numbers[3]) == 3 == pytest.approx(float(numbers[1]) / float(numbers[2]), rel=1e-4)
    assert text.startswith("gradcheck: 1 of 15 elements disagree")


def test_a_square_gradient_transposed():
    text = failure(square(lambda dx: dx.T), leaf(4, 4))
    assert text.endswith("transposed: axes 0 and 1 are exchanged")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, dx: np.where(x < 0, 0, dx), "gives 0 only where the input is negative"),
        (lambda x, dx: np.where(x > 0, -dx, dx), "sign flipped only where the input is positive"),
        (lambda x, dx: np.where(x == 0, 1, dx), "wrong only where the input is exactly 0"),
    ],
)
def test_wrong_for_some_values(change, sentence):
    def cube(x):
        return x * x + x, lambda dz: (change(x, dz * (2 * x + 1)),)

    x = mg.tensor([-2.0, 0.7, 0.0, 1.5, -1.2, 3.0], requires_grad=True)
    assert sentence in failure(lambda x: mg.apply(cube, x), x)


def test_swapped_operands():
    def product(x, y):
        return x * y, lambda dz: (dz * x, dz * y)

    text = failure(lambda x, y: mg.apply(product, x, y), (leaf(3), leaf(3, seed=1)))
    assert "swapped: backward gives the gradient of y to x" in text and "of x to y" in text
    assert "swapped" in failure(lambda x, y: mg.apply(product, x, y), (leaf(), leaf(seed=1)))


@pytest.mark.parametrize(
    ("reduce", "sentence"),
    [
        (lambda dz: dz[0], "not summed over axis 0 of the output: only the share of the first counts"),
        (lambda dz: dz[-1], "not summed over axis 0 of the output: only the share of the last counts"),
        (
            lambda dz: dz.mean(0),
            r"0.25 times .*1/4, 4 being the size of axis 0 of the output: a mean in place of a sum",
        ),
        (lambda dz: dz.sum(0)[0] + 0 * dz[0], "no simple pattern"),
    ],
)
def test_a_bias_whose_copies_are_not_summed(reduce, sentence):
    def shift(x, b):
        return x + b, lambda dz: (dz, reduce(dz))

    text = failure(lambda x, b: mg.apply(shift, x, b), (leaf(4, 3), leaf(3)))
    assert re.search(sentence, text) and re.search(r"\n  b\[\d\]: ", text), text


def test_a_weight_that_learns_from_a_part_of_the_batch():
    def mix(x, w):
        return x @ w, lambda dz: (dz @ w.T, x[0].T @ dz[0])

    text = failure(lambda x, w: mg.apply(mix, x, w), (leaf(4, 2, 3), leaf(3, 2)))
    assert "w[" in text and "not summed over axis 0 of the output: only the share of the first counts" in text

    def shift(x, b):
        return x + b, lambda dz: (dz, dz[-1, -1])

    text = failure(lambda x, b: mg.apply(shift, x, b), (leaf(4, 2, 3), leaf(3)))
    assert "not summed over axis 0, 1 of the output: only the share of the last counts" in text


def test_a_kink():
    def distance(x):
        return np.abs(x), lambda dz: (dz * np.where(x == 0, 3, np.sign(x)),)

    text = failure(lambda x: mg.apply(distance, x), mg.tensor([0.0, 1.0, -1.0], requires_grad=True))
    assert "a kink: the slope is" in text and "only where the input is exactly 0" in text
    right = mg.tensor([0.0, 1.0, -1.0], requires_grad=True)
    assert gradcheck(lambda x: x.relu() + x.abs(), right)


def test_rounding_is_not_called_an_error_of_the_op():
    text = failure(lambda x: (x.float() ** 2).sum() * 100, leaf(50))
    assert "within what float32 can resolve" in text and "compute in float64" in text
    assert "first wrong op" not in text


def test_what_the_backward_itself_does_wrong():
    def writes(x):
        def backward(dz):
            dz *= 2 * x
            return (dz / 3,)

        return x * x, backward

    def shape(x):
        return x * x, lambda dz: ((dz * 2 * x)[:2],)

    def count(x, y):
        return x * y, lambda dz: (dz * y * 2,)

    def no_tuple(x):
        return x * x, lambda dz: dz * 2 * x

    for op, complaint in (
        (writes, "  its backward raises ValueError: output array is read-only"),
        (shape, "  x: a gradient of shape (2,) cannot belong to an input of shape (3,)"),
        (no_tuple, "  its backward returns ndarray, not a tuple: one gradient for each input"),
    ):
        text = failure(lambda x, op=op: mg.apply(op, x), leaf(3))
        assert text.splitlines()[-1] == complaint and f"the first wrong op is {op.__name__}\n" in text
    assert "gives 1 gradients for 2 inputs" in failure(lambda x: mg.apply(count, x, x), leaf(3))


MUTANTS = {
    "sign flipped": np.negative,
    "backward gives 0": np.zeros_like,
    "1.01 times what it should be": lambda dx: 1.01 * dx,
    "counted twice": lambda dx: 2 * dx,
}


def mutant(op, place, change):
    """The op with the gradient of one input changed."""

    def mutant(*inputs, **constants):
        z, backward = op(*inputs, **constants)
        return z, lambda dz: tuple(change(np.asarray(dx)) if i == place else dx for i, dx in enumerate(backward(dz)))

    return mutant


@pytest.mark.parametrize("name", OPS)
def test_every_op_gone_wrong_is_named(name):
    cases = [case for case in CASES if case.op == name]
    differences, named = Differences(1e-6, 1e-5, 1e-3, np.random.default_rng(0)), 0
    for case in cases[:: len(cases) // 3 + 1]:
        for place, x in enumerate(case.inputs()):
            if not differentiable(x) or not np.any(gradient(case, place)):
                continue
            for sentence, change in MUTANTS.items():
                complaints, _ = check_op(as_recorded(mutant(OPS[name], place, change), case), differences)
                assert len(complaints) == 2 and sentence in complaints[1], (case, complaints)
                named += 1
    assert named


def as_recorded(op, case):
    (call,) = record(lambda: mg.apply(op, *tensors(case), **case.constants))
    return call


def tensors(case):
    return [mg.tensor(x, dtype=mg.float64, requires_grad=True) if differentiable(x) else x for x in case.inputs()]


def gradient(case, place):
    """Of an input that may have none to speak of, because it is empty or does not matter."""
    z, backward = OPS[case.op](*case.inputs(), **case.constants)
    dx = backward(cotangent(z, case))[place]
    return 0 if dx is None else np.abs(dx) > 1e-6


# Outside the ops


@pytest.mark.parametrize(
    ("func", "sentence"),
    [
        (lambda x: x * x.exp().detach(), "y of mul .*, made of the result of exp, detached"),
        (lambda x: x * mg.tensor(x.detach().numpy()).exp(), "y of mul .*, as after detach"),
        (lambda x: x * x.sum().item(), "y of mul .*, as after .data, numpy"),
        (lambda x: x.clamp(min=x.mean().item()), "its min of clamp .*, as after .data"),
        (lambda x: mg.tensor(x.detach().numpy()) + 0 * x, "x of add"),
        (lambda x: (x.detach() * 2).sum(), "x of mul .*, as after detach"),
    ],
)
def test_a_value_that_left_the_graph(func, sentence):
    text = failure(func, leaf(4))
    assert "every op is right by itself, but" in text and "follows the inputs without carrying a gradient" in text
    assert re.search(sentence, text) and "test_gradcheck.py" in text, text


def test_an_op_under_no_grad():
    def f(x):
        with mg.no_grad():
            scale = x.exp()
        return x * scale

    text = failure(f, leaf(3))
    assert "but y of mul follows the inputs" in text and "made of the result of exp, under no_grad()" in text


def test_ops_that_are_each_right_at_their_kinks():
    x = mg.tensor([1.0, 0.0], requires_grad=True)
    text = failure(lambda x: x.relu() - (-x).relu(), x)
    assert "backward gives 0 only where the input is exactly 0" in text
    assert "but at a kink each picks one of its slopes: relu; check it at another input" in text


def test_a_hook_that_changes_the_gradient():
    def f(x):
        y = x * x
        if y.requires_grad:
            y.register_hook(lambda dz: 2 * dz)
        return y

    text = failure(f, leaf(3))
    assert "counted twice" in text and "the fault is outside of them: a hook" in text


def test_a_function_that_changes_its_input():
    def f(x):
        x.data.add_(1)
        return x * x

    x = leaf(3)
    before = x.detach().clone()
    with pytest.raises(RuntimeError, match="changes input 0 in place"):
        gradcheck(f, x)
    assert (x == before).all()


# Functions and modules


class WrongCube(Function):
    """z = x ** 3
    dx = dz * 3 * x ** 2
    """

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        return x * x * x * scale

    @staticmethod
    def backward(ctx, dz):
        (x,) = ctx.saved_tensors
        return dz * 2 * x * x, None


def test_a_function_of_the_users():
    text = failure(lambda x: WrongCube.apply(x.tanh(), 1.0).sum(), leaf(4))
    assert "the first wrong op is WrongCube\n" in text and "0.66667 times what it should be everywhere" in text
    assert "dx = dz * 3 * x ** 2" in text


class Wrong(nn.Module):
    """A small network with a wrong activation between right layers."""

    def __init__(self, activation) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)
        self.activation = activation

    def forward(self, x):
        return self.second(self.activation(self.first(x)))


def test_a_module_is_walked_to_its_first_wrong_op():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), Wrong(square(np.negative)), nn.Linear(2, 2))
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    text = failure(model, mg.randn(5, 3))
    assert "the first wrong op is square in 1\n" in text and text.endswith("sign flipped everywhere")
    assert re.search(r"  1\.first\.weight\[\d, \d\]: backward says", text)
    assert "2.weight" not in text and "1.second" not in text, "behind the wrong op all is well"
    for name, p in model.named_parameters():
        assert p.dtype == mg.float32 and p.grad is None and (p.detach().numpy() == before[name]).all()


def test_a_module_with_a_detached_piece():
    mg.manual_seed(0)
    text = failure(Wrong(lambda x: x.detach().tanh()), mg.randn(5, 3))
    assert "first.weight" in text and "no gradient arrives" in text
    assert (
        "every op is right by itself, but x of " in text and "made of the result of linear in first, detached" in text
    )


def test_right_modules_pass():
    mg.manual_seed(0)
    assert gradcheck(nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.LayerNorm(4)), leaf(2, 3))
    assert gradcheck(nn.MultiheadAttention(4, 2, batch_first=True), (leaf(1, 3, 4),) * 3)
    assert gradcheck(nn.LSTM(2, 3), leaf(3, 1, 2))


def test_a_big_module_is_sampled_and_says_so():
    mg.manual_seed(0)
    model, x = nn.Linear(20, 30), mg.randn(2, 20)
    with pytest.warns(
        UserWarning, match=r"130 of 630 elements are checked, up to 100 of each tensor, drawn with seed 0"
    ):
        assert gradcheck(model, x)
    assert gradcheck(model, x, max_elements=5)
    assert examine(model, x, max_elements=5).elements == 10


def test_a_module_with_dropout_is_told_to_eval():
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
    with pytest.raises(RuntimeError, match=r"eval\(\)"):
        gradcheck(model, mg.randn(2, 8))
    assert gradcheck(model.eval(), mg.randn(2, 8))


# No false alarms


def test_the_walk_finds_no_fault_with_right_ops():
    differences, seen = Differences(1e-6, 1e-5, 1e-3, np.random.default_rng(0)), set()
    for case in CASES:
        assert check_op(as_recorded(OPS[case.op], case), differences) == ([], []), case
        seen.add(case.op)
    assert seen == set(OPS)


@pytest.mark.parametrize("name", OPS)
def test_right_ops_pass(name):
    cases = [case for case in CASES if case.op == name]
    for case in cases[:: max(1, len(cases) // 3)]:
        report = examine(lambda *args, case=case: mg.apply(OPS[case.op], *args, **case.constants), tensors(case))
        assert not report.failed and report.text == "", case


@pytest.mark.parametrize(
    "func",
    [
        lambda x: F.layer_norm(x, (4,)).softmax(-1),
        lambda x: (x.exp(), x.T @ x),
        lambda x: F.cross_entropy(x, mg.tensor([0, 1, 2])),
        lambda x: x / (x * x).sum().sqrt(),
        lambda x: x[mg.tensor([0, 0, 1])].cumsum(0).max(),
    ],
)
def test_right_functions_pass(func):
    report = examine(func, leaf(3, 4))
    assert not report.failed and report.text == "" and report.elements == 12 and report.largest < 1e-6
