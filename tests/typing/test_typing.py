"""What a type checker makes of the package as a user installs it, with ``models/`` in its place."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

pytest.importorskip("mypy")


def test_the_package_a_users_program_and_a_wrong_one(tmp_path):
    shutil.copytree(ROOT / "minigrad", tmp_path / "minigrad", ignore=shutil.ignore_patterns("__pycache__", "assets"))
    for file in (ROOT / "models").glob("*.py"):
        shutil.copy(file, tmp_path / "minigrad" / "models")
    shutil.copy(Path(__file__).parent / "user.py", tmp_path)
    (tmp_path / "wrong.py").write_text("import minigrad as mg\nx: int = mg.exp(mg.randn(2))\n")
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "-p", "minigrad"]
    run = subprocess.run(
        [*command, "-m", "user", "-m", "wrong"], cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path)},
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    said = (run.stdout + run.stderr).splitlines()
    wanted = 'wrong.py:2: error: Incompatible types in assignment (expression has type "Tensor"'
    assert said[0].startswith(wanted) and said[1].startswith("Found 1 error in 1 file"), "\n".join(said)


def annotated(function: ast.FunctionDef) -> bool:
    """Whether an argument has a type: a checker then takes the function for typed, ``__init__`` without ``-> None``."""
    return any(isinstance(node, ast.arg) and node.annotation for node in ast.walk(function.args))


@pytest.mark.parametrize("folder", ["minigrad", "models"])
def test_only_the_backward_inside_an_op_has_no_annotations(folder):
    lessons = ROOT / "minigrad" / "learn"  # what learners read and write: plain programs
    for path in {*(ROOT / folder).rglob("*.py")} - {*lessons.glob("chapters/*"), *lessons.glob("exercises/*")}:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.returns is None and not annotated(function):
                assert function.name == "backward", f"{path}:{function.lineno}"
