"""Wrong gradients are named by what is built from the forward alone; what is right, in any words, is not accused."""

# ruff: noqa: E501 (the mistakes are a table)

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.autograd import Function, GradcheckError, gradcheck
from minigrad.look.suspects import Suspects

RANDOM = np.random.default_rng(0)
X, Y, POSITIVE, SQUARE, ROW = (
    RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(3, 4)), RANDOM.uniform(0.5, 2, size=(3, 4)),
    RANDOM.normal(size=(4, 4)), RANDOM.normal(size=4),
)  # fmt: skip
QUERY, KEY, VALUE = (RANDOM.normal(size=(2, 4, 3)) for _ in range(3))
IDS = np.array([1, 0, 1, 2])


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def elementwise(f, slope):
    return lambda x: (f(x), lambda dz: (slope(x, f(x), dz),))


def of_softmax(back):
    return lambda x: (softmax(x), lambda dz: (back(softmax(x), dz),))


def of_log_softmax(back):
    return lambda x: (np.log(softmax(x)), lambda dz: (back(softmax(x), dz),))


def mean(a):
    return a.mean(-1, keepdims=True)


def layer_norm(back):
    def op(x):
        centred = x - mean(x)
        s = np.sqrt(mean(centred**2) + 1e-5)
        h = centred / s
        return h, lambda dz: (back(h, s, dz),)

    return op


def cross_entropy(back):
    onehot = np.eye(4)[[1, 0, 3]]

    def op(x):
        p = softmax(x)
        return -np.log((p * onehot).sum(-1)).mean(), lambda dz: (dz * back(p, onehot) / len(x),)

    return op


def attention(dv=lambda a, dz: a.swapaxes(-1, -2) @ dz, ds=None):
    def op(q, k, v):
        a = softmax(q @ k.swapaxes(-1, -2) / 3**0.5)

        def backward(dz):
            da = dz @ v.swapaxes(-1, -2)
            scores = (a * (da - (da * a).sum(-1, keepdims=True)) if ds is None else ds(a, da)) / 3**0.5
            return scores @ k, scores.swapaxes(-1, -2) @ q, dv(a, dz)

        return a @ v, backward

    return op


def rows(back):
    return lambda x: (x[IDS], lambda dz: (back(x, dz),))


def assigned(x, dz):
    dx = np.zeros_like(x)
    dx[IDS] = dz
    return dx


