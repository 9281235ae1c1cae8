"""Right solutions of chapter 15, written in other ways."""

import numpy as np


def turned_solve(wq, wk, M):
    return np.dot(wq, M), np.linalg.solve(M, wk.T).T


def turned_einsum(wq, wk, M):
    return np.einsum("cd,de->ce", wq, M), np.einsum("cd,ed->ce", wk, np.linalg.pinv(M))


def without_where(heads, which):
    at = (np.arange(heads.shape[1]) == which)[None, :, None, None]
    return np.where(at, heads.mean(axis=0, keepdims=True), heads)


def without_loop(heads, which):
    out = np.array(heads)
    for b in range(len(out)):
        out[b, which] = sum(heads[i, which] for i in range(len(heads))) / len(heads)
    return out


def patched_where(clean, broken, layer, place):
    at = np.zeros(broken.shape[:2], bool)
    at[layer, place] = True
    return np.where(at[..., None], clean, broken)


def patched_add(clean, broken, layer, place):
    out = np.zeros_like(broken) + broken
    out[layer, place] += clean[layer, place] - broken[layer, place]
    return out


def read_loop(streams, table):
    out = []
    for layer in streams:
        n = (layer - layer.mean(1)[:, None]) / (layer.std(1)[:, None] + 1e-6)
        e = np.exp(n @ table.T)
        out.append(e / e.sum(1, keepdims=True))
    return np.stack(out)


def read_einsum(streams, table):
    n = (streams - streams.mean(-1, keepdims=True)) / np.sqrt(streams.var(-1, keepdims=True) + 1e-5)
    s = np.einsum("ltc,vc->ltv", n, table)
    return np.exp(s - np.logaddexp.reduce(s, axis=-1, keepdims=True))


RIGHT = {
    "turned": [turned_solve, turned_einsum],
    "without_head": [without_where, without_loop],
    "patched": [patched_where, patched_add],
    "read_early": [read_loop, read_einsum],
}
