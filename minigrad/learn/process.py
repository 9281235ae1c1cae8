"""Judges a learner's file in a process of its own, with a time limit: whatever the file does, this one goes on.

``judged`` is the side that asks, ``work`` what the process does. They speak through a file of JSON lines, so that what
the learner prints cannot be taken for a verdict, and what was going on is known when the process ends in the middle.
"""

from __future__ import annotations

import faulthandler
import importlib.abc
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from minigrad.learn.exercise import exercises
from minigrad.learn.judge import judge
from minigrad.learn.verdict import WRONG, Verdict
from minigrad.tools.script import started

PACKAGE = Path(__file__).resolve().parents[2]
SECONDS = 20.0  # for the file itself, and for each exercise
OTHERS = ("torch", "tensorflow", "jax", "autograd", "mxnet", "tinygrad", "mygrad", "micrograd", "keras")
PRINTED = 2000  # characters that are kept of what a file prints


def judged(file: Path, chapter: str, seed: Sequence[int] = (0,), seconds: float = SECONDS) -> list[Verdict]:
    """The verdicts on all exercises of a chapter, such as "chapter05", as ``file`` solves them."""
    wanted = exercises(chapter)
    with tempfile.TemporaryDirectory(prefix="minigrad-") as folder:
        events = Path(folder, "events")
        job = {
            "file": str(file.resolve()),
            "chapter": chapter,
            "seed": list(seed),
            "seconds": seconds,
            "to": str(events),
        }
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONOPTIMIZE", None)  # docstrings are what a mistake is told by
        try:
            if sys.platform == "wasi":
                status, errors = here(job)
            else:
                done = subprocess.run(
                    [sys.executable, "-m", "minigrad.learn.process", json.dumps(job)],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    timeout=(seconds + 5) * (len(wanted) + 1),
                )
                status, errors = done.returncode, done.stderr.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            status, errors = -1, ""
        lines = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
        heard = [json.loads(line) for line in lines]
        stuck = Path(folder, "stuck")
        where = stuck.read_text(encoding="utf-8", errors="replace") if stuck.exists() else ""
    verdicts = [Verdict.of(event["verdict"]) for event in heard if "verdict" in event]
    printed = next((event["printed"] for event in heard if "printed" in event), "")
    for event in heard:
        if "prediction" in event and verdicts:
            verdicts[0].prediction = event["prediction"]
    if not heard or "end" not in heard[-1]:
        verdicts += cut_short(file, [e.name for e in wanted], heard, status, where, errors, seconds)
    if printed.strip() and verdicts:
        first = printed.strip().splitlines()[0][:50]
        verdicts[0].notes.append(f"{file.name} prints while it is judged ({first!r}): keep trials under `if __name__`")
    return verdicts


def here(job: dict[str, Any]) -> tuple[int, str]:
    """The same in this process, where the system has no others, as in a browser: there a loop has to be stopped."""
    streams, finders, known = (sys.stdout, sys.stderr), list(sys.meta_path), set(sys.modules)
    try:
        work(job)
        return 0, ""
    except BaseException as error:
        return 1, f"{type(error).__name__}: {error}"
    finally:
        sys.stdout, sys.stderr = streams
        sys.meta_path[:] = finders
        for name in [name for name in sys.modules if name not in known and re.fullmatch(r"chapter\d\d", name)]:
            del sys.modules[name]


