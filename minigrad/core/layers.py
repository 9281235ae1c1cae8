"""The layers of a GPT, and the two functions that it calls by name, with PyTorch's arguments and state-dict keys.

``shown`` is what a layer prints of itself; ``Parameter.of_shape`` makes one that ``reset_parameters`` then fills.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.core import arithmetic, attention, loss, normalize, places, products
from minigrad.core.module import Module, Parameter
from minigrad.core.op import OPS
from minigrad.core.tensor import Tensor, apply
from minigrad.torch.arguments import probability, reduction_of, row_of
from minigrad.torch.layers import EmbeddingMethods
from minigrad.torch.layers import Numbered as Numbered  # for nn's other lists too


class Linear(Module):
    """input @ weightᵀ + bias: (..., in_features) -> (..., out_features); both start in +-1 / sqrt(in_features)."""

    shown = "in_features=, out_features=, bias="

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter.of_shape(out_features, in_features, dtype=dtype)
        self.register_parameter("bias", Parameter.of_shape(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights anew."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
        for parameter in self.parameters():
            parameter.data.uniform_(-bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return apply(products.linear, input, self.weight, self.bias)


class Embedding(EmbeddingMethods, Module):
    """A table with one vector for each id: (...) -> (..., embedding_dim); padding_idx's is 0 and gets no gradient."""

    shown = "num_embeddings, embedding_dim, padding_idx="

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: Any = None, *, device: Any = None, dtype: Any = None
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = row_of(padding_idx, num_embeddings)
        self.weight = Parameter.of_shape(num_embeddings, embedding_dim, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial vectors anew."""
        self.weight.data.normal_()
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def forward(self, input: Tensor) -> Tensor:
        return apply(places.embedding, self.weight, ids=input._array, padding_idx=self.padding_idx)


class LearnedPositions(Module):
    """Adds a learned vector to each position: (..., T, C) -> (..., T, C). Gehring et al. 2017, section 3.1."""

    shown = "num_positions, embedding_dim"

    def __init__(self, num_positions: int, embedding_dim: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_positions, self.embedding_dim = num_positions, embedding_dim
        self.weight: Parameter = Parameter.of_shape(num_positions, embedding_dim, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial vectors anew."""
        self.weight.data.normal_(std=0.02)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        end = offset + input.shape[-2]
        if offset < 0 or end > self.num_positions:
            raise ValueError(f"positions {offset} to {end - 1} are wanted, there are 0 to {self.num_positions - 1}")
        return input + self.weight[offset:end]


class LayerNorm(Module):
    """Mean 0, variance 1 over the last axes, then times weight plus bias: (..., C) -> (..., C). Ba et al. 2016."""

    shown = "normalized_shape, eps=, elementwise_affine="

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, **made: Any
    ):
        super().__init__()
        self.normalized_shape = shape = places.ints((normalized_shape,))
        self.eps, self.elementwise_affine = eps, elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            self.register_parameter(name, Parameter.of_shape(*shape, **made) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                parameter.data.fill_(value)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            raise ValueError(f"the input must end in normalized_shape {self.normalized_shape}, it has {input.shape}")
        return apply(normalize.layer_norm, input, self.weight, self.bias, ndim=len(self.normalized_shape), eps=self.eps)


class GELU(Module):
    """x times the normal distribution function of x; approximate="tanh" is GPT-2's. Hendrycks and Gimpel 2016."""

    shown = "approximate="

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        # The exact one is not among the ops of the core; the table has it by name.
        return apply(arithmetic.gelu_tanh if self.approximate == "tanh" else OPS["gelu"], input)


class Dropout(Module):
    """In training, zeros with probability p and the rest divided by 1 - p: (...) -> (...). Srivastava et al. 2014."""

    shown = "p=, inplace="

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = probability(p), inplace

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        return apply(arithmetic.dropout, input, mask=input._dropout_mask(self.p, input.shape))


class ModuleList(Numbered, Module):
    """A list of modules whose parameters count as the owner's; it is not called itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def __iter__(self) -> Any:
        return iter([module for _, module in self._parts("_modules")])


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean of -log softmax(input)[target]: raw scores (N, C, ...), and class indices (N, ...) or probabilities."""
    if size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    if target.dtype.kind == "f" or weight is not None or label_smoothing:
        return input._soft_cross_entropy(target, weight, ignore_index, label_smoothing, reduction)
    return apply(loss.cross_entropy, input, target=target._array, ignore_index=ignore_index, reduction=reduction)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ keyᵀ * scale + bias) @ value: (..., T, D), (..., S, D), (..., S, E) -> (..., T, E).

    attn_mask (..., T, S): bool, True where attention is allowed; or a float bias that is added and has a gradient.
    is_causal allows keys up to the query's own place. dropout_p is applied whenever it is above 0. enable_gqa repeats
    the heads of key and value, at dim -3, to those of query (Ainslie et al. 2023). Vaswani et al. 2017, eq. 1.
    """
    if attn_mask is not None and is_causal:
        raise ValueError("give attn_mask or is_causal=True, not both")
    if enable_gqa:
        key, value = key._repeat_heads(query.shape[-3]), value._repeat_heads(query.shape[-3])
    settings: dict[str, Any] = {"is_causal": is_causal, "scale": scale}
    if dropout_p != 0:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        settings["dropout_mask"] = query._dropout_mask(dropout_p, (*batch, query.shape[-2], key.shape[-2]))
    if attn_mask is not None and attn_mask.dtype == bool:
        settings["mask"], attn_mask = attn_mask._array, None
    return apply(attention.scaled_dot_product_attention, query, key, value, attn_mask, **settings)
