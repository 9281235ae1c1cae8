"""PyTorch's names for other hardware and other processes: what is plain on one CPU is answered, the rest refused.

The classes are namespaces; as modules they are ``torch.cuda``, ``torch.amp``, ``torch.backends`` and so on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NoReturn


def _no_device(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("there is no CUDA device: this engine runs on NumPy, its only device is 'cpu'")


def _nothing(*_: Any, **__: Any) -> None:
    """Accepted, and nothing to do on a CPU."""


class autocast(contextlib.ContextDecorator):
    """Accepted as context manager and decorator: everything is computed in the dtype it has."""

    def __init__(self, device_type: str = "cpu", dtype: Any = None, enabled: bool = True, **_: Any) -> None:
        self.device_type = device_type

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class GradScaler:
    """Passes losses and steps on unscaled: there is no half precision here that would need it."""

    def __init__(self, *_: Any, enabled: bool = True, **__: Any) -> None:
        self.enabled = enabled

    def scale(self, outputs: Any) -> Any:
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        pass

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        pass

    def get_scale(self) -> float:
        return 1.0

    def is_enabled(self) -> bool:
        return False

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class amp:
    """``torch.amp``: mixed precision, of which there is none."""

    autocast = autocast
    GradScaler = GradScaler


class cuda:
    """``torch.cuda``: no device, said by ``is_available()``."""

    amp = amp
    is_available = staticmethod(lambda: False)
    is_initialized = staticmethod(lambda: False)
    is_bf16_supported = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 0)
    manual_seed = manual_seed_all = staticmethod(_nothing)  # manual_seed() seeds all the randomness there is
    synchronize = empty_cache = reset_peak_memory_stats = init = ipc_collect = staticmethod(_nothing)
    memory_allocated = max_memory_allocated = memory_reserved = max_memory_reserved = staticmethod(lambda *_: 0)
    set_device = current_device = get_device_name = get_device_properties = get_device_capability = _no_device
    mem_get_info = Stream = Event = device = _no_device


class mps:
    """``torch.mps`` and ``torch.backends.mps``: no Apple GPU."""

    is_available = is_built = staticmethod(lambda: False)
    manual_seed = synchronize = empty_cache = staticmethod(_nothing)


class _Switches:
    """Settings of a backend: any of them can be set, none does anything."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __call__(self, *_: Any, **__: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class backends:
    """``torch.backends``: switches that can be set and do nothing here."""

    class cuda(_Switches):
        matmul = _Switches(allow_tf32=False, allow_fp16_reduced_precision_reduction=True)
        is_built = staticmethod(lambda: False)
        enable_flash_sdp = enable_mem_efficient_sdp = enable_math_sdp = staticmethod(_nothing)
        flash_sdp_enabled = mem_efficient_sdp_enabled = staticmethod(lambda: False)
        sdp_kernel = _Switches()

    cudnn = _Switches(
        enabled=False, benchmark=False, deterministic=True, allow_tf32=False, is_available=lambda: False,
        version=lambda: None,
    )  # fmt: skip
    mps = mps
    mkl = _Switches(is_available=lambda: False)
    mkldnn = _Switches(enabled=False, is_available=lambda: False)
    openmp = _Switches(is_available=lambda: False)


def _one_process(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(
        "torch.distributed is not here: start the script without torchrun (RANK and WORLD_SIZE unset); for several "
        "processes see minigrad.speed.ranks, which works with mpiexec"
    )


class distributed:
    """``torch.distributed``: answers of a process alone; several work through ``minigrad.speed.ranks``."""

    is_available = is_initialized = is_torchelastic_launched = staticmethod(lambda: False)
    get_rank = staticmethod(lambda group=None: 0)
    get_world_size = staticmethod(lambda group=None: 1)
    destroy_process_group = barrier = staticmethod(_nothing)
    init_process_group = all_reduce = all_gather = broadcast = reduce = new_group = staticmethod(_one_process)


def compile(model: Any = None, **_: Any) -> Any:
    """The model itself (or, used as ``@compile(...)``, the function): NumPy runs it as it is."""
    if model is None:
        return _same
    return model


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


set_float32_matmul_precision = use_deterministic_algorithms = _nothing

__all__ = [
    "GradScaler", "amp", "autocast", "backends", "compile", "cuda", "distributed", "mps",
    "set_float32_matmul_precision", "use_deterministic_algorithms",
]  # fmt: skip
