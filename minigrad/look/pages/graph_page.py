"""Pictures of the graph behind a tensor: by modules, by ops, or number by number; as SVG, PNG, PDF, DOT or a page."""

from __future__ import annotations

import html
import sys
import zlib
from pathlib import Path
from typing import Any

from minigrad.core.tensor import Tensor
from minigrad.look.pages.dot import kinds_of, layout, printable, to_dot, to_svg, with_legend
from minigrad.look.pages.html import page
from minigrad.look.pages.living import record_of
from minigrad.look.pages.picture import SMALL, Modules, Picture, Record, draw
from minigrad.look.pages.scalars import SCALARS, draw_scalars
from minigrad.look.recording import Trace
from minigrad.nn import Module
from minigrad.train.files import atomic_write, output_path, page_mark

LEVELS = ("module", "op", "scalar")
ENDINGS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot", ".gv": "dot", ".html": "html"}  # -> method
MARKS = {  # by what a file is known to be such a picture: only that is replaced by another
    "svg": b"<!-- minigrad graph -->",
    "png": b"Software\0minigrad graph",
    "pdf": b"% minigrad graph",
    "dot": b"digraph minigrad",
    "html": page_mark("graph"),
}
LIMIT = 400  # boxes of ops and modules
READABLE = 80  # so many boxes are shown at first; of more, the overview
PAGES, FEW_PAGES = 80, 12  # modules that the page can open; in a notebook


