"""What chapter 10 asks for: splitting, joining, multi-head attention, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


def moving(forward, backward):
    """An op that moves numbers: ``forward(x)`` and ``backward(dz, shape of x)``."""

    def wrong(x, heads=None):
        return forward(x, heads), lambda dz: backward(dz, x.shape, heads)

    return wrong


def split(x, H):
    B, T, C = x.shape
    return x.reshape(B, T, H, C // H).transpose(0, 2, 1, 3)


def join(x, _=None):
    B, H, T, D = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * D)


split_heads = Exercise(
    "split_heads",
    draw=lambda rng: given(rng.normal(size=(2, 3, 8)), heads=4),
    definition=lambda x, heads: np.stack(np.split(x, heads, axis=-1), axis=1),
    hints=(
        "A reshape moves nothing: cut the last axis first, then exchange two axes. Back: exchange, then reshape.",
        "(B, T, C) → (B, T, H, D) → (B, H, T, D)",
        "x.reshape(B, T, heads, C // heads).transpose(0, 2, 1, 3)",
    ),
)


def back_split(dz, shape, _):
    return dz.transpose(0, 2, 1, 3).reshape(shape)


for name, says, hint, forward in [
    (
        "reshaped at once",
        "The reshape goes to (B, H, T, D) at once: the channels of different tokens are mixed.",
        "Cut the channels first, (B, T, H, D), then exchange time and heads.",
        lambda x, H: x.reshape(len(x), H, x.shape[1], -1),
    ),
    (
        "every other channel",
        "Each head gets every H-th channel, and should get D that lie side by side.",
        "reshape(B, T, H, D): the heads before their channels.",
        lambda x, H: x.reshape(*x.shape[:2], -1, H).transpose(0, 3, 1, 2),
    ),
    (
        "heads behind time",
        "The channels are cut, and heads stand behind time: (B, T, H, D).",
        "Exchange the two axes: transpose(0, 2, 1, 3).",
        lambda x, H: x.reshape(*x.shape[:2], H, -1),
    ),
    (
        "heads before the batch",
        "The heads stand before the batch: (H, B, T, D).",
        "The batch stays in front: (B, H, T, D).",
        lambda x, H: x.reshape(*x.shape[:2], H, -1).transpose(2, 0, 1, 3),
    ),
    (
        "heads and channels exchanged",
        "The number of heads and the size of a head are exchanged.",
        "heads is the number of heads; each has C // heads channels.",
        lambda x, H: x.reshape(*x.shape[:2], -1, H).transpose(0, 2, 1, 3),
    ),
    (
        "time and channels exchanged",
        "The last two axes are exchanged: (B, H, D, T).",
        "A row for each token: (B, H, T, D).",
        lambda x, H: split(x, H).swapaxes(-1, -2),
    ),
]:
    enter(split_heads, name, says, hint, moving(forward, back_split))
for name, says, hint, backward in [
    (
        "back without exchanging",
        "The backward reshapes at once, without exchanging heads and time.",
        "The same road back: exchange the axes, then reshape.",
        lambda dz, shape, H: dz.reshape(shape),
    ),
    (
        "back to every other channel",
        "The backward puts the heads' channels in turn, and should put them side by side.",
        "transpose(0, 2, 1, 3), then reshape.",
        lambda dz, shape, H: dz.transpose(0, 2, 3, 1).reshape(shape),
    ),
    (
        "divided by the heads",
        "The gradient is divided by the number of heads.",
        "Every number goes to one place: nothing is averaged.",
        lambda dz, shape, H: back_split(dz, shape, H) / H,
    ),
]:
    enter(split_heads, name, says, hint, moving(split, backward))

join_heads = Exercise(
    "join_heads",
    draw=lambda rng: given(rng.normal(size=(2, 4, 3, 2))),
    definition=lambda x: np.concatenate([x[:, h] for h in range(x.shape[1])], axis=-1),
    hints=(
        "The road of split_heads, backwards: exchange heads and time, then reshape.",
        "(B, H, T, D) → (B, T, H, D) → (B, T, C)",
        "x.transpose(0, 2, 1, 3).reshape(B, T, H * D)",
    ),
)


def back_join(dz, shape, _=None):
    B, H, T, D = shape
    return dz.reshape(B, T, H, D).transpose(0, 2, 1, 3)


for name, says, hint, forward in [
    (
        "joined without exchanging",
        "The reshape goes to (B, T, C) at once: numbers of different tokens are mixed.",
        "First transpose(0, 2, 1, 3), then reshape.",
        lambda x, _: x.reshape(len(x), x.shape[2], -1),
    ),
    (
        "channels in turn",
        "The heads' channels stand in turn, and should stand side by side.",
        "(B, T, H, D): heads before their channels, then reshape.",
        lambda x, _: x.transpose(0, 2, 3, 1).reshape(len(x), x.shape[2], -1),
    ),
    (
        "heads added up",
        "The heads are added up, and should be laid side by side.",
        "C = H * D: nothing is lost.",
        lambda x, _: x.sum(1),
    ),
    (
        "heads averaged",
        "The heads are averaged, and should be laid side by side.",
        "C = H * D: nothing is lost.",
        lambda x, _: x.mean(1),
    ),
    (
        "heads one behind the other in time",
        "The heads stand behind one another in time: (B, H * T, D).",
        "Side by side in the channels: (B, T, H * D).",
        lambda x, _: x.reshape(len(x), -1, x.shape[-1]),
    ),
]:
    enter(join_heads, name, says, hint, moving(forward, back_join))
enter(
    join_heads,
    "back at once",
    "The backward reshapes at once: the gradients of different tokens are mixed.",
    "reshape(B, T, H, D), then transpose(0, 2, 1, 3).",
    moving(join, lambda dz, shape, _: dz.reshape(shape)),
)
enter(
    join_heads,
    "back in turn",
    "The backward deals the channels out in turn.",
    "reshape(B, T, H, D), then transpose(0, 2, 1, 3).",
    moving(join, lambda dz, s, _: dz.reshape(s[0], s[2], s[3], s[1]).transpose(0, 3, 1, 2)),
)


def shares(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def turned(x):
    return x.swapaxes(-1, -2)


def heads_one_by_one(x, wq, wk, wv, wo, heads):
    D = x.shape[-1] // heads
    out = []
    for h in range(heads):
        part = slice(h * D, (h + 1) * D)
        q, k, v = x @ wq[:, part], x @ wk[:, part], x @ wv[:, part]
        out.append(shares(q @ turned(k) / np.sqrt(D)) @ v)
    return np.concatenate(out, -1) @ wo


multi_head = Exercise(
    "multi_head",
    draw=lambda rng: given(rng.normal(size=(2, 3, 4)), *rng.normal(size=(4, 4, 4)), heads=2),
    definition=heads_one_by_one,
    paths=("x → query → z", "x → key → z", "x → value → z"),
    hints=(
        "x is used three times: for the query, the key and the value. Each of them gives dx a part.",
        "dx = dq @ wqᵀ + dk @ wkᵀ + dv @ wvᵀ; each dw = xᵀ @ d, over all rows of the batch.",
        "dx = dq @ wq.T + dk @ wk.T + dv @ wv.T; dwq = x.reshape(B * T, C).T @ dq.reshape(B * T, C)",
    ),
)


def written(
    splitting=split,
    joining=join,
    weights=lambda s, D, C: shares(s / np.sqrt(D)),
    out=lambda joined, wo: joined @ wo,
    softmax_back=lambda a, da: a * (da - (da * a).sum(-1, keepdims=True)),
    factor=lambda D, C: 1 / np.sqrt(D),
    dx=lambda q, k, v: q + k + v,
    dw=lambda x, d: np.einsum("bti,bto->io", x, d),
    dwo=lambda joined, dz: np.einsum("bti,bto->io", joined, dz),
    back=lambda d, w: d @ w.T,
):
    """Multi-head attention of parts, one of which may be wrong."""

    def wrong(x, wq, wk, wv, wo, heads):
        C = x.shape[-1]
        D = C // heads
        q, k, v = (splitting(x @ w, heads) for w in (wq, wk, wv))
        a = weights(q @ turned(k), D, C)
        joined = joining(a @ v)
        c = factor(D, C)

        def backward(dz):
            dout = split(back(dz, wo), heads)
            ds = softmax_back(a, dout @ turned(v)) * c
            dq, dk, dv = join(ds @ k), join(turned(ds) @ q), join(turned(a) @ dout)
            parts = back(dq, wq), back(dk, wk), back(dv, wv)
            return dx(*parts), dw(x, dq), dw(x, dk), dw(x, dv), dwo(joined, dz)

        return out(joined, wo), backward

    return wrong


for name, says, hint, part, *forgets in [
    (
        "split at once",
        "The heads are split by one reshape to (B, H, T, D): tokens are mixed.",
        "Use your split_heads.",
        {"splitting": lambda x, H: x.reshape(len(x), H, x.shape[1], -1)},
    ),
    (
        "joined at once",
        "The heads are joined by one reshape: tokens are mixed.",
        "Use your join_heads.",
        {"joining": lambda x: x.reshape(len(x), x.shape[2], -1)},
    ),
    (
        "divided by the root of C",
        "The scores are divided by √C, and a head has D = C / H channels.",
        "A score adds up D products: √D.",
        {"weights": lambda s, D, C: shares(s / np.sqrt(C)), "factor": lambda D, C: 1 / np.sqrt(C)},
    ),
    (
        "not divided at all",
        "The scores are not divided by √D.",
        "As in chapter 9, with the D of a head.",
        {"weights": lambda s, D, C: shares(s), "factor": lambda D, C: 1},
    ),
    (
        "softmax over the queries of a head",
        "Softmax runs over the queries: the columns add up to 1.",
        "Over the keys: the last axis.",
        {"weights": lambda s, D, C: shares(s / np.sqrt(D), -2)},
    ),
    (
        "softmax over the heads",
        "Softmax runs over the heads: they compete with one another.",
        "Each head shares itself out among the keys: the last axis.",
        {"weights": lambda s, D, C: shares(s / np.sqrt(D), 1)},
    ),
    (
        "softmax over the batch",
        "Softmax runs over the batch: the examples are mixed.",
        "Over the keys: the last axis.",
        {"weights": lambda s, D, C: shares(s / np.sqrt(D), 0)},
    ),
    (
        "output matrix forgotten",
        "The joined heads are returned: wo is missing.",
        "z = join(a @ v) @ wo.",
        {"out": lambda joined, wo: joined},
    ),
    (
        "output matrix transposed",
        "wo is transposed: joined @ woᵀ.",
        "Here every matrix stands on the right as it is: joined @ wo.",
        {"out": lambda joined, wo: joined @ wo.T},
    ),
    (
        "path through the query forgotten",
        "dx lacks the part that comes through the query.",
        "x is used three times.",
        {"dx": lambda q, k, v: k + v},
        "x → query → z",
    ),
    (
        "path through the key forgotten",
        "dx lacks the part that comes through the key.",
        "x is used three times.",
        {"dx": lambda q, k, v: q + v},
        "x → key → z",
    ),
    (
        "path through the value forgotten",
        "dx lacks the part that comes through the value.",
        "x is used three times.",
        {"dx": lambda q, k, v: q + k},
        "x → value → z",
    ),
    (
        "query path alone",
        "dx has the part through the query alone.",
        "Add those through key and value.",
        {"dx": lambda q, k, v: q},
    ),
    (
        "value path alone",
        "dx has the part through the value alone.",
        "Add those through query and key.",
        {"dx": lambda q, k, v: v},
    ),
    (
        "mean of the three paths",
        "The three parts of dx are averaged, and should be added.",
        "Each use moves the result by itself: contributions are added up.",
        {"dx": lambda q, k, v: (q + k + v) / 3},
    ),
    (
        "scale forgotten on the way back",
        "The backward does not divide by √D.",
        "The factor of the forward stands in the backward too.",
        {"factor": lambda D, C: 1},
    ),
    (
        "root of C on the way back",
        "The backward divides by √C, and the forward by √D.",
        "One scale for both: D = C // heads.",
        {"factor": lambda D, C: 1 / np.sqrt(C)},
    ),
    (
        "diagonal of the softmax",
        "The backward of softmax is its diagonal alone.",
        "ds = a * (da - sum(da * a)) for each row.",
        {"softmax_back": lambda a, da: a * (1 - a) * da},
    ),
    (
        "softmax skipped on the way back",
        "The way back skips the softmax: ds is da.",
        "ds = a * (da - sum(da * a)) for each row.",
        {"softmax_back": lambda a, da: da},
    ),
    (
        "first example alone",
        "The weights get the gradient of the first example alone.",
        "Sum over the whole batch: x and d as (B * T, C).",
        {"dw": lambda x, d: x[0].T @ d[0]},
    ),
    (
        "mean over the batch",
        "The weights' gradients are averaged over the batch, and should be summed.",
        "The forward has no mean: contributions are added up.",
        {"dw": lambda x, d: np.einsum("bti,bto->io", x, d) / len(x)},
    ),
    (
        "not summed over the batch",
        "The weights' gradients keep the batch axis.",
        "One matrix serves all examples: sum over the batch.",
        {"dw": lambda x, d: turned(x) @ d},
    ),
    (
        "weights' gradients transposed",
        "The gradients of wq, wk and wv are transposed: dᵀ @ x.",
        "For x @ w it is xᵀ @ d: rows are inputs.",
        {"dw": lambda x, d: np.einsum("bti,bto->oi", x, d)},
    ),
    (
        "output gradient transposed",
        "dwo is transposed: dzᵀ @ joined.",
        "For joined @ wo it is joinedᵀ @ dz.",
        {"dwo": lambda joined, dz: np.einsum("bti,bto->oi", joined, dz)},
    ),
    (
        "matrices not transposed",
        "The way back multiplies by w, and should by wᵀ.",
        "For y = x @ w: dx = dy @ wᵀ.",
        {"back": lambda d, w: d @ w},
    ),
]:
    enter(multi_head, name, says, hint, written(**part), *forgets)

EXERCISES = (split_heads, join_heads, multi_head)
