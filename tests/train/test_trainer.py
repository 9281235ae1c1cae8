"""The trainer in this process: a step by hand, what a run keeps, when it is written, and how it ends and goes on."""

from __future__ import annotations

import csv
import io
import math
import os
import signal

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.speed.ranks import World
from minigrad.speed.workers import WorkerError
from minigrad.tools.random import default_generator
from minigrad.train import trainer as trainer_file
from minigrad.train.checkpoints import CheckpointError
from minigrad.train.data import RandomBatches, eval_windows
from minigrad.train.trainer import COLUMNS, RankError, StepError, Trainer, TrainingError, snapshots, travel_folder

IDS = np.arange(300) * 7 % 11 % 5


def loss_of(model: nn.Module, x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
    return F.cross_entropy(model(x).view(-1, 5), y.view(-1))


def make(seed: int = 0, grad_clip: float = 1.0, schedule: bool = True, dropout: float = 0.3, **settings) -> Trainer:
    mg.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Dropout(dropout), nn.Linear(4, 5))
    optimizer = mg.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    falling = mg.optim.lr_scheduler.StepLR(optimizer, 2, 0.5) if schedule else None
    batches = RandomBatches(IDS, 2, 6, mg.Generator().manual_seed(seed))
    return Trainer(model, optimizer, falling, batches, loss_of, grad_clip=grad_clip, **settings)


def weights(trainer: Trainer) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in trainer.model.parameters()]


@pytest.mark.parametrize("grad_clip", [0.0, 0.01, 1e3])
def test_a_step_by_hand(grad_clip):
    trainer, other = make(grad_clip=grad_clip), make()
    for step in range(3):
        mg.manual_seed(step)
        x, y = next(other.batches)
        other.optimizer.zero_grad()
        wanted = loss_of(other.model, mg.tensor(x), mg.tensor(y))
        wanted.backward()
        slopes = np.concatenate([p.grad.numpy().ravel() for p in other.model.parameters()])
        norm = math.sqrt(float((slopes * slopes).sum()))
        if grad_clip and norm > grad_clip:
            for p in other.model.parameters():
                p.grad *= grad_clip / norm
        other.optimizer.step()
        other.schedule.step()
        mg.manual_seed(step)
        loss, found, count = trainer.train_step()
        assert (loss, count, trainer.step) == (pytest.approx(wanted.item(), rel=1e-6), 12, step + 1)
        assert found == pytest.approx(norm, rel=1e-5) and 0.01 < norm < 1e3
        assert trainer.optimizer.param_groups[0]["lr"] == [0.5, 0.25, 0.25][step]
        for a, b in zip(weights(trainer), weights(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-7)
    assert len(trainer.losses) == 3


def test_what_a_run_keeps(tmp_path):
    trainer, windows = make(), eval_windows(IDS, 2, 6, 4)
    probed = []
    assert trainer.fit(
        7, windows=windows, eval_every=3, quiet=True, checkpoint=tmp_path / "new" / "a.npz", curve=tmp_path / "a.csv",
        probe=lambda: {"at": probed.append(trainer.step) or trainer.step},
    )  # fmt: skip
    assert [row["step"] for row in trainer.history] == probed == [1, 2, 3, 4, 5, 6, 7]
    rates = [0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]  # those that the steps were made with
    assert [row["lr"] for row in trainer.history] == trainer.curves["lr"] == rates
    assert [row["grad_norm"] for row in trainer.history] == trainer.curves["grad_norm"]
    assert len(trainer.curves["seconds"]) == 7 and min(trainer.curves["seconds"]) > 0
    assert [row["probe"] for row in trainer.history] == [{"at": n} for n in probed]
    assert [row["loss"] for row in trainer.history] == [trainer.losses[n - 1] for n in probed]
    assert trainer.history[-1]["norms"].keys() == {"0", "2"} and trainer.history[-1]["tokens_per_second"] > 0
    trainer.model.eval()
    by_hand = np.mean([loss_of(trainer.model, mg.tensor(x), mg.tensor(y)).item() for x, y in windows])
    assert trainer.history[-1]["val_loss"] == pytest.approx(by_hand, rel=1e-6)
    assert trainer.final_loss([]) == trainer.history[-1]["val_loss"], "it is known already"
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == (*COLUMNS, "seconds") and [row[0] for row in rows[1:]] == list("1234567")
    trainer.train_step()
    assert trainer.final_loss(windows) == pytest.approx(trainer.evaluate(windows), rel=1e-9) != by_hand
    assert trainer.final_loss(windows) != trainer.history[-1]["val_loss"]


@pytest.mark.parametrize(("steps", "count"), [(0, 1), (1, 1), (2, 2), (20, 14), (200, 18), (5000, 19)])
def test_evaluations_are_about_20_and_dense_at_first(steps, count):
    chosen = sorted(snapshots(steps))
    assert chosen[0] == 1 and chosen[-1] == max(steps, 1) and len(chosen) == count
    gaps = np.diff(chosen)
    assert (np.diff(gaps) >= -1).all() and (count < 3 or gaps[-1] >= gaps[0])


def test_the_file_of_the_curve_has_every_step_and_what_only_an_evaluation_tells_where_it_was_made(tmp_path):
    trainer, windows = make(), eval_windows(IDS, 2, 6, 1)
    trainer.fit(40, windows=windows, quiet=True, checkpoint=tmp_path / "a.npz", curve=tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 41))
    for name in ("loss", "lr", "grad_norm", "seconds"):
        assert [float(row[name]) for row in rows] == trainer.curves[name]
    evaluated = {int(row["step"]) for row in rows if row["val_loss"]}
    assert evaluated == snapshots(40) == {row["step"] for row in trainer.history}
    assert all(bool(row["tokens_per_second"]) == bool(row["val_loss"]) for row in rows)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_without_dropout_or_graph_and_leaves_the_mode(training):
    trainer, windows = make(), eval_windows(IDS, 2, 6, 3)
    trainer.model.train(training)
    recorded = []
    trainer.model[2].register_forward_hook(
        lambda module, args, out: recorded.append((out.requires_grad, module.training))
    )
    assert trainer.evaluate(windows) == trainer.evaluate(windows)
    assert trainer.model.training is training and set(recorded) == {(False, False)}


