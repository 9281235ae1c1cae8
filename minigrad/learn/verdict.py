"""What the judge says of one exercise, as plain data: terminal, page, report and grades read the same."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

HOLDS, OPEN, WRONG = "holds", "not written yet", "wrong"


@dataclass
class Table:
    """One array of the learner's beside the right one, as rows of numbers; ``bad`` marks what disagrees."""

    name: str
    shape: tuple[int, ...]
    yours: list[list[float | str]]
    right: list[list[float | str]]
    bad: list[list[bool]]


@dataclass
class Verdict:
    """``stage`` is how far it came: "name", "call", "forward" or "backward". ``mistake`` is the name of a known one.

    ``says`` is what is wrong, ``hint`` where to look, ``worst`` one element worked out, ``notes`` are what else was
    noticed. ``forgets`` is the one of ``paths`` that was left out.
    """

    exercise: str
    state: str
    stage: str = ""
    says: str = ""
    mistake: str = ""
    hint: str = ""
    worst: str = ""
    forgets: str = ""
    paths: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prediction: str = ""  # of the chapter, with its first verdict

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: dict[str, Any]) -> Verdict:
        tables = [Table(**table) for table in data.pop("tables")]
        return cls(**data, tables=tables)

    def line(self) -> str:
        """One line: the name, the state, and the mistake where it has a name."""
        known = f": {self.mistake}" if self.mistake else ""
        return f"{self.exercise:24} {self.state}{known}"

    def text(self) -> str:
        """All of it for a terminal, in lines of at most 78 characters."""
        where = f" ({self.stage})" if self.stage in ("forward", "backward") else ""
        parts = [f"{self.exercise}{where}: {self.says}"] if self.says else []
        if self.hint:
            parts.append(f"Hint: {self.hint}")
        if self.forgets:
            parts += [f"  {'forgotten' if path == self.forgets else 'there':9}  {path}" for path in self.paths]
        if self.worst:
            parts.append(self.worst)
        parts += [f"Note: {note}" for note in self.notes]
        return "\n".join(wrapped(part) for part in parts)


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines of at most 78 characters; what is already indented stays a line of its own."""
    if text.startswith(" "):
        return text
    return textwrap.fill(text, 78, initial_indent=indent, subsequent_indent=indent or "  ", break_long_words=False)
