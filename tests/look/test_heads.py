"""What the attention views show is what the model computed: arrays that add up, for every way of attending."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.core.graph import state
from minigrad.look.pages.heads import attention_layers
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F

SIZES = {"vocab_size": 9, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 8}
IDS = mg.tensor([[1, 5, 3, 2, 7], [1, 1, 1, 1, 1]])


class Looking(nn.Module):
    """A user's own model: an encoder layer, then cross-attention that asks for its weights."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.look = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x, memory):
        mask = mg.ones(5, 5).triu(1).bool()
        x, _ = self.attention(x, x, x, attn_mask=mask, need_weights=False)
        self.seen = self.look(x, memory, memory)
        return self.seen[0]


def adds_up(layer, atol=1e-5):
    assert np.allclose(layer.weights.sum(-1)[layer.allowed.any(-1)], 1, atol=atol)
    assert (layer.weights[~layer.allowed] == 0).all()
    assert np.allclose(layer.weights @ layer.value, layer.output, atol=atol)
    plain = layer.scale * layer.query @ layer.key.swapaxes(-1, -2) + (0 if layer.bias is None else layer.bias)
    assert np.allclose(plain[layer.allowed], layer.scores[layer.allowed], atol=atol)
    assert (layer.scores[~layer.allowed] == -np.inf).all()


@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "relative"])
def test_every_family_adds_up(positions):
    mg.manual_seed(0)
    gpt = attention_layers(GPT(GPTConfig(**SIZES, positions=positions)), [IDS])
    assert [x.path for x in gpt] == ["blocks.0.attention", "blocks.1.attention"]
    assert (~gpt[0].allowed == np.triu(np.ones((5, 5), dtype=bool), 1)).all()
    bert = attention_layers(BERT(BERTConfig(**SIZES, positions=positions)), [IDS])
    assert len(bert) == 2 and bert[0].allowed.all()
    t5 = attention_layers(T5(T5Config(**SIZES, positions=positions)), [IDS, IDS[:, :3]])
    assert [x.kind for x in t5] == ["self"] * 2 + ["self", "cross"] * 2
    for layer in (*gpt, *bert, *t5):
        adds_up(layer)
        assert layer.gradient.shape == layer.weights.shape
        assert (layer.bias is None) == (positions in ("learned", "rotary") or layer.kind == "cross")


def test_gradients_of_the_weights_are_those_of_the_loss():
    mg.manual_seed(0)
    model = Looking().to(mg.float64)
    x, memory = mg.randn(1, 5, 8, dtype=mg.float64), mg.randn(1, 3, 8, dtype=mg.float64)
    first, second = attention_layers(model, [x, memory], loss=lambda out: (out * out).sum())
    adds_up(first)
    adds_up(second)
    assert (first.kind, second.kind, second.weights.shape) == ("self", "cross", (2, 5, 3))
    assert np.allclose(second.weights.mean(0), model.seen[1][0].detach().numpy())

    def loss_with(weights):
        mixed = mg.tensor(weights @ second.value).transpose(0, 1).reshape(5, 8)
        return (model.look.out_proj(mixed) ** 2).sum().item()

    for place in [(0, 0, 0), (1, 4, 2), (1, 2, 1)]:
        step = np.zeros_like(second.weights)
        step[place] = 1e-6
        slope = (loss_with(second.weights + step) - loss_with(second.weights - step)) / 2e-6
        assert slope == pytest.approx(second.gradient[place], rel=1e-5)
    assert all(p.grad is None for p in model.parameters()) and model.training


@pytest.mark.parametrize("positions", ["learned", "alibi"])
def test_gradients_of_fused_weights_lead_to_those_of_the_queries(positions):
    """dS = A * (dA - sum(A * dA)) and dQ = scale * dS @ K: by hand from the dL/dA shown, against the engine's."""
    mg.manual_seed(0)
    model = GPT(GPTConfig(**SIZES, positions=positions)).to(mg.float64)
    with mg.no_grad():
        for p in model.parameters():
            p.add_(0.3 * mg.randn(p.shape, dtype=p.dtype))
    layers = attention_layers(model, [IDS[:, :-1], IDS[:, 1:]])
    asked = []
    for block in model.blocks:
        block.attention.query.register_forward_hook(lambda module, args, out: (asked.append(out), out.retain_grad())[1])
    model(IDS[:, :-1], IDS[:, 1:])[1].backward()
    for layer, query in zip(layers, asked, strict=True):
        expected = query.grad.numpy()[0].reshape(4, 2, 4).swapaxes(0, 1)  # (T, H * D) -> (H, T, D)
        A, dA = layer.weights, layer.gradient
        dS = A * (dA - (A * dA).sum(-1, keepdims=True))
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(layer.scale * dS @ layer.key, expected, atol=1e-12)


