"""The search for NaN: stops at the first op that makes one, forward or backward, and says where and why."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.graph import Node, Step, state
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.look.calls import Call
from minigrad.look.texts import broadcasts, inside, user_line

ANCESTORS = 5  # ops shown on the way to the one that failed
HUGE = 1e6  # a weight of this size is no longer learning


Cause = Callable[["Watched", "tuple[int, ...]", Array], "str | None"]


class AnomalyError(RuntimeError):
    """An op made a NaN or an infinity."""


@dataclass
class Watched(Call):
    """An op with what led to it."""

    ancestors: tuple[tuple[int, str], ...]  # the number and description of each, oldest first
    ran_away: str | None  # the first weights of this watch that were far too large


class detect_anomaly:
    """Inside, the first op that makes a NaN or Inf, forward or backward, raises AnomalyError.

    The error names the op, the module, the user's line and the index, shows the inputs there and the ops that led
    there, and says the likely cause. An infinity that comes in (a mask of -inf, say) passes until an op makes NaN of
    it; a NaN that comes in passes where ``where`` or ``masked_fill`` leaves it out. NumPy's own warnings are off.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan

    def __enter__(self) -> None:
        self._before = state.observer, state.step_observer
        self._quiet = np.errstate(all="ignore" if self.check_nan else None)
        self._quiet.__enter__()
        if self.check_nan:
            watch = _Watch(state.observer)
            state.observer, state.step_observer = watch.forward, watch.backward

    def __exit__(self, *_: object) -> None:
        state.observer, state.step_observer = self._before
        self._quiet.__exit__(None, None, None)


class _Watch:
    """What one watch remembers: which ops led to a tensor, for as long as it lives, and each node's op."""

    def __init__(self, outer: Callable[..., None] | None) -> None:
        self.outer = outer  # who watched before, and still does
        self.count = itertools.count()
        self.paths: dict[int, tuple[weakref.ref[Tensor], tuple[tuple[int, str], ...]]] = {}  # by id of the tensor
        self.calls: weakref.WeakKeyDictionary[Node, Watched] = weakref.WeakKeyDictionary()
        self.ran_away: str | None = None

    def forward(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        if self.outer is not None:
            self.outer(op, inputs, constants, out)
        ancestors = sorted(set().union(*(self.path(x) for x in inputs if isinstance(x, Tensor))))[-ANCESTORS:]
        call = Watched.of(op, inputs, constants, out, ancestors=tuple(ancestors), ran_away=None)
        self.ran_away = call.ran_away = self.ran_away or _huge(call)
        within = state.scope.endswith(
            "_backward"
        )  # a backward in a graph: what it gives is looked at, not what is on the way
        bad = None if within else _made_bad(call, out._array)
        if bad is not None:
            shapes = ", ".join(str(x.shape) if isinstance(x, np.ndarray) else repr(x) for x in call.inputs)
            made = f"{op.__name__}({shapes}) made {out._array[bad]} at {_place(bad)}{inside(call.scope)}"
            raise AnomalyError(_text(made, call, bad, out._array, FORWARD))
        key, description = id(out), f"{op.__name__} -> {out.shape}{inside(call.scope)}"
        path = (*ancestors, (next(self.count), description))[-ANCESTORS:]
        self.paths[key] = weakref.ref(out, lambda _: self.paths.pop(key, None)), path
        if out.grad_fn is not None:
            self.calls[out.grad_fn] = call

    def backward(self, step: Step) -> None:
        if not np.isfinite(step.dz).all():
            return
        call = self.calls.get(step.node)
        for i, dx in enumerate(step.grads):
            bad = None if dx is None else _first_bad(~np.isfinite(dx))
            if dx is None or bad is None:
                continue
            name = call.names[i] if call else f"input {i}"
            what = f"the backward of {step.node}, made {dx[bad]} at {_place(bad)}"
            made = f"{what} in the gradient of {name}"
            raise AnomalyError(_text(made, call, bad, dx, BACKWARD) if call else f"{made}\n{user_line() or ''}".strip())

    def path(self, x: Tensor) -> tuple[tuple[int, str], ...]:
        reference, path = self.paths.get(id(x), (None, ()))
        return path if reference is not None and reference() is x else ()


def _text(made: str, call: Watched, bad: tuple[int, ...], result: Array, causes: Sequence[Cause]) -> str:
    lines = [made, *([str(call.line)] if call.line else [])]
    lines += [f"  {name} {_shown(call, i, bad, result.shape)}" for i, name in enumerate(call.names)]
    if call.ancestors:
        lines.append("  after " + ", ".join(text for _, text in call.ancestors))
    cause = next((text for cause in causes if (text := cause(call, bad, result))), None)
    if cause:
        lines.append(f"  likely cause: {cause}")
    return "\n".join(lines)


def _huge(call: Watched) -> str | None:
    for name, x, learned in zip(call.names, call.inputs, call.learned, strict=True):
        if learned and x.size and (largest := float(np.abs(x).max())) >= min(HUGE, np.finfo(x.dtype).max / 8):
            return f"{name} of {call} reached {largest:.2g}"
    return None


def _made_bad(call: Watched, z: Array) -> tuple[int, ...] | None:
    """The first element that is not finite and did not come in so: NaN of no NaN, +inf of no +inf, -inf of finite."""
    if z.dtype.kind != "f" or np.isfinite(z).all() or _is_infinite(call.constants.get("value")):
        return None
    given = call.numbers()
    learned = [x for x, leaf in zip(call.inputs, call.learned, strict=True) if leaf]
    if any(not np.isfinite(x).all() for x in learned) or np.isnan(z).any():
        return _first_bad(np.isnan(z) if np.isnan(z).any() else ~np.isfinite(z))
    if any(np.isposinf(x).any() for x in given):
        return None
    return _first_bad(~np.isfinite(z) if all(np.isfinite(x).all() for x in given) else np.isposinf(z))


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isinf(value))


