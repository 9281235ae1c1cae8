"""BERT: an encoder that reads in both directions. Its attention is in ``models/attention.py``; read both.

The post-norm encoder of Devlin et al. 2018: ETransformer, Algorithm 9 of "Formal Algorithms for Transformers" (Phuong
and Hutter 2022, arXiv 2207.09238). Segments, which tell a first text from a second, and the pooler of BERT's
next-sentence prediction are there by words of the config.
Shapes: B batch, T time, C channels, H heads, V vocabulary, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import minigrad as mg
from minigrad import nn
from minigrad.models.attention import Attention, FeedForward, init_weights
from minigrad.models.parts import Positions, TransformerConfig
from minigrad.nn import functional as F


@dataclass(frozen=True)
class BERTConfig(TransformerConfig):
    """The sizes and choices of a BERT, and the token that only fills up a batch."""

    num_global: int = 1  # longformer: [CLS], the first token, sees all
    pad: int | None = None  # the id of [PAD], which no token attends to; None where there is no padding
    segments: int = 0  # how many texts one input may hold; 0: one, and nothing is added for it
    pooler: bool = False  # whether ``pool`` has weights
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pad is not None and not 0 <= self.pad < self.vocab_size:
            raise ValueError(f"pad={self.pad} is no token of 0 to {self.vocab_size - 1}")


class Block(nn.Module):
    """Communicate, then compute; each adds to the stream, which is then normed: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)
        self.mlp = FeedForward(config, nn.GELU())
        self.mlp_norm = nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)

    def forward(self, x: mg.Tensor, padding: mg.Tensor | None = None, bias: mg.Tensor | None = None) -> mg.Tensor:
        x = self.attention_norm(x + self.attention(x, padding=padding, bias=bias))
        return self.mlp_norm(x + self.mlp(x))


class BERT(nn.Module):
    """Tokens to what each one means among all the others: (B, T) -> (B, T, C)."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.segment_embedding = nn.Embedding(config.segments, config.n_embd) if config.segments else None
        self.positions = Positions(config)
        self.norm = nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.pooler = nn.Linear(config.n_embd, config.n_embd) if config.pooler else None
        self.apply(init_weights)

    def forward(self, ids: mg.Tensor, segments: mg.Tensor | None = None) -> mg.Tensor:
        """segments (B, T) number the text that each token is of; without them all are of text 0.

        Raises ValueError for more than ``block_size`` tokens, and for segments where the config has none.
        """
        T = ids.shape[1]
        if self.config.block_size < T:
            raise ValueError(f"{T} tokens do not fit into the context of {self.config.block_size}")
        padding = None if self.config.pad is None else ids == self.config.pad  # (B, T)
        x = self.token_embedding(ids)  # (B, T, C)
        if self.segment_embedding is not None:
            x = x + self.segment_embedding(mg.zeros_like(ids) if segments is None else segments)
        elif segments is not None:
            raise ValueError("this BERT knows no segments: make it with BERTConfig(segments=2)")
        x = self.dropout(self.norm(self.positions(x)))
        bias = self.positions.bias(T)  # (H, T, T) or None
        for block in self.blocks:
            x = block(x, padding, bias)
        return x

    def pool(self, x: mg.Tensor) -> mg.Tensor:
        """The whole text in one vector, told from its first token: (B, T, C) -> (B, C). Raises ValueError without."""
        if self.pooler is None:
            raise ValueError("this BERT has no pooler: make it with BERTConfig(pooler=True)")
        return self.pooler(x[:, 0]).tanh()

    def mean(self, x: mg.Tensor, ids: mg.Tensor) -> mg.Tensor:
        """The mean of the tokens that are no padding, of length 1: (B, T, C) -> (B, C). Reimers and Gurevych 2019."""
        keep = mg.ones_like(x[..., :1])  # (B, T, 1)
        if self.config.pad is not None:
            keep = (ids != self.config.pad).unsqueeze(-1).to(x.dtype)
        return F.normalize((x * keep).sum(1) / keep.sum(1), dim=-1)


class MaskedBERT(nn.Module):
    """What was at each position, told from everything around it: (B, T) -> logits (B, T, V). This is pre-training."""

    def __init__(self, bert: BERT) -> None:
        super().__init__()
        config = bert.config
        self.bert = bert
        self.dense = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.head = nn.Linear(config.n_embd, config.vocab_size)
        self.dense.apply(init_weights)
        nn.init.zeros_(self.head.bias)
        self.head.weight = bert.token_embedding.weight  # tied: a token's row is what it is and what predicts it

    def forward(self, ids: mg.Tensor, targets: mg.Tensor | None = None) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Logits (B, T, V), and the mean cross-entropy in nats over the targets (B, T) that are not -100."""
        logits = self.head(self.norm(F.gelu(self.dense(self.bert(ids)))))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


class BERTClassifier(nn.Module):
    """Which of K classes a text belongs to, told from its first token, [CLS]: (B, T) -> logits (B, K)."""

    def __init__(self, bert: BERT, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")
        self.bert = bert
        self.pooler = nn.Linear(bert.config.n_embd, bert.config.n_embd)
        self.dropout = nn.Dropout(bert.config.dropout)
        self.head = nn.Linear(bert.config.n_embd, classes)
        self.pooler.apply(init_weights)
        self.head.apply(init_weights)

    def forward(self, ids: mg.Tensor, targets: mg.Tensor | None = None) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Logits (B, K), and the mean cross-entropy in nats per text if targets (B,) are given."""
        first = self.bert(ids)[:, 0]  # (B, C)
        logits = self.head(self.dropout(self.pooler(first).tanh()))  # (B, K)
        return logits, None if targets is None else F.cross_entropy(logits, targets)
