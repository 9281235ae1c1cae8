"""The training loop: steps with a progress bar, evaluation, checkpoints that resume bit for bit, a CSV of the curve."""

from __future__ import annotations

import csv
import io
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minigrad.data import RandomBatches
from minigrad.graph import no_grad
from minigrad.nn import Module
from minigrad.nn.utils import clip_grad_norm_
from minigrad.optim import Optimizer
from minigrad.optim.lr_scheduler import LRScheduler
from minigrad.random import get_rng_state, set_rng_state
from minigrad.serialization import atomic_write, save
from minigrad.tensor import Tensor

COLUMNS = ("step", "loss", "val_loss", "lr", "grad_norm", "tokens_per_second")


class TrainingError(RuntimeError):
    """A training run that cannot go on."""


class Trainer:
    """Everything that a training run changes, in one place, so that it can be saved and continued exactly.

    ``loss_of(model, x, y)`` is the loss of one batch, x and y being (B, T) tensors of token ids. ``extra`` is plain
    data stored along in the checkpoint (config, vocabulary, settings).
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        batches: RandomBatches,
        loss_of: Callable[[Any, Tensor, Tensor], Tensor],
        *,
        grad_clip: float = 1.0,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.batches = batches
        self.loss_of = loss_of
        self.grad_clip = grad_clip
        self.extra = extra or {}
        self.step = 0
        self.history: list[dict[str, Any]] = []  # a row per evaluation: COLUMNS, norms, what the probe saw
        self.losses: list[float] = []  # of every step

    def state_dict(self) -> dict[str, Any]:
        """The whole run as plain data and arrays."""
        return {
            **self.extra,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": get_rng_state(),
            "history": self.history,
            "losses": np.array(self.losses, dtype=np.float32),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the point where ``state_dict`` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.batches.load_state_dict(state["batches"])
        set_rng_state(state["rng"])
        self.step = state["step"]
        self.history = list(state["history"])
        self.losses = state["losses"].tolist()

    def train_step(self) -> tuple[float, float, int]:
        """One batch forward and backward, one update; the loss, the gradient's norm, and the number of tokens."""
        x, y = next(self.batches)
        loss = self.loss_of(self.model, Tensor(x), Tensor(y))
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1}: lower the learning rate, or find the op with "
                "`with minigrad.detect_anomaly():`; the last checkpoint is untouched"
            )
        self.optimizer.zero_grad()
        loss.backward()
        norm = float(clip_grad_norm_(self.model.parameters(), self.grad_clip or math.inf))
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.step += 1
        self.losses.append(value)
        return value, norm, x.size

    def norms(self, grad_norm: float) -> dict[str, tuple[float, float]]:
        """By module path: the norm of its own weights, and of their gradients as they were before clipping."""
        clipped = max(1.0, grad_norm / self.grad_clip) if self.grad_clip else 1.0
        found: dict[str, tuple[float, float]] = {}
        for path, module in self.model.named_modules():
            own = list(module.parameters(recurse=False))
            if own:
                weights = np.concatenate([p.detach().numpy().ravel() for p in own])
                slopes = np.concatenate([p.grad.numpy().ravel() for p in own if p.grad is not None] or [np.zeros(1)])
                found[path] = float(np.linalg.norm(weights)), clipped * float(np.linalg.norm(slopes))
        return found

    def evaluate(self, windows: list[tuple[Any, Any]]) -> float:
        """The mean loss over fixed batches, dropout off."""
        was_training = self.model.training
        self.model.eval()
        with no_grad():
            losses = [self.loss_of(self.model, Tensor(x), Tensor(y)).item() for x, y in windows]
        self.model.train(was_training)
        return float(np.mean(losses))

    def fit(
        self,
        steps: int,
        *,
        windows: list[tuple[Any, Any]] | None = None,
        eval_every: int = 250,
        checkpoint: str | Path | None = None,
        save_every: float = 60.0,
        curve: str | Path | None = None,
        probe: Callable[[], dict[str, Any]] | None = None,
        quiet: bool = False,
    ) -> bool:
        """Train until step ``steps``; True when it got there, False when Ctrl-C ended it after the step in hand.

        ``probe()`` is called at every evaluation, and the plain data and arrays it returns (samples, attention weights)
        are kept in the history.
        The checkpoint is written every ``save_every`` seconds, at the end and on Ctrl-C; the curve (CSV) with it.
        A second Ctrl-C stops at once, and leaves the last checkpoint as it is.
        """
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        self.model.train()
        started = saved = time.monotonic()
        tokens = 0
        bar = tqdm(
            total=steps, initial=min(self.step, steps), unit="step", disable=quiet, dynamic_ncols=True, file=sys.stderr
        )
        with bar, _interrupts() as interrupted:
            val_loss = self.history[-1]["val_loss"] if self.history else math.nan
            smooth = math.nan
            while self.step < steps and not interrupted.is_set():
                lr = self.optimizer.param_groups[0]["lr"]
                loss, norm, count = self.train_step()
                tokens += count
                smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
                rate = tokens / max(time.monotonic() - started, 1e-9)
                if self.step % eval_every == 0 or self.step == steps or self.step == 1:
                    val_loss = self.evaluate(windows) if windows else math.nan
                    row = (self.step, loss, val_loss, lr, norm, round(rate, 1))
                    self.history.append(
                        {
                            **dict(zip(COLUMNS, row, strict=True)),
                            "norms": self.norms(norm),
                            "probe": probe() if probe is not None else {},
                        }
                    )
                bar.set_postfix_str(f"loss {smooth:.3f}, val {val_loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
                bar.update()
                if checkpoint is not None and time.monotonic() - saved > save_every:
                    self.save(checkpoint, curve)
                    saved = time.monotonic()
            finished = self.step >= steps
        if checkpoint is not None:
            self.save(checkpoint, curve)
        return finished

    def save(self, checkpoint: str | Path, curve: str | Path | None = None) -> None:
        """Write the checkpoint, and the curve beside it; each replaces its older version only when complete."""
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
        save(self.state_dict(), checkpoint)
        if curve is not None:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.history)
            with atomic_write(curve) as file:
                file.write(text.getvalue().encode("utf-8"))


class _interrupts:
    """Turns the first Ctrl-C into a flag, so that a step is never cut in half; the second one interrupts as usual."""

    def __enter__(self) -> threading.Event:
        self.flag = threading.Event()
        self.ours = threading.current_thread() is threading.main_thread()
        if self.ours:
            self.before = signal.signal(signal.SIGINT, self.note)
        return self.flag

    def note(self, *_: Any) -> None:
        self.flag.set()
        signal.signal(signal.SIGINT, self.before)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, self.before)
