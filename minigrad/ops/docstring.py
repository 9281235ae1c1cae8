"""The formulas of an op, which its docstring begins with: the stepper, the pages and the reference print them."""

from __future__ import annotations

from minigrad.core.op import Op


def formulas(function: Op) -> list[str]:
    """The formula lines of an op's docstring (all before the first blank line), forward first, then the gradients."""
    text, _, _ = (function.__doc__ or "").strip().partition("\n\n")
    return [line.strip() for line in text.splitlines()]
