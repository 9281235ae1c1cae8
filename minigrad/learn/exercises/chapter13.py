"""What chapter 13 asks for: temperature, top-k, top-p, the cache, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake()(wrong)


def shares_of(s):
    e = np.exp(s - s.max())
    return e / e.sum()


tempered = Exercise(
    "tempered",
    draw=lambda rng: given(rng.normal(size=6) * 2, temperature=float(rng.choice([0.5, 0.7, 1.6]))),
    definition=lambda scores, temperature: shares_of(scores / temperature),
    gradient=False,
    hints=(
        "Shares divided by a number and brought back to the sum 1 are the same shares.",
        "softmax(scores / temperature).",
        "s = scores / temperature; e = np.exp(s - s.max()); return e / e.sum()",
    ),
)
for name, says, hint, wrong in [
    (
        "temperature ignored",
        "The temperature has no effect. (Dividing shares and bringing them back to 1 undoes it.)",
        "Divide the scores, before softmax.",
        lambda s, t: shares_of(s),
    ),
    (
        "multiplied",
        "The scores are multiplied by the temperature, and should be divided.",
        "Low temperatures make the likely ones bolder.",
        lambda s, t: shares_of(s * t),
    ),
    (
        "shares divided",
        "The shares are divided by the temperature: they no longer add up to 1.",
        "Divide the scores, before softmax.",
        lambda s, t: shares_of(s) / t,
    ),
    (
        "softmax missing",
        "The scores are divided, and softmax is missing.",
        "softmax(scores / temperature).",
        lambda s, t: s / t,
    ),
    (
        "softmax of shares",
        "Softmax is applied twice: the shares are divided by the temperature, and softmax once more.",
        "Divide the scores themselves.",
        lambda s, t: shares_of(shares_of(s) / t),
    ),
    (
        "exp alone",
        "exp is taken, and not divided by its sum.",
        "e / e.sum().",
        lambda s, t: np.exp(s / t),
    ),
]:
    enter(tempered, name, says, hint, lambda scores, temperature, w=wrong: w(scores, temperature))

top_k = Exercise(
    "top_k",
    draw=lambda rng: given(rng.normal(size=8), k=int(rng.integers(2, 5))),
    definition=lambda scores, k: np.array([s if sum(scores > s) < k else -np.inf for s in scores]),
    gradient=False,
    hints=(
        "Which score is the k-th largest?",
        "Scores below the k-th largest become -inf; the places stay.",
        "np.where(scores >= np.sort(scores)[-k], scores, -np.inf)",
    ),
)
for name, says, hint, wrong in [
    (
        "zero for the rest",
        "The rest is set to 0, and a score of 0 still has a share: exp(0) = 1.",
        "-inf: exp(-inf) is 0.",
        lambda s, k: np.where(s >= np.sort(s)[-k], s, 0),
    ),
    (
        "one too few",
        "One score too few is kept.",
        "scores >= the k-th largest: it stays itself.",
        lambda s, k: np.where(s > np.sort(s)[-k], s, -np.inf),
    ),
    (
        "one too many",
        "One score too many is kept.",
        "The k-th largest is np.sort(scores)[-k].",
        lambda s, k: np.where(s >= np.sort(s)[-k - 1], s, -np.inf),
    ),
    (
        "the smallest kept",
        "The smallest scores are kept.",
        "The largest: np.sort(scores)[-k].",
        lambda s, k: np.where(s <= np.sort(s)[k - 1], s, -np.inf),
    ),
    (
        "k-th from below",
        "The threshold is the k-th smallest.",
        "np.sort sorts upwards: the k-th largest is [-k].",
        lambda s, k: np.where(s >= np.sort(s)[k - 1], s, -np.inf),
    ),
    (
        "k-th from below by index k",
        "The threshold is counted from the smallest.",
        "np.sort sorts upwards: the k-th largest is [-k].",
        lambda s, k: np.where(s >= np.sort(s)[k], s, -np.inf),
    ),
    (
        "cut short",
        "Only the k scores are returned: their places are lost.",
        "V numbers, the rest at -inf.",
        lambda s, k: np.sort(s)[::-1][:k],
    ),
    (
        "sorted",
        "The scores are sorted: nobody knows which token each belongs to.",
        "Every score stays in its place.",
        lambda s, k: np.where(np.arange(len(s)) < k, np.sort(s)[::-1], -np.inf),
    ),
    (
        "the first k places",
        "The first k places are kept, and not the k largest scores.",
        "Sort to find the threshold.",
        lambda s, k: np.where(np.arange(len(s)) < k, s, -np.inf),
    ),
]:
    enter(top_k, name, says, hint, lambda scores, k, w=wrong: w(scores, k))


def by_cumulative(keep):
    """Top-p by a rule on the sums in descending order: ``keep(before, upto, p)``."""

    def wrong(shares, p):
        order = np.argsort(-shares)
        upto = np.cumsum(shares[order])
        kept = np.zeros_like(shares)
        chosen = order[keep(upto - shares[order], upto, p)]
        kept[chosen] = shares[chosen]
        return kept / kept.sum() if kept.any() else kept

    return wrong


def from_the_smallest(shares, p):
    order = np.argsort(shares)
    before = np.cumsum(shares[order]) - shares[order]
    kept = np.where(np.isin(np.arange(len(shares)), order[before < p]), shares, 0)
    return kept / kept.sum()


right_p = by_cumulative(lambda before, upto, p: before < p)


def nucleus(shares, p):
    kept, total = set(), 0.0
    for i in sorted(range(len(shares)), key=lambda i: -shares[i]):
        if total >= p:
            break
        kept.add(i)
        total += shares[i]
    return np.array([s / total if i in kept else 0.0 for i, s in enumerate(shares)])


top_p = Exercise(
    "top_p",
    draw=lambda rng: given(
        rng.permutation([0.36, 0.27, 0.19, 0.11, 0.07]) + rng.uniform(0, 0.001, 5), p=float(rng.choice([0.5, 0.7]))
    ),
    definition=nucleus,
    gradient=False,
    hints=(
        "Go down from the largest: when do they have p together for the first time? That one belongs to them.",
        "A token stays if the larger ones before it have less than p together. Then divide by the sum of what stays.",
        "order = np.argsort(-shares); before = np.cumsum(shares[order]) - shares[order]; keep where before < p",
    ),
)
for name, says, hint, wrong in [
    (
        "the one that crosses p left out",
        "The token with which the sum reaches p is left out: together they have less than p.",
        "It stays: keep where the sum before it is below p.",
        by_cumulative(lambda before, upto, p: upto <= p),
    ),
    (
        "one more than needed",
        "One token more than needed is kept.",
        "The fewest that have p together.",
        by_cumulative(lambda before, upto, p: np.concatenate([[True], before[:-1] < p])),
    ),
    (
        "the sum not brought back",
        "What is kept does not add up to 1.",
        "Divide by the sum of what is kept.",
        lambda s, p: np.where(right_p(s, p) > 0, s, 0),
    ),
    (
        "shares above p",
        "Tokens whose own share is at least p are kept.",
        "p is what they have together.",
        lambda s, p: np.where(s >= p, s, 0) / max(np.where(s >= p, s, 0).sum(), 1e-12),
    ),
    (
        "from the smallest",
        "The sum begins with the smallest shares.",
        "Descending: np.argsort(-shares).",
        from_the_smallest,
    ),
    (
        "not sorted",
        "The sum runs over the shares as they stand, unsorted.",
        "Descending: np.argsort(-shares).",
        lambda s, p: (lambda k: k / k.sum())(np.where(np.cumsum(s) - s < p, s, 0)),
    ),
    (
        "order lost",
        "The result is in descending order: nobody knows which token each belongs to.",
        "Put each back into its place: kept[order[...]] = ...",
        lambda s, p: np.sort(right_p(s, p))[::-1],
    ),
]:
    enter(top_p, name, says, hint, lambda shares, p, w=wrong: w(shares, p))


def whole(query, key, value, keys, values):
    keys, values = np.concatenate([keys, key[None]]), np.concatenate([values, value[None]])
    weights = shares_of(np.array([(query * k).sum() for k in keys]) / np.sqrt(len(query)))
    return sum(w * v for w, v in zip(weights, values, strict=True)), keys, values


cached_attention = Exercise(
    "cached_attention",
    draw=lambda rng: given(*rng.normal(size=(3, 3)), *rng.normal(size=(2, 4, 3))),
    definition=whole,
    gradient=False,
    hints=(
        "The new token sees itself too: its key and value belong to the kept ones before it asks.",
        "keys = [keys, key], values = [values, value]; then one row of attention.",
        "keys, values = np.vstack([keys, key]), np.vstack([values, value])",
    ),
)


def gather(query, keys, values, scale=True):
    return shares_of(keys @ query / (np.sqrt(len(query)) if scale else 1)) @ values


for name, says, hint, wrong in [
    (
        "does not see itself",
        "The new token does not see itself: it asks before its key and value are kept.",
        "First append, then ask.",
        lambda q, k, v, ks, vs: (gather(q, ks, vs), np.vstack([ks, k]), np.vstack([vs, v])),
    ),
    (
        "nothing kept",
        "The new key and value are used, and not kept.",
        "Return the longer keys and values.",
        lambda q, k, v, ks, vs: (gather(q, np.vstack([ks, k]), np.vstack([vs, v])), ks, vs),
    ),
    (
        "query kept for the key",
        "The query is kept in the place of the key.",
        "Later tokens compare with keys; a query asks once.",
        lambda q, k, v, ks, vs: (
            gather(q, np.vstack([ks, q]), np.vstack([vs, v])),
            np.vstack([ks, q]),
            np.vstack([vs, v]),
        ),
    ),
    (
        "in front",
        "The new ones are put in front.",
        "Behind: np.vstack([keys, key]).",
        lambda q, k, v, ks, vs: (
            gather(q, np.vstack([k, ks]), np.vstack([v, vs])),
            np.vstack([k, ks]),
            np.vstack([v, vs]),
        ),
    ),
    (
        "last one replaced",
        "The last key and value are replaced, and should be followed.",
        "The cache grows by one.",
        lambda q, k, v, ks, vs: (
            gather(q, np.vstack([ks[:-1], k]), np.vstack([vs[:-1], v])),
            np.vstack([ks[:-1], k]),
            np.vstack([vs[:-1], v]),
        ),
    ),
    (
        "keys and values exchanged",
        "Keys and values are exchanged in what is returned.",
        "out, keys, values.",
        lambda q, k, v, ks, vs: (
            gather(q, np.vstack([ks, k]), np.vstack([vs, v])),
            np.vstack([vs, v]),
            np.vstack([ks, k]),
        ),
    ),
    (
        "scale forgotten with a cache",
        "The scores are not divided by √D.",
        "As in chapter 9.",
        lambda q, k, v, ks, vs: (
            gather(q, np.vstack([ks, k]), np.vstack([vs, v]), False),
            np.vstack([ks, k]),
            np.vstack([vs, v]),
        ),
    ),
    (
        "only itself",
        "The new token sees itself alone: what was kept is not used.",
        "It asks all keys that are kept.",
        lambda q, k, v, ks, vs: (v, np.vstack([ks, k]), np.vstack([vs, v])),
    ),
    (
        "value kept for the key",
        "The value is kept as a key.",
        "Each has its own list.",
        lambda q, k, v, ks, vs: (
            gather(q, np.vstack([ks, v]), np.vstack([vs, v])),
            np.vstack([ks, v]),
            np.vstack([vs, v]),
        ),
    ),
]:

    def named(query, key, value, keys, values, wrong=wrong):
        return wrong(query, key, value, keys, values)

    enter(cached_attention, name, says, hint, named)

EXERCISES = (tempered, top_k, top_p, cached_attention)
