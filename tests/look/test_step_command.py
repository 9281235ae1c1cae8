"""``step``, ``graph`` and ``check`` as commands: PyTorch's name, scripts that fail, later passes, notebooks."""

from __future__ import annotations

import io
import json
import sys
import types

import pytest

from minigrad.look.commands import check, graph, step
from minigrad.look.recording import Trace, trace

TORCH = """
import torch
w = torch.ones(3, 4, requires_grad=True)
hidden = (torch.ones(5, 3) @ w).tanh()
out = hidden @ w{transposed}
out.sum().backward()
"""
TRAINING = """
import minigrad as mg
w = mg.tensor(1.0, requires_grad=True)
b = mg.tensor(2.0, requires_grad=True)
for k in range(4):
    loss = (w * (k + 1) + b) ** 2
    loss.backward()
    w.grad = None
print("the end")
"""

pytest_plugins = ["without_torch"]
pytestmark = pytest.mark.usefixtures("without_torch")


@pytest.fixture
def write(tmp_path):
    def script(text, name="script.py"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return script


def page_data(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


@pytest.fixture
def typed(monkeypatch):
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_import_torch_may_mean_minigrad(write, tmp_path, capsys):
    script = write(TORCH.format(transposed=".T"))
    assert step.main(["--as-torch", "--html", str(tmp_path / "page.html"), script]) == 0
    assert graph.main(["--as-torch", "-o", str(tmp_path / "graph.dot"), script]) == 0
    assert "5 steps" in capsys.readouterr().out
    file = write("import torch\ndef f(x):\n    return torch.sin(x).sum()\n", "mine.py")
    assert check.main(["--as-torch", f"{file}:f", "--shape", "3"]) == 0
    assert "torch" not in sys.modules or getattr(sys.modules["torch"], "__file__", None), "only while it ran"


def test_a_script_that_ran_on_pytorch_itself_gets_the_hint(write, tmp_path, monkeypatch):
    torch = types.ModuleType("torch")
    torch.__file__ = "torch/__init__.py"
    monkeypatch.setitem(sys.modules, "torch", torch)
    script = write("import torch\n")
    for command in (step.main, graph.main):
        with pytest.raises(ValueError, match=r"imports PyTorch itself.* --as-torch makes"):
            command(["--html" if command is step.main else "-o", str(tmp_path / "page.html"), script])
    file = write("import torch\ndef f(x):\n    raise TypeError('no tensor of mine')\n", "mine.py")
    with pytest.raises(ValueError, match="--as-torch"):
        check.main([f"{file}:f", "--shape", "3"])
    with pytest.raises(ValueError, match=r"called|calling") as without:
        step.main(["--html", str(tmp_path / "page.html"), write("import minigrad\n", "other.py")])
    assert "--as-torch" in str(without.value), "torch is in this process"
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(ValueError, match="without calling backward") as without:
        step.main(["--html", str(tmp_path / "page.html"), write("import minigrad\n", "other.py")])
    assert "--as-torch" not in str(without.value)


@pytest.mark.parametrize("command", ["step", "page", "graph"])
def test_a_script_that_fails_half_way_shows_what_ran(command, write, tmp_path, capsys):
    script, out = write(TORCH.format(transposed="")), tmp_path / "out.html"
    if command == "graph":
        assert graph.main(["--as-torch", "-o", str(tmp_path / "out.dot"), script]) == 1
        assert "tanh" in (tmp_path / "out.dot").read_text(encoding="utf-8")
    else:
        assert step.main(["--as-torch", *(["--html", str(out)] if command == "page" else []), script]) == 1
        assert out.exists() == (command == "page")
    said = capsys.readouterr()
    assert "matmul_0 (5, 4) = matmul(" in said.out and "hidden (5, 4) = tanh(matmul_0)" in said.out
    assert "The op that failed: matmul(hidden (5, 4), w (3, 4))\n  line 5: out = hidden @ w" in said.out
    assert "OpValueError" in said.err


def test_a_failure_is_part_of_the_record():
    recording = trace()
    with pytest.raises(ZeroDivisionError), recording as t:
        1 / 0  # noqa: B018
    assert t.failure.error == "ZeroDivisionError: division by zero" and t.failure.op is None
    assert "1 / 0" in t.failure.source.text
    assert Trace.from_json(t.to_json()) == t


def test_later_passes(write, tmp_path, typed, capsys):
    script = write(TRAINING)
    typed("s\np w\nq\n")
    assert step.main(["--pass", "3", script]) == 0
    said = capsys.readouterr().out
    assert "backward() of loss = 25 " in said and "\nthe end" not in said
    with pytest.raises(ValueError, match="after 4 backward passes, there is none to step through as --pass 9"):
        step.main(["--pass", "9", "--html", str(tmp_path / "page.html"), script])
    with pytest.raises(SystemExit):
        step.main(["--passes", script])
    assert "--passes is for a page" in capsys.readouterr().err


def test_gradients_that_were_not_zeroed_are_known():
    recording = trace()
    with recording as t:
        exec(compile(TRAINING, "training.py", "exec"), {})
    names = [{t.label(tensor): since for tensor, since in p.held.items()} for p in t.passes]
    assert names == [{}, {"b": 1}, {"b": 1}, {"b": 1}]
    assert [p.number for p in t.passes] == [1, 2, 3, 4]
    assert Trace.from_json(t.to_json()) == t


def test_a_notebook_is_a_script(write, tmp_path, capsys):
    def cell(source, kind="code"):
        return {"cell_type": kind, "source": source.splitlines(keepends=True)}

    cells = [
        cell("# a title", "markdown"),
        cell("%matplotlib inline\n!ls\nimport minigrad as mg"),
        cell("%%bash\nls -l"),
    ]
    cells.append(cell("x = mg.tensor(3.0, requires_grad=True)\ny = x * x\ny.backward()"))
    notebook = write(json.dumps({"cells": cells, "nbformat": 4}), "notes.ipynb")
    page = tmp_path / "page.html"
    assert step.main(["--html", str(page), notebook]) == 0
    assert "1 step," in capsys.readouterr().out
    assert "y = x * x" in page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no notebook"):
        step.main(["--html", str(page), write("[]", "bad.ipynb")])


def test_warnings_of_numpy_do_not_name_our_files(write, tmp_path, recwarn):
    script = write("import minigrad as mg\nmg.tensor([0.0], requires_grad=True).log().sum().backward()\n")
    step.main(["--html", str(tmp_path / "page.html"), script])
    assert not [w for w in recwarn if "minigrad" in w.filename]
