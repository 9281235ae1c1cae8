"""Attention in blocks: the plain op's result without ever holding the T x S weights of a head."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minigrad.core import attention
from minigrad.core.op import Array, Backward
from minigrad.speed.twins import twin

FAR = math.exp(60)  # this and 1 / FAR are far from the ends of float32
SMALL = 128 * 128  # up to this many weights per head the plain op is as fast
BLOCK = 128  # queries (forward) or keys (backward) at a time: a block of scores stays in the cache
FUTURE = ~np.tri(BLOCK, dtype=bool)  # keys after the query, within one block


@twin(attention.scaled_dot_product_attention)
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    *,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_mask: Array | None = None,
) -> tuple[Array, Backward]:
    """z = a @ value, a = softmax(s), s = scale * query @ keyᵀ + bias
    dquery = scale * ds @ key, ds = a * (da - sum(dz * z)), da = dz @ valueᵀ
    dkey = scale * dsᵀ @ query
    dvalue = aᵀ @ dz
    dbias = ds

    Forward takes BLOCK rows of s at a time and keeps each row's maximum and sum; backward makes BLOCK columns of s
    anew. Keys after the block's queries are skipped if is_causal. Rabe and Staats 2021; Dao et al. 2022, section 3.
    """
    attention.check_shapes(query, key, value)
    T, S = query.shape[-2], key.shape[-2]
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    if bias is None and mask is None and dropout_mask is None:
        if T == 1 <= S and not is_causal:
            return single(query, key, value, factor)
        alike = query.shape[:-1] == key.shape[:-1] == value.shape[:-1] and query.dtype == key.dtype == value.dtype
        if alike and T <= 128 and query.dtype in (np.float32, np.float64):
            return small(query, key, value, is_causal, factor)
    if T * S <= SMALL:
        return attention.scaled_dot_product_attention(
            query, key, value, bias, mask=mask, is_causal=is_causal, scale=scale, dropout_mask=dropout_mask
        )
    inputs = [query, key, value] + ([] if bias is None else [bias])
    extras = [x for x in (bias, mask, dropout_mask) if x is not None]
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in (query, key, value, *extras)))
    dtype = np.result_type(*inputs, np.float16)
    work = np.result_type(dtype, np.float32)  # half precision is only how the arrays are kept

    z = np.empty((*batch, T, value.shape[-1]), dtype)
    top, total = np.empty((2, *batch, T, 1), work)  # of each row: the largest score, and the sum of exp(s - top)
    scratch = np.empty(min(BLOCK, T) * S, work)
    for head in np.ndindex(batch):
        q, k, v = (of_head(x, head).astype(work, order="C") for x in (query, key, value))
        q *= factor
        for start in range(0, T, BLOCK):
            rows = slice(start, min(start + BLOCK, T))
            columns = slice(0, min(rows.stop, S) if is_causal else S)
            s = product(q[rows], k[columns], scratch)
            restrict(s, head, rows, columns, bias, mask, is_causal)
            highest = largest(s)
            s -= highest
            np.exp(s, out=s)
            summed = s.sum(-1, keepdims=True)
            summed[summed == 0] = 1
            if dropout_mask is not None:
                s *= window(dropout_mask, head, rows, columns)
            z[head][rows] = (s @ v[columns]) / summed
            top[head][rows], total[head][rows] = highest, summed

    def backward(dz):
        dquery = np.zeros((*batch, *query.shape[-2:]), dtype)
        dkey = np.empty((*batch, *key.shape[-2:]), dtype)
        dvalue = np.empty((*batch, *value.shape[-2:]), dtype)
        dbias = None if bias is None else np.zeros_like(bias)
        a_scratch, ds_scratch = np.empty((2, min(BLOCK, S) * T), work)
        for head in np.ndindex(batch):
            q, k, v = (of_head(x, head).astype(work, order="C") for x in (query, key, value))
            q *= factor
            scaled = dz[head].astype(work) / total[head]
            mean = (scaled * z[head]).sum(-1, keepdims=True)  # the sum of da * a of each row, over its total
            dq = np.zeros_like(q)
            for start in range(0, S, BLOCK):
                columns = slice(start, min(start + BLOCK, S))
                rows = slice(min(start, T) if is_causal else 0, T)
                a = product(q[rows], k[columns], a_scratch)
                restrict(a, head, rows, columns, bias, mask, is_causal)
                a -= top[head][rows]
                np.exp(a, out=a)  # times total: `scaled` makes good for that
                ds = product(scaled[rows], v[columns], ds_scratch)
                if dropout_mask is not None:
                    drop = window(dropout_mask, head, rows, columns)
                    ds *= drop
                ds -= mean[rows]
                ds *= a
                if dropout_mask is not None:
                    a *= drop
                dvalue[head][columns] = a.T @ scaled[rows]
                dkey[head][columns] = ds.T @ q[rows]
                dq[rows] += ds @ k[columns]
                if dbias is not None:
                    here = window(dbias, head, rows, columns)
                    here += ds.sum(tuple(axis for axis in (0, 1) if here.shape[axis] == 1), keepdims=True)
            np.multiply(dq, factor, out=dquery[head], casting="same_kind")
        return dquery, dkey, dvalue, dbias

    return z, backward


def single(query: Array, key: Array, value: Array, factor: float) -> tuple[Array, Backward]:
    """One query that sees every key, as when a text is written with a cache: so few numbers that each call counts."""
    s = (query * factor) @ key.swapaxes(-1, -2)  # (..., 1, S)
    s -= largest(s)
    a = np.exp(s, out=s)
    a /= at_least_some(a.sum(-1, keepdims=True))

    def backward(dz):
        ds = dz @ value.swapaxes(-1, -2)  # da, and turned into ds in place
        ds -= (ds * a).sum(-1, keepdims=True)
        ds *= a
        ds *= factor
        return ds @ key, ds.swapaxes(-1, -2) * query, a.swapaxes(-1, -2) * dz, None

    return a @ value, backward


def small(query: Array, key: Array, value: Array, is_causal: bool, factor: float) -> tuple[Array, Backward]:
    """Short sequences, everything allowed or causal, so that no row is empty.

    exp needs no shift where the sum of a row stays within range, and finding each row's largest score would take as
    long as all the rest. Results are laid out as the inputs are: splitting and joining the heads copies nothing.
    """
    ones = np.ones((query.shape[-2], 1), query.dtype)
    a = scores(query, key, is_causal, factor)  # (..., T, T), and turned into the weights in place
    with np.errstate(over="ignore"):
        np.exp(a, out=a)
        total = a @ ones  # BLAS adds up faster than sum
    if total.size and not (total.min() > 1 / FAR and total.max() < FAR):
        shifted = scores(query, key, is_causal, factor)
        shifted -= largest(shifted)
        a = np.where((total > 1 / FAR) & (total < FAR), a, np.exp(shifted))
        total = at_least_some(a @ ones)
    a /= total
    z = np.matmul(a, value, out=np.empty_like(query, shape=value.shape))

    def backward(dz):
        dvalue = np.matmul(a.swapaxes(-1, -2), dz, out=np.empty_like(value))
        ds = dz @ np.ascontiguousarray(value.swapaxes(-1, -2))  # da, and turned into ds in place
        ds -= np.einsum("...td,...td->...t", dz, z)[..., None]
        ds *= a
        ds *= factor
        dquery = np.matmul(ds, key, out=np.empty_like(query))
        return dquery, np.matmul(ds.swapaxes(-1, -2), query, out=np.empty_like(key)), dvalue, None

    return z, backward


def largest(s: Array) -> Array:
    """Of each row, and a finite number where all are -inf, as if nothing were allowed: such weights become 0."""
    top: Array = s.max(-1, keepdims=True, initial=np.finfo(s.dtype).min)
    return top


def at_least_some(total: Array) -> Array:
    """What the exp of a row's scores, the largest of them 0, sum to; where all are -inf, a number to divide 0 by."""
    return np.maximum(total, np.finfo(total.dtype).tiny)


