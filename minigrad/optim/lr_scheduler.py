"""Learning rates that change with the step: ``scheduler.step()`` after each ``optimizer.step()``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.optim.optimizer import Optimizer


class LRScheduler:
    """Sets "lr" of each parameter group from its first value and ``last_epoch``, the number of steps so far.

    A subclass defines ``lr_at(base_lr, index)``, which is a plain function of the two, so that resuming is exact.
    """

    unsaved: tuple[str, ...] = ("optimizer",)  # attributes that stay out of the state dict

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"a scheduler needs an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group["initial_lr"] = group["lr"]
            elif "initial_lr" not in group:
                raise KeyError("to go on from last_epoch, the groups need 'initial_lr': load the optimizer first")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, base_lr: float, index: int) -> float:
        """The learning rate of group ``index`` at ``last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} has no lr_at()")

    def get_lr(self) -> list[float]:
        """The learning rate of each group at ``last_epoch``."""
        return [float(self.lr_at(base_lr, i)) for i, base_lr in enumerate(self.base_lrs)]

    def get_last_lr(self) -> list[float]:
        """The learning rates set last."""
        return self._last_lr

    def step(self) -> None:
        """Go one step on and set the learning rates."""
        self.last_epoch += 1
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=False):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions."""
        return {name: value for name, value in self.__dict__.items() if name not in self.unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where ``state_dict`` was taken; the optimizer's own state dict holds the learning rates in force."""
        self.__dict__.update({name: value for name, value in state_dict.items() if name not in self.unsaved})


class LambdaLR(LRScheduler):
    """lr = base_lr * lr_lambda(step); a list gives each group its own function. Functions are not saved."""

    unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"{groups} parameter groups need {groups} functions, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def lr_at(self, base_lr: float, index: int) -> float:
        return base_lr * self.lr_lambdas[index](self.last_epoch)


class StepLR(LRScheduler):
    """lr = base_lr * gamma ** (step // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"step_size must be at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, base_lr: float, index: int) -> float:
        return base_lr * self.gamma ** (self.last_epoch // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """lr from base_lr down to eta_min along half a cosine of T_max steps, and up again. Loshchilov and Hutter 2017."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"T_max must be at least 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, base_lr: float, index: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2


class CosineWarmup(LRScheduler):
    """base_lr * (step + 1) / (warmup_steps + 1), then a cosine down to min_lr at total_steps, then min_lr.

    The schedule of nanoGPT and, but for its length, of Brown et al. 2020 (GPT-3), appendix B.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, total_steps: int, min_lr: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not 0 <= warmup_steps <= total_steps:
            raise ValueError(f"0 <= warmup_steps <= total_steps is needed, got {warmup_steps} and {total_steps}")
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.min_lr = min_lr
        super().__init__(optimizer, last_epoch)

    def lr_at(self, base_lr: float, index: int) -> float:
        if self.last_epoch < self.warmup_steps:
            return base_lr * (self.last_epoch + 1) / (self.warmup_steps + 1)
        if self.last_epoch >= self.total_steps:
            return self.min_lr
        done = (self.last_epoch - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.min_lr + (base_lr - self.min_lr) * (1 + math.cos(math.pi * done)) / 2


class Noam(LRScheduler):
    """factor * d_model ** -0.5 * min(n ** -0.5, n * warmup_steps ** -1.5), n = 1, 2, ... Vaswani et al. 2017, eq. 3.

    The groups' own lr does not enter.
    """

    def __init__(
        self, optimizer: Optimizer, d_model: int, warmup_steps: int, factor: float = 1.0, last_epoch: int = -1
    ) -> None:
        if d_model < 1 or warmup_steps < 1:
            raise ValueError(f"d_model and warmup_steps must be at least 1, got {d_model} and {warmup_steps}")
        self.d_model = d_model
        self.warmup_steps = warmup_steps
        self.factor = factor
        super().__init__(optimizer, last_epoch)

    def lr_at(self, base_lr: float, index: int) -> float:
        n = self.last_epoch + 1
        return self.factor * self.d_model**-0.5 * min(n**-0.5, n * self.warmup_steps**-1.5)
