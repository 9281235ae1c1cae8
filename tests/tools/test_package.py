"""What is built, the wheel and the sdist, works where it is installed, away from the checkout."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

import minigrad

pytest.importorskip("hatchling")
pytest.importorskip("pip")
BUILD = "import sys; from hatchling.build import *; print(globals()[sys.argv[1]](sys.argv[2]))"
SMALL = "--steps 3 --n-layer 1 --n-embd 16 --batch-size 2 --block-size 16 --eval-batches 1 --sample 5".split()


def build(what: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-c", BUILD, f"build_{what}", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return out / done.stdout.splitlines()[-1]


def environment(folder: Path, package: Path) -> Path:
    """The Python of a new environment that has the package, and the tests' other packages: nothing is downloaded."""
    venv.create(folder, symlinks=os.name != "nt", with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q"]
    subprocess.run([*command, str(package)], check=True, capture_output=True)
    site = next(folder.rglob("site-packages"))
    (site / "others.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return python


def run(python: Path, *arguments: str, cwd: Path) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([python, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    sdist = build("sdist", ROOT, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return sdist, build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


@pytest.fixture(scope="module")
def python(built, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("installed"), built[1])


@pytest.fixture
def folder(tmp_path):
    """A user's folder, whose files must not be taken for the package's."""
    for name in ("models", "tests", "examples"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a folder of the user is loaded')\n")
    for name in ("random", "json", "html"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a file of the user is loaded')\n")
    return tmp_path


def test_a_wheel_from_the_checkout_is_that_from_the_sdist(built, tmp_path):
    again = build("wheel", ROOT, tmp_path)
    assert again.read_bytes() == built[1].read_bytes()


def test_the_wheel_has_everything_inside_the_package(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names} == {"minigrad", f"minigrad_numpy-{minigrad.__version__}.dist-info"}
    for folder in ("models", "examples"):
        there = {path.name for path in (ROOT / folder).glob("*.py")} | (
            {"__init__.py"} if folder == "models" else set()
        )
        assert {Path(name).name for name in names if name.startswith(f"minigrad/{folder}/")} == there
    assert "minigrad/py.typed" in names
    assert f"\nVersion: {minigrad.__version__}\n" in metadata and "\nLicense-Expression: MIT\n" in metadata
    assert "](docs/" not in metadata and 'src="docs/' not in metadata


def test_the_installed_package_does_what_the_readme_says(python, folder):
    where = run(
        python, "-c", "import minigrad, minigrad.models.gpt as g; print(minigrad.__file__, g.__file__)", cwd=ROOT.parent
    )
    assert where.count(str(python.parents[1])) == 2
    assert f"minigrad {minigrad.__version__}" in run(python, "-m", "minigrad", "info", cwd=folder)
    assert "train_char_gpt" in run(python, "-m", "minigrad", "examples", cwd=folder)
    run(python, "-m", "minigrad", "examples", "two_moons", "train_char_gpt.py", cwd=folder)
    script = ["two_moons.py", "--hidden", "2", "--points", "1", "--steps", "1"]
    assert (
        "page" in run(python, "-m", "minigrad", "step", "--html", "s.html", *script, cwd=folder)
        or (folder / "s.html").exists()
    )
    run(python, "-m", "minigrad", "graph", "-o", "g.dot", *script, cwd=folder)
    assert min(path.stat().st_size for path in (folder / "s.html", folder / "g.dot")) > 1000
    assert "From scores to a loss" in run(python, "-m", "minigrad", "learn", cwd=folder)
    assert "chapter05.html" in run(python, "-m", "minigrad", "learn", "5", cwd=folder)
    (folder / "mine.py").write_text("def square(x):\n    return x * x\n")
    assert "agree" in run(python, "-m", "minigrad", "check", "mine.py:square", "--shape", "3", cwd=folder)
    run(python, "-m", "minigrad", "run", "train_char_gpt.py", *SMALL, cwd=folder)
    run(python, "-m", "minigrad", "examples", "train_char_gpt", "-o", "elsewhere", cwd=folder)
    run(python, "elsewhere/train_char_gpt.py", *SMALL, cwd=folder)
    assert len([*folder.glob("runs/*.npz")]) == 2


def test_an_editable_install_gives_minigrad_and_nothing_else(tmp_path):
    python = environment(tmp_path / "venv", build("editable", ROOT, tmp_path))
    code = (
        "import sys, importlib.util as u, minigrad, minigrad.models.gpt as g; print(minigrad.__file__, g.__file__)\n"
        "print([n for n in ('models', 'tests', 'benchmarks', 'examples', 'docs', 'hatch_build') if u.find_spec(n)])"
    )
    found, others = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert found == f"{ROOT / 'minigrad' / '__init__.py'} {ROOT / 'models' / 'gpt.py'}"
    assert others == "[]"
    (tmp_path / "minigrad").mkdir()  # a folder of that name, such as the checkout seen from the one above
    assert run(python, "-c", code, cwd=tmp_path).startswith(found)
    assert "ops" in run(python, "-m", "minigrad", "info", cwd=tmp_path)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", "*a step* and the page, [out](https://example.org)"),
        (
            "https://h/me/m",
            "![a step](https://h/me/m/raw/v1/docs/s.png) and [the page](https://h/me/m/blob/v1/docs/p.md), "
            "[out](https://example.org)",
        ),
    ],
)
def test_the_readme_of_an_index_leads_nowhere_or_to_the_source(source, text, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from hatch_build import absolute

    for picture in ("![a step](docs/s.png)", '<p align="center"><img src="docs/s.png" width="42" alt="a step"></p>'):
        assert absolute(f"{picture} and [the page](docs/p.md), [out](https://example.org)", source, "1") == text


def test_examples_are_copied_and_never_over_other_files(tmp_path):
    command = [sys.executable, "-m", "minigrad", "examples"]

    def copy(*arguments):
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)

    for _ in range(2):  # the same file once more is no harm
        assert copy("all", "-o", str(tmp_path / "new")).returncode == 0
    there = sorted((ROOT / "examples").glob("*.py"))
    assert [path.read_bytes() for path in there] == [(tmp_path / "new" / path.name).read_bytes() for path in there]
    listed = copy().stdout
    for path in there:
        assert f"{path.stem} " in listed and ast.get_docstring(ast.parse(path.read_bytes())).splitlines()[0] in listed
    (tmp_path / "new" / "two_moons.py").write_text("mine")
    done = copy("sample", "two_moons", "-o", str(tmp_path / "new"))
    assert done.returncode == 2 and "other content" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "new" / "two_moons.py").read_text() == "mine"
    assert "there is no example 'moons'" in copy("moons").stderr
