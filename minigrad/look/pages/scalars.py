"""The picture of a graph number by number, as for one neuron: each with its value and its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.look.pages.picture import (
    Arrow,
    Box,
    Picture,
    Record,
    describe_op,
    describe_tensor,
    facts_of,
    leaf_kind,
    short,
    symbol,
)
from minigrad.look.recording import OpRecord

SCALARS = 200  # the most numbers in a picture


def draw_scalars(record: Record, limit: int = SCALARS) -> Picture:
    """The picture in which every single number is a box, with its value and its gradient.

    Sums of products (linear, matmul) are spelled out. Raises ValueError for more than ``limit`` numbers.
    """
    trace = record.trace
    count = sum(math.prod(trace.tensors[t].value.shape) for t in _tensors(record))
    if count > limit:
        raise ValueError(
            f"the picture of single numbers would have {count:,} of them, more than limit={limit}: "
            "draw level='op', or one neuron instead of a network"
        )
    picture = Picture(record.label(record.root), across=True)
    cells: dict[int, list[str]] = {}  # tensor -> box ids by flat index

    def add(kind: str, lines: list[str], tooltip: list[str]) -> str:
        picture.boxes.append(Box(f"n{len(picture.boxes)}", kind, lines, tooltip=tooltip))
        return picture.boxes[-1].id

    def value_of(tensor: int, i: int) -> Any:
        data = trace.tensors[tensor].value.data
        return None if data is None else data[i]

    def cell(tensor: int, i: int) -> str:
        t = trace.tensors[tensor]
        index = ", ".join(str(int(n)) for n in np.unravel_index(i, t.value.shape)) if t.value.shape else ""
        gradient = record.gradients.get(tensor)
        known = gradient is not None and gradient.data is not None
        name = record.names.get(tensor)
        name = f"{name}[{index}]" if name and index else name
        lines = [name or "", f"data {short(value_of(tensor, i))}" if value_of(tensor, i) is not None else "data ?"]
        if t.kind != "constant":
            lines.append(f"grad {short(gradient.data[i])}" if known else "grad ?")  # type: ignore[index,union-attr]
        kind = "result" if tensor == record.root else "value" if t.kind == "result" else leaf_kind(t)
        return add(kind, [line for line in lines if line], describe_tensor(record, tensor))

    def cells_of(tensor: int) -> list[str]:
        if tensor not in cells:
            cells[tensor] = [cell(tensor, i) for i in range(math.prod(trace.tensors[tensor].value.shape))]
        return cells[tensor]

    def circle(op: OpRecord, symbol: str) -> str:
        return add("op", [symbol], describe_op(record, op))

    for op in record.ops:
        sources: list[list[str]] = []
        for given in op.inputs:
            if "tensor" in given:
                sources.append(cells_of(given["tensor"]))
            elif given["number"] is not None:
                sources.append([add("constant", [short(given["number"])], ["a plain number"])])
            else:
                sources.append([])
        shapes = [tuple(trace.tensors[i["tensor"]].value.shape) if "tensor" in i else () for i in op.inputs]
        shape = tuple(trace.tensors[op.output].value.shape)
        moved = _moved(op, shapes[0])
        if moved is not None:
            cells[op.output] = [sources[0][i] for i in moved]
            continue
        results = cells_of(op.output)
        products = _products(op, shapes) if all(sources[:2]) else None
        for i, result in enumerate(results):
            sign = {"linear": "Σ", "matmul": "Σ", "sum": "Σ"}.get(op.op, symbol(op.op))
            node = circle(op, sign)
            picture.arrows.append(Arrow(node, result))
            if products is not None:
                for a, b in products[i]:
                    times = circle(op, "×")  # noqa: RUF001
                    picture.arrows += [
                        Arrow(sources[0][a], times),
                        Arrow(sources[1][b], times, kind="parameter"),
                        Arrow(times, node),
                    ]
                extra = [sources[2][i % len(sources[2])]] if len(sources) > 2 and sources[2] else []
            else:
                extra = [source[j] for source, needed in zip(sources, _needs(op, shapes, shape, i), strict=True)
                         for j in needed if source]  # fmt: skip
            picture.arrows += [Arrow(tail, node) for tail in extra]
    if any(trace.tensors[op.output].value.data is None for op in record.ops):
        picture.notes.append("values of results are known to a trace alone: with minigrad.trace() as t: ...")
    if not record.gradients:
        picture.notes.append("gradients not computed: call backward() while tracing")
    return picture


def _tensors(record: Record) -> set[int]:
    return {i["tensor"] for op in record.ops for i in op.inputs if "tensor" in i} | {op.output for op in record.ops}


def _moved(op: OpRecord, shape: tuple[int, ...]) -> list[int] | None:
    """For an op that makes no new numbers: which input number stands at each place of the result."""
    if not facts_of(op.op).reshapes:
        return None
    constants = {k: tuple(v) if isinstance(v, list) else v for k, v in op.constants.items()}
    places = np.arange(math.prod(shape)).reshape(shape)
    return [int(i) for i in np.ravel(ops.OPS[op.op](places, **constants)[0])]


def _products(op: OpRecord, shapes: list[tuple[int, ...]]) -> list[list[tuple[int, int]]] | None:
    """For a sum of products: the pairs of flat indices of the factors, for each number of the result."""
    if op.op == "linear" and len(shapes[0]) <= 2:
        n, m = shapes[0][-1], shapes[1][0]
        return [[(r * n + k, c * n + k) for k in range(n)] for r in range(math.prod(shapes[0][:-1])) for c in range(m)]
    if op.op == "matmul" and len(shapes[0]) <= 2 and len(shapes[1]) <= 2:
        n = shapes[0][-1]
        m = shapes[1][1] if len(shapes[1]) == 2 else 1
        return [[(r * n + k, k * m + c) for k in range(n)] for r in range(math.prod(shapes[0][:-1])) for c in range(m)]
    return None


def _needs(op: OpRecord, shapes: list[tuple[int, ...]], shape: tuple[int, ...], i: int) -> list[list[int]]:
    """Per input, the flat indices that number i of the result is made of; all of them where the op is not known."""
    if facts_of(op.op).elementwise:
        return [[int(np.broadcast_to(np.arange(math.prod(s)).reshape(s), shape).flat[i])] for s in shapes]
    if facts_of(op.op).reduces:
        axis = op.constants.get("axis")
        axis = tuple(axis) if isinstance(axis, list) else axis
        kept = np.sum(np.zeros(shapes[0]), axis=axis, keepdims=True)
        where = np.broadcast_to(np.arange(kept.size).reshape(kept.shape), shapes[0]).ravel()
        return [[int(j) for j in np.flatnonzero(where == i)]]
    return [list(range(math.prod(s))) for s in shapes]
