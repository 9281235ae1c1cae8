"""The learner's functions in the place of the library's: through the table that chooses what runs for an op.

``with your_ops() as mine:`` judges the chapters of the folder, and lets what holds run in everything that is computed
inside; ``mine.text()`` says which ops ran, and whose they were.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import state
from minigrad.core.op import FACTS, NO_FACTS, RUNS
from minigrad.learn.exercise import exercises
from minigrad.learn.judge import judge
from minigrad.learn.verdict import HOLDS
from minigrad.ops import Array, Op

Taken = dict[str, Callable[..., Any]]  # the learner's functions that hold, by name


def one(gradient: Any) -> Any:
    """The gradient of an op of one input, which may be returned in a tuple."""
    return gradient[0] if isinstance(gradient, tuple | list) else gradient


def in_its_dtype(run: Op) -> Op:
    """The same op, with a result in the dtype of its first input: np.sqrt of a number makes float64 of float32."""

    def cast(x: Array, *inputs: Any, **constants: Any) -> Any:
        z, backward = run(x, *inputs, **constants)
        return np.asarray(z, x.dtype), backward

    return cast


def embedding(mine: Taken) -> Op:
    def run(weight: Array, *, ids: Array, padding_idx: int | None = None) -> Any:
        z, back = mine["embedding"](weight, ids.reshape(-1))

        def backward(dz: Array) -> Any:
            return (one(back(dz.reshape(-1, weight.shape[1]))),)

        return z.reshape(*ids.shape, weight.shape[1]), backward

    return run


def linear(mine: Taken) -> Op:
    def run(x: Array, weight: Array, bias: Array | None = None) -> Any:
        z, back = mine["matmul"](x.reshape(-1, x.shape[-1]), weight.T)
        z, back_bias = (z, None) if bias is None else mine["add_bias"](z, bias)

        def backward(dz: Array) -> Any:
            dz, dbias = dz.reshape(-1, dz.shape[-1]), None
            if back_bias is not None:
                dz, dbias = back_bias(dz)
            dx, dw = back(dz)
            return dx.reshape(x.shape), dw.T, dbias

        return z.reshape(*x.shape[:-1], weight.shape[0]), backward

    return run


def layer_norm(mine: Taken) -> Op:
    def run(x: Array, weight: Array, bias: Array, *, ndim: int = 1, eps: float = 1e-5) -> Any:
        z, back = mine["layer_norm"](x.reshape(-1, x.shape[-1]), weight, bias)

        def backward(dz: Array) -> Any:
            dx, dweight, dbias = back(dz.reshape(-1, dz.shape[-1]))
            return dx.reshape(x.shape), dweight, dbias

        return z.reshape(x.shape), backward

    return run


def attention(mine: Taken) -> Op:
    def run(query: Array, key: Array, value: Array, bias: Any = None, *, is_causal: bool = False, **more: Any) -> Any:
        """A head at a time: (B, H, T, D). What a mask or dropout asks for is the library's."""
        if any(x is not None for x in (bias, *more.values())):
            return ops.scaled_dot_product_attention(query, key, value, bias, is_causal=is_causal, **more)
        head = mine["causal_attention" if is_causal else "attention"]
        places = list(np.ndindex(*query.shape[:-2]))
        done = {place: head(query[place], key[place], value[place]) for place in places}

        def backward(dz: Array) -> Any:
            gradients = tuple(np.empty_like(x) for x in (query, key, value))
            for place in places:
                for whole, part in zip(gradients, done[place][1](dz[place]), strict=True):
                    whole[place] = part
            return (*gradients, None)

        return np.array([done[place][0] for place in places]).reshape(*query.shape[:-1], -1), backward

    return run


def softmax(mine: Taken) -> Op:
    def run(x: Array, *, axis: int = -1) -> Any:
        if axis not in (-1, x.ndim - 1):
            return ops.softmax(x, axis=axis)
        z, back = mine["softmax"](x)
        return z, lambda dz: (one(back(dz)),)

    return run


def cross_entropy(mine: Taken) -> Op:
    def run(x: Array, *, target: Array, ignore_index: int = -100, reduction: str = "mean") -> Any:
        if x.ndim != 2 or reduction != "mean" or (target == ignore_index).any():
            return ops.cross_entropy(x, target=target, ignore_index=ignore_index, reduction=reduction)
        z, back = mine["cross_entropy"](x, target)
        return z, lambda dz: (one(back(dz)),)

    return run