def test_without_windows_there_is_no_validation_loss():
    trainer = make(schedule=False)
    assert trainer.fit(2, quiet=True) and all(math.isnan(row["val_loss"]) for row in trainer.history)
    assert trainer.state_dict()["schedule"] is None
    assert trainer.fit(2, quiet=True) and trainer.step == 2, "there already"
    assert trainer.fit(0, quiet=True)
    with pytest.raises(ValueError, match="steps must not be negative, got -1"):
        trainer.fit(-1)


@pytest.mark.parametrize("schedule", [True, False])
def test_a_run_goes_on_as_if_it_had_not_stopped(schedule, tmp_path):
    whole = make(schedule=schedule)
    whole.fit(9, eval_every=2, quiet=True)
    first = make(schedule=schedule, extra={"name": "x"})  # seeds anew
    first.fit(4, eval_every=2, quiet=True, checkpoint=tmp_path / "a.npz")
    saved = mg.load(tmp_path / "a.npz")
    assert saved["name"] == "x" and saved["step"] == 4
    mg.manual_seed(99)
    second = make(seed=3, schedule=schedule)
    second.load_state_dict(saved)
    assert second.step == 4 and second.losses == pytest.approx(first.losses) and second.history == saved["history"]
    second.fit(9, eval_every=2, quiet=True)
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert (a == b).all()
    assert second.losses == pytest.approx(whole.losses, rel=1e-6)
    steps = [[row["step"] for row in trainer.history if row["step"] != 4] for trainer in (whole, second)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("save_every", "times"), [(2.5, [3, 6, 7]), (0.5, [1, 2, 3, 4, 5, 6, 7, 7]), (60.0, [7])])
def test_when_the_checkpoint_is_written(save_every, times, tmp_path, monkeypatch):
    """A clock that goes on by one with every step."""
    trainer, written = make(), []
    monkeypatch.setattr(trainer_file.time, "monotonic", lambda: float(trainer.step))
    monkeypatch.setattr(trainer, "save", lambda path, curve=None: written.append(trainer.step))
    trainer.fit(7, quiet=True, checkpoint=tmp_path / "a.npz", save_every=save_every)
    assert written == times
    trainer.fit(8, quiet=True)
    assert written == times, "no path, no file"


