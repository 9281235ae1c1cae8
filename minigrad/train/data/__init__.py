"""Text in: corpora, the character tokenizer, batches, masking, lines to tell apart, what guessing would score."""

from minigrad.train.data.baselines import guessing_baselines
from minigrad.train.data.batches import RandomBatches, eval_windows, split
from minigrad.train.data.corpora import load_text
from minigrad.train.data.errors import DataError
from minigrad.train.data.lines import RandomExamples, encode_lines, labelled_lines, shuffled
from minigrad.train.data.masking import SPECIAL, MaskedBatches, mask_tokens, masking_baselines, with_cls
from minigrad.train.data.tokenizer import CharTokenizer

__all__ = [
    "SPECIAL",
    "CharTokenizer",
    "DataError",
    "MaskedBatches",
    "RandomBatches",
    "RandomExamples",
    "encode_lines",
    "eval_windows",
    "guessing_baselines",
    "labelled_lines",
    "load_text",
    "mask_tokens",
    "masking_baselines",
    "shuffled",
    "split",
    "with_cls",
]
