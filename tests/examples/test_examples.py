"""Every short example runs as a reader runs it: a process of its own, which ends well only if its claims hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from paths import ROOT

from minigrad.look.commands.fetch import cached

NUMBERED = sorted((ROOT / "examples").glob("[0-9]*.py"))
SHORTER = {  # arguments with which an example that trains longer still holds what it claims
    "gradient_penalty": ["--steps", "200", "--batch", "64"],
    "hessian_spectrum": ["--steps", "200"],
    "maml": ["--steps", "500"],
    "newton": [],
    "pinn": ["--steps", "6"],
}
REAL = [path for path in NUMBERED if "_real_" in path.name]  # these want a fetched model
EXAMPLES = [
    *(path for path in NUMBERED if path not in REAL),
    *(ROOT / "examples" / f"{name}.py" for name in ("two_moons", *SHORTER)),
]


def start(example: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(example), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_there_are_examples():
    assert [path.name[:2] for path in NUMBERED] == [f"{n:02}" for n in range(1, len(NUMBERED) + 1)]
    assert len(NUMBERED) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_holds_what_it_claims(example, tmp_path):
    done = start(example, *SHORTER.get(example.stem, []), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 120
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


@pytest.mark.real
@pytest.mark.parametrize("example", REAL, ids=lambda path: path.stem)
def test_what_is_claimed_of_a_real_model(example, tmp_path):
    try:
        cached("minilm" if "bert" in example.stem else "smollm2")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    done = start(example, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 160


@pytest.mark.parametrize("example", REAL, ids=lambda path: path.stem)
def test_without_the_model_one_line_says_how_to_get_it(example, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "none"))
    done = start(example, cwd=tmp_path)
    assert done.returncode == 2 and "python -m minigrad fetch" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("example", [*EXAMPLES, *REAL], ids=lambda path: path.stem)
def test_help_tells_the_idea(example, tmp_path):
    done = start(example, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert len(done.stdout.splitlines()) > 10


def test_one_head_with_bias(tmp_path):
    done = start(ROOT / "examples" / "04_one_head_by_hand.py", "--bias", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "with bias, causal" in done.stdout


def test_a_wrong_number_is_one_line(tmp_path):
    done = start(ROOT / "examples" / "05_many_heads.py", "--steps", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_spectrum_is_a_picture(tmp_path):
    picture = tmp_path / "spectrum.svg"
    done = start(ROOT / "examples" / "hessian_spectrum.py", "--steps", "100", "-o", str(picture), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    dots = ElementTree.parse(picture).getroot().findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 42, "one for each weight"
    assert [float(dot.get("cy")) for dot in dots] == sorted(float(dot.get("cy")) for dot in dots), "largest first"
