"""The gradient check itself is tested: wrong backwards of every op must not pass it.

A mutant whose gradients are the true ones all the same (a zero gradient times 1.01, say) is equivalent, not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from cases import CASES, Case, Gradients, check, close, cotangent, differentiable, read_only

from minigrad.core.graph import unbroadcast
from minigrad.ops import OPS

PER_OP = 6
CAUGHT: Counter[str] = Counter()  # by kind
Fit = Callable[[np.ndarray, "tuple[int, ...]"], np.ndarray]


def chosen(op: str) -> list[Case]:
    """At most PER_OP cases of an op: one that broadcasts, one with a square gradient, others from all over its list."""
    cases = [c for c in CASES if c.op == op and any(differentiable(x) and x.size for x in c.inputs())]
    wanted = [
        next((c for c in cases if broadcasts(c)), None),
        next((c for c in cases if is_square(c)), None),
        cases[-1],
    ]
    wanted += cases[:: max(1, len(cases) // PER_OP)]
    return list({str(c): c for c in wanted if c is not None}.values())[:PER_OP]


def gradients(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """The differentiable inputs with their gradients as the backward gives them."""
    inputs = case.inputs()
    z, backward = OPS[case.op](*inputs, **case.constants)
    pairs = zip(inputs, backward(cotangent(z, case)), strict=False)
    return [(x, np.asarray(dx)) for x, dx in pairs if differentiable(x) and dx is not None]


def broadcasts(case: Case) -> bool:
    """Whether un-broadcasting has something to add up."""
    return any(dx.size > x.size > 0 for x, dx in gradients(case))


def is_square(case: Case) -> bool:
    return any(dx.ndim > 1 and dx.shape[-1] == dx.shape[-2] > 1 for _, dx in gradients(case))


def at(place: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Gradients], Gradients]:
    """Change the gradient of one input alone."""
    return lambda grads: (*grads[:place], change(np.asarray(grads[place])), *grads[place + 1 :])


def rolled(grads: Gradients) -> Gradients:
    """Each input gets the gradient of the one before."""
    return (*grads[-1:], *grads[:-1])


def first_slice(dx: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What un-broadcasting would give if it took the first of the copies and did not add up the others."""
    dx = dx[(0,) * (dx.ndim - len(shape))]
    return dx[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


def too_long(dx: np.ndarray) -> np.ndarray:
    return np.concatenate([dx, dx], axis=-1)


def mutants(case: Case) -> Iterator[tuple[str, Callable[[Gradients], Gradients] | None, Fit]]:
    inputs = case.inputs()
    z, backward = OPS[case.op](*inputs, **case.constants)
    grads = backward(cotangent(z, case))
    for place, (x, dx) in enumerate(zip(inputs, grads, strict=False)):
        if not differentiable(x) or dx is None:
            continue
        yield "zero", at(place, np.zeros_like), unbroadcast
        yield "1.01", at(place, lambda dx: dx * 1.01), unbroadcast
        yield "sign", at(place, np.negative), unbroadcast
        for axis in range(1, np.ndim(dx)):
            if dx.shape[axis - 1] == dx.shape[axis]:
                yield "transposed", at(place, lambda dx, axis=axis: dx.swapaxes(axis - 1, axis)), unbroadcast
        if x.ndim and x.shape[-1] > 1:
            yield "too long", at(place, too_long), unbroadcast
    given = [dx for x, dx in zip(inputs, grads, strict=False) if differentiable(x)]
    if len(given) == len(grads) > 1:
        yield "swapped", rolled, unbroadcast
    if broadcasts(case):
        yield "not summed", None, first_slice


def is_equivalent(case: Case, change: Callable[[Gradients], Gradients] | None, fit: Fit) -> bool:
    """Whether the mutant gives the true gradients."""
    inputs = case.inputs()
    z, backward = OPS[case.op](*inputs, **case.constants)
    true = backward(cotangent(z, case))
    wrong = true if change is None else change(true)
    for x, dx, expected in zip(inputs, wrong, true, strict=False):
        if not differentiable(x) or expected is None:
            continue
        try:
            dx = fit(np.asarray(dx), x.shape)
        except ValueError:
            return False
        if dx.shape != x.shape or not close(dx, unbroadcast(np.asarray(expected), x.shape), times=2):
            return False
    return True


@pytest.mark.parametrize("op", OPS)
def test_every_mutant_is_caught(op: str):
    killed: Counter[str] = Counter()
    for case in chosen(op):
        check(case)
        for kind, change, fit in mutants(case):
            if is_equivalent(case, change, fit):
                continue
            with pytest.raises(AssertionError):
                check(case, change, fit)
                print(f"survived: {case}, {kind}")
            killed[kind] += 1
    assert killed["zero"] and killed["1.01"] and killed["sign"], dict(killed)
    CAUGHT.update(killed)


def test_summary():
    """With ``pytest -s``: how many mutants there were, all of them caught."""
    print(f"\n{CAUGHT.total()} mutants tried and caught: {dict(CAUGHT)}")
    if CAUGHT:  # empty where this test runs alone
        assert {"zero", "1.01", "sign"} <= set(CAUGHT)


def test_a_constant_cotangent_would_miss_a_softmax_that_gives_zero():
    """Why the cotangent is random: the outputs of softmax sum to 1, so their sum has no gradient."""
    x = read_only(np.random.default_rng(0).normal(size=(2, 3)))
    _, backward = OPS["softmax"](x)
    assert np.allclose(backward(np.ones((2, 3)))[0], 0)
    assert not np.allclose(backward(np.arange(6.0).reshape(2, 3))[0], 0)
