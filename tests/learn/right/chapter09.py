"""Right solutions of chapter 9, written in other ways."""

import math

import numpy as np


def soft(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scores_einsum(query, key):
    D = query.shape[1]
    z = np.einsum("td,sd->ts", query, key) * D**-0.5

    def backward(dz):
        return np.einsum("ts,sd->td", dz, key) * D**-0.5, np.einsum("ts,td->sd", dz, query) * D**-0.5

    return z, backward


def scores_scaled_query(query, key):
    q = query / math.sqrt(query.shape[-1])
    return q @ key.T, lambda dz: [dz @ key / math.sqrt(key.shape[-1]), dz.T @ q]


def scores_loops(query, key):
    T, S, D = len(query), len(key), query.shape[1]
    z = np.zeros((T, S))
    for t in range(T):
        for s in range(S):
            for d in range(D):
                z[t, s] += query[t, d] * key[s, d] / np.sqrt(D)

    def backward(dz):
        dq, dk = np.zeros_like(query), np.zeros_like(key)
        for t in range(T):
            for s in range(S):
                dq[t] += dz[t, s] * key[s] / np.sqrt(D)
                dk[s] += dz[t, s] * query[t] / np.sqrt(D)
        return dq, dk

    return z, backward


def scores_quarter(query, key):
    r = query.shape[-1] ** 0.25
    q, k = query / r, key / r
    return q @ k.T, lambda dz: (dz @ k / r, dz.T @ q / r)


def attention_rows(query, key, value):
    D = query.shape[-1]
    a = np.stack([soft(key @ q / np.sqrt(D)) for q in query])

    def backward(dz):
        dq, dk, dv = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
        for t in range(len(query)):
            dv += np.outer(a[t], dz[t])
            da = value @ dz[t]
            ds = (np.diag(a[t]) - np.outer(a[t], a[t])) @ da / np.sqrt(D)
            dq[t] = ds @ key
            dk += np.outer(ds, query[t])
        return dq, dk, dv

    return np.stack([row @ value for row in a]), backward


def attention_output_trick(query, key, value):
    c = 1 / np.sqrt(query.shape[-1])
    a = soft(query @ key.T * c)
    z = a @ value

    def backward(dz):
        ds = a * (dz @ value.T - (dz * z).sum(-1, keepdims=True)) * c
        return ds @ key, ds.T @ query, a.T @ dz

    return z, backward


def attention_transposed(query, key, value):
    c = query.shape[-1] ** -0.5
    e = np.exp(c * (key @ query.T))
    a = e / e.sum(0)

    def backward(dz):
        da = value @ dz.T
        ds = a * (da - (da * a).sum(0))
        return (c * key.T @ ds).T, c * ds @ query, a @ dz

    return (value.T @ a).T, backward


def attention_einsum(query, key, value):
    c = 1 / np.sqrt(query.shape[1])
    p = soft(np.einsum("td,sd->ts", query, key) * c)

    def backward(dz):
        dp = np.einsum("te,se->ts", dz, value)
        ds = p * dp - p * np.einsum("ts,ts->t", p, dp)[:, None]
        return np.einsum("ts,sd->td", ds, key) * c, np.einsum("ts,td->sd", ds, query) * c, np.einsum("ts,te->se", p, dz)

    return np.einsum("ts,se->te", p, value), backward


def causal_large(query, key, value):
    c = 1 / np.sqrt(query.shape[-1])
    s = query @ key.T * c + np.triu(np.full((len(query), len(key)), -1e9), k=1)
    a = soft(s)

    def backward(dz):
        da = dz @ value.T
        ds = a * (da - (da * a).sum(-1, keepdims=True))
        return ds @ key * c, ds.T @ query * c, a.T @ dz

    return a @ value, backward


def causal_rows(query, key, value):
    outs, backs = [], []
    for t in range(len(query)):
        z, back = attention_output_trick(query[t : t + 1], key[: t + 1], value[: t + 1])
        outs.append(z[0])
        backs.append(back)

    def backward(dz):
        dq, dk, dv = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
        for t, back in enumerate(backs):
            q, k, v = back(dz[t : t + 1])
            dq[t] += q[0]
            dk[: t + 1] += k
            dv[: t + 1] += v
        return dq, dk, dv

    return np.array(outs), backward


def causal_renormalised(query, key, value):
    c = 1 / np.sqrt(query.shape[-1])
    e = np.tril(np.exp(query @ key.T * c))
    a = e / e.sum(-1, keepdims=True)

    def backward(dz):
        da = np.tril(dz @ value.T)
        ds = np.tril(a * (da - (da * a).sum(-1, keepdims=True))) * c
        return ds @ key, ds.T @ query, a.T @ dz

    return a @ value, backward


RIGHT = {
    "scores": [scores_einsum, scores_scaled_query, scores_loops, scores_quarter],
    "attention": [attention_rows, attention_output_trick, attention_transposed, attention_einsum],
    "causal_attention": [causal_large, causal_rows, causal_renormalised],
}
