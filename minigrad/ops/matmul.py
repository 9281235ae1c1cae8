"""Products: matrices in every combination of dimensions, the linear layer, and einsum."""

from __future__ import annotations

import math
import string

import numpy as np

from minigrad.ops.registry import Array, Backward, op


@op
def matmul(x: Array, y: Array) -> tuple[Array, Backward]:
    """z = x @ y
    dx = dz @ yᵀ
    dy = xᵀ @ dz

    1-D operands are a row on the left, a column on the right; further axes in front are batches, and broadcast.
    """
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        raise ValueError("both operands need at least one dimension; multiply by a number with *")
    inner = y.shape[0] if y.ndim == 1 else y.shape[-2]
    if x.shape[-1] != inner:
        raise ValueError(f"the inner sizes differ: x has {x.shape[-1]} columns, y has {inner} rows")

    def backward(dz):
        left = x[None, :] if x.ndim == 1 else x
        right = y[:, None] if y.ndim == 1 else y
        if y.ndim == 1:
            dz = dz[..., None]
        if x.ndim == 1:
            dz = dz[..., None, :]
        dx = dz @ right.swapaxes(-1, -2)
        if right.ndim == 2:  # one weight for the whole batch: one big product instead of many small ones to sum
            dy = _rows(left).T @ _rows(dz)
        else:
            dy = left.swapaxes(-1, -2) @ dz
        return dx[..., 0, :] if x.ndim == 1 else dx, dy[..., 0] if y.ndim == 1 else dy

    if x.ndim > 2 and y.ndim == 2:
        return (_rows(x) @ y).reshape(*x.shape[:-1], y.shape[1]), backward
    return x @ y, backward


def _rows(x: Array) -> Array:
    """All but the last axis as one; reshape(-1, n) would refuse n = 0."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@op
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Backward]:
    """z = x @ weightᵀ + bias
    dx = dz @ weight
    dweight = dzᵀ @ x
    dbias = sum dz

    x: (..., I), weight: (O, I), bias: (O,) or None -> (..., O).
    """
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x {x.shape} must end in the input size of weight (out, in) = {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have the output size of weight, ({weight.shape[0]},), got {bias.shape}")
    flat, has_bias = _rows(x), bias is not None
    z = flat.dot(weight.T)  # of two matrices, dot is matmul and begins sooner
    if bias is not None:
        z += bias

    def backward(dz):
        flat_dz = _rows(dz)
        dx = flat_dz.dot(weight).reshape(*dz.shape[:-1], weight.shape[1])
        return dx, flat_dz.T.dot(flat), flat_dz.sum(0) if has_bias else None

    return z.reshape(*x.shape[:-1], weight.shape[0]), backward


@op
def einsum(*operands: Array, equation: str) -> tuple[Array, Backward]:
    """z = sum over the letters missing from the output of the product of the operands
    dx_i = the same sum with x_i and the output exchanged

    Letters, "..." and an implicit output as in ``numpy.einsum``.
    """
    inputs, output = _spell_out(equation, operands)
    z = np.einsum(f"{','.join(inputs)}->{output}", *operands, optimize=True)

    def backward(dz):
        return tuple(_einsum_gradient(dz, operands, inputs, output, i) for i in range(len(operands)))

    return z, backward


def _spell_out(equation: str, operands: tuple[Array, ...]) -> tuple[list[str], str]:
    """The equation with letters for "..." and an explicit output."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands):
        raise ValueError(f"{equation!r} names {len(inputs)} operands, {len(operands)} were given")
    used = set(left + output)
    free = [c for c in string.ascii_letters if c not in used]
    batch_ndim = 0
    for i, (letters, x) in enumerate(zip(inputs, operands, strict=True)):
        named = len(letters.replace("...", ""))
        if named != x.ndim if "..." not in letters else named > x.ndim:
            raise ValueError(f"{letters!r} in {equation!r} does not fit operand {i} of shape {x.shape}")
        if "..." in letters:
            batch_ndim = max(batch_ndim, x.ndim - named)
    batch = "".join(free[:batch_ndim])
    for i, (letters, x) in enumerate(zip(inputs, operands, strict=True)):
        extra = x.ndim - len(letters.replace("...", ""))
        inputs[i] = letters.replace("...", batch[batch_ndim - extra :])
    if arrow:
        output = output.replace("...", batch)
    else:
        letters = "".join(inputs)
        output = batch + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in batch))
    return inputs, output


def _einsum_gradient(dz: Array, operands: tuple[Array, ...], inputs: list[str], output: str, i: int) -> Array:
    letters = "".join(dict.fromkeys(inputs[i]))  # each once
    others = [(inputs[k], operands[k]) for k in range(len(operands)) if k != i]
    known = set(output).union(*(name for name, _ in others))
    found = "".join(c for c in letters if c in known)
    terms = ",".join([output, *(name for name, _ in others)])
    dx = np.einsum(f"{terms}->{found}", dz, *(array for _, array in others), optimize=True)
    sizes = _sizes(operands, inputs)
    dx = np.broadcast_to(  # letters that only this operand has: each of its elements was summed once
        np.expand_dims(dx, tuple(k for k, c in enumerate(letters) if c not in known)), [sizes[c] for c in letters]
    )
    if letters == inputs[i]:
        return dx
    diagonal = np.zeros([sizes[c] for c in inputs[i]], dtype=dx.dtype)  # a repeated letter reads a diagonal
    np.einsum(f"{inputs[i]}->{letters}", diagonal)[...] = dx
    return diagonal


def _sizes(operands: tuple[Array, ...], inputs: list[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, operands, strict=True):
        for c, n in zip(letters, x.shape, strict=True):
            sizes[c] = n if n != 1 else sizes.get(c, 1)
    return sizes
