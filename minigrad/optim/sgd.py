"""Gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.ops import Array
from minigrad.optim.blocks import blocks
from minigrad.optim.optimizer import Optimizer, kept


class SGD(Optimizer):
    """p -= lr * v, v = momentum * v + g, for parameters of any shape; nesterov steps by g + momentum * v.

    weight_decay adds weight_decay * p to g. Sutskever et al. 2013. ``foreach``, ``differentiable`` and ``fused`` are
    accepted and change nothing.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, momentum = float(group["lr"]), float(group["momentum"])
        decay, keep = float(group["weight_decay"]), 1.0 - float(group["dampening"])
        sign = -1.0 if group["maximize"] else 1.0
        started = "momentum_buffer" in state
        velocity = kept(state, "momentum_buffer", p) if momentum else p  # p stands in, and is not read as velocity
        for w, g, v, scratch in blocks(p, grad, velocity):
            np.multiply(g, sign, out=scratch)
            if decay:
                scratch += decay * w
            if momentum:
                if started:
                    v *= momentum
                    v += keep * scratch
                else:
                    v[...] = scratch
                if group["nesterov"]:
                    scratch += momentum * v
                else:
                    scratch[...] = v
            scratch *= lr
            w -= scratch
