"""Whether what a checkpoint holds is the whole state of a run, and of this run: keys, types and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.optim import Optimizer

COLUMNS = ("step", "loss", "val_loss", "lr", "grad_norm", "tokens_per_second")  # of the history, and of the CSV
CURVES = ("loss", "lr", "grad_norm", "seconds")  # of every step


def misfit(ours: dict[str, Any], theirs: Any, optimizer: Optimizer) -> str:
    """In what a state differs in kind from the one that a run begins with; "" where it fits."""
    return (
        _difference(_without_progress(ours), _without_progress(theirs), "")
        or _unlike_kept(theirs, optimizer)
        or _unfinished(theirs)
    )


PROGRESS = ("step", "history", "curves")


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


def _unlike_kept(state: dict[str, Any], optimizer: Optimizer) -> str:
    """What an optimizer kept of each parameter is of the kind that a first step keeps of it."""
    found = state["optimizer"].get("state")
    parameters = [(p, group) for group in optimizer.param_groups for p in group["params"]]
    if not isinstance(found, dict):
        return "optimizer.state is missing"
    for i, kept in found.items():
        place = f"optimizer.state.{i}"
        if type(i) is not int or not 0 <= i < len(parameters):
            return f"{place} belongs to no parameter"
        p, group = parameters[i]
        first: dict[str, Any] = {}
        optimizer.update(np.zeros(p.shape, p.dtype), np.zeros(p.shape, p.dtype), first, group)
        if problem := _difference(first, kept, place):
            return problem
        if "step" in first and kept["step"] < 1:
            return f"{place}.step is {kept['step']}"
    return ""


def _unfinished(state: dict[str, Any]) -> str:
    """The record of the steps made so far has a number of each curve for each, and rows with all columns."""
    step, history, curves = (state.get(key) for key in PROGRESS)
    if type(step) is not int or step < 0:
        return "step is no number of steps"
    if not isinstance(curves, dict) or not set(CURVES) <= curves.keys():
        return f"curves are not {', '.join(CURVES)}"
    for name in CURVES:
        curve = curves[name]
        if not isinstance(curve, np.ndarray) or curve.shape != (step,) or curve.dtype.kind != "f":
            return f"curves.{name} has not one number for each of the {step} steps"
    if not isinstance(history, list):
        return "history is no list"
    for row in history:
        if not isinstance(row, dict) or not {*COLUMNS, "norms", "probe"} <= row.keys():
            return "history has a row without all its columns"
        if not all(type(row[name]) in (int, float) for name in COLUMNS) or not 0 < row["step"] <= step:
            return "history has a row that is not of numbers, or of a step to come"
    return ""
