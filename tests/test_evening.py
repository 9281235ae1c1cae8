"""What runs when a GPT trains is in ``minigrad/core`` and two model files, and can be read in an evening."""

import ast
import sys
from pathlib import Path

import pytest
from paths import ROOT

import minigrad as mg
from minigrad import optim
from minigrad.core.op import RUNS
from minigrad.core.written import writes
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.speed.twins import use_twins

CORE = sorted((ROOT / "minigrad" / "core").glob("*.py"))
EVENING = [*CORE, ROOT / "models" / "attention.py", ROOT / "models" / "gpt.py"]
CEILING = 1600
# The longer tail of PyTorch's names and texts, which core's classes inherit: it may not know them in turn.
MIXINS = {f"minigrad.torch.{name}" for name in ("arguments", "layers", "methods", "module", "grad_fn")}


def test_it_is_short():
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in EVENING)
    assert lines <= CEILING, f"{lines} lines: the evening has room for {CEILING}"


def imported(file: Path) -> set[str]:
    """The modules that a file imports at run time."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {f"{module}.{alias.name}" if module == "minigrad.core" else module for alias in node.names}
    return found


@pytest.mark.parametrize("file", CORE, ids=lambda file: file.name)
def test_core_imports_numpy_and_core_alone(file):
    for name in imported(file):
        top = name.partition(".")[0]
        fine = top in sys.stdlib_module_names or top == "numpy" or name.startswith("minigrad.core") or name in MIXINS
        assert fine, name


def test_what_core_inherits_does_not_know_core_in_turn():
    files = [*(ROOT / "minigrad" / "torch" / "methods").glob("*.py")]
    files += [ROOT / "minigrad" / "torch" / f"{name}.py" for name in ("arguments", "layers", "module", "grad_fn")]
    for file in files:
        assert not imported(file) & {f"minigrad.core.{name}" for name in ("tensor", "module", "layers")}, file


def test_two_training_steps_run_nothing_else(monkeypatch):
    """Every line of the package that runs in a step is in the evening, or is the optimizer's."""
    before = dict(RUNS)
    monkeypatch.setattr(writes, "in_graph", 0)  # of other tests
    use_twins()
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=7, block_size=6, n_layer=2, n_head=2, n_embd=8))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    ids = mg.randint(0, 7, (3, 6))
    entered, losses = set(), []

    def watch(frame, event, argument):
        if event == "call":
            entered.add(frame.f_code.co_filename)

    sys.setprofile(watch)
    try:
        for _ in range(2):
            _, loss = model(ids, ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss)
    finally:
        sys.setprofile(None)
        RUNS.update(before)
    assert losses[1].item() < losses[0].item()
    package = {Path(name) for name in entered if name.startswith((str(ROOT / "minigrad"), str(ROOT / "models")))}
    others = {file for file in package - set(EVENING) if file.parent.name != "optim"}
    assert not others
    assert {ROOT / "minigrad" / "core" / "graph.py", ROOT / "models" / "gpt.py"} <= package
