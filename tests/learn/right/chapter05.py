"""Right solutions of chapter 5, written in other ways: name -> variants. None may be accused of anything."""

import numpy as np


def softmax(x):
    z = np.exp(x - np.max(x, axis=-1)[..., None])
    z /= np.sum(z, axis=-1)[..., None]

    def backward(dz):
        return (dz - np.sum(z * dz, axis=-1, keepdims=True)) * z

    return z, backward


def softmax_tuple(x):
    z = np.exp(x - x.max())
    z = z / z.sum(axis=1, keepdims=True)
    return z, lambda dz: (z * dz - z * (z * dz).sum(1, keepdims=True),)


def softmax_jacobian(x):
    z = np.array([np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in x])

    def backward(dz):
        return np.stack([(np.diag(row) - np.outer(row, row)) @ d for row, d in zip(z, dz, strict=True)])

    return z, backward


def softmax_loops(x):
    z = np.zeros_like(x)
    for i in range(x.shape[0]):
        top = max(x[i])
        total = sum(np.exp(v - top) for v in x[i])
        for j in range(x.shape[1]):
            z[i, j] = np.exp(x[i, j] - top) / total

    def backward(dz):
        dx = np.zeros_like(z)
        for i in range(z.shape[0]):
            for j in range(z.shape[1]):
                for k in range(z.shape[1]):
                    dx[i, j] += dz[i, k] * z[i, k] * ((j == k) - z[i, j])
        return dx

    return z, backward


def softmax_einsum(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    s = e.sum(-1, keepdims=True)

    def backward(dz):
        z = e / s
        return z * dz - z * np.einsum("ij,ij->i", z, dz)[:, None]

    return e / s, backward


def softmax_staged(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    s = e.sum(-1, keepdims=True)
    z = e / s

    def backward(dz):
        de = dz / s
        ds = (-dz * e / s**2).sum(-1, keepdims=True)
        return (de + ds) * e

    return z, backward


def softmax_float32(x):
    x = (x - x.max(-1, keepdims=True)).astype(np.float32)
    z = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return z, lambda dz: z * (dz - (dz * z).sum(-1, keepdims=True))


def log_softmax(x):
    m = x.max(-1, keepdims=True)
    z = x - m - np.log(np.exp(x - m).sum(-1, keepdims=True))
    p = np.exp(z)
    return z, lambda dz: (dz - p * dz.sum(-1, keepdims=True),)


def log_softmax_logaddexp(x):
    z = x - np.logaddexp.reduce(x, axis=-1, keepdims=True)

    def backward(dz):
        return dz - np.exp(z) * np.sum(dz, axis=-1).reshape(-1, 1)

    return z, backward


def log_softmax_jacobian(x):
    z = x - np.logaddexp.reduce(x, axis=-1, keepdims=True)

    def backward(dz):
        p = np.exp(z)
        return np.stack([(np.eye(len(r)) - np.outer(np.ones(len(r)), r)).T @ d for r, d in zip(p, dz, strict=True)])

    return z, backward


def cross_entropy(x, target):
    z = x - np.logaddexp.reduce(x, axis=1, keepdims=True)
    y = np.eye(x.shape[1])[target]
    return -(y * z).sum() / len(x), lambda dz: (np.exp(z) - y) * (dz / len(target))


def cross_entropy_take(x, *, target):
    z = x - x.max(1, keepdims=True)
    z = z - np.log(np.exp(z).sum(1, keepdims=True))
    loss = -np.take_along_axis(z, target[:, None], axis=1).mean()

    def backward(dz):
        d = np.zeros_like(z)
        np.put_along_axis(d, target[:, None], -dz / x.shape[0], axis=1)
        return d - np.exp(z) * d.sum(1, keepdims=True)

    return loss, backward


def cross_entropy_loop(x, target):
    total, p = 0.0, []
    for row, t in zip(x, target, strict=True):
        e = np.exp(row - row.max())
        total -= row[t] - row.max() - np.log(e.sum())
        p.append(e / e.sum())

    def backward(dz):
        dx = np.array(p)
        for i, t in enumerate(target):
            dx[i, t] -= 1
        return [dx * dz / len(x)]

    return np.array(total / len(x)), backward


RIGHT = {
    "softmax": [
        softmax, softmax_tuple, softmax_jacobian, softmax_loops, softmax_einsum, softmax_staged, softmax_float32,
    ],
    "log_softmax": [log_softmax, log_softmax_logaddexp, log_softmax_jacobian],
    "cross_entropy": [cross_entropy, cross_entropy_take, cross_entropy_loop],
}  # fmt: skip