def gelu(mine: Taken) -> Op:
    def run(x: Array) -> Any:
        z, back = mine["gelu"](x)
        return z, lambda dz: (one(back(dz)),)

    return run


# Of the library, from which chapter, which functions, and how they stand in for it.
PLACES: tuple[tuple[Op, str, tuple[str, ...], Callable[[Taken], Op]], ...] = (
    (ops.embedding, "chapter04", ("embedding",), embedding),
    (ops.linear, "chapter04", ("matmul", "add_bias"), linear),
    (ops.softmax, "chapter05", ("softmax",), softmax),
    (ops.cross_entropy, "chapter05", ("cross_entropy",), cross_entropy),
    (ops.layer_norm, "chapter06", ("layer_norm",), layer_norm),
    (ops.scaled_dot_product_attention, "chapter09", ("attention", "causal_attention"), attention),
    (ops.gelu_tanh, "chapter12", ("gelu",), gelu),
)


class YourOps:
    """The functions of a folder's chapters, in the place of the library's while the block lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: dict[str, str] = {}  # an op of the library -> why it stays
        self.ran: dict[str, bool] = {}  # an op that ran -> whether it was the learner's

    def __enter__(self) -> YourOps:
        self.before, self.observer = dict(RUNS), state.observer
        self.mine: dict[Op, Op] = {}
        for op, chapter, names, adapter in PLACES:
            taken = self.taken(chapter, names)
            if isinstance(taken, str):
                self.missing[op.__name__] = taken
            else:
                self.mine[op] = adapter(taken)
        RUNS.update({op: in_its_dtype(run) for op, run in self.mine.items()})
        state.observer = self.see
        return self

    def __exit__(self, *_: object) -> None:
        RUNS.clear()
        RUNS.update(self.before)
        state.observer = self.observer

    def see(self, op: Op, inputs: Any, constants: Any, out: Any) -> None:
        if state.grad_enabled:  # what trains
            self.ran[op.__name__] = op in self.mine
        if self.observer is not None:
            self.observer(op, inputs, constants, out)

    def taken(self, chapter: str, names: tuple[str, ...]) -> Taken | str:
        """The functions of these names, or why they cannot be had."""
        file = self.folder / f"{chapter}.py"
        if not file.exists():
            return f"{chapter} is not begun"
        try:
            module = loaded(file)
        except Exception as error:
            return f"{file.name} stops with {type(error).__name__}"
        wanted = [exercise for exercise in exercises(chapter) if exercise.name in names]
        for exercise in wanted:
            verdict = judge(exercise, vars(module), str(file))
            if verdict.state != HOLDS:
                return f"{exercise.name} of {chapter} is {verdict.state}"
        return {name: getattr(module, name) for name in names}

    def text(self) -> str:
        """Which ops computed, and whose they were; those that only move numbers, and add, are not counted."""
        counted = {name: own for name, own in self.ran.items() if not carries(name)}
        own = [name for name, mine in counted.items() if mine]
        lines = [f"{len(own)} of {len(counted)} ops are yours", *(f"  {name}" for name in own)]
        others = {name: self.missing.get(name, "no chapter writes it") for name in counted if name not in own}
        return "\n".join([*lines, *(f"  {name} is the library's: {why}" for name, why in others.items())])


def carries(name: str) -> bool:
    """Whether an op only adds, or moves numbers about."""
    op = getattr(ops, name)
    facts = FACTS.get(op, NO_FACTS)
    return facts.reshapes or facts.view or name in ("add", "getitem", "cat")


def loaded(file: Path) -> ModuleType:
    """A chapter as a module: the one that runs, or is imported already, or else imported now."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and Path(str(main.__file__)).resolve() == file.resolve():
        return main
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        known = sys.modules.get(file.stem)
        if known is not None and Path(str(known.__file__)).resolve() != file.resolve():
            del sys.modules[file.stem]
        return importlib.import_module(file.stem)
    finally:
        sys.path.remove(str(file.parent.resolve()))


def your_ops(folder: str | Path | None = None) -> YourOps:
    """The chapters of a folder, by default that of the script which runs, in place of the library's ops."""
    if folder is None:
        script = getattr(sys.modules["__main__"], "__file__", None)
        folder = Path(script).resolve().parent if script else Path.cwd()
    return YourOps(Path(folder))
