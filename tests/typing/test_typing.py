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


def mypy(folder: Path, *arguments: str) -> str:
    """What mypy says, run in a folder with the project's configuration; the last line sums up."""
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", *arguments]
    environment = {**os.environ, "MYPYPATH": str(folder)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as it lies in the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "minigrad", folder / "minigrad", ignore=shutil.ignore_patterns("__pycache__", "assets"))
    for file in (ROOT / "models").glob("*.py"):
        shutil.copy(file, folder / "minigrad" / "models")
    shutil.copy(Path(__file__).parent / "user.py", folder)
    return folder


def test_package_and_models_and_a_users_program(installed):
    said = mypy(installed, "-p", "minigrad", "-m", "user")
    assert said.startswith("Success"), said


def test_a_wrong_program_is_noticed(installed):
    (installed / "wrong.py").write_text("import minigrad as mg\nx: int = mg.exp(mg.randn(2))\n")
    said = mypy(installed, "--follow-imports=silent", "wrong.py")
    assert 'wrong.py:2: error: Incompatible types in assignment (expression has type "Tensor"' in said, said


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
