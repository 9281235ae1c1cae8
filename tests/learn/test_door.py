"""The door of the course as it is used: commands, files that misbehave, watch, report, grades."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT

from minigrad.learn import process
from minigrad.learn.command import main
from minigrad.learn.progress import Progress
from minigrad.learn.source import chapters

pytest_plugins = ["without_torch"]
pytestmark = pytest.mark.usefixtures("without_torch")

CHAPTER = next(c for c in chapters() if c.number == 5)
SOFTMAX = """
import numpy as np


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    z = e / e.sum(-1, keepdims=True)

    def backward(dz):
        return BACK

    return z, backward
"""
RIGHT = SOFTMAX.replace("BACK", "z * (dz - (dz * z).sum(-1, keepdims=True))")


def first(tmp_path, text, seconds=20.0):
    """The verdict on softmax, of a file with this text, as a process of its own gives it."""
    file = tmp_path / "chapter05.py"
    file.write_text(text, encoding="utf-8")
    verdicts = process.judged(file, "chapter05", seconds=seconds)
    assert [v.exercise for v in verdicts] == ["softmax", "log_softmax", "cross_entropy"]
    return verdicts[0]


def test_a_planted_error_is_found(tmp_path):
    """It is the learner's file that is judged: each operator of its backward, changed, is found wrong."""
    assert first(tmp_path, RIGHT).state == "holds"
    for wrong in ("z + (dz - (dz * z).sum(-1, keepdims=True))", "z * (dz - (dz * z).sum(-1, keepdims=True)) * 1.001"):
        verdict = first(tmp_path, SOFTMAX.replace("BACK", wrong))
        assert (verdict.state, verdict.stage) == ("wrong", "backward")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RIGHT + "\nwhile True: pass\n", "did not come to an end within 1 seconds; it was in line 14"),
        (
            RIGHT.replace("    e =", "    while 1: x = x + 0\n    e ="),
            "softmax did not come to an end within 1 seconds",
        ),
        ("import os\n" + RIGHT.replace("    e =", "    os._exit(3)\n    e ="), "ended the process that judges it"),
    ],
    ids=["file", "function", "exit"],
)
def test_what_does_not_come_back_is_told(tmp_path, text, said):
    verdict = first(tmp_path, text, seconds=1)
    assert verdict.state == "wrong" and said in verdict.says, verdict


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no softmax in chapter05.py"),
        ("def softmax(x:\n", "chapter05.py is no Python yet"),
        ("import sys\nsys.exit()\n", "chapter05.py ends the program (exit) in line 2"),
        ("import torch\n" + RIGHT, "chapter05.py imports torch: the exercise is to write it yourself"),
        ("import chapter06\n" + RIGHT, "imports chapter06, which comes later"),
        ("input()\n" + RIGHT, "asks for input in line 1"),
        ("1 / 0\n", "chapter05.py stops with ZeroDivisionError in line 1: division by zero"),
        ("softmax = 3\n", "softmax is 3, and should be a function"),
        ("from minigrad.ops import softmax\n", "softmax comes from minigrad"),
        ("def soft_max(x):\n    return x\n", "soft_max should be called softmax"),
        ("def softmax():\n    return 1\n", "takes 0 positional arguments but 1 was given"),
        ("def softmax(x):\n    x = x + 1\n", "softmax returns None: is there a return?"),
        ("def softmax(x):\n    return x\n", "should return two things, z and the function backward"),
        ("def softmax(x):\n    return x[99], 0\n", "raises IndexError in line 2"),
        ("def softmax(x):\n    x -= 1\n    return x, lambda dz: dz\n", "writes over its input"),
        ("def softmax(x):\n    return softmax(x)\n", "calls itself without an end"),
        ("def softmax(x):\n    import sys\n    sys.exit()\n", "ends the program (exit)"),
        ("import minigrad.ops\ndef softmax(x):\n    return minigrad.ops.softmax(x)\n", "calls minigrad's own code"),
        (SOFTMAX.replace("return BACK", "z * dz"), "backward of softmax returns None"),
        (SOFTMAX.replace("BACK", "dz, dz"), "returns 2 gradients, and should return 1"),
        (SOFTMAX.replace("BACK", "'x'"), "dx should be an array of numbers"),
        (SOFTMAX.replace("BACK", "dz[0]"), "dx has shape"),
        (SOFTMAX.replace("BACK", "None,"), "dx is None"),
        (SOFTMAX.replace("        return BACK", "        dz *= 2\n        return dz"), "writes over its input"),
        (RIGHT.replace("e = np", "x = x + np.random.rand(*x.shape)\n    e = np"), "another result"),
    ],
    ids=lambda value: value[:30].replace("\n", " ") if isinstance(value, str) else None,
)
def test_what_a_file_may_do_is_told_in_a_sentence(tmp_path, text, said, monkeypatch, in_process):
    verdict = in_process(tmp_path, text)
    assert said in verdict.says, verdict
    assert "Traceback" not in verdict.text()
    assert max(map(len, verdict.text().splitlines())) <= 80