@pytest.mark.parametrize("method", ["longformer", "performer"])
def test_efficient_variants_show_what_they_imply_beside_the_exact(method):
    mg.manual_seed(0)
    layers = attention_layers(GPT(GPTConfig(**SIZES, attention=method, window=2, features=64)), [IDS])
    assert [x.path for x in layers] == ["blocks.0.attention.efficient", "blocks.1.attention.efficient"]
    for layer in layers:
        assert np.allclose(layer.weights @ layer.value, layer.output, atol=1e-5)
        assert np.allclose(layer.exact.sum(-1), 1, atol=1e-5) and layer.cost
        assert np.abs(layer.exact - layer.weights).max() > 1e-4
        assert (layer.weights[:, np.triu(np.ones((5, 5), dtype=bool), 1)] == 0).all()


def test_no_gradient_mode_padding_and_masks_of_ones_own():
    class Masked(nn.Module):
        def forward(self, x):
            keep = mg.tensor([[True, True, False]])
            return F.scaled_dot_product_attention(x, x, x, attn_mask=keep)

    with mg.no_grad():
        (layer,) = attention_layers(Masked(), [mg.randn(3, 4)])
    adds_up(layer)
    assert layer.gradient is None and layer.weights.shape == (1, 3, 3) and (layer.weights[..., 2] == 0).all()


def test_a_model_without_attention_is_told():
    with pytest.raises(ValueError, match="Linear ran no attention that can be seen"):
        attention_layers(nn.Linear(2, 2), [mg.ones(1, 2)])


class Asks(nn.Module):
    """One call of the function, with whatever constants."""

    def __init__(self, **constants):
        super().__init__()
        self.constants = constants

    def forward(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, **self.constants)


