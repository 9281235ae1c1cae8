"""What a trainer notes of gradients, updates, units and attention at every step."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F
from minigrad.train import flow
from minigrad.train.data import RandomBatches
from minigrad.train.flow import Flow
from minigrad.train.trainer import Trainer


def trainer(clip=1.0, **more):
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=7, block_size=12, n_layer=2, n_head=2, n_embd=8, **more))
    batches = RandomBatches(np.arange(200) * 3 % 7, 2, 12, mg.Generator().manual_seed(0))
    optimizer = mg.optim.SGD(model.parameters(), lr=0.5)
    return Trainer(model, optimizer, None, batches, lambda model, x, y: model(x, y)[1], grad_clip=clip)


def noted(run, kind):
    return {name.partition(" ")[2]: row for name, row in zip(run.flow.columns, np.transpose(run.flow.rows), strict=True)
            if name.startswith(kind + " ")}  # fmt: skip


def test_numbers_are_those_of_the_step():
    run = trainer(clip=1e-2)
    weights = {name: p for name, p in run.model.named_parameters() if p.ndim == 2}
    before = {name: p.detach().numpy().copy() for name, p in weights.items()}
    _, norm, _ = run.train_step()
    gradient, update = noted(run, "gradient"), noted(run, "update")
    assert gradient.keys() == update.keys() == weights.keys()
    for name, p in weights.items():
        assert gradient[name][0] == pytest.approx(np.linalg.norm(p.grad.numpy()) * norm / 1e-2, rel=1e-3)
        rows = slice(None, None, max(1, len(before[name]) // flow.ROWS))
        moved = np.linalg.norm((p.detach().numpy() - before[name])[rows]) / np.linalg.norm(before[name][rows])
        assert update[name][0] == pytest.approx(moved, rel=1e-3)


@pytest.mark.parametrize("masked", [False, True])
def test_entropy_is_that_of_the_weights(masked):
    mg.manual_seed(0)
    query, key, value = (mg.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    mask = mg.tensor(np.tri(5, dtype=bool)) if masked else None
    seen = Flow(mg.nn.Linear(1, 1))
    with seen.forward():
        F.scaled_dot_product_attention(query, key, value, mask, is_causal=not masked)
    scores = query.detach().numpy()[0] @ key.detach().numpy()[0].swapaxes(-1, -2) / 2
    e = np.exp(scores) * np.tri(5)
    a = e / e.sum(-1, keepdims=True)
    entropy = -(a * np.log(np.where(a > 0, a, 1))).sum(-1)[:, 1:].mean(-1)
    assert [seen._seen[f"entropy  {head}"] for head in range(3)] == pytest.approx(entropy.tolist(), rel=1e-4)


def test_units_at_work():
    seen = Flow(mg.nn.Linear(1, 1))
    with seen.forward():
        mg.relu(mg.tensor([[1.0, -1.0, -2.0, 0.0], [2.0, -1.0, 3.0, -4.0]], requires_grad=True))
        mg.exp(mg.ones(2, 2))
    assert seen._seen == {"units ": 0.5}


def test_a_run_that_goes_on_has_noted_the_same():
    whole, first, second = trainer(), trainer(), trainer()
    whole.fit(6, quiet=True)
    first.fit(3, quiet=True)
    second.load_state_dict(first.state_dict())
    second.fit(6, quiet=True)
    assert second.flow.columns == whole.flow.columns and len(second.flow.rows) == 6
    assert np.array_equal(np.array(second.flow.rows), np.array(whole.flow.rows), equal_nan=True)
    old = first.state_dict()
    del old["flow"]  # of a checkpoint from before
    second.load_state_dict(old)


def test_training_is_what_it_was():
    run, bare = trainer(dropout=0.1), trainer(dropout=0.1)
    mg.manual_seed(1)
    run.fit(3, quiet=True)
    mg.manual_seed(1)
    for _ in range(3):
        x, y = next(bare.batches)
        bare.optimizer.zero_grad()
        loss = bare.loss(mg.Tensor(x), mg.Tensor(y))
        loss.backward()
        mg.nn.utils.clip_grad_norm_(bare.model.parameters(), 1.0)
        bare.optimizer.step()
    for a, b in zip(run.model.parameters(), bare.model.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_long_runs_keep_means(monkeypatch):
    monkeypatch.setattr(flow, "POINTS", 4)
    seen = Flow(mg.nn.Linear(1, 1))
    for step in range(35):
        seen._seen = {"x": float(step)}
        seen._end_row()
    assert seen.stride == 8 and [float(row[0]) for row in seen.rows] == [3.5, 11.5, 19.5, 27.5]
    again = Flow(mg.nn.Linear(1, 1))
    again.load_state_dict(seen.state_dict())
    for both in (seen, again):
        for step in range(35, 40):
            both._seen = {"x": float(step)}
            both._end_row()
        assert float(both.rows[-1][0]) == 35.5 and both.stride == 8


def test_columns_that_come_later():
    seen = Flow(mg.nn.Linear(1, 1))
    for row in ({"a": 1.0}, {"a": 2.0, "b": 3.0}, {"b": 4.0}):
        seen._seen = dict(row)
        seen._end_row()
    assert seen.columns == ["a", "b"]
    first, _, last = (row.tolist() for row in seen.rows)
    assert first[0] == 1 and math.isnan(first[1]) and math.isnan(last[0]) and last[1] == 4
