"""Who sees whom: each mistake of masks, heads and batches has a sentence of its own; this house's models have none."""

# ruff: noqa: E501 (the sentences are long)

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.look.influence import influence
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F

pytest_plugins = ["browser"]

B, T, C, H = 2, 5, 8, 2
IDS = mg.tensor([[1, 5, 3, 2, 7], [4, 4, 1, 6, 3]])
INF = float("inf")


class Attention(nn.Module):
    """Self-attention of a lecture, with a way to get each part of it wrong."""

    def __init__(self, wrong=""):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(C, C) for _ in range(4))
        self.wrong = wrong

    def split(self, x):
        t = x.shape[1]
        if self.wrong == "view without transpose":
            return x.view(x.shape[0], H, t, C // H)
        return x.view(x.shape[0], t, H, C // H).transpose(1, 2)

    def forward(self, x, memory=None, mask=None):
        memory = x if memory is None else memory
        query, key, value = self.split(self.query(x)), self.split(self.key(memory)), self.split(self.value(memory))
        scores = query @ key.transpose(-2, -1) / (C // H) ** 0.5
        weights = self.weights(scores) if mask is None else F.softmax(scores.masked_fill(~mask, -INF), dim=-1)
        z = weights @ value
        if self.wrong != "joined without transpose":
            z = z.transpose(1, 2)
        return self.out(z.reshape(x.shape))

    def weights(self, scores):
        t, wrong = scores.shape[-1], self.wrong
        allowed = mg.tril(mg.ones(t, t), 1 if wrong == "too wide" else 0).bool()
        if wrong == "upside down":
            allowed = mg.triu(mg.ones(t, t)).bool()
        if wrong == "true and false":
            return F.softmax(scores.masked_fill(allowed, -INF), dim=-1)
        if wrong in ("forgotten", "padding"):
            return F.softmax(scores, dim=-1)
        if wrong == "after softmax":
            return F.softmax(scores, dim=-1).masked_fill(~allowed, 0.0)
        if wrong == "wrong axis":
            return F.softmax(scores.masked_fill(~allowed, -INF), dim=-2)
        if wrong == "zeros and ones":
            return F.softmax(scores + allowed.float(), dim=-1)
        return F.softmax(scores.masked_fill(~allowed, -INF), dim=-1)


class Model(nn.Module):
    def __init__(self, wrong=""):
        super().__init__()
        self.embedding, self.places = nn.Embedding(8, C), nn.Embedding(T, C)
        self.attention, self.head = Attention(wrong), nn.Linear(C, 8)
        self.dropout = nn.Dropout(0.5)
        self.wrong = wrong

    def forward(self, ids):
        x = self.dropout(self.embedding(ids) + self.places(mg.arange(ids.shape[1])))
        if self.wrong == "batch and time":
            x = x.reshape(x.shape[1], x.shape[0], C)
            return self.head((x + self.attention(x)).reshape(*ids.shape, C))
        if self.wrong == "batch first":
            x = x.transpose(0, 1)
            return self.head((x + self.attention(x)).transpose(0, 1))
        return self.head(x + self.attention(x))


CAUSAL = {
    "forgotten": "an output sees what is ahead of it: output 0 depends on position 1 .*; no mask hides anything",
    "too wide": r"the mask is 1 too wide: tril\(diagonal=1\)",
    "upside down": "the mask is upside down: triu for tril",
    "true and false": "that alone: .*; True and False are exchanged in the mask",
    "after softmax": "the mask is applied after the softmax",
    "wrong axis": r"the softmax goes over axis 2 of \(2, 2, 5, 5\), the queries, not over the keys",
    "zeros and ones": "a mask of 0 and 1 is added to the scores",
    "view without transpose": r"positions are mixed in the heads: a reshape of \(2, 5, 8\) to \(2, 2, 5, 4\) .*transpose\(1, 2\)",
    "joined without transpose": r"positions are mixed where heads are joined: a reshape of \(2, 2, 5, 4\) to \(2, 5, 8\)",
    "batch and time": r"rows of the batch are mixed: .* a reshape of \(2, 5, 8\) to \(5, 2, 8\) does not exchange batch",
    "batch first": "rows of the batch are mixed: .*: batch and time are exchanged, as where a layer takes",
}  # fmt: skip


def model(wrong=""):
    mg.manual_seed(0)
    return Model(wrong)


@pytest.mark.parametrize("wrong", CAUSAL)
def test_a_mistake_has_its_sentence(wrong):
    found = influence(model(wrong), IDS, causal=True)
    assert np.any([re.search(CAUSAL[wrong], text) for text in found.findings]), str(found)
    others = [sentence for name, sentence in CAUSAL.items() if name != wrong]
    assert not any(re.search(s, text) for s in others for text in found.findings), str(found)


@pytest.mark.parametrize("fill", [1e9, 1e4])
@pytest.mark.parametrize("wrong", ["", "too wide", "upside down", "true and false"])
def test_a_mask_may_fill_with_a_large_number(wrong, fill, monkeypatch):
    monkeypatch.setitem(globals(), "INF", fill)
    findings = influence(model(wrong), IDS, causal=True).findings
    assert len(findings) == bool(wrong)
    if wrong:
        assert re.search(CAUSAL[wrong], findings[0], re.DOTALL)


def test_what_is_right_is_silent_and_drawn():
    found = influence(model(), IDS, causal=True)
    assert not found.findings
    assert "nothing is wrong" in str(found) and "dropout is switched off" in str(found)
    assert "# . . . ." in str(found) and "# # # # #" in str(found)
    again = influence(model("forgotten"), IDS, causal=True)
    assert "# ! ! ! !" in str(again)


@pytest.mark.parametrize("seed", range(3))
def test_the_models_of_this_house_are_silent(seed):
    mg.manual_seed(seed)
    gpt = GPT(GPTConfig(vocab_size=8, block_size=T, n_layer=2, n_head=2, n_embd=8, dropout=0.1))
    assert not influence(gpt, IDS, causal=True).findings
    bert = BERT(BERTConfig(vocab_size=8, block_size=T, n_layer=2, n_head=2, n_embd=8))
    assert not influence(bert, IDS).findings
    t5 = T5(T5Config(vocab_size=8, block_size=8, n_layer=2, n_head=2, n_embd=8))
    target = mg.tensor([[2, 3, 4], [5, 6, 7]])
    found = influence(t5, IDS, target, causal=True)
    assert not found.findings and len(found.maps) == 2 and found.maps[0].sizes.shape == (2, 3, 2, 5)


class Decoder(nn.Module):
    """Reads a source; what the target may see is chosen."""

    def __init__(self, wrong=False):
        super().__init__()
        self.embedding, self.own, self.cross = nn.Embedding(8, C), Attention(), Attention()
        self.wrong = wrong

    def forward(self, source, target):
        memory, y = self.embedding(source), self.embedding(target)
        y = y + self.own(y)
        memory = y if self.wrong else memory
        whole = mg.ones(target.shape[1], memory.shape[1]).bool()
        return y + self.cross(y, memory, whole)


def test_the_target_sees_its_own_future_in_cross_attention():
    target = mg.tensor([[2, 3, 4], [5, 6, 7]])
    assert not influence(Decoder(), IDS, target, causal=True).findings
    found = influence(Decoder(wrong=True), IDS, target, causal=True).findings
    assert (
        "the target sees its own future" in found[0] and "no mask hides anything in attention to the target" in found[0]
    )
    assert any("no output depends on positions 0, 1, 2, 3, 4" in text for text in found)


class Padded(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.embedding, self.attention, self.how = nn.Embedding(8, C), Attention(), how

    def forward(self, ids):
        x, mask = self.embedding(ids), (ids != 0)[:, None, None, :]
        mask = {"right": mask, "kept": mask | ~mask, "exchanged": ~mask}[self.how]
        return x + self.attention(x, mask=mask)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("right", ""),
        ("kept", "padding is seen: row"),
        ("exchanged", "only padding is seen: .* True and False are exchanged"),
    ],
)
def test_padding(how, sentence):
    ids = mg.tensor([[1, 5, 3, 0, 0], [4, 2, 1, 6, 0]])
    mg.manual_seed(0)
    found = influence(Padded(how), ids, padding=ids == 0).findings
    assert bool(found) == bool(sentence)
    if sentence:
        assert re.search(sentence, found[0]), found


def test_a_place_that_is_never_seen():
    found = influence(lambda x: x * mg.tensor([1.0, 1, 0, 1, 1])[:, None], mg.randn(2, 5, 3))
    assert found.findings == ["no output depends on position 2 of input"]


def test_weights_and_mode_come_back():
    made = model()
    before = {name: p.numpy().copy() for name, p in made.state_dict().items()}
    influence(made, IDS, causal=True)
    assert made.training and all(np.array_equal(before[n], p.numpy()) for n, p in made.state_dict().items())
    assert all(p.dtype == mg.float32 and p.grad is None for p in made.parameters())


def test_what_cannot_be_followed_is_said():
    with pytest.raises(TypeError, match="ids that an embedding takes"):
        influence(lambda ids: F.one_hot(ids, 8).float().requires_grad_() * 2, IDS)
    with pytest.raises(TypeError, match="must return a floating tensor"):
        influence(lambda x: x.detach(), mg.randn(2, 5, 3))
    with pytest.raises(ValueError, match="give 400 at most"):
        influence(lambda x: x * 2, mg.randn(2, 300, 3))


def test_the_page_and_the_command(tmp_path, capsys, monkeypatch):
    from minigrad.look.commands.check import main

    (tmp_path / "mine.py").write_text(
        "import minigrad as mg\nfrom minigrad import nn\n"
        "class Sum(nn.Module):\n    def forward(self, x): return x + x.sum(1, keepdim=True)\n"
        "def build(): return Sum(), mg.randn(2, 4, 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["mine.py:build", "--causal", "--page", "map.html"]) == 1
    shown = capsys.readouterr().out
    assert "build: an output sees what is ahead of it" in shown and "# ! ! !" in shown and "map: map.html" in shown
    assert "an output sees" in (tmp_path / "map.html").read_text()
    assert main(["mine.py:build", "--influence"]) == 0


def test_in_a_browser(browser, tmp_path):
    influence(model("forgotten"), IDS, causal=True).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert "no mask hides anything" in browser.text(".finding") and browser.text("h2") == "input"
    assert browser.run("return document.querySelectorAll('td.ahead').length") == T * (T - 1) // 2
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_for_all(browser, tmp_path, dark):
    influence(model("forgotten"), IDS, causal=True).save(tmp_path / "page.html")
    with browser.seen(390, 800, dark):
        browser.open(tmp_path / "page.html")
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        browser.picture(tmp_path / "page.png")
        assert browser.barriers() == []
