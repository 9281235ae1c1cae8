"""Recurrent networks: RNN, GRU and LSTM over whole sequences, and their cells for one step at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.packed import PackedSequence
from minigrad.nn.tensors import cat, empty, stack, zeros


def _checked(nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    return nonlinearity


def _rnn_step(gates: Tensor, hidden: Tensor, weight_hh: Tensor, bias_hh: Tensor | None, nonlinearity: str) -> Tensor:
    """The input's part (B, H) and the state (B, H) -> the next state (B, H)."""
    x = gates + F.linear(hidden, weight_hh, bias_hh)
    return x.tanh() if nonlinearity == "tanh" else x.relu()


def _gru_step(gates: Tensor, hidden: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """The input's part of the gates (B, 3H) and the state (B, H) -> the next state (B, H)."""
    size = hidden.shape[-1]
    input_r, input_z, input_n = gates.split(size, dim=-1)
    hidden_r, hidden_z, hidden_n = F.linear(hidden, weight_hh, bias_hh).split(size, dim=-1)
    reset = (input_r + hidden_r).sigmoid()
    update = (input_z + hidden_z).sigmoid()
    new = (input_n + reset * hidden_n).tanh()
    return new + update * (hidden - new)


def _lstm_step(
    gates: Tensor, hidden: Tensor, cell: Tensor, weight_hh: Tensor, bias_hh: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The input's part of the gates (B, 4H) and both states (B, H) -> the next states (B, H)."""
    size = hidden.shape[-1]
    i, f, g, o = (gates + F.linear(hidden, weight_hh, bias_hh)).split(size, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _steps(x: Tensor) -> list[Tensor]:
    """x[0], x[1], ...: halves of halves, so that backward fills log2 T arrays as large as x instead of T."""
    length = x.shape[0]
    if length == 1:
        return [x.squeeze(0)]
    return _steps(x[: length // 2]) + _steps(x[length // 2 :])


def _check_sizes(input_size: int, hidden_size: int) -> None:
    if input_size <= 0 or hidden_size <= 0:
        raise ValueError(f"input_size and hidden_size must be positive, got {input_size} and {hidden_size}")


class _Recurrent(Module):
    """What GRU and LSTM share: parameters by layer and direction, and the walk over layers, directions and time."""

    gates: int  # how many gates there are
    states: int  # how many states each step hands to the next

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        _check_sizes(input_size, hidden_size)
        if num_layers <= 0:
            raise ValueError(f"num_layers must be positive, got {num_layers}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout probability must be between 0 and 1, got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} acts between layers, and num_layers=1 has no between: it does nothing here",
                stacklevel=3,
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for suffix in self._suffixes(layer):
                self.register_parameter(f"weight_ih_{suffix}", Parameter(empty(rows, width, dtype=dtype)))
                self.register_parameter(f"weight_hh_{suffix}", Parameter(empty(rows, hidden_size, dtype=dtype)))
                if bias:
                    self.register_parameter(f"bias_ih_{suffix}", Parameter(empty(rows, dtype=dtype)))
                    self.register_parameter(f"bias_hh_{suffix}", Parameter(empty(rows, dtype=dtype)))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"] if self.bidirectional else [f"l{layer}"]

    def reset_parameters(self) -> None:
        """Draw the initial weights anew: all uniform in +-1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do here; PyTorch programs for a GPU call it."""

    @property
    def _flat_weights_names(self) -> list[str]:
        return list(self._parameters)

    @property
    def _flat_weights(self) -> list[Parameter]:
        return list(self.parameters())

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        each = 4 if self.bias else 2
        flat = self._flat_weights
        return [flat[i : i + each] for i in range(0, len(flat), each)]

    def _step(
        self, gates: Tensor, state: tuple[Tensor, ...], weight_hh: Tensor, bias_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _run(self, input: Any, given: tuple[Tensor, ...] | None) -> tuple[Any, list[Tensor]]:
        """The outputs of the last layer, and each kind of state after the last step, of all layers and directions."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, given)
        batched = input.ndim == 3
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            wanted = f"(B, T, {self.input_size})" if self.batch_first else f"(T, B, {self.input_size})"
            raise ValueError(f"input must be {wanted}, or (T, {self.input_size}) alone, got {input.shape}")
        x = input
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        if x.shape[0] == 0:
            raise ValueError("the sequence must have at least one step, it has none")
        starts = self._starts(x.shape[1], x, given, batched)  # (layers * directions, B, H) each
        x, last = self._layers(x, starts, _steps, stack)
        if not batched:
            return x.squeeze(1), [state.squeeze(1) for state in last]
        return x.transpose(0, 1) if self.batch_first else x, last

    def _run_packed(
        self, input: PackedSequence, given: tuple[Tensor, ...] | None
    ) -> tuple[PackedSequence, list[Tensor]]:
        """The same for sequences of different lengths: each has its last state where it ends."""
        running = input.batch_sizes.tolist()
        order, back = input.sorted_indices, input.unsorted_indices
        if given is not None and order is not None:
            given = tuple(state.index_select(1, order) for state in given)
        starts = self._starts(running[0], input.data, given, batched=True)
        x, last = self._layers(input.data, starts, lambda gates: gates.split(running), cat)
        last = last if back is None else [state.index_select(1, back) for state in last]
        return input._replace(data=x), last

    def _layers(
        self,
        x: Tensor,
        starts: list[Tensor],
        split: Callable[[Tensor], Sequence[Tensor]],
        join: Callable[[list[Tensor]], Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        """All layers: split gives the steps of a sequence, (b, ...) each, join puts them together again.

        A step may have fewer rows than the batch: the first b sequences go on, the states of the others stay.
        """
        finals: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            directions = []
            for suffix in self._suffixes(layer):
                weight_hh, bias_hh = getattr(self, f"weight_hh_{suffix}"), getattr(self, f"bias_hh_{suffix}", None)
                weight_ih, bias_ih = getattr(self, f"weight_ih_{suffix}"), getattr(self, f"bias_ih_{suffix}", None)
                steps = split(F.linear(x, weight_ih, bias_ih))  # T of (b, gates * H)
                backwards = suffix.endswith("_reverse")
                state = tuple(start[len(finals)] for start in starts)
                hidden = []
                for gates in reversed(steps) if backwards else steps:
                    count = gates.shape[0]
                    if count == state[0].shape[0]:
                        state = self._step(gates, state, weight_hh, bias_hh)
                        hidden.append(state[0])
                        continue
                    new = self._step(gates, tuple(s[:count] for s in state), weight_hh, bias_hh)
                    hidden.append(new[0])
                    state = tuple(cat([a, s[count:]]) for a, s in zip(new, state, strict=True))
                directions.append(join(hidden[::-1] if backwards else hidden))  # (T, B, H)
                finals.append(state)
            x = directions[0] if len(directions) == 1 else cat(directions, dim=-1)

        return x, [stack(states) for states in zip(*finals, strict=True)]

    def _starts(self, batch: int, x: Tensor, given: tuple[Tensor, ...] | None, batched: bool) -> list[Tensor]:
        """The initial states (layers * directions, B, H), zeros unless given."""
        count = self.num_layers * (1 + self.bidirectional)
        if given is None:
            return [zeros(count, batch, self.hidden_size, dtype=x.dtype)] * self.states
        wanted = (count, batch, self.hidden_size) if batched else (count, self.hidden_size)
        for state in given:
            if state.shape != wanted:
                raise ValueError(f"the initial state must be {wanted}, got {state.shape}")
        return [state if batched else state.unsqueeze(1) for state in given]

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        parts += [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join(parts)


class RNN(_Recurrent):
    """The plain recurrent network: input (T, B, I), h_0 (L * D, B, H) -> output (T, B, D * H), h_n (L * D, B, H).

    L layers, D = 2 directions if bidirectional, else 1; (B, T, I) with batch_first, (T, I) without a batch. At each
    step h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. Elman 1990. All weights start uniform in +-1 / sqrt(H).
    """

    gates = 1
    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.__dict__["nonlinearity"] = _checked(nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def _step(
        self, gates: Tensor, state: tuple[Tensor, ...], weight_hh: Tensor, bias_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        return (_rnn_step(gates, state[0], weight_hh, bias_hh, self.nonlinearity),)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state of the last layer at every step, and that of every layer and direction after its last step."""
        output, (last,) = self._run(input, None if hx is None else (hx,))
        return output, last


class GRU(_Recurrent):
    """Gated recurrent units: input (T, B, I), h_0 (L * D, B, H) -> output (T, B, D * H), h_n (L * D, B, H).

    L layers, D = 2 directions if bidirectional, else 1; (B, T, I) with batch_first, (T, I) without a batch. At each
    step, with the rows of every weight in the order r, z, n:

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    Cho et al. 2014, with r after the matrix product, as in PyTorch. All weights start uniform in +-1 / sqrt(H).
    """

    gates = 3
    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def _step(
        self, gates: Tensor, state: tuple[Tensor, ...], weight_hh: Tensor, bias_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        return (_gru_step(gates, state[0], weight_hh, bias_hh),)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state of the last layer at every step, and that of every layer and direction after its last step."""
        output, (last,) = self._run(input, None if hx is None else (hx,))
        return output, last


class LSTM(_Recurrent):
    """Long short-term memory: input (T, B, I), (h_0, c_0) -> output (T, B, D * H), (h_n, c_n), (L * D, B, H) each.

    L layers, D = 2 directions if bidirectional, else 1; (B, T, I) with batch_first, (T, I) without a batch. At each
    step, with the rows of every weight in the order i, f, g, o:

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
        f = sigmoid(W_if x + b_if + W_hf h + b_hf)
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        o = sigmoid(W_io x + b_io + W_ho h + b_ho)
        c' = f * c + i * g
        h' = o * tanh(c')

    Hochreiter and Schmidhuber 1997; the forget gate f: Gers et al. 2000. All weights start uniform in +-1 / sqrt(H).
    """

    gates = 4
    states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if proj_size:
            raise NotImplementedError("proj_size is not offered: put a Linear after the LSTM")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def _step(
        self, gates: Tensor, state: tuple[Tensor, ...], weight_hh: Tensor, bias_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        hidden, cell = state
        return _lstm_step(gates, hidden, cell, weight_hh, bias_hh)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The state h of the last layer at every step, and h and c of every layer and direction after its last."""
        output, (hidden, cell) = self._run(input, hx)
        return output, (hidden, cell)


class _Cell(Module):
    """What the cells share: the weights of one step."""

    gates: int

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        _check_sizes(input_size, hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, dtype=dtype))
        self.register_parameter("bias_ih", Parameter(empty(rows, dtype=dtype)) if bias else None)
        self.register_parameter("bias_hh", Parameter(empty(rows, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights anew: all uniform in +-1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _gates(self, input: Tensor, *states: Tensor) -> Tensor:
        """The input's part of the gates, (B, gates * H), once all shapes are found right."""
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(f"input must be (B, {self.input_size}) or ({self.input_size},), got {input.shape}")
        wanted = (*input.shape[:-1], self.hidden_size)
        for state in states:
            if state.shape != wanted:
                raise ValueError(f"the state must be {wanted}, got {state.shape}")
        return F.linear(input, self.weight_ih, self.bias_ih)

    def _zeros(self, input: Tensor) -> Tensor:
        return zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of an RNN: input (B, I), state (B, H) -> the next state (B, H). Elman 1990."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = _checked(nonlinearity)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        hx = self._zeros(input) if hx is None else hx
        return _rnn_step(self._gates(input, hx), hx, self.weight_hh, self.bias_hh, self.nonlinearity)


class GRUCell(_Cell):
    """One step of a GRU: input (B, I), state (B, H) -> the next state (B, H); (I,) and (H,) without a batch.

    The formulas, and the order r, z, n of the rows, are those of ``GRU``. Cho et al. 2014.
    """

    gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        hx = self._zeros(input) if hx is None else hx
        return _gru_step(self._gates(input, hx), hx, self.weight_hh, self.bias_hh)


class LSTMCell(_Cell):
    """One step of an LSTM: input (B, I), (h, c) of (B, H) each -> the next (h, c); (I,) and (H,) without a batch.

    The formulas, and the order i, f, g, o of the rows, are those of ``LSTM``. Hochreiter and Schmidhuber 1997.
    """

    gates = 4

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        hidden, cell = (self._zeros(input),) * 2 if hx is None else hx
        return _lstm_step(self._gates(input, hidden, cell), hidden, cell, self.weight_hh, self.bias_hh)
