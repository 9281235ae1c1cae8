"""6 · Normalising: three paths, not one

idea: A norm takes off the mean and divides by the spread; both are made from the input, so gradients flow through both.

able: write layer norm and RMS norm with their backward, and count the paths of an input before you start.

minutes: 60

next: Next is chapter 7, the loop that trains. In the library: minigrad/core/normalize.py and
minigrad/ops/root_mean_square.py.
"""

# %% [markdown]
# ## What a norm is for
#
# In a deep network the numbers grow or shrink from layer to layer. A norm brings each row back to mean 0 and spread 1:
#
#     n = (x - mean) / √(var + eps)
#
# `mean` and `var` are those of the row itself, over its C channels; var is the mean of the squared differences (divided
# by C, not by C - 1). eps = 1e-5 keeps a row of equal numbers from a division by 0.
#
# ## Three paths
#
# Raise one x of the row a little. Three things happen:
#
# 1. its own n rises (divided by the spread),
# 2. the mean rises, so *all* n of the row fall a little,
# 3. the spread changes, so all n are stretched or squeezed.
#
# The usual mistake is to treat mean and variance as numbers that are simply there. They are made from x. Written out
# and added up, for each row:
#
#     dx = (dn - mean(dn) - n * mean(dn * n)) / √(var + eps)
#
# The first term is the direct path, the second goes through the mean, the third through the variance. Two things follow
# that can be checked: the row of dx adds up to 0 (raising all x alike changes nothing), and so does dx * n, nearly
# (stretching x changes nothing).

# %%
import numpy as np

EPS = 1e-5

# %% predict
# All numbers of a row are doubled. What happens to n: doubled, halved, or nothing?
PREDICTION = None

# %%
if __name__ == "__main__":
    row = np.array([1.0, 2.0, 4.0])
    for x in (row, 2 * row, row + 100):
        print(x, "->", ((x - x.mean()) / x.std()).round(3))


# %% exercise
def normalise(x):
    """x (N, C). z (N, C): each row with mean 0 and spread 1; EPS under the root."""
    ### BEGIN SOLUTION
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
    z = centred / spread

    def backward(dz):
        through_mean = dz.mean(-1, keepdims=True)
        through_spread = z * (dz * z).mean(-1, keepdims=True)
        return (dz - through_mean - through_spread) / spread

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    z, backward = normalise(np.array([[1.0, 2.0, 4.0, 9.0]]))
    dx = backward(np.array([[1.0, 0.0, 0.0, 0.0]]))
    print("dx", dx.round(3), "adds up to", abs(dx.sum().round(9)))

# %% [markdown]
# ## Layer norm
#
# Mean 0 and spread 1 may not be what the next layer likes best. So layer norm ends with a scale and a shift that are
# learned, one of each per channel. They are shared by all rows, so their gradients are sums over rows (chapter 4).
#
#     z = n * weight + bias
#     dweight = sum over rows of dz * n,   dbias = sum over rows of dz,   dn = dz * weight
#
# Then dn goes the three ways back. Forgetting `weight` in dn is easy to miss: at the start of a training it is 1.


# %% exercise
def layer_norm(x, weight, bias):
    """x (N, C), weight (C,), bias (C,). z (N, C); three gradients."""
    ### BEGIN SOLUTION
    n, back = normalise(x)
    z = n * weight + bias

    def backward(dz):
        return back(dz * weight), (dz * n).sum(0), dz.sum(0)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## One path less
#
# RMS norm, in LLaMA and its kin, leaves the mean alone: it divides by the root of the mean square. One path less, and
# one term less in dx:
#
#     n = x / √(mean(x²) + eps)
#     dx = (dn - n * mean(dn * n)) / √(mean(x²) + eps)
#
# *Batch* norm takes mean and spread over the batch, down the columns: the examples of a batch then depend on each
# other, in the backward too, and at use there has to be a stored mean. Layer norm knows nothing of the batch.


# %% exercise
def rms_norm(x, weight):
    """x (N, C), weight (C,). z = n * weight; two gradients."""
    ### BEGIN SOLUTION
    root = np.sqrt((x * x).mean(-1, keepdims=True) + EPS)
    n = x / root
    z = n * weight

    def backward(dz):
        dn = dz * weight
        return (dn - n * (dn * n).mean(-1, keepdims=True)) / root, (dz * n).sum(0)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## Look at it
#
# `python -m minigrad step --html norm.html chapter06.py` steps through this backward, with all its numbers.

# %%
if __name__ == "__main__":
    import minigrad as mg

    x = mg.tensor(np.random.default_rng(0).normal(size=(2, 5)), requires_grad=True)
    weight, bias = mg.tensor(np.ones(5), requires_grad=True), mg.tensor(np.zeros(5), requires_grad=True)
    (mg.apply(layer_norm, x, weight, bias) * mg.arange(5.0)).sum().backward()
    print("each row of dx adds up to 0:", abs(x.grad.numpy().sum(-1).round(6)))
