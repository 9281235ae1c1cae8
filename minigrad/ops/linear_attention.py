"""Causal attention whose weights are products of features, as one op that never makes a T x T array."""

from __future__ import annotations

import numpy as np

from minigrad.core.op import Array, Backward, op
from minigrad.ops.elementwise import numbers

CHUNK = 64  # tokens that are taken together
FLOOR = 1e-15  # of every feature, so that no sum of weights is 0 where exp underflows


@op
def causal_linear_attention(
    log_query: Array, log_key: Array, value: Array, *, mask: Array | None = None
) -> tuple[Array, Backward]:
    """z = w @ value / sum(w), w = exp(log_query) @ exp(log_key)ᵀ where s <= t, else 0
    dlog_query = exp(log_query) * (dw @ exp(log_key)), dw = (dz @ valueᵀ - sum(dz * z)) / sum(w) where s <= t, else 0
    dlog_key = exp(log_key) * (dwᵀ @ exp(log_query))
    dvalue = (w / sum(w))ᵀ @ dz

    log_query, log_key: (..., T, M), the logarithms of M positive features; value: (..., T, E) -> (..., T, E).
    mask: bool, (..., T), True for a key that may be seen. A row that sees no key gives zeros. Within a chunk w is made;
    what earlier chunks add is a running sum (M, E). Choromanski et al. 2021, section 2.1 and algorithm 1.

    Each query and each key is divided by its largest feature; what that took from a key comes back as
    exp(peak[s] - highest[t]), where highest is the largest peak so far. So no row depends on later keys.
    """
    T = log_query.shape[-2]
    if log_key.shape != log_query.shape or value.shape[:-1] != log_key.shape[:-1]:
        raise ValueError(
            "log_query and log_key need the same shape (..., T, M) and value (..., T, E), got "
            f"{log_query.shape}, {log_key.shape} and {value.shape}"
        )
    if T == 0:
        return np.zeros_like(value), lambda dz: (np.zeros_like(log_query), np.zeros_like(log_key), dz)
    dtype = np.result_type(log_query, log_key, value)
    work = np.result_type(dtype, np.float32)
    peak = numbers(log_key).max(-1, keepdims=True).astype(work)  # (..., T, 1)
    if mask is not None:
        peak = np.where(mask[..., None], peak, -np.inf).astype(work)
    highest = np.maximum(np.maximum.accumulate(peak, -2), -1e30)  # finite where no key has been seen yet
    results = []
    totals = []  # of each chunk's rows: sum(w), on the row's scale
    chunks = [slice(start, min(start + CHUNK, T)) for start in range(0, T, CHUNK)]

    inputs = log_query, log_key, value

    def features(inputs: tuple[Array, ...], rows: slice) -> tuple[Array, ...]:
        """What a chunk is made of: features of queries and keys, [value, 1], and how each weight and sum is scaled."""
        lq, lk, v = (x[..., rows, :].astype(work, copy=False) for x in inputs)
        phi_query = np.exp(lq - numbers(lq).max(-1, keepdims=True)) + FLOOR
        phi_key = np.exp(lk - numbers(lk).max(-1, keepdims=True)) + FLOOR
        here, top = peak[..., rows, :], highest[..., rows, :]
        before = highest[..., max(rows.start - 1, 0), :][..., None, :]
        decay = np.tril(np.exp(np.minimum(here.swapaxes(-1, -2) - top, 0)))  # (..., c, c)
        fade = np.exp(before - top)  # (..., c, 1), for what earlier chunks bring
        arrival = np.exp(here - top[..., -1:, :])  # (..., c, 1), for what the chunk's keys leave behind
        return phi_query, phi_key, np.concatenate([v, np.ones_like(v[..., :1])], -1), decay, fade, arrival

    sums = (*value.shape[:-2], log_key.shape[-1], value.shape[-1] + 1)
    state = np.zeros_like(value, work, shape=sums)  # sums of phi_key * [value, 1]
    states = []  # the state that each chunk finds
    for rows in chunks:
        phi_query, phi_key, v, decay, fade, arrival = features(inputs, rows)
        both = (phi_query @ phi_key.swapaxes(-1, -2) * decay) @ v + fade * (phi_query @ state)  # (..., c, E + 1)
        total = np.where(both[..., -1:] == 0, 1, both[..., -1:])
        results.append(both[..., :-1] / total)
        totals.append(total)
        states.append(state)
        state = fade[..., -1:, :] * state + (phi_key * arrival).swapaxes(-1, -2) @ v

    def backward(dz):
        found = []  # of each chunk, the last first
        later = np.zeros_like(state)  # the gradient of the state that the chunk leaves behind
        for rows, z, total, before in reversed(list(zip(chunks, results, totals, states, strict=True))):
            phi_query, phi_key, v, decay, fade, arrival = features(inputs, rows)
            g = dz[..., rows, :] / total
            g = np.concatenate([g, -(g * z).sum(-1, keepdims=True)], -1)  # of [w @ value, sum(w)]
            dw = (g @ v.swapaxes(-1, -2)) * decay
            w = (phi_query @ phi_key.swapaxes(-1, -2)) * decay
            dphi_query = dw @ phi_key + fade * (g @ before.swapaxes(-1, -2))
            dphi_key = dw.swapaxes(-1, -2) @ phi_query + arrival * (v @ later.swapaxes(-1, -2))
            dv = w.swapaxes(-1, -2) @ g + arrival * (phi_key @ later)
            found.append((dphi_query * (phi_query - FLOOR), dphi_key * (phi_key - FLOOR), dv[..., :-1]))
            later = fade[..., -1:, :] * later + (fade * phi_query).swapaxes(-1, -2) @ g
        return tuple(np.concatenate(parts, -2).astype(dtype, copy=False) for parts in zip(*found[::-1], strict=True))

    return np.concatenate(results, -2).astype(dtype, copy=False), backward
