"""The attention workbench shows what the model computed: on the page, in figures and in the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from paths import ROOT

import minigrad as mg
from minigrad import nn
from minigrad.look.pages.attention_page import attention
from minigrad.look.pages.tokens import Tokens
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F
from minigrad.train.data import SPECIAL, CharTokenizer, DataError
from minigrad.train.data.pairs import END, PAD, SENTINELS

pytest_plugins = ["browser"]

TEXT = "The cat sat\non the mat"
TOKENIZER = CharTokenizer.from_text(TEXT)
SIZES = {"block_size": 32, "n_layer": 2, "n_head": 2, "n_embd": 16}
ODD = ["<b>", '"', "\n", "</script>", "&amp;", " "]


def gpt(**settings):
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=TOKENIZER.vocab_size, **{**SIZES, **settings}))
    for parameter in model.parameters():
        parameter.data.mul_(6.0)  # at their start weights are so small that all heads look everywhere alike
    return model


def t5():
    mg.manual_seed(0)
    tokenizer = CharTokenizer.from_text(PAD + END + "forty-two zweiundvierzig")
    return T5(T5Config(vocab_size=tokenizer.vocab_size, **SIZES)), tokenizer


class Own(nn.Module):
    """A model of a user's, without tokens of its own."""

    def __init__(self):
        super().__init__()
        self.look = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.look(x, x, x)[0]


def own(tokens=tuple(ODD), **settings):
    mg.manual_seed(0)
    return attention(Own(), mg.randn(1, 6, 8), tokens=list(tokens), **settings)


def number(browser, selector):
    return float(browser.text(selector).replace("\u2212", "-"))


def to_display(value):
    return pytest.approx(value, rel=1e-3, abs=1e-6)


def open_head(browser, path, layer, head):
    browser.open(path)
    browser.click(f'.thumb[data-layer="{layer}"][data-head="{head}"]')


# The page


def test_the_numbers_on_the_page_are_the_engines(browser, tmp_path):
    path = tmp_path / "a page.html"
    bench = attention(gpt(positions="alibi"), TEXT, path, tokenizer=TOKENIZER)
    layer = bench.layers[1]
    open_head(browser, path, 1, 1)
    for i, j in [(21, 0), (21, 20), (7, 7), (3, 1), (0, 0)]:
        browser.click(f'#text [data-token="{i}"]')
        browser.click(f'#softmax [data-key="{j}"]')
        q, k = layer.query[1, i], layer.key[1, j]
        assert number(browser, "#dot") == to_display(float(q @ k))
        assert number(browser, "#scaled") == to_display(layer.scale * float(q @ k))
        assert number(browser, "#biased") == to_display(layer.scores[1, i, j])
        assert browser.text("#mask") == "allowed"
        assert number(browser, "#weight") == to_display(layer.weights[1, i, j])
        assert number(browser, "#apart") < 1e-5
        shown = browser.run(
            "return [...document.querySelectorAll('#output tr.total td')].map((cell) => Number(cell.textContent))"
        )
        assert shown == [to_display(float(x)) for x in layer.output[1, i]]
        products = browser.run(
            "return [...document.querySelectorAll('#products .last')].map((x) => Number(x.textContent))"
        )
        assert products == [to_display(float(x)) for x in q * k]
        said = browser.text("#said").split("dL/dA ")[1]
        assert float(said) == pytest.approx(float(layer.gradient[1, i, j]), rel=1e-2)
    browser.click('#text [data-token="3"]')
    browser.click('#softmax [data-key="9"]')
    assert browser.text("#mask").startswith("not allowed")
    assert "may not look at" in browser.text("#said")


def test_keys(browser, tmp_path):
    path = tmp_path / "keys.html"
    bench = attention(gpt(), TEXT, path, tokenizer=TOKENIZER)
    browser.open(path)
    assert browser.run("return document.querySelectorAll('.thumb').length") == 4
    browser.keys("ArrowRight", "ArrowRight", "Enter")
    assert browser.text("h2.which").startswith("Layer 0, head 1")
    at = "return document.querySelector('#softmax .chosen').dataset.key"
    assert int(browser.run(at)) == bench.layers[0].weights[1, 21].argmax()
    browser.keys("Home", "ArrowRight")
    assert browser.run(at) == "1"
    browser.keys("End", "ArrowUp", "ArrowUp")
    assert browser.run(at) == "21" and "a (20)" not in browser.text("#said") and "(19)" in browser.text("#said")
    browser.keys("m")
    assert int(browser.run(at)) == bench.layers[0].weights[1, 19].argmax()
    browser.keys("]", "}")
    assert browser.text("h2.which").startswith("Layer 1, head 0")
    browser.keys("[", "PageUp")
    assert browser.text("h2.which").startswith("Layer 0, head 1")
    browser.keys("?")
    assert browser.run("return document.getElementById('keys').open")
    browser.run("document.getElementById('keys').close()")
    browser.keys("Escape")
    assert browser.run("return document.activeElement.dataset.head") == "1"
    assert browser.run("return document.querySelector('.thumb .what').textContent")


