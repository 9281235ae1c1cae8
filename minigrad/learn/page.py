"""The pages of the course: a chapter to read, a verdict to look at. Static HTML, one file each, offline."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from minigrad.learn.source import Chapter
from minigrad.learn.verdict import Table, Verdict
from minigrad.look.pages.html import ASSETS, POLICY
from minigrad.train.files import atomic_write, page_mark

STYLE = """
main, header { max-width: 46rem; margin: 0 auto; padding: 0.8rem 1rem; }
header { border-bottom: 1px solid var(--line); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 1.6rem; }
p, li { line-height: 1.55; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 0.7rem; margin: 0.7rem 0;
  white-space: pre; overflow-x: auto; overflow-wrap: normal; }
.exercise { border-left: 4px solid var(--accent); padding-left: 0.9rem; margin: 1.4rem 0; }
.exercise > h2 { margin-top: 0; }
.scroll { overflow-x: auto; }
table.plain { border-collapse: collapse; } table.plain td, table.plain th { border: 1px solid var(--line);
  padding: 0.2rem 0.6rem; text-align: left; }
td.off { outline: 2px solid var(--bad); outline-offset: -2px; font-weight: 700; }
table.numbers td { white-space: nowrap; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; } figcaption { margin-bottom: 0.3rem; }
.paths { list-style: none; padding: 0; } .paths li { margin: 0.3rem 0; }
.paths .left { border: 2px dashed var(--bad); border-radius: 6px; padding: 0.2rem 0.5rem; display: inline-block; }
.paths .there { border: 2px solid var(--line); border-radius: 6px; padding: 0.2rem 0.5rem; display: inline-block; }
"""


def document(title: str, body: str, mark: str) -> str:
    """A page of the course around its body."""
    base = (ASSETS / "base.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{page_mark(mark).decode()}
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{html.escape(title)}</title>
<style>
{base}{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def chapter_page(chapter: Chapter) -> str:
    """The chapter as a page to read beside the file."""
    parts = []
    for cell in chapter.cells(chapter.student()):
        if cell.kind == "text":
            parts.append(markdown(cell.text))
        else:
            words = {"exercise": "Yours to write", "predict": "Predict, then look"}.get(cell.kind)
            code = f'<pre tabindex="0"><code>{html.escape(cell.text)}</code></pre>'
            parts.append(f'<section class="exercise"><h2>{words}</h2>{code}</section>' if words else code)
    title = f"{chapter.number} · {chapter.title}"
    body = f"""<header><h1>{html.escape(title)}</h1>
