"""2 · Slopes: wiggle, then the chain rule

idea: A slope says how much the result moves when an input is moved a little; slopes of steps are multiplied.

able: find any slope by wiggling, write the way back through a step, and go back through several steps.

minutes: 45

next: Next is chapter 3, a program that does this for any formula. In the library: python -m minigrad check wiggles an
op of yours, and minigrad/look/differences.py is that wiggle.
"""

# %%
import math

# %% [markdown]
# ## Wiggle
#
# Learning is moving numbers so that a loss falls. So for each number there is one question: if I move it a little, how
# much does the loss move? That ratio is called slope, derivative, gradient. You can simply try: move it up a bit, move
# it down a bit, compare.
#
#     slope = (f(x + h) - f(x - h)) / (2 h)
#
# Both sides, because one side alone also measures how the curve bends. And h neither large nor tiny: large, and you
# measure some other slope; tiny, and both results agree in nearly all their digits, and the difference is rounding.


# %% exercise
def wiggle(f, x, h=1e-5):
    """f: a function of a number. The slope of f at x, from both sides."""
    ### BEGIN SOLUTION
    slope = (f(x + h) - f(x - h)) / (2 * h)
    ### END SOLUTION
    return slope


# %%
if __name__ == "__main__":
    for h in (0.1, 1e-5, 1e-15):
        print(f"slope of x³ at 2, h = {h:5}: {wiggle(lambda x: x**3, 2.0, h):.6f}")

# %% [markdown]
# This course judges your backward by it: it wiggles *your* forward. It is always right, and slow: a model of a million
# weights would need two million runs for one step. So we need the slopes by formula.
#
# ## One step back
#
# A step is a function that returns its result z, and a function `backward`. `backward(dz)` is given dz: how much the
# loss rises if z rises by 1. It returns dx: how much the loss rises if x rises by 1. One rule makes it, the chain rule:
#
#     dx = dz * (slope of z for x)
#
# Slopes are multiplied because ratios are: if z moves 3 times as fast as x, and the loss 5 times as fast as z, the loss
# moves 15 times as fast as x. The slope of 1 / (1 + exp(-x)), the sigmoid, is z (1 - z): taken from the *result*.

# %% predict
# The sigmoid is flat far out. What is the largest slope it has anywhere: 1, 0.5 or 0.25? What happens to a gradient
# that goes back through ten of them?
PREDICTION = None


# %% exercise
def sigmoid(x):
    """x a number. z = 1 / (1 + exp(-x)), and its backward."""
    ### BEGIN SOLUTION
    z = 1 / (1 + math.exp(-x))

    def backward(dz):
        return dz * z * (1 - z)

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    print("slope at 0:", wiggle(lambda x: sigmoid(x)[0], 0.0), " ten of them:", 0.25**10)

# %% [markdown]
# ## Two inputs
#
# A quotient a / b moves with both. If a rises by 1, it rises by 1 / b. If b rises, it *falls*, and the slope is
# -a / b². Forgetting the second path, or its minus, is a classic.


# %% exercise
def divide(a, b):
    """Two numbers. z = a / b; backward returns two slopes times dz."""
    ### BEGIN SOLUTION
    z = a / b

    def backward(dz):
        return dz / b, -dz * a / b**2

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## Several steps
#
# Forward goes first to last, backward last to first: what comes out of the later step's backward as dx goes into the
# earlier one as its dz. That is all of backpropagation on a chain; chapter 3 does it on any graph.


# %% exercise
def chain(x, steps):
    """x a number, steps a list of functions like sigmoid, applied in order. z, and a backward through all of them."""
    ### BEGIN SOLUTION
    backwards = []
    z = x
    for step in steps:
        z, back = step(z)
        backwards.append(back)

    def backward(dz):
        for back in reversed(backwards):
            dz = back(dz)
        return dz

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    z, backward = chain(0.5, [sigmoid] * 3)
    print(
        "by the chain rule",
        round(backward(1.0), 9),
        "by wiggling",
        round(wiggle(lambda x: chain(x, [sigmoid] * 3)[0], 0.5), 9),
    )
