"""Going back to a step of a run that kept its states (``--travel``): the state before it, as a copy to go on from."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minigrad.tools.cli import positive_int
from minigrad.train.files import travel_folder


def add_at(parser: argparse.ArgumentParser) -> None:
    """The option ``--at`` of a command that stops at a backward pass."""
    help = "the step N of a run that kept its states, with the script's --resume CHECKPOINT"
    parser.add_argument("--at", type=positive_int, metavar="N", help=help)


def travelling(
    options: argparse.Namespace, arguments: list[str], command: Callable[[list[str]], int | None]
) -> int | None:
    """What the command returns for the script's arguments; with ``--at`` for those that go back to before a step."""
    if options.at is None:
        return command(arguments)
    with back_to(options.at, arguments) as (words, start):
        options.number = options.at - start  # of the backward passes from there, one a step
        return command(words)


@contextlib.contextmanager
def back_to(step: int, arguments: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    """The arguments of a script with the checkpoint after ``--resume`` replaced by the run's state before a step.

    Gives the step of that state too, 0 without ``--resume``. What is handed on is a copy, since a script writes to what
    it resumes. Raises ValueError where the run kept no state before the step.
    """
    words = list(arguments)
    joined = next((i for i, word in enumerate(words) if word.startswith("--resume=")), None)
    if joined is not None:
        words[joined : joined + 1] = words[joined].split("=", 1)
    place = next((i + 1 for i, word in enumerate(words) if word == "--resume"), len(words))
    if place >= len(words):
        yield words, 0
        return
    checkpoint = Path(words[place])
    states = {int(path.stem): path for path in travel_folder(checkpoint).glob("*.npz") if path.stem.isdigit()}
    earlier = [number for number in states if number < step]
    if not earlier:
        kept = f"the first is of step {min(states)}" if states else "start it with --travel 100"
        raise ValueError(f"{checkpoint} kept no state before step {step}: {kept}")
    with tempfile.TemporaryDirectory(prefix="minigrad-travel-") as folder:
        words[place] = str(shutil.copy(states[max(earlier)], Path(folder) / checkpoint.name))
        yield words, max(earlier)
