"""Text in: corpora, the character tokenizer, batches, and what guessing would score."""

from minigrad.data.baselines import guessing_baselines
from minigrad.data.batches import RandomBatches, eval_windows, split
from minigrad.data.corpora import load_text
from minigrad.data.errors import DataError
from minigrad.data.tokenizer import CharTokenizer

__all__ = [
    "CharTokenizer",
    "DataError",
    "RandomBatches",
    "eval_windows",
    "guessing_baselines",
    "load_text",
    "split",
]
