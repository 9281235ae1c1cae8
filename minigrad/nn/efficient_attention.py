"""Attention for long sequences: three ways round the T x S weights, each in the place of full attention.

All take heads that are split already: query (B, H, T, D), key and value (B, H, S, D) -> (B, H, T, D).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor, apply
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.tensors import empty
from minigrad.ops import Array
from minigrad.ops.sliding_window import blocks
from minigrad.tools.random import rng
from minigrad.torch.grad_mode import is_grad_enabled


class EfficientAttention(Module):
    """What the three have in common: the call, and the weights it implies. A subclass defines ``mix``."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The mixed values (B, H, T, D); key_padding_mask: bool (B, S), True for a key to ignore."""
        if query.ndim != 4 or key.ndim != 4 or value.ndim != 4:
            shapes = f"{query.shape}, {key.shape} and {value.shape}"
            raise ValueError(f"query, key and value need the shape (batch, heads, time, size), got {shapes}")
        seen: Array | None = None  # (B, 1, S), True for a key that counts
        if key_padding_mask is not None:
            expected = (key.shape[0], key.shape[2])
            if key_padding_mask.dtype.kind != "b" or key_padding_mask.shape != expected:
                got = f"{key_padding_mask.dtype} {key_padding_mask.shape}"
                raise ValueError(f"key_padding_mask must be bool {expected}, got {got}")
            seen = ~key_padding_mask._array[:, None]
        return self.mix(query, key, value, seen, is_causal)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, seen: Array | None, is_causal: bool) -> Tensor:
        """The attention itself; seen (B, 1, S) is True for the keys that count."""
        raise NotImplementedError(f"{type(self).__name__} defines no mix()")

    def implied_weights(
        self, query: Tensor, key: Tensor, key_padding_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """The matrix A (B, H, T, S) for which the output is A @ value: to look at, for short sequences."""
        B, H, S, _ = key.shape
        identity = Tensor(np.broadcast_to(np.eye(S, dtype=key.dtype), (B, H, S, S)))
        return EfficientAttention.forward(self, query, key, identity, key_padding_mask, is_causal)


class LongformerAttention(EfficientAttention):
    """Each query sees the keys at most ``window`` positions away, and the first ``num_global`` tokens see and are seen.

    With is_causal nobody sees a later token. Exact softmax over what is seen; time and memory grow with T * window. The
    paper counts both sides in its window, and gives global tokens projections of their own. For self-attention only:
    raises ValueError where query and key differ in length. Beltagy et al. 2020, section 3.1.
    """

    def __init__(self, window: int, num_global: int = 0) -> None:
        super().__init__()
        if window < 0 or num_global < 0:
            raise ValueError(f"window and num_global must not be negative, got {window} and {num_global}")
        self.window = window
        self.num_global = num_global

    def mix(self, query: Tensor, key: Tensor, value: Tensor, seen: Array | None, is_causal: bool) -> Tensor:
        return apply(
            ops.sliding_window_attention,
            query,
            key,
            value,
            window=self.window,
            num_global=self.num_global,
            is_causal=is_causal,
            mask=seen,
        )

    def cost(self, T: int, S: int, head_dim: int = 64, is_causal: bool = False) -> dict[str, int]:
        """Multiply-adds of one head's forward pass, and bytes of float32 it keeps beyond its inputs and output."""
        pairs = sum(
            (rows.stop - rows.start) * len(columns)
            for rows, columns in blocks(T, self.window, self.num_global, is_causal)
        )
        return {"multiply_adds": 2 * pairs * head_dim, "scratch_bytes": 4 * pairs}

    def extra_repr(self) -> str:
        return f"window={self.window}, num_global={self.num_global}"


class LinformerAttention(EfficientAttention):
    """Full attention to ``rank`` mixtures of the keys: key' = E @ key, value' = F @ value, softmax(q key'ᵀ) value'.

    E and F (rank, max_length) are learned and shared by all heads; with num_heads given each head has its own. A
    sequence of S <= max_length tokens uses the first S columns, and ignored keys count as zero. A layer may be handed
    to several blocks to share them there as well. There is no causal form: raises ValueError for is_causal=True, and
    for S > max_length. Wang et al. 2020, eq. 7.
    """

    def __init__(
        self, max_length: int, rank: int, num_heads: int | None = None, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        if max_length < 1 or rank < 1:
            raise ValueError(f"max_length and rank must be at least 1, got {max_length} and {rank}")
        self.max_length = max_length
        self.rank = rank
        heads = () if num_heads is None else (num_heads,)
        self.key_projection = Parameter(empty(*heads, rank, max_length, dtype=dtype))
        self.value_projection = Parameter(empty(*heads, rank, max_length, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew, so that a mixture of max_length keys is about as large as a key."""
        for projection in (self.key_projection, self.value_projection):
            init.normal_(projection, std=1 / math.sqrt(self.max_length))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, seen: Array | None, is_causal: bool) -> Tensor:
        if is_causal:
            raise ValueError(
                "Linformer cannot be causal: each projected key is a mixture of all positions, later ones included"
            )
        if key.shape[2] > self.max_length:
            raise ValueError(f"{key.shape[2]} keys do not fit into max_length={self.max_length}")
        S = key.shape[2]
        if seen is not None:
            ignored = Tensor(~seen[..., None])  # (B, 1, S, 1)
            key, value = key.masked_fill(ignored, 0.0), value.masked_fill(ignored, 0.0)
        key = self.key_projection[..., :S] @ key  # (B, H, rank, D)
        value = self.value_projection[..., :S] @ value
        return F.scaled_dot_product_attention(query, key, value)

    def cost(self, T: int, S: int, head_dim: int = 64) -> dict[str, int]:
        """Multiply-adds of one head's forward pass, and bytes of float32 it keeps beyond its inputs and output."""
        return {
            "multiply_adds": 2 * self.rank * (S + T) * head_dim,
            "scratch_bytes": 4 * self.rank * (2 * head_dim + T),
        }

    def extra_repr(self) -> str:
        return f"max_length={self.max_length}, rank={self.rank}"


class PerformerAttention(EfficientAttention):
    """Softmax attention with exp(q kᵀ) replaced by a product of num_features random features, linear in T.

        f(x) = exp(w x - |x|² / 2) / sqrt(num_features),  E[f(q) f(k)] = exp(q k),  q = query / D^(1/4), k alike

    The rows w of ``projection`` (num_features, D) are random, orthogonal in groups of D, and drawn from
    ``minigrad.random``. In training they are drawn anew after each redraw_interval calls (None: never; calls under
    no_grad do not count); they and the number of ``calls`` are in the state dict. num_features is D ln D unless given:
    more of them, less error. Choromanski et al. 2021, lemma 1 and section 2.4.
    """

    projection: Tensor
    calls: Tensor

    def __init__(
        self,
        head_dim: int,
        num_features: int | None = None,
        redraw_interval: int | None = 1000,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if head_dim < 1 or (num_features is not None and num_features < 1):
            raise ValueError(f"head_dim and num_features must be at least 1, got {head_dim} and {num_features}")
        if redraw_interval is not None and redraw_interval < 1:
            raise ValueError(f"redraw_interval must be at least 1, or None for never, got {redraw_interval}")
        self.head_dim = head_dim
        self.num_features = max(1, round(head_dim * math.log(head_dim))) if num_features is None else num_features
        self.redraw_interval = redraw_interval
        self.register_buffer("projection", empty(self.num_features, head_dim, dtype=dtype))
        self.register_buffer("calls", Tensor(np.zeros((), np.int64)))  # in training, since the beginning
        self.redraw()

    def redraw(self) -> None:
        """Draw the projection anew: orthogonal directions in groups of D, lengths as those of normal vectors."""
        groups = -(-self.num_features // self.head_dim)
        directions, factors = np.linalg.qr(rng().standard_normal((groups, self.head_dim, self.head_dim)))
        signs = np.sign(np.diagonal(factors, axis1=-2, axis2=-1))  # LAPACK's choice of them prefers one side of space
        rows = (directions * signs[:, None]).swapaxes(-1, -2).reshape(-1, self.head_dim)[: self.num_features]
        lengths = np.linalg.norm(rng().standard_normal((self.num_features, self.head_dim)), axis=1, keepdims=True)
        self.projection = Tensor((rows * lengths).astype(self.projection.dtype))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The mixed values (B, H, T, D); key_padding_mask: bool (B, S), True for a key to ignore."""
        if self.training and is_grad_enabled() and self.redraw_interval is not None:
            if self.calls.item() and self.calls.item() % self.redraw_interval == 0:
                self.redraw()
            self.calls = self.calls + 1
        return super().forward(query, key, value, key_padding_mask, is_causal)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, seen: Array | None, is_causal: bool) -> Tensor:
        if query.shape[-1] != self.head_dim or key.shape[-1] != self.head_dim:
            raise ValueError(f"query and key need the size head_dim={self.head_dim}, got {query.shape} and {key.shape}")
        if is_causal and query.shape[2] != key.shape[2]:
            raise ValueError(f"is_causal needs as many queries as keys, got {query.shape[2]} and {key.shape[2]}")
        query, key = query * self.head_dim**-0.25, key * self.head_dim**-0.25
        rows = self.projection.transpose(0, 1).to(query.dtype)  # (D, M)
        log_query = query @ rows  # (B, H, T, M); what is the same for all features of a query cancels
        log_key = key @ rows - (key * key).sum(-1, keepdim=True) * 0.5  # (B, H, S, M)
        if is_causal:
            return apply(ops.causal_linear_attention, log_query, log_key, value, mask=seen)
        if seen is not None:
            log_key = log_key.masked_fill(Tensor(~seen[..., None]), -math.inf)
        # Any number may move from a feature of all keys to the same one of all queries: here each one's largest key.
        shift = log_key.detach().amax(-2, keepdim=True)  # (B, H, 1, M)
        shift = shift.masked_fill(~shift.isfinite(), 0.0)  # every key is ignored
        log_query = log_query + shift
        phi_query = (log_query - log_query.detach().amax(-1, keepdim=True)).exp()  # (B, H, T, M)
        phi_key = (log_key - shift).exp()  # (B, H, S, M)
        total = phi_query @ phi_key.sum(-2).unsqueeze(-1)  # (B, H, T, 1), at least 1 unless every key is ignored
        return phi_query @ (phi_key.transpose(-2, -1) @ value) / total.masked_fill(total == 0, 1.0)

    def cost(self, T: int, S: int, head_dim: int | None = None) -> dict[str, int]:
        """Multiply-adds of one head's forward pass, and bytes of float32 it keeps beyond its inputs and output."""
        size = self.head_dim if head_dim is None else head_dim
        return {
            "multiply_adds": 2 * self.num_features * (T + S) * size,
            "scratch_bytes": 4 * self.num_features * (2 * T + 2 * S + size),
        }

    def extra_repr(self) -> str:
        return f"{self.head_dim}, num_features={self.num_features}, redraw_interval={self.redraw_interval}"
