"""Variables to differentiate by: what ``func`` and ``autograd.functional`` share.

A function is called on tensors that are new in the graph, but hang on those that they are made of: so a derivative
within a function that is differentiated itself is seen from outside. It is recorded only if somebody outside can ask.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node, state
from minigrad.core.tensor import Tensor
from minigrad.higher.again import nodes_behind, steps_to
from minigrad.higher.traced import Traced
from minigrad.torch.grad_mode import enable_grad


class _Open(threading.local):
    """The variables of the functions that are being differentiated now, in this thread."""

    nodes: set[Node] | None = None


_open = _Open()


class Level:
    """One differentiation: its variables, while the function runs and until the derivatives are there."""

    def __init__(self, connected: bool = True) -> None:
        self.recorded = state.grad_enabled and connected  # whether anybody outside may ask for a derivative
        self.variables: list[Tensor] = []
        self._mode = enable_grad()

    def __enter__(self) -> Level:
        self._mode.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._mode.__exit__()
        if _open.nodes is not None:
            _open.nodes.difference_update(x.grad_fn for x in self.variables if x.grad_fn is not None)

    def variable(self, x: Tensor) -> Tensor:
        """The tensor, new in the graph. TypeError where it is none with a floating dtype."""
        if not isinstance(x, Tensor) or x.dtype.kind != "f":
            what = f"of dtype {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise TypeError(f"only floating tensors can be differentiated by, this argument is {what}")
        parent = (x.grad_fn or x) if self.recorded and x.requires_grad else None
        array = x._array.copy()
        new = Tensor(array)
        given = {0: x._array.copy()} if parent is None else None
        new._node = Node(ops.clone, _pass_on, (parent,), x.shape, x.dtype, state.scope, given=given)
        self.variables.append(new)
        if _open.nodes is None:
            _open.nodes = set()
        _open.nodes.add(new._node)
        return new

    def asked_for(self, results: Sequence[Any]) -> bool:
        """Whether results hang on more than the variables of this level: on leaves, or on variables further out."""
        if not self.recorded:
            return False
        own = {x.grad_fn for x in self.variables}
        others = (_open.nodes or set()) - own
        roots = [x.grad_fn or x for x in results if isinstance(x, Tensor) and x.requires_grad]
        nodes = nodes_behind(roots)
        if any(isinstance(root, Tensor) for root in roots) or not others.isdisjoint(nodes):
            return True
        return any(isinstance(parent, Tensor) for node in nodes for parent in node.parents)

    def result(self, x: Any) -> Any:
        """A value as it leaves: out of the graph unless somebody outside may ask."""
        if isinstance(x, Tensor) and x.requires_grad and not self.asked_for([x]):
            return x.detach()
        return x

    def gradients(
        self, outputs: Sequence[Tensor], by: Sequence[Tensor], seeds: Sequence[Tensor], create_graph: bool | None = None
    ) -> list[Tensor]:
        """d outputs / d variables, zeros where they do not depend on them; the graph is kept."""
        pairs = [(out, seed) for out, seed in zip(outputs, seeds, strict=True) if out.requires_grad]
        create = self.asked_for([*outputs, *seeds]) if create_graph is None else create_graph
        found: dict[int, Any] = {}

        def take(key: Any, dz: Any, shared: bool) -> None:
            found[id(key)] = found[id(key)] + dz if id(key) in found else dz.copy() if shared else dz

        keys = [x.grad_fn for x in by]
        for _ in steps_to(pairs, keys, take, retain_graph=True, create_graph=create):
            pass
        grads = [found.get(id(key)) for key in keys]
        return [
            Tensor(np.zeros(x.shape, x.dtype)) if dx is None else dx.tensor if isinstance(dx, Traced) else Tensor(dx)
            for x, dx in zip(by, grads, strict=True)
        ]

    def pushed(self, outputs: Sequence[Tensor], by: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Tensor]:
        """How the outputs move where the variables move along tangents: the Jacobian times these.

        What goes back is linear in what it starts from, ``u``: its own way back is the way forward.
        """
        us = [self.variable(Tensor(np.zeros(out.shape, out.dtype))) for out in outputs]
        back = self.gradients(outputs, by, us, create_graph=True)
        return self.gradients(back, us, tangents)


def _pass_on(dz: Any) -> tuple[Any]:
    return (dz,)


def basis(x: Tensor) -> list[Tensor]:
    """The unit tensors of a shape, in row-major order."""
    found = []
    for i in range(x.numel()):
        unit = np.zeros(x.numel(), x.dtype)
        unit[i] = 1
        found.append(Tensor(unit.reshape(x.shape)))
    return found


def stacked(rows: Sequence[Tensor], front: tuple[int, ...], back: tuple[int, ...], like: Tensor) -> Tensor:
    """Rows of a Jacobian as one tensor, of the shapes of output and input together."""
    if not rows:
        return Tensor(np.zeros((*front, *back), like.dtype))
    out: Tensor = rows[0]._apply(ops.stack, *rows)
    return out.reshape(*front, *back) if front or back else out.reshape(())
