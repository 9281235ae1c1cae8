"""All functions of one or two tensors by name, and the tensors to try them on: dtypes, shapes, layouts, extremes.

``test_op_table`` runs each here and on PyTorch. ``KNOWN`` says what differs, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

INF, NAN = math.inf, math.nan
FLOATS = ("float32", "float64", "float16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "bool")
DTYPES = (*FLOATS, *INTEGERS)

KNOWN = {  # what differs where -> the reason
    **dict.fromkeys(("amax", "amin", "aminmax"), ("gradients of extremes", "of a NaN: PyTorch divides 0 by 0")),
    **dict.fromkeys(("fmax", "fmin"), ("gradients of extremes", "of two NaN: either may have it")),
    **dict.fromkeys(("cumprod", "prod"), ("gradients of extremes", "of a NaN: PyTorch gives 0 in places")),
    **dict.fromkeys(("div", "true_divide", "hypot"), ("gradients of extremes", "of the smallest numbers")),
    **dict.fromkeys(("softmax", "log_softmax"), ("types of nothing", "of no integers PyTorch makes no floats")),
    **dict.fromkeys(("F.hardshrink", "F.hardtanh", "F.relu6", "F.softshrink"), ("gradients of extremes", "of a NaN")),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), ("refused", "too few elements for a spread")),
    **dict.fromkeys(("x ** 2", "square", "sinc"), ("gradients of extremes", "half: computed in single, then rounded")),
    "2 ** x": ("refused", "no integer is a power with a negative exponent"),
    **dict.fromkeys(
        ("fmod", "remainder"), ("values, gradients of extremes", "PyTorch takes 1e30 / 1e-45 for the rest")
    ),
    "F.gelu": ("values of extremes", "of infinity PyTorch gives NaN where it takes 8 numbers at once"),
    "F.hardsigmoid": ("gradients", "PyTorch's 1 / 6 is a float32"),
    "acosh": ("gradients of extremes", "at -1"),
    "atan2": ("gradients", "PyTorch's squares of uint8 go round at 256; the smallest numbers"),
    "clamp": ("values of extremes", "of uint8: PyTorch takes -1 for 255"),
    "heaviside": ("values of extremes", "of a NaN PyTorch gives 0"),
    "kthvalue": ("values of extremes", "the place of one of two equal ones"),
    "layer_norm": ("gradients", "half: of two numbers it is 0, but for rounding"),
    "logaddexp": ("gradients of extremes", "of infinities"),
    "logcumsumexp": ("gradients of extremes", "of a first -inf, as for logsumexp"),
    "logit": ("gradients", "of what is not within 0..1, where the value is NaN"),
    "median": ("refused", "no integer is the middle of none"),
    "pow": ("refused, gradients of extremes", "negative exponents of integers; 0 to a negative power"),
    "quantile": ("gradients of extremes", "of a NaN"),
    "x ** 0.5": ("values, gradients of extremes", "the power, not the square root, of -0 and -inf"),
}

Function = Callable[..., Any]  # of a library T, its nn.functional F, and one or two tensors

ELEMENTWISE = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac isfinite isinf "
    "isnan isneginf isposinf log log10 log1p log2 logical_not logit nan_to_num neg rad2deg reciprocal relu "
    "round rsqrt sigmoid sign sin sinc sinh sqrt square tan tanh trunc"
).split()
ACTIVATIONS = (
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 selu sigmoid silu "
    "softplus softshrink softsign tanh tanhshrink"
).split()
OF_TWO = (
    "add atan2 bitwise_and bitwise_or bitwise_xor div eq floor_divide fmax fmin fmod ge gt heaviside hypot isclose le "
    "logaddexp logical_and logical_or logical_xor lt maximum minimum mul ne pow remainder sub true_divide"
).split()
REDUCTIONS = (
    "all amax amin any argmax argmin count_nonzero max mean median min nansum nanmean prod std sum var logsumexp norm "
    "std_mean var_mean aminmax"
).split()
ALONG = "cumsum cumprod cummax cummin logcumsumexp softmax log_softmax sort argsort flip diff unbind".split()
SHAPES = {
    "flatten": lambda T, F, x: x.flatten(),
    "ravel": lambda T, F, x: T.ravel(x),
    "reshape": lambda T, F, x: x.reshape(-1),
    "unsqueeze": lambda T, F, x: x.unsqueeze(0),
    "unsqueeze last": lambda T, F, x: x.unsqueeze(-1),
    "squeeze": lambda T, F, x: x.squeeze(),
    "clone": lambda T, F, x: x.clone(),
    "contiguous": lambda T, F, x: x.contiguous(),
    "expand": lambda T, F, x: x.expand(2, *x.shape),
    "tile": lambda T, F, x: x.tile(2),
    "stack": lambda T, F, x: T.stack([x, x]),
    "atleast_1d": lambda T, F, x: T.atleast_1d(x),
    "ones_like": lambda T, F, x: T.ones_like(x),
    "zeros_like": lambda T, F, x: T.zeros_like(x),
    "full_like": lambda T, F, x: T.full_like(x, 1),
    "float": lambda T, F, x: x.float(),
    "double": lambda T, F, x: x.double(),
    "half": lambda T, F, x: x.clamp(0, 9).half(),
    "to bool": lambda T, F, x: x.bool(),
    "x + 2": lambda T, F, x: x + 2,
    "x + 2.5": lambda T, F, x: x + 2.5,
    "2 - x": lambda T, F, x: 2 - x,
    "x * True": lambda T, F, x: x * True,
    "x / 2": lambda T, F, x: x / 2,
    "2 / x": lambda T, F, x: 2 / x,
    "x // 2": lambda T, F, x: x // 2,
    "x % 3": lambda T, F, x: x % 3,
    "x % -3": lambda T, F, x: x % -3,
    "x ** 2": lambda T, F, x: x**2,
    "x ** 3": lambda T, F, x: x**3,
    "x ** 0.5": lambda T, F, x: x**0.5,
    "x ** 0": lambda T, F, x: x**0,
    "x ** -1": lambda T, F, x: x**-1,
    "2 ** x": lambda T, F, x: 2**x,
    "clamp": lambda T, F, x: x.clamp(-1, 1),
    "clamp min": lambda T, F, x: x.clamp(min=0.5),
    "clip max": lambda T, F, x: x.clip(max=1),
    "where": lambda T, F, x: T.where(x > 0, x, T.zeros_like(x)),
    "where number": lambda T, F, x: T.where(x > 0, x, 0.0),
    "masked_fill": lambda T, F, x: x.masked_fill(x > 0, 1),
    "fmod 3": lambda T, F, x: T.fmod(x, 3),
    "lerp": lambda T, F, x: T.lerp(x, x + 1, 0.3),
    "addcmul": lambda T, F, x: T.addcmul(x, x, x, value=2),
    "threshold": lambda T, F, x: F.threshold(x, 0.5, 7),
    "matmul": lambda T, F, x: x @ x.transpose(-1, -2),
    "dot": lambda T, F, x: T.dot(x.reshape(-1), x.reshape(-1)),
    "outer": lambda T, F, x: T.outer(x.reshape(-1), x.reshape(-1)),
    "einsum": lambda T, F, x: T.einsum("...i,...i->...", x, x),
    "tril": lambda T, F, x: T.tril(x),
    "triu": lambda T, F, x: T.triu(x, 1),
    "transpose": lambda T, F, x: x.transpose(0, 1),
    "roll": lambda T, F, x: T.roll(x, 1),
    "repeat_interleave": lambda T, F, x: x.repeat_interleave(2),
    "first": lambda T, F, x: x[0],
    "chunk": lambda T, F, x: x.chunk(2),
    "layer_norm": lambda T, F, x: F.layer_norm(x, x.shape[-1:]),
    "rms_norm": lambda T, F, x: F.rms_norm(x, x.shape[-1:], eps=1e-5),
    "normalize": lambda T, F, x: F.normalize(x, dim=-1),
    "glu": lambda T, F, x: F.glu(T.stack([x, x], -1)),
    "pad": lambda T, F, x: F.pad(x, (1, 2)),
    "trace": lambda T, F, x: T.trace(x),
    "diagonal": lambda T, F, x: T.diagonal(x),
    "quantile": lambda T, F, x: T.quantile(x, 0.3),
    "unique": lambda T, F, x: T.unique(x),
    "bincount": lambda T, F, x: T.bincount(x.reshape(-1)),
    "nonzero": lambda T, F, x: T.nonzero(x),
    "topk": lambda T, F, x: T.topk(x, 1),
    "kthvalue": lambda T, F, x: T.kthvalue(x, 1),
    "item": lambda T, F, x: T.tensor(x.item()),
    "invert": lambda T, F, x: ~x,
    "x & 1": lambda T, F, x: x & 1,
    "x << 1": lambda T, F, x: x << 1,
    "mse_loss": lambda T, F, x: F.mse_loss(x, T.ones_like(x)),
    "l1_loss": lambda T, F, x: F.l1_loss(x, T.ones_like(x)),
    "smooth_l1_loss": lambda T, F, x: F.smooth_l1_loss(x, T.ones_like(x)),
    "huber_loss": lambda T, F, x: F.huber_loss(x, T.ones_like(x)),
    "bce with logits": lambda T, F, x: F.binary_cross_entropy_with_logits(x, T.ones_like(x)),
    "cross_entropy": lambda T, F, x: F.cross_entropy(x, T.zeros(x.shape[0], dtype=T.int64)),
    "nll_loss": lambda T, F, x: F.nll_loss(x, T.zeros(x.shape[0], dtype=T.int64)),
    "kl_div": lambda T, F, x: F.kl_div(x, T.ones_like(x), reduction="sum"),
}


def functions() -> dict[str, tuple[int, Function]]:
    """Name -> (how many tensors it takes, the function)."""

    def call(name: str, *more: Any, **constants: Any) -> Function:
        return lambda T, F, *tensors: getattr(T, name)(*tensors, *more, **constants)

    def activation(name: str) -> Function:
        return lambda T, F, x: getattr(F, name)(x)

    made: dict[str, tuple[int, Function]] = {name: (1, call(name)) for name in ELEMENTWISE}
    made |= {f"F.{name}": (1, activation(name)) for name in ACTIVATIONS}
    made |= {name: (2, call(name)) for name in OF_TWO}
    for name in REDUCTIONS:
        if name != "logsumexp":
            made[name] = 1, call(name)
        made |= {f"{name} of 0": (1, call(name, dim=0)), f"{name} of -1": (1, call(name, dim=-1))}
    for name in ALONG:
        for dim in (0, -1):
            made[f"{name} of {dim}"] = 1, call(name, [dim]) if name == "flip" else call(name, dim=dim)
    return made | {name: (1, f) for name, f in SHAPES.items()}


def numbers(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """A few small numbers, both signs where there are two."""
    random = np.random.default_rng(seed)
    drawn = random.permutation(np.linspace(-2.3, 2.6, math.prod(shape))) if shape else np.array(0.7 + seed % 2)
    if dtype in FLOATS:
        return drawn.reshape(shape).astype(dtype)
    whole = np.asarray(np.round(drawn * 2), np.int64)
    return np.asarray(abs(whole) if dtype == "uint8" else whole % 2 if dtype == "bool" else whole, dtype).reshape(shape)


def extremes(dtype: str) -> np.ndarray[Any, Any]:
    """What breaks formulas: the ends of the range, infinities, NaN, zeros of both signs, the smallest numbers."""
    if dtype == "bool":
        return np.array([True, False, True])
    if dtype in INTEGERS:
        ends = np.iinfo(dtype)
        return np.array([ends.min, ends.max, 0, 1, 2, 100], dtype)
    ends = np.finfo(dtype)
    large = 1e30 if dtype != "float16" else 6e4
    small = ends.smallest_subnormal, ends.tiny
    return np.array([INF, -INF, NAN, large, -large, *small, 0.0, -0.0, 1.0, -1.0, 88.0, -104.0, 0.5], dtype)


def inputs(dtype: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Kinds of tensors of a dtype."""
    yield "rows", numbers(dtype, (2, 3), 1)
    yield "0-d", numbers(dtype, (), 2)
    yield "empty", numbers(dtype, (0, 3), 3)
    yield "nothing", numbers(dtype, (0,), 3)
    yield "one", numbers(dtype, (1, 1), 4)
    yield "columns", numbers(dtype, (3, 2), 5).T
    yield "every other", numbers(dtype, (4, 6), 6)[::2, ::3]
    yield "backwards", numbers(dtype, (2, 3), 7)[::-1, ::-1]
    yield "extremes", extremes(dtype)


def pairs(dtype: str) -> Iterator[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Kinds of pairs of tensors, the second of every dtype."""
    for other in DTYPES:
        yield f"rows and {other}", numbers(dtype, (2, 3), 1), numbers(other, (2, 3), 8)
        yield f"a column and {other}", numbers(dtype, (2, 1), 1), numbers(other, (3,), 9)
        yield f"0-d and {other}", numbers(dtype, (), 2), numbers(other, (3,), 9)
        yield f"rows and 0-d {other}", numbers(dtype, (2, 3), 1), numbers(other, (), 9)
    yield "empty", numbers(dtype, (0, 3), 1), numbers(dtype, (3,), 1)
    yield "columns", numbers(dtype, (3, 2), 1).T, numbers(dtype, (4, 6), 2)[::2, ::-2]
    values = extremes(dtype)
    yield "extremes", np.repeat(values, len(values)), np.tile(values, len(values))
