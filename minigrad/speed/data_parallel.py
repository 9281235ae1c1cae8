"""One batch over the cores of this machine: ``nn.DataParallel`` cuts it and joins what the shares come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.core.graph import state
from minigrad.core.module import Module
from minigrad.core.tensor import Tensor
from minigrad.nn.tensors import cat, stack
from minigrad.speed.nested import rebuilt, tensors_in
from minigrad.speed.replicas import Team
from minigrad.speed.threads import cores
from minigrad.speed.workers import possible

WORTH = 1.5e7  # weights times rows of a share, at least: some 2 ms of a core, or talking costs more than is gained


class DataParallel(Module):
    """A module whose batch is shared by the cores: each takes some rows forward and back, gradients are summed.

    Tensors among the arguments, also in tuples, lists and dicts, are cut along ``dim`` and the outputs joined along
    it; an output of no dimensions, such as a mean loss, becomes a vector with one entry per share. ``device_ids`` are
    the cores: how many counts. Left out, it is as many as are worth it, for a small batch one: this process alone.

    The shares of other cores are done by forked copies of this process (on Linux; elsewhere the module runs as it is).
    They get the weights, buffers and changed attributes of the modules at each call. What else ``forward`` reads
    (global variables, the inside of a list) they know as it was at the first call; ``close()`` ends them, and the next
    call starts them anew. What ``forward`` and hooks change, such as running means, is changed by the first share
    only. While someone watches each op (the stepper, recorded graphs, anomaly mode) the module runs as it is.

    Only one thread at a time can use it: the first one, until it ends or ``close()`` is called.

    Until ``close()`` a matrix product takes one thread, unless the environment says how many (OMP_NUM_THREADS).
    """

    def __init__(
        self, module: Module, device_ids: Sequence[int] | None = None, output_device: int | None = None, dim: int = 0
    ) -> None:
        super().__init__()
        if device_ids is not None and not len(device_ids):
            raise ValueError("device_ids is empty: name the cores, such as range(2), or leave it out for all")
        self.module = module
        self.device_ids = device_ids
        self.dim = dim
        self.__dict__["team"] = Team()

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        count = self.shares(inputs, kwargs)
        if count < 2:
            return self.module(*inputs, **kwargs)
        (own_inputs, own_kwargs), *others = _cut((inputs, kwargs), count, self.dim)
        calls = self.team.start(self.module, others)
        own = self.module(*own_inputs, **own_kwargs)
        self.team.note_attributes()
        return _join([own, *(call() for call in calls)], self.dim)

    def shares(self, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """In how many a call with these arguments is shared."""
        whole = state.observer is not None and not getattr(state.observer, "of_a_share", False)
        watched = whole or state.step_observer or state.walker  # they are to see all of the batch
        tensors = [x for x in tensors_in((inputs, kwargs)) if x.ndim]
        if not possible() or watched or not tensors:
            return 1
        rows = {x.shape[self.dim] for x in tensors}
        if len(rows) > 1:
            raise ValueError(
                f"the batch cannot be cut along dim {self.dim}: the tensors given have {sorted(rows)} rows there"
            )
        if self.device_ids is None:
            # Of token ids each is a row to the layers within; of other inputs the last axis is what a layer reads.
            places = max(x.numel() if x.dtype.kind in "iu" else x.numel() // max(x.shape[-1], 1) for x in tensors)
            wanted = min(cores(), int(places * sum(p.numel() for p in self.module.parameters()) // WORTH))
        else:
            wanted = len(self.device_ids)
        if wanted < 2:
            return 1
        (n,) = rows
        size = -(-n // wanted)  # as PyTorch's chunk cuts
        return -(-n // size) if size else 1

    def close(self) -> None:
        """End the workers, and give matrix products their threads back; the next call starts them anew."""
        self.team.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "team"}

    def __setstate__(self, found: dict[str, Any]) -> None:
        self.__dict__.update(found)
        self.__dict__["team"] = Team()


def _cut(value: Any, count: int, dim: int) -> list[Any]:
    """The value for each share: tensors in pieces along dim, also those inside; anything else whole."""
    if isinstance(value, Tensor) and value.ndim:
        return list(value.chunk(count, dim))
    if isinstance(value, dict):
        cut = {key: _cut(part, count, dim) for key, part in value.items()}
        return [{key: parts[i] for key, parts in cut.items()} for i in range(count)]
    if isinstance(value, tuple | list):
        rows = [_cut(part, count, dim) for part in value]
        return [rebuilt(value, [row[i] for row in rows]) for i in range(count)]
    return [value] * count


def _join(parts: list[Any], dim: int) -> Any:
    """One value from that of each share."""
    first = parts[0]
    if isinstance(first, Tensor):
        return cat(parts, dim) if first.ndim else stack(parts)
    if isinstance(first, dict):
        return {key: _join([part[key] for part in parts], dim) for key in first}
    if isinstance(first, tuple | list):
        return rebuilt(first, [_join(list(column), dim) for column in zip(*parts, strict=True)])
    if all(type(part) is type(first) and part == first for part in parts):
        return first
    raise TypeError(
        f"a module that shares its batch must return tensors, or the same in all shares; here a {type(first).__name__} "
        f"differs: {', '.join(map(repr, parts))}"
    )
