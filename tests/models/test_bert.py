"""BERT: what it computes, that it reads both ways, that padding changes nothing, and that its example holds."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from every_parameter import all_gradients
from paths import ROOT

import minigrad as mg
from minigrad import nn
from minigrad.models.bert import BERT, BERTClassifier, BERTConfig, MaskedBERT
from minigrad.models.parts import POSITIONS

PAD = 10
TINY = BERTConfig(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=4, pad=PAD)
EFFICIENT = {"window": 2, "rank": 3, "features": 4}
SCHEMES = [
    *({"positions": word} for word in POSITIONS),
    *({"attention": word, **EFFICIENT} for word in ("longformer", "linformer", "performer")),
    {"attention": "longformer", "positions": "rotary", "window": 2, "num_global": 0},
]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: "-".join(map(str, s.values())))


def make(dtype: object = mg.float64, **changes: object) -> BERT:
    mg.manual_seed(0)
    return stir(BERT(replace(TINY, **changes)).to(dtype))


def stir(model: nn.Module) -> nn.Module:
    """Away from the near-zero start, where mistakes hardly show."""
    with mg.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * mg.randn(parameter.shape, dtype=parameter.dtype))
    return model


def some_ids(batch: int, time: int, seed: int = 0) -> mg.Tensor:
    return mg.tensor(np.random.default_rng(seed).integers(0, PAD, (batch, time)))


def padded_ids() -> mg.Tensor:
    ids = some_ids(2, 5)
    ids[1, 3:] = PAD
    return ids


@every_scheme
def test_every_gradient_of_the_masked_model(scheme):
    model = MaskedBERT(make(**scheme)).to(mg.float64)
    ids, targets = padded_ids(), mg.tensor([[-100, 3, -100, 7, -100], [2, -100, 0, -100, -100]])
    assert all_gradients(model, lambda: model(ids, targets)[1])


def test_every_gradient_of_the_classifier():
    model = stir(BERTClassifier(make(), 3).to(mg.float64))
    ids, targets = padded_ids(), mg.tensor([2, 0])
    assert all_gradients(model, lambda: model(ids, targets)[1])


@every_scheme
def test_padding_changes_nothing(scheme):
    model = make(**scheme).eval()
    ids = some_ids(2, 4)
    filled = mg.cat([ids, mg.full((2, 2), PAD)], dim=1)
    alone, among = model(ids).detach().numpy(), model(filled).detach().numpy()
    np.testing.assert_allclose(among[:, :4], alone, atol=1e-12)
    blind = make(**scheme, pad=None).eval()  # the same weights, told nothing of padding
    assert np.abs(blind(filled).detach().numpy()[:, :4] - alone).max() > 1e-3


@every_scheme
def test_it_reads_both_ways(scheme):
    model = make(**{"n_layer": 3, "num_global": 0, **scheme}).eval()  # windows of 2 reach over 6 tokens in 3 layers
    ids = some_ids(1, 6)
    before = model(ids).detach().numpy()
    for changed in (0, 5):
        other = ids.clone()
        other[:, changed] = (other[:, changed] + 1) % PAD
        assert (np.abs(model(other).detach().numpy() - before).max(-1) > 1e-6).all()


@every_scheme
def test_order_matters(scheme):
    if scheme.get("positions") == "alibi":
        pytest.skip("it knows distances only: a text read backwards is the same text")
    model = make(**scheme).eval()
    ids = mg.tensor([[1, 2, 3, 4, 5]])
    turned = model(ids.flip(1)).detach().numpy()[:, ::-1]
    assert np.abs(turned - model(ids).detach().numpy()).max() > 1e-3


def test_algorithm_9():
    """The encoder written out once more, in NumPy, from the paper's pseudocode and Devlin et al.'s embedding norm."""
    model = make(n_layer=2, pad=None).eval()
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    ids = some_ids(1, 5).numpy()[0]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    erf = np.vectorize(math.erf)
    x = norm(w["token_embedding.weight"][ids] + w["positions.added.weight"][:5], "norm")
    for block in ("blocks.0", "blocks.1"):
        query, key, value = (linear(x, f"{block}.attention.{part}") for part in ("query", "key", "value"))
        heads = []
        for h in (slice(0, 2), slice(2, 4)):
            weights = np.exp(query[:, h] @ key[:, h].T / np.sqrt(2))
            heads.append(weights / weights.sum(1, keepdims=True) @ value[:, h])
        x = norm(x + linear(np.concatenate(heads, 1), f"{block}.attention.output"), f"{block}.attention_norm")
        hidden = linear(x, f"{block}.mlp.expand")
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        x = norm(x + linear(hidden, f"{block}.mlp.contract"), f"{block}.mlp_norm")
    np.testing.assert_allclose(model(mg.tensor(ids[None])).detach().numpy()[0], x, atol=1e-10)


def test_the_models_are_what_they_say():
    masked = MaskedBERT(make())
    assert masked.head.weight is masked.bert.token_embedding.weight
    logits, loss = masked(some_ids(3, 4))
    assert logits.shape == (3, 4, 11) and loss is None
    classifier = BERTClassifier(masked.bert, 3)
    logits, loss = classifier(some_ids(2, 4), mg.tensor([0, 2]))
    assert logits.shape == (2, 3) and loss.shape == ()
    with pytest.raises(ValueError, match="7 tokens do not fit into the context of 6"):
        masked(some_ids(1, 7))
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        BERTClassifier(masked.bert, 1)


def test_only_chosen_positions_have_a_loss():
    masked = MaskedBERT(make())
    ids = some_ids(2, 5)
    one = mg.full((2, 5), -100)
    one[1, 2] = 4
    logits, loss = masked(ids, one)
    np.testing.assert_allclose(loss.item(), -logits[1, 2].log_softmax(-1)[4].item(), rtol=1e-12)


@pytest.mark.parametrize("wrong", [-1, 11])
def test_a_pad_that_is_no_token(wrong):
    with pytest.raises(ValueError, match=f"pad={wrong} is no token of 0 to 10"):
        replace(TINY, pad=wrong)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="n_embd=4 must be divisible by n_head=3"):
        replace(TINY, n_head=3)


def test_state_dicts_come_back(tmp_path):
    trained = MaskedBERT(make(mg.float32))
    mg.save(trained.state_dict(), tmp_path / "bert.npz")
    mg.manual_seed(9)
    fresh = MaskedBERT(BERT(TINY))
    ids = padded_ids()
    assert not fresh(ids)[0].allclose(trained(ids)[0])
    fresh.load_state_dict(mg.load(tmp_path / "bert.npz"))
    assert (fresh(ids)[0] == trained(ids)[0]).all()
    encoder = {k.removeprefix("bert."): v for k, v in trained.state_dict().items() if k.startswith("bert.")}
    classifier = BERTClassifier(BERT(TINY), 2)
    classifier.bert.load_state_dict(encoder)
    assert (classifier.bert(ids) == trained.bert(ids)).all()


def test_it_learns_from_both_sides():
    """The middle of three tokens is the sum of its neighbours: neither side alone tells it."""
    mg.manual_seed(0)
    model = MaskedBERT(BERT(BERTConfig(vocab_size=6, block_size=3, n_layer=2, n_head=2, n_embd=32)))
    optimizer = mg.optim.AdamW(model.parameters(), lr=3e-3)
    left, right = (part.ravel() for part in np.mgrid[0:5, 0:5])
    ids = mg.tensor(np.stack([left, np.full(25, 5), right], axis=1))
    targets = mg.full((25, 3), -100)
    targets[:, 1] = mg.tensor((left + right) % 5)
    for _ in range(200):
        loss = model(ids, targets)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5  # either side alone: log 5 = 1.6


SMALL = ["--n-layer", "1", "--n-embd", "16", "--n-head", "2", "--batch-size", "4", "--eval-every", "5"]


def example(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples/train_bert.py"), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_the_example_runs_and_resumes(tmp_path):
    done = example(*SMALL, "--steps", 10, "--finetune-steps", 4, "--out", "bert.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("two neighbours", "BERT, pre-trained", "50.0%", "The [MASK]at", "bert.npz and bert-lines.npz"):
        assert text in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 120
    assert {path.name for path in tmp_path.iterdir()} == {"bert.npz", "bert.csv", "bert-lines.npz"}
    whole = mg.load(tmp_path / "bert.npz")
    assert whole["step"] == 10 and len(whole["history"]) == 10

    again = example("--resume", "bert.npz", "--finetune-steps", 4, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    note, _, same = again.stdout.partition("\n")
    assert "is at step 10 already" in note and same.replace("bert-lines-2.npz", "bert-lines.npz") == done.stdout
    over = example("--out", "bert.npz", cwd=tmp_path)
    assert over.returncode == 2 and "exists already" in over.stderr and "Traceback" not in over.stderr
