"""Modules of PyTorch that have no place here: they can be imported, and say at first use what to do instead."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any, NoReturn


class Absent:
    """A name that can be imported, passed round and printed, not called: that raises NotImplementedError."""

    def __init__(self, name: str, instead: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = f"Not here; instead: {instead}."
        self._instead = instead

    def __repr__(self) -> str:
        return f"<{self.__name__}, which minigrad does not have>"

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"{self.__name__} is not covered by minigrad; instead: {self._instead}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self.__name__}.{name}", self._instead)


class AbsentModule:
    """A namespace of absent names, and of a few that are plain without what the module is for."""

    def __init__(self, name: str, names: str, instead: str, **plain: Any) -> None:
        self.__doc__ = f"``{name}`` is not here; instead: {instead}."
        self.instead = instead
        for part in names.split():
            setattr(self, part, Absent(f"{name}.{part}", instead))
        self.__dict__.update(plain)


def same(function: Any = None, *_: Any, **__: Any) -> Any:
    """The function (or module) itself; without one, a decorator that gives it back."""
    return same if function is None or isinstance(function, bool | str) else function


_NOTHING_COMPILED = "call the function or the module as it is, nothing is compiled here"
_ONE_PROCESS = "the training loop in one process, or nn.DataParallel and minigrad.speed.ranks for several"

jit = AbsentModule(
    "torch.jit", "trace trace_module load save freeze fork wait", _NOTHING_COMPILED,
    script=same, ignore=same, unused=same, export=same, script_method=same, interface=same,
    is_scripting=lambda: False, is_tracing=lambda: False, annotate=lambda type, value: value,
    ScriptModule=type("ScriptModule", (), {}), ScriptFunction=type("ScriptFunction", (), {}), Final=Any,
)  # fmt: skip
onnx = AbsentModule(
    "torch.onnx", "export dynamo_export ONNXProgram ExportOptions",
    "save the state dict with torch.save, load it into PyTorch (minigrad.load gives arrays by name) and export there",
    is_in_onnx_export=lambda: False, is_onnxrt_backend_supported=lambda: False,
)  # fmt: skip
hub = AbsentModule(
    "torch.hub", "load load_state_dict_from_url download_url_to_file list help get_dir set_dir",
    "load the weights with PyTorch once and hand them over with minigrad.from_torch",
)  # fmt: skip
profiler = AbsentModule(
    "torch.profiler", "profile schedule tensorboard_trace_handler ProfilerAction supported_activities",
    "python -m cProfile script.py",
    ProfilerActivity=SimpleNamespace(CPU="cpu", CUDA="cuda"), record_function=lambda name, args=None: _named(name),
)  # fmt: skip
multiprocessing = AbsentModule(
    "torch.multiprocessing", "spawn Process Queue SimpleQueue Pool Manager Event Lock Barrier get_context",
    _ONE_PROCESS,
    set_start_method=lambda *_, **__: None, get_start_method=lambda *_, **__: "fork",
    set_sharing_strategy=lambda *_: None, freeze_support=lambda: None,
)  # fmt: skip
data_distributed = AbsentModule("torch.utils.data.distributed", "DistributedSampler", "shuffle=True in the DataLoader")
_dynamo = AbsentModule(
    "torch._dynamo", "export explain optimize", _NOTHING_COMPILED,
    config=SimpleNamespace(suppress_errors=False, cache_size_limit=8, verbose=False), disable=same, allow_in_graph=same,
    mark_dynamic=lambda *_: None, reset=lambda: None, is_compiling=lambda: False, graph_break=lambda: None,
)  # fmt: skip
accelerator = SimpleNamespace(
    __doc__="``torch.accelerator``: there is none.",
    is_available=lambda: False, device_count=lambda: 0, current_accelerator=lambda check_available=False: None,
    synchronize=lambda *_: None, current_device_index=Absent("torch.accelerator.current_device_index", "device 'cpu'"),
    set_device_index=Absent("torch.accelerator.set_device_index", "device 'cpu'"),
)  # fmt: skip
serialization = SimpleNamespace(
    __doc__="``torch.serialization``: of which classes may be unpickled; nothing ever is.",
    add_safe_globals=lambda classes: None, clear_safe_globals=lambda: None, get_safe_globals=list,
    safe_globals=lambda classes: contextlib.nullcontext(),
)  # fmt: skip


def _named(name: str) -> contextlib.AbstractContextManager[None]:
    """A block of a profile that nobody takes."""
    return contextlib.nullcontext()