def _first_bad(bad: Array) -> tuple[int, ...] | None:
    return tuple(int(i) for i in np.argwhere(bad)[0]) if bad.any() else None


def _place(index: tuple[int, ...]) -> str:
    return f"index {list(index)}" if index else "its only element"


# The inputs at the place


def _at(call: Watched, i: int, index: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """The part of input i that belongs to the element at ``index`` of a result or gradient, as far as shapes tell."""
    x, name, axis = call.inputs[i], call.op.__name__, call.constants.get("axis")
    if name in ("linear", "matmul") and i < 2:
        if shape != call.shape or len(index) < 2 or x.ndim < 2:
            return x
        if i == 0:
            return x[index[:-1]] if x.shape[:-1] == shape[:-1] else x[..., index[-2], :]
        return x[index[-1]] if name == "linear" else x[..., index[-1]]
    if isinstance(axis, int) and x.ndim and x.shape == shape:
        return np.moveaxis(x, axis, -1)[tuple(np.delete(index, axis))]
    if isinstance(axis, int) and x.ndim == len(shape) + 1 and shape == call.shape:  # summed over the axis
        return np.moveaxis(x, axis, -1)[index]
    return np.asarray(np.broadcast_to(x, shape)[index]) if broadcasts(x.shape, shape) else x


def _shown(call: Watched, i: int, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    x = call.inputs[i]
    if not isinstance(x, np.ndarray):
        return f"is {x}"
    part = _at(call, i, index, shape)
    if part.size == 0:
        return f"{x.shape} is empty"
    if part.size == 1:
        return f"{x.shape} is {part.item():.6g} there"
    return f"{x.shape} goes from {part.min():.6g} to {part.max():.6g} there"


# The likely causes, tried in order: (call, index, result) -> sentence or None


def _inputs(call: Watched, index: tuple[int, ...], result: Array) -> list[Any]:
    """The inputs at the place; a number stays a number."""
    return [_at(call, i, index, result.shape) if isinstance(x, np.ndarray) else x for i, x in enumerate(call.inputs)]


def came_in(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    inputs = map(np.asarray, call.inputs)
    for name, x, learned, parameter in zip(call.names, inputs, call.learned, call.parameters, strict=True):
        bad = None if x.dtype.kind != "f" else _first_bad(~np.isfinite(x) if learned else np.isnan(x))
        if bad is None:
            continue
        came = f"{name} of {call} came in with {x[bad]} at {_place(bad)} already"
        if learned:
            how = "an update made it so" if parameter else f"it held {x[bad]} from the start, or an update made it so"
            return f"{came}, and it is learned: {how}; lower the learning rate, or clip the gradients"
        return f"{came}: look at the data, or at what was made before the watch began"
    return None


def ran_away(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    return call.ran_away and f"{call.ran_away}: lower the learning rate, or clip the gradients"


def of_log(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    if call.op.__name__ != "log":
        return None
    (x,) = _inputs(call, index, z)
    return "the log of 0" if x == 0 else "the log of a negative number"


def of_sqrt(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    return "the square root of a negative number" if call.op.__name__ == "sqrt" else None


def of_div(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    if call.op.__name__ != "div":
        return None
    x, y = _inputs(call, index, z)
    if y == 0:
        return "0 / 0: both are 0 there" if x == 0 else "a division by 0"
    return f"a division by {float(y):.3g}, which is too close to 0" if abs(y) < 1e-6 else None


def of_pow(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    if call.op.__name__ != "pow":
        return None
    x, y = _inputs(call, index, z)
    if x < 0 and y != np.round(y):
        return "a negative number to a power that is not whole"
    return "0 to a negative power" if x == 0 and y < 0 else None


def of_exp(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    if call.op.__name__ != "exp":
        return None
    limit = np.log(np.finfo(z.dtype).max)
    return f"exp overflows {z.dtype} above {limit:.1f}: subtract the maximum first, as softmax and logsumexp do"


def masked_row(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    """-inf all along the row: nothing is left to choose from."""
    for name, x in zip(call.names, call.inputs, strict=True):
        if isinstance(x, np.ndarray) and x.ndim and x.shape == z.shape and np.isneginf(x[index[:-1]]).all():
            row = f"{name}{list(index[:-1])}" if index[:-1] else name
            return f"{row} is -inf throughout: everything in this row is masked"
    return None


def infinities_meet(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    if not np.isnan(z[index]):
        return None
    parts = [np.asarray(x, dtype=float) for x in _inputs(call, index, z) if isinstance(x, np.ndarray | float | int)]
    if not any(np.isinf(x).any() for x in parts):
        return None
    if call.op.__name__ in ("add", "sub", "sum", "mean", "var", "std", "cumsum"):
        return "inf - inf, which is no number: an earlier infinity, often a mask of -inf used twice"
    return "an infinity times 0, or inf - inf: an earlier infinity, often a mask of -inf that is not behind a softmax"


def of_nothing(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    if call.op.__name__ in ("cross_entropy", "nll_loss"):
        target = call.constants["target"]
        if (np.asarray(target) == call.constants.get("ignore_index", -100)).all():
            return "every target is ignore_index: the mean of no losses is 0 / 0"
        return "the score of a target is -inf: it is masked, so its loss is infinite" if np.isinf(z[index]) else None
    if call.op.__name__ in ("mean", "var", "std") and any(x.size == 0 for x in call.inputs):
        return "the mean of no elements is 0 / 0"
    return None


def overflow(call: Watched, index: tuple[int, ...], z: Array) -> str | None:
    given = call.numbers()
    if not all(np.isfinite(x).all() for x in given):
        return None
    largest = max((float(np.abs(x).max(initial=0)) for x in given), default=0.0)
    if largest < 1:
        return None
    return (
        f"overflow: {z.dtype} ends at {np.finfo(z.dtype).max:.3g}, and the inputs go up to {largest:.3g}; "
        "a learning rate too high, or a missing normalization"
    )


FORWARD: tuple[Cause, ...] = (
    came_in, ran_away, of_log, of_sqrt, of_div, of_pow, of_exp, masked_row, infinities_meet, of_nothing, overflow,
)  # fmt: skip


def slope_at_zero(call: Watched, index: tuple[int, ...], dx: Array) -> str | None:
    name = call.op.__name__
    mends = {"sqrt": "take sqrt(x + eps)", "log": "take log(x + eps)", "div": "add eps below", "pow": "keep x above 0"}
    if name not in mends:
        return None
    x = _inputs(call, index, dx)[1 if name == "div" else 0]
    return f"the slope of {name} at 0 is infinite: {mends[name]}" if np.all(x == 0) else None


def gradient_overflow(call: Watched, index: tuple[int, ...], dx: Array) -> str | None:
    if not np.isinf(dx[index]):
        return None
    limit = f"{np.finfo(dx.dtype).max:.3g}, where {dx.dtype} ends"
    return f"overflow: a gradient beyond {limit}; scale the loss down, or clip the gradients earlier"


BACKWARD: tuple[Cause, ...] = (slope_at_zero, came_in, ran_away, infinities_meet, gradient_overflow)
