"""Where things of a user's program stand: the line that made an object, the data within reach, names of weights."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np

from minigrad.core.module import Module
from minigrad.core.tensor import Tensor
from minigrad.look.texts import Line
from minigrad.tools.lines import is_users

LARGEST = 1 << 24  # elements of an array that is searched for the rows of a batch


def user_frames() -> list[FrameType]:
    """The frames that are running now and are the user's, innermost first."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            found.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return found


def variables(frames: list[FrameType]) -> Iterator[tuple[str, Any, FrameType]]:
    """What the user's frames can see by a name of its own: locals first, then the globals of the innermost."""
    for frame in frames:
        for name, value in list(frame.f_locals.items()):
            yield name, value, frame
    for frame in frames[:1]:
        for name, value in list(frame.f_globals.items()):
            yield name, value, frame


def name_of(thing: Any, frames: list[FrameType]) -> str:
    """The user's variable, or attribute of one, that holds a thing; "" where there is none."""
    found = next((name for name, value, _ in variables(frames) if value is thing), "")
    if found:
        return found
    for name, value, _ in variables(frames):
        if type(value).__module__ != "builtins" and not isinstance(value, ModuleType | type):
            for attribute, part in list(getattr(value, "__dict__", {}).items()):
                if part is thing:
                    return f"{name}.{attribute}"
    return ""


def assigned(thing: Any, frames: list[FrameType]) -> Line | None:
    """The line where a variable of the user's was given a thing, in the innermost function that has one."""
    for frame in frames:
        for name, value in list(frame.f_locals.items()):
            if value is thing and (line := assignment(frame.f_code, name)):
                return line
    for frame in frames[:1]:
        whole = frames[-1].f_code
        for name, value in list(frame.f_globals.items()):
            if value is thing and whole.co_name == "<module>" and (line := assignment(whole, name)):
                return line
    return None


def assignment(code: CodeType, name: str, attribute: bool = False) -> Line | None:
    """The first line within a function, or outside all functions of a script, that assigns to a name of this kind."""
    file, lines = code.co_filename, []
    try:
        tree: ast.AST = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
    if code.co_name != "<module>":
        last = max((line for *_, line in code.co_lines() if line is not None), default=0)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        tree = next((f for f in functions if f.name == code.co_name and f.body[0].lineno <= last <= _end(f)), tree)
    kind = ast.Attribute if attribute else ast.Name
    for node in _statements(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign):
            parts = [part for target in targets if target is not None for part in ast.walk(target)]
            if any(
                isinstance(part, kind) and name in (getattr(part, "id", 0), getattr(part, "attr", 0)) for part in parts
            ):
                lines.append(node.lineno)
    return Line(file, min(lines)) if lines else None


def _end(node: ast.AST) -> int:
    return getattr(node, "end_lineno", None) or 1 << 30


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements of a function or script, without those of functions and classes in it."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            yield from _statements(node)


def attribute_line(module: Module, attribute: str) -> Line | None:
    """The line of a module's own ``__init__`` that gives it an attribute; None where that is not the user's."""
    code = getattr(type(module).__init__, "__code__", None)
    return assignment(code, attribute, attribute=True) if code is not None and is_users(code.co_filename) else None


def calling_modules() -> list[Module]:
    """The modules whose call is running now, innermost first."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        if frame.f_code is Module.__call__.__code__:
            found.append(frame.f_locals["self"])
        frame = frame.f_back  # type: ignore[assignment]
    return found


def plain_holder(part: Module | Tensor, whole: Module) -> tuple[str, Module] | None:
    """The plain list, tuple or dict of a module, or of one below it, that holds a part: its name, and whose it is."""
    for path, module in whole.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                if item is part or (isinstance(item, Module) and any(m is part for m in item.modules())):
                    name = f"{path}.{attribute}" if path else attribute
                    return f"{name}[{key!r}]", module
    return None


def arrays_in_reach(frames: list[FrameType]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The arrays of data that the user's code can see: variables, and what objects of its hold directly."""
    seen: set[int] = set()
    for name, value, _ in variables(frames):
        for label, part in _parts(name, value):
            array = part.detach().numpy() if isinstance(part, Tensor) and not part.requires_grad else part
            if not isinstance(array, np.ndarray) or array.ndim == 0 or not 2 <= array.size <= LARGEST:
                continue
            if id(part) not in seen and array.dtype.kind in "fiub":
                seen.add(id(part))
                yield label, array


def _parts(name: str, value: Any, depth: int = 2) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor | np.ndarray):
        yield name, value
    elif isinstance(value, list | tuple) and 0 < len(value) <= 8:
        for i, part in enumerate(value):
            if isinstance(part, Tensor | np.ndarray):
                yield f"{name}[{i}]", part
    elif depth and not isinstance(value, Module | ModuleType | type) and not name.startswith("__"):
        for attribute, part in list(getattr(value, "__dict__", {}).items()):
            yield from _parts(f"{name}.{attribute}", part, depth - 1)
