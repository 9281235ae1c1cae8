"""What chapter 12 asks for: a block, GELU, the pairs of next-token prediction, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


def parts(rng):
    """Four functions that differ: matrices on the right, a bend, and a mix of tokens in the attention."""
    mix = np.tril(rng.uniform(size=(3, 3)))
    a, b, c, d = rng.normal(size=(4, 4, 4))
    return given(
        rng.normal(size=(3, 4)),
        norm_1=lambda x: np.tanh(x @ a),
        attention=lambda x: mix @ x @ b,
        norm_2=lambda x: np.tanh(x @ c),
        mlp=lambda x: np.sin(x @ d),
    )


block = Exercise(
    "block",
    draw=parts,
    definition=lambda x, norm_1, attention, norm_2, mlp: (
        x + attention(norm_1(x)) + mlp(norm_2(x + attention(norm_1(x))))
    ),
    gradient=False,
    paths=("x → z", "x → attention → z", "x → mlp → z"),
    hints=(
        "The stream goes through untouched: each branch reads from it and adds to it.",
        "x = x + attention(norm(x)), then with that x: x = x + mlp(norm(x)).",
        "x = x + attention(norm_1(x)); x = x + mlp(norm_2(x))",
    ),
)


def second(x, part):
    return x + part(x)


for name, says, hint, wrong, *forgets in [
    (
        "nothing added",
        "The branches replace the stream: nothing is added to x.",
        "x = x + attention(...): the gradient needs a road that no block narrows.",
        lambda x, n1, at, n2, m: m(n2(at(n1(x)))),
        "x → z",
    ),
    (
        "attention replaces the stream",
        "Attention replaces the stream, and is not added to it.",
        "x = x + attention(norm_1(x)).",
        lambda x, n1, at, n2, m: at(n1(x)) + m(n2(at(n1(x)))),
    ),
    (
        "mlp replaces the stream",
        "The mlp replaces the stream, and is not added to it.",
        "x = x + mlp(norm_2(x)).",
        lambda x, n1, at, n2, m: m(n2(x + at(n1(x)))),
    ),
    (
        "norm on the stream",
        "The norm stands on the stream: norm(x + f(x)). That is the first transformer's way.",
        "Here the branch is normalised, and the stream stays: x + f(norm(x)).",
        lambda x, n1, at, n2, m: n2(n1(x + at(x)) + m(n1(x + at(x)))),
    ),
    (
        "no norms",
        "The branches read the stream as it is: both norms are missing.",
        "attention(norm_1(x)), mlp(norm_2(x)).",
        lambda x, n1, at, n2, m: x + at(x) + m(x + at(x)),
    ),
    (
        "first norm missing",
        "Attention reads the stream as it is: norm_1 is missing.",
        "attention(norm_1(x)).",
        lambda x, n1, at, n2, m: x + at(x) + m(n2(x + at(x))),
    ),
    (
        "second norm missing",
        "The mlp reads the stream as it is: norm_2 is missing.",
        "mlp(norm_2(x)).",
        lambda x, n1, at, n2, m: x + at(n1(x)) + m(x + at(n1(x))),
    ),
    (
        "the normalised x is added",
        "The normalised x is kept as the stream: norm_1(x) + attention(norm_1(x)).",
        "The norm is for the branch alone; add to x itself.",
        lambda x, n1, at, n2, m: second(n2(second(n1(x), at)), m),
    ),
    (
        "both read the first x",
        "The mlp reads x as it was before attention.",
        "First x = x + attention(...); then the mlp, with this new x.",
        lambda x, n1, at, n2, m: x + at(n1(x)) + m(n2(x)),
    ),
    (
        "mlp before attention",
        "The mlp comes first, then attention.",
        "Gather first, then work on it.",
        lambda x, n1, at, n2, m: x + m(n2(x)) + at(n1(x + m(n2(x)))),
    ),
    (
        "norms exchanged",
        "The two norms are exchanged.",
        "norm_1 belongs to attention, norm_2 to the mlp.",
        lambda x, n1, at, n2, m: x + at(n2(x)) + m(n1(x + at(n2(x)))),
    ),
    (
        "mlp left out",
        "The mlp is missing.",
        "x = x + mlp(norm_2(x)) after attention.",
        lambda x, n1, at, n2, m: x + at(n1(x)),
        "x → mlp → z",
    ),
    (
        "the first x added twice",
        "At the end the x from the beginning is added, and what attention found is lost from the stream.",
        "Add to the x that attention has added to.",
        lambda x, n1, at, n2, m: x + m(n2(x + at(n1(x)))),
    ),
]:

    def named(x, norm_1, attention, norm_2, mlp, wrong=wrong):
        return wrong(x, norm_1, attention, norm_2, mlp)

    enter(block, name, says, hint, named, *forgets)

C = np.sqrt(2 / np.pi)


def bend(x):
    return np.tanh(C * (x + 0.044715 * x**3))


gelu = Exercise(
    "gelu",
    draw=lambda rng: given(rng.normal(size=(3, 4)) * 1.5),
    definition=lambda x: x * (1 + bend(x)) / 2,
    paths=("x → factor → z", "x → u → tanh → z"),
    hints=(
        "x occurs twice: as the factor in front, and inside tanh.",
        "dx = dz * ((1 + t) / 2 + x / 2 * (1 - t²) * du), du = √(2/π) (1 + 3 * 0.044715 x²)",
        "return dz * ((1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))",
    ),
)


def forward_of(z):
    return lambda x: (z(x), lambda dz: dz)


for name, says, hint, z in [
    (
        "half forgotten",
        "The result is twice what it should be: the division by 2.",
        "x (1 + tanh u) / 2.",
        lambda x: x * (1 + bend(x)),
    ),
    (
        "one forgotten",
        "1 + tanh u became tanh u: the 1 is missing.",
        "x (1 + tanh u) / 2.",
        lambda x: x * bend(x) / 2,
    ),
    (
        "x forgotten in front",
        "The factor x in front is missing.",
        "x (1 + tanh u) / 2.",
        lambda x: (1 + bend(x)) / 2,
    ),
    (
        "x squared in u",
        "x is squared in u, and should be cubed.",
        "0.044715 x³.",
        lambda x: x * (1 + np.tanh(C * (x + 0.044715 * x**2))) / 2,
    ),
    (
        "root of one over pi",
        "The factor is √(1/π), or its 2 is missing.",
        "√(2/π).",
        lambda x: x * (1 + np.tanh(np.sqrt(1 / np.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    (
        "two over pi without the root",
        "The factor is 2/π: the root is missing.",
        "√(2/π).",
        lambda x: x * (1 + np.tanh(2 / np.pi * (x + 0.044715 * x**3))) / 2,
    ),
    (
        "factor on the first term alone",
        "√(2/π) multiplies x alone, and should multiply the bracket.",
        "√(2/π) (x + 0.044715 x³).",
        lambda x: x * (1 + np.tanh(C * x + 0.044715 * x**3)) / 2,
    ),
    (
        "the cube left out",
        "The term with x³ is missing in u.",
        "x + 0.044715 x³.",
        lambda x: x * (1 + np.tanh(C * x)) / 2,
    ),
    (
        "ReLU",
        "This is a ReLU: 0 or x.",
        "GELU is round: x (1 + tanh u) / 2.",
        lambda x: np.maximum(x, 0),
    ),
    (
        "sigmoid GELU",
        "This is x times a sigmoid: another approximation of GELU.",
        "Here: x (1 + tanh u) / 2.",
        lambda x: x / (1 + np.exp(-1.702 * x)),
    ),
    (
        "SiLU",
        "This is x times sigmoid(x), called SiLU.",
        "Here: x (1 + tanh u) / 2.",
        lambda x: x / (1 + np.exp(-x)),
    ),
]:
    enter(gelu, name, says, hint, forward_of(z))


def slope_of(slope):
    return lambda x: (x * (1 + bend(x)) / 2, lambda dz: dz * slope(x, bend(x), C * (1 + 3 * 0.044715 * x**2)))


for name, says, hint, slope, *forgets in [
    (
        "path through tanh forgotten",
        "Only the factor x in front is taken to move.",
        "x stands inside tanh as well.",
        lambda x, t, du: (1 + t) / 2,
        "x → u → tanh → z",
    ),
    (
        "path through the factor forgotten",
        "Only the x inside tanh is taken to move.",
        "The factor x in front moves as well.",
        lambda x, t, du: x / 2 * (1 - t * t) * du,
        "x → factor → z",
    ),
    (
        "du forgotten",
        "The slope of u is missing: tanh was differentiated, what is in it was not.",
        "Chain rule: times du/dx.",
        lambda x, t, du: (1 + t) / 2 + x / 2 * (1 - t * t),
    ),
    (
        "du without the 3",
        "The slope of x³ is 3 x²: the 3 is missing.",
        "du = √(2/π) (1 + 3 * 0.044715 x²).",
        lambda x, t, du: (1 + t) / 2 + x / 2 * (1 - t * t) * C * (1 + 0.044715 * x**2),
    ),
    (
        "du without the root",
        "The factor √(2/π) is missing in du.",
        "du = √(2/π) (1 + 3 * 0.044715 x²).",
        lambda x, t, du: (1 + t) / 2 + x / 2 * (1 - t * t) * du / C,
    ),
    (
        "du alone is the root",
        "du is taken as √(2/π): the cube does not move.",
        "du = √(2/π) (1 + 3 * 0.044715 x²).",
        lambda x, t, du: (1 + t) / 2 + x / 2 * (1 - t * t) * C,
    ),
    (
        "tanh not squared",
        "The slope of tanh is 1 - t², not 1 - t.",
        "(1 - t * t).",
        lambda x, t, du: (1 + t) / 2 + x / 2 * (1 - t) * du,
    ),
    (
        "x not halved",
        "The second part is not divided by 2.",
        "x / 2 * (1 - t²) * du.",
        lambda x, t, du: (1 + t) / 2 + x * (1 - t * t) * du,
    ),
    (
        "x forgotten in the second part",
        "The second part lacks its factor x.",
        "x / 2 * (1 - t²) * du.",
        lambda x, t, du: (1 + t) / 2 + (1 - t * t) * du / 2,
    ),
    (
        "slope of a ReLU",
        "This is the slope of a ReLU: 0 or 1.",
        "GELU is round.",
        lambda x, t, du: (x > 0) * 1.0,
    ),
]:
    enter(gelu, name, says, hint, slope_of(slope), *forgets)
enter(
    gelu,
    "dz forgotten",
    "The slope is right, and not multiplied by dz.",
    "Every slope is multiplied by dz.",
    lambda x: (
        x * (1 + bend(x)) / 2,
        lambda dz: (1 + bend(x)) / 2 + x / 2 * (1 - bend(x) ** 2) * C * (1 + 3 * 0.044715 * x**2),
    ),
)

next_tokens = Exercise(
    "next_tokens",
    draw=lambda rng: given(rng.permutation(20), start=int(rng.integers(1, 8)), length=int(rng.integers(4, 7))),
    definition=lambda ids, start, length: (
        np.array([ids[start + i] for i in range(length)]),
        np.array([ids[start + i + 1] for i in range(length)]),
    ),
    gradient=False,
    hints=(
        "The target of a place is the token at the next place.",
        "targets are the piece that begins one later, of the same length.",
        "ids[start : start + length], ids[start + 1 : start + 1 + length]",
    ),
)
for name, says, hint, pair in [
    (
        "targets are the inputs",
        "The targets are the inputs themselves: the model learns to copy.",
        "One later: ids[start + 1 : ...].",
        lambda ids, s, n: (ids[s : s + n], ids[s : s + n]),
    ),
    (
        "targets one behind",
        "The targets are the tokens before: the model learns to remember.",
        "One later, not earlier: start + 1.",
        lambda ids, s, n: (ids[s : s + n], ids[s - 1 : s - 1 + n]),
    ),
    (
        "targets two ahead",
        "The targets are two places ahead.",
        "One later: start + 1.",
        lambda ids, s, n: (ids[s : s + n], ids[s + 2 : s + 2 + n]),
    ),
    (
        "inputs and targets exchanged",
        "Inputs and targets are exchanged.",
        "inputs first; the targets are one later.",
        lambda ids, s, n: (ids[s + 1 : s + 1 + n], ids[s : s + n]),
    ),
    (
        "one too short",
        "A piece of length tokens was cut in two: both parts are one too short.",
        "Take length + 1 tokens, so that length pairs remain.",
        lambda ids, s, n: (ids[s : s + n - 1], ids[s + 1 : s + n]),
    ),
    (
        "targets one too short",
        "The targets are one too short.",
        "They end one later as well: start + 1 + length.",
        lambda ids, s, n: (ids[s : s + n], ids[s + 1 : s + n]),
    ),
    (
        "a piece from the beginning",
        "start is not used: the piece begins at 0.",
        "ids[start : start + length].",
        lambda ids, s, n: (ids[:n], ids[1 : n + 1]),
    ),
    (
        "length taken for the end",
        "length was taken for the place of the end.",
        "It ends at start + length.",
        lambda ids, s, n: (ids[s:n], ids[s + 1 : n + 1]),
    ),
    (
        "only the last target",
        "There is one target for the whole piece.",
        "Every place has a target: the token after it.",
        lambda ids, s, n: (ids[s : s + n], ids[s + n : s + n + 1]),
    ),
    (
        "the piece after",
        "The targets are the whole piece that follows.",
        "Each place's target is its next token: one later.",
        lambda ids, s, n: (ids[s : s + n], ids[s + n : s + 2 * n]),
    ),
]:

    def cut(ids, start, length, pair=pair):
        return pair(ids, start, length)

    enter(next_tokens, name, says, hint, cut)

EXERCISES = (block, gelu, next_tokens)
