"""Long arrays piece by piece: of several passes over memory, all but the first find a piece in the core's own cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigrad.core.op import Array

BLOCK = 1 << 15  # elements: a handful of float32 arrays of this length fit into that cache


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Arrays of one shape piece by piece, and a scratch array of that size at the end.

    Short ones, and those that do not lie in memory row by row, come whole.
    """
    first = arrays[0]
    if first.size <= BLOCK or not all(a.flags.c_contiguous for a in arrays):
        yield (*arrays, np.empty_like(first))
        return
    scratch = np.empty(BLOCK, dtype=first.dtype)
    flat = [a.reshape(-1) for a in arrays]
    for start in range(0, first.size, BLOCK):
        pieces = [a[start : start + BLOCK] for a in flat]
        yield (*pieces, scratch[: pieces[0].size])
