"""The inputs every op is tested on, and the check that compares its backward with numerical differences.

A case is an op, its positional arrays (float64, made anew from a fixed seed) and its constants.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from minigrad.core.graph import unbroadcast
from minigrad.look.differences import slope
from minigrad.ops import OPS, facts

STEP = 1e-6  # of the central differences
TOLERANCE = 1e-6  # absolute and relative; the differences themselves are good to about 1e-9

BROADCAST = ((), (1,), (3,), (1, 3), (2, 1), (2, 3), (4, 1, 3))
SHAPES = ((), (1,), (4,), (2, 3), (3, 3), (2, 1, 3), (0, 3))
APART = set(  # with kinks: values keep a distance
    "relu abs maximum minimum max min clamp l1_loss elu hardswish smooth_l1_loss norm".split()
)
INSIDE = {"asin", "acos", "atanh"}  # of -1 and 1
POSITIVE = {"acosh", "log", "log1p", "log2", "log10", "sqrt", "pow"}


@dataclass(frozen=True)
class Case:
    """One op on one set of inputs."""

    op: str
    id: str
    args: tuple[Any, ...]  # a shape (filled with numbers), an array, a number, or None
    constants: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.op}-{self.id}"

    def inputs(self) -> list[Any]:
        """The positional arguments, read-only."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        made = [self._fill(arg, place, rng) for place, arg in enumerate(self.args)]
        return [read_only(x) for x in made]

    def _fill(self, arg: Any, place: int, rng: np.random.Generator) -> Any:
        if isinstance(arg, np.ndarray):
            return arg.astype(np.float64)
        if not isinstance(arg, tuple):
            return arg
        if self.op in APART:
            n = int(np.prod(arg))
            return ((rng.permutation(n) - n // 2) * 0.17 + 0.05 + 0.03 * place).reshape(arg)
        x = np.asarray(rng.normal(size=arg))
        if self.op in INSIDE:
            return np.asarray(0.95 * np.tanh(x))
        if self.op in POSITIVE:
            return np.asarray(0.4 + np.abs(x) + (self.op == "acosh"))
        return np.asarray(x + 0.3 * np.sign(x))


def read_only(x: Any) -> Any:
    """The array, locked against writing; anything else as it is."""
    if isinstance(x, np.ndarray):
        x.flags.writeable = False
    elif isinstance(x, tuple | list):
        for part in x:
            read_only(part)
    return x


def shape_id(*shapes: tuple[int, ...]) -> str:
    return ",".join("x".join(map(str, s)) or "0d" for s in shapes)


def _unary() -> Iterator[Case]:
    for name, op in OPS.items():
        if facts(op).elementwise and len(signature(op).parameters) == 1:
            for shape in SHAPES:
                yield Case(name, shape_id(shape), (shape,))
    for name in ("elu", "softplus"):
        for shape in SHAPES:
            yield Case(name, shape_id(shape), (shape,))
    for name in ("gelu", "gelu_tanh"):
        yield Case(name, shape_id((50,)), ((50,),))
        yield Case(name, "far", (np.array([-7.0, -3.0, -1e-3, 0.0, 1e-3, 3.0, 7.0, 12.0]),))
    for shape in SHAPES:
        yield Case("clamp", f"both-{shape_id(shape)}", (shape,), {"min": -0.5, "max": 0.5})
    for name in ("error_function", "complementary_error_function"):
        yield Case(name, "far", (np.array([-3.0, -0.7, -0.49, -1e-3, 0.0, 1e-3, 0.49, 0.7, 2.0, 3.0]),))
    yield Case("elu", "constants", ((2, 9),), {"alpha": 1.5, "scale": 0.7, "inner": 2.0})
    yield Case("softplus", "constants", ((2, 9),), {"beta": 1.5, "threshold": 0.9})
    yield Case("clamp", "min", ((2, 9),), {"min": -0.5})
    yield Case("clamp", "max", ((2, 9),), {"max": 0.5})
    for shape in ((), (2, 3)):
        yield Case("cast", shape_id(shape), (shape,), {"dtype": np.dtype("float64")})
    for shape in ((), (4,), (2, 3), (3, 3)):
        n = int(np.prod(shape))
        mask = np.resize([2.0, 0.0, 2.0], n).reshape(shape)
        yield Case("dropout", shape_id(shape), (shape,), {"mask": mask})
    yield Case("dropout", "broadcast", ((2, 3),), {"mask": np.array([[2.0], [0.0]])})


def _binary() -> Iterator[Case]:
    for name in (
        "add", "sub", "mul", "div", "pow", "maximum", "minimum", "hypot", "logaddexp", "atan2", "mse_loss", "l1_loss",
        "smooth_l1_loss",
    ):  # fmt: skip
        for a in BROADCAST:
            for b in BROADCAST:
                yield Case(name, shape_id(a, b), (a, b))
        yield Case(name, "square", ((3, 3), (3, 3)))
        yield Case(name, "empty", ((0, 3), (3,)), {"reduction": "sum"} if name.endswith("loss") else {})
    for name in ("remainder", "fmod"):
        x, y = np.array([[-5.3, 4.1, 0.7], [9.2, -0.4, 2.9]]), np.array([2.0, -1.5, 0.6])
        yield Case(name, "rows", (x, y))
        yield Case(name, "square", (x, x[::-1]))
        yield Case(name, "0d", (np.array(-5.3), np.array(2.0)))
        yield Case(name, "number", (x, 0.6))
    for reduction in ("mean", "sum", "none"):
        yield Case("smooth_l1_loss", reduction, ((2, 3), (2, 3)), {"beta": 0.3, "reduction": reduction})
    for name in ("mse_loss", "l1_loss"):
        for reduction in ("sum", "none"):
            for a, b in (((), ()), ((2, 3), (2, 3)), ((2, 1), (3,))):
                yield Case(name, f"{reduction}-{shape_id(a, b)}", (a, b), {"reduction": reduction})
    for y in (0, 1, 2, 3, 4, -1, -2, 0.5, 1.7, 2.0):
        for shape in ((), (2, 3)):
            yield Case("pow", f"number{y}-{shape_id(shape)}", (shape, y))
    for y in (0, 1, 2, 3):
        yield Case("pow", f"negative-base{y}", (np.array([-1.5, -0.3, 0.7]), y))
    for name in ("add", "sub", "mul", "div", "maximum", "minimum"):
        yield Case(name, "number", ((2, 3), 0.8))
    for a in BROADCAST:
        for b in BROADCAST:
            shape = np.broadcast_shapes(a, b)
            condition = np.resize([True, False, False, True, True], int(np.prod(shape))).reshape(shape)
            yield Case("where", shape_id(a, b), (a, b), {"condition": condition})
    yield Case("where", "wide-condition", ((3,), ()), {"condition": np.array([[True, False, True], [False] * 3])})


def _reductions() -> Iterator[Case]:
    everywhere: tuple[Any, ...] = (None, 0, 1, 2, -1, -3, (0, 1), (0, 2), (-1, 0), (0, 1, 2))
    for p in (2, 0.5, 1.5, 3, -1, 1, math.inf, -math.inf):
        for axis in (None, 0, -1, (0, 2)):
            yield Case("norm", f"p{p}-axis{axis}", ((2, 3, 4),), {"p": p, "axis": axis, "keepdims": axis == 0})
    for axis in (0, 1, -1):
        yield Case("logcumsumexp", f"axis{axis}", ((2, 3, 4),), {"axis": axis})
    yield Case("logcumsumexp", "0d", ((),))
    for name in ("sum", "mean", "max", "min", "var", "std", "logsumexp"):
        for keepdims in (False, True):
            tail = "-keepdims" if keepdims else ""
            for axis in everywhere:
                yield Case(name, f"axis{axis}{tail}", ((2, 3, 4),), {"axis": axis, "keepdims": keepdims})
            yield Case(name, f"1d{tail}", ((5,),), {"axis": 0, "keepdims": keepdims})
            if name not in ("var", "std"):
                yield Case(name, f"0d{tail}", ((),), {"keepdims": keepdims})
                yield Case(name, f"size1{tail}", ((1, 3),), {"axis": 0, "keepdims": keepdims})
                yield Case(name, f"no-rows{tail}", ((0, 3),), {"axis": 1, "keepdims": keepdims})
    for name in ("var", "std"):
        for correction in (0, 1, 1.5):
            yield Case(name, f"correction{correction}", ((2, 4),), {"axis": 1, "correction": correction})
    for name in ("mean", "max", "min", "var", "std", "logsumexp", "sum"):
        yield Case(name, "square", ((3, 3),), {"axis": 0})
    yield Case("sum", "empty", ((0, 3),), {"axis": 0})
    for axis in (None, 0, 1, -1):
        for keepdims in (False, True):
            constants = {"axis": axis, "keepdims": keepdims}
            yield Case("prod", f"axis{axis}{keepdims}", ((3, 4),), constants)
            zeros = np.array([[0.0, 2.0, 3.0], [0.0, -1.5, 0.0]])
            yield Case("prod", f"zeros-axis{axis}{keepdims}", (zeros,), constants)
    for shape in ((), (1,), (2,), (2, 1, 3)):
        yield Case("prod", shape_id(shape), (shape,))
    yield Case("prod", "empty", ((0, 3),), {"axis": 0})
    for axis in (0, 1, 2, -1):
        yield Case("cumsum", f"axis{axis}", ((2, 3, 4),), {"axis": axis})
    yield Case("cumsum", "square", ((3, 3),))
    yield Case("cumsum", "1d", ((5,),))
    yield Case("cumsum", "0d", ((),))
    for name in ("softmax", "log_softmax"):
        for axis in (0, 1, 2, -1, -2):
            yield Case(name, f"axis{axis}", ((2, 3, 4),), {"axis": axis})
        for shape in ((), (1,), (5,), (2, 1), (3, 3), (0, 3), (2, 0)):
            yield Case(name, shape_id(shape), (shape,))
    yield Case("logsumexp", "no-columns", ((2, 0),), {"axis": 1})
    masked = np.array([[0.3, -np.inf, 1.2], [-np.inf] * 3, [0.1, 0.2, -0.7]])
    for name in ("softmax", "logsumexp"):
        yield Case(name, "masked", (masked[::2],), {"axis": -1})


def _products() -> Iterator[Case]:
    pairs = [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((1, 1), (1, 1)), ((1,), (1,)),
        ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)),
        ((1, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)), ((2, 1, 2, 3), (3, 3, 4)), ((2, 1, 2, 3), (1, 5, 3, 4)),
        ((2, 3), (3, 3)), ((3, 3), (3, 3)), ((0, 3), (3, 4)), ((2, 0), (0, 4)), ((2, 3), (3, 0)), ((5, 0, 3), (3, 4)),
        ((5, 2, 0), (0, 4)), ((5, 2, 3), (3, 0)), ((4, 2, 2, 3), (3, 2)),
    ]  # fmt: skip
    for a, b in pairs:
        yield Case("matmul", shape_id(a, b), (a, b))
    for x in ((3,), (2, 3), (5, 2, 3), (0, 3), (1, 1, 2, 3)):
        yield Case("linear", f"{shape_id(x)}-bias", (x, (4, 3), (4,)))
        yield Case("linear", shape_id(x), (x, (4, 3)))
    yield Case("linear", "one", ((2, 1), (1, 1), (1,)))
    yield Case("linear", "no-inputs", ((2, 0), (4, 0), (4,)))
    yield Case("linear", "square", ((3, 3), (3, 3), None))
    equations: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
        ("ij,jk->ik", ((2, 3), (3, 4))), ("ij,jk", ((2, 3), (3, 4))), ("ij,jk->ki", ((2, 3), (3, 4))),
        ("ij->ji", ((2, 3),)), ("ij->", ((2, 3),)), ("ij->j", ((2, 3),)), ("ji", ((2, 3),)), ("ii->i", ((3, 3),)),
        ("ii", ((3, 3),)), ("iij->j", ((3, 3, 2),)), ("iji->ij", ((2, 3, 2),)), ("i,i->", ((3,), (3,))),
        ("i,j->ij", ((2,), (3,))), ("ij,j->", ((2, 3), (3,))), ("ij,k->i", ((2, 3), (4,))), 
        ("...ij->...ji", ((4, 2, 3),)),
        ("...ij,...jk->...ik", ((5, 2, 3), (5, 3, 4))), ("...ij,...jk->...ik", ((4, 1, 2, 3), (5, 3, 4))),
        ("...i,i", ((2, 4, 3), (3,))), ("i...,...", ((3, 2), (2,))), ("...,...->...", ((2, 3), (3,))),
        ("bhtd,bhsd->bhts", ((2, 2, 3, 4), (2, 2, 5, 4))), ("i,ij,j->", ((2,), (2, 3), (3,))),
        ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2))), ("ab,ac,ad->bcd", ((3, 2), (3, 2), (3, 4))),
        ("ij,ij->ij", ((2, 3), (1, 3))), ("ij,jk->ik", ((2, 1), (3, 4))), ("ij,jk->ik", ((2, 3), (1, 4))),
        (",ij->ij", ((), (2, 3))), ("ii,i->i", ((3, 3), (3,))), ("ii,jj->ij", ((2, 2), (3, 3))), ("->", ((),)),
        (" i j , j k -> i k ", ((2, 3), (3, 2))), ("ij,j->i", ((0, 3), (3,))),
    ]  # fmt: skip
    for equation, shapes in equations:
        yield Case("einsum", f"{equation.replace(' ', '_')}-{shape_id(*shapes)}", shapes, {"equation": equation})


