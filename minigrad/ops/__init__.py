"""The calculus: every op is a pure NumPy function that returns its result and its own backward pass.

Nothing here knows tensors or graphs. ``OPS`` is the table of all ops by name.
"""

from minigrad.ops import tuned
from minigrad.ops.activation import error_function, gelu, gelu_tanh, log_softmax, relu, sigmoid, silu, softmax, tanh
from minigrad.ops.attention import scaled_dot_product_attention
from minigrad.ops.dropout import dropout
from minigrad.ops.elementwise import (
    abs,
    add,
    atan,
    cast,
    clamp,
    clone,
    cos,
    div,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    sin,
    sqrt,
    sub,
    where,
)
from minigrad.ops.index import embedding, gather, getitem, masked_fill, scatter, setitem, tril, triu
from minigrad.ops.linear_attention import causal_linear_attention
from minigrad.ops.loss import bce_with_logits, cross_entropy, l1_loss, mse_loss, nll_loss
from minigrad.ops.matmul import einsum, linear, matmul
from minigrad.ops.normalize import layer_norm, rms_norm
from minigrad.ops.reduce import cumsum, logsumexp, max, mean, min, prod, std, sum, var
from minigrad.ops.registry import OPS, Array, Backward, Op, formulas, op
from minigrad.ops.shape import (
    cat,
    expand,
    flip,
    pad,
    permute,
    reshape,
    roll,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
from minigrad.ops.sliding_window import sliding_window_attention
from minigrad.ops.windows import windows

__all__ = [
    "OPS", "Array", "Backward", "Op", "abs", "add", "atan", "bce_with_logits", "cast", "cat", "causal_linear_attention",
    "clamp", "clone", "cos", "cross_entropy", "cumsum", "div", "dropout", "einsum", "embedding", "error_function",
    "exp", "expand", "expm1", "flip", "formulas", "gather", "gelu", "gelu_tanh", "getitem", "l1_loss", "layer_norm",
    "linear", "log", "log1p", "log_softmax", "logsumexp", "masked_fill", "matmul", "max", "maximum", "mean", "min",
    "minimum", "mse_loss", "mul", "neg", "nll_loss", "op", "pad", "permute", "pow", "prod", "relu", "reshape",
    "rms_norm", "roll", "scaled_dot_product_attention", "scatter", "setitem", "sigmoid", "silu", "sin",
    "sliding_window_attention", "softmax", "sqrt", "squeeze", "stack", "std", "sub", "sum", "tanh", "transpose", "tril",
    "triu", "tuned", "unsqueeze", "var", "where", "windows",
]  # fmt: skip
