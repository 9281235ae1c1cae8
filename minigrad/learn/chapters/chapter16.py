"""16 · The slope of a slope

idea: A gradient is a computation, so it has a gradient of its own: it says how a slope changes, and how far to step.

able: go back through a backward, step to a minimum by curvature, and ask for curvature along one direction.

minutes: 40

next: In the library: examples/newton.py (a minimum in 6 steps), pinn.py (a differential equation), maml.py (learning to
learn), and docs/derivatives.md, how a backward is derived from the same lines that you can read.
"""

# %%
import math

import numpy as np

# %% [markdown]
# ## A backward is a computation too
#
# The backward of tanh is one line: `dz * (1 - z * z)`. A product, a difference, a square: nothing in it that chapter 3
# could not record and go back through. So the slope of the slope needs no new rule, only the chain rule once more.
#
# People mix up two things here. The slope *at a place* is a number, and a number has no slope. The slope *as x moves*
# is a function, and that has one: where the curve bends, it is not 0.
#
# Here is the slope of tanh as a step of its own, s = 1 - tanh(x)². Its backward: tanh(x) moves with x by 1 - tanh(x)²,
# and the square moves with tanh(x) by 2 tanh(x), and there is a minus.


# %% exercise
def slope_of_tanh(x):
    """x an array. z = 1 - tanh(x)², the slope of tanh, and its backward: the slope of that slope."""
    ### BEGIN SOLUTION
    t = np.tanh(x)
    z = 1 - t * t

    def backward(dz):
        return dz * -2 * t * (1 - t * t)

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    for x in (-1.0, 0.0, 1.0):
        z, backward = slope_of_tanh(np.array(x))
        print(f"at {x:4}: slope {float(z):.4f}, slope of the slope {float(np.ravel(backward(np.array(1.0)))[0]):+.4f}")

# %% [markdown]
# In the library you ask for it: `minigrad.autograd.grad(y, x, create_graph=True)` gives a gradient in the graph,
# and a second `grad` goes back through the first.

# %%
if __name__ == "__main__":
    import minigrad as mg

    x = mg.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    (first,) = mg.autograd.grad(x.tanh().sum(), x, create_graph=True)
    (second,) = mg.autograd.grad(first.sum(), x)
    print("by the library:", second.tolist())

# %% [markdown]
# ## How far to step
#
# Gradient descent knows which way is down, and not how far: that is what the learning rate guesses. The curvature, the
# slope of the slope, knows more. If the slope is 6 and falls by 2 for each step of 1, it will be 0 after a step of 3.
# That is Newton's method:
#
#     x ← x - slope / curvature

# %% predict
# A parabola has the same curvature everywhere. How many Newton steps does it take from any start to its minimum?
PREDICTION = None


# %% exercise
def newton(x, slope, curvature):
    """Numbers or arrays. Where the slope would be 0 if the curvature stayed as it is."""
    ### BEGIN SOLUTION
    x = x - slope / curvature
    ### END SOLUTION
    return x


# %%
if __name__ == "__main__":
    print("a parabola, (x - 2)²:", newton(10.0, 2 * (10.0 - 2), 2.0))
    x = 3.0
    for step in range(1, 7):  # f(x) = exp(x) - 2 x, whose minimum is at log 2
        x = newton(x, math.exp(x) - 2, math.exp(x))
        print(f"step {step}: x = {x:.9f}, off by {abs(x - math.log(2)):.1e}")

# %% [markdown]
# ## Curvature along one direction
#
# With a million weights the table of all curvatures, the Hessian, has a million times a million numbers. Nobody fills
# it. What one often wants is one direction: how does the gradient change if all weights move a little along v? That is
# the product of the Hessian with v, and it costs about two gradients. You can even wiggle it:
#
#     H v = (gradient(x + h v) - gradient(x - h v)) / (2 h)


# %% exercise
def along(gradient, x, v, h=1e-5):
    """gradient: a function of an array. The product of its Hessian at x with the direction v, an array like x."""
    ### BEGIN SOLUTION
    change = (gradient(x + h * v) - gradient(x - h * v)) / (2 * h)
    ### END SOLUTION
    return change


# %%
if __name__ == "__main__":
    A = np.array([[3.0, 1.0], [1.0, 2.0]])  # of f(x) = x A x / 2 the gradient is A x, and the Hessian is A
    v = np.array([1.0, -1.0])
    print("wiggled:", along(lambda x: A @ x, np.zeros(2), v), " A v:", A @ v)
