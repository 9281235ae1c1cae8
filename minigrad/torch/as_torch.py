"""``import torch`` means minigrad, for one process: stand-in modules, and what is said of a name that is not here."""

from __future__ import annotations

import difflib
import importlib.machinery
import linecache
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.tools.lines import is_users

# A module of PyTorch -> where its names are, from minigrad on
MODULES = {
    "torch": "",
    "torch.amp": "amp",
    "torch.autograd": "autograd",
    "torch.backends": "backends",
    "torch.backends.cuda": "backends.cuda",
    "torch.backends.cudnn": "backends.cudnn",
    "torch.backends.mps": "backends.mps",
    "torch.cuda": "cuda",
    "torch.cuda.amp": "amp",
    "torch.distributed": "distributed",
    "torch.linalg": "linalg",
    "torch.mps": "mps",
    "torch.nn": "nn",
    "torch.nn.functional": "nn.functional",
    "torch.nn.init": "nn.init",
    "torch.nn.modules": "nn",
    "torch.nn.parallel": "nn.parallel",
    "torch.nn.parameter": "nn",
    "torch.nn.utils": "nn.utils",
    "torch.nn.utils.rnn": "nn.utils.rnn",
    "torch.optim": "optim",
    "torch.optim.lr_scheduler": "optim.lr_scheduler",
    "torch.optim.optimizer": "optim",
    "torch.random": "random",
    "torch.testing": "testing",
    "torch.utils": "utils",
    "torch.utils.checkpoint": "utils.checkpoint",
    "torch.utils.data": "utils.data",
    "torch.utils.data.dataloader": "utils.data",
    "torch.utils.data.dataset": "utils.data",
    "torch.utils.data.sampler": "utils.data",
    "torch.utils.tensorboard": "utils.tensorboard",
}

VERSION = "2.0.0+minigrad"  # the version of PyTorch whose names are meant

INSTEAD = {
    "jit": "call the function as it is, nothing is compiled here",
    "onnx": "save the state dict with torch.save and read it with minigrad.load",
    "profiler": "python -m cProfile script.py",
    "hub": "load the weights with PyTorch once and hand them over with minigrad.from_torch",
    "multiprocessing": "the training loop in one process",
    "fft": "numpy.fft on tensor.detach().numpy()",
    "sparse": "dense tensors",
    "quantization": "float32",
    "complex": "two float tensors, for the real and the imaginary part",
    "polar": "cos and sin of the angle, as two float tensors",
    "view_as_complex": "x[..., 0] and x[..., 1]",
    "view_as_real": "stack([real, imaginary], -1)",
    "vmap": "a batch axis in front",
    "func": "minigrad.autograd.grad",
}


def missing(module: str, name: str, names: Sequence[str]) -> str:
    """What to say of ``module.name``, which is not there: who asked for it, and what to use instead."""
    instead = INSTEAD.get(name)
    if instead is None:
        close = difflib.get_close_matches(name, [n for n in names if not n.startswith("_")], 1, 0.75)
        instead = f"{module}.{close[0]}" if close else None
    use = f"; use {instead}" if instead else "; docs/pytorch.md lists what is covered"
    return f"{module}.{name} is not covered by minigrad{_asked_in()}{use}"


def _asked_in() -> str:
    """The innermost line that is neither the library's nor Python's own."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if is_users(file) and os.path.exists(file):
            line = linecache.getline(file, frame.f_lineno).strip()
            return f" (asked for in {file}, line {frame.f_lineno}: {line})"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class _StandIn(ModuleType):
    """A module of PyTorch's name whose attributes are minigrad's."""

    def __init__(self, name: str, target: Any) -> None:
        super().__init__(name, getattr(target, "__doc__", None))
        self.__dict__["_target"] = target
        self.__dict__["__path__"] = []  # so that `from torch import x` asks the finder, which gives the reason
        self.__dict__["__spec__"] = importlib.machinery.ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> Any:
        if name in ("__file__", "__wrapped__"):
            raise AttributeError(name)
        try:
            return getattr(self._target, name)
        except AttributeError:
            raise AttributeError(missing(self.__name__, name, dir(self._target)), name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *dir(self._target)} - {"_target"})


class _Finder:
    """Answers for modules of torch that have no stand-in: with the reason, instead of a search."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        parent, _, last = name.rpartition(".")
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(missing(parent, last, dir(sys.modules.get(parent))))

    @staticmethod
    def find_distributions(context: Any = None) -> list[Any]:
        """What ``importlib.metadata.version("torch")`` asks for."""

        class Distribution(sys.modules["importlib.metadata"].Distribution):  # type: ignore[misc]
            def read_text(self, filename: str) -> str | None:
                return f"Name: torch\nVersion: {VERSION}\n" if filename == "METADATA" else None

            def locate_file(self, path: Any) -> Any:
                return path

        return [Distribution()] if getattr(context, "name", None) == "torch" else []


class as_torch:
    """From here on ``import torch`` and its submodules mean minigrad; ``undo()``, or leaving a ``with``, ends it.

    Raises RuntimeError where PyTorch itself has been imported already. NumPy's warnings of overflow and NaN are off
    meanwhile, as PyTorch has none.
    """

    def __init__(self) -> None:
        found = sys.modules.get("torch")
        self._first = not isinstance(found, _StandIn)
        if found is not None and self._first:
            raise RuntimeError("PyTorch itself is imported in this process already: call as_torch() before, or without")
        if not self._first:
            return
        self._errors = np.seterr(over="ignore", divide="ignore", invalid="ignore")
        for name, path in MODULES.items():
            target: Any = sys.modules["minigrad"]
            for part in path.split(".") if path else []:
                target = getattr(target, part)
            module = sys.modules[name] = _StandIn(name, target)
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, module)
        sys.modules["torch"].__dict__["__version__"] = VERSION
        sys.meta_path.insert(0, _Finder)

    def undo(self) -> None:
        """Let ``import torch`` mean PyTorch again."""
        if not self._first:
            return
        self._first = False
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.meta_path.remove(_Finder)
        np.seterr(**self._errors)

    def __enter__(self) -> as_torch:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()
