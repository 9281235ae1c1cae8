"""What the command lines share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minigrad.tools.cli import fresh_path, run


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (None, 0, ""),
        (ValueError("two\nlines"), 2, "error: two lines\n"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), 2, "error: a.txt: No such file or directory\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_expected_errors_are_one_line(error, status, text, capsys):
    def main():
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == status and capsys.readouterr().err == text


def test_mistakes_of_the_program_keep_their_traceback():
    def main():
        raise AssertionError("claim")

    with pytest.raises(AssertionError):
        run(main)


def test_a_terminal_that_cannot_show_a_character_gets_its_number():
    code = "from minigrad.tools.cli import run; run(lambda: print('snow \u2603'))"
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert out.stdout.strip() == b"snow \\u2603"


def test_fresh_path(tmp_path):
    path = tmp_path / "run.npz"
    assert fresh_path(path) == path
    path.touch()
    assert fresh_path(path).name == "run-2.npz"
    (tmp_path / "run-2.npz").touch()
    assert fresh_path(path).name == "run-3.npz"


def test_info_says_what_decides_the_speed():
    env = {**os.environ, "MINIGRAD_PLAIN": "1", "MINIGRAD_FAST": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "minigrad", "info"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "NumPy" in done.stdout and "takes 1 thread;" in done.stdout
    assert "tuned twins off, compiled twins off" in done.stdout
