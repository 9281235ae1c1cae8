"""What chapter 3 asks for: two ops, the order, the engine, and what goes wrong in them."""

import math

import numpy as np

from minigrad.learn.exercise import Exercise, given


def number(rng):
    return rng.normal() + rng.choice([-2.0, 2.0])


mul = Exercise(
    "mul",
    draw=lambda rng: given(number(rng), number(rng)),
    definition=lambda x, y: x * y,
    paths=("x → z", "y → z"),
    hints=(
        "Raise x by a little: by how much does x * y rise?",
        "dx = dz * y, dy = dz * x",
        "return dz * y, dz * x",
    ),
)


def op_of_two(change):
    return lambda x, y: (x * y, lambda dz: change(dz, x, y))


def enter(exercise, wrong, name, says, hint, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


enter(
    mul,
    op_of_two(lambda dz, x, y: (dz * x, dz * y)),
    "each its own",
    "Each side gets itself times dz, and should get the other side.",
    "If x rises by 1, x * y rises by y.",
)
enter(
    mul,
    op_of_two(lambda dz, x, y: (y, x)),
    "dz forgotten",
    "The slopes are right, and not multiplied by dz.",
    "dz is how much the loss rises per unit of z: every slope is multiplied by it.",
)
enter(
    mul,
    op_of_two(lambda dz, x, y: (dz, dz)),
    "the backward of add",
    "dz is passed on as it is: that is the backward of adding.",
    "x * y rises y times as fast as x.",
)
enter(
    mul,
    op_of_two(lambda dz, x, y: (dz * x * y, dz * x * y)),
    "the result for a slope",
    "Both sides get dz * z: the result is used as a slope.",
    "The slope for x is y alone.",
)
enter(
    mul,
    op_of_two(lambda dz, x, y: (dz / y, dz / x)),
    "divided by the other",
    "dz is divided by the other side, and should be multiplied.",
    "Going back is not undoing: the slope of x * y for x is y.",
)
enter(
    mul,
    op_of_two(lambda dz, x, y: (dz * y, 0.0)),
    "the second input forgotten",
    "The second input gets nothing.",
    "Both sides move the result.",
    "y → z",
)
enter(
    mul,
    lambda x, y: (x + y, lambda dz: (dz, dz)),
    "added",
    "The result is x + y.",
    "mul multiplies.",
)

tanh = Exercise(
    "tanh",
    draw=lambda rng: given(rng.uniform(0.3, 1.5) * rng.choice([-1, 1])),
    definition=math.tanh,
    hints=("The slope of tanh can be told from its result.", "dx = dz * (1 - z ** 2)", "return (dz * (1 - z * z),)"),
)
for name, says, hint, slope in [
    (
        "from the input",
        "This is 1 - x²: the input, and not the result.",
        "1 - z², z = tanh(x).",
        lambda x, z: 1 - x * x,
    ),
    ("not squared", "This is 1 - z: the square is missing.", "1 - z².", lambda x, z: 1 - z),
    (
        "plus for minus",
        "This is 1 + z²: the sign is turned round.",
        "tanh is flat where z is near 1.",
        lambda x, z: 1 + z * z,
    ),
    (
        "the slope of sigmoid",
        "This is z (1 - z): the slope of the sigmoid.",
        "That of tanh is 1 - z².",
        lambda x, z: z * (1 - z),
    ),
    (
        "tanh of tanh",
        "The slope is taken of tanh(z): tanh was applied twice.",
        "z is tanh(x) already: 1 - z².",
        lambda x, z: 1 - math.tanh(z) ** 2,
    ),
    (
        "one over cosh",
        "This is 1 / cosh(x): its square is the slope.",
        "1 - z², or 1 / cosh(x)².",
        lambda x, z: 1 / math.cosh(x),
    ),
    ("the result for the slope", "This is dz * z: the result in place of the slope.", "1 - z².", lambda x, z: z),
]:
    enter(tanh, lambda x, slope=slope: (math.tanh(x), lambda dz: dz * slope(x, math.tanh(x))), name, says, hint)
enter(
    tanh,
    lambda x: (math.tanh(x), lambda dz: 1 - math.tanh(x) ** 2),
    "dz is missing",
    "The slope is right, and not multiplied by dz.",
    "Every slope is multiplied by dz.",
)

# The order: a graph is a list of the parents' numbers, the last its root. What is judged is the list of numbers.


def graph(rng):
    """Values 0 to 6; 3 is used at two depths, 1 twice by one."""
    a, b, c = rng.permutation(3)
    parents = [(), (), (), (int(a), int(b)), (3, int(c)), (1, 1), (4, 5), (6, 3)]
    return given(parents=[list(p) for p in parents])


def ordering(order):
    """The numbers of the values in the order that was found."""

    def run(*, parents):
        Value = getattr(order, "__globals__", {}).get("Value")
        Value = Value if isinstance(Value, type) else Linked
        values = []
        for number, made_of in enumerate(parents):
            values.append(Value(float(number), tuple(values[i] for i in made_of)))
        places = {id(value): number for number, value in enumerate(values)}
        found = order(values[-1])
        return np.array([places.get(id(value), -1) for value in found])

    return run


def wrong_order(values, parents):
    """What is wrong with an order, in a sentence."""
    found = [int(i) for i in values[0]]
    if len(set(found)) < len(found):
        return "a value stands twice in the list: each enters once, however often it was used"
    if len(found) < len(parents):
        return f"the list has {len(found)} values, and root was made from {len(parents) - 1}, itself not counted"
    for place, value in enumerate(found):
        late = [p for p in parents[value] if p not in found[:place]]
        if late:
            return "a value stands before one that it was made from: all of its parents come first"
    return None


class Linked:
    def __init__(self, data, parents=(), backward=None):
        self.data, self.parents, self.grad, self.op_backward = data, parents, 0.0, backward


order = Exercise(
    "order",
    draw=graph,
    definition=None,
    holds=wrong_order,
    adapt=ordering,
    gradient=False,
    hints=(
        "Before a value enters the list, all of its parents have to be in it.",
        "visit(value): if it was not seen, visit each parent, then append the value.",
        "for parent in value.parents: visit(parent)   and only then: found.append(value)",
    ),
)


def walk(root, before=False, once=True, parents=lambda value: value.parents):
    found, seen = [], set()

    def visit(value):
        if once and id(value) in seen:
            return
        seen.add(id(value))
        if before:
            found.append(value)
        for parent in parents(value):
            visit(parent)
        if not before:
            found.append(value)

    visit(root)
    return found


@order.mistake()
def the_root_first(root):
    """The list begins with the root and goes on to what it was made from: that is the order of the walk back.

    Each value after its parents: append it when all of them are done. backward then reads the list from its end.
    """
    return walk(root)[::-1]


@order.mistake()
def appended_before_its_parents(root):
    """A value is appended before its parents are visited.

    First visit the parents, then append. Reading the other list from its end is not the same: a value used at two
    depths comes too early.
    """
    return walk(root, before=True)


@order.mistake()
def reversed_preorder(root):
    """The values are listed when first met, and the list is turned round: one used at two depths comes too late.

    Append a value only after all of its parents.
    """
    return walk(root, before=True)[::-1]


@order.mistake()
def each_use_anew(root):
    """A value that was used twice stands in the list twice.

    Remember what was seen (by id), and skip it.
    """
    return walk(root, once=False)


@order.mistake()
def level_by_level(root):
    """The values are listed level by level, counted from the root: one that is used at two levels comes too early.

    Levels do not order a graph. Append a value after all of its parents.
    """
    found, seen, row = [], set(), [root]
    while row:
        following = []
        for value in row:
            if id(value) not in seen:
                seen.add(id(value))
                found.append(value)
                following += value.parents
        row = following
    return found[::-1]


@order.mistake()
def the_root_left_out(root):
    """The root itself is not in the list.

    The walk back begins at the root: append it last.
    """
    return walk(root)[:-1]


@order.mistake()
def first_parent_only(root):
    """Only the first parent of each value is followed.

    A value has as many parents as its op had inputs: visit each.
    """
    return walk(root, parents=lambda value: value.parents[:1])


@order.mistake()
def the_root_alone(root):
    """The list has the root and its parents, and nothing behind them.

    Go on from each parent to its own parents.
    """
    return [*dict.fromkeys(root.parents), root]


# The engine: a program is a list of (op, i, j) on the values so far; its last is z.


def program(rng):
    """a used twice by one op, a product used at two depths, all in a random order of leaves."""
    a, b, c = (int(i) for i in rng.permutation(3))
    steps = [("*", a, b), ("tanh", 3, 3), ("*", 3, 4), ("+", 5, c), ("*", 6, 3), ("+", a, a), ("*", 8, c), ("+", 7, 9)]
    return given(*(rng.uniform(0.4, 1.2) * rng.choice([-1, 1]) for _ in range(3)), program=steps)


def evaluate(a, b, c, program):
    values = [a, b, c]
    for op, i, k in program:
        x, y = values[i], values[k]
        values.append(x + y if op == "+" else x * y if op == "*" else math.tanh(x))
    return values[-1]


def running(Value):
    """The op that a program is, when it runs on an engine."""

    def run(a, b, c, *, program):
        leaves = [Value(float(x)) for x in (a, b, c)]
        values = list(leaves)
        for op, i, k in program:
            x, y = values[i], values[k]
            values.append(x + y if op == "+" else x * y if op == "*" else x.tanh())
        z = values[-1]

        def backward(dz):
            z.backward()
            return [dz * leaf.grad for leaf in leaves]

        return z.data, backward

    return run


class Engine:
    """A right engine, for the mistakes to deviate from."""

    def __init__(self, data, parents=(), backward=None):
        self.data, self.grad, self.parents, self.op_backward = data, 0.0, parents, backward

    def __add__(self, other):
        return type(self)(self.data + other.data, (self, other), lambda dz: (dz, dz))

    def __mul__(self, other):
        return type(self)(self.data * other.data, (self, other), lambda dz: (dz * other.data, dz * self.data))

    def tanh(self):
        z = math.tanh(self.data)
        return type(self)(z, (self,), lambda dz: (dz * (1 - z * z),))

    def seed(self):
        self.grad = 1.0

    def order(self):
        return walk(self)[::-1]

    def give(self, parent, slope):
        parent.grad += slope

    def contributions(self):
        return list(zip(self.parents, self.op_backward(self.grad), strict=True)) if self.op_backward else []

    def backward(self):
        self.seed()
        for value in self.order():
            for parent, slope in value.contributions():
                self.give(parent, slope)


Value = Exercise(
    "Value",
    draw=program,
    definition=evaluate,
    adapt=running,
    hints=(
        "A value that was used twice is reached on two ways: both count, and both must have arrived before it goes on.",
        "self.grad = 1; in reversed(order(self)): each parent's grad += its slope from op_backward(value.grad).",
        "for parent, slope in zip(value.parents, value.op_backward(value.grad)): parent.grad += slope",
    ),
)


@Value.mistake()
class replaced_instead_of_added(Engine):
    """A contribution replaces what arrived before: a value that is used twice keeps the last one alone.

    Both uses move when the value moves: parent.grad += slope.
    """

    def give(self, parent, slope):
        parent.grad = slope


@Value.mistake()
class nothing_arrives(Engine):
    """No input gets a gradient: the result's own was never set to 1, or the walk goes from the inputs on.

    If the result rises by 1, it rises by 1: self.grad = 1.0. Then through all of order(self), from its end.
    """

    def seed(self):
        pass


@Value.mistake()
class too_early(Engine):
    """A value goes on as soon as it is reached first: what arrives later is not passed on.

    Walk in the reverse of order(self): a value comes when all that was made from it has been.
    """

    def order(self):
        return walk(self, before=True)


@Value.mistake()
class passed_on_again_and_again(Engine):
    """A value passes on all that it has, each time something arrives: the first part is counted twice.

    Wait until everything has arrived, then pass it on once: the reverse of order(self).
    """

    def backward(self):
        self.grad = 1.0

        def go(value):
            for parent, slope in value.contributions():
                parent.grad += slope
                go(parent)

        go(self)


@Value.mistake()
class level_by_level_back(Engine):
    """The walk goes level by level from the result: a value that is used at two levels goes on too early.

    Levels do not order a graph: walk in the reverse of order(self).
    """

    def order(self):
        return level_by_level(self)[::-1]


@Value.mistake()
class chain_broken(Engine):
    """Each op's slopes are used as they are: they are not multiplied by what arrived at its result.

    op_backward(value.grad): the gradient of the result goes in.
    """

    def contributions(self):
        return list(zip(self.parents, self.op_backward(1.0), strict=True)) if self.op_backward else []


@Value.mistake()
class data_for_grad(Engine):
    """op_backward is given the value's data, and should be given its gradient.

    op_backward(value.grad): how much the loss rises with this value.
    """

    def contributions(self):
        return list(zip(self.parents, self.op_backward(self.data), strict=True)) if self.op_backward else []


@Value.mistake()
class one_parent_forgotten(Engine):
    """Only the first parent of each value gets a gradient.

    op_backward returns one slope per parent: zip(value.parents, slopes).
    """

    def contributions(self):
        return super().contributions()[:1]


@Value.mistake()
class the_same_parent_once(Engine):
    """Where both sides of an op are the same value, it gets one contribution, and should get two.

    a + a rises by 2 when a rises by 1: go through the parents as a list, not as a set.
    """

    def contributions(self):
        return list(dict(super().contributions()).items())


@Value.mistake()
class each_its_own_in_mul(Engine):
    """In a product each side gets itself times dz, and should get the other side.

    Mend mul: dz * y, dz * x.
    """

    def __mul__(self, other):
        return type(self)(self.data * other.data, (self, other), lambda dz: (dz * self.data, dz * other.data))


@Value.mistake()
class the_input_in_tanh(Engine):
    """The slope of tanh is taken as 1 - x², of the input, and not of the result.

    Mend tanh: 1 - z².
    """

    def tanh(self):
        return type(self)(math.tanh(self.data), (self,), lambda dz: (dz * (1 - self.data**2),))


EXERCISES = (mul, tanh, order, Value)