def test_the_page_opens_at_the_last_token_that_the_loss_depends_on(browser, tmp_path):
    model, path = gpt(n_layer=1, n_head=1), tmp_path / "first.html"
    ids = mg.tensor([TOKENIZER.encode(TEXT)])
    bench = attention(model, ids, path, loss=lambda out: F.cross_entropy(out[0][0, :-1], ids[0, 1:]))
    browser.open(path)
    assert not bench.layers[0].gradient[0, 21].any() and bench.layers[0].gradient[0, 20].any()
    assert browser.run("return document.querySelector('#text .chosen').dataset.token") == "20"
    assert browser.text("#subtitle") == "1 layer, 1 head"


def test_odd_tokens_are_text(browser, tmp_path):
    bench = own(path=tmp_path / "odd.html", title='<i>"&')
    open_head(browser, tmp_path / "odd.html", 0, 1)
    labels = browser.run(
        "return [...document.querySelector('svg.map').querySelectorAll('[data-row]')].map((x) => x.textContent)"
    )
    assert labels == ["<b>", '"', "⏎", "</script>", "&amp;", "␣"]
    assert browser.run("return document.querySelectorAll('b i, h1 i, svg b').length") == 0
    browser.run(
        "URL.createObjectURL = (blob) => { window.saved = blob.text(); return 'blob:x'; };"
        "URL.revokeObjectURL = () => {};"
        "HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };"
    )
    browser.keys("s")
    assert browser.run("return window.saved") == bench.svg(0, 1)
    assert browser.run("return window.savedAs") == "attention-look-head-1.svg"


def test_a_pair_of_texts_has_tabs_and_cross_attention_reads_the_source(browser, tmp_path):
    model, tokenizer = t5()
    path = tmp_path / "pair.html"
    bench = attention(model, ("forty-two", "zweiundvierzig"), path, tokenizer=tokenizer)
    assert [t.labels[0] for t in bench.rows] == ["f", "f", "⟨start⟩", "z", "⟨start⟩", "z"]
    assert [t.labels[-1] for t in bench.columns] == ["⟨end⟩", "⟨end⟩", "g", "⟨end⟩", "g", "⟨end⟩"]
    browser.open(path)
    tabs = browser.run("return [...document.querySelectorAll('[role=tab]')].map((tab) => tab.textContent)")
    assert tabs == ["Encoder self-attention", "Decoder self-attention", "Cross-attention"]
    browser.click("[role=tab]:nth-of-type(3)")
    browser.click('#text [data-token="4"]')
    mean = np.mean([bench.layers[n].weights[:, 4] for n in (3, 5)], axis=(0, 1))
    words = {"forty": mean[:5].sum(), "-": mean[5], "two": mean[6:9].sum(), "⟨end⟩": mean[9]}
    best = sorted(words, key=lambda word: -words[word])
    shown = browser.run("return [...document.querySelectorAll('.reading li')].map((item) => item.textContent)")
    assert shown == [f"{word} {100 * words[word]:.1f} %" for word in best]
    browser.keys("w")
    assert len(browser.run("return [...document.querySelectorAll('.reading li')].map((x) => x.textContent)")) == 5
    strongest = int(bench.layers[3].weights[1, 4].argmax())
    thumb = browser.text('.thumb[data-layer="3"][data-head="1"] .what')
    assert thumb.startswith(f"u → {bench.columns[3].labels[strongest]} ({strongest})")


def test_an_efficient_variant_stands_beside_the_exact(browser, tmp_path):
    path = tmp_path / "efficient.html"
    bench = attention(gpt(attention="longformer", window=2), TEXT, path, tokenizer=TOKENIZER)
    layer = bench.layers[0]
    open_head(browser, path, 0, 0)
    captions = browser.run("return [...document.querySelectorAll('figcaption')].map((x) => x.textContent)")
    assert len(captions) == 4 and captions[2] == "Implied minus exact"
    most = browser.text("figure:nth-of-type(3) .legend span:nth-of-type(7)")
    assert float(most) == pytest.approx(float(np.abs(layer.weights[0] - layer.exact[0]).max()), rel=0.05)
    browser.click('#softmax [data-key="2"]')
    assert number(browser, "#weight") == to_display(layer.exact[0, 21, 2])
    assert number(browser, "#implied") == layer.weights[0, 21, 2] == 0
    assert number(browser, "#apart") < 1e-5
    cells = browser.run("return [...document.querySelectorAll('#costs tbody td')].map((x) => x.textContent)")
    assert cells[:2] == [f"{layer.cost['multiply_adds']:,}", f"{2 * 22 * 22 * 8:,}"]
    assert cells[3:5] == [f"{layer.cost['scratch_bytes']:,}", f"{4 * 22 * 22:,}"]


