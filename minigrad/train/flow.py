"""How gradients flow in a run, noted at every step at little cost: what the run's page draws layer by layer.

Of each matrix of weights the size of its gradient, and of some of its rows how far an update moved them, relative to
their size. Of each activation the share of units that are at work in some rows of the batch. Of each attention the
entropy of the weights of every head, for a few queries of the first example.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.core.graph import state
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.nn import Module

MATRICES = 32  # that are looked at, evenly over the layers
ROWS = 8  # of each, for the update
EXAMPLES = 32  # rows of an activation
QUERIES = 8
POINTS = 1000  # rows that are kept; of long runs each is the mean of several steps
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")


class Flow:
    """Notes one row of numbers a step: ``columns`` are "gradient NAME", "update NAME", "units NAME", "entropy NAME 0".

    ``rows`` is what is kept of them, each the mean of ``stride`` steps.
    """

    def __init__(self, model: Module) -> None:
        found = [(name, p) for name, p in model.named_parameters() if p.ndim >= 2]
        every = max(1, math.ceil(len(found) / MATRICES))
        self.weights = found[::every]
        self._paths = {path: path for path, _ in model.named_modules()}
        self.columns: list[str] = []
        self.rows: list[Array] = []
        self.stride = 1
        self._sum: Array | None = None
        self._count = 0
        self._seen: dict[str, float] = {}
        self._before: list[Array] = []
        self._outer: Any = None

    def state_dict(self) -> dict[str, Any]:
        """What was noted so far, as plain data and arrays."""
        width = len(self.columns)
        return {
            "columns": list(self.columns),
            "rows": np.array(self.rows, dtype=np.float32).reshape(len(self.rows), width),
            "stride": self.stride,
            "sum": np.zeros(width) if self._sum is None else self._sum.copy(),
            "count": self._count,
        }

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        """Go on from ``state_dict``. Raises KeyError, TypeError or ValueError for what is none."""
        columns = [str(name) for name in kept["columns"]]
        rows = np.asarray(kept["rows"], dtype=np.float32).reshape(-1, len(columns)) if columns else np.zeros((0, 0))
        self.columns, self.rows, self.stride = columns, list(rows), max(1, int(kept["stride"]))
        self._sum, self._count = np.asarray(kept["sum"], dtype=np.float64).reshape(len(columns)), int(kept["count"])

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Look at activations and attention while it lasts."""
        self._outer, state.observer = state.observer, self
        try:
            yield
        finally:
            state.observer = self._outer

    def gradients(self) -> None:
        """Note the sizes of the gradients, before they are clipped."""
        for name, p in self.weights:
            if p.grad is not None:
                g = p.grad.numpy().reshape(-1)
                self._seen[f"gradient {name}"] = math.sqrt(float(np.dot(g, g)))

    def before_update(self) -> None:
        """Keep some rows of each matrix."""
        self._before = [_some(p.detach().numpy()).copy() for _, p in self.weights]

    def after_update(self) -> None:
        """Note how far they have moved, and end the row of this step."""
        for (name, p), before in zip(self.weights, self._before, strict=True):
            moved = _some(p.detach().numpy()) - before
            size = float(np.vdot(before, before))
            self._seen[f"update {name}"] = math.sqrt(float(np.vdot(moved, moved)) / size) if size > 0 else math.nan
        self._before = []
        self._end_row()

    @property
    def of_a_share(self) -> bool:
        """It is content with what it sees of a batch that workers share, unless somebody else is watching too."""
        return self._outer is None or getattr(self._outer, "of_a_share", False)

    def __call__(self, op: Any, inputs: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        if self._outer is not None:
            self._outer(op, inputs, constants, out)
        name = op.__name__
        if name == "scaled_dot_product_attention":
            self._entropy(inputs, constants)
        elif name in ACTIVATIONS and out.ndim >= 2:
            z = out.detach().numpy()
            z = z.reshape(-1, z.shape[-1])
            works = (z[:: max(1, len(z) // EXAMPLES)] > 0).any(0)
            self._seen[f"units {self._path()}"] = float(np.count_nonzero(works)) / max(1, works.size)

    def _entropy(self, inputs: Sequence[Any], constants: dict[str, Any]) -> None:
        query, key = (x.detach().numpy() for x in inputs[:2])
        if query.ndim != 4 or inputs[3:4] not in ((), [None], (None,)):
            return
        T, S = query.shape[2], key.shape[2]
        asked = np.arange(T - 1, 0, -max(1, T // QUERIES))[::-1]  # a first token has nothing to choose from
        if not asked.size:
            return
        scale = constants.get("scale")
        q = query[0][:, asked] * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        s = q @ key[0].swapaxes(-1, -2)  # (H, Q, S)
        mask = constants.get("mask")
        if constants.get("is_causal"):
            s[:, asked[:, None] < np.arange(S)] = -np.inf
        if mask is not None:
            allowed = np.broadcast_to(mask, (*query.shape[:3], S))[0][:, asked]
            s = np.where(allowed, s, -np.inf)
        s -= np.maximum(s.max(-1, keepdims=True), -1e30)
        e = np.exp(s)
        total = e.sum(-1)
        with np.errstate(all="ignore"):
            entropy = np.log(total) - (e * np.where(e > 0, s, 0)).sum(-1) / total  # of softmax: log sum e - mean s
        path = self._path()
        for head, value in enumerate(np.nan_to_num(entropy).mean(-1)):
            self._seen[f"entropy {path} {head}"] = float(value)

    def _path(self) -> str:
        """The path of the module that is running, within the model, also where another module calls that."""
        scope = state.scope
        if scope not in self._paths:
            parts = scope.split(".")
            ends = (".".join(parts[i:]) for i in range(len(parts)))
            self._paths[scope] = next((end for end in ends if end in self._paths), scope)
        return self._paths[scope]

    def _end_row(self) -> None:
        for name in self._seen:
            if name not in self.columns:
                self.columns.append(name)
                self.rows = [np.append(row, np.float32("nan")) for row in self.rows]
                self._sum = None if self._sum is None else np.append(self._sum, math.nan)
        row = np.array([self._seen.get(name, math.nan) for name in self.columns])
        self._seen = {}
        self._sum = row if self._sum is None or not self._count else self._sum + row
        self._count += 1
        if self._count == self.stride:
            self.rows.append((self._sum / self._count).astype(np.float32))
            self._sum, self._count = None, 0
        if len(self.rows) >= 2 * POINTS:
            self.rows = [(a + b) / np.float32(2) for a, b in zip(self.rows[::2], self.rows[1::2], strict=True)]
            self.stride *= 2


def _some(x: Array) -> Array:
    """A few rows of a matrix, evenly."""
    return x[:: max(1, len(x) // ROWS)]
