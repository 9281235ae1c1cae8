"""What chapter 14 asks for: cross-attention with padding, shifting, a loss of real tokens, and what goes wrong."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake()(wrong)


def shares(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


cross_attention = Exercise(
    "cross_attention",
    draw=lambda rng: given(
        rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), real=np.array([1, 1, 0, 1, 0]) == 1
    ),
    definition=lambda query, key, value, real: np.array(
        [shares(np.array([(q * k).sum() for k in key[real]]) / np.sqrt(3)) @ value[real] for q in query]
    ),
    gradient=False,
    hints=(
        "Which keys may be seen? Close their columns, before the softmax.",
        "s = query @ keyᵀ / √D; s = -inf where a key is not real; softmax over the keys.",
        "s = np.where(real, s, -np.inf)",
    ),
)


def by(weights):
    def wrong(query, key, value, real):
        with np.errstate(all="ignore"):
            return weights(query @ key.T / np.sqrt(query.shape[-1]), real) @ value

    return wrong


for name, says, hint, weights in [
    (
        "padding seen",
        "The padding is seen: the mask is not used.",
        "np.where(real, s, -np.inf) before softmax.",
        lambda s, r: shares(s),
    ),
    (
        "True and False exchanged",
        "The mask is the wrong way round: only the padding is seen.",
        "True is a real token here: its score stays.",
        lambda s, r: shares(np.where(r, -np.inf, s)),
    ),
    (
        "mask on the queries",
        "Rows are closed, and columns should be: the mask is for the keys.",
        "real (S,) goes along the last axis of s (T, S).",
        lambda s, r: np.nan_to_num(shares(np.where(r[:, None], s, -np.inf))),
    ),
    (
        "mask on the queries without a word",
        "Rows are closed, and columns should be: the mask is for the keys.",
        "real (S,) goes along the last axis of s (T, S).",
        lambda s, r: shares(np.where(r[:, None], s, -1e9)),
    ),
    (
        "numbers added",
        "The mask is added as 0 and 1: it hides nothing.",
        "-inf where a key is not real.",
        lambda s, r: shares(s + r),
    ),
    (
        "multiplied into the scores",
        "Scores of padding are set to 0, and exp(0) is 1.",
        "-inf, before softmax.",
        lambda s, r: shares(s * r),
    ),
    (
        "weights set to zero",
        "Weights on padding are set to 0 after the softmax: the others do not add up to 1.",
        "-inf, before softmax.",
        lambda s, r: shares(s) * r,
    ),
    (
        "causal here too",
        "There is a causal mask: what was read may be seen as a whole.",
        "Only padding is closed.",
        lambda s, r: shares(np.where(r & (np.tri(len(s)) == 1), s, -np.inf)),
    ),
    (
        "softmax down the columns",
        "Softmax runs over the queries.",
        "Over the keys: the last axis.",
        lambda s, r: shares(np.where(r, s, -1e9), 0),
    ),
    (
        "no scale",
        "The scores are not divided by √D.",
        "As in chapter 9.",
        lambda s, r: shares(np.where(r, s * np.sqrt(3), -np.inf)),
    ),
]:
    enter(cross_attention, name, says, hint, by(weights))
enter(
    cross_attention,
    "the read text asks",
    "The queries and keys are exchanged: what was read asks what is written.",
    "query @ keyᵀ: a row for each query.",
    lambda query, key, value, real: shares(np.where(real, key @ query.T / np.sqrt(3), -np.inf)) @ value,
)
enter(
    cross_attention,
    "keys for values",
    "The result is a mean of keys, and should be of values.",
    "weights @ value.",
    lambda query, key, value, real: shares(np.where(real, query @ key.T / np.sqrt(3), -np.inf)) @ key,
)

shift_right = Exercise(
    "shift_right",
    draw=lambda rng: given(rng.permutation(np.arange(3, 20))[: int(rng.integers(4, 8))], start=int(rng.integers(0, 3))),
    definition=lambda target, start: np.array([start if t == 0 else target[t - 1] for t in range(len(target))]),
    gradient=False,
    hints=(
        "At each place stands what comes before the target of that place.",
        "start in front, the target behind it, its last token left out.",
        "np.concatenate([[start], target[:-1]])",
    ),
)
for name, says, hint, wrong in [
    (
        "not shifted",
        "The target itself is returned: the writer would see its answer.",
        "One to the right, start in front.",
        lambda t, s: t,
    ),
    (
        "shifted left",
        "It is shifted to the left: the writer would see the token after next.",
        "To the right: start in front.",
        lambda t, s: np.concatenate([t[1:], [s]]),
    ),
    (
        "rolled round",
        "The last token comes to the front: np.roll goes round.",
        "start comes to the front.",
        lambda t, s: np.roll(t, 1),
    ),
    (
        "one too long",
        "The last token is still there: the input is one too long.",
        "target[:-1].",
        lambda t, s: np.concatenate([[s], t]),
    ),
    (
        "start missing",
        "There is no start token.",
        "start in front.",
        lambda t, s: t[:-1],
    ),
    (
        "first one overwritten",
        "start is put over the first token, and nothing is shifted.",
        "The target moves one to the right.",
        lambda t, s: np.concatenate([[s], t[1:]]),
    ),
    (
        "shifted by two",
        "It is shifted by two.",
        "By one.",
        lambda t, s: np.concatenate([[s, s], t[:-2]]),
    ),
]:
    enter(shift_right, name, says, hint, lambda target, start, w=wrong: w(target, start))

REAL = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]) == 1
real_loss = Exercise(
    "real_loss",
    draw=lambda rng: given(rng.uniform(0.5, 3, size=(3, 4)), real=rng.permutation(REAL)),
    definition=lambda losses, real: sum(losses[real]) / sum(real.reshape(-1)),
    hints=(
        "Which places count, and how many are there?",
        "z = sum of losses * real over the count of real; each of these gets dz / count, the others 0.",
        "count = real.sum(); z = (losses * real).sum() / count; return dz * real / count",
    ),
)
for name, says, hint, forward in [
    (
        "padding counts",
        "Padding counts as well: the mask is not used.",
        "losses * real.",
        lambda x, r: x.mean(),
    ),
    (
        "divided by all places",
        "The sum of the real ones is divided by all places.",
        "Divide by real.sum().",
        lambda x, r: (x * r).mean(),
    ),
    (
        "a sum of the real ones",
        "The losses are summed, and not divided.",
        "Divide by real.sum().",
        lambda x, r: (x * r).sum(),
    ),
    (
        "mean of the rows' means",
        "Each text's mean is taken first, then their mean: short texts count too much.",
        "One sum over one count.",
        lambda x, r: ((x * r).sum(1) / r.sum(1)).mean(),
    ),
    (
        "divided by the texts",
        "It is divided by the number of texts.",
        "Divide by real.sum().",
        lambda x, r: (x * r).sum() / len(x),
    ),
    (
        "padding alone",
        "Only the padding counts: the mask is the wrong way round.",
        "True counts.",
        lambda x, r: x[~r].mean(),
    ),
]:
    enter(real_loss, name, says, hint, lambda losses, real, f=forward: (f(losses, real), lambda dz: dz * real))


def right_loss(losses, real):
    return (losses * real).sum() / real.sum()


for name, says, hint, back in [
    (
        "padding gets a gradient",
        "Padding gets a gradient too.",
        "dz * real / count.",
        lambda dz, r: np.full(r.shape, dz / r.sum()),
    ),
    (
        "count forgotten in backward",
        "The backward is not divided by the count.",
        "dz * real / count.",
        lambda dz, r: dz * r,
    ),
    (
        "all places in backward",
        "The backward divides by all places.",
        "Divide by real.sum(), as in the forward.",
        lambda dz, r: dz * r / r.size,
    ),
    (
        "no dz",
        "dz does not occur in the gradient.",
        "Every slope is multiplied by dz.",
        lambda dz, r: r / r.sum(),
    ),
]:
    enter(real_loss, name, says, hint, lambda losses, real, b=back: (right_loss(losses, real), lambda dz: b(dz, real)))

EXERCISES = (cross_attention, shift_right, real_loss)