def _indexing() -> Iterator[Case]:
    three = np.array([[1, 0], [1, 1]])
    mask2 = np.array([[True, False, True], [False, True, True]])
    indices: list[tuple[str, tuple[int, ...], Any]] = [
        ("int", (4,), 1), ("negative", (4,), -1), ("slice", (5,), slice(1, 4)), ("step", (5,), slice(None, None, -2)),
        ("none", (3,), None), ("ellipsis", (2, 3), ...), ("empty-tuple", (2, 3), ()), ("0d", (), ()),
        ("0d-none", (), None),
        ("ints", (2, 3), (1, 2)), ("int-slice", (2, 3), (0, slice(0, 2))), ("last", (2, 3, 4), (..., 1)),
        ("mixed-basic", (2, 3, 4), (slice(None), None, -1, slice(1, 3))), ("empty", (4,), slice(2, 2)),
        ("numpy-int", (4,), np.int64(2)), ("array", (4,), np.array([2, 0])),
        ("repeated", (4,), np.array([1, 1, -3, 0])),
        ("array2d", (3, 2), three), ("two-arrays", (2, 3), (np.array([0, 1, 0, 0]), np.array([2, 2, 2, 2]))),
        ("list", (4,), [0, 0, 3]), ("mask", (2, 3), mask2), ("mask1", (2, 3), np.array([True, False])),
        ("mask-none", (2, 3), np.zeros((2, 3), dtype=bool)), ("array-slice", (3, 4), (np.array([0, 0]), slice(1, 3))),
        ("slice-array", (3, 4), (slice(None), np.array([3, 3, 1]))), ("broadcast", (3, 4), (three, np.array([3, 0]))),
        ("int-array", (2, 3, 4), (1, np.array([0, 0, 2]))), ("apart", (2, 3, 4), (np.array([0, 1]), slice(None), 1)),
        ("ellipsis-array", (2, 3, 4), (..., np.array([0, 0]))), ("none-array", (3, 4), (None, np.array([1, 1]))),
        ("slice-mask", (3, 2), (slice(1, 3), np.array([False, True]))), ("no-rows", (3, 4), np.zeros(0, dtype=int)),
        ("mask-0d", (2, 3), np.array(True)), ("array-0d", (4, 2), np.array(3)),
    ]  # fmt: skip
    for name, shape, index in indices:
        yield Case("getitem", name, (shape,), {"index": index})
    picks: list[tuple[str, tuple[int, ...], int, Any]] = [
        ("axis0", (3, 4), 0, [[0, 2, 2, 1], [0, 0, 2, 1]]), ("axis1", (2, 4), 1, [[3, 3, 0], [1, 1, 1]]),
        ("negative-axis", (2, 4), -1, [[3], [0]]), ("smaller", (3, 4), 0, [[2, 2]]), ("1d", (4,), 0, [1, 1, 3, 0, 1]),
        ("3d", (2, 3, 2), 1, [[[0, 1], [0, 0]], [[2, 2], [1, 2]]]), ("none", (3, 4), 1, np.zeros((3, 0), dtype=int)),
    ]  # fmt: skip
    for name, shape, axis, index in picks:
        yield Case("gather", name, (shape,), {"axis": axis, "index": np.array(index)})
    for name, ids in (
        ("repeated", [1, 0, 1, 1]),
        ("0d", 2),
        ("2d", [[4, 4], [0, 3]]),
        ("none", np.zeros(0, dtype=int)),
    ):
        yield Case("embedding", name, ((5, 3),), {"ids": np.array(ids)})
    yield Case("embedding", "square", ((3, 3),), {"ids": np.array([2, 0, 2])})
    yield Case("embedding", "unsigned", ((5, 3),), {"ids": np.array([4, 0, 4], dtype=np.uint8)})
    yield Case("embedding", "wide", ((4, 2, 3),), {"ids": np.array([1, 1])})
    for name in ("tril", "triu"):
        for shape in ((3, 3), (2, 4), (2, 3, 2)):
            for diagonal in (-1, 0, 1):
                yield Case(name, f"{shape_id(shape)}-{diagonal}", (shape,), {"diagonal": diagonal})
    for shape, mask in (
        ((2, 3), mask2),
        ((3,), mask2),
        ((2, 3), mask2[0]),
        ((), np.array(False)),
        ((), np.array(True)),
    ):
        yield Case(
            "masked_fill", shape_id(shape, mask.shape) + str(mask.all()), (shape,), {"mask": mask, "value": -2.5}
        )


