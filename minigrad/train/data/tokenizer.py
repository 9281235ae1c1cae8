"""Characters to ids and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minigrad.train.data.errors import DataError

PIECE = 1 << 20  # characters that are encoded at a time


class CharTokenizer:
    """One id per character, in the order of the code points, then one per special token: ids (T,) int64.

    No text becomes a special token ("[MASK]", say): its id is ``special["[MASK]"]``.
    """

    def __init__(self, characters: str, special: Sequence[str] = ()) -> None:
        if not characters:
            raise DataError("a vocabulary needs at least one character")
        self.characters = "".join(sorted(set(characters)))
        self._codes = _codes(self.characters)
        self.special = {token: len(self.characters) + i for i, token in enumerate(special)}
        if len(self.special) != len(special):
            raise DataError(f"special tokens must differ, got {', '.join(special)}")
        self._tokens = [*self.characters, *special]

    @classmethod
    def from_text(cls, text: str, special: Sequence[str] = ()) -> CharTokenizer:
        """The vocabulary of all characters of a text."""
        return cls("".join(set(text)), special)

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    @property
    def hash(self) -> str:
        """A short fingerprint of the vocabulary."""
        vocabulary = "".join([self.characters, *(f"\0{token}" for token in self.special)])
        return hashlib.sha256(vocabulary.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def encode(self, text: str, dtype: Any = np.int64) -> npt.NDArray[Any]:
        """The ids of a text. Raises DataError with the unknown characters and where they stand.

        ``dtype=tokenizer.smallest`` keeps a long text small: one byte a character where the vocabulary has at most 256.
        """
        ids = np.empty(len(text), dtype)
        starts = range(0, len(text), PIECE)
        for start in tqdm(starts, "characters to ids", unit="M", leave=False, disable=len(starts) < 8 or None):
            codes = _codes(text[start : start + PIECE])
            found = np.searchsorted(self._codes, codes)
            unknown = self._codes[np.minimum(found, len(self._codes) - 1)] != codes
            if unknown.any():
                raise DataError(self._unknown(text, start + np.flatnonzero(unknown)))
            ids[start : start + PIECE] = found
        return ids

    @property
    def smallest(self) -> np.dtype[Any]:
        """The smallest type of numbers that holds every id."""
        return np.min_scalar_type(self.vocab_size - 1)

    def _unknown(self, text: str, positions: npt.NDArray[np.intp]) -> str:
        places: dict[str, list[int]] = {}
        for i in positions:
            places.setdefault(text[i], []).append(int(i))
        shown = [
            f"{c!r} at {', '.join(map(str, where[:5]))}{', ...' if len(where) > 5 else ''}"
            for c, where in list(places.items())[:10]
        ]
        more = f" and {len(places) - 10} more characters" if len(places) > 10 else ""
        return f"not in the vocabulary of {len(self.characters)} characters: {'; '.join(shown)}{more}"

    def decode(self, ids: Any) -> str:
        """Raises DataError for an id outside the vocabulary."""
        ids = np.asarray(ids, dtype=np.int64).reshape(-1)
        if ids.size and (ids.min() < 0 or ids.max() >= self.vocab_size):
            raise DataError(f"ids run from {ids.min()} to {ids.max()}, the vocabulary has 0 to {self.vocab_size - 1}")
        return "".join(self._tokens[i] for i in ids)

    def state_dict(self) -> dict[str, Any]:
        """The vocabulary as plain data."""
        return {"characters": self.characters, "special": list(self.special), "hash": self.hash}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> CharTokenizer:
        """Raises DataError where the vocabulary is not the one that was saved, or is none."""
        state = state if isinstance(state, dict) else {}
        special = state.get("special", ())
        parts = [
            state.get("characters"),
            state.get("hash"),
            *(special if isinstance(special, list | tuple) else [None]),
        ]
        if not all(isinstance(part, str) for part in parts):
            raise DataError("the checkpoint has no whole vocabulary")
        tokenizer = cls(state["characters"], state.get("special", ()))
        if tokenizer.hash != state["hash"]:
            raise DataError("the vocabulary in the checkpoint is not the one it was saved with")
        return tokenizer


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
