"""T5: an encoder reads a text, a decoder writes one. Its attention is in ``models/attention.py``; read both.

The pre-norm encoder-decoder of Raffel et al. 2020, section 2.1: RMSNorm, ReLU, relative positions in the scores, one
table of tokens for reading, writing and predicting. Unlike T5, scores are divided by √D, as in Vaswani et al. 2017.
Shapes: B batch, S source time, T target time, C channels, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import minigrad as mg
from minigrad import nn
from minigrad.models.attention import Attention, FeedForward
from minigrad.models.generate import check, choose
from minigrad.models.parts import Cache, KeysAndValues, Positions, TransformerConfig
from minigrad.nn import functional as F


@dataclass(frozen=True)
class T5Config(TransformerConfig):
    """The sizes and choices of a T5; n_layer counts the layers of the encoder, and of the decoder.

    ``attention`` is that of the encoder alone: the decoder writes one token after another and looks at everything.
    """

    bias: bool = False
    positions: str = "relative"
    pad: int = 0  # the token that fills up a batch; and the one that the decoder is given first
    end: int = 1  # the token that says: done

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pad", "end"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(f"{name}={getattr(self, name)} is no token of 0 to {self.vocab_size - 1}")
        if self.pad == self.end:
            raise ValueError(f"pad and end must differ, both are {self.pad}")


class EncoderBlock(nn.Module):
    """Communicate in both directions, then compute: (B, S, C) -> (B, S, C)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.n_embd)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.n_embd)
        self.mlp = FeedForward(config, nn.ReLU())

    def forward(self, x: mg.Tensor, padding: mg.Tensor, bias: mg.Tensor | None) -> mg.Tensor:
        x = x + self.attention(self.attention_norm(x), padding=padding, bias=bias)
        return x + self.mlp(self.mlp_norm(x))


class Encoder(nn.Module):
    """The source, each token knowing of all others: (B, S, C) -> (B, S, C)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.positions = Positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.n_embd)

    def forward(self, x: mg.Tensor, padding: mg.Tensor) -> mg.Tensor:
        bias = self.positions.bias(x.shape[1])  # (H, S, S) or None: one for all layers
        x = self.dropout(self.positions(x))
        for block in self.blocks:
            x = block(x, padding, bias)
        return self.dropout(self.norm(x))


class DecoderBlock(nn.Module):
    """Look back at what is written, look over at the source, compute: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.n_embd)
        self.attention = Attention(config, causal=True)
        self.cross_norm = nn.RMSNorm(config.n_embd)
        self.cross = Attention(config, cross=True)
        self.mlp_norm = nn.RMSNorm(config.n_embd)
        self.mlp = FeedForward(config, nn.ReLU())

    def forward(
        self,
        x: mg.Tensor,
        memory: KeysAndValues,
        padding: mg.Tensor,
        bias: mg.Tensor | None,
        cache: Cache | None,
    ) -> mg.Tensor:
        x = x + self.attention(self.attention_norm(x), bias=bias, cache=cache)
        x = x + self.cross(self.cross_norm(x), memory, padding)
        return x + self.mlp(self.mlp_norm(x))


