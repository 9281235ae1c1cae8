"""1 · A look-up that can learn

idea: A dictionary gives one value or none; a soft look-up gives a mean of all, and so can be improved bit by bit.

able: write a soft look-up, say what query, key and value are, and why a hard choice cannot learn.

minutes: 30

next: Next is chapter 2, slopes. python -m minigrad examples 01_soft_lookup goes on: at temperature 0.01 the soft answer
is the hard one, and a soft look-up finds its keys by training.
"""

# %% [markdown]
# ## From a dictionary to a soft one
#
# You ask a dictionary with a *query*. It compares the query with its *keys*, and hands over the *value* of the one that
# fits. Three things, then: query, key, value. Attention, the heart of every language model, is just that, in numbers.
#
# Let query and keys be vectors. How well they fit is their product: the sum of the products of their numbers. It is
# large where both point the same way. The hard look-up takes the value of the best key.

# %%
import numpy as np


# %% exercise
def hard_lookup(query, keys, values):
    """query (D,), keys (S, D), values (S, E). Returns (E,): the value of the key that fits best."""
    ### BEGIN SOLUTION
    best = (keys @ query).argmax()
    found = values[best]
    ### END SOLUTION
    return found


# %% predict
# Two keys fit about equally well, the first a little better. Now the second is made a tiny bit better still. What does
# the answer of a hard look-up do meanwhile: change slowly, or not at all and then jump?
PREDICTION = None

# %%
if __name__ == "__main__":
    keys, values = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[10.0], [20.0]])
    for angle in (0.70, 0.78, 0.79, 0.87):
        query = np.array([np.cos(angle), np.sin(angle)])
        print(f"query at {angle}: hard look-up {hard_lookup(query, keys, values)[0]:.1f}")

# %% [markdown]
# ## Why soft
#
# The hard answer does not move, and then it jumps. Where it does not move, its slope is 0: nothing says in which
# direction query or keys should change to give a better answer. What has no slope cannot learn by slopes.
#
# So take all values, each with a *weight*: large where the key fits, small where it does not, all together 1. Turn the
# fits into weights by exp, divided by the sum (that is called softmax, chapter 5):
#
#     weights = exp(fit / temperature) / sum of these
#     answer = sum of weights * values
#
# At a small temperature the best key has nearly all the weight, and the answer is the hard one, but it moves smoothly.
# At a large one all count alike.


# %% exercise
def soft_lookup(query, keys, values, temperature):
    """As hard_lookup, with weights for all keys."""
    ### BEGIN SOLUTION
    fit = keys @ query / temperature
    weights = np.exp(fit - fit.max())
    weights = weights / weights.sum()
    answer = weights @ values
    ### END SOLUTION
    return answer


# %%
if __name__ == "__main__":
    for temperature in (0.01, 0.1, 1.0):
        answers = []
        for angle in (0.70, 0.78, 0.79, 0.87):
            query = np.array([np.cos(angle), np.sin(angle)])
            answers.append(soft_lookup(query, keys, values, temperature)[0])
        print(f"temperature {temperature:4}:", np.round(answers, 2))

# %% [markdown]
# ## Where it leads
#
# In a text every token asks all tokens. Its query, its key and its value are made from it by three tables of numbers
# that are *learned*: by slopes. How slopes are found is chapter 2, how a program finds millions of them chapter 3.
