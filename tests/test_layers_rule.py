"""The floors of the house: every import goes down, none hides in a function, none goes round."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (  # bottom to top
    {"ops"},
    {"graph"},
    {"extras"},
    {"threads"},
    {"random", "cli", "script", "printing", "methods", "hardware", "memory", "lazy", "workers"},
    {"tensor"},
    {"functions"},
    {"checks"},
    {"autograd", "serialization", "linalg", "testing", "utils"},
    {"nn", "optim"},
    {"fast"},
    {"data"},
    {"parallel"},
    {"training"},
    {"recording"},
    {"bugs", "stepping"},
    {"viz", "check", "torch_names"},
    {"debugger", "run"},
    {"__init__"},
    {"__main__"},
)
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
INSIDE = {"ops", "graph", "random", "tensor", "functions", "cli"}  # models see what `import minigrad` shows, not these


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): (path.read_text(encoding="utf-8"), path.name == "__init__.py")
    for folder in ("minigrad", "models")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
MODULES = set(SOURCES)


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Full names of the modules a source imports; names out of the project by their full path too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return found


def floor(module: str) -> str:
    """The part of minigrad that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def upward(source: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module of minigrad that do not go down, or stay inside its own part."""
    wrong = []
    for name in sorted(imports(source, module, is_package)):
        if name.split(".")[0] in ("models", "examples", "tests"):
            wrong.append(name)
        elif name.split(".")[0] == "minigrad":
            here, there = floor(module), floor(name)
            if here != there and LEVEL[there] >= LEVEL[here]:
                wrong.append(name)
    return wrong


def hidden(source: str) -> list[int]:
    """Lines of imports inside a function."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return sorted(
        inner.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, functions)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    )


@pytest.mark.parametrize("module", [m for m in SOURCES if m.split(".")[0] == "minigrad"])
def test_imports_go_down(module: str):
    assert floor(module) in LEVEL, f"{module} stands on no floor: give it one in FLOORS"
    assert upward(SOURCES[module][0], module, SOURCES[module][1]) == []


@pytest.mark.parametrize("module", SOURCES)
def test_no_import_hides_in_a_function(module: str):
    assert hidden(SOURCES[module][0]) == []


def test_ops_import_numpy_alone():
    for module, (source, is_package) in SOURCES.items():
        outside = {name.split(".")[0] for name in imports(source, module, is_package)} - set(sys.stdlib_module_names)
        if floor(module) in ("ops", "graph"):
            assert outside <= {"numpy", "minigrad"}, module


@pytest.mark.parametrize("module", [m for m in SOURCES if m.split(".")[0] == "models"])
def test_models_use_the_public_api(module: str):
    for name in imports(SOURCES[module][0], module, SOURCES[module][1]):
        if name.split(".")[0] == "minigrad":
            assert floor(name) not in INSIDE, f"{module} imports {name}"
            assert not any(part.startswith("_") for part in name.split(".")), f"{module} imports {name}"


def test_there_is_no_cycle():
    below = {m: imports(source, m, package) & (MODULES - {m}) for m, (source, package) in SOURCES.items()}
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("minigrad.ops.shape", "from minigrad.graph import unbroadcast"),
        ("minigrad.ops.shape", "from ..graph import unbroadcast"),
        ("minigrad.graph", "import minigrad.tensor"),
        ("minigrad.graph", "from minigrad import ops, tensor"),
        ("minigrad.tensor", "import minigrad as mg"),
        ("minigrad.tensor", "from minigrad.functions import cat"),
        ("minigrad.tensor", "def f():\n    from minigrad.functions import cat"),
        ("minigrad.functions", "from models.gpt import GPT"),
    ],
)
def test_a_planted_upward_import_is_caught(module: str, line: str):
    assert upward(line, module)


def test_a_planted_downward_import_passes_and_a_hidden_one_is_caught():
    assert upward("from minigrad import graph, ops\nfrom minigrad.random import rng", "minigrad.tensor") == []
    assert upward("from .registry import op\nimport numpy", "minigrad.ops.shape") == []
    assert hidden("import os\ndef f():\n    if True:\n        import sys") == [4]
    assert hidden("import os\nif True:\n    import sys") == []


def test_import_minigrad_brings_numpy_alone():
    code = "import sys, numpy.random; before = set(sys.modules); import minigrad; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    brought = {name.split(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    assert brought - {"numpy"} == {"minigrad"}