def _shapes() -> Iterator[Case]:
    for a, b in (((2, 3), (6,)), ((2, 3), (3, -1)), ((), (1, 1)), ((1,), ()), ((4, 3), (2, 2, 3)), ((0, 3), (3, 0))):
        yield Case("reshape", shape_id(a, b), (a,), {"shape": b})
    for shape, dims in (((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (-1, 0, -2)), ((3,), (0,)), ((), ())):
        yield Case("permute", f"{shape_id(shape)}-{dims}", (shape,), {"dims": dims})
    for shape, a0, a1 in (((2, 3), 0, 1), ((2, 3, 4), -1, -2), ((2, 3, 4), 0, -1), ((3, 3), 0, 1), ((2, 3), 1, 1)):
        yield Case("transpose", f"{shape_id(shape)}-{a0},{a1}", (shape,), {"axis0": a0, "axis1": a1})
    for axis in (None, 0, -1, 1, (0, 2), (1, 2)):
        yield Case("squeeze", f"axis{axis}", ((1, 3, 1),), {"axis": axis})
    yield Case("squeeze", "0d", ((),))
    for shape in ((), (3,), (2, 3)):
        for axis in sorted({0, -1, len(shape), -len(shape) - 1}):
            yield Case("unsqueeze", f"{shape_id(shape)}-{axis}", (shape,), {"axis": axis})
    for a, b in (
        ((3,), (2, 3)),
        ((2, 1), (2, 4)),
        ((2, 1), (-1, 4)),
        ((), (2, 3)),
        ((1, 3), (5, -1, -1)),
        ((2,), (2,)),
    ):
        yield Case("expand", shape_id(a, b), (a,), {"shape": b})
    for axis in (0, 1, -1):
        yield Case("cat", f"axis{axis}", ((2, 3), (2, 3), (2, 3)), {"axis": axis})
        yield Case("stack", f"axis{axis}", ((2, 3), (2, 3)), {"axis": axis})
    yield Case("cat", "sizes", ((2, 1), (2, 3), (2, 0)), {"axis": 1})
    yield Case("cat", "one", ((3,),))
    yield Case("stack", "0d", ((), (), ()))
    yield Case("stack", "one", ((3,),), {"axis": -1})
    borders: list[tuple[str, tuple[int, ...], Any]] = [
        ("both", (2, 3), ((1, 2), (0, 1))), ("cut", (4,), ((-1, -1),)), ("shift", (4,), ((-1, 2),)),
        ("none", (3,), ((0, 0),)), ("square", (2, 2), ((1, 0), (0, 1))),
        ("0d", (), ()), ("cut-all", (3,), ((-3, 2),)), ("move-out", (3,), ((-5, 5),)),
        ("move-out-back", (3,), ((5, -5),)),
    ]  # fmt: skip
    for name, shape, widths in borders:
        yield Case("pad", name, (shape,), {"widths": widths, "value": 1.5})
    for axis in (0, 1, -1, (0, 1)):
        yield Case("flip", f"axis{axis}", ((2, 3),), {"axis": axis})
    yield Case("flip", "square", ((3, 3),), {"axis": 0})
    for shape, offset, axis0, axis1 in (((3, 3), 0, 0, 1), ((2, 4), 1, 0, 1), ((2, 3, 4), -1, 2, 1), ((4, 2), 0, 1, 0)):
        place = {"offset": offset, "axis0": axis0, "axis1": axis1}
        yield Case("diagonal", f"{shape_id(shape)}-{offset}", (shape,), place)
    for part, view, constants in (
        ((2,), "getitem", {"index": (slice(None), 1)}), ((6,), "reshape", {"shape": (6,)}),
        ((3, 2), "transpose", {"axis0": 0, "axis1": 1}), ((2,), "diagonal", {}), ((), "getitem", {"index": (0, 2)}),
    ):  # fmt: skip
        yield Case(
            "view_written", f"{view}-{shape_id(part)}", ((2, 3), part), {"view": OPS[view], "constants": constants}
        )
    yield Case(
        "view_written", "square", ((3, 3), (3, 3)), {"view": OPS["transpose"], "constants": {"axis0": 0, "axis1": 1}}
    )
    for shifts, axis in ((1, None), (2, 0), (-1, 1), ((1, -2), (0, 1)), (7, -1)):
        yield Case("roll", f"{shifts}-{axis}", ((3, 4),), {"shifts": shifts, "axis": axis})


def _losses() -> Iterator[Case]:
    weight = np.array([0.5, 2.0, 1.0, 0.3])
    shapes: list[tuple[tuple[int, ...], Any]] = [
        ((4,), 2), ((3, 4), [1, 3, 0]), ((1, 4), [0]), ((2, 4, 3), [[0, 3, 1], [2, 2, 1]]),
        ((2, 4, 1, 2), [[[0, 1]], [[3, 3]]]),
    ]  # fmt: skip
    for reduction in ("mean", "sum", "none"):
        for shape, target in shapes:
            base = {"target": np.array(target), "reduction": reduction}
            ignoring = base | {"ignore_index": int(np.array(target).flat[0])}
            name = f"{reduction}-{shape_id(shape)}"
            for op in ("cross_entropy", "nll_loss"):
                yield Case(op, name, (shape,), base)
                if reduction == "sum" or base["target"].size > 1:  # the mean of nothing is 0 / 0
                    yield Case(op, f"{name}-ignore", (shape,), ignoring)
            yield Case("nll_loss", f"{name}-weight", (shape,), base | {"weight": weight})
            if reduction == "sum" or base["target"].size > 1:
                yield Case("nll_loss", f"{name}-ignore-weight", (shape,), ignoring | {"weight": weight})
            soft = {"reduction": reduction}
            yield Case("soft_cross_entropy", name, (shape, shape), soft)
            yield Case("soft_cross_entropy", f"{name}-weight", (shape, shape), soft | {"weight": weight, "count": 2.5})
        for shape in ((), (3,), (2, 3)):
            n = int(np.prod(shape))
            base = {"reduction": reduction}
            yes = np.resize([0.0, 1.0, 0.3], n).reshape(shape)
            name = f"{reduction}-{shape_id(shape)}"
            likely = np.resize([0.1, 0.7, 0.4, 0.95], n).reshape(shape)
            yield Case("binary_cross_entropy", name, (likely, yes), base)
            heavy = np.asarray(likely * 3)
            yield Case("binary_cross_entropy", f"{name}-weight", (likely, yes), base | {"weight": heavy})
            yield Case("bce_with_logits", name, (shape, yes), base)
            heavy = np.resize([0.5, 3.0, 1.0], shape[-1:])
            yield Case("bce_with_logits", f"{name}-pos", (shape, yes), base | {"pos_weight": heavy})
            yield Case("bce_with_logits", f"{name}-weight", (shape, yes), base | {"weight": heavy})
            yield Case(
                "bce_with_logits",
                f"{name}-both",
                (shape, yes),
                base | {"weight": heavy, "pos_weight": np.asarray(2 * heavy)},
            )
    yield Case("cross_entropy", "empty", ((0, 4),), {"target": np.zeros(0, dtype=int), "reduction": "sum"})
    yield Case("cross_entropy", "minus-index", ((2, 4),), {"target": np.array([-100, 1])})


def _norms() -> Iterator[Case]:
    for shape in ((5,), (2, 5), (4, 4), (2, 3, 5), (2, 1), (0, 5)):
        last = shape[-1:]
        name = shape_id(shape)
        for op in ("layer_norm", "rms_norm"):
            eps = {"eps": 1e-2} if shape == (2, 1) else {}
            yield Case(op, name, (shape,), eps)
            yield Case(op, f"{name}-weight", (shape, last), eps)
        yield Case("layer_norm", f"{name}-both", (shape, last, last), {"eps": 1e-2} if shape == (2, 1) else {})
        yield Case("layer_norm", f"{name}-bias", (shape, None, last), {"eps": 1e-2} if shape == (2, 1) else {})
    for op in ("layer_norm", "rms_norm"):
        yield Case(op, "ndim2", ((2, 3, 4), (3, 4)), {"ndim": 2})
        yield Case(op, "ndim2-bare", ((3, 4),), {"ndim": 2})
        yield Case(op, "eps", ((2, 4), (4,)), {"eps": 0.5})
    yield Case("layer_norm", "ndim2-both", ((2, 3, 4), (3, 4), (3, 4)), {"ndim": 2})


def _attention() -> Iterator[Case]:
    name = "scaled_dot_product_attention"
    q, k, v = (2, 3, 4), (2, 5, 4), (2, 5, 6)
    mask = np.array([[True, False, True, True, False], [True] * 5, [False, True, False, False, False]])
    blocked = mask.copy()
    blocked[1] = False
    drop = np.resize([1.25, 0.0, 1.25, 1.25], (2, 3, 5))
    yield Case(name, "plain", (q, k, v))
    yield Case(name, "no-batch", (q[1:], k[1:], v[1:]))
    yield Case(name, "no-batch-bias", (q[1:], k[1:], v[1:], (3, 5)))
    yield Case(name, "heads", ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4)), {"is_causal": True})
    yield Case(name, "one", ((1, 1), (1, 1), (1, 1)))
    yield Case(name, "causal", (q, k, v), {"is_causal": True})
    yield Case(name, "causal-long", ((2, 5, 4), (2, 3, 4), (2, 3, 6)), {"is_causal": True})
    yield Case(name, "mask", (q, k, v), {"mask": mask})
    yield Case(name, "mask-batch", (q, k, v), {"mask": np.stack([mask, ~mask | mask])})
    yield Case(name, "mask-wide", (q[1:], k[1:], v[1:]), {"mask": np.stack([mask, ~mask | mask])})
    yield Case(name, "mask-keys", (q, k, v), {"mask": mask[:1]})
    yield Case(name, "blocked", (q, k, v), {"mask": blocked})
    yield Case(name, "blocked-bias", (q, k, v, (3, 5)), {"mask": blocked})
    yield Case(name, "causal-mask", (q, k, v), {"mask": mask, "is_causal": True})
    for bias in ((2, 3, 5), (3, 5), (1, 5), (5,), (3, 1), (2, 1, 1), (), (4, 1, 3, 5)):
        yield Case(name, f"bias-{shape_id(bias)}", (q, k, v, bias))
    yield Case(name, "scale", (q, k, v), {"scale": 0.3})
    yield Case(name, "dropout", (q, k, v), {"dropout_mask": drop})
    yield Case(name, "dropout-causal-bias", (q, k, v, (3, 5)), {"dropout_mask": drop, "is_causal": True, "scale": 0.7})
    yield Case(name, "broadcast-query", ((1, 3, 4), k, v))
    yield Case(name, "broadcast-keys", ((2, 2, 3, 4), (1, 5, 4), (5, 6)))
    yield Case(name, "broadcast-value", (q[1:], k[1:], v))
    yield Case(name, "one-query", ((2, 1, 4), k, v), {"scale": 0.7})
    yield Case(name, "one-query-causal", ((2, 1, 4), k, v), {"is_causal": True})
    yield Case(name, "one-query-broadcast", ((2, 2, 1, 4), (1, 5, 4), (5, 6)))
    yield Case(name, "one-query-no-keys", ((2, 1, 4), (2, 0, 4), (2, 0, 6)))
    yield Case(name, "no-queries", ((2, 0, 4), k, v))
    yield Case(name, "no-keys", (q, (2, 0, 4), (2, 0, 6)))