@pytest.fixture
def in_process(monkeypatch):
    """As ``first``, without a process: the same code, for what comes back by itself."""

    def run(tmp_path, text):
        file = tmp_path / "chapter05.py"
        file.write_text(text, encoding="utf-8")
        events = tmp_path / "events"
        job = {"file": str(file), "chapter": "chapter05", "seed": [0], "seconds": 60, "to": str(events)}
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
        monkeypatch.setattr(process.faulthandler, "dump_traceback_later", lambda *args, **kwargs: None)
        out, err = sys.stdout, sys.stderr
        try:
            process.work(job)
        finally:
            sys.stdout, sys.stderr = out, err
            sys.modules.pop("chapter05", None)
        heard = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
        return next(process.Verdict.of(event["verdict"]) for event in heard if "verdict" in event)

    return run


@pytest.mark.parametrize("text", [RIGHT, SOFTMAX.replace("BACK", "np.cos(dz) * z"), "exit()", "import torch", "1 / 0"])
def test_where_there_are_no_processes_it_is_judged_here(tmp_path, monkeypatch, text):
    file = tmp_path / "chapter05.py"
    file.write_text("print('hello')\n" + text, encoding="utf-8")
    wanted = process.judged(file, "chapter05")
    before = sys.stdout, list(sys.meta_path), {name for name in sys.modules if name.startswith("chapter")}
    monkeypatch.setattr(sys, "platform", "wasi")
    found = process.judged(file, "chapter05")
    assert [verdict.plain() for verdict in found] == [verdict.plain() for verdict in wanted]
    assert (sys.stdout, sys.meta_path, {n for n in sys.modules if n.startswith("chapter")}) == before


def test_state_in_a_global_is_noticed(tmp_path, in_process):
    text = RIGHT.replace("    z = e", "    global z\n    z = e")
    assert "what the latest call of the forward left behind" in in_process(tmp_path, text).says


def test_what_is_printed_is_noted(tmp_path):
    verdict = first(tmp_path, "print('hello')\n" + RIGHT)
    assert verdict.state == "holds" and "prints while it is judged ('hello')" in verdict.notes[0]


def test_no_known_mistake_is_worked_out(tmp_path, in_process):
    verdict = in_process(tmp_path, SOFTMAX.replace("BACK", "np.cos(dz) * z"))
    assert verdict.says == "dx is wrong; no known mistake" and not verdict.mistake
    assert verdict.worst.startswith("dx[") and "Wiggling x[" in verdict.worst
    assert verdict.hint and verdict.tables[0].name == "dx"


def test_general_patterns_come_after_the_catalogue(tmp_path, in_process):
    verdict = in_process(tmp_path, SOFTMAX.replace("BACK", "-z * (dz - (dz * z).sum(-1, keepdims=True))"))
    assert "sign flipped" in verdict.says


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "minigrad-course"