class Graph:
    """The picture of the graph behind one tensor, in the level asked for. Jupyter shows the page."""

    def __init__(
        self,
        record: Record,
        level: str | None = None,
        *,
        depth: int | None = None,
        fold: bool = True,
        limit: int | None = None,
        legend: bool = True,
    ) -> None:
        if level not in (None, *LEVELS):
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        if depth is not None and depth < 0:
            raise ValueError(f"depth must be at least 0, got {depth}")
        self.record = record
        self.level = level or _fitting(record)
        self.depth = depth
        self.limit = limit
        self.fold = fold
        self.legend = legend

    @classmethod
    def from_trace(cls, trace: Trace, level: str | None = None, *, root: int | None = None, **options: Any) -> Graph:
        """The graph of a recorded run: of the tensor that backward last started from, or of the one with this id."""
        return cls(Record.of(trace, root), level, **options)

    def picture(self) -> Picture:
        """What is to be seen, not yet laid out."""
        picture = self._level(self.level)
        return with_legend(picture) if self.legend else picture

    def _level(self, level: str) -> Picture:
        if level == "scalar":
            return draw_scalars(self.record, self.limit or SCALARS)
        small = len(self.record.ops) <= SMALL
        modules = Modules(self.record, self.fold and level == "module", self.fold and (level == "module" or not small))
        limit = self.limit or LIMIT
        if level == "op":
            return draw(self.record, modules, modules.shown, limit, small=small)
        inner = modules.shown - modules.leaves
        opened = {p for p in inner if self.depth is None or len(modules.chain(p)) <= self.depth}
        return draw(self.record, modules, opened, limit, plumbing=False)

    def dot(self) -> str:
        """The picture in Graphviz's language, DOT."""
        return to_dot(self.picture())

    def svg(self) -> str:
        """The picture as SVG. Raises RuntimeError where no layout engine is installed."""
        return to_svg(self.picture())

    def png(self) -> bytes:
        """The picture as PNG, on white. Raises RuntimeError where Graphviz is not installed."""
        return layout(to_dot(self.picture(), bgcolor="white", dpi="144"), "png")

    def pdf(self) -> bytes:
        """The picture as PDF. Raises RuntimeError where Graphviz is not installed."""
        return layout(self.dot(), "pdf")

    def html(self, pages: int = PAGES) -> str:
        """A page that holds the picture in all levels, and opens modules at a click. Raises RuntimeError as ``svg``.

        At most ``pages`` modules can be opened.
        """
        pictures, buttons = self._views(pages)
        alike = Modules(self.record, True).alike
        views = {}
        for name, (picture, about) in pictures.items():
            boxes = {
                box.id: {
                    "lines": [printable(line) for line in box.lines],
                    "tooltip": [printable(line) for line in box.tooltip],
                    "opens": alike(box.opens) if box.opens and f"module:{alike(box.opens)}" in pictures else None,
                    "module": box.module,
                }
                for box in picture.boxes
                if box.kind != "joint"
            }
            clusters = {
                f"c{i}": {
                    "path": alike(cluster.path),
                    "lines": [printable(cluster.title)],
                    "tooltip": [printable(line) for line in cluster.tooltip],
                }
                for i, cluster in enumerate(picture.clusters)
            }
            legend = kinds_of(picture)
            views[name] = {"svg": to_svg(picture), "boxes": boxes, "clusters": clusters, "legend": legend, **about}
        title = self.record.trace.label(self.record.root)
        readable = "all" in views and len(views["all"]["boxes"]) <= READABLE
        first = self.level if self.level in views else "all" if readable else buttons[0][0]
        data = {"title": title, "views": views, "buttons": buttons, "first": first}
        return page(f"Graph of {title}", "graph", data)

    def _views(self, pages: int = PAGES) -> tuple[dict[str, tuple[Picture, dict[str, str]]], list[tuple[str, str]]]:
        """The pictures of the page by name, each with what the page is to know of it; and the buttons for some."""
        views: dict[str, tuple[Picture, dict[str, str]]] = {}
        buttons = []
        record, limit = self.record, self.limit or LIMIT
        modules = Modules(record, True)
        if modules.shown:
            buttons += [("module:", "Overview"), ("all", "All modules")]
            views["all"] = draw(record, modules, modules.shown - modules.leaves, limit, plumbing=False), {}
            first = dict.fromkeys(modules.alike(path) for path in sorted(modules.shown, key=lambda p: p.count(".")))
            for path in ["", *first][:pages]:
                chain = modules.chain(path)
                parent = chain[-2] if len(chain) > 1 else ""
                picture = draw(record, modules, set(chain), limit, plumbing=False)
                about = {"path": path, "parent": parent, "title": " ".join(modules.title(path, parent)).strip()}
                views[f"module:{path}"] = picture, about
            if modules.group:
                buttons.append(("unfolded", "Each block"))
                views["unfolded"] = draw(record, Modules(record, False), set(), limit, plumbing=False), {}
        buttons.append(("op", "Ops"))
        views["op"] = self._level("op"), {}
        if self.level == "scalar" or all(record.trace.tensors[op.output].value.data is not None for op in record.ops):
            try:
                views["scalar"] = draw_scalars(record, self.limit or SCALARS), {}
                buttons.append(("scalar", "Numbers"))
            except ValueError:
                pass  # too many numbers for a picture of them
        return views, buttons

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file, in one piece; its ending says how: .svg, .png, .pdf, .dot, .gv or .html."""
        path = Path(path)
        if path.suffix.lower() not in ENDINGS:
            raise ValueError(f"{path.name!r} must end in one of {', '.join(ENDINGS)}: the ending says what to write")
        kind = ENDINGS[path.suffix.lower()]
        output_path(path, MARKS[kind])  # before the work
        content = getattr(self, kind)()
        with atomic_write(path, MARKS[kind]) as file:
            file.write(_marked(content if isinstance(content, bytes) else content.encode("utf-8"), kind))
        return path

    def __repr__(self) -> str:
        return f"<graph of {self.record.trace.label(self.record.root)}: {len(self.record.ops)} ops, {self.level} level>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        try:
            name, text = (html.escape(part) for part in (repr(self), self.html(FEW_PAGES)))
            frame = f'<iframe title="{name}" style="width: 100%; height: 640px; border: 0" srcdoc="{text}"></iframe>'
            return {"text/html": frame, "image/svg+xml": self.svg(), "text/plain": repr(self)}
        except (RuntimeError, ValueError) as error:
            return {"text/plain": f"{self!r}\n{error}"}


def _marked(content: bytes, kind: str) -> bytes:
    """The picture with its mark, in a place that the format has for such words."""
    if kind == "svg":
        return content.replace(b"?>\n", b"?>\n" + MARKS[kind] + b"\n", 1)
    if kind == "pdf":
        return content + MARKS[kind] + b"\n"
    if kind == "png":  # as a chunk of text before the last one, which has 12 bytes
        chunk = b"tEXt" + MARKS[kind]
        chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        return content[:-12] + chunk + content[-12:]
    return content


def graph(
    root: Tensor | Trace,
    level: str | None = None,
    *,
    model: Module | None = None,
    depth: int | None = None,
    fold: bool = True,
    limit: int | None = None,
    legend: bool = True,
    variables: dict[str, Any] | None = None,
) -> Graph:
    """The picture of how a tensor was made, or of a recorded run.

    ``level``: "module" (one box per module, blocks that are alike folded into one), "op", or "scalar" (every single
    number, for one neuron); by default the finest that fits. ``depth`` opens so many levels of modules, ``limit`` is
    the most boxes to draw. A tensor knows its ops and shapes; with ``model`` its parameters get their names, from
    ``variables`` (the caller's) other leaves theirs, and a trace knows all values and gradients. Raises ValueError for
    a tensor that no recorded op made, or whose graph backward has released.
    """
    if isinstance(root, Trace):
        record = Record.of(root)
    elif isinstance(root, Tensor):
        record = record_of(root, model, dict(variables if variables is not None else sys._getframe(1).f_locals))
    else:
        raise TypeError(f"graph() draws a tensor or a trace, got {type(root).__name__}")
    return Graph(record, level, depth=depth, fold=fold, limit=limit, legend=legend)


def _fitting(record: Record) -> str:
    """The finest level that a person can read."""
    made = [record.trace.tensors[op.output].value for op in record.ops]
    if len(made) <= SMALL:
        return "scalar" if all(value.data is not None and len(value.data) == 1 for value in made) else "op"
    return "module" if any(record.module(op) for op in record.ops) else "op"
