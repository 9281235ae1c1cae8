"""The stub files are those of the methods as they are now, and say what is there."""

from __future__ import annotations

import ast

import minigrad as mg
from minigrad.torch import stubs


def test_stub_files_are_up_to_date(capsys):
    assert stubs.main(["--check"]) == 0, f"run python -m minigrad.torch.stubs: {capsys.readouterr().out}"


def test_a_stale_file_is_noticed_and_written(tmp_path, monkeypatch, capsys):
    path = tmp_path / "functions.pyi"
    monkeypatch.setattr(stubs, "files", lambda: {path: "def exp(): ...\n"})
    assert stubs.main(["--check"]) == 1 and not path.exists()
    assert stubs.main([]) == 0 and path.read_text() == "def exp(): ...\n"
    assert stubs.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines() == ["functions.pyi is not up to date", "functions.pyi written"]


def test_stubs_name_what_is_there():
    functions, named = (ast.parse(text) for text in stubs.files().values())
    found = {node.name for node in functions.body if isinstance(node, ast.FunctionDef)}
    assert found == set(mg.functions.__all__) and {"exp", "subtract", "softmax", "detach"} <= found
    (named_class,) = (node for node in named.body if isinstance(node, ast.ClassDef))
    methods = {node.name for node in named_class.body if isinstance(node, ast.FunctionDef)}
    assert {"exp_", "add_", "subtract"} <= methods and all(callable(getattr(mg.Tensor, name)) for name in methods)
    written = {name for base in mg.Tensor.__mro__[1:] for name in vars(base)}
    assert not methods & written, "a name that a class writes out needs no stub"
