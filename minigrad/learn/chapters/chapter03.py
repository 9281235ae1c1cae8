"""3 · The engine in 60 lines

idea: Every result remembers what it was made from; backward walks from the loss to the inputs and adds up what arrives.

able: write a complete automatic differentiation, and say why gradients are added up, and why the order matters.

minutes: 75

next: Next is chapter 4, the same for tables of numbers. In the library: minigrad/core/graph.py is this engine, and
minigrad/core/tensor.py its Value; docs/reading.md leads through both in an evening.
"""

# %% [markdown]
# ## What an engine is for
#
# Chapter 2 found slopes by the chain rule, by hand. A network has thousands of steps, so a program should do it. Two
# things are needed, and they are separate:
#
# - the **ops**, that is the calculus: each knows its own result, and how to go back through itself;
# - the **graph**, that is the book-keeping: which result was made from which.
#
# An op is a function that returns its result and a function `backward`. `backward(dz)` is told by how much the loss
# rises when the result rises by 1, and answers by how much it rises for each input.

# %%
import math


def add(x, y):
    return x + y, lambda dz: (dz, dz)


# %% [markdown]
# Adding passes dz on to both sides as it is: raise x by a little, and x + y rises by as much. Multiplying is the first
# one for you. If x rises by a little, x * y rises y times as much. So the slope of one side is the *other* side.


# %% exercise
def mul(x, y):
    """x * y, and a backward that returns two slopes times dz."""
    ### BEGIN SOLUTION
    z = x * y

    def backward(dz):
        return dz * y, dz * x

    ### END SOLUTION
    return z, backward


# %% [markdown]
# The slope of tanh can be told from its *result*: 1 - z². Not from its input. Where tanh is nearly 1, it is nearly
# flat, and little gradient comes through.


# %% exercise
def tanh(x):
    """math.tanh(x), and a backward that returns one slope times dz."""
    ### BEGIN SOLUTION
    z = math.tanh(x)

    def backward(dz):
        return (dz * (1 - z * z),)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## The graph
#
# A `Value` is a number that remembers what it was made from. `apply` runs an op on values and ties the result to its
# inputs: that is the whole of the recording. Nothing is computed backwards yet.


# %%
def apply(op, *inputs):
    z, backward = op(*(x.data for x in inputs))
    return Value(z, inputs, backward)


# %% predict
# a = 3, z = a * a. By the rule of multiplying, each side gets the other: 3. What is the slope of z for a: 3 or 6?
PREDICTION = None

# %%
if __name__ == "__main__":
    step = 1e-6
    print("by wiggling: ", ((3 + step) ** 2 - (3 - step) ** 2) / (2 * step))

# %% [markdown]
# ## The order
#
# Going back, a value must wait until *everything that was made from it* has had its turn: only then has all of its
# gradient arrived. A list in which every value comes after those it was made from, read from its end, does that. It is
# called a topological order.
#
# Depth first: before a value enters the list, all of its parents do. Each enters once, even if it was used many times.
# Functions that call themselves are the shortest way; Python lets them go about 1000 deep, so an engine for long
# programs uses a list of its own. Either is right here.


# %% exercise
def order(root):
    """All values that root was made from, and root: each once, and after its parents (value.parents)."""
    ### BEGIN SOLUTION
    found, seen = [], set()

    def visit(value):
        if id(value) not in seen:
            seen.add(id(value))
            for parent in value.parents:
                visit(parent)
            found.append(value)

    visit(root)
    ### END SOLUTION
    return found


# %% [markdown]
# ## The walk back
#
# Start with 1 at the result: if it rises by 1, it rises by 1. Then go through the order from its end. Ask each value's
# backward what its inputs get, and **add** it to what they have. A value that was used twice gets two contributions:
# both uses move when it moves. Writing `=` for `+=` is the most frequent mistake in engines, and it is silent.
#
# It is also why a training loop sets gradients to zero: the engine only ever adds, so what is left from the last step
# would be added in (chapter 7). A leaf has no backward: its gradient is the answer.


# %% exercise
class Value:
    """A number (data), the slope of the loss for it (grad), and what it was made from (parents)."""

    def __init__(self, data, parents=(), backward=None):
        self.data, self.grad = data, 0.0
        self.parents, self.op_backward = parents, backward

    def __add__(self, other):
        return apply(add, self, other)

    def __mul__(self, other):
        return apply(mul, self, other)

    def tanh(self):
        return apply(tanh, self)

    def backward(self):
        """Fill grad of every value that this was made from."""
        ### BEGIN SOLUTION
        self.grad = 1.0
        for value in reversed(order(self)):
            if value.op_backward is not None:
                slopes = value.op_backward(value.grad)
                for parent, slope in zip(value.parents, slopes, strict=True):
                    parent.grad += slope
        ### END SOLUTION


# %% [markdown]
# ## It learns
#
# That is all: the same 60 lines carry a network. Here is one with three hidden units that learns "one or the other, but
# not both", a task that no straight line solves. Nothing in it is new but the loop, which is chapter 7.

# %%
if __name__ == "__main__":
    import random

    a = Value(3.0)
    (a * a).backward()
    print("by your engine:", a.grad)

    random.seed(1)
    units = [[Value(random.uniform(-1, 1)) for _ in range(4)] for _ in range(3)]
    offset = Value(0.0)
    table = [((-1.0, -1.0), -1.0), ((-1.0, 1.0), 1.0), ((1.0, -1.0), 1.0), ((1.0, 1.0), -1.0)]

    def answer(x, y):
        out = offset
        for u, v, b, w in units:
            out = out + w * (u * Value(x) + v * Value(y) + b).tanh()
        return out

    for step in range(301):
        loss = Value(0.0)
        for (x, y), right in table:
            off = answer(x, y) + Value(-right)
            loss = loss + off * off
        parameters = [offset, *(p for unit in units for p in unit)]
        for p in parameters:
            p.grad = 0.0
        loss.backward()
        for p in parameters:
            p.data -= 0.05 * p.grad
        if step % 100 == 0:
            print(f"step {step:3}: loss {loss.data:.4f}")
    print("answers:", [f"{answer(x, y).data:+.2f}" for (x, y), _ in table])

# %% [markdown]
# ## What the library's engine does besides
#
# It is the same walk, `backward_steps` in minigrad/core/graph.py, as a generator: each step can be looked at. It takes
# nodes from a heap, newest first, so that nothing calls itself. It frees each node behind it, so a second backward()
# through the same graph is refused, with a word on what to do. And it notices an array that was changed in place after
# an op had kept it for its backward: the engine here would use the new number, silently.
#
#     python -m minigrad step chapter03.py     steps through programs of the library
#     python -m minigrad examples two_moons    a network to step through
