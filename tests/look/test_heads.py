"""What the attention views show is what the model computed: arrays that add up, for every way of attending."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
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
