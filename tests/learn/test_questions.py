"""docs/questions.md: each question has something that runs, and the words that answer it stand there."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

from minigrad.__main__ import COMMANDS
from minigrad.learn.exercise import exercises
from minigrad.learn.source import chapters
from minigrad.look.commands.examples import folder

PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| \"(.+?)\" \|$", PAGE, re.MULTILINE)


def test_there_are_thirty():
    assert [int(number) for number, *_ in ROWS] == list(range(1, 31))


@pytest.mark.parametrize(("question", "runs", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_question_is_answered_where_the_page_says(question, runs, words):
    there = {chapter.number: chapter for chapter in chapters()}
    texts = []
    for what in re.findall(r"`([^`]+)`", runs):
        command, _, name = what.partition(" ")
        assert command in COMMANDS, what
        if command == "learn":
            chapter = there[int(name)]
            texts.append(" ".join(re.sub(r"^# ?", "", chapter.source, flags=re.MULTILINE).split()))
            said = [f"{m.says} {m.hint}" for exercise in exercises(chapter.name) for m in exercise.mistakes]
            texts += said
        elif command == "examples":
            assert (folder() / f"{name}.py").exists(), what
    assert any(words in text for text in texts), f"{words!r} is in none of {runs}"
