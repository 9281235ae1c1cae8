"""How far apart, how alike, and how long."""

from __future__ import annotations

from minigrad.core.tensor import Tensor


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along dim, each length no less than eps."""
    x1, x2 = (x / x.norm(2, dim, keepdim=True).clamp(min=eps) for x in (x1, x2))
    return (x1 * x2).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input divided by its p-norm along dim, which is no less than eps."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)
