"""Which room may import which: the table of docs/architecture.md, and no cycle between files."""

import ast
import graphlib
from pathlib import Path

import pytest
from paths import ROOT

import minigrad

ROOMS = {
    "core": set(),
    "ops": {"core"},
    "nn": {"core", "ops"},
    "optim": {"core", "ops"},
    "higher": {"core", "ops"},
    "torch": {"core", "ops", "higher", "nn", "optim", "utils"},
    "utils": {"core", "ops", "nn", "optim", "torch"},
    "speed": {"core", "ops", "nn", "optim"},
    "train": {"core", "ops", "nn", "optim", "models", "speed"},
    "look": {"core", "ops", "higher", "nn", "optim", "models"},
    "learn": {"core", "ops", "nn", "optim", "models", "look"},
    "site": {"look", "models"},
    "tools": set(),
    "models": set(),  # the door; the models themselves are checked below
}
LEAVES = {  # for every room
    *(f"minigrad.torch.{name}" for name in ("arguments", "dtypes", "errors", "grad_mode", "halves", "hooks")),
    "minigrad.optim.rows",
}
FACADES = {
    "__init__.py", "__main__.py", "autograd/__init__.py", "autograd/functional.py", "func/__init__.py",
    "nn/__init__.py", "nn/functional.py", "nn/parallel.py",
}  # fmt: skip
# Exceptions, file by file: what it may import besides.
MORE = {
    **{f"core/{name}.py": {"torch"} for name in ("graph", "tensor", "module", "layers")},  # their longer names
}
PUBLIC = {"minigrad", "minigrad.nn", "minigrad.nn.functional", "minigrad.optim"}
PACKAGE = ROOT / "minigrad"
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(text: str, module: str) -> list[tuple[str, bool]]:
    """What a file imports of minigrad, by full module name, and whether it is at run time."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, runs: bool) -> None:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            runs = False
        if isinstance(node, ast.Import):
            found.extend((alias.name, runs) for alias in node.names if alias.name.split(".")[0] == "minigrad")
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: write the whole name"
            if (node.module or "").split(".")[0] == "minigrad":
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    found.append((full if is_module(full) else str(node.module), runs))
        for child in ast.iter_child_nodes(node):
            visit(child, runs)

    visit(ast.parse(text), True)
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def wrong(text: str, path: str) -> list[str]:
    """The imports of a file that the table forbids; the path is from minigrad/ on."""
    if path in FACADES:
        return []
    room = path.partition("/")[0]
    allowed = ROOMS[room] | MORE.get(path, set()) | {room, "tools"}
    fine = set(LEAVES)
    if room in ("look", "learn", "site"):
        fine.add("minigrad.train.files")
    if room in ("learn", "site"):
        fine |= PUBLIC
    if path.startswith("learn/chapters/"):  # programs, as the examples are
        allowed = allowed | {"train", "torch", "autograd"}
    if path.startswith("look/commands/"):  # a command is a door too
        fine.add("minigrad")
        allowed = allowed | {"autograd", "torch", "train"}
    names = {name for name, _ in imports(text, path)} - fine
    return sorted(name for name in names if name == "minigrad" or name.split(".")[1] not in allowed)


def test_leaves_know_no_more_than_core():
    for leaf in LEAVES:
        text = ROOT.joinpath(*leaf.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        assert {name for name, _ in imports(text, leaf) if not name.startswith("minigrad.core.")} <= LEAVES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_room_imports_what_it_may(file):
    assert wrong(file.read_text(encoding="utf-8"), file.relative_to(PACKAGE).as_posix()) == []


@pytest.mark.parametrize("file", sorted((ROOT / "models").glob("*.py")), ids=lambda file: file.name)
def test_models_use_the_public_names(file):
    for name, _ in imports(file.read_text(encoding="utf-8"), file.name):
        assert name in PUBLIC or name.startswith("minigrad.models"), name


def test_no_cycle_between_files():
    graph = {}
    for file in FILES:
        path = file.relative_to(ROOT).with_suffix("")
        module = ".".join(path.parts).removesuffix(".__init__")
        if file.relative_to(PACKAGE).as_posix() not in FACADES:
            names = {name for name, runs in imports(file.read_text(encoding="utf-8"), module) if runs}
            graph[module] = names - {module, "minigrad"}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the cycle


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/op.py", "from minigrad.ops import exp"),
        ("core/op.py", "from minigrad.torch.methods import Methods"),
        ("look/stepping.py", "from minigrad.train.trainer import Trainer"),
        ("ops/shape.py", "def f():\n    from minigrad.core.tensor import Tensor\n    from minigrad.nn import Linear"),
        ("nn/layers.py", "from minigrad.torch.creation import zeros"),
        ("look/recording.py", "import minigrad as mg"),
        ("speed/workers.py", "from minigrad import look"),
        ("learn/judge.py", "from minigrad.train.trainer import Trainer"),
        ("look/stepping.py", "from minigrad.learn.judge import judge"),
        ("tools/cli.py", "from minigrad.core import op"),
    ],
)
def test_the_table_forbids(path, text):
    assert wrong(text, path)


def test_nothing_lies_loose_at_the_top():
    assert {file.name for file in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert (PACKAGE / "py.typed").exists()


def test_a_public_function_and_a_module_never_share_a_name():
    for name in minigrad.__all__:
        value = getattr(minigrad, name)
        if callable(value) and not isinstance(value, type(minigrad)):
            assert not is_module(f"minigrad.{name}"), name


def test_the_page_shows_this_table():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ROOMS:
        assert f"`{room}`" in page, room


def test_the_door_leads_to_the_models():
    from minigrad.models import gpt

    assert Path(gpt.__file__).parent in (ROOT / "models", PACKAGE / "models")
