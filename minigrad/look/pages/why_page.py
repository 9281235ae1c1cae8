"""The page that says why a weight changed: the change as a map; pick an element, see its terms and its places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigrad.look.pages.html import page
from minigrad.train.files import atomic_write, output_path, page_mark

MARK = page_mark("why")


def why_page(data: Mapping[str, Any]) -> str:
    """One self-contained HTML page."""
    return page(f"why {data['name']} changed", "why", data)


def why_path(path: str | Path, *inputs: str | Path) -> Path:
    """The path, if a page of this kind may be written there."""
    return output_path(path, MARK, inputs)


def save_why_page(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write the page to a file, in one piece."""
    with atomic_write(path, MARK) as file:
        file.write(why_page(data).encode("utf-8"))
