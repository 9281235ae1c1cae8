"""Right solutions of chapter 14, written in other ways."""

import numpy as np


def cross_cut(query, key, value, real):
    k, v = key[real], value[real]
    e = np.exp(query @ k.T / np.sqrt(k.shape[-1]))
    return (e / e.sum(1, keepdims=True)) @ v


def cross_large(query, key, value, real):
    s = query @ key.T / np.sqrt(query.shape[-1]) + np.where(real, 0.0, -1e9)[None]
    e = np.exp(s - s.max(1, keepdims=True))
    return np.einsum("ts,sd->td", e / e.sum(1, keepdims=True), value)


def cross_renormalised(query, key, value, real):
    e = np.exp(query @ key.T / np.sqrt(query.shape[-1])) * real
    return e @ value / e.sum(1)[:, None]


def shift_insert(target, start):
    return np.insert(target, 0, start)[:-1]


def shift_roll(target, start):
    out = np.roll(target, 1)
    out[0] = start
    return out


def shift_list(target, start):
    return [start, *list(target)[:-1]]


def loss_boolean(losses, real):
    def backward(dz):
        d = np.zeros_like(losses)
        d[real] = dz / np.count_nonzero(real)
        return (d,)

    return losses[real].mean(), backward


def loss_where(losses, real):
    w = real / real.sum()
    return np.sum(np.where(real, losses, 0) * w), lambda dz: w * dz


RIGHT = {
    "cross_attention": [cross_cut, cross_large, cross_renormalised],
    "shift_right": [shift_insert, shift_roll, shift_list],
    "real_loss": [loss_boolean, loss_where],
}
