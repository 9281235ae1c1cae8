"""The GRU sequence-to-sequence model: formulas, gradients, padding, teacher forcing against generating, errors."""

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad as mg
from minigrad.models.rnn_seq2seq import RNNSeq2Seq, RNNSeq2SeqConfig

KINDS = ["none", "additive"]
ATOL = 1e-12


@pytest.fixture(autouse=True)
def doubles():
    mg.manual_seed(0)
    mg.set_default_dtype(mg.float64)
    yield
    mg.set_default_dtype(mg.float32)


def make(attention, n_hidden=3, **sizes):
    sizes = {"source_vocab_size": 5, "target_vocab_size": 4, "n_embd": 2, **sizes}
    return RNNSeq2Seq(RNNSeq2SeqConfig(**sizes, n_hidden=n_hidden, attention=attention))


IDS = mg.tensor([[4, 1, 2], [3, 0, 0], [1, 3, 0]])
LENGTHS = mg.tensor([3, 1, 2])
TARGET = mg.tensor([[0, 2], [0, 3], [0, 2]])


@pytest.mark.parametrize("attention", KINDS)
def test_gradients_of_the_whole_model(attention):
    model = make(attention, n_hidden=2)
    assert all_gradients(model, lambda: model(IDS[:2], TARGET[:2], LENGTHS[:2])[0])
    model(IDS, TARGET, LENGTHS)[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("attention", KINDS)
@mg.no_grad()
def test_padding_changes_nothing(attention):
    model = make(attention)
    together, weights = model(IDS, TARGET, LENGTHS)
    written = model.generate(IDS, 4, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        alone, own = model(IDS[b : b + 1, :length], TARGET[b : b + 1])
        np.testing.assert_allclose(together[b].numpy(), alone[0].numpy(), atol=ATOL)
        assert written[b].tolist() == model.generate(IDS[b : b + 1, :length], 4)[0].tolist()
        if attention == "additive":
            np.testing.assert_allclose(weights[b, :, :length].numpy(), own[0].numpy(), atol=ATOL)
            assert not weights[b, :, length:].any()


@pytest.mark.parametrize("attention", KINDS)
@mg.no_grad()
def test_every_real_token_counts_and_no_later_target(attention):
    model = make(attention)
    logits = model(IDS, TARGET, LENGTHS)[0].numpy()
    for s in range(3):
        other = IDS.clone()
        other[0, s] = (other[0, s] + 1) % 5
        assert abs(model(other, TARGET, LENGTHS)[0].numpy()[0] - logits[0]).min() > 1e-9
    later = TARGET.clone()
    later[:, 1] = 1
    changed = model(IDS, later, LENGTHS)[0].numpy()
    assert np.array_equal(changed[:, 0], logits[:, 0]) and abs(changed[:, 1] - logits[:, 1]).max() > 1e-9


@mg.no_grad()
def test_the_encoder_is_a_bidirectional_gru_without_the_padding():
    model = make("additive")
    encoder = model.encoder
    both = mg.nn.GRU(2, 3, batch_first=True, bidirectional=True)
    right = {f"{name}_reverse": value for name, value in encoder.right_to_left.state_dict().items()}
    both.load_state_dict({**encoder.left_to_right.state_dict(), **right})
    source, state = model.read(IDS, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        states, last = both(encoder.embedding(IDS[row : row + 1, :length]))  # (1, S, M), (2, 1, H)
        np.testing.assert_allclose(source.states[row, :length].numpy(), states[0].numpy(), atol=ATOL)
        np.testing.assert_allclose(source.last[row].numpy(), last.flatten().numpy(), atol=ATOL)
        np.testing.assert_allclose(state[row].numpy(), model.bridge(last.flatten()).tanh().numpy(), atol=ATOL)


@mg.no_grad()
def test_attention_is_its_formula():
    model = make("additive")
    attention = model.attention
    source, state = model.read(IDS, LENGTHS)
    context, weights = attention(state, source)
    W, U, v = (layer.weight.numpy() for layer in (attention.query, attention.key, attention.score))
    for row, length in enumerate(LENGTHS.tolist()):
        states = source.states.numpy()[row, :length]  # (S, M)
        scores = np.array([v[0] @ np.tanh(W @ state.numpy()[row] + U @ h) for h in states])
        wanted = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(weights.numpy()[row, :length], wanted, atol=ATOL)
        np.testing.assert_allclose(context.numpy()[row], wanted @ states, atol=ATOL)


@mg.no_grad()
def test_without_attention_one_vector_is_all():
    model = make("none")
    source, state = model.read(IDS, LENGTHS)
    blind = source._replace(states=source.states * 0, real=~source.real)
    for seen, unseen in zip(
        model.step(TARGET[:, 0], state, source), model.step(TARGET[:, 0], state, blind), strict=True
    ):
        assert seen is unseen is None or seen.equal(unseen)
    assert model(IDS, TARGET)[1] is None


@pytest.mark.parametrize("attention", KINDS)
def test_generate_is_the_likeliest_of_teacher_forcing(attention):
    ended = 0
    for seed in range(20):
        mg.manual_seed(seed)
        model = make(attention, n_hidden=4, start=3, end=1)
        mg.nn.init.normal_(model.head.weight, std=3.0)  # sure of different things at different steps
        written = model.generate(IDS, 5, LENGTHS)
        assert written.shape == (3, 5)
        given = mg.cat([mg.full((3, 1), 3, dtype=mg.long), written[:, :-1]], dim=1)
        likeliest = model(IDS, given, LENGTHS)[0].argmax(-1).tolist()
        for row, wanted in zip(written.tolist(), likeliest, strict=True):
            stop = row.index(1) + 1 if 1 in row else 5
            assert row[:stop] == wanted[:stop]
            assert row[stop:] == [1] * (5 - stop)
            ended += 0 < stop < 5
    assert 0 < ended < 60, "some rows must end early, and some must not"


@pytest.mark.parametrize("attention", KINDS)
def test_it_learns_to_turn_round(attention):
    model = make(attention, n_hidden=16, n_embd=8, target_vocab_size=5)
    ids = mg.tensor([[2, 3, 4], [4, 4, 2], [3, 2, 0], [4, 0, 0]])
    lengths = mg.tensor([3, 3, 2, 1])
    answers = mg.tensor([[4, 3, 2, 1], [2, 4, 4, 1], [2, 3, 1, 1], [4, 1, 1, 1]])
    target = mg.cat([mg.zeros(4, 1, dtype=mg.long), answers[:, :-1]], dim=1)
    optimizer = mg.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(40):
        loss = mg.nn.functional.cross_entropy(model(ids, target, lengths)[0].reshape(-1, 5), answers.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.generate(ids, 4, lengths).tolist() == answers.tolist()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"n_hidden": 0}, "n_hidden must be at least 1, got 0"),
        ({"source_vocab_size": -1}, "source_vocab_size must be at least 1"),
        ({"attention": "multiplicative"}, "attention must be 'none' or 'additive', got 'multiplicative'"),
        ({"end": 4}, "end=4 is no token of 0 to 3"),
        ({"start": 1}, "start and end must differ, both are 1"),
    ],
)
def test_wrong_sizes(wrong, text):
    with pytest.raises(ValueError, match=text):
        RNNSeq2SeqConfig(**{"source_vocab_size": 5, "target_vocab_size": 4, **wrong})


@pytest.mark.parametrize("call", [lambda m, *a: m(a[0], TARGET, a[1]), lambda m, *a: m.generate(a[0], 2, a[1])])
def test_wrong_sources(call):
    model = make("additive")
    with pytest.raises(ValueError, match="lengths must be from 1 to 3, they run from 0 to 3"):
        call(model, IDS, mg.tensor([3, 0, 2]))
    with pytest.raises(ValueError, match="they run from 2 to 4"):
        call(model, IDS, mg.tensor([3, 4, 2]))
    with pytest.raises(ValueError, match=r"lengths must be \(3,\), one for each source, got \(2,\)"):
        call(model, IDS, mg.tensor([3, 2]))
    with pytest.raises(ValueError, match="a source must have at least one token"):
        call(model, IDS[:, :0], None)
    with pytest.raises(ValueError, match="a target must have at least the start token"):
        model(IDS, TARGET[:, :0], LENGTHS)