def _efficient_attention() -> Iterator[Case]:
    name = "sliding_window_attention"
    x, seen = (2, 6, 3), np.array([[True, False, True, True, True, False], [False, False, False, True, True, True]])
    for causal in (False, True):
        end = "-causal" if causal else ""
        yield Case(name, f"plain{end}", (x, x, x), {"window": 1, "is_causal": causal})
        yield Case(name, f"wide{end}", (x, x, (2, 6, 4)), {"window": 9, "num_global": 1, "is_causal": causal})
        yield Case(name, f"mask{end}", (x, x, x), {"window": 2, "num_global": 1, "is_causal": causal, "mask": seen})
        yield Case(name, f"all-global{end}", (x, x, x), {"window": 0, "num_global": 9, "is_causal": causal})
        long = {"window": 2, "num_global": 1, "is_causal": causal}  # three blocks of queries
        yield Case(name, f"blocks{end}", ((67, 1), (67, 1), (67, 1)), long)
    yield Case(name, "self-alone", (x, x, x), {"window": 0})
    yield Case(name, "heads", ((2, 2, 4, 3), (2, 1, 4, 3), (4, 3)), {"window": 1, "mask": seen[:, None, :4]})
    yield Case(name, "square", ((3, 3), (3, 3), (3, 3)), {"window": 1})
    yield Case(name, "none", ((2, 0, 3), (2, 0, 3), (2, 0, 3)), {"window": 1})
    name = "causal_linear_attention"
    yield Case(name, "plain", ((2, 5, 3), (2, 5, 3), (2, 5, 4)))
    yield Case(name, "no-batch", ((5, 3), (5, 3), (5, 2)))
    yield Case(name, "mask", (x, x, x), {"mask": seen})
    yield Case(name, "one", ((1, 1), (1, 1), (1, 1)))
    yield Case(name, "square", ((3, 3), (3, 3), (3, 3)))
    yield Case(name, "chunks", ((130, 2), (130, 2), (130, 1)))
    yield Case(name, "chunks-mask", ((66, 2), (66, 2), (66, 1)), {"mask": np.arange(66) % 3 > 0})
    yield Case(name, "none", ((2, 0, 3), (2, 0, 3), (2, 0, 4)))


