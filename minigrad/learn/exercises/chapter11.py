"""What chapter 11 asks for: sinusoids, rotary embedding, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake()(wrong)


def angles(T, C, exponent=lambda i, C: i / C, base=10000, first=0):
    return (np.arange(T)[:, None] + first) / base ** exponent(np.arange(0, C, 2), C)


def woven(even, odd):
    z = np.zeros((len(even), 2 * even.shape[1]))
    z[:, 0::2], z[:, 1::2] = even, odd
    return z


def waves(T, C, **how):
    a = angles(T, C, **how)
    return woven(np.sin(a), np.cos(a))


def one_by_one(T, C):
    z = np.zeros((T, C))
    for t in range(T):
        for i in range(C // 2):
            z[t, 2 * i] = np.sin(t / 10000 ** (2 * i / C))
            z[t, 2 * i + 1] = np.cos(t / 10000 ** (2 * i / C))
    return z


sinusoids = Exercise(
    "sinusoids",
    draw=lambda rng: given(T=int(rng.integers(5, 8)), C=int(rng.choice([6, 8, 10]))),
    definition=one_by_one,
    gradient=False,
    hints=(
        "Each pair of channels has one speed; even channels are its sine, odd ones its cosine.",
        "The speed of the pair at channels 2i and 2i + 1 is 1 / 10000^(2i / C).",
        "speed = 1 / 10000 ** (np.arange(0, C, 2) / C); angle = np.arange(T)[:, None] * speed",
    ),
)
for name, says, hint, wrong in [
    (
        "sine and cosine exchanged",
        "Sine and cosine are exchanged.",
        "Even channels are sines.",
        lambda T, C: woven(np.cos(angles(T, C)), np.sin(angles(T, C))),
    ),
    (
        "sines in one half",
        "The sines fill the first half, the cosines the second.",
        "They alternate: z[:, 0::2], z[:, 1::2].",
        lambda T, C: np.concatenate([np.sin(angles(T, C)), np.cos(angles(T, C))], 1),
    ),
    (
        "sines alone",
        "All channels are sines.",
        "Odd channels are cosines.",
        lambda T, C: woven(np.sin(angles(T, C)), np.sin(angles(T, C))),
    ),
    (
        "exponent halved",
        "The exponent is i / C, and should be 2 i / C.",
        "np.arange(0, C, 2) / C.",
        lambda T, C: waves(T, C, exponent=lambda i, C: i / 2 / C),
    ),
    (
        "exponent doubled",
        "The exponent is doubled.",
        "2 i / C: the channel's number over C, for even channels.",
        lambda T, C: waves(T, C, exponent=lambda i, C: 2 * i / C),
    ),
    (
        "base of 1000",
        "The base is 1000.",
        "10000.",
        lambda T, C: waves(T, C, base=1000),
    ),
    (
        "places from 1",
        "The places are counted from 1.",
        "From 0.",
        lambda T, C: waves(T, C, first=1),
    ),
    (
        "all at one speed",
        "All channels turn at the same speed.",
        "Each pair has its own: 1 / 10000^(2 i / C).",
        lambda T, C: waves(T, C, exponent=lambda i, C: 0 * i),
    ),
    (
        "faster and faster",
        "The speeds grow: 10000 to the power is multiplied, not divided.",
        "t / 10000^(2 i / C).",
        lambda T, C: waves(T, C, exponent=lambda i, C: -i / C),
    ),
    (
        "last pair at the full base",
        "The exponents reach from 0 to 1 inclusive: divided by C - 2.",
        "Divide by C.",
        lambda T, C: waves(T, C, exponent=lambda i, C: i / (C - 2)),
    ),
    (
        "a speed for each channel",
        "Each channel has its own speed, so sine and cosine are no pair.",
        "Channels 2 i and 2 i + 1 share a speed.",
        lambda T, C: np.where(
            np.arange(C) % 2 == 0,
            np.sin(np.arange(T)[:, None] / 10000 ** (np.arange(C) / C)),
            np.cos(np.arange(T)[:, None] / 10000 ** (np.arange(C) / C)),
        ),
    ),
    (
        "turned round",
        "The result is (C, T).",
        "A row for each place.",
        lambda T, C: one_by_one(T, C).T,
    ),
]:
    enter(sinusoids, name, says, hint, lambda T, C, w=wrong: w(T, C))


def turn(x, cos, sin):
    a, b = x[:, 0::2], x[:, 1::2]
    return woven(a * cos - b * sin, a * sin + b * cos)


def by_complex_numbers(x):
    T, D = x.shape
    turned = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * angles(T, D))
    return woven(turned.real, turned.imag)


rotary = Exercise(
    "rotary",
    draw=lambda rng: given(rng.normal(size=(4, 6))),
    definition=by_complex_numbers,
    hints=(
        "Each pair of channels is a point in the plane, turned by the angle of its place.",
        "a' = a cos - b sin, b' = a sin + b cos; backward turns by the negative angle.",
        "z[:, 0::2] = x[:, 0::2] * cos - x[:, 1::2] * sin; z[:, 1::2] = x[:, 0::2] * sin + x[:, 1::2] * cos",
    ),
)


def turning(forward=None, backward=None, **how):
    def wrong(x):
        T, D = x.shape
        a = angles(T, D, **how)
        cos, sin = np.cos(a), np.sin(a)
        z = forward(x, cos, sin) if forward else turn(x, cos, sin)
        return z, lambda dz: backward(dz, cos, sin) if backward else turn(dz, cos, -sin)

    return wrong


def halves(x, cos, sin):
    a, b = np.split(x, 2, axis=1)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], 1)


def even(x):
    return x[:, 0::2]


def odd(x):
    return x[:, 1::2]


for name, says, hint, how in [
    (
        "halves for pairs",
        "The first half is paired with the second: the other custom.",
        "Neighbours here: x[:, 0::2] and x[:, 1::2].",
        {"forward": halves},
    ),
    (
        "turned the other way",
        "It is turned the other way round.",
        "a cos - b sin, a sin + b cos.",
        {"forward": lambda x, c, s: turn(x, c, -s)},
    ),
    (
        "plus in both",
        "Both have a plus: that is no turn, it changes lengths.",
        "a cos - b sin.",
        {"forward": lambda x, c, s: woven(even(x) * c + odd(x) * s, even(x) * s + odd(x) * c)},
    ),
    (
        "minus in both",
        "Both have a minus: that is no turn.",
        "a sin + b cos.",
        {"forward": lambda x, c, s: woven(even(x) * c - odd(x) * s, even(x) * s - odd(x) * c)},
    ),
    (
        "the new a used for b",
        "The second line uses the a that was turned already.",
        "Keep the old a until both are computed.",
        {"forward": lambda x, c, s: woven(even(x) * c - odd(x) * s, (even(x) * c - odd(x) * s) * s + odd(x) * c)},
    ),
    (
        "sine and cosine exchanged when turning",
        "Sine and cosine are exchanged.",
        "a cos - b sin.",
        {"forward": lambda x, c, s: turn(x, s, c)},
    ),
    (
        "added",
        "Sines are added: that is the other method.",
        "Turn: multiply by cos and sin.",
        {"forward": lambda x, c, s: x + woven(s, c)},
    ),
    (
        "places counted from 1",
        "The places are counted from 1.",
        "Row t is at place t, the first at 0.",
        {"first": 1},
    ),
    (
        "one speed for all pairs",
        "All pairs turn at the same speed.",
        "Pair i: 10000^(-2 i / D).",
        {"exponent": lambda i, D: 0 * i},
    ),
    (
        "half the exponent",
        "The exponent is i / D, and should be 2 i / D.",
        "np.arange(0, D, 2) / D.",
        {"exponent": lambda i, D: i / 2 / D},
    ),
    (
        "twice the exponent",
        "The exponent is doubled.",
        "np.arange(0, D, 2) / D.",
        {"exponent": lambda i, D: 2 * i / D},
    ),
    (
        "turned on instead of back",
        "The backward turns the same way as the forward.",
        "Backward turns the other way: -sin.",
        {"backward": turn},
    ),
    (
        "dz not turned",
        "dz is passed on as it is.",
        "It is turned back by the same angle.",
        {"backward": lambda dz, c, s: dz},
    ),
    (
        "cosines alone on the way back",
        "Only the cosines are there on the way back: the crossing paths are missing.",
        "Each of a and b moves both results.",
        {"backward": lambda dz, c, s: dz * woven(c, c)},
    ),
    (
        "halves on the way back",
        "The backward pairs halves, and the forward neighbours.",
        "The same pairs.",
        {"backward": lambda dz, c, s: halves(dz, c, -s)},
    ),
]:
    enter(rotary, name, says, hint, turning(**how))

EXERCISES = (sinusoids, rotary)
