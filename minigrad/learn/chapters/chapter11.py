"""11 · Order

idea: Attention sees a set of tokens, not a sequence; places have to be told, by adding them, or by turning.

able: write sinusoidal positions and rotary embedding, and say what in a score then depends on the distance alone.

minutes: 45

next: Next is chapter 12, a GPT. In the library: minigrad/nn/positions.py has these and more, and a model takes one by a
word, such as positions="rotary".
"""

# %% [markdown]
# ## A set, not a sequence
#
# Exchange two tokens of the input of a head without a mask. Their results are exchanged, and nothing else changes: a
# score compares two tokens, wherever they stand. "Dog bites man" is "man bites dog". So the place must be put into the
# numbers.
#
# ## Sines
#
# The first transformer *adds* to each token a row of numbers that describes its place t. Like the hands of many clocks:
# channel pair i turns at its own speed, the first fast, the last very slowly.
#
#     z[t, 2 i]     = sin(t / 10000^(2 i / C))
#     z[t, 2 i + 1] = cos(t / 10000^(2 i / C))
#
# Why sines? All numbers stay between -1 and 1, however long the text. No two places look alike. And the product of two
# rows depends on their distance alone: sin a sin b + cos a cos b = cos(a - b). Why added, and not put beside? Beside
# costs channels; added, the model can keep both apart, as C directions have room for two small sets of them.

# %%
import numpy as np


# %% exercise
def sinusoids(T, C):
    """T places, C channels (even). Returns (T, C)."""
    ### BEGIN SOLUTION
    speed = 1 / 10000 ** (np.arange(0, C, 2) / C)
    angle = np.arange(T)[:, None] * speed
    z = np.zeros((T, C))
    z[:, 0::2], z[:, 1::2] = np.sin(angle), np.cos(angle)
    ### END SOLUTION
    return z


# %% predict
# The product of rows 10 and 13, and that of rows 50 and 53: equal, or not?
PREDICTION = None

# %%
if __name__ == "__main__":
    z = sinusoids(60, 16)
    print("rows 10 and 13:", (z[10] @ z[13]).round(6), " rows 50 and 53:", (z[50] @ z[53]).round(6))

# %% [markdown]
# ## Turning
#
# Rotary embedding (RoPE) adds nothing. It *turns* query and key, each pair of channels by an angle that grows with
# the place: t times the speed of the pair. A query at place t and a key at place s are turned by angles whose
# difference is (t - s) times the speed; a product of turned vectors sees only this difference. So the score depends
# on what the tokens are and how far apart, and not on where they are.
#
# Only query and key are turned: they make the scores. The *value* is what is handed over, and stays as it is.
#
# Which channels are a pair? Two customs are in use: neighbours (0, 1), (2, 3), ..., as here, or the first half with the
# second. Both are right; weights trained with one do not fit the other. Turning a pair (a, b) by an angle:
#
#     a' = a cos - b sin
#     b' = a sin + b cos
#
# The way back turns the other way: a turn changes no length, so its transpose is its inverse.


# %% exercise
def rotary(x):
    """x (T, D), D even: row t is at place t. Pairs are neighbours, pair i has speed 10000^(-2 i / D). z (T, D)."""
    ### BEGIN SOLUTION
    T, D = x.shape
    angle = np.arange(T)[:, None] / 10000 ** (np.arange(0, D, 2) / D)
    cos, sin = np.cos(angle), np.sin(angle)

    def turn(x, sin):
        z = np.empty_like(x)
        z[:, 0::2] = x[:, 0::2] * cos - x[:, 1::2] * sin
        z[:, 1::2] = x[:, 0::2] * sin + x[:, 1::2] * cos
        return z

    z = turn(x, sin)

    def backward(dz):
        return turn(dz, -sin)

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    q, k = np.random.default_rng(0).normal(size=(2, 8))
    scores = rotary(np.tile(q, (6, 1)))[0] @ rotary(np.tile(k, (6, 1)))[0].T
    print("the same query and key at all places; scores by distance (rows: query, columns: key)")
    print(scores[:4, :4].round(2))
