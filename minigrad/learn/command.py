"""``python -m minigrad learn``: the door of the course."""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minigrad.learn.exercise import exercises
from minigrad.learn.page import save_chapter_page, save_verdict_page
from minigrad.learn.process import judged
from minigrad.learn.progress import Progress
from minigrad.learn.report import grades, save_grades, save_report
from minigrad.learn.source import Chapter, chapters
from minigrad.learn.verdict import HOLDS, OPEN, WRONG, Verdict, wrapped

USAGE = """usage: python -m minigrad learn                     the chapters, and what is done
       python -m minigrad learn N                   copy chapter N, open its page
       python -m minigrad learn watch [N]           judge at every save
       python -m minigrad learn check [N]           judge once; status 0 or 1
       python -m minigrad learn hint N EXERCISE     which path; which formula; which line
       python -m minigrad learn report              a page and JSON of what was done
       python -m minigrad learn grade DIR -o FILE   judge a class: a folder per student
options: --dir DIR (minigrad-course)  --no-open (open no browser)
         --notebook (chapter N as a Jupyter notebook too)
         --seed S --student NAME (draw the numbers of the exercises for a class)"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(f"{message}; python -m minigrad learn --help says what there is")


class Course:
    """The folder that a learner works in, with the chapters there are."""

    def __init__(self, folder: Path, opens: bool = False, draw: tuple[str, str] | None = None) -> None:
        self.folder, self.opens = folder, opens
        self.chapters = chapters()
        self.progress = Progress.load(folder)
        if draw is not None:
            known = (self.progress.seed, self.progress.student)
            if self.progress.chapters and known != draw:
                raise ValueError(f"{folder} was begun with another --seed or --student: name another --dir")
            self.progress.seed, self.progress.student = draw

    def chapter(self, number: str) -> Chapter:
        found = [c for c in self.chapters if number.lstrip("0") == str(c.number) or number == c.name]
        if not found:
            there = ", ".join(str(c.number) for c in self.chapters)
            raise ValueError(f"there is no chapter {number!r}; there are {there}")
        return found[0]

    def file(self, chapter: Chapter) -> Path:
        return self.folder / f"{chapter.name}.py"

    def current(self) -> Chapter:
        """The chapter whose file was saved last. Raises ValueError where there is none yet."""
        there = [c for c in self.chapters if self.file(c).exists()]
        if not there:
            first = self.chapters[0].number
            raise ValueError(f"there is no chapter in {self.folder} yet: python -m minigrad learn {first}")
        return max(there, key=lambda c: self.file(c).stat().st_mtime)

    def done(self, chapter: Chapter) -> tuple[int, int]:
        names = [e.name for e in exercises(chapter.name)]
        return len(self.progress.held(chapter.name) & set(names)), len(names)

    def seed(self) -> list[int]:
        return [*self.progress.variant.encode()] or [0]


def main(arguments: Sequence[str]) -> int:
    """One command of the course. Raises ValueError for misuse."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    parser = _Parser(prog="python -m minigrad learn", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--dir", type=Path, default=Path("minigrad-course"))
    parser.add_argument("--no-open", action="store_true")
    parser.add_argument("--seed", default="")
    parser.add_argument("--student", default="")
    parser.add_argument("--notebook", action="store_true")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_intermixed_args(arguments)
    word, *rest = options.words or ["list"]
    if word == "grade":
        return grade(rest, options.seed, options.out)
    if options.out is not None:
        raise ValueError("-o belongs to learn grade")
    draw = (options.seed, options.student) if options.seed or options.student else None
    course = Course(options.dir, opens=not options.no_open and sys.stdout.isatty(), draw=draw)
    if word.isdigit():
        if rest:
            raise ValueError(f"too many words: {' '.join(options.words)}")
        return start(course, word, options.notebook)
    if word not in VERBS:
        raise ValueError(f"{word!r} is no command of learn; there are a chapter's number, {', '.join(VERBS)}, grade")
    if len(rest) > MOST[word]:
        raise ValueError(f"too many words: {' '.join(options.words)}")
    return VERBS[word](course, *rest)


