"""Writes docs/api/: every public name with its signature and what it does, from the code itself.

python docs/make_api.py            write the pages
python docs/make_api.py --check    exit with 1 if they are out of date
python docs/make_api.py --bare     list the names of which a page can say nothing

A page takes a name's docstring; of a face over one op, the op's formulas; of a single expression, the expression.
"""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import minigrad as mg
from minigrad.core.op import OPS
from minigrad.nn import functional, init
from minigrad.optim import lr_scheduler

FOLDER = Path(__file__).parent / "api"
MODELS = ("attention", "parts", "gpt", "bert", "llama", "t5", "rnn_seq2seq", "mlp", "generate", "beam_search")


def public(module: ModuleType) -> dict[str, Any]:
    """What a module says that it has, or what is written in it; other modules left out."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    names = sorted(getattr(module, "__all__", [name for name in own if not name.startswith("_")]))
    found = {name: getattr(module, name) for name in names}
    return {name: value for name, value in found.items() if callable(value) and ours(value)}


def ours(value: Any) -> bool:
    """Whether it is written here: what is NumPy's, such as finfo, NumPy describes."""
    return str(getattr(value, "__module__", "")).startswith("minigrad")


def methods(cls: type) -> dict[str, Any]:
    """The public methods and properties of a class, those of its bases here among them."""
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("minigrad"):
            found |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    kinds = (staticmethod, classmethod, property)
    return {name: value for name, value in sorted(found.items()) if callable(value) or isinstance(value, kinds)}


def pages() -> dict[str, tuple[str, dict[str, Any]]]:
    """Each page: its title, and what is on it."""
    models = [import_module(f"minigrad.models.{name}") for name in MODELS]
    spaces = {
        "autograd": mg.autograd,
        "autograd.functional": mg.autograd.functional,
        "func": mg.func,
        "linalg": mg.linalg,
        "utils.data": mg.utils.data,
        "testing": mg.testing,
    }
    return {
        "minigrad": ("minigrad", public(mg)),
        "tensor": ("The methods of minigrad.Tensor", methods(mg.Tensor)),
        "module": ("The methods of minigrad.nn.Module", methods(mg.nn.Module)),
        "nn": ("minigrad.nn", public(mg.nn)),
        "functional": ("minigrad.nn.functional", public(functional)),
        "init": ("minigrad.nn.init", public(init)),
        "optim": ("minigrad.optim and minigrad.optim.lr_scheduler", public(mg.optim) | public(lr_scheduler)),
        **{name.replace(".", "_"): (f"minigrad.{name}", public(module)) for name, module in spaces.items()},
        "ops": ("The ops, with their formulas", dict(sorted(OPS.items()))),
        "models": ("minigrad.models", {name: value for module in models for name, value in public(module).items()}),
    }


def plain(value: Any) -> Any:
    """The function that is called in the end: of a property its getter, of a wrapped function what it wraps."""
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    return inspect.unwrap(value) if callable(value) else value


def own_docstring(value: Any) -> str:
    text = vars(value).get("__doc__") if inspect.isclass(value) else plain(value).__doc__
    made = inspect.isclass(value) and (text or "").startswith(f"{value.__name__}(")  # what a dataclass gives itself
    return "" if made else inspect.cleandoc(text or "")


@functools.cache
def body(function: Callable[..., Any]) -> list[ast.stmt]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
    return tree.body if isinstance(tree, ast.FunctionDef) else []


def ops_in(function: Any) -> Iterator[Any]:
    """The ops that a function applies."""
    for node in (node for line in body(function) for node in ast.walk(line)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).split(".")[-1] in ("_apply", "apply"):
            name = ast.unparse(node.args[0]).split(".")[-1]
            if name in OPS:
                yield OPS[name]


def formulas(op: Any) -> str:
    return "\n".join(f"    {line}" for line in inspect.cleandoc(op.__doc__).split("\n\n")[0].splitlines())


def told(value: Any, name: str) -> str:
    """What a page says of it; nothing where nothing is written."""
    text = own_docstring(value)
    function = plain(value)
    if any(function is op for op in OPS.values()):
        head, _, rest = text.partition("\n\n")
        return f"{textwrap.indent(head, '    ')}\n\n{rest}".strip("\n")
    named = getattr(function, "__name__", name)
    applied = list(ops_in(function)) if inspect.isfunction(function) else []
    if not text and named != name and callable(getattr(mg.Tensor, named, None)):
        text = f"`{named}` by another name."
    if len(applied) == 1:
        text = f"{text}\n\n{formulas(applied[0])}".strip("\n")
    if not text and inspect.isfunction(function):
        lines = body(function)
        if len(lines) == 1 and isinstance(lines[0], ast.Return) and lines[0].value is not None:
            text = f"    {ast.unparse(lines[0].value)}"
    return text


def signature(value: Any, name: str) -> str:
    if isinstance(value, property):
        return name
    try:
        found = inspect.signature(value if not isinstance(value, staticmethod | classmethod) else value.__func__)
    except (TypeError, ValueError):
        return f"{name}(...)"
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name not in ("self", "cls")]
    bare = [p.replace(default=_Default(p.default)) if p.default is not p.empty else p for p in bare]
    return f"{name}{found.replace(parameters=bare, return_annotation=found.empty)}"


class _Default:
    """A default as it is written: a function or a dtype by its name, not by where it lies in memory."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return getattr(self.value, "__name__", "...") if " at 0x" in repr(self.value) else repr(self.value)


def written() -> dict[str, str]:
    """The pages by file name."""
    texts = {}
    for page, (title, names) in pages().items():
        parts = [f"# {title}\n"]
        for name, value in names.items():
            parts.append(f"### `{signature(value, name)}`\n")
            parts.append(told(value, name) + "\n" if told(value, name) else "")
        texts[f"{page}.md"] = "\n".join(part for part in parts if part)
    index = "# Every public name\n\nWritten from the code by `docs/make_api.py`.\n\n"
    rows = [f"- [{title}]({page}.md): {len(names)} names" for page, (title, names) in pages().items()]
    return {"README.md": index + "\n".join(rows) + "\n", **texts}


def main() -> int:
    """Write the pages, or say whether they are what would be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    if options.bare:
        for page, (_, names) in pages().items():
            docs = sum(bool(own_docstring(value)) for value in names.values())
            bare = [name for name, value in names.items() if not told(value, name)]
            print(f"{page}: {len(names)} names, {docs} with a docstring, {len(bare)} bare: {' '.join(bare)}")
        return 0
    texts = written()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if options.check:
        return int(there != texts)
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - texts.keys():
        (FOLDER / name).unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