def test_the_rate_counts_tokens_a_second(monkeypatch):
    trainer = make()
    monkeypatch.setattr(trainer_file.time, "monotonic", lambda: 10 + trainer.step / 2)
    trainer.fit(5, eval_every=1, quiet=True)
    assert [row["tokens_per_second"] for row in trainer.history] == [24.0] * 5


@pytest.mark.parametrize("number", [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)])
def test_an_interrupt_ends_after_the_step_in_hand(number, tmp_path):
    trainer, before = make(), signal.getsignal(number)
    trainer.model.register_forward_hook(lambda *_: os.kill(os.getpid(), number) if trainer.step == 2 else None)
    assert trainer.fit(9, quiet=True, checkpoint=tmp_path / "a.npz") is False
    assert trainer.step == 3 == mg.load(tmp_path / "a.npz")["step"] and signal.getsignal(number) is before
    assert trainer.fit(5, quiet=True) is True and trainer.step == 5, "the flag is down again"


def test_a_loss_that_is_no_number_changes_nothing(tmp_path):
    trainer = make()
    trainer.fit(2, quiet=True, checkpoint=tmp_path / "a.npz")
    before = weights(trainer)
    trainer.loss_of = lambda model, x, y: loss_of(model, x, y) * math.inf
    with pytest.raises(TrainingError, match="the loss is inf at step 3: lower the learning rate"):
        trainer.fit(4, quiet=True, checkpoint=tmp_path / "a.npz")
    assert trainer.step == 2 == mg.load(tmp_path / "a.npz")["step"]
    assert all((a == b).all() for a, b in zip(weights(trainer), before, strict=True))


@pytest.mark.parametrize("error", [MemoryError("full"), KeyError("odd")])
def test_a_step_that_fails_takes_its_batch_back(error, tmp_path):
    whole = make()
    whole.fit(4, quiet=True)
    trainer = make()
    trainer.fit(2, quiet=True)

    def fails(model, x, y):
        mg.rand(3)
        raise error

    trainer.loss_of = fails
    with pytest.raises((TrainingError, KeyError)) as found:
        trainer.fit(4, quiet=True, checkpoint=tmp_path / "a.npz")
    if isinstance(error, MemoryError):
        assert "not enough memory: full; the 2 steps before it are saved in" in str(found.value)
        assert mg.load(tmp_path / "a.npz")["step"] == 2
    else:
        assert found.value is error
    trainer.loss_of = loss_of
    trainer.fit(4, quiet=True)
    assert trainer.losses == whole.losses, "the same batches and masks as if nothing had happened"


def test_norms_of_a_module_without_gradients_are_0():
    trainer = make(dropout=0.0)
    trainer.train_step()
    trainer.model[0].weight.grad = None
    norms = trainer.norms(0.0)
    assert norms["0"][1] == 0 and norms["2"][1] > 0
    assert norms["2"][0] == pytest.approx(
        math.hypot(*np.concatenate([w.ravel() for w in weights(trainer)[1:]])), rel=1e-5
    )


def test_the_line_of_the_bar_has_the_smoothed_loss(monkeypatch):
    trainer, said = make(), []
    monkeypatch.setattr(trainer_file._Bar, "show", lambda self, text: said.append(text))
    trainer.model.eval()
    trainer.fit(4, quiet=True)
    assert trainer.model.training, "dropout is on while it trains"
    smooth = trainer.losses[0]
    for loss, text in zip(trainer.losses, said, strict=True):
        smooth += 0.05 * (loss - smooth)
        assert text.startswith(f"loss {smooth:.3f}, val nan, ") and text.endswith(" tokens/s")


def test_a_checkpoint_of_another_run_is_refused():
    trainer = make()
    state = make().state_dict()
    with pytest.raises(CheckpointError, match=r"does not fit this run: batches is not .*|.*keys it should have"):
        trainer.load_state_dict({key: value for key, value in state.items() if key != "batches"})
    state["flow"] = {"columns": 3}
    with pytest.raises(CheckpointError, match="does not fit this run: "):
        trainer.load_state_dict(state)
    assert trainer.step == 0


