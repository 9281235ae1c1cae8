"""Gradients by name: ``grad``, the check against finite differences, users' own ops, and the search for NaN."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import graph
from minigrad.graph import Array, Step, enable_grad, no_grad, set_grad_enabled, state
from minigrad.tensor import Tensor, apply

__all__ = [
    "Function",
    "GradcheckError",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "no_grad",
    "set_grad_enabled",
]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """d outputs / d inputs, returned instead of added to ``.grad``; one tensor per input, in its shape.

    Raises RuntimeError for an input that the outputs do not depend on, unless ``allow_unused`` (then None).
    """
    if create_graph:
        raise NotImplementedError("derivatives of derivatives (create_graph=True) are not offered by this engine")
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] if grad_outputs is None or isinstance(grad_outputs, Tensor) else list(grad_outputs)
    seeds = seeds * len(outs) if len(seeds) == 1 and grad_outputs is None else seeds
    if len(seeds) != len(outs):
        raise ValueError(f"{len(seeds)} grad_outputs for {len(outs)} outputs")
    found: dict[Any, Array] = {}

    def take(key: Any, dz: Array) -> None:
        found[key] = found[key] + dz if key in found else dz

    handles = []
    for x in wanted:
        if not x.requires_grad:
            raise RuntimeError(
                "grad: an input does not require a gradient; call requires_grad_() on it before using it"
            )
        if x.grad_fn is not None:
            node = x.grad_fn
            handles.append(x.register_hook(lambda dz, node=node: take(node, dz.copy()), raw=True))
    try:
        roots = [(out.grad_fn or out, out._cotangent(seed)) for out, seed in zip(outs, seeds, strict=True)]
        for _ in graph.backward_steps(roots, retain_graph=retain_graph, receive=take):
            pass
    finally:
        for handle in handles:
            handle.remove()
    arrays = [found.get(x.grad_fn if x.grad_fn is not None else x) for x in wanted]
    missing = [i for i, a in enumerate(arrays) if a is None]
    if missing and not allow_unused:
        raise RuntimeError(
            f"grad: the outputs do not depend on input {missing[0]}; allow_unused=True gives None for it"
        )
    return tuple(None if a is None else Tensor(a) for a in arrays)


class GradcheckError(RuntimeError):
    """A backward that disagrees with finite differences."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    upcast: bool = True,
    seed: int = 0,
) -> bool:
    """Compare the gradients of ``func`` with central differences, for every element of every input that wants one.

    The output is weighted with random numbers before it is summed: a plain sum hides errors (that of a softmax is
    always 1). Inputs are raised to float64 unless ``upcast=False``, and come back bit for bit. An element where the
    slopes from the left and the right differ is a kink: any slope between the two passes there.
    Returns True; on disagreement raises GradcheckError, or returns False with ``raise_exception=False``. Raises
    RuntimeError where two calls of ``func`` differ (unseeded dropout, say).
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input has requires_grad=True, so there is nothing to check")
    args = list(given)
    for i, x in enumerate(given):
        if isinstance(x, Tensor) and x.dtype.kind == "f":
            args[i] = Tensor(x._array.astype(np.float64 if upcast else x.dtype), requires_grad=i in checked)
    if not upcast and args[checked[0]].dtype != np.float64:
        eps = max(eps, float(np.cbrt(np.finfo(args[checked[0]].dtype).eps)))

    first, second = _outputs(func, args), _outputs(func, args)
    if any(not np.array_equal(a._array, b._array, equal_nan=True) for a, b in zip(first, second, strict=True)):
        raise RuntimeError("gradcheck: two calls with the same inputs differ; fix the random numbers (dropout?) first")
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(0.5, 1.5, out.shape) * rng.choice([-1, 1], out.shape) for out in first]

    def total() -> float:
        with no_grad():
            outs = _outputs(func, args)
        return float(sum((w * out._array).sum(dtype=np.float64) for w, out in zip(weights, outs, strict=True)))

    seeds = [Tensor(w.astype(out.dtype)) for w, out in zip(weights, first, strict=True)]
    pairs = [(out, s) for out, s in zip(first, seeds, strict=True) if out.requires_grad]
    leaves = [args[i] for i in checked]
    analytic = grad([o for o, _ in pairs], leaves, [s for _, s in pairs], allow_unused=True) if pairs else ()
    problems = []
    for position, (i, leaf) in enumerate(zip(checked, leaves, strict=True)):
        dx = analytic[position] if pairs else None
        found = np.zeros(leaf.shape) if dx is None else dx._array
        problems += _compare(total, leaf._array, found, f"input {i}", eps, atol, rtol)
    if problems and raise_exception:
        shown = "\n  ".join(problems[:5])
        more = f"\n  ... and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise GradcheckError(f"gradcheck: {len(problems)} elements disagree with finite differences\n  {shown}{more}")
    return not problems


def _outputs(func: Callable[..., Any], args: Sequence[Any]) -> list[Tensor]:
    out = func(*args)
    outs = list(out) if isinstance(out, tuple | list) else [out]
    if not all(isinstance(o, Tensor) for o in outs):
        raise TypeError("gradcheck: the function must return a tensor or a tuple of tensors")
    return [o for o in outs if o.dtype.kind == "f"]


def _compare(
    total: Callable[[], float], x: Array, dx: Array, name: str, eps: float, atol: float, rtol: float
) -> list[str]:
    """One line per element of x whose analytic gradient is not the slope of ``total``."""
    problems = []
    middle = total()
    for index in np.ndindex(x.shape):
        before = x[index].copy()
        try:
            x[index] = before + eps
            up, width_up = total(), float(x[index] - before)
            x[index] = before - eps
            down, width_down = total(), float(before - x[index])
        finally:
            x[index] = before
        numeric = (up - down) / (width_up + width_down)
        right, left = (up - middle) / width_up, (middle - down) / width_down
        found = float(dx[index])
        tolerance = atol + rtol * abs(numeric)
        if abs(found - numeric) <= tolerance:
            continue
        # Rounding moves a one-sided slope by about |total| * precision / eps, curvature by far less than rtol.
        noise = abs(middle) * 2 * float(np.finfo(x.dtype).eps) / eps + atol + rtol * max(abs(left), abs(right))
        if abs(right - left) > 2 * noise and min(left, right) - noise <= found <= max(left, right) + noise:
            continue  # a kink, and the gradient is one of its slopes
        kink = f"; kink (slopes {left:.6g} and {right:.6g})" if abs(right - left) > 2 * noise else ""
        problems.append(f"{name}{list(index)}: backward says {found:.6g}, finite difference {numeric:.6g}{kink}")
    return problems


class Context:
    """What a Function keeps from forward to backward."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Tensor, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors


