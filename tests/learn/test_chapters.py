"""Every chapter: its source holds, each known mistake is named, right solutions in other words are not accused."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad.learn.exercise import exercises
from minigrad.learn.judge import judge
from minigrad.learn.source import FOLDER, chapters

CHAPTERS = chapters()
HERE = Path(__file__).parent
ALL = [(chapter.name, exercise) for chapter in CHAPTERS for exercise in exercises(chapter.name)]


def names_of(path: Path) -> dict:
    spec = importlib.util.spec_from_file_location(f"course_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return vars(module)


@pytest.fixture(scope="module")
def solved():
    return {chapter.name: names_of(FOLDER / f"{chapter.name}.py") for chapter in CHAPTERS}


def right_variants():
    for path in sorted((HERE / "right").glob("chapter*.py")):
        for name, variants in names_of(path)["RIGHT"].items():
            for number, variant in enumerate(variants):
                yield pytest.param(path, name, variant, id=f"{path.stem}-{name}-{number}")


@pytest.mark.parametrize(("chapter", "exercise"), ALL, ids=[f"{c}-{e.name}" for c, e in ALL])
def test_the_source_holds(chapter, exercise, solved):
    verdict = judge(exercise, solved[chapter], str(FOLDER / f"{chapter}.py"))
    assert verdict.state == "holds", verdict.text()


MISTAKES = [
    pytest.param(exercise, mistake, id=f"{chapter}-{exercise.name}-{mistake.name}".replace(" ", "_"))
    for chapter, exercise in ALL
    for mistake in exercise.mistakes
]


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
def test_a_known_mistake_is_named(exercise, mistake):
    verdict = judge(exercise, {exercise.name: mistake.wrong}, "mine.py", seed=[7])
    assert verdict.state == "wrong", verdict
    assert verdict.mistake == mistake.name, verdict.text()
    assert verdict.says == mistake.says and verdict.hint == mistake.hint


@pytest.mark.parametrize(("path", "name", "variant"), [*right_variants()])
def test_a_right_solution_in_other_words_holds(path, name, variant):
    exercise = next(e for e in exercises(path.stem) if e.name == name)
    for seed in (1, 2):
        verdict = judge(exercise, {name: variant}, str(path), seed=[seed])
        assert verdict.state == "holds", verdict.text()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.name)
def test_a_chapter_is_as_a_chapter_should_be(chapter):
    lines = chapter.source.splitlines()
    assert 80 <= len(lines) <= 320
    assert max(map(len, lines)) <= 120
    assert len(chapter.idea) <= 160
    copy = chapter.student()
    compile(copy, chapter.name, "exec")
    assert "SOLUTION" not in copy
    names = [e.name for e in exercises(chapter.name)]
    assert 1 <= len(names) <= 8
    for exercise in exercises(chapter.name):
        assert len(exercise.hints) == 3 and all(exercise.hints)
        assert f"{exercise.name} is yours to write" in copy or exercise.name in copy
    assert any(cell.kind == "predict" for cell in chapter.cells())
    notebook = json.loads(chapter.notebook())
    assert all(cell["source"] for cell in notebook["cells"])


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.name)
def test_the_source_runs_as_a_script(chapter, tmp_path):
    command = [sys.executable, "-W", "error", str(FOLDER / f"{chapter.name}.py"), *chapter.quick.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
