"""The displays in Jupyter: a notebook is executed, and its cells show what they should."""

from __future__ import annotations

import pytest
from paths import ROOT

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

CELLS = [
    """
import os, sys
sys.path.insert(0, os.environ["MINIGRAD_ROOT"])
import minigrad as mg
from minigrad.models.gpt import GPT, GPTConfig
model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=4))
ids = mg.tensor([[0, 1, 2]])
""",
    """
with mg.trace() as record:
    loss = model(ids, ids)[1]
    loss.backward()
mg.graph(record, "module")
""",
    'mg.graph((mg.tensor(2.0, requires_grad=True) * 3).tanh(), "scalar")',
    "mg.attention(model, ids)",
    "loss",
    "w = mg.tensor(2.0, requires_grad=True)\nfor k in range(1):\n    mg.step((w * 3).tanh())",
    "with mg.trace() as t:\n    (w * 3).exp().backward()\nt",
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_graphs_and_attention_are_shown(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGRAD_ROOT", str(ROOT))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
    done = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [[out["data"] for out in cell["outputs"] if "data" in out] for cell in done["cells"]]
    assert shown[0] == []
    (modules,), (scalars,), (heads,), (loss,), (steps,), (record,) = shown[1:]
    for picture in (modules, scalars):
        assert picture["image/svg+xml"].lstrip().startswith(("<?xml", "<svg")), picture.get("text/plain")
        assert picture["text/html"].startswith("<iframe") and "<script" not in picture["text/html"]
    assert "Block \u00d72" in modules["image/svg+xml"] and "data 2" in scalars["image/svg+xml"]
    assert "<iframe" in heads["text/html"] and "blocks.1.attention" in heads["text/html"]
    assert loss["text/plain"].startswith("tensor(")
    for page in (steps, record):
        assert "<iframe" in page["text/html"] and "Backward, step by step" in page["text/html"]
        assert page["text/plain"].startswith("Trace(")
