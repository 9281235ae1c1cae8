"""What an exercise is: the right result in plain words, random inputs, hints, and the mistakes that are known.

Every exercise is judged as an op, ``f(*inputs, **constants) -> (z, backward)``; ``adapt`` makes one of what else a
learner writes (a class, a training loop, a backward alone). No answer is stored: the forward is compared with a
definition on random draws, the backward with finite differences of the learner's own forward.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Draw: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"  # positional inputs, keyword constants
Subject: TypeAlias = Any  # what a learner writes: usually a function


def given(*inputs: Any, **constants: Any) -> Draw:
    """One draw: the inputs, whose gradients are wanted where they are floating arrays, and the constants."""
    return inputs, constants


def as_it_is(subject: Subject) -> Callable[..., Any]:
    """The adapter of an exercise whose function is called as it is."""
    return subject


@dataclass(frozen=True)
class Mistake:
    """A known mistake: a wrong version of what the learner writes, with what to say about it.

    ``name`` is what it is called in reports, ``says`` what was done, in one or two sentences, ``hint`` where to look.
    ``forgets`` is the path of the exercise that it leaves out, if it is that.
    """

    name: str
    says: str
    hint: str
    wrong: Subject
    forgets: str = ""


@dataclass(frozen=True)
class Exercise:
    """One thing to write.

    ``name`` is the function or class in the learner's file. ``draw`` makes random inputs; each of its axes has another
    size, so that a transposed gradient does not fit. ``definition`` gives the right z for them, in the plainest words;
    None where ``holds`` judges. ``adapt`` makes an op of what was written. ``hints`` are three: which path, which
    formula, which line. ``paths`` are the ways on which an input reaches z. ``gradient=False``: z alone is judged.
    ``library=True``: calling minigrad's own code is allowed. ``repairs`` says of a z that is wrong what is wrong with
    it, for exercises that have no one right result. ``draws`` are how many are judged, and must agree for a name.
    """

    name: str
    draw: Callable[[np.random.Generator], Draw]
    definition: Callable[..., Any] | None
    hints: tuple[str, str, str]
    adapt: Callable[[Subject], Callable[..., Any]] = as_it_is
    paths: tuple[str, ...] = ()
    gradient: bool = True
    library: bool = False
    holds: Callable[..., str | None] | None = None
    draws: int = 3
    rtol: float = 1e-5
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, *, forgets: str = "") -> Callable[[Subject], Subject]:
        """Enter a wrong version into the catalogue, named as the function is: its docstring is what is said.

        The first paragraph says what was done, the second gives the hint.
        """
        if forgets and forgets not in self.paths:
            raise ValueError(f"{self.name} has no path {forgets!r}")

        def enter(wrong: Subject) -> Subject:
            says, _, hint = inspect.cleandoc(wrong.__doc__ or "").partition("\n\n")
            if __debug__ and not (says and hint):  # python -OO strips docstrings
                raise ValueError(f"{wrong.__name__}: a sentence, an empty line, a hint")
            name = wrong.__name__.replace("_", " ").strip()
            self.mistakes.append(Mistake(name, one_line(says), one_line(hint), wrong, forgets))
            return wrong

        return enter


def one_line(text: str) -> str:
    return " ".join(textwrap.dedent(text).split())


def exercises(chapter: str) -> tuple[Exercise, ...]:
    """The exercises of a chapter, such as "chapter05", in the order in which they are written."""
    found: Sequence[Exercise] = importlib.import_module(f"minigrad.learn.exercises.{chapter}").EXERCISES
    return tuple(found)


def arrays_of(inputs: Sequence[Any]) -> list[int]:
    """The places of the inputs that have a gradient: floating arrays and numbers."""
    return [i for i, x in enumerate(inputs) if np.asarray(x).dtype.kind == "f"]


def copied(value: Any) -> Any:
    """Inputs and constants for one call, so that nothing written there reaches the next."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(copied(part) for part in value)
    return value
