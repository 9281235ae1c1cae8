"""The record of a run: complete, deterministic, plain data, and its gradients are those of backward()."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.look.recording import Summary, Trace, summarize, trace
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F


def neuron():
    mg.manual_seed(0)
    x = mg.tensor([2.0, 3.0], requires_grad=True)
    w = mg.tensor([[1.0, -1.0], [0.5, 2.0]], requires_grad=True)
    product = w * x
    hidden = product.sum(1).tanh()
    loss = (hidden * hidden).sum()
    loss.backward()
    return x, w


def small_gpt():
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=4))
    loss = model(mg.tensor([[0, 1, 2]]), mg.tensor([[1, 2, 3]]))[1]
    loss.backward()
    return model


def whole(summary: Summary) -> np.ndarray:
    return np.array(summary.data, dtype=summary.dtype).reshape(summary.shape)


def final_gradients(record: Trace) -> dict[str, np.ndarray]:
    return {
        record.label(g.tensor): whole(g.after)
        for step in record.passes[-1].steps
        for g in step.grads
        if g is not None and g.waiting == 0 and record.tensors[g.tensor].kind in ("leaf", "parameter")
    }


def test_names_lines_formulas_and_what_was_saved():
    with trace() as t:
        neuron()
    assert [o.op for o in t.ops] == ["mul", "sum", "tanh", "mul", "sum"]
    assert [x.name for x in t.tensors if x.kind == "leaf"] == ["w", "x"]
    assert t.label(t.ops[0].output) == "product" and t.label(t.ops[2].output) == "hidden"
    assert t.label(t.passes[0].root) == "loss" and t.label(t.ops[1].output) == "sum_1"
    first = t.ops[0]
    assert first.formulas[0].startswith("z = ") and first.source.text == "product = w * x"
    assert first.source.function == "neuron" and first.source.file.endswith("test_trace.py")
    assert first.saved.keys() == {"x", "y"} and whole(first.saved["y"]).tolist() == [2, 3]
    assert t.ops[1].constants["axis"] == 1
    assert t.passes[0].source.text == "loss.backward()"


def test_steps_say_before_after_and_how_many_are_awaited():
    with trace() as t:
        neuron()
    square = next(s for s in t.passes[0].steps if t.ops[s.op].id == 3)
    first, second = square.grads
    assert (first.tensor, first.before, first.waiting) == (second.tensor, None, 1)
    assert second.waiting == 0 and whole(second.after).tolist() == (2 * whole(first.contribution)).tolist()
    assert whole(second.before).tolist() == whole(first.after).tolist()


@pytest.mark.parametrize("program", [neuron, small_gpt])
def test_gradients_are_those_of_backward_bit_for_bit(program):
    plain = program()
    with trace(limit=10**6) as t:
        recorded = program()
    found = final_gradients(t)
    pairs = zip(("x", "w"), zip(plain, recorded, strict=True), strict=True) if program is neuron else ()
    for name, (a, b) in pairs:
        assert (a.grad == b.grad).all() and (found[name] == a.grad.numpy()).all()
    if program is small_gpt:
        names = dict(plain.named_parameters())
        assert found.keys() == names.keys()
        for (name, a), b in zip(names.items(), recorded.parameters(), strict=True):
            assert (a.grad == b.grad).all() and (found[name] == a.grad.numpy()).all()


def test_gradients_that_were_there_are_added_to():
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    (w * 2).sum().backward()
    with trace() as t:
        (w * 3).sum().backward()
    (last,) = (g for g in t.passes[0].steps[-1].grads if g is not None)
    assert (last.before.data, last.contribution.data, last.after.data) == ([2, 2], [3, 3], [5, 5])
    assert w.grad.tolist() == [5, 5]


def test_modules_have_paths_and_parameters_names():
    with trace() as t:
        model = small_gpt()
    modules = {o.module for o in t.ops}
    assert {"token_embedding", "blocks.1.attention.query", "blocks.0.mlp.activation", "head"} <= modules
    assert {o.module_type for o in t.ops if o.module == "blocks.0.attention.key"} == {"Linear"}
    recorded = {x.name for x in t.tensors if x.kind == "parameter"}
    assert recorded == dict(model.named_parameters()).keys()
    lines = {o.source.text for o in t.ops if o.module == "blocks.0.attention"}
    assert any(line.startswith("return F.scaled_dot_product_attention") for line in lines)


@pytest.mark.parametrize("program", [neuron, small_gpt])
def test_json_comes_back_and_is_the_same_for_the_same_program(program, tmp_path):
    texts = []
    for _ in range(2):
        with trace() as t:
            program()
        texts.append(t.to_json())
    assert texts[0] == texts[1]
    assert Trace.from_json(texts[0]) == t
    t.save(tmp_path / "run.json")
    assert Trace.load(tmp_path / "run.json") == t
    with pytest.raises(ValueError, match="schema 99"):
        Trace.from_json(json.dumps({**json.loads(texts[0]), "schema": 99}))
    for broken in (texts[0][:50], "[]", '{"schema": 1}'):
        with pytest.raises(ValueError, match="no trace written by minigrad"):
            Trace.from_json(broken)


def test_a_trace_is_printed_in_one_line():
    with trace() as record:
        neuron()
    assert repr(record) == "Trace(5 ops, 7 tensors, 1 backward pass)"
    assert repr(Trace()) == "Trace(0 ops, 0 tensors, 0 backward passes)"


def test_summaries():
    small = summarize(np.array([[1, np.nan], [np.inf, 0.1]], dtype=np.float32))
    assert small.data == [1.0, "nan", "inf", 0.1] and small.nonfinite == 2 and (small.min, small.max) == (0.1, 1.0)
    large = summarize(np.arange(3000, dtype=np.float32).reshape(3, 10, 100))
    assert large.data is None and sum(large.histogram) == 3000 and len(large.corner) == 8
    assert large.corner[1] == [100, 101, 102, 103, 104, 105, 106, 107]
    assert summarize(np.arange(1000)).corner == [list(range(8))]
    empty = summarize(np.zeros((0, 3)))
    assert empty.data == [] and empty.min is None
    flags = summarize(np.array(True))
    assert flags.data == [True] and flags.shape == []
    x = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    assert (np.array(summarize(x).data, dtype=np.float32) == x).all()


def test_what_takes_no_part_in_a_graph_is_not_recorded():
    with trace() as t:
        mask = mg.ones(2, 2).tril()
        x = mg.randn(2, 2, requires_grad=True)
        with mg.no_grad():
            x * 2
        loss = (x * mask).sum()
    assert [o.op for o in t.ops] == ["mul", "sum"]
    assert [x.kind for x in t.tensors] == ["leaf", "constant", "result", "result"]
    assert t.tensors[1].name == "mask" and not t.passes
    loss.backward()
    assert not t.passes, "the recording has ended"


def test_a_graph_from_before_the_recording():
    x = mg.randn(3, requires_grad=True)
    y = x * 2
    with trace() as t:
        z = y * 3
        z.sum().backward()
    assert x.grad.tolist() == [6, 6, 6]
    assert [o.op for o in t.ops] == ["mul", "sum"]
    assert len(t.passes[0].steps) == 2


def test_arrays_are_kept_on_request():
    with (recording := trace(live=True)) as t:
        neuron()
    keeper = recording.recorder
    op, inputs, constants = keeper.calls[0]
    assert (op(*inputs, **constants)[0] == keeper.arrays[t.ops[0].output]).all()


def test_a_module_of_the_users_and_attention_constants():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(mg.ones(1))

        def forward(self, x):
            mixed = F.scaled_dot_product_attention(x, x, x, is_causal=True)
            return mixed * self.scale

    with trace() as t:
        head = Head()
        x = mg.randn(1, 3, 2, requires_grad=True)
        head(x).sum().backward()
    assert [o.module for o in t.ops] == ["Head", "Head", ""]
    assert t.ops[0].constants["is_causal"] is True
    assert "scale" in {x.name for x in t.tensors}


def test_a_gradient_of_a_gradient_is_recorded_with_the_lines_of_the_backward():
    with trace() as record:
        x = mg.tensor([0.5, -1.0], requires_grad=True)
        y = x.tanh()
        (g,) = mg.autograd.grad(y.sum(), x, create_graph=True)
        g.sum().backward()
    behind = [record.ops[i] for i in record.ancestors(record.passes[-1].root)]
    assert [op.op for op in behind] == ["tanh", "mul", "sub", "mul", "sum"]
    made = [op for op in behind if op.module == "tanh_backward"]
    assert {op.source.text for op in made} == {"return (dz * (1 - z * z),)"}
    assert [record.label(i["tensor"]) for op in made for i in op.inputs if "tensor" in i][-2] == "dz"
    assert [record.label(op.output) for op in made][-1] == "g"


def test_a_backward_that_makes_a_graph_is_recorded_in_plain_numbers():
    with trace() as record, pytest.warns(UserWarning, match="cycle"):
        x = mg.tensor([0.5, -1.0], requires_grad=True)
        x.tanh().sum().backward(create_graph=True)
    assert [record.ops[s.op].op for s in record.passes[0].steps] == ["sum", "tanh"]
    assert record.passes[0].steps[1].grads[0].contribution.data == pytest.approx(x.grad.tolist())
