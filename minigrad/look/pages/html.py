"""One self-contained page: readable HTML, CSS and JavaScript from ``assets/``, put together with the data to show."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad.train.files import page_mark

ASSETS = Path(__file__).parent / "assets"

# No request of any kind can leave the page, whatever text its data holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def page(title: str, view: str, data: Any, parts: Sequence[str] = ()) -> str:
    """The page of a view (``stepper``, ``attention``, ...) with its data: the text of one HTML file.

    The body is ``assets/VIEW.html``; styles and script are ``base`` and ``VIEW``, inlined, and between the scripts
    those of ``parts``. The script reads the data with ``readData()``. The same data give the same text.
    """
    styles = _asset("base.css") + _asset(f"{view}.css")
    script = "".join(_asset(f"{name}.js") for name in ("base", *parts, view))
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{page_mark(view).decode()}
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{html.escape(title)}</title>
<style>
{styles}</style>
</head>
<body>
{_asset(f"{view}.html")}<script type="application/json" id="data">{embed(data)}</script>
<script type="module">
{script}document.documentElement.dataset.ready = "yes";
</script>
</body>
</html>
"""
    return text.encode("utf-8", "replace").decode()  # halves of characters, which no file can hold


def embed(data: Any) -> str:
    """JSON that may stand inside a script element: whatever the texts in it hold, they cannot end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
