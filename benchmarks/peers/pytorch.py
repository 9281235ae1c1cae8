"""PyTorch at its best on a CPU: scaled_dot_product_attention, fused AdamW, a cache of keys and values for sampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.configs import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, NORM_EPS, Config

VERSION = f"PyTorch {torch.__version__}"
Cache = list[tuple[torch.Tensor, torch.Tensor]]


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.output = (nn.Linear(config.channels, config.channels) for _ in range(4))

    def forward(self, x: torch.Tensor, cache: Cache | None, layer: int) -> torch.Tensor:
        B, T, C = x.shape
        query, key, value = (
            project(x).view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, D)
            for project in (self.query, self.key, self.value)
        )
        if cache is not None:
            if layer < len(cache):
                key, value = torch.cat([cache[layer][0], key], 2), torch.cat([cache[layer][1], value], 2)
            cache[layer : layer + 1] = [(key, value)]
        out = F.scaled_dot_product_attention(query, key, value, is_causal=key.shape[2] == T)  # a cache: T is 1
        return self.output(out.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.expand = nn.Linear(config.channels, 4 * config.channels)
        self.contract = nn.Linear(4 * config.channels, config.channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.contract(F.gelu(self.expand(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = (nn.LayerNorm(config.channels, NORM_EPS) for _ in range(2))
        self.attention = Attention(config)
        self.mlp = FeedForward(config)

    def forward(self, x: torch.Tensor, cache: Cache | None, layer: int) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), cache, layer)
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary, config.channels)
        self.positions = nn.ModuleDict({"added": nn.Embedding(config.context, config.channels)})
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.channels, NORM_EPS)

    def forward(self, ids: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        past = cache[0][0].shape[2] if cache else 0
        places = torch.arange(past, past + ids.shape[1])
        x = self.token_embedding(ids) + self.positions["added"](places)  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        return F.linear(self.norm(x), self.token_embedding.weight)  # (B, T, V)


def build(config: Config, weights: dict[str, np.ndarray]) -> GPT:
    model = GPT(config)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model


def trainer(
    config: Config, weights: dict[str, np.ndarray], compiled: bool = False
) -> Callable[[np.ndarray, np.ndarray], float]:
    model = build(config, weights)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, BETAS, EPS, DECAY, fused=True)

    def loss_of(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(ids).view(-1, config.vocabulary), targets.view(-1))

    forward = torch.compile(loss_of) if compiled else loss_of

    def step(ids: np.ndarray, targets: np.ndarray) -> float:
        loss = forward(torch.from_numpy(ids), torch.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return step


def sampler(config: Config, weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, int, bool], np.ndarray]:
    model = build(config, weights)

    @torch.no_grad()
    def generate(start: np.ndarray, tokens: int, cached: bool) -> np.ndarray:
        ids = torch.from_numpy(start)
        cache: Cache | None = [] if cached else None
        for _ in range(tokens):
            logits = model(ids[:, -1:] if cache else ids, cache)
            ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], 1)
        return ids.numpy()

    return generate


def expression() -> Callable[[], None]:
    a, b, c = (torch.tensor([1.0, -2.0, 3.0], requires_grad=True) for _ in range(3))

    def run() -> None:
        a.grad = b.grad = c.grad = None
        (a * b + c).relu().sum().backward()

    return run


def chain(length: int) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1.0
    y.sum().backward()
