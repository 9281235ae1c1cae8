"""A small training that is ended again and again, in every way there is, and goes on (96 times: python kills.py 96).

What it comes to in the end must be what it comes to undisturbed, bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import minigrad as mg

PROGRAM = """
import argparse, sys
from pathlib import Path
import numpy as np
import minigrad as mg
from minigrad import nn, optim
from minigrad.tools.cli import run
from minigrad.train.data import RandomBatches
from minigrad.train.settings import open_run
from minigrad.train.trainer import Trainer


def main():
    out, steps, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    args = argparse.Namespace(out=None if out.exists() else out, resume=out if out.exists() else None, steps=steps)
    settings, out, checkpoint = open_run(args, "a", steps=steps)
    mg.manual_seed(0)
    model = nn.Sequential(nn.Embedding(8, 16), nn.Dropout(0.1), nn.Linear(16, 8))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.CosineWarmup(optimizer, 3, steps, 0.001)
    ids = np.random.default_rng(0).integers(0, 8, 500)
    batches = RandomBatches(ids, 4, 5, mg.Generator().manual_seed(1))
    loss_of = lambda model, x, y: nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    trainer = Trainer(model, optimizer, schedule, batches, loss_of, extra={"settings": settings}, workers=workers)
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)
    print("ready", flush=True)
    done = trainer.fit(steps, checkpoint=out, curve=out.with_suffix(".csv"), save_every=0, eval_every=7)
    return 0 if done else 130


run(main)
"""
WAYS = [w for w in ("SIGKILL", "SIGHUP", "SIGTERM", "SIGINT", "worker") if w == "worker" or hasattr(signal, w)]
BETWEEN = ("val_loss", "tokens_per_second")  # nan, and the machine's


def start(program: Path, out: Path, steps: int, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(program), str(out), str(steps), str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "ready\n":
            return process
    raise AssertionError(process.communicate()[1])


def outcome(out: Path) -> dict[str, object]:
    """All numbers of a checkpoint that a machine's speed does not decide."""
    state = mg.load(out)
    found = {f"model.{k}": v.numpy() for k, v in state["model"].items()}
    for i, slot in state["optimizer"]["state"].items():
        found |= {f"optimizer.{i}.{k}": np.asarray(v) for k, v in slot.items()}
    rows = [{k: v for k, v in row.items() if k not in BETWEEN} for row in state["history"]]
    curves = {k: v for k, v in state["curves"].items() if k != "seconds"}
    return {**found, **curves, "rows": repr(rows), "rest": repr((state["rng"], state["batches"]))}


def same(a: dict[str, object], b: dict[str, object]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def trial(folder: Path, ways: Sequence[str], steps: int, seed: int = 0, workers: int = 1) -> list[tuple[str, int, str]]:
    """End a training in each of these ways in turn, at random moments; the way, exit status, and last line of each.

    Raises AssertionError where what it comes to is not what it comes to undisturbed, or where files are left over.
    """
    program = folder / "program.py"
    program.write_text(PROGRAM)
    draw = random.Random(seed)
    whole, killed = folder / "whole.npz", folder / "killed.npz"
    process = start(program, whole, steps, workers)
    started = time.perf_counter()
    process.communicate(timeout=120)
    assert process.returncode == 0
    seconds = time.perf_counter() - started
    ends = []
    for way in ways:
        process = start(program, killed, steps, workers)
        time.sleep(draw.uniform(0, 1.5 * seconds / len(ways)))
        if way == "worker":
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for child in children[:1]:
                os.kill(int(child), signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(getattr(signal, way))
        _, errors = process.communicate(timeout=120)
        ends.append((way, process.returncode, (errors.strip().splitlines() or [""])[-1]))
        early = 0 if way == "worker" else -getattr(signal, way)  # before the training began to listen
        expected = {"SIGKILL": {early}, "worker": {2}}.get(way, {130, early})
        assert process.returncode in {0, *expected}, ends[-1]  # 0: it was over just then
        if killed.exists():
            mg.load(killed)  # whole
    process = start(program, killed, steps, workers)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert same(outcome(whole), outcome(killed)), "what is left differs"
    assert sorted(os.listdir(folder)) == ["killed.csv", "killed.npz", "program.py", "whole.csv", "whole.npz"]
    return ends


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            ways = [way for way in WAYS if way != "worker" or workers > 1]
            ends = trial(Path(folder), [random.choice(ways) for _ in range(count)], 40 * count, count, workers)
        for way in ways:
            of_way = [status for w, status, _ in ends if w == way]
            print(f"{workers} worker{'s' * (workers > 1)}: {way:8} {len(of_way):3}, exit statuses {set(of_way)}")
        print("resumed bit for bit each time, nothing left over")


if __name__ == "__main__":
    main()
