"""Shapes, axes, pieces: elements moved and none changed."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import ops
from minigrad.core.places import ints
from minigrad.torch.arguments import Dim
from minigrad.torch.dtypes import plain
from minigrad.torch.errors import OpValueError
from minigrad.torch.methods.base import Base, dim_of, public, takes

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class Shapes(Base):
    __slots__ = ()

    def view_as(self: Any, other: Tensor) -> Tensor:
        """In the shape of another tensor."""
        return self.reshape(other.shape)

    @public
    def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from ``start_dim`` to ``end_dim`` as one."""
        if self.ndim == 0:
            return self.reshape(1)
        start, end = dim_of(start_dim, self.ndim), dim_of(end_dim, self.ndim)
        if start > end:
            raise OpValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
        return self.reshape(*self.shape[:start], math.prod(self.shape[start : end + 1]), *self.shape[end + 1 :])

    @public
    def unflatten(self: Any, dim: int, sizes: Sequence[int]) -> Tensor:
        """One axis as several, of these sizes."""
        dim = dim_of(dim, self.ndim)
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    @public
    def permute(self: Any, *axes: Any, dims: Any = ()) -> Tensor:
        return self._apply(ops.permute, self, dims=ints(axes or (dims,)))

    @public
    def t(self: Any) -> Tensor:
        """A matrix transposed, (M, N) -> (N, M); a vector as it is. ValueError for more axes."""
        if self.ndim > 2:
            raise ValueError(f"t() is for at most two axes, this has {self.ndim}: use transpose(dim0, dim1)")
        return self if self.ndim < 2 else self.transpose(0, 1)

    @property
    def T(self: Any) -> Tensor:
        """All axes in reverse order: a matrix transposed."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self: Any) -> Tensor:
        """The last two axes exchanged: (..., M, N) -> (..., N, M)."""
        return self.transpose(-2, -1)

    @public
    def squeeze(self: Any, dim: Dim = None) -> Tensor:
        return self._apply(ops.squeeze, self, axis=tuple(dim) if isinstance(dim, list) else dim)

    @public
    def unsqueeze(self: Any, dim: int) -> Tensor:
        return self._apply(ops.unsqueeze, self, axis=dim)

    def expand(self: Any, *sizes: Any, size: Any = ()) -> Tensor:
        return self._apply(ops.expand, self, shape=ints(sizes or (size,)))

    def expand_as(self: Any, other: Tensor) -> Tensor:
        """Repeated to the shape of another tensor."""
        return self.expand(other.shape)

    def repeat(self: Any, *sizes: Any, repeats: Any = ()) -> Tensor:
        """Copies side by side, sizes[i] of them along axis i."""
        counts = ints(sizes or (repeats,))
        if any(count < 0 for count in counts):
            raise OpValueError(f"repeat: counts must not be negative, got {counts}")
        x = self.reshape((1,) * (len(counts) - self.ndim) + self.shape)
        pairs = [n for count, size in zip(counts, x.shape, strict=True) for n in (count, size)]
        spread = x.reshape([n for size in x.shape for n in (1, size)]).expand(pairs)
        repeated = spread.reshape([count * size for count, size in zip(counts, x.shape, strict=True)])
        return repeated if repeated._array.flags.writeable and repeated._base() is None else repeated.clone()

    @public
    def split(self: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces of split_size along dim (the last may be smaller), or of the sizes listed."""
        dim = dim_of(dim, self.ndim)
        n = self.shape[dim]
        if isinstance(split_size, int):
            if split_size <= 0:
                raise OpValueError(f"split_size must be positive, got {split_size}")
            sizes = [min(split_size, n - start) for start in range(0, n, split_size)] or [0]
        else:
            sizes = [int(s) for s in split_size]
            if sum(sizes) != n:
                raise OpValueError(f"split sizes {sizes} sum to {sum(sizes)}, the tensor has {n} along dim {dim}")
        starts = itertools.accumulate(sizes, initial=0)  # and the end
        return tuple(self.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=False))

    @public
    def chunk(self: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most that many pieces of equal size along dim (the last may be smaller)."""
        if chunks < 1:
            raise OpValueError(f"chunks must be at least 1, got {chunks}")
        if self.shape[dim] == 0:
            return tuple(self.narrow(dim, 0, 0) for _ in range(chunks))
        return self.split(-(-self.shape[dim] // chunks), dim)

    @public
    def narrow(self: Any, dim: int, start: int, length: int) -> Tensor:
        """A piece of ``length`` along ``dim`` from ``start`` on."""
        dim, start = dim_of(dim, self.ndim), operator.index(start)
        start = start + self.shape[dim] if start < 0 else start
        if not 0 <= start <= start + length <= self.shape[dim]:
            raise OpValueError(f"narrow: {start} to {start + length} are not within the {self.shape[dim]} along {dim}")
        return self[(slice(None),) * dim + (slice(start, start + length),)]

    @public
    def select(self: Any, dim: int, index: int) -> Tensor:
        """One place along ``dim``; that axis goes."""
        return self[(slice(None),) * dim_of(dim, self.ndim) + (index,)]

    @public
    def unbind(self: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """The places along ``dim`` as a tuple of tensors, each without that axis."""
        return tuple(self.select(dim, i) for i in range(self.shape[dim]))

    @public
    def flip(self: Any, *axes: Any, dims: Any = ()) -> Tensor:
        axes = ints(axes or (dims,))
        return self._apply(ops.flip, self, axis=axes if self.ndim or not {*axes} <= {0, -1} else ())

    @public
    def roll(self: Any, shifts: Any, dims: Any = None) -> Tensor:
        return self._apply(ops.roll, self, shifts=shifts, axis=dims)

    def contiguous(self: Any, memory_format: Any = None) -> Tensor:
        """The same values in one piece of memory, in the order of the axes; itself where it is so."""
        return self if self.is_contiguous() else self.clone()

    @public
    def clone(self: Any, *, memory_format: Any = None) -> Tensor:
        """A copy with memory of its own, in the graph."""
        return self._apply(ops.clone, self)

    @public
    def ravel(self: Any) -> Tensor:
        """All elements on one axis: (...) -> (n,)."""
        return self.reshape(-1)

    def reshape_as(self: Any, other: Any) -> Tensor:
        """In the shape of another tensor."""
        return self.reshape(other.shape)

    @public
    def broadcast_to(self: Any, size: Sequence[int]) -> Tensor:
        """Repeated to a shape, as broadcasting does."""
        return self.expand(size)

    @public
    def swapaxes(self: Any, axis0: int, axis1: int) -> Tensor:
        """Two axes exchanged."""
        return self.transpose(axis0, axis1)

    @public
    def swapdims(self: Any, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged."""
        return self.transpose(dim0, dim1)

    @public(also="moveaxis")
    def movedim(self: Any, source: Any, destination: Any) -> Tensor:
        """The axes ``source`` go to the places ``destination``, the others keep their order."""
        order = np.moveaxis(np.empty((0,) * self.ndim), source, destination).ndim  # checks the arguments
        sources = [s % order for s in ([source] if isinstance(source, int) else source)]
        places = [d % order for d in ([destination] if isinstance(destination, int) else destination)]
        dims = [d for d in range(order) if d not in sources]
        for place, s in sorted(zip(places, sources, strict=True)):
            dims.insert(place, s)
        return self.permute(dims)

    @public
    def tile(self: Any, *axes: Any, dims: Any = ()) -> Tensor:
        """As ``repeat``, with missing counts in front taken as 1."""
        counts = ints(axes or (dims,))
        return self.repeat(*(1,) * (self.ndim - len(counts)), *counts)

    @public
    def repeat_interleave(self: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
        """Each element (along dim) that many times in a row."""
        x = self.reshape(-1) if dim is None else self
        dim = 0 if dim is None else dim
        index = np.repeat(np.arange(x.shape[dim]), plain(repeats))
        return x.index_select(dim, self._made(index))

    @public
    @takes(sections="indices_or_sections", indices="indices_or_sections")
    def tensor_split(self: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces as equal as can be, or cut at the indices."""
        pieces = np.array_split(np.arange(self.shape[dim]), indices_or_sections)
        return self.split([len(piece) for piece in pieces], dim)

    def split_with_sizes(self: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces of these sizes along ``dim``, as a tuple."""
        return self.split(split_sizes, dim)

    @public
    def fliplr(self: Any) -> Tensor:
        """The columns in reverse order: (M, N, ...) -> (M, N, ...)."""
        return self.flip(1)

    @public
    def flipud(self: Any) -> Tensor:
        """The rows in reverse order: (M, ...) -> (M, ...)."""
        return self.flip(0)

    @public
    def diagonal(self: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """The elements (i, i + offset) of two axes, as a last axis."""
        return self._apply(ops.diagonal, self, offset=offset, axis0=dim1, axis1=dim2)

    @public
    def diag(self: Any, diagonal: int = 0) -> Tensor:
        """The diagonal of a matrix, or a matrix with this vector as its diagonal."""
        if self.ndim == 2:
            return self.diagonal(diagonal).clone()
        if self.ndim != 1:
            raise ValueError(f"diag needs a vector or a matrix, got shape {self.shape}")
        n = self.shape[0] + abs(diagonal)
        places = np.arange(self.shape[0])
        flat = (places + max(0, -diagonal)) * n + places + max(0, diagonal)
        return self.new_zeros(n * n).scatter(0, self._made(flat), self).reshape(n, n)

    @public
    def diag_embed(self: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
        """Each last axis as the diagonal of a matrix: (..., N) -> (..., N, N), its axes at dim1 and dim2."""
        size = self.shape[-1] + abs(offset)
        rows = np.arange(self.shape[-1]) + max(0, -offset)
        index = self._made(np.broadcast_to(rows * size + rows + offset, self.shape))
        return (
            self.new_zeros(*self.shape[:-1], size * size)
            .scatter(-1, index, self)
            .unflatten(-1, (size, size))
            .movedim((-2, -1), (dim1, dim2))
        )

    @public(function=False, in_place=True)
    def fill_diagonal(self: Any, fill_value: float) -> Tensor:
        """With one number on the diagonal."""
        return self.masked_fill(self._made(np.eye(*self.shape) == 1), fill_value)

    @public
    def rot90(self: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
        """A quarter turn in the plane of two axes, k times."""
        x = self
        for _ in range(k % 4):
            x = x.flip(dims[1]).transpose(*dims)
        return x

    @public
    @takes(sections="indices_or_sections", indices="indices_or_sections")
    def hsplit(self: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
        """Split by columns: along axis 1, or along axis 0 of a vector."""
        return self.tensor_split(indices_or_sections, 0 if self.ndim == 1 else 1)

    @public
    @takes(sections="indices_or_sections", indices="indices_or_sections")
    def vsplit(self: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
        """Split by rows: along axis 0."""
        return self.tensor_split(indices_or_sections, 0)

    @public(function=False)  # minigrad.trace records a run
    def trace(self: Any) -> Tensor:
        """The sum of the diagonal: (M, N) -> ()."""
        return self.diagonal().sum()

    @public
    def diff(self: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
        """Each element less the one before it, n times; what is prepended and appended counts as elements.

        Of bools: whether they differ.
        """
        parts = [part for part in (prepend, self, append) if part is not None]
        x = self._joined(parts, dim) if len(parts) > 1 else self
        for _ in range(min(n, x.shape[dim])):
            after, before = x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, 0, x.shape[dim] - 1)
            x = after != before if x._array.dtype == np.bool_ else after - before
        return x

    def unfold(self: Any, dimension: int, size: int, step: int) -> Tensor:
        """Windows of that size along an axis, every step elements, as a last axis."""
        if self.ndim == 0:
            return self.reshape(1).unfold(0, size, step).squeeze(0)
        line = self.movedim(dimension, -1)
        windows = self._apply(ops.windows, line, size=(size,), stride=(step,), dilation=(1,))
        return windows.movedim(-2, dimension % self.ndim)

    def _repeat_heads(self: Any, heads: int) -> Tensor:
        """(..., h, S, D) -> (..., heads, S, D), each head repeated side by side: grouped queries."""
        times, rest = divmod(heads, self.shape[-3])
        if rest:
            raise ValueError(f"the {heads} heads of query must be a multiple of the {self.shape[-3]} of key and value")
        if times == 1:
            return self
        *batch, own, length, size = self.shape
        return self.unsqueeze(-3).expand(*batch, own, times, length, size).reshape(*batch, heads, length, size)
