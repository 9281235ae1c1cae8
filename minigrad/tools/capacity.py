"""How much memory there is, so that sizes beyond reason are refused at once with what they would need."""

from __future__ import annotations

import contextlib
import os
import sys

if sys.platform != "win32" and sys.platform != "wasi":
    import resource

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def memory() -> float:
    """The bytes that this process can have at most; infinity where the system does not say."""
    limits = [float("inf")]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows
        pages = os.sysconf("SC_PHYS_PAGES")
        limits.append(os.sysconf("SC_PAGE_SIZE") * pages if pages > 0 else float("inf"))
    if sys.platform != "win32" and sys.platform != "wasi":
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        limits.append(limit if limit != resource.RLIM_INFINITY else float("inf"))
    return min(limits)


def check_fits(needed: float, what: str) -> None:
    """Raise ValueError where the bytes needed at the very least are more than there is memory."""
    there = memory()
    if needed > there:
        raise ValueError(f"{what} needs at least {in_words(needed)} of memory, and this machine has {in_words(there)}")


def check_sizes(layers: int, channels: int, vocabulary: int, rows: int, context: int) -> None:
    """Raise ValueError for a transformer that cannot be trained in this memory, by a count that is too low.

    Counted are four numbers for each weight (itself, its gradient, two of Adam's), and of the values that wait for the
    backward pass four vectors in each layer and the logits.
    """
    weights = vocabulary * channels + layers * 12 * channels**2
    values = rows * context * (layers * channels * 4 + vocabulary)
    what = f"training {weights:.3g} weights in {layers} layers on {rows} x {context} tokens a batch"
    check_fits(16 * weights + 4 * values, what)


def in_words(size: float) -> str:
    """Bytes with the unit that suits: 16.2 GB."""
    step = 0
    while size >= 1000 and step < len(UNITS) - 1:
        size, step = size / 1000, step + 1
    return f"{size:.3g} {UNITS[step]}"
