"""What chapter 15 asks for: turned queries and keys, a head removed, a stream patched, or read early."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake()(wrong)


turned = Exercise(
    "turned",
    draw=lambda rng: given(
        rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), np.eye(3) * 2 + 0.5 * rng.normal(size=(3, 3))
    ),
    definition=lambda wq, wk, M: (wq @ M, np.linalg.solve(M, wk.T).T),
    gradient=False,
    hints=(
        "The scores are made of wq @ wkᵀ: that product has to stay.",
        "(wq M)(wk N)ᵀ = wq M Nᵀ wkᵀ: M Nᵀ must be 1.",
        "return wq @ M, wk @ np.linalg.inv(M).T",
    ),
)
for name, says, hint, wrong in [
    (
        "inverse not transposed",
        "wk is multiplied by the inverse of M, and should be by its transpose.",
        "M Nᵀ = 1 gives N = M⁻ᵀ.",
        lambda q, k, M: (q @ M, k @ np.linalg.inv(M)),
    ),
    (
        "transpose for the inverse",
        "wk is multiplied by Mᵀ: that is right for a rotation alone.",
        "M Nᵀ = 1 gives N = M⁻ᵀ.",
        lambda q, k, M: (q @ M, k @ M.T),
    ),
    (
        "the same M twice",
        "Both are multiplied by M: the scores change.",
        "The second has to undo the first.",
        lambda q, k, M: (q @ M, k @ M),
    ),
    (
        "wk as it was",
        "wk is left as it was: the scores change.",
        "The product wq @ wkᵀ has to stay.",
        lambda q, k, M: (q @ M, k),
    ),
    (
        "wq by the inverse",
        "wq is multiplied by the inverse, and wk by M.",
        "wq @ M, as asked; wk takes the rest.",
        lambda q, k, M: (q @ np.linalg.inv(M), k @ M.T),
    ),
    (
        "exchanged",
        "The two are returned in the wrong order.",
        "wq first.",
        lambda q, k, M: (k @ np.linalg.inv(M).T, q @ M),
    ),
    (
        "M transposed",
        "wq is multiplied by Mᵀ.",
        "wq @ M.",
        lambda q, k, M: (q @ M.T, k @ np.linalg.inv(M)),
    ),
]:
    enter(turned, name, says, hint, lambda wq, wk, M, w=wrong: w(wq, wk, M))


def replaced(heads, which, value):
    out = heads.copy()
    out[:, which] = value
    return out


without_head = Exercise(
    "without_head",
    draw=lambda rng: given(rng.normal(size=(3, 4, 2, 3)), which=int(rng.integers(0, 3))),
    definition=lambda heads, which: np.stack(
        [np.stack([sum(heads[:, h]) / len(heads) if h == which else x[h] for h in range(4)]) for x in heads]
    ),
    gradient=False,
    hints=(
        "Which axis are the examples?",
        "The head's mean over the batch, at each place and channel; all other heads stay.",
        "out = heads.copy(); out[:, which] = heads[:, which].mean(0)",
    ),
)
for name, says, hint, wrong in [
    (
        "set to zero",
        "The head is set to 0: later layers have never seen that.",
        "Its mean over the batch.",
        lambda x, w: replaced(x, w, 0),
    ),
    (
        "one number",
        "The head is set to one number: the mean of all it gives.",
        "The mean over the batch alone: mean(0).",
        lambda x, w: replaced(x, w, x[:, w].mean()),
    ),
    (
        "mean over time",
        "The mean runs over the places of each text.",
        "Over the examples: axis 0.",
        lambda x, w: replaced(x, w, x[:, w].mean(1, keepdims=True)),
    ),
    (
        "mean over the channels",
        "The mean runs over the channels.",
        "Over the examples: axis 0.",
        lambda x, w: replaced(x, w, x[:, w].mean(-1, keepdims=True)),
    ),
    (
        "mean of all heads",
        "The head is replaced by the mean of all heads.",
        "By its own mean over the batch.",
        lambda x, w: replaced(x, w, x.mean(1)),
    ),
    (
        "an example removed",
        "An example of the batch is replaced, and not a head.",
        "heads[:, which]: the second axis.",
        lambda x, w: np.where(np.arange(3)[:, None, None, None] == min(w, 2), x.mean(0), x),
    ),
    (
        "all heads replaced",
        "All heads are replaced by their means.",
        "One head: out[:, which].",
        lambda x, w: np.broadcast_to(x.mean(0), x.shape),
    ),
    (
        "the next head",
        "The head after it is replaced.",
        "Heads count from 0.",
        lambda x, w: replaced(x, w + 1, x[:, w + 1].mean(0)),
    ),
    (
        "only this head kept",
        "This head is kept, and all others are replaced.",
        "The others stay as they are.",
        lambda x, w: replaced(np.broadcast_to(x.mean(0), x.shape), w, x[:, w]),
    ),
    (
        "head cut out",
        "The head is cut out: the result has one head less.",
        "The shape stays: later layers need it.",
        lambda x, w: np.delete(x, w, axis=1),
    ),
]:
    enter(without_head, name, says, hint, lambda heads, which, w=wrong: w(heads, which))

patched = Exercise(
    "patched",
    draw=lambda rng: given(
        *rng.normal(size=(2, 4, 5, 3)), layer=int(rng.integers(0, 3)), place=int(rng.integers(1, 4))
    ),
    definition=lambda clean, broken, layer, place: np.array(
        [[clean[i, t] if (i, t) == (layer, place) else broken[i, t] for t in range(5)] for i in range(4)]
    ),
    gradient=False,
    hints=(
        "Which run is changed, and which is asked?",
        "A copy of broken; one row of it from clean.",
        "out = broken.copy(); out[layer, place] = clean[layer, place]",
    ),
)


def put(target, source, index):
    out = target.copy()
    out[index] = source[index]
    return out


for name, says, hint, wrong in [
    (
        "the wrong way round",
        "clean is changed, and broken gives the row.",
        "broken, with one row from clean.",
        lambda c, b, i, t: put(c, b, (i, t)),
    ),
    (
        "the whole layer",
        "The whole layer is replaced.",
        "One place of it: out[layer, place].",
        lambda c, b, i, t: put(b, c, i),
    ),
    (
        "the place in all layers",
        "The place is replaced in all layers.",
        "One layer: out[layer, place].",
        lambda c, b, i, t: put(b, c, (slice(None), t)),
    ),
    (
        "from this layer on",
        "All layers from this one on are replaced.",
        "One layer alone.",
        lambda c, b, i, t: put(b, c, (slice(i, None), t)),
    ),
    (
        "nothing patched",
        "broken is returned as it was.",
        "out[layer, place] = clean[layer, place].",
        lambda c, b, i, t: b,
    ),
    (
        "clean returned",
        "clean is returned.",
        "A copy of broken.",
        lambda c, b, i, t: c,
    ),
    (
        "layer and place exchanged",
        "Layer and place are exchanged.",
        "(L, T, C): layer first.",
        lambda c, b, i, t: put(b, c, (t, i)),
    ),
    (
        "added",
        "The row of clean is added to that of broken.",
        "It takes its place.",
        lambda c, b, i, t: b + put(np.zeros_like(b), c, (i, t)),
    ),
    (
        "all places up to it",
        "All places up to this one are replaced.",
        "One place.",
        lambda c, b, i, t: put(b, c, (i, slice(t + 1))),
    ),
]:
    enter(
        patched, name, says, hint, lambda clean, broken, layer, place, w=wrong: w(clean, broken, layer, place)
    )  # fmt: skip


def shares(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def norm(x, axis=-1):
    n = x - x.mean(axis, keepdims=True)
    return n / np.sqrt((n * n).mean(axis, keepdims=True) + 1e-5)


read_early = Exercise(
    "read_early",
    rtol=1e-3,  # eps may stand elsewhere
    draw=lambda rng: given(np.cumsum(rng.normal(size=(3, 2, 4)), 0) * 2, rng.normal(size=(5, 4))),
    definition=lambda streams, table: np.array([[shares(table @ norm(row)) for row in layer] for layer in streams]),
    gradient=False,
    hints=(
        "The last matrix knows normalised rows alone.",
        "softmax(norm(streams) @ tableᵀ), over the vocabulary.",
        "n = (x - mean) / √(var + 1e-5); s = n @ table.T; softmax over the last axis",
    ),
)
for name, says, hint, wrong in [
    (
        "norm forgotten",
        "The streams are read as they are: the norm is missing.",
        "Mean 0 and spread 1 for each row, then the table.",
        lambda x, t: shares(x @ t.T),
    ),
    (
        "softmax forgotten",
        "Scores are returned: softmax is missing.",
        "Shares add up to 1.",
        lambda x, t: norm(x) @ t.T,
    ),
    (
        "softmax over the layers",
        "Softmax runs over the layers.",
        "Over the vocabulary: the last axis.",
        lambda x, t: shares(norm(x) @ t.T, 0),
    ),
    (
        "softmax over the places",
        "Softmax runs over the places.",
        "Over the vocabulary: the last axis.",
        lambda x, t: shares(norm(x) @ t.T, 1),
    ),
    (
        "norm over the places",
        "The norm runs over the places.",
        "Over the channels of each row: the last axis.",
        lambda x, t: shares(norm(x, 1) @ t.T),
    ),
    (
        "norm over the layers",
        "The norm runs over the layers.",
        "Over the channels of each row: the last axis.",
        lambda x, t: shares(norm(x, 0) @ t.T),
    ),
    (
        "norm after the table",
        "The scores are normalised, and not the streams.",
        "First the norm, then the table.",
        lambda x, t: shares(norm(x @ t.T)),
    ),
    (
        "only the last layer",
        "Only the last layer is read.",
        "One reading for each layer.",
        lambda x, t: shares(norm(x[-1]) @ t.T),
    ),
    (
        "what each block adds",
        "What each block added is read, and not the stream behind it.",
        "The stream itself, as it stands after each block.",
        lambda x, t: shares(norm(np.diff(x, axis=0, prepend=0)) @ t.T),
    ),
    (
        "RMS norm",
        "The mean is not taken off: that is RMS norm.",
        "Mean 0 and spread 1.",
        lambda x, t: shares(x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) @ t.T),
    ),
]:
    enter(read_early, name, says, hint, lambda streams, table, w=wrong: w(streams, table))

EXERCISES = (turned, without_head, patched, read_early)
