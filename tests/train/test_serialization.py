"""Checkpoints: what goes in comes out, and a damaged file is said to be one."""

from __future__ import annotations

import builtins
import contextlib
import errno
import math
import os

import numpy as np
import pytest

import minigrad as mg
from minigrad.train.checkpoints import CheckpointError
from minigrad.train.files import atomic_write

STATE = {
    "step": 3,
    "rng": {"state": 2**127 + 1},
    "rate": 0.1 + 0.2,
    "odd": [math.inf, -0.0, None, True, "é\n☃", (1, [2.5])],
    "weights": {"a.b": mg.tensor([1.5, -2.0]), "ids": np.arange(3)},
    "state": {0: {"mean": mg.zeros(2, 3)}, 1: {}},
    "file": mg.tensor([True]),
}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a b é.npz"
    mg.save(STATE, path)
    return path


def test_round_trip(saved):
    state = mg.load(saved)
    assert list(state) == list(STATE)
    for key in ("step", "rng", "rate", "odd"):
        assert state[key] == STATE[key]
    assert isinstance(state["odd"][5], tuple) and math.copysign(1, state["odd"][1]) == -1
    weights = state["weights"]
    assert isinstance(weights["a.b"], mg.Tensor) and weights["a.b"].dtype == mg.float32
    assert isinstance(weights["ids"], np.ndarray) and weights["ids"].dtype == np.int64
    assert (weights["a.b"] == STATE["weights"]["a.b"]).all() and state["file"].dtype == mg.bool
    assert list(state["state"]) == [0, 1] and state["state"][0]["mean"].shape == (2, 3)
    assert math.isnan(_again(math.nan, saved))
    assert "weights.a.b" in np.load(_path_of(STATE, saved)).files


def _path_of(obj, path):
    mg.save(obj, path)
    return path


def _again(obj, path):
    return mg.load(_path_of(obj, path))


def test_a_parameter_comes_back_as_a_tensor(saved):
    layer = mg.nn.Linear(2, 3)
    state = _again(layer.state_dict(), saved)
    mg.nn.Linear(2, 3).load_state_dict(state)
    assert (state["weight"] == layer.weight).all()


@pytest.mark.parametrize(
    ("bad", "found"),
    [({"f": print}, {"f": None}), ({"a": {1.5: 2}}, {"a": {"1.5": 2}}), ([np.array(["x"])], [None])],
)
def test_what_cannot_be_saved_is_named_and_left_out(bad, found, saved):
    with pytest.warns(UserWarning, match=r"saved without pickle: (f|the key 1\.5 of a|0)\b"):
        mg.save(bad, saved)
    assert mg.load(saved) == found


def test_truncated_anywhere(saved):
    whole = saved.read_bytes()
    for length in [0, 1, 10, *range(50, len(whole), 97), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a b é\.npz"):
            mg.load(saved)


def test_a_flipped_byte_never_passes_unnoticed(saved):
    whole = bytearray(saved.read_bytes())
    expected = repr(mg.load(saved))
    for i in range(0, len(whole), 61):
        damaged = bytearray(whole)
        damaged[i] ^= 0xFF
        saved.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            assert repr(mg.load(saved)) == expected  # padding and dates may change without harm


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, **{"structure.json": np.array([{"format": 1}], dtype=object)})
    with pytest.raises(CheckpointError):
        mg.load(path)
    np.savez(path, a=np.ones(2))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        mg.load(path)
    path.write_text("hello")
    with pytest.raises(CheckpointError):
        mg.load(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        mg.load(tmp_path / "no.npz")
    with pytest.raises(CheckpointError, match="folder"):
        mg.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="folder"):
        mg.save(1, tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        mg.save(1, tmp_path / "no" / "a.npz")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(saved, monkeypatch, failure):
    before = saved.read_bytes()

    def fail(_):
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(failure)):
        mg.save({"new": mg.zeros(1000)}, saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_atomic_write_is_readable_by_others(tmp_path):
    with atomic_write(tmp_path / "x", b"") as file:
        file.write(b"1")
    with builtins.open(tmp_path / "y", "wb") as file:
        file.write(b"1")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode
