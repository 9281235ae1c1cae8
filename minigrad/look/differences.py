"""The finite difference of this project, and what comes out where a gradient is held against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad.core.op import Array

FAR = 1e4  # from here on a step is as large beside a number as it is at this one: else it is lost in rounding


class Slope(NamedTuple):
    """A function moved up and down at one place: its values, and how far it was moved, as the dtype could hold it."""

    up: float
    down: float
    width_up: float
    width_down: float

    @property
    def central(self) -> float:
        """The central difference, whose error shrinks with the square of the step."""
        return (self.up - self.down) / (self.width_up + self.width_down)

    def sides(self, middle: float) -> tuple[float, float]:
        """The one-sided differences, left and right of the function's value in the middle: they part at a kink."""
        return (middle - self.down) / self.width_down, (self.up - middle) / self.width_up


def slope(total: Callable[[], float], x: Array, place: tuple[int, ...], step: float) -> Slope:
    """How ``total``, which reads x, changes with one element of x, which comes back bit for bit."""
    before = x[place].copy()
    step *= max(1.0, abs(float(before)) / FAR)
    try:
        x[place] = before + step
        up, width_up = total(), float(x[place] - before)
        x[place] = before - step
        down, width_down = total(), float(before - x[place])
    finally:
        x[place] = before
    return Slope(up, down, width_up, width_down)


def step_for(dtype: Any) -> float:
    """The step of a central difference: the cube root of the machine epsilon balances curvature and rounding."""
    return float(np.cbrt(np.finfo(dtype).eps))


@dataclass(eq=False)
class Comparison:
    """One operand: its gradient by backward (None where none arrived) and by finite differences, in its shape.

    ``numeric``, ``left`` and ``right`` (the one-sided slopes) hold numbers where ``checked``. ``wrong`` marks the
    elements that disagree, ``kink`` those where the two sides differ. The rest is for the diagnosis.
    """

    name: str
    x: Array
    given: Array | None
    atol: float
    rtol: float
    dtype: np.dtype[Any] | None = None  # of the gradient, as an op's own backward gave it
    precision: np.dtype[Any] = field(default_factory=lambda: np.dtype("float64"))  # the coarsest on the way
    resolution: float = 0.0  # how far rounding in that precision may move a finite difference
    others: list[Comparison] = field(default_factory=list)  # the operands that are wrong as well
    outputs: tuple[int, ...] = ()  # the shape of the op's result
    share: Callable[[Array], Array] | None = None  # finite differences of the outputs that a mask leaves
    suspects: Callable[[], str | None] | None = None  # the likely mistake that gives this gradient, if one is known

    def __post_init__(self) -> None:
        shape = self.x.shape
        self.analytic = np.zeros(shape) if self.given is None else np.asarray(self.given, dtype=np.float64)
        self.numeric, self.left, self.right = (np.full(shape, np.nan) for _ in range(3))
        self.checked, self.wrong, self.kink = (np.zeros(shape, dtype=bool) for _ in range(3))
        self.sizes = sizes(shape, "")  # numbers that a factor could be
        self.sizes.append((self.x.size, "the number of elements"))

    def error(self) -> Array:
        """|backward - finite difference| of the elements that were checked, 0 elsewhere; NaN counts as infinite."""
        with np.errstate(invalid="ignore"):
            error = np.where(self.checked, np.abs(self.analytic - self.numeric), 0.0)
        return np.where(np.isnan(error), np.inf, error)

    def worst(self) -> tuple[int, ...]:
        """The index of the largest error."""
        errors = np.where(self.wrong, self.error(), -1)
        return tuple(int(i) for i in np.unravel_index(np.argmax(errors), errors.shape))

    def fits(self, candidate: Array, among: Array | None = None) -> bool:
        """Whether another array is the right gradient, for all elements that were checked or some of them."""
        among = self.checked if among is None else among
        if candidate.shape != self.numeric.shape or not among.any():
            return False
        return np.allclose(candidate[among], self.numeric[among], rtol=self.rtol, atol=self.atol)


@dataclass
class Differences:
    """How slopes are measured: steps of eps, errors up to atol + rtol * |slope|, random numbers from rng."""

    eps: float
    atol: float
    rtol: float
    rng: np.random.Generator

    def weights(self, shape: tuple[int, ...]) -> Array:
        """Random numbers for a weighted sum of an output, none of them near 0."""
        return np.asarray(self.rng.uniform(0.5, 1.5, shape) * self.rng.choice([-1, 1], shape))

    def compare(self, c: Comparison, total: Callable[[], float], x: Array, most: int | None, size: float) -> Comparison:
        """Fill in the slopes of ``total``, which reads x, for all elements of x or ``most``, and what is wrong.

        ``size`` is the size of what total sums, to which its rounding is relative.
        """
        chosen = np.flatnonzero(np.isfinite(x))  # an infinity, as in a mask, cannot be moved
        if most is not None and chosen.size > most:
            chosen = np.sort(self.rng.choice(chosen, most, replace=False))
        middle = total()
        for place in zip(*np.unravel_index(chosen, x.shape), strict=True) if x.shape else [()] * chosen.size:
            moved = slope(total, x, place, self.eps)
            found, numeric = float(c.analytic[place]), moved.central
            left, right = moved.sides(middle)
            c.checked[place], c.numeric[place], c.left[place], c.right[place] = True, numeric, left, right
            if abs(found - numeric) <= self.atol + self.rtol * abs(numeric) + self.rounding(np.float64, size):
                continue
            # Curvature moves a one-sided slope by far less than rtol.
            noise = self.rounding(x.dtype, abs(middle)) / 2 + self.atol + self.rtol * max(abs(left), abs(right))
            c.kink[place] = abs(right - left) > 2 * noise
            between = min(left, right) - noise <= found <= max(left, right) + noise
            c.wrong[place] = not (c.kink[place] and between)
        return c

    def agrees(self, total: Callable[[], float], x: Array, dx: Array) -> bool:
        """Whether the derivative along one random direction is right: two calls for all elements at once."""
        if not np.isfinite(dx).all():  # an infinity would allow any error
            return False
        direction, before, t = np.asarray(self.rng.normal(size=x.shape)), x.copy(), np.zeros(())

        def along() -> float:
            x[...] = before + t * direction
            return total()

        try:
            numeric = slope(along, t, (), self.eps).central
        finally:
            x[...] = before
        terms = dx * direction
        return bool(abs(numeric - terms.sum()) <= 1e-6 * (1 + np.abs(terms).sum()))

    def rounding(self, dtype: Any, size: float) -> float:
        """How far the rounding of numbers of that size moves a slope."""
        return 4 * float(np.finfo(dtype).eps) * size / self.eps


def weighted(weights: Sequence[Array], outs: Sequence[Array]) -> float:
    """The weighted sum of all outputs but the infinite ones: a mask of -inf stays what it is."""
    pairs = zip(weights, outs, strict=True)
    return float(sum((w * np.where(np.isinf(out), 0, out)).sum(dtype=np.float64) for w, out in pairs))


def magnitude(weights: Sequence[Array], outs: Sequence[Array]) -> float:
    """The size of what ``weighted`` sums."""
    return weighted([np.abs(w) for w in weights], [np.abs(out) for out in outs])


def sizes(shape: tuple[int, ...], of: str) -> list[tuple[int, str]]:
    """The axes of a shape in words."""
    return [(n, f"the size of axis {axis}{of}") for axis, n in enumerate(shape)]
