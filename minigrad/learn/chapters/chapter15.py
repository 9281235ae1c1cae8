"""15 · Looking inside

idea: A picture of weights is a guess. Remove a part, put another in its place, read the stream early: that is evidence.

able: test what a head is for, say what queries and keys are free to be, and read a model before its last layer.

minutes: 60

next: Next is a real model: python -m minigrad fetch minilm brings one. In the library, mg.attention(model, text) shows
every head of a model as a page, and python -m minigrad examples attention_workbench writes one.
"""

# %% [markdown]
# ## What Q and K are free to be
#
# "The query is what a token looks for, the key is by what it is found." It is a good story to learn the formula by.
# Does anything force the numbers to follow it? The scores are
#
#     s = (x Wq) (x Wk)ᵀ = x (Wq Wkᵀ) xᵀ
#
# so only the *product* of the two matrices counts. Take any matrix M that can be inverted: Wq M and Wk M⁻ᵀ have the
# same product, so the same scores, the same weights, the same model, to the last digit. And every number in queries
# and keys is another one. So a single query has no meaning of its own: only what it gives with the keys.

# %%
import numpy as np


# %% exercise
def turned(wq, wk, M):
    """wq, wk (C, D), M (D, D). Returns wq @ M, and the wk that leaves all scores as they are."""
    ### BEGIN SOLUTION
    new_q = wq @ M
    new_k = wk @ np.linalg.inv(M).T
    ### END SOLUTION
    return new_q, new_k


# %% predict
# A head is trained. Now Wq and Wk change places. What happens to its scores: nothing, transposed, or nonsense?
# And does the model stay as good: "yes" or "no"?
PREDICTION = None

# %%
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, wq, wk = rng.normal(size=(5, 6)), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    q, k = turned(wq, wk, rng.normal(size=(3, 3)))
    s = x @ wq @ wk.T @ x.T
    print(
        "scores change by",
        abs(x @ q @ k.T @ x.T - s).max().round(9),
        "and queries by",
        abs(x @ (q - wq)).max().round(2),
    )
    print("exchanged, they are the transposed ones:", np.allclose(x @ wk @ wq.T @ x.T, s.T))

# %% [markdown]
# Two seeds of one small model, trained on one task, show it: their Wq have a cosine of 0.2 at most, their Wq Wkᵀ one of
# 0.7 to 0.8. What is learned is the product. Exchanged, Wq and Wk break the model: "who looks at whom" is turned round.
#
# ## Remove it
#
# What is a head for? Take it away, and see what becomes worse. But set to 0 it may do harm in another way: later layers
# have never seen a 0 there, and stumble over that, not over what is missing. Better is its **mean** over many examples:
# the head still says what it usually says, and nothing about this text.


# %% exercise
def without_head(heads, which):
    """heads (B, H, T, D): what each head gives. Returns a copy in which one head says its mean over the batch."""
    ### BEGIN SOLUTION
    out = heads.copy()
    out[:, which] = heads[:, which].mean(0)
    ### END SOLUTION
    return out


# %% [markdown]
# ## Replace it
#
# Sharper still: run the model on two texts that differ in one thing ("The cat sat", "The dog sat"). Then run the second
# again, and put *one* activation of the first in its place: one layer, one position. If the answer turns round, what
# the model needed passed through there. All other places stay as they were in the second run.


# %% exercise
def patched(clean, broken, layer, place):
    """clean, broken (L, T, C): the streams of two runs. Returns broken, with one layer and place from clean."""
    ### BEGIN SOLUTION
    out = broken.copy()
    out[layer, place] = clean[layer, place]
    ### END SOLUTION
    return out


# %% [markdown]
# ## Read it early
#
# Every block adds to the stream, and the last matrix reads it. So it can read the stream after any block: what would
# the model say if it had to speak now? Often the first blocks say nonsense, the middle ones the topic, the last ones
# the word. The final norm belongs to the reading: without it the sizes are not those that the matrix knows.


# %% exercise
def read_early(streams, table):
    """streams (L, T, C), one for each layer; table (V, C).

    Returns shares (L, T, V): rows normalised (eps 1e-5), @ tableᵀ, softmax.
    """
    ### BEGIN SOLUTION
    n = streams - streams.mean(-1, keepdims=True)
    n = n / np.sqrt((n * n).mean(-1, keepdims=True) + 1e-5)
    s = n @ table.T
    e = np.exp(s - s.max(-1, keepdims=True))
    shares = e / e.sum(-1, keepdims=True)
    ### END SOLUTION
    return shares


# %% [markdown]
# ## Traps
#
# - Large attention is not importance: a weight on a value of size 0 does nothing. And a head may have a place to rest,
#   usually the first token, where it looks when it has nothing to do.
# - A mean over many texts hides that a head does two things.
# - Sequences repeated at a *fixed* distance are solved by counting places: no head need look at content at all. Let the
#   distance vary before you call a head an induction head.

# %%
if __name__ == "__main__":
    streams = np.cumsum(rng.normal(size=(4, 1, 8)), axis=0)
    table = np.eye(8) * 2
    for layer, shares in enumerate(read_early(streams, table)):
        print(f"after block {layer}: token {shares[0].argmax()} with {shares[0].max():.2f}")
