"""The pages of docs/api are those of the code as it is, and say something of every name."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT

import minigrad as mg


@pytest.fixture
def make_api(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_api

    return make_api


def test_the_pages_are_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "docs" / "make_api.py", "--check"], cwd=ROOT)
    assert done.returncode == 0, "run python docs/make_api.py"


def test_every_name_is_told(make_api):
    bare = [f"{page}: {name}" for page, (_, names) in make_api.pages().items()
            for name, value in names.items() if not make_api.told(value, name)]  # fmt: skip
    assert not bare


def test_what_a_page_says(make_api):
    assert make_api.signature(mg.Tensor.add, "add") == "add(other, *, alpha=1)"
    assert "dx = dz * z" in make_api.told(mg.exp, "exp"), "a face over one op shows its formulas"
    assert make_api.told(mg.Tensor.subtract, "subtract") == make_api.told(mg.Tensor.sub, "sub") != ""
    assert {"Linear", "Module"} <= make_api.pages()["nn"][1].keys()
    assert not {"finfo", "dtype"} & make_api.pages()["minigrad"][1].keys()

    def silent(x):
        y = x + 1
        return y

    assert make_api.told(silent, "silent") == "" and make_api.told(lambda x: x, "it") == ""


def test_a_change_is_noticed(make_api, monkeypatch, tmp_path):
    monkeypatch.setattr(make_api, "FOLDER", tmp_path / "api")
    monkeypatch.setattr(sys, "argv", ["make_api.py"])
    assert make_api.main() == 0 and (tmp_path / "api" / "tensor.md").read_text().startswith("# The methods")
    monkeypatch.setattr(sys, "argv", ["make_api.py", "--check"])
    assert make_api.main() == 0
    monkeypatch.setattr(mg.nn.Linear, "__doc__", "Something else.")
    assert make_api.main() == 1
