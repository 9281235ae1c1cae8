"""The training loop: steps with a progress bar, evaluation, checkpoints that resume bit for bit, all steps as CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.nn import DataParallel, Module
from minigrad.nn.utils import clip_grad_norm_
from minigrad.optim import Optimizer
from minigrad.optim.lr_scheduler import LRScheduler
from minigrad.speed.ranks import World
from minigrad.speed.workers import WorkerError
from minigrad.tools.random import default_generator
from minigrad.train.checkpoints import CheckpointError, save
from minigrad.train.files import atomic_write, travel_folder
from minigrad.train.flow import Flow
from minigrad.train.settings import CURVE_MARK
from minigrad.train.validation import COLUMNS, CURVES, misfit

SNAPSHOTS = 20  # evaluations of a run for which none are asked


class TrainingError(RuntimeError):
    """A training run that cannot go on."""


class StepError(TrainingError):
    """A step that could not be made, and was not begun as far as the run's state is concerned."""


class RankError(StepError):
    """A step that one of several ranks could not do; no rank has done it."""


class Batches(Protocol):
    """What a Trainer draws from: pairs of arrays, inputs and targets; its place can be saved and gone back to."""

    def __next__(self) -> tuple[Any, Any]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """Everything that a training run changes, in one place, so that it can be saved and continued exactly.

    ``loss_of(model, x, y)`` is the loss of one batch, x and y being (B, T) tensors of token ids. ``extra`` is plain
    data stored along in the checkpoint (config, vocabulary, settings).

    ``workers`` processes share each batch on this machine (``nn.DataParallel``), None for one per core where a batch is
    large enough. Shares, and those of ranks, count by their targets: the loss must be the mean over all targets y that
    are not ``ignore_index``, as cross-entropy is.

    With a ``world`` of several ranks (``minigrad.speed.ranks``) each makes a Trainer and calls the same methods: all
    draw the same batches, compute their share, and end at the same step; the main rank shows the bar and writes the
    files.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        batches: Batches,
        loss_of: Callable[[Any, Tensor, Tensor], Tensor],
        *,
        grad_clip: float = 1.0,
        extra: dict[str, Any] | None = None,
        world: World | None = None,
        workers: int | None = 1,
        ignore_index: int = -100,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.batches = batches
        self.loss_of = loss_of
        self.grad_clip = grad_clip
        self.extra = extra or {}
        self.world = world or World()
        self.world.broadcast(model)
        self.ignore_index = ignore_index
        self.shared = None
        if workers != 1 and self.world.size == 1:
            share = _LossOfShare(model, loss_of, ignore_index)
            self.shared = DataParallel(share, None if workers is None else range(workers))
        self.step = 0
        self.history: list[dict[str, Any]] = []  # a row per evaluation: COLUMNS, norms, what the probe saw
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}  # of every step
        self.flow = Flow(model)  # of every step: gradients, updates, units, attention
        self.interrupted = threading.Event()  # on this rank
        self.stopping = False  # agreed by all ranks

    @property
    def losses(self) -> list[float]:
        """The loss of every step."""
        return self.curves["loss"]

    def state_dict(self) -> dict[str, Any]:
        """The whole run as plain data and arrays."""
        return {
            **self.extra,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": default_generator.get_state(),
            "history": self.history,
            "curves": {name: np.array(values, dtype=np.float32) for name, values in self.curves.items()},
            "flow": self.flow.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the point where ``state_dict`` was taken. Raises CheckpointError for what is no state of this run."""
        if problem := misfit(self.state_dict(), state, self.optimizer):
            raise CheckpointError(f"the checkpoint does not fit this run: {problem}")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.batches.load_state_dict(state["batches"])
            default_generator.set_state(state["rng"])
            if "flow" in state:
                self.flow.load_state_dict(state["flow"])
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit this run: {type(error).__name__}, {error}") from error
        self.step = state["step"]
        self.history = list(state["history"])
        self.curves = {name: state["curves"][name].tolist() for name in CURVES}
        if len(set(steps := self.world.gather(self.step))) > 1:
            raise TrainingError(f"the ranks have read checkpoints of different steps, {steps}: give all the same file")

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of a batch."""
        if self.shared is None:
            return self.loss_of(self.model, x, y)
        return self.shared(x, y).sum() / counted(y, self.ignore_index)

    def train_step(self) -> tuple[float, float, int]:
        """One batch forward and backward, one update; the loss, the gradient's norm, and the number of tokens."""
        begun, lr = time.monotonic(), self.optimizer.param_groups[0]["lr"]
        before = self.batches.state_dict(), default_generator.get_state()
        x, y = next(self.batches)
        own_x, own_y = self.world.shard(x, y)
        self.world.own_randomness(self.step)
        self.optimizer.zero_grad()
        failure: Exception | None = None
        value = math.nan
        try:
            with self.flow.forward():
                loss = self.loss(Tensor(own_x), Tensor(own_y))
            value = loss.item()
            if math.isfinite(value):
                loss.backward()
        except Exception as error:
            if self.world.size == 1:
                self.go_back(*before)
                if isinstance(error, WorkerError | MemoryError):
                    short = "not enough memory: " if isinstance(error, MemoryError) else ""
                    raise StepError(f"{short}{error}") from error
                raise
            failure = error  # the other ranks wait in average_gradients
        parameters = list(self.model.parameters())
        notes = value, failure is not None, self.interrupted.is_set()
        value, failed, stop = self.world.average_gradients(parameters, counted(own_y, self.ignore_index), notes)
        if failed:
            self.go_back(*before)
            texts = self.world.gather(failure and f"{type(failure).__name__}: {failure}")
            rank = next(i for i, text in enumerate(texts) if text)
            raise RankError(
                f"rank {rank} of {self.world.size} failed in step {self.step + 1}: {texts[rank]}"
            ) from failure
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1}: lower the learning rate, or find the op with "
                "`with minigrad.detect_anomaly():`; the last checkpoint is untouched"
            )
        self.flow.gradients()
        norm = float(clip_grad_norm_(parameters, self.grad_clip or math.inf))
        self.flow.before_update()
        self.optimizer.step()
        self.flow.after_update()
        if self.schedule is not None:
            self.schedule.step()
        self.step += 1
        for name, number in zip(CURVES, (value, lr, norm, time.monotonic() - begun), strict=True):
            self.curves[name].append(float(number))
        self.stopping = bool(stop)
        return value, norm, x.size

    def go_back(self, batches: dict[str, Any], randomness: dict[str, Any]) -> None:
        """Undo the drawing of a batch whose step could not be made."""
        self.batches.load_state_dict(batches)
        default_generator.set_state(randomness)

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
            own = windows[self.world.rank :: self.world.size]
            losses = [self.loss(Tensor(x), Tensor(y)).item() for x, y in own]
        self.model.train(was_training)
        return self.world.mean(losses)

    def fit(
        self,
        steps: int,
        *,
        windows: list[tuple[Any, Any]] | None = None,
        eval_every: int = 0,
        checkpoint: str | Path | None = None,
        save_every: float = 60.0,
        travel: int = 0,
        curve: str | Path | None = None,
        probe: Callable[[], dict[str, Any]] | None = None,
        quiet: bool = False,
    ) -> bool:
        """Train until step ``steps``; True when it got there, False when Ctrl-C ended it after the step in hand.

        The run is evaluated at about 20 steps, each later than the last by the same factor, and after every
        ``eval_every`` steps if that is not 0. ``probe()`` is called at every evaluation, and the plain data and arrays
        it returns (samples, attention weights) are kept in the history.
        The checkpoint is written every ``save_every`` seconds, at the end and on Ctrl-C, SIGTERM and SIGHUP (the
        terminal closes); the curve (CSV) with it. It is also written when a step cannot be made, for a worker is gone,
        a rank failed or the memory is full: as of the last step that was made; then TrainingError says how to go on.
        With several ranks it is also written after the first step, since a rank that is killed takes the others with
        it.
        With ``travel`` the state is also kept at every so many steps, from the first on, in a folder beside the
        checkpoint (``travel_folder``): from there any step can be run again, bit for bit.
        A second Ctrl-C stops at once, and leaves the last checkpoint as it is.
        """
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        numbers = {"steps": steps, "step": self.step, "eval_every": eval_every, "windows": len(windows or ())}
        self.world.check_alike(self.model, numbers)
        self.model.train()
        started = time.monotonic()
        saved = started if self.world.size == 1 else -math.inf
        tokens, looked_at = 0, snapshots(steps)
        self.stopping = False
        self.interrupted.clear()
        bar = tqdm(
            total=steps,
            initial=min(self.step, steps),
            unit="step",
            disable=quiet or not self.world.main,
            dynamic_ncols=True,
            file=sys.stderr,
        )
        with _interrupts(self.interrupted), contextlib.closing(_Bar(bar)) as shown:
            val_loss = self.history[-1]["val_loss"] if self.history else math.nan
            smooth = math.nan
            while self.step < steps and not self.stopping:
                if travel and checkpoint is not None and self.step % travel == 0:
                    self.save(travel_folder(checkpoint) / f"{self.step:07}.npz")
                try:
                    loss, norm, count = self.train_step()
                    tokens += count
                    smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
                    rate = tokens / max(time.monotonic() - started, 1e-9)
                    if self.step in looked_at or (eval_every and self.step % eval_every == 0):
                        val_loss = self.evaluate(windows) if windows else math.nan
                        row = (self.step, loss, val_loss, self.curves["lr"][-1], norm, round(rate, 1))
                        self.history.append(
                            {
                                **dict(zip(COLUMNS, row, strict=True)),
                                "norms": self.norms(norm),
                                "probe": probe() if probe is not None and self.world.main else {},
                            }
                        )
                except (StepError, WorkerError) as error:
                    self.end_workers()
                    if checkpoint is None:
                        raise
                    self.save(checkpoint, curve)
                    raise (RankError if isinstance(error, RankError) else TrainingError)(
                        f"{error}; the {self.step} steps before it are saved in {checkpoint}: go on with "
                        f"--resume {checkpoint}"
                    ) from error
                shown.show(f"loss {smooth:.3f}, val {val_loss:.3f}, {rate:,.0f} tokens/s")
                if checkpoint is not None and time.monotonic() - saved > save_every:
                    self.save(checkpoint, curve)
                    saved = time.monotonic()
            finished = self.step >= steps
            self.end_workers()
            if checkpoint is not None:
                self.save(checkpoint, curve)
        self.world.barrier()
        return finished

    def end_workers(self) -> None:
        """Let what comes after the training, sampling say, have all threads."""
        if self.shared is not None:
            self.shared.close()

    def final_loss(self, windows: list[tuple[Any, Any]]) -> float:
        """The validation loss at this very step: from the history if it is there."""
        if self.history and self.history[-1]["step"] == self.step:
            return float(self.history[-1]["val_loss"])
        return self.evaluate(windows)

    def rows(self) -> list[dict[str, Any]]:
        """A row for every step; what only an evaluation tells is in the rows of those."""
        every = [dict(zip(CURVES, row, strict=True)) for row in zip(*self.curves.values(), strict=True)]
        known = {row["step"]: row for row in self.history}
        return [{"step": n, **row, **known.get(n, {})} for n, row in enumerate(every, 1)]

    def save(self, checkpoint: str | Path, curve: str | Path | None = None) -> None:
        """Write the checkpoint, and the curve beside it; each replaces its older version only when complete.

        Of several ranks the main one writes.
        """
        if not self.world.main:
            return
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
        save(self.state_dict(), checkpoint)
        if curve is not None:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, (*COLUMNS, "seconds"), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows())
            with atomic_write(curve, CURVE_MARK) as file:
                file.write(text.getvalue().encode("utf-8"))


