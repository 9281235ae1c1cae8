"""Small arrays end to end in one memory, a row: one call of NumPy then works on all of them.

Below, a tensor is whatever has an ``_array``. Its array becomes a view of its part of the row, if nobody else holds it:
whoever shares an array (a ``detach()``, a state dict, a graph that saved it) goes on sharing it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from operator import is_
from types import SimpleNamespace
from typing import Any

import numpy as np

SMALL = 1 << 12  # elements: for so few, calling NumPy takes longer than the work


class Row(bytearray):
    """The memory of a row. It is no array: where writes are noted, each part counts as an array of its own.

    It knows its parts by weak references: an array that its tensor has no longer is not kept here either.
    """

    parts: list[weakref.ref[Any]]


def joined(tensors: Sequence[Any]) -> Any:
    """The row of which the tensors' arrays are all the parts in this order, as one array; None if they are not."""
    row = tensors[0]._array.base
    if type(row) is not Row or len(row.parts) != len(tensors):
        return None
    if not all(map(is_, [part() for part in row.parts], [t._array for t in tensors])):
        return None
    return np.frombuffer(row, tensors[0]._array.dtype)


def join(tensors: Sequence[Any]) -> Any:
    """Move the arrays of tensors that are ``movable``, and of one dtype, into a new row: the whole row as one array."""
    arrays = [t._array for t in tensors]
    dtype = arrays[0].dtype
    row = Row(dtype.itemsize * sum([a.size for a in arrays]))
    whole = np.frombuffer(row, dtype)
    np.concatenate(arrays, axis=None, out=whole)
    start = 0
    for t, a in zip(tensors, arrays, strict=True):
        t._array = np.ndarray(a.shape, dtype, row, start)
        start += a.nbytes
    row.parts = [weakref.ref(t._array) for t in tensors]
    return whole


def held(tensor: Any) -> bool:
    """Whether anybody but the tensor holds its array: a view of it, a graph that saved it, a name in a program."""
    return sys.getrefcount(tensor._array) > ALONE


def movable(tensor: Any) -> bool:
    """Whether a tensor's array is small and plain, and nobody would miss it if the tensor got another."""
    if held(tensor):
        return False
    a = tensor._array
    whole = a.base is None or type(a.base) is Row
    return whole and a.size <= SMALL and a.flags.carray and type(a) is np.ndarray


_tensor = SimpleNamespace(_array=np.empty(1))
ALONE = sys.getrefcount(_tensor._array)  # the count when nobody but the tensor holds the array
