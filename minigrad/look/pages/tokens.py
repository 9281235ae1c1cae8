"""Tokens as a page shows them: labels, none of them invisible, and the word that each is part of."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

END = "\1"  # ends a text of a pair, in the vocabularies that have it: see minigrad.train.data.pairs
NAMES = {" ": "␣", "\n": "⏎", "\t": "⇥", "\0": "⟨pad⟩", END: "⟨end⟩", "": "⟨nothing⟩"}


class Tokens:
    """The tokens of a sequence: as labels, none of them invisible, and the number of the word that each is part of."""

    def __init__(self, tokens: Iterable[str], name: str = "", words: Iterable[int] = ()) -> None:
        self.tokens = list(tokens)
        self.name = name  # where there are several sequences
        self.dropped = 0  # tokens that stood before these, and did not fit into the model's context
        self.labels = [visible(t) for t in self.tokens]
        self.words = list(words)
        if self.words:
            return
        letters = [len(t) == 1 and (t.isalnum() or t == "_") for t in self.tokens]
        for i, letter in enumerate(letters):
            joined = i > 0 and letter and letters[i - 1]
            self.words.append(self.words[-1] + (not joined) if i else 0)

    def __len__(self) -> int:
        return len(self.tokens)

    def drop(self, count: int) -> None:
        """Leave out so many of the first tokens, if any."""
        self.dropped = max(0, count)
        self.tokens, self.labels = self.tokens[self.dropped :], self.labels[self.dropped :]
        words = self.words[self.dropped :]
        self.words = [word - words[0] for word in words]

    def find(self, text: str) -> range:
        """The tokens that make up the first occurrence of a text, a whole word if there is one; ValueError if none."""
        matches = []
        for start in range(len(self)):
            for end in range(start + 1, len(self) + 1):
                spelt = "".join(self.tokens[start:end])
                if text in (spelt, spelt.strip()) or (end == start + 1 and self.labels[start] == text):
                    matches.append(range(start, end))
                if len(spelt) >= len(text):
                    break
        if not matches:
            raise ValueError(f"the token {text!r} is not in the text: {''.join(self.labels)!r}")
        count = max(self.words) + 1
        padded = [-1, *self.words, count]
        whole = [m for m in matches if padded[m.start] < padded[m.start + 1] and padded[m.stop] < padded[m.stop + 1]]
        return min(whole or matches, key=len)  # one token rather than several


def visible(token: str) -> str:
    """A token as a label: spaces, line breaks and other characters without a shape get a name."""
    if token in NAMES:
        return NAMES[token]
    return "".join(NAMES.get(c, f"⟨{_code(c)}⟩") if unicodedata.category(c)[0] in "CZ" else c for c in token)


def _code(character: str) -> str:
    """The number of a sentinel, a character for private use that stands for a hole in a text; else its code point."""
    hole = ord(character) - 0xE000
    return str(hole) if 0 <= hole < 100 else f"{ord(character):x}"


class WordPieces:
    """A tokenizer of the package ``tokenizers``, as the workbench wants one: a token may be a piece of a word."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """The ids, with those that begin and end a text where the model has them."""
        return list(self.tokenizer.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special ones too; a piece that goes on with a word without its ##."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False)).removeprefix("##")

    def words(self, text: str) -> list[int]:
        """The number of the word that each token is part of."""
        found: list[int] = []
        before = None
        for word in self.tokenizer.encode(text).word_ids:
            new = word is None or word != before
            found.append(found[-1] + new if found else 0)
            before = word
        return found


def words_of(text: Any, part: Sequence[str], tokenizer: Any, given: bool) -> Sequence[int]:
    """The word of each token where it is known: numbers make up none, letters are joined by ``Tokens``."""
    if isinstance(tokenizer, WordPieces) and isinstance(text, str):
        return tokenizer.words(text)
    return range(len(part)) if isinstance(tokenizer, WordPieces) or (tokenizer is None and not given) else ()
