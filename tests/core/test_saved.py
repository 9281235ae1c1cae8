"""What a backward saves is found by name: the write clock, the pages and the error texts see nothing else."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case

import minigrad as mg
from minigrad.core.op import OPS, facts
from minigrad.core.written import memory_of, saved_arrays, writes
from minigrad.speed.twins import TWINS

with suppress(ImportError):  # without numba there are no compiled twins
    import minigrad.speed.compiled.twins

COMPOSED = {"sliding_window_attention"}  # holds the backwards of another op, with arrays of their own


def reached(thing: Any, seen: dict[int, Any]) -> dict[int, Any]:
    """All that hangs on a function, however deep, by id."""
    if id(thing) in seen or isinstance(thing, type | ModuleType):
        return seen
    seen[id(thing)] = thing
    inside: list[Any] = []
    if isinstance(thing, FunctionType):
        inside = [cell.cell_contents for cell in thing.__closure__ or ()]
        inside += [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    elif isinstance(thing, MethodType):
        inside = [thing.__self__, thing.__func__]
    elif isinstance(thing, tuple | list | set):
        inside = [*thing]
    elif isinstance(thing, dict):
        inside = [*thing.values()]
    elif isinstance(thing, partial):
        inside = [thing.func, *thing.args, *thing.keywords.values()]
    elif not isinstance(thing, np.ndarray) and not callable(thing):  # what numba compiled holds no arrays
        inside = [*getattr(thing, "__dict__", {}).values()]
    for other in inside:
        reached(other, seen)
    return seen


def nameless(backward: Any) -> list[np.ndarray]:
    """The arrays that a backward holds and that have no name."""
    named = {id(array) for array in saved_arrays(backward).values()}
    return [a for i, a in reached(backward, {}).items() if isinstance(a, np.ndarray) and i not in named]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_array_that_is_saved_has_a_name(case: Case):
    definition = OPS[case.op]
    for function in (definition, *(twins[definition] for twins in TWINS.values() if definition in twins)):
        inputs = case.inputs()
        z, backward = function(*inputs, **case.constants)
        hidden, named = nameless(backward), [*saved_arrays(backward).values()]
        if case.op in COMPOSED:  # of what others can write to, all has a name or is part of what has one
            outside = [a for a in (*inputs, *case.constants.values(), z) if isinstance(a, np.ndarray)]
            shared = [a for a in hidden if any(np.shares_memory(a, b) for b in outside)]
            hidden = [a for a in shared if not any(np.shares_memory(a, b) for b in named)]
        assert not hidden, f"{function.__module__}.{function.__name__}"


def test_an_array_in_a_dict_would_be_found_out():
    def hidden(x):
        kept = {"x": x}
        return x, lambda dz: (dz * kept["x"],)

    assert [a.shape for a in nameless(hidden(np.ones(2))[1])] == [(2,)]


def test_what_a_helper_of_the_backward_holds_has_a_name_and_a_write_to_it_is_noticed():
    def by_helper(x):
        """z = x * x"""

        def slope():
            return 2 * x

        return x * x, lambda dz: (dz * slope(),)

    y = mg.ones(2, requires_grad=True) * 1
    z = mg.apply(by_helper, y).sum()
    assert set(saved_arrays(z.grad_fn.parents[0].backward)) == {"x"}
    y.data[0] = 5.0
    with pytest.raises(RuntimeError, match=r"needs x \(2,\), which was changed in place"):
        z.backward()


def test_the_time_of_a_write_is_forgotten_with_its_array():
    x = mg.zeros(3)
    x.add_(1)
    key = id(memory_of(x._array))
    assert key in writes.times
    del x
    assert key not in writes.times


@pytest.mark.parametrize("case", [case for case in CASES if facts(OPS[case.op]).reads], ids=str)
def test_a_gradient_needs_no_more_of_what_is_saved_than_its_op_says(case: Case):
    op = OPS[case.op]
    names = [set(needed.split()) for needed in facts(op).reads]
    for i, needed in enumerate(names):
        inputs = [x.copy() if isinstance(x, np.ndarray) else x for x in case.inputs()]
        z, backward = op(*inputs, **case.constants)
        dz = np.ones(np.shape(z))
        before, saved = backward(dz), saved_arrays(backward)
        if i >= len(before) or before[i] is None:
            continue
        expected = before[i].copy()
        for name in saved.keys() - needed:
            saved[name].fill(np.nan)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(backward(dz)[i], expected)


def test_a_write_to_what_no_wanted_gradient_needs_is_no_trouble():
    data, w = mg.ones(3, 2), mg.ones(2, 2, requires_grad=True)
    y = w * 2, data @ w, mg.nn.functional.linear(data, w)
    with mg.no_grad():
        w.add_(1.0)
    for z in y:
        w.grad = None
        z.sum().backward()
    z = data * w[0]
    data += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()
