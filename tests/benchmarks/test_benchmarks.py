"""The benchmarks as a command, with a model too small to mean anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

from benchmarks import __main__ as command
from benchmarks.configs import config_of, weights_of
from benchmarks.goals import Goal
from benchmarks.measure import Row, check
from benchmarks.peers import ours, scalar
from benchmarks.profile import profile
from benchmarks.report import number, tables
from minigrad.tools import cli

SMALL = "1,4,1,2,4,5"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_the_command_measures_what_needs_no_more_than_numpy(tmp_path):
    file = tmp_path / "figures.json"
    done = run("step", "ops", "--config", SMALL, "--peer", "minigrad", "scalar", "--rounds", "2", "--steps", "2",
               "--goals", "--json", str(file))  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [(row["what"], row["peer"]) for row in rows] == [
        (what, peer) for what in ("step", "ops") for peer in ("minigrad", "scalar")
    ]
    for row in rows:
        assert row["note"] == "" and 0 < row["least"] <= row["value"]
        assert row["label"] in done.stdout
    for row in rows[:2]:
        assert len(row["times"]) == 4 and len(row["losses"]) == 4 and row["agrees"] is True
        assert 5 < row["peak_mb"] < 1000
        assert 1.5 < row["losses"][0] < 1.7  # log 5 = 1.609: it knows nothing yet
        assert f"{row['losses'][-1]:.5f}" in done.stdout


def test_a_peer_that_is_not_there_is_said_and_skipped(tmp_path):
    (tmp_path / "jax.py").write_text("raise ModuleNotFoundError('no jax', name='jax')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks", "--config", SMALL, "--peer", "jax", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "| JAX jit | not installed: pip install jax |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stp"], "'stp' is none of step"),
        (["--config", "nanno"], "'nanno' is no config"),
        (["--config", "1,4,1,3,4,5", "--rounds", "0"], "'0' is not an integer"),
        (["--python", "torch"], "PACKAGE=PATH"),
    ],
)
def test_a_mistyped_argument_gets_one_line(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.run(command.main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and words in error and error.count("\n") == 1


@pytest.mark.parametrize("config", ["1,4,1,3,4,5", "1,2", "0,4,1,2,4,5", "a,b,c,d,e,f"])
def test_sizes_that_make_no_model(config):
    with pytest.raises(ValueError, match=r"no config|no model"):
        config_of(config)


def test_other_losses_are_found_out():
    last = {"nan": float("nan"), "a": 2.0, "b": 2.000005, "off": 2.1}
    rows = [Row("step", "micro", name, name, losses=[1.0, loss]) for name, loss in last.items()]
    rows.append(Row("step", "micro", "floor", "floor"))
    check(rows)
    assert [row.agrees for row in rows] == [False, True, True, False, None]
    assert "| NO |" in tables(rows)


def test_different_steps_lead_to_different_losses():
    config = config_of(SMALL)
    ids, targets = np.array([[0, 1, 2, 3]]), np.array([[1, 2, 3, 4]])
    losses = []
    for peer in (ours, scalar):
        step = peer.trainer(config, weights_of(config))
        losses.append([step(ids, targets) for _ in range(30)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][-1] < losses[0][0] - 0.05  # it learns, and both learn the same


def test_goals():
    rows = [
        Row("busy", "nano", "minigrad", "", value=10.0),
        Row("busy", "nano", "torch", "", threads=1, value=20.0),
        Row("busy", "nano", "torch", "", threads=2, value=50.0),
    ]
    faster = Goal("busy", "nano", "faster", 4)
    assert faster.measured(rows) == 2 and not faster.met(2)
    assert faster._replace(all_cores=True).measured(rows) == 5 and faster.met(5)
    share = Goal("busy", "nano", "share", 0.4)
    assert share.measured(rows) == 0.5 and not share.met(0.5) and share.met(0.4)
    assert Goal("busy", "nano", "most", 25, ()).measured(rows) == 10
    assert Goal("busy", "tiny", "faster", 4).measured(rows) is None
    assert faster.measured(rows[:1]) is None


def test_the_profile_has_all_the_time(tmp_path):
    lines = [line.split(" | ") for line in profile(config_of(SMALL), 2, tmp_path).splitlines()[2:]]
    parts = {line[0].removeprefix("| "): float(line[1]) for line in lines}
    whole = parts.pop("a step")
    assert {"linear, forward", "linear, backward", "AdamW.step", "clip_grad_norm_"} < set(parts)
    assert sum(parts.values()) == pytest.approx(whole, abs=0.02)


def test_numbers_have_three_digits():
    assert [number(x) for x in (0.1234, 1.234, 12.34, 123.4, 12345.6, None)] == [
        "0.123", "1.23", "12.3", "123", "12346", ""
    ]  # fmt: skip


def test_talk_says_how_to_get_its_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "talk"])
    with pytest.raises(FileNotFoundError, match="python -m minigrad fetch smollm2"):
        command.main()
