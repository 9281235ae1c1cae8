"""4 · Tables of numbers

idea: The same two rules, for whole tables at once: multiply on the way back, and add up where a number was used often.

able: write matmul, bias, mean and embedding with their backward, and tell from the shapes where the transposes go.

minutes: 60

next: Next is chapter 5, from scores to a loss. In the library: minigrad/core/products.py and minigrad/core/places.py.
docs/checks.md shows what `python -m minigrad check` says of an op of yours.
"""

# %% [markdown]
# ## Why tables
#
# A network of single numbers is slow: Python works on each. NumPy works on a table at once, so the ops become ops on
# tables. Nothing else changes. `dz` is a table of the shape of `z`: it says for each number of z by how much the loss
# rises if that number rises by 1. `backward` returns a table for each input, in *that input's* shape: the loss has one
# slope for each of its numbers.
#
# ## The shapes tell where the transposes go
#
# `z = x @ w`, with x (N, I) and w (I, O). Each number of z is a sum of products: z[n, o] = Σ x[n, i] w[i, o]. By the
# rule of multiplying, x[n, i] gets dz[n, o] times w[i, o]; and as x[n, i] is used for every o, all of these are added:
#
#     dx[n, i] = Σ over o of dz[n, o] w[i, o]       that is   dx = dz @ wᵀ
#     dw[i, o] = Σ over n of x[n, i] dz[n, o]       that is   dw = xᵀ @ dz
#
# You need not remember this. dx must be (N, I); of dz (N, O) and w (I, O) only `dz @ wᵀ` is. A transpose is not an
# inverse: nothing is undone on the way back, slopes are multiplied and added up.

# %%
import numpy as np


# %% exercise
def matmul(x, w):
    """x (N, I), w (I, O). z (N, O)."""
    ### BEGIN SOLUTION
    z = x @ w

    def backward(dz):
        return dz @ w.T, x.T @ dz

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## One number, used many times
#
# A bias b (O,) is added to every row of a batch: NumPy stretches it, that is called broadcasting. So each number of b
# is used N times, and moves N numbers of z. All N contributions are added up: the gradient of what was stretched is a
# sum over the axis along which it was stretched. It has the shape of b again. Returning dz as it is, with N rows, is
# the most frequent mistake with tables.

# %% predict
# b is added to 3 rows, and the loss is the sum of all numbers. If b[0] rises by 1, by how much does the loss: 1 or 3?
PREDICTION = None

# %%
if __name__ == "__main__":
    x, b = np.zeros((3, 2)), np.zeros(2)
    print("the loss rises by", (x + (b + np.array([1, 0]))).sum() - (x + b).sum())


# %% exercise
def add_bias(x, b):
    """x (N, O), b (O,). z (N, O)."""
    ### BEGIN SOLUTION
    z = x + b

    def backward(dz):
        return dz, dz.sum(0)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## A mean
#
# The mean of N numbers moves by 1/N if one of them rises by 1. Forward, N numbers become one; backward, one number is
# dealt out to N places: each gets dz / N. Here the mean of each row is taken, so N is the length of a row.


# %% exercise
def mean(x):
    """x (N, C). z (N,): the mean of each row."""
    ### BEGIN SOLUTION
    z = x.mean(-1)

    def backward(dz):
        return np.repeat(dz[:, None], x.shape[-1], axis=1) / x.shape[-1]

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## A table to look up in
#
# An embedding holds a row of numbers for each token. Forward it picks rows; there is no arithmetic. Backward, a row
# gets the gradients of all places at which it was picked. A token that occurs twice gets *two* contributions. In NumPy
# `dtable[ids] += dz` is a trap: for an id that stands there twice it adds only once. `np.add.at(dtable, ids, dz)` adds
# each. Rows that were not picked get 0.


# %% exercise
def embedding(table, ids):
    """table (V, C), ids (N,): whole numbers from 0 to V - 1. z (N, C): the rows of these ids."""
    ### BEGIN SOLUTION
    z = table[ids]

    def backward(dz):
        dtable = np.zeros_like(table)
        np.add.at(dtable, ids, dz)
        return dtable

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    z, backward = embedding(np.arange(8.0).reshape(4, 2), np.array([3, 0, 3]))
    print("rows", z.tolist())
    print("row 3 was picked twice:", backward(np.ones((3, 2))).tolist())

# %% [markdown]
# ## A linear layer
#
# matmul and bias together are the linear layer, where most of the work of any network is done. Your two ops have the
# form of the library's, so its engine runs them, and its graph shows them:

# %%
if __name__ == "__main__":
    import minigrad as mg

    x = mg.tensor(np.random.default_rng(0).normal(size=(4, 3)))
    w, b = mg.tensor(np.ones((3, 2)), requires_grad=True), mg.tensor(np.zeros(2), requires_grad=True)
    loss = mg.apply(add_bias, mg.apply(matmul, x, w), b).sum()
    loss.backward()
    print("the bias moves each of the 4 rows:", b.grad.tolist())
