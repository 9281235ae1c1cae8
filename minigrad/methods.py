"""Tensor methods that are made of other methods: PyTorch's longer tail, so that ``tensor.py`` holds the ops alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


class Methods:
    """Base of Tensor. What has a gradient gets it from the methods it is made of; counting and sorting have none."""

    __slots__ = ()

    # What a subclass brings

    _array: Any

    @staticmethod
    def _plain(array: Any) -> Any:
        """A tensor on an array, outside the graph."""
        raise NotImplementedError

    # Numbers

    def tan(self: Any) -> Any:
        return self.sin() / self.cos()

    def sinh(self: Any) -> Any:
        return (self.exp() - (-self).exp()) / 2

    def cosh(self: Any) -> Any:
        return (self.exp() + (-self).exp()) / 2

    def asin(self: Any) -> Any:
        return (self / (1 - self * self).sqrt()).atan()

    def acos(self: Any) -> Any:
        return math.pi / 2 - self.asin()

    def heaviside(self: Any, values: Any) -> Any:
        """0 below 0, 1 above, and values at 0."""
        return self._plain(np.heaviside(self._array, _array(values)).astype(self.dtype))

    def fmax(self: Any, other: Any) -> Any:
        """The larger, or the one that is not NaN."""
        return self.where(~(self < other) & ~self.isnan(), other)

    def fmin(self: Any, other: Any) -> Any:
        """The smaller, or the one that is not NaN."""
        return self.where(~(self > other) & ~self.isnan(), other)

    def erfc(self: Any) -> Any:
        return 1 - self.erf()

    def deg2rad(self: Any) -> Any:
        return self * (math.pi / 180)

    def rad2deg(self: Any) -> Any:
        return self * (180 / math.pi)

    def hypot(self: Any, other: Any) -> Any:
        return (self * self + other * other).sqrt()

    def logaddexp(self: Any, other: Any) -> Any:
        """log(exp(self) + exp(other)), which does not overflow."""
        return self.maximum(other) + (-(self - other).abs()).exp().log1p()

    def exp2(self: Any) -> Any:
        return (self * math.log(2)).exp()

    def log2(self: Any) -> Any:
        return self.log() / math.log(2)

    def log10(self: Any) -> Any:
        return self.log() / math.log(10)

    def rsqrt(self: Any) -> Any:
        return 1 / self.sqrt()

    def square(self: Any) -> Any:
        return self**2

    def reciprocal(self: Any) -> Any:
        return 1 / self

    def logit(self: Any, eps: float | None = None) -> Any:
        x = self if eps is None else self.clamp(eps, 1 - eps)
        return (x / (1 - x)).log()

    def lerp(self: Any, end: Any, weight: Any) -> Any:
        """self + weight * (end - self)."""
        return self + weight * (end - self)

    def clamp_min(self: Any, min: Any) -> Any:
        return self.clamp(min=min)

    def clamp_max(self: Any, max: Any) -> Any:
        return self.clamp(max=max)

    def fmod(self: Any, other: Any) -> Any:
        """The remainder with the sign of self."""
        return self - (self / other).trunc().to(self.dtype) * other

    def frac(self: Any) -> Any:
        return self - self.trunc()

    def nan_to_num(self: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
        """NaN and infinities as numbers: 0 and the largest there are, unless told otherwise."""
        top = np.finfo(self.dtype).max if self.dtype.kind == "f" else 0
        x = self.masked_fill(self.isnan(), nan)
        x = x.masked_fill(self._plain(np.isposinf(self._array)), top if posinf is None else posinf)
        return x.masked_fill(self._plain(np.isneginf(self._array)), -top if neginf is None else neginf)

    def logical_and(self: Any, other: Any) -> Any:
        return self._plain(np.logical_and(self._array, _array(other)))

    def logical_or(self: Any, other: Any) -> Any:
        return self._plain(np.logical_or(self._array, _array(other)))

    def logical_xor(self: Any, other: Any) -> Any:
        return self._plain(np.logical_xor(self._array, _array(other)))

    def logical_not(self: Any) -> Any:
        return self._plain(np.logical_not(self._array))

    def isposinf(self: Any) -> Any:
        return self._plain(np.isposinf(self._array))

    def isneginf(self: Any) -> Any:
        return self._plain(np.isneginf(self._array))

    def isclose(self: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
        return self._plain(np.isclose(self._array, _array(other), rtol, atol, equal_nan))

    # Products

    def addmm(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        """beta * self + alpha * mat1 @ mat2."""
        return beta * self + alpha * (mat1 @ mat2)

    baddbmm = addmv = addmm

    def addcmul(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
        """self + value * tensor1 * tensor2."""
        return self + value * tensor1 * tensor2

    def addcdiv(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
        """self + value * tensor1 / tensor2."""
        return self + value * (tensor1 / tensor2)

    def mv(self: Any, vec: Any) -> Any:
        return self @ vec

    def dot(self: Any, tensor: Any) -> Any:
        """The inner product of two vectors (N,)."""
        if self.ndim != 1 or tensor.ndim != 1:
            raise ValueError(f"dot needs two vectors, got shapes {self.shape} and {tensor.shape}: use @")
        return self @ tensor

    inner = dot

    def outer(self: Any, vec2: Any) -> Any:
        """(N,), (M,) -> (N, M)."""
        return self.unsqueeze(1) * vec2.unsqueeze(0)

    ger = outer

    def kron(self: Any, other: Any) -> Any:
        """Each element of self times the whole of other, side by side: (N, M), (K, L) -> (N * K, M * L)."""
        n = max(self.ndim, other.ndim)
        x, y = (t.reshape((1,) * (n - t.ndim) + t.shape) for t in (self, other))
        x, y = (t.reshape([m for size in t.shape for m in pair(size)]) for t, pair in ((x, _before), (y, _after)))
        return (x * y).reshape([a * b for a, b in zip((x * y).shape[::2], (x * y).shape[1::2], strict=True)])

    def cross(self: Any, other: Any, dim: int = -1) -> Any:
        """The vector product along an axis of 3."""
        (a, b, c), (x, y, z) = self.unbind(dim), other.unbind(dim)
        parts = [b * z - c * y, c * x - a * z, a * y - b * x]
        return self._joined([part.unsqueeze(dim) for part in parts], dim)

    # Shape

    def ravel(self: Any) -> Any:
        return self.reshape(-1)

    def reshape_as(self: Any, other: Any) -> Any:
        return self.reshape(other.shape)

    def broadcast_to(self: Any, size: Sequence[int]) -> Any:
        return self.expand(size)

    def swapaxes(self: Any, axis0: int, axis1: int) -> Any:
        return self.transpose(axis0, axis1)

    swapdims = swapaxes

    def movedim(self: Any, source: Any, destination: Any) -> Any:
        """The axes ``source`` go to the places ``destination``, the others keep their order."""
        order = np.moveaxis(np.empty((0,) * self.ndim), source, destination).ndim  # checks the arguments
        sources = [s % order for s in ([source] if isinstance(source, int) else source)]
        places = [d % order for d in ([destination] if isinstance(destination, int) else destination)]
        dims = [d for d in range(order) if d not in sources]
        for place, s in sorted(zip(places, sources, strict=True)):
            dims.insert(place, s)
        return self.permute(dims)

    moveaxis = movedim

    def tile(self: Any, *dims: Any) -> Any:
        """As ``repeat``, with missing counts in front taken as 1."""
        counts = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
        return self.repeat(*(1,) * (self.ndim - len(counts)), *counts)

    def repeat_interleave(self: Any, repeats: Any, dim: int | None = None) -> Any:
        """Each element (along dim) that many times in a row."""
        x = self.reshape(-1) if dim is None else self
        dim = 0 if dim is None else dim
        index = np.repeat(np.arange(x.shape[dim]), _array(repeats))
        return x.index_select(dim, self._plain(index))

    def tensor_split(self: Any, indices_or_sections: Any, dim: int = 0) -> Any:
        """Pieces as equal as can be, or cut at the indices."""
        pieces = np.array_split(np.arange(self.shape[dim]), indices_or_sections)
        return self.split([len(piece) for piece in pieces], dim)

    def split_with_sizes(self: Any, split_sizes: Sequence[int], dim: int = 0) -> Any:
        return self.split(split_sizes, dim)

    def fliplr(self: Any) -> Any:
        return self.flip(1)

    def flipud(self: Any) -> Any:
        return self.flip(0)

    def diagonal(self: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
        """The elements (i, i + offset) of two axes, as a last axis."""
        x = self.movedim((dim1, dim2), (-2, -1))
        n = np.diagonal(np.empty(x.shape[-2:]), offset).size
        rows = np.arange(n) + max(0, -offset)
        return x[(..., self._plain(rows), self._plain(rows + offset))]

    def diag(self: Any, diagonal: int = 0) -> Any:
        """The diagonal of a matrix, or a matrix with this vector as its diagonal."""
        if self.ndim == 2:
            return self.diagonal(diagonal)
        if self.ndim != 1:
            raise ValueError(f"diag needs a vector or a matrix, got shape {self.shape}")
        n = self.shape[0] + abs(diagonal)
        places = np.arange(self.shape[0])
        flat = (places + max(0, -diagonal)) * n + places + max(0, diagonal)
        return self.new_zeros(n * n).scatter(0, self._plain(flat), self).reshape(n, n)

    def diag_embed(self: Any, offset: int = 0) -> Any:
        """Each last axis as the diagonal of a matrix: (..., N) -> (..., N, N)."""
        size = self.shape[-1] + abs(offset)
        rows = np.arange(self.shape[-1]) + max(0, -offset)
        index = self._plain(np.broadcast_to(rows * size + rows + offset, self.shape))
        return self.new_zeros(*self.shape[:-1], size * size).scatter(-1, index, self).unflatten(-1, (size, size))

    def fill_diagonal(self: Any, fill_value: float) -> Any:
        return self.masked_fill(self._plain(np.eye(*self.shape) == 1), fill_value)

    def rot90(self: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
        """A quarter turn in the plane of two axes, k times."""
        x = self
        for _ in range(k % 4):
            x = x.flip(dims[1]).transpose(*dims)
        return x

    def hsplit(self: Any, indices_or_sections: Any) -> Any:
        return self.tensor_split(indices_or_sections, 0 if self.ndim == 1 else 1)

    def vsplit(self: Any, indices_or_sections: Any) -> Any:
        return self.tensor_split(indices_or_sections, 0)

    def trace(self: Any) -> Any:
        return self.diagonal().sum()

    def diff(self: Any, n: int = 1, dim: int = -1) -> Any:
        """Each element less the one before it, n times."""
        x = self
        for _ in range(n):
            x = x.narrow(dim, 1, x.shape[dim] - 1) - x.narrow(dim, 0, x.shape[dim] - 1)
        return x

    def unfold(self: Any, dimension: int, size: int, step: int) -> Any:
        """Windows of that size along an axis, every step elements, as a last axis."""
        starts = np.arange(0, self.shape[dimension] - size + 1, step)
        windows = self.movedim(dimension, -1)[(..., self._plain(starts[:, None] + np.arange(size)))]
        return windows.movedim(-2, dimension % self.ndim)

    # Picking and placing

    def take(self: Any, index: Any) -> Any:
        """Elements of the flattened tensor."""
        return self.reshape(-1)[index]

    def take_along_dim(self: Any, indices: Any, dim: int | None = None) -> Any:
        """As ``gather``, after broadcasting; of the flattened tensor without dim."""
        if dim is None:
            return self.reshape(-1).gather(0, indices.reshape(-1))
        shape = list(np.broadcast_shapes(_without(self.shape, dim), _without(indices.shape, dim)))
        at = dim % self.ndim
        x = self.expand(*shape[:at], self.shape[dim], *shape[at:])
        return x.gather(dim, indices.expand(*shape[:at], indices.shape[dim], *shape[at:]))

    def index_add(self: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
        """Slice i of source, times alpha, added to slice index[i]."""
        return self.scatter_add(dim, self._spread(dim, index, source.shape), source * alpha)

    def index_copy(self: Any, dim: int, index: Any, source: Any) -> Any:
        """Slice i of source in place of slice index[i]."""
        return self.scatter(dim, self._spread(dim, index, source.shape), source)

    def index_fill(self: Any, dim: int, index: Any, value: float) -> Any:
        """A number in place of the slices at index."""
        shape = [*self.shape[: dim % self.ndim], index.numel(), *self.shape[dim % self.ndim + 1 :]]
        return self.scatter(dim, self._spread(dim, index, shape), value)

    def _spread(self: Any, dim: int, index: Any, shape: Sequence[int]) -> Any:
        """An index (N,) along dim for whole slices."""
        line = [1] * self.ndim
        line[dim] = -1
        return index.reshape(line).expand(shape)

    def masked_scatter(self: Any, mask: Any, source: Any) -> Any:
        """The elements of source, in order, where the mask holds."""
        places = self._plain(np.flatnonzero(np.broadcast_to(mask._array, self.shape)))
        flat = self.reshape(-1).scatter(0, places, source.reshape(-1)[: places.shape[0]])
        return flat.reshape(self.shape)

    def argwhere(self: Any) -> Any:
        return self.nonzero()

    def unique(
        self: Any,
        sorted: bool = True,
        return_inverse: bool = False,
        return_counts: bool = False,
        dim: int | None = None,
    ) -> Any:
        """The different values in order; with their places and counts where asked for."""
        found = np.unique(self._array, return_inverse=True, return_counts=True, axis=dim)
        shape = self.shape if dim is None else (self.shape[dim],)
        parts = [found[0]]
        parts += [found[1].reshape(shape)] if return_inverse else []
        parts += [found[2]] if return_counts else []
        return self._plain(parts[0]) if len(parts) == 1 else tuple(self._plain(part) for part in parts)

    def bincount(self: Any, weights: Any = None, minlength: int = 0) -> Any:
        """How often each number 0, 1, ... occurs in (N,)."""
        return self._plain(np.bincount(self._array, None if weights is None else weights._array, minlength))

    def histc(self: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
        """How many elements fall into each of equal bins from min to max (of the elements, if both are 0)."""
        low, high = (min, max) if (min, max) != (0, 0) else (self._array.min(), self._array.max())
        return self._plain(np.histogram(self._array, bins, (low, high))[0].astype(self.dtype))

    def histogram(self: Any, bins: Any = 100, range: Any = None, *, weight: Any = None, density: bool = False) -> Any:
        """How many elements fall into each bin (or their density), and the edges: bins is a number or the edges."""
        found = np.histogram(self._array, _array(bins), range, density, _array(weight))
        return tuple(self._plain(part.astype(self.dtype)) for part in found)

    def count_nonzero(self: Any, dim: Any = None) -> Any:
        return self._plain(np.asarray(np.count_nonzero(self._array, axis=dim)))

    def isin(self: Any, test_elements: Any) -> Any:
        """Whether each element is one of those."""
        return self._plain(np.isin(self._array, _array(test_elements)))

    # Reductions

    def nansum(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return self.masked_fill(self.isnan(), 0).sum(dim, keepdim)

    def nanmean(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return self.nansum(dim, keepdim) / (~self.isnan()).sum(dim, keepdim)

    def var_mean(self: Any, dim: Any = None, keepdim: bool = False, *, correction: float = 1) -> Any:
        return self.var(dim, correction=correction, keepdim=keepdim), self.mean(dim, keepdim)

    def std_mean(self: Any, dim: Any = None, keepdim: bool = False, *, correction: float = 1) -> Any:
        return self.std(dim, correction=correction, keepdim=keepdim), self.mean(dim, keepdim)

    def aminmax(self: Any, *, dim: Any = None, keepdim: bool = False) -> Any:
        return self.amin(dim, keepdim), self.amax(dim, keepdim)

    def quantile(self: Any, q: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        """The value below which a share q of the elements lies, linear between two of them."""
        x = self.reshape(-1) if dim is None else self.movedim(dim, -1)
        ordered = x.sort(-1).values
        place = np.asarray(_array(q), dtype=np.float64) * (x.shape[-1] - 1)
        low = np.floor(place).astype(np.int64)
        share = self._plain((place - low).astype(self.dtype))
        below = ordered[..., self._plain(low)]
        above = ordered[..., self._plain(np.minimum(low + 1, x.shape[-1] - 1))]
        found = below + (above - below) * share  # (..., *q.shape)
        if keepdim:
            found = found.reshape((1,) * self.ndim + found.shape) if dim is None else found.unsqueeze(dim)
        return found if place.ndim == 0 else found.movedim(-1, 0)

    def cumprod(self: Any, dim: int) -> Any:
        """z_i = x_1 * ... * x_i along an axis."""
        parts = list(self.split(1, dim))
        for i in range(1, len(parts)):
            parts[i] = parts[i - 1] * parts[i]
        return self._joined(parts, dim) if parts else self.clone()

    def cummax(self: Any, dim: int) -> Any:
        """The largest so far along an axis, and where it stands (the last of a tie)."""
        return self._extreme_so_far(dim, np.maximum)

    def cummin(self: Any, dim: int) -> Any:
        """The smallest so far along an axis, and where it stands (the last of a tie)."""
        return self._extreme_so_far(dim, np.minimum)

    def _extreme_so_far(self: Any, dim: int, extreme: Any) -> Any:
        best = extreme.accumulate(self._array, axis=dim)
        line = [1] * self.ndim
        line[dim] = -1
        places = np.where(self._array == best, np.arange(self.shape[dim]).reshape(line), 0)
        indices = self._plain(np.maximum.accumulate(places, axis=dim))
        return self.gather(dim, indices), indices

    def logcumsumexp(self: Any, dim: int) -> Any:
        """log(exp(x_1) + ... + exp(x_i)) along an axis."""
        parts = list(self.split(1, dim))
        for i in range(1, len(parts)):
            parts[i] = parts[i - 1].logaddexp(parts[i])
        return self._joined(parts, dim)

    def mode(self: Any, dim: int = -1, keepdim: bool = False) -> Any:
        """The value that comes most often along an axis (the smallest of several), and where it last stands."""
        ordered = np.sort(self._array, axis=dim)
        counts = (np.expand_dims(np.moveaxis(ordered, dim, -1), -1) == np.moveaxis(ordered, dim, -1)[..., None, :]).sum(
            -1
        )
        value = np.take_along_axis(np.moveaxis(ordered, dim, -1), counts.argmax(-1)[..., None], -1)
        hits = np.moveaxis(self._array, dim, -1) == value
        last = hits.shape[-1] - 1 - hits[..., ::-1].argmax(-1)
        indices = self._plain(np.expand_dims(last, dim))
        values = self.gather(dim, indices)
        return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))

    # Made like this one

    def new_tensor(self: Any, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        made = self._plain(np.array(_array(data), dtype=dtype or self.dtype))
        return made.requires_grad_() if requires_grad else made

    def new_full(self: Any, size: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Any:
        return self._plain(np.full(size, fill_value, dtype=dtype or self.dtype))

    def new_zeros(self: Any, *size: Any, dtype: Any = None, device: Any = None) -> Any:
        return self.new_full(_sizes(size), 0, dtype)

    def new_ones(self: Any, *size: Any, dtype: Any = None, device: Any = None) -> Any:
        return self.new_full(_sizes(size), 1, dtype)

    new_empty = new_zeros


def _before(size: int) -> tuple[int, int]:
    return size, 1


def _after(size: int) -> tuple[int, int]:
    return 1, size


def _array(value: Any) -> Any:
    return getattr(value, "_array", value)


def _sizes(size: tuple[Any, ...]) -> Any:
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size


def _without(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    at = dim % len(shape)
    return shape[:at] + shape[at + 1 :]
