"""The pages of the course in a real browser: readable on a phone, in the dark, without a network."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.learn.exercise import exercises
from minigrad.learn.judge import judge
from minigrad.learn.page import inline, markdown, save_chapter_page, save_verdict_page
from minigrad.learn.source import chapters

pytest_plugins = ["browser"]
CHAPTER = next(c for c in chapters() if c.number == 5)


@pytest.fixture
def pages(tmp_path):
    """A chapter's page, and a verdict's with a forgotten path."""
    softmax = exercises("chapter05")[0]
    wrong = next(m.wrong for m in softmax.mistakes if m.forgets)
    chapter, verdict = tmp_path / "chapter.html", tmp_path / "verdict.html"
    save_chapter_page(chapter, CHAPTER)
    save_verdict_page(verdict, CHAPTER, judge(softmax, {"softmax": wrong}, "mine.py"))
    return chapter, verdict


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_fit_a_phone_and_have_no_barriers(pages, browser, dark):
    for page in pages:
        with browser.seen(width=390, height=800, dark=dark):
            browser.open(page)
            assert browser.run("return document.documentElement.scrollWidth") <= 390
            assert browser.text("h1")
    assert "forgotten" in browser.text("main") and "✗" in browser.text("td.off")
    for page in pages:
        with browser.seen(width=390, height=800, dark=dark):
            browser.open(page)
            assert browser.barriers() == []


def test_whatever_a_text_holds_it_is_no_markup():
    assert "<script" not in inline("<script>alert(1)</script> `<b>`") + markdown("# <script>\n\n    <script>")
    assert inline("**a** *b* `c * d * e`") == "<strong>a</strong> <em>b</em> <code>c * d * e</code>"
    assert "<td>1</td>" in markdown("| a |\n| - |\n| 1 |") and "<li>x y</li>" in markdown("- x\n  y\n- z")


def test_an_array_that_is_not_finite_is_shown(pages, tmp_path):
    softmax = exercises("chapter05")[0]
    overflow = next(m.wrong for m in softmax.mistakes if m.name == "exp overflows")
    verdict = judge(softmax, {"softmax": overflow}, "mine.py")
    assert np.isnan(float(verdict.tables[0].yours[0][0]))
    save_verdict_page(tmp_path / "nan.html", CHAPTER, verdict)
    assert "nan ✗" in (tmp_path / "nan.html").read_text(encoding="utf-8")