def test_a_chapter_from_copy_to_report(folder, capsys):
    assert main([]) == 0
    assert "From scores to a loss" in capsys.readouterr().out
    assert main(["5"]) == 0
    copy, page = folder / "chapter05.py", folder / "chapter05.html"
    assert copy.exists() and "<h1>5 · From scores to a loss</h1>" in page.read_text(encoding="utf-8")
    assert main(["check"]) == 1
    assert "To write next: softmax" in capsys.readouterr().out
    copy.write_text(SOFTMAX.replace("BACK", "dz * z * (1 - z)"), encoding="utf-8")
    assert main(["check", "5"]) == 1
    said = capsys.readouterr().out
    assert "only the diagonal" in said and "forgotten  x → exp → sum → z" in said
    assert "x → exp → sum → z" in (folder / "verdict-chapter05.html").read_text(encoding="utf-8")
    for level in ("There are two paths", "dx = z", "return z", "return z"):
        assert main(["hint", "5", "softmax"]) == 0
        assert level in capsys.readouterr().out
    copy.write_text(CHAPTER.source, encoding="utf-8")
    assert main(["check", "5"]) == 0
    assert "All of it holds" in capsys.readouterr().out
    assert main(["5"]) == 0 and "go on in it" in capsys.readouterr().out
    assert copy.read_text(encoding="utf-8") == CHAPTER.source
    assert main(["report"]) == 0
    data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    row = data["chapters"][0]["exercises"][0]
    assert row == {
        "exercise": "softmax", "holds": True, "attempts": 2, "hints": 3, "mistakes": ["only the diagonal"],
    }  # fmt: skip
    assert "only the diagonal" in (folder / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    main([])
    assert "done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["99"], "there is no chapter '99'"),
        (["chek"], "'chek' is no command of learn"),
        (["check"], "there is no chapter in"),
        (["check", "5"], "is not there yet"),
        (["check", "5", "6"], "too many words"),
        (["5", "6"], "too many words"),
        (["hint", "5", "soft"], "has no exercise 'soft'; it has softmax"),
        (["hint", "5", "softmax", "4"], "there are hints 1, 2 and 3"),
        (["grade"], "wants one folder"),
        (["grade", "nowhere"], "there is no folder nowhere"),
        (["report"], "nothing has been begun"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_misuse_is_one_sentence(folder, words, said):
    with pytest.raises(ValueError, match=said):
        main(words)


def test_a_damaged_progress_is_told(folder):
    folder.mkdir()
    (folder / "progress.json").write_text('{"seed": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged: move it away"):
        main(["5"])


def test_another_seed_needs_another_folder(folder):
    main(["5", "--seed", "autumn", "--student", "ada"])
    assert Progress.load(folder).variant == "autumn/ada"
    with pytest.raises(ValueError, match="begun with another --seed"):
        main(["5", "--seed", "spring"])


def test_a_class_is_graded(folder, tmp_path, capsys):
    for name, text in (("ada", CHAPTER.source), ("bo", SOFTMAX.replace("BACK", "dz * z")), ("cy", None)):
        (tmp_path / "class" / name).mkdir(parents=True)
        if text is not None:
            (tmp_path / "class" / name / "chapter05.py").write_text(text, encoding="utf-8")
    assert main(["grade", "class", "--seed", "autumn", "-o", "grades.csv"]) == 0
    assert "cy: no chapter found" in capsys.readouterr().err
    rows = list(csv.DictReader(io.StringIO((tmp_path / "grades.csv").read_text(encoding="utf-8"))))
    assert [(r["student"], r["exercise"], r["points"]) for r in rows if r["student"] == "ada"] == [
        ("ada", name, "1") for name in ("softmax", "log_softmax", "cross_entropy")
    ]
    bo = [r for r in rows if r["student"] == "bo"]
    assert bo[0]["mistake"] == "the sum held fixed" and {r["points"] for r in bo} == {"0"}


def test_watch_judges_at_every_save(tmp_path):
    """In the terminal: it says what is wrong, gives a hint on h, and ends when all of it holds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "minigrad", "learn", "watch", "5"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with (
        open(tmp_path / "out", "w+", encoding="utf-8") as out,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, **pipes) as watch,
    ):

        def until(text):
            for _ in range(600):
                said = Path(out.name).read_text(encoding="utf-8")
                if text in said:
                    return said
                assert watch.poll() is None or text in said, said
                time.sleep(0.05)
            raise AssertionError(said)

        try:
            until("To write next: softmax")
            copy = tmp_path / "minigrad-course" / "chapter05.py"
            copy.write_text(SOFTMAX.replace("BACK", "dz * z * (1 - z)"), encoding="utf-8")
            until("only the diagonal")
            watch.stdin.write(b"h\n")
            watch.stdin.flush()
            until("hint 1 of 3")
            copy.write_text(CHAPTER.source, encoding="utf-8")
            said = until("All of it holds")
            assert watch.wait(20) == 0
            assert max(map(len, said.splitlines())) <= 120 and "Traceback" not in said
        finally:
            watch.kill()
