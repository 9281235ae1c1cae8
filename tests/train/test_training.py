"""The training script as a user runs it: a run, its files, Ctrl-C, resume, and every mistake in one line."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

import minigrad as mg
from minigrad.train.settings import open_run

SMALL = ["--block-size=16", "--n-layer=1", "--n-head=2", "--n-embd=16", "--batch-size=4", "--eval-every=5"]
SMALL += ["--eval-batches=2", "--sample=20"]


def script(name: str, *args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, **(env or {})}, check=False
    )


def train(*args: object) -> subprocess.CompletedProcess[str]:
    return script("train_char_gpt.py", *SMALL, *args)


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The weights and optimizer state of a checkpoint."""
    state = mg.load(path)
    found = {f"model.{k}": v.numpy() for k, v in state["model"].items()}
    for i, slot in state["optimizer"]["state"].items():
        found.update({f"optimizer.{i}.{k}": np.asarray(v) for k, v in slot.items()})
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "a b é.npz"
    run = train("--steps", 20, "--out", out, "--dropout", 0.1)
    assert run.returncode == 0, run.stderr
    return out, run


def test_what_a_run_prints_and_leaves(finished):
    out, run = finished
    before, after = run.stdout.index("--- before training ---"), run.stdout.index("--- after 20 steps ---")
    assert run.stdout.index("uniform") < before < after
    assert "20/20" in run.stderr and "tokens/s" in run.stderr
    with open(out.with_suffix(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["step"] for r in rows] == [str(n) for n in range(1, 21)]
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    assert "guessing by" in page and "blocks.0.attention" in page
    with np.load(out, allow_pickle=False) as file:
        assert len(file.files) > 10


def test_resume_is_exact(finished, tmp_path):
    out, _ = finished
    half = tmp_path / "half.npz"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples/train_char_gpt.py"), *SMALL, "--steps", "20", "--out", str(half),
         "--dropout", "0.1", "--save-every", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not half.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    step = mg.load(half)["step"]
    if process.returncode == 130:
        assert f"stopped at step {step}" in stdout and 0 < step < 20
    resumed = script("train_char_gpt.py", "--resume", half)
    assert resumed.returncode == 0, resumed.stderr
    a, b = arrays(out), arrays(half)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[k], b[k]) for k in a)
    columns = ("step", "loss", "val_loss", "lr", "grad_norm")
    curves = [[tuple(r[c] for c in columns) for r in mg.load(p)["history"]] for p in (out, half)]
    assert curves[0] == curves[1]


def test_sampling(finished):
    out, _ = finished
    first = script("sample.py", out, "--prompt", "The ", "--length", 40, "--seed", 3)
    again = script("sample.py", out, "--prompt", "The ", "--length", 40, "--seed", 3)
    assert first.returncode == 0 and first.stdout.startswith("The ") and len(first.stdout) == 45
    assert first.stdout == again.stdout
    greedy = script("sample.py", out, "--prompt", "The ", "--temperature", 0, "--top-k", 5, "--length", 30)
    assert greedy.returncode == 0


