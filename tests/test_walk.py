"""The walk back, on random graphs: every gradient on the way is the exact sum over all paths, and no array is shared.

The same random program runs twice: on tensors, and on integers that carry their derivative by everything they were
made of (``Exact``). Those come from the front, so they know nothing of orders, heaps, sums in place or hooks. All
values are whole numbers far below 2**53, so float64 must give the very same ones.
"""

from __future__ import annotations

import operator
import random
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.core.graph import backward_steps, unbroadcast
from minigrad.core.tensor import apply

LARGEST = 2**45
SHAPES = ((), (1,), (3,), (1, 3), (2, 1), (2, 3), (3, 3), (3, 1), (1, 1), (2, 1, 3))


class Exact:
    """A whole number and its slopes: source -> d number / d source."""

    __slots__ = ("slopes", "value")

    def __init__(self, value: int, slopes: dict[Any, int] | None = None) -> None:
        self.value = value
        self.slopes = slopes or {}

    def __add__(self, other: Any) -> Exact:
        return self._with(other, self.value + _exact(other).value, 1, 1)

    def __sub__(self, other: Any) -> Exact:
        return self._with(other, self.value - _exact(other).value, 1, -1)

    def __mul__(self, other: Any) -> Exact:
        return self._with(other, self.value * _exact(other).value, _exact(other).value, self.value)

    def __neg__(self) -> Exact:
        return self * -1

    __radd__, __rmul__ = __add__, __mul__

    def _with(self, other: Any, value: int, mine: int, theirs: int) -> Exact:
        slopes = Counter({source: mine * slope for source, slope in self.slopes.items()})
        for source, slope in _exact(other).slopes.items():
            slopes[source] += theirs * slope
        return Exact(value, slopes)


def _exact(x: Any) -> Exact:
    return x if isinstance(x, Exact) else Exact(x)


def objects(x: Any) -> np.ndarray:
    """An array of objects; NumPy hands out the object itself where there is one."""
    return x if isinstance(x, np.ndarray) else np.array(x, dtype=object)


def both(x: Any, y: Any) -> Any:
    """An op that gives one array, not dz, to its two inputs."""

    def backward(dz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx = 2 * dz
        return dx, dx

    return (x + y) * 2, backward


def passed_on(x: Any, y: Any) -> Any:
    """An op that gives dz itself to an input twice over, and a view of it."""
    return x + y, lambda dz: (dz, dz[...])


def user_op(op: Any) -> Any:
    return lambda x, y: apply(op, x, y) if isinstance(x, mg.Tensor) else op(x, y)[0]


# On tensors and on arrays of objects alike; each is one op.
BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "matmul": operator.matmul,
    "both": user_op(both),
    "passed on": user_op(passed_on),
}
UNARY = {
    "neg": operator.neg,
    "three times": lambda x: x * 3,
    "rows": lambda x: x.sum(0),
    "last axis": lambda x: x.sum(-1),
    "all": lambda x: x.sum(),
    "flat": lambda x: x.reshape(-1),
    "turned": lambda x: x.swapaxes(0, 1),
    "tail": lambda x: x[1:],
    "stretched": lambda x: x.reshape(-1, 1),
}


@dataclass
class Program:
    """A random graph: leaves, then moves, each on one or two earlier places; hooks, roots and what is to come out."""

    leaves: list[np.ndarray]
    wanted: list[bool]  # which leaves require a gradient
    factors: dict[int, int]  # place -> what its hook multiplies the gradient by
    moves: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    exact: list[np.ndarray] = field(default_factory=list)  # arrays of Exact, a place each
    roots: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def gradient(self, place: int) -> np.ndarray:
        """d of the roots, weighed by their cotangents, by what is at a place: before its own hook."""
        found = np.zeros(self.exact[place].shape)
        for i in np.ndindex(found.shape):
            found[i] = sum(
                int(dz[j]) * self.exact[root][j].slopes.get((place, i), 0)
                for root, dz in self.roots
                for j in np.ndindex(dz.shape)
            )
        return found

    def reached(self) -> set[int]:
        """The places that the walk comes to."""
        depends = list(self.wanted)
        for _, operands in self.moves:
            depends.append(any(depends[i] for i in operands))
        found, ahead = set(), [root for root, _ in self.roots]
        while ahead:
            place = ahead.pop()
            if depends[place] and place not in found:
                found.add(place)
                if place >= len(self.leaves):
                    ahead += self.moves[place - len(self.leaves)][1]
        return found


