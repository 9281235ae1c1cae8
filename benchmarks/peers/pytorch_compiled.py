"""The same PyTorch model through torch.compile, where there is a C++ compiler for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import numpy as np

from benchmarks.configs import Config
from benchmarks.peers import pytorch

VERSION = f"{pytorch.VERSION}, compiled"


def trainer(config: Config, weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise RuntimeError("torch.compile needs a C++ compiler, and there is none")
    return pytorch.trainer(config, weights, compiled=True)