class Function:
    """An op of your own: write ``forward(ctx, *args)`` and ``backward(ctx, *dz)`` as static methods, call ``apply``.

    Both work on tensors, outside the graph; backward returns one gradient (or None) per argument of forward.
    """

    _op: Callable[..., Any]

    def __init_subclass__(cls) -> None:
        cls._op = staticmethod(_op_of(cls))

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        raise NotImplementedError("write forward(ctx, *args) as a static method")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        raise NotImplementedError("write backward(ctx, *grad_outputs) as a static method")

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        ctx = Context()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        plain = [a.detach() if isinstance(a, Tensor) else a for a in args]
        return apply(cls._op, *args, function=cls, ctx=ctx, args=plain)


def _op_of(function: type[Function]) -> Callable[..., Any]:
    """A Function in the form of an op, under its own name and docstring."""

    def op(*_: Any, function: type[Function], ctx: Context, args: Sequence[Any]) -> Any:
        with no_grad():
            out = function.forward(ctx, *args)
        if not isinstance(out, Tensor):
            raise TypeError(f"forward must return one Tensor, got {type(out).__name__}")
        saved = tuple(t._array for t in ctx.saved_tensors)

        def backward(dz: Array) -> tuple[Array | None, ...]:
            ctx.saved_tensors = tuple(Tensor(array) for array in saved)
            with no_grad():
                grads = function.backward(ctx, Tensor(dz))
            grads = grads if isinstance(grads, tuple) else (grads,)
            return tuple(np.array(g._array) if isinstance(g, Tensor) else None for g in grads)

        return out._array.view(), backward

    op.__name__ = function.__name__
    op.__doc__ = function.__doc__ if function.__doc__ != Function.__doc__ else f"{function.__name__}, a user's own op"
    return op


class AnomalyError(RuntimeError):
    """An op made a NaN or an infinity."""


class detect_anomaly:
    """Inside, the first op that makes a NaN or Inf, forward or backward, raises AnomalyError with the user's line.

    Values that are already not finite in the inputs are the user's own (a mask of -inf, say) and pass.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan

    def __enter__(self) -> None:
        self._before = state.observer, state.step_observer
        if self.check_nan:
            state.observer, state.step_observer = _check_forward, _check_step

    def __exit__(self, *_: object) -> None:
        state.observer, state.step_observer = self._before


def _check_forward(op: Callable[..., Any], inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
    bad = _first_bad(out._array)
    if bad is None or any(_first_bad(x._array) is not None for x in inputs if isinstance(x, Tensor)):
        return
    if constants.get("value") in (float("inf"), float("-inf")):
        return
    shapes = ", ".join(str(x.shape) if isinstance(x, Tensor) else repr(x) for x in inputs)
    raise AnomalyError(
        f"{op.__name__}({shapes}) made {out._array[bad]} at {_place(bad)}{_inside(state.scope)}{_user_line()}"
    )


def _check_step(step: Step) -> None:
    if _first_bad(step.dz) is not None:
        return
    for i, dx in enumerate(step.grads):
        bad = None if dx is None else _first_bad(dx)
        if dx is not None and bad is not None:
            raise AnomalyError(
                f"the backward of {graph.describe(step.node)} made {np.asarray(dx)[bad]} at {_place(bad)} in the "
                f"gradient of input {i}{_user_line()}"
            )


def _first_bad(array: Array) -> tuple[int, ...] | None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])


def _place(index: tuple[int, ...]) -> str:
    return f"index {list(index)}" if index else "its only element"


def _inside(scope: str) -> str:
    return f" in {scope}" if scope else ""


def _user_line() -> str:
    """The innermost line that is not the library's own."""
    here = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(here):
            return f'\n  File "{frame.filename}", line {frame.lineno}\n    {frame.line}'
    return ""
