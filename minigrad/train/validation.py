"""Whether what a checkpoint holds is the whole state of a run, and of this run: keys, types and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor

COLUMNS = ("step", "loss", "val_loss", "lr", "grad_norm", "tokens_per_second")  # of the history, and of the curve


def misfit(ours: dict[str, Any], theirs: Any, parameters: Sequence[Tensor]) -> str:
    """In what a state differs in kind from the one that a run begins with; "" where it fits.

    ``parameters`` are those of the optimizer, in its order.
    """
    return (
        _difference(_without_progress(ours), _without_progress(theirs), "")
        or _unlike_parameters(theirs, parameters)
        or _unfinished(theirs)
    )


PROGRESS = ("step", "history", "losses")


def _without_progress(state: Any) -> dict[str, Any]:
    """What a state of a run has before its first step too, but for what an optimizer keeps of each parameter."""
    if not isinstance(state, dict):
        return {}
    kept = {key: state.get(key) for key in ("model", "schedule", "batches", "rng")}
    optimizer = state.get("optimizer")
    groups = optimizer.get("param_groups") if isinstance(optimizer, dict) else None
    return {**kept, "optimizer": {"param_groups": groups}}


def _difference(ours: Any, theirs: Any, place: str) -> str:
    """The first place where two values are not of one kind: keys, types, and the shapes of tensors."""
    where = place.lstrip(".") or "the whole"
    if isinstance(ours, Tensor):
        if not isinstance(theirs, Tensor):
            return f"{where} is no tensor"
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            return f"{where} is {theirs.dtype} {theirs.shape}, the model's {ours.dtype} {ours.shape}"
    elif isinstance(ours, dict):
        if not isinstance(theirs, dict) or ours.keys() != theirs.keys():
            other = ours.keys() ^ theirs.keys() if isinstance(theirs, dict) else ["dict"]
            return f"{where} has not the keys it should have ({', '.join(sorted(map(str, other))[:5])})"
        return next(filter(None, (_difference(ours[key], theirs[key], f"{place}.{key}") for key in ours)), "")
    elif isinstance(ours, list | tuple):
        if not isinstance(theirs, list | tuple) or len(ours) != len(theirs):
            return f"{where} is not a list of {len(ours)}"
        pairs = enumerate(zip(ours, theirs, strict=True))
        return next(filter(None, (_difference(a, b, f"{place}.{i}") for i, (a, b) in pairs)), "")
    elif ours is not None:
        number = type(ours) in (int, float) and type(theirs) in (int, float)
        if not number and type(theirs) is not type(ours):
            return f"{where} is of type {type(theirs).__name__}, not {type(ours).__name__}"
    return ""


def _unlike_parameters(state: dict[str, Any], parameters: Sequence[Tensor]) -> str:
    """What an optimizer kept of each parameter has its shape, or is one number."""
    found = state["optimizer"].get("state")
    if not isinstance(found, dict):
        return "optimizer.state is missing"
    for i, kept in found.items():
        if type(i) is not int or not 0 <= i < len(parameters) or not isinstance(kept, dict):
            return f"optimizer.state.{i} belongs to no parameter"
        for name, value in kept.items():
            array = value._array if isinstance(value, Tensor) else value
            if isinstance(array, np.ndarray) and array.shape not in ((), tuple(parameters[i].shape)):
                return f"optimizer.state.{i}.{name} has shape {array.shape}, its parameter {tuple(parameters[i].shape)}"
            if not isinstance(array, np.ndarray | int | float | None):
                return f"optimizer.state.{i}.{name} is no number"
    return ""


def _unfinished(state: dict[str, Any]) -> str:
    """The record of the steps made so far has one loss for each, and rows with all columns."""
    step, history, losses = (state.get(key) for key in PROGRESS)
    if type(step) is not int or step < 0:
        return "step is no number of steps"
    if not isinstance(losses, np.ndarray) or losses.shape != (step,) or losses.dtype.kind != "f":
        return f"losses are not one for each of the {step} steps"
    if not isinstance(history, list):
        return "history is no list"
    for row in history:
        if not isinstance(row, dict) or not {*COLUMNS, "norms", "probe"} <= row.keys():
            return "history has a row without all its columns"
        if not all(type(row[name]) in (int, float) for name in COLUMNS) or not 0 < row["step"] <= step:
            return "history has a row that is not of numbers, or of a step to come"
    return ""
