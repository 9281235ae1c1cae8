"""The gradient check of functions and whole modules against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.core.graph import backward_steps, no_grad
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.higher.again import steps_to
from minigrad.look.blame import broadcast_notes, elsewhere, first_wrong, record, worst_line
from minigrad.look.diagnosis import diagnose, rounding
from minigrad.look.differences import Comparison, Differences, magnitude, sizes, step_for, weighted
from minigrad.torch.grad_mode import enable_grad

MODULE_ELEMENTS = 100  # checked of each parameter or input of a module, unless the caller says otherwise
OTHERS = set(  # switches of PyTorch's checks that have no meaning here
    "nondet_tol check_undefined_grad check_grad_dtypes check_batched_grad check_batched_forward_grad check_forward_ad "
    "check_backward_ad check_fwd_over_rev check_rev_over_rev gen_non_contig_grad_outputs fast_mode masked".split()
)


class GradcheckError(RuntimeError):
    """A backward that disagrees with finite differences."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    upcast: bool = True,
    seed: int = 0,
    max_elements: int | None = None,
    **others: Any,
) -> bool:
    """Compare the gradients of ``func`` with central differences, for every input that wants one.

    If ``func`` is a module, its parameters are checked as well, under their names. The output is weighted with random
    numbers before it is summed: a plain sum hides errors (that of a softmax is always 1). Inputs and parameters are
    raised to float64 unless ``upcast=False``, and come back bit for bit. An element where the slopes from the left and
    the right differ is a kink: any slope between the two passes there. Every element is checked, or ``max_elements``
    of each tensor, drawn with ``seed``; of a module 100 unless given, with a warning if that is not all.
    Returns True. On disagreement raises GradcheckError, which says what is wrong and names the first op whose own
    backward is, or returns False with ``raise_exception=False``. Raises RuntimeError where two calls of ``func``
    differ (unseeded dropout, say), TypeError where it returns no floating tensor. PyTorch's other switches
    (``nondet_tol``, ``fast_mode`` ...) are accepted and change nothing.
    """
    _check_others(others)
    report = examine(func, inputs, eps, atol, rtol, upcast, seed, max_elements, explain=raise_exception)
    if report.failed and raise_exception:
        raise GradcheckError(report.text)
    return not report.failed


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    upcast: bool = True,
    seed: int = 0,
    max_elements: int | None = None,
    **others: Any,
) -> bool:
    """The same check of the gradients themselves: compare their gradients, by ``create_graph``, with differences.

    They are differentiated by the inputs, by a module's parameters, and by ``grad_outputs``, the gradients of the
    outputs, which are drawn with ``seed`` unless given.
    """
    _check_others(others)
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    with no_grad():
        shapes = [out.shape for out in _floats(func(*args))]
    rng = np.random.default_rng(seed)
    given: Any = [Tensor(rng.normal(size=shape)) for shape in shapes] if grad_outputs is None else grad_outputs
    seeds = [x.detach() for x in ([given] if isinstance(given, Tensor) else given)]
    if len(seeds) != len(shapes):
        raise ValueError(f"gradgradcheck: {len(seeds)} grad_outputs for {len(shapes)} outputs")
    return gradcheck(
        _Gradients(func, len(args)), [*args, *(x.requires_grad_() for x in seeds)], eps=eps, atol=atol, rtol=rtol,
        raise_exception=raise_exception, upcast=upcast, seed=seed, max_elements=max_elements,
    )  # fmt: skip


def _check_others(given: dict[str, Any]) -> None:
    for name in given.keys() - OTHERS:
        raise TypeError(f"unexpected argument {name}")


