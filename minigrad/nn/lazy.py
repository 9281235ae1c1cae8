"""Layers that learn their input's width from the first batch, and are ordinary layers from then on."""

from __future__ import annotations

import inspect
from typing import Any

from minigrad.core.layers import Linear
from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor
from minigrad.nn.convolution import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from minigrad.nn.normalization import BatchNorm1d, BatchNorm2d, InstanceNorm1d, InstanceNorm2d


class UninitializedParameter(Parameter):
    """A parameter whose shape the first batch decides; it stays the same object, so an optimizer may have it already.

    Asking for its shape raises RuntimeError.
    """

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(self._zeros((0,), dtype), requires_grad)

    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError("a lazy layer has no shapes yet: run a batch through the model first, under no_grad()")

    def detach(self) -> Tensor:
        return self.new_zeros(self.shape)  # raises, as there is nothing to detach

    def __repr__(self) -> str:
        return "<UninitializedParameter>"

    def materialize(self, made: Parameter) -> None:
        """Become an ordinary parameter with the array of another."""
        self._array = made._array
        self.__class__ = Parameter  # type: ignore[assignment]


class _Lazy(Module):
    """Base of the lazy layers, which take their layer's arguments but the first, the width of the input.

    The first call makes the layer, takes over what is in it, and turns this into one of its class.
    """

    becomes: Any
    axis = 1  # of the input, whose length is the width

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(self.becomes).bind(1, *args, **kwargs).arguments
        self.becomes.__init__(self, bound.get("groups", 1), *args, **kwargs)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                self._parameters[name] = UninitializedParameter(parameter.requires_grad, dtype=parameter.dtype)
        width = next(iter(bound))
        self.__dict__[width] = 0
        self.__dict__["_given"] = args, kwargs
        self.__dict__["_first"] = self.register_forward_pre_hook(_initialize)

    def has_uninitialized_params(self) -> bool:
        return any(isinstance(p, UninitializedParameter) for p in self.parameters())

    def reset_parameters(self) -> None:
        """Nothing to draw before the first batch."""
        if "_given" not in self.__dict__:
            self.becomes.reset_parameters(self)

    def initialize_parameters(self, input: Any, *_: Any) -> None:
        """Take the width from an input, and become the ordinary layer."""
        args, kwargs = self.__dict__.pop("_given")
        self.__dict__.pop("_first").remove()
        made = self.becomes(input.shape[self.axis], *args, **kwargs)
        for name, parameter in self._parameters.items():
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(made._parameters[name])
        self._buffers.update(made._buffers)
        own = ("training", "_kinds", "_temporary", "_pre_hooks", "_hooks")
        self.__dict__.update({name: value for name, value in made._plain_attributes().items() if name not in own})
        self.__class__ = self.becomes


def _initialize(layer: _Lazy, inputs: tuple[Any, ...]) -> None:
    layer.initialize_parameters(*inputs)


class LazyLinear(_Lazy, Linear):
    """``Linear(in_features, ...)`` with in_features from the first batch (..., in_features)."""

    becomes, axis = Linear, -1


class LazyConv1d(_Lazy, Conv1d):
    """``Conv1d(in_channels, ...)`` with in_channels from the first batch (N, in_channels, L)."""

    becomes, axis = Conv1d, -2


class LazyConv2d(_Lazy, Conv2d):
    """``Conv2d(in_channels, ...)`` with in_channels from the first batch (N, in_channels, H, W)."""

    becomes, axis = Conv2d, -3


class LazyConvTranspose1d(_Lazy, ConvTranspose1d):
    """``ConvTranspose1d(in_channels, ...)`` with in_channels from the first batch (N, in_channels, L)."""

    becomes, axis = ConvTranspose1d, -2


class LazyConvTranspose2d(_Lazy, ConvTranspose2d):
    """``ConvTranspose2d(in_channels, ...)`` with in_channels from the first batch (N, in_channels, H, W)."""

    becomes, axis = ConvTranspose2d, -3


class LazyBatchNorm1d(_Lazy, BatchNorm1d):
    """``BatchNorm1d(num_features, ...)`` with num_features from the first batch (N, num_features) or (N, C, L)."""

    becomes = BatchNorm1d


class LazyBatchNorm2d(_Lazy, BatchNorm2d):
    """``BatchNorm2d(num_features, ...)`` with num_features from the first batch (N, num_features, H, W)."""

    becomes = BatchNorm2d


class LazyInstanceNorm1d(_Lazy, InstanceNorm1d):
    """``InstanceNorm1d(num_features, ...)`` with num_features from the first batch (N, num_features, L)."""

    becomes = InstanceNorm1d


class LazyInstanceNorm2d(_Lazy, InstanceNorm2d):
    """``InstanceNorm2d(num_features, ...)`` with num_features from the first batch (N, num_features, H, W)."""

    becomes = InstanceNorm2d
