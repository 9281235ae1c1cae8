"""Along axes: sums and their relatives, extremes, sorting, counting."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np

from minigrad import ops
from minigrad.core.loss import check_classes, one_hot
from minigrad.core.op import Array, Op
from minigrad.torch.arguments import Dim, axis_of
from minigrad.torch.dtypes import plain
from minigrad.torch.errors import OpTypeError, OpValueError
from minigrad.torch.methods.base import Base, is_tensor, public

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class ValuesIndices(NamedTuple):
    """What a reduction that also finds the place returns: the values, and their indices along the axis."""

    values: Tensor
    indices: Tensor


F = TypeVar("F", bound=Callable[..., Any])


def also_of_a_number(method: F) -> F:
    """Let a method that works along ``dim`` take a tensor without axes, as a line of one element, as PyTorch does."""
    parameters = inspect.signature(method).parameters
    place, default = [*parameters].index("dim") - 1, parameters["dim"].default

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.ndim or (args[place] if len(args) > place else kwargs.get("dim", default)) not in (0, -1):
            return method(self, *args, **kwargs)
        found = method(self.reshape(1), *args, **kwargs)
        parts = found if isinstance(found, tuple) else (found,)
        parts = tuple(part.reshape(()) if part.shape == (1,) else part for part in parts)
        return ValuesIndices(*parts) if isinstance(found, ValuesIndices) else parts if len(parts) > 1 else parts[0]

    return run  # type: ignore[return-value]


class Reductions(Base):
    __slots__ = ()

    @public
    def any(self: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether any element is other than 0, along ``dim`` or of all: bools (of uint8: uint8)."""
        return self._truth(np.any, dim, keepdim)

    @public
    def all(self: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether all elements are other than 0, along ``dim`` or of all: bools (of uint8: uint8)."""
        return self._truth(np.all, dim, keepdim)

    def _truth(self: Any, find: Callable[..., Any], dim: Dim, keepdim: bool) -> Tensor:
        found = find(self._array, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim)
        return self._made(found.astype(np.uint8) if self._array.dtype == np.uint8 else found)

    @public
    @also_of_a_number
    def var(
        self: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
    ) -> Tensor:
        """The mean squared distance from the mean; divided by n - ``correction``."""
        return self._spread_along(ops.var, dim, unbiased, keepdim, correction)

    @public
    @also_of_a_number
    def std(
        self: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
    ) -> Tensor:
        """The square root of the variance, see ``var``."""
        return self._spread_along(ops.std, dim, unbiased, keepdim, correction)

    def _spread_along(self: Any, op: Op, dim: Any, unbiased: bool, keepdim: bool, correction: float | None) -> Tensor:
        if self.dtype.kind != "f":
            raise OpTypeError(f"{op.__name__}() of {self.dtype}: use .float().{op.__name__}()")
        if isinstance(dim, bool):  # var(False) means var(unbiased=False)
            dim, unbiased = None, dim
        correction = int(unbiased) if correction is None else correction
        return self._apply(op, self, axis=axis_of(dim), correction=correction, keepdims=keepdim)

    @public
    def prod(self: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return self._apply(ops.prod, self._summed(dtype), axis=dim, keepdims=keepdim)

    @public
    def logsumexp(self: Any, dim: Dim, keepdim: bool = False) -> Tensor:
        return self._apply(ops.logsumexp, self._floating(), axis=axis_of(dim), keepdims=keepdim)

    @public(in_place=True)
    def cumsum(self: Any, dim: int, *, dtype: Any = None) -> Tensor:
        return self._apply(ops.cumsum, self._summed(dtype), axis=dim)

    @public
    def norm(self: Any, p: Any = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """(sum |x| ** p) ** (1 / p); "fro" is p = 2."""
        if self.dtype.kind != "f":
            raise OpTypeError(f"norm() of {self.dtype}: use .float().norm()")
        if p not in ("fro", None) and not isinstance(p, int | float):
            raise ValueError(f"norm knows p = a number or 'fro', got {p!r}")
        p = 2 if p in ("fro", None) else p
        return self._apply(ops.norm, self, p=p, axis=axis_of(dim), keepdims=keepdim)

    @public
    def amax(self: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The largest along dim; ties share the gradient evenly."""
        return self._apply(ops.max, self, axis=axis_of(dim), keepdims=keepdim)

    @public
    def amin(self: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The smallest along dim; ties share the gradient evenly."""
        return self._apply(ops.min, self, axis=axis_of(dim), keepdims=keepdim)

    @overload
    def max(self: Any, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def max(self: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
    @public
    def max(self: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        """Of all elements (ties share the gradient); with dim, values and indices (the first of a tie gets it all)."""
        other = dim if is_tensor(dim) else other
        if other is not None:
            return self.maximum(other)
        return self.amax() if dim is None else self._extreme(np.argmax, dim, keepdim)

    @overload
    def min(self: Any, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def min(self: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
    @public
    def min(self: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        """Of all elements (ties share the gradient); with dim, values and indices (the first of a tie gets it all)."""
        other = dim if is_tensor(dim) else other
        if other is not None:
            return self.minimum(other)
        return self.amin() if dim is None else self._extreme(np.argmin, dim, keepdim)

    def _extreme(self: Any, find: Callable[..., Any], dim: int, keepdim: bool) -> ValuesIndices:
        if self.ndim == 0:
            return ValuesIndices(self, self._made(np.zeros((), dtype=np.int64)))
        indices = self._made(find(self._array, axis=dim, keepdims=True))
        values = self.gather(dim, indices)
        return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(dim), indices.squeeze(dim))

    @overload
    def median(self: Any, dim: None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def median(self: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
    @public
    @also_of_a_number
    def median(self: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        """The middle element (the lower of two; NaN if there is one), of all, or along dim with its index."""
        if dim is None:
            if self.numel() == 0 and self.is_floating_point():
                return self._made(np.array(np.nan, self.dtype))
            return self.reshape(-1).median(0).values
        if self.shape[dim] == 0:
            raise OpValueError(f"median: there is no middle of {tuple(self.shape)} along dim {dim}")
        middle = _kth((self.shape[dim] - 1) // 2)

        def find(x: Array, axis: int, keepdims: bool) -> Any:
            bad = np.isnan(x)
            return np.where(bad.any(axis, keepdims=True), bad.argmax(axis, keepdims=True), middle(x, axis, keepdims))

        return self._extreme(find, dim, keepdim)

    @public
    def kthvalue(self: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
        """The k-th smallest along dim, counted from 1, and its index."""
        return self._extreme(_kth(k - 1), dim, keepdim)

    @public
    def argmax(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the largest element is, along ``dim`` or of all: integers, the first of equal ones."""
        return self._made(np.argmax(self._array, axis=dim, keepdims=keepdim))

    @public
    def argmin(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the smallest element is, along ``dim`` or of all: integers, the first of equal ones."""
        return self._made(np.argmin(self._array, axis=dim, keepdims=keepdim))

    @public
    def argsort(self: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """The indices that sort along ``dim``."""
        return self._made(_order(self._array, dim, descending))

    @public
    def sort(self: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
        """Sorted along ``dim``: (values, indices)."""
        if self.ndim == 0:
            return ValuesIndices(self, self._made(np.zeros((), dtype=np.int64)))
        indices = self.argsort(dim, descending)
        return ValuesIndices(self.gather(dim, indices), indices)

    @public
    @also_of_a_number
    def topk(self: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
        """The k largest (or smallest) along dim, best first, and where they stand."""
        if self.ndim and not 0 <= k <= self.shape[dim]:
            raise OpValueError(f"topk: k={k} is not between 0 and the {self.shape[dim]} elements along dim {dim}")
        indices = self._made(np.take(_order(self._array, dim, largest), range(k), axis=dim))
        return ValuesIndices(self.gather(dim, indices), indices)

    @public
    def nansum(self: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The sum without the elements that are NaN."""
        return self.masked_fill(self.isnan(), 0).sum(dim, keepdim)

    @public
    def nanmean(self: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The mean of the elements that are not NaN."""
        return self.nansum(dim, keepdim) / (~self.isnan()).sum(dim, keepdim)

    @public
    def var_mean(
        self: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """(variance, mean)."""
        axis = None if isinstance(dim, bool) else dim
        return self.var(dim, unbiased, keepdim, correction=correction), self.mean(axis, keepdim)

    @public
    def std_mean(
        self: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """(standard deviation, mean)."""
        axis = None if isinstance(dim, bool) else dim
        return self.std(dim, unbiased, keepdim, correction=correction), self.mean(axis, keepdim)

    @public
    def aminmax(self: Any, *, dim: Any = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
        """(smallest, largest), along ``dim`` or of all."""
        return self.amin(dim, keepdim), self.amax(dim, keepdim)

    @public
    def quantile(
        self: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Tensor:
        """The value below which a share q of the elements lies; NaN where there is one among them.

        Between two of them: "linear", or "lower", "higher", "nearest", "midpoint".
        """
        if interpolation not in _BETWEEN:
            raise ValueError(f"interpolation must be one of {', '.join(_BETWEEN)}, got {interpolation!r}")
        x = self.reshape(-1) if dim is None else self.movedim(dim, -1)
        ordered = x.sort(-1).values
        place = np.asarray(plain(q), dtype=np.float64) * (x.shape[-1] - 1)
        low = np.floor(place).astype(np.int64)
        share = self._made(_BETWEEN[interpolation](place - low).astype(self.dtype))
        below = ordered[..., self._made(low)]
        above = ordered[..., self._made(np.minimum(low + 1, x.shape[-1] - 1))]
        found = below + (above - below) * share  # (..., *q.shape)
        bad = self._made(np.isnan(x._array).any(-1))  # a NaN sorts last, and would not be met
        found = found.masked_fill(bad.reshape(bad.shape + (1,) * place.ndim), np.nan)
        if keepdim:
            found = found.reshape((1,) * self.ndim + found.shape) if dim is None else found.unsqueeze(dim)
        return found if place.ndim == 0 else found.movedim(-1, 0)

    @public(in_place=True)
    def cumprod(self: Any, dim: int, *, dtype: Any = None) -> Tensor:
        """z_i = x_1 * ... * x_i along an axis."""
        x = self._summed(dtype)
        if x.ndim == 0 or x.numel() == 0:
            return x.clone()
        parts = list(x.split(1, dim))
        for i in range(1, len(parts)):
            parts[i] = parts[i - 1] * parts[i]
        return self._joined(parts, dim)

    @public
    @also_of_a_number
    def cummax(self: Any, dim: int) -> ValuesIndices:
        """The largest so far along an axis, and where it stands (the last of a tie)."""
        return self._extreme_so_far(dim, np.maximum)

    @public
    @also_of_a_number
    def cummin(self: Any, dim: int) -> ValuesIndices:
        """The smallest so far along an axis, and where it stands (the last of a tie)."""
        return self._extreme_so_far(dim, np.minimum)

    def _extreme_so_far(self: Any, dim: int, extreme: Any) -> ValuesIndices:
        best = extreme.accumulate(self._array, axis=dim)
        line = [1] * self.ndim
        line[dim] = -1
        hits = (self._array == best) | (self._array != self._array)  # a NaN stays
        places = np.where(hits, np.arange(self.shape[dim]).reshape(line), 0)
        indices = self._made(np.maximum.accumulate(places, axis=dim))
        return ValuesIndices(self.gather(dim, indices), indices)

    @public
    @also_of_a_number
    def logcumsumexp(self: Any, dim: int) -> Tensor:
        """log(exp(x_1) + ... + exp(x_i)) along an axis."""
        return self._apply(ops.logcumsumexp, self._floating(), axis=dim)

    @public
    @also_of_a_number
    def mode(self: Any, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
        """The value that comes most often along an axis (the smallest of several), and where it last stands."""
        ordered = np.sort(self._array, axis=dim)
        counts = (np.expand_dims(np.moveaxis(ordered, dim, -1), -1) == np.moveaxis(ordered, dim, -1)[..., None, :]).sum(
            -1
        )
        value = np.take_along_axis(np.moveaxis(ordered, dim, -1), counts.argmax(-1)[..., None], -1)
        hits = np.moveaxis(self._array, dim, -1) == value
        last = hits.shape[-1] - 1 - hits[..., ::-1].argmax(-1)
        indices = self._made(np.expand_dims(last, dim))
        values = self.gather(dim, indices)
        return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(dim), indices.squeeze(dim))

    @public
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
        return self._made(parts[0]) if len(parts) == 1 else tuple(self._made(part) for part in parts)

    @public
    def bincount(self: Any, weights: Any = None, minlength: int = 0) -> Tensor:
        """How often each number 0, 1, ... occurs in (N,)."""
        return self._made(np.bincount(self._array, None if weights is None else weights._array, minlength))

    @public
    def histc(self: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
        """How many elements fall into each of equal bins from min to max (of the elements, if both are 0)."""
        low, high = (min, max) if (min, max) != (0, 0) else (self._array.min(), self._array.max())
        return self._made(np.histogram(self._array, bins, (low, high))[0].astype(self.dtype))

    @public
    def histogram(
        self: Any, bins: Any = 100, range: Any = None, *, weight: Any = None, density: bool = False
    ) -> tuple[Tensor, Tensor]:
        """How many elements fall into each bin (or their density), and the edges: bins is a number or the edges."""
        counts, edges = np.histogram(self._array, plain(bins), range, density, plain(weight))
        return self._made(counts.astype(self.dtype)), self._made(edges.astype(self.dtype))

    @public
    def count_nonzero(self: Any, dim: Any = None) -> Tensor:
        """How many elements are other than 0."""
        return self._made(np.asarray(np.count_nonzero(self._array, axis=dim)))

    @public
    def isin(self: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
        """Whether each element is one of those, or with invert is none of them."""
        return self._made(np.isin(self._array, plain(test_elements), assume_unique, invert))

    @public
    def log_softmax(self: Any, dim: int, dtype: Any = None) -> Tensor:
        return self._apply(ops.log_softmax, self._floating(dtype), axis=dim)

    def _soft_cross_entropy(
        self: Any, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, reduction: str
    ) -> Tensor:
        """Cross-entropy whose targets are, or become, probabilities: label smoothing, weights for the classes."""
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
        scale = None if weight is None else weight._constant("weight")
        axis, count, keep = check_classes(self._array), None, None
        if target._array.dtype.kind != "f":  # class indices: one-hot rows, zeros for those that do not count
            wanted, keep = one_hot(self._array, target._array, axis, ignore_index)
            per_class = wanted if scale is None else wanted * scale.reshape((-1,) + (1,) * (wanted.ndim - axis - 1))
            target, count, keep = self._made(wanted), per_class.sum(), np.expand_dims(keep, axis)
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / max(self.shape[axis], 1)
            target = target if keep is None else target.where(self._made(keep), 0.0)
        return self._apply(ops.soft_cross_entropy, self, target, weight=scale, count=count, reduction=reduction)


_BETWEEN: dict[str, Callable[[Any], Any]] = {  # a share of the way from one element to the next -> how far to go
    "linear": lambda share: share,
    "lower": np.zeros_like,
    "higher": np.ceil,
    "nearest": np.round,
    "midpoint": lambda share: np.where(share > 0, 0.5, 0.0),
}


def _order(x: Array, dim: int, descending: bool) -> Array:
    """What puts the elements along dim in order, equal ones as they stand, NaN counting as the largest."""
    if x.ndim == 0:
        return np.zeros((), dtype=np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    last = x.shape[dim] - 1  # backwards twice: equal elements keep their order
    return np.flip(last - np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)


def _kth(k: int) -> Callable[..., Any]:
    def find(x: Array, axis: int, keepdims: bool) -> Array:
        return np.take(np.argsort(x, axis=axis, kind="stable"), [k], axis=axis)

    return find