def test_mixed_keys_are_shown_as_the_weights_they_imply(browser, tmp_path):
    mg.manual_seed(0)
    model = BERT(BERTConfig(vocab_size=TOKENIZER.vocab_size, **SIZES, attention="linformer", rank=3))
    path = tmp_path / "mixed.html"
    bench = attention(model, TEXT, path, tokenizer=TOKENIZER)
    assert [(one.method, one.weights.shape) for one in bench.layers] == [("LinformerAttention", (2, 22, 22))] * 2
    open_head(browser, path, 0, 1)
    assert number(browser, "#implied") == to_display(bench.layers[0].weights[1, 21].max())
    assert number(browser, "#apart") < 1e-5


def test_a_long_text_is_cut_with_a_note_and_still_adds_up(browser, tmp_path):
    mg.manual_seed(0)
    tokenizer = CharTokenizer.from_text(TEXT, SPECIAL)
    model = BERT(BERTConfig(vocab_size=tokenizer.vocab_size, **SIZES))
    path = tmp_path / "long.html"
    bench = attention(model, TEXT, path, tokenizer=tokenizer, limit=8)
    assert bench.rows[0].labels[:2] == ["[CLS]", "T"]
    open_head(browser, path, 1, 0)
    assert browser.text("#note") == "Showing the first 8 of 23 tokens."
    browser.keys("Home")
    assert number(browser, "#weight") == to_display(bench.layers[1].weights[0, 7, 0])
    assert number(browser, "#apart") < 1e-5
    assert "keys not shown" in browser.text("#output")
    assert bench.svg(1, 0).count("<text") == 8 + 8 + 2 + 6


def test_a_notebook_shows_the_page_in_a_frame(browser, tmp_path):
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset=utf-8>{own()._repr_html_()}", encoding="utf-8")
    browser.open(notebook)
    browser.driver.switch_to.frame(0)
    assert browser.run("return document.querySelectorAll('.thumb').length") == 2
    browser.driver.switch_to.default_content()


def test_dark_and_narrow(browser, tmp_path):
    path = tmp_path / "narrow.html"
    attention(gpt(), TEXT, path, tokenizer=TOKENIZER)
    cdp = browser.driver.execute_cdp_cmd
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    try:
        cdp(
            "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        )
        cdp("Emulation.setEmulatedMedia", dark)
        open_head(browser, path, 0, 1)
        assert browser.run("return document.documentElement.scrollWidth") <= 360
        assert browser.run("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    finally:
        cdp("Emulation.clearDeviceMetricsOverride", {})
        cdp("Emulation.setEmulatedMedia", {"features": []})


# Without a browser


def test_the_page_is_one_small_file_always_the_same():
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=9))
    ids = mg.randint(0, 9, (1, 64))
    page = attention(model, ids).html()
    assert len(page.encode()) < 2_000_000
    assert page == attention(model, ids).html()
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    notebook = own()._repr_html_()
    assert notebook.startswith("<iframe") and "<b>" not in notebook


def test_a_figure_is_clean_svg():
    bench = own()
    tree = ET.fromstring(bench.svg(0, 1))
    texts = [text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Own: look, head 1"
    assert texts[2:8] == texts[8:14] == ["<b>", '"', "⏎", "</script>", "&amp;", "␣"]
    assert "script>" not in bench.svg(0, 1).replace("&lt;/script&gt;", "")
    with pytest.raises(ValueError, match="layer 0 has no head 7: they are 0 to 1"):
        bench.svg(0, 7)


def test_words_and_names_of_tokens():
    tokens = Tokens(f"a cat, scatter cat{PAD}{END}{SENTINELS[0]}{SENTINELS[99]}\t\u200b")
    assert tokens.labels[-6:] == ["⟨pad⟩", "⟨end⟩", "⟨0⟩", "⟨99⟩", "⇥", "⟨200b⟩"]
    assert tokens.find("cat") == range(2, 5) and tokens.find("catt") == range(8, 12)
    assert tokens.find("␣") == range(1, 2)
    assert Tokens("scat cat").find("cat") == range(5, 8), "a whole word rather than a part of one"
    assert Tokens(["the", "cat", "sat"]).words == [0, 1, 2]
    with pytest.raises(ValueError, match="the token 'dog' is not in the text: 'a␣cat'"):
        Tokens("a cat").find("dog")


def test_ids_without_a_tokenizer_are_labels():
    bench = attention(gpt(), mg.tensor([[5, 1, 2, 11, 1]]))
    assert bench.rows[0].labels == ["5", "1", "2", "11", "1"]
    assert bench.rows[0].words == [0, 1, 2, 3, 4]
    assert bench.rows[0].find("11") == range(3, 4)
    assert repr(bench) == "Workbench(GPT: 2 layers, 4 heads)"
    model, _ = t5()
    bench = attention(model, (mg.tensor([[3, 4]]), mg.tensor([[7, 8, 9]])))
    assert (bench.rows[0].labels, bench.rows[2].labels) == (["3", "4"], ["⟨start⟩", "7", "8"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: attention(gpt(), TEXT), ValueError, "a text needs tokenizer="),
        (
            lambda: attention(gpt(), "dog", tokenizer=TOKENIZER),
            DataError,
            "not in the vocabulary of .* 'd' at 0; 'g' at 2",
        ),
        (lambda: attention(gpt(), "", tokenizer=TOKENIZER), ValueError, "the text is empty"),
        (lambda: attention(gpt(), ("a", mg.ones(1)), tokenizer=TOKENIZER), ValueError, "cannot be a mixture"),
        (lambda: own(tokens="abc"), ValueError, "tokens= has 3 labels, the attention has 6 places"),
        (lambda: own(limit=0), ValueError, "limit must be at least 1"),
        (lambda: attention(nn.Linear(2, 2), mg.ones(1, 2)), ValueError, "Linear ran no attention"),
    ],
)
def test_mistakes_are_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The terminal


