"""minigrad: backpropagation and attention from scratch in NumPy, under PyTorch's names."""

from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from numpy import dtype, finfo, iinfo

from minigrad import fast, functions, hardware, linalg, nn, ops, optim, random, testing
from minigrad.functions import *  # noqa: F403
from minigrad.graph import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from minigrad.hardware import *  # noqa: F403
from minigrad.lazy import later
from minigrad.memory import keep_freed_memory
from minigrad.printing import set_printoptions
from minigrad.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from minigrad.tensor import Device as device
from minigrad.tensor import (
    Tensor,
    apply,
    as_tensor,
    bfloat16,
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

if TYPE_CHECKING:
    from minigrad import autograd, utils
    from minigrad.autograd import Function, detect_anomaly
    from minigrad.debugger import step
    from minigrad.recording import trace
    from minigrad.serialization import CheckpointError, from_torch, load, save
    from minigrad.torch_names import as_torch
    from minigrad.viz.attention import attention
    from minigrad.viz.graph import graph

_LATER = {  # what a training loop does without, and where it is: loaded when it is first used
    "CheckpointError": "minigrad.serialization",
    "Function": "minigrad.autograd",
    "as_torch": "minigrad.torch_names",
    "attention": "minigrad.viz.attention",
    "autograd": "minigrad.autograd",
    "detect_anomaly": "minigrad.autograd",
    "from_torch": "minigrad.serialization",
    "graph": "minigrad.viz.graph",
    "load": "minigrad.serialization",
    "save": "minigrad.serialization",
    "step": "minigrad.debugger",
    "trace": "minigrad.recording",
    "utils": "minigrad.utils",
}

__version__ = "0.1.0"

Size = tuple

__all__ = [
    "CheckpointError", "Function", "Generator", "Size", "Tensor", "apply", "as_tensor", "as_torch", "attention",
    "autograd", "bfloat16", "bool", "default_generator", "detect_anomaly", "device", "double", "dtype", "e",
    "enable_grad", "fast", "finfo", "float", "float16", "float32", "float64", "from_torch", "functions",
    "get_default_dtype", "get_rng_state", "graph", "half", "hardware", "iinfo", "inf", "initial_seed", "int", "int16",
    "int32", "int64", "int8", "is_grad_enabled", "linalg", "load", "long", "manual_seed", "nan", "nn", "no_grad",
    "ops", "optim", "pi", "random", "save", "seed", "set_default_dtype", "set_grad_enabled", "set_printoptions",
    "set_rng_state", "short", "step", "tensor", "testing", "trace", "uint8", "utils",
    *functions.__all__, *hardware.__all__,
]  # fmt: skip

keep_freed_memory()

if not TYPE_CHECKING:  # a type checker is to go on finding names that are not there
    __getattr__, __dir__ = later(globals(), _LATER)