def draw(seed: int) -> Program:
    rng = random.Random(seed)
    shapes = rng.choices(rng.choices(SHAPES, k=2), k=rng.randint(2, 4))
    leaves = [np.array(rng.choices((-2, -1, 1, 2, 3), k=int(np.prod(s))), dtype=float).reshape(s) for s in shapes]
    wanted = [True] + [rng.random() < 0.8 for _ in leaves[1:]]
    factors = {place: rng.choice((-1, 2)) for place in range(20) if rng.random() < 0.25}
    program = Program(leaves, wanted, factors)

    def enter(values: np.ndarray) -> None:
        """With slopes by the place itself; a hook there multiplies all that goes further back."""
        place = len(program.exact)
        for i in np.ndindex(values.shape):
            further = {s: factors.get(place, 1) * slope for s, slope in values[i].slopes.items()}
            values[i] = Exact(values[i].value, {**further, (place, i): 1})
        program.exact.append(values)

    for array in leaves:
        enter(np.array([Exact(int(x)) for x in array.ravel()], dtype=object).reshape(array.shape))
    for _ in range(rng.randint(8, 18)):
        name = rng.choice([*BINARY, "both", *UNARY])
        recent = len(program.exact) - 1 - min(int(rng.expovariate(0.5)), len(program.exact) - 1)
        other = rng.randrange(len(program.exact) if rng.random() < 0.7 else len(leaves))
        if rng.random() < 0.4:
            recent = rng.randrange(len(leaves))
        operands = (recent,) if name in UNARY else tuple(rng.sample((recent, other), 2))
        try:
            values = objects({**BINARY, **UNARY}[name](*(program.exact[i] for i in operands)))
        except (ValueError, IndexError):
            continue  # shapes that do not go together
        if not 0 < values.size <= 18:
            continue
        if max(abs(n) for x in values.flat for n in (x.value, *x.slopes.values())) < LARGEST:
            program.moves.append((name, operands))
            enter(values.copy())
    depends = list(program.wanted)
    for _, operands in program.moves:
        depends.append(any(depends[i] for i in operands))
    possible = [place for place, needed in enumerate(depends) if needed]
    chosen = [possible[-1], *rng.choices(possible, k=rng.choice((0, 0, 1, 2)))]
    for place in chosen:
        shape = program.exact[place].shape
        dz = np.array(rng.choices((-1, 1, 2), k=int(np.prod(shape))), dtype=float).reshape(shape)
        dz.flags.writeable = False  # a root's gradient is the caller's
        program.roots.append((place, dz))
    return program


