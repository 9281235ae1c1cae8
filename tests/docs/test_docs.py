"""Every Python block of README and docs runs, and every file they name is there."""

from __future__ import annotations

import pkgutil
import re

import pytest
from paths import ROOT

from minigrad.core import op as registry

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_run(block, monkeypatch):
    monkeypatch.setattr(registry, "OPS", dict(registry.OPS))  # an op that a block defines stays in the block
    exec(compile(block, "block", "exec"), {})


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
