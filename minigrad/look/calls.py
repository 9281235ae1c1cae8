"""An op as it ran: what the checks note of each one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minigrad.core.graph import state
from minigrad.core.tensor import Tensor
from minigrad.look.texts import Line, inside, operand_names, user_line

C = TypeVar("C", bound="Call")


@dataclass
class Call:
    """One application of an op; ``inputs`` are the arrays themselves, numbers and None."""

    op: Callable[..., Any]
    names: list[str]  # of its inputs
    inputs: list[Any]
    wanted: list[bool]  # which inputs want a gradient
    learned: list[bool]  # which of these are leaves, such as parameters
    parameters: list[bool]  # which of these are of a class of their own, as an nn.Parameter is
    constants: dict[str, Any]
    shape: tuple[int, ...]  # of the result
    recorded: bool  # whether the graph knows it
    scope: str
    line: Line | None

    @classmethod
    def of(cls: type[C], op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor, **more: Any) -> C:
        """From what an observer is told."""
        return cls(
            op,
            operand_names(op, len(inputs)),
            [x._array if isinstance(x, Tensor) else x for x in inputs],
            [isinstance(x, Tensor) and x.requires_grad for x in inputs],
            [isinstance(x, Tensor) and x.requires_grad and x.is_leaf for x in inputs],
            [isinstance(x, Tensor) and x.requires_grad and x.is_leaf and type(x) is not Tensor for x in inputs],
            constants,
            out.shape,
            out.grad_fn is not None,
            state.scope,
            user_line(),
            **more,
        )

    def __str__(self) -> str:
        return f"{self.op.__name__}{inside(self.scope)}"

    def numbers(self) -> list[Any]:
        """The inputs that are arrays or numbers."""
        return [np.asarray(x) for x in self.inputs if isinstance(x, np.ndarray | float | int)]
