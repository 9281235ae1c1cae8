"""The one page of NumPy says what the model says, and steps back wherever the model is not just as it is written."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.inference import Page, covers
from minigrad.models.llama import Llama, LlamaConfig
from minigrad.models.llama_inference import LlamaPage

generate = importlib.import_module("minigrad.models.generate")
attention = importlib.import_module("minigrad.models.attention")
IDS = mg.tensor([[3, 1, 4], [1, 5, 9]])


def make(dtype=mg.float32, **settings):
    mg.manual_seed(1)
    model = GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=12, dropout=0.1, **settings))
    with mg.no_grad():
        for p in model.parameters():
            p.add_(0.3 * mg.randn(*p.shape))  # no bias is 0, no scale 1
    return model.to(dtype).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "atol"), [(mg.float32, 2e-5), (mg.float64, 1e-12)])
@pytest.mark.parametrize("lengths", [(1, 2, 3, 8), (5, 6, 8, 9, 10), (9, 10), (3, 3 + 4, 8)])
def test_the_logits_are_the_models(lengths, dtype, atol, bias):
    model, ids = make(dtype, bias=bias), mg.randint(0, 11, (3, 10))
    assert covers(model, ids)
    page = Page(model, 3)
    for length in lengths:
        found = page.logits(ids[:, :length].numpy())
        with mg.no_grad():
            wanted = model(ids[:, :length][:, -8:])[0][:, -1].numpy()
        assert found.dtype == dtype and found.shape == (3, 11)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


def test_generate_writes_with_it(monkeypatch):
    used = []

    class Used(Page):
        def __init__(self, *args):
            used.append(args)
            super().__init__(*args)

    monkeypatch.setattr(generate, "PAGES", [Used])
    model = make(mg.float64)
    with_page = model.generate(IDS, 12, 1.0, generator=mg.Generator().manual_seed(3))
    assert len(used) == 1
    without = model.generate(IDS, 12, 1.0, generator=mg.Generator().manual_seed(3), use_cache=False)
    assert len(used) == 1 and (with_page == without).all()
    with mg.no_grad():
        model.head.weight.mul_(-1)
    assert (model.generate(IDS, 1, 0) != with_page[:, :4]).any()  # the weights are those of now


def make_llama(dtype=mg.float32, **settings):
    mg.manual_seed(1)
    model = Llama(LlamaConfig(11, 8, 2, 4, 16, **{"n_kv_head": 2, "n_hidden": 20, **settings}))
    with mg.no_grad():
        for p in model.parameters():
            p.add_(0.3 * mg.randn(*p.shape))
    return model.to(dtype).eval()


@pytest.mark.parametrize("settings", [{}, {"n_kv_head": 4, "interleaved": False}, {"n_kv_head": 1, "tied": False}])
@pytest.mark.parametrize("lengths", [(1, 2, 3, 8), (5, 6, 8, 9, 10), (3, 3 + 4, 8)])
def test_the_logits_are_those_of_a_llama(lengths, settings):
    model, ids = make_llama(mg.float64, **settings), mg.randint(0, 11, (3, 10))
    assert covers(model, IDS, LlamaPage) and not covers(model, IDS)
    page = LlamaPage(model, 3)
    for length in lengths:
        with mg.no_grad():
            wanted = model(ids[:, :length][:, -8:])[0][:, -1].numpy()
        np.testing.assert_allclose(page.logits(ids[:, :length].numpy()), wanted, rtol=0, atol=1e-12)
    assert make_llama().generate(IDS, 6, 0).tolist() == make_llama().generate(IDS, 6, 0, use_cache=False).tolist()
    model.blocks[1].mlp.gate = Shifted(16, 20, bias=False).double()
    assert not covers(model, IDS, LlamaPage)


def test_a_stream_may_be_left_at_any_time():
    model = make().train()
    stream = model.stream(IDS, 0)
    first = [next(stream), next(stream)]
    assert mg.is_grad_enabled(), "what runs between two tokens is in no mode of the stream's"
    stream.close()
    assert model.training and (mg.cat([IDS, *first], dim=1) == model.generate(IDS, 2, 0)).all()


class Shifted(nn.Linear):
    def forward(self, input):
        return super().forward(input) + 1


def patched_class(model):
    attention.Attention.attend = lambda self, query, key, value, *_: value


def instance_method(model):
    model.blocks[0].attention.attend = lambda query, key, value, *_: value


def subclass(model):
    model.blocks[1].mlp.expand = Shifted(12, 48)


def exact_gelu(model):
    model.blocks[1].mlp.activation = nn.GELU()


def another_norm(model):
    model.norm = nn.LayerNorm(12, elementwise_affine=False)


def short_vectors(model):
    model.token_embedding = nn.Embedding(11, 12, max_norm=0.1)


def computed_weight(model):
    nn.utils.weight_norm(model.blocks[0].mlp.expand)


CHANGES = [
    patched_class,
    instance_method,
    subclass,
    exact_gelu,
    another_norm,
    short_vectors,
    computed_weight,
    lambda model: model.norm.register_forward_hook(lambda module, args, output: output * 2),
    lambda model: model.blocks[0].register_forward_pre_hook(lambda module, args: None),
    lambda model: model.half(),
    lambda model: model.norm.double(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_was_changed_runs_itself(change, monkeypatch):
    monkeypatch.setattr(attention.Attention, "attend", attention.Attention.attend)  # put back afterwards
    model = make()
    assert covers(model, IDS)
    change(model)
    assert not covers(model, IDS)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "alibi", "relative"])
def test_other_positions_run_the_model(positions):
    assert not covers(make(positions=positions), IDS)


def test_wrong_ids_are_refused_as_the_model_refuses_them():
    model = make()
    for wrong in ([[11]], [[-1]]):
        with pytest.raises(IndexError, match="rows 0 to 10"):
            model.generate(mg.tensor(wrong), 1)
    with pytest.raises(TypeError):
        model.generate(mg.tensor([[1.0]]), 1)


def test_who_watches_sees_the_ops():
    model = make()
    with mg.trace():
        assert not covers(model, IDS)
    assert covers(model, IDS)
