"""All functions of one or two tensors beside PyTorch: values, types, shapes and gradients, for every kind of tensor.

What PyTorch refuses may work here. Where the two differ otherwise, ``op_table.KNOWN`` says why, and that it does.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import op_table
import pytest

import minigrad as mg

TOLERANCE = {"float16": 2e-2, "float32": 3e-5, "float64": 1e-9}
FUNCTIONS = op_table.functions()
REFUSED = RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, ZeroDivisionError, OverflowError


def tensor(library: Any, array: np.ndarray[Any, Any]) -> Any:
    """The array as a leaf, in its own layout here; PyTorch has none that runs backwards."""
    if library is not mg:
        made = library.from_numpy(array.copy(order="C").reshape(array.shape))
    else:
        made = mg.from_numpy(array)
    return made.requires_grad_() if array.dtype.kind == "f" else made


def answer(library: Any, function: op_table.Function, arrays: tuple[Any, ...]) -> tuple[list[Any], list[Any]] | None:
    """The results, and the gradients of the inputs for random ones of the results; None where it is refused."""
    inputs = [tensor(library, array) for array in arrays]
    random = np.random.default_rng(0)
    try:
        results = flat(function(library, library.nn.functional, *inputs))
        wanted = [z for z in results if z.requires_grad]
        if wanted:
            given = [random.normal(size=tuple(z.shape)).astype(str(z.dtype).split(".")[-1]) for z in wanted]
            library.autograd.backward(wanted, [tensor(library, dz).detach() for dz in given])
    except REFUSED:
        return None
    return [plain(z) for z in results], [None if x.grad is None else plain(x.grad) for x in inputs]


def flat(results: Any) -> list[Any]:
    return [z for part in results for z in flat(part)] if isinstance(results, tuple | list) else [results]


def plain(x: Any) -> np.ndarray[Any, Any]:
    return x.detach().numpy(force=True)


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], tolerance: float) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    tolerance = max(tolerance, TOLERANCE[a.dtype.name])
    return np.allclose(a, b, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


def difference(torch: Any, function: op_table.Function, arrays: tuple[np.ndarray[Any, Any], ...]) -> str | None:
    """What differs between PyTorch and here, in a word; None where nothing does, or PyTorch refuses."""
    theirs = answer(torch, function, arrays)
    if theirs is None:
        return None
    ours = answer(mg, function, arrays)
    if ours is None:
        return "refused"
    tolerance = max(TOLERANCE.get(array.dtype.name, 0) for array in arrays)
    if [z.dtype for z in theirs[0]] != [z.dtype for z in ours[0]]:
        return "types"
    if not all(same(a, b, tolerance) for a, b in zip(theirs[0], ours[0], strict=True)):
        return "values"
    for a, b in zip(theirs[1], ours[1], strict=True):
        if not (b is None and (a is None or not a.any())) and (a is None or b is None or not same(a, b, tolerance)):
            return "gradients"
    return None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="there is no PyTorch: pip install torch")
    count, function = FUNCTIONS[name]
    what, why = op_table.KNOWN.get(name.split(" of ")[0], ("", ""))
    where = what.partition(" of ")[2]
    differences = []
    for dtype in op_table.DTYPES:
        for case, *arrays in op_table.inputs(dtype) if count == 1 else op_table.pairs(dtype):
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = difference(torch, function, tuple(arrays))
            if found:
                known = found in what and (found == "refused" or not where or where in ("nothing", case))
                differences.append((dtype, case, found, known))
    unknown = [words for *words, known in differences if not known]
    assert not unknown, f"{name}: {unknown[:5]} of {len(unknown)}"
    if why and name in op_table.KNOWN:
        assert differences, f"{name} is as in PyTorch now: KNOWN need not name it"
