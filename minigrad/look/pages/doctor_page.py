"""The page of the doctor: each finding with its evidence, line and curves, and the run layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from minigrad.look.pages.html import page
from minigrad.train.files import atomic_write, output_path, page_mark

MARK = page_mark("doctor")


class Shown(Protocol):
    """What the page needs of a finding."""

    title: str
    evidence: str
    mend: str
    line: Any
    chapter: str
    curves: dict[str, list[float | None]]
    bars: dict[str, list[float]]


def doctor_page(title: str, summary: str, findings: Sequence[Shown], chart: Mapping[str, Any]) -> str:
    """One self-contained HTML page; ``chart`` has the curves of the whole run: loss, gradients, updates, dead, ..."""
    return page(
        f"doctor: {title}",
        "doctor",
        {"title": title, "summary": summary, "findings": [_finding(f) for f in findings], "chart": rounded(chart)},
        parts=["chart", "curves"],
    )


def doctor_path(path: str | Path, *inputs: str | Path) -> Path:
    """The path, if a page of this kind may be written there."""
    return output_path(path, MARK, inputs)


def save_doctor_page(path: str | Path, *args: Any, **kwargs: Any) -> None:
    """Write ``doctor_page(...)`` to a file, in one piece."""
    with atomic_write(path, MARK) as file:
        file.write(doctor_page(*args, **kwargs).encode("utf-8"))


def _finding(f: Shown) -> dict[str, Any]:
    line = None if f.line is None else {"file": Path(f.line.file).name, "number": f.line.number, "text": f.line.text()}
    return {
        "title": f.title,
        "evidence": f.evidence,
        "mend": f.mend,
        "line": line,
        "chapter": f.chapter,
        "curves": rounded(f.curves),
        "bars": rounded(f.bars),
    }


def rounded(data: Any) -> Any:
    """Plain data with every float in 5 digits."""
    if isinstance(data, Mapping):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [rounded(value) for value in data]
    return float(f"{data:.5g}") if isinstance(data, float) else data