@pytest.mark.parametrize("retain", [False, True], ids=["released", "retained"])
@pytest.mark.parametrize("seed", range(150))
def test_gradients_on_a_random_graph_are_the_sums_over_its_paths(seed, retain):
    program = draw(seed)
    tensors = [mg.tensor(x, requires_grad=w) for x, w in zip(program.leaves, program.wanted, strict=True)]
    count = len(tensors)
    for name, operands in program.moves:
        tensors.append({**BINARY, **UNARY}[name](*(tensors[i] for i in operands)))
    for place, values in enumerate(program.exact):
        expected = np.array([x.value for x in values.flat], dtype=float).reshape(values.shape)
        np.testing.assert_array_equal(tensors[place].detach().numpy(), expected)
    nodes = {t.grad_fn: place for place, t in enumerate(tensors) if t.grad_fn is not None}
    seen: list[tuple[int, np.ndarray]] = []

    def watch(place: int, x: mg.Tensor) -> None:
        def lock(dz: np.ndarray) -> None:
            seen.append((place, dz.copy()))
            dz.flags.writeable = False  # who adds to it or writes into it from now on is told

        x.register_hook(lock, raw=True)
        if place in program.factors:
            x.register_hook(lambda dz: dz * program.factors[place])

    hooked = [p for p, x in enumerate(tensors) if x.requires_grad and (p >= count or p in program.factors)]
    for place in hooked:
        watch(place, tensors[place])
    reached = program.reached()
    wanted = {place: program.gradient(place) for place in reached}
    factor = {place: program.factors.get(place, 1) if place in hooked else 1 for place in reached}

    for time in (1, 2) if retain else (1,):
        seen.clear()
        roots = [(tensors[place].grad_fn or tensors[place], dz) for place, dz in program.roots]
        steps = list(backward_steps(roots, retain_graph=retain and time == 1))

        # Each node once, newest first; and at the end its array still holds what it held in its turn.
        orders = [step.node.order for step in steps]
        assert orders == sorted(orders, reverse=True)
        assert sorted(nodes[step.node] for step in steps) == sorted(p for p in reached if p >= count)
        for step in steps:
            place = nodes[step.node]
            np.testing.assert_array_equal(step.dz, factor[place] * wanted[place])

        # A hook is called once, with the whole gradient.
        assert sorted(place for place, _ in seen) == sorted(p for p in reached if p in hooked)
        for place, dz in seen:
            np.testing.assert_array_equal(dz, wanted[place])

        # Leaves: reached or not, and each with an array of its own.
        held = [dz for _, dz in program.roots] + [step.dz for step in steps]
        for place in range(count):
            grad = tensors[place].grad
            assert (grad is not None) == (place in reached)
            if grad is not None:
                np.testing.assert_array_equal(grad.numpy(), time * factor[place] * wanted[place])
                assert grad.shape == tensors[place].shape and grad.numpy().flags.writeable
                assert not any(np.shares_memory(grad.numpy(), other) for other in held)
                held.append(grad.numpy())
    for place, array in enumerate(program.leaves):
        np.testing.assert_array_equal(tensors[place].detach().numpy(), array)
    if steps:
        with pytest.raises(RuntimeError, match="released"):
            list(backward_steps(roots))


def test_the_random_graphs_have_what_can_go_wrong():
    """Nodes used twice, also by one op; broadcasting; hooks on both kinds; several roots, one that is a leaf."""
    found: Counter[str] = Counter()
    for seed in range(150):
        program = draw(seed)
        leaves, reached = len(program.leaves), program.reached()
        moves = [(place, *move) for place, move in enumerate(program.moves, leaves) if place in reached]
        uses = Counter(i for _, _, operands in moves for i in operands)
        found["used often"] += any(n > 1 and i >= leaves for i, n in uses.items())
        found["twice in one op"] += any(len(set(o)) < len(o) for _, _, o in moves)
        found["one array to two leaves"] += any(
            name == "both" and len(set(o)) == 2 and max(o) < leaves and all(program.wanted[i] for i in o)
            and len({program.exact[i].shape for i in o}) == 1 and not {*o} & {*program.factors}
            for _, name, o in moves
        )  # fmt: skip
        found["hook on a leaf"] += any(p < leaves for p in program.factors)
        found["hook on a node"] += any(leaves <= p in reached for p in program.factors)
        found["roots"] += len(program.roots) > 1
        found["a root within"] += any(p in uses for p, _ in program.roots)
        found["a root twice"] += len({p for p, _ in program.roots}) < len(program.roots)
        found["a root that is a leaf"] += any(p < leaves for p, _ in program.roots)
        found["a constant leaf"] += not all(program.wanted)
        found["broadcast"] += any(
            name in BINARY and name != "matmul" and len({program.exact[i].shape for i in o}) > 1 for _, name, o in moves
        )
        found.update({name: 1 for _, name, _ in moves})
    assert {*BINARY, *UNARY} <= set(found)
    assert min(found.values()) >= 3, found


