"""From logits to the next token (greedy, by temperature, from the k likeliest, from the likeliest mass p), and on."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import minigrad as mg
from minigrad.models.inference import Page, covers
from minigrad.models.llama_inference import LlamaPage
from minigrad.models.parts import Cache
from minigrad.nn import functional as F

PAGES: list[Any] = [Page, LlamaPage]  # what does the same without the engine


def choose(
    logits: mg.Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: mg.Generator | None = None,
) -> mg.Tensor:
    """Draw one token per row: logits (B, V) -> ids (B, 1).

    Temperature 0 takes the likeliest. ``top_k`` keeps the k likeliest tokens, ``top_p`` the fewest likeliest ones whose
    probabilities sum to at least p (nucleus sampling, Holtzman et al. 2020). Raises ValueError for settings that make
    no sense.
    """
    check(temperature, top_k, top_p)
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    # From the largest, which stays 0, and by no less than leaves the others within range.
    logits = (logits - logits.amax(-1, keepdim=True)) / max(temperature, 1e-20)
    if top_k is not None:
        lowest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < lowest, -math.inf)
    probabilities = F.softmax(logits, dim=-1)  # (B, V)
    if top_p is not None:
        ordered, order = probabilities.sort(descending=True)
        before = ordered.cumsum(-1) - ordered  # the mass of all likelier tokens
        ordered = ordered.masked_fill(before >= top_p, 0.0)
        probabilities = mg.zeros_like(ordered)
        probabilities[mg.arange(len(order)).unsqueeze(1), order] = ordered
    return mg.multinomial(probabilities, 1, generator=generator)


def check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError for a temperature below 0, a top_k below 1, or a top_p outside (0, 1]."""
    if not temperature >= 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")


def check_start(ids: mg.Tensor, *settings: Any) -> None:
    """Raise ValueError where there is nothing to continue, or for the settings that ``check`` refuses."""
    check(*settings)
    if ids.shape[1] == 0:
        raise ValueError("generate needs at least one token to start from")


class Generates:
    """Writing with a model that gives logits for the next token: ``logits, loss = model(ids, caches=...)``."""

    def new_caches(self: Any) -> list[Cache]:
        """A cache per layer, with room for as many tokens as the context has."""
        return [Cache(self.config.block_size) for _ in self.blocks]

    def stream(
        self: Any,
        ids: mg.Tensor,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: mg.Generator | None = None,
        use_cache: bool = True,
    ) -> Iterator[mg.Tensor]:
        """The tokens that follow ids (B, T), one after another, (B, 1) each, without an end.

        ``choose`` explains the settings. Past the context length only the last ``block_size`` tokens
        are seen; their positions move with each step, so from there on the cache is of no use. Nor is there one for
        efficient attention.
        """
        check_start(ids, temperature, top_k, top_p)
        was_training = self.training
        self.eval()
        pages = [page for page in PAGES if use_cache and covers(self, ids, page)]
        page = pages[0](self, len(ids)) if pages else None
        caches = self.new_caches() if use_cache and self.config.attention == "full" else None
        try:
            while True:
                with mg.no_grad():
                    if ids.shape[1] > self.config.block_size:
                        caches = None
                    if page is None:
                        start = caches[0].length if caches else -self.config.block_size
                        logits = self(ids[:, start:], caches=caches)[0][:, -1]
                    else:
                        logits = mg.Tensor(page.logits(ids.numpy()))
                    chosen = choose(logits, temperature, top_k, top_p, generator)  # (B, 1)
                    ids = mg.cat([ids, chosen], dim=1)
                yield chosen
        finally:
            self.train(was_training)

    def generate(
        self: Any,
        ids: mg.Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: mg.Generator | None = None,
        use_cache: bool = True,
    ) -> mg.Tensor:
        """Continue ids (B, T) by so many tokens of ``stream``: (B, T + max_new_tokens)."""
        check_start(ids, temperature, top_k, top_p)
        with contextlib.closing(self.stream(ids, temperature, top_k, top_p, generator, use_cache)) as stream:
            return mg.cat([ids, *itertools.islice(stream, max_new_tokens)], dim=1)
