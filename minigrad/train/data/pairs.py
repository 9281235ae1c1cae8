"""Pairs of texts, one to read and one to write: numbers in two languages, texts with holes, and batches of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from minigrad.tools.extras import need
from minigrad.tools.random import Generator, rng
from minigrad.train.data.batches import Ids
from minigrad.train.data.errors import DataError
from minigrad.train.data.tokenizer import CharTokenizer

Pair: TypeAlias = tuple[str, str]
PAD, END = "\0", "\1"  # fills up a batch, ends a text: no text has them, and they sort first, so their ids are 0 and 1
SENTINELS = "".join(map(chr, range(0xE000, 0xE064)))  # 100 characters for private use, which stand for holes
_SENTINEL = re.compile(f"[{SENTINELS}]")


def number_words(numbers: Iterable[int], source: str = "en", target: str = "de") -> list[Pair]:
    """Numbers in the words of two languages: 21 -> ("twenty-one", "einundzwanzig").

    The languages have the names that the package num2words gives them. Raises ImportError, with how to get the
    package, where it is not installed.
    """
    words = need("num2words").num2words
    return [(words(n, lang=source), words(n, lang=target)) for n in numbers]


def corrupt_spans(text: str, generator: Generator | None = None, density: float = 0.15, mean_length: float = 3) -> Pair:
    """A text with holes, and what is missing: "a red cat sat" -> ("a <0> cat <1>t", "<0>red<1>sa<2>").

    Of the characters a share ``density`` is cut out, in spans of ``mean_length`` on average. A sentinel marks each
    hole; the second text has each sentinel with its span, and one more to end it. Raffel et al. 2020, section 3.1.4.
    Raises DataError for a text that is too short or too long, or has sentinels in it.
    """
    missing = max(round(len(text) * density), 1)
    holes = max(round(missing / mean_length), 1)
    left = len(text) - missing
    if left < holes or holes >= len(SENTINELS) or _SENTINEL.search(text):
        raise DataError(
            f"a text of {len(text)} characters, {density:.0%} of them in {holes} holes, must keep a character for each "
            f"hole, and have fewer than {len(SENTINELS)} holes and no sentinels of its own"
        )
    random = rng(generator)
    cuts = np.sort(random.choice(missing - 1, holes - 1, replace=False)) + 1
    lengths = np.diff([0, *cuts, missing])  # of the spans, 1 or more
    places = np.sort(random.choice(left + 1, holes, replace=False))  # how many characters are left before each hole
    source, target, end = "", "", 0
    for sentinel, start, length in zip(SENTINELS, places + np.cumsum(lengths) - lengths, lengths, strict=False):
        source += text[end:start] + sentinel
        end = start + length
        target += sentinel + text[start:end]
    return source + text[end:], target + SENTINELS[holes]


def restore_spans(source: str, target: str) -> str:
    """The text that ``corrupt_spans`` made the pair of; a hole that the target does not name stays."""
    names, spans = _SENTINEL.findall(target), _SENTINEL.split(target)[1:]
    found = dict(zip(names, spans, strict=True))
    return _SENTINEL.sub(lambda match: found.get(match[0], match[0]), source)


def encode_texts(texts: Sequence[str], tokenizer: CharTokenizer) -> Ids:
    """Ids (B, T) of texts with END after each, filled up with PAD; both must be in the vocabulary."""
    width = max(map(len, texts), default=0) + 1
    return tokenizer.encode("".join((text + END).ljust(width, PAD) for text in texts)).reshape(-1, width)


def decode_texts(ids: Any, tokenizer: CharTokenizer) -> list[str]:
    """The texts of ids (B, T), each up to its END."""
    return [tokenizer.decode(row).split(END)[0] for row in np.asarray(ids)]


class PairBatches:
    """Endless batches of pairs: ids to read (B, S) and to write (B, T); its place in the random stream can be saved.

    ``draw(generator)`` makes one pair.
    """

    def __init__(
        self,
        draw: Callable[[Generator], Pair],
        tokenizer: CharTokenizer,
        batch_size: int,
        generator: Generator | None = None,
    ) -> None:
        self.draw = draw
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.generator = generator if generator is not None else Generator()

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        return self

    def __next__(self) -> tuple[Ids, Ids]:
        sources, targets = zip(*(self.draw(self.generator) for _ in range(self.batch_size)), strict=True)
        return encode_texts(sources, self.tokenizer), encode_texts(targets, self.tokenizer)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
