"""Picking and placing elements, and drawing at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from minigrad import ops
from minigrad.tools.random import Generator, rng
from minigrad.torch.arguments import probability
from minigrad.torch.dtypes import plain
from minigrad.torch.errors import OpValueError
from minigrad.torch.methods.base import Base, dim_of, is_tensor, public

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class Picking(Base):
    __slots__ = ()

    @public
    def gather(self: Any, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
        return self._apply(ops.gather, self, axis=dim, index=index._array)

    @public(in_place=True)
    def scatter(
        self: Any, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None
    ) -> Tensor:
        """A copy with ``src`` (a tensor or a number) put at index along dim."""
        if reduce not in (None, "add"):
            raise ValueError(f"scatter knows reduce=None and 'add', got {reduce!r}: use scatter_reduce's parts by hand")
        put = src if value is None else value
        put = put.to(self.dtype) if is_tensor(put) else self.dtype.type(put)
        return self._apply(ops.scatter, self, put, axis=dim, index=index._array, add=reduce == "add")

    @public(in_place=True)
    def scatter_add(self: Any, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with ``src`` added at index along dim; where an index comes twice, both are added."""
        return self.scatter(dim, index, src, reduce="add")

    @public
    def index_select(self: Any, dim: int, index: Tensor) -> Tensor:
        """The places along ``dim`` that a vector of integers names, in its order."""
        return self[(slice(None),) * dim_of(dim, self.ndim) + (index,)]

    @public(in_place=True)
    def tril(self: Any, diagonal: int = 0) -> Tensor:
        return self._apply(ops.tril, self, diagonal=diagonal)

    @public(in_place=True)
    def triu(self: Any, diagonal: int = 0) -> Tensor:
        return self._apply(ops.triu, self, diagonal=diagonal)

    @public(in_place=True)
    def masked_fill(self: Any, mask: Tensor, value: Any) -> Tensor:
        """A copy with a number, or the one number of a tensor, where the mask holds."""
        if is_tensor(value):
            if value.ndim:
                raise ValueError(f"masked_fill takes a number or a 0-d tensor, got shape {value.shape}: use where()")
            if value.requires_grad:
                return value.to(self.dtype).where(mask, self)
            value = value.item()
        return self._apply(ops.masked_fill, self, mask=plain(mask), value=value)

    @public
    def masked_select(self: Any, mask: Tensor) -> Tensor:
        """The elements where the mask holds, after broadcasting: (N,)."""
        shape = np.broadcast_shapes(self.shape, mask.shape)
        return self.expand(shape)[mask.expand(shape)]

    @overload
    def nonzero(self: Any, *, as_tuple: Literal[False] = False) -> Tensor: ...
    @overload
    def nonzero(self: Any, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
    @public
    def nonzero(self: Any, *, as_tuple: bool = False) -> Any:
        """Where it is not 0: one row of indices per element (N, ndim), or one index per axis."""
        return tuple(map(self._made, np.nonzero(self._array))) if as_tuple else self._made(np.argwhere(self._array))

    @public
    def take(self: Any, index: Any) -> Tensor:
        """Elements of the flattened tensor."""
        return self.reshape(-1)[index]

    @public
    def take_along_dim(self: Any, indices: Any, dim: int | None = None) -> Tensor:
        """As ``gather``, after broadcasting; of the flattened tensor without dim."""
        if dim is None:
            return self.reshape(-1).gather(0, indices.reshape(-1))
        shape = list(np.broadcast_shapes(_without(self.shape, dim), _without(indices.shape, dim)))
        at = dim % self.ndim
        x = self.expand(*shape[:at], self.shape[dim], *shape[at:])
        return x.gather(dim, indices.expand(*shape[:at], indices.shape[dim], *shape[at:]))

    @public(in_place=True)
    def index_add(self: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
        """Slice i of source, times alpha, added to slice index[i]."""
        return self.scatter_add(dim, self._spread(dim, index, source.shape), source * alpha)

    @public(in_place=True)
    def index_copy(self: Any, dim: int, index: Any, source: Any) -> Tensor:
        """Slice i of source in place of slice index[i]."""
        return self.scatter(dim, self._spread(dim, index, source.shape), source)

    @public(in_place=True)
    def index_fill(self: Any, dim: int, index: Any, value: float) -> Tensor:
        """A number in place of the slices at index."""
        if self.ndim == 0:
            return self.masked_fill(self._made(np.array(index.numel() > 0)), value)
        dim = dim_of(dim, self.ndim)
        hit = np.zeros(self.shape[dim], dtype=bool)
        hit[index._array] = True
        return self.masked_fill(self._made(hit.reshape((-1,) + (1,) * (self.ndim - dim - 1))), value)

    def _spread(self: Any, dim: int, index: Any, shape: Sequence[int]) -> Tensor:
        """An index (N,) along dim for whole slices."""
        line = [1] * self.ndim
        line[dim] = -1
        return index.reshape(line).expand(shape)

    @public(in_place=True)
    def masked_scatter(self: Any, mask: Any, source: Any) -> Tensor:
        """The elements of source, in order, where the mask holds."""
        places = self._made(np.flatnonzero(np.broadcast_to(mask._array, self.shape)))
        flat = self.reshape(-1).scatter(0, places, source.reshape(-1)[: places.shape[0]])
        return flat.reshape(self.shape)

    @public
    def argwhere(self: Any) -> Tensor:
        """The indices of the elements that are other than 0: (...) of ndim axes -> (n, ndim)."""
        return self.nonzero()

    def bernoulli(self: Any, *, generator: Generator | None = None) -> Tensor:
        """1 with the probability that each element gives, else 0."""
        return self._made((rng(generator).random(self.shape) < self._array).astype(self.dtype))

    @public
    def multinomial(
        self: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
    ) -> Tensor:
        """Draw indices with these weights: (K,) or (B, K), not negative -> (num_samples,) or (B, num_samples)."""
        weights = np.atleast_2d(self._array).astype(np.float64)
        total = weights.sum(-1, keepdims=True)
        if not np.isfinite(weights).all() or (weights < 0).any() or (total <= 0).any():
            raise OpValueError("multinomial: the weights must be finite, not negative, and not all zero")
        if not replacement and (num_samples > (weights > 0).sum(-1)).any():
            raise OpValueError(f"multinomial: fewer than {num_samples} weights are above zero; pass replacement=True")
        if replacement or num_samples == 1:
            levels = np.cumsum(weights, -1)
            top = levels[:, -1:]
            draws = np.minimum(rng(generator).random((len(weights), num_samples)) * top, np.nextafter(top, 0))
            ids = np.stack([np.searchsorted(*row, side="right") for row in zip(levels, draws, strict=True)])
        else:  # the largest of log weight + Gumbel noise are a draw without replacement (Gumbel top-k)
            noise = rng(generator).gumbel(size=weights.shape)
            with np.errstate(divide="ignore"):
                ids = np.argsort(-(np.log(weights) + noise), axis=-1, kind="stable")[:, :num_samples]
        return self._made(ids[0] if self.ndim == 1 else ids)

    def _dropout_mask(self: Any, p: float, shape: tuple[int, ...]) -> Any:
        """0 with probability p, else 1 / (1 - p), as an array of this tensor's dtype."""
        probability(p)
        mask = (rng().random(shape, dtype=np.float32) >= p).astype(self.dtype)
        if p < 1:
            mask *= 1 / (1 - p)
        return mask


def _without(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    at = dim % len(shape)
    return shape[:at] + shape[at + 1 :]
