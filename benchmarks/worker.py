"""One peer in a process of its own: ``python -m benchmarks.worker MODULE``. A request is one line of JSON on stdin.

Each answer is one line of JSON. What a library prints goes to stderr, so that it cannot garble an answer.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.configs import CHECKED, Config

try:
    import resource
except ImportError:  # Windows
    resource = None


NEEDS = {"train": "trainer", "sampler": "sampler", "expression": "expression", "chain": "chain"}


class Worker:
    """Answers requests with the functions of a peer's module; those it does not have, it cannot do."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.run: Callable[[], Any]

    def train(self, config: list[int], task: str) -> dict[str, Any]:
        """Build the model, take the steps whose losses are compared.

        Those are all on one batch. Adam's first updates are as large for a gradient of 1e-9, whose sign is chance, as
        for one of 1e-3; the loss of the batch it came from hardly feels that, another batch's does.
        """
        arrays = dict(np.load(task))
        pairs = list(zip(arrays.pop("ids"), arrays.pop("targets"), strict=True))
        step = self.peer.trainer(Config(*config), arrays)
        losses = [step(*pairs[0]) for _ in range(CHECKED + 1)]
        batches = itertools.cycle(pairs)
        self.run = lambda: step(*next(batches))
        return {} if losses[0] is None else {"losses": [float(loss) for loss in losses]}

    def sampler(self, config: list[int], task: str, tokens: int, cached: bool) -> dict[str, Any]:
        """Build the model, and draw greedily once: all peers must draw the same tokens."""
        arrays = dict(np.load(task))
        start = arrays.pop("ids")[0, :1, :1]
        del arrays["targets"]
        generate = self.peer.sampler(Config(*config), arrays)
        self.run = lambda: generate(start, tokens, cached)
        return {"tokens": np.asarray(self.run()).ravel().tolist()}

    def expression(self) -> dict[str, Any]:
        """y = (a*b+c).relu().sum() with gradients: a hundred of them are one run."""
        run = self.peer.expression()
        self.run = lambda: [run() for _ in range(100)]
        self.run()
        return {}

    def chain(self, length: int) -> dict[str, Any]:
        """So many additions in a row, and back."""
        self.run = lambda: self.peer.chain(length)
        self.peer.chain(100)
        return {}

    def time(self, count: int, seconds: float, warm: bool) -> dict[str, Any]:
        """Run up to ``count`` times, the last one started within so many seconds: the seconds of each."""
        if warm:
            self.run()
        times: list[float] = []
        while len(times) < count and sum(times) < seconds:
            start = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - start)
        return {"times": times}

    def peak(self) -> dict[str, Any]:
        return {"peak_mb": peak_mb()}


def peak_mb() -> float | None:
    """The most memory this process and those it forked have had, pages they share counted for each.

    getrusage alone would count what its parent had when it forked.
    """
    if Path("/proc/self/status").exists():
        children = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in ("self", *children)]
        fields = [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]
        return sum(int(field["VmHWM"].split()[0]) for field in fields) / 1024
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        peer = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    except ImportError as error:
        return answer({"missing": (error.name or "").split(".")[0], "error": str(error)})
    answer({"version": peer.VERSION})
    worker = Worker(peer)
    for line in sys.stdin:
        request = json.loads(line)
        name = request.pop("do")
        if not hasattr(peer, NEEDS.get(name, "VERSION")):
            answer({"cannot": True})
            continue
        try:
            answer(getattr(worker, name)(**request))
        except Exception as error:  # whatever a library raises belongs into the table
            answer({"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]})


if __name__ == "__main__":
    main()