def test_an_existing_run_is_not_overwritten(finished):
    out, _ = finished
    before = out.read_bytes()
    run = train("--steps", 1, "--out", out)
    assert run.returncode == 2 and "exists already" in run.stderr and "--resume" in run.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--data", "EMPTY"], "empty"),
        (["--data", "SHORT"], "16"),
        (["--data", "nowhere.txt"], "nowhere.txt"),
        (["--resume", "MISSING"], "missing.npz"),
        (["--resume", "TRUNCATED"], "truncated.npz"),
        (["--n-embd", "10", "--n-head", "4"], "n_embd=10 must be divisible by n_head=4"),
        (["--steps", "-3"], "'-3' is not an integer of at least 0"),
        (["--steps", "many"], "'many' is not an integer"),
        (["--lr", "nan"], "'nan' is not a number"),
        (["--dropout", "1.5"], "dropout"),
        (["--out", "x.pt"], ".npz"),
    ],
)
def test_mistakes_end_in_one_line(args, text, finished, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("abc")
    (tmp_path / "truncated.npz").write_bytes(finished[0].read_bytes()[:1000])
    files = {k: tmp_path / f for k, f in [("EMPTY", "empty.txt"), ("SHORT", "short.txt"), ("MISSING", "missing.npz"),
                                          ("TRUNCATED", "truncated.npz")]}  # fmt: skip
    args = [files.get(a, a) for a in args]
    out = [] if "--out" in args else ["--out", tmp_path / "out.npz"]
    run = train("--steps", 2, *out, *args)
    assert run.returncode == 2, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert text in last and "Traceback" not in run.stderr, run.stderr
    assert not (tmp_path / "out.npz").exists()


def test_mistakes_in_sampling(finished, tmp_path):
    out, _ = finished
    unknown = script("sample.py", out, "--prompt", "snow ☃")
    assert unknown.returncode == 2 and "☃" in unknown.stderr and len(unknown.stderr.splitlines()) == 1
    assert script("sample.py", tmp_path / "no.npz").returncode == 2
    mg.save({"a": 1}, tmp_path / "other.npz")
    other = script("sample.py", tmp_path / "other.npz")
    assert other.returncode == 2 and "not a checkpoint" in other.stderr


def test_a_resumed_run_that_is_done_says_so(finished):
    out, _ = finished
    run = script("train_char_gpt.py", "--resume", out, "--steps", 3, "--sample", 0)
    assert run.returncode == 0, run.stderr
    assert "is at step 20 already" in run.stdout


def test_a_checkpoint_from_before_a_setting_with_a_default_goes_on(finished, tmp_path):
    state = mg.load(finished[0])
    del state["settings"]["workers"]
    mg.save(state, tmp_path / "older.npz")
    run = script("train_char_gpt.py", "--resume", tmp_path / "older.npz", "--steps", 20, "--sample", 0)
    assert run.returncode == 0, run.stderr
    del state["settings"]["lr"]
    mg.save(state, tmp_path / "other.npz")
    assert "not a checkpoint of this script" in script("train_char_gpt.py", "--resume", tmp_path / "other.npz").stderr


def test_a_resumed_run_keeps_its_settings(finished):
    out, _ = finished
    run = script("train_char_gpt.py", "--resume", out, "--lr=0.5", "--save-every", 1)
    assert run.returncode == 2
    assert run.stderr == f"error: {out} was started with --lr 0.001, and goes on so: leave --lr out\n"
    assert script("train_char_gpt.py", "--resume", out, "--lr=0.001", "--steps", 20, "--sample", 0).returncode == 0


@pytest.mark.parametrize("word", ["--batch-size=9", "--batch", "--batch=9"])
def test_a_shortened_option_counts_as_the_whole(tmp_path, monkeypatch, word):
    out = tmp_path / "a.npz"
    mg.save({"settings": {"batch_size": 4, "batches": 2, "lr": 0.1, "steps": 5}, "step": 0}, out)
    args = argparse.Namespace(out=None, resume=out, batch_size=9, batches=2, lr=0.5, steps=5)
    monkeypatch.setattr(sys, "argv", ["train.py", "--resume", str(out), word, "9"])
    with pytest.raises(ValueError, match="was started with --batch-size 4, and goes on so"):
        open_run(args, "a")
    monkeypatch.setattr(sys, "argv", ["train.py", "--resume", str(out), "--batches", "2", "--", "9"])
    assert open_run(args, "a")[0]["batch_size"] == 4


def test_a_place_that_cannot_be_written_is_told_before_the_training():
    if not Path("/proc/self").is_dir():
        pytest.skip("there is no folder here that nobody can write to")
    run = script("train_char_gpt.py", "--out", "/proc/self/x.npz")
    assert run.returncode == 2 and run.stderr.startswith("error: /proc/self/x.npz: ") and not run.stdout
