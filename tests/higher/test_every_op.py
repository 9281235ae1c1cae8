"""Second derivatives of every op, in all its cases, against differences of its first; third ones of the smooth ops."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from cases import APART, CASES, Case, differentiable

from minigrad import ops
from minigrad.autograd import grad
from minigrad.core.graph import unbroadcast
from minigrad.core.tensor import Tensor, apply

STEP = 1e-6  # of the central differences, of a gradient that is exact
TOLERANCE = 1e-6
NAMES = sorted({case.op for case in CASES})
SMOOTH = "div exp gelu gelu_tanh layer_norm logaddexp logsumexp mul pow silu sin softmax tanh".split()


def cotangents(case: Case, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Random, and exactly 0 in about half of the places; of a single number once each."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    dz = rng.normal(size=shape)
    halved = np.where(np.arange(dz.size).reshape(shape) % 2 == rng.integers(2), dz, 0)
    return [dz, np.zeros(shape)] if dz.size == 1 else [halved]


def first_order(case: Case, arrays: list[Any], dz: np.ndarray) -> list[np.ndarray]:
    """The gradients of the floating inputs by the op's own backward."""
    with np.errstate(all="ignore"):
        found = ops.OPS[case.op](*arrays, **case.constants)[1](dz)
    pairs = [(x, dx) for x, dx in zip(arrays, found, strict=False) if differentiable(x)]
    return [np.zeros(x.shape) if dx is None else unbroadcast(np.asarray(dx), x.shape) for x, dx in pairs]


def by_graph(case: Case, arrays: list[Any], dz: np.ndarray) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients in a graph, and the tensors that they can be differentiated by: the inputs and dz."""
    tensors = [Tensor(x.copy(), requires_grad=True) if differentiable(x) else x for x in arrays]
    leaves, seed = [x for x in tensors if isinstance(x, Tensor)], Tensor(dz.copy(), requires_grad=True)
    z = apply(ops.OPS[case.op], *tensors, **case.constants)
    grads = grad(z, leaves, seed, create_graph=True, materialize_grads=True)
    return list(grads), [*leaves, seed]


def weighted(grads: list[Any], weights: list[np.ndarray]) -> float:
    return sum(float((dx * w).sum()) for dx, w in zip(grads, weights, strict=True))


def second_order(grads: list[Tensor], by: list[Tensor], weights: list[np.ndarray], **more: Any) -> list[Tensor]:
    """The gradients of the weighted sum of gradients."""
    pairs = [(dx, Tensor(w)) for dx, w in zip(grads, weights, strict=True) if dx.requires_grad]
    if not pairs:
        return [Tensor(np.zeros(x.shape)) for x in by]
    outs, seeds = zip(*pairs, strict=True)
    return list(grad(outs, by, seeds, materialize_grads=True, **more))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_second_order(name):
    for case in (case for case in CASES if case.op == name):
        shape = np.shape(ops.OPS[name](*case.inputs(), **case.constants)[0])
        for dz in cotangents(case, shape):
            arrays = [x.copy() if isinstance(x, np.ndarray) else x for x in case.inputs()]
            grads, by = by_graph(case, arrays, dz)
            for dx, expected in zip(grads, first_order(case, arrays, dz), strict=True):
                np.testing.assert_allclose(dx.detach().numpy(), expected, rtol=1e-9, atol=1e-10, err_msg=str(case))
            rng = np.random.default_rng(2)
            weights = [rng.normal(size=dx.shape) for dx in grads]
            moved = [*(x for x in arrays if differentiable(x)), dz]
            for found, x in zip(second_order(grads, by, weights), moved, strict=True):
                for place in zip(*np.nonzero(np.isfinite(x)), strict=True) if x.ndim else [()]:
                    before = x[place].copy()
                    x[place] = before + STEP
                    up = weighted(first_order(case, arrays, dz), weights)
                    x[place] = before - STEP
                    down = weighted(first_order(case, arrays, dz), weights)
                    x[place] = before
                    slope = (up - down) / (2 * STEP)
                    assert abs(found.numpy()[place] - slope) <= TOLERANCE * (1 + abs(slope)), (case, place)


@pytest.mark.parametrize("name", SMOOTH)
def test_third_order(name):
    assert name not in APART
    case = min((case for case in CASES if case.op == name), key=lambda case: abs(12 - sum(map(np.size, case.inputs()))))
    arrays = [x.copy() if isinstance(x, np.ndarray) else x for x in case.inputs()]
    rng = np.random.default_rng(3)
    dz = rng.normal(size=np.shape(ops.OPS[name](*arrays, **case.constants)[0]))

    def seconds(**more: Any) -> tuple[list[Tensor], list[Tensor]]:
        grads, by = by_graph(case, arrays, dz)
        return second_order(grads, by, weights, **more), by

    weights = [rng.normal(size=x.shape) for x in arrays if differentiable(x)]
    found, by = seconds(create_graph=True)
    more = [rng.normal(size=x.shape) for x in found]
    thirds = second_order(found, by, more)
    moved = [*(x for x in arrays if differentiable(x)), dz]
    assert max(np.abs(third.numpy()).max(initial=0) for third in thirds) > 1e-3, case
    for third, x in zip(thirds, moved, strict=True):
        for place in np.ndindex(x.shape):
            before = x[place].copy()
            x[place] = before + STEP
            up = weighted([s.detach().numpy() for s in seconds()[0]], more)
            x[place] = before - STEP
            down = weighted([s.detach().numpy() for s in seconds()[0]], more)
            x[place] = before
            slope = (up - down) / (2 * STEP)
            assert abs(third.numpy()[place] - slope) <= TOLERANCE * (1 + abs(slope)), (case, place)
