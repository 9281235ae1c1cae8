"""GGUF, the file of llama.cpp: facts by name, then tensors, often in blocks of few bits, opened without reading them.

The layout, all little-endian: "GGUF", version, the numbers of tensors and of facts; the facts (name, type, value); of
each tensor its name, sizes (the fastest first), type and place; then, aligned, the tensors themselves.
Source: the specification, docs/gguf.md in the repository of ggml.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad.core.op import Array

NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
TEXT, LIST = 8, 9  # the other types of a fact
# By number: the name of a tensor's type, how many weights a block of it holds, and its bytes.
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}
OTHERS = {6: "Q5_0", 7: "Q5_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 30: "BF16"}


class Stored(NamedTuple):
    """A tensor in the file: its type, its shape (slowest first), and its bytes, which are not read yet."""

    kind: str
    shape: tuple[int, ...]
    data: Array  # uint8

    def numbers(self) -> Array:
        """The weights in float32."""
        return dequantize(self.data, self.kind).reshape(self.shape)


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """The facts and the tensors of a file. Raises ValueError for a broken one, or for types that are not here."""
    try:
        with open(path, "rb") as file:
            return _Reader(np.memmap(file, np.uint8, "r").view(np.ndarray)).file()
    except (struct.error, UnicodeDecodeError, MemoryError, OverflowError, _Broken, ValueError) as error:
        if isinstance(error, _Foreign):
            raise ValueError(f"{path}: {error}") from None
        raise ValueError(f"{path} is damaged or no GGUF file ({error})") from error


class _Broken(Exception):
    pass


class _Foreign(ValueError):
    pass


class _Reader:
    def __init__(self, data: Array) -> None:
        self.data, self.place = data, 0

    def take(self, size: int) -> Array:
        if size > len(self.data) - self.place:
            raise _Broken(f"it ends at {len(self.data):,} bytes, in the middle of what it holds")
        self.place += size
        return self.data[self.place - size : self.place]

    def integer(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)).tobytes())[0])

    def text(self) -> str:
        return self.take(self.integer("<Q")).tobytes().decode("utf-8", "replace")

    def texts(self, count: int) -> list[str]:
        """Many texts at a time: a vocabulary has 100,000 of them."""
        data, place, found = self.data.data, self.place, []
        size_at = struct.Struct("<Q").unpack_from
        for _ in range(count):
            start = place + 8
            place = start + size_at(data, place)[0]
            if place > len(data):
                raise _Broken(f"it ends at {len(data):,} bytes, in the middle of a text")
            found.append(str(data[start:place], "utf-8", "replace"))
        self.place = place
        return found

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == LIST and depth < 4:
            of, count = self.integer("<I"), self.integer("<Q")
            if of in NUMBERS:
                dtype = np.dtype(NUMBERS[of])
                return self.take(count * dtype.itemsize).view(dtype).tolist()
            if count > len(self.data):
                raise _Broken(f"a list of {count:,} entries cannot be in it")
            return self.texts(count) if of == TEXT else [self.value(of, depth + 1) for _ in range(count)]
        if kind not in NUMBERS:
            raise _Broken(f"there is no type {kind} of facts")
        dtype = np.dtype(NUMBERS[kind])
        return self.take(dtype.itemsize).view(dtype)[0].item()

    def file(self) -> tuple[dict[str, Any], dict[str, Stored]]:
        if self.take(4).tobytes() != b"GGUF":
            raise _Broken("it does not begin with GGUF")
        if (version := self.integer("<I")) not in (2, 3):
            raise _Foreign(f"version {version} of GGUF is not read here, only 2 and 3")
        tensors, count = self.integer("<Q"), self.integer("<Q")
        facts: dict[str, Any] = {}
        for _ in range(count):
            name = self.text()
            facts[name] = self.value(self.integer("<I"))
        places: list[tuple[str, tuple[int, ...], int, int]] = []
        for _ in range(tensors):
            name, dimensions = self.text(), self.integer("<I")
            if dimensions > 8:
                raise _Broken(f"{name} has {dimensions} dimensions")
            shape = tuple(reversed([self.integer("<Q") for _ in range(dimensions)]))
            places.append((name, shape, self.integer("<I"), self.integer("<Q")))
        alignment = facts.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise _Broken(f"the alignment is {alignment!r}")
        start = -(-self.place // alignment) * alignment
        return facts, {name: self.tensor(start, shape, kind, offset) for name, shape, kind, offset in places}

    def tensor(self, start: int, shape: tuple[int, ...], kind: int, offset: int) -> Stored:
        if kind not in TYPES:
            return Stored(OTHERS.get(kind, f"type {kind}"), shape, self.data[:0])
        name, weights, size = TYPES[kind]
        if shape and shape[-1] % weights:
            raise _Broken(f"rows of {shape[-1]} weights are no whole blocks of {name}")
        self.place = start + offset
        return Stored(name, shape, self.take(math.prod(shape) // weights * size))


def dequantize(data: Array, kind: str) -> Array:
    """Bytes -> float32, flat. A block of 32 weights has one scale d, in float16, and perhaps an offset m:

    Q8_0  w = d q,       q from -128 to 127, a byte each
    Q4_0  w = d (q - 8), q from 0 to 15; a byte holds q of weight i in its lower half, of weight i + 16 in its upper one
    Q4_1  w = d q + m
    """
    if kind in ("F32", "F16"):
        return data.view("<f4" if kind == "F32" else "<f2").astype(np.float32)
    blocks = data.reshape(-1, {"Q8_0": 34, "Q4_0": 18, "Q4_1": 20}[kind])
    d = blocks[:, :2].copy().view("<f2").astype(np.float32)  # (N, 1)
    z = np.empty((len(blocks), 32), np.float32)
    if kind == "Q8_0":
        return np.multiply(blocks[:, 2:].view(np.int8), d, out=z).reshape(-1)
    halves = blocks[:, -16:]
    np.multiply(halves & 15, d, out=z[:, :16])
    np.multiply(halves >> 4, d, out=z[:, 16:])
    z += blocks[:, 2:4].copy().view("<f2").astype(np.float32) if kind == "Q4_1" else -8 * d
    return z.reshape(-1)
