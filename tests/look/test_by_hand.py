"""Attention that programs write themselves is seen from the ops that ran, and what is odd about it is said."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from annotated import AnnotatedTransformer

import minigrad as mg
from minigrad import nn
from minigrad.look.pages.attention_page import attention
from minigrad.look.pages.heads import attention_layers
from minigrad.look.pages.what_if import ask
from minigrad.nn import functional as F

IDS = mg.tensor([[1, 5, 3, 2, 7], [4, 4, 1, 6, 0]])
B, T, C = 2, 5, 12


def see(layer, notes=()):
    """The arrays add up as those of a softmax do."""
    assert layer.notes == list(notes) and layer.exact is None and layer.method == "exact"
    plain = layer.scale * layer.query @ layer.key.swapaxes(-1, -2) + (0 if layer.bias is None else layer.bias)
    assert np.allclose(plain[layer.allowed], layer.scores[layer.allowed], atol=1e-5)
    assert np.allclose(layer.weights.sum(-1), 1, atol=1e-5) and (layer.weights[~layer.allowed] == 0).all()
    assert np.allclose(layer.weights @ layer.value, layer.output, atol=1e-5)
    assert layer.gradient.shape == layer.weights.shape and np.abs(layer.gradient).max() > 0
    return layer


def causal(layer):
    return (layer.allowed == np.tri(*layer.allowed.shape[1:])).all()


# In the manner of well-known programs


class Head(nn.Module):
    """One head of a small GPT built in a lecture: each a module, side by side in a list."""

    def __init__(self, size):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(C, size, bias=False) for _ in range(3))
        self.register_buffer("tril", mg.tril(mg.ones(8, 8)))
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        t = x.shape[1]
        k, q = self.key(x), self.query(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        wei = wei.masked_fill(self.tril[:t, :t] == 0, float("-inf"))
        wei = self.dropout(F.softmax(wei, dim=-1))
        return wei @ self.value(x)


class Lecture(nn.Module):
    def __init__(self, heads=3):
        super().__init__()
        self.token, self.place = nn.Embedding(9, C), nn.Embedding(8, C)
        self.heads = nn.ModuleList([Head(C // heads) for _ in range(heads)])
        self.proj, self.out = nn.Linear(C, C), nn.Linear(C, 9)

    def forward(self, ids):
        x = self.token(ids) + self.place(mg.arange(ids.shape[1]))
        return self.out(x + self.proj(mg.cat([head(x) for head in self.heads], dim=-1)))


class Joined(nn.Module):
    """All heads in one product, from one layer for query, key and value or from three, as small GPTs write it."""

    def __init__(self, fused, fill=-math.inf, order="scale, mask"):
        super().__init__()
        self.token, self.fused, self.fill, self.order = nn.Embedding(9, C), fused, fill, order
        self.layers = nn.ModuleList([nn.Linear(C, 3 * C)] if fused else [nn.Linear(C, C) for _ in range(3)])
        self.proj, self.out = nn.Linear(C, C), nn.Linear(C, 9)
        self.register_buffer("bias", mg.tril(mg.ones(8, 8)).view(1, 1, 8, 8))

    def forward(self, ids):
        x = self.token(ids)
        b, t, c = x.size()
        q, k, v = self.layers[0](x).split(C, dim=2) if self.fused else (layer(x) for layer in self.layers)
        q, k, v = (each.view(b, t, 3, c // 3).transpose(1, 2) for each in (q, k, v))
        att = q @ k.transpose(-2, -1)
        for what in self.order.split(", "):
            if what == "scale":
                att = att * (1.0 / math.sqrt(k.size(-1)))
            elif what == "mask":
                att = att.masked_fill(self.bias[:, :, :t, :t] == 0, self.fill)
            elif what == "add":
                att = att + (self.bias[:, :, :t, :t] == 0).float() * -1e9
            elif what == "where":
                att = mg.where(self.bias[:, :, :t, :t] == 1, att, mg.tensor(-math.inf))
        y = F.softmax(att, dim=-1) @ v
        return self.out(self.proj(y.transpose(1, 2).contiguous().view(b, t, c)))


def layers_of(model, *inputs):
    mg.manual_seed(0)
    return attention_layers(model, inputs or [IDS])


def test_heads_that_are_modules_side_by_side_are_one_layer():
    (layer,) = layers_of(Lecture())
    see(layer)
    assert layer.path == "heads.0 … 2" and layer.weights.shape == (3, T, T) and causal(layer)
    assert layer.scale == pytest.approx(4**-0.5) and layer.kind == "self"
    model = Lecture()
    expected = []
    for head in model.heads:
        head.register_forward_hook(lambda module, args, out: expected.append(out.detach().numpy()[0]))
    (layer,) = layers_of(model)
    assert np.allclose(layer.output, np.stack(expected))


def test_heads_side_by_side_are_joined_where_they_are_alike():
    (layer,) = layers_of(Lecture(2))
    assert layer.path == "heads.0 … 1" and [place.heads for place in layer.places] == [slice(0, 1)] * 2
    assert layer.places[0].op < layer.places[1].op

    class Apart(Lecture):
        """Heads under names of their own, one of which may read less."""

        def __init__(self, names, less):
            super().__init__(2)
            self.less = less
            self.heads = nn.ModuleDict(dict(zip(names, self.heads, strict=True)))

        def forward(self, ids):
            x = self.token(ids) + self.place(mg.arange(ids.shape[1]))
            one, two = (head(x[:, : T - i * self.less]) for i, head in enumerate(self.heads.values()))
            return self.out(mg.cat([one[:, : T - self.less], two], dim=-1))

    for *names, less in (("0", "1", 1), ("a", "3", 0), ("0", "2", 0)):
        assert [layer.path for layer in layers_of(Apart(names, less))] == [f"heads.{name}" for name in names]


class Unscaled(Head):
    def forward(self, x):
        t = x.shape[1]
        wei = self.query(x) @ self.key(x).transpose(-2, -1)
        return F.softmax(wei.masked_fill(self.tril[:t, :t] == 0, float("-inf")), dim=-1) @ self.value(x)


def test_notes_of_joined_heads_are_said_once():
    model = Lecture(3)
    model.heads = nn.ModuleList([Unscaled(4) for _ in range(3)])
    (layer,) = layers_of(model)
    alone = Lecture(1)
    alone.heads = nn.ModuleList([Unscaled(12)])
    assert len(layer.notes) == len(layers_of(alone)[0].notes) == 1 and len(layer.weights) == 3


def test_one_sequence_without_a_batch():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.layers = nn.Embedding(9, C), nn.ModuleList([nn.Linear(C, C) for _ in range(3)])

        def forward(self, ids):
            ids = mg.tensor(ids) if isinstance(ids, list) else ids
            q, k, v = (layer(self.token(ids)).view(6, 6, C // 6).transpose(0, 1) for layer in self.layers)  # (H, T, D)
            return (F.softmax(q @ k.transpose(-2, -1) / (C // 6) ** 0.5, dim=-1) @ v).transpose(0, 1).reshape(6, C)

    ids = [1, 5, 3, 2, 7, 4]  # as many as heads
    for given in (mg.tensor(ids), ids):
        (layer,) = layers_of(Plain(), given)
        assert layer.weights.shape == (6, 6, 6)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("order", ["scale, mask", "mask, scale", "scale, add", "where, scale", "add, scale"])
def test_a_small_gpt_without_the_function(fused, order):
    (layer,) = layers_of(Joined(fused, order=order))
    see(layer)
    assert layer.weights.shape == (3, T, T) and causal(layer) and layer.bias is None
    assert layer.scale == pytest.approx(0.5)


@pytest.mark.parametrize("fill", [-1e9, -1e4, float(np.finfo(np.float32).min)])
def test_a_mask_of_large_numbers_is_a_mask(fill):
    (layer,) = layers_of(Joined(True, fill))
    see(layer)
    assert causal(layer) and layer.bias is None and (layer.scores[~layer.allowed] == -np.inf).all()


def test_the_annotated_transformer():
    layers = layers_of(AnnotatedTransformer(n=2), IDS.clamp(min=1), IDS[:, :4].clamp(min=1))
    for layer in layers:
        see(layer)
    assert [(layer.path, layer.kind) for layer in layers] == [
        ("encoder.layers.0.self_attn", "self"),
        ("encoder.layers.1.self_attn", "self"),
        ("decoder.layers.0.self_attn", "self"),
        ("decoder.layers.0.src_attn", "cross"),
        ("decoder.layers.1.self_attn", "self"),
        ("decoder.layers.1.src_attn", "cross"),
    ]
    assert layers[0].allowed.all() and causal(layers[2]) and layers[3].weights.shape == (2, 4, 5)
    same = layers_of(AnnotatedTransformer(n=1), IDS.clamp(min=1), IDS.clamp(min=1))
    assert [layer.kind for layer in same] == ["self", "self", "cross"], "of one length too"


class Mine(nn.Module):
    """Attention as a function says, between layers."""

    def __init__(self, function, width=4):
        super().__init__()
        self.token, self.function = nn.Embedding(9, C), function
        self.q, self.k, self.v = (nn.Linear(C, width) for _ in range(3))
        self.out = nn.Linear(width, 9)

    def forward(self, ids):
        x = self.token(ids)
        return self.out(self.function(self.q(x), self.k(x), self.v(x)))


def by_parts(q, k, v):
    scores = q @ k.mT / 2
    e = (scores - scores.max(-1, keepdim=True).values.detach()).exp()
    return (e / e.sum(-1, keepdim=True)) @ v


def test_a_softmax_in_its_parts():
    (layer,) = layers_of(Mine(by_parts))
    see(layer)
    assert layer.weights.shape == (1, T, T) and layer.scale == 0.5


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("bthd,bshd->bhts", "bhts,bshd->bthd"),
        ("bshd,bthd->bhts", "bshd,bhts->bthd"),
        ("bthd, bshd -> bhts", "bhts,bshd->bhtd"),
    ],
)
def test_einsum(first, last):
    def function(q, k, v):
        q, k, v = (x.view(B, T, 2, 2) for x in (q, k, v))
        scores = mg.einsum(first, *((k, q) if first.startswith("bs") else (q, k))) / math.sqrt(2)
        weights = F.softmax(scores.masked_fill(mg.ones(T, T).triu(1).bool(), -math.inf), -1)
        out = mg.einsum(last, *((v, weights) if last.startswith("bs") else (weights, v)))
        return (out.transpose(1, 2) if last.endswith("bhtd") else out).reshape(B, T, 4)

    (layer,) = layers_of(Mine(function))
    see(layer)
    assert causal(layer) and layer.weights.shape == (2, T, T) and layer.query.shape == (2, T, 2)
    model = Mine(function)
    answers = ask(model, [IDS], attention_layers(model, [IDS]))
    kept = model.out.weight.data.clone()
    for head in range(2):
        model.out.weight.data.copy_(kept)
        model.out.weight.data[:, 2 * head : 2 * head + 2] = 0.0
        off = ask(model, [IDS], [layer]).loss - answers.loss
        assert answers.off[0][head] == pytest.approx(off, abs=1e-6) and abs(off) > 1e-5


def test_products_of_other_kinds_are_no_attention():
    with pytest.raises(ValueError, match="ran no attention"):
        layers_of(Mine(lambda q, k, v: F.softmax(mg.einsum("btd,btd->bt", q, k), -1)[..., None] * v))


def test_numbers_added_to_scores_are_a_bias():
    slopes = mg.arange(T).view(1, -1) - mg.arange(T).view(-1, 1)
    (layer,) = layers_of(Mine(lambda q, k, v: F.softmax(q @ k.mT / 2 + 0.1 * slopes, -1) @ v))
    see(layer)
    assert np.allclose(layer.bias, 0.1 * slopes.numpy())


def test_the_gradient_of_the_weights_is_that_of_the_loss():
    seen = []

    def function(q, k, v):
        weights = F.softmax(q @ k.mT / 2, -1)
        weights.retain_grad()
        seen.append(weights)
        return weights @ v

    model = Mine(function)
    (layer,) = layers_of(model)
    logits = model(IDS).view(-1, 9)
    F.cross_entropy(logits, logits.detach().argmax(-1)).backward()
    np.testing.assert_allclose(layer.gradient[0], seen[-1].grad.numpy()[0], rtol=1e-4, atol=1e-9)


# What is odd


@pytest.mark.parametrize(
    ("function", "note"),
    [
        (lambda q, k, v: F.softmax(q @ k.mT, -1) @ v, r"no scale: the scores are not divided by √4 = 2"),
        (lambda q, k, v: F.softmax(q @ k.mT / 4, -1) @ v, r"the scores are multiplied by 0.25, not by 1/√4 = 0.5"),
        (lambda q, k, v: F.softmax(q @ k.mT / 2, 1) @ v, r"softmax over axis 1: rows sum to .* not to 1"),
        (lambda q, k, v: F.softmax(q @ k.mT / 2, 0) @ v, r"softmax over axis 0: rows sum to .* not to 1"),
        (
            lambda q, k, v: (F.softmax(q @ k.mT / 2, -1) * mg.tril(mg.ones(T, T))) @ v,
            r"the weights are changed after the softmax: rows sum to 0\.\d+ … 1, not to 1",
        ),
        (
            lambda q, k, v: F.softmax((q @ k.mT / 2).masked_fill(mg.ones(T, T).tril(-1).bool(), -math.inf), -1) @ v,
            r"each token sees itself and those after it",
        ),
    ],
)
def test_what_is_odd_is_said(function, note):
    (layer,) = layers_of(Mine(function))
    (said,) = layer.notes
    assert re.match(note, said), said
    if layer.exact is not None:
        assert layer.method == "written by hand" and np.allclose(layer.exact.sum(-1), 1, atol=1e-5)
    assert np.allclose(layer.weights @ layer.value, layer.output, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda q, k, v: F.softmax((q / 2) @ k.mT, -1) @ v,
        lambda q, k, v: F.softmax((q * 4**-0.25) @ (k * 4**-0.25).mT, -1) @ v,
        lambda q, k, v: F.softmax((q / q.norm(dim=-1, keepdim=True)) @ k.mT, -1) @ v,
        lambda q, k, v: F.softmax((q[:, :, :1] * 0.5 + q[:, :, 1:2]) @ k[:, :, :1].mT, -1) @ v,
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    ],
)
def test_what_is_as_good_is_not_accused(function):
    (layer,) = layers_of(Mine(function))
    assert layer.notes == []


class NoAttention(nn.Module):
    """A softmax between two products that is none: of learned tables."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(mg.randn(C, 6)), nn.Parameter(mg.randn(C, 6))
        self.token = nn.Embedding(9, C)

    def forward(self, ids):
        chosen = F.softmax(self.token(ids) @ self.first, -1)
        return chosen @ self.second.T


def test_a_layer_of_learned_tables_is_no_attention():
    with pytest.raises(ValueError, match=r"ran no attention that can be seen: .*softmax between two products"):
        layers_of(NoAttention())


def test_it_opens_in_the_workbench_with_what_is_odd(tmp_path):
    bench = attention(Mine(lambda q, k, v: F.softmax(q @ k.mT, -1) @ v), IDS[:1], tmp_path / "a.html")
    assert "odd: no scale" in bench.text() and "no scale" in (tmp_path / "a.html").read_text(encoding="utf-8")
