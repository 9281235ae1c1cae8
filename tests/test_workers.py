"""Ops on several cores: every piece done once, the same bits each time, errors passed on, BLAS left as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, read_only

from minigrad import ops
from minigrad.graph import unbroadcast
from minigrad.ops.registry import CHOSEN, OPS, TWINS
from minigrad.ops.tuned import dense, workers

ROOT = Path(__file__).resolve().parent.parent
NAMES = {op.__name__ for op in TWINS}


@pytest.fixture(params=[1, 2, 3], ids=lambda n: f"{n}-threads")
def team(request, monkeypatch):
    """A team of that size which splits everything, however small."""
    made = workers._Team()
    made.size = request.param
    monkeypatch.setattr(workers, "_team", made)
    monkeypatch.setattr(workers, "WORTH", 1)
    monkeypatch.setattr(dense, "WORTH", 1)
    return made


def agree(op, inputs, constants, rtol, atol):
    z, back = op(*inputs, **constants)
    twin = TWINS[op]
    other, other_back = twin(*inputs, **constants)
    assert other.shape == z.shape and other.dtype == z.dtype
    np.testing.assert_allclose(other, z, rtol=rtol, atol=atol)
    dz = read_only(np.random.default_rng(1).normal(size=z.shape).astype(z.dtype))
    once, again = other_back(dz), twin(*inputs, **constants)[1](dz)
    for x, dx, found, same in zip(inputs, back(dz), once, again, strict=False):
        if dx is None:
            assert found is None
            continue
        assert found.dtype == dx.dtype and found.tobytes() == same.tobytes()
        np.testing.assert_allclose(unbroadcast(found, x.shape), unbroadcast(dx, x.shape), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", [c for c in CASES if c.op in NAMES], ids=str)
def test_every_case_of_every_twin(case, team):
    inputs = case.inputs()
    agree(OPS[case.op], inputs, case.constants, 1e-9, 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (ops.linear, [(4, 50, 30), (70, 30), (70,)]),
        (ops.linear, [(4, 50, 70), (30, 70)]),
        (ops.gelu_tanh, [(3, 7, 1001)]),
        (ops.layer_norm, [(3, 37, 40), (40,), (40,)]),
        (ops.scaled_dot_product_attention, [(2, 3, 9, 8)] * 3),
    ],
    ids=lambda x: x.__name__ if callable(x) else "",
)
def test_twins_at_sizes_that_do_not_divide(op, shapes, dtype, team):
    rng = np.random.default_rng(0)
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    inputs = [read_only(rng.normal(size=shape).astype(dtype)) for shape in shapes]
    agree(op, inputs, {"is_causal": True} if op is ops.scaled_dot_product_attention else {}, tolerance, tolerance)


def test_every_piece_is_done_once_and_blas_is_left_as_it_was(team):
    before = team.blas.get() if team.blas.get else None
    done = []
    for _ in range(50):
        workers.share(7, done.append, 1e9)
    assert sorted(done) == sorted(list(range(7)) * 50)
    assert (team.blas.get() if team.blas.get else None) == before
    covered = [i for piece in workers.parts(10) for i in range(10)[piece]]
    assert covered == list(range(10)) and workers.parts(0) == []


def test_an_error_in_a_piece_comes_out(team):
    def work(piece):
        if piece == 5:
            raise ZeroDivisionError("in piece 5")

    with pytest.raises(ZeroDivisionError, match="in piece 5"):
        workers.share(6, work, 1e9)
    done = []
    workers.share(3, done.append, 1e9)
    assert sorted(done) == [0, 1, 2], "the team still works"


def test_numpy_s_error_handling_goes_along(team):
    def work(piece):
        assert np.geterr()["over"] == "ignore"
        np.exp(np.float32(1000))

    with np.errstate(over="ignore"):
        workers.share(20, work, 1e9)


def test_two_callers_and_a_call_from_within(team):
    counts = np.zeros(4, int)

    def inner(piece):
        counts[piece % 4] += 1

    def caller():
        for _ in range(20):
            workers.share(2, lambda piece: workers.share(2, lambda i: None, 1e9), 1e9)

    threads = [threading.Thread(target=caller) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    workers.share(4, inner, 1e9)
    assert counts.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({"MINIGRAD_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1", "MINIGRAD_THREADS": "2"}, 2),
    ],
)
def test_who_set_the_usual_variables_is_obeyed(environment, size):
    code = "from minigrad.ops.tuned import workers; print(workers._team.size)"
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**kept, **environment}
    )
    assert done.stdout.strip() == str(size), done.stderr


def test_plain_ops_on_request():
    code = "from minigrad.ops.registry import CHOSEN, TWINS; print(len(CHOSEN), len(TWINS) > 3)"
    done = subprocess.run(
        [sys.executable, "-c", f"import minigrad; {code}"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "MINIGRAD_PLAIN": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "0 True", done.stderr
    assert CHOSEN is TWINS or os.environ.get("MINIGRAD_PLAIN") == "1"