def _square() -> Iterator[Case]:
    """Gradients with two axes of one size, where a transposed one would fit."""
    square, ids = (3, 3), np.array([2, 0, 0])
    mask = np.array([[True, False, True], [True, True, False], [True, True, True]])
    yield Case("scaled_dot_product_attention", "square", (square, square, square, square), {"mask": mask})
    yield Case("where", "square", (square, square), {"condition": mask})
    yield Case("masked_fill", "square", (square,), {"mask": mask, "value": 0.0})
    yield Case("cast", "square", (square,), {"dtype": np.dtype("float64")})
    yield Case("getitem", "square", (square,), {"index": ids})
    twice = np.array([[0, 0], [1, 0], [2, 2]])
    for add in (False, True):
        index = twice if add else np.array([[0, 2], [1, 0], [2, 1]])  # where one comes twice, only the last is put
        for axis, shape in ((1, (3, 2)), (1, (3, 4)), (0, (4, 2))):
            constants = {"axis": axis, "index": index, "add": add}
            x = (3, 3) if axis else (4, 2)
            yield Case("scatter", f"add{add}-axis{axis}-{shape_id(shape)}", (x, shape), constants)
        yield Case("scatter", f"add{add}-number", ((3, 3), 0.7), {"axis": 1, "index": index, "add": add})
        yield Case("scatter", f"add{add}-0d", ((), ()), {"axis": 0, "index": np.array(0), "add": add})
        yield Case("scatter", f"add{add}-1d", ((5,), (2,)), {"axis": 0, "index": np.array([3, 1]), "add": add})
    whole, mask = (slice(None), slice(None)), np.eye(3, dtype=bool)
    for name, index, shape in (
        ("row", 1, (3,)), ("number", (0, 2), ()), ("slice", slice(1, None), (2, 3)), ("broadcast", slice(None), (3,)),
        ("column", (slice(None), 0), (3,)), ("lists", (np.array([0, 2]), np.array([1, 1])), (2,)), ("mask", mask, (3,)),
        ("spread", (slice(None), np.array([2, 0])), (3, 1)), ("all", ..., (3, 3)), ("none", whole, (1, 3)),
    ):  # fmt: skip
        yield Case("setitem", name, ((3, 3), shape), {"index": index})
    yield Case("setitem", "constant", ((3, 3), 0.5), {"index": mask})
    yield Case("setitem", "0d", ((), ()), {"index": ...})
    for name, shape, size, stride, dilation in (
        ("1d", (2, 7), (3,), (1,), (1,)), ("apart", (2, 7), (2,), (3,), (1,)), ("dilated", (7,), (3,), (1,), (2,)),
        ("2d", (2, 4, 5), (2, 3), (1, 1), (1, 1)), ("strided", (1, 5, 5), (2, 2), (2, 1), (1, 2)),
        ("whole", (3, 3), (3, 3), (1, 1), (1, 1)), ("square", (3, 3), (1,), (1,), (1,)),
        ("empty", (0, 4), (2,), (1,), (1,)),
    ):  # fmt: skip
        yield Case("windows", name, (shape,), {"size": size, "stride": stride, "dilation": dilation})
    yield Case("gather", "square", (square,), {"axis": 1, "index": np.array([[0, 0], [1, 0], [2, 2]])})
    yield Case("cross_entropy", "square", (square,), {"target": ids})
    yield Case("nll_loss", "square", (square,), {"target": ids})
    yield Case("bce_with_logits", "square", (square, mask.astype(float)))
    yield Case("prod", "square", (square,), {"axis": 0})
    yield Case("reshape", "square", (square,), {"shape": (9,)})
    yield Case("permute", "square", ((2, 3, 3),), {"dims": (1, 0, 2)})
    yield Case("squeeze", "square", ((3, 3, 1),))
    yield Case("unsqueeze", "square", (square,), {"axis": 1})
    yield Case("expand", "square", (square,), {"shape": (2, 3, 3)})
    yield Case("cat", "square", (square, square))
    yield Case("stack", "square", (square, square))
    yield Case("roll", "square", (square,), {"shifts": 1, "axis": 1})


