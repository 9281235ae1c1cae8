"""Sums of products written with letters."""

from __future__ import annotations

import functools
import string

import numpy as np

from minigrad.core.op import Array, Backward, op


@op
def einsum(*operands: Array, equation: str) -> tuple[Array, Backward]:
    """z = sum over the letters missing from the output of the product of the operands
    dx_i = the same sum with x_i and the output exchanged

    Letters, "..." and an implicit output as in ``numpy.einsum``.
    """
    inputs, output = _spell_out(equation, operands)
    z = np.einsum(f"{','.join(inputs)}->{output}", *operands, optimize=True)
    if len(operands) == 1:
        z = z.copy()  # NumPy gives a view of it where it can

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
    places = np.ogrid[tuple(slice(sizes[c]) for c in inputs[i])]  # a repeated letter reads a diagonal
    first = [places[inputs[i].index(c)] for c in letters]
    on_it = [place == first[letters.index(c)] for c, place in zip(inputs[i], places, strict=True)]
    return np.where(functools.reduce(np.logical_and, on_it), dx[tuple(first)], 0)


def _sizes(operands: tuple[Array, ...], inputs: list[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, operands, strict=True):
        for c, n in zip(letters, x.shape, strict=True):
            sizes[c] = n if n != 1 else sizes.get(c, 1)
    return sizes
