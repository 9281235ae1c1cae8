"""A chapter's one source, read: its cells, and what is made of it: the student's copy, a notebook, a page.

The source is a Python script in the percent format (``# %%`` begins a cell, ``# %% [markdown]`` a text). What a learner
is to write stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``, as nbgrader has it. Lines there that begin
with ``#:`` are what the copy has in its place, for something to mend.
"""

from __future__ import annotations

import ast
import json
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "chapters"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_SOLUTION = re.compile(rf"^( *){BEGIN}\n(.*?)^ *{END}\n", re.MULTILINE | re.DOTALL)
_DRAWN = re.compile(r"^(?P<name>[A-Z][A-Z_]*) = (?P<value>\S+)  # yours, one of (?P<all>[^\n]+)$", re.MULTILINE)
_GUARD = 'if __name__ == "__main__":\n'


@dataclass(frozen=True)
class Cell:
    """A piece of a chapter: ``kind`` is "text" (Markdown), "code", "exercise" or "predict"."""

    kind: str
    text: str


@dataclass(frozen=True)
class Chapter:
    """A chapter: ``name`` is that of its file, such as chapter05; idea, able and next are a line or two each."""

    name: str
    number: int
    title: str
    idea: str
    able: str
    minutes: int
    next: str
    quick: str  # arguments for a run that is over at once
    source: str

    def cells(self, text: str | None = None) -> list[Cell]:
        """The cells after the head, of the source or of another version of it."""
        body = (self.source if text is None else text).split("\n# %%")[1:]
        return list(_cells(body))

    def student(self, seed: str = "") -> str:
        """The copy that a learner works in: without what he is to write, with the numbers drawn for him.

        A line ``SLOPE = 0.1  # yours, one of 0.1, 0.2`` gets one of these by the seed.
        """

        def open_(found: re.Match[str]) -> str:
            indent, solution = found.groups()
            name = _enclosing(self.source[: found.start()])
            broken = re.findall(rf"^{indent}#: ?([^\n]*)$", solution, re.MULTILINE)
            if broken:  # something to mend
                return "".join(f"{indent}{line}".rstrip() + "\n" for line in broken)
            values = re.findall(rf"^{indent}(\w+) = ", solution, re.MULTILINE) if not indent else []
            if values:  # at the top level: a value to choose
                return "".join(f"{value} = None  # yours\n" for value in values)
            return f'{indent}raise NotImplementedError("{name} is yours to write")\n'

        return _SOLUTION.sub(open_, self.drawn(seed))

    def drawn(self, seed: str) -> str:
        """The source with the numbers that are drawn for a seed."""

        def choose(found: re.Match[str]) -> str:
            values = [value.strip() for value in found["all"].split(",")]
            key = zlib.crc32(f"{seed} {self.name} {found['name']}".encode())
            value = values[random.Random(key).randrange(len(values))] if seed else found["value"]
            return f"{found['name']} = {value}  # drawn for you: keep it"

        return _DRAWN.sub(choose, self.source)

    def constants(self, seed: str) -> dict[str, Any]:
        """The numbers that are drawn for a seed, by name."""
        found = re.findall(r"^([A-Z][A-Z_]*) = (\S+)  # drawn for you", self.drawn(seed), re.MULTILINE)
        return {name: ast.literal_eval(value) for name, value in found}

    def notebook(self, solved: bool = False, seed: str = "") -> str:
        """A Jupyter notebook of the copy, or of the source as it is, as the text of its file."""
        cells: list[dict[str, Any]] = []
        head = f"# {self.number} · {self.title}\n\n{self.idea}\n\n"
        head += f"Afterwards you can {self.able} About {self.minutes} minutes."
        for number, cell in enumerate([Cell("text", head), *self.cells(None if solved else self.student(seed))]):
            kind = "markdown" if cell.kind == "text" else "code"
            text = unguarded(cell.text) if kind == "code" else cell.text
            made: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": text}
            if kind == "code":
                made.update(execution_count=None, outputs=[])
            cells.append(made)
        metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cells(body: list[str]) -> Iterator[Cell]:
    for part in body:
        head, _, text = part.partition("\n")
        head = head.strip()
        if head == "[markdown]":
            lines = [line[2:] if line.startswith("# ") else line.lstrip("#") for line in text.splitlines()]
            yield Cell("text", "\n".join(lines).strip())
        else:
            yield Cell(head if head in ("exercise", "predict") else "code", text.strip("\n"))


def _enclosing(before: str) -> str:
    """The function that the end of a text is in, with its class, as Tensor.backward."""
    found = re.findall(r"^( *)(?:def|class) (\w+)", before, re.MULTILINE)
    names: list[str] = []
    depth = 1000
    for indent, name in reversed(found):
        if len(indent) < depth and (names == [] or names[0] != name):
            names.insert(0, name)
            depth = len(indent)
    return ".".join(names) if len(names) < 2 or before.rfind("\nclass ") > before.rfind("\ndef ") else names[0]


def unguarded(code: str) -> str:
    """Code whose ``if __name__ == "__main__":`` is opened: in a notebook a cell is run where it stands."""
    head, guard, body = code.partition(_GUARD)
    if not guard or (head and not head.endswith("\n")):
        return code
    return head + re.sub(r"^    ", "", body, flags=re.MULTILINE)


def chapters() -> list[Chapter]:
    """All chapters there are, in their order."""
    return [read(path) for path in sorted(FOLDER.glob("chapter*.py"))]


def read(path: Path) -> Chapter:
    """A chapter from its file. Raises ValueError where its head lacks something."""
    source = path.read_text(encoding="utf-8")
    head = ast.get_docstring(ast.parse(source)) or ""
    first, *rest = [" ".join(part.split()) for part in head.split("\n\n")]
    fields = {key.strip().lower(): value.strip() for key, _, value in (part.partition(":") for part in rest)}
    title = re.fullmatch(r"(\d+) · (.+)", first)
    missing = [name for name in ("idea", "able", "minutes", "next") if name not in fields]
    if title is None or missing:
        raise ValueError(f"{path.name}: the head needs 'N · title', and {', '.join(missing) or 'a number'}")
    return Chapter(
        path.stem,
        int(title[1]),
        title[2],
        fields["idea"],
        fields["able"],
        int(fields["minutes"]),
        fields["next"],
        fields.get("quick", ""),
        source,
    )
