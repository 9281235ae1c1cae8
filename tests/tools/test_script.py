"""The commands run a script as Python runs it, whatever the files beside it are called."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from paths import ROOT

SCRIPT = """
import json, random
import minigrad as mg
from minigrad import nn
from minigrad.models.mlp import MLP
from minigrad import load

model = nn.Linear(2, 1)
loss = (model(mg.randn(4, 2)) ** 2).mean() * random.FACTOR
print("a loss", json.WORD, random.__file__, __name__)
loss.backward()
"""

INNER = """
import other
try:
    import beside
except ImportError as error:
    print(error)
"""


def python(*arguments: str, folder) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def folder(tmp_path):
    """A script among files that are named as all those modules of Python that it has not loaded by itself."""
    loaded = python("-c", "import runpy, sys; print(*sys.modules)", folder=tmp_path).stdout.split()
    for name in sys.stdlib_module_names - {*loaded} - {*sys.builtin_module_names}:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of this folder is loaded')\n")
    for name in ("models", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a folder of the user is loaded')\n")
    (tmp_path / "random.py").write_text("FACTOR = 2.0\n")
    (tmp_path / "json.py").write_text("WORD = 'mine'\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "op.py").write_text("import random\ndef twice(x):\n    return x * random.FACTOR\n")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    ["run script.py", "step --html out.html script.py", "graph -o out.dot script.py", "check op.py:twice --shape 3"],
)
def test_files_named_as_pythons_modules_are_the_scripts_own(command, folder):
    done = python("-m", "minigrad", *command.split(), folder=folder)
    assert done.returncode == 0, done.stderr
    if "script" in command:
        assert f"a loss mine {folder / 'random.py'} __main__" in done.stdout
    if "out" in command:
        assert [path.stat().st_size > 1000 for path in folder.glob("out.*")] == [True]


def test_commands_without_a_script_read_nothing_of_the_folder(folder):
    for command in ("info", "examples", "--help"):
        done = python("-m", "minigrad", command, folder=folder)
        assert done.returncode == 0, done.stderr


def test_the_current_folder_is_not_on_the_path_of_a_script_elsewhere(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "beside.py").touch()
    (tmp_path / "inner" / "other.py").touch()
    (tmp_path / "inner" / "script.py").write_text(
        "import other\ntry:\n    import beside\nexcept ImportError as e: print(e)"
    )
    done = python("-m", "minigrad", "run", "inner/script.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "No module named 'beside'\n"


def test_what_was_loaded_before_comes_back(tmp_path, monkeypatch):
    import colorsys

    from minigrad.tools import script

    monkeypatch.setattr(script, "PYTHONS", script.PYTHONS - {"colorsys"})
    (tmp_path / "colorsys.py").write_text("own = True\n")
    (tmp_path / "script.py").write_text("import colorsys\nassert colorsys.own\n")
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    script.run_script(tmp_path / "script.py")
    assert sys.modules["colorsys"] is colorsys
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before
