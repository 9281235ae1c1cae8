"""7 · The loop that trains

idea: Compute the loss, walk back, move every weight a little downhill; all optimizers differ only in how far.

able: write SGD, momentum and Adam, say why gradients are set to zero, and make a large batch of small ones.

minutes: 45

next: Next is chapter 8, when it does not learn. In the library: minigrad/optim/sgd.py and adam.py, under PyTorch's
names; python -m minigrad examples two_moons is a loop with nothing hidden.
"""

# %% [markdown]
# ## Five lines
#
#     for x, y in batches:
#         loss = loss_of(model(x), y)      forward: how wrong?
#         optimizer.zero_grad()            forget the last gradients
#         loss.backward()                  which way is uphill, for each weight?
#         optimizer.step()                 a step the other way
#
# Why set gradients to zero? The engine *adds* (chapter 3: a value used twice needs both). It does not know where one
# step ends and the next begins. Left alone, every step goes along the sum of all gradients since the beginning.
#
# ## SGD
#
# The gradient is the slope of the loss for one weight. Against the slope it goes down: p - lr * g. The learning rate lr
# says how far to trust a slope: it holds for a small step only. Too large, and the step jumps over the valley and lands
# higher than it began; too small, and nothing happens for a long time.

# %%
import numpy as np


# %% exercise
def sgd(p, g, lr):
    """p, g (N,): weights and their gradients; lr a number. Returns the new weights (N,)."""
    ### BEGIN SOLUTION
    new = p - lr * g
    ### END SOLUTION
    return new


# %% predict
# The loss is p², its slope 2 p. Start at p = 1 with lr = 1.1. Where is p after many steps: near 0, or far away?
PREDICTION = None

# %%
if __name__ == "__main__":
    for lr in (0.01, 0.4, 1.1):
        p = np.array([1.0])
        for _ in range(20):
            p = sgd(p, 2 * p, lr)
        print(f"lr {lr}: after 20 steps p = {p[0]:.4f}")

# %% [markdown]
# ## Momentum
#
# In a long narrow valley the slope points mostly across, from wall to wall, and a little along. Momentum keeps a
# velocity: a sum of all slopes, old ones fading. Across they cancel, along they add up.
#
#     velocity = momentum * velocity + g
#     p = p - lr * velocity
#
# With momentum 0.9 a steady slope is amplified ten times: lr is then usually ten times smaller. (This is PyTorch's
# form. Others put lr into the velocity.)


# %% exercise
def momentum_step(p, g, velocity, lr, momentum):
    """Returns two: the new weights, and the new velocity."""
    ### BEGIN SOLUTION
    velocity = momentum * velocity + g
    p = p - lr * velocity
    ### END SOLUTION
    return p, velocity


# %% [markdown]
# ## Adam
#
# Weights differ: some have large slopes, some tiny ones. Adam divides each weight's slope by its usual size, so that
# each moves by about lr per step. It keeps two fading means, of the slope and of its square:
#
#     m = b1 m + (1 - b1) g            b1 = 0.9
#     v = b2 v + (1 - b2) g²           b2 = 0.999
#     p = p - lr * (m / (1 - b1ᵗ)) / (√(v / (1 - b2ᵗ)) + eps)
#
# Both means start at 0, so at first they are too small: after one step m is a tenth of g, v a thousandth of g². The
# division by 1 - bᵗ puts that right; t counts the steps from **1**. Without it the first steps are three times too
# large with these numbers: m is ten times too small, √v thirty times. eps stands *outside* the root.


# %% exercise
def adam_step(p, g, m, v, t, lr, b1, b2, eps):
    """Step number t = 1, 2, ... Returns three: the new p, m and v."""
    ### BEGIN SOLUTION
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    p = p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    ### END SOLUTION
    return p, m, v


# %%
if __name__ == "__main__":
    p, m, v = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
    for t in range(1, 4):
        g = np.array([100.0, 0.01]) * p
        p, m, v = adam_step(p, g, m, v, t, 0.1, 0.9, 0.999, 1e-8)
        print(f"step {t}: slopes {g.round(3)}, weights {p.round(3)}")

# %% [markdown]
# ## A large batch in pieces
#
# A batch may not fit into the memory. Take it in pieces, and let the gradients add up before one step: that is what
# the engine does if you do *not* set them to zero. But the loss of a batch is a **mean**. The means of pieces, added
# up, are too large by the number of pieces: each is divided by it. And where pieces differ in size, each counts by
# its share of the examples.


# %% exercise
def accumulated(gradients, sizes):
    """gradients (K, N): of the mean loss of each piece; sizes (K,): examples in it. The gradient (N,) of the whole."""
    ### BEGIN SOLUTION
    whole = (gradients * sizes[:, None]).sum(0) / sizes.sum()
    ### END SOLUTION
    return whole


# %%
if __name__ == "__main__":
    x, y = np.random.default_rng(0).normal(size=(2, 6))
    w = 0.5
    slope = lambda x, y: np.array([(2 * (w * x - y) * x).mean()])  # noqa: E731 - of the mean of (w x - y)²
    pieces = np.array([slope(x[:4], y[:4]), slope(x[4:], y[4:])])
    print("at once", slope(x, y).round(6), "in pieces", accumulated(pieces, np.array([4, 2])).round(6))
