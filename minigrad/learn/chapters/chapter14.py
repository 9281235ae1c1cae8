"""14 · Two texts

idea: To translate, the text that is written asks the text that was read: its own queries, the other's keys and values.

able: write cross-attention with padding, shift a target for teacher forcing, and take a loss over real tokens alone.

minutes: 45

next: Next is chapter 15, looking inside. In the library: models/t5.py; python -m minigrad examples train_translation
learns "forty-two" to "zweiundvierzig", and its map shows tens and units changing places.
"""

# %% [markdown]
# ## Whose query?
#
# A text is read (S tokens) and another is written (T tokens). Each token that is written looks into the text that was
# read. So **query** comes from what is written, **key and value** from what was read. The weights are (T, S): a row for
# each written token. Read the other way round, the read text would ask the written one, which is not there yet.
#
# No causal mask here: all that was read may be seen. It belongs into the self-attention of what is written.
#
# ## Padding
#
# Texts in a batch differ in length; short ones are filled up. These places are not text: nobody may look at them. The
# mask is by *key*: a column is closed for all queries. Libraries differ in what True means, "may be seen" or "is to be
# ignored"; a mask the wrong way round gives no error, and a model that reads only padding. Here True is a real token.
# A mask of 0 and 1 as *numbers* is worse: it is added to the scores, and hides nothing.

# %%
import numpy as np


# %% exercise
def cross_attention(query, key, value, real):
    """query (T, D); key (S, D), value (S, D); real (S,): True where there is a token. z (T, D); no backward."""
    ### BEGIN SOLUTION
    s = query @ key.T / np.sqrt(query.shape[-1])
    s = np.where(real, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    z = e / e.sum(-1, keepdims=True) @ value
    ### END SOLUTION
    return z


# %% predict
# Two of five keys are padding. The mask of 0 and 1 is added to the scores by mistake. How much of the weight do the
# two get, if all scores are equal: 0, 0.2 or 0.4?
PREDICTION = None

# %%
if __name__ == "__main__":
    e = np.exp(np.zeros(5) + np.array([1.0, 1, 1, 0, 0]))
    print("weight on padding:", (e / e.sum())[3:].sum().round(3))

# %% [markdown]
# ## Teacher forcing
#
# The writer is to give token t from the tokens before it. In training these are taken from the *right* text, whatever
# the model would have written: then all T places are trained at once, and an early mistake does not spoil the rest. So
# its input is the target, shifted right by one, with a start token in front:
#
#     target   z w e i END
#     input    START z w e i
#
# The input has the length of the target, so the last token falls out. In use there is no right text: the model reads
# what it has written itself, which it never saw in training. That is the price.


# %% exercise
def shift_right(target, start):
    """target (T,): ids. Returns the input (T,) of the writer."""
    ### BEGIN SOLUTION
    shifted = np.concatenate([[start], target[:-1]])
    ### END SOLUTION
    return shifted


# %% [markdown]
# ## The loss of real tokens
#
# Padding has no right answer: its loss does not count. And the mean is over the tokens that do count. Divide by all
# places, and a batch with much padding has a small loss, and small steps, for no reason.


# %% exercise
def real_loss(losses, real):
    """losses (B, T): one for each place; real (B, T): True where it counts. One number, and its backward."""
    ### BEGIN SOLUTION
    count = real.sum()
    z = (losses * real).sum() / count

    def backward(dz):
        return dz * real / count

    ### END SOLUTION
    return z, backward


# %%
if __name__ == "__main__":
    print("input of the writer:", shift_right(np.array([26, 23, 5, 9, 1]), 0))
    losses, real = np.full((2, 4), 2.0), np.array([[True] * 4, [True, False, False, False]])
    print("loss", real_loss(losses, real)[0], "; over all places it would be", (losses * real).mean())
