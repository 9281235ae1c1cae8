"""Optimizers that give each parameter a step of its own: Adagrad, Adadelta, RMSprop, and the relatives of Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.ops import Array
from minigrad.optim.optimizer import Optimizer, kept


class _Adaptive(Optimizer):
    """What they share: the sign of the gradient and the weight decay, which adds weight_decay * p to it."""

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g = -grad if group["maximize"] else grad
        if group["weight_decay"]:
            g = g + float(group["weight_decay"]) * p
        state["step"] = state.get("step", 0) + 1
        p -= self.move(p, g, state, group).astype(p.dtype, copy=False)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        """What is taken from the parameter."""
        raise NotImplementedError(f"{type(self).__name__} has no move()")


class RMSprop(_Adaptive):
    """p -= lr * g / (sqrt(v) + eps), v a running mean of g ** 2. Hinton 2012, lecture 6.5; centered: Graves 2013."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        alpha, momentum = float(group["alpha"]), float(group["momentum"])
        square = kept(state, "square_avg", p)
        square += (1 - alpha) * (g * g - square)
        spread = square
        if group["centered"]:
            mean = kept(state, "grad_avg", p)
            mean += (1 - alpha) * (g - mean)
            spread = square - mean * mean
        step = g / (np.sqrt(spread) + float(group["eps"]))
        if momentum:
            buffer = kept(state, "momentum_buffer", p)
            buffer *= momentum
            buffer += step
            step = buffer
        return float(group["lr"]) * step


class Adagrad(_Adaptive):
    """p -= lr * g / (sqrt(v) + eps), v the sum of all g ** 2 so far. Duchi et al. 2011."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        total = kept(state, "sum", p)
        if state["step"] == 1:
            total += float(group["initial_accumulator_value"])
        total += g * g
        rate = float(group["lr"]) / (1 + (state["step"] - 1) * float(group["lr_decay"]))
        return rate * g / (np.sqrt(total) + float(group["eps"]))


class Adadelta(_Adaptive):
    """p -= lr * d, d = g * sqrt(u + eps) / sqrt(v + eps), running means u of d ** 2 and v of g ** 2. Zeiler 2012."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        rho, eps = float(group["rho"]), float(group["eps"])
        square, moved = kept(state, "square_avg", p), kept(state, "acc_delta", p)
        square += (1 - rho) * (g * g - square)
        step = g * np.sqrt((moved + eps) / (square + eps))
        moved += (1 - rho) * (step * step - moved)
        return float(group["lr"]) * step


class _Momentum(_Adaptive):
    """With a running mean m of g."""

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        for i, beta in enumerate(group["betas"]):
            if not 0 <= beta < 1:
                raise ValueError(f"betas[{i}] must be at least 0 and below 1, got {beta}")


class Adamax(_Momentum):
    """p -= lr * m' / u, u = max(beta2 * u, |g| + eps). Kingma and Ba 2015, algorithm 2."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        beta1, beta2 = (float(beta) for beta in group["betas"])
        mean, largest = kept(state, "exp_avg", p), kept(state, "exp_inf", p)
        mean += (1 - beta1) * (g - mean)
        np.maximum(beta2 * largest, np.abs(g) + float(group["eps"]), out=largest)
        return float(group["lr"]) / (1 - beta1 ** state["step"]) * mean / largest


class NAdam(_Momentum):
    """Adam with Nesterov's look ahead. Dozat 2016."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        if decoupled_weight_decay:
            raise ValueError("decoupled_weight_decay=True is not covered: use AdamW")
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        lr, eps, step = float(group["lr"]), float(group["eps"]), state["step"]
        beta1, beta2 = (float(beta) for beta in group["betas"])
        now, next_ = (beta1 * (1 - 0.5 * 0.96 ** (n * float(group["momentum_decay"]))) for n in (step, step + 1))
        product = state["mu_product"] = state.get("mu_product", 1.0) * now
        mean, square = kept(state, "exp_avg", p), kept(state, "exp_avg_sq", p)
        mean += (1 - beta1) * (g - mean)
        square += (1 - beta2) * (g * g - square)
        spread = np.sqrt(square / (1 - beta2**step)) + eps
        return lr * ((1 - now) / (1 - product) * g + next_ / (1 - product * next_) * mean) / spread


class RAdam(_Momentum):
    """Adam that does without the second moment until enough is known of it. Liu et al. 2020, algorithm 2."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        if decoupled_weight_decay:
            raise ValueError("decoupled_weight_decay=True is not covered: use AdamW")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def move(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> Array:
        lr, eps, step = float(group["lr"]), float(group["eps"]), state["step"]
        beta1, beta2 = (float(beta) for beta in group["betas"])
        mean, square = kept(state, "exp_avg", p), kept(state, "exp_avg_sq", p)
        mean += (1 - beta1) * (g - mean)
        square += (1 - beta2) * (g * g - square)
        most = 2 / (1 - beta2) - 1
        known = most - 2 * step * beta2**step / (1 - beta2**step)
        ahead = mean / (1 - beta1**step)
        if known <= 5:
            return lr * ahead
        rectified = math.sqrt((known - 4) * (known - 2) * most / ((most - 4) * (most - 2) * known))
        return lr * ahead * rectified * math.sqrt(1 - beta2**step) / (np.sqrt(square) + eps)