def test_a_schedule_goes_on_where_it_was():
    trainer, second = make(), make()
    trainer.fit(3, quiet=True)
    second.load_state_dict(trainer.state_dict())
    assert second.schedule.state_dict() == trainer.schedule.state_dict()
    assert second.schedule.state_dict() != make().schedule.state_dict()


@pytest.mark.parametrize(("workers", "cores"), [(1, "none"), (None, None), (3, range(3))])
def test_who_shares_a_batch(workers, cores):
    shared = make(workers=workers).shared
    assert (shared is None) if cores == "none" else (shared.device_ids == cores)


class Second(World):
    """Rank 1 of 2; what the other says is given."""

    def __init__(self, failed: bool = False, other: object = None) -> None:
        super().__init__()
        self.rank, self.size, self.main = 1, 2, False
        self.failed, self.other, self.asked = failed, other, []

    def broadcast(self, model):
        self.asked.append(("weights of", model))

    def own_randomness(self, step):
        self.asked.append(("randomness of", step))

    def gather(self, value):
        return [self.other, value]

    def average_gradients(self, parameters, rows=1, notes=()):
        self.asked.append((parameters, rows))
        loss, failed, stop = notes
        return [loss, failed or self.failed, stop]


def test_what_a_rank_asks_of_the_others():
    world = Second()
    trainer = make(world=world)
    trainer.train_step()
    assert trainer.train_step()[2] == 12, "tokens of the whole batch"
    parameters = list(trainer.model.parameters())
    averaged = (parameters, 6)  # the targets of its own half
    wanted = [("weights of", trainer.model), ("randomness of", 0), averaged, ("randomness of", 1), averaged]
    assert [(a, b) if isinstance(a, str) else ([id(p) for p in a], b) for a, b in world.asked] == [
        (a, b) if isinstance(a, str) else ([id(p) for p in a], b) for a, b in wanted
    ]
    state = trainer.state_dict()
    world.other = 7
    with pytest.raises(TrainingError, match=r"checkpoints of different steps, \[7, 2\]: give all the same file"):
        trainer.load_state_dict(state)


@pytest.mark.parametrize("own", [True, False])
def test_a_rank_that_fails_is_named_and_its_batch_is_taken_back(own):
    world = Second(failed=not own, other=None if own else "OSError: gone")
    trainer = make(world=world)
    before = str(trainer.batches.state_dict()), str(default_generator.get_state())

    def fails(model, x, y):
        mg.rand(2)
        if own:
            raise KeyError("odd")
        return loss_of(model, x, y)

    trainer.loss_of = fails
    text = "rank 1 of 2 failed in step 1: KeyError: 'odd'" if own else "rank 0 of 2 failed in step 1: OSError: gone"
    with pytest.raises(RankError, match=text) as found:
        trainer.train_step()
    assert isinstance(found.value.__cause__, KeyError) == own
    after = str(trainer.batches.state_dict()), str(default_generator.get_state())
    assert trainer.step == 0 and before == after


def test_a_terminal_that_is_gone_ends_no_run(monkeypatch):
    trainer, bars = make(), []

    class Gone(trainer_file.tqdm):
        def __init__(self, **settings):
            bars.append(self)
            super().__init__(**{**settings, "file": io.StringIO()})

        def update(self, n=1):
            raise OSError("gone")

    monkeypatch.setattr(trainer_file, "tqdm", Gone)
    assert trainer.fit(3) and trainer.step == 3 and bars[0].disable is True


def test_states_are_kept_to_travel_to(tmp_path):
    trainer = make()
    trainer.fit(5, quiet=True, checkpoint=tmp_path / "deep" / "er" / "a.npz", travel=2)
    kept = sorted(path.name for path in travel_folder(tmp_path / "deep" / "er" / "a.npz").iterdir())
    assert kept == ["0000000.npz", "0000002.npz", "0000004.npz"]
    assert [mg.load(travel_folder(tmp_path / "deep" / "er" / "a.npz") / name)["step"] for name in kept] == [0, 2, 4]
    make().fit(2, quiet=True, travel=1)  # without a checkpoint there is no folder for them


