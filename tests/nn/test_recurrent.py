"""GRU and LSTM: formulas, shapes, directions, layers, gradients, and cells that take the same steps."""

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad
from minigrad import nn
from minigrad.core.tensor import Tensor

KINDS = [nn.GRU, nn.LSTM]
CELLS = [nn.GRUCell, nn.LSTMCell]
ATOL = 1e-12


@pytest.fixture(autouse=True)
def seeded():
    minigrad.manual_seed(0)


def randn(*shape, requires_grad=False):
    return Tensor(np.random.default_rng(sum(shape)).standard_normal(shape), requires_grad)


def states(out):
    """The tensors of a state: one of a GRU, two of an LSTM."""
    return list(out) if isinstance(out, tuple) else [out]


def flat(result):
    output, last = result
    return [output, *states(last)]


def same(xs, ys):
    for x, y in zip(xs, ys, strict=True):
        np.testing.assert_allclose(x._array, y._array, rtol=0, atol=ATOL)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_gru_cell_is_its_formula():
    cell = nn.GRUCell(3, 2, dtype=np.float64)
    x, h = randn(4, 3), randn(4, 2)
    from_x = x._array @ cell.weight_ih._array.T + cell.bias_ih._array
    from_h = h._array @ cell.weight_hh._array.T + cell.bias_hh._array
    r = sigmoid(from_x[:, :2] + from_h[:, :2])
    z = sigmoid(from_x[:, 2:4] + from_h[:, 2:4])
    n = np.tanh(from_x[:, 4:] + r * from_h[:, 4:])
    np.testing.assert_allclose(cell(x, h)._array, (1 - z) * n + z * h._array, atol=ATOL)


def test_lstm_cell_is_its_formula():
    cell = nn.LSTMCell(3, 2, dtype=np.float64)
    x, h, c = randn(4, 3), randn(4, 2), randn(1, 4, 2)[0]
    gates = x._array @ cell.weight_ih._array.T + cell.bias_ih._array
    gates = gates + h._array @ cell.weight_hh._array.T + cell.bias_hh._array
    i, f, g, o = np.split(gates, 4, axis=1)
    want_c = sigmoid(f) * c._array + sigmoid(i) * np.tanh(g)
    got_h, got_c = cell(x, (h, c))
    np.testing.assert_allclose(got_c._array, want_c, atol=ATOL)
    np.testing.assert_allclose(got_h._array, sigmoid(o) * np.tanh(want_c), atol=ATOL)


@pytest.mark.parametrize(("kind", "cell_kind"), list(zip(KINDS, CELLS, strict=True)))
@pytest.mark.parametrize("length", [1, 5])
def test_a_layer_takes_the_steps_of_its_cell(kind, cell_kind, length):
    layer, cell = kind(3, 4, dtype=np.float64), cell_kind(3, 4, dtype=np.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = randn(length, 2, 3)
    state, outputs = None, []
    for t in range(length):
        state = cell(x[t], state)
        outputs.append(states(state)[0])
    same(flat(layer(x)), [minigrad.stack(outputs), *(s.unsqueeze(0) for s in states(state))])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind):
    net = kind(3, 4, num_layers=2, bidirectional=True)
    assert [x.shape for x in flat(net(randn(5, 2, 3).float()))] == [(5, 2, 8), *[(4, 2, 4)] * net.states]
    assert [x.shape for x in flat(net(randn(5, 3).float()))] == [(5, 8), *[(4, 4)] * net.states]
    assert all(x.dtype == np.float32 for x in flat(net(randn(5, 2, 3).float())))


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_and_no_batch_are_the_same_numbers(kind):
    net, other = kind(3, 4, 2, dtype=np.float64), kind(3, 4, 2, batch_first=True, dtype=np.float64)
    other.load_state_dict(net.state_dict())
    x, start = randn(5, 2, 3), [randn(2, 2, 4)] * net.states
    hx = start[0] if kind is nn.GRU else tuple(start)
    output, *last = flat(net(x, hx))
    swapped, *other_last = flat(other(x.transpose(0, 1), hx))
    same([output, *last], [swapped.transpose(0, 1), *other_last])
    alone = [s[:, 1] for s in start]
    single = flat(net(x[:, 1], alone[0] if kind is nn.GRU else tuple(alone)))
    same(single, [output[:, 1], *(s[:, 1] for s in last)])
    same(single, flat(other(x[:, 1], alone[0] if kind is nn.GRU else tuple(alone))))


