"""Right solutions of chapter 10, written in other ways."""

import numpy as np


def split_stack(x, heads):
    def backward(dz):
        return np.concatenate([dz[:, h] for h in range(heads)], axis=-1)

    return np.stack(np.split(x, heads, axis=2), axis=1), backward


def split_loop(x, heads):
    B, T, C = x.shape
    D = C // heads
    z = np.zeros((B, heads, T, D))
    for h in range(heads):
        z[:, h] = x[:, :, h * D : (h + 1) * D]

    def backward(dz):
        dx = np.zeros_like(x)
        for h in range(heads):
            dx[:, :, h * D : (h + 1) * D] += dz[:, h]
        return (dx,)

    return z, backward


def split_moveaxis(x, heads):
    z = np.moveaxis(x.reshape(*x.shape[:2], heads, -1), 2, 1)
    return z, lambda dz: np.moveaxis(dz, 1, 2).reshape(x.shape)


def join_concat(x):
    H = x.shape[1]
    z = np.concatenate([x[:, h] for h in range(H)], axis=2)
    return z, lambda dz: np.stack(np.split(dz, H, axis=2), axis=1)


def join_einsum(x):
    B, H, T, D = x.shape
    z = np.einsum("bhtd->bthd", x).reshape(B, T, -1)
    return z, lambda dz: [np.einsum("bthd->bhtd", dz.reshape(B, T, H, D))]


def soft(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def multi_loop(x, wq, wk, wv, wo, heads):
    B, C = len(x), x.shape[-1]
    D = C // heads
    kept, joined = {}, np.zeros_like(x)
    for b in range(B):
        for h in range(heads):
            p = slice(h * D, (h + 1) * D)
            q, k, v = x[b] @ wq[:, p], x[b] @ wk[:, p], x[b] @ wv[:, p]
            a = soft(q @ k.T / D**0.5)
            joined[b, :, p] = a @ v
            kept[b, h] = q, k, v, a

    def backward(dz):
        dx, dq, dk, dv, do = (np.zeros_like(m) for m in (x, wq, wk, wv, wo))
        for b in range(B):
            do += joined[b].T @ dz[b]
            dj = dz[b] @ wo.T
            for h in range(heads):
                p = slice(h * D, (h + 1) * D)
                q, k, v, a = kept[b, h]
                d = dj[:, p]
                da = d @ v.T
                ds = a * (da - (da * a).sum(1, keepdims=True)) / D**0.5
                for grad, w, part in ((dq, wq, ds @ k), (dk, wk, ds.T @ q), (dv, wv, a.T @ d)):
                    grad[:, p] += x[b].T @ part
                    dx[b] += part @ w[:, p].T
        return dx, dq, dk, dv, do

    return joined @ wo, backward


def multi_einsum(x, wq, wk, wv, wo, heads):
    C = x.shape[-1]
    D = C // heads
    cut = [w.reshape(C, heads, D) for w in (wq, wk, wv)]
    q, k, v = (np.einsum("btc,chd->bhtd", x, w) for w in cut)
    a = soft(np.einsum("bhtd,bhsd->bhts", q, k) / np.sqrt(D))
    o = wo.reshape(heads, D, C)
    out = np.einsum("bhts,bhsd->bhtd", a, v)

    def backward(dz):
        dout = np.einsum("btc,hdc->bhtd", dz, o)
        dv = np.einsum("bhts,bhtd->bhsd", a, dout)
        da = np.einsum("bhtd,bhsd->bhts", dout, v)
        ds = a * (da - (a * da).sum(-1, keepdims=True)) / np.sqrt(D)
        dq = np.einsum("bhts,bhsd->bhtd", ds, k)
        dk = np.einsum("bhts,bhtd->bhsd", ds, q)
        dx = sum(np.einsum("bhtd,chd->btc", d, w) for d, w in zip((dq, dk, dv), cut, strict=True))
        dws = [np.einsum("btc,bhtd->chd", x, d).reshape(C, C) for d in (dq, dk, dv)]
        return [dx, *dws, np.einsum("bhtd,btc->hdc", out, dz).reshape(C, C)]

    return np.einsum("bhtd,hdc->btc", out, o), backward


RIGHT = {
    "split_heads": [split_stack, split_loop, split_moveaxis],
    "join_heads": [join_concat, join_einsum],
    "multi_head": [multi_loop, multi_einsum],
}
