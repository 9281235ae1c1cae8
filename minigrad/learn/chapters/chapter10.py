"""10 · Many heads

idea: Cut the channels into heads, let each look somewhere else, lay their answers side by side and mix them.

able: split and join heads without mixing tokens, and write multi-head attention with all five of its gradients.

minutes: 60

next: Next is chapter 11, the order of tokens. In the library: split_heads and attend in models/attention.py.
python -m minigrad examples 05_many_heads measures it: one head is 12 % right, two heads of half the size 100 %.
"""

# %% [markdown]
# ## Why several heads?
#
# One head gives each token *one* mean of values. If a token needs two things from two places, the weights of these two
# add up to 1, and the values are mixed: it gets half of each, and cannot tell them apart. With two heads it gets both,
# side by side.
#
# Each head is small. With C channels and H heads a head has D = C / H of them, so all heads together cost as much as
# one large head. Whether you write H small matrices (C, D) or one large matrix (C, C) and cut its result, is the same
# thing: the columns of the large one, D at a time, are the small ones.
#
# Why do the heads not end up equal? They start at different random numbers, and each gets its own gradient.
#
# ## Why view, then transpose?
#
# After `x @ wq` the channels of a token lie side by side: D numbers for head 0, D for head 1, and so on. So:
#
#     x                    (B, T, C)
#     x.reshape(B, T, H, D)          the channels of each token are cut in H pieces
#     x.transpose(0, 2, 1, 3)        (B, H, T, D): heads go to the front, as another batch axis
#
# A reshape never moves a number: it reads the same numbers in the same order. `x.reshape(B, H, T, D)` at once gives the
# right *shape*, raises nothing, and mixes the channels of different tokens. The model even trains a little.

# %%
import numpy as np

# %% predict
# Token 0 is [0, 1, 2, 3], token 1 is [10, 11, 12, 13]; two heads. What does head 0 hold of token 1,
# if x is reshaped to (H, T, D) at once: [10, 11] or [2, 3]?
PREDICTION = None

# %%
if __name__ == "__main__":
    x = np.array([[0, 1, 2, 3], [10, 11, 12, 13]])
    print("at once, head 0:         ", x.reshape(2, 2, 2)[0].tolist())
    print("cut, then turned, head 0:", x.reshape(2, 2, 2).swapaxes(0, 1)[0].tolist())


# %% exercise
def split_heads(x, heads):
    """x (B, T, C). z (B, H, T, D): the channels of each token, cut into heads. C = H * D."""
    ### BEGIN SOLUTION
    B, T, C = x.shape
    z = x.reshape(B, T, heads, C // heads).transpose(0, 2, 1, 3)

    def backward(dz):
        return dz.transpose(0, 2, 1, 3).reshape(B, T, C)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# The way back is the same road in the other direction: each number of dz belongs where its number came from. And the
# backward of splitting is joining: the next function is the same pair, the other way round.


# %% exercise
def join_heads(x):
    """x (B, H, T, D). z (B, T, C): for each token the heads side by side."""
    ### BEGIN SOLUTION
    B, H, T, D = x.shape
    z = x.transpose(0, 2, 1, 3).reshape(B, T, H * D)

    def backward(dz):
        return dz.reshape(B, T, H, D).transpose(0, 2, 1, 3)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## All together
#
#     q, k, v = split(x @ wq), split(x @ wk), split(x @ wv)      (B, H, T, D) each
#     a = softmax(q @ kᵀ / √D)                                   each head on its own; D, not C
#     z = join(a @ v) @ wo                                       (B, T, C)
#
# What is `wo` for? Side by side, the heads know nothing of each other: the output matrix mixes what they found, and
# writes it in the model's own terms, so that it can be added to the stream of the token (chapter 12).
#
# The backward is that of chapter 9 for each head (`swapaxes(-1, -2)` is the transpose when there are axes in front),
# with a matrix product before and after. For `y = x @ w` on (B, T, C), the weight's gradient sums over batch and time:
#
#     dw = xᵀ @ dy, with x and dy as (B * T, C)
#     dx = dy @ wᵀ
#
# x is used *three* times: for query, key and value. Three contributions are added up.


# %% exercise
def multi_head(x, wq, wk, wv, wo, heads):
    """x (B, T, C), four matrices (C, C). z (B, T, C); five gradients, in this order. No mask."""
    ### BEGIN SOLUTION
    B, T, C = x.shape
    scale = 1 / np.sqrt(C // heads)
    flat = x.reshape(B * T, C)
    q, back_q = split_heads(x @ wq, heads)
    k, back_k = split_heads(x @ wk, heads)
    v, back_v = split_heads(x @ wv, heads)
    s = q @ k.swapaxes(-1, -2) * scale
    e = np.exp(s - s.max(-1, keepdims=True))
    a = e / e.sum(-1, keepdims=True)
    joined, back_join = join_heads(a @ v)
    z = joined @ wo

    def backward(dz):
        dwo = joined.reshape(B * T, C).T @ dz.reshape(B * T, C)
        dout = back_join(dz @ wo.T)
        da = dout @ v.swapaxes(-1, -2)
        ds = a * (da - (da * a).sum(-1, keepdims=True)) * scale
        dq = back_q(ds @ k)
        dk = back_k(ds.swapaxes(-1, -2) @ q)
        dv = back_v(a.swapaxes(-1, -2) @ dout)
        dx = dq @ wq.T + dk @ wk.T + dv @ wv.T
        return dx, *(flat.T @ d.reshape(B * T, C) for d in (dq, dk, dv)), dwo

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## One head or two
#
# Each head has weights of its own, so each can look elsewhere. Here, at random matrices, two heads already choose
# different tokens. After training that is what they are for.

# %%
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 6))
    wq, wk, wv, wo = rng.normal(size=(4, 6, 6))
    z, backward = multi_head(x, wq, wk, wv, wo, 2)
    print("z", z.shape, " gradients", [d.shape for d in backward(np.ones_like(z))])
    q, k = split_heads(x @ wq, 2)[0], split_heads(x @ wk, 2)[0]
    s = q @ k.swapaxes(-1, -2) / np.sqrt(3)
    for head in range(2):
        print(f"head {head} of token 3 looks at token", int(s[0, head, 3].argmax()))
