"""The layers of a GPT and the functions that it calls by name, with PyTorch's arguments and state-dict keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minigrad.core import arithmetic, attention, loss, normalize, places, products
from minigrad.core.module import Module, Parameter
from minigrad.core.op import OPS, Array
from minigrad.core.tensor import Tensor, apply
from minigrad.torch.lists import Numbered


class Linear(Module):
    """input @ weightᵀ + bias: (..., in_features) -> (..., out_features).

    Weight and bias start uniform in +-1 / sqrt(in_features), as in PyTorch.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter.of_shape(out_features, in_features, dtype=dtype)
        self._register("_parameters", "bias", Parameter.of_shape(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights anew."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
        for parameter in self.parameters():  # the weight first
            parameter.data.uniform_(-bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table with one vector for each id: integers (...) -> (..., embedding_dim).

    The vectors start as N(0, 1); the one of padding_idx is 0 and gets no gradient.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else row_of(padding_idx, num_embeddings)
        self.weight = Parameter.of_shape(num_embeddings, embedding_dim, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial vectors anew."""
        self.weight.data.normal_()
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """A table with these vectors, which stay as they are if freeze."""
        table = cls(embeddings.shape[0], embeddings.shape[1], padding_idx)
        table.weight = Parameter(embeddings, requires_grad=not freeze)
        return table

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class LearnedPositions(Module):
    """Adds a learned vector for each position: z[t] = x[t] + weight[offset + t], (..., T, C) -> (..., T, C).

    weight (num_positions, C) starts as N(0, 0.02²), as in BERT and GPT-2. Gehring et al. 2017, section 3.1.
    """

    def __init__(self, num_positions: int, embedding_dim: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_positions, self.embedding_dim = num_positions, embedding_dim
        self.weight = Parameter.of_shape(num_positions, embedding_dim, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial vectors anew."""
        self.weight.data.normal_(std=0.02)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        end = offset + input.shape[-2]
        if offset < 0 or end > self.num_positions:
            raise ValueError(f"positions {offset} to {end - 1} are wanted, there are 0 to {self.num_positions - 1}")
        return input + self.weight[offset:end]

    def extra_repr(self) -> str:
        return f"{self.num_positions}, {self.embedding_dim}"


class LayerNorm(Module):
    """Mean 0, variance 1 over the last axes, then times weight plus bias: (..., C) -> (..., C). Ba et al. 2016."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = places.ints((normalized_shape,))
        self.eps, self.elementwise_affine = eps, elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            self._register("_parameters", name, Parameter.of_shape(*shape, dtype=dtype) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                parameter.data.fill_(value)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class Dropout(Module):
    """In training, zeros with probability p and the rest divided by 1 - p: (...) -> (...). Srivastava et al. 2014."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(p)
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class GELU(Module):
    """x times the normal distribution function of x; approximate="tanh" is GPT-2's. Hendrycks and Gimpel 2016."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class ModuleList(Numbered, Module):
    """A list of modules whose parameters count as the owner's; it is not called itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            self._register("_modules", str(i), module)

    def __iter__(self) -> Any:
        return iter(list(self._modules.values()))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weightᵀ + bias: (..., I), (O, I), (O,) -> (..., O)."""
    return apply(products.linear, input, weight, bias)


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, *_: Any
) -> Tensor:
    """Rows of a table: integer ids (...), table (V, C) -> (..., C); the row padding_idx gets no gradient."""
    if max_norm is not None:
        raise ValueError("max_norm is not covered: scale the rows of the table under no_grad()")
    padding_idx = None if padding_idx is None else row_of(padding_idx, weight.shape[0])
    return apply(places.embedding, weight, ids=input._array, padding_idx=padding_idx)


def row_of(index: int, rows: int) -> int:
    """An index that may count from the end, as one that counts from 0; ValueError where there is no such row."""
    if not -rows <= index < rows:
        raise ValueError(f"padding_idx={index} is not one of the {rows} rows of the table")
    return index % rows


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, then times weight plus bias: (..., C) -> (..., C). Ba et al. 2016."""
    if input.shape[-len(normalized_shape) :] != tuple(normalized_shape):
        raise ValueError(f"the input must end in normalized_shape {tuple(normalized_shape)}, it has {input.shape}")
    return apply(normalize.layer_norm, input, weight, bias, ndim=len(normalized_shape), eps=eps)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; approximate="tanh" is GPT-2's. Hendrycks and Gimpel 2016."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply(arithmetic.gelu_tanh if approximate == "tanh" else OPS["gelu"], input)


def check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p; the input itself when not training. Srivastava et al. 2014.

    ``inplace`` is accepted; the result is always a new tensor.
    """
    check_probability(p)
    if not training or p == 0:
        return input
    return apply(arithmetic.dropout, input, mask=input._dropout_mask(p, input.shape))


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
    """Mean of -log softmax(input)[target]: raw scores (N, C, ...), and class indices (N, ...) or probabilities.

    Label smoothing: Szegedy et al. 2016.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    settings = {"ignore_index": ignore_index, "label_smoothing": label_smoothing, "reduction": reduction}
    scale = None if weight is None else weight._array
    return apply(loss.cross_entropy, input, target=target._array, weight=scale, **settings)


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
    is_causal allows s <= t. dropout_p is applied whenever it is above 0. enable_gqa repeats the heads of key and value,
    at dim -3, to those of query (Ainslie et al. 2023). Vaswani et al. 2017, eq. 1.
    """
    if attn_mask is not None and is_causal:
        raise ValueError("give attn_mask or is_causal=True, not both")
    if enable_gqa:
        key, value = key._repeat_heads(query.shape[-3]), value._repeat_heads(query.shape[-3])
    bias, mask = split_mask(attn_mask)
    return attend(query, key, value, bias, mask, dropout_p, is_causal, scale)


def split_mask(attn_mask: Tensor | None) -> tuple[Tensor | None, Array | None]:
    """A mask as a bias (float) or as an array of what is allowed (bool)."""
    if attn_mask is None or attn_mask.dtype.kind == "f":
        return attn_mask, None
    if attn_mask.dtype.kind == "b":
        return None, attn_mask._array
    raise TypeError(f"a mask must be bool or floating, got {attn_mask.dtype}: write mask != 0")


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Array | None,
    dropout_p: float,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The attention op, with a dropout mask drawn for the weights (..., T, S)."""
    check_probability(dropout_p)
    drop = None
    if dropout_p > 0:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        drop = query._dropout_mask(dropout_p, (*batch, query.shape[-2], key.shape[-2]))
    settings = {"mask": mask, "is_causal": is_causal, "scale": scale, "dropout_mask": drop}
    return apply(attention.scaled_dot_product_attention, query, key, value, bias, **settings)
