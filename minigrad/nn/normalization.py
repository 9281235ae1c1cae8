"""Normalization across a batch, or over groups of channels."""

from __future__ import annotations

from typing import Any

from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor
from minigrad.nn import functional as F
from minigrad.nn.tensors import ones, zeros


class _Affine(Module):
    """Weight 1 and bias 0 for each channel, or none."""

    def __init__(self, channels: int, affine: bool, dtype: Any) -> None:
        super().__init__()
        self.affine = affine
        self.register_parameter("weight", Parameter(ones(channels, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(channels, dtype=dtype)) if affine else None)


class _BatchNorm(_Affine):
    axes: tuple[int, ...]  # how many axes the input may have

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, affine, dtype)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros(dtype="int64") if tracked else None)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self.axes or input.shape[1] != self.num_features:
            wanted = " or ".join(map(str, self.axes))
            raise ValueError(f"input must have {wanted} axes, the second of {self.num_features}, got {input.shape}")
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            momentum = 1 / self.num_batches_tracked.item() if momentum is None else momentum
        use_batch = self.training or self.running_mean is None
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum or 0.0, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Mean 0, variance 1 of each channel over the batch: (N, C) or (N, C, L). Ioffe and Szegedy 2015.

    Evaluation uses running means of both; the running variance is the unbiased one, as in PyTorch.
    """

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Mean 0, variance 1 of each channel over the batch: (N, C, H, W). Ioffe and Szegedy 2015."""

    axes = (4,)


class GroupNorm(_Affine):
    """Mean 0, variance 1 over each group of channels of each item: (N, C, ...) -> (N, C, ...). Wu and He 2018."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_channels, affine, dtype)
        if num_channels % num_groups:
            raise ValueError(f"{num_channels} channels cannot be shared out to {num_groups} groups")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class InstanceNorm1d(_Affine):
    """Mean 0, variance 1 of each channel of each item: (N, C, L) -> (N, C, L). Ulyanov et al. 2016."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, affine, dtype)
        if track_running_stats:
            raise ValueError("track_running_stats=True is not covered: use BatchNorm, or GroupNorm")
        self.num_features = num_features
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_features, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"


class InstanceNorm2d(InstanceNorm1d):
    """Mean 0, variance 1 of each channel of each item: (N, C, H, W) -> (N, C, H, W). Ulyanov et al. 2016."""
