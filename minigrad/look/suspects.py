"""Likely wrong gradients of an op, built from its own forward and its slopes: what backward gave is held against each.

No list of mistakes by op. The forward runs on moved inputs (all its slopes), and on traced arrays (its inner steps, and
what each path from an input to the result adds to the gradient). A mistake is named where it gives backward's numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations, product
from math import isclose
from typing import Any

import numpy as np

from minigrad.core.graph import Node, state, unbroadcast
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.higher.again import nodes_behind
from minigrad.higher.traced import Traced
from minigrad.look.differences import step_for
from minigrad.look.inner import Inner, in_small_steps
from minigrad.torch.grad_mode import enable_grad

MOST = 300_000  # numbers in a table of slopes; beyond, nothing is suspected
FEWEST = 3  # numbers that must agree
LONGEST = 60  # inner steps of a forward that is followed
REDUCED = {"sum": "sum", "mean": "mean", "max": "maximum", "min": "minimum", "var": "variance", "std": "deviation",
           "logsumexp": "log-sum-exp", "norm": "length", "prod": "product"}  # fmt: skip
Suspect = tuple[Array, str]  # a gradient, and the sentence of the mistake that gives it


@dataclass
class Suspects:
    """An op by itself: its forward as a function of arrays, what it ran on, and the gradient dz of its result."""

    forward: Callable[..., Any]
    arrays: Sequence[Any]
    names: Sequence[str]
    dz: Array
    on_tensors: Callable[..., Any] | None = None  # the forward, where it is written with tensors
    atol: float = 1e-5
    rtol: float = 1e-3

    def name(self, i: int, given: Array, among: Array | None = None) -> str | None:
        """The sentence of the mistake that gives operand i the gradient ``given``; None where none is known."""
        x = self.arrays[i]
        among = np.ones(x.shape, dtype=bool) if among is None else among
        kinds = (
            self.elementwise, self.products, self.structure, self.spread, self.others, self.relatives, self.factors,
            self.paths, self.plainest,
        )  # fmt: skip
        with np.errstate(all="ignore"):
            try:
                if given.shape != x.shape or x.size * self.dz.size > MOST or among.sum() < FEWEST or not given.any():
                    return None
                right = self.gradient(i)
                if not np.isfinite(right).all() or np.allclose(right, given, self.rtol, self.atol):
                    return None
                for kind in kinds:
                    for suspect, sentence in kind(i, given):
                        if suspect.shape == x.shape and self.alike(suspect[among], given[among]):
                            return sentence
            except (ArithmeticError, TypeError, ValueError, IndexError):
                pass  # nothing is known of a forward that cannot be moved or followed
        return None

    def alike(self, a: Array, b: Array) -> bool:
        size = float(np.abs(b).max(initial=0))
        return bool(np.isfinite(a).all() and np.abs(a - b).max(initial=0) <= 1e-4 * size + 1e-9)

    # The slopes of the forward

    @cached_property
    def z(self) -> Array:
        return np.asarray(self.run(self.arrays), dtype=np.float64)

    def run(self, arrays: Sequence[Any]) -> Any:
        before, state.observer = state.observer, None
        try:
            return self.forward(*arrays)
        finally:
            state.observer = before

    @cached_property
    def slopes(self) -> dict[int, Array]:
        """dz / dx for each floating operand x: one row per number of the result, one column per number of x."""
        found = {}
        for i, x in enumerate(self.arrays):
            if isinstance(x, np.ndarray) and x.dtype.kind == "f":
                columns, step = [], step_for(np.float64)
                for place in np.ndindex(*x.shape):
                    moved = [np.array(y) if k == i else y for k, y in enumerate(self.arrays)]
                    pair = []
                    for sign in (1, -1):
                        moved[i][place] = x[place] + sign * step
                        pair.append(np.array(self.run(moved), dtype=np.float64).ravel())
                    columns.append((pair[0] - pair[1]) / (2 * step))
                found[i] = np.stack(columns, 1) if columns else np.zeros((self.dz.size, 0))
        return found

    def gradient(self, i: int, dz: Array | None = None) -> Array:
        """The right gradient of operand i, for dz or another gradient of the result."""
        dz = self.dz if dz is None else dz
        return np.asarray(np.ravel(dz) @ self.slopes[i]).reshape(self.arrays[i].shape)

    def diagonal(self, i: int) -> Array | None:
        """The slope of each number of the result by its own number of x; None where the shapes differ."""
        x = self.arrays[i]
        return np.diagonal(self.slopes[i]).reshape(x.shape) if x.shape == self.dz.shape else None

    def is_elementwise(self, i: int) -> bool:
        own = self.diagonal(i)
        return own is not None and bool(np.allclose(self.slopes[i], np.diag(own.ravel()), atol=1e-7))

    # What may have gone wrong

    def elementwise(self, i: int, given: Array) -> Iterator[Suspect]:
        """One number in, one out: the slope is a function of x and z, and mixed up with others."""
        own, x, z, dz, name = self.diagonal(i), self.arrays[i], self.z, self.dz, self.names[i]
        if own is None or not self.is_elementwise(i):
            return
        flat = np.abs(own) < 1e-9
        if flat.any() and not flat.all():
            scale = np.unique(np.round(own[~flat], 6))
            for value in scale if len(scale) <= 2 else ():
                yield dz * np.where(flat, value, 0), "the mask is on the wrong side: dz goes where the function is flat"
            yield dz, "dz is passed on everywhere, also where the function is flat: a mask is missing"
        yield dz, "dz is passed on as it is: the slope of the function is left out"
        yield own, "dz is forgotten: this is the slope alone, not dz times it"
        yield dz * z, "dz times the result: the function itself in place of its slope"
        yield dz / own, "dz is divided by the slope, not multiplied by it"
        yield dz * own * own, "dz is multiplied by the slope twice"
        yield dz * np.abs(own), "the sign of the slope is lost"
        yield dz * dz * own, "dz is multiplied in twice"
        for of, at, sentence in (
            (z, x, f"the slope is written for the result z, but computed from the input {name}"),
            (x, z, f"the slope is written for the input {name}, but computed from the result z"),
        ):
            shape = _simple(of, own)
            if shape is not None:
                yield dz * shape(at), sentence
        moved = self.shaped_slope(i, z)
        if moved is not None:
            yield (
                dz * moved,
                f"the slope is taken at the result z, not at the input {name}: the function is applied twice",
            )
        yield from self.monomials(i, given, own)
        for of, word in ((z, "z"), (x, name)):
            right, used = _short(of, own), _short(of, given / dz)
            if right is not None and used is not None:
                yield given, f"d{name} is dz * ({_in_words(*used, word)}), not dz * ({_in_words(*right, word)})"

    def shaped_slope(self, i: int, at: Array) -> Array | None:
        """The slope of an elementwise function of one operand at other numbers."""
        if sum(isinstance(x, np.ndarray) for x in self.arrays) != 1:
            return None
        step = step_for(np.float64)
        up, down = (
            np.asarray(self.run([at + s * step if k == i else x for k, x in enumerate(self.arrays)])) for s in (1, -1)
        )
        return (up - down) / (2 * step)

    def monomials(self, i: int, given: Array, own: Array) -> Iterator[Suspect]:
        """Where both the slope and what was used for it are products of powers of x, y and z."""
        factors = {
            self.names[k]: x for k, x in enumerate(self.arrays) if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        }
        factors = {
            name: np.broadcast_to(x, self.dz.shape) for name, x in factors.items() if _fits(x.shape, self.dz.shape)
        }
        if len(factors) > 2 or given.size < 2 * FEWEST or not self.dz.all():
            return
        right, used = _monomial(own, factors), _monomial(given / self.dz, factors)
        if not (right and used) and len(factors) == 1:  # in the result, as for a root
            factors = {"z": self.z}
            right, used = _monomial(own, factors), _monomial(given / self.dz, factors)
        if right and used:
            yield given, f"d{self.names[i]} is {_times(used)}, and should be {_times(right)}"

    def structure(self, i: int, given: Array) -> Iterator[Suspect]:
        """Each number of x has a share in several of z: a part of the table of slopes is used, or dz is not."""
        x, dz, slopes = self.arrays[i], self.dz, self.slopes[i]
        own = self.diagonal(i)
        ones = np.ones_like(dz)
        yield self.gradient(i, ones), "dz is forgotten: this is the gradient of the sum of the results"
        if own is not None and not self.is_elementwise(i):
            alone = "only what each number does to its own result: it also moves the other results of its row"
            yield dz * own, f"{alone}, through what they share"
            yield self.gradient(i) - dz * own, "what each number does to its own result is left out"
            yield dz, "dz is passed on as it is: the slope of the function is left out"
            yield own, "dz is forgotten: this is the slope of each result by its own number alone"
            yield (
                (slopes @ dz.ravel()).reshape(x.shape),
                "the Jacobian, the table of slopes, is multiplied from the wrong side: it is not transposed",
            )
        if dz.size < x.size and (spread := _spread(dz, x.shape)) is not None:
            taking = int((np.abs(slopes) > 1e-9).any(0).sum())
            if taking < x.size:
                yield spread, f"dz goes to all {x.size} numbers, but only {taking} of them had a part in the result"
            yield spread, "dz is spread as it is: the slope of the function is left out"
            for n in {x.size // max(dz.size, 1), *x.shape} - {0, 1}:
                yield (
                    spread / n,
                    f"dz / {n} goes to all {x.size} numbers, as if of a mean: only {taking} of them had a part",
                )
            mask = (np.abs(slopes) > 1e-9).any(0).reshape(x.shape)
            yield spread * ~mask, "the mask is on the wrong side: dz goes to what had no part in the result"

    def spread(self, i: int, given: Array) -> Iterator[Suspect]:
        """An operand that was used in many places gets the sum over these: here over other axes."""
        x, dz = self.arrays[i], self.dz
        if x.size * dz.size == 0 or self.is_elementwise(i) or (np.abs(self.slopes[i]) > 1e-9).sum(1).max() > 1:
            return
        every = dz * self.slopes[i].sum(1).reshape(dz.shape)  # the part of each use
        uses = np.abs(self.slopes[i]) > 1e-9
        for which, kept in (("last", dz.size - 1 - uses[::-1].argmax(0)), ("first", uses.argmax(0))):
            only = np.where(uses.any(0), every.ravel()[kept], 0).reshape(x.shape)
            yield (
                only,
                f"only the {which} use of each number of {self.names[i]} counts: all are to be summed, as by np.add.at",
            )
        for count in range(1, dz.ndim + 1):
            for some in combinations(range(dz.ndim), count):
                summed = every.sum(some)
                if summed.size == x.size:
                    over = ", ".join(map(str, some))
                    yield (
                        summed.reshape(x.shape),
                        f"summed over axis {over} of dz: not over the uses of {self.names[i]}",
                    )
                    yield (
                        summed.reshape(x.shape) / dz.size * x.size,
                        f"averaged over axis {over} of dz, which is the wrong one",
                    )

    def factors(self, i: int, given: Array) -> Iterator[Suspect]:
        """A factor that is the same along an axis is missing, or there once too often."""
        right = self.gradient(i)
        if right.ndim < 2:
            return
        inner = list(self.traced.values.items()) if self.traced is not None else []
        full = [(self.z, "the result z"), *((value, f"what {node.op.__name__} gave") for node, value in inner if node)]
        for value, what in full:
            if value.shape == right.shape and np.ptp(value) > 1e-9:
                yield right / value, f"it is not multiplied by {what}"
                yield right * value, f"it is multiplied by {what} once too often, or not divided by it"
        if not right.all():
            return
        ratio = given / right
        if not ratio.all() or np.isclose(ratio, 1).any():  # right in places
            return
        for axis in range(right.ndim):
            level = ratio.mean(axis, keepdims=True)
            if right.shape[axis] < FEWEST or np.abs(ratio - level).max() > 1e-5 * np.abs(ratio).max():
                continue
            for node, value in inner:
                if value.shape == level.shape:
                    for power, how in (
                        (1, "divided by"),
                        (-1, "multiplied by"),
                        (2, "divided by the square of"),
                        (0.5, "divided by the root of"),
                    ):
                        if self.alike(level, np.abs(value) ** power):
                            yield given, f"it is not {how} what {node.op.__name__} gave, along axis {axis}"
            yield (
                given,
                f"a factor is wrong that is the same along axis {axis}, from {level.min():.4g} to {level.max():.4g}",
            )

    def relatives(self, i: int, given: Array) -> Iterator[Suspect]:
        """The gradient of a related function: of exp, log, square or root of this one."""
        z, dz = self.z, self.dz
        for slope, what in ((np.exp(z), "exp"), (1 / z, "log"), (2 * z, "square"), (0.5 / np.sqrt(np.abs(z)), "root")):
            if np.isfinite(slope).all():
                yield (
                    self.gradient(i, dz * slope),
                    f"this is the gradient of the {what} of the result, not of the result",
                )
        yield self.gradient(i, dz / z.size), f"dz is divided by {z.size}, the number of results"

    def others(self, i: int, given: Array) -> Iterator[Suspect]:
        """The gradient of another operand."""
        x = self.arrays[i]
        for k in self.slopes:
            if k != i:
                theirs = self.gradient(k)
                for sign, word in ((1, ""), (-1, "minus ")):
                    made = _onto(sign * theirs, x.shape)
                    if made is not None:
                        yield made, f"this is {word}the gradient of the other operand, {self.names[k]}"
        for k, y in enumerate(self.arrays):
            if isinstance(y, np.ndarray) and y.dtype.kind == "f" and _fits(y.shape, self.dz.shape):
                made = _onto(self.dz * y, x.shape)
                if made is not None:
                    whose = "itself" if k == i else self.names[k]
                    yield made, f"this is dz times {whose}"

    # Paths: the forward on traced arrays

    @cached_property
    def traced(self) -> Inner | None:
        """The inner steps of the forward; None where they cannot be followed."""
        leaves = {i: Tensor(np.array(self.arrays[i]), requires_grad=True) for i in self.slopes}
        values: dict[Any, Array] = {}

        def note(op: Any, inputs: Any, constants: Any, out: Tensor) -> None:
            values[out._node] = out._array

        before, state.observer = state.observer, note
        try:
            with enable_grad():
                if self.on_tensors is None:
                    z = self.forward(*[Traced(leaves[i]) if i in leaves else x for i, x in enumerate(self.arrays)])
                else:
                    made = self.on_tensors(*[leaves.get(i, x) for i, x in enumerate(self.arrays)])
                    z = in_small_steps(made) if isinstance(made, Tensor) and made._node is not None else None
        except (TypeError, ValueError, AttributeError):
            return None
        finally:
            state.observer = before
        root = z.tensor._node if isinstance(z, Traced) else None
        if root is None or len(nodes := nodes_behind([root])) > LONGEST:
            return None
        inner = Inner(nodes, leaves, values, self.dz)
        for node, k in inner.edges():  # what cancels, such as the maximum that softmax takes off, is on no path
            if inner.part(node, k) is None:
                inner.dead.add((node, k))
        return inner

    def paths(self, i: int, given: Array) -> Iterator[Suspect]:
        """A path from x to the result is left out, has the wrong sign or size, or is summed over the wrong axis."""
        if (inner := self.traced) is None:
            return
        right = inner.walk()[i]
        found: list[tuple[str, Array]] = []
        for edge in inner.edges():
            part = right - inner.walk({edge})[i]
            if np.abs(part).max(initial=0) < 1e-7 or self.alike(part, right):
                continue
            if not any(self.alike(part, other) for _, other in found):
                found.append((self.path(*edge, i), part))
        found.sort(key=lambda path: not any(f" {word} " in path[0] for word in REDUCED.values()))
        for words, part in found:
            yield right - part, f"a path is left out: {words}"
            yield right - 2 * part, f"a path has the wrong sign: {words}"
        for (one, a), (other, b) in combinations(found, 2):
            yield right - a - b, f"two paths are left out: {one}, and {other}"
        for words, part in found:
            yield part, f"this is one path alone: {words}"
            yield from self.counted(given, right, words, part)
        yield from self.missummed(i, given, right)
        kept: dict[Any, Array] = {}
        inner.walk(keep=kept)
        for node, dz in [*kept.items()][1:]:
            end = f"the way from there to {self.names[i]} is left out"
            yield dz, f"this is the gradient of what {node.op.__name__} gave: {end}"
        for early, late, passed in inner.skipping():
            between = [node.op.__name__ for node in inner.nodes if early.order < node.order <= late.order]
            names = ", ".join(dict.fromkeys(reversed(between)))
            yield passed[i], f"the way back through {names} is left out: the gradient is passed on as it is"

    def counted(self, given: Array, right: Array, words: str, part: Array) -> Iterator[Suspect]:
        """A path that has a factor too many, or lacks one."""
        if given.size < 2 * FEWEST:
            return
        for node, value in [*self.traced.values.items()] if self.traced is not None else []:
            if node and value.shape == part.shape and np.ptp(value) > 1e-9:
                for suspect, how in ((part / value, "is not multiplied by"), (part * value, "is multiplied twice by")):
                    yield right - part + suspect, f"a path {how} what {node.op.__name__} gave: {words}"
        times = 1 + float(((given - right) * part).sum() / (part * part).sum())
        sizes = {n for x in (*self.arrays, self.dz) if isinstance(x, np.ndarray) for n in (*x.shape, x.size) if n > 1}
        how = f"{times:.4g}"
        for n in sorted(sizes, reverse=True):
            for factor, written in ((n / (n - 1), f"{n} / {n - 1}"), ((n - 1) / n, f"{n - 1} / {n}")):
                if n > 2 and isclose(times, factor, rel_tol=1e-4):
                    how = f"{written} times, as if {n} and {n - 1} were mixed up, not 1"
            for factor, written in ((n, f"{n}"), (1 / n, f"1 / {n}")):
                if isclose(times, factor, rel_tol=1e-4):
                    how = written
        yield right + (times - 1) * part, f"a path counts {how} times: {words}"

    def missummed(self, i: int, given: Array, right: Array) -> Iterator[Suspect]:
        """What results share gets the sum over those that share it; here over others, or of other terms."""
        inner = self.traced
        assert inner is not None
        edges = [edge for edge in inner.edges() if inner.shared(*edge) is not None][:4]
        moved: dict[tuple[int, ...], list[tuple[Any, Array]]] = {}
        for edge in edges:
            for cut in ({edge}, {*edges}):
                words, rest = self.path(*edge, i), inner.walk({edge})[i]
                for some, extra in self.elsewhere(i, edge, cut):
                    over = "everything" if len(some) > 1 else f"axis {some[0]}" if some else "nothing"
                    yield rest + extra, f"summed over {over}, which is the wrong sum, on a path: {words}"
                    moved.setdefault(some, []).append((edge, extra))
        for some, parts in moved.items():
            over = ", ".join(map(str, some)) or "nothing"
            for (one, a), (two, b) in combinations(parts, 2):
                if one is not two:
                    yield (
                        inner.walk({one, two})[i] + a + b,
                        f"the sums on the paths are taken over axis {over}, the wrong one",
                    )
        for edge in edges:
            shared = inner.shared(*edge)
            assert shared is not None
            spread, scale, value, source = shared
            reduced = tuple(axis for axis, n in enumerate(spread.shape) if n > 1 and value.shape[axis] == 1)
            if source is not inner.leaves.get(i):
                rest = inner.walk({edge})[i]
                part = inner.walk()[i] - rest
                scale = (
                    part / unbroadcast(spread, value.shape) if part.shape == spread.shape else np.zeros(spread.shape)
                )
            if scale.shape == given.shape and scale.all() and min(spread.shape[axis] for axis in reduced) >= FEWEST:
                terms = (given - inner.walk({edge})[i]) / scale
                level = terms.mean(reduced, keepdims=True)
                if np.abs(terms - level).max() < 1e-6 * (1 + np.abs(terms).max()):
                    yield given, f"the wrong terms are summed on a path: {self.path(*edge, i)}"

    def elsewhere(self, i: int, edge: Any, cut: Collection[Any]) -> Iterator[tuple[tuple[int, ...], Array]]:
        """What an edge adds where what is shared there gets the sum over other axes, for each choice of axes."""
        inner = self.traced
        node, k = edge
        shared = inner.shared(node, k, {*cut} - {edge}) if inner is not None else None
        if inner is None or shared is None:
            return
        spread, scale, value, source = shared
        axes = [axis for axis in range(spread.ndim) if spread.shape[axis] > 1]
        reduced = [axis for axis in axes if value.shape[axis] == 1]
        without = inner.walk(cut)[i]
        levels = {id(v): v for v in inner.values.values() if v.shape == value.shape}
        factors = [np.ones(value.shape), *(np.abs(v) ** p for v in levels.values() for p in (1, -1, 0.5, -0.5))]
        for factor in factors:  # what is the same along the sum may stand before or after it
            for some in [*((axis,) for axis in axes), tuple(axes), ()]:
                if list(some) != reduced:
                    other = (spread * factor).sum(some, keepdims=True)
                    size = np.prod([spread.shape[axis] for axis in some], dtype=float)
                    count = np.prod([spread.shape[axis] for axis in reduced], dtype=float) / size
                    for times in {1.0, float(count)}:
                        yield some, inner.walk(cut, (source, times * other * scale / factor))[i] - without

    def path(self, node: Node, k: int, i: int) -> str:
        """A path in words: through what is reduced there, or the ops on the way."""
        at, ops = node.parents[k], [node.op.__name__]
        while type(at) is Node:
            word = REDUCED.get(at.op.__name__)
            if word:
                inner = at.parents[0]
                if word == "mean" and type(inner) is Node and inner.op.__name__ in ("square", "pow", "mul"):
                    before = [p for p in inner.parents if type(p) is Node]
                    word = "variance" if any(p.op.__name__ == "sub" for p in before) else "mean of the squares"
                return f"{self.names[i]} → {word} → result"
            ops.insert(0, at.op.__name__)
            at = next((p for p in at.parents if p is not None), None)
        return " → ".join([self.names[i], *ops[:4], "result"])

    def plainest(self, i: int, given: Array) -> Iterator[Suspect]:
        """What is said where no path explains it, or the forward cannot be followed."""
        off = given - self.gradient(i)
        for axis in range(off.ndim if off.ndim > 1 else 0):
            level = off.mean(axis, keepdims=True)
            if (
                off.shape[axis] >= FEWEST
                and np.ptp(level) > 1e-6
                and np.abs(off - level).max() < 1e-7 * (1 + np.abs(given).max())
            ):
                yield given, f"off by an amount that is the same along axis {axis}, as where a mean is not taken off"
        yield self.dz * self.z, "this is dz times the result: how the numbers of a row move each other is left out"

    # Matrix products

    def products(self, i: int, given: Array) -> Iterator[Suspect]:
        """dz, or a gradient on the way, times a matrix: the wrong one, or not transposed."""
        grads, values = (
            {"dz": self.dz},
            {n: x for n, x in zip(self.names, self.arrays, strict=False) if np.ndim(x) >= 2},
        )
        values["z"] = self.z
        if self.traced is not None:
            kept: dict[Any, Array] = {}
            self.traced.walk(keep=kept)
            for node, dz in list(kept.items())[1:12]:
                if dz.ndim >= 2:
                    value = self.traced.values[node]
                    if (value >= 0).all() and np.allclose(value.sum(-1), 1):
                        values["weights"] = value
                        continue
                    grads[f"(the gradient of what {node.op.__name__} gave)"] = dz
                    values[f"(what {node.op.__name__} gave)"] = value
        if self.dz.ndim < 2 or np.ndim(self.arrays[i]) < 2:
            return
        made = list(self.made(grads, values, self.arrays[i].shape))
        right = self.gradient(i)
        how = next((words for words, array in made if self.alike(array, right)), "")
        for words, array in made:
            yield array, f"d{self.names[i]} is {words}" + (f", and should be {how}" if how else "")

    def made(
        self, grads: dict[str, Array], values: dict[str, Array], shape: tuple[int, ...]
    ) -> Iterator[tuple[str, Array]]:
        inverse = {}
        for name, x in values.items():
            if x.ndim == 2 and x.shape[0] == x.shape[1]:
                with contextlib.suppress(np.linalg.LinAlgError):
                    inverse[f"inv({name})"] = np.linalg.inv(x)
        for (g, dz), (v, x) in product(grads.items(), [*values.items(), *inverse.items()]):
            if dz.ndim < 2:
                continue
            for turn_g, turn_x, first in product((False, True), repeat=3):
                a, b = (dz.swapaxes(-1, -2) if turn_g else dz), (x.swapaxes(-1, -2) if turn_x else x)
                words = [g + ".T" * turn_g, v + ".T" * turn_x]
                if not first:
                    a, b, words = b, a, words[::-1]
                if a.shape[-1] == b.shape[-2] and (array := _onto(_matmul(a, b), shape)) is not None:
                    yield " @ ".join(words), array


def _matmul(a: Array, b: Array) -> Array:
    try:
        return np.asarray(a @ b)
    except ValueError:
        return np.zeros(0)


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether an array of that shape can be broadcast to the whole."""
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(shape[::-1], whole[::-1], strict=False))


