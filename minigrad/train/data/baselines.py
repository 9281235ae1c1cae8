"""What guessing scores: the numbers a model must beat to have learnt anything."""

from __future__ import annotations

import math

import numpy as np

from minigrad.train.data.batches import Text

ENOUGH = 1 << 23  # characters of a text that are counted


def guessing_baselines(train_ids: Text, val_ids: Text, vocab_size: int) -> dict[str, float]:
    """Cross-entropy on the validation text, in nats per character, of three guessers that counted the training text.

    Uniform knows nothing, unigram how frequent each character is, bigram how frequent it is after the one before.
    Counts start at 1 (Laplace), so that nothing is impossible. Of long texts the first 8 million characters count.
    """
    train_ids, val_ids = (ids[:ENOUGH].astype(np.int64) for ids in (train_ids, val_ids))
    unigram = np.bincount(train_ids, minlength=vocab_size) + 1.0
    log_unigram = np.log(unigram / unigram.sum())
    pairs = np.bincount(train_ids[:-1] * vocab_size + train_ids[1:], minlength=vocab_size**2) + 1.0
    bigram = pairs.reshape(vocab_size, vocab_size)
    log_bigram = np.log(bigram / bigram.sum(1, keepdims=True))
    return {
        "uniform": math.log(vocab_size),
        "unigram": -float(log_unigram[val_ids].mean()),
        "bigram": -float(log_bigram[val_ids[:-1], val_ids[1:]].mean()),
    }
