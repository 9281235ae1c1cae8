"""Unlucky users: every command and example with files in the way, sizes beyond reason, checkpoints that do not fit."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

import minigrad as mg
from minigrad import nn
from minigrad.look.pages.dot import layout
from minigrad.look.pages.html import page
from minigrad.models.generate import choose
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.tools.capacity import check_fits, check_sizes, in_words, memory
from minigrad.tools.cli import FELL_SHORT, run, verdict
from minigrad.train.checkpoints import CheckpointError, load_model
from minigrad.train.data import CharTokenizer
from minigrad.train.settings import same_text
from minigrad.train.trainer import Trainer


def command(*words, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a very small GPT, as a training leaves it."""
    text = "the cat sat on the mat\n" * 20
    tokenizer = CharTokenizer.from_text(text)
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=8, n_layer=1, n_head=2, n_embd=8)
    state = {"config": vars(config), "model": GPT(config).state_dict(), "tokenizer": tokenizer.state_dict()}
    path = tmp_path_factory.mktemp("trained") / "x.npz"
    mg.save(state, path)
    return path


SCRIPT = "import minigrad as mg\nx = mg.ones(2, requires_grad=True)\n(x * 2).sum().backward()\n"
PRECIOUS = "roses are red, violets are blue\n"


@pytest.mark.parametrize(
    "words",
    [
        ["examples/attention_workbench.py", "x.npz", "--text", "the cat", "-o", "x.npz"],
        ["examples/attention_workbench.py", "x.npz", "--text", "the cat", "-o", "mine.html"],
        ["-m", "minigrad", "step", "--html", "mine.html", "script.py"],
        ["-m", "minigrad", "graph", "-o", "mine.svg", "script.py"],
        ["-m", "minigrad", "graph", "-o", "mine.html", "script.py"],
        ["examples/train_char_gpt.py", "--data", "poems.csv", "--out", "poems.npz", "--steps", "1"],
        ["examples/train_char_gpt.py", "--data", "poems.csv", "--out", "mine.npz", "--steps", "1"],
        ["examples/train_bert.py", "--data", "poems.csv", "--out", "poems.npz", "--steps", "1"],
        ["examples/train_span_corruption.py", "--data", "poems.csv", "--out", "poems.npz", "--steps", "1"],
    ],
    ids=lambda words: " ".join(words[-6:]),
)
def test_no_command_replaces_what_is_not_its_own(words, trained, tmp_path):
    (tmp_path / "x.npz").write_bytes(trained.read_bytes())
    (tmp_path / "script.py").write_text(SCRIPT)
    for name in ("mine.html", "mine.svg", "poems.csv"):
        (tmp_path / name).write_text(PRECIOUS * 100)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = [ROOT / words[0], *words[1:]] if words[0].startswith("examples") else words
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "error: " in done.stderr, done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_page_of_ones_own_is_replaced(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    for _ in range(2):
        done = command("-m", "minigrad", "step", "--html", "page.html", "script.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_sizes_beyond_reason_are_refused_at_once_with_what_they_need(tmp_path):
    (tmp_path / "a.txt").write_text(PRECIOUS * 100)
    words = [ROOT / "examples/train_char_gpt.py", "--data", "a.txt", "--n-layer", "999999999999"]
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 2 and "needs at least" in done.stderr and "PB of memory" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["a.txt"]


def test_what_fits():
    check_sizes(layers=4, channels=128, vocabulary=100, rows=12, context=64)
    check_fits(memory() / 2, "half")
    with pytest.raises(ValueError, match=r"all and more needs at least .* of memory, and this machine has"):
        check_fits(memory() * 2, "all and more")
    for sizes in (
        {"layers": 10**12},
        {"channels": 10**8},
        {"rows": 10**12},
        {"context": 10**12},
        {"vocabulary": 10**12},
    ):
        with pytest.raises(ValueError, match="needs at least"):
            check_sizes(**{"layers": 4, "channels": 128, "vocabulary": 100, "rows": 12, "context": 64, **sizes})
    assert in_words(999) == "999 bytes" and in_words(16.23e9) == "16.2 GB" and in_words(3e20) == "3e+05 PB"


def tampered(state):
    """Plain data with one part at a time replaced, taken away or put in: (where, the state)."""

    def walk(part, path):
        yield path
        if isinstance(part, dict):
            for key, value in part.items():
                yield from walk(value, (*path, key))

    def holder(whole, path):
        for key in path[:-1]:
            whole = whole[key]
        return whole

    for path in walk(state, ()):
        if not path:
            continue
        for change in ("gone", None, "text", -1, 10**12, [], {}, np.zeros(3), mg.zeros(2, 2)):
            changed = copy.deepcopy(state)
            if isinstance(change, str) and change == "gone":
                del holder(changed, path)[path[-1]]
            else:
                holder(changed, path)[path[-1]] = change
            yield f"{'.'.join(map(str, path))} = {change!r:.20}", changed


def build(checkpoint):
    return GPT(GPTConfig(**checkpoint["config"]))


def test_tampered_models_are_read_or_refused_in_one_sentence(trained, tmp_path):
    count = refused = 0
    for where, state in tampered(mg.load(trained)):
        mg.save(state, tmp_path / "t.npz")
        count += 1
        try:
            model, checkpoint = load_model(tmp_path / "t.npz", build)
            CharTokenizer.from_state_dict(checkpoint["tokenizer"])
            model(mg.zeros(1, 4, dtype=mg.int64))
        except ValueError as error:
            refused += 1
            assert str(error), where
    assert count > 200 and refused > 0.8 * count


def run_of(seed=0):
    mg.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 8))

    class Batches:
        def __next__(self):
            return np.arange(8).reshape(2, 4), np.arange(8).reshape(2, 4)

        def state_dict(self):
            return {"place": 0}

        def load_state_dict(self, state):
            self.place = state["place"]

    optimizer = mg.optim.AdamW(model.parameters(), lr=0.1)
    schedule = mg.optim.lr_scheduler.CosineWarmup(optimizer, 1, 5, 0.01)
    loss_of = lambda model, x, y: nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())  # noqa: E731
    return Trainer(model, optimizer, schedule, Batches(), loss_of)


