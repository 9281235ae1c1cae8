"""Right solutions of chapter 4, written in other ways."""

import numpy as np


def matmul_einsum(x, w):
    return np.einsum("ni,io->no", x, w), lambda dz: (np.einsum("no,io->ni", dz, w), np.einsum("ni,no->io", x, dz))


def matmul_loops(x, w):
    z = np.array([[(x[n] * w[:, o]).sum() for o in range(w.shape[1])] for n in range(len(x))])

    def backward(dz):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for n in range(len(x)):
            for o in range(w.shape[1]):
                dx[n] += dz[n, o] * w[:, o]
                dw[:, o] += dz[n, o] * x[n]
        return [dx, dw]

    return z, backward


def matmul_turned(x, w):
    return np.dot(x, w), lambda dz: ((w @ dz.T).T, (dz.T @ x).T)


def bias_ones(x, b):
    return np.add(x, b[None, :]), lambda dz: (dz.copy(), np.ones(len(x)) @ dz)


def bias_loop(x, b):
    def backward(dz):
        db = np.zeros(len(b))
        for row in dz:
            db += row
        return dz, db

    return x + b, backward


def mean_ones(x):
    return x.sum(1) / x.shape[1], lambda dz: (np.outer(dz, np.ones(x.shape[1]) / x.shape[1]),)


def mean_broadcast(x):
    n = x.shape[-1]
    return np.array([np.average(row) for row in x]), lambda dz: np.broadcast_to(dz[:, None] / n, x.shape)


def mean_zeros(x):
    return np.mean(x, axis=1), lambda dz: np.zeros_like(x) + dz.reshape(-1, 1) * (1 / x.shape[1])


def embedding_loop(table, ids):
    def backward(dz):
        d = np.zeros(table.shape)
        for n, i in enumerate(ids):
            d[i] += dz[n]
        return (d,)

    return table[ids], backward


def embedding_one_hot(table, ids):
    y = np.eye(len(table))[ids]
    return y @ table, lambda dz: y.T @ dz


def embedding_take(table, ids):
    def backward(dz):
        return np.stack([dz[ids == v].sum(0) for v in range(len(table))])

    return np.take(table, ids, axis=0), backward


RIGHT = {
    "matmul": [matmul_einsum, matmul_loops, matmul_turned],
    "add_bias": [bias_ones, bias_loop],
    "mean": [mean_ones, mean_broadcast, mean_zeros],
    "embedding": [embedding_loop, embedding_one_hot, embedding_take],
}
