"""What a live graph tells of itself, as a record to draw: its nodes know ops, shapes and modules, its leaves values."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.graph import Node
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.core.written import saved_arrays
from minigrad.higher.again import nodes_behind
from minigrad.look.pages.picture import Record
from minigrad.look.recording import OpRecord, Summary, TensorRecord, Trace, recorded, summarize
from minigrad.look.texts import operand_names
from minigrad.nn import Module, Parameter
from minigrad.ops import Op


def record_of(root: Tensor, model: Module | None, variables: dict[str, Any]) -> Record:
    """Walk a live graph, without recursion; parameters get their names from a model, other leaves from variables.

    Of a graph that backward has released, a trace that it was recorded in tells as much. Raises ValueError for a tensor
    that no recorded op made, and for a released graph that was not recorded.
    """
    node = root.grad_fn
    if node is None:
        raise ValueError(
            "no recorded op made this tensor, so there is no graph to draw: none of its inputs has requires_grad=True, "
            "or it was computed under no_grad() or detached"
        )
    if node.backward is None:
        found = recorded(node)
        if found is not None:
            return Record.of(*found)
        raise ValueError(
            "backward() has released this graph: draw it before, pass retain_graph=True to backward(), or record the "
            "run with minigrad.trace"
        )
    walk = _Walk(model, variables)
    for made in nodes_behind([node]):
        walk.op(made)
    last = walk.trace.tensors[-1]
    last.name, last.value = walk.names.get(id(root)), summarize(root.detach().numpy())
    return Record(walk.trace, last.id, walk.trace.ops, walk.gradients)


class _Walk:
    """The record as it grows, oldest op first."""

    def __init__(self, model: Module | None, variables: dict[str, Any]) -> None:
        self.trace = Trace()
        self.gradients: dict[int, Summary] = {}
        self.numbers: dict[int, int] = {}  # id() of a node or leaf, which the graph keeps alive -> tensor id
        named = {name: value for name, value in variables.items() if isinstance(value, Tensor)}
        self.names = {id(value): name for name, value in named.items()}
        self.arrays = {id(value._array): name for name, value in named.items()}
        if model is not None:
            self.trace.modules = {
                path: type(module).__name__
                for path, module in model.named_modules()
                if path and type(module).forward is not Module.forward  # else it only holds others
            }
            self.names.update({id(parameter): name for name, parameter in model.named_parameters()})

    def op(self, node: Node) -> None:
        inputs: list[dict[str, Any]] = []
        names = operand_names(node.op, len(node.parents))
        for i, (parent, operand) in enumerate(zip(node.parents, names, strict=True)):
            if parent is None:
                inputs.append(self._constant((node.given or {}).get(i)))
                continue
            if id(parent) not in self.numbers:
                self._leaf(parent, node.scope, operand)
            inputs.append({"tensor": self.numbers[id(parent)]})
        kept = {name: _shape(array) for name, array in saved_arrays(node.backward).items()}
        keywords = _keywords(node.op)
        constants = {name: {"array": asdict(summary)} for name, summary in kept.items() if name in keywords}
        number, tensor = len(self.trace.ops), len(self.trace.tensors)
        if node.scope and not _is_type(node.scope):
            self.trace.modules.setdefault(node.scope, "")
        kind = self.trace.modules.get(node.scope, node.scope)
        formulas = ops.formulas(node.op)
        self.numbers[id(node)] = tensor
        self.trace.tensors.append(TensorRecord(tensor, "result", None, _shape(node), number))
        self.trace.ops.append(
            OpRecord(
                number, node.op.__name__, formulas, node.scope, kind, None, inputs, constants, tensor, kept
            )
        )  # fmt: skip

    def _constant(self, value: Any) -> dict[str, Any]:
        """An operand that wants no gradient, which the node keeps: an array, a number, or None."""
        if not isinstance(value, np.ndarray):
            return {"number": value.item() if isinstance(value, np.generic) else value}
        tensor = len(self.trace.tensors)
        if id(value) not in self.numbers:
            self.numbers[id(value)] = tensor
            summary = summarize(value) if value.size <= 256 else _shape(value)
            self.trace.tensors.append(TensorRecord(tensor, "constant", self.arrays.get(id(value)), summary))
        return {"tensor": self.numbers[id(value)]}

    def _leaf(self, x: Tensor, scope: str, operand: str) -> None:
        tensor = self.numbers[id(x)] = len(self.trace.tensors)
        parameter = isinstance(x, Parameter)
        name = self.names.get(id(x))
        if name is None and parameter and not operand.startswith("input "):
            name = operand if _is_type(scope) or not scope else f"{scope}.{operand}"
        value = summarize(x.detach().numpy()) if x.numel() <= 256 else _shape(x)
        self.trace.tensors.append(TensorRecord(tensor, "parameter" if parameter else "leaf", name, value))
        if x.grad is not None:
            self.gradients[tensor] = summarize(x.grad.detach().numpy())


def _shape(thing: Array | Node | Tensor) -> Summary:
    return Summary(list(thing.shape), str(thing.dtype))


@lru_cache(maxsize=256)
def _keywords(op: Op) -> set[str]:
    """What an op calls its constants."""
    parameters = inspect.signature(op).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _is_type(scope: str) -> bool:
    """Whether a scope is the type of an outermost module, which has no path."""
    return "." not in scope and scope[:1].isupper()
