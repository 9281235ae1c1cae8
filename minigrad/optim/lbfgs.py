"""L-BFGS: a quasi-Newton method for few parameters and a loss without noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.written import note_write
from minigrad.ops import Array
from minigrad.optim.optimizer import Optimizer
from minigrad.torch.grad_mode import enable_grad

Evaluate = Callable[[float], "tuple[float, Array]"]  # a step length -> the loss there, and its gradient as one row


class LBFGS(Optimizer):
    """Newton's method with the curvature of the last steps. Liu and Nocedal 1989; Nocedal and Wright 2006, chapter 7.

    ``step(closure)`` needs a closure that clears the gradients, computes the loss, calls ``backward()`` and returns
    the loss: it is called up to max_eval times a step. One parameter group. ``line_search_fn`` is None (a fixed step of
    lr) or "strong_wolfe".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"line_search_fn must be None or 'strong_wolfe', got {line_search_fn!r}")
        settings = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, settings)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS takes all its parameters in one group")

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; returns the loss at the start, as the closure gave it."""
        if closure is None:
            raise TypeError("LBFGS.step(closure) needs a closure that computes the loss and calls backward() on it")
        group = self.param_groups[0]
        params = group["params"]
        kept = self.state[params[0]]
        evaluations = 0

        def here() -> tuple[float, Array, Any]:
            nonlocal evaluations
            evaluations += 1
            with enable_grad():
                loss = closure()
            grads = [np.zeros(p.shape, p.dtype) if p.grad is None else p.grad._array for p in params]
            return float(loss), np.concatenate([g.reshape(-1) for g in grads]), loss

        def move(step: float, direction: Array) -> None:
            start = 0
            for p in params:
                part = direction[start : start + p.numel()]
                p._array += (step * part).reshape(p.shape).astype(p.dtype)
                note_write(p._array)
                start += p.numel()

        value, grad, first = here()
        if np.abs(grad).max() <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            kept["n_iter"] = kept.get("n_iter", 0) + 1
            direction = self._direction(kept, grad, group["history_size"])
            slope = float(grad @ direction)
            if slope > -group["tolerance_change"]:
                break
            kept["prev_flat_grad"] = grad.copy()
            rate = min(1.0, 1.0 / float(np.abs(grad).sum())) if kept["n_iter"] == 1 else 1.0
            step, before = rate * group["lr"], value
            if group["line_search_fn"] == "strong_wolfe":
                origin = [p._array.copy() for p in params]

                def at(length: float, direction: Array = direction, origin: list[Array] = origin) -> Any:
                    move(length, direction)
                    found = here()[:2]
                    for p, array in zip(params, origin, strict=True):
                        p._array[...] = array
                    return found

                step, value, grad = strong_wolfe(at, step, value, grad, direction, group["tolerance_change"])
                move(step, direction)
            else:
                move(step, direction)
                if iteration < group["max_iter"]:
                    value, grad, _ = here()
            kept["d"], kept["t"] = direction, step
            if (
                evaluations >= group["max_eval"]
                or np.abs(grad).max() <= group["tolerance_grad"]
                or np.abs(step * direction).max() <= group["tolerance_change"]
                or abs(value - before) < group["tolerance_change"]
            ):
                break
        return first

    @staticmethod
    def _direction(kept: dict[str, Any], grad: Array, history: int) -> Array:
        """Minus the inverse Hessian, as far as the last steps tell it, times the gradient: the two-loop recursion."""
        if kept["n_iter"] == 1:
            kept.update(old_dirs=[], old_stps=[], H_diag=1.0)
            return -grad
        change, moved = grad - kept["prev_flat_grad"], kept["d"] * kept["t"]
        curvature = float(change @ moved)
        if curvature > 1e-10:
            kept["old_dirs"] = [*kept["old_dirs"], change][-history:]
            kept["old_stps"] = [*kept["old_stps"], moved][-history:]
            kept["H_diag"] = curvature / float(change @ change)
        pairs = list(zip(kept["old_dirs"], kept["old_stps"], strict=True))
        q, weights = -grad, []
        for y, s in reversed(pairs):
            weights.append(float(s @ q) / float(y @ s))
            q = q - weights[-1] * y
        q = q * kept["H_diag"]
        for (y, s), weight in zip(pairs, reversed(weights), strict=True):
            q = q + s * (weight - float(y @ q) / float(y @ s))
        return np.asarray(q, grad.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Settings alone: the curvature of the last steps is built up again."""
        return {**super().state_dict(), "state": {}}


def strong_wolfe(
    at: Evaluate, step: float, value: float, grad: Array, direction: Array, smallest: float
) -> tuple[float, float, Array]:
    """A step length, with the loss and gradient there, that meets the strong Wolfe conditions (1e-4 and 0.9).

    Nocedal and Wright 2006, algorithms 3.5 and 3.6, with cubic interpolation; at most 25 evaluations.
    """
    start_value, start_slope = value, float(grad @ direction)
    before = (0.0, value, grad, start_slope)
    bracket: list[Any] = []
    tries = 0
    now: Any = before
    while tries < 25 and not bracket:
        now = _point(at, step, direction)
        tries += 1
        too_high = now[1] > start_value + 1e-4 * step * start_slope or (tries > 1 and now[1] >= before[1])
        if too_high or now[3] >= 0:
            bracket = [before, now]
        if not too_high and abs(now[3]) <= -0.9 * start_slope:
            return now[:3]
        if not bracket:
            low, high = step + 0.01 * (step - before[0]), step * 10
            before, step = now, _lowest(before, now, low, high)
    if not bracket:
        bracket = [(0.0, value, grad, start_slope), now]
    stuck = False
    low, high = sorted(bracket, key=lambda point: point[1])
    while tries < 25 and abs(high[0] - low[0]) * np.abs(direction).max() >= smallest:
        left, right = sorted((low[0], high[0]))
        one, two = sorted((low, high), key=lambda point: point[0])
        step, edge = _lowest(one, two, left, right), 0.1 * (right - left)
        if min(right - step, step - left) < edge:  # not too near the ends, twice in a row
            if stuck or not left < step < right:
                step = right - edge if abs(step - right) < abs(step - left) else left + edge
            stuck = not stuck
        else:
            stuck = False
        now = _point(at, step, direction)
        tries += 1
        if now[1] > start_value + 1e-4 * step * start_slope or now[1] >= low[1]:
            high = now
        else:
            if abs(now[3]) <= -0.9 * start_slope:
                return now[:3]
            if now[3] * (high[0] - low[0]) >= 0:
                high = low
            low = now
    return low[:3]


def _point(at: Evaluate, step: float, direction: Array) -> tuple[float, float, Array, float]:
    value, grad = at(step)
    return step, value, grad, float(grad @ direction)


def _lowest(one: Any, two: Any, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is lowest, within bounds. Nocedal and Wright 2006, 3.59."""
    (x1, f1, _, g1), (x2, f2, _, g2) = one, two
    a = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = a * a - g1 * g2
    if square < 0:
        return (low + high) / 2
    root = float(np.sqrt(square))
    if x1 <= x2:
        lowest = x2 - (x2 - x1) * ((g2 + root - a) / (g2 - g1 + 2 * root))
    else:
        lowest = x1 - (x1 - x2) * ((g1 + root - a) / (g1 - g2 + 2 * root))
    return min(max(lowest, low), high)