<p>{inline(chapter.idea)}</p>
<p class="quiet">Afterwards you can {inline(chapter.able)} About {chapter.minutes} minutes.</p></header>
<main>
{"".join(parts)}
<p class="quiet">{inline(chapter.next)}</p>
</main>"""
    return document(title, body, "lesson")


def save_chapter_page(path: Path, chapter: Chapter) -> None:
    with atomic_write(path, page_mark("lesson")) as file:
        file.write(chapter_page(chapter).encode("utf-8", "replace"))


def verdict_page(chapter: Chapter, verdict: Verdict) -> str:
    """What is wrong with one exercise: in words, with the path that was forgotten, and both arrays side by side."""
    name = html.escape(verdict.exercise)
    parts = [f"<p><strong>{inline(verdict.says)}</strong></p>"]
    if verdict.hint:
        parts.append(f"<p>Hint: {inline(verdict.hint)}</p>")
    if verdict.forgets:
        parts.append("<h2>The ways from an input to the result</h2>" + paths(verdict.paths, verdict.forgets))
    if verdict.worst:
        parts.append(f"<p>{inline(verdict.worst)}</p>")
    parts += [side_by_side(table, verdict.stage) for table in verdict.tables]
    known = f": {html.escape(verdict.mistake)}" if verdict.mistake else ""
    body = f"<header><h1>{name}{known}</h1><p class='quiet'>Chapter {chapter.number}, {html.escape(verdict.stage)}</p>"
    return document(f"{verdict.exercise}: what is wrong", f"{body}</header>\n<main>{''.join(parts)}</main>", "verdict")


def save_verdict_page(path: Path, chapter: Chapter, verdict: Verdict) -> None:
    with atomic_write(path, page_mark("verdict")) as file:
        file.write(verdict_page(chapter, verdict).encode("utf-8", "replace"))


def paths(all_of_them: Sequence[str], forgotten: str) -> str:
    rows = []
    for path in all_of_them:
        lost = path == forgotten
        word = "forgotten" if lost else "there"
        rows.append(f'<li><span class="{"left" if lost else "there"}">{html.escape(path)}</span> {word}</li>')
    return f'<ul class="paths">{"".join(rows)}</ul>'


def side_by_side(table: Table, stage: str) -> str:
    other = "by the definition" if stage == "forward" else "by wiggling each input"
    shape = str(tuple(table.shape)) if table.shape else "a number"
    name = html.escape(table.name)
    pair = [
        f"<figure><figcaption>{name}, {words}</figcaption>{numbers(rows, bad, f'{name}, {words}')}</figure>"
        for words, rows, bad in (("yours", table.yours, table.bad), (other, table.right, None))
    ]
    note = '<p class="quiet">What disagrees is framed and has a mark.</p>'
    return f'<h2>{name} {shape}</h2>{note}<div class="pair">{"".join(pair)}</div>'


def numbers(rows: list[list[float | str]], bad: list[list[bool]] | None, label: str) -> str:
    def cell(value: float | str, off: bool) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
        return f'<td class="off">{text} ✗</td>' if off else f"<td>{text}</td>"

    marks = bad or [[False] * len(row) for row in rows]
    lines = [f"<tr>{''.join(map(cell, row, offs))}</tr>" for row, offs in zip(rows, marks, strict=True)]
    return scrolling(f'<table class="numbers">{"".join(lines)}</table>', label)


def scrolling(table: str, label: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def markdown(text: str) -> str:
    """The Markdown that the chapters use: headings, paragraphs, lists, tables, code; nothing else."""
    parts = []
    for block in re.split(r"\n\s*\n(?![^`]*```\n)", text.strip()):
        lines = block.splitlines()
        if block.startswith("```"):
            code = "\n".join(lines[1:-1])
            parts.append(f'<pre tabindex="0"><code>{html.escape(code)}</code></pre>')
        elif all(line.startswith("    ") for line in lines):
            code = "\n".join(line[4:] for line in lines)
            parts.append(f'<pre tabindex="0"><code>{html.escape(code)}</code></pre>')
        elif heading := re.match(r"(#+) (.*)", block):
            parts.append(f"<h2>{inline(heading[2])}</h2>")
            if lines[1:]:
                parts.append(f"<p>{inline(' '.join(lines[1:]))}</p>")
        elif lines[0].startswith("|"):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            head, body = rows[0], [row for row in rows[1:] if not set("".join(row)) <= set("-: ")]
            made = "".join(f"<th>{inline(cell)}</th>" for cell in head)
            made = f"<tr>{made}</tr>" + "".join(
                f"<tr>{''.join(f'<td>{inline(cell)}</td>' for cell in row)}</tr>" for row in body
            )
            parts.append(scrolling(f'<table class="plain">{made}</table>', "table"))
        elif re.match(r"[-*] |\d+\. ", lines[0]):
            items = re.split(r"\n(?=[-*] |\d+\. )", block)
            tag = "ul" if lines[0][0] in "-*" else "ol"
            texts = [" ".join(re.sub(r"^([-*]|[0-9]+[.]) ", "", item).split()) for item in items]
            made = "".join(f"<li>{inline(text)}</li>" for text in texts)
            parts.append(f"<{tag}>{made}</{tag}>")
        else:
            parts.append(f"<p>{inline(' '.join(lines))}</p>")
    return "\n".join(parts)


def inline(text: str) -> str:
    """A line of Markdown: code, strong, emphasis; everything else is text."""
    pieces = re.split(r"(`[^`]+`)", text)
    made = []
    for piece in pieces:
        if piece.startswith("`") and piece.endswith("`") and len(piece) > 2:
            made.append(f"<code>{html.escape(piece[1:-1])}</code>")
        else:
            piece = html.escape(piece, quote=False)
            piece = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", piece)
            made.append(re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", piece))
    return "".join(made)
