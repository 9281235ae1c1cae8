"""What the tests would not notice: one small mistake at a time in a file, in memory, and the tests of its room.

    python tests/mutate.py                      all files of the table below
    python tests/mutate.py minigrad/core/graph.py --most 40 --seed 1

Mistakes: a comparison turned, + for -, a condition negated, a statement or a ``not`` left out, a number off by one, two
arguments swapped, a ``.copy()`` left out, ``or`` for ``and``. Each runs in a process of its own, with a limit of time;
no file is changed. What survives is printed, with the line before and after; those that change nothing which could be
tested are listed, with the reason, in ``tests/mutate_equivalent.txt``. Needs ``os.fork``; not part of the test run.
"""

from __future__ import annotations

import argparse
import ast
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = Path(__file__).with_name("mutate_equivalent.txt")

TESTS = {  # the quick ones that ought to notice
    "minigrad/core/graph.py": "tests/test_walk.py tests/core tests/torch/test_autograd.py",
    "minigrad/core/written.py": "tests/core tests/test_walk.py",
    "minigrad/core/tensor.py": "tests/core/test_tensor.py tests/core/test_engine.py tests/torch/test_views.py "
    "tests/torch/test_autograd.py tests/torch/test_right_numbers.py tests/nn/test_nn.py",
    "minigrad/core/module.py": "tests/core/test_module.py tests/nn/test_nn.py tests/nn/test_transformer.py "
    "tests/look/test_trace.py",
    "minigrad/look/pages/heads.py": "tests/look/test_heads.py tests/look/test_by_hand.py tests/look/test_what_if.py",
    "minigrad/train/trainer.py": "tests/train/test_trainer.py tests/train/test_flow.py tests/look/test_run_page.py "
    "tests/speed/test_data_parallel.py::test_a_trainer_weighs_shares_by_their_targets",
}

SLOW = "100_000 or memory_is_flat or hash_seed or import_needs"  # and processes that no mutant is in

TURNED: dict[type, type] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NEAR: dict[type, type] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


@dataclass
class Mutant:
    file: str
    line: int
    before: str
    after: str
    code: CodeType


def mutants(file: str) -> Iterator[Mutant]:
    """Every small mistake in a file, one at a time."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for statement in statements(tree):
        before = header(statement)
        for change, undo in changes(statement):
            change()
            ast.fix_missing_locations(tree)
            code = compile(tree, str(ROOT / file), "exec", dont_inherit=True)
            yield Mutant(file, statement.lineno, before, header(statement), code)
            undo()


def header(statement: ast.stmt) -> str:
    """The statement on one line, without what is in it."""
    return ast.unparse(statement).lstrip("\n").splitlines()[0] if ast.unparse(statement) else "pass"


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """All that does something when the program runs: no docstrings, imports, types or texts of errors."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.stmt) and not isinstance(
            child, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
        ):
            said = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if not said and "__slots__" not in ast.unparse(child):
                yield child
        yield from statements(child)


Change = tuple[Callable[[], None], Callable[[], None]]


def set_(owner: Any, name: str, value: Any) -> Change:
    before = getattr(owner, name)
    return lambda: setattr(owner, name, value), lambda: setattr(owner, name, before)


def changes(statement: ast.stmt) -> Iterator[Change]:
    """Each way to get one statement wrong."""
    attribute = isinstance(statement, ast.Assign) and not isinstance(statement.targets[0], ast.Name | ast.Tuple)
    if attribute or isinstance(statement, ast.Expr | ast.AugAssign | ast.Raise | ast.Continue | ast.Break):
        kept = dict(statement.__dict__), statement.__class__

        def leave_out() -> None:
            statement.__class__ = ast.Pass  # type: ignore[assignment]

        def put_back() -> None:
            statement.__class__ = kept[1]  # type: ignore[assignment]

        yield leave_out, put_back
    if isinstance(statement, ast.Raise):
        return
    for node, owner, name, place in expressions(statement):
        yield from wrong(node, lambda new, o=owner, n=name, p=place: put(o, n, p, new))


def expressions(owner: ast.AST) -> Iterator[tuple[ast.AST, ast.AST, str, int | None]]:
    """The expressions of a statement, and where each hangs; not those of statements within it, nor types."""
    for name, value in ast.iter_fields(owner):
        if name in ("annotation", "returns", "decorator_list", "body", "orelse", "finalbody", "handlers") and (
            isinstance(owner, ast.stmt) or name == "annotation"
        ):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.stmt | ast.JoinedStr):
                yield child, owner, name, place
                yield from expressions(child)


def put(owner: ast.AST, name: str, place: int | None, new: ast.AST) -> Change:
    if place is None:
        return set_(owner, name, new)
    before = getattr(owner, name)
    return set_(owner, name, [*before[:place], new, *before[place + 1 :]])


