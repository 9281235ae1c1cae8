"""Complex numbers as far as rotary positions need them: a float tensor (..., 2) of real and imaginary parts."""

from __future__ import annotations

from typing import Any

from minigrad.core.tensor import Tensor
from minigrad.torch.joining import stack

__all__ = ["is_complex", "polar", "view_as_complex", "view_as_real"]


class ComplexPairs:
    """Complex numbers (...) that ``pairs`` (..., 2) holds, in the graph where that is: made by ``view_as_complex``.

    They can be multiplied, indexed, moved about and turned back by ``view_as_real``; there is no complex dtype.
    """

    def __init__(self, pairs: Tensor) -> None:
        if pairs.ndim == 0 or pairs.shape[-1] != 2 or pairs.dtype.kind != "f":
            raise RuntimeError(f"complex numbers are made of floats (..., 2), got {pairs.shape} {pairs.dtype}")
        self.pairs = pairs

    shape = property(lambda self: self.pairs.shape[:-1])
    ndim = property(lambda self: self.pairs.ndim - 1)
    device = property(lambda self: self.pairs.device)
    requires_grad = property(lambda self: self.pairs.requires_grad)
    real = property(lambda self: self.pairs[..., 0])
    imag = property(lambda self: self.pairs[..., 1])
    is_complex = staticmethod(lambda: True)

    def dim(self) -> int:
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"complex numbers {self.shape}, real and imaginary parts {self.pairs!r}"

    def __mul__(self, other: Any) -> ComplexPairs:
        if not isinstance(other, ComplexPairs):
            return ComplexPairs(self.pairs * (other.unsqueeze(-1) if isinstance(other, Tensor) else other))
        real = self.real * other.real - self.imag * other.imag
        return ComplexPairs(stack([real, self.real * other.imag + self.imag * other.real], -1))

    __rmul__ = __mul__

    def __getitem__(self, index: Any) -> ComplexPairs:
        index = index if isinstance(index, tuple) else (index,)
        return ComplexPairs(self.pairs[(*index, slice(None)) if Ellipsis in index else index])

    def view(self, *shape: Any) -> ComplexPairs:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return ComplexPairs(self.pairs.reshape(*sizes, 2))

    reshape = view

    def unsqueeze(self, dim: int) -> ComplexPairs:
        return ComplexPairs(self.pairs.unsqueeze(dim if dim >= 0 else dim - 1))

    def transpose(self, dim0: int, dim1: int) -> ComplexPairs:
        return ComplexPairs(self.pairs.transpose(*(d if d >= 0 else d - 1 for d in (dim0, dim1))))

    def expand(self, *sizes: Any) -> ComplexPairs:
        wanted = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        return ComplexPairs(self.pairs.expand(*wanted, 2))

    def conj(self) -> ComplexPairs:
        return ComplexPairs(stack([self.real, -self.imag], -1))

    def abs(self) -> Tensor:
        return (self.real**2 + self.imag**2).sqrt()

    def detach(self) -> ComplexPairs:
        return ComplexPairs(self.pairs.detach())

    def to(self, *args: Any, device: Any = None, **_: Any) -> ComplexPairs:
        """The same: the only device is "cpu", and the precision is that of the parts."""
        self.pairs.to(*args, device=device)  # refuses another device
        return self

    def cpu(self) -> ComplexPairs:
        return self


def view_as_complex(input: Tensor) -> ComplexPairs:
    """Floats (..., 2) as complex numbers (...)."""
    return ComplexPairs(input)


def view_as_real(input: ComplexPairs) -> Tensor:
    """Complex numbers (...) as floats (..., 2): real part, imaginary part."""
    return input.pairs


def polar(abs: Tensor, angle: Tensor) -> ComplexPairs:
    """Complex numbers from their absolute value and their angle in radians, of equal shapes."""
    return ComplexPairs(stack([abs * angle.cos(), abs * angle.sin()], -1))


def is_complex(input: Any) -> bool:
    return isinstance(input, ComplexPairs)
