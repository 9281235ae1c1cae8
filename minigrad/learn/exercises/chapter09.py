"""What chapter 9 asks for: scores, one head, a causal head, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def shares(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def root(query):
    return np.sqrt(query.shape[-1])


scores = Exercise(
    "scores",
    draw=lambda rng: given(rng.normal(size=(4, 3)), rng.normal(size=(5, 3))),
    definition=lambda query, key: np.array([[(q * k).sum() / root(query) for k in key] for q in query]),
    hints=(
        "Each score is a product of one query and one key; the factor stands on both ways back.",
        "dquery = dz @ key / √D, dkey = dzᵀ @ query / √D: the shapes allow nothing else.",
        "return dz @ key * scale, dz.T @ query * scale",
    ),
)


@scores.mistake()
def the_scale_forgotten(query, key):
    """The products are not divided by √D.

    The more numbers a query has, the larger the scores: divide by np.sqrt(D), D = query.shape[-1].
    """
    return query @ key.T, lambda dz: (dz @ key, dz.T @ query)


@scores.mistake()
def divided_by_D(query, key):
    """The products are divided by D, and should be by its root.

    D products add up to a spread of √D, not of D.
    """
    s = 1 / root(query) ** 2
    return query @ key.T * s, lambda dz: (dz @ key * s, dz.T @ query * s)


@scores.mistake()
def multiplied_by_the_root(query, key):
    """The products are multiplied by √D, and should be divided.

    The scores would be large, and softmax choose one key alone.
    """
    s = root(query)
    return query @ key.T * s, lambda dz: (dz @ key * s, dz.T @ query * s)


@scores.mistake()
def divided_by_the_root_of_the_number_of_keys(query, key):
    """The scale is made of the number of tokens, and should be of the size of a query.

    A score adds up D = query.shape[-1] products, however many tokens there are.
    """
    s = 1 / np.sqrt(len(key))
    return query @ key.T * s, lambda dz: (dz @ key * s, dz.T @ query * s)


@scores.mistake()
def divided_by_the_root_of_the_number_of_queries(query, key):
    """The scale is made of the number of queries, and should be of the size of one.

    A score adds up D = query.shape[-1] products, however many tokens there are.
    """
    s = 1 / np.sqrt(len(query))
    return query @ key.T * s, lambda dz: (dz @ key * s, dz.T @ query * s)


@scores.mistake()
def keys_ask_queries(query, key):
    """The scores are turned round: a row for each key. It should be a row for each query.

    query @ keyᵀ: row t holds what query t thinks of all keys.
    """
    s = 1 / root(query)
    return key @ query.T * s, lambda dz: (dz.T @ key * s, dz @ query * s)


def score_backward(change):
    """The right forward, and a backward made of its parts."""

    def wrong(query, key):
        s = 1 / root(query)
        return query @ key.T * s, lambda dz: change(dz, query, key, s)

    return wrong


def enter(exercise, name, says, hint, wrong, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


for name, says, hint, change in [
    (
        "scale forgotten in backward",
        "The backward does not divide by √D, and the forward does.",
        "A factor of the forward is a factor of the backward.",
        lambda dz, q, k, s: (dz @ k, dz.T @ q),
    ),
    (
        "scale missing for the key",
        "dquery is divided by √D, and dkey is not.",
        "The factor lies on both ways back.",
        lambda dz, q, k, s: (dz @ k * s, dz.T @ q),
    ),
    (
        "scale missing for the query",
        "dkey is divided by √D, and dquery is not.",
        "The factor lies on both ways back.",
        lambda dz, q, k, s: (dz @ k, dz.T @ q * s),
    ),
    (
        "scaled twice",
        "The backward divides by √D twice, so by D.",
        "Once in the forward, once in the backward.",
        lambda dz, q, k, s: (dz @ k * s * s, dz.T @ q * s * s),
    ),
    (
        "scaled the other way",
        "The backward multiplies by √D, and should divide.",
        "A factor stays the same on the way back: it is not undone.",
        lambda dz, q, k, s: (dz @ k / s, dz.T @ q / s),
    ),
    (
        "dquery and dkey exchanged",
        "The gradients are right and returned in the wrong order.",
        "In the order of the arguments: query first.",
        lambda dz, q, k, s: (dz.T @ q * s, dz @ k * s),
    ),
    (
        "mean over the tokens",
        "The gradients are divided by the number of tokens.",
        "The forward has no mean: what comes from several scores is summed.",
        lambda dz, q, k, s: (dz @ k * s / len(k), dz.T @ q * s / len(q)),
    ),
]:
    enter(scores, name, says, hint, score_backward(change))


def head(query, key, value):
    """One head in the plainest words: for each query a mean of the values."""
    out = []
    for q in query:
        weights = shares(np.array([(q * k).sum() for k in key]) / root(query))
        out.append(sum(w * v for w, v in zip(weights, value, strict=True)))
    return np.array(out)


attention = Exercise(
    "attention",
    draw=lambda rng: given(rng.normal(size=(5, 3)) * 1.5, rng.normal(size=(5, 3)), rng.normal(size=(5, 4))),
    definition=head,
    paths=("value → mean → z", "query → scores → softmax → z", "key → scores → softmax → z"),
    hints=(
        "The value is reached through the mean; query and key only through the weights, so through softmax.",
        "dvalue = aᵀ @ dz; da = dz @ valueᵀ; ds = a * (da - sum(da * a)); then as in scores.",
        "ds = a * (da - (da * a).sum(-1, keepdims=True)); return ds @ key * scale, ds.T @ query * scale, a.T @ dz",
    ),
)


def forward_of(weights):
    """A head with other weights; ``weights(s)`` is given query @ keyᵀ and D."""

    def wrong(query, key, value):
        a = weights(query @ key.T, query.shape[-1])
        return a @ value, lambda dz: (dz @ value.T @ key, dz @ value.T @ query, a.T @ dz)

    return wrong


for name, says, hint, weights in [
    (
        "scale forgotten",
        "The scores are not divided by √D.",
        "query @ keyᵀ / np.sqrt(D), before the softmax.",
        lambda s, D: shares(s),
    ),
    (
        "scaled by D",
        "The scores are divided by D, and should be by its root.",
        "D products add up to a spread of √D.",
        lambda s, D: shares(s / D),
    ),
    (
        "scaled after the softmax",
        "The weights are divided by √D, and should be the scores, before softmax.",
        "Weights must add up to 1: nothing is multiplied after the softmax.",
        lambda s, D: shares(s) / np.sqrt(D),
    ),
    (
        "softmax over the queries",
        "The weights add up to 1 down the columns: softmax runs over the queries.",
        "Each query shares itself out among the keys: the last axis.",
        lambda s, D: shares(s / np.sqrt(D), 0),
    ),
    (
        "softmax over everything",
        "All weights together add up to 1: softmax has no axis.",
        "Each row adds up to 1: the last axis, with keepdims=True.",
        lambda s, D: np.exp(s / np.sqrt(D)) / np.exp(s / np.sqrt(D)).sum(),
    ),
    (
        "no softmax",
        "The scores are used as weights: softmax is missing.",
        "A score can be negative, and rows do not add up to 1.",
        lambda s, D: s / np.sqrt(D),
    ),
    (
        "weights turned round",
        "The weights are transposed: each key shares itself out, and should each query.",
        "query @ keyᵀ, not key @ queryᵀ: a row for each query.",
        lambda s, D: shares(s.T / np.sqrt(D)),
    ),
    (
        "exp not divided",
        "The exp of the scores is used, not divided by its sum.",
        "Softmax divides by the sum of the row.",
        lambda s, D: np.exp(s / np.sqrt(D)),
    ),
]:
    enter(attention, name, says, hint, forward_of(weights))


@attention.mistake()
def values_are_the_keys(query, key, value):
    """The result is a mean of the queries or keys, and should be of the values.

    Keys are compared, values are handed over: z = a @ value.
    """
    a = shares(query @ key.T / root(query))
    return a @ key, lambda dz: (dz, dz, dz)


def backward_of(gradients, mask=None):
    """The right forward, and a backward made of its parts: ``gradients(dz, q, k, v, a, scale)``."""

    def wrong(query, key, value):
        scale = 1 / root(query)
        s = query @ key.T * scale
        a = shares(s if mask is None else np.where(mask(len(s)), s, -np.inf))
        return a @ value, lambda dz: gradients(dz, query, key, value, a, scale)

    return wrong


def through(a, da):
    """Back through the softmax."""
    return a * (da - (da * a).sum(-1, keepdims=True))


def three(ds, dz, q, k, a, scale):
    """The right end of the backward."""
    return ds @ k * scale, ds.T @ q * scale, a.T @ dz


BACKWARD = [
    (
        "scale forgotten in dquery and dkey",
        "The backward does not divide by √D, and the forward does.",
        "ds is the gradient of the scaled scores: one factor remains on the way to query and key.",
        lambda dz, q, k, v, a, c: three(through(a, dz @ v.T), dz, q, k, a, 1),
    ),
    (
        "scaled twice in backward",
        "The backward divides by √D twice.",
        "Either ds or the products get the factor.",
        lambda dz, q, k, v, a, c: three(through(a, dz @ v.T), dz, q, k, a, c * c),
    ),
    (
        "scale in dquery alone",
        "dquery is divided by √D, and dkey is not.",
        "The factor lies on both ways back.",
        lambda dz, q, k, v, a, c: (through(a, dz @ v.T) @ k * c, through(a, dz @ v.T).T @ q, a.T @ dz),
    ),
    (
        "scale in dkey alone",
        "dkey is divided by √D, and dquery is not.",
        "The factor lies on both ways back.",
        lambda dz, q, k, v, a, c: (through(a, dz @ v.T) @ k, through(a, dz @ v.T).T @ q * c, a.T @ dz),
    ),
    (
        "dvalue scaled too",
        "dvalue is divided by √D: that factor is not on its way.",
        "Only the scores are scaled, and the value does not pass through them.",
        lambda dz, q, k, v, a, c: (*three(through(a, dz @ v.T), dz, q, k, a, c)[:2], a.T @ dz * c),
    ),
    (
        "dvalue not transposed",
        "dvalue is a @ dz, and should be aᵀ @ dz.",
        "A value gets from each query what its weight was there: the column of a, not the row.",
        lambda dz, q, k, v, a, c: (*three(through(a, dz @ v.T), dz, q, k, a, c)[:2], a @ dz),
    ),
    (
        "ds not transposed for the key",
        "dkey is ds @ query, and should be dsᵀ @ query.",
        "A key gets from each query: the column of ds, not the row.",
        lambda dz, q, k, v, a, c: (through(a, dz @ v.T) @ k * c, through(a, dz @ v.T) @ q * c, a.T @ dz),
    ),
    (
        "ds transposed for the query",
        "dquery is dsᵀ @ key, and should be ds @ key.",
        "A query gets from each key: the row of ds.",
        lambda dz, q, k, v, a, c: (through(a, dz @ v.T).T @ k * c, through(a, dz @ v.T).T @ q * c, a.T @ dz),
    ),
    (
        "query and key exchanged in backward",
        "dquery and dkey are exchanged.",
        "dquery is made of keys, dkey of queries; query is returned first.",
        lambda dz, q, k, v, a, c: (through(a, dz @ v.T).T @ q * c, through(a, dz @ v.T) @ k * c, a.T @ dz),
    ),
    (
        "dquery from the queries",
        "dquery is made of the queries, and dkey of the keys.",
        "In a product each factor gets dz times the other: dquery is made of keys.",
        lambda dz, q, k, v, a, c: (through(a, dz @ v.T) @ q * c, through(a, dz @ v.T).T @ k * c, a.T @ dz),
    ),
    (
        "softmax left out in backward",
        "The way back skips the softmax: ds is da.",
        "Scores become weights by softmax: ds = a * (da - sum(da * a)).",
        lambda dz, q, k, v, a, c: three(dz @ v.T, dz, q, k, a, c),
    ),
    (
        "softmax diagonal in backward",
        "The backward of softmax is its diagonal alone: a * (1 - a) * da.",
        "A score moves all weights of its row, through the sum.",
        lambda dz, q, k, v, a, c: three(a * (1 - a) * (dz @ v.T), dz, q, k, a, c),
    ),
    (
        "sum of softmax forgotten in backward",
        "The backward of softmax is a * da: the path through the sum is missing.",
        "ds = a * (da - sum(da * a)), the sum over each row.",
        lambda dz, q, k, v, a, c: three(a * (dz @ v.T), dz, q, k, a, c),
    ),
    (
        "sum over the queries in backward",
        "The sum in the backward of softmax runs down the columns.",
        "It belongs to a row, a query: sum(-1, keepdims=True).",
        lambda dz, q, k, v, a, c: three(
            a * (dz @ v.T - (dz @ v.T * a).sum(0, keepdims=True)), dz, q, k, a, c
        ),
    ),
    (
        "sum over everything in backward",
        "The sum in the backward of softmax runs over all rows.",
        "It belongs to a row, a query: sum(-1, keepdims=True).",
        lambda dz, q, k, v, a, c: three(a * (dz @ v.T - (dz @ v.T * a).sum()), dz, q, k, a, c),
    ),
    (
        "outer weights forgotten in backward",
        "ds is da - sum(da * a): the weights in front are missing.",
        "ds = a * (da - sum(da * a)).",
        lambda dz, q, k, v, a, c: three(
            dz @ v.T - (dz @ v.T * a).sum(-1, keepdims=True), dz, q, k, a, c
        ),
    ),
    (
        "query gets nothing",
        "dquery is 0: nothing flows back to where the head looks from.",
        "Where the head looks depends on the query, through scores and softmax.",
        lambda dz, q, k, v, a, c: (0 * q, through(a, dz @ v.T).T @ q * c, a.T @ dz),
    ),
    (
        "only the values learn",
        "dquery and dkey are 0: only the value gets a gradient.",
        "Query and key choose the weights, and the weights move with them.",
        lambda dz, q, k, v, a, c: (0 * q, 0 * k, a.T @ dz),
    ),
]  # fmt: skip
for name, says, hint, gradients in BACKWARD:
    forgets = "query → scores → softmax → z" if name in ("query gets nothing", "only the values learn") else ""
    enter(attention, name, says, hint, backward_of(gradients), forgets)


causal_attention = Exercise(
    "causal_attention",
    draw=lambda rng: given(rng.normal(size=(5, 3)) * 1.5, rng.normal(size=(5, 3)), rng.normal(size=(5, 4))),
    definition=lambda query, key, value: np.array(
        [head(query[t : t + 1], key[: t + 1], value[: t + 1])[0] for t in range(len(query))]
    ),
    hints=(
        "The mask stands between the scores and the softmax. Which keys are later than query t?",
        "s[t, k] = -inf where k > t: np.tri(T) is 1 where k <= t. The backward stays that of attention.",
        "s = np.where(np.tri(len(s)) == 1, s, -np.inf)",
    ),
)


def masked(weights):
    """A head whose weights are ``weights(s, allowed)``, from scaled scores and the right mask."""

    def wrong(query, key, value):
        with np.errstate(all="ignore"):
            a = weights(query @ key.T / root(query), np.tri(len(query)) == 1)
        return a @ value, lambda dz: (dz @ value.T @ key, dz @ value.T @ query, a.T @ dz)

    return wrong


def allowed_by(k, upper=False):
    def weights(s, _):
        mask = np.tri(*s.shape, k=k) == 1
        return shares(np.where(mask.T if upper else mask, s, -np.inf))

    return weights


def off_diagonal(fill):
    """The diagonal hidden too, so that the first token sees nothing: nan, 0, or a mean of all, as it was done."""

    def weights(s, _):
        mask = np.tri(*s.shape, k=-1) == 1
        a = shares(np.where(mask, s, fill))
        return a

    return weights


for name, says, hint, weights in [
    (
        "mask forgotten",
        "Every query sees all keys: there is no mask.",
        "Later keys get the score -inf, before the softmax.",
        lambda s, m: shares(s),
    ),
    (
        "one place too wide",
        "Each query sees one key too many: the next token, which it is to predict.",
        "np.tri(T) without an offset; np.triu needs k=1 for what is hidden.",
        allowed_by(1),
    ),
    (
        "mask upside down",
        "The mask is upside down: each query sees itself and what comes later.",
        "np.tri(T) is 1 where a key is not later than the query: these stay.",
        allowed_by(0, upper=True),
    ),
    (
        "mask upside down without the diagonal",
        "Only later keys are seen: what is hidden and what is seen are exchanged.",
        "np.where(allowed, s, -np.inf): the score stays where it is allowed.",
        lambda s, m: shares(np.where(m, -np.inf, s)),
    ),
    (
        "mask upside down by a large number",
        "Only later keys are seen: what is hidden and what is seen are exchanged.",
        "np.where(allowed, s, -np.inf): the score stays where it is allowed.",
        lambda s, m: shares(np.where(m, -1e9, s)),
    ),
    (
        "the diagonal hidden",
        "A token does not see itself, and the first sees nothing: nan.",
        "The diagonal stays: hide keys with k > t, not k >= t.",
        off_diagonal(-np.inf),
    ),
    (
        "the diagonal hidden by a large number",
        "A token does not see itself.",
        "The diagonal stays: hide keys with k > t, not k >= t.",
        off_diagonal(-1e9),
    ),
    (
        "masked after the softmax",
        "The weights of later keys are set to 0 after the softmax: the others no longer add up to 1.",
        "Mask the scores, before the softmax, by -inf.",
        lambda s, m: shares(s) * m,
    ),
    (
        "masked by zero",
        "Later scores are set to 0, and exp(0) is 1: they still count.",
        "Minus infinity: exp(-inf) is 0.",
        lambda s, m: shares(s * m),
    ),
    (
        "a mask of ones added",
        "The mask of 0 and 1 is added to the scores: it only shifts them a little.",
        "Where it is not allowed, the score is -inf; elsewhere it stays.",
        lambda s, m: shares(s + m),
    ),
    (
        "softmax over the queries when masked",
        "Softmax runs down the columns.",
        "Each query shares itself out among the keys it sees: the last axis.",
        lambda s, m: shares(np.where(m, s, -np.inf), 0),
    ),
    (
        "scale forgotten when masked",
        "The scores are not divided by √D.",
        "As in attention: query @ keyᵀ / np.sqrt(D).",
        lambda s, m: shares(np.where(m, s * np.sqrt(3), -np.inf)),
    ),
]:
    enter(causal_attention, name, says, hint, masked(weights))

for name, says, hint, gradients in BACKWARD:
    enter(causal_attention, name, says, hint, backward_of(gradients, lambda T: np.tri(T) == 1))

EXERCISES = (scores, attention, causal_attention)