def test_tampered_runs_are_read_or_refused_in_one_sentence():
    first = run_of()
    first.fit(3, eval_every=1, quiet=True)
    state = first.state_dict()
    run_of(1).load_state_dict(copy.deepcopy(state))
    count = refused = 0
    for where, changed in tampered(state):
        count += 1
        try:
            again = run_of(1)
            again.load_state_dict(changed)
            again.fit(4, quiet=True)
        except (CheckpointError, ValueError) as error:
            refused += 1
            assert str(error), where
    assert count > 200 and refused > 0.7 * count


def test_another_text_is_not_gone_on_with():
    found = same_text("some text", None)
    assert same_text("some text", {"text": found}) == found == same_text("some text", {})
    with pytest.raises(ValueError, match="not the one that this run was started with"):
        same_text("another", {"text": found})


def test_a_claim_that_does_not_come_true_is_no_error(capsys):
    assert verdict((True, "a"), (True, "b")) == 0
    assert verdict((True, "a"), (False, "it beats guessing")) == FELL_SHORT == 3
    assert capsys.readouterr().err == "not reached this time: it beats guessing\n"


def test_full_memory_is_one_line(capsys):
    def main():
        raise MemoryError("Unable to allocate 3.64 TiB")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == 2 and capsys.readouterr().err == "error: not enough memory: Unable to allocate 3.64 TiB\n"


@pytest.mark.parametrize("temperature", [1e-300, 1e-40, 1e-10])
def test_a_temperature_near_zero_takes_the_likeliest(temperature):
    logits = mg.tensor([[1.0, 3.0, -2.0], [1e4, 1e3, -1e9]])
    assert choose(logits, temperature).tolist() == [[1], [0]]


def test_without_docstrings():
    code = "import minigrad as mg; import minigrad.nn, minigrad.look.terminal; print(mg.tensor([1.0]) * 2)"
    assert command("-OO", "-c", code, cwd=ROOT).stdout == "tensor([2.])\n"


def test_half_a_character_in_a_page():
    assert page("\ud800", "run", {"a": "\udfff"}).encode("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="a script stands for a program")
def test_a_dot_that_draws_nothing(tmp_path, monkeypatch):
    (tmp_path / "dot").write_text("#!/bin/sh\ncat > /dev/null\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for kind in ("svg", "png", "pdf"):
        with pytest.raises(RuntimeError, match="drew nothing: is it Graphviz"):
            layout("digraph {}", kind)


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 2)]


def test_mistakes_are_told_with_the_mend():
    with pytest.raises(TypeError, match=r"got the module Linear: write model\.parameters\(\)"):
        mg.optim.SGD(nn.Linear(2, 2), lr=0.1)
    with pytest.raises(ValueError, match=r"layers in a plain list.*Write nn\.ModuleList"):
        mg.optim.SGD(InAList().parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"cat takes a list of tensors: write cat\(\[a, b\]\)"):
        mg.cat(mg.ones(2), mg.ones(2))


@pytest.mark.parametrize("dim", [0, -1])
def test_numbers_have_a_dim_as_in_pytorch(dim):
    x = mg.tensor(2.5)
    for name in ("squeeze", "cumsum", "cumprod", "logcumsumexp", "sum", "mean", "softmax", "flip", "prod", "amax"):
        assert getattr(x, name)(dim).shape == (), name
    for name in ("median", "mode", "cummax", "cummin", "max", "min", "sort"):
        values, indices = getattr(x, name)(dim)
        assert values.item() == 2.5 and indices.item() == 0 and values.shape == indices.shape == (), name
    assert x.topk(1, dim).values.item() == 2.5 and x.var(dim, correction=0).item() == 0
