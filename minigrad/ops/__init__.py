"""All ops by name, the core's and the others: every op is a pure NumPy function that returns its result and its own
backward pass. Nothing here knows tensors or graphs. ``OPS`` is the table.
"""

from minigrad.core.arithmetic import add, dropout, exp, gelu_tanh, mul, relu, tanh
from minigrad.core.attention import scaled_dot_product_attention
from minigrad.core.loss import cross_entropy
from minigrad.core.normalize import layer_norm
from minigrad.core.op import OPS, Array, Backward, Op, facts, op
from minigrad.core.places import embedding, getitem, reshape, transpose
from minigrad.core.products import linear, matmul
from minigrad.core.sums import log_softmax, mean, softmax, sum
from minigrad.ops.activation import error_function, gelu, sigmoid, silu
from minigrad.ops.along_axis import gather, scatter, setitem
from minigrad.ops.docstring import formulas
from minigrad.ops.einstein import einsum
from minigrad.ops.elementwise import (
    abs,
    atan,
    cast,
    clamp,
    clone,
    cos,
    div,
    expm1,
    log,
    log1p,
    masked_fill,
    maximum,
    minimum,
    neg,
    pow,
    sin,
    sqrt,
    sub,
    where,
)
from minigrad.ops.linear_attention import causal_linear_attention
from minigrad.ops.losses import bce_with_logits, l1_loss, mse_loss, nll_loss, soft_cross_entropy
from minigrad.ops.reduce import cumsum, logsumexp, max, min, prod, std, var
from minigrad.ops.root_mean_square import rms_norm
from minigrad.ops.shape import cat, expand, flip, pad, permute, roll, squeeze, stack, tril, triu, unsqueeze
from minigrad.ops.sliding_window import sliding_window_attention
from minigrad.ops.unfolding import windows

__all__ = [
    "OPS", "Array", "Backward", "Op", "abs", "add", "atan", "bce_with_logits", "cast", "cat", "causal_linear_attention",
    "clamp", "clone", "cos", "cross_entropy", "cumsum", "div", "dropout", "einsum", "embedding", "error_function",
    "exp", "expand", "expm1", "facts", "flip", "formulas", "gather", "gelu", "gelu_tanh", "getitem", "l1_loss",
    "layer_norm", "linear", "log", "log1p", "log_softmax", "logsumexp", "masked_fill", "matmul", "max", "maximum",
    "mean", "min", "minimum", "mse_loss", "mul", "neg", "nll_loss", "op", "pad", "permute", "pow", "prod", "relu",
    "reshape", "rms_norm", "roll", "scaled_dot_product_attention", "scatter", "setitem", "sigmoid", "silu", "sin",
    "sliding_window_attention", "soft_cross_entropy", "softmax", "sqrt", "squeeze", "stack", "std", "sub", "sum",
    "tanh", "transpose", "tril", "triu", "unsqueeze", "var", "where", "windows",
]  # fmt: skip
