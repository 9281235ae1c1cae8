"""Beam search: several beginnings of an answer are kept at a time, so that a good one may start with a poor token."""

from __future__ import annotations

import math

import minigrad as mg
from minigrad.models.t5 import T5
from minigrad.nn import functional as F


@mg.no_grad()
def beam_search(
    model: T5, source: mg.Tensor, max_new_tokens: int, beams: int = 4, alpha: float = 0.6
) -> tuple[mg.Tensor, mg.Tensor]:
    """The best answer found for each source (B, S): ids (B, T), filled up with ``pad`` after ``end``, and scores (B,).

        score = log P(answer | source) / ((5 + length) / 6)^alpha

    alpha 0 compares plain probabilities, which favours short answers. Wu et al. 2016, eq. 14. Raises ValueError for
    fewer than one beam or token, or a negative alpha.
    """
    if beams < 1 or max_new_tokens < 1:
        raise ValueError(f"beams and max_new_tokens must be at least 1, got {beams} and {max_new_tokens}")
    if not alpha >= 0:
        raise ValueError(f"alpha must not be negative, got {alpha}")
    was_training = model.training
    model.eval()
    B, V, pad = source.shape[0], model.config.vocab_size, model.config.pad
    memory, padding = model.encode(source)
    rows = mg.arange(B * beams) // beams  # each source as often as there are beams
    memory, padding = [(key[rows], value[rows]) for key, value in memory], padding[rows]
    ids = mg.full((B * beams, 1), pad, dtype=mg.long)
    total = mg.full((B, beams), -math.inf, dtype=mg.float64)  # log P of each beam
    total[:, 0] = 0.0  # all beams are alike at first: only one counts
    length = mg.zeros(B, beams, dtype=mg.float64)
    done = mg.zeros(B, beams, dtype=mg.bool)
    only_pad = mg.full((V,), -math.inf)
    only_pad[pad] = 0.0  # a finished answer goes on as it is
    caches = model.new_caches()
    for _ in range(max_new_tokens):
        logits = model.decode(ids[:, -1:], memory, padding, caches)[:, -1]  # (B * K, V)
        new = F.log_softmax(logits, dim=-1).view(B, beams, V)
        new = mg.where(done.unsqueeze(-1), only_pad, new) + total.unsqueeze(-1)  # (B, K, V)
        length = length + (~done).to(mg.float64)
        score = new / ((5 + length) / 6).unsqueeze(-1) ** alpha
        best = score.view(B, -1).topk(beams).indices  # (B, K), into K * V
        beam, token = best // V, best % V
        total = new.view(B, -1).gather(1, best)
        length = length.gather(1, beam)
        done = done.gather(1, beam) | (token == model.config.end)
        rows = (mg.arange(B).unsqueeze(1) * beams + beam).view(-1)  # which beam each one continues
        ids = mg.cat([ids[rows], token.view(-1, 1)], dim=1)
        for cache in caches:
            cache.reorder(rows)
        if done.all():
            break
    model.train(was_training)
    score = total / ((5 + length) / 6) ** alpha  # best first, as topk left them
    return ids.view(B, beams, -1)[:, 0, 1:], score[:, 0]
