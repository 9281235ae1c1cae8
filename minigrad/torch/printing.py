"""Arrays as text in PyTorch's form: what ``print(tensor)`` shows between the brackets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.core.op import facts
from minigrad.core.written import saved


class _Options:
    precision = 4
    threshold = 1000  # above that many elements the middle of each axis is left out
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed; what is None stays as it is, but for ``sci_mode``, where None means as fits."""
    profiles = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, math.inf, 3, 80)}
    names = ("precision", "threshold", "edgeitems", "linewidth")
    if profile is not None:
        if profile not in profiles:
            raise ValueError(f"profile must be one of {', '.join(profiles)}, got {profile!r}")
        for name, value in zip(names, profiles[profile], strict=True):
            setattr(_Options, name, value)
    for name, given in zip(names, (precision, threshold, edgeitems, linewidth), strict=True):
        if given is not None:
            setattr(_Options, name, given)
    _Options.sci_mode = sci_mode


def array_text(array: npt.NDArray[Any], indent: int) -> str:
    """The elements in nested brackets, in columns, continuation lines indented."""
    summarize = array.size > _Options.threshold
    shown = _edges(array) if summarize else array
    flat = shown.reshape(-1)
    texts = _texts(flat)
    counted = np.isfinite(flat) & (flat != 0) if flat.dtype.kind == "f" else np.ones(flat.shape, dtype=bool)
    width = max((len(text) for text, counts in zip(texts, counted, strict=True) if counts), default=1)
    cells = iter([text.rjust(width) for text in texts])
    return _nested(array.shape, indent, width, cells, summarize)


def _edges(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The elements that are shown of a big array."""
    n = _Options.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * n:
            array = np.take(array, [*range(n), *range(size - n, size)], axis)
    return array


def _texts(values: npt.NDArray[Any]) -> list[str]:
    if values.dtype.kind != "f":
        return [str(v) for v in values.tolist()]
    numbers = values.astype(np.float64)
    real = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    whole = bool((real == np.ceil(real)).all())
    scientific = _Options.sci_mode
    if scientific is None:
        scientific = bool(real.size) and bool(real.max() / real.min() > 1000 or real.max() > 1e8 or real.min() < 1e-4)
    if scientific and real.size:
        return [f"{v:.{_Options.precision}e}" for v in numbers]
    if whole:
        return [f"{v:.0f}." if math.isfinite(v) else str(v) for v in numbers.tolist()]
    return [f"{v:.{_Options.precision}f}" for v in numbers]


def _nested(shape: tuple[int, ...], indent: int, width: int, cells: Any, summarize: bool) -> str:
    """One axis after the other, from the outside in."""
    if not shape:
        return str(next(cells))
    n, size = _Options.edgeitems, shape[0]
    cut = summarize and size > 2 * n
    count = 2 * n if cut else size
    inner = [_nested(shape[1:], indent + 1, width, cells, summarize) for _ in range(count)]
    if cut:
        inner[n:n] = [" ..." if len(shape) == 1 else "..."]
    if len(shape) == 1:
        per_line = max(1, (_Options.linewidth - indent) // (width + 2))
        lines = [", ".join(inner[i : i + per_line]) for i in range(0, len(inner), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(inner) + "]"


def with_notes(text: str, notes: list[str], indent: int) -> str:
    """``tensor(...)`` with notes such as requires_grad=True, on a new line where the last one is full."""
    last = len(text) - text.rfind("\n") + 1
    for note in notes:
        if last + len(note) + 2 > _Options.linewidth:
            text += ",\n" + " " * indent + note
            last = indent + len(note)
        else:
            text += f", {note}"
            last += len(note) + 2
    return text + ")"


def backward_name(node: Any) -> str:
    """PyTorch's name for what a node does, such as AddBackward0."""
    name = node.op.__name__
    camel = facts(node.op).grad_fn or "".join(part.capitalize() for part in name.split("_"))
    variant = 0
    if name in ("sum", "mean"):
        variant = int(node.shape != ())
    elif name in ("max", "min"):
        camel, variant = (camel, 1) if node.shape == () else (f"A{name}", 0)
    elif name == "matmul":
        camel = "Mm" if len(node.shape) == 2 else "Bmm" if len(node.shape) == 3 else "Dot"
    elif name == "linear" and node.parents[2:] in ((), (None,)):
        camel = "Mm"
    elif name == "getitem" and node.backward is not None:
        index = saved(node.backward)["index"]
        basic = index if isinstance(index, tuple) else (index,)
        kinds = {type(i) for i in basic}
        camel = "Select" if kinds == {int} else "Slice" if kinds <= {int, slice} else "Index"
    return f"{camel}Backward{variant}"
