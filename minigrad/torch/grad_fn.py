"""What PyTorch programs ask of ``tensor.grad_fn``: a base of the graph's Node, which it does not know."""

from __future__ import annotations

import functools
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
    """Base of Node, with what errors say of it; a node can be referred to weakly."""

    __slots__ = ("__weakref__",)

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

    def __str__(self: Any) -> str:
        where = f" in {self.scope}" if self.scope else ""
        return f"{self.op.__name__}, which made {self.shape} {self.dtype}{where}"

    __repr__ = __str__

    def released(self: Any) -> RuntimeError:
        """What to say where a graph has been walked before."""
        return RuntimeError(
            f"{self}: backward has been through here already and released the arrays it needs. Pass "
            "retain_graph=True to the first backward(), or run the forward pass again; to use the value as a "
            "plain number, detach() it before."
        )

    def overwritten(self: Any, array: str) -> RuntimeError:
        """What to say where an array that backward needs is not what it was."""
        return RuntimeError(
            f"{self}: its backward needs {array}, which was changed in place after the forward pass. Change it "
            "after backward(), or work on a copy: x = x.clone()."
        )

    def check_count(self: Any, raw: Any) -> None:
        """Raise RuntimeError unless backward gave a gradient for each input; None for arguments left out may follow."""
        count = len(self.parents)
        if len(raw) < count or any(dx is not None for dx in raw[count:]):
            raise RuntimeError(f"{self}: backward gave {len(raw)} gradients for {count} inputs")


def generating(mode: Any, function: Any) -> Any:
    """A generator function that runs in a mode, such as ``no_grad``, whenever its next item is asked for."""

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        items, sent = function(*args, **kwargs), None
        while True:
            try:
                with mode():
                    item = items.send(sent)
            except StopIteration as end:
                return end.value
            sent = yield item

    return inside