def test_the_text_has_the_same_numbers():
    bench = attention(gpt(positions="alibi"), TEXT, tokenizer=TOKENIZER)
    row = bench.layers[1].weights[0, 6]
    best = np.argsort(-row)[:2]
    expected = "   ".join(f"{bench.rows[1].labels[j]}@{j}".ljust(6) + f" {row[j]:.3f}" for j in best)
    text = bench.text("cat", layer=1, head=0, key="The", top=2)
    assert f"  head 0  t@6 -> {expected}\n" in text and "layer 0" not in text
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  "))
    layer = bench.layers[1]
    q, k = layer.query[0, 6], layer.key[0, 2]
    assert float(lines["sum"]) == pytest.approx(float(q @ k), rel=1e-3)
    assert float(lines["with"].split("=")[1]) == pytest.approx(layer.scores[0, 6, 2], rel=1e-3)
    assert float(lines["weight"]) == pytest.approx(row[2], rel=1e-3)
    assert bench.text("cat", each=True).count("->") == 3 * 4
    assert "not allowed" in bench.text("cat", 0, 0, key="mat")
    assert str(bench).count("head") == 4


def test_the_script(tmp_path):
    model = gpt()
    state = {"config": vars(model.config), "tokenizer": TOKENIZER.state_dict(), "model": model.state_dict()}
    mg.save(state, tmp_path / "gpt.npz")

    def start(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "error", str(ROOT / "examples" / "attention_workbench.py"), "gpt.npz", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    (tmp_path / "attention.html").write_text("mine")
    done = start("--text", TEXT)
    assert done.stdout == "wrote attention-2.html: 2 attention layers, 4 heads; open it in a browser\n", done.stderr
    assert (tmp_path / "attention.html").read_text() == "mine"
    assert "</html>" in (tmp_path / "attention-2.html").read_text(encoding="utf-8")
    for _ in range(2):
        done = start("--text", TEXT, "-o", "own.html")
        assert done.stdout.startswith("wrote own.html: "), done.stderr
    for wrong, message in (
        (["--layer", "0"], "--layer needs --token"),
        (["--each"], "--each needs --token"),
        (["--token", "cat", "--key", "The", "--head", "0"], "--key needs --layer and --head"),
    ):
        done = start("--text", TEXT, *wrong)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and message in done.stderr
    done = start("--text", TEXT, "--token", "cat", "--layer", "0", "--head", "1")
    assert "  head 1  t@6 -> " in done.stdout and "softmax" in done.stdout, done.stderr
    done = start("--text", "dog")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "'d' at 0" in done.stderr


def test_pieces_of_words_are_joined():
    package = pytest.importorskip("tokenizers")
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "[SEP]", "the", "cat", "un", "##be", "##liev"])}
    tokenizer = package.Tokenizer(package.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = package.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    tokenizer.post_processor = package.processors.TemplateProcessing(
        "[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)]
    )
    bench = attention(BERT(BERTConfig(8, 12, 1, 2, 8)), "the unbeliev cat", tokenizer=tokenizer)
    assert bench.rows[0].labels == ["[CLS]", "the", "un", "be", "liev", "cat", "[SEP]"]
    assert bench.rows[0].words == [0, 1, 2, 2, 2, 3, 4] and bench.rows[0].find("unbeliev") == range(2, 5)