class _Gradients:
    """The function from inputs and gradients of outputs to gradients of inputs; of a module, with its parameters."""

    def __init__(self, func: Any, count: int) -> None:
        self.func, self.count = func, count
        if hasattr(func, "named_parameters"):
            self.named_parameters, self.parameters, self.buffers = func.named_parameters, func.parameters, func.buffers

    def __call__(self, *args: Any) -> tuple[Tensor, ...]:
        with enable_grad():
            inputs, seeds = args[: self.count], args[self.count :]
            outs = _floats(self.func(*inputs))
            roots = [(out, dz.to(out.dtype)) for out, dz in zip(outs, seeds, strict=True) if out.requires_grad]
            leaves = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
            leaves += [x for x in (self.parameters() if hasattr(self, "parameters") else ()) if x.requires_grad]
            found: dict[int, Any] = {}

            def take(leaf: Any, dz: Any, shared: bool) -> None:
                found[id(leaf)] = found[id(leaf)] + dz if id(leaf) in found else dz

            for _ in steps_to(roots, leaves, take, retain_graph=True, create_graph=True):
                pass
        return tuple(found[id(x)].tensor for x in leaves if id(x) in found)


@dataclass
class Report:
    """What a check found: the comparison of each operand, and, where it failed, the text that explains it."""

    comparisons: list[Comparison] = field(default_factory=list)
    failed: bool = False
    text: str = ""
    notes: list[str] = field(default_factory=list)  # what is right here, but would not be elsewhere

    @property
    def elements(self) -> int:
        return sum(int(c.checked.sum()) for c in self.comparisons)

    @property
    def largest(self) -> float:
        """The largest difference between backward and finite difference, kinks left out."""
        return max(float(np.where(c.kink, 0, c.error()).max(initial=0)) for c in self.comparisons)


def examine(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    upcast: bool = True,
    seed: int = 0,
    max_elements: int | None = None,
    explain: bool = True,
) -> Report:
    """The check itself, with the result as a Report."""
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    operands: dict[str, Tensor] = {}
    for i, x in enumerate(args):
        if isinstance(x, Tensor) and x.dtype.kind == "f":
            args[i] = Tensor(x._array.astype(np.float64 if upcast else x.dtype), requires_grad=x.requires_grad)
            if x.requires_grad:
                operands[f"input {i}"] = args[i]
    with on_copies(func, upcast) as parameters:
        operands.update(parameters)
        if not operands:
            raise ValueError("gradcheck: no input has requires_grad=True, so there is nothing to check")
        if parameters and max_elements is None:
            max_elements = MODULE_ELEMENTS
            counts = [x.numel() for x in operands.values()]
            if max(counts) > max_elements:
                drawn = sum(min(n, max_elements) for n in counts)
                warnings.warn(
                    f"gradcheck: {drawn} of {sum(counts)} elements are checked, up to {max_elements} of each tensor, "
                    f"drawn with seed {seed}; max_elements= sets how many",
                    stacklevel=3,
                )
        coarsest = _coarsest(x.dtype for x in operands.values())
        if coarsest != np.float64:
            eps = max(eps, step_for(coarsest))
        differences = Differences(eps, atol, rtol, np.random.default_rng(seed))
        return _check(lambda: _floats(func(*args)), operands, differences, max_elements, explain)


@contextmanager
def on_copies(func: Any, upcast: bool) -> Iterator[dict[str, Tensor]]:
    """The parameters of a module that want a gradient, while it runs on copies of its parameters and buffers."""
    if not hasattr(func, "named_parameters"):
        yield {}
        return
    members = [*func.parameters(), *func.buffers()]
    before = [x._array for x in members]
    try:
        for x in members:
            x._array = x._array.astype(np.float64 if upcast and x.dtype.kind == "f" else x.dtype)
        yield {name: x for name, x in func.named_parameters() if x.requires_grad}
    finally:
        for x, array in zip(members, before, strict=True):
            x._array = array


