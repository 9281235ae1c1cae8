"""The codes that are compared, one module each, built alike.

A module has ``VERSION`` and what of these it can do: ``trainer(config, weights) -> step(ids, targets) -> loss``,
``sampler(config, weights) -> generate(ids, tokens, cached) -> ids``, ``expression() -> run()``, ``chain(length)``.
"""

from __future__ import annotations

import os
from typing import NamedTuple

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Peer(NamedTuple):
    """One row of the tables. ``threads`` None: as the library decides."""

    name: str  # for --peer; the same name in several rows means variants, of which the better counts
    label: str
    module: str
    package: str  # for --python, and what to install
    threads: int | None = None
    variables: dict[str, str] = {}  # noqa: RUF012 - never written
    left_out: tuple[str, ...] = ()  # configs that take minutes a step or much memory: only for those who name the peer

    def environment(self) -> dict[str, str]:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if self.threads else ()
        return {**self.variables, **{name: str(self.threads) for name in names}}


def by_threads(peer: Peer) -> list[Peer]:
    """With one thread, and with one per core."""
    return [
        peer._replace(label=f"{peer.label}, {n} thread{'s' * (n > 1)}", threads=n) for n in dict.fromkeys((1, CORES))
    ]


# For the C library of Linux: big arrays from the heap, which never shrinks. NumPy code can gain much from it.
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}

PEERS = [
    Peer("minigrad", "minigrad", "ours", "minigrad", variables={"MINIGRAD_PLAIN": ""}),
    Peer("plain", "minigrad, plain ops", "ours", "minigrad", variables={"MINIGRAD_PLAIN": "1"}, left_out=("full",)),
    Peer("shared", "minigrad, a worker per core", "ours", "minigrad", variables={"SHARED": "1"}),
    Peer("fast", "minigrad with numba", "ours", "numba", variables={"MINIGRAD_FAST": "1"}, left_out=("full",)),
    Peer(
        "fast-shared",
        "minigrad with numba, a worker per core",
        "ours",
        "numba",
        variables={"MINIGRAD_FAST": "1", "SHARED": "1"},
    ),
    *by_threads(Peer("torch", "PyTorch eager", "pytorch", "torch")),
    Peer("torch-compiled", "PyTorch compiled", "pytorch_compiled", "torch", threads=CORES),
    Peer("jax", "JAX jit", "jax_jit", "jax", variables={"JAX_PLATFORMS": "cpu"}, left_out=("full",)),
    Peer("mygrad", "MyGrad", "my_grad", "mygrad", left_out=("full",)),
    Peer("mygrad-kept", "MyGrad, freed memory kept", "my_grad", "mygrad", variables=KEPT, left_out=("full",)),
    Peer("autograd", "HIPS autograd", "hips", "autograd", left_out=("full",)),
    Peer("autograd-kept", "HIPS autograd, freed memory kept", "hips", "autograd", variables=KEPT, left_out=("full",)),
    Peer("scalar", "scalars in pure Python", "scalar", "numpy", left_out=("tiny", "nano", "mid", "full")),
    *by_threads(Peer("products", "matrix products alone", "products", "numpy", left_out=("full",))),
]
NAMES = list(dict.fromkeys(peer.name for peer in PEERS))
