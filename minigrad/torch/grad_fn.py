"""What PyTorch programs ask of ``tensor.grad_fn``: a base of the graph's Node, which it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minigrad.torch.printing import backward_name


@dataclass(frozen=True)
class AccumulateGrad:
    """Where a walk ends: what adds to the ``.grad`` of a leaf, ``variable``."""

    variable: Any

    next_functions = ()

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"


class GradFn:
    __slots__ = ()

    def name(self) -> str:
        """PyTorch's name for it, such as "MeanBackward0"."""
        return backward_name(self)

    @property
    def next_functions(self: Any) -> tuple[tuple[Any, int], ...]:
        """One pair for each positional argument of the op: the node that made it (an AccumulateGrad for a leaf, None
        where no gradient is wanted), and 0, as each node here has one output. Empty once the graph has been released.
        """
        ends = (p if p is None or isinstance(p, GradFn) else AccumulateGrad(p) for p in self.parents)
        return tuple((end, 0) for end in ends)
