"""T5: what it computes, that it sees neither the future nor padding, that its cache and its beams are right."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad as mg
from minigrad.look.pages.heads import attention_layers
from minigrad.models.beam_search import beam_search
from minigrad.models.parts import POSITIONS
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F

TINY = T5Config(vocab_size=11, block_size=10, n_layer=2, n_head=2, n_embd=8)
PAD, END = TINY.pad, TINY.end
EFFICIENT = [
    {"attention": word, "positions": "rotary", "window": 2, "rank": 3, "features": 4}
    for word in ("longformer", "linformer", "performer")
]
every_positions = pytest.mark.parametrize("positions", POSITIONS)
every_scheme = pytest.mark.parametrize(
    "scheme", [*({"positions": word} for word in POSITIONS), *EFFICIENT], ids=lambda s: "-".join(map(str, s.values()))
)


def make(dtype: object = mg.float32, **changes: object) -> T5:
    mg.manual_seed(0)
    return T5(replace(TINY, **changes)).to(dtype)


def some_ids(batch: int, time: int, seed: int = 0) -> mg.Tensor:
    """Neither pad nor end."""
    return mg.tensor(np.random.default_rng(seed).integers(2, TINY.vocab_size, (batch, time)))


@every_scheme
def test_every_gradient_of_the_whole_model(scheme):
    heads = 2 if scheme["positions"] in ("alibi", "relative") else 1  # these two treat every head differently
    model = make(mg.float64, vocab_size=5, n_layer=1, n_head=heads, n_embd=2 * heads, **scheme)
    source, target = mg.tensor([[2, 3, 4, 2], [4, 2, PAD, PAD]]), mg.tensor([[2, END, PAD], [3, 4, 2]])
    assert all_gradients(model, lambda: model(source, target, label_smoothing=0.1)[1])
    for parameter in model.parameters():
        parameter.grad = None
    model(source, target)[1].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@every_positions
def test_the_future_is_not_seen(positions):
    model = make(positions=positions)
    source, target = some_ids(2, 6), some_ids(2, 8, seed=1)
    logits = model(source, target)[0].detach()
    for t in range(8):
        changed = target.clone()
        changed[:, t] = (changed[:, t] + 1) % TINY.vocab_size
        again = model(source, changed)[0].detach()
        assert (again[:, : t + 1] == logits[:, : t + 1]).all()  # the token itself is not among what predicts it
        assert t == 7 or not (again[:, t + 1 :] == logits[:, t + 1 :]).all()


@every_scheme
def test_every_token_of_the_source_is_seen_and_padding_is_not(scheme):
    model = make(mg.float64, **scheme).eval()
    source, target = some_ids(2, 6), some_ids(2, 5, seed=1)
    source[1, 4:] = PAD
    logits = model(source, target)[0].detach().numpy()
    padded = mg.cat([source, mg.full((2, 3), PAD, dtype=mg.long)], dim=1)
    np.testing.assert_allclose(model(padded, target)[0].detach().numpy(), logits, atol=1e-12)
    alone = model(source[1:, :4], target[1:])[0].detach().numpy()
    np.testing.assert_allclose(logits[1:], alone, atol=1e-12)
    for s in range(6):
        changed = source.clone()
        changed[0, s] = (changed[0, s] - 2 + 1) % 9 + 2
        difference = np.abs(model(changed, target)[0].detach().numpy() - logits).max((1, 2))
        assert difference[0] > 1e-6 and difference[1] == 0


def test_padding_of_the_target_does_not_count():
    model = make(mg.float64)
    source, target = some_ids(1, 6), mg.tensor([[4, 5, END]])
    _, loss = model(source, target, 0.1)
    _, padded = model(source, mg.tensor([[4, 5, END, PAD, PAD]]), 0.1)
    assert padded.item() == pytest.approx(loss.item(), abs=1e-12)
    logits, plain = model(source, target)
    assert plain.item() == pytest.approx(-F.log_softmax(logits, -1)[0, mg.arange(3), target[0]].mean().item())
    smooth = 0.9 * plain.item() - 0.1 * F.log_softmax(logits, -1).mean().item()
    assert loss.item() == pytest.approx(smooth)


@every_positions
def test_a_source_of_padding_alone_stays_finite(positions):
    model = make(positions=positions)
    source = some_ids(3, 4)
    source[1] = PAD
    logits, loss = model(source, some_ids(3, 5, seed=1))
    loss.backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    unread = model(source[1:2], some_ids(1, 5, seed=1))[0]
    assert (unread == model(source[1:2, :1], some_ids(1, 5, seed=1))[0]).all()


@every_positions
@pytest.mark.parametrize("chunks", [(1,) * 8, (3, 1, 4)])
def test_the_cache_changes_nothing(chunks, positions):
    model = make(mg.float64, positions=positions).eval()
    source, ids = some_ids(2, 6), some_ids(2, 8, seed=1)
    source[0, 3:] = PAD
    with mg.no_grad():
        memory = model.encode(source)
        full = model.decode(ids, *memory).numpy()
        caches = model.new_caches()
        parts = [model.decode(part, *memory, caches).numpy() for part in ids.split(chunks, dim=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), full, atol=1e-12)


def test_where_the_decoder_looks_can_be_seen():
    model = make(mg.float64, dropout=0.5)
    source, target = some_ids(1, 6), some_ids(1, 5, seed=1)
    source[0, 4:] = PAD
    layers = attention_layers(model, [source, target])
    assert [layer.kind for layer in layers] == ["self", "self", "self", "cross", "self", "cross"]
    model.eval()
    memory, padding = model.encode(source)
    block = model.decoder.blocks[1]
    asked = []
    block.cross.register_forward_pre_hook(lambda module, args: asked.append(args[0]))
    model.decode(model.shifted(target), memory, padding)
    query = block.cross.split_heads(block.cross.query(asked[0]))
    scores = (query @ memory[1][0].mT / 2).masked_fill(padding, -np.inf)  # sqrt(D) = 2
    np.testing.assert_allclose(layers[-1].weights, F.softmax(scores, -1).detach().numpy()[0], atol=1e-12)
    assert layers[-1].weights[..., 4:].max() == 0


def ended(row: np.ndarray) -> np.ndarray:
    """A row of ids up to its end."""
    return row[: list(row).index(END) + 1] if END in row else row


def score(model: T5, source: mg.Tensor, ids: mg.Tensor, alpha: float) -> list[float]:
    """The score of each answer, from one full pass."""
    logp = F.log_softmax(model(source, ids)[0], -1).detach().numpy()
    result = []
    for row, ps in zip(ids.numpy(), logp, strict=True):
        row = ended(row)
        result.append(ps[np.arange(len(row)), row].sum() / ((5 + len(row)) / 6) ** alpha)
    return result


def talkative(seed: int) -> T5:
    """A model that ends its answers now and then."""
    mg.manual_seed(seed)
    return T5(replace(TINY, vocab_size=4, n_embd=16)).to(mg.float64)


@every_positions
def test_a_beam_of_one_is_greedy(positions):
    model = make(mg.float64, positions=positions)
    source = some_ids(5, 6)
    source[1, 2:] = PAD
    greedy = model.generate(source, 9)
    ids, scores = beam_search(model, source, 9, beams=1, alpha=0.7)
    assert (ids == greedy).all() and model.training
    np.testing.assert_allclose(scores.numpy(), score(model, source, greedy, 0.7), atol=1e-10)
    alone, _ = beam_search(model, source[1:2, :2], 9, beams=1)
    assert list(ended(alone[0].numpy())) == list(ended(greedy[1].numpy()))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_wide_beam_finds_the_best_of_all_answers(alpha):
    lengths = set()
    for seed in range(6):
        model = talkative(seed)
        source = mg.tensor([[2, 3, 2], [3, 3, PAD]])
        ids, scores = beam_search(model, source, 3, beams=64, alpha=alpha)
        words = [w for n in (1, 2, 3) for w in itertools.product(range(4), repeat=n)]
        words = [w + (PAD,) * (3 - len(w)) for w in words if END not in w[:-1] and (len(w) == 3 or w[-1] == END)]
        for row in range(2):
            every = score(model, source[row : row + 1].expand(len(words), 3), mg.tensor(words), alpha)
            assert scores[row].item() == pytest.approx(max(every), abs=1e-10)
            answer = tuple(ended(ids[row].numpy()))
            lengths.add(len(answer))
    assert len(lengths) > 1, "some answers end early"


def test_more_beams_find_better_answers():
    better = 0
    for seed in range(8):
        model = talkative(seed)
        source = mg.tensor([[2, 3, 2, 2], [3, 3, 2, PAD]])
        greedy = np.array(score(model, source, model.generate(source, 8), 0.6))
        ids, scores = beam_search(model, source, 8, beams=4)
        np.testing.assert_allclose(scores.numpy(), score(model, source, ids, 0.6), atol=1e-10)
        assert (scores.numpy() >= greedy - 1e-10).all()
        better += (scores.numpy() > greedy + 1e-6).sum()
    assert better > 0


def test_drawing():
    model = make(dropout=0.5)
    source = some_ids(3, 4)
    drawn = [model.generate(source, 6, 1.0, generator=mg.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert (drawn[0] == drawn[1]).all() and drawn[0].shape[0] == 3
    assert drawn[0].shape != drawn[2].shape or not (drawn[0] == drawn[2]).all()
    assert model.generate(source, 0).shape == (3, 0)
    for wrong, text in [({"temperature": -1.0}, "temperature"), ({"top_k": 0}, "top_k")]:
        with pytest.raises(ValueError, match=text):
            model.generate(source, 1, **wrong)
    with pytest.raises(ValueError, match="11 tokens do not fit into block_size=10"):
        model.generate(some_ids(1, 11), 1)
    with pytest.raises(ValueError, match="block_size"):
        model(source, some_ids(3, 11))
    for wrong, text in [({"beams": 0}, "beams"), ({"max_new_tokens": 0}, "max_new"), ({"alpha": -1.0}, "alpha")]:
        with pytest.raises(ValueError, match=text):
            beam_search(model, source, **{"max_new_tokens": 2, **wrong})


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"n_embd": 10, "n_head": 4}, "n_embd=10 must be divisible by n_head=4"),
        ({"pad": 11}, "pad=11 is no token of 0 to 10"),
        ({"end": -1}, "end=-1 is no token"),
        ({"end": 0}, "pad and end must differ, both are 0"),
        ({"attention": "longformer"}, "take learned, sinusoidal or rotary"),
    ],
)
def test_wrong_configs(wrong, text):
    with pytest.raises(ValueError, match=text):
        T5Config(**{"vocab_size": 11, **wrong})


def test_what_is_shared_and_where():
    model = make()
    names = dict(model.named_parameters())
    assert sum("positions" in name for name in names) == 2, "one table of distances for each stack, not for each layer"
    assert not any(name.endswith("bias") for name in names)
    assert sum(p.shape == (11, 8) for p in names.values()) == 1, "reading and predicting use one table"
    efficient = make(**EFFICIENT[0])
    assert all(block.attention.efficient is not None for block in efficient.encoder.blocks)
    assert all(block.attention.efficient is block.cross.efficient is None for block in efficient.decoder.blocks)


@every_scheme
def test_checkpoints(scheme, tmp_path):
    model = make(**scheme)
    mg.save({"config": vars(model.config), "model": model.state_dict()}, tmp_path / "t5.npz")
    stored = mg.load(tmp_path / "t5.npz")
    mg.manual_seed(9)
    again = T5(T5Config(**stored["config"]))
    again.load_state_dict(stored["model"])
    source, target = some_ids(2, 6), some_ids(2, 5, seed=1)
    assert (again(source, target)[0] == model(source, target)[0]).all()


def test_it_learns():
    """To write a source backwards."""
    model = make(n_embd=32)
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(150):
        source = some_ids(32, 4, seed=step)
        target = mg.cat([source.flip(1), mg.full((32, 1), END, dtype=mg.long)], dim=1)
        loss = model(source, target)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6
    answers = model.generate(source, 5)
    assert (answers == target[:, : answers.shape[1]]).float().mean() > 0.7
