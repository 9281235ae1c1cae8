"""What chapter 6 asks for: a row normalised, layer norm, RMS norm, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given

EPS = 1e-5


def enter(exercise, name, says, hint, wrong, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


def m(x, axis=-1):
    return x.mean(axis, keepdims=True)


def spread(x):
    return np.sqrt(m((x - m(x)) ** 2) + EPS)


def norm(x):
    return (x - m(x)) / spread(x)


def draw(rng):
    return rng.normal(size=(4, 5)) * 2 + 1


DIRECT, MEAN, VARIANCE = "x → z", "x → mean → z", "x → variance → z"
PATHS = (DIRECT, MEAN, VARIANCE)

normalise = Exercise(
    "normalise",
    rtol=1e-3,  # eps may stand elsewhere
    draw=lambda rng: given(draw(rng)),
    definition=norm,
    paths=PATHS,
    hints=(
        "x reaches z on three paths: directly, through the mean, and through the variance.",
        "dx = (dz - mean(dz) - z * mean(dz * z)) / √(var + eps), the means over each row.",
        "return (dz - dz.mean(-1, keepdims=True) - z * (dz * z).mean(-1, keepdims=True)) / spread",
    ),
)

FORWARD = [
    (
        "down the columns",
        "Mean and spread are taken down the columns: that is batch norm.",
        "Over each row: axis -1, keepdims=True.",
        lambda x: (x - m(x, 0)) / np.sqrt(m((x - m(x, 0)) ** 2, 0) + EPS),
    ),
    (
        "of everything",
        "One mean and one spread are taken for the whole table.",
        "Over each row: axis -1, keepdims=True.",
        lambda x: (x - x.mean()) / np.sqrt(x.var() + EPS),
    ),
    (
        "divided by C minus 1",
        "The variance is divided by C - 1, and here by C.",
        "The mean of the squares: .mean(-1), or var without ddof=1.",
        lambda x: (x - m(x)) / np.sqrt(x.var(-1, keepdims=True, ddof=1) + EPS),
    ),
    (
        "root forgotten",
        "It is divided by the variance: the root is missing.",
        "np.sqrt(var + EPS).",
        lambda x: (x - m(x)) / (spread(x) ** 2),
    ),
    (
        "mean not taken off",
        "The mean is not subtracted from x.",
        "(x - mean) / spread.",
        lambda x: x / spread(x),
    ),
    (
        "variance without the mean",
        "The mean of x² stands for the variance: the mean was not subtracted in it.",
        "The mean of (x - mean)².",
        lambda x: (x - m(x)) / np.sqrt(m(x * x) + EPS),
    ),
    (
        "not divided",
        "The mean is taken off, and nothing divided by the spread.",
        "(x - mean) / spread.",
        lambda x: x - m(x),
    ),
    (
        "divided by the largest",
        "It is divided by the largest size, and not by the spread.",
        "np.sqrt(var + EPS).",
        lambda x: (x - m(x)) / np.abs(x - m(x)).max(-1, keepdims=True),
    ),
    (
        "absolute differences",
        "The mean of the absolute differences stands for the spread.",
        "The root of the mean square.",
        lambda x: (x - m(x)) / m(np.abs(x - m(x))),
    ),
    (
        "summed squares",
        "The squares are summed, and their mean is wanted.",
        "(centred ** 2).mean(-1, keepdims=True).",
        lambda x: (x - m(x)) / np.sqrt(((x - m(x)) ** 2).sum(-1, keepdims=True) + EPS),
    ),
]
for name, says, hint, forward in FORWARD:
    enter(normalise, name, says, hint, lambda x, f=forward: (f(x), lambda dz: dz))

# The wrong ways back to x: dx from dn, n and the spread.
BACKWARD = [
    (
        "only the direct path",
        "Mean and variance are treated as numbers that do not move.",
        "x moves both: there are two more paths.",
        lambda d, n, s, x: d / s,
        VARIANCE,
    ),
    (
        "path through the variance forgotten",
        "The path through the variance is missing.",
        "If x moves, the spread does, and with it every number of the row.",
        lambda d, n, s, x: (d - m(d)) / s,
        VARIANCE,
    ),
    (
        "path through the mean forgotten",
        "The path through the mean is missing.",
        "If x rises, the mean does, and every number of the row falls.",
        lambda d, n, s, x: (d - n * m(d * n)) / s,
        MEAN,
    ),
    (
        "direct path forgotten",
        "The direct path is missing.",
        "dz itself arrives, divided by the spread.",
        lambda d, n, s, x: (-m(d) - n * m(d * n)) / s,
        DIRECT,
    ),
    (
        "spread forgotten in backward",
        "The backward does not divide by the spread.",
        "The division of the forward stands in the backward too.",
        lambda d, n, s, x: d - m(d) - n * m(d * n),
    ),
    (
        "multiplied by the spread",
        "The backward multiplies by the spread, and should divide.",
        "Nothing is undone on the way back.",
        lambda d, n, s, x: (d - m(d) - n * m(d * n)) * s,
    ),
    (
        "divided by the variance",
        "The backward divides by the variance, and not by its root.",
        "Divide by √(var + eps).",
        lambda d, n, s, x: (d - m(d) - n * m(d * n)) / s**2,
    ),
    (
        "sums for means",
        "The sums over the row are subtracted, and should be the means.",
        "mean(dz) and mean(dz * z): each x has a C-th of the mean.",
        lambda d, n, s, x: (d - d.sum(-1, keepdims=True) - n * (d * n).sum(-1, keepdims=True)) / s,
    ),
    (
        "C minus 1 in backward",
        "The path through the variance divides by C - 1.",
        "Forward and backward use the same mean: C.",
        lambda d, n, s, x: (d - m(d) - n * (d * n).sum(-1, keepdims=True) / (n.shape[-1] - 1)) / s,
    ),
    (
        "x for n",
        "The path through the variance uses x, and should use the normalised numbers.",
        "n * mean(dn * n).",
        lambda d, n, s, x: (d - m(d) - x * m(d * x)) / s,
    ),
    (
        "n left out in front",
        "The path through the variance lacks its factor n.",
        "n * mean(dn * n): who is far from the mean is squeezed most.",
        lambda d, n, s, x: (d - m(d) - m(d * n)) / s,
    ),
    (
        "n left out inside",
        "The mean inside is that of dn, and should be of dn * n.",
        "n * mean(dn * n).",
        lambda d, n, s, x: (d - m(d) - n * m(d)) / s,
    ),
    (
        "plus for the variance",
        "The path through the variance is added, and should be subtracted.",
        "A larger spread makes the numbers smaller.",
        lambda d, n, s, x: (d - m(d) + n * m(d * n)) / s,
    ),
    (
        "plus for the mean",
        "The path through the mean is added, and should be subtracted.",
        "A larger mean makes the numbers smaller.",
        lambda d, n, s, x: (d + m(d) - n * m(d * n)) / s,
    ),
    (
        "means down the columns",
        "The means in the backward run down the columns.",
        "Over each row, as in the forward: axis -1.",
        lambda d, n, s, x: (d - m(d, 0) - n * m(d * n, 0)) / s,
    ),
    (
        "means of everything",
        "The means in the backward run over the whole table.",
        "Over each row: axis -1, keepdims=True.",
        lambda d, n, s, x: (d - d.mean() - n * (d * n).mean()) / s,
    ),
    (
        "halved",
        "The path through the variance is halved: the 2 of the square and that of the root cancel.",
        "n * mean(dn * n), without a factor.",
        lambda d, n, s, x: (d - m(d) - n * m(d * n) / 2) / s,
    ),
    (
        "doubled",
        "The path through the variance is doubled: the 2 of the square and that of the root cancel.",
        "n * mean(dn * n), without a factor.",
        lambda d, n, s, x: (d - m(d) - 2 * n * m(d * n)) / s,
    ),
]
for name, says, hint, back, *forgets in BACKWARD:
    enter(
        normalise, name, says, hint,
        lambda x, b=back: (norm(x), lambda dz: b(dz, norm(x), spread(x), x)), *forgets,
    )  # fmt: skip
enter(
    normalise,
    "dz does not occur",
    "dx does not depend on dz: it is the slope for a dz of 1.",
    "Every slope is multiplied by dz.",
    lambda x: (norm(x), lambda dz: np.ones_like(x) / spread(x)),
)


def right_dx(d, n, s, x):
    return (d - m(d) - n * m(d * n)) / s


layer_norm = Exercise(
    "layer_norm",
    rtol=1e-3,  # eps may stand elsewhere
    draw=lambda rng: given(draw(rng), rng.normal(size=5) + 2, rng.normal(size=5)),
    definition=lambda x, weight, bias: norm(x) * weight + bias,
    paths=PATHS,
    hints=(
        "First back through scale and shift, then the three paths of normalise with dn = dz * weight.",
        "dweight = sum over rows of dz * n; dbias = sum over rows of dz; dx as in normalise, of dz * weight.",
        "return back(dz * weight), (dz * n).sum(0), dz.sum(0)",
    ),
)


def layer(dx=right_dx, dn=lambda dz, w: dz * w, dw=lambda dz, n, x: (dz * n).sum(0), db=lambda dz: dz.sum(0)):
    """Layer norm of parts, one of which may be wrong."""

    def wrong(x, weight, bias):
        n, s = norm(x), spread(x)
        return n * weight + bias, lambda dz: (dx(dn(dz, weight), n, s, x), dw(dz, n, x), db(dz))

    return wrong


for name, says, hint, forward in [
    *((name, says, hint, lambda x, w, b, f=f: f(x) * w + b) for name, says, hint, f in FORWARD),
    (
        "bias forgotten",
        "The shift is missing.",
        "n * weight + bias.",
        lambda x, w, b: norm(x) * w,
    ),
    (
        "weight forgotten",
        "The scale is missing.",
        "n * weight + bias.",
        lambda x, w, b: norm(x) + b,
    ),
    (
        "bias scaled too",
        "The shift is scaled as well: (n + bias) * weight.",
        "n * weight + bias.",
        lambda x, w, b: (norm(x) + b) * w,
    ),
    (
        "scaled before",
        "Scale and shift are applied before the norm, which takes them off again.",
        "First normalise, then scale and shift.",
        lambda x, w, b: norm(x * w + b),
    ),
    (
        "weight and bias exchanged",
        "weight and bias are exchanged.",
        "n * weight + bias.",
        lambda x, w, b: norm(x) * b + w,
    ),
]:

    def named(x, weight, bias, forward=forward):
        return forward(x, weight, bias), lambda dz: (dz, weight, bias)

    enter(layer_norm, name, says, hint, named)
for name, says, hint, back, *forgets in BACKWARD:
    enter(layer_norm, name, says, hint, layer(dx=back), *forgets)
for name, says, hint, part in [
    (
        "weight forgotten in dn",
        "dn is dz: the weight is missing on the way back.",
        "z = n * weight + bias: dn = dz * weight.",
        {"dn": lambda dz, w: dz},
    ),
    (
        "divided by the weight",
        "dn is dz / weight.",
        "Nothing is undone on the way back: dn = dz * weight.",
        {"dn": lambda dz, w: dz / w},
    ),
    (
        "dweight from x",
        "dweight uses x, and should use the normalised n.",
        "weight multiplies n: dz * n.",
        {"dw": lambda dz, n, x: (dz * x).sum(0)},
    ),
    (
        "dweight not summed",
        "dweight has the shape of x: it is not summed over rows.",
        "All rows share the weight: (dz * n).sum(0).",
        {"dw": lambda dz, n, x: dz * n},
    ),
    (
        "dweight a mean",
        "dweight is a mean over rows, and should be a sum.",
        "Contributions are added up.",
        {"dw": lambda dz, n, x: (dz * n).mean(0)},
    ),
    (
        "dweight without n",
        "dweight is the sum of dz: n is missing.",
        "weight multiplies n: dz * n.",
        {"dw": lambda dz, n, x: dz.sum(0)},
    ),
    (
        "dbias not summed",
        "dbias has the shape of x: it is not summed over rows.",
        "All rows share the bias: dz.sum(0).",
        {"db": lambda dz: dz},
    ),
    (
        "dbias a mean",
        "dbias is a mean over rows, and should be a sum.",
        "Contributions are added up.",
        {"db": lambda dz: dz.mean(0)},
    ),
    (
        "dbias along the rows",
        "dbias is summed along each row.",
        "Over the rows: axis 0.",
        {"db": lambda dz: dz.sum(1)},
    ),
]:
    enter(layer_norm, name, says, hint, layer(**part))


def root(x):
    return np.sqrt(m(x * x) + EPS)


rms_norm = Exercise(
    "rms_norm",
    rtol=1e-3,  # eps may stand elsewhere
    draw=lambda rng: given(draw(rng), rng.normal(size=5) + 2),
    definition=lambda x, weight: x / root(x) * weight,
    paths=("x → z", "x → mean square → z"),
    hints=(
        "Two paths: directly, and through the mean square.",
        "dx = (dn - n * mean(dn * n)) / root, dn = dz * weight.",
        "return (dn - n * (dn * n).mean(-1, keepdims=True)) / root, (dz * n).sum(0)",
    ),
)
for name, says, hint, forward in [
    (
        "mean taken off",
        "The mean is taken off: that is layer norm.",
        "RMS norm leaves the mean alone.",
        lambda x, w: norm(x) * w,
    ),
    (
        "root of the sum",
        "It is divided by the root of the sum of squares, and not of their mean.",
        "mean(x²).",
        lambda x, w: x / np.sqrt((x * x).sum(-1, keepdims=True) + EPS) * w,
    ),
    (
        "root left out",
        "It is divided by the mean square: the root is missing.",
        "√(mean(x²) + eps).",
        lambda x, w: x / root(x) ** 2 * w,
    ),
    (
        "the weight is missing",
        "The scale is missing.",
        "n * weight.",
        lambda x, w: x / root(x),
    ),
    (
        "spread for the root",
        "It is divided by the spread: the mean was taken off in the square.",
        "mean(x²), as it is.",
        lambda x, w: x / spread(x) * w,
    ),
    (
        "over the columns",
        "The mean square runs down the columns.",
        "Over each row: axis -1.",
        lambda x, w: x / np.sqrt(m(x * x, 0) + EPS) * w,
    ),
]:
    enter(rms_norm, name, says, hint, lambda x, weight, f=forward: (f(x, weight), lambda dz: (dz, weight)))


def rms(dx=lambda d, n, r: (d - n * m(d * n)) / r, dn=lambda dz, w: dz * w, dw=lambda dz, n, x: (dz * n).sum(0)):
    def wrong(x, weight):
        n, r = x / root(x), root(x)
        return n * weight, lambda dz: (dx(dn(dz, weight), n, r), dw(dz, n, x))

    return wrong


for name, says, hint, part, *forgets in [
    (
        "path through the mean square forgotten",
        "The root is treated as a number that does not move.",
        "x moves the mean square, and with it the whole row.",
        {"dx": lambda d, n, r: d / r},
        "x → mean square → z",
    ),
    (
        "direct path left out",
        "The direct path is missing.",
        "dn itself arrives, divided by the root.",
        {"dx": lambda d, n, r: -n * m(d * n) / r},
        "x → z",
    ),
    (
        "the backward of layer norm",
        "This is layer norm's backward: it has a path through the mean.",
        "RMS norm has no mean: two paths.",
        {"dx": lambda d, n, r: (d - m(d) - n * m(d * n)) / r},
    ),
    (
        "not divided by the root",
        "The backward does not divide by the root.",
        "The division of the forward stands in the backward too.",
        {"dx": lambda d, n, r: d - n * m(d * n)},
    ),
    (
        "a sum for the mean",
        "The sum of dn * n is used, and should be its mean.",
        "n * mean(dn * n).",
        {"dx": lambda d, n, r: (d - n * (d * n).sum(-1, keepdims=True)) / r},
    ),
    (
        "plus for minus",
        "The path through the mean square is added.",
        "A larger root makes the numbers smaller.",
        {"dx": lambda d, n, r: (d + n * m(d * n)) / r},
    ),
    (
        "weight left out in dn",
        "dn is dz: the weight is missing on the way back.",
        "dn = dz * weight.",
        {"dn": lambda dz, w: dz},
    ),
    (
        "dweight of x",
        "dweight uses x, and should use n.",
        "weight multiplies n.",
        {"dw": lambda dz, n, x: (dz * x).sum(0)},
    ),
    (
        "dweight as a mean",
        "dweight is a mean over rows.",
        "All rows share it: a sum.",
        {"dw": lambda dz, n, x: (dz * n).mean(0)},
    ),
    (
        "dweight for each row",
        "dweight has the shape of x.",
        "All rows share it: sum over them.",
        {"dw": lambda dz, n, x: dz * n},
    ),
]:
    enter(rms_norm, name, says, hint, rms(**part), *forgets)

EXERCISES = (normalise, layer_norm, rms_norm)
