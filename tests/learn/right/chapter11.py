"""Right solutions of chapter 11, written in other ways."""

import math

import numpy as np


def sinusoids_exp(T, C):
    t = np.arange(T).reshape(-1, 1)
    w = np.exp(np.arange(0, C, 2) * (-math.log(10000.0) / C))
    z = np.empty((T, C))
    z[:, 0::2] = np.sin(t * w)
    z[:, 1::2] = np.cos(t * w)
    return z


def sinusoids_stack(T, C):
    a = np.outer(np.arange(T), 10000.0 ** (-np.arange(C // 2) * 2 / C))
    return np.stack([np.sin(a), np.cos(a)], axis=-1).reshape(T, C)


def sinusoids_shift(T, C):
    a = np.repeat(np.arange(T)[:, None] / 10000 ** (np.arange(C // 2) / (C / 2)), 2, axis=1)
    return np.sin(a + np.tile([0, np.pi / 2], C // 2))


def rotary_matrices(x):
    T, D = x.shape
    turns = np.zeros((T, D, D))
    for t in range(T):
        for i in range(D // 2):
            a = t * 10000 ** (-2 * i / D)
            turns[t, 2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return np.einsum("tij,tj->ti", turns, x), lambda dz: np.einsum("tij,ti->tj", turns, dz)


def rotary_swapped(x):
    T, D = x.shape
    a = np.repeat(np.outer(np.arange(T), 10000.0 ** (-np.arange(0, D, 2) / D)), 2, axis=1)

    def swapped(v):
        return np.stack([-v[:, 1::2], v[:, 0::2]], axis=-1).reshape(v.shape)

    return x * np.cos(a) + swapped(x) * np.sin(a), lambda dz: (dz * np.cos(a) - swapped(dz) * np.sin(a),)


def rotary_complex(x):
    T, D = x.shape
    turn = np.exp(1j * np.outer(np.arange(T), 10000.0 ** (-np.arange(0, D, 2) / D)))

    def run(v, turn):
        c = np.ascontiguousarray(v).view(np.complex128) * turn
        return c.view(np.float64)

    return run(x, turn), lambda dz: run(dz, turn.conj())


RIGHT = {
    "sinusoids": [sinusoids_exp, sinusoids_stack, sinusoids_shift],
    "rotary": [rotary_matrices, rotary_swapped, rotary_complex],
}