def overview(course: Course) -> int:
    """The chapters with their minutes, what is done, and where to go on."""
    following: Chapter | None = None
    for chapter in course.chapters:
        held, count = course.done(chapter)
        state = "done" if held == count else f"{held} of {count}" if course.file(chapter).exists() else ""
        print(f"{chapter.number:3}  {chapter.title:48.48} {chapter.minutes:3} min  {state}".rstrip())
        if following is None and held < count:
            following = chapter
    if following is None:
        print("\nAll of it holds. python -m minigrad learn report")
    else:
        print(f"\nNext: python -m minigrad learn {following.number}")
    return 0


def start(course: Course, number: str, notebook: bool = False) -> int:
    """Copy a chapter into the course folder, and open its page. A copy that is there stays."""
    chapter = course.chapter(number)
    course.folder.mkdir(parents=True, exist_ok=True)
    file = course.file(chapter)
    if file.exists():
        print(f"{file} is there: go on in it. (Delete it to begin anew.)")
    else:
        file.write_text(chapter.student(course.progress.variant), encoding="utf-8", newline="\n")
        course.progress.begin(chapter.name)
        course.progress.save()
        print(file)
    if notebook:
        path = file.with_suffix(".ipynb")
        if path.exists():
            print(f"{path} is there: go on in it.")
        else:
            path.write_text(chapter.notebook(seed=course.progress.variant), encoding="utf-8", newline="\n")
            print(path)
    page = course.folder / f"{chapter.name}.html"
    save_chapter_page(page, chapter)
    print(page)
    print(f"\nWrite in the first, read in the second. Then: python -m minigrad learn watch\n{wrapped(chapter.idea)}")
    show(course, page)
    return 0


def show(course: Course, page: Path) -> None:
    if course.opens:
        webbrowser.open(page.resolve().as_uri())


def check(course: Course, number: str = "") -> int:
    """Judge a chapter once, and say what holds and what is wrong."""
    chapter = course.chapter(number) if number else course.current()
    file = course.file(chapter)
    if not file.exists():
        raise ValueError(f"{file} is not there yet: python -m minigrad learn {chapter.number}")
    verdicts = judge_chapter(course, chapter)
    print(told(course, chapter, verdicts))
    return 0 if all(verdict.state == HOLDS for verdict in verdicts) else 1


def judge_chapter(course: Course, chapter: Chapter) -> list[Verdict]:
    file = course.file(chapter)
    verdicts = judged(file, chapter.name, course.seed())
    text = file.read_text(encoding="utf-8", errors="replace")
    for name, value in chapter.constants(course.progress.variant).items():
        if f"{name} = {value}" not in text:
            verdicts[0].state, verdicts[0].stage = WRONG, "name"
            verdicts[0].says = f"{name} should be {value!r} in your copy: it was drawn for you"
    course.progress.note(chapter.name, verdicts)
    course.progress.save()
    return verdicts


def told(course: Course, chapter: Chapter, verdicts: list[Verdict]) -> str:
    """The verdicts as text: a line for each, and all of the first that is wrong."""
    lines = [f"chapter {chapter.number}: {chapter.title}", *(f"  {verdict.line()}" for verdict in verdicts)]
    wrong = next((verdict for verdict in verdicts if verdict.state == WRONG), None)
    notes = [wrapped(f"Note: {note}") for verdict in verdicts if verdict is not wrong for note in verdict.notes]
    if wrong is not None:
        lines += ["", wrong.text()]
        if wrong.tables or wrong.forgets:
            page = course.folder / f"verdict-{chapter.name}.html"
            save_verdict_page(page, chapter, wrong)
            lines.append(f"Both side by side: {page}")
    elif all(verdict.state == HOLDS for verdict in verdicts):
        lines += ["", wrapped(f"All of it holds. {chapter.next}")]
    else:
        names = [verdict.exercise for verdict in verdicts if verdict.state == OPEN]
        lines += ["", f"To write next: {names[0]}"]
    return "\n".join([*lines, *notes])


