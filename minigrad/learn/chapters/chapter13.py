"""13 · Speaking: temperature, top-k, cache

idea: A model gives shares for the next token; how one is drawn from them decides how it speaks, and a cache how fast.

able: sample with temperature, top-k and top-p, and write the cache, and say why queries are not kept.

minutes: 45

next: Next is chapter 14, two texts. In the library: models/generate.py draws and keeps, examples/sample.py uses it.
"""

# %% [markdown]
# ## One token after another
#
# A GPT does not write a text. It says how likely each token is to come next; one is *drawn*, put behind the text, and
# the question is asked again. So there is a choice to make that training knows nothing of.
#
# Always the most likely one? Such texts run in circles: after "the" comes "the most", and so for ever. Draw by the
# shares as they are? Then once in a while a very unlikely token comes, and the text never recovers from it.
#
# ## Temperature
#
# Divide the scores by a temperature before the softmax. Below 1 the differences grow: bolder to the likely ones.
# Above 1 they shrink: more even. Near 0 the largest gets all. It must be done to the *scores*: shares divided by a
# number, and brought back to the sum 1, are the same shares again.

# %%
import numpy as np


# %% exercise
def tempered(scores, temperature):
    """scores (V,). Returns the shares (V,) at this temperature."""
    ### BEGIN SOLUTION
    s = scores / temperature
    e = np.exp(s - s.max())
    shares = e / e.sum()
    ### END SOLUTION
    return shares


# %% predict
# Shares 0.7, 0.2, 0.1. At temperature 0.5, what is the first: 0.5, 0.7 or 0.9?
PREDICTION = None

# %%
if __name__ == "__main__":
    for temperature in (0.1, 0.5, 1.0, 2.0):
        print(f"temperature {temperature}:", tempered(np.log([0.7, 0.2, 0.1]), temperature).round(3))

# %% [markdown]
# ## Top-k and top-p
#
# The unlikely tokens are many. Each has a tiny share, together they have a lot. Top-k keeps the k best scores and sets
# all others to minus infinity, so that their share is 0. The rest still adds up to 1, as softmax comes after it.
#
# But how many are sensible depends on the place: after "New York" few, after "the" thousands. Top-p takes the smallest
# number of best tokens that *together* have at least p, and gives them the whole.


# %% exercise
def top_k(scores, k):
    """scores (V,). Returns the scores (V,), with all but the k largest at -inf."""
    ### BEGIN SOLUTION
    smallest = np.sort(scores)[-k]
    kept = np.where(scores >= smallest, scores, -np.inf)
    ### END SOLUTION
    return kept


# %% exercise
def top_p(shares, p):
    """shares (V,). Returns shares (V,): the fewest best that have p together, brought to the sum 1; others 0."""
    ### BEGIN SOLUTION
    order = np.argsort(-shares)
    before = np.cumsum(shares[order]) - shares[order]
    kept = np.zeros_like(shares)
    kept[order[before < p]] = shares[order[before < p]]
    kept = kept / kept.sum()
    ### END SOLUTION
    return kept


# %%
if __name__ == "__main__":
    print("top 2:  ", top_k(np.array([1.0, 3.0, 2.0, 0.5]), 2))
    print("top 0.8:", top_p(np.array([0.1, 0.5, 0.15, 0.25]), 0.8).round(3))

# %% [markdown]
# ## The cache
#
# To draw token 101 a model looks at 100 tokens. For token 102 it looks at the same 100, and one more. Their keys and
# values are what they were: with the mask of chapter 9, nothing that comes later changes an earlier token. So keep
# them, and compute the new token alone: one query, one more key, one more value.
#
# Why not keep the queries? A query asks once, when its token is new. Its answer is done; no later token needs it. What
# later tokens do need is by what the old one can be found (key), and what it says (value).
#
# And no mask is needed: the newest token may see all that is there.


# %% exercise
def cached_attention(query, key, value, keys, values):
    """query, key, value (D,) of the new token; keys, values (S, D) kept so far.

    Returns three: what the new token gathers (D,), and the keys and values (S + 1, D) to keep.
    """
    ### BEGIN SOLUTION
    keys, values = np.vstack([keys, key]), np.vstack([values, value])
    s = keys @ query / np.sqrt(len(query))
    e = np.exp(s - s.max())
    out = e / e.sum() @ values
    ### END SOLUTION
    return out, keys, values


# %%
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 6, 4))
    s = np.where(np.tri(6) == 1, q @ k.T / 2, -np.inf)
    a = np.exp(s - s.max(-1, keepdims=True))
    whole = a / a.sum(-1, keepdims=True) @ v
    keys = values = np.zeros((0, 4))
    for t in range(6):
        out, keys, values = cached_attention(q[t], k[t], v[t], keys, values)
    print("the last token, all at once and by the cache, differ by", abs(out - whole[-1]).max().round(12))
    lengths = np.arange(1, 1001)
    print(f"products for 1000 tokens: {(lengths**2).sum():,} without a cache, {lengths.sum():,} with one")