@pytest.mark.parametrize("name", ["add", "sub", "both", "passed on"])
def test_two_leaves_never_share_an_array(name):
    x, y, w = mg.ones(3, requires_grad=True), mg.ones(3, requires_grad=True), mg.ones(3)
    BINARY[name](x, y).backward(w)
    before = y.grad.tolist()
    x.grad += 5
    assert y.grad.tolist() == before and w.tolist() == [1, 1, 1]


def test_a_node_that_was_walked_is_forgotten_while_the_walk_goes_on():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    first = x * 2
    y = first * 3
    loss = (y + y).sum()
    node = weakref.ref(y.grad_fn)
    steps = loss.backward_steps()
    del y, loss
    for step in steps:
        if step.node is first.grad_fn:
            break
        del step
    assert node() is None
    assert list(steps) == [] and x.grad.tolist() == [12, 12]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wide", [(3, 3), (2, 3), (2, 2, 3), (1, 3), (2, 1, 3), (3,), ()])
def test_unbroadcasting_undoes_broadcasting(shape, wide):
    """d (x broadcast * w) / dx by definition: each element of x gets the sum of those that were made of it."""
    dz = np.random.default_rng(0).integers(-4, 5, wide).astype(float)
    try:
        fits = np.broadcast_shapes(shape, wide) == wide
    except ValueError:
        fits = False
    if not fits:
        with pytest.raises(ValueError, match="cannot belong"):
            unbroadcast(dz, shape)
        return
    source = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), wide)
    expected = np.array([dz[source == i].sum() for i in range(int(np.prod(shape)))]).reshape(shape)
    found = unbroadcast(dz, shape)
    assert found.shape == shape
    np.testing.assert_array_equal(found, expected)


def test_a_gradient_has_the_dtype_of_what_it_belongs_to():
    """Whatever an op's backward gives: here float64 for a leaf and for a node of float32."""

    def wide(x, y):
        return x + y, lambda dz: (dz.astype(np.float64), 2 * dz.astype(np.float64))

    x, y = mg.ones(3, requires_grad=True), mg.ones(3, requires_grad=True)
    seen = []
    doubled = y * 2
    doubled.register_hook(lambda dz: seen.append(dz), raw=True)
    steps = list(apply(wide, x, doubled).backward_steps(mg.ones(3)))
    assert x.grad.dtype == y.grad.dtype == seen[0].dtype == np.float32
    assert all(dx is None or dx.dtype == np.float32 for step in steps for dx in step.grads)
    assert x.grad.tolist() == [1, 1, 1] and y.grad.tolist() == [4, 4, 4]


def test_a_step_has_a_gradient_or_none_for_each_input():
    x, constant = mg.ones(2, requires_grad=True), mg.ones(2)
    (step,) = (constant * x).backward_steps(mg.ones(2))
    assert [None if dx is None else dx.tolist() for dx in step.grads] == [None, [1, 1]]


@pytest.mark.parametrize(("given", "fits"), [((1,), False), ((1, 1), True), ((1, 1, None), True), ((1, 1, 1), False)])
def test_a_backward_gives_as_many_gradients_as_there_are_inputs(given, fits):
    """None for arguments that were left out may follow."""

    def counts(x, y):
        return x + y, lambda dz: tuple(None if n is None else dz * n for n in given)

    x, y = mg.ones(2, requires_grad=True), mg.ones(2, requires_grad=True)
    out = apply(counts, x, y)
    if fits:
        out.backward(mg.ones(2))
        assert x.grad.tolist() == y.grad.tolist() == [1, 1]
    else:
        with pytest.raises(RuntimeError, match=f"backward gave {len(given)} gradients for 2 inputs"):
            out.backward(mg.ones(2))
