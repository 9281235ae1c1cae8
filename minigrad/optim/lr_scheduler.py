"""Learning rates that change with the step: ``scheduler.step()`` after each ``optimizer.step()``."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
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
                group.setdefault("initial_lr", group["lr"])  # the first scheduler's, where there are several
            elif "initial_lr" not in group:
                raise KeyError("to go on from last_epoch, the groups need 'initial_lr': load the optimizer first")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self.step()

    def lr_at(self, base_lr: float, index: int) -> float:
        """The learning rate of group ``index`` at ``last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} has no lr_at()")

    def get_lr(self) -> list[float]:
        """The learning rate of each group at ``last_epoch``; a group that came later keeps its own."""
        groups = self.optimizer.param_groups
        return [self.next_lr(g["lr"], i) if i < len(self.base_lrs) else g["lr"] for i, g in enumerate(groups)]

    def next_lr(self, lr: float, index: int) -> float:
        """The learning rate at ``last_epoch`` of a group that had ``lr`` before."""
        return float(self.lr_at(self.base_lrs[index], index))

    def restart(self, milestone: bool = True) -> None:
        """Set the learning rates that this schedule begins with, whatever they are now."""
        self.last_epoch = 0
        self._last_lr = [float(self.lr_at(base_lr, i)) for i, base_lr in enumerate(self.base_lrs)]
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=False):
            group["lr"] = lr

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


class Factor(LRScheduler):
    """lr = base_lr * factor(step). Several of these on one optimizer multiply: each scales the lr that it finds.

    A subclass defines ``factor``; ``floor`` is what the factor scales the distance from.
    """

    floor = 0.0

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.chained: list[int] = []  # the groups whose lr another has changed too
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no factor()")

    def lr_at(self, base_lr: float, index: int) -> float:
        return self.floor + (base_lr - self.floor) * self.factor(self.last_epoch)

    def get_lr(self) -> list[float]:
        return [float(self.next_lr(group["lr"], i)) for i, group in enumerate(self.optimizer.param_groups)]

    def next_lr(self, lr: float, index: int) -> float:
        own = self._last_lr[index] if index < len(self._last_lr) else None
        if index >= len(self.base_lrs) or (lr != own and index not in self.chained):
            self.chained.append(index)
        if self.last_epoch == 0 and index < len(self.base_lrs) and lr != self.base_lrs[index]:
            self.chained.append(index)
        if index not in self.chained:
            return self.lr_at(self.base_lrs[index], index)
        now, before = self.factor(self.last_epoch), self.factor(self.last_epoch - 1) if self.last_epoch > 0 else 1.0
        if now == before:
            return lr
        if before == 0:
            return lr + (self.base_lrs[index] - self.floor) * now if index < len(self.base_lrs) else lr
        return self.floor + (lr - self.floor) * now / before

    def restart(self, milestone: bool = True) -> None:
        self.chained = []
        super().restart(milestone)


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


class StepLR(Factor):
    """lr = base_lr * gamma ** (step // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"step_size must be at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return self.gamma ** (step // self.step_size)


class MultiStepLR(Factor):
    """lr = base_lr * gamma ** (how many of the milestones are behind)."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return self.gamma ** bisect_right(self.milestones, step)


class ExponentialLR(Factor):
    """lr = base_lr * gamma ** step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return self.gamma**step


class ConstantLR(Factor):
    """lr = base_lr * factor for the first total_iters steps, then base_lr."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be between 0 and 1, got {factor}")
        self.share = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return self.share if step < self.total_iters else 1.0


class LinearLR(Factor):
    """lr from base_lr * start_factor to base_lr * end_factor in total_iters equal steps, and so on from there."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"factors must be between 0 and 1, got {start_factor} and {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        share = min(step, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


class PolynomialLR(Factor):
    """lr = base_lr * (1 - step / total_iters) ** power, then 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return (1 - min(step, self.total_iters) / self.total_iters) ** self.power


class MultiplicativeLR(LambdaLR):
    """lr = lr * lr_lambda(step), at each step; a list gives each group its own. Functions are not saved."""

    def lr_at(self, base_lr: float, index: int) -> float:
        return base_lr * math.prod(self.lr_lambdas[index](step) for step in range(1, self.last_epoch + 1))

    def next_lr(self, lr: float, index: int) -> float:
        return float(lr * self.lr_lambdas[index](self.last_epoch)) if self.last_epoch > 0 else lr

    def restart(self, milestone: bool = True) -> None:
        self.last_epoch = 0
        self._last_lr = []
        for i, group in enumerate(self.optimizer.param_groups):
            group["lr"] *= self.lr_lambdas[i](0) if milestone else 1
            self._last_lr.append(group["lr"])


