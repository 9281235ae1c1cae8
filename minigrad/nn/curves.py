"""The functions that networks bend lines with, and softmax."""

from __future__ import annotations

from typing import Any

from minigrad import ops
from minigrad.core.tensor import Tensor, apply
from minigrad.nn.tensors import where
from minigrad.tools.random import rng


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); ``inplace`` is accepted, the result is always a new tensor."""
    return apply(ops.relu, input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x, or negative_slope * x where x is below 0. Maas et al. 2013."""
    return where(input > 0, input, negative_slope * input)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x, or weight * x where x is below 0, with one weight or one per channel (N, C, ...). He et al. 2015."""
    if weight.numel() > 1:
        weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
    return where(input > 0, input, weight * input.clamp(max=0))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha * (exp(x) - 1) where x is below 0. Clevert et al. 2016."""
    return apply(ops.elu, input, alpha=alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha * (exp(x / alpha) - 1) where x is below 0. Barron 2017."""
    return apply(ops.elu, input, alpha=alpha, inner=1 / alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the constants that keep mean 0 and variance 1. Klambauer et al. 2017."""
    return apply(ops.elu, input, alpha=1.6732632423543772, scale=1.0507009873554805)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold."""
    return apply(ops.softplus, input, beta=beta, threshold=threshold)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), which does not overflow."""
    return apply(ops.logsigmoid, input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x, no less than min_val and no more than max_val; no gradient at the two themselves."""
    if not input.is_floating_point():
        return input.clamp(int(min_val), int(max_val))
    outside = (input <= min_val) | (input >= max_val)
    return where(outside, input.detach().clamp(min_val, max_val), input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    inside = (input > -3) & (input < 3)
    return where(inside, input + 3, (input.detach() + 3).clamp(0, 6)) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6. Howard et al. 2019."""
    return apply(ops.hardswish, input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (1 + input.abs())


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(log(1 + exp(x))). Misra 2019."""
    return input * softplus(input).tanh()


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above the threshold, else a value."""
    return input.masked_fill(input <= threshold, value)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along dim times sigmoid of the second. ValueError for an odd size. Dauphin et al. 2017."""
    if input.shape[dim] % 2:
        raise ValueError(f"glu halves dim {dim}, whose size must be even, but it is {input.shape[dim]}")
    left, right = input.chunk(2, dim)
    return left * right.sigmoid()


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, lambd nearer to 0, and 0 in between."""
    inside = (input >= -lambd) & (input <= lambd)
    return where(inside, input.detach() * 0, input - input.detach().clamp(-lambd, lambd))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 where it is between -lambd and lambd."""
    return input.masked_fill((input >= -lambd) & (input <= lambd), 0.0)


def softmin(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """softmax(-x)."""
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A draw from softmax(logits) with a gradient: soft, or one-hot forwards only if hard. Jang et al. 2017."""
    noise = Tensor(rng().gumbel(size=logits.shape).astype(logits.dtype))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    one = soft.new_zeros(soft.shape).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one - soft.detach() + soft


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x times sigmoid(x), also called swish; ``inplace`` is accepted, the result is always a new tensor."""
    return apply(ops.silu, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum exp(x) along dim; zeros for a slice that is all -inf."""
    dim = _default_dim(input) if dim is None else dim
    return (input if dtype is None else input.to(dtype)).softmax(dim)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """x - log sum exp(x) along dim."""
    dim = _default_dim(input) if dim is None else dim
    return (input if dtype is None else input.to(dtype)).log_softmax(dim)


def _default_dim(input: Tensor) -> int:
    """The axis PyTorch takes where none is given: a guess that is better written down."""
    return 0 if input.ndim in (0, 1, 3) else 1