def test_evaluations_at_steps_of_ones_own_choice():
    trainer = make()
    trainer.fit(60, eval_every=25, quiet=True, windows=eval_windows(IDS, 2, 6, 2))
    steps = [row["step"] for row in trainer.history]
    assert {25, 50} <= set(steps) and 26 not in steps and 49 not in steps
    own = len(steps)
    trainer.fit(61, quiet=True)
    assert len(trainer.history) == own + 1 and math.isnan(trainer.history[-1]["val_loss"])


@pytest.mark.parametrize("quiet", [True, False])
def test_the_bar_is_shown_once_a_step(monkeypatch, quiet):
    bars = []

    class Counted(trainer_file.tqdm):
        def __init__(self, **settings):
            bars.append(self)
            self.settings, self.shown, self.closed = settings, [], 0
            super().__init__(**{**settings, "file": io.StringIO()})

        def set_postfix_str(self, s="", refresh=True):
            self.shown.append((s, refresh))

        def close(self):
            self.closed += 1
            super().close()

    monkeypatch.setattr(trainer_file, "tqdm", Counted)
    trainer = make()
    trainer.fit(2, quiet=True)
    trainer.fit(5, quiet=quiet)
    bar = bars[-1]
    assert bar.settings["disable"] is quiet and bar.settings["dynamic_ncols"] and bar.settings["initial"] == 2
    assert len(bar.shown) == 3 and not any(refresh for _, refresh in bar.shown) and bar.closed >= 1
    assert quiet or bar.n == 5


def test_workers_end_with_the_run():
    trainer, ended = make(workers=2), []
    trainer.shared.close = lambda: ended.append(trainer.step)
    trainer.fit(2, quiet=True)
    assert ended == [2]

    def gone(model, x, y):
        raise WorkerError("worker 1 of 1 was killed")

    trainer.shared = trainer.shared.__class__(trainer_file._LossOfShare(trainer.model, gone, -100), range(1))
    trainer.shared.close = lambda: ended.append(trainer.step)
    with pytest.raises(StepError, match="worker 1 of 1 was killed"):
        trainer.fit(3, quiet=True)
    assert ended == [2, 2]


def test_ranks_are_compared_before_and_wait_after(tmp_path):
    world = Second()
    asked = []
    world.check_alike = lambda model, numbers: asked.append((model, numbers))
    world.barrier = lambda: asked.append("wait")
    trainer = make(world=world)
    trainer.fit(2, quiet=True, eval_every=7, checkpoint=tmp_path / "a.npz")
    assert asked == [(trainer.model, {"steps": 2, "step": 0, "eval_every": 7, "windows": 0}), "wait"]
    assert not list(tmp_path.iterdir()), "the main rank writes"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here")
def test_a_closing_terminal_that_is_to_be_ignored_is():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        trainer = make()
        trainer.model.register_forward_hook(lambda *_: os.kill(os.getpid(), signal.SIGHUP))
        assert trainer.fit(2, quiet=True) is True
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_interrupt_ends_at_once():
    trainer, calls = make(), []

    def twice(*_):
        calls.append(trainer.step)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    trainer.model.register_forward_hook(twice)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(3, quiet=True)
    assert calls == [0] and trainer.step == 0 and signal.getsignal(signal.SIGINT) is before


def test_a_terminal_that_closes_takes_no_run_with_it(monkeypatch):
    """What is printed after it has gone goes nowhere, in place of being an error."""
    here, moved = {1: True, 2: False}, []
    monkeypatch.setattr(trainer_file.os, "isatty", lambda number: here.get(number, False))
    monkeypatch.setattr(trainer_file.os, "dup2", lambda a, b: moved.append((a, b)))
    trainer = make()

    def close(*_):
        if trainer.step == 1:
            here[1] = False
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.model.register_forward_hook(close)
    count = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    assert trainer.fit(4, quiet=True) is False and trainer.step == 2
    assert [b for _, b in moved] == [1] and moved[0][0] > 2
    assert count is None or len(os.listdir("/proc/self/fd")) == count
