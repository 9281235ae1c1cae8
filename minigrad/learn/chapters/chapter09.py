"""9 · One head, forward and backward

idea: A token asks, all tokens offer, and what comes back is a mean of values weighted by how well they fit.

able: write scaled dot-product attention with its backward by hand, mask the future, and say why it is divided by √D.

minutes: 75

next: Next is chapter 10, many heads at once. In the library: minigrad/core/attention.py is this chapter in one op.
python -m minigrad examples 04_one_head_by_hand prints every number of one head; 03_why_divide_by_sqrt_d measures.
"""

# %% [markdown]
# ## A look-up that can learn
#
# A dictionary compares your key with all its keys and gives back one value. Attention does the same softly. Each token
# has three short vectors:
#
# - its *query*: what it looks for,
# - its *key*: by what it wants to be found,
# - its *value*: what it hands over when it is found.
#
# All three are made from the token by a matrix each, and the matrices are learned. The names are a story that helps to
# read the formula. Nothing forces the numbers to follow it: chapter 15 takes the story apart.
#
#     s = query @ keyᵀ / √D         scores (T, S): how well query t fits key s
#     a = softmax(s)                weights: each row is positive and adds up to 1
#     z = a @ value                 (T, E): a mean of values for each query
#
# T queries, S keys and values. In self-attention T = S: the same tokens ask and offer.
#
# ## Why √D?
#
# A score adds up D products. If the numbers in query and key are spread around 0 with spread 1, the sum has spread √D.
# With D = 64 scores of 8 and -8 are usual, softmax then gives nearly everything to one key, and its gradient is nearly
# 0: z * (1 - z) at z = 0 or z = 1. Divided by √D, scores have spread 1 whatever D is. (Not by D: they would all be
# nearly 0, and the head could not choose.)

# %%
import numpy as np

# %% predict
# Query and key have 1024 random numbers each, of spread 1. How large is their product, roughly:
# 1, 32 or 1024? Write it down, then run this file.
PREDICTION = None

# %%
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for D in (4, 64, 1024):
        s = (rng.normal(size=(1000, D)) * rng.normal(size=(1000, D))).sum(-1)
        print(f"D = {D:4}: spread of the scores {s.std():5.1f}, divided by √D {(s / np.sqrt(D)).std():.2f}")

# %% [markdown]
# ## The scores
#
# Start with the scores alone. For the backward let the shapes tell where the transposes go. `ds` is (T, S), `key` is
# (S, D), and `dquery` must be (T, D): only `ds @ key` fits. And `dkey` must be (S, D): `dsᵀ @ query`. The factor 1/√D
# is a number: what is scaled in the forward is scaled in the backward.


# %% exercise
def scores(query, key):
    """query (T, D), key (S, D). z (T, S) = query @ keyᵀ / √D."""
    ### BEGIN SOLUTION
    scale = 1 / np.sqrt(query.shape[-1])
    z = query @ key.T * scale

    def backward(dz):
        return dz @ key * scale, dz.T @ query * scale

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## The whole head
#
# Three steps forward, so three steps back, last one first. `z = a @ value` is a matrix product: it gives `dvalue` and
# `da`. Then softmax (chapter 5): both its paths, a row at a time. Then the scores.
#
#     dvalue = aᵀ @ dz
#     da = dz @ valueᵀ
#     ds = a * (da - sum(da * a))       the sum over each row
#     dquery = ds @ key / √D
#     dkey = dsᵀ @ query / √D
#
# A gradient reaches the value on one path: through the mean. It reaches query and key only through the *weights*: if
# the weights did not move when a score moves, as with a hard choice, they could never learn where to look.


# %% exercise
def attention(query, key, value):
    """query (T, D), key (S, D), value (S, E). z (T, E) = softmax(query @ keyᵀ / √D) @ value; three gradients."""
    ### BEGIN SOLUTION
    scale = 1 / np.sqrt(query.shape[-1])
    s = query @ key.T * scale
    e = np.exp(s - s.max(-1, keepdims=True))
    a = e / e.sum(-1, keepdims=True)
    z = a @ value

    def backward(dz):
        dvalue = a.T @ dz
        da = dz @ value.T
        ds = a * (da - (da * a).sum(-1, keepdims=True))
        return ds @ key * scale, ds.T @ query * scale, dvalue

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    tokens = "the cat sat on the mat".split()
    x = np.random.default_rng(1).normal(size=(6, 8))
    a, _ = attention(x, x, np.eye(6))  # values that name their token: z is then the weights themselves
    print("weights of a head whose query and key are the token itself:")
    for token, row in zip(tokens, a, strict=True):
        print(f"  {token:4}", " ".join(f"{w:.2f}" for w in row))

# %% [markdown]
# ## No looking ahead
#
# A GPT is to predict the next token, and in training it sees the whole text at once. Without a mask it would look one
# place ahead and copy the answer: a perfect loss, and nothing learned. So the score of each *later* key is set to minus
# infinity **before** the softmax: exp(-inf) is 0, and the weights of the others still add up to 1.
#
# Three traps. Set to 0 after the softmax, the rest no longer adds up to 1. Set to 0 before the softmax, it still has
# exp(0) = 1. And the diagonal stays: a token may look at itself, so the first token has something to look at.
#
# Why mask in training, when later tokens do not exist yet in use? Because T predictions are trained in one go: each
# place must do with what it will have.


# %% exercise
def causal_attention(query, key, value):
    """As attention, with T = S: the query at place t sees the keys at places 0 to t."""
    ### BEGIN SOLUTION
    scale = 1 / np.sqrt(query.shape[-1])
    s = query @ key.T * scale
    s = np.where(np.tri(len(s)) == 1, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    a = e / e.sum(-1, keepdims=True)
    z = a @ value

    def backward(dz):
        dvalue = a.T @ dz
        da = dz @ value.T
        ds = a * (da - (da * a).sum(-1, keepdims=True))
        return ds @ key * scale, ds.T @ query * scale, dvalue

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    a, _ = causal_attention(x, x, np.eye(6))
    print("and causal:")
    for token, row in zip(tokens, a, strict=True):
        print(f"  {token:4}", " ".join(f"{w:.2f}" if w else " -  " for w in row))

# %% [markdown]
# ## Look at it
#
# Your functions have the form of the library's ops, so its engine runs them. `mg.apply(f, *tensors)` calls yours, and
# backward() walks back through yours. Then all tools work on them:
#
#     python -m minigrad step --html head.html chapter09.py
#
# makes a page that steps through this backward, with every number of your three gradients.

# %%
if __name__ == "__main__":
    import minigrad as mg

    q, k, v = (mg.tensor(np.random.default_rng(i).normal(size=(6, 8)), requires_grad=True) for i in range(3))
    mg.apply(causal_attention, q, k, v).sum().backward()
    print("gradient of the last key, which one query sees:", k.grad.numpy()[-1].round(2))