MISTAKES = [
    (elementwise(lambda x: np.maximum(x, 0), lambda x, z, dz: dz * (x < 0)), [X], "mask is on the wrong side"),
    (elementwise(lambda x: np.maximum(x, 0), lambda x, z, dz: dz), [X], "a mask is missing"),
    (elementwise(np.tanh, lambda x, z, dz: dz * (1 - x**2)), [X], "result z, but computed from the input x"),
    (elementwise(lambda x: x**3, lambda x, z, dz: dz * 3 * z**2), [X], "input x, but computed from the result z"),
    (elementwise(logistic, lambda x, z, dz: dz * logistic(z) * (1 - logistic(z))), [X], "the function is applied twice"),
    (elementwise(np.tanh, lambda x, z, dz: 1 - z**2), [X], "dz is forgotten"),
    (elementwise(np.tanh, lambda x, z, dz: dz * (1 - z)), [X], r"dx is dz \* \(1 - z\), not dz \* \(1 - z \*\* 2\)"),
    (elementwise(np.exp, lambda x, z, dz: dz), [X], "passed on as it is"),
    (elementwise(np.log, lambda x, z, dz: dz * z), [POSITIVE], "the function itself in place of its slope"),
    (elementwise(np.log, lambda x, z, dz: dz * x), [POSITIVE], "dz is divided by the slope"),
    (elementwise(np.sqrt, lambda x, z, dz: dz * z / 2), [POSITIVE], r"dx is 0.5 \* dz \* z, and should be 0.5 \* dz / z"),
    (elementwise(lambda x: x**3, lambda x, z, dz: dz * 3 * x), [X], r"is 3 \* dz \* x, and should be 3 \* dz \* x \*\* 2"),
    (lambda x, y: (x / y, lambda dz: (dz / y, dz / y)), [X, POSITIVE], r"dy is dz / y, and should be -dz \* x / y \*\* 2"),
    (lambda x, g: (x * g, lambda dz: (dz * g, (dz * g).sum(0))), [X, ROW], "gradient of the other operand, x"),
    (lambda x, w: (x @ w, lambda dz: (dz @ w, x.T @ dz)), [X, SQUARE], r"dx is dz @ w, and should be dz @ w.T"),
    (lambda x, w: (x @ w, lambda dz: (dz @ np.linalg.inv(w), x.T @ dz)), [X, SQUARE], r"dz @ inv\(w\), and should be"),
    (lambda x, b: (x + b, lambda dz: (dz, dz.sum(1))), [SQUARE, ROW], "summed over axis 1 of dz: not over the uses of b"),
    (lambda x: (x.max(1), lambda dz: (np.repeat(dz[:, None], 4, 1),)), [X], "all 12 numbers, but only 3 of them"),
    (rows(assigned), [SQUARE], "only the last use of each number of x counts"),
    (of_softmax(lambda z, dz: dz * z * (1 - z)), [X], "only what each number does to its own result"),
    (of_softmax(lambda z, dz: z * (dz - (dz * z).sum(0))), [X], "summed over axis 0, .* x → sum → result"),
    (of_softmax(lambda z, dz: z * (dz - (dz * z).sum())), [X], "summed over everything, .* x → sum → result"),
    (of_softmax(lambda z, dz: z * dz), [X], "a path is left out: x → sum → result"),
    (of_softmax(lambda z, dz: z * (dz + (dz * z).sum(-1, keepdims=True))), [X], "a path has the wrong sign: x → sum"),
    (of_softmax(lambda z, dz: z * (dz - mean(dz * z))), [X], "a path counts 1 / 4 times: x → sum"),
    (of_softmax(lambda z, dz: z * (dz - dz.sum(-1, keepdims=True))), [X], "the wrong terms are summed on a path"),
    (of_log_softmax(lambda p, dz: p * (dz - (dz * p).sum(-1, keepdims=True))), [X], "gradient of the exp of the result"),
    (of_softmax(lambda z, dz: dz - (dz * z).sum(-1, keepdims=True)), [X], "it is not multiplied by the result z"),
    (of_log_softmax(lambda p, dz: dz - dz.sum(-1, keepdims=True)), [X], "a path is not multiplied by what div gave: x → sum"),
    (lambda x: (x.var(-1), lambda dz: (2 * x * dz[:, None] / 4,)), [X], "as where a mean is not taken off"),
    (cross_entropy(lambda p, onehot: -onehot / p), [X], "the gradient of what div gave"),
    (cross_entropy(lambda p, onehot: p), [X], "a path is left out"),
    (layer_norm(lambda h, s, dz: (dz - mean(dz)) / s), [X], "a path is left out: x → variance → result"),
    (layer_norm(lambda h, s, dz: (dz - h * mean(dz * h)) / s), [X], "a path is left out: x → mean → result"),
    (layer_norm(lambda h, s, dz: dz / s), [X], "two paths are left out: x → variance → result, and x → mean → result"),
    (layer_norm(lambda h, s, dz: (dz - mean(dz) - h * mean(dz * h) * 4 / 3) / s), [X], "4 / 3 times, as if 4 and 3"),
    (layer_norm(lambda h, s, dz: dz - mean(dz) - h * mean(dz * h)), [X], "not divided by the root of what mean gave"),
    (layer_norm(lambda h, s, dz: (dz - dz.mean(0) - h * (dz * h).mean(0)) / s), [X], "over axis 0, the wrong one"),
    (attention(dv=lambda a, dz: a @ dz), [QUERY, KEY, VALUE], "dv is weights @ dz, and should be weights.T @ dz"),
    (attention(ds=lambda a, da: da * a), [QUERY, KEY, VALUE], "a path is left out: q → sum → result"),
    (attention(ds=lambda a, da: da), [QUERY, KEY, VALUE], "the way back .* is left out"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "sentence"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_a_mistake_is_named(op, inputs, sentence):
    with pytest.raises(GradcheckError, match=sentence):
        gradcheck(lambda *x: mg.apply(op, *x), [mg.tensor(x, requires_grad=True) for x in inputs])


def test_a_function_of_tensors_is_followed_too():
    class Softmax(Function):
        @staticmethod
        def forward(ctx, x):
            z = x.softmax(-1)
            ctx.save_for_backward(z)
            return z

        @staticmethod
        def backward(ctx, dz):
            (z,) = ctx.saved_tensors
            return z * (dz - (dz * z).sum(0, keepdim=True))

    with pytest.raises(GradcheckError, match=r"summed over axis 0, .* x → sum → result"):
        gradcheck(Softmax.apply, mg.tensor(X, requires_grad=True))


def test_what_cannot_be_followed_is_held_against_its_slopes_alone():
    def op(x):
        z = np.zeros_like(x)
        for i, row in enumerate(x):
            z[i] = softmax(row)
        return z, lambda dz: (dz * z,)

    with pytest.raises(GradcheckError, match="how the numbers of a row move each other is left out"):
        gradcheck(lambda x: mg.apply(op, x), mg.tensor(X, requires_grad=True))


@pytest.mark.parametrize("change", [lambda dx: dx * np.sin(1 + np.arange(dx.size)).reshape(dx.shape), lambda dx: dx**3])
def test_nonsense_has_no_name(change):
    whole = [m for m in MISTAKES if len(m[1]) == 1 and np.shape(m[0](*m[1])[0]) == (3, 4)]
    for op, inputs, _ in whole[::4]:
        suspects = Suspects(lambda *x, op=op: op(*x)[0], inputs, "xw", np.asarray(RANDOM.normal(size=(3, 4))))
        assert suspects.name(0, change(suspects.gradient(0))) is None


def test_the_right_gradient_is_no_mistake():
    for op, inputs, _ in MISTAKES:
        dz = np.asarray(RANDOM.normal(size=np.shape(op(*inputs)[0])))
        suspects = Suspects(lambda *x, op=op: op(*x)[0], inputs, ["x", "y", "v"], dz)
        for i in range(len(inputs)):
            assert suspects.name(i, suspects.gradient(i)) is None
