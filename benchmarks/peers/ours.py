"""minigrad as its users run it: ``models/gpt.py`` and the plain loop, with ``nn.DataParallel`` if SHARED=1 is set."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

import minigrad as mg
from benchmarks.configs import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, Config
from minigrad import nn, optim
from minigrad.models.gpt import GPT, GPTConfig

VERSION = f"minigrad {mg.__version__}, NumPy {np.__version__}"


def build(config: Config, weights: dict[str, np.ndarray]) -> GPT:
    model = GPT(GPTConfig(config.vocabulary, config.context, config.layers, config.heads, config.channels))
    tied = {"head.weight": weights["token_embedding.weight"]}
    model.load_state_dict({name: mg.tensor(array) for name, array in {**weights, **tied}.items()})
    return model


def trainer(config: Config, weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
    model = build(config, weights)
    shared = nn.DataParallel(model) if os.environ.get("SHARED") == "1" else model
    optimizer = optim.AdamW(model.parameters(), LEARNING_RATE, BETAS, EPS, DECAY)

    def step(ids: np.ndarray, targets: np.ndarray) -> float:
        _, loss = shared(mg.tensor(ids), mg.tensor(targets))
        loss = loss.mean()  # over the shares
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return step


def sampler(config: Config, weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, int, bool], np.ndarray]:
    model = build(config, weights)

    def generate(ids: np.ndarray, tokens: int, cached: bool) -> np.ndarray:
        return model.generate(mg.tensor(ids), tokens, temperature=0, use_cache=cached).numpy()

    return generate


def expression() -> Callable[[], None]:
    a, b, c = (mg.tensor([1.0, -2.0, 3.0], requires_grad=True) for _ in range(3))

    def run() -> None:
        a.grad = b.grad = c.grad = None
        (a * b + c).relu().sum().backward()

    return run


def chain(length: int) -> None:
    x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1.0
    y.sum().backward()
