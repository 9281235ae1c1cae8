"""``import torch`` means minigrad, for one process: stand-in modules, and what is said of a name that is not here."""

from __future__ import annotations

import difflib
import importlib.machinery
import linecache
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.tools.lines import is_users
from minigrad.torch import absent

# The files of PyTorch's torch.nn.modules: every layer is looked for in all of minigrad.nn
NN_FILES = (
    "activation batchnorm container conv distance dropout flatten instancenorm linear loss module normalization "
    "padding pooling rnn sparse transformer upsampling"
)

# A module of PyTorch -> where its names are, from minigrad on
MODULES = {
    "torch": "",
    "torch._dynamo": "torch.absent._dynamo",
    "torch.accelerator": "torch.absent.accelerator",
    "torch.amp": "amp",
    "torch.autograd": "autograd",
    "torch.autograd.function": "autograd",
    "torch.autograd.functional": "autograd.functional",
    "torch.autograd.gradcheck": "autograd",
    "torch.autograd.variable": "autograd",
    "torch.backends": "backends",
    "torch.backends.cuda": "backends.cuda",
    "torch.backends.cudnn": "backends.cudnn",
    "torch.backends.mps": "backends.mps",
    "torch.cuda": "cuda",
    "torch.cuda.amp": "amp",
    "torch.distributed": "distributed",
    "torch.distributions": "distributions",
    "torch.distributions.bernoulli": "distributions",
    "torch.distributions.categorical": "distributions",
    "torch.distributions.distribution": "distributions",
    "torch.distributions.kl": "distributions",
    "torch.distributions.normal": "distributions",
    "torch.distributions.uniform": "distributions",
    "torch.func": "func",
    "torch.hub": "torch.absent.hub",
    "torch.jit": "torch.absent.jit",
    "torch.linalg": "linalg",
    "torch.mps": "mps",
    "torch.multiprocessing": "torch.absent.multiprocessing",
    "torch.nn": "nn",
    "torch.nn.functional": "nn.functional",
    "torch.nn.init": "nn.init",
    "torch.nn.modules": "nn",
    **{f"torch.nn.modules.{name}": "nn" for name in NN_FILES.split()},
    "torch.nn.parallel": "nn.parallel",
    "torch.nn.parallel.distributed": "nn.parallel",
    "torch.nn.parameter": "nn",
    "torch.nn.utils": "nn.utils",
    "torch.nn.utils.clip_grad": "nn.utils",
    "torch.nn.utils.parametrizations": "nn.parametrize",
    "torch.nn.utils.parametrize": "nn.parametrize",
    "torch.nn.utils.rnn": "nn.utils.rnn",
    "torch.onnx": "torch.absent.onnx",
    "torch.optim": "optim",
    "torch.optim.lr_scheduler": "optim.lr_scheduler",
    **{f"torch.optim.{name}": "optim" for name in ("adam", "adamw", "lbfgs", "optimizer", "rmsprop", "sgd")},
    "torch.profiler": "torch.absent.profiler",
    "torch.random": "random",
    "torch.serialization": "torch.absent.serialization",
    "torch.testing": "testing",
    "torch.utils": "utils",
    "torch.utils.checkpoint": "utils.checkpoint",
    "torch.utils.data": "utils.data",
    "torch.utils.data.dataloader": "utils.data",
    "torch.utils.data.dataset": "utils.data",
    "torch.utils.data.distributed": "torch.absent.data_distributed",
    "torch.utils.data.sampler": "utils.data",
    "torch.utils.tensorboard": "utils.tensorboard",
}

VERSION = "2.0.0+minigrad"  # the version of PyTorch whose names are meant

INSTEAD = {
    "AdaptiveMaxPool1d": "nn.MaxPool1d with the size worked out",
    "AdaptiveMaxPool2d": "nn.MaxPool2d with the size worked out",
    "AlphaDropout": "nn.Dropout",
    "Buffer": "Module.register_buffer(name, tensor)",
    "Conv3d": "nn.Conv2d, with one axis folded into the batch",
    "DistributedSampler": "shuffle=True in the DataLoader",
    "EmbeddingBag": "nn.Embedding, then .sum(1) or .mean(1)",
    "MaxPool3d": "nn.MaxPool2d, with one axis folded into the batch",
    "ScriptModule": "the module as it is, nothing is compiled here",
    "complex": "two float tensors, for the real and the imaginary part, or torch.polar and torch.view_as_complex",
    "complex128": "torch.view_as_complex of a float64 tensor (..., 2)",
    "complex64": "torch.view_as_complex of a float32 tensor (..., 2)",
    "cpp_extension": "an op in NumPy: minigrad.autograd.Function",
    "export": "minigrad.save(model.state_dict(), path)",
    "fft": "numpy.fft on tensor.detach().numpy()",
    "fx": "minigrad.trace, which records what a run does",
    "masked": "masked_fill and where",
    "mkldnn": "the module as it is",
    "nested": "nn.utils.rnn.pad_sequence and a mask",
    "overrides": "a subclass of nn.Module",
    "package": "minigrad.save(model.state_dict(), path)",
    "quantization": "float32",
    "scatter_reduce": "scatter_add, or a loop over amax of masked_fill",
    "sparse": "dense tensors",
    "special": "the functions of torch itself and numpy",
    "stft": "Tensor.unfold for the windows and numpy.fft",
    "vmap": "a batch axis in front",
    "xpu": "device 'cpu'",
}


def missing(module: str, name: str, names: Sequence[str]) -> str:
    """What to say of ``module.name``, which is not there: who asked for it, and what to use instead.

    ``names`` are those that are there; a near one is named, unless it or what was asked for is a whole submodule.
    """
    instead = INSTEAD.get(name) or getattr(getattr(absent, name, None), "instead", None)
    if instead is None:
        names = [n for n in names if not n.startswith("_") and f"{module}.{n}" not in MODULES]
        close = difflib.get_close_matches(name, names, 1, 0.75)
        instead = f"{module}.{close[0]}" if close else None
    use = f"; use {instead}" if instead else "; docs/pytorch.md lists what is covered"
    return f"{module}.{name} is not covered by minigrad{_asked_in()}{use}"


def _asked_in() -> str:
    """The innermost line that is neither the library's nor Python's own; a notebook's cell need not lie on disk."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if is_users(file) and file != "<string>":
            line = linecache.getline(file, frame.f_lineno).strip()
            return f" (asked for in {file}, line {frame.f_lineno}{': ' if line else ''}{line})"
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
