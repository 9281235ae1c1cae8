"""5 · From scores to a loss

idea: Softmax turns scores into shares that compete; cross-entropy asks how surprised they were by the answer.

able: write softmax, log-softmax and cross-entropy with their backward, and say why the gradient is so often p - y.

minutes: 60

next: Next is chapter 6, where one input reaches the result on three paths. In the library: minigrad/core/sums.py and
minigrad/core/loss.py; what raw scores are for, and why PyTorch's cross_entropy wants them.
"""

# %% [markdown]
# ## Scores, shares, surprise
#
# A network that chooses among words gives each word a *score*: any number. To choose we want shares of one whole:
# positive, and together 1. Softmax makes them in two steps. It takes `exp` of each score, which is never negative, and
# divides by the sum.
#
#     z = exp(x) / sum exp(x)
#
# Why not simply keep the largest score? Because the choice would then not move when a score is wiggled a little: its
# slope is 0 nearly everywhere, and nothing could be learned. Softmax is the soft version: every score has a say.
#
# Two scores that differ by 1 always get shares in the ratio 2.718. Only differences count: adding 100 to all scores
# changes nothing. So we may subtract the largest score first, and `exp` cannot overflow.

# %%
import numpy as np

# %% predict
# All scores rise by 1000: [1, 2, 3] becomes [1001, 1002, 1003]. Does softmax change: "yes" or "no"?
# And what does exp(1003) give in NumPy? Write your guess down, then run this file.
PREDICTION = None

# %%
if __name__ == "__main__":
    with np.errstate(over="ignore"):
        print("exp(1003) is", np.exp(1003.0))
    for scores in (np.array([1.0, 2.0, 3.0]), np.array([1001.0, 1002.0, 1003.0])):
        share = np.exp(scores - scores.max())
        print(scores, "->", share / share.sum())

# %% [markdown]
# ## How an op is written here
#
# Every op in this course is a function that returns two things: its result `z`, and a function `backward`. `backward`
# is given `dz`, which says for each number of `z` by how much the loss rises if that number rises by 1. It returns the
# same for each number of `x`. What it needs from the forward it simply uses: Python keeps these variables for it.
#
# ## The backward of softmax
#
# Raise one score a little. Its own share grows. And *every other share shrinks*, because all of them are divided by the
# same sum. So there are two paths from a score to the results: straight up through its own `exp`, and through the sum.
# The well-known `z * (1 - z)` is only the diagonal of the table of slopes. It forgets the second path.
#
# For one row, with all the paths added up:
#
#     dx = z * (dz - sum(dz * z))
#
# Read it so: what arrives, `dz`, minus the average of what arrives (weighted by the shares), times the own share. If
# the same `dz` arrives everywhere, nothing changes: shares always add up to 1, so all of them cannot grow.


# %% exercise
def softmax(x):
    """x (..., V): scores. z has the same shape; each row (the last axis) is positive and adds up to 1."""
    ### BEGIN SOLUTION
    e = np.exp(x - x.max(-1, keepdims=True))
    z = e / e.sum(-1, keepdims=True)

    def backward(dz):
        return z * (dz - (dz * z).sum(-1, keepdims=True))

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    z, backward = softmax(np.array([[1.0, 2.0, 3.0]]))
    print("shares", z.round(3), "sum", z.sum())
    print("the same dz everywhere gives", backward(np.ones((1, 3))).round(12) + 0.0)

# %% [markdown]
# ## Why log-softmax is an op of its own
#
# A loss needs the *logarithm* of a share. The share of a hopeless word may be so small that it is rounded to 0, and
# `log(0)` is minus infinity. Written out, the logarithm undoes the exp, and nothing has to be rounded:
#
#     z = x - log(sum(exp(x)))
#
# Again there are two paths: `x` reaches `z` directly (slope 1), and every score reaches every `z` through the sum. The
# slope of `log(sum(exp(x)))` is the softmax. One number per row, sum of dz, flows back through it:
#
#     dx = dz - softmax(x) * sum(dz)


# %% exercise
def log_softmax(x):
    """x (..., V): scores. z = log(softmax(x)) along the last axis, also for scores like 1000 and -1000."""
    ### BEGIN SOLUTION
    shifted = x - x.max(-1, keepdims=True)
    z = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    def backward(dz):
        return dz - np.exp(z) * dz.sum(-1, keepdims=True)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## Cross-entropy: how surprised
#
# The answer to each row is one class, `target`. The loss of a row is minus the log of the share that the right class
# got: 0 if it got everything, large if it got nearly nothing. The loss of a batch is the mean over its N rows.
#
#     z = mean of -log_softmax(x)[n, target[n]]
#     dx = dz * (softmax(x) - y) / N          y is 1 at the target, 0 elsewhere
#
# Put the backward of log-softmax and of the mean together and this short line comes out: share minus truth. Note the
# `1 / N`. It comes from the mean, and is easily forgotten; and N counts rows, not rows times classes.
#
# A loss function that does the softmax itself wants *scores*. Who gives it shares applies softmax twice; it still
# trains, only badly: the second softmax of shares between 0 and 1 can never be sure of anything.


# %% exercise
def cross_entropy(x, target):
    """x (N, V): scores; target (N,): the right class of each row, as integers. z is one number."""
    ### BEGIN SOLUTION
    N = len(x)
    shifted = x - x.max(-1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    z = -logp[np.arange(N), target].mean()

    def backward(dz):
        dx = np.exp(logp)
        dx[np.arange(N), target] -= 1
        return dz * dx / N

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    scores, right = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([0, 2])
    z, backward = cross_entropy(scores, right)
    print(f"loss {z:.4f}; a row that knows nothing of 3 classes costs log(3) = {np.log(3):.4f}")
    print("share minus truth, over N:\n", backward(1.0).round(3))
    twice, _ = cross_entropy(softmax(10 * scores)[0], right)
    print(f"scores times ten: loss {cross_entropy(10 * scores, right)[0]:.4f}; softmax by mistake twice: {twice:.4f}")
