"""The parts a transformer may have besides plain attention: a config, a cache, efficient attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import minigrad as mg
from minigrad import nn

KeysAndValues = tuple[mg.Tensor, mg.Tensor]  # (B, H, S, D) each
POSITIONS = ("learned", "sinusoidal", "rotary", "alibi", "relative")
ATTENTIONS = ("full", "longformer", "linformer", "performer")


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes and choices of a transformer. Raises ValueError for those that do not fit together."""

    vocab_size: int
    block_size: int = 64  # the longest sequence, in tokens
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    bias: bool = True
    positions: str = "learned"  # or "sinusoidal", "rotary", "alibi", "relative"
    attention: str = "full"  # or "longformer", "linformer", "performer": less than T x T work in self-attention
    window: int = 16  # longformer: a token sees so many neighbours to each side
    num_global: int = 0  # longformer: so many of the first tokens see all, and all see them
    rank: int = 16  # linformer: keys and values are mixed down to so many
    features: int = 64  # performer: random features per head

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "window", "rank", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd={self.n_embd} must be divisible by n_head={self.n_head}: heads share the channels"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        for name, words in (("positions", POSITIONS), ("attention", ATTENTIONS)):
            if getattr(self, name) not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}, got {getattr(self, name)!r}")
        if self.attention != "full" and self.positions in ("alibi", "relative"):
            raise ValueError(
                f"positions={self.positions!r} adds a number to each of the T x T scores, which "
                f"attention={self.attention!r} never makes: take learned, sinusoidal or rotary positions"
            )


class Positions(nn.Module):
    """How the model knows the order of its tokens, by ``config.positions``: each scheme acts in one of three places.

    Added to the input (learned, sinusoidal): the call, (B, T, C) -> (B, T, C). Added to the scores (alibi, relative):
    ``bias``. Turned into queries and keys (rotary): in ``Attention``.
    """

    def __init__(self, config: TransformerConfig, bidirectional: bool = True) -> None:
        super().__init__()
        self.added: nn.Module | None = None
        self.scored: nn.Module | None = None
        if config.positions == "learned":
            self.added = nn.LearnedPositions(config.block_size, config.n_embd)
        elif config.positions == "sinusoidal":
            self.added = nn.SinusoidalPositions(config.n_embd)
        elif config.positions == "alibi":
            self.scored = nn.ALiBi(config.n_head)
        elif config.positions == "relative":
            self.scored = nn.RelativeBuckets(config.n_head, bidirectional=bidirectional)

    def forward(self, x: mg.Tensor, offset: int = 0) -> mg.Tensor:
        return x if self.added is None else self.added(x, offset)

    def bias(self, T: int, offset: int = 0) -> mg.Tensor | None:
        """What is added to the scores of T queries from position offset, and all keys up to the last: (H, T, S)."""
        return None if self.scored is None else self.scored(T, offset=offset)


class Cache:
    """The keys and values of all tokens so far, of one layer: written down once, so that no token is computed again."""

    def __init__(self, size: int) -> None:
        self.size = size  # the longest sequence, in tokens
        self.length = 0

    def append(self, key: mg.Tensor, value: mg.Tensor) -> KeysAndValues:
        """Add those of the next T tokens (B, H, T, D); returns those of all so far (B, H, length, D)."""
        B, H, T, D = key.shape
        if self.length == 0:
            self.keys, self.values = key.new_zeros(B, H, self.size, D), key.new_zeros(B, H, self.size, D)
        past, self.length = self.length, self.length + T
        if self.length > self.size:
            raise ValueError(f"{self.length} tokens do not fit into a cache for {self.size}")
        if key.requires_grad:  # what attention has read stays as it was for the way back
            self.keys, self.values = self.keys.clone(), self.values.clone()
        self.keys[:, :, past : self.length] = key
        self.values[:, :, past : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def reorder(self, rows: mg.Tensor) -> None:
        """Go on with these rows of the batch: in beam search some are dropped, and others go on in several ways."""
        self.keys, self.values = self.keys[rows], self.values[rows]


def efficient_attention(config: TransformerConfig, causal: bool) -> nn.Module | None:
    """The drop-in for softmax attention that ``config.attention`` names; None for full attention.

    They know no dropout of weights. Linformer cannot be causal: its mixed keys hold the future too.
    """
    if config.attention == "longformer":
        return nn.LongformerAttention(config.window, config.num_global)
    if config.attention == "linformer":
        if causal:
            raise ValueError(
                "attention='linformer' mixes the keys of all positions, the future too, so it cannot be causal: "
                "take longformer or performer, or use linformer in an encoder"
            )
        return nn.LinformerAttention(config.block_size, config.rank)
    if config.attention == "performer":
        return nn.PerformerAttention(config.n_embd // config.n_head, config.features)
    return None


def combined_mask(T: int, S: int, causal: bool, padding: mg.Tensor | None, bias: mg.Tensor | None) -> mg.Tensor | None:
    """What keeps the T queries from some of the S keys, and is added to their scores, as one mask for attention.

    padding (B, S) is True where a key is to be ignored; bias is (H, T, S). Query t stands at position S - T + t.
    """
    allowed = mg.ones(T, S, dtype=mg.bool).tril(S - T) if causal else None
    if padding is not None:
        keep = ~padding.reshape(-1, 1, 1, S)
        allowed = keep if allowed is None else keep & allowed
    if bias is None or allowed is None:
        return allowed if bias is None else bias
    return bias.masked_fill(~allowed, -math.inf)
