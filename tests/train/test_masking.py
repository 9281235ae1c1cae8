"""Masking: who is chosen, what is shown, what must be guessed; and the lines that fine-tuning tells apart."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.train.data import (
    SPECIAL,
    CharTokenizer,
    DataError,
    MaskedBatches,
    RandomExamples,
    encode_lines,
    labelled_lines,
    mask_tokens,
    masking_baselines,
    shuffled,
    with_cls,
)
from minigrad.train.data.lines import MODULES

TOKENIZER = CharTokenizer("abcdefghij", SPECIAL)
PAD, CLS, MASK = (TOKENIZER.special[token] for token in SPECIAL)


def seeded(seed: int = 0) -> mg.Generator:
    return mg.Generator().manual_seed(seed)


def test_special_tokens_come_after_the_characters():
    assert (PAD, CLS, MASK) == (10, 11, 12) and TOKENIZER.vocab_size == 13
    assert TOKENIZER.encode("bad").tolist() == [1, 0, 3]
    assert TOKENIZER.decode([11, 1, 0, 12, 10]) == "[CLS]ba[MASK][PAD]"
    for text in ("[MASK]", "é", "z"):
        with pytest.raises(DataError, match="not in the vocabulary of 10 characters"):
            TOKENIZER.encode(text)
    with pytest.raises(DataError, match="has 0 to 12"):
        TOKENIZER.decode([13])
    again = CharTokenizer.from_state_dict(TOKENIZER.state_dict())
    assert again.special == TOKENIZER.special and again.hash == TOKENIZER.hash != CharTokenizer("abcdefghij").hash
    with pytest.raises(DataError, match="must differ"):
        CharTokenizer("ab", ("[CLS]", "[CLS]"))
    with pytest.raises(DataError, match="not the one it was saved with"):
        CharTokenizer.from_state_dict({**TOKENIZER.state_dict(), "special": ["[CLS]"]})


def test_the_rule_exactly():
    ids = with_cls(np.random.default_rng(0).integers(0, 10, (300, 40)), TOKENIZER)
    ids[:, 30:] = PAD
    ids[0, 2:] = PAD
    ids[1, 1:] = PAD  # a row with nothing to choose
    before = ids.copy()
    shown, targets = mask_tokens(ids, TOKENIZER, seeded())
    assert (ids == before).all()
    chosen = targets != -100
    assert (targets[chosen] == ids[chosen]).all()
    assert (shown[~chosen] == ids[~chosen]).all()
    assert not chosen[ids >= 10].any(), "a special token was chosen"
    assert not np.isin(shown[chosen], (PAD, CLS)).any()
    assert chosen[0].sum() == 1 and chosen[1].sum() == 0
    assert (chosen[2:].sum(1) == round(0.15 * 29)).all()


def test_the_rule_in_shares():
    ids = np.random.default_rng(0).integers(0, 10, (500, 400))
    shown, targets = mask_tokens(ids, TOKENIZER, seeded())
    chosen = targets != -100
    assert chosen.mean() == 0.15
    masked, same = (shown == MASK)[chosen].mean(), (shown == ids)[chosen].mean()
    assert abs(masked - 0.8) < 0.01
    assert abs(same - (0.1 + 0.1 / 10)) < 0.006  # one random character in ten is the right one
    changed = shown[chosen & (shown != MASK) & (shown != ids)]
    assert np.abs(np.bincount(changed, minlength=10) / len(changed) - 0.1).max() < 0.02
    assert np.abs(chosen.mean(0) - 0.15).max() < 0.08, "every position has its chance"
    assert mask_tokens(ids, TOKENIZER, rate=1.0)[1].min() >= 0


def test_wrong_arguments():
    ids = np.zeros((1, 3), dtype=np.int64)
    for rate in (0.0, 1.5):
        with pytest.raises(DataError, match="rate of masked tokens"):
            mask_tokens(ids, TOKENIZER, rate=rate)
    with pytest.raises(DataError, match=r"special token \[MASK\]"):
        mask_tokens(ids, CharTokenizer("abc"))


def test_batches_are_masked_anew_and_resume():
    ids = np.random.default_rng(0).integers(0, 10, 30)
    batches = MaskedBatches(ids, 4, 8, TOKENIZER, seeded())
    (x, y), state = next(batches), batches.state_dict()
    assert x.shape == y.shape == (4, 8) and (x[:, 0] == CLS).all()
    first, second = next(batches), next(batches)
    assert not np.array_equal(first[0], second[0])
    other = MaskedBatches(ids, 4, 8, TOKENIZER, seeded(5))
    other.load_state_dict(state)
    for batch in (first, second):
        assert all(np.array_equal(a, b) for a, b in zip(batch, next(other), strict=True))


def test_masks_differ_where_the_text_is_the_same():
    batches = MaskedBatches(np.arange(8) % 10, 16, 8, TOKENIZER, seeded())  # one window only
    _, targets = next(batches)
    assert len({tuple(row) for row in targets}) > 3


def test_what_guessing_scores():
    text = TOKENIZER.encode("abcd" * 500 + "aaaa")
    scores = masking_baselines(text, TOKENIZER.encode("abcdabcda"), TOKENIZER.vocab_size)
    assert scores["two neighbours"]["accuracy"] == 1 and scores["two neighbours"]["loss"] < 0.1
    assert scores["most frequent"]["accuracy"] == pytest.approx(1 / 7)  # a is the most frequent: one of bcdabcd
    assert scores["most frequent"]["loss"] == pytest.approx(np.log(4), abs=0.02)
    either = TOKENIZER.encode("abcadc" * 300)  # between a and c there is b or d, all else is certain
    scores = masking_baselines(either, either[:61], TOKENIZER.vocab_size)
    assert scores["two neighbours"]["accuracy"] == pytest.approx(5 / 6, abs=0.01)
    assert scores["two neighbours"]["loss"] == pytest.approx(np.log(2) / 3, abs=0.02)  # at two places in six


@pytest.fixture(scope="module")
def lines():
    return labelled_lines(40, 1, MODULES[:20])


def test_lines_of_three_kinds(lines):
    train, test = lines
    for part in lines:
        assert list(part) == ["prose", "code", "names"]
        assert len({len(found) for found in part.values()}) == 1
        for found in part.values():
            assert len(found) == len(set(found)) > 200
            assert all(24 <= len(line) <= 40 and line.isascii() and line == line.strip() for line in found)
    for kind in train:
        assert not set(train[kind]) & set(test[kind])


def test_lines_are_drawn_by_seed_from_modules_that_are_there():
    few = ("heapq", "shlex", "no_such_module", "queue", "difflib")
    first = labelled_lines(40, 1, few)
    assert first == labelled_lines(40, 1, few) != labelled_lines(40, 2, few)
    fourth = Path(difflib.__file__).read_text(encoding="utf-8")  # of those that are there
    assert first[1]["code"] and all(line in fourth for line in first[1]["code"])
    with pytest.raises(DataError, match="has no source files"):
        labelled_lines(40, 1, ("no_such_module",))
    with pytest.raises(DataError, match="at least 24 characters, got 10"):
        labelled_lines(10)


def test_the_kinds_look_like_themselves(lines):
    train, _ = lines
    share = {
        kind: {c: sum(map(lambda line, c=c: c in line, found)) / len(found) for c in "(=."}
        for kind, found in train.items()
    }
    assert share["code"]["("] > 0.4 and share["names"]["("] == 0
    assert share["code"]["="] > 0.3 and share["prose"]["="] < 0.05


def test_shuffled_lines_have_the_same_characters():
    line = "def shuffled(line, generator):"
    other = shuffled(line, seeded())
    assert other != line and sorted(other) == sorted(line)
    assert other == shuffled(line, seeded())


def test_encoded_lines():
    assert encode_lines(["abc", ""], TOKENIZER, 5).tolist() == [[CLS, 0, 1, 2, PAD], [CLS, PAD, PAD, PAD, PAD]]
    with pytest.raises(DataError, match="'abcde' has 5 characters"):
        encode_lines(["abcde"], TOKENIZER, 5)


def test_examples_come_once_each_and_resume():
    x = np.arange(10)
    examples = RandomExamples(x, -x, 3, seeded())
    batches = [next(examples) for _ in range(3)]
    assert len({int(i) for rows, _ in batches for i in rows}) == 9
    assert all((rows == -labels).all() for rows, labels in batches)
    state = examples.state_dict()
    expected = [next(examples)[0].tolist() for _ in range(4)]
    other = RandomExamples(x, -x, 3, seeded(7))
    other.load_state_dict(state)
    assert [next(other)[0].tolist() for _ in range(4)] == expected
    with pytest.raises(DataError, match="a batch of 11 cannot be drawn from 10 examples"):
        RandomExamples(x, x, 11)