def wrong(node: ast.AST, replace: Callable[[ast.AST], Change]) -> Iterator[Change]:
    """Each way to get one expression wrong."""
    if isinstance(node, ast.Compare):
        for table in (TURNED, NEAR):
            for i, op in enumerate(node.ops):
                if type(op) in table:
                    yield put(node, "ops", i, table[type(op)]())
    elif isinstance(node, ast.operator | ast.boolop) and type(node) in TURNED:
        yield replace(TURNED[type(node)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield replace(node.operand)
    elif isinstance(node, ast.IfExp):
        yield set_(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield set_(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield set_(node, "value", node.value + 1)
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "copy" and not node.args:
            yield replace(node.func.value)
        symmetric = ast.unparse(node.func).rpartition(".")[2] in ("max", "min", "swapaxes")
        if len(node.args) > 1 and not symmetric and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
            yield set_(node, "args", [node.args[1], node.args[0], *node.args[2:]])
    elif isinstance(node, ast.comprehension):
        for i, test in enumerate(node.ifs):
            yield put(node, "ifs", i, ast.UnaryOp(ast.Not(), test))


class Planted(importlib.machinery.SourceFileLoader):
    """Loads the mutant in place of the file; also the finder that says so."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None


class WithoutBrowser:
    """Leaves out the tests that open pages: they are slow, and none is the only one of what is on a page."""

    @staticmethod
    def pytest_collection_modifyitems(items: list[Any]) -> None:
        items[:] = [item for item in items if "browser" not in getattr(item, "fixturenames", ())]


def module_name(file: str) -> str:
    name = file.removesuffix(".py").replace("/", ".")
    return f"minigrad.{name}" if name.startswith("models.") else name


def start(file: str, code: CodeType | None, limit: float) -> int:
    """The tests of a file, in a fork: its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        signal.alarm(max(1, round(limit)))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        if code is not None:
            sys.meta_path.insert(0, Planted(module_name(file), str(ROOT / file), code))
        words = [
            "-x",
            "-p",
            "no:cacheprovider",
            "-n",
            "0",  # in this process, where the mistake is planted
            "-k",
            f"not ({SLOW})",
            "-o",
            "faulthandler_timeout=0",
        ]
        result = pytest.main([*words, *TESTS[file].split()], plugins=[WithoutBrowser()])
        os._exit(0 if result == 0 else 1)
    except BaseException:
        os._exit(1)


def survivors(file: str, chosen: list[Mutant], limit: float, jobs: int) -> tuple[list[Mutant], int]:
    """Those that the tests pass, and how many ran out of time."""
    waiting, running, found, late = list(reversed(chosen)), {}, [], 0
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[start(file, mutant.code, limit)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if status == 0:
            found.append(mutant)
            print(f"{file}:{mutant.line}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
        late += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    return found, late


def equivalents() -> set[tuple[str, str, str]]:
    """File, line before and line after of each mistake that changes nothing which could be tested."""
    blocks = EQUIVALENT.read_text(encoding="utf-8").split("\n\n") if EQUIVALENT.exists() else []
    found = set()
    for block in blocks:
        lines = [line for line in block.strip().splitlines() if not line.startswith("#")]
        if len(lines) >= 4:  # the fourth is the reason
            found.add((lines[0].strip(), lines[1].strip()[2:], lines[2].strip()[2:]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", choices=[*TESTS, []], metavar="FILE", help="default: all of the table")
    parser.add_argument("--most", type=int, help="a sample of at most so many of each file")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    known, rows, missed = equivalents(), [], 0
    for file in args.files or TESTS:
        started = time.monotonic()
        _, status = os.waitpid(start(file, None, 600), 0)
        alone = time.monotonic() - started
        if status != 0:
            print(f"{file}: its tests fail without any mistake: pytest {TESTS[file]}")
            return 2
        everything = list(mutants(file))
        chosen = [m for m in everything if (m.file, m.before, m.after) not in known]
        skipped = len(everything) - len(chosen)
        if args.most is not None and len(chosen) > args.most:
            chosen = random.Random(args.seed).sample(chosen, args.most)
        found, late = survivors(file, chosen, 10 + 6 * alone, args.jobs)
        missed += len(found)
        rows.append((file, len(everything), skipped, len(chosen), late, len(found), time.monotonic() - started))
    print(f"\n{'file':30} {'all':>5} {'equal':>6} {'tried':>6} {'too long':>9} {'survive':>8} {'seconds':>8}")
    for file, *numbers, seconds in rows:
        print("{:30} {:5} {:6} {:6} {:9} {:8}".format(file, *numbers), f"{seconds:8.0f}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
