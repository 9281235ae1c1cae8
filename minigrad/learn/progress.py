"""What a learner has done, in one JSON file beside his chapters: attempts, mistakes by name, hints, time, seed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigrad.learn.verdict import HOLDS, OPEN, Verdict
from minigrad.train.files import atomic_write

MARK = b'"minigrad-course"'
PAUSE = 15 * 60  # seconds: a longer gap between two attempts was a pause


@dataclass
class Progress:
    """The state of one course folder. ``seed`` is the teacher's, ``student`` a name: both draw the variants."""

    folder: Path
    seed: str = ""
    student: str = ""
    chapters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / "progress.json"

    @property
    def variant(self) -> str:
        """What the variants are drawn by; empty: everybody's."""
        return f"{self.seed}/{self.student}" if self.seed else ""

    @classmethod
    def load(cls, folder: Path) -> Progress:
        """The progress in a folder, new where there is none. Raises ValueError for a file that is damaged."""
        made = cls(folder)
        if made.path.exists():
            try:
                data = json.loads(made.path.read_text(encoding="utf-8"))
                made.seed, made.student = str(data["seed"]), str(data["student"])
                made.chapters = {str(k): dict(v) for k, v in data["chapters"].items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{made.path} is damaged: move it away, the chapters themselves stay") from error
        return made

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {"format": "minigrad-course", "seed": self.seed, "student": self.student, "chapters": self.chapters}
        with atomic_write(self.path, MARK) as file:
            file.write(json.dumps(data, indent=1).encode())

    def of(self, chapter: str) -> dict[str, Any]:
        return self.chapters.setdefault(chapter, {"exercises": {}, "seconds": 0, "last": 0.0})

    def begin(self, chapter: str) -> None:
        self.of(chapter)["last"] = time.time()

    def note(self, chapter: str, verdicts: list[Verdict]) -> None:
        """One attempt at a chapter."""
        entry, now = self.of(chapter), time.time()
        gap = now - float(entry.get("last") or now)
        entry["seconds"] = round(float(entry["seconds"]) + (gap if 0 < gap < PAUSE else 0))
        entry["last"] = now
        for verdict in verdicts:
            if verdict.prediction:
                entry.setdefault("prediction", verdict.prediction)  # the first one counts
            if verdict.state == OPEN:
                continue
            done = entry["exercises"].setdefault(verdict.exercise, {"attempts": 0, "holds": False, "mistakes": []})
            done["attempts"] += not done["holds"]
            done["holds"] = verdict.state == HOLDS
            if verdict.mistake:
                done["mistakes"].append(verdict.mistake)

    def hinted(self, chapter: str, exercise: str, level: int) -> None:
        done = self.of(chapter)["exercises"].setdefault(exercise, {"attempts": 0, "holds": False, "mistakes": []})
        done["hints"] = max(level, int(done.get("hints", 0)))

    def held(self, chapter: str) -> set[str]:
        """The exercises of a chapter that held at the last judgement."""
        return {name for name, done in self.chapters.get(chapter, {}).get("exercises", {}).items() if done["holds"]}
