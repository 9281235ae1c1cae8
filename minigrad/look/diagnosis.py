"""What is wrong with a gradient, told from how it disagrees with finite differences: a list of named patterns.

Each pattern is a function of a Comparison that returns a sentence, or None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import isclose, sqrt

import numpy as np

from minigrad.core.op import Array
from minigrad.look.differences import Comparison
from minigrad.look.texts import index


def not_finite(c: Comparison) -> str | None:
    bad = c.wrong & ~np.isfinite(c.analytic)
    if bad.any():
        return f"backward gives {c.analytic[bad][0]}{where(c, bad)}: see `with minigrad.detect_anomaly():`"
    bad = c.wrong & ~np.isfinite(c.numeric)
    if bad.any():
        return f"the function itself is not finite near this input{where(c, bad)}: check it at another"
    return None


def no_gradient(c: Comparison) -> str | None:
    if c.given is not None:
        return None
    return "no gradient arrives: a detach(), .data, numpy() or no_grad() on the way, or a backward that returns None"


def wrong_dtype(c: Comparison) -> str | None:
    if c.dtype is None or c.dtype == c.x.dtype:
        return None
    return f"backward gives {c.dtype} where the input is {c.x.dtype}: keep the dtype of dz"


def at_a_kink(c: Comparison) -> str | None:
    if not c.kink[c.wrong].all():
        return None
    at = c.worst()
    return (
        f"a kink: the slope is {c.left[at]:.6g} on the left and {c.right[at]:.6g} on the right, and backward gives "
        f"nothing between the two{where(c)}"
    )


def rounding(c: Comparison) -> str | None:
    if c.precision.itemsize >= 8 or not (c.error()[c.wrong] <= c.resolution).all():
        return None
    return f"within what {c.precision} can resolve (errors up to {c.resolution:.2g} are rounding): compute in float64"


def all_zero(c: Comparison) -> str | None:
    return zero(c) if not c.analytic.any() else None


def zero(c: Comparison) -> str | None:
    if (c.analytic[c.wrong] != 0).any():
        return None
    return f"backward gives 0{where(c)}: a term that is left out, or masked, or detached"


def likely(c: Comparison) -> str | None:
    """A wrong gradient that can be built from the op's own forward: see ``suspects``."""
    return c.suspects() if c.suspects is not None else None


def sign_flipped(c: Comparison) -> str | None:
    return f"sign flipped{where(c)}" if c.fits(-c.analytic, c.wrong) else None


def swapped(c: Comparison) -> str | None:
    for other in c.others:
        if c.fits(other.analytic) and other.fits(c.analytic):
            return f"swapped: backward gives the gradient of {other.name} to {c.name}, and the other way round"
    return None


def transposed(c: Comparison) -> str | None:
    for i, j in combinations([axis for axis, n in enumerate(c.x.shape) if n > 1], 2):
        exchanged = list(c.x.shape)
        exchanged[i], exchanged[j] = exchanged[j], exchanged[i]
        if c.fits(c.analytic.reshape(exchanged).swapaxes(i, j)):
            return f"transposed: axes {i} and {j} are exchanged"
    return None


def shifted(c: Comparison) -> str | None:
    for axis, n in enumerate(c.x.shape):
        if n > 1 and c.fits(np.flip(c.analytic, axis)):
            return f"reversed along axis {axis}"
        for step in (1, -1):
            if n > 2 and c.fits(np.roll(c.analytic, -step, axis)):
                return f"shifted by {step} along axis {axis}"
    return None


def not_summed(c: Comparison) -> str | None:
    """An operand has a share in every output it was used for; the gradient is the sum over all of them."""
    if c.share is None:
        return None
    axes = [axis for axis, n in enumerate(c.outputs) if n > 1]
    for some in [*((axis,) for axis in axes), *(tuple(axes[:n]) for n in range(2, len(axes)))]:
        for which, kept in ((0, "first"), (-1, "last")):
            mask = np.zeros(c.outputs)
            mask[tuple(which if axis in some else slice(None) for axis in range(mask.ndim))] = 1
            if np.allclose(c.share(mask), c.analytic, rtol=c.rtol, atol=c.atol):
                listed = ", ".join(map(str, some))
                return f"not summed over axis {listed} of the output: only the share of the {kept} counts"
    return None


