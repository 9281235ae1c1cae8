"""Pairs of texts: number words, holes and their filling, padded batches; and the scripts that train a T5 on them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

import minigrad as mg
from minigrad.train.data import CharTokenizer, DataError, load_text
from minigrad.train.data.pairs import (
    END,
    PAD,
    SENTINELS,
    PairBatches,
    corrupt_spans,
    decode_texts,
    encode_texts,
    number_words,
    restore_spans,
)


def run(script: str, *arguments: str, cwd: Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / script), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def test_numbers_in_words():
    pytest.importorskip("num2words", reason="the package num2words is not installed")
    assert number_words([21, 42]) == [("twenty-one", "einundzwanzig"), ("forty-two", "zweiundvierzig")]
    assert number_words([80], "de", "fr") == [("achtzig", "quatre-vingts")]


def test_without_num2words(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(ImportError, match=r"num2words: pip install num2words"):
        number_words([1])
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "num2words.py").write_text("raise ImportError('hidden')")
    done = run("train_translation.py", cwd=tmp_path, path=os.pathsep.join([str(hidden), str(ROOT)]))
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "pip install num2words" in done.stderr


def spans(target: str) -> list[str]:
    return re.split(f"[{SENTINELS}]", target)[1:-1]


@pytest.mark.parametrize("length", [2, 3, 7, 20, 64, 512, 1000])
def test_holes_can_be_filled(length):
    text = load_text("python-docs")
    generator = mg.Generator().manual_seed(length)
    pairs = set()
    for start in range(0, 5000, 100):
        window = text[start : start + length]
        source, target = corrupt_spans(window, generator)
        pairs.add((source, target))
        assert restore_spans(source, target) == window
        missing = max(round(0.15 * length), 1)
        holes = max(round(missing / 3), 1)
        assert len(source) == length - missing + holes and len(target) == missing + holes + 1
        marks = [c for c in source if c in SENTINELS]
        assert "".join(marks) == SENTINELS[:holes], "each sentinel once, in order"
        assert [c for c in target if c in SENTINELS] == [*marks, SENTINELS[holes]]
        assert all(spans(target)), "no hole is empty"
        assert not re.search(f"[{SENTINELS}]{{2}}", source), "no two holes touch"
    assert len(pairs) > 20


def test_holes_are_spread_evenly():
    """Every place but the edges is cut out equally often, and spans have 3 characters on average."""
    text = "".join(chr(0x4E00 + i) for i in range(100))
    generator = mg.Generator().manual_seed(0)
    cut, lengths = np.zeros(100), []
    for _ in range(2000):
        _, target = corrupt_spans(text, generator)
        lengths += [len(span) for span in spans(target)]
        for span in spans(target):
            cut[[text.index(c) for c in span]] += 1
    assert np.mean(lengths) == 3 and set(lengths) >= {1, 2, 3, 4, 5, 6}
    assert np.abs(cut[5:-5] / 2000 - 0.15).max() < 0.04 and cut.min() / 2000 > 0.04


def test_more_holes_and_longer_ones():
    source, target = corrupt_spans("x" * 100, mg.Generator().manual_seed(0), density=0.5, mean_length=10)
    assert len(spans(target)) == 5 and sum(map(len, spans(target))) == 50
    assert restore_spans(source, target) == "x" * 100


def test_a_model_may_leave_a_hole_unfilled():
    a, b, c = SENTINELS[:3]
    assert restore_spans(f"a{a}cd{b}", f"{a}b{c}xyz") == f"abcd{b}"
    assert restore_spans(f"a{a}cd", "") == f"a{a}cd"


@pytest.mark.parametrize("wrong", ["", "x", "ab" + SENTINELS[0], "x" * 3000])
def test_texts_that_cannot_have_holes(wrong):
    with pytest.raises(DataError, match="holes"):
        corrupt_spans(wrong)


def test_texts_to_ids_and_back():
    tokenizer = CharTokenizer(PAD + END + "ab c")
    ids = encode_texts(["a b", "", "cab c"], tokenizer)
    assert tokenizer.encode(PAD + END).tolist() == [0, 1]
    assert ids.tolist() == [[3, 2, 4, 1, 0, 0], [1, 0, 0, 0, 0, 0], [5, 3, 4, 2, 5, 1]]
    assert decode_texts(ids, tokenizer) == ["a b", "", "cab c"]
    with pytest.raises(DataError, match="'x' at 0"):
        encode_texts(["x"], tokenizer)


def test_batches_continue_where_they_were():
    tokenizer = CharTokenizer(PAD + END + "abcdefghijklm")

    def make():
        def draw(generator):
            start = mg.randint(0, 10, (1,), generator=generator).item()
            return "abcdefghijklm"[start:], "abcdefghijklm"[:start]

        return PairBatches(draw, tokenizer, 4, mg.Generator().manual_seed(3))

    batches = make()
    next(batches)
    state = batches.state_dict()
    x, y = next(iter(batches))
    again = make()
    again.load_state_dict(state)
    for one, other in zip((x, y), next(again), strict=True):
        assert (one == other).all()
    assert [a + b for a, b in zip(decode_texts(x, tokenizer), decode_texts(y, tokenizer), strict=True)] == [
        "abcdefghijklm"[start:] + "abcdefghijklm"[:start] for start in map(len, decode_texts(y, tokenizer))
    ]


SHORT = ("--numbers", "100", "--save-every", "1000")


def test_translation_is_learnt_resumed_and_shown(tmp_path):
    pytest.importorskip("num2words", reason="the package num2words is not installed")
    done = run("train_translation.py", *SHORT, "--steps", "100", "--out", "t.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("train_translation.py", "--resume", "t.npz", "--steps", "200", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "held-out numbers after 200 steps" in done.stdout
    units, tens = re.findall(r"the German (?:units|tens) +(\d+)% +(\d+)%", done.stdout)
    assert int(units[0]) > int(units[1]) and int(tens[0]) < int(tens[1]), "units and tens change sides"
    assert "".join(re.findall(r"^     ([a-z]) ", done.stdout, re.MULTILINE)) == "zweiundvierzig"
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.html", "t.npz"]
    again = run("train_translation.py", *SHORT, "--out", "t.npz", cwd=tmp_path)
    assert again.returncode == 2 and "--resume t.npz" in again.stderr


def test_span_corruption_is_learnt(tmp_path):
    done = run("train_span_corruption.py", "--steps", "100", "--batch-size", "16", "--out", "s.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("restored") == 4
    (loss,) = re.findall(r"(\d\.\d+) per missing character", done.stdout)
    (guess,) = re.findall(r"unigram (\d\.\d+)", done.stdout)
    assert float(loss) < float(guess)


@pytest.mark.parametrize(
    ("script", "arguments", "text"),
    [
        ("train_translation.py", ["--numbers", "50"], "--numbers must be at least 100"),
        ("train_translation.py", ["--out", "x.pt"], "must end in .npz"),
        (
            "train_translation.py",
            ["--numbers", "100", "--attention", "linformer"],
            "take learned, sinusoidal or rotary",
        ),
        ("train_span_corruption.py", ["--window", "1000000"], "shorter than --window"),
    ],
)
def test_mistakes_are_one_line(script, arguments, text, tmp_path):
    pytest.importorskip("num2words", reason="the package num2words is not installed")
    done = run(script, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and text in done.stderr
    assert not list(tmp_path.iterdir())
