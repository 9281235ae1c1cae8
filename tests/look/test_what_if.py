"""What a model answers beside its attention: the numbers are those of the model run in other ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
from annotated import AnnotatedTransformer

import minigrad as mg
from minigrad import nn
from minigrad.core.graph import state
from minigrad.look.pages.attention_page import attention
from minigrad.look.pages.heads import attention_layers
from minigrad.look.pages.html import ASSETS
from minigrad.look.pages.what_if import ask
from minigrad.models.bert import BERT, BERTConfig, MaskedBERT
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F
from minigrad.train.data import CharTokenizer

pytest_plugins = ["browser"]

IDS = mg.tensor([[1, 5, 3, 2, 7]])
SIZES = {"vocab_size": 9, "block_size": 8, "n_layer": 3, "n_head": 2, "n_embd": 8}
TEXT = "The cat sat\non the mat"
TOKENIZER = CharTokenizer.from_text(TEXT)


def strong(model, factor=4.0):
    for parameter in model.parameters():
        parameter.data.mul_(factor)  # at their start all heads look alike
    return model


def gpt(**settings):
    mg.manual_seed(0)
    return strong(GPT(GPTConfig(**{**SIZES, **settings})))


def asked(model, *inputs, **settings):
    return ask(model, inputs, attention_layers(model, inputs), **settings)


def test_the_loss_is_that_of_the_next_tokens():
    model = gpt()
    answers = asked(model, IDS)
    logits = model.eval()(IDS)[0][0]
    assert answers.loss == pytest.approx(F.cross_entropy(logits[:-1], IDS[0, 1:]).item()) and answers.following
    np.testing.assert_array_equal(answers.logits, logits.detach().numpy())
    assert answers.what == "the mean loss of the tokens that follow"


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("head", [0, 1])
def test_a_head_is_off_where_its_columns_of_the_output_layer_are_0(layer, head):
    model = gpt()
    answers = asked(model, IDS)
    model.blocks[layer].attention.output.weight.data[:, 4 * head : 4 * head + 4] = 0.0
    expected = asked(model, IDS).loss - answers.loss
    assert answers.off[layer][head] == pytest.approx(expected, abs=1e-6) and abs(expected) > 1e-4


class ByHand(nn.Module):
    """Heads side by side, and all in one product."""

    def __init__(self, joined):
        super().__init__()
        self.token, self.joined = nn.Embedding(9, 8), joined
        self.layers, self.out = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)]), nn.Linear(8, 9)

    def forward(self, ids):
        b, t = ids.shape
        q, k, v = (layer(self.token(ids)).view(b, t, 2, 4).transpose(1, 2) for layer in self.layers)
        q, k, v = ((x.reshape(b * 2, t, 4) if self.joined else x) for x in (q, k, v))
        mask = mg.ones(t, t).triu(1).bool()
        y = F.softmax((q @ k.transpose(-2, -1) / 2).masked_fill(mask, -math.inf), -1) @ v
        return self.out(y.view(b, 2, t, 4).transpose(1, 2).reshape(b, t, 8))


@pytest.mark.parametrize("joined", [True, False])
def test_a_head_written_by_hand_is_off_in_all_sequences(joined):
    mg.manual_seed(0)
    model, ids = strong(ByHand(joined)), mg.cat([IDS, IDS.flip(1)])

    def loss(out):
        return (out * out).mean()

    answers = asked(model, ids, loss=loss)
    assert [len(layer) for layer in answers.off] == [2]
    for head in range(2):
        mg.manual_seed(0)
        other = strong(ByHand(joined))
        other.out.weight.data[:, 4 * head : 4 * head + 4] = 0.0
        expected = loss(other(ids)).item() - answers.loss
        assert answers.off[0][head] == pytest.approx(expected, rel=1e-4)
        assert abs(expected) > 1e-3


@pytest.mark.parametrize("method", ["longformer", "performer"])
def test_a_head_of_an_efficient_variant(method):
    model = gpt(attention=method, window=2, features=16)
    answers = asked(model, IDS)
    model.blocks[1].attention.output.weight.data[:, :4] = 0.0
    assert answers.off[1][0] == pytest.approx(asked(model, IDS).loss - answers.loss, abs=1e-6)


def test_the_lens_leaves_out_the_blocks_that_follow():
    model = gpt()
    answers = asked(model, IDS)
    assert [path for path, _ in answers.lens] == ["start", "blocks.0", "blocks.1", "blocks.2"]
    np.testing.assert_array_equal(answers.lens[-1][1], answers.logits)
    for kept in range(3):
        shorter = gpt()
        for block in shorter.blocks[kept:]:
            for part in (block.attention.output, block.mlp.contract):  # what they add to the stream
                part.weight.data[:] = 0.0
                if part.bias is not None:
                    part.bias.data[:] = 0.0
        expected = shorter.eval()(IDS)[0][0].detach().numpy()
        np.testing.assert_allclose(answers.lens[kept][1], expected, atol=1e-5)


def test_other_families():
    mg.manual_seed(0)
    t5 = asked(T5(T5Config(**SIZES)), IDS, IDS[:, :4])
    assert not t5.following and t5.what == "the loss that the model returns" and t5.logits.shape == (4, 9)
    assert [path for path, _ in t5.lens] == ["start", *(f"decoder.blocks.{n}" for n in range(3))]
    features = asked(BERT(BERTConfig(**SIZES)), IDS)
    assert features.logits is None and features.lens == [], "these are no answers, but features"
    masked = asked(MaskedBERT(BERT(BERTConfig(**SIZES))), IDS)
    assert masked.logits.shape == (5, 9) and not masked.following
    assert masked.what == "the loss of the answers that it finds likeliest"
    annotated = asked(AnnotatedTransformer(), IDS, IDS[:, :4])
    assert len(annotated.lens) == 3 and annotated.logits.shape == (4, 11)


def test_many_heads_are_left_on_and_the_model_as_it_was():
    model = gpt().train()
    assert asked(model, IDS, most=5).off is None and asked(model, IDS, most=6).off is not None
    assert model.training and state.observer is None and not any(m._hooks or m._pre_hooks for m in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


# In the workbench


def bench(path=None, text=TEXT, **settings):
    mg.manual_seed(0)
    sizes = {**SIZES, "vocab_size": TOKENIZER.vocab_size, "block_size": 32, **settings}
    return attention(strong(GPT(GPTConfig(**sizes)), 6.0), text, path, tokenizer=TOKENIZER)


def test_the_terminal_says_what_a_head_is_worth():
    made = bench()
    growth = made.answers.off[1][0]
    assert f"; with it off: loss {growth:+.2g}" in made.text()
    expected = made.expected(3)
    assert len(expected) == 5 and expected == sorted(expected, key=lambda pair: -pair[1])


def test_a_text_longer_than_the_context_is_read_from_its_end(browser, tmp_path):
    made = bench(tmp_path / "long.html", block_size=8)
    whole = bench(text=TEXT[-8:], block_size=8)
    assert "".join(made.rows[0].tokens) == TEXT[-8:] and made.layers[0].weights.shape == (2, 8, 8)
    np.testing.assert_array_equal(made.layers[2].weights, whole.layers[2].weights)
    browser.open(tmp_path / "long.html")
    assert browser.text("#note") == "The model reads the last 8 of 22 tokens: its context holds no more."


def test_the_page_says_what_comes_next_and_what_each_layer_would_have_said(browser, tmp_path):
    made = bench(tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    browser.click('#text [data-token="6"]')
    said = browser.text(".expected")
    label, chance = made.expected(6)[0]
    target = TOKENIZER.encode(TEXT)[7]
    p = float(np.exp(made.answers.logits[6] - made.answers.logits[6].max())[target])
    p /= float(np.exp(made.answers.logits[6] - made.answers.logits[6].max()).sum())
    assert said.startswith("What it expects comes after t (6):") and "There follows ␣" in said
    assert float(said.split("loss ")[1].rstrip(".")) == pytest.approx(-math.log(p), rel=1e-2)
    shown = browser.run("return [...document.querySelectorAll('.expected li')].map((item) => item.textContent)")
    assert shown[0].startswith(label) and f"{100 * chance:.0f} %" in shown[0]
    rows = browser.run("return [...document.querySelectorAll('#lens tbody th')].map((cell) => cell.textContent)")
    assert rows == ["start", "blocks.0", "blocks.1", "blocks.2"]
    assert f"Loss {made.answers.loss:.4g}"[:9] in browser.text("#answers")


def test_heads_are_sorted_by_what_they_are_worth(browser, tmp_path):
    made = bench(tmp_path / "a.html", n_head=4)
    browser.open(tmp_path / "a.html")
    heads = (
        "return [...document.querySelectorAll('section[aria-label=\"Layer 1\"] .thumb')].map((x) => +x.dataset.head)"
    )
    assert browser.run(heads) == [0, 1, 2, 3]
    browser.click("#sorted")
    off = made.answers.off[1]
    assert browser.run(heads) == sorted(range(4), key=lambda head: -off[head])
    text = browser.text('.thumb[data-layer="1"][data-head="2"] .worth').replace("−", "-")  # noqa: RUF001
    assert float(text.split("loss ")[1]) == pytest.approx(off[2], rel=0.1)


def test_several_tokens_and_the_scale_of_a_row(browser, tmp_path):
    made = bench(tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    browser.click('#text [data-token="9"]')
    browser.run(
        "document.querySelector('#text [data-token=\"15\"]').dispatchEvent(new MouseEvent('click', {shiftKey: true}))"
    )
    assert browser.text(".reading span").startswith("a at 9 ") and "attend to, on average" in browser.text(".reading")
    browser.keys("w")
    mean = np.mean([layer.weights[:, i] for layer in made.layers for i in (9, 15)], axis=(0, 1))
    best = browser.run("return document.querySelector('.reading li').textContent")
    assert best.endswith(f"{100 * mean.max():.1f} %")
    pressed = "return [...document.querySelectorAll('#text [aria-pressed=true]')].map((x) => x.dataset.token ?? x.id)"
    assert browser.run(pressed)[:2] == ["9", "15"]
    strongest = (
        "const d = document.querySelector('.thumb canvas').getContext('2d').getImageData(0, 21, 22, 1).data;"
        "return Math.max(...[...d].filter((_, i) => i % 4 === 3))"
    )
    before = browser.run(strongest)
    browser.keys("r")
    assert browser.run(strongest) == 255 > before
    assert "of the row's largest" in browser.text("#view > .legend")


def test_the_page_opens_on_a_token_with_a_story(browser):
    source = (ASSETS / "base.js").read_text(encoding="utf-8") + (ASSETS / "answers.js").read_text(encoding="utf-8")
    A = np.tri(8) / np.arange(1, 9)[:, None]
    story = f"{source}; const head = {{T: 8, S: 8, self: true, weights: Float32Array.from(arguments[0])}};"
    story += "return storyOf([head], arguments[1], (i) => i !== arguments[2])"
    assert browser.run(story, A.ravel().tolist(), 7, -1) is None, "all alike: no story"
    for query, key in ((5, 2), (6, 3), (7, 6), (4, 0), (3, 3)):
        A[query] = 0.05 / query
        A[query, key] = 0.95
    A = np.tril(A)
    found = browser.run(story, A.ravel().tolist(), 7, -1)
    assert (found["query"], found["key"]) == (6, 3), "not the token before, the first, or itself; most to choose from"
    found = browser.run(story, A.ravel().tolist(), 7, 6)
    assert (found["query"], found["key"]) == (5, 2), "the loss does not depend on the other"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, True), (320, False)])
def test_nothing_bars_the_way(browser, tmp_path, width, dark):
    bench(tmp_path / "a.html", block_size=16)
    with browser.seen(width, dark=dark):
        browser.open(tmp_path / "a.html")
        browser.run("document.getElementById('lens').open = true")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.barriers() == []
        browser.click(".thumb")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.barriers() == []


def test_boxes_and_all_columns_are_printed(browser, tmp_path):
    bench(tmp_path / "a.html", n_embd=64)
    browser.open(tmp_path / "a.html")
    browser.click(".thumb")
    with browser.seen(718, 1000, media="print"):
        assert browser.run("return document.querySelectorAll('#output thead th').length") == 33
        right = "return document.querySelector('#output').getBoundingClientRect().right"
        assert browser.run(right) <= 718
        overflowing = (
            "return [...document.querySelectorAll('#output td')].filter((c) => c.scrollWidth > c.clientWidth + 1)"
        )
        assert browser.run(f"{overflowing}.length") == 0
        shown = "return getComputedStyle(document.querySelector('#softmax button')).display"
        assert browser.run(shown) == "grid"
