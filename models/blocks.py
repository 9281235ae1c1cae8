"""What GPT, BERT and T5 have in common: attention with three visible projections, positions, a feed-forward network.

Which positions and which attention a model uses are words in its config.
Shapes: B batch, T target time (queries), S source time (keys), C channels, H heads, D = C / H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

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


KeysAndValues = tuple[mg.Tensor, mg.Tensor]  # (B, H, S, D) each


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
        self.keys[:, :, past : self.length] = key
        self.values[:, :, past : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def reorder(self, rows: mg.Tensor) -> None:
        """Go on with these rows of the batch: in beam search some are dropped, and others go on in several ways."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class Attention(nn.Module):
    """Each token asks, and gathers what the others offer: (B, T, C) -> (B, T, C). Vaswani et al. 2017, section 3.2.

    Self-attention unless a memory is given, the keys and values of another sequence: cross-attention.
    """

    def __init__(self, config: TransformerConfig, causal: bool = False, cross: bool = False) -> None:
        super().__init__()
        self.heads = config.n_head
        self.causal = causal
        self.dropout = config.dropout
        self.query = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.key = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.value = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.output = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.output_dropout = nn.Dropout(config.dropout)
        size = config.n_embd // config.n_head
        rotary = config.positions == "rotary" and not cross  # two sequences have no distance from one another
        self.rotary = nn.RotaryPositions(size) if rotary else None
        self.efficient = None if cross else efficient_attention(config, causal)

    def forward(
        self,
        x: mg.Tensor,
        memory: KeysAndValues | None = None,
        padding: mg.Tensor | None = None,
        bias: mg.Tensor | None = None,
        cache: Cache | None = None,
    ) -> mg.Tensor:
        """padding (B, S): True where a key is to be ignored; bias (H, T, S) is added to the scores.

        With a cache, x follows the tokens whose keys and values the cache holds, and is added to it.
        """
        B, T, C = x.shape
        query = self.split_heads(self.query(x))  # (B, H, T, D)
        key, value = self.keys_and_values(x) if memory is None else memory  # (B, H, S, D)
        if self.rotary is not None:
            query, key = self.rotary(query, key, 0 if cache is None else cache.length)
        if cache is not None:
            key, value = cache.append(key, value)  # (B, H, S, D), S = past + T
        if self.efficient is None:
            out = self.attend(query, key, value, padding, bias)  # (B, H, T, D)
        else:
            out = self.efficient(query, key, value, padding, self.causal)
        out = out.transpose(1, 2).reshape(B, T, C)  # the heads side by side
        return self.output_dropout(self.output(out))

    def attend(
        self,
        query: mg.Tensor,
        key: mg.Tensor,
        value: mg.Tensor,
        padding: mg.Tensor | None,
        bias: mg.Tensor | None,
    ) -> mg.Tensor:
        """softmax(query @ keyᵀ / √D + bias) @ value, over the allowed keys: -> (B, H, T, D)."""
        T, S = query.shape[2], key.shape[2]
        causal = self.causal and T > 1  # the last token sees all there is
        plain = T == S and padding is None and bias is None
        allowed = None
        if causal and not plain:
            allowed = mg.ones(T, S, dtype=mg.bool).tril(S - T)  # query t stands at position S - T + t
        if padding is not None:
            keep = ~padding.reshape(-1, 1, 1, S)
            allowed = keep if allowed is None else keep & allowed
        mask = allowed
        if bias is not None:
            mask = bias if allowed is None else bias.masked_fill(~allowed, -math.inf)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal and plain)

    def keys_and_values(self, x: mg.Tensor) -> KeysAndValues:
        """What the tokens of x (B, S, C) offer: the memory for cross-attention, made once however often it is read."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))  # (B, H, S, D) each

    def split_heads(self, x: mg.Tensor) -> mg.Tensor:
        B, T, C = x.shape
        return x.view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, D)


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


class FeedForward(nn.Module):
    """Each token on its own, through a hidden layer four times as wide: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, activation: nn.Module) -> None:
        super().__init__()
        self.expand = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.activation = activation
        self.contract = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.dropout(self.contract(self.activation(self.expand(x))))


def init_weights(module: nn.Module) -> None:
    """For ``model.apply``: weights from N(0, 0.02²), biases 0, as GPT and BERT start. Radford et al. 2018."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
