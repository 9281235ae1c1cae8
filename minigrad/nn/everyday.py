"""The functions of the everyday layers: linear, layer norm, GELU, dropout."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad import ops
from minigrad.core.tensor import Tensor, apply
from minigrad.torch.arguments import check_last, probability


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weightᵀ + bias: (..., I), (O, I), (O,) -> (..., O)."""
    return apply(ops.linear, input, weight, bias)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, then times weight plus bias: (..., C) -> (..., C). Ba et al. 2016."""
    check_last(input.shape, normalized_shape)
    return apply(ops.layer_norm, input, weight, bias, ndim=len(normalized_shape), eps=eps)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; approximate="tanh" is GPT-2's. Hendrycks and Gimpel 2016."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply(ops.gelu_tanh if approximate == "tanh" else ops.gelu, input)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p; the input itself when not training. Srivastava et al. 2014.

    ``inplace`` is accepted; the result is always a new tensor.
    """
    if probability(p) == 0 or not training:
        return input
    return apply(ops.dropout, input, mask=input._dropout_mask(p, input.shape))
