"""What chapter 1 asks for: a hard and a soft look-up, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake()(wrong)


def draw(rng):
    """The keys that fit best, worst, and by distance all differ; the first and last are none of them."""
    query = rng.normal(size=3)
    fits = np.array([0.3, -2.0, 1.5, -0.6, 0.1])
    side = rng.normal(size=(5, 3))
    side -= np.outer(side @ query, query) / (query @ query)
    side[2] *= 4  # the best is far away, so that distance would choose another
    order = [0, *rng.permutation([1, 2, 3]), 4]
    keys = (np.outer(fits, query) / (query @ query) + side)[order]
    return query, keys, rng.normal(size=(5, 2))


def fits_of(query, keys):
    return np.array([sum(a * b for a, b in zip(query, key, strict=True)) for key in keys])


hard_lookup = Exercise(
    "hard_lookup",
    draw=lambda rng: given(*draw(rng)),
    definition=lambda query, keys, values: values[np.argmax(fits_of(query, keys))],
    gradient=False,
    hints=(
        "Which key fits best?",
        "The products of all keys with the query; the place of the largest; the value there.",
        "values[(keys @ query).argmax()]",
    ),
)
for name, says, hint, wrong in [
    (
        "the worst key",
        "The value of the key that fits worst is returned.",
        "argmax, not argmin.",
        lambda q, k, v: v[(k @ q).argmin()],
    ),
    (
        "the key itself",
        "The best key is returned, and not its value.",
        "values[best].",
        lambda q, k, v: k[(k @ q).argmax()],
    ),
    (
        "the place",
        "The place of the best key is returned.",
        "values[best].",
        lambda q, k, v: (k @ q).argmax(),
    ),
    (
        "the fit",
        "The best fit is returned.",
        "values[best].",
        lambda q, k, v: (k @ q).max(),
    ),
    (
        "the nearest key",
        "The nearest key is taken: here fit is the product.",
        "keys @ query.",
        lambda q, k, v: v[((k - q) ** 2).sum(1).argmin()],
    ),
    (
        "the first value",
        "The first value is returned, whatever the query is.",
        "values[(keys @ query).argmax()].",
        lambda q, k, v: v[0],
    ),
    (
        "compared with the values",
        "The query is compared with the values.",
        "Keys are compared, values are handed over.",
        lambda q, k, v: v[(v @ q[:2]).argmax()],
    ),
]:
    enter(hard_lookup, name, says, hint, lambda query, keys, values, w=wrong: w(query, keys, values))


def shares(s):
    e = np.exp(s - s.max())
    return e / e.sum()


soft_lookup = Exercise(
    "soft_lookup",
    draw=lambda rng: given(*draw(rng), temperature=float(rng.choice([0.5, 0.7, 1.6]))),
    definition=lambda query, keys, values, temperature: sum(
        w * v for w, v in zip(shares(fits_of(query, keys) / temperature), values, strict=True)
    ),
    gradient=False,
    hints=(
        "Every value counts, by its key's weight.",
        "weights = exp(fit / temperature), divided by their sum; then weights @ values.",
        "w = np.exp(keys @ query / temperature); return w / w.sum() @ values",
    ),
)
for name, says, hint, wrong in [
    (
        "weights do not add up",
        "The weights are not divided by their sum.",
        "All weights together are 1.",
        lambda q, k, v, t: np.exp(k @ q / t) @ v,
    ),
    (
        "temperature has no effect",
        "The temperature has no effect.",
        "fit / temperature, before exp.",
        lambda q, k, v, t: shares(k @ q) @ v,
    ),
    (
        "times the temperature",
        "The fits are multiplied by the temperature.",
        "Divide: a small temperature chooses sharply.",
        lambda q, k, v, t: shares(k @ q * t) @ v,
    ),
    (
        "exp missing",
        "The fits themselves are the weights: exp is missing.",
        "A fit may be negative; exp of it is not.",
        lambda q, k, v, t: (k @ q / t) / (k @ q / t).sum() @ v,
    ),
    (
        "still hard",
        "One value is returned: that is the hard look-up.",
        "A mean of all values.",
        lambda q, k, v, t: v[(k @ q).argmax()],
    ),
    (
        "weights returned",
        "The weights are returned, and not the answer.",
        "weights @ values.",
        lambda q, k, v, t: shares(k @ q / t),
    ),
    (
        "a mean of keys",
        "The mean of the keys is returned.",
        "weights @ values.",
        lambda q, k, v, t: shares(k @ q / t) @ k,
    ),
    (
        "all alike",
        "All values count alike.",
        "Each by its weight.",
        lambda q, k, v, t: v.mean(0),
    ),
    (
        "divided afterwards",
        "The weights are divided by the temperature, and should be the fits, before exp.",
        "exp(fit / temperature).",
        lambda q, k, v, t: shares(k @ q) / t @ v,
    ),
]:

    def named(query, keys, values, temperature, wrong=wrong):
        return wrong(query, keys, values, temperature)

    enter(soft_lookup, name, says, hint, named)

EXERCISES = (hard_lookup, soft_lookup)