def hint(course: Course, number: str = "", name: str = "", level: str = "") -> int:
    """The next hint on an exercise: which path, which formula, which line."""
    chapter = course.chapter(number) if number else course.current()
    there = {exercise.name: exercise for exercise in exercises(chapter.name)}
    if not name:
        held = course.progress.held(chapter.name)
        name = next((n for n in there if n not in held), next(iter(there)))
    if name not in there:
        raise ValueError(f"chapter {chapter.number} has no exercise {name!r}; it has {', '.join(there)}")
    known = course.progress.of(chapter.name)["exercises"].get(name, {}).get("hints", 0)
    if level and level not in ("1", "2", "3"):
        raise ValueError(f"there are hints 1, 2 and 3, not {level!r}")
    wanted = int(level) if level else min(int(known) + 1, 3)
    print(wrapped(f"{name}, hint {wanted} of 3: {there[name].hints[wanted - 1]}"))
    course.progress.hinted(chapter.name, name, wanted)
    course.progress.save()
    return 0


def watch(course: Course, number: str = "") -> int:
    """Judge the chapter that is being edited at every save, until all of it holds."""
    chapter = course.chapter(number) if number else course.current()
    if not course.file(chapter).exists():
        start(course, str(chapter.number))
    print(f"watching {course.folder}: save a chapter, and it is judged. h Enter: a hint, n Enter: next, q Enter: end")
    typed: queue.Queue[str] = queue.Queue()
    threading.Thread(target=listen, args=(typed,), daemon=True).start()
    seen = -1.0
    while True:
        if not number and chapter != course.current():
            chapter, seen = course.current(), -1.0
        file = course.file(chapter)
        now = file.stat().st_mtime if file.exists() else seen
        if now != seen:
            seen = now
            verdicts = judge_chapter(course, chapter)
            print(f"\n{told(course, chapter, verdicts)}", flush=True)
            if all(verdict.state == HOLDS for verdict in verdicts):
                return 0
        try:
            key = typed.get(timeout=0.3)
        except queue.Empty:
            continue
        if key == "h":
            hint(course, str(chapter.number))
        elif key == "n":
            after = [c for c in course.chapters if c.number > chapter.number]
            if after:
                chapter, number, seen = after[0], "", -1.0
                start(course, str(chapter.number))
                course.file(chapter).touch()
        elif key in ("q", "end"):
            return 1
        elif key:
            print("h Enter: a hint, n Enter: next chapter, q Enter: end")


def report(course: Course) -> int:
    """Write what was done, as a page and as JSON."""
    if not course.progress.chapters:
        raise ValueError(f"nothing has been begun in {course.folder}: python -m minigrad learn 1")
    page, plain = save_report(course.progress)
    print(page)
    print(plain)
    show(course, page)
    return 0


def grade(words: Sequence[str], seed: str, out: Path | None) -> int:
    """Judge a class: a table with a row for each student and exercise."""
    if len(words) != 1:
        raise ValueError("learn grade wants one folder, with a folder per student in it")
    text, noticed = grades(Path(words[0]), seed)
    for line in noticed:
        print(line, file=sys.stderr)
    if out is None:
        print(text, end="")
    else:
        save_grades(out, text)
        print(out)
    return 0


def listen(typed: queue.Queue[str]) -> None:
    """The lines that are typed, until there are no more."""
    for line in sys.stdin or ():
        typed.put(line.strip().lower())
    while True:  # no terminal: the watch goes on without it
        time.sleep(3600)


VERBS: dict[str, Callable[..., int]] = {
    "list": overview,
    "watch": watch,
    "check": check,
    "hint": hint,
    "report": report,
}
MOST = {"list": 0, "watch": 1, "check": 1, "hint": 3, "report": 0}  # words after each
