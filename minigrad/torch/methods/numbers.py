"""Arithmetic on each element, comparisons, roundings, and functions of one number."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import ops
from minigrad.torch.dtypes import Number, plain, result_type
from minigrad.torch.methods.base import Base, is_tensor, public

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class Numbers(Base):
    __slots__ = ()

    @public(in_place=True)
    def add(self: Any, other: Any, *, alpha: Number = 1) -> Tensor:
        """self + alpha * other, at broadcast shape."""
        return self + other if alpha == 1 else self + other * alpha

    @public(in_place=True, also="subtract")
    def sub(self: Any, other: Any, *, alpha: Number = 1) -> Tensor:
        """self - alpha * other, at broadcast shape."""
        return self - other if alpha == 1 else self - other * alpha

    @public(in_place=True, also="multiply")
    def mul(self: Any, other: Any) -> Tensor:
        """self * other, at broadcast shape."""
        return self * other

    @public(in_place=True, also="divide")
    def div(self: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """self / other, at broadcast shape; ``rounding_mode`` "floor" or "trunc" gives whole numbers."""
        if rounding_mode is None:
            return self / other
        if rounding_mode not in ("floor", "trunc"):
            raise ValueError(f"rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
        return self // other if rounding_mode == "floor" else self._compute(divided_to_zero, other)

    @public
    def true_divide(self: Any, other: Any) -> Tensor:
        """self / other, at broadcast shape; floating for integers too."""
        return self / other

    @public(in_place=True)
    def floor_divide(self: Any, other: Any) -> Tensor:
        """self / other rounded down, at broadcast shape."""
        return self // other

    @public(in_place=True)
    def remainder(self: Any, other: Any) -> Tensor:
        """self - other * floor(self / other): it has the sign of ``other``."""
        return self % other

    def __sub__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.sub, self, other)

    def __truediv__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.div, self, other)

    def __neg__(self: Any) -> Tensor:
        return self._apply(ops.neg, self)

    @public(in_place=True)
    def log(self: Any) -> Tensor:
        return self._apply(ops.log, self._floating())

    def __radd__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.add, other, self)

    def __rsub__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.sub, other, self)

    def __rmul__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.mul, other, self)

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.div, other, self)

    def __rmatmul__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.matmul, other, self)

    def __pow__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.pow, self, other)

    def __rpow__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.pow, self._as(other, result_type(self, other)), self)

    @public(in_place=True)
    def pow(self: Any, exponent: Any) -> Tensor:
        """self to the power of ``exponent``, at broadcast shape."""
        return self**exponent

    @public(in_place=True, also="negative")
    def neg(self: Any) -> Tensor:
        """-self."""
        return -self

    @public(in_place=True, also="absolute")
    def abs(self: Any) -> Tensor:
        return self._apply(ops.abs, self)

    def __abs__(self: Any) -> Tensor:
        return self.abs()

    def __pos__(self: Any) -> Tensor:
        return self

    def __floordiv__(self: Any, other: Any) -> Tensor:
        return self._compute(whole(np.floor_divide), other)

    def __rfloordiv__(self: Any, other: Any) -> Tensor:
        return self._like(other) // self

    def __mod__(self: Any, other: Any) -> Tensor:
        check_divisor(self, other)
        return self._binary(ops.remainder, self, other)

    def __rmod__(self: Any, other: Any) -> Tensor:
        return self._binary(ops.remainder, other, self)

    def __lshift__(self: Any, other: Any) -> Tensor:
        return self._compute(np.left_shift, other)

    def __rshift__(self: Any, other: Any) -> Tensor:
        return self._compute(np.right_shift, other)

    @public(in_place=True)
    def relu(self: Any) -> Tensor:
        """max(x, 0)."""
        return self._apply(ops.relu, self)

    @public
    def maximum(self: Any, other: Any) -> Tensor:
        """The larger of the two, at broadcast shape; where they are equal, each gets half of the gradient."""
        return self._binary(ops.maximum, self, other)

    @public
    def minimum(self: Any, other: Any) -> Tensor:
        """The smaller of the two, at broadcast shape; where they are equal, each gets half of the gradient."""
        return self._binary(ops.minimum, self, other)

    @public(in_place=True)
    def expm1(self: Any) -> Tensor:
        return self._apply(ops.expm1, self._floating())

    @public(in_place=True)
    def log1p(self: Any) -> Tensor:
        return self._apply(ops.log1p, self._floating())

    @public(in_place=True)
    def erf(self: Any) -> Tensor:
        return self._apply(ops.error_function, self._floating())

    @public(in_place=True)
    def sqrt(self: Any) -> Tensor:
        return self._apply(ops.sqrt, self._floating())

    @public(in_place=True)
    def sin(self: Any) -> Tensor:
        return self._apply(ops.sin, self._floating())

    @public(in_place=True)
    def cos(self: Any) -> Tensor:
        return self._apply(ops.cos, self._floating())

    @public(in_place=True)
    def atan(self: Any) -> Tensor:
        return self._apply(ops.atan, self._floating())

    @public(in_place=True)
    def sigmoid(self: Any) -> Tensor:
        return self._apply(ops.sigmoid, self._floating())

    @public(in_place=True, also="clip")
    def clamp(self: Any, min: Any = None, max: Any = None) -> Tensor:
        if is_tensor(min) or is_tensor(max):  # bounds that have a gradient of their own
            x = self if min is None else self.where(~(self < min), min)
            return x if max is None else x.where(~(x > max), max)
        x = self._floating() if isinstance(min, float) or isinstance(max, float) else self
        return self._apply(ops.clamp, x, min=min, max=max)

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """self where the condition (bool) holds, else other."""
        mask = plain(condition)
        if mask.dtype != bool:
            raise TypeError(f"where: the condition must be bool, got {mask.dtype}: write condition != 0")
        return self._binary(ops.where, self, other, condition=mask)

    def __eq__(self: Any, other: object) -> Tensor:  # type: ignore[override]
        return self._compute(np.equal, other)

    def __ne__(self: Any, other: object) -> Tensor:  # type: ignore[override]
        return self._compute(np.not_equal, other)

    def __lt__(self: Any, other: Any) -> Tensor:
        return self._compute(np.less, other)

    def __le__(self: Any, other: Any) -> Tensor:
        return self._compute(np.less_equal, other)

    def __gt__(self: Any, other: Any) -> Tensor:
        return self._compute(np.greater, other)

    def __ge__(self: Any, other: Any) -> Tensor:
        return self._compute(np.greater_equal, other)

    def __and__(self: Any, other: Any) -> Tensor:
        return self._compute(np.bitwise_and, other)

    def __or__(self: Any, other: Any) -> Tensor:
        return self._compute(np.bitwise_or, other)

    def __xor__(self: Any, other: Any) -> Tensor:
        return self._compute(np.bitwise_xor, other)

    def __invert__(self: Any) -> Tensor:
        return self._made(~self._array)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    __hash__ = object.__hash__

    @public(in_place=True)
    def eq(self: Any, other: Any) -> Tensor:
        """Where both are equal: bools, at broadcast shape."""
        return self == other

    @public(in_place=True, also="not_equal")
    def ne(self: Any, other: Any) -> Tensor:
        """Where the two differ: bools, at broadcast shape."""
        return self != other

    @public(in_place=True, also="less")
    def lt(self: Any, other: Any) -> Tensor:
        """Where self < other: bools, at broadcast shape."""
        return self < other

    @public(in_place=True, also="less_equal")
    def le(self: Any, other: Any) -> Tensor:
        """Where self <= other: bools, at broadcast shape."""
        return self <= other

    @public(in_place=True, also="greater")
    def gt(self: Any, other: Any) -> Tensor:
        """Where self > other: bools, at broadcast shape."""
        return self > other

    @public(in_place=True, also="greater_equal")
    def ge(self: Any, other: Any) -> Tensor:
        """Where self >= other: bools, at broadcast shape."""
        return self >= other

    @public(in_place=True)
    def bitwise_and(self: Any, other: Any) -> Tensor:
        """self & other, bit by bit: integers and bools."""
        return self & other

    @public(in_place=True)
    def bitwise_or(self: Any, other: Any) -> Tensor:
        """self | other, bit by bit: integers and bools."""
        return self | other

    @public
    def bitwise_xor(self: Any, other: Any) -> Tensor:
        """self ^ other, bit by bit: integers and bools."""
        return self ^ other

    @public(in_place=True)
    def bitwise_not(self: Any) -> Tensor:
        """~self, bit by bit: integers and bools."""
        return ~self

    @public(in_place=True)
    def sign(self: Any) -> Tensor:
        """-1, 0 or 1, as each element is; no gradient flows back."""
        return self._made(ops.elementwise.sign(self._array).astype(self.dtype))

    @public(in_place=True)
    def floor(self: Any) -> Tensor:
        """The largest integer that is not above; no gradient flows back."""
        return self._made(np.floor(self._array))

    @public(in_place=True)
    def ceil(self: Any) -> Tensor:
        """The smallest integer that is not below; no gradient flows back."""
        return self._made(np.ceil(self._array))

    @public(in_place=True)
    def trunc(self: Any) -> Tensor:
        """Without what follows the point; no gradient flows back."""
        return self._made(np.trunc(self._array))

    @public(in_place=True)
    def round(self: Any, *, decimals: int = 0) -> Tensor:
        """The nearest integer, or with so many decimals; a half goes to the even side. No gradient flows back."""
        return self._made(np.round(self._array, decimals))

    @public
    def isnan(self: Any) -> Tensor:
        """Where it is not a number: bools."""
        return self._made(np.isnan(self._array))

    @public
    def isinf(self: Any) -> Tensor:
        """Where it is infinite: bools."""
        return self._made(np.isinf(self._array))

    @public
    def isfinite(self: Any) -> Tensor:
        """Where it is neither infinite nor NaN: bools."""
        return self._made(np.isfinite(self._array))

    @public
    def equal(self: Any, other: Tensor) -> bool:
        """Whether both have the same shape and elements: one Python bool."""
        return np.array_equal(self._array, other._array)

    @public
    def allclose(self: Any, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
        """Whether all of |self - other| <= atol + rtol * |other|: one Python bool."""
        return bool(np.allclose(self._array, other._array, rtol, atol, equal_nan))

    @public(in_place=True)
    def tan(self: Any) -> Tensor:
        """The tangent of angles in radians."""
        return self._apply(ops.tan, self._floating())

    @public(in_place=True)
    def sinh(self: Any) -> Tensor:
        """The hyperbolic sine, (exp(x) - exp(-x)) / 2."""
        return self._apply(ops.sinh, self._floating())

    @public(in_place=True)
    def cosh(self: Any) -> Tensor:
        """The hyperbolic cosine, (exp(x) + exp(-x)) / 2."""
        return self._apply(ops.cosh, self._floating())

    @public(in_place=True)
    def asin(self: Any) -> Tensor:
        """The angle in radians whose sine it is; NaN outside -1..1."""
        return self._apply(ops.asin, self._floating())

    @public(in_place=True)
    def acos(self: Any) -> Tensor:
        """The angle in radians whose cosine it is; NaN outside -1..1."""
        return self._apply(ops.acos, self._floating())

    @public
    def heaviside(self: Any, values: Any) -> Tensor:
        """0 below 0, 1 above, and values at 0."""
        return self._made(np.heaviside(self._array, plain(values)).astype(self.dtype))

    @public
    def fmax(self: Any, other: Any) -> Tensor:
        """The larger, or the one that is not NaN."""
        return self.where(~(self < other) & ~self.isnan(), other)

    @public
    def fmin(self: Any, other: Any) -> Tensor:
        """The smaller, or the one that is not NaN."""
        return self.where(~(self > other) & ~self.isnan(), other)

    @public
    def erfc(self: Any) -> Tensor:
        """1 - erf(x)."""
        return self._apply(ops.complementary_error_function, self._floating())

    @public
    def deg2rad(self: Any) -> Tensor:
        """Degrees as radians."""
        return self * (math.pi / 180)

    @public
    def rad2deg(self: Any) -> Tensor:
        """Radians as degrees."""
        return self * (180 / math.pi)

    @public
    def hypot(self: Any, other: Any) -> Tensor:
        """sqrt(self**2 + other**2), at broadcast shape."""
        return self._binary(ops.hypot, self, other)

    @public
    def logaddexp(self: Any, other: Any) -> Tensor:
        """log(exp(self) + exp(other)), which does not overflow."""
        return self._binary(ops.logaddexp, self, other)

    @public(in_place=True)
    def exp2(self: Any) -> Tensor:
        """2 to the power of self."""
        return self._apply(ops.exp2, self._floating())

    @public(in_place=True)
    def log2(self: Any) -> Tensor:
        """The logarithm to base 2."""
        return self._apply(ops.log2, self._floating())

    @public(in_place=True)
    def log10(self: Any) -> Tensor:
        """The logarithm to base 10."""
        return self._apply(ops.log10, self._floating())

    @public(in_place=True)
    def rsqrt(self: Any) -> Tensor:
        """1 / sqrt(self)."""
        return 1 / self.sqrt()

    @public(in_place=True)
    def square(self: Any) -> Tensor:
        """self * self."""
        return self**2

    @public(in_place=True)
    def reciprocal(self: Any) -> Tensor:
        """1 / self."""
        return 1 / self

    @public(in_place=True)
    def logit(self: Any, eps: float | None = None) -> Tensor:
        """log(x / (1 - x)); with ``eps``, x is first brought into eps..1 - eps."""
        x = self._floating() if eps is None else self._floating().clamp(eps, 1 - eps)
        return x.log() - (-x).log1p()

    @public(in_place=True)
    def lerp(self: Any, end: Any, weight: Any) -> Tensor:
        """self + weight * (end - self), which at weight 1 is the end itself."""
        if is_tensor(weight):
            return (self + weight * (end - self)).where(weight.abs() < 0.5, end - (1 - weight) * (end - self))
        return self + weight * (end - self) if builtins.abs(weight) < 0.5 else end - (1 - weight) * (end - self)

    @public(in_place=True)
    def clamp_min(self: Any, min: Any) -> Tensor:
        """At least ``min``."""
        return self.clamp(min=min)

    @public(in_place=True)
    def clamp_max(self: Any, max: Any) -> Tensor:
        """At most ``max``."""
        return self.clamp(max=max)

    @public(in_place=True)
    def fmod(self: Any, other: Any) -> Tensor:
        """The remainder with the sign of self."""
        check_divisor(self, other)
        return self._binary(ops.fmod, self, other)

    @public(in_place=True)
    def frac(self: Any) -> Tensor:
        """What follows the point, with the sign of the number."""
        return self - self.trunc()

    @public(in_place=True)
    def nan_to_num(self: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
        """NaN and infinities as numbers: 0 and the largest there are, unless told otherwise."""
        top = np.finfo(self.dtype).max if self.dtype.kind == "f" else 0
        x = self.masked_fill(self.isnan(), nan)
        x = x.masked_fill(self._made(np.isposinf(self._array)), top if posinf is None else posinf)
        return x.masked_fill(self._made(np.isneginf(self._array)), -top if neginf is None else neginf)

    @public(in_place=True)
    def logical_and(self: Any, other: Any) -> Tensor:
        """Where both are other than 0: bools, at broadcast shape."""
        return self._made(np.logical_and(self._array, plain(other)))

    @public(in_place=True)
    def logical_or(self: Any, other: Any) -> Tensor:
        """Where one of them is other than 0: bools, at broadcast shape."""
        return self._made(np.logical_or(self._array, plain(other)))

    @public
    def logical_xor(self: Any, other: Any) -> Tensor:
        """Where exactly one of them is other than 0: bools, at broadcast shape."""
        return self._made(np.logical_xor(self._array, plain(other)))

    @public(in_place=True)
    def logical_not(self: Any) -> Tensor:
        """Where it is 0: bools."""
        return self._made(np.logical_not(self._array))

    @public
    def isposinf(self: Any) -> Tensor:
        """Where it is +inf: bools."""
        return self._made(np.isposinf(self._array))

    @public
    def isneginf(self: Any) -> Tensor:
        """Where it is -inf: bools."""
        return self._made(np.isneginf(self._array))

    @public
    def isclose(self: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
        """Where |self - other| <= atol + rtol * |other|: bools, at broadcast shape."""
        return self._made(np.isclose(self._array, plain(other), rtol, atol, equal_nan))

    @public(in_place=True)
    def addcmul(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
        """self + value * tensor1 * tensor2."""
        return self + value * tensor1 * tensor2

    @public(in_place=True)
    def addcdiv(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
        """self + value * tensor1 / tensor2."""
        return self + value * (tensor1 / tensor2)

    @public(also="ger")
    def outer(self: Any, vec2: Any) -> Tensor:
        """(N,), (M,) -> (N, M)."""
        return self.unsqueeze(1) * vec2.unsqueeze(0)

    @public
    def kron(self: Any, other: Any) -> Tensor:
        """Each element of self times the whole of other, side by side: (N, M), (K, L) -> (N * K, M * L)."""
        n = max(self.ndim, other.ndim)
        x, y = (t.reshape((1,) * (n - t.ndim) + t.shape) for t in (self, other))
        x, y = (t.reshape([m for size in t.shape for m in pair(size)]) for t, pair in ((x, _before), (y, _after)))
        return (x * y).reshape([a * b for a, b in zip((x * y).shape[::2], (x * y).shape[1::2], strict=True)])

    @public
    def cross(self: Any, other: Any, dim: int = -1) -> Tensor:
        """The vector product along an axis of 3."""
        (a, b, c), (x, y, z) = self.unbind(dim), other.unbind(dim)
        parts = [b * z - c * y, c * x - a * z, a * y - b * x]
        return self._joined([part.unsqueeze(dim) for part in parts], dim)


def check_divisor(x: Any, y: Any) -> None:
    """Raise ZeroDivisionError for a zero among divisors of integers, whose quotient no integer stands for."""
    if result_type(x, y).kind != "f" and not np.all(plain(y)) and np.broadcast(plain(x), plain(y)).size:
        raise ZeroDivisionError("division of integers by 0: use .float() for infinity")


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy division with a whole result: silent about infinities and NaN, loud about integers divided by 0."""

    def run(x: Any, y: Any) -> Any:
        check_divisor(x, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            return function(x, y)

    return run


def toward_zero(x: Any, y: Any) -> Any:
    """x / y without what is behind the point; of integers, without a detour through floats."""
    if x.dtype.kind == "f":
        return np.trunc(x / y)
    down = x // y
    return down + ((down < 0) & (down * y != x))


divided_to_zero = whole(toward_zero)


def _before(size: int) -> tuple[int, int]:
    return size, 1


def _after(size: int) -> tuple[int, int]:
    return 1, size
