"""Planted bugs and paths: the replay without a bug is the engine, each bug goes wrong where it must."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.look.mistakes import BUGS, with_bug
from minigrad.look.pages import paths
from minigrad.look.recording import trace
from minigrad.look.replay import Replay
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F
from minigrad.optim import SGD


def neuron():
    x = mg.tensor([[2.0, 3.0], [1.0, -1.0], [0.5, 2.0]])
    w = mg.tensor([0.5, -0.25], requires_grad=True)
    b = mg.tensor(0.1, requires_grad=True)
    score = x @ w + b
    y = score.tanh()
    loss = (score * y).sum()
    loss.backward()
    return w, b


def attention():
    """Attention by hand, with scores that are not small."""
    mg.manual_seed(1)
    query, key, value = (mg.randn(3, 4, requires_grad=True) for _ in range(3))
    weights = F.softmax(query @ key.T / math.sqrt(4), dim=-1)
    loss = (weights @ value).pow(2).sum()
    loss.backward()
    return query, key, value


def small_gpt():
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=4))
    optimizer = SGD(model.parameters(), lr=0.1)
    loss = model(mg.tensor([[0, 1, 2]]), mg.tensor([[1, 2, 3]]))[1]
    loss.backward()
    gradients = [p.grad.numpy().copy() for p in model.parameters()]
    optimizer.step()  # what was recorded does not change with it
    return model, gradients


def recorded(program):
    recording = trace(live=True)
    with recording:
        result = program()
    return recording.recorder, result


def whole(summary):
    return np.array(summary.data, dtype=float).reshape(summary.shape)


def test_without_a_bug_the_replay_is_the_engine():
    for program in (neuron, attention):
        recorder, leaves = recorded(program)
        replay = Replay(recorder).backward()
        assert [s.op for s in replay.steps] == [s.op for s in recorder.trace.passes[0].steps]
        assert [s.record(recorder.limit) for s in replay.steps] == recorder.trace.passes[0].steps
        arrays = [g for t, g in replay.gradients.items() if recorder.trace.tensors[t].kind == "leaf"]
        assert len(arrays) == len(leaves)
        assert all(any(np.array_equal(a, leaf.grad.numpy()) for a in arrays) for leaf in leaves)


def test_the_replay_is_of_the_weights_before_the_update():
    recorder, (model, gradients) = recorded(small_gpt)
    replay = Replay(recorder).backward()
    names = {t.name: t.id for t in recorder.trace.tensors if t.kind == "parameter"}
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        assert np.array_equal(replay.gradients[names[name]], gradient), name


@pytest.mark.parametrize("name", ["overwrite", "depth-first", "no-unbroadcast"])
def test_a_bug_parts_and_the_judge_says_who_is_right(name):
    recorder, _ = recorded(neuron)
    report = with_bug(name, recorder)
    right = {s.op: s for s in recorder.trace.passes[0].steps}
    assert report.parts is not None and report.error is None and report.loss[0] == report.loss[1]
    assert report.order[report.parts] == report.steps[0].op
    assert report.steps[0] != right[report.steps[0].op]
    assert len(report.order) == len(right) and len(report.steps) == len(right) - report.parts
    judge = report.judge
    assert judge.right == pytest.approx(judge.slope, rel=1e-4) and judge.wrong != pytest.approx(judge.slope, rel=0.01)


def test_where_each_bug_parts():
    recorder, (_, b) = recorded(neuron)
    ops = {o.op: o.id for o in recorder.trace.ops}
    label = recorder.trace.label
    overwrite = with_bug("overwrite", recorder)  # score gets two contributions: the second is from tanh
    assert overwrite.steps[0].op == ops["tanh"]
    second = overwrite.steps[0].grads[0]
    assert label(second.tensor) == "score" and second.after == second.contribution != second.before
    early = with_bug("depth-first", recorder)  # score has what mul sent, and not yet what tanh will
    assert early.steps[0].op == ops["add"] and early.order[2] == ops["add"]
    shape = with_bug("no-unbroadcast", recorder)
    assert shape.steps[0].op == ops["add"] and label(shape.judge.tensor) == "b"
    (wrong,) = (g.after for g in shape.steps[0].grads if label(g.tensor) == "b")
    assert wrong.shape == [3] and whole(wrong).sum() == pytest.approx(b.grad.item())


def test_another_order_is_not_wrong_by_itself():
    def program():
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        (x * 2 + x * 3).sum().backward()

    recorder, _ = recorded(program)
    report = with_bug("depth-first", recorder)
    assert report.order != [s.op for s in recorder.trace.passes[0].steps] and report.parts is None


def test_rounding_is_no_bug():
    def program():
        mg.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=5, block_size=16, n_layer=1, n_head=2, n_embd=32))
        ids = mg.randint(0, 5, (4, 16))
        model(ids, ids)[1].backward()  # the bias of the keys has no influence: its gradient is rounding alone

    recorder, _ = recorded(program)
    assert with_bug("no-max-shift", recorder).parts is None


def test_the_same_infinity_is_no_bug():
    def program():
        x = mg.tensor([0.0, 4.0], requires_grad=True)
        x.sqrt().sum().backward()

    with np.errstate(all="ignore"):
        recorder, _ = recorded(program)
    assert with_bug("depth-first", recorder).parts is None
    found = paths.explore(Replay(recorder).backward())
    assert [e.gradient for e in found.elements] == [math.inf, 0.25]


def test_attention_without_scale():
    recorder, _ = recorded(attention)
    report = with_bug("no-scale", recorder)
    assert report.loss[0] != pytest.approx(report.loss[1]) and report.judge.right == pytest.approx(
        report.judge.slope, rel=1e-3
    )
    fused, _ = recorded(small_gpt)
    assert with_bug("no-scale", fused).parts is not None


@pytest.mark.parametrize(
    "program",
    [
        lambda x: F.softmax(x, dim=-1)[0, 0],
        lambda x: F.cross_entropy(x, mg.tensor([0, 1])),
        lambda x: F.scaled_dot_product_attention(x, x, x).sum(),
    ],
)
def test_softmax_without_shift_overflows_only_for_large_scores(program):
    def with_scores(size):
        x = mg.tensor([[1.0, 2.0], [0.5, -1.0]], requires_grad=True)
        program(x * size).backward()

    recorder, _ = recorded(lambda: with_scores(0.1))
    assert with_bug("no-max-shift", recorder).parts is None
    recorder, _ = recorded(lambda: with_scores(100.0))
    report = with_bug("no-max-shift", recorder)
    assert report.parts is not None and math.isnan(report.judge.wrong) and math.isfinite(report.judge.slope)


def test_what_cannot_be_replayed_is_said():
    recorder, _ = recorded(neuron)
    with pytest.raises(ValueError, match=f"choose one of {', '.join(BUGS)}"):
        with_bug("typo", recorder)
    recording = trace()
    with recording:
        neuron()
    with pytest.raises(ValueError, match="live=True"):
        with_bug("overwrite", recording.recorder)


@pytest.mark.parametrize("program", [neuron, attention])
def test_the_paths_add_up_to_the_gradient(program):
    recorder, leaves = recorded(program)
    found = paths.explore(Replay(recorder))
    names = {id(leaf): leaf for leaf in leaves}
    by_tensor = {}
    for element in found.elements:
        by_tensor.setdefault(element.tensor, []).append(element)
        assert element.count >= len(element.paths) > 0
        sizes = [abs(p.product) for p in element.paths]
        assert sizes == sorted(sizes, reverse=True)
        for path in element.paths:
            assert path.product == pytest.approx(math.prod(path.derivatives))
            assert len(path.places) == len(path.ops) + 1 == len(path.slots) + 1
        if element.count == len(element.paths):
            assert sum(p.product for p in element.paths) == pytest.approx(element.gradient)
    assert len(by_tensor) == len(names)
    gradients = [leaf.grad.numpy().ravel() for leaf in leaves]
    for elements in by_tensor.values():
        mine = [e.gradient for e in elements]
        assert any(len(g) == len(mine) and np.allclose(mine, g, rtol=1e-4, atol=1e-6) for g in gradients)


def test_each_use_of_a_number_is_a_path():
    recorder, _ = recorded(lambda: (lambda x: (x * x + x).backward())(mg.tensor(3.0, requires_grad=True)))
    (element,) = paths.explore(Replay(recorder)).elements
    assert (element.count, element.gradient) == (3, 7.0)
    assert [p.product for p in element.paths] == [3.0, 3.0, 1.0]
    assert {p.slots[0] for p in element.paths[:2]} == {0, 1}


def test_a_large_graph_has_a_note_in_place_of_paths():
    def program():
        x = mg.randn(300, requires_grad=True)
        (x.view(300, 1) * x).sum().backward()

    recorder, _ = recorded(program)
    found = paths.explore(Replay(recorder))
    assert not found.elements and "local derivatives between single numbers" in found.note
