"""Right solutions of chapter 13, written in other ways."""

import numpy as np


def tempered_power(scores, temperature):
    e = np.exp(scores - scores.max()) ** (1 / temperature)
    return e / e.sum()


def tempered_log(scores, temperature):
    p = np.exp(scores) / np.exp(scores).sum()
    q = np.exp(np.log(p) / temperature)
    return q / q.sum()


def top_k_argsort(scores, k):
    kept = np.full(scores.shape, -np.inf)
    best = np.argsort(scores)[-k:]
    kept[best] = scores[best]
    return kept


def top_k_partition(scores, k):
    kept = scores.copy()
    kept[np.argpartition(-scores, k)[k:]] = float("-inf")
    return kept


def top_k_loop(scores, k):
    best = sorted(scores.tolist(), reverse=True)[:k]
    return [s if s in best else -float("inf") for s in scores.tolist()]


def top_p_loop(shares, p):
    kept, total = np.zeros(len(shares)), 0
    for i in np.argsort(shares)[::-1]:
        kept[i] = shares[i]
        total += shares[i]
        if total >= p:
            break
    return kept / total


def top_p_search(shares, p):
    order = shares.argsort()[::-1]
    n = int(np.searchsorted(np.cumsum(shares[order]), p)) + 1
    kept = np.where(np.isin(np.arange(len(shares)), order[:n]), shares, 0)
    return kept / kept.sum()


def cached_lists(query, key, value, keys, values):
    keys, values = [*keys, key], [*values, value]
    w = np.exp([k @ query / len(query) ** 0.5 for k in keys])
    return sum(a * v for a, v in zip(w / w.sum(), values, strict=True)), np.array(keys), np.array(values)


def cached_append(query, key, value, keys, values):
    keys = np.append(keys, key.reshape(1, -1), axis=0)
    values = np.append(values, value.reshape(1, -1), axis=0)
    s = np.einsum("d,sd->s", query, keys) / np.sqrt(keys.shape[1])
    a = np.exp(s) / np.exp(s).sum()
    return np.einsum("s,sd->d", a, values), keys, values


RIGHT = {
    "tempered": [tempered_power, tempered_log],
    "top_k": [top_k_argsort, top_k_partition, top_k_loop],
    "top_p": [top_p_loop, top_p_search],
    "cached_attention": [cached_lists, cached_append],
}