def _onto(dx: Array, shape: tuple[int, ...]) -> Array | None:
    """A gradient at another shape: summed where that is smaller; None where it does not fit."""
    if dx.shape == shape:
        return dx
    try:
        return unbroadcast(dx, shape)
    except ValueError:
        return None


def _spread(dz: Array, shape: tuple[int, ...]) -> Array | None:
    """dz at the shape of what it was reduced from, with the reduced axes put back where they fit."""
    axes = [axis for axis in range(len(shape) + 1) if dz.ndim < len(shape)]
    options = [dz, *(np.expand_dims(dz, some) for some in combinations(axes[:-1], len(shape) - dz.ndim))]
    return next(
        (np.array(np.broadcast_to(d, shape)) for d in options if d.ndim <= len(shape) and _fits(d.shape, shape)), None
    )


POWERS = (0, 1), (0, 1, 2), (0, 1, 2, 3), (0, -1), (0, -1, -2)  # of short polynomials


def _simple(t: Array, values: Array) -> Callable[[Array], Array] | None:
    """The short polynomial (also of 1/t) that gives the values at t; None where none does, or they are all equal."""
    found = _short(t, values)
    return None if found is None else partial(_polynomial, weights=found[0], powers=found[1])


def _short(t: Array, values: Array) -> tuple[Array, Sequence[int]] | None:
    """Its weights and powers."""
    if np.ptp(values) < 1e-9 or np.ptp(t) < 1e-9:
        return None
    for powers in POWERS:
        table = np.stack([t.ravel() ** float(p) for p in powers], 1)
        if len(np.unique(t)) <= len(powers) + 1 or not np.isfinite(table).all() or not np.isfinite(values).all():
            continue
        weights, *_ = np.linalg.lstsq(table, values.ravel(), rcond=None)
        if np.abs(table @ weights - values.ravel()).max() < 1e-7 * (1 + np.abs(values).max()):
            return weights, powers
    return None


