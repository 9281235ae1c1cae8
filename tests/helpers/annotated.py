"""A Transformer in the manner of the Annotated one: layers are copies, attention by hand, residuals by a callable."""

from __future__ import annotations

import copy
import math

import minigrad as torch
from minigrad import nn
from minigrad.nn import functional as F


def clones(module, n):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(n)])


class LayerNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
        self.shift = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.gain * (x - mean) / (std + 1e-6) + self.shift


class Residual(nn.Module):
    def __init__(self, size, dropout):
        super().__init__()
        self.norm = LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, sublayer):
        return x + self.dropout(sublayer(self.norm(x)))


def attention(query, key, value, mask=None, dropout=None):
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    weights = scores.softmax(dim=-1)
    if dropout is not None:
        weights = dropout(weights)
    return torch.matmul(weights, value), weights


class MultiHeadedAttention(nn.Module):
    def __init__(self, heads, size, dropout):
        super().__init__()
        self.heads, self.width = heads, size // heads
        self.linears = clones(nn.Linear(size, size), 4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query, key, value, mask=None):
        mask = mask.unsqueeze(1) if mask is not None else None
        batch = query.size(0)
        query, key, value = (
            linear(x).view(batch, -1, self.heads, self.width).transpose(1, 2)
            for linear, x in zip(self.linears, (query, key, value), strict=False)
        )
        x, self.weights = attention(query, key, value, mask, self.dropout)
        return self.linears[-1](x.transpose(1, 2).contiguous().view(batch, -1, self.heads * self.width))


class FeedForward(nn.Module):
    def __init__(self, size, inner, dropout):
        super().__init__()
        self.w_1, self.w_2, self.dropout = nn.Linear(size, inner), nn.Linear(inner, size), nn.Dropout(dropout)

    def forward(self, x):
        return self.w_2(self.dropout(self.w_1(x).relu()))


class EncoderLayer(nn.Module):
    def __init__(self, size, heads, dropout):
        super().__init__()
        self.self_attn = MultiHeadedAttention(heads, size, dropout)
        self.feed_forward = FeedForward(size, 4 * size, dropout)
        self.sublayer = clones(Residual(size, dropout), 2)

    def forward(self, x, mask):
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, mask))
        return self.sublayer[1](x, self.feed_forward)


class DecoderLayer(nn.Module):
    def __init__(self, size, heads, dropout):
        super().__init__()
        self.self_attn = MultiHeadedAttention(heads, size, dropout)
        self.src_attn = MultiHeadedAttention(heads, size, dropout)
        self.feed_forward = FeedForward(size, 4 * size, dropout)
        self.sublayer = clones(Residual(size, dropout), 3)

    def forward(self, x, memory, source_mask, target_mask):
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, target_mask))
        x = self.sublayer[1](x, lambda x: self.src_attn(x, memory, memory, source_mask))
        return self.sublayer[2](x, self.feed_forward)


class Stack(nn.Module):
    def __init__(self, layer, n, size):
        super().__init__()
        self.layers = clones(layer, n)
        self.norm = LayerNorm(size)

    def forward(self, x, *others):
        for layer in self.layers:
            x = layer(x, *others)
        return self.norm(x)


class Embeddings(nn.Module):
    def __init__(self, size, vocabulary):
        super().__init__()
        self.lut, self.size = nn.Embedding(vocabulary, size), size

    def forward(self, ids):
        return self.lut(ids) * math.sqrt(self.size)


class AnnotatedTransformer(nn.Module):
    def __init__(self, vocabulary=11, n=2, size=8, heads=2, dropout=0.1):
        super().__init__()
        self.encoder = Stack(EncoderLayer(size, heads, dropout), n, size)
        self.decoder = Stack(DecoderLayer(size, heads, dropout), n, size)
        self.src_embed, self.tgt_embed = Embeddings(size, vocabulary), Embeddings(size, vocabulary)
        self.generator = nn.Linear(size, vocabulary)

    def forward(self, source, target):
        source_mask = (source != 0).unsqueeze(-2)
        target_mask = (target != 0).unsqueeze(-2) & torch.tril(torch.ones(1, target.size(-1), target.size(-1))).bool()
        memory = self.encoder(self.src_embed(source), source_mask)
        out = self.decoder(self.tgt_embed(target), memory, source_mask, target_mask)
        return F.log_softmax(self.generator(out), dim=-1)
