"""Several cores for one op: its work in pieces, taken by this thread and its helpers as each gets free."""

from __future__ import annotations

import contextvars
import ctypes
import itertools
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

WORTH = 200_000  # multiply-adds or so: below this, waking a helper costs more than it brings


def _allowed() -> int:
    """MINIGRAD_THREADS, or the least of what the usual variables and the machine allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    limits = [int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()]
    own = os.environ.get("MINIGRAD_THREADS", "")
    return max(1, int(own) if own.isdigit() else min([cores, *limits]))


class _Blas:
    """The number of threads that NumPy's OpenBLAS uses; unknown for other libraries, which are left alone."""

    def __init__(self) -> None:
        self.get: Callable[[], int] | None = None
        self.set: Callable[[int], Any] | None = None
        try:
            library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
        except (OSError, AttributeError, TypeError):
            return
        for prefix, suffix in itertools.product(("scipy_openblas", "openblas"), ("64_", "")):
            if hasattr(library, f"{prefix}_set_num_threads{suffix}"):
                self.get = getattr(library, f"{prefix}_get_num_threads{suffix}")
                self.set = getattr(library, f"{prefix}_set_num_threads{suffix}")


class _Job:
    """Pieces 0 ... n - 1 of one op. Whoever asks gets the next one, so a helper that is late holds nobody up."""

    def __init__(self, pieces: int, work: Callable[[int], None]) -> None:
        self.next = itertools.count().__next__
        self.pieces = self.left = pieces
        self.work = work
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.context = contextvars.copy_context()  # NumPy keeps its error handling there

    def run(self) -> None:
        while (piece := self.next()) < self.pieces:
            try:
                self.work(piece)
            except BaseException as error:
                self.error = error
            with self.lock:
                self.left -= 1
                last = self.left == 0
            if last:
                self.done.release()


class _Team:
    """The helper threads, started when first wanted."""

    def __init__(self) -> None:
        self.size = _allowed()
        self.jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self.started = False
        self.busy = threading.Lock()
        self.blas = _Blas()

    def start(self) -> None:
        for _ in range(self.size - 1):
            threading.Thread(target=self.help, name="minigrad-helper", daemon=True).start()
        self.started = True

    def help(self) -> None:
        while True:
            job = self.jobs.get()
            job.context.copy().run(job.run)
            del job


_team = _Team()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _team.__init__())  # type: ignore[misc]


def parts(length: int) -> list[slice]:
    """0 ... length in as many equal pieces as there are threads; empty ones left out."""
    ends = [length * i // _team.size for i in range(_team.size + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(ends) if start < end]


def share(pieces: int, work: Callable[[int], None], size: float) -> None:
    """Call ``work(piece)`` for every piece, on several cores if ``size`` (multiply-adds or so) is worth it.

    With a given number of threads the result is the same bit for bit, whoever does which piece. While they run,
    OpenBLAS uses one thread in each. MINIGRAD_THREADS sets the number of threads; 1 switches this off.
    """
    team = _team
    if pieces <= 1 or team.size == 1 or size < WORTH or not team.busy.acquire(blocking=False):
        for piece in range(pieces):
            work(piece)
        return
    before = 0
    try:
        if not team.started:
            team.start()
        if team.blas.get is not None and team.blas.set is not None:
            before = team.blas.get()
            if before > 1:
                team.blas.set(1)
        job = _Job(pieces, work)
        for _ in range(min(team.size, pieces) - 1):
            team.jobs.put(job)
        job.run()
        job.done.acquire()
    finally:
        if before > 1 and team.blas.set is not None:
            team.blas.set(before)
        team.busy.release()
    if job.error is not None:
        raise job.error
