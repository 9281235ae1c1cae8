"""``minigrad.nn.functional``, usually imported as F: the ops of networks as functions, with PyTorch's signatures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops import Array
from minigrad.random import rng
from minigrad.tensor import Tensor, apply


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weightᵀ + bias: (..., I), (O, I), (O,) -> (..., O)."""
    return apply(ops.linear, input, weight, bias)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of a table: integer ids (...), table (V, C) -> (..., C); the row padding_idx gets no gradient."""
    if padding_idx is not None:
        padding_idx = row_of(padding_idx, weight.shape[0])
    return apply(ops.embedding, weight, ids=input._array, padding_idx=padding_idx)


def row_of(index: int, rows: int) -> int:
    """An index that may count from the end, as one that counts from 0; ValueError where there is no such row."""
    if not -rows <= index < rows:
        raise ValueError(f"padding_idx={index} is not one of the {rows} rows of the table")
    return index % rows


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, then times weight plus bias: (..., C) -> (..., C). Ba et al. 2016."""
    _check_last(input, normalized_shape)
    return apply(ops.layer_norm, input, weight, bias, ndim=len(normalized_shape), eps=eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Mean square 1 over the last axes, then times weight: (..., C) -> (..., C). Zhang and Sennrich 2019."""
    _check_last(input, normalized_shape)
    return apply(ops.rms_norm, input, weight, ndim=len(normalized_shape), eps=eps)


def _check_last(input: Tensor, shape: Sequence[int]) -> None:
    if input.shape[-len(shape) :] != tuple(shape):
        raise ValueError(f"the input must end in the normalized_shape {tuple(shape)}, it has shape {input.shape}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p; the input itself when not training. Srivastava et al. 2014.

    ``inplace`` is accepted; the result is always a new tensor.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    return apply(ops.dropout, input, mask=_dropout_mask(input.shape, p, input.dtype))


def _dropout_mask(shape: tuple[int, ...], p: float, dtype: np.dtype[Any]) -> Array:
    mask = (rng().random(shape, dtype=np.float32) >= p).astype(dtype)
    if p < 1:
        mask *= 1 / (1 - p)
    return mask


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); ``inplace`` is accepted, the result is always a new tensor."""
    return apply(ops.relu, input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; approximate="tanh" is GPT-2's. Hendrycks and Gimpel 2016."""
    if approximate == "none":
        return apply(ops.gelu, input)
    if approximate == "tanh":
        return apply(ops.gelu_tanh, input)
    raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x times sigmoid(x), also called swish; ``inplace`` is accepted, the result is always a new tensor."""
    return apply(ops.silu, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(x) / sum exp(x) along dim; zeros for a slice that is all -inf."""
    return (input if dtype is None else input.to(dtype)).softmax(dim)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """x - log sum exp(x) along dim."""
    return (input if dtype is None else input.to(dtype)).log_softmax(dim)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean of -log softmax(input)[target]: raw scores (N, C, ...), and class indices (N, ...) or probabilities.

    Label smoothing: Szegedy et al. 2016.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    return apply(
        ops.cross_entropy,
        input,
        target=target._array,
        weight=_raw(weight),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Mean of -input[target]: log-probabilities (N, C, ...), class indices (N, ...)."""
    return apply(
        ops.nll_loss,
        input,
        target=target._array,
        weight=_raw(weight),
        ignore_index=ignore_index,
        reduction=reduction,
    )


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of (input - target) squared, of equal shapes."""
    _warn_if_shapes_differ(input, target)
    return apply(ops.mse_loss, input, target, reduction=reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of |input - target|, of equal shapes."""
    _warn_if_shapes_differ(input, target)
    return apply(ops.l1_loss, input, target, reduction=reduction)


def _warn_if_shapes_differ(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"the loss of input {input.shape} and target {target.shape} is taken after broadcasting, which is hardly "
            "what is meant: reshape one of them",
            stacklevel=3,
        )


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Mean of the cross-entropy of a yes/no decision: raw scores and targets from 0 to 1, of equal shapes."""
    return apply(
        ops.bce_with_logits,
        input,
        target=target._array.astype(input.dtype, copy=False),
        weight=_raw(weight),
        pos_weight=_raw(pos_weight),
        reduction=reduction,
    )


def _raw(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else tensor._array


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (...) -> int64 (..., num_classes) with a 1 at each integer's place; -1: as many as are needed."""
    ids = tensor._array
    if ids.dtype.kind not in "iu":
        raise TypeError(f"one_hot needs integers, got {ids.dtype}")
    if num_classes == -1:
        if ids.size == 0:
            raise ValueError("one_hot of no elements needs num_classes")
        num_classes = int(ids.max()) + 1
    if ids.size and (ids.min() < 0 or ids.max() >= num_classes):
        raise ValueError(f"values run from {ids.min()} to {ids.max()}, there are classes 0 to {num_classes - 1}")
    return Tensor((ids[..., None] == np.arange(num_classes)).astype(np.int64))


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A border of a constant: pad = (before, after) of the last axis, then of the one before it, and so on."""
    if mode != "constant":
        raise ValueError(f"pad knows mode='constant' only, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(f"pad needs a (before, after) pair for at most {input.ndim} axes, got {tuple(pad)}")
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = ((0, 0),) * (input.ndim - len(pairs)) + tuple(reversed(pairs))
    return apply(ops.pad, input, widths=widths, value=0.0 if value is None else float(value))


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ keyᵀ * scale + bias) @ value: (..., T, D), (..., S, D), (..., S, E) -> (..., T, E).

    attn_mask (..., T, S): bool, True where attention is allowed; or a float bias that is added and has a gradient.
    is_causal allows s <= t. dropout_p is applied whenever it is above 0. enable_gqa repeats the heads of key and value,
    at dim -3, to those of query (Ainslie et al. 2023). Vaswani et al. 2017, eq. 1.
    """
    if attn_mask is not None and is_causal:
        raise ValueError("give attn_mask or is_causal=True, not both")
    if enable_gqa:
        key, value = (_repeat_heads(x, query.shape[-3]) for x in (key, value))
    bias, mask = split_mask(attn_mask)
    return attend(query, key, value, bias, mask, dropout_p, is_causal, scale)


def split_mask(attn_mask: Tensor | None) -> tuple[Tensor | None, Array | None]:
    """A mask as a bias (float) or as an array of what is allowed (bool)."""
    if attn_mask is None or attn_mask.dtype.kind == "f":
        return attn_mask, None
    if attn_mask.dtype.kind == "b":
        return None, attn_mask._array
    raise TypeError(f"a mask must be bool or floating, got {attn_mask.dtype}: write mask != 0")


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Array | None,
    dropout_p: float,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The attention op, with a dropout mask drawn for the weights (..., T, S)."""
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {dropout_p}")
    drop = None
    if dropout_p > 0:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        drop = _dropout_mask((*batch, query.shape[-2], key.shape[-2]), dropout_p, query.dtype)
    return apply(
        ops.scaled_dot_product_attention,
        query,
        key,
        value,
        bias,
        mask=mask,
        is_causal=is_causal,
        scale=scale,
        dropout_mask=drop,
    )


def _repeat_heads(x: Tensor, heads: int) -> Tensor:
    """(..., h, S, D) -> (..., heads, S, D), each head repeated side by side."""
    times, rest = divmod(heads, x.shape[-3])
    if rest:
        raise ValueError(f"the {heads} heads of query must be a multiple of the {x.shape[-3]} of key and value")
    if times == 1:
        return x
    *batch, own, length, size = x.shape
    return x.unsqueeze(-3).expand(*batch, own, times, length, size).reshape(*batch, heads, length, size)
