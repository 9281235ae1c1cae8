"""The page of a training run: losses beside the guessing baselines, norms, samples and attention over time."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.look.pages.html import page
from minigrad.train.files import atomic_write, page_mark

MARK = page_mark("run")
POINTS = 1000  # the most points a curve is drawn with
FLOW = 120  # those of a layer


def run_page(
    title: str,
    history: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Sequence[float]],
    baselines: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    flow: Mapping[str, Any] | None = None,
) -> str:
    """One self-contained HTML page from what a Trainer kept: ``history`` and ``curves``, and
    ``flow.state_dict()``, drawn layer by layer where it is given.

    ``baselines`` are drawn as lines to beat. A probe may have left "sample" (text) and "attention": a list of dicts
    with "path", "tokens" (T texts) and "weights" (H, T, T).
    """
    return page(
        title,
        "run",
        {
            "title": title,
            "steps": len(curves["loss"]),
            "curves": {name: _thinned(values) for name, values in curves.items()},
            "baselines": {name: _number(value) for name, value in (baselines or {}).items()},
            "settings": {name: str(value) for name, value in (settings or {}).items()},
            "rows": [_row(row) for row in history],
            "flow": _flow(flow) if flow is not None else None,
        },
        parts=["chart", "curves"],
    )


def save_run_page(path: str | Path, *args: Any, **kwargs: Any) -> None:
    """Write ``run_page(...)`` to a file, in one piece."""
    with atomic_write(path, MARK) as file:
        file.write(run_page(*args, **kwargs).encode("utf-8"))


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    probe = row.get("probe", {})
    return {
        **{name: _number(row[name]) for name in ("step", "loss", "val_loss", "lr", "grad_norm", "tokens_per_second")},
        "norms": {path: [_number(v) for v in pair] for path, pair in row.get("norms", {}).items()},
        "sample": probe.get("sample"),
        "attention": [
            {
                "path": layer["path"],
                "tokens": list(layer["tokens"]),
                "weights": [_bytes(head) for head in np.asarray(layer["weights"])],
            }
            for layer in probe.get("attention", [])
        ],
    }


def _flow(flow: Mapping[str, Any]) -> dict[str, Any]:
    """The columns by what they tell, each as at most FLOW numbers, and how many steps one stands for."""
    rows = np.asarray(flow["rows"], dtype=np.float64)
    joined = max(1, math.ceil(len(rows) / FLOW))
    rows = np.array([rows[i : i + joined].mean(0) for i in range(0, len(rows), joined)])
    kinds: dict[str, dict[str, list[Any]]] = {"gradient": {}, "update": {}, "units": {}, "entropy": {}}
    for column, name in enumerate(flow["columns"]):
        kind, _, what = name.partition(" ")
        if kind in kinds and len(rows):
            kinds[kind][what or "the model itself"] = [_number(float(value)) for value in rows[:, column]]
    return {"stride": joined * int(flow["stride"]), **kinds}


def _bytes(weights: Any) -> str:
    """Weights from 0 to 1 in steps of 1/255, row by row, as base64: a run has many of them."""
    steps = np.rint(255 * np.clip(np.nan_to_num(weights), 0, 1)).astype(np.uint8)
    return base64.b64encode(steps.tobytes()).decode("ascii")


def _thinned(values: Sequence[float]) -> list[list[float | None]]:
    """Pairs of step and number; of long runs the means of equal stretches, at the middle of each."""
    stretch = max(1, math.ceil(len(values) / POINTS))
    parts = [values[i : i + stretch] for i in range(0, len(values), stretch)]
    return [[i * stretch + (len(part) + 1) / 2, _number(float(np.mean(part)))] for i, part in enumerate(parts)]


def _number(value: Any) -> Any:
    """A number in 5 digits; None for one that is not finite."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.5g}") if math.isfinite(value) else None