@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional_is_two_runs_one_way(kind):
    both, there, back = kind(3, 4, bidirectional=True).double(), kind(3, 4).double(), kind(3, 4).double()
    saved = both.state_dict()
    there.load_state_dict({name: value for name, value in saved.items() if "reverse" not in name})
    back.load_state_dict({n.removesuffix("_reverse"): value for n, value in saved.items() if "reverse" in n})
    x, start = randn(5, 2, 3), [randn(2, 2, 4) * (i + 1) for i in range(both.states)]

    def given(tensors):
        return tensors[0] if kind is nn.GRU else tuple(tensors)

    forward, *first = flat(there(x, given([s[:1] for s in start])))
    backward, *second = flat(back(x.flip(0), given([s[1:] for s in start])))
    joined = [minigrad.cat(pair) for pair in zip(first, second, strict=True)]
    same(flat(both(x, given(start))), [minigrad.cat([forward, backward.flip(0)], dim=-1), *joined])


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_runs_on_the_output_below_and_a_run_can_be_cut_in_two(kind):
    net = kind(3, 4, num_layers=2).double()
    lower, upper = kind(3, 4).double(), kind(4, 4).double()
    saved = net.state_dict()
    lower.load_state_dict({name: value for name, value in saved.items() if "l0" in name})
    upper.load_state_dict({name.replace("l1", "l0"): value for name, value in saved.items() if "l1" in name})
    x = randn(6, 2, 3)
    middle, *first = flat(lower(x))
    output, *second = flat(upper(middle))
    whole = flat(net(x))
    same(whole, [output, *(minigrad.cat(pair) for pair in zip(first, second, strict=True))])
    start, hx = net(x[:2])
    end, last = net(x[2:], hx)
    same(whole, [minigrad.cat([start, end]), *states(last)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_token_changes_no_earlier_output(kind):
    net, x = kind(3, 4, 2), randn(6, 2, 3).float()
    before = net(x)[0]._array
    x._array[3] += 1
    after = net(x)[0]._array
    assert np.array_equal(before[:3], after[:3])
    assert (before[3:] != after[3:]).all(axis=(1, 2)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_of_every_parameter(kind, bidirectional):
    net = kind(2, 2, num_layers=2, bidirectional=bidirectional).double()
    shape = 2 * (1 + bidirectional), 2, 2
    start = [randn(*shape, requires_grad=True) for _ in range(net.states)]
    all_gradients(
        net,
        lambda x, *hx: tuple(flat(net(x, hx[0] if kind is nn.GRU else hx))),
        randn(3, 2, 2, requires_grad=True),
        *start,
    )


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_of_cells(kind, bias):
    cell = kind(3, 2, bias=bias).double()
    start = [randn(2, 2, requires_grad=True) for _ in range(1 + (kind is nn.LSTMCell))]
    all_gradients(
        cell,
        lambda x, *hx: tuple(states(cell(x, hx[0] if kind is nn.GRUCell else hx))),
        randn(2, 3, requires_grad=True),
        *start,
    )


def test_state_dict_keys():
    assert list(nn.GRU(3, 4, num_layers=2, bidirectional=True).state_dict()) == [
        "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0",
        "weight_ih_l0_reverse", "weight_hh_l0_reverse", "bias_ih_l0_reverse", "bias_hh_l0_reverse",
        "weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1",
        "weight_ih_l1_reverse", "weight_hh_l1_reverse", "bias_ih_l1_reverse", "bias_hh_l1_reverse",
    ]  # fmt: skip
    assert list(nn.LSTM(3, 4, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]
    assert list(nn.LSTMCell(3, 4).state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert list(nn.GRUCell(3, 4, bias=False).state_dict()) == ["weight_ih", "weight_hh"]
    shapes = [tuple(p.shape) for p in nn.LSTM(3, 4, 2, bidirectional=True).parameters()]
    assert shapes == [(16, 3), (16, 4), (16,), (16,)] * 2 + [(16, 8), (16, 4), (16,), (16,)] * 2
    assert nn.GRUCell(3, 4).weight_ih.shape == (12, 3)


@pytest.mark.parametrize("kind", [*KINDS, *CELLS])
def test_all_weights_start_uniform(kind):
    for parameter in kind(50, 25).parameters():
        assert 0.19 < np.abs(parameter._array).max() <= 0.2
        assert abs(parameter._array.mean()) < 0.04


def test_dropout_acts_between_layers_in_training_only():
    net, x = nn.GRU(3, 50, num_layers=2, dropout=0.5), randn(4, 2, 3).float()
    assert not net(x)[0].equal(net(x)[0])
    assert net(x)[1][0].equal(net(x)[1][0])  # the first layer stands before the dropout
    net.eval()
    assert net(x)[0].equal(net(x)[0])
    with pytest.warns(UserWarning, match="between layers"):
        nn.LSTM(3, 4, dropout=0.5)


def test_a_long_sequence_has_a_gradient():
    net, x = nn.LSTM(2, 3), randn(700, 1, 2).float()
    net(x)[0][-1].sum().backward()
    assert all(np.isfinite(p.grad._array).all() and p.grad._array.any() for p in net.parameters())


def test_wrong_shapes_are_named():
    net, cell = nn.LSTM(3, 4), nn.GRUCell(3, 4)
    with pytest.raises(ValueError, match=r"\(T, B, 3\).*got \(5, 2, 4\)"):
        net(randn(5, 2, 4))
    with pytest.raises(ValueError, match=r"initial state must be \(1, 2, 4\), got \(1, 1, 4\)"):
        net(randn(5, 2, 3), (randn(1, 2, 4), randn(1, 1, 4)))
    with pytest.raises(ValueError, match="at least one step"):
        net(randn(0, 2, 3))
    with pytest.raises(ValueError, match=r"the state must be \(2, 4\), got \(4,\)"):
        cell(randn(2, 3), randn(4))
    with pytest.raises(ValueError, match=r"got \(2, 4\)"):
        cell(randn(2, 4))
    with pytest.raises(ValueError, match="num_layers"):
        nn.GRU(3, 4, 0)
    with pytest.raises(ValueError, match="hidden_size"):
        nn.GRU(3, 0)
    with pytest.raises(NotImplementedError, match="proj_size"):
        nn.LSTM(3, 4, proj_size=2)


def test_repr_shows_the_settings():
    assert repr(nn.GRU(3, 4, 2, bidirectional=True)).startswith("GRU(3, 4, num_layers=2, bidirectional=True)")
    assert repr(nn.LSTMCell(3, 4)).startswith("LSTMCell(3, 4)")
