"""Sequences of different lengths as one batch: padded, or packed without padding, as the recurrent layers take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.nn.tensors import cat, stack


class PackedSequence(NamedTuple):
    """Steps of all sequences, longest first: data (sum of lengths, ...), batch_sizes (T,) how many still run."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self._replace(data=self.data.to(*args, **kwargs))


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_i, ...) of different lengths as one batch (T, B, ...), or (B, T, ...) if batch_first."""
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side must be 'left' or 'right', got {padding_side!r}")
    longest = max(len(s) for s in sequences)
    rows = [[s, s.new_full((longest - len(s), *s.shape[1:]), padding_value)] for s in sequences]
    return stack([cat(row[:: 1 if padding_side == "right" else -1]) for row in rows], 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The first lengths[i] steps of each sequence of a batch (T, B, ...), or (B, T, ...) if batch_first."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[i, :length] for i, length in enumerate(_ints(lengths))]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Take the padding out of a batch (T, B, ...), or (B, T, ...) if batch_first, whose sequences have these lengths.

    Raises RuntimeError for lengths that are not in falling order, unless ``enforce_sorted=False``.
    """
    x = input.transpose(0, 1) if batch_first else input  # (T, B, ...)
    sizes = np.array(_ints(lengths))
    if sizes.shape != (x.shape[1],) or (sizes < 1).any() or (sizes > x.shape[0]).any():
        raise RuntimeError(f"lengths must be {x.shape[1]} numbers from 1 to {x.shape[0]}, got {sizes.tolist()}")
    order = back = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise RuntimeError("lengths must be in falling order, longest first: or pass enforce_sorted=False")
    else:
        places = np.argsort(-sizes, kind="stable")
        order, back = Tensor(places), Tensor(np.argsort(places))
        x, sizes = x.index_select(1, order), sizes[places]
    running = [int((sizes > t).sum()) for t in range(sizes[0])]
    return PackedSequence(cat([x[t, :n] for t, n in enumerate(running)]), Tensor(np.array(running)), order, back)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The batch with its padding, (T, B, ...) or (B, T, ...) if batch_first, and the lengths (B,)."""
    running = sequence.batch_sizes.tolist()
    batch, steps = running[0], sequence.data.split(running)
    rest = sequence.data.shape[1:]
    full = [cat([s, s.new_full((batch - len(s), *rest), padding_value)]) if len(s) < batch else s for s in steps]
    longer = (total_length or len(steps)) - len(steps)
    if longer < 0:
        raise ValueError(f"total_length={total_length} is less than the longest sequence, {len(steps)} steps")
    x = stack(full + [sequence.data.new_full((batch, *rest), padding_value)] * longer)  # (T, B, ...)
    lengths = Tensor(np.array([sum(n > i for n in running) for i in range(batch)]))
    if sequence.unsorted_indices is not None:
        x, lengths = x.index_select(1, sequence.unsorted_indices), lengths[sequence.unsorted_indices]
    return (x.transpose(0, 1) if batch_first else x), lengths


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (T_i, ...) as one packed batch."""
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], False, enforce_sorted)


def _ints(lengths: Any) -> list[int]:
    return [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]


class rnn:
    """``torch.nn.utils.rnn``."""

    PackedSequence = PackedSequence
    pack_padded_sequence = staticmethod(pack_padded_sequence)
    pack_sequence = staticmethod(pack_sequence)
    pad_packed_sequence = staticmethod(pad_packed_sequence)
    pad_sequence = staticmethod(pad_sequence)
    unpad_sequence = staticmethod(unpad_sequence)