def cut_short(
    file: Path, names: list[str], heard: list[dict[str, Any]], status: int, where: str, errors: str, seconds: float
) -> list[Verdict]:
    """The verdicts that are missing, where the process did not come to its end."""
    done = [event["verdict"]["exercise"] for event in heard if "verdict" in event]
    missing = [name for name in names if name not in done]
    begun = next((event["begins"] for event in reversed(heard) if "begins" in event), "")
    subject = begun or file.name
    if where.strip():
        frames = re.findall(r'File "(.+?)", line (\d+) in ', where)
        own = [line for path, line in frames if Path(path).name == file.name]
        place = f"; it was in line {own[0]}" if own else ""
        says = f"{subject} did not come to an end within {seconds:g} seconds{place}: a loop that never ends?"
    elif not heard:
        says = f"the judge could not start: {errors.strip().splitlines()[-1] if errors.strip() else f'status {status}'}"
    else:
        says = f"{subject} ended the process that judges it (status {status}): os._exit, or out of memory?"
    return [Verdict(name, WRONG, "call", says if name == (begun or missing[0]) else "not judged") for name in missing]


class Bounded(io.TextIOBase):
    """Where a judged file prints to: its beginning is kept."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text[: PRINTED - len(self.text)]
        return len(text)


class Refused(ImportError):
    """An import that a judged file may not have."""


class Gate(importlib.abc.MetaPathFinder):
    """Refuses other autograd packages, and chapters that come later."""

    def __init__(self, chapter: str) -> None:
        self.chapter = chapter

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        first = name.partition(".")[0]
        if first in OTHERS:
            raise Refused(f"imports {first}: the exercise is to write it yourself, with NumPy")
        if re.fullmatch(r"chapter\d\d", first) and first > self.chapter:
            raise Refused(f"imports {first}, which comes later: use earlier chapters only")


def work(job: dict[str, Any]) -> None:
    """Run the file, judge its exercises one by one, and write down what happens as it happens."""
    file, seconds = job["file"], job["seconds"]
    with open(job["to"], "w", encoding="utf-8") as events, open(Path(job["to"]).with_name("stuck"), "w") as stuck:

        def tell(**event: Any) -> None:
            events.write(json.dumps(event) + "\n")
            events.flush()

        wanted = exercises(job["chapter"])
        sys.stdout = sys.stderr = printed = Bounded()
        sys.meta_path.insert(0, Gate(job["chapter"]))
        module = ModuleType(job["chapter"])
        module.__file__ = file
        sys.modules[job["chapter"]] = module  # where dataclasses look for it
        tell(begins="")
        with started(Path(file)):
            limit(seconds, stuck)
            said = run(Path(file), vars(module))
            if vars(module).get("PREDICTION") is not None:
                tell(prediction=repr(module.PREDICTION)[:200])
            for exercise in wanted:
                tell(begins=exercise.name)
                limit(seconds, stuck)
                failed = said and exercise.name not in vars(module)
                verdict = (
                    Verdict(exercise.name, WRONG, "name", said)
                    if failed
                    else judge(exercise, vars(module), file, job["seed"])
                )
                tell(verdict=verdict.plain())
            if sys.platform != "wasi":
                faulthandler.cancel_dump_traceback_later()
        tell(printed=printed.text)
        tell(end=True)


def limit(seconds: float, stuck: IO[str]) -> None:
    """End this process after so many seconds from now, and write where it was; not where there are no threads."""
    if sys.platform != "wasi":
        faulthandler.dump_traceback_later(seconds, exit=True, file=stuck)


def run(path: Path, names: dict[str, Any]) -> str:
    """Run the file into ``names``; what stopped it, in words, or nothing."""
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), names)
    except SyntaxError as error:
        return f"{path.name} is no Python yet: {error.msg}, line {error.lineno}"
    except SystemExit:
        return f"{path.name} ends the program (exit){line(path)}: leave that out"
    except EOFError:
        return f"{path.name} asks for input{line(path)}: leave that out"
    except Refused as error:
        return f"{path.name} {error}{line(path)}"
    except BaseException as error:
        text = " ".join(str(error).split())
        return f"{path.name} stops with {type(error).__name__}{line(path)}: {text}"
    return ""


def line(path: Path) -> str:
    """The last line of the file on the way to the error that is being handled."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f" in line {lines[-1]}" if lines else ""


if __name__ == "__main__":
    work(json.loads(sys.argv[1]))
