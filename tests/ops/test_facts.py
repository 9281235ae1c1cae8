"""What is said of an op beside it is true: which element comes from which, and whose memory the result has."""

from __future__ import annotations

import importlib
import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case, differentiable

import minigrad as mg
from minigrad.core.op import Op, facts
from minigrad.ops import OPS
from minigrad.speed.twins import TWINS

CASES_OF: dict[str, list[Case]] = defaultdict(list)
for _case in CASES:
    CASES_OF[_case.op].append(_case)


def same(x: Any, y: Any) -> np.ndarray:
    return (x == y) | ((x != x) & (y != y))


def broadcast_shape(case: Case) -> tuple[int, ...] | None:
    """That of all inputs together, and of the constants that are arrays; None where they do not go together."""
    arrays = [x for x in (*case.inputs(), *case.constants.values()) if isinstance(x, np.ndarray)]
    try:
        return np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError:
        return None


def strays(case: Case) -> bool:
    """Whether a changed element of an input changes any but the same element of the result."""
    inputs = case.inputs()
    z = np.asarray(OPS[case.op](*inputs, **case.constants)[0])
    if z.shape != broadcast_shape(case):
        return True
    for place, x in enumerate(inputs):
        for i in np.ndindex(x.shape) if differentiable(x) else ():
            moved, its_own = x.copy(), np.zeros(x.shape, dtype=bool)
            moved[i], its_own[i] = x[i] + 0.37, True
            other = np.asarray(OPS[case.op](*inputs[:place], moved, *inputs[place + 1 :], **case.constants)[0])
            if not same(z, other)[~np.broadcast_to(its_own, z.shape)].all():
                return True
    return False


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize("name", OPS)
def test_elementwise(name):
    """An op that is not is shown to be so by one of its cases."""
    assert CASES_OF[name], f"add cases of {name} to tests/helpers/cases.py"
    found = {str(case): strays(case) for case in CASES_OF[name]}
    if facts(OPS[name]).elementwise:
        assert not any(found.values()), [case for case, other in found.items() if other]
    else:
        assert any(found.values()), f"say @op(elementwise=True) of {name}, or add a case that shows it is not"


def runs_of(name: str) -> Iterator[tuple[str, Op]]:
    yield "plain", OPS[name]
    for kind, twins in TWINS.items():
        if OPS[name] in twins:
            yield kind, twins[OPS[name]]


@pytest.mark.parametrize("name", OPS)
def test_view(name):
    """Only a view may have memory of an input, whichever function runs; and a view has it in one of its cases."""
    shared = []
    for case in CASES_OF[name]:
        for dtype in (np.float64, np.float32):
            for kind, function in runs_of(name):
                inputs = [x.astype(dtype) if differentiable(x) else x for x in case.inputs()]
                constants = {k: v.astype(dtype) if differentiable(v) else v for k, v in case.constants.items()}
                z = function(*inputs, **constants)[0]
                given = [x for x in (*inputs, *constants.values()) if isinstance(x, np.ndarray)]
                if any(z is x or np.shares_memory(z, x) for x in given if isinstance(z, np.ndarray)):
                    shared.append(f"{case} {kind} {np.dtype(dtype)}")
    if facts(OPS[name]).view:
        assert shared, f"{name} copies in all of its cases: leave view=True out"
    else:
        assert not shared


def test_what_is_written_into_a_result_that_is_no_view_stays_there():
    x = mg.arange(6.0).view(2, 3)
    before = x.tolist()
    for y in (x.flip(0), x.flip(0, 1), mg.einsum("ij->ji", x), mg.einsum("ij->ij", x), mg.einsum("...->...", x)):
        y += 10
        assert x.tolist() == before


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="pip install numba")
def test_the_compiled_twins_are_among_those():
    importlib.import_module("minigrad.speed.compiled.twins")
    names = [name for name in OPS if OPS[name] in TWINS["compiled"]]
    assert len(names) > 5
    for name in names:
        test_view(name)
