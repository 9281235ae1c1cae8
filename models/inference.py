"""All a GPT does when it writes, on one page: NumPy alone, no module, no graph. Read ``models/gpt.py`` first.

``generate`` writes with this where a model is a GPT as it is written, and nobody watches it.
Shapes: B batch, T new tokens, S all tokens so far, C channels, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn

Layer = tuple[Any, ...]  # the arrays of a linear layer or a norm
COVERED = {  # what a model may be made of
    *(f"minigrad.models.{name}" for name in ("gpt.GPT", "gpt.Block", "attention.Attention", "attention.FeedForward")),
    *(f"minigrad.core.layers.{name}" for name in ("LearnedPositions", "ModuleList", "LayerNorm", "Linear", "GELU")),
    *("minigrad.models.parts.Positions", "minigrad.nn.embedding.Embedding", "minigrad.core.layers.Dropout"),
}


def covers(model: Any, ids: mg.Tensor, page: Any = None) -> bool:
    """Whether a page (GPT's) says what the model says: a model as it is written, in whose insides nobody has a hand."""
    page, config = page or Page, model.config
    if config.positions != page.positions_kind or config.attention != "full" or not model._is_unwatched():
        return False
    for part in model.modules():
        own = type(part)
        methods = [getattr(value, "__module__", own.__module__) for value in vars(own).values()]
        given = any(callable(value) and not isinstance(value, nn.Module) for value in vars(part).values())
        if f"{own.__module__}.{own.__qualname__}" not in page.covered or {*methods} != {own.__module__} or given:
            return False
        if getattr(part, "approximate", "tanh") != "tanh" or not getattr(part, "elementwise_affine", True):
            return False
    if {p.dtype for p in model.parameters()} not in ({mg.float32}, {mg.float64}) or ids.dtype.kind not in "iu":
        return False
    return ids.numel() > 0 and ids.min().item() >= 0 and ids.max().item() < len(model.token_embedding.weight)


class Page:
    """The weights of a GPT, and the keys and values of the tokens it has read."""

    covered, positions_kind = COVERED, "learned"

    def __init__(self, model: Any, batch: int) -> None:
        H, C, size = model.config.n_head, model.config.n_embd, model.config.block_size
        self.words = model.token_embedding.weight.detach().numpy()  # (V, C)
        self.positions = model.positions.added.weight.detach().numpy()  # (size, C)
        self.blocks = [
            (
                norm_of(block.attention_norm),
                joined(block.attention.query, block.attention.key, block.attention.value),
                joined(block.attention.output),
                norm_of(block.mlp_norm),
                joined(block.mlp.expand),
                joined(block.mlp.contract),
            )
            for block in model.blocks
        ]
        self.norm, self.head = norm_of(model.norm), joined(model.head)
        self.kept = np.empty((len(self.blocks), 2, batch, H, size, C // H), self.words.dtype)  # keys and values
        self.past = 0  # so many tokens have been read

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """For the token after ids (B, S): (B, V). It reads those that are new, or all where the context is full."""
        size = len(self.positions)
        if ids.shape[1] > size:
            self.past = 0  # all positions have moved: nothing that was kept is of use
        new = ids[:, -size:][:, self.past :]  # (B, T)
        x = self.words[new] + self.positions[self.past : self.past + new.shape[1]]  # (B, T, C)
        for kept, (attention_norm, query_key_value, output, mlp_norm, expand, contract) in zip(
            self.kept, self.blocks, strict=True
        ):
            x += linear(self.attend(linear(layer_norm(x, attention_norm), query_key_value), kept), output)
            x += linear(gelu(linear(layer_norm(x, mlp_norm), expand)), contract)
        self.past += new.shape[1]
        return linear(layer_norm(x[:, -1], self.norm), self.head)

    def attend(self, x: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Causal attention of the new tokens, x (B, T, 3 C), to all: (B, T, C)."""
        (B, T, _), (_, _, H, _, D) = x.shape, kept.shape
        query, *new = x.reshape(B, T, 3, H, D).transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each
        S = self.past + T
        kept[:, :, :, self.past : S] = new
        keys, values = kept[:, :, :, :S]  # (B, H, S, D) each
        scores = query @ keys.swapaxes(-1, -2) / math.sqrt(D)  # (B, H, T, S)
        if T > 1:
            scores = np.where(np.tri(T, S, self.past, dtype=bool), scores, -math.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return (weights @ values).swapaxes(1, 2).reshape(B, T, H * D)  # the heads side by side


def linear(x: np.ndarray, layer: Layer) -> np.ndarray:
    weight, bias = layer
    return x @ weight if bias is None else x @ weight + bias


def layer_norm(x: np.ndarray, layer: Layer) -> np.ndarray:
    weight, bias, eps = layer
    n = x - x.sum(-1, keepdims=True) / len(weight)
    n *= weight / np.sqrt(np.vecdot(n, n)[..., None] / len(weight) + eps)
    return n if bias is None else n + bias


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def array_of(tensor: mg.Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().numpy()


def norm_of(layer: Any) -> Layer:
    return array_of(layer.weight), array_of(layer.bias), layer.eps


def joined(*layers: Any) -> Layer:
    """The weights (C, out) and biases of linear layers side by side: one product does for all."""
    weights, biases = [array_of(layer.weight).T for layer in layers], [array_of(layer.bias) for layer in layers]
    if len(layers) == 1:
        return weights[0], biases[0]
    return np.concatenate(weights, axis=1), None if biases[0] is None else np.concatenate(biases)