_GROUPS: tuple[Callable[[], Iterator[Case]], ...] = (
    _unary, _binary, _reductions, _products, _indexing, _shapes, _losses, _norms, _attention, _efficient_attention,
    _square,
)  # fmt: skip
CASES = [case for group in _GROUPS for case in group()]
for _case in CASES:
    for _value in _case.constants.values():
        read_only(_value)


# The check


def differentiable(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def cotangent(z: Any, case: Case) -> np.ndarray:
    """A random gradient of the output, read-only: a sum of the output would hide errors."""
    rng = np.random.default_rng(zlib.crc32(f"dz {case}".encode()))
    dz = np.asarray(rng.normal(size=np.shape(z)))
    return read_only(np.asarray(dz + 0.2 * np.sign(dz), dtype=np.asarray(z).dtype))


def differences(case: Case, dz: np.ndarray) -> list[np.ndarray | None]:
    """d sum(z * dz) / dx for every element of every input, by central differences."""
    inputs = case.inputs()
    found: list[np.ndarray | None] = []
    for place, x in enumerate(inputs):
        if not differentiable(x):
            found.append(None)
            continue
        moved = [*inputs[:place], x.copy(), *inputs[place + 1 :]]

        def total(moved: list[Any] = moved) -> float:
            return float(np.vdot(dz, OPS[case.op](*moved, **case.constants)[0]))

        dx = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            if np.isfinite(x[i]):  # an infinity, as in a mask, cannot be moved: its slope is 0
                dx[i] = slope(total, moved[place], i, STEP).central
        found.append(dx)
    return found


@cache
def _differences(number: int) -> list[np.ndarray | None]:
    case = CASES[number]
    z, _ = OPS[case.op](*case.inputs(), **case.constants)
    return differences(case, cotangent(z, case))


Gradients = tuple["np.ndarray | None", ...]
NUMBERS = {str(case): number for number, case in enumerate(CASES)}


def check(
    case: Case,
    change: Callable[[Gradients], Gradients] | None = None,
    fit: Callable[[np.ndarray, tuple[int, ...]], np.ndarray] = unbroadcast,
) -> None:
    """Raise AssertionError where the op's gradients, summed back to the inputs' shapes, are not the differences.

    ``change`` is put after the op's backward and ``fit`` in place of un-broadcasting, to see that errors are caught.
    """
    inputs = case.inputs()
    z, backward = OPS[case.op](*inputs, **case.constants)
    grads = backward(cotangent(z, case))
    if change is not None:
        grads = change(grads)
    assert len(grads) >= len(inputs), f"{case}: {len(grads)} gradients for {len(inputs)} inputs"
    assert all(dx is None for dx in grads[len(inputs) :]), f"{case}: a gradient for an input that was not given"
    for place, (x, dx, expected) in enumerate(zip(inputs, grads, _differences(NUMBERS[str(case)]), strict=False)):
        if expected is None:
            continue
        assert dx is not None, f"{case}: no gradient for input {place}"
        try:
            dx = fit(np.asarray(dx), x.shape)
        except ValueError as error:
            raise AssertionError(f"{case}: input {place}: {error}") from error
        assert dx.shape == x.shape, f"{case}: gradient of shape {dx.shape} for input {place} of shape {x.shape}"
        assert close(dx, expected), f"{case}: input {place}\nbackward gives\n{dx}\ndifferences give\n{expected}"


def close(dx: np.ndarray, expected: np.ndarray, times: float = 1) -> bool:
    return np.allclose(dx, expected, rtol=times * TOLERANCE, atol=times * TOLERANCE)