def _in_words(weights: Array, powers: Sequence[int], name: str) -> str:
    """A short polynomial: 1 - z ** 2."""
    text = ""
    for w, p in zip(np.round(weights, 5) + 0.0, powers, strict=True):
        if w:
            power = "" if p == 0 else name if p == 1 else f"1 / {name}" if p == -1 else f"{name} ** {p}"
            size = f"{abs(w):g}" if not power else power if abs(w) == 1 else f"{abs(w):g} * {power}"
            text += f" {'-' if w < 0 else '+'} {size}" if text else f"{'-' if w < 0 else ''}{size}"
    return text


def _polynomial(at: Array, *, weights: Array, powers: Sequence[int]) -> Array:
    return np.asarray(sum(w * at ** float(p) for w, p in zip(weights, powers, strict=True)))


def _monomial(values: Array, factors: dict[str, Array]) -> tuple[float, dict[str, int]] | None:
    """A constant times integer powers of the factors that gives the values; None where none does."""
    sign = np.sign(values)
    names = list(factors)
    if not sign.all() or any(not x.all() for x in factors.values()):
        return None
    table = np.stack([np.ones(values.size), *(np.log(np.abs(factors[name])).ravel() for name in names)], 1)
    if len(values.ravel()) <= table.shape[1] + 1:
        return None
    weights, *_ = np.linalg.lstsq(table, np.log(np.abs(values)).ravel(), rcond=None)
    powers = {name: round(w) for name, w in zip(names, weights[1:], strict=True)}
    product = np.ones(values.shape)
    for name, power in powers.items():
        product = product * factors[name] ** float(power)
    k = values / product
    if np.ptp(k) > 1e-5 * np.abs(k).max() or any(abs(p) > 3 for p in powers.values()):
        return None
    return float(k.mean()), powers


def _times(monomial: tuple[float, dict[str, int]]) -> str:
    """dz times a monomial in words: -2 * dz * x / y ** 2."""
    k, powers = monomial
    written = {name: name if abs(p) == 1 else f"{name} ** {abs(p)}" for name, p in powers.items()}
    up = [written[name] for name, p in powers.items() if p > 0]
    down = [written[name] for name, p in powers.items() if p < 0]
    k = round(k, 6)
    front = "-" if k == -1 else "" if k == 1 else f"{k:g} * "
    text = front + " * ".join(["dz", *up])
    return text + (f" / {down[0]}" if len(down) == 1 else f" / ({' * '.join(down)})" if down else "")
