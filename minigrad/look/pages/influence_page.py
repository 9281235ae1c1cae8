"""The page of what depends on what: a map for each input of a model, and what is wrong in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minigrad.look.pages.html import page
from minigrad.train.files import atomic_write, page_mark

MARK = page_mark("influence")


def influence_page(found: Any, title: str = "what depends on what") -> str:
    """One self-contained HTML page of an ``Influence``."""
    maps = []
    for m in found.maps:
        sizes = m.within()
        largest = float(sizes.max(initial=0)) or 1.0
        maps.append({"name": m.name, "sizes": [[float(f"{x:.4g}") for x in row] for row in sizes], "largest": largest})
    data = {"title": title, "causal": found.causal, "findings": found.findings, "notes": found.notes, "maps": maps}
    return page(title, "influence", data)


def save_influence_page(path: str | Path, found: Any) -> None:
    """Write ``influence_page(found)`` to a file, in one piece."""
    with atomic_write(path, MARK) as file:
        file.write(influence_page(found).encode("utf-8"))