def _check(
    run: Callable[[], list[Tensor]],
    operands: dict[str, Tensor],
    differences: Differences,
    max_elements: int | None,
    explain: bool,
) -> Report:
    outs = _same_twice(run, operands)
    if not outs:
        raise TypeError("gradcheck: the function must return a floating tensor, so there is nothing to check")
    values = [out._array for out in outs]
    weights = [differences.weights(out.shape) for out in outs]
    size = magnitude(weights, values)

    def total() -> float:
        with no_grad():
            return weighted(weights, [out._array for out in run()])

    try:
        found = _gradients(outs, weights)
    except Exception as error:  # a backward that raises, or gives gradients of the wrong shape or number
        blame = first_wrong(record(run), differences) if explain else []
        return Report(failed=True, text="\n".join([f"gradcheck: {error}", *blame]))
    report = Report()
    for name, x in operands.items():
        c = Comparison(name, x._array.copy(), found.get(id(x)), differences.atol, differences.rtol)
        c.sizes += [pair for value in values for pair in sizes(value.shape, " of the output")]
        report.comparisons.append(differences.compare(c, total, x._array, max_elements, size))
    wrong = [c for c in report.comparisons if c.wrong.any()]
    report.failed = bool(wrong)
    if not explain:
        return report
    calls = record(run)
    if not wrong:
        report.notes = broadcast_notes(calls, differences)
        return report

    for c in wrong:
        c.precision = _coarsest([c.x.dtype, *(call.z.dtype for call in calls)])
        c.resolution = differences.rounding(c.precision, size)
        c.others = [other for other in wrong if other is not c]
    blame = first_wrong(calls, differences)
    count = sum(int(c.wrong.sum()) for c in wrong)
    lines = [f"gradcheck: {count} of {report.elements} elements disagree with finite differences"]
    for c in wrong[:5]:
        lines += [f"  {worst_line(c)}", *([] if blame else [f"    {diagnose(c)}"])]
    if len(wrong) > 5:
        lines.append(f"  and {len(wrong) - 5} more: {', '.join(c.name for c in wrong[5:])}")
    if not blame and not all(rounding(c) for c in wrong):
        blame = [elsewhere(calls, run, [x._array for x in operands.values()], differences)]
    report.text = "\n".join([*lines, *blame])
    return report


def _same_twice(run: Callable[[], list[Tensor]], operands: dict[str, Tensor]) -> list[Tensor]:
    """What the function returns, if it returns the same again and leaves its operands alone."""
    before = {name: x._array.copy() for name, x in operands.items()}
    first, second = run(), run()
    for name, x in operands.items():
        if not np.array_equal(x._array, before[name], equal_nan=True):
            raise RuntimeError(f"gradcheck: the function changes {name} in place; let it work on a clone()")
    if any(not np.array_equal(a._array, b._array, equal_nan=True) for a, b in zip(first, second, strict=True)):
        raise RuntimeError(
            "gradcheck: two calls with the same inputs differ; fix the random numbers first (dropout? then eval())"
        )
    return first


def _floats(out: Any) -> list[Tensor]:
    """The floating tensors in what a function returned, which may be nested; None is left out."""
    if isinstance(out, Tensor):
        return [out] if out.dtype.kind == "f" else []
    if isinstance(out, tuple | list | Mapping):
        return [x for part in (out.values() if isinstance(out, Mapping) else out) for x in _floats(part)]
    if out is not None:
        raise TypeError(f"gradcheck: the function must return a tensor or a tuple of tensors, not {type(out).__name__}")
    return []


def _gradients(outs: list[Tensor], weights: list[Array]) -> dict[int, Array]:
    """The gradient of each leaf, by its id."""
    found: dict[int, Array] = {}

    def take(leaf: Any, dz: Array, shared: bool) -> None:
        found[id(leaf)] = found[id(leaf)] + dz if id(leaf) in found else dz

    pairs = [(out, w.astype(out.dtype)) for out, w in zip(outs, weights, strict=True) if out.requires_grad]
    for _ in backward_steps([(out.grad_fn or out, dz) for out, dz in pairs], receive=take):
        pass
    return found


def _coarsest(dtypes: Any) -> np.dtype[Any]:
    return min(dtypes, key=lambda dtype: dtype.itemsize)
