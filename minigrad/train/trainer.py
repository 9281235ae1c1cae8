"""The training loop: steps with a progress bar, evaluation, checkpoints that resume bit for bit, a CSV of the curve."""

from __future__ import annotations

import argparse
import csv
import io
import math
import signal
import sys
import tempfile
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
from minigrad.tools.cli import fresh_path
from minigrad.torch.random import get_rng_state, set_rng_state
from minigrad.train.files import atomic_write, load, save

COLUMNS = ("step", "loss", "val_loss", "lr", "grad_norm", "tokens_per_second")
OF_A_SESSION = ("save_every", "sample", "beams")  # settings that the training does not depend on


class TrainingError(RuntimeError):
    """A training run that cannot go on."""


class RankError(TrainingError):
    """A step that one of several ranks could not do; no rank has done it."""


class Batches(Protocol):
    """What a Trainer draws from: pairs of arrays, inputs and targets; its place can be saved and gone back to."""

    def __next__(self) -> tuple[Any, Any]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def open_run(
    args: argparse.Namespace, name: str, **defaults: Any
) -> tuple[dict[str, Any], Path, dict[str, Any] | None]:
    """What a training script starts from: its settings, the path of its checkpoint, and the checkpoint to go on from.

    ``args`` has ``out`` and ``resume``; the rest are settings. A new run (no checkpoint) goes to ``out``, or to
    runs/``name``.npz, or -2, -3, ...: nothing is overwritten. A resumed one has the settings it was started with. The
    settings named in ``defaults`` may be None in ``args``: then they are the default, or what the run had. Raises
    ValueError for a checkpoint of another script, for a setting that a resumed run cannot change, and for a path that
    is taken or does not end in .npz.
    """
    given = {key: value for key, value in vars(args).items() if key not in ("out", "resume")}
    checkpoint = None
    if args.resume:
        checkpoint = load(args.resume)
        settings = defaults | (dict(checkpoint.get("settings", ())) if isinstance(checkpoint, dict) else {})
        if set(settings) != set(given):
            raise ValueError(f"{args.resume} is not a checkpoint of this script")
        out = args.resume
        options = {f"--{key.replace('_', '-')}": key for key in settings}
        words = {word.partition("=")[0] for word in sys.argv[1:]}
        others = words - {*options, "--", "--out", "--resume"}
        begun = tuple(word for word in others if word.startswith("--"))  # --batch is enough for --batch-size
        for option, key in options.items():
            typed = option in words or option.startswith(begun)
            if typed and key not in (*defaults, *OF_A_SESSION) and given[key] != settings[key]:
                raise ValueError(f"{out} was started with {option} {settings[key]}, and goes on so: leave {option} out")
    else:
        settings = given | defaults
        out = args.out or fresh_path(Path("runs") / f"{name}.npz")
        if out.exists():
            raise ValueError(f"{out} exists already: continue it with --resume {out}, or choose another --out")
    settings |= {key: given[key] for key in defaults if given[key] is not None}
    if out.suffix != ".npz":
        raise ValueError(f"{out}: a checkpoint's name must end in .npz")
    folder = next(folder for folder in out.absolute().parents if folder.exists())  # the rest is made when needed
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:  # better now than after the training
        raise type(error)(error.errno, error.strerror, str(out)) from None
    if checkpoint is not None and checkpoint["step"] >= settings["steps"]:
        print(f"{out} is at step {checkpoint['step']} already: --steps says how far to go")
    return settings, out, checkpoint


