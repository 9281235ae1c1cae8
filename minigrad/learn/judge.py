"""Judges one exercise: name, call, forward against the definition, backward against finite differences of this forward.

It is the learner's own function that runs in every step; a wrong result is then compared with the wrong versions in the
exercise's catalogue, and named where all draws agree.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.learn.exercise import Draw, Exercise, Mistake, arrays_of, copied
from minigrad.learn.verdict import HOLDS, OPEN, WRONG, Table, Verdict
from minigrad.look.diagnosis import diagnose, no_pattern
from minigrad.look.differences import Comparison, slope, step_for
from minigrad.look.suspects import Suspects
from minigrad.ops import Array
from minigrad.tools.lines import LIBRARY

RTOL, ATOL = 1e-4, 1e-6  # of a gradient against finite differences, the second relative to the largest slope
LEARN = str(Path(__file__).parent)
SHOWN = 12  # rows and columns of an array on the page


class Told(Exception):
    """Something to say to the learner before there are numbers to compare."""

    def __init__(self, says: str, stage: str = "call", state: str = WRONG, hint: str = "", **more: Any) -> None:
        super().__init__(says)
        self.verdict = {"says": says, "stage": stage, "state": state, "hint": hint, **more}


@dataclass
class Run:
    """What came of one draw."""

    number: int
    draw: Draw
    values: list[Array]  # z, or its parts
    right: list[Array]  # the same by the definition
    dz: Array | None = None
    gradients: list[Any] = field(default_factory=list)  # of the floating inputs, by the learner's backward
    slopes: list[Array] = field(default_factory=list)  # the same by finite differences


def judge(exercise: Exercise, names: dict[str, Any], file: str, seed: Sequence[int] = (0,)) -> Verdict:
    """The verdict on what ``file`` defines, given its names after it ran. The same seed gives the same draws."""
    notes: list[str] = []
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            verdict = Judge(exercise, names, file, seed, notes).verdict()
    except Told as told:
        verdict = Verdict(exercise.name, **told.verdict)
    verdict.notes = list(dict.fromkeys(notes))
    verdict.paths = list(exercise.paths)
    return verdict


class Judge:
    """The steps of judging one exercise."""

    def __init__(
        self, exercise: Exercise, names: dict[str, Any], file: str, seed: Sequence[int], notes: list[str]
    ) -> None:
        self.exercise, self.names, self.file, self.notes = exercise, names, file, notes
        self.seed = [*seed, zlib.crc32(exercise.name.encode())]

    def verdict(self) -> Verdict:
        subject = self.subject()
        self.op = self.call(self.exercise.adapt, subject)
        runs = [self.forward(k) for k in range(self.exercise.draws)]
        if wrong := self.wrong_forward(runs):
            return wrong
        if not self.exercise.gradient:
            return Verdict(self.exercise.name, HOLDS, says="")
        for run in runs:
            self.backward(run)
        return self.wrong_backward(runs) or Verdict(self.exercise.name, HOLDS)

    # Names and calls

    def subject(self) -> Any:
        name = self.exercise.name
        subject = self.names.get(name)
        if subject is None:
            close = [key for key in self.names if key.lower().replace("_", "") == name.lower().replace("_", "")]
            more = f": {close[0]} should be called {name}" if close else ""
            raise Told(f"there is no {name} in {Path(self.file).name}{more}", "name", WRONG if close else OPEN)
        if not callable(subject):
            raise Told(f"{name} is {subject!r:.40}, and should be a function", "name")
        module = getattr(subject, "__module__", None)
        if re.match(r"(minigrad(?!\.learn)|numpy)(\.|$)", str(module)):
            raise Told(f"{name} comes from {module}: write your own", "name")
        return subject

    def call(self, function: Callable[..., Any], *inputs: Any, **constants: Any) -> Any:
        """Call what the learner wrote; whatever it raises is told with its line."""
        try:
            return function(*inputs, **constants)
        except NotImplementedError as error:
            if self.line(error):
                raise Told(f"{self.exercise.name} is yours to write", "name", OPEN) from None
            raise
        except SystemExit:
            raise Told(f"{self.exercise.name} ends the program (exit): return a result in its place") from None
        except RecursionError as error:
            raise Told(f"{self.exercise.name} calls itself without an end{self.line(error)}") from None
        except MemoryError as error:
            raise Told(f"{self.exercise.name} asks for more memory than there is{self.line(error)}") from None
        except Told:
            raise
        except Exception as error:
            place = self.line(error)
            if not place and not isinstance(error, TypeError):
                raise
            given = "; ".join(
                [f"{np.shape(x)}" for x in inputs if isinstance(x, np.ndarray)]
                + [f"{key}={value!r:.30}" for key, value in constants.items()]
            )
            message = " ".join(str(error).split())
            says = f"{self.exercise.name} raises {type(error).__name__}{place}: {message}"
            raise Told(says, worst=f"It was called with arrays of shape {given}." if given else "") from None

    def line(self, error: BaseException) -> str:
        """The last line of the learner's file on the way to an error."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.file]
        return f" in line {lines[-1]}" if lines else ""

    # Forward

    def generator(self, k: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, k])

    def forward(self, k: int) -> Run:
        inputs, constants = self.exercise.draw(self.generator(k))
        values = self.values(inputs, constants, watched=k == 0)
        again = self.values(inputs, constants)
        if not alike(values, again, 1e-12):
            raise Told(
                f"{self.exercise.name} gives another result when it is called again with the same input", "forward",
                hint="A random number, or something outside the function that it changes?",
            )  # fmt: skip
        right: list[Array] = []
        if self.exercise.definition is not None:
            right = parts(self.exercise.definition(*copied(inputs), **copied(constants)), self.exercise.gradient)
        return Run(k, (inputs, constants), values, right)

    def values(self, inputs: Sequence[Any], constants: dict[str, Any], watched: bool = False) -> list[Array]:
        return self.applied(inputs, constants, watched)[0]

    def applied(self, inputs: Sequence[Any], constants: dict[str, Any], watched: bool = False) -> tuple[Any, Any]:
        """(the parts of z, backward) of one call."""
        name = self.exercise.name
        mine, others = copied(inputs), copied(constants)
        with Watch(self.exercise, watched):
            out = self.call(self.op, *mine, **others)
        self.untouched(inputs, mine)
        self.untouched(tuple(constants.values()), tuple(others.values()))
        if out is None:
            raise Told(f"{name} returns None: is there a return?")
        backward = None
        if self.exercise.gradient:
            if not isinstance(out, tuple) or len(out) != 2 or not callable(out[1]):
                raise Told(f"{name} should return two things, z and the function backward; it returns {kind(out)}")
            out, backward = out
        try:
            return parts(out, self.exercise.gradient), backward
        except (TypeError, ValueError):
            raise Told(f"{name} should return numbers in an array; it returns {kind(out)}") from None

    def untouched(self, before: Sequence[Any], after: Sequence[Any]) -> None:
        for x, y in zip(before, after, strict=True):
            if isinstance(x, np.ndarray) and not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                raise Told(
                    f"{self.exercise.name} writes over its input: after the call an array that was given to it has "
                    "other numbers",
                    hint="x += 1 and x[...] = 0 change the caller's array. Write x = x + 1, or copy it first.",
                )

    def wrong_forward(self, runs: list[Run]) -> Verdict | None:
        exercise = self.exercise
        if exercise.holds is not None:
            for run in runs:
                says = exercise.holds(run.values, *run.draw[0], **run.draw[1])
                if says:
                    return self.named_forward(runs) or Verdict(exercise.name, WRONG, "forward", says)
            return None
        bad = next((run for run in runs if not alike(run.values, run.right, exercise.rtol)), None)
        if bad is None:
            return None
        if named := self.named_forward(runs):
            named.tables = self.tables(zip(["z"], bad.values[:1], bad.right[:1], strict=False))
            return named
        verdict = Verdict(exercise.name, WRONG, "forward")
        verdict.hint = exercise.hints[0]
        for number, (mine, right) in enumerate(zip(bad.values, bad.right, strict=False)):
            part = "the result" if len(bad.right) == 1 else f"result {number + 1}"
            if mine.shape != right.shape:
                verdict.says = f"{part} has shape {mine.shape}, and should have {right.shape}"
                return verdict
            if not close(mine, right, exercise.rtol):
                verdict.says = f"{part} is not what the definition says; no known mistake"
                place = worst(mine, right)
                verdict.worst = f"z{at(place)}: yours {mine[place]:.6g}, by the definition {right[place]:.6g}."
                verdict.tables = self.tables([("z", mine, right)])
                return verdict
        verdict.says = f"there are {len(bad.values)} results, and should be {len(bad.right)}"
        return verdict

    def named_forward(self, runs: list[Run]) -> Verdict | None:
        for mistake in self.exercise.mistakes:
            theirs = [values_of(self.exercise, mistake, run.draw) for run in runs]
            same = all(t is not None and alike(run.values, t, 1e-6) for run, t in zip(runs, theirs, strict=True))
            if same and not all(run.right and alike(run.values, run.right, self.exercise.rtol) for run in runs):
                return self.of_mistake([mistake], "forward")
        return None

    # Backward

    def backward(self, run: Run) -> None:
        inputs, constants = run.draw
        places = arrays_of(inputs)
        _, backward = self.applied(inputs, constants)
        z = run.values[0]
        run.dz = dz = np.asarray(self.generator(100 + run.number).normal(size=z.shape))
        run.slopes = [self.slopes(run, i, z.dtype) for i in places]
        self.applied(*self.exercise.draw(self.generator(200)))  # another call lies between forward and backward
        mine = dz.copy()
        with Watch(self.exercise, True):
            out = self.call(backward, mine)
        self.untouched([dz], [mine])
        if out is None:
            raise Told(f"the backward of {self.exercise.name} returns None: is there a return?", "backward")
        found = list(out) if isinstance(out, tuple | list) else [out]
        if len(found) not in (len(places), len(inputs)):
            raise Told(
                f"the backward of {self.exercise.name} returns {len(found)} gradients, and should return "
                f"{len(places)}: one for each input, in their order", "backward",
            )  # fmt: skip
        if len(found) == len(inputs):
            found = [found[i] for i in places]
        run.gradients = [self.number(name, dx) for name, dx in zip(self.input_names(run), found, strict=True)]
        self.remembers(run, backward)

    def number(self, name: str, dx: Any) -> Array | None:
        try:
            return None if dx is None else np.asarray(dx, dtype=np.float64)
        except (TypeError, ValueError):
            raise Told(f"d{name} should be an array of numbers; it is {kind(dx)}", "backward") from None

    def remembers(self, run: Run, backward: Callable[..., Any]) -> None:
        """Whether this backward belongs to its own forward, and not to the latest one."""
        if all(self.agrees(dx, numeric) for dx, numeric in zip(run.gradients, run.slopes, strict=True)):
            return
        inputs, constants = run.draw
        _, fresh = self.applied(inputs, constants)
        out = self.call(fresh, np.array(run.dz))
        found = list(out) if isinstance(out, tuple | list) else [out]
        if len(found) == len(inputs):
            found = [found[i] for i in arrays_of(inputs)]
        if all(self.agrees(dx, numeric) for dx, numeric in zip(found, run.slopes, strict=False)):
            raise Told(
                "backward uses what the latest call of the forward left behind, not what its own call saw", "backward",
                hint="Keep what backward needs in variables inside the function, not in a global or on the function.",
            )  # fmt: skip

    def slopes(self, run: Run, place: int, dtype: np.dtype[Any]) -> Array:
        """d sum(dz * z) / d input by central differences of the learner's own forward, element by element."""
        inputs, constants = run.draw
        moved = [np.array(x, dtype=np.float64) if i == place else x for i, x in enumerate(inputs)]
        x = moved[place]
        step = step_for(np.float64 if dtype.kind != "f" else dtype)

        def total() -> float:
            z = self.values(moved, constants)[0]
            return float((run.dz * np.where(np.isfinite(z), z, 0)).sum(dtype=np.float64))

        found = np.zeros(x.shape)
        for at in np.ndindex(*x.shape):
            if np.isfinite(x[at]):
                found[at] = slope(total, x, at, step).central
        return found

    def agrees(self, dx: Any, numeric: Array) -> bool:
        return dx is not None and np.shape(dx) == numeric.shape and close(np.asarray(dx), numeric, RTOL, ATOL)

    def wrong_backward(self, runs: list[Run]) -> Verdict | None:
        count = len(runs[0].slopes)
        wrong = [
            i for i in range(count) if not all(self.agrees(run.gradients[i], run.slopes[i]) for run in runs)
        ]  # fmt: skip
        if wrong and all(run.values[0].dtype.itemsize < 8 for run in runs):
            wrong = [i for i in wrong if not all(self.agrees_in_single(run, i) for run in runs)]
            if not wrong:
                self.notes.append("the result is float32: keep the dtype of the input")
        if not wrong:
            return None
        names = self.input_names(runs[0])
        found = self.named_backward(runs, wrong)
        verdict = self.of_mistake(list(dict.fromkeys(found.values())), "backward") if found else None
        bad = next(run for run in runs if not self.agrees(run.gradients[wrong[0]], run.slopes[wrong[0]]))
        rest = [i for i in wrong if i not in found]
        if verdict is None:
            verdict = Verdict(self.exercise.name, WRONG, "backward", hint=self.exercise.hints[0])
        if rest:
            general = "; ".join(self.general(bad, i, names, wrong) for i in rest)
            verdict.says = f"{verdict.says} And {general}" if verdict.says else general
        i = wrong[0]
        dx, right = bad.gradients[i], bad.slopes[i]
        if dx is not None and dx.shape == right.shape:
            place = worst(dx, right)
            name = f"{names[i]}{at(place)}"
            verdict.worst = f"d{name}: yours {dx[place]:.6g}. Wiggling {name} by a little gives {right[place]:.6g}."
        verdict.tables = self.tables(
            (f"d{names[i]}", bad.gradients[i], bad.slopes[i]) for i in wrong if np.shape(bad.gradients[i])
        )
        return verdict

    def agrees_in_single(self, run: Run, i: int) -> bool:
        """Float32 is too coarse for finite differences of itself: those of the definition stand in for them.

        Its forward has been found to be the definition's before.
        """
        if self.exercise.definition is None or run.gradients[i] is None:
            return False
        inputs, constants = run.draw
        place = arrays_of(inputs)[i]
        moved = [np.array(x, dtype=np.float64) if k == place else x for k, x in enumerate(inputs)]
        x, definition = moved[place], self.exercise.definition

        def total() -> float:
            return float((run.dz * np.asarray(definition(*moved, **constants))).sum())

        numeric = np.array([slope(total, x, at, step_for(np.float64)).central for at in np.ndindex(*x.shape)])
        dx = np.asarray(run.gradients[i])
        return dx.shape == x.shape and close(dx, numeric.reshape(x.shape), 1e-3, 1e-5)

    def named_backward(self, runs: list[Run], wrong: list[int]) -> dict[int, Mistake]:
        """The known mistake behind each wrong gradient, where all draws agree; one that explains all comes first."""
        theirs: list[tuple[Mistake, list[tuple[list[Any], Run]]]] = []
        for mistake in self.exercise.mistakes:
            gradients = [gradients_of(self.exercise, mistake, run) for run in runs]
            pairs = [(part, run) for part, run in zip(gradients, runs, strict=True) if part is not None]
            if len(pairs) == len(runs):
                theirs.append((mistake, pairs))

        def fits(pairs: list[tuple[list[Any], Run]], i: int) -> bool:
            mine = all(same(part[i], run.gradients[i]) for part, run in pairs)
            return mine and not all(self.agrees(part[i], run.slopes[i]) for part, run in pairs)

        def right(pairs: list[tuple[list[Any], Run]], i: int) -> bool:
            return all(self.agrees(part[i], run.slopes[i]) for part, run in pairs)

        explain = [(mistake, pairs) for mistake, pairs in theirs if all(fits(pairs, i) for i in wrong)]
        fine = [i for i in range(len(runs[0].slopes)) if i not in wrong]
        explain.sort(key=lambda pair: not all(right(pair[1], i) for i in fine))  # what else is right comes first
        if explain:
            return dict.fromkeys(wrong, explain[0][0])
        found: dict[int, Mistake] = {}
        for mistake, pairs in theirs:
            for i in wrong:
                if i not in found and fits(pairs, i):
                    found[i] = mistake
        return found

    def general(self, run: Run, i: int, names: list[str], wrong: list[int]) -> str:
        """What can be said of a gradient without the catalogue."""
        name, dx, right = names[i], run.gradients[i], run.slopes[i]
        if dx is None:
            return f"d{name} is None, and should be an array of the shape of {name}"
        if dx.shape != right.shape:
            why = ""
            if dx.ndim >= right.ndim and dx.size > right.size:
                why = f": {name} was used {dx.size // max(right.size, 1)} times over, so its gradients are to be summed"
            return f"d{name} has shape {dx.shape}, and {name} has {right.shape}{why}"
        compared = {}
        for k in wrong:
            if run.gradients[k] is not None and run.gradients[k].shape == run.slopes[k].shape:
                x = np.asarray(run.draw[0][arrays_of(run.draw[0])[k]], dtype=np.float64)
                c = Comparison(f"d{names[k]}", x, run.gradients[k], ATOL * largest(run.slopes[k]), RTOL)
                c.numeric = c.left = c.right = run.slopes[k]
                c.checked[...] = True
                c.wrong = ~np.isclose(c.analytic, c.numeric, rtol=RTOL, atol=c.atol)
                c.suspects = partial(self.suspects(run).name, arrays_of(run.draw[0])[k], c.analytic)
                compared[k] = c
        for c in compared.values():
            c.others = [other for other in compared.values() if other is not c]
        c = compared[i]
        said = diagnose(c) if c.wrong.any() else no_pattern(c)
        return f"d{name} is wrong; no known mistake" if said.startswith("no simple") else f"d{name}: {said}"

    def suspects(self, run: Run) -> Suspects:
        """Likely wrong gradients of the learner's forward, on a draw."""
        inputs, constants = run.draw
        taken = self.input_names(run)
        places = arrays_of(inputs)
        names = [taken[places.index(k)] if k in places else f"input{k}" for k in range(len(inputs))]
        arrays = [np.array(x, dtype=np.float64) if k in places else x for k, x in enumerate(inputs)]
        dz = np.asarray(run.dz, dtype=np.float64)
        return Suspects(lambda *given: self.op(*given, **constants)[0], arrays, names, dz)

    def of_mistake(self, mistakes: list[Mistake], stage: str) -> Verdict:
        first = mistakes[0]
        return Verdict(
            self.exercise.name,
            WRONG,
            stage,
            " ".join(m.says for m in mistakes),
            ", ".join(m.name for m in mistakes),
            first.hint,
            forgets=first.forgets,
        )

    def input_names(self, run: Run) -> list[str]:
        """What the learner's function calls the inputs that have a gradient."""
        try:
            named = [*inspect.signature(self.op).parameters]
        except (TypeError, ValueError):
            named = []
        count = len(run.draw[0])
        named = [*named, *(f"input{i}" for i in range(len(named), count))]
        return [named[i] for i in arrays_of(run.draw[0])]

    def tables(self, arrays: Any) -> list[Table]:
        made = []
        for name, mine, right in arrays:
            if mine is not None and np.shape(mine) == np.shape(right) and right.size:
                rows, wanted = grid(mine), grid(right)
                bad = ~np.isclose(rows, wanted, rtol=RTOL, atol=ATOL * largest(right), equal_nan=True)
                made.append(Table(name, right.shape, listed(rows), listed(wanted), bad.tolist()))
        return made


