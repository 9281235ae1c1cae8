"""``torch.nn.parallel``: wrappers for several devices, which say that there is one."""

from __future__ import annotations

from typing import Any

from minigrad.nn.module import Module


class DistributedDataParallel(Module):
    """Refused with RuntimeError: this engine trains in one process."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__}: this engine trains in one process on one CPU; use the model itself, and start the "
            "script without torchrun"
        )


class DataParallel(DistributedDataParallel):
    """Refused with RuntimeError: there is one device."""


__all__ = ["DataParallel", "DistributedDataParallel"]