def scores(query: Array, key: Array, is_causal: bool, factor: float) -> Array:
    """factor * query @ keyᵀ, -inf where the key comes after the query if is_causal: (..., T, S)."""
    s: Array = query @ np.multiply(key.swapaxes(-1, -2), factor, order="C")  # many small products want rows in a row
    if is_causal:
        s += future(*s.shape[-2:], s.dtype)
    return s


@functools.lru_cache(maxsize=16)
def future(T: int, S: int, dtype: np.dtype[Any]) -> Array:
    """What to add to scores (T, S) so that no query sees a later key: 0, and -inf above the diagonal."""
    added = np.zeros((T, S), dtype)
    added[np.tri(T, S) == 0] = -np.inf
    added.flags.writeable = False
    return added


def of_head(x: Array, head: tuple[int, ...]) -> Array:
    """The matrix of one head, of an array whose batch axes may be missing or of size 1."""
    own = head[len(head) - (x.ndim - 2) :]
    return x[tuple(i if n > 1 else 0 for i, n in zip(own, x.shape, strict=False))]


def window(x: Array, head: tuple[int, ...], rows: slice, columns: slice) -> Array:
    """The part of a (..., T, S) array that belongs to a block; an axis of size 1 stays as it is."""
    x = of_head(np.atleast_2d(x), head)
    return x[rows if x.shape[0] > 1 else slice(None), columns if x.shape[1] > 1 else slice(None)]


def product(x: Array, y: Array, scratch: Array) -> Array:
    """x @ yᵀ, written into the front of the scratch."""
    return np.matmul(x, y.T, out=scratch[: len(x) * len(y)].reshape(len(x), len(y)))


def restrict(
    s: Array,
    head: tuple[int, ...],
    rows: slice,
    columns: slice,
    bias: Array | None,
    mask: Array | None,
    is_causal: bool,
) -> None:
    """Add the bias to a block of scores, and write -inf where attention is not allowed."""
    if bias is not None:
        s += window(bias, head, rows, columns)
    if is_causal:
        start = max(rows.start, columns.start)  # the block has a corner on the diagonal, and no key after it
        corner = s[start - rows.start :, start - columns.start :][:BLOCK]
        np.copyto(corner, -np.inf, where=FUTURE[: corner.shape[0], : corner.shape[1]])
    if mask is not None:
        np.copyto(s, -np.inf, where=~window(mask, head, rows, columns))
