"""Arguments as PyTorch takes them: shapes, axes, rows and probabilities, checked and in one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Dim: TypeAlias = "int | tuple[int, ...] | list[int] | None"  # PyTorch's name for it


def axis_of(dim: Dim) -> int | tuple[int, ...] | None:
    """PyTorch takes a list of axes too; no axes at all mean all of them."""
    return tuple(dim) or None if isinstance(dim, tuple | list) else dim


def row_of(index: int | None, rows: int) -> int | None:
    """An index that may count from the end, as one that counts from 0; ValueError where there is no such row."""
    if index is not None and not -rows <= index < rows:
        raise ValueError(f"padding_idx={index} is not one of the {rows} rows of the table")
    return None if index is None else index % rows


def check_last(shape: tuple[int, ...], normalized_shape: Sequence[int]) -> None:
    """Raise ValueError unless a shape ends in the axes that are to be normalised."""
    if shape[len(shape) - len(normalized_shape) :] != tuple(normalized_shape):
        raise ValueError(f"the input must end in normalized_shape {tuple(normalized_shape)}, it has shape {shape}")


def probability(p: float) -> float:
    """The probability itself; ValueError where it is none."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")
    return p


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's older arguments ask for, where they are given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"