class CosineAnnealingLR(Factor):
    """lr from base_lr down to eta_min along half a cosine of T_max steps, and up again. Loshchilov and Hutter 2017."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"T_max must be at least 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = self.floor = eta_min
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return (1 + math.cos(math.pi * step / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from base_lr to eta_min in T_0 steps, again in T_0 * T_mult, ... Loshchilov and Hutter 2017."""

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise ValueError(f"T_0 and T_mult must be at least 1, got {T_0} and {T_mult}")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, base_lr: float, index: int) -> float:
        length, step = self.T_0, self.last_epoch
        while step >= length:
            step, length = step - length, length * self.T_mult
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * step / length)) / 2


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to the start / final_div_factor; momentum the other way.

    Smith and Topin 2018. ``total_steps``, or ``epochs`` and ``steps_per_epoch``, say how long.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("give total_steps, or both epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        groups = optimizer.param_groups
        self.max_lrs = [max_lr] * len(groups) if isinstance(max_lr, int | float) else list(max_lr)
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.three_phase = three_phase
        self.momenta = (base_momentum, max_momentum) if cycle_momentum else None
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        for group, top in zip(groups, self.max_lrs, strict=True):
            group["initial_lr"] = top / div_factor
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, top: float, end: float) -> float:
        """Where the step is on the way from start to top to end."""
        if self.last_epoch >= self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} of {self.total_steps}; give a larger total_steps")
        turns = [self.pct_start * self.total_steps - 1, self.total_steps - 1]
        levels = [start, top, end]
        if self.three_phase:  # up, down to the start, on down to the end
            turns.insert(1, 2 * self.pct_start * self.total_steps - 2)
            levels.insert(2, start)
        phase = next((i for i, turn in enumerate(turns) if self.last_epoch <= turn), len(turns) - 1)
        begin = turns[phase - 1] if phase else 0.0
        low, high, share = levels[phase], levels[phase + 1], (self.last_epoch - begin) / (turns[phase] - begin)
        if self.anneal_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return low + (high - low) * share

    def lr_at(self, base_lr: float, index: int) -> float:
        return self._between(base_lr, self.max_lrs[index], base_lr / self.final_div_factor)

    def step(self) -> None:
        super().step()
        if self.momenta is not None:
            momentum = self._between(self.momenta[1], self.momenta[0], self.momenta[1])
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum


class SequentialLR(LRScheduler):
    """One scheduler after the other, changing over at the milestones."""

    unsaved = ("optimizer", "schedulers")

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"{len(schedulers)} schedulers need {len(schedulers) - 1} milestones")
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        self.last_epoch += 1
        which = bisect_right(self.milestones, self.last_epoch)
        if self.last_epoch == 0 or self.last_epoch in self.milestones:
            self.schedulers[which].restart(milestone=self.last_epoch > 0)
        else:
            self.schedulers[which].step()
        self._last_lr = self.schedulers[which].get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for scheduler, saved in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(saved)


class ReduceLROnPlateau:
    """lr times factor whenever ``step(value)`` has seen no better value for more than patience steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"mode must be 'min' or 'max', threshold_mode 'rel' or 'abs', got {mode}, {threshold_mode}"
            )
        if factor >= 1:
            raise ValueError(f"factor must be below 1, got {factor}")
        groups = optimizer.param_groups
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = min_lr if isinstance(min_lr, int | float) else None  # of groups that come later too
        self.min_lrs = [min_lr] * len(groups) if isinstance(min_lr, int | float) else list(min_lr)
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1)
        if not math.isfinite(self.best):
            return sign * value < sign * self.best
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, metrics: Any) -> None:
        """Take note of a value, and lower the learning rates if it is time."""
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            groups = self.optimizer.param_groups
            if len(groups) > len(self.min_lrs):
                if self.min_lr is None:
                    raise RuntimeError(f"{len(groups)} groups, min_lr lists {len(self.min_lrs)}: give one number")
                self.min_lrs = [self.min_lr] * len(groups)
            for group, least in zip(groups, self.min_lrs, strict=True):
                lr = max(group["lr"] * self.factor, least)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


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


_LRScheduler = LRScheduler  # PyTorch's older name of the base class