class Watch:
    """While it lasts, a call into minigrad's own code from the learner's is refused."""

    def __init__(self, exercise: Exercise, on: bool) -> None:
        self.on = on and not exercise.library
        self.name = exercise.name

    def __enter__(self) -> None:
        self.seen = ""
        if self.on:
            sys.setprofile(self.look)

    def look(self, frame: Any, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(LIBRARY) and not file.startswith(LEARN):
            self.seen = self.seen or Path(file).relative_to(LIBRARY).as_posix()

    def __exit__(self, kind: object, *_: object) -> None:
        if self.on:
            sys.setprofile(None)
            if self.seen and kind is None:
                raise Told(f"{self.name} calls minigrad's own code ({self.seen}): write it with NumPy alone")


def values_of(exercise: Exercise, mistake: Mistake, draw: Draw) -> list[Array] | None:
    """What the wrong version gives for a draw; None where it does not run."""
    try:
        out = exercise.adapt(mistake.wrong)(*copied(draw[0]), **copied(draw[1]))
        return parts(out[0] if exercise.gradient else out, exercise.gradient)
    except Exception:
        return None


def gradients_of(exercise: Exercise, mistake: Mistake, run: Run) -> list[Any] | None:
    """The gradients of the floating inputs by the wrong version; None where its forward is wrong, or it fails."""
    try:
        out, backward = exercise.adapt(mistake.wrong)(*copied(run.draw[0]), **copied(run.draw[1]))
        if not alike(parts(out, True), run.right or run.values, exercise.rtol):
            return None
        found = backward(np.array(run.dz))
    except Exception:
        return None
    found = list(found) if isinstance(found, tuple | list) else [found]
    places = arrays_of(run.draw[0])
    if len(found) == len(run.draw[0]):
        return [found[i] for i in places]
    return found if len(found) == len(places) else None


def parts(value: Any, single: bool) -> list[Array]:
    """A result as a list of arrays: itself, or the parts of a tuple, list or dict. TypeError if not numbers."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if not single and isinstance(value, tuple | list) and not all(np.isscalar(part) for part in value):
        return [array for part in value for array in parts(part, False)]
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError("not numbers")
    return [array]


def close(x: Array, y: Array, rtol: float, atol: float = 1e-8) -> bool:
    return bool(np.allclose(x, y, rtol=rtol, atol=atol * largest(y), equal_nan=True))


def alike(mine: Sequence[Array], right: Sequence[Array], rtol: float) -> bool:
    """Whether two results have the same parts, shapes and numbers."""
    return len(mine) == len(right) and all(
        x.shape == y.shape and close(x, y, rtol, max(1e-8, rtol / 10)) for x, y in zip(mine, right, strict=True)
    )


def same(x: Any, y: Any) -> bool:
    """Whether two gradients are one: the same shape too."""
    if x is None or y is None:
        return x is y
    return np.shape(x) == np.shape(y) and close(np.asarray(x), np.asarray(y), 1e-6, 1e-7)


def largest(x: Array) -> float:
    finite = np.abs(x[np.isfinite(x)]) if x.dtype.kind == "f" else np.abs(x)
    return max(1.0, float(finite.max(initial=0)))


def worst(mine: Array, right: Array) -> tuple[int, ...]:
    """The place where two arrays differ most."""
    with np.errstate(all="ignore"):
        error = np.abs(mine.astype(float) - right.astype(float))
    error = np.where(np.isnan(error), np.inf, error)
    return tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))


def at(place: tuple[int, ...]) -> str:
    return str(list(place)) if place else ""


def grid(x: Array) -> Array:
    """An array as rows and columns, cut to what a page shows."""
    x = np.asarray(x, dtype=np.float64)
    return x.reshape(-1, x.shape[-1] if x.ndim else 1)[:SHOWN, :SHOWN]


def listed(rows: Array) -> list[list[float | str]]:
    return [[float(f"{v:.5g}") if np.isfinite(v) else str(v) for v in row] for row in rows]


def kind(value: Any) -> str:
    """What something is, in words."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"{type(value).__name__}"
