"""Every Python block of README and docs runs, and every file they name is there."""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import subprocess
import sys

import pytest
from paths import ROOT

from minigrad.core import op as registry

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "README.md", CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    if page != CONTRIBUTING  # its blocks are a recipe
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_run(block, monkeypatch):
    monkeypatch.setattr(registry, "OPS", dict(registry.OPS))  # an op that a block defines stays in the block
    exec(compile(block, "block", "exec"), {})


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project in which somebody has followed CONTRIBUTING, and the program that ends the recipe."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("minigrad", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    recipe = re.findall(r"```python\n# ([^\n]*)\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)
    for place, block in recipe[:-1]:
        file, _, head = place.partition(": ")
        text = (copy / file).read_text(encoding="utf-8")
        if head:  # a method, at the end of the class
            body = re.search(rf"\n{head}\(.*?(?=\n\n\n)", text, re.DOTALL).group()
            text = text.replace(body, f"{body}\n\n{block.rstrip()}")
        elif file.endswith("__init__.py"):
            text += block + f'__all__ += ["{block.split()[-1]}"]\n'
        else:
            text += f"\n\n{block}"
        (copy / file).write_text(text, encoding="utf-8")
    return copy, recipe[-1][1]


def run(copy, *arguments):
    """What Python prints, in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_recipe_for_an_op_works_and_its_tests_pass(extended):
    copy, program = extended
    run(copy, "-m", "minigrad.torch.stubs")
    assert "def squareplus(input: Tensor) -> Tensor: ..." in (copy / "minigrad/torch/functions.pyi").read_text("utf-8")
    assert "def squareplus_(self) -> Tensor: ..." in (copy / "minigrad/torch/methods/named.pyi").read_text("utf-8")
    assert run(copy, "-c", program).strip() == re.search(r"print\(.*\)  # (.*)", program).group(1)
    tests = ["tests/ops/test_ops.py", "tests/ops/test_mutants.py", "tests/torch/test_stubs.py"]
    said = run(copy, "-m", "pytest", *tests, "-k", "squareplus or every_op or up_to_date", "-p", "no:cacheprovider")
    assert int(re.search(r"(\d+) passed", said).group(1)) > 20, said


def test_the_printed_result_in_the_readme_is_true(capsys):
    block = re.search(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.DOTALL).group(1)
    exec(compile(block, "block", "exec"), {})
    promised = re.search(r"print\(x\.grad\)  # (.*)", block).group(1)
    assert capsys.readouterr().out.strip().splitlines()[-1] == promised


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:minigrad|models|examples|tests|docs)/[\w./]*)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name
    for script in re.findall(r"python (examples/\w+\.py)", page.read_text(encoding="utf-8")):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_names_that_are_named_exist(page):
    for name in re.findall(r"`(minigrad(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
        assert pkgutil.resolve_name(name) is not None, name


def test_the_two_commands_of_the_readme_are_the_tested_ones():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = "pip install -e '.[test]' && pytest"
    assert command in text and command in run
