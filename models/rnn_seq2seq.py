"""Sequence to sequence before transformers: a GRU reads, a GRU writes. Read it from top to bottom.

Without attention, all that the decoder gets is one vector, the last states of the encoder, at the start (Sutskever et
al. 2014) and at every step (Cho et al. 2014). With it, each step gets its own mix of all states of the encoder instead
(Bahdanau et al. 2015). Nothing else differs.
Shapes: B batch, T target time, S source time, E embedding, H hidden size, V vocabulary; M = 2H, two directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


@dataclass(frozen=True)
class RNNSeq2SeqConfig:
    """The sizes of an RNNSeq2Seq and its two special tokens. Raises ValueError for what does not fit together."""

    source_vocab_size: int
    target_vocab_size: int
    n_embd: int = 32
    n_hidden: int = 64
    attention: str = "additive"  # or "none"
    start: int = 0  # the target token that the decoder is given first
    end: int = 1  # the target token that says: done

    def __post_init__(self) -> None:
        for name in ("source_vocab_size", "target_vocab_size", "n_embd", "n_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.attention not in ("none", "additive"):
            raise ValueError(f"attention must be 'none' or 'additive', got {self.attention!r}")
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) < self.target_vocab_size:
                raise ValueError(f"{name}={getattr(self, name)} is no token of 0 to {self.target_vocab_size - 1}")
        if self.start == self.end:
            raise ValueError(f"start and end must differ, both are {self.start}")


class Source(NamedTuple):
    """What the decoder may look at."""

    last: mg.Tensor  # (B, M), the last states of both directions
    states: mg.Tensor  # (B, S, M), all of them
    real: mg.Tensor  # (B, S), False where there is padding
    keys: mg.Tensor | None = None  # (B, S, H), what attention compares with


class Encoder(nn.Module):
    """One GRU reads forwards, one backwards: ids (B, S), of which the first lengths (B,) are real, to their states."""

    def __init__(self, config: RNNSeq2SeqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.source_vocab_size, config.n_embd)
        self.left_to_right = nn.GRU(config.n_embd, config.n_hidden, batch_first=True)
        self.right_to_left = nn.GRU(config.n_embd, config.n_hidden, batch_first=True)

    def forward(self, ids: mg.Tensor, lengths: mg.Tensor) -> Source:
        B, S = ids.shape
        row, place, length = mg.arange(B).unsqueeze(1), mg.arange(S), lengths.unsqueeze(1)  # (B, 1), (S,), (B, 1)
        real = place < length  # (B, S)
        # Turned round within its own length, a source has its padding last again, where it reaches no real state.
        mirror = mg.where(real, length - 1 - place, place)  # (B, S)
        left, _ = self.left_to_right(self.embedding(ids))  # (B, S, E) -> (B, S, H)
        right, _ = self.right_to_left(self.embedding(ids[row, mirror]))  # (B, S, H), in the order of reading
        final = mg.arange(B), lengths - 1
        last = mg.cat([left[final], right[final]], dim=-1)  # (B, M)
        return Source(last, mg.cat([left, right[row, mirror]], dim=-1), real)


class AdditiveAttention(nn.Module):
    """A mix of all states of the source, for a state of the decoder: (B, H) -> context (B, M), weights (B, S).

        score[s] = v · tanh(W state + U states[s]),  weights = softmax(score),  context = sum of weights[s] * states[s]

    Bahdanau et al. 2015, section 3.1 and appendix A.1.2.
    """

    def __init__(self, n_hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(n_hidden, n_hidden, bias=False)  # W
        self.key = nn.Linear(2 * n_hidden, n_hidden, bias=False)  # U
        self.score = nn.Linear(n_hidden, 1, bias=False)  # v

    def forward(self, state: mg.Tensor, source: Source) -> tuple[mg.Tensor, mg.Tensor]:
        query = self.query(state).unsqueeze(1)  # (B, 1, H)
        scores = self.score((query + source.keys).tanh()).squeeze(-1)  # (B, S, H) -> (B, S)
        weights = F.softmax(scores.masked_fill(~source.real, -math.inf), dim=-1)  # (B, S)
        context = (weights.unsqueeze(1) @ source.states).squeeze(1)  # (B, 1, S) @ (B, S, M) -> (B, M)
        return context, weights


class RNNSeq2Seq(nn.Module):
    """Source (B, S) and the target so far (B, T) to logits for the next token at every position (B, T, V).

    One linear layer turns state and context into logits, where Bahdanau et al. have a hidden layer of maxout units.
    """

    def __init__(self, config: RNNSeq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.bridge = nn.Linear(2 * config.n_hidden, config.n_hidden)
        self.attention = AdditiveAttention(config.n_hidden) if config.attention == "additive" else None
        self.embedding = nn.Embedding(config.target_vocab_size, config.n_embd)
        self.decoder = nn.GRUCell(config.n_embd + 2 * config.n_hidden, config.n_hidden)
        self.head = nn.Linear(3 * config.n_hidden, config.target_vocab_size)

    def read(self, ids: mg.Tensor, lengths: mg.Tensor | None) -> tuple[Source, mg.Tensor]:
        """The encoded source, and the decoder's first state (B, H)."""
        B, S = ids.shape
        if S == 0:
            raise ValueError("a source must have at least one token")
        lengths = mg.full((B,), S, dtype=mg.long) if lengths is None else lengths
        if lengths.shape != (B,):
            raise ValueError(f"lengths must be ({B},), one for each source, got {lengths.shape}")
        if not ((lengths >= 1) & (lengths <= S)).all():
            raise ValueError(f"lengths must be from 1 to {S}, they run from {lengths.min()} to {lengths.max()}")
        source = self.encoder(ids, lengths)
        if self.attention is not None:
            source = source._replace(keys=self.attention.key(source.states))  # the same for every step
        return source, self.bridge(source.last).tanh()

    def step(self, token: mg.Tensor, state: mg.Tensor, source: Source) -> tuple[mg.Tensor, mg.Tensor, mg.Tensor | None]:
        """One token (B,) and a state (B, H) -> the next state (B, H), features (B, H + M) and weights (B, S)."""
        context, weights = source.last, None  # (B, M)
        if self.attention is not None:
            context, weights = self.attention(state, source)
        state = self.decoder(mg.cat([self.embedding(token), context], dim=-1), state)  # (B, E + M) -> (B, H)
        return state, mg.cat([state, context], dim=-1), weights

    def forward(
        self, ids: mg.Tensor, target: mg.Tensor, lengths: mg.Tensor | None = None
    ) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Logits (B, T, V), and the attention weights (B, T, S) or None.

        The target starts with the start token and is read whatever the model would have said (teacher forcing).
        lengths (B,) count the real tokens of each source, padding is on the right; without them all are real. Raises
        ValueError for a source or a target without a token.
        """
        if target.shape[1] == 0:
            raise ValueError("a target must have at least the start token")
        source, state = self.read(ids, lengths)
        features: list[mg.Tensor] = []
        looks: list[mg.Tensor] = []
        for t in range(target.shape[1]):
            state, feature, weights = self.step(target[:, t], state, source)
            features.append(feature)
            if weights is not None:
                looks.append(weights)
        logits = self.head(mg.stack(features, dim=1))  # (B, T, H + M) -> (B, T, V)
        return logits, mg.stack(looks, dim=1) if looks else None  # (B, T, S)

    @mg.no_grad()
    def generate(self, ids: mg.Tensor, max_new_tokens: int, lengths: mg.Tensor | None = None) -> mg.Tensor:
        """Write the likeliest token, read it, go on: (B, max_new_tokens), without start, filled up with end."""
        source, state = self.read(ids, lengths)
        token = mg.full((len(ids),), self.config.start, dtype=mg.long)  # (B,)
        written = mg.full((len(ids), max_new_tokens), self.config.end, dtype=mg.long)
        done = mg.zeros(len(ids), dtype=mg.bool)
        for t in range(max_new_tokens):
            state, feature, _ = self.step(token, state, source)
            token = self.head(feature).argmax(-1).masked_fill(done, self.config.end)
            written[:, t] = token
            done = token == self.config.end
            if done.all():
                break
        return written
