"""From logits to the next token: greedy, by temperature, from the k likeliest, or from the likeliest mass p."""

from __future__ import annotations

import math

import minigrad as mg
from minigrad.nn import functional as F


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
    logits = logits / temperature
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
