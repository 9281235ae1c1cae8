"""Where minigrad's own step spends its time: each op forward and backward, the optimizer, and what is left."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.configs import Config, write_task
from benchmarks.peers import ours
from benchmarks.report import number, table
from minigrad import nn, optim
from minigrad.core.op import RUNS, running
from minigrad.ops import OPS


class Stopwatch:
    """Adds up what goes on under a name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.spent[name].append(time.perf_counter() - start)
            return result

        return run

    def timed_op(self, op: Callable[..., Any]) -> Callable[..., Any]:
        """The op, or the twin that runs in its place, with both directions timed."""
        forward = self.timed(f"{op.__name__}, forward", running(op))

        def run(*arrays: Any, **constants: Any) -> Any:
            z, backward = forward(*arrays, **constants)
            return z, self.timed(f"{op.__name__}, backward", backward)

        return run


def profile(config: Config, steps: int, folder: Path) -> str:
    """A table by part, the largest first, in milliseconds per step. Timing itself costs about a microsecond a call."""
    task = folder / "profile.npz"
    write_task(config, task)
    arrays = dict(np.load(task))
    batches = itertools.cycle(zip(arrays.pop("ids"), arrays.pop("targets"), strict=True))
    step = ours.trainer(config, arrays)
    for _ in range(3):
        step(*next(batches))

    watch = Stopwatch()
    with (
        patch.dict(RUNS, {op: watch.timed_op(op) for op in OPS.values()}),
        patch.object(nn.utils, "clip_grad_norm_", watch.timed("clip_grad_norm_", nn.utils.clip_grad_norm_)),
        patch.object(optim.AdamW, "step", watch.timed("AdamW.step", optim.AdamW.step)),
    ):
        start = time.perf_counter()
        for _ in range(steps):
            step(*next(batches))
        whole = time.perf_counter() - start

    parts = sorted(watch.spent.items(), key=lambda item: -sum(item[1]))
    lines = [(name, sum(times), f"{len(times) / steps:g}") for name, times in parts]
    lines += [("the graph, modules, Python", whole - sum(part[1] for part in lines), ""), ("a step", whole, "")]
    cells = [[name, number(1e3 * t / steps), f"{t / whole:.1%}", calls] for name, t, calls in lines]
    return table(["part", "ms per step", "share", "calls per step"], cells)
