"""minigrad: backpropagation and attention from scratch in NumPy, under PyTorch's names."""

from minigrad.tools import start as _start  # noqa: F401, I001 (before any other import)

import sys
from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from numpy import dtype, finfo, iinfo

from minigrad import nn, ops, optim
from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor, apply
from minigrad.speed import compiled as fast
from minigrad.speed import tuned as _tuned  # noqa: F401
from minigrad.speed.memory import keep_freed_memory
from minigrad.speed.threads import get_num_threads, set_num_threads
from minigrad.tools.later import later
from minigrad.torch import complex_pairs, creation, distributions, functions, hardware, joining, linalg, random, testing
from minigrad.torch.complex_pairs import *  # noqa: F403
from minigrad.torch.creation import *  # noqa: F403
from minigrad.torch.dtypes import Device as device
from minigrad.torch.dtypes import (
    bfloat16,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    result_type,
    set_default_dtype,
    uint8,
)
from minigrad.torch.dtypes import bool_ as bool
from minigrad.torch.dtypes import float16 as half
from minigrad.torch.dtypes import float32 as float
from minigrad.torch.dtypes import float64 as double
from minigrad.torch.dtypes import int16 as short
from minigrad.torch.dtypes import int32 as int
from minigrad.torch.dtypes import int64 as long
from minigrad.torch.functions import *  # noqa: F403
from minigrad.torch.grad_mode import enable_grad, is_grad_enabled, set_grad_enabled
from minigrad.torch.hardware import *  # noqa: F403
from minigrad.torch.joining import *  # noqa: F403
from minigrad.torch.printing import set_printoptions
from minigrad.torch.random import *  # noqa: F403

if TYPE_CHECKING:
    from minigrad import autograd, func, utils
    from minigrad.autograd import Function, detect_anomaly
    from minigrad.look.doctor.session import doctor
    from minigrad.look.influence import influence
    from minigrad.look.pages.attention_page import attention
    from minigrad.look.pages.graph_page import graph
    from minigrad.look.pages.stepper_page import trace
    from minigrad.look.terminal import step
    from minigrad.look.why import record_step, why
    from minigrad.torch.as_torch import as_torch
    from minigrad.train.checkpoints import CheckpointError, from_torch, load, save

_LATER = {  # what a training loop does without, and where it is: loaded when it is first used
    "CheckpointError": "minigrad.train.checkpoints",
    "Function": "minigrad.autograd",
    "as_torch": "minigrad.torch.as_torch",
    "attention": "minigrad.look.pages.attention_page",
    "autograd": "minigrad.autograd",
    "detect_anomaly": "minigrad.autograd",
    "func": "minigrad.func",
    "doctor": "minigrad.look.doctor.session",
    "from_torch": "minigrad.train.checkpoints",
    "graph": "minigrad.look.pages.graph_page",
    "influence": "minigrad.look.influence",
    "load": "minigrad.train.checkpoints",
    "record_step": "minigrad.look.why",
    "save": "minigrad.train.checkpoints",
    "step": "minigrad.look.terminal",
    "trace": "minigrad.look.pages.stepper_page",
    "utils": "minigrad.utils",
    "why": "minigrad.look.why",
}

__version__ = "0.1.0"

Size = tuple  # type: ignore[type-arg]

__all__ = [
    "CheckpointError", "Function", "Size", "Tensor", "apply", "as_torch", "attention", "autograd", "bfloat16",
    "bool", "detect_anomaly", "device", "distributions", "doctor", "double", "dtype", "e", "enable_grad", "fast",
    "finfo", "float", "float16", "float32", "float64", "from_torch", "func", "functions", "get_default_dtype",
    "get_num_threads", "graph", "half", "hardware", "iinfo", "inf", "influence", "int", "int16", "int32", "int64",
    "int8", "is_grad_enabled", "linalg", "load", "long", "nan", "nn", "no_grad", "ops", "optim", "pi", "random",
    "record_step", "result_type", "save", "set_default_dtype", "set_grad_enabled", "set_num_threads",
    "set_printoptions", "short", "step", "testing", "trace", "uint8", "utils", "why", *complex_pairs.__all__,
    *creation.__all__, *functions.__all__, *hardware.__all__, *joining.__all__, *random.__all__,
]  # fmt: skip

# `import minigrad.linalg` works too
for _name in ("distributions", "fast", "functions", "hardware", "linalg", "random", "testing"):
    sys.modules[f"minigrad.{_name}"] = globals()[_name]

keep_freed_memory()
fast.start()

if not TYPE_CHECKING:  # a type checker is to go on finding names that are not there
    __getattr__, __dir__ = later(globals(), _LATER)
