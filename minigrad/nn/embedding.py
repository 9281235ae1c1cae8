"""Embedding with the rest of PyTorch's options around the core's table."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core import layers
from minigrad.core.module import Parameter
from minigrad.core.tensor import Tensor, apply
from minigrad.core.written import note_write
from minigrad.torch.arguments import row_of


class Embedding(layers.Embedding):
    """A table with one vector for each id: integers (...) -> (..., embedding_dim).

    The vectors start as N(0, 1); the one of padding_idx is 0 and gets no gradient. With max_norm, the vectors that are
    looked up are first shortened to that norm, in the table. ``sparse`` is accepted, gradients are dense.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, device=device, dtype=dtype)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        _refuse_frequency(scale_grad_by_freq)
        if _weight is not None:
            if _weight.shape != (num_embeddings, embedding_dim):
                raise ValueError(f"_weight must be {(num_embeddings, embedding_dim)}, got {_weight.shape}")
            self.weight = Parameter(_weight)
        self.weight.requires_grad_(not _freeze)
        if max_norm is not None:
            self.register_forward_pre_hook(_shortened)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, **options: Any
    ) -> Embedding:
        """A table with these vectors (V, C), which stay as they are if freeze."""
        count, size = embeddings.shape
        return cls(count, size, padding_idx, _weight=embeddings, _freeze=freeze, **options)


def _shortened(layer: Embedding, inputs: tuple[Tensor, ...]) -> None:
    _shorten(layer.weight, inputs[0], layer.max_norm, layer.norm_type)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: integer ids (...), table (V, C) -> (..., C); the row padding_idx gets no gradient.

    With max_norm the rows that are looked up are first shortened to that norm, in the table itself.
    """
    _refuse_frequency(scale_grad_by_freq)
    _shorten(weight, input, max_norm, norm_type)
    return apply(ops.embedding, weight, ids=input._array, padding_idx=row_of(padding_idx, weight.shape[0]))


def _shorten(weight: Tensor, ids: Tensor, max_norm: float | None, norm_type: float) -> None:
    """Scale the rows that are looked up down to a norm, in the table."""
    if max_norm is None:
        return
    rows = np.unique(ids._array)
    norms = np.linalg.norm(weight._array[rows], norm_type, axis=-1, keepdims=True)
    weight._array[rows] *= np.where(norms > max_norm, max_norm / (norms + 1e-7), 1).astype(weight.dtype)
    note_write(weight._array)


def _refuse_frequency(scale_grad_by_freq: bool) -> None:
    if scale_grad_by_freq:
        raise ValueError("scale_grad_by_freq=True is not covered: divide weight.grad by the ids' counts after backward")
