"""Indices as PyTorch reads them, for NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.torch.dtypes import plain


def numpy_index(index: Any, shape: tuple[int, ...]) -> Any:
    """An index as NumPy takes it, with arrays for tensors and lists, that picks what PyTorch picks."""
    if not isinstance(index, tuple):
        found = _index_part(index)
        return found if not isinstance(found, tuple) else numpy_index(found, shape)
    parts = tuple(map(_index_part, index))
    if not any(isinstance(i, np.ndarray) for i in parts):
        return parts
    kinds = "".join(
        "i" if isinstance(i, int | np.integer) else "a" if isinstance(i, np.ndarray) else " " for i in parts
    )
    if "i" in kinds and "a" in kinds and " " in kinds.strip():
        # NumPy takes a number beside arrays for an array, and puts the picked axes in front where a slice lies between
        # them; PyTorch takes the numbers first, and leaves the rest in its place.
        places = np.arange(math.prod(shape)).reshape(shape)
        whole = slice(None)
        first: list[Any] = []
        for i in parts:
            first += [whole] * (i.ndim if i.dtype == bool else 1) if isinstance(i, np.ndarray) else [i]
        rest = tuple(
            i if isinstance(i, np.ndarray) or i is Ellipsis else whole
            for i in parts
            if not isinstance(i, int | np.integer)
        )
        return np.unravel_index(places[tuple(first)][rest], shape)
    return parts


def _index_part(index: Any) -> Any:
    """One entry of an index; a tensor of one integer counts as that integer."""
    if hasattr(index, "_array"):
        array = index._array
        return int(array) if array.ndim == 0 and array.dtype.kind in "iu" else array
    if isinstance(index, range):
        return np.arange(index.start, index.stop, index.step)
    if isinstance(index, list | tuple):  # a tuple within a tuple picks as a list does
        if any(isinstance(i, slice) or i is None for i in index):
            return tuple(index)
        return np.asarray([plain(i) for i in index], dtype=None if index else np.int64)
    return index
