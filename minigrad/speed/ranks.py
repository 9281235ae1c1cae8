"""One batch over MPI ranks, each with a share of it, gradients averaged. One process alone needs no MPI.

Ranks are for several machines; on the cores of one, ``nn.DataParallel`` does the same without MPI.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.core.written import note_write
from minigrad.nn import Module
from minigrad.speed.threads import chosen_by_user, cores, set_num_threads
from minigrad.tools.extras import need
from minigrad.tools.random import default_generator

RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")  # an MPI launcher sets one of them
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
PATIENCE = 2.0  # seconds in which a mistake that all ranks make has come to all of them


class World:
    """The processes that train one model together: ``size`` of them, this one being ``rank``; rank 0 is ``main``.

    Without a communicator (of mpi4py) it is a world of one, where there is nothing to send. In a ``with`` block only
    the main rank reaches the terminal, and a rank that leaves by an exception ends them all.
    """

    def __init__(self, communicator: Any = None) -> None:
        self.communicator = communicator
        self.rank: int = 0 if communicator is None else communicator.rank
        self.size: int = 1 if communicator is None else communicator.size
        self.main = self.rank == 0
        self._buffer = np.empty(0, dtype=np.float32)

    def shard(self, *batch: Any) -> tuple[Any, ...]:
        """The rows of this rank, from arrays or tensors (B, ...): B / size of them, the first B % size ranks one more.

        Raises ValueError if there are fewer rows than ranks, or not the same number of rows in all parts.
        """
        B = len(batch[0])
        if any(len(x) != B for x in batch):
            raise ValueError(f"the parts of a batch must have the same number of rows, got {[len(x) for x in batch]}")
        if self.size > B:
            raise ValueError(f"a batch of {B} rows is too small for {self.size} ranks: each needs at least one")
        start, stop = (rank * (B // self.size) + min(rank, B % self.size) for rank in (self.rank, self.rank + 1))
        return tuple(x[start:stop] for x in batch)

    def average_gradients(
        self, parameters: Iterable[Tensor], rows: float = 1, notes: Sequence[float] = ()
    ) -> list[float]:
        """Turn every gradient into the mean over all ranks, each weighing ``rows``; returns the means of the notes.

        If the loss of a rank is a mean over so many rows (or tokens), the gradients become those of the mean over the
        whole batch. Gradients and notes travel side by side in one flat buffer, in one message per step.
        """
        if self.size == 1:
            return list(notes)
        parameters = [p for p in parameters if p.requires_grad]
        numel = sum(p.numel() for p in parameters)
        dtype = np.result_type(np.float32, *(p.dtype for p in parameters))
        if self._buffer.size != numel + len(notes) + 1 or self._buffer.dtype != dtype:
            self._buffer = np.empty(numel + len(notes) + 1, dtype=dtype)
        buffer = self._buffer
        pieces = np.split(buffer[:numel], np.cumsum([p.numel() for p in parameters])[:-1])
        for p, piece in zip(parameters, pieces, strict=True):
            if p.grad is None:
                piece[...] = 0
            else:
                np.multiply(p.grad._array.reshape(-1), rows, out=piece, dtype=dtype)
        buffer[numel:] = *notes, 1
        buffer[numel:] *= rows
        self.communicator.Allreduce(_mpi().IN_PLACE, buffer)
        for p, piece in zip(parameters, pieces, strict=True):
            if p.grad is None and piece.any():  # other ranks have one
                p.grad = Tensor(np.empty(p.shape, dtype=p.dtype))
            if p.grad is not None:
                np.divide(piece.reshape(p.shape), buffer[-1], out=p.grad._array, casting="same_kind")
                note_write(p.grad._array)
        return [float(x) for x in buffer[numel:-1] / buffer[-1]]

    @no_grad()
    def broadcast(self, model: Module) -> None:
        """Give all ranks the weights and buffers of the main one."""
        if self.size == 1:
            return
        for tensor in (*model.parameters(), *model.buffers()):
            array = np.array(tensor.detach().numpy(), order="C")
            self.communicator.Bcast(array)
            tensor.copy_(Tensor(array))
        self.barrier()

    def check_alike(self, model: Module, numbers: dict[str, int]) -> None:
        """Raise RuntimeError on all ranks where they do not train the same weights for the same number of steps.

        Each would wait for a message that never comes.
        """
        frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
        shapes = [tuple(p.shape) for p in model.parameters()]
        for name, value in {"frozen weights": frozen, "shapes of weights": shapes, **numbers}.items():
            others = self.gather(value)
            for rank, other in enumerate(others):
                if other != others[0]:
                    raise RuntimeError(
                        f"the ranks must do the same, but {name} are {_short(others[0])} in rank 0 and "
                        f"{_short(other)} in rank {rank}"
                    )

    def mean(self, values: Sequence[float]) -> float:
        """The mean over the values of all ranks, which may have different numbers of them."""
        if self.size == 1:
            return float(np.mean(values))
        total = np.array([sum(values), len(values)], dtype=np.float64)
        self.communicator.Allreduce(_mpi().IN_PLACE, total)
        return float(total[0] / total[1])

    def gather(self, value: Any) -> list[Any]:
        """The plain values of all ranks, by rank."""
        return [value] if self.size == 1 else self.communicator.allgather(value)

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            self.communicator.Barrier()

    def own_randomness(self, step: int) -> None:
        """Let this rank draw (dropout) what no other draws, and the same again whenever it does this step again.

        The main rank goes on in the stream it is in.
        """
        if not self.main:
            default_generator.numpy = np.random.default_rng([abs(default_generator.initial_seed()), step, self.rank])

    def __enter__(self) -> World:
        if self.size > 1:
            self._exits = self.communicator.Dup()  # whoever leaves must not be taken for one who averages
            self._streams = sys.stdout, sys.stderr
            if not self.main:
                sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.size == 1:
            return
        if not self.main:
            sys.stdout.close()
        sys.stdout, sys.stderr = self._streams
        failed = np.array([0 if error is None else 1])
        all_here = self._exits.Iallreduce(_mpi().IN_PLACE, failed)
        if error is None:
            all_here.Wait()
            return
        deadline = time.monotonic() + PATIENCE
        while not all_here.Test():
            if time.monotonic() > deadline:
                lines = traceback.format_exception(kind, error, trace)
                expected = isinstance(error, ValueError | OSError | RuntimeError | KeyboardInterrupt)
                print(*lines[-1:] if expected else lines, sep="", end="", file=sys.stderr)
                print(
                    f"error: rank {self.rank} of {self.size} failed alone: all are stopped", file=sys.stderr, flush=True
                )
                self.communicator.Abort(2)
            time.sleep(0.01)
        if failed[0] == self.size and not self.main and not isinstance(error, SystemExit):
            raise SystemExit(2) from error  # the main rank says it for all


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mpi() -> Any:
    return need("mpi4py.MPI")


def world() -> World:
    """The processes that ``mpiexec`` (or srun) started together; a world of one, without MPI, if none did.

    Raises RuntimeError where MPI is missing, or is another than the launcher's.
    """
    if not any(name in os.environ for name in RANKS):
        return World()
    try:
        communicator = _mpi().COMM_WORLD
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(
            f"started as one of several processes, but MPI cannot be used ({str(error).splitlines()[0]}): "
            "pip install mpi4py mpich"
        ) from error
    started = next((int(os.environ[name]) for name in SIZES if name in os.environ), communicator.size)
    if started != communicator.size:
        raise RuntimeError(
            f"mpiexec started {started} processes, but mpi4py sees {communicator.size}: they belong to different MPI "
            f"libraries, so start with the mpiexec of mpi4py's ({communicator.Get_library_version().split()[0]})"
        )
    if communicator.size == 1:
        return World()
    beside = communicator.Split_type(_mpi().COMM_TYPE_SHARED).size  # ranks on this host
    if beside > 1 and not chosen_by_user():  # or their matrix products would fight for the cores
        set_num_threads(min(cores(), max(1, (os.cpu_count() or 1) // beside)))
    return World(communicator)
