"""Half precision is for keeping numbers, not for adding them up: an op computes in single."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.core.op import FACTS, Backward, Op

HALF = np.dtype(np.float16)


def in_single(op: Op, run: Op) -> Op:
    """What runs for an op of half-precision arrays: the op in single precision, its result rounded to half.

    Squares pass 65504, the largest half, soon, and a sum of ones stops at 2048. An op that makes views, or changes the
    dtype, and a user's own op, run as they are. The gradients stay single: the engine rounds them for each input.
    """
    if op not in FACTS or FACTS[op].view or op.__name__ == "cast":
        return run

    def single(*arrays: Any, **constants: Any) -> tuple[Any, Backward]:
        given = [x.dtype for x in arrays if hasattr(x, "astype")]
        if given[0] != HALF:
            return run(*arrays, **constants)
        z, backward = run(*(x.astype(np.float32) if hasattr(x, "astype") else x for x in arrays), **constants)
        with np.errstate(over="ignore"):
            return z.astype(np.result_type(*given)), lambda dz: backward(dz.astype(np.float32))

    return single