def constant_factor(c: Comparison) -> str | None:
    a, n = c.analytic[c.wrong], c.numeric[c.wrong]
    if not n.any() or (c.wrong.sum() == 1 and where(c) != " everywhere"):  # one element has any factor
        return None
    k = float((a * n).sum() / (n * n).sum())
    if k == 0 or not c.fits(c.analytic / k, c.wrong):
        return None
    return f"{k:.5g} times what it should be{where(c)}{meaning(k, c)}"


def meaning(k: float, c: Comparison) -> str:
    """What a factor is known for."""

    def is_close(value: float) -> bool:
        return isclose(k, value, rel_tol=1e-3)

    found = ["counted twice"] if is_close(2) else ["counted half"] if is_close(0.5) else []
    for n, what in c.sizes:
        if n < 2:
            continue
        if is_close(n):
            found.append(f"{n} is {what}: a missing mean")
        elif is_close(1 / n):
            found.append(f"1/{n}, {n} being {what}: a mean in place of a sum, or a mean too many")
        elif is_close(sqrt(n)):
            found.append(f"sqrt({n}), {n} being {what}: a missing 1/sqrt({n})")
        elif is_close(1 / sqrt(n)):
            found.append(f"1/sqrt({n}), {n} being {what}: scaled once too often")
    return f" ({', or '.join(found[:2])})" if found else ""


def constant_offset(c: Comparison) -> str | None:
    error = (c.analytic - c.numeric)[c.wrong]
    if error.size < 3 or np.ptp(error) > c.atol + c.rtol * np.abs(error).max():
        return None
    return f"off by the same amount, {error.mean():.6g}{where(c)}"


def no_pattern(c: Comparison) -> str:
    order = np.argsort(c.error(), axis=None)[::-1][: min(3, int(c.wrong.sum()))]
    places = [np.unravel_index(i, c.x.shape) for i in order]
    listed = ", ".join(f"{index(p)} {c.analytic[p]:.4g} for {c.numeric[p]:.4g}" for p in places)
    return f"no simple pattern: wrong{where(c)}; worst {listed}"


PATTERNS: tuple[Callable[[Comparison], str | None], ...] = (
    not_finite, no_gradient, wrong_dtype, at_a_kink, rounding, all_zero, sign_flipped, swapped, transposed, shifted,
    constant_factor, not_summed, likely, zero, constant_offset, no_pattern,
)  # fmt: skip


def diagnose(c: Comparison) -> str:
    """The sentence of the first pattern that applies."""
    return next(sentence for pattern in PATTERNS if (sentence := pattern(c)))


def where(c: Comparison, wrong: Array | None = None) -> str:
    """Which elements are wrong: all, or those told by the sign of the input, by their place, or by their number."""
    wrong = c.wrong if wrong is None else wrong
    something = ~((np.abs(c.analytic) <= c.atol) & (np.abs(c.numeric) <= c.atol))
    right = c.checked & ~wrong & something  # a 0 that is right says nothing
    if not right.any():
        return " everywhere"
    for text, holds in (("exactly 0", c.x == 0), ("negative", c.x < 0), ("positive", c.x > 0)):
        if holds[wrong].all() and not holds[right].any() and (text == "exactly 0" or wrong.sum() > 1):
            return f" only where the input is {text}"
    for axis, n in enumerate(c.x.shape):
        hit, free = (sorted(set(np.nonzero(mask)[axis].tolist())) for mask in (wrong, right))
        if not set(hit) & set(free) and (len(hit) == 1 or c.x.ndim > 1):
            part = "index " if c.x.ndim == 1 else ("row ", "column ")[axis] if c.x.ndim == 2 else f"axis {axis} at "
            last = hit == [n - 1] and c.x.ndim < 3
            return f" only in the last {part}".rstrip() if last else f" only in {part}{hit}"
    return f" at {int(wrong.sum())} of {int(c.checked.sum())} elements"
