"""Right solutions of chapter 7, written in other ways."""

import math

import numpy as np


def sgd_loop(p, g, lr):
    return [a + (-lr) * b for a, b in zip(p, g, strict=True)]


def sgd_copy(p, g, lr):
    new = p.copy()
    new -= g * lr
    return new


def momentum_split(p, g, velocity, lr, momentum):
    new = g + velocity * momentum
    return p + -lr * new, new


def momentum_parts(p, g, velocity, lr, momentum):
    return [p - lr * momentum * velocity - lr * g, np.add(momentum * velocity, g)]


def adam_rate(p, g, m, v, t, lr, b1, b2, eps):
    m = m + (1 - b1) * (g - m)
    v = v - (1 - b2) * (v - g**2)
    root = math.sqrt(1 - b2**t)
    return p - lr * root / (1 - b1**t) * m / (np.sqrt(v) + eps * root), m, v


def adam_names(p, g, m, v, t, lr, b1, b2, eps):
    m, v = (1 - b1) * g + b1 * m, (1 - b2) * np.square(g) + b2 * v
    m_hat, v_hat = m / (1 - np.power(b1, t)), v / (1 - np.power(b2, t))
    return p - np.divide(lr * m_hat, v_hat**0.5 + eps), m, v


def accumulated_average(gradients, sizes):
    return np.average(gradients, axis=0, weights=sizes)


def accumulated_product(gradients, sizes):
    return sizes / sizes.sum() @ gradients


RIGHT = {
    "sgd": [sgd_loop, sgd_copy],
    "momentum_step": [momentum_split, momentum_parts],
    "adam_step": [adam_rate, adam_names],
    "accumulated": [accumulated_average, accumulated_product],
}
