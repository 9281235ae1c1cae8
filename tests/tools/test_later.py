"""Names that are loaded when they are first used: quick to import, and no different from others to who uses them."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import pytest
from paths import ROOT

import minigrad as mg

NAMES = mg._LATER
LOOKED_UP = """
import sys
from importlib import import_module
import minigrad
from minigrad import _LATER
print(*sorted(set(_LATER.values()) & set(sys.modules)), sep=",")
print(*sorted({*_LATER} - {*dir(minigrad)}), sep=",")
for module in _LATER.values() if sys.argv[1] == "modules first" else ():
    import_module(module)
for name, module in _LATER.items():
    exec(f"from minigrad import {name} as found")
    there = import_module(module)
    assert found is getattr(minigrad, name) is (there if module == f"minigrad.{name}" else getattr(there, name)), name
assert {"DataLoader"} <= {*dir(minigrad.utils.data)} and minigrad.autograd.gradcheck and minigrad.nn.functional.gelu
"""


@pytest.mark.parametrize("order", ["names first", "modules first"])
def test_names_are_what_their_modules_hold_and_come_late(order):
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_UP, order], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded, not_listed = done.stdout.splitlines()
    assert loaded == "" and not_listed == ""


def test_type_checkers_are_told_of_the_same_names():
    tree = ast.parse((ROOT / "minigrad" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    told = {alias.name: line.module for line in block.body for alias in line.names}
    assert {name: f"minigrad.{name}" if module == "minigrad" else module for name, module in told.items()} == NAMES
    assert {*NAMES} <= {*mg.__all__}


WALKED = """
import pkgutil
from importlib import import_module
import minigrad
for found in pkgutil.walk_packages(minigrad.__path__, "minigrad."):
    if not found.name.endswith("__main__"):
        package, _, name = found.name.rpartition(".")
        try:
            module = import_module(found.name)
        except ImportError:  # numba or MPI is not here
            continue
        if getattr(import_module(package), name) is not module:
            print(found.name)
"""


def test_no_file_and_no_function_share_a_dotted_name():
    """``import minigrad.graph as g`` gives a module of that name, or an error, but never a function."""
    done = subprocess.run([sys.executable, "-c", WALKED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for name in ("graph", "attention", "step", "trace"):
        with pytest.raises(ModuleNotFoundError):
            import_module(f"minigrad.{name}")


def test_a_name_that_is_nowhere():
    with pytest.raises(AttributeError, match=r"minigrad\.sav is not covered.*use minigrad\.save"):
        mg.sav  # noqa: B018
    with pytest.raises(AttributeError, match="module 'minigrad' has no attribute '__wrapped__'"):
        mg.__wrapped__  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from minigrad import nothing  # noqa: F401
