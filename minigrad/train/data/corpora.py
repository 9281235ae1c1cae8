"""Texts to train on: one that every Python carries, two that are downloaded once, and files of the user's."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minigrad.train.data.errors import DataError
from minigrad.train.files import atomic_write

DOWNLOADS = {  # name -> address, SHA-256
    "shakespeare": (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "names": (
        "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
    ),
}
BUILT_IN = ("python-docs", *DOWNLOADS)

_FALLBACK_MODULES = (
    "argparse asyncio collections csv datetime decimal difflib email functools heapq io itertools json logging math os "
    "pathlib pickle random re shutil socket statistics string subprocess tarfile tempfile threading unittest "
    "urllib.request zipfile"
).split()
_ASCII = str.maketrans(  # curly quotes, dashes, ellipsis, no-break space
    {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: "-", 0x2014: "--", 0x2026: "...", 0xA0: " "}
)


def load_text(name_or_path: str | Path) -> str:
    """A text by name ("python-docs", "shakespeare", "names") or from a UTF-8 file, with "\\n" as line break.

    Raises DataError for what is missing, empty, not UTF-8, or cannot be downloaded.
    """
    name = str(name_or_path)
    if name == "python-docs":
        return python_docs()
    if name in DOWNLOADS:
        return _decode(_downloaded(name).read_bytes(), name)
    path = Path(name_or_path)
    if path.is_dir():
        raise DataError(f"{name} is a folder: give a text file, or one of {', '.join(BUILT_IN)}")
    if not path.exists():
        raise DataError(f"there is no file {name}; built in are {', '.join(BUILT_IN)}")
    return _decode(path.read_bytes(), name)


def _decode(raw: bytes, name: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text: byte {error.object[error.start]:#04x} at offset {error.start}; save it as UTF-8"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text or text.isspace():
        raise DataError(f"{name} is empty: give a file with text in it")
    return text


def python_docs() -> str:
    """The Python language reference that ``help()`` reads, tidied to plain ASCII; else the library's docstrings."""
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
        parts = [topics[key] for key in sorted(topics)]
    except ImportError:
        parts = _docstrings()
    text = "\n\n".join(parts).translate(_ASCII).encode("ascii", "ignore").decode("ascii")
    text = "".join(c for c in text if c == "\n" or c.isprintable())
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _docstrings() -> list[str]:
    """The documentation of the standard library's modules, classes and functions, for a Python without pydoc_data."""
    found: dict[str, None] = {}  # in order, each once
    for name in _FALLBACK_MODULES:
        module = importlib.import_module(name)
        for thing in (module, *_public(module)):
            if isinstance(thing, int | str | float | tuple):
                continue  # constants have the docstring of their type
            docs = [getattr(x, "__doc__", None) for x in (thing, *(_public(thing) if isinstance(thing, type) else ()))]
            found.update({doc: None for doc in docs if isinstance(doc, str)})
    return list(found)


def _public(owner: Any) -> list[Any]:
    return [value for key, value in sorted(vars(owner).items()) if not key.startswith("_")]


def cache_folder() -> Path:
    """Where downloads are kept: $MINIGRAD_CACHE, or ``minigrad`` in the user's cache folder."""
    if "MINIGRAD_CACHE" in os.environ:
        return Path(os.environ["MINIGRAD_CACHE"])
    if sys.platform == "win32" and "LOCALAPPDATA" in os.environ:
        return Path(os.environ["LOCALAPPDATA"]) / "minigrad"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigrad"


def _downloaded(name: str) -> Path:
    address, expected = DOWNLOADS[name]
    path = cache_folder() / f"{name}.txt"
    if path.exists() and _sha256(path.read_bytes()) == expected:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        raw = _fetch(address, name)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{name} is not on this machine and cannot be downloaded ({reason}): put the file at {path}, or pass the "
            "path of a text file instead"
        ) from None
    if _sha256(raw) != expected:
        raise DataError(f"{name}: what came from {address} is not the expected file (SHA-256 differs); it was not kept")
    path.unlink(missing_ok=True)  # the cache is ours: this was no whole copy
    with atomic_write(path, b"") as file:
        file.write(raw)
    return path


def _fetch(address: str, name: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as response:
        total = int(response.headers.get("Content-Length") or 0) or None
        chunks = []
        with tqdm(total=total, unit="B", unit_scale=True, desc=f"downloading {name}") as bar:
            while chunk := response.read(65536):
                chunks.append(chunk)
                bar.update(len(chunk))
    return b"".join(chunks)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
