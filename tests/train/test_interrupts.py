"""A run that is ended from outside: by signals, by a terminal that closes, by a worker that is gone or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import kills
import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.speed import workers
from minigrad.speed.workers import WorkerError, possible
from minigrad.train.data import RandomBatches
from minigrad.train.trainer import Trainer, TrainingError, _Bar, _interrupts

with_workers = pytest.mark.skipif(not possible(), reason="no workers on this system")


@pytest.mark.parametrize(("ways", "count"), [(("SIGKILL", "SIGHUP", "SIGTERM", "SIGINT"), 1), (("worker",), 2)])
def test_a_run_that_is_ended_again_and_again_comes_to_the_same(tmp_path, ways, count):
    if os.name == "nt" or (count > 1 and not possible()):
        pytest.skip("no such signals, or no workers, on this system")
    ends = kills.trial(tmp_path, ways, 40, workers=count)
    assert [way for way, _, _ in ends] == list(ways)
    if count > 1 and ends[0][1] == 2:
        assert "was killed by SIGKILL; the" in ends[0][2] and f"go on with --resume {tmp_path}" in ends[0][2]


def trainer(count=1, loss_of=None):
    model = nn.Sequential(nn.Embedding(8, 16), nn.Linear(16, 8))
    batches = RandomBatches(np.arange(500) % 8, 4, 5, mg.Generator().manual_seed(1))
    plain = lambda model, x, y: nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())  # noqa: E731
    return Trainer(model, optim.AdamW(model.parameters()), None, batches, loss_of or plain, workers=count)


IN_A_TERMINAL = """
import fcntl, os, signal, struct, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_the_terminal_closes(tmp_path):
    program, out = tmp_path / "program.py", tmp_path / "a.npz"
    program.write_text(kills.PROGRAM)
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", IN_A_TERMINAL, str(program), str(out), "100000", "1"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        shown = b""
        while b"1/100000" not in shown:
            shown += os.read(ours, 1000)
    finally:
        os.close(ours)
    assert process.wait(60) == 130
    state = mg.load(out)
    assert 0 < state["step"] == len(state["curves"]["loss"]) < 100000


def test_what_nohup_ignores_stays_ignored():
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("no such signal here")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        mine = trainer()
        with _interrupts(mine.interrupted):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert not mine.interrupted.is_set()
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)  # a batch system may send several
            os.kill(os.getpid(), signal.SIGINT)
            assert mine.interrupted.is_set()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
    finally:
        signal.signal(signal.SIGHUP, before)


@with_workers
@pytest.mark.parametrize("large", [False, True])
def test_a_stopped_worker_ends_the_run_and_what_was_done_is_saved(tmp_path, monkeypatch, large):
    monkeypatch.setattr(workers, "PATIENCE", 1)
    mine = trainer(2)
    batch = mine.batches.__next__
    waited = []

    def draw():
        if mine.step == 3:
            (worker,) = mine.shared.team.workers
            os.kill(worker.pid, signal.SIGSTOP)
            waited.append(time.monotonic())
            if large:  # more than a pipe holds: the message itself cannot be sent
                return tuple(np.tile(part, (4000, 1)) for part in batch())
        return batch()

    monkeypatch.setattr(type(mine.batches), "__next__", lambda self: draw())
    with pytest.raises(
        TrainingError, match=r"worker 1 of 1 .* was stopped, and did not go on .*; the 3 steps before it"
    ):
        mine.fit(10, checkpoint=tmp_path / "a.npz", quiet=True)
    assert 0.5 < time.monotonic() - waited[0] < 20
    state = mg.load(tmp_path / "a.npz")
    assert state["step"] == 3
    monkeypatch.undo()
    again = trainer(2)
    again.load_state_dict(state)
    again.fit(5, quiet=True)
    assert again.losses[:3] == mine.losses and len(again.losses) == 5


@with_workers
def test_a_stopped_worker_that_goes_on_is_waited_for():
    worker = workers.Worker(lambda request: (request, []), "it")
    try:
        os.kill(worker.pid, signal.SIGSTOP)
        number = worker.send("x" * 10)
        time.sleep(0.1)
        assert workers._is_stopped(worker.pid)
        os.kill(worker.pid, signal.SIGCONT)
        assert worker.hear(number)[0] == "x" * 10
        message = os.urandom(10**6)
        assert worker.hear(worker.send(message))[0] == message
    finally:
        worker.close()


def test_full_memory_in_a_step_is_a_line_and_what_was_done_is_saved(tmp_path):
    def loss_of(model, x, y):
        if mine.step == 2:
            raise MemoryError("Unable to allocate 3 TiB")
        return (model(x) ** 2).mean()

    mine = trainer(loss_of=loss_of)
    with pytest.raises(
        TrainingError, match="not enough memory: Unable to allocate 3 TiB; the 2 steps before it are saved"
    ):
        mine.fit(5, checkpoint=tmp_path / "a.npz", quiet=True)
    state = mg.load(tmp_path / "a.npz")
    assert state["step"] == 2 and len(state["curves"]["loss"]) == 2
    stopped = trainer(loss_of=lambda model, x, y: (model(x) ** 2).mean())
    stopped.fit(2, quiet=True)
    assert state["batches"] == stopped.batches.state_dict()  # the batch will be drawn again


def test_a_bar_whose_terminal_is_gone_is_left_alone():
    class Gone:
        disable = False

        def set_postfix_str(self, *args, **kwargs):
            raise OSError(5, "Input/output error")

        close = set_postfix_str

    bar = _Bar(Gone())
    bar.show("x")
    assert bar.bar.disable
    bar.close()


@with_workers
def test_a_second_thread_is_refused():
    model = nn.DataParallel(nn.Linear(3, 2), range(2))
    x = mg.ones(4, 3)
    model(x)
    problems = []

    def use():
        try:
            model(x)
        except RuntimeError as error:
            problems.append(str(error))

    def in_thread(target):
        thread = threading.Thread(target=target, name="another")
        thread.start()
        thread.join()

    in_thread(use)
    assert len(problems) == 1 and "used by the thread 'MainThread', and cannot be by 'another' too" in problems[0]
    out = model(x).sum()
    in_thread(lambda: problems.append(_raised(out.backward)))
    assert "cannot be by 'another' too" in problems[1]
    out = model(x).sum()
    out.backward()
    model.close()
    in_thread(use)  # after close() another may
    assert len(problems) == 2
    model(x)  # and this one again, for that has ended
    model.close()


def _raised(call):
    try:
        call()
    except RuntimeError as error:
        return str(error)
    return ""


@with_workers
def test_a_worker_that_is_killed_is_named():
    worker = workers.Worker(lambda request: (request, []), "it")
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="it was killed by SIGKILL"):
        worker.hear(worker.send("x"))
    assert worker.closed
