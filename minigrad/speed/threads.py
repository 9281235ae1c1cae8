"""How many threads one matrix product runs on: PyTorch's names for what BLAS, NumPy's library for products, decides."""

from __future__ import annotations

import functools
import os
from typing import Any

from minigrad.tools.extras import need

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "GOTO_NUM_THREADS")


def get_num_threads() -> int:
    """The threads of a matrix product; 1 where BLAS does not say."""
    return max((library["num_threads"] for library in _blas().info()), default=1)


def set_num_threads(n: int) -> None:
    """Let matrix products run on so many threads from now on; a BLAS that cannot be told (Apple's) stays as it is."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"the number of threads must be a positive integer, got {n!r}")
    _blas().limit(limits=n)


def chosen_by_user() -> bool:
    """Whether an environment variable says how many threads there shall be."""
    return any(name in os.environ for name in VARIABLES)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _SingleThreads:
    """Lets matrix products run on one thread, where the user has not chosen, for as long as anyone wants it so."""

    def __init__(self) -> None:
        self.wanted = 0
        self.before = 1

    def begin(self) -> None:
        if self.wanted == 0 and not chosen_by_user():
            self.before = get_num_threads()
            set_num_threads(1)
        self.wanted += 1

    def end(self) -> None:
        self.wanted -= 1
        if self.wanted == 0 and not chosen_by_user() and get_num_threads() == 1:  # else one was chosen meanwhile
            set_num_threads(self.before)


single_threads = _SingleThreads()


@functools.cache
def _blas() -> Any:
    return need("threadpoolctl").ThreadpoolController().select(user_api="blas")
