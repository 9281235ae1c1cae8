"""``torch.linalg``: norms, which have a gradient, and NumPy's factorizations, which have none here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """(sum |x| ** ord) ** (1 / ord) along dim, or of all elements."""
    return x.norm(ord, dim, keepdim)


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The 2-norm of all elements, or the vector norm ``ord`` along one dim; "fro" is the 2-norm."""
    if ord not in (None, "fro") and ((dim is None and A.ndim != 1) or isinstance(dim, tuple)):
        raise ValueError(f"linalg.norm: ord={ord!r} of a matrix is not covered, only 'fro'; of a vector, give one dim")
    return A.norm(2 if ord in (None, "fro") else ord, dim, keepdim)


def _of_numpy(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def compute(*tensors: Any, **settings: Any) -> Any:
        arrays = []
        for t in tensors:
            if isinstance(t, Tensor) and t.requires_grad:
                raise RuntimeError(f"linalg.{name} has no gradient in this engine: pass x.detach()")
            arrays.append(t._array if isinstance(t, Tensor) else t)
        found = function(*arrays, **settings)
        return tuple(Tensor(np.asarray(f)) for f in found) if isinstance(found, tuple) else Tensor(np.asarray(found))

    compute.__name__ = name
    compute.__doc__ = f"``numpy.linalg.{name}`` of tensors; RuntimeError for one that requires a gradient."
    return compute


det, inv, pinv, solve, matrix_rank = (
    _of_numpy(getattr(np.linalg, name), name) for name in ("det", "inv", "pinv", "solve", "matrix_rank")
)
cholesky, qr, svd, eigh = (_of_numpy(getattr(np.linalg, name), name) for name in ("cholesky", "qr", "svd", "eigh"))

__all__ = [
    "cholesky", "det", "eigh", "inv", "matrix_rank", "norm", "pinv", "qr", "solve", "svd", "vector_norm",
]  # fmt: skip
