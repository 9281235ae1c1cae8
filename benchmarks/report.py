"""The measured rows as Markdown tables."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from benchmarks.configs import CHECKED, config_of
from benchmarks.goals import GOALS
from benchmarks.measure import Row
from benchmarks.peers import CORES

TITLES = {
    "step": "Training step",
    "busy": "Training step beside a busy process",
    "ops": "Five ops on three elements, forward and backward",
    "chain": "Chain of additions, forward and backward",
    "memory": "Peak memory of a training process",
    "import": "Import in a fresh process",
    "sampling": "Drawing 64 tokens greedily, nano, batch 1",
}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": CORES,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": load,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def heading(before: dict[str, object], rows: Sequence[Row]) -> str:
    """Machine, versions, and what might have disturbed."""
    lines = [f"{before['processor']}, {before['cores']} cores, {before['system']}, Python {before['python']}."]
    lines.append(f"{'; '.join(dict.fromkeys(row.version for row in rows if row.version))}.")
    if before["load"] is not None:
        lines.append(f"Load average before: {before['load']:.1f}; other work on the machine makes all figures worse.")
    if before["OMP_NUM_THREADS"]:
        lines.append(f"OMP_NUM_THREADS={before['OMP_NUM_THREADS']}, which binds the rows without a number of threads.")
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, all others to the right."""
    rule = "|---|" + "--:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def number(x: float | None) -> str:
    """Three digits, or all before the point: 0.123, 1.23, 12.3, 1234."""
    if x is None:
        return ""
    return f"{x:.{max(0, 3 - len(str(int(x)))) if x >= 1 else 3}f}"


def tables(rows: Sequence[Row]) -> str:
    """One table for each thing that was measured, with the ratio to the better of PyTorch's eager rows."""
    parts = []
    for (what, case), group in itertools.groupby(rows, lambda row: (row.what, row.case)):
        chosen = list(group)
        title = TITLES[what] + (f", {case}" if case else "")
        if what in ("step", "busy", "memory"):
            title += f" ({', '.join(f'{name} {n}' for name, n in config_of(case)._asdict().items())})"
        torch = min((row.value for row in chosen if row.peer == "torch" and row.value), default=None)
        head = ["", f"median {chosen[0].unit}", "min", "/ PyTorch"]
        if what == "memory":
            head = ["", "MB", "/ PyTorch"]
        columns = {
            "tokens/s": what in ("step", "busy"),
            "peak MB": what in ("step", "busy"),
            f"loss after {CHECKED}": what in ("step", "busy", "memory"),
            "agrees": any(row.agrees is not None for row in chosen),
            "MB on disk": what == "import",
        }
        head += [name for name, wanted in columns.items() if wanted]
        lines = []
        for row in chosen:
            config = config_of(case) if what in ("step", "busy") else None
            values = {
                "tokens/s": f"{config.batch * config.context * 1000 / row.value:.0f}" if config and row.value else "",
                "peak MB": number(row.peak_mb),
                f"loss after {CHECKED}": f"{row.losses[-1]:.5f}" if row.losses else "",
                "agrees": {None: "", True: "yes", False: "NO"}[row.agrees],
                "MB on disk": number(row.disk_mb),
            }
            cells = [number(row.value), number(row.least), number(row.value / torch if row.value and torch else None)]
            if what == "memory":
                del cells[1]
            cells += [values[name] for name, wanted in columns.items() if wanted]
            if row.note:
                cells[:] = [row.note, *[""] * (len(cells) - 1)]
            lines.append([row.label, *cells])
        parts.append(f"### {title}\n\n{table(head, lines)}")
    return "\n\n".join(parts)


def goals(rows: Sequence[Row]) -> str:
    """The goals for which there are figures, each met or not met."""
    figures = [(goal, goal.measured(rows)) for goal in GOALS]
    lines = [
        [str(goal), number(figure), "met" if goal.met(figure) else "not met"]
        for goal, figure in figures
        if figure is not None
    ]
    left = sum(figure is None for _, figure in figures)
    text = f"### Goals\n\n{table(['goal', 'measured', ''], lines)}"
    return text + (f"\n\nNot measured here: {left} of {len(GOALS)} goals." if left else "")
