"""``minigrad.nn.utils``: work on all parameters at once, between ``backward()`` and ``step()``; padded sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.core.written import note_write
from minigrad.nn import parametrize
from minigrad.nn.packed import rnn
from minigrad.nn.parametrize import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
from minigrad.nn.tensors import cat
from minigrad.ops import Array
from minigrad.optim.rows import SMALL, held
from minigrad.torch.dtypes import get_default_dtype


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their norm is at most max_norm; returns the norm before, a 0-d tensor.

    Raises RuntimeError for a norm that is infinite or NaN if error_if_nonfinite. Pascanu et al. 2013, algorithm 1.
    """
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    tensors = [g for tensor in given if (g := tensor.grad) is not None]
    saved = [tensor._array for tensor in tensors if held(tensor)]  # whoever holds it must hear that it was written
    grads = [tensor._array for tensor in tensors]
    p, max_norm = float(norm_type), float(max_norm)
    if not grads:
        return Tensor(np.zeros((), dtype=get_default_dtype()))
    with np.errstate(all="ignore"):  # a norm that left the range is made again with care
        total = _norm(np.array([_norm(grad, p) for grad in _gathered(grads)]), p)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"the norm of the gradients is {total}, so they cannot be clipped; find the op that made it with "
            "detect_anomaly(), or pass error_if_nonfinite=False"
        )
    factor = max_norm / (total + 1e-6)
    if not factor >= 1:  # NaN goes on into the gradients, as in PyTorch
        for grad in grads:
            grad *= np.asarray(factor, grad.dtype)  # quicker than a number of Python
        for grad in saved:
            note_write(grad)
    with np.errstate(over="ignore"):
        return Tensor(np.asarray(total, dtype=grads[0].dtype))


def _gathered(grads: list[Array]) -> list[Array]:
    """The same numbers in fewer arrays: copies of small ones end to end, as calls would take longer than the work."""
    small = [grad for grad in grads if grad.size <= SMALL]
    if len(small) < 2:
        return grads
    return [*(grad for grad in grads if grad.size > SMALL), np.concatenate(small, axis=None)]


def _norm(x: Array, p: float) -> float:
    """The p-norm, also where x ** p leaves the range of the dtype."""
    if x.size == 0:
        return 0.0
    if p == math.inf:
        return float(np.abs(x).max())
    if p == 2:
        square = float(np.vdot(x, x))
        if 1e-30 < square < math.inf:
            return math.sqrt(square)
    top = float(np.abs(x).max())
    if top == 0 or not math.isfinite(top):
        return top
    return top * float(np.sum(np.abs(x / top) ** p, dtype=np.float64)) ** (1 / p)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp each element of each gradient to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for grad in _grads(parameters):
        np.clip(grad, -limit, limit, out=grad)
        note_write(grad)


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Array]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [tensor.grad._array for tensor in tensors if tensor.grad is not None]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters in one row, (N,), in the graph."""
    return cat([parameter.reshape(-1) for parameter in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the pieces of a vector (N,) into the parameters, in order."""
    parameters = list(parameters)
    needed = sum(parameter.numel() for parameter in parameters)
    if vec.shape != (needed,):
        raise ValueError(f"the parameters take a vector of shape ({needed},), got {vec.shape}")
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.copy_(vec[start:end].reshape(parameter.shape))
        start = end


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors taken as one vector, a 0-d tensor."""
    arrays = [tensor._array for tensor in ([tensors] if isinstance(tensors, Tensor) else tensors)]
    total = _norm(np.array([_norm(array, float(norm_type)) for array in arrays]), float(norm_type))
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(f"the norm of the tensors is {total}")
    return Tensor(np.asarray(total, dtype=arrays[0].dtype if arrays else get_default_dtype()))


clip_grad_norm = clip_grad_norm_  # PyTorch's name of it before it said that it writes in place

parametrizations = parametrize

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector",
    "parametrizations", "parametrize", "remove_spectral_norm", "remove_weight_norm", "rnn", "spectral_norm",
    "vector_to_parameters", "weight_norm",
]  # fmt: skip
