"""Lines to tell apart, from the source files that every Python carries: English prose, code, and tables of names."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.tools.random import Generator, rng
from minigrad.train.data.batches import Ids
from minigrad.train.data.errors import DataError
from minigrad.train.data.tokenizer import CharTokenizer

KINDS = ("prose", "code", "names")
MODULES = tuple(  # of the standard library; which lines are for training and which for testing goes by module
    "_collections_abc _pydecimal _pyio argparse ast base64 bdb calendar cmd codecs configparser contextlib copy csv "
    "dataclasses datetime difflib dis doctest enum fileinput fractions ftplib functools gettext heapq imaplib inspect "
    "ipaddress locale mailbox modulefinder numbers optparse os pdb pickle pickletools platform poplib pprint profile "
    "pydoc random sched selectors shelve shlex shutil smtplib socket socketserver statistics string subprocess tarfile "
    "tempfile textwrap threading tokenize trace traceback turtle typing uuid warnings weakref webbrowser".split()
)
SHORTEST = 24  # characters in a line: in fewer there is little to see


def labelled_lines(
    width: int = 63, seed: int = 0, modules: Sequence[str] = MODULES
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Lines of each kind to train on, and to test on from every fourth module; no line is in both, or twice in one.

    Prose is lines of docstrings, code is lines of source, names are the identifiers of a file in order, several to a
    line. All are ASCII, without indentation, ``SHORTEST`` to ``width`` characters (longer ones are cut), and each kind
    has equally many. Raises DataError for a Python whose library has no source files, and for a width too small.
    """
    if width < SHORTEST:
        raise DataError(f"lines need a width of at least {SHORTEST} characters, got {width}")
    random = rng(Generator().manual_seed(seed))
    train: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}  # dicts keep the order, and each line once
    test: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
    for i, (source, nodes) in enumerate(_files(modules)):
        part = test if i % 4 == 3 else train
        for kind, lines in zip(KINDS, (_prose(nodes), _code(source, nodes), _names(nodes, width, random)), strict=True):
            good = (line[:width].rstrip() for line in lines if line.isascii() and line.isprintable())
            part[kind].update({line: None for line in good if len(line) >= SHORTEST})
    for kind in KINDS:
        test[kind] = {line: None for line in test[kind] if line not in train[kind]}
    return _balanced(train, random), _balanced(test, random)


def _balanced(part: dict[str, dict[str, None]], random: np.random.Generator) -> dict[str, list[str]]:
    count = min(len(lines) for lines in part.values())
    return {kind: [str(line) for line in random.permutation(list(lines))[:count]] for kind, lines in part.items()}


def _files(modules: Sequence[str]) -> Iterator[tuple[str, list[ast.AST]]]:
    """Each module's source and all nodes of its syntax tree."""
    folder = Path(os.__file__).parent
    paths = [path for name in modules for path in (folder / f"{name}.py", folder / name / "__init__.py")]
    paths = [path for path in paths if path.exists()]
    if len(paths) < len(modules) / 2:
        raise DataError(f"{folder} has no source files of the standard library: use a Python that was installed whole")
    for path in paths:
        source = path.read_text(encoding="utf-8")
        yield source, list(ast.walk(ast.parse(source)))


def _prose(nodes: list[ast.AST]) -> Iterator[str]:
    """Lines of docstrings that read like sentences: five words or more, hardly anything but letters and spaces."""
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for line in (ast.get_docstring(node) or "").splitlines():
                line = line.strip()
                if len(re.findall(r"[a-z]{2,}", line)) >= 5 and len(re.findall(r"[A-Za-z ]", line)) >= 0.93 * len(line):
                    yield line


def _code(source: str, nodes: list[ast.AST]) -> Iterator[str]:
    """Lines that are not blank, not a comment, and not inside a string of several lines."""
    strings: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.end_lineno != node.lineno:
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for number, line in enumerate(source.splitlines(), 1):
        line = line.strip()
        if number not in strings and not line.startswith(("#", '"', "'")):
            yield line


def _names(nodes: list[ast.AST], width: int, random: np.random.Generator) -> Iterator[str]:
    """All identifiers of a file in order, as many to a line as it holds, with a separator drawn for each line."""
    found: set[str] = set()
    for node in nodes:
        found.update(
            getattr(node, key) for key in ("id", "attr", "name", "arg") if isinstance(getattr(node, key, 0), str)
        )
    line, separator, room = "", " ", width
    for name in sorted(name for name in found if len(name) > 2):
        if len(line) + len(separator) + len(name) > room:
            yield line
            line = ""
        if not line:
            separator = str(random.choice([" ", "  ", ", ", " | "]))
            room = int(random.integers(min(40, width), width + 1))
        line += (separator if line else "") + name


def shuffled(line: str, generator: Generator | None = None) -> str:
    """The same characters in another order."""
    return "".join(rng(generator).permutation(list(line)))


def encode_lines(lines: list[str], tokenizer: CharTokenizer, block_size: int) -> Ids:
    """[CLS], the line, and [PAD] up to the block's end: (N, block_size). Raises DataError for a line that is longer."""
    ids = np.full((len(lines), block_size), tokenizer.special["[PAD]"], dtype=np.int64)
    ids[:, 0] = tokenizer.special["[CLS]"]
    for row, line in zip(ids, lines, strict=True):
        if len(line) >= block_size:
            raise DataError(f"{line!r} has {len(line)} characters, with [CLS] a block of {block_size} holds fewer")
        row[1 : len(line) + 1] = tokenizer.encode(line)
    return ids


class RandomExamples:
    """Endless batches of rows drawn from x (N, ...) and y (N, ...), each row once before any comes again."""

    def __init__(self, x: Ids, y: Ids, batch_size: int, generator: Generator | None = None) -> None:
        if not 1 <= batch_size <= len(x):
            raise DataError(f"a batch of {batch_size} cannot be drawn from {len(x)} examples")
        self.x, self.y, self.batch_size = x, y, batch_size
        self.generator = generator if generator is not None else Generator()
        self.order = np.zeros(0, dtype=np.int64)

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        return self

    def __next__(self) -> tuple[Ids, Ids]:
        if len(self.order) < self.batch_size:
            self.order = rng(self.generator).permutation(len(self.x))
        rows, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        return self.x[rows], self.y[rows]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state(), "order": self.order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
        self.order = np.array(state["order"])
