"""What a learner, or a class, has done: one page and JSON for a learner, a table for a teacher."""

from __future__ import annotations

import csv
import html
import io
import json
from pathlib import Path
from typing import Any

from minigrad import __version__
from minigrad.learn.exercise import exercises
from minigrad.learn.page import document, scrolling
from minigrad.learn.process import judged
from minigrad.learn.progress import Progress
from minigrad.learn.source import Chapter, chapters
from minigrad.learn.verdict import HOLDS
from minigrad.train.files import atomic_write, page_mark

MARK = b'"minigrad-report"'
TABLE_MARK = b"student,"


def summary(progress: Progress) -> dict[str, Any]:
    """All that was noted, as plain data: version, seed, and per exercise attempts, hints, mistakes by name."""
    made = []
    for chapter in chapters():
        entry = progress.chapters.get(chapter.name)
        if entry is None:
            continue
        rows = []
        for exercise in exercises(chapter.name):
            done = entry["exercises"].get(exercise.name, {})
            rows.append(
                {
                    "exercise": exercise.name,
                    "holds": bool(done.get("holds")),
                    "attempts": int(done.get("attempts", 0)),
                    "hints": int(done.get("hints", 0)),
                    "mistakes": list(done.get("mistakes", [])),
                }
            )
        made.append(
            {
                "chapter": chapter.number,
                "title": chapter.title,
                "minutes": round(entry["seconds"] / 60),
                "prediction": entry.get("prediction", ""),
                "exercises": rows,
            }
        )
    return {
        "format": "minigrad-report",
        "version": __version__,
        "seed": progress.seed,
        "student": progress.student,
        "chapters": made,
    }


def report_page(data: dict[str, Any]) -> str:
    """The summary as a page."""
    parts = []
    for chapter in data["chapters"]:
        rows = "".join(
            f"<tr><td>{html.escape(row['exercise'])}</td><td>{'holds' if row['holds'] else 'open'}</td>"
            f"<td>{row['attempts']}</td><td>{row['hints']}</td>"
            f"<td>{html.escape(', '.join(dict.fromkeys(row['mistakes']))) or 'none'}</td></tr>"
            for row in chapter["exercises"]
        )
        head = "".join(f"<th>{name}</th>" for name in ("exercise", "state", "attempts", "hints", "mistakes on the way"))
        title = f"{chapter['chapter']} · {chapter['title']}"
        parts.append(f"<h2>{html.escape(title)}</h2><p class='quiet'>About {chapter['minutes']} minutes.")
        if chapter["prediction"]:
            parts.append(f" Predicted: {html.escape(chapter['prediction'])}.")
        parts.append("</p>" + scrolling(f'<table class="plain"><tr>{head}</tr>{rows}</table>', html.escape(title)))
    who = f"{data['student']}, seed {data['seed']}, " if data["seed"] or data["student"] else ""
    about = html.escape(f"{who}minigrad {data['version']}")
    empty = "" if parts else "<p>No chapter has been begun.</p>"
    body = (
        f"<header><h1>The course, so far</h1><p class='quiet'>{about}</p></header><main>{''.join(parts)}{empty}</main>"
    )
    return document("The course, so far", body, "report")


def save_report(progress: Progress) -> tuple[Path, Path]:
    """Write report.html and report.json into the course folder."""
    data = summary(progress)
    page, plain = progress.folder / "report.html", progress.folder / "report.json"
    with atomic_write(page, page_mark("report")) as file:
        file.write(report_page(data).encode("utf-8", "replace"))
    with atomic_write(plain, MARK) as file:
        file.write(json.dumps(data, indent=1).encode())
    return page, plain


def grades(folder: Path, seed: str) -> tuple[str, list[str]]:
    """A table, as CSV, of a class: a row for each student's folder and exercise; and what was noticed on the way.

    A student's chapters lie in DIR/NAME/ or DIR/NAME/minigrad-course/. Every file is judged now, with the draws and
    the variants of ``seed`` and the folder's name, whatever the student's own progress says.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    out, noticed = io.StringIO(), []
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["student", "chapter", "exercise", "state", "mistake", "variant", "points"])
    students = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for student in students:
        work = student / "minigrad-course" if (student / "minigrad-course").is_dir() else student
        known = [(c, work / f"{c.name}.py") for c in chapters() if (work / f"{c.name}.py").is_file()]
        if not known:
            noticed.append(f"{student.name}: no chapter found")
        for chapter, file in known:
            variant = f"{seed}/{student.name}" if seed else ""
            own = "" if drawn_for(chapter, file, variant) else "another's"
            for verdict in judged(file, chapter.name, [*variant.encode()] or [0]):
                state = "wrong" if own and verdict.state == HOLDS else verdict.state
                points = int(state == HOLDS)
                table.writerow(
                    [student.name, chapter.number, verdict.exercise, state, verdict.mistake, own or "own", points]
                )
    return out.getvalue(), noticed


def drawn_for(chapter: Chapter, file: Path, variant: str) -> bool:
    """Whether the numbers in a copy are those that were drawn for this student."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return all(f"{name} = {value}" in text for name, value in chapter.constants(variant).items())


def save_grades(path: Path, text: str) -> None:
    with atomic_write(path, TABLE_MARK) as file:
        file.write(text.encode())
