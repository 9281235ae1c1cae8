"""What a type checker reads in place of names made at import: ``python -m minigrad.torch.stubs`` writes the stub files.

``functions.pyi`` and ``methods/named.pyi`` hold the signatures of the methods that ``public`` marks, as their source
has them. With ``--check`` nothing is written, and the exit status is 1 where a file is not up to date.
"""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minigrad.core.tensor import Tensor
from minigrad.torch.methods import functions

NOTE = '"""{}, for type checkers: written by ``python -m minigrad.torch.stubs``."""\n'
WIDTH = 120


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))


def definitions(method: Any) -> list[ast.FunctionDef]:
    """A method as the source of its class has it, or its overloads where it has some."""
    owner, name = method.__qualname__.split(".")
    (found,) = (node for node in tree(method.__module__).body if isinstance(node, ast.ClassDef) and node.name == owner)
    every = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return every[:-1] or every


def signature(definition: ast.FunctionDef, name: str, first: str) -> str:
    """A method's signature under another name and with another first parameter, wrapped as the formatter does."""
    parameters = [first, *parameters_after_first(definition.args)]
    head, end = f"def {name}(", f") -> {ast.unparse(definition.returns or ast.Constant(None))}: ..."
    indent = "" if first.startswith("input") else "    "
    for inside in (", ".join(parameters), f"\n{indent}    {', '.join(parameters)}\n{indent}"):
        if all(len(line) <= WIDTH for line in f"{indent}{head}{inside}{end}".split("\n")):
            break
    else:
        inside = "".join(f"\n{indent}    {parameter}," for parameter in parameters) + f"\n{indent}"
    return f"{indent}{head}{inside}{end}\n"


def parameters_after_first(arguments: ast.arguments) -> Iterator[str]:
    missing = len(arguments.args) - len(arguments.defaults)
    yield from map(written, arguments.args[1:], [*[None] * missing, *arguments.defaults][1:])
    if arguments.vararg:
        yield "*" + written(arguments.vararg)
    elif arguments.kwonlyargs:
        yield "*"
    yield from map(written, arguments.kwonlyargs, arguments.kw_defaults)


def written(parameter: ast.arg, default: ast.expr | None = None) -> str:
    text = parameter.arg if parameter.annotation is None else f"{parameter.arg}: {ast.unparse(parameter.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}".replace("'", '"')


def stubs(names: Iterable[tuple[str, str]], first: str) -> str:
    """A stub for each pair of a name and the method that it is a name of."""
    text = ""
    for name, method in sorted(names):
        every = definitions(getattr(Tensor, method))
        mark = "    @overload\n" if first == "self" else "@overload\n"
        text += "".join(mark * (len(every) > 1) + signature(definition, name, first) for definition in every)
    return text


def imports(text: str, methods: Iterable[str]) -> str:
    """The import lines for what the signatures name, as the files have them that the methods are in."""
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    wanted: dict[str, set[str]] = {}
    for module in {getattr(Tensor, method).__module__ for method in methods}:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef) and node.name in used and node.name != "Tensor":
                wanted.setdefault(module, set()).add(node.name)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.name in used:
                        wanted.setdefault(str(node.module), set()).add(alias.name)
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(wanted.items())]
    groups = ([line for line in lines if ("minigrad" in line) is ours] for ours in (False, True))
    return "\n\n".join("\n".join(group) for group in groups)


def files() -> dict[Path, str]:
    """The text of each stub file, by its path."""
    here = Path(__file__).parent
    of_module = functions(Tensor)
    text = stubs(of_module.items(), "input: Tensor")
    public = textwrap.fill(", ".join(f'"{name}"' for name in sorted(of_module)), WIDTH - 5)
    public = f"# ruff: noqa: RUF022\n__all__ = [\n{textwrap.indent(public, '    ')},\n]  # fmt: skip"
    note = NOTE.format("The tensor's methods as functions")
    functions_file = f"{note}\n{imports(text, of_module.values())}\n\n{public}\n\n{text}"

    further = [(other, name) for name, names in Tensor._names.items() for other in names.also.split()]
    further += [(f"{name}_", name) for name, names in Tensor._names.items() if names.in_place]
    text = f"class Named:\n{stubs(further, 'self')}"
    note = NOTE.format("The further names of methods")
    named_file = f"{note}\n{imports(text, dict(further).values())}\n\n{text}"
    return {here / "functions.pyi": functions_file, here / "methods" / "named.pyi": named_file}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigrad.torch.stubs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is not up to date")
    check = parser.parse_args(arguments).check
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        print(f"{path.name} {'is not up to date' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
