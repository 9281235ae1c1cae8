"""Packed sequences: no step of padding is computed, so every sequence gives what it gives alone."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils import rnn


def test_packing_and_padding_are_each_others_way_back():
    x = mg.tensor(np.arange(24.0).reshape(3, 4, 2))  # (B, T, C)
    packed = rnn.pack_padded_sequence(x, [2, 4, 1], batch_first=True, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1] and packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    assert packed.data[:, 0].tolist() == [8, 0, 16, 10, 2, 12, 14]
    padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1, total_length=5)
    assert lengths.tolist() == [2, 4, 1] and padded.shape == (3, 5, 2)
    assert padded[0, :, 0].tolist() == [0, 2, -1, -1, -1] and padded[2, :, 1].tolist() == [17, -1, -1, -1, -1]
    sequences = [mg.ones(2, 3), mg.ones(1, 3) * 2]
    again = rnn.unpad_sequence(*rnn.pad_packed_sequence(rnn.pack_sequence(sequences)))
    assert all(a.equal(b) for a, b in zip(again, sequences, strict=True))
    left = rnn.pad_sequence([mg.ones(1), mg.ones(2)], batch_first=True, padding_side="left")
    assert left.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("order", [[3, 2, 2], [1, 4, 2]])
def test_every_sequence_gives_what_it_gives_alone(kind, bidirectional, order):
    mg.manual_seed(1)
    net = kind(2, 3, num_layers=2, bidirectional=bidirectional, batch_first=True, dtype=mg.float64)
    x = mg.randn(3, 4, 2, dtype=mg.float64, requires_grad=True)
    start = mg.randn(4 if bidirectional else 2, 3, 3, dtype=mg.float64)
    given = (start, start * 0.5) if kind is nn.LSTM else start
    out, last = net(rnn.pack_padded_sequence(x, order, batch_first=True, enforce_sorted=order[0] == 3), given)
    padded, lengths = rnn.pad_packed_sequence(out, batch_first=True)
    assert lengths.tolist() == order
    (padded**2).sum().backward()
    grad, x.grad = x.grad, None
    first = last[0] if kind is nn.LSTM else last
    for i, n in enumerate(order):
        own = tuple(s[:, i : i + 1] for s in given) if kind is nn.LSTM else given[:, i : i + 1]
        alone, end = net(x[i : i + 1, :n], own)
        assert mg.allclose(padded[i, :n], alone[0]) and not padded[i, n:].any()
        assert mg.allclose(first[:, i], (end[0] if kind is nn.LSTM else end)[:, 0])
        (alone**2).sum().backward()
    assert mg.allclose(grad, x.grad) and net._flat_weights_names == [n for n, _ in net.named_parameters()]
    assert [len(group) for group in net.all_weights] == [4] * (4 if bidirectional else 2)


def test_what_does_not_fit_is_refused():
    x = mg.ones(4, 2, 1)
    for lengths, said in (([1, 2], "falling order"), ([5, 1], "from 1 to 4"), ([1], "2 numbers"), ([2, 0], "1 to 4")):
        with pytest.raises(RuntimeError, match=said):
            rnn.pack_padded_sequence(x, lengths)
    with pytest.raises(ValueError, match="less than the longest"):
        rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [3, 1]), total_length=2)