class Trainer:
    """Everything that a training run changes, in one place, so that it can be saved and continued exactly.

    ``loss_of(model, x, y)`` is the loss of one batch, x and y being (B, T) tensors of token ids. ``extra`` is plain
    data stored along in the checkpoint (config, vocabulary, settings).

    ``workers`` processes share each batch on this machine (``nn.DataParallel``), None for one per core where a batch is
    large enough. Shares, and those of ranks, count by their targets: the loss must be the mean over all targets y that
    are not ``ignore_index``, as cross-entropy is.

    With a ``world`` of several ranks (``minigrad.speed.ranks``) each makes a Trainer and calls the same methods: all draw
    the same batches, compute their share, and end at the same step; the main rank shows the bar and writes the files.
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
        self.losses: list[float] = []  # of every step
        self.interrupted = threading.Event()  # on this rank
        self.stopping = False  # agreed by all ranks

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
        if len(set(steps := self.world.gather(self.step))) > 1:
            raise TrainingError(f"the ranks have read checkpoints of different steps, {steps}: give all the same file")

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of a batch."""
        if self.shared is None:
            return self.loss_of(self.model, x, y)
        return self.shared(x, y).sum() / counted(y, self.ignore_index)

    def train_step(self) -> tuple[float, float, int]:
        """One batch forward and backward, one update; the loss, the gradient's norm, and the number of tokens."""
        before = self.batches.state_dict(), get_rng_state()
        x, y = next(self.batches)
        own_x, own_y = self.world.shard(x, y)
        self.world.own_randomness(self.step)
        self.optimizer.zero_grad()
        failure: Exception | None = None
        value = math.nan
        try:
            loss = self.loss(Tensor(own_x), Tensor(own_y))
            value = loss.item()
            if math.isfinite(value):
                loss.backward()
        except Exception as error:
            if self.world.size == 1:
                raise
            failure = error  # the other ranks wait in average_gradients
        parameters = list(self.model.parameters())
        notes = value, failure is not None, self.interrupted.is_set()
        value, failed, stop = self.world.average_gradients(parameters, counted(own_y, self.ignore_index), notes)
        if failed:
            self.batches.load_state_dict(before[0])
            set_rng_state(before[1])
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
        norm = float(clip_grad_norm_(parameters, self.grad_clip or math.inf))
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.step += 1
        self.losses.append(value)
        self.stopping = bool(stop)
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
            own = windows[self.world.rank :: self.world.size]
            losses = [self.loss(Tensor(x), Tensor(y)).item() for x, y in own]
        self.model.train(was_training)
        return self.world.mean(losses)

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
        With several ranks it is also written after the first step, since a rank that is killed takes the others with
        it, and when a rank fails (RankError), as of the last step that all did.
        A second Ctrl-C stops at once, and leaves the last checkpoint as it is.
        """
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        self.model.train()
        started = time.monotonic()
        saved = started if self.world.size == 1 else -math.inf
        tokens = 0
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
        with bar, _interrupts(self.interrupted):
            val_loss = self.history[-1]["val_loss"] if self.history else math.nan
            smooth = math.nan
            while self.step < steps and not self.stopping:
                lr = self.optimizer.param_groups[0]["lr"]
                try:
                    loss, norm, count = self.train_step()
                except RankError as error:
                    if checkpoint is None:
                        raise
                    self.save(checkpoint, curve)
                    raise RankError(f"{error}; the {self.step} steps before it are saved in {checkpoint}") from error
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
                            "probe": probe() if probe is not None and self.world.main else {},
                        }
                    )
                bar.set_postfix_str(f"loss {smooth:.3f}, val {val_loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
                bar.update()
                if checkpoint is not None and time.monotonic() - saved > save_every:
                    self.save(checkpoint, curve)
                    saved = time.monotonic()
            finished = self.step >= steps
        if self.shared is not None:
            self.shared.close()  # what comes now, sampling say, may have all threads
        if checkpoint is not None:
            self.save(checkpoint, curve)
        self.world.barrier()
        return finished

    def final_loss(self, windows: list[tuple[Any, Any]]) -> float:
        """The validation loss at this very step: from the history if it is there."""
        if self.history and self.history[-1]["step"] == self.step:
            return float(self.history[-1]["val_loss"])
        return self.evaluate(windows)

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
            writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.history)
            with atomic_write(curve) as file:
                file.write(text.getvalue().encode("utf-8"))


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


class _interrupts:
    """Turns the first Ctrl-C into a flag, so that a step is never cut in half; the second one interrupts as usual.

    SIGTERM is taken for Ctrl-C: it is what a batch system sends, and what some MPI launchers make of Ctrl-C.
    """

    def __init__(self, flag: threading.Event) -> None:
        self.flag = flag
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(self, *_: Any) -> None:
        self.flag.set()
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
