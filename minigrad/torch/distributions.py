"""``torch.distributions``: Normal, Uniform, Bernoulli and Categorical, to draw from, to score and to compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.torch.creation import as_tensor, normal, zeros
from minigrad.torch.dtypes import get_default_dtype
from minigrad.torch.joining import broadcast_tensors

__all__ = [
    "Bernoulli", "Categorical", "Distribution", "Normal", "Uniform", "kl_divergence", "register_kl",
]  # fmt: skip

LOG_2PI = math.log(2 * math.pi)


class Distribution:
    """Base of the distributions: ``batch_shape`` of them side by side, each over events of ``event_shape``."""

    has_rsample = False
    event_shape: tuple[int, ...] = ()

    def __init__(self, batch_shape: tuple[int, ...] = (), validate_args: bool | None = None) -> None:
        self.batch_shape = tuple(batch_shape)
        self.checks = validate_args is not False

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Accepted; ``validate_args=False`` of one distribution turns its checks off."""

    def _check(self, name: str, holds: Any) -> None:
        """Raise ValueError for a parameter out of range."""
        if self.checks and not holds.all():
            raise ValueError(f"{type(self).__name__}: {name}")

    def _shape(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        return (*sample_shape, *self.batch_shape, *self.event_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws (*sample_shape, *batch_shape), outside the graph."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws that the parameters get gradients through (Kingma and Welling 2014); not every distribution can."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample(): use sample() and log_prob()")

    def log_prob(self, value: Tensor) -> Tensor:
        """The log of the density, or of the probability, at each value."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob()")

    def entropy(self) -> Tensor:
        """Mean of -log_prob over the distribution, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no entropy()")

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self._shown}
        shown = (f"{k}: {v.item() if v.numel() == 1 else v.shape}" for k, v in given.items())
        return f"{type(self).__name__}({', '.join(shown)})"

    _shown: tuple[str, ...] = ()


def _tensors(*values: Any) -> tuple[Tensor, ...]:
    """Parameters at the shape they have together; numbers as tensors of the default dtype."""
    floats = [v if isinstance(v, Tensor) else as_tensor(float(v)) for v in values]
    return broadcast_tensors(*floats)


class Normal(Distribution):
    """Normal with mean ``loc`` and standard deviation ``scale``, numbers or tensors."""

    has_rsample = True
    _shown = ("loc", "scale")

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = _tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args)
        self._check("scale must be above 0", self.scale > 0)

    mean = mode = property(lambda self: self.loc)
    stddev = property(lambda self: self.scale)
    variance = property(lambda self: self.scale**2)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._shape(sample_shape)
        return normal(self.loc.detach().expand(shape), self.scale.detach().expand(shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        noise = zeros(self._shape(sample_shape), dtype=self.loc.dtype).normal_()
        return self.loc + noise * self.scale

    def log_prob(self, value: Any) -> Tensor:
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - self.scale.log() - LOG_2PI / 2

    def entropy(self) -> Tensor:
        return 0.5 + LOG_2PI / 2 + self.scale.log()

    def cdf(self, value: Any) -> Tensor:
        """The probability of a draw up to the value."""
        return 0.5 * (1 + ((value - self.loc) / (self.scale * math.sqrt(2))).erf())


class Uniform(Distribution):
    """Uniform in [low, high), numbers or tensors."""

    has_rsample = True
    _shown = ("low", "high")

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = _tensors(low, high)
        super().__init__(self.low.shape, validate_args)
        self._check("low must be below high", self.low < self.high)

    mean = property(lambda self: (self.low + self.high) / 2)
    variance = property(lambda self: (self.high - self.low) ** 2 / 12)
    stddev = property(lambda self: (self.high - self.low) / math.sqrt(12))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        where = zeros(self._shape(sample_shape), dtype=self.low.dtype).uniform_()
        return self.low + where * (self.high - self.low)

    def log_prob(self, value: Any) -> Tensor:
        value, low, high = broadcast_tensors(as_tensor(value), self.low, self.high)
        return (-(high - low).log()).masked_fill((value < low) | (value >= high), -math.inf)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class _Discrete(Distribution):
    """What is given as probabilities, or as ``logits``, the scores before sigmoid or softmax."""

    def _given(self, probs: Any, logits: Any) -> Tensor:
        if (probs is None) == (logits is None):
            raise ValueError(f"{type(self).__name__} takes probs or logits, one of them")
        value = logits if probs is None else probs
        return value if isinstance(value, Tensor) else as_tensor(value, dtype=get_default_dtype())


class Bernoulli(_Discrete):
    """1 with a probability, else 0: ``probs``, or ``logits`` before the sigmoid, numbers or tensors."""

    _shown = ("probs",)

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        given = self._given(probs, logits)
        super().__init__(given.shape, validate_args)
        if probs is not None:
            self._check("probs must be from 0 to 1", (given >= 0) & (given <= 1))
            tiny = float(np.finfo(given.dtype).eps)
            self.probs, self.logits = given, given.clamp(tiny, 1 - tiny).logit()
        else:
            self.probs, self.logits = given.sigmoid(), given

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.probs.detach().expand(self._shape(sample_shape)).bernoulli()

    def log_prob(self, value: Any) -> Tensor:
        return value * self.logits - softplus(self.logits)

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.probs * self.logits


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), which does not overflow."""
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


class Categorical(_Discrete):
    """One of C classes: ``probs`` (..., C), which are divided by their sum, or ``logits`` (..., C) before softmax."""

    _shown = ("probs",)

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        given = self._given(probs, logits)
        if given.ndim == 0:
            raise ValueError("Categorical needs at least one axis, that of the classes")
        super().__init__(given.shape[:-1], validate_args)
        if probs is not None:
            self._check("probs must not be negative, nor all 0", (given >= 0).all(-1) & (given.sum(-1) > 0))
            self.probs = given / given.sum(-1, keepdim=True)
            tiny = float(np.finfo(given.dtype).eps)
            self.logits = self.probs.clamp(tiny, 1 - tiny).log()
        else:
            self._check("logits must not be NaN", ~given.isnan())
            self.logits = given - given.logsumexp(-1, keepdim=True)
            self.probs = given.softmax(-1)

    mode = property(lambda self: self.probs.argmax(-1))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Class indices (*sample_shape, *batch_shape), int64."""
        count = math.prod(sample_shape)
        rows = self.probs.detach().reshape(-1, self.probs.shape[-1])
        return rows.multinomial(count, True).t().reshape(self._shape(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        value, logits = broadcast_tensors(as_tensor(value).long().unsqueeze(-1), self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        low = float(np.finfo(self.logits.dtype).min)
        return -(self.probs * self.logits.clamp(min=low)).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All classes, (C, *batch_shape), or (C, 1, ...) unless expand."""
        count = self.probs.shape[-1]
        values = as_tensor(np.arange(count)).reshape(count, *(1,) * len(self.batch_shape))
        return values.expand(count, *self.batch_shape) if expand else values


_KL: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """``@register_kl(P, Q)``: the function below gives KL(p || q) for distributions of these types."""

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        _KL[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """Mean under p of log p - log q, in nats; NotImplementedError where no formula is registered."""
    function = _KL.get((type(p), type(q)))
    if function is None:
        names = f"{type(p).__name__} and {type(q).__name__}"
        raise NotImplementedError(f"no formula for {names}: take the mean of p.log_prob(x) - q.log_prob(x) over draws")
    return function(p, q)


@register_kl(Normal, Normal)
def _normal_from_normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_from_bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    return p.probs * (p.logits - q.logits) + softplus(q.logits) - softplus(p.logits)


@register_kl(Categorical, Categorical)
def _categorical_from_categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = terms.masked_fill(q.probs == 0, math.inf).masked_fill(p.probs == 0, 0.0)
    return terms.sum(-1)
