"""minigrad: backpropagation and attention from scratch in NumPy, under PyTorch's names."""

from minigrad import autograd, functions, nn, ops, optim
from minigrad.autograd import Function, detect_anomaly
from minigrad.functions import *  # noqa: F403
from minigrad.graph import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from minigrad.graph import no_grad as inference_mode
from minigrad.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    set_rng_state,
)
from minigrad.serialization import CheckpointError, load, save
from minigrad.tensor import (
    Tensor,
    apply,
    as_tensor,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    tensor,
    uint8,
)
from minigrad.tensor import bool_ as bool
from minigrad.tensor import float16 as half
from minigrad.tensor import float32 as float
from minigrad.tensor import float64 as double
from minigrad.tensor import int16 as short
from minigrad.tensor import int32 as int
from minigrad.tensor import int64 as long

__version__ = "0.1.0"

__all__ = [
    "CheckpointError", "Function", "Generator", "Tensor", "apply", "as_tensor", "autograd", "bool", "default_generator",
    "detect_anomaly", "double", "enable_grad", "float", "float16", "float32", "float64", "functions",
    "get_default_dtype", "get_rng_state", "half", "inference_mode", "initial_seed", "int", "int8", "int16", "int32",
    "int64", "is_grad_enabled", "load", "long", "manual_seed", "nn", "no_grad", "ops", "optim", "save",
    "set_default_dtype", "set_grad_enabled", "set_rng_state", "short", "tensor", "uint8", *functions.__all__,
]  # fmt: skip
