"""Right solutions of chapter 2, written in other ways."""

import math
from functools import reduce


def wiggle_halves(f, x, h=1e-5):
    return ((f(x + h) - f(x)) / h + (f(x) - f(x - h)) / h) / 2


def wiggle_distance(f, x, h=1e-5):
    up, down = x + h, x - h
    return (f(up) - f(down)) / (up - down)


def sigmoid_exp(x):
    e = math.exp(x)
    return e / (e + 1), lambda dz: (dz * e / (1 + e) ** 2,)


def sigmoid_tanh(x):
    t = math.tanh(x / 2)
    return (1 + t) / 2, lambda dz: dz * (1 - t * t) / 4


def divide_power(a, b):
    return a * b**-1, lambda dz: [dz * b**-1, dz * a * -(b**-2)]


def divide_result(a, b):
    z = a / b

    def backward(dz):
        da = dz / b
        return da, -da * z

    return z, backward


def chain_recursive(x, steps):
    if not steps:
        return x, lambda dz: dz
    z, first = steps[0](x)
    z, rest = chain_recursive(z, steps[1:])
    return z, lambda dz: first(rest(dz))


def chain_slopes(x, steps):
    slopes = []
    for step in steps:
        x, back = step(x)
        slopes.append(back(1.0))
    return x, lambda dz: (dz * reduce(lambda a, b: a * b, slopes, 1.0),)


def chain_stack(x, steps):
    stack = []
    for step in steps:
        x, back = step(x)
        stack.append(back)

    def backward(dz):
        rest = list(stack)
        while rest:
            dz = rest.pop()(dz)
        return dz

    return x, backward


RIGHT = {
    "wiggle": [wiggle_halves, wiggle_distance],
    "sigmoid": [sigmoid_exp, sigmoid_tanh],
    "divide": [divide_power, divide_result],
    "chain": [chain_recursive, chain_slopes, chain_stack],
}