def snapshots(steps: int) -> set[int]:
    """About 20 steps, from the first to the last, each later by the same factor: most happens at the beginning."""
    return {int(n) for n in np.geomspace(1, max(steps, 1), SNAPSHOTS).round()}


def counted(y: Any, ignore_index: int) -> int:
    """How many of the targets count."""
    return int(np.count_nonzero(np.asarray(y) != ignore_index))


class _LossOfShare(Module):
    """The mean loss of some rows, times the number of their targets: what can be added up over shares."""

    def __init__(self, model: Module, loss_of: Callable[[Any, Tensor, Tensor], Tensor], ignore_index: int) -> None:
        super().__init__()
        self.model = model
        self.loss_of = loss_of
        self.ignore_index = ignore_index

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        count = counted(y, self.ignore_index)
        if count == 0:
            return next(self.model.parameters()).new_zeros(())
        return self.loss_of(self.model, x, y) * count


class _Bar:
    """A progress bar that is left alone once its terminal is gone."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar = bar

    def show(self, text: str) -> None:
        """One step more, and what to say of it."""
        try:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
        except OSError:
            self.bar.disable = True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.bar.close()


class _interrupts:
    """Turns the first Ctrl-C into a flag, so that a step is never cut in half; the second one interrupts as usual.

    SIGTERM and SIGHUP are taken for Ctrl-C, however often they come: the one is what a batch system sends, and what
    some MPI launchers make of Ctrl-C; the other comes when the terminal closes (unless nohup has it ignored).
    """

    def __init__(self, flag: threading.Event) -> None:
        self.flag = flag
        self.before: dict[int, Any] = {}
        self.terminals: list[int] = []

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.terminals = [number for number in (1, 2) if os.isatty(number)]
            numbers = [signal.SIGINT, signal.SIGTERM]
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            self.before = {number: signal.signal(number, self.note) for number in numbers}

    def note(self, number: int, *_: Any) -> None:
        self.flag.set()
        if number == signal.SIGINT:
            signal.signal(number, self.before.pop(number, signal.default_int_handler))
        for terminal in self.terminals:
            if not os.isatty(terminal):  # it is gone, and what is printed there would be an error
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, terminal)
                os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
