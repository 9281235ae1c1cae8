"""Products of matrices and vectors under PyTorch's several names, and functions of angles and hyperbolas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad import ops
from minigrad.torch.methods.base import Base, is_tensor, public

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class Products(Base):
    __slots__ = ()

    @public
    def matmul(self: Any, other: Any) -> Tensor:
        """The matrix product, (..., M, K) and (..., K, N) -> (..., M, N)."""
        return self @ other

    @public(also="bmm")
    def mm(self: Any, mat2: Any) -> Tensor:
        """The matrix product, (..., M, K) and (..., K, N) -> (..., M, N)."""
        return self @ mat2

    @public(in_place=True)
    def addmm(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
        """beta * self + alpha * mat1 @ mat2."""
        return beta * self + alpha * (mat1 @ mat2)

    @public
    def addmv(self: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
        """beta * self + alpha * mat @ vec."""
        return beta * self + alpha * (mat @ vec)

    @public
    def baddbmm(self: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
        """beta * self + alpha * batch1 @ batch2."""
        return beta * self + alpha * (batch1 @ batch2)

    @public
    def mv(self: Any, vec: Any) -> Tensor:
        """A matrix times a vector: (M, N) and (N,) -> (M,)."""
        return self @ vec

    @public
    def dot(self: Any, tensor: Any) -> Tensor:
        """The inner product of two vectors (N,)."""
        if self.ndim != 1 or tensor.ndim != 1:
            raise ValueError(f"dot needs two vectors, got shapes {self.shape} and {tensor.shape}: use @")
        return self @ tensor

    @public
    def inner(self: Any, other: Any) -> Tensor:
        """The sum of products over the last axes: (..., K), (..., K) -> all other axes of both, (N,), (N,) -> ()."""
        if self.ndim == 0 or other.ndim == 0:
            return self * other
        size = self.shape[-1]
        product = self.reshape(-1, size) @ other.reshape(-1, size).t()
        return product.reshape(*self.shape[:-1], *other.shape[:-1])

    @public(also="arctan2")
    def atan2(self: Any, other: Any) -> Tensor:
        """The angle of the points (other, self), from -pi to pi."""
        whole = not (is_tensor(other) and other.is_floating_point())
        return self._binary(ops.atan2, self._floating() if whole else self, other)

    @public(in_place=True, also="arcsinh")
    def asinh(self: Any) -> Tensor:
        """The number whose sinh it is."""
        return self._apply(ops.asinh, self._floating())

    @public(in_place=True, also="arccosh")
    def acosh(self: Any) -> Tensor:
        """The number, not negative, whose cosh it is; NaN below 1."""
        return self._apply(ops.acosh, self._floating())

    @public(in_place=True, also="arctanh")
    def atanh(self: Any) -> Tensor:
        """The number whose tanh it is; NaN beyond -1 and 1."""
        return self._apply(ops.atanh, self._floating())

    @public(in_place=True)
    def sinc(self: Any) -> Tensor:
        """sin(pi x) / (pi x), 1 at 0."""
        return self._apply(ops.sinc, self._floating())
