"""Masked tokens, the game that BERT learns from: hide some, keep what they were. Devlin et al. 2018, section 3.1."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.tools.random import Generator, rng
from minigrad.train.data.baselines import ENOUGH
from minigrad.train.data.batches import Ids, RandomBatches, Text
from minigrad.train.data.errors import DataError
from minigrad.train.data.tokenizer import CharTokenizer

SPECIAL = ("[PAD]", "[CLS]", "[MASK]")  # fill up a batch, stand for the whole text, hide a token
Shares: TypeAlias = npt.NDArray[np.floating[Any]]  # frequencies that sum to 1 in each row
IGNORED = -100  # the target where nothing is to be guessed: cross_entropy's ignore_index


def mask_tokens(
    ids: Ids, tokenizer: CharTokenizer, generator: Generator | None = None, rate: float = 0.15
) -> tuple[Ids, Ids]:
    """Choose a share of each row's characters, hide most of them: ids (B, T) -> what is shown, targets (B, T).

    Of the chosen, 80 % show [MASK], 10 % a random character, 10 % themselves, so that no position can be trusted; their
    targets are what they were, all other targets -100. At least one per row, never a special token. Devlin et al. 2018,
    section 3.1 and appendix A.1.
    """
    if not 0 < rate <= 1:
        raise DataError(f"the rate of masked tokens must be above 0 and at most 1, got {rate}")
    if "[MASK]" not in tokenizer.special:
        raise DataError("masking needs a tokenizer with the special token [MASK]: CharTokenizer(characters, SPECIAL)")
    random = rng(generator)
    characters = len(tokenizer.characters)
    may = ids < characters
    lots = np.where(may, random.random(ids.shape), 2.0)
    ranks = lots.argsort(axis=1).argsort(axis=1)  # 0 for the lowest lot of a row
    counts = np.minimum(may.sum(1), np.maximum(1, np.round(rate * may.sum(1))))
    chosen = ranks < counts[:, None]
    fate = random.random(ids.shape)
    shown = np.where(chosen & (fate < 0.8), tokenizer.special["[MASK]"], ids)
    shown = np.where(chosen & (fate >= 0.8) & (fate < 0.9), random.integers(0, characters, ids.shape), shown)
    return shown, np.where(chosen, ids, IGNORED)


class MaskedBatches(RandomBatches):
    """Endless batches of [CLS] and a window of the text, masked anew each time: (B, T) shown, (B, T) targets."""

    def __init__(
        self,
        ids: Text,
        batch_size: int,
        block_size: int,
        tokenizer: CharTokenizer,
        generator: Generator | None = None,
        rate: float = 0.15,
    ) -> None:
        super().__init__(ids, batch_size, block_size - 1, generator)
        self.tokenizer = tokenizer
        self.rate = rate

    def __next__(self) -> tuple[Ids, Ids]:
        windows, _ = super().__next__()
        return mask_tokens(with_cls(windows, self.tokenizer), self.tokenizer, self.generator, self.rate)


def with_cls(ids: Ids, tokenizer: CharTokenizer) -> Ids:
    """[CLS] before each row: (B, T) -> (B, T + 1)."""
    return np.pad(ids, ((0, 0), (1, 0)), constant_values=tokenizer.special["[CLS]"])


def masking_baselines(train_ids: Text, val_ids: Text, vocab_size: int) -> dict[str, dict[str, float]]:
    """What guessing a hidden character scores: accuracy, and loss in nats, over all characters of the validation text.

    "most frequent" has counted characters. "two neighbours" has counted which stand between each pair of neighbours;
    pairs that are rare lean on what follows the left one and on what precedes the right one. It is always shown both
    neighbours, where some of a model's are hidden too. Of long texts the first 8 million characters count.
    """
    V = vocab_size
    train_ids, val_ids = (ids[:ENOUGH].astype(np.int64) for ids in (train_ids, val_ids))
    unigram: Shares = np.bincount(train_ids, minlength=V) + 1.0
    unigram /= unigram.sum()
    left, middle, right = train_ids[:-2], train_ids[1:-1], train_ids[2:]
    follows = _shares(np.bincount(left * V + middle, minlength=V * V).reshape(V, V) + unigram)  # [left, middle]
    precedes = _shares(np.bincount(right * V + middle, minlength=V * V).reshape(V, V) + unigram)  # [right, middle]
    pairs, places = np.unique(val_ids[:-2] * V + val_ids[2:], return_inverse=True)  # only those that are asked for
    rows = np.full(V * V, -1)
    rows[pairs] = np.arange(len(pairs))
    seen = rows[left * V + right]
    counts = np.bincount((seen * V + middle)[seen >= 0], minlength=len(pairs) * V).reshape(len(pairs), V)
    prior = _shares(follows[pairs // V] * precedes[pairs % V] / unigram)
    between = _shares(counts + 5.0 * prior)  # (pairs, V): the prior weighs as much as five characters seen
    truth = val_ids[1:-1]
    return {
        "most frequent": _score(unigram[None], np.zeros(len(truth), dtype=np.int64), truth),
        "two neighbours": _score(between, places.reshape(-1), truth),
    }


def _shares(counts: Shares) -> Shares:
    return counts / counts.sum(1, keepdims=True)


def _score(table: Shares, rows: Ids, truth: Ids) -> dict[str, float]:
    return {
        "accuracy": float((table.argmax(1)[rows] == truth).mean()),
        "loss": -math.fsum(np.log(table[rows, truth])) / len(truth),
    }