class Decoder(nn.Module):
    """The target so far, and what it needs of the source: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.positions = Positions(config, bidirectional=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.n_embd)

    def forward(
        self, x: mg.Tensor, memory: list[KeysAndValues], padding: mg.Tensor, caches: list[Cache] | None = None
    ) -> mg.Tensor:
        past = caches[0].length if caches else 0
        bias = self.positions.bias(x.shape[1], past)  # (H, T, past + T) or None
        x = self.dropout(self.positions(x, past))
        for layer, block in enumerate(self.blocks):
            x = block(x, memory[layer], padding, bias, caches[layer] if caches else None)
        return self.dropout(self.norm(x))


class T5(nn.Module):
    """A source (B, S) and the target (B, T) to logits for every token of the target: (B, T, V)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)  # its rows also predict: tied
        self.encoder = Encoder(config)
        self.decoder = Decoder(replace(config, attention="full"))
        self.apply(init_weights)

    def forward(
        self, source: mg.Tensor, target: mg.Tensor, label_smoothing: float = 0.0
    ) -> tuple[mg.Tensor, mg.Tensor]:
        """Logits (B, T, V), and the mean cross-entropy in nats per token of the target, padding left out.

        Teacher forcing: each token is predicted from the true ones before it. Rows end with ``end`` and are filled up
        with ``pad``.
        """
        memory, padding = self.encode(source)
        logits = self.decode(self.shifted(target), memory, padding)
        loss = F.cross_entropy(
            logits.view(-1, self.config.vocab_size),
            target.view(-1),
            ignore_index=self.config.pad,
            label_smoothing=label_smoothing,
        )
        return logits, loss

    def encode(self, source: mg.Tensor) -> tuple[list[KeysAndValues], mg.Tensor]:
        """What the decoder needs of a source (B, S): keys and values for each of its layers, and the padding (B, S)."""
        self.check_length(source.shape[1])
        padding = source == self.config.pad
        x = self.encoder(self.token_embedding(source), padding)  # (B, S, C)
        return [block.cross.keys_and_values(x) for block in self.decoder.blocks], padding

    def decode(
        self, ids: mg.Tensor, memory: list[KeysAndValues], padding: mg.Tensor, caches: list[Cache] | None = None
    ) -> mg.Tensor:
        """Logits (B, T, V) for the tokens after ids (B, T), the first of which is ``pad``.

        With ``caches`` (start with ``new_caches()``), ids are the tokens that follow those already seen.
        """
        self.check_length((caches[0].length if caches else 0) + ids.shape[1])
        x = self.decoder(self.token_embedding(ids), memory, padding, caches)  # (B, T, C)
        return F.linear(x, self.token_embedding.weight) * self.config.n_embd**-0.5  # (B, T, V)

    def new_caches(self) -> list[Cache]:
        """A cache per layer of the decoder, with room for the longest answer."""
        return [Cache(self.config.block_size) for _ in self.decoder.blocks]

    def shifted(self, target: mg.Tensor) -> mg.Tensor:
        """What the decoder is given to predict the target: (B, T) -> (B, T)."""
        first = mg.full((target.shape[0], 1), self.config.pad, dtype=target.dtype)
        return mg.cat([first, target[:, :-1]], dim=1)

    def check_length(self, length: int) -> None:
        """Raise ValueError for more tokens than the config allows."""
        if length > self.config.block_size:
            raise ValueError(f"{length} tokens do not fit into block_size={self.config.block_size}")

    @mg.no_grad()
    def generate(
        self,
        source: mg.Tensor,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: mg.Generator | None = None,
    ) -> mg.Tensor:
        """The likeliest token after each token, or drawn as in ``models.sampling.choose``: (B, S) -> (B, T).

        T is at most max_new_tokens; a row is filled up with ``pad`` after its ``end``.
        """
        check(temperature, top_k, top_p)
        was_training = self.training
        self.eval()
        memory, padding = self.encode(source)
        token = mg.full((source.shape[0], 1), self.config.pad, dtype=mg.long)
        done = mg.zeros(source.shape[0], 1, dtype=mg.bool)
        written = [token[:, :0]]
        caches = self.new_caches()
        while len(written) <= max_new_tokens and not done.all():
            logits = self.decode(token, memory, padding, caches)[:, -1]  # (B, V)
            token = choose(logits, temperature, top_k, top_p, generator).masked_fill(done, self.config.pad)  # (B, 1)
            done = done | (token == self.config.end)
            written.append(token)
        self.train(was_training)
        return mg.cat(written, dim=1)


def init_weights(module: nn.Module) -> None:
    """For ``model.apply``: every layer keeps the size of what it is given. The Mesh TensorFlow T5 starts so."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
