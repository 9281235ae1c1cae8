"""Adam, and AdamW, which trains most transformers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.ops import Array
from minigrad.optim.blocks import blocks
from minigrad.optim.optimizer import Optimizer, kept

compiled: Callable[..., bool] | None = None  # one pass in place of the loop in ``update``; set by minigrad.fast


class Adam(Optimizer):
    """p -= lr * m' / (sqrt(v') + eps), with running means m of g and v of g ** 2, corrected for their start at 0.

    For parameters of any shape. weight_decay adds weight_decay * p to g. Kingma and Ba 2015, algorithm 1; amsgrad:
    Reddi et al. 2018. ``foreach``, ``capturable``, ``differentiable`` and ``fused`` are accepted and change nothing.
    """

    elementwise = True
    decoupled = False  # whether weight decay goes straight to the parameter instead of through the means

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        for i, beta in enumerate(group["betas"]):
            if not 0 <= beta < 1:
                raise ValueError(f"betas[{i}] must be at least 0 and below 1, got {beta}")

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        beta1, beta2 = (float(beta) for beta in group["betas"])
        step = state["step"] = state.get("step", 0) + 1
        mean, square = kept(state, "exp_avg", p), kept(state, "exp_avg_sq", p)
        largest = kept(state, "max_exp_avg_sq", p) if group["amsgrad"] else square
        root = math.sqrt(1 - beta2**step)  # both corrections go into the numbers: section 2 of the paper, at its end
        rate, eps = lr * root / (1 - beta1**step), float(group["eps"]) * root
        if compiled is not None:
            shrink, added = (1 - lr * decay, 0.0) if self.decoupled else (1.0, decay)
            numbers = (shrink, added, beta1, 1 - beta1, beta2, 1 - beta2, rate, eps)
            if compiled((p, grad, mean, square, largest), numbers, group["amsgrad"], group["maximize"]):
                return
        for w, g, m, v, top, scratch in blocks(p, grad, mean, square, largest):
            if group["maximize"]:
                g = -g
            if decay and self.decoupled:
                w *= 1 - lr * decay
            elif decay:
                g = g + decay * w
            m *= beta1
            np.multiply(g, 1 - beta1, out=scratch)
            m += scratch
            v *= beta2
            np.multiply(g, g, out=scratch)
            scratch *= 1 - beta2
            v += scratch
            if group["amsgrad"]:
                np.maximum(top, v, out=top)
            np.sqrt(top, out=scratch)
            scratch += eps
            np.divide(m, scratch, out=scratch)
            scratch *= rate
            w -= scratch


class AdamW(Adam):
    """Adam whose weight decay is p -= lr * weight_decay * p, apart from the gradient. Loshchilov and Hutter 2019."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