def tensors(*shapes):
    rng = np.random.default_rng(3)
    return [mg.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


def test_one_call_with_a_scale_and_a_bias_that_forbids():
    query, key, value = tensors((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2))
    bias = np.random.default_rng(1).normal(size=(4, 6))
    bias[1, 2:] = -np.inf
    (layer,) = attention_layers(Asks(attn_mask=mg.tensor(bias), scale=0.3), [query, key, value])
    assert (layer.path, layer.kind, layer.method, layer.scale) == ("Asks", "cross", "exact", 0.3)
    for found, tensor in ((layer.query, query), (layer.key, key), (layer.value, value)):
        np.testing.assert_array_equal(found, tensor.detach().numpy()[0])
    np.testing.assert_array_equal(layer.allowed, np.broadcast_to(np.isfinite(bias), (3, 4, 6)))
    np.testing.assert_array_equal(layer.bias, np.broadcast_to(np.where(np.isfinite(bias), bias, 0), (3, 4, 6)))
    adds_up(layer, atol=1e-12)
    assert layer.exact is None and layer.cost is None


def test_a_bias_that_only_forbids_or_is_0_is_a_mask():
    query, key, value = tensors((4, 5), (4, 5), (4, 5))
    forbids = np.where(np.tri(4) == 1, 0.0, -np.inf)
    for bias in (forbids, np.zeros((4, 4)), np.full((4, 4), -np.inf)):
        (layer,) = attention_layers(Asks(attn_mask=mg.tensor(bias)), [query, key, value])
        assert layer.bias is None and layer.kind == "self" and (layer.allowed == np.isfinite(bias)).all()
        assert layer.scale == pytest.approx(5**-0.5) and layer.query.shape == (1, 4, 5)
        adds_up(layer, atol=1e-12) if np.isfinite(bias).any() else None


def test_a_mask_and_causal():
    query, key, value = tensors((1, 4, 5), (1, 4, 5), (1, 4, 5))
    keep = np.random.default_rng(0).random((1, 4, 4)) > 0.3
    (layer,) = attention_layers(Asks(attn_mask=mg.tensor(keep)), [query, key, value])
    np.testing.assert_array_equal(layer.allowed, keep)
    (layer,) = attention_layers(Asks(is_causal=True), [query, key, value])
    np.testing.assert_array_equal(layer.allowed[0], np.tri(4) == 1)


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
@pytest.mark.parametrize("memory", [True, False])
def test_attention_that_gives_its_weights_away(mask, memory):
    """Self or cross by what it is given, of whatever length; the mask is seen again."""
    x, other = tensors((1, 5, 8), (1, 5, 8))
    given = {"none": None, "bool": np.triu(np.ones((5, 5), dtype=bool), 1), "float": np.tri(5) * 0.7}[mask]

    class Gives(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = nn.MultiheadAttention(8, 2, batch_first=True).to(mg.float64)

        def forward(self, x, other):
            out, self.weights = self.look(
                x, other, other, attn_mask=None if given is None else mg.tensor(given), average_attn_weights=False
            )
            return out

    model = Gives()
    (layer,) = attention_layers(model, [x, other if memory else x])
    assert layer.kind == ("cross" if memory else "self") and layer.path == "look" and layer.method == "exact"
    np.testing.assert_array_equal(layer.weights, model.weights.detach().numpy()[0])
    adds_up(layer)
    if mask == "float":
        np.testing.assert_allclose(layer.bias, np.broadcast_to(given, (2, 5, 5)), atol=1e-12)
    else:
        assert layer.bias is None
        assert (~layer.allowed == (False if given is None else given)).all()
    assert not model.look._pre_hooks and not model.look._hooks


def test_the_loss_is_the_models_own_or_that_of_its_likeliest_answers():
    mg.manual_seed(0)
    model = GPT(GPTConfig(**SIZES))

    def likeliest(output):
        logits = output[0].reshape(10, 9)
        return F.cross_entropy(logits, mg.tensor(logits.detach().numpy().argmax(1)))

    own, given = attention_layers(model, [IDS]), attention_layers(model, [IDS], loss=likeliest)
    with_targets = attention_layers(model, [IDS, IDS])
    by_hand = attention_layers(model, [IDS], loss=lambda output: F.cross_entropy(output[0].view(10, 9), IDS.view(10)))
    for a, b in zip((*own, *with_targets), (*given, *by_hand), strict=True):
        np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-4, atol=1e-9)
        assert np.abs(a.gradient).max() > 1e-7
    assert np.abs(own[0].gradient - with_targets[0].gradient).max() > 1e-7


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_who_else_is_watching_are_left_as_they_were(training):
    mg.manual_seed(0)
    model = Looking().train(training)
    model.attention.dropout = model.look.dropout = 0.9
    seen = []

    def observer(*called):
        seen.append(called)

    state.observer = observer
    inputs = tensors((1, 5, 8), (1, 3, 8))
    model.to(mg.float64)
    try:
        layers = attention_layers(model, inputs, loss=lambda out: out.sum())
        assert state.observer is observer and len(seen) == 1, "the loss is not of the model"
        with pytest.raises(ValueError, match="ran no attention"):
            attention_layers(nn.Linear(8, 2).to(mg.float64), inputs[:1])
        with pytest.raises(ValueError, match="must end in the input size"):
            attention_layers(model, [inputs[0], mg.ones(1, 3, 7, dtype=mg.float64)])
        assert state.observer is observer
    finally:
        state.observer = None
    assert model.training is training and model.look.training is training
    assert not any(m._hooks or m._pre_hooks for m in model.modules())
    assert (layers[1].weights.sum(-1) == pytest.approx(1)) and all(x.grad is None for x in inputs)
    for layer in layers:
        adds_up(layer)


@pytest.mark.parametrize("causal", [True, False])
def test_what_an_efficient_variant_costs_and_ignores(causal):
    mg.manual_seed(0)
    attention = nn.LongformerAttention(1)
    query, key, value = (x.float().detach() for x in tensors((2, 3, 6, 4), (2, 3, 6, 4), (2, 3, 6, 4)))
    ignored = mg.tensor([[False] * 5 + [True]] * 2)
    for inputs in ([query, key, value, ignored, causal], [query, key, value], [query, key, value, ignored]):
        (layer,) = attention_layers(attention, inputs, loss=lambda out: out.sum())
        asked, padded = len(inputs) == 5 and causal, len(inputs) > 3
        assert layer.cost == attention.cost(6, 6, 4, is_causal=asked) and layer.method == "LongformerAttention"
        expected = np.ones((6, 6), dtype=bool) if not asked else np.tri(6) == 1
        expected = expected & (np.arange(6) < 5) if padded else expected
        assert (layer.allowed == expected).all() and (layer.exact[:, ~expected] == 0).all()
        assert np.allclose(layer.weights @ layer.value, layer.output, atol=1e-5)
        implied = attention.implied_weights(*inputs[:2], *([*inputs[3:], None, False][:2] if padded else (None, False)))
        np.testing.assert_array_equal(layer.weights, implied.numpy()[0])
