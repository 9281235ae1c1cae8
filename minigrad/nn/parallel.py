"""``torch.nn.parallel``: wrappers for several devices, which say that there is one."""

from __future__ import annotations

from typing import Any

from minigrad.core.module import Module
from minigrad.speed.data_parallel import DataParallel


class DistributedDataParallel(Module):
    """Refused with RuntimeError: several processes share a batch through ``minigrad.speed.ranks``."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__}: use the model itself, and start the script without torchrun; for several "
            "processes see minigrad.speed.ranks, which works with mpiexec"
        )


__all__ = ["DataParallel", "DistributedDataParallel"]
