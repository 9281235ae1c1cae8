"""All twins at the edges of what numbers can be: they say what the definition says, forward and backward."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from cases import CASES

from minigrad import fast
from minigrad.core.graph import unbroadcast
from minigrad.core.op import OPS, RUNS
from minigrad.speed.twins import TWINS


def rows_of(value):
    """Sets the first row, of all scores or numbers that belong together, to a value."""

    def change(x):
        x = x.copy()
        x[..., :1, :] = value
        return x

    return lambda x: change(x) if x.ndim > 1 else np.full_like(x, value)


def one_of(value):
    def change(x):
        x = x.copy()
        x.reshape(-1)[: 1 if x.size else 0] = value
        return x

    return change


def upside_down(x):
    return np.flip(np.flip(x).copy())


def every_second(x):
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype) if x.ndim else x
    if x.ndim:
        wide[..., ::2] = x
    return wide[..., ::2] if x.ndim else x


EDGES = {
    "as they are": lambda x: x,
    "an offset of 1e6": lambda x: x + x.dtype.type(1e6),
    "all equal and large": lambda x: np.full_like(x, 1e6),
    "times 100": lambda x: x * x.dtype.type(100),
    "times 1e15": lambda x: x * x.dtype.type(1e15),
    "times 1e30": lambda x: x * x.dtype.type(1e30),
    "denormal": lambda x: x * (np.finfo(x.dtype).tiny / 4),
    "zero": np.zeros_like,
    "minus zero": lambda x: -np.zeros_like(x),
    "a row of -inf": rows_of(-np.inf),
    "a row of inf": rows_of(np.inf),
    "one -inf": one_of(-np.inf),
    "one inf": one_of(np.inf),
    "one nan": one_of(np.nan),
    "negative strides": upside_down,
    "every second of an array": every_second,
    "transposed": lambda x: np.asfortranarray(x),
}
KINDS = ["tuned", *(["compiled"] if importlib.util.find_spec("numba") else [])]


def twins(kind):
    if kind == "tuned":
        return {op.__name__: twin for op, twin in TWINS["tuned"].items()}
    was = fast.enabled()
    fast.enable()
    found = {op.__name__: t for op, t in RUNS.items() if t.__module__ == "minigrad.speed.compiled.twins"}
    if not was:
        fast.disable()
    return found


def trials(kind, dtype):
    """Each case of each op with a twin, each of its floating inputs at each edge: (name, definition, twin, ...)."""
    for name, twin in twins(kind).items():
        for case in CASES:
            if case.op != name:
                continue
            inputs = [x.astype(dtype) if getattr(x, "dtype", None) == np.float64 else x for x in case.inputs()]
            for edge, change in EDGES.items():
                for i, x in enumerate(inputs):
                    if x is not None and x.dtype.kind == "f":
                        changed = [*inputs[:i], change(x), *inputs[i + 1 :]]
                        yield f"{case} input {i}: {edge}", OPS[name], twin, changed, case.constants


def compare(definition, twin, inputs, constants):
    """What a twin says otherwise than the definition: "", "value", "dtype or shape" or "gradient"."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        z, back = definition(*inputs, **constants)
        exact, exact_back = definition(*(x.astype(_MORE[x.dtype]) if _floats(x) else x for x in inputs), **constants)
        other, other_back = twin(*inputs, **constants)
        if other.dtype != z.dtype or other.shape != z.shape:
            return "dtype or shape"
        if not as_good(other, z, exact):
            return "value"
        dz = np.random.default_rng(1).normal(size=np.shape(z)).astype(z.dtype)
        gradients = back(dz), other_back(dz), exact_back(dz.astype(_MORE[dz.dtype]))
        for x, dx, found, truth in zip(inputs, *gradients, strict=False):
            if (dx is None) != (found is None):
                return "gradient"
            if dx is not None:
                if dx.dtype != found.dtype:
                    return "dtype or shape"
                # A row with one large score has ds = da - da: twins round the two differently, times keys and queries.
                largest = max(np.abs(i[np.isfinite(i)]).max(initial=1) for i in inputs if _floats(i))
                size = largest if definition.__name__ == "scaled_dot_product_attention" else 1
                if not as_good(*(unbroadcast(g, x.shape) for g in (found, dx, truth)), size):
                    return "gradient"
    return ""


_MORE = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}


def _floats(x):
    return getattr(x, "dtype", None) in _MORE


def as_good(found, expected, truth, size=1):
    """Whether it is no further from the truth (more digits) than the definition, but for rounding.

    Nan and inf are to be where the definition has them. Rounding is that of the largest number, or of ``size``.
    """
    places = np.isfinite(expected)
    if not np.array_equal(found[~places], expected[~places], equal_nan=True) or not np.isfinite(found[places]).all():
        return False
    eps = float(np.finfo(expected.dtype).eps)
    found, expected, truth = (np.asarray(x, np.longdouble)[places] for x in (found, expected, truth))
    places = np.isfinite(truth)
    size = float(np.abs(expected).max(initial=size))
    rounding = 1000 * eps
    error, allowed = np.abs(found - truth)[places], np.abs(expected - truth)[places].max(initial=0)
    return bool((error <= 10 * allowed + rounding * size).all())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_twins_say_what_the_definitions_say(kind, dtype):
    count, found = 0, {}
    for name, *trial in trials(kind, dtype):
        count += 1
        if difference := compare(*trial):
            found[name] = difference
    listed = "\n".join(f"{difference}: {name}" for name, difference in found.items())
    assert not found, f"{len(found)} of {count} trials differ:\n{listed}"
    assert count > 200
