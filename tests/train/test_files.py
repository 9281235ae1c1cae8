"""What is written: whole or not at all, over nothing that is not ours, and by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import multiprocessing
import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.tools import capacity
from minigrad.train import checkpoints, files
from minigrad.train.checkpoints import CheckpointError
from minigrad.train.files import atomic_write, claim, claim_fresh, output_path

MARK = b"a mark"
OLD, NEW = {"old": mg.ones(500)}, {"new": mg.zeros(700), "more": [1, 2.5, mg.arange(9)]}
posix = pytest.mark.skipif(os.name == "nt", reason="links and permissions of POSIX")


def write(path, content=MARK, mark=MARK):
    with atomic_write(path, mark) as file:
        file.write(content)


def _written(obj, path):
    mg.save(obj, path)
    return path


class FaultyFile:
    """A file whose writes go through a counter; like one of ``os.fdopen`` otherwise."""

    def __init__(self, file, faults):
        self.file, self.faults = file, faults

    def write(self, data):
        self.faults.count("write")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


class Faults:
    """The n-th call to the disk raises; after a power cut none of the later ones does anything either."""

    def __init__(self, monkeypatch, n, error):
        self.n, self.error, self.calls, self.dead, self.replaced = n, error, [], False, False
        fdopen = os.fdopen
        for name in ("fsync", "replace", "chmod", "unlink", "chown"):
            monkeypatch.setattr(files.os, name, self.wrapped(name, getattr(os, name)))
        monkeypatch.setattr(files.os, "fdopen", lambda *args: FaultyFile(fdopen(*args), self))

    def wrapped(self, name, function):
        def call(*args):
            if name != "unlink":
                self.count(name)
            elif self.dead:
                return None  # what has no power cannot tidy up
            found = function(*args)
            self.replaced |= name == "replace"
            return found

        return call

    def count(self, name):
        if self.dead:
            raise self.error
        self.calls.append(name)
        if len(self.calls) == self.n:
            self.dead = isinstance(self.error, SystemExit)
            raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SystemExit("power")], ids=str)
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_whichever_call_to_the_disk_fails_the_file_is_the_old_or_the_new_one(tmp_path, monkeypatch, ending, error):
    path = tmp_path / f"run.{ending}"
    old, new = ({"w": OLD["old"]}, {"w": NEW["new"]}) if ending == "safetensors" else (OLD, NEW)
    mg.save(old, path)
    before = path.read_bytes()
    saved = repr(mg.load(path))
    failed = 0
    for n in range(1, 1000):
        path.write_bytes(before)
        with monkeypatch.context() as patch:
            faults = Faults(patch, n, error)
            try:
                mg.save(new, path)
            except type(error) as raised:
                failed += 1
                assert isinstance(raised, SystemExit) or str(path) in str(raised)
            else:
                if len(faults.calls) < n:
                    break  # there is no n-th call
        found = repr(mg.load(path))
        assert found in (saved, repr(mg.load(_written(new, tmp_path / f"new.{ending}")))), f"call {n}: {faults.calls}"
        assert (found != saved) == faults.replaced
    assert n < 999 and failed > (5 if ending == "npz" else 4)
    assert faults.calls.index("replace") > faults.calls.index("fsync")  # first the content, then the name,
    assert faults.calls.index("replace") < len(faults.calls) - 1 - faults.calls[::-1].index("fsync")  # then the folder
    mg.save(new, path)
    assert sorted(os.listdir(tmp_path)) == [f"new.{ending}", path.name]  # what the power cuts left is gone


def test_only_a_file_of_the_same_kind_is_replaced(tmp_path):
    path = tmp_path / "a"
    write(path)
    write(path, MARK + b"2")
    assert path.read_bytes() == MARK + b"2"
    path.write_bytes(b"")
    write(path, b"more")  # over an empty one
    for content in (b"x" * 2000 + MARK + b"x" * 2000, b"poems"):
        path.write_bytes(content)
        with pytest.raises(FileExistsError, match=r"a is there already, and was not written by this: it stays"):
            write(path)
        with pytest.raises(FileExistsError):
            write(path, mark=b"")
        assert path.read_bytes() == content and os.listdir(tmp_path) == ["a"]
    path.write_bytes(b"x" * 2000 + MARK)  # as a picture in PDF has it
    write(path)


def test_an_output_is_none_of_the_inputs(tmp_path):
    write(tmp_path / "a")
    os.link(tmp_path / "a", tmp_path / "b")
    assert output_path(tmp_path / "c", MARK, [tmp_path / "a", None]) == tmp_path / "c"
    for name in "a", "b":
        with pytest.raises(FileExistsError, match="is what is read here"):
            output_path(tmp_path / name, MARK, [tmp_path / "a"])


@pytest.mark.parametrize(
    ("name", "error"),
    [("no/a", FileNotFoundError), ("", IsADirectoryError), ("a\0b", ValueError), ("x" * 300, OSError)],
)
def test_names_that_cannot_be_written(tmp_path, name, error):
    with pytest.raises(error):
        write(tmp_path / name)


def test_save_replaces_no_text_and_no_page(tmp_path):
    for name in ("poems.txt", "model.npz", "model.safetensors"):
        (tmp_path / name).write_text("roses are red")
        with pytest.raises(FileExistsError):
            mg.save({"w": mg.ones(2)}, tmp_path / name)
        assert (tmp_path / name).read_text() == "roses are red"
    np.savez(tmp_path / "mine.npz", a=np.ones(2))
    with pytest.raises(FileExistsError):
        mg.save({}, tmp_path / "mine.npz")
    x = mg.ones(2, requires_grad=True)
    with mg.trace() as record:
        (x * 2).sum().backward()
    mg.save({}, tmp_path / "a.npz")
    for write_over in (record.save, lambda path: mg.graph(x * 2).save(path.with_suffix(".dot"))):
        target = tmp_path / "a.npz" if write_over == record.save else tmp_path / "b.npz"
        target.with_suffix(".dot").write_text("graph of mine {}")
        with pytest.raises(FileExistsError):
            write_over(target)
    record.save(tmp_path / "trace.json")
    record.save(tmp_path / "trace.json")
    for ending in (".dot", ".svg", ".html", ".png", ".pdf"):
        with contextlib.suppress(RuntimeError):  # where Graphviz is not installed
            for _ in range(2):
                mg.graph(x * 2).save(tmp_path / f"again{ending}")


@posix
def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "far").mkdir()
    mg.save(OLD, tmp_path / "far/real.npz")
    os.chmod(tmp_path / "far/real.npz", 0o600)
    (tmp_path / "link.npz").symlink_to("far/real.npz")
    mg.save(NEW, tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink() and "new" in mg.load(tmp_path / "far/real.npz")
    assert stat.S_IMODE((tmp_path / "far/real.npz").stat().st_mode) == 0o600
    (tmp_path / "other.npz").symlink_to("far/new.npz")  # leads to what is not there yet
    mg.save(NEW, tmp_path / "other.npz")
    assert (tmp_path / "far/new.npz").is_file() and os.listdir(tmp_path / "far").sort() == [
        "new.npz",
        "real.npz",
    ].sort()


def take(path, answers, wait):
    try:
        claim(path)
        answers.put("taken")
    except FileExistsError as error:
        answers.put(str(error))
    wait.get()


def test_a_name_is_taken_by_one_process_until_it_ends_however_it_ends(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers, wait = context.Queue(), context.Queue()
    first = context.Process(target=take, args=(tmp_path / "runs/a.npz", answers, wait))
    first.start()
    assert answers.get(timeout=60) == "taken"
    with pytest.raises(FileExistsError, match=rf"a\.npz is being written by process {first.pid} on .* since 2"):
        claim(tmp_path / "runs/a.npz")
    assert claim_fresh(tmp_path / "runs/a.npz").name == "a-2.npz"
    first.kill()
    first.join()
    assert (tmp_path / "runs/.minigrad-a.npz.lock").exists()  # nobody could remove it
    claim(tmp_path / "runs/a.npz")
    claim(tmp_path / "runs/a.npz")  # one's own
    files._release()
    assert os.listdir(tmp_path / "runs") == []
    claim(tmp_path / "other/a.npz")
    files._release()
    assert os.listdir(tmp_path) == ["runs"]  # a folder in which nothing was written goes too


def test_a_fork_does_not_keep_the_name(tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("there are no forks here")
    claim(tmp_path / "a.npz")
    inside, outside = os.pipe()
    ready, started = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(outside)
        os.write(started, b".")
        os.read(inside, 1)
        os._exit(bool(files._claims))
    os.read(ready, 1)
    with open(tmp_path / ".minigrad-a.npz.lock", "rb") as file:
        assert not files._hold(file)
        files._release()
        assert files._hold(file)
    os.close(outside)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_of_many_that_start_at_once_each_has_a_name_of_its_own(tmp_path):
    code = (
        "import sys; from pathlib import Path; from minigrad.train.files import claim_fresh\n"
        "print(claim_fresh(Path(sys.argv[1]), ('.csv',)), flush=True); sys.stdin.read()"
    )
    (tmp_path / "a.csv").touch()
    command = [sys.executable, "-c", code, str(tmp_path / "a.npz")]
    runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    names = [Path(run.stdout.readline().strip()).name for run in runs]
    for run in runs:
        run.communicate()
    assert sorted(names) == ["a-2.npz", "a-3.npz", "a-4.npz", "a-5.npz"]
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("name", ["x" * 241 + ".npz", "\udcff.npz", "a\0.npz"])
def test_a_name_that_cannot_be_written_is_no_name(tmp_path, name):
    with pytest.raises((OSError, ValueError)):
        claim(tmp_path / name)


def test_leftovers_of_the_living_stay(tmp_path):
    with atomic_write(tmp_path / "a", MARK) as file:
        file.write(MARK)
        write(tmp_path / "b")
        (tmp_path / ".minigrad-dead.part").touch()
        write(tmp_path / "b")
        assert len(os.listdir(tmp_path)) == 2
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


# Reading


def archive(path, structure, arrays, compression=zipfile.ZIP_STORED, twice=()):
    content = {"format": "minigrad checkpoint", "version": 1, "content": structure}
    text = np.frombuffer(json.dumps(content).encode(), np.uint8)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, array in [("structure.json", text), *arrays.items(), *((n, arrays[n]) for n in twice)]:
            data = io.BytesIO()
            np.lib.format.write_array(data, np.asanyarray(array), allow_pickle=False)
            file.writestr(f"{name}.npy", data.getvalue())
    return path


ONE = {"array": "a"}
HOSTILE = {
    "compressed": (ONE, {"a": np.zeros(10**6)}, zipfile.ZIP_DEFLATED),
    "an array twice": ({"list": [ONE, ONE]}, {"a": np.ones(2)}),
    "an array for nobody": (1, {"a": np.ones(2)}),
    "no array": (ONE, {}),
    "text": (ONE, {"a": np.array(["x"])}),
    "complex": (ONE, {"a": np.ones(2, complex)}),
    "records": (ONE, {"a": np.zeros(2, "i4,f4")}),
    "dates": (ONE, {"a": np.zeros(2, "M8[s]")}),
    "an unknown kind": ({"set": []}, {}),
    "two kinds": ({"list": [], "tuple": []}, {}),
    "a bare list": ([1], {}),
    "a key twice": ({"dict": [["a", 1], ["a", 2]]}, {}),
    "a key that is none": ({"dict": [[None, 1]]}, {}),
    "a float that is none": ({"float": "much"}, {}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives(tmp_path, case):
    path = archive(tmp_path / "x.npz", *HOSTILE[case])
    with pytest.raises(CheckpointError, match=r"x\.npz"):
        mg.load(path)


def test_an_archive_with_an_entry_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = archive(tmp_path / "x.npz", ONE, {"a": np.ones(2)}, twice=["a"])
    with pytest.raises(CheckpointError, match="twice"):
        mg.load(path)


def test_all_that_is_saved_comes_back_in_the_same_order_of_bytes(tmp_path):
    for array in (np.arange(6.0).reshape(2, 3).T, np.ones(2, ">f8"), np.zeros((0, 3)), np.array(1.5), np.ones(3, "?")):
        mg.save(array, tmp_path / "x.npz")
        found = mg.load(tmp_path / "x.npz")
        assert found.dtype == array.dtype.newbyteorder("=") and (found == array).all() and found.shape == array.shape
        found[...] = 0  # it can be written to


def safetensors(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(first, last, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": [(last - first) // 4] if shape is None else shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12),
        ({"a": entry(0, 8), "b": entry(12, 16)}, 16),
        ({"a": entry(0, 8)}, 12),
        ({"a": entry(0, 8)}, 4),
        ({"a": entry(4, 8)}, 8),
        ({"a": entry(0, 8, shape=[3])}, 8),
        ({"a": entry(0, 8, shape=[-2])}, 8),
        ({"a": entry(0, 8, shape=[1.0, 2])}, 8),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8),
        ([], 0),
    ],
)
def test_safetensors_whose_ranges_do_not_tile_the_file(tmp_path, header, length):
    with pytest.raises(CheckpointError, match=r"x\.safetensors is damaged"):
        mg.load(safetensors(tmp_path / "x.safetensors", header, bytes(length)))


def test_safetensors_of_numbers_that_numpy_has_not(tmp_path):
    data = np.array([1.5, -2.0, 3e38], "<f4").view("<u4") >> 16
    path = safetensors(tmp_path / "x.safetensors", {"a": entry(0, 6, "BF16", [3])}, data.astype("<u2").tobytes())
    assert mg.load(path)["a"].tolist() == pytest.approx([1.5, -2.0, 3e38], rel=1e-2)
    path = safetensors(path, {"a": entry(0, 4, "F8_E4M3", [4])}, bytes(4))
    with pytest.raises(CheckpointError, match=r"a is of F8_E4M3, which NumPy does not have: convert it"):
        mg.load(path)


def test_safetensors_as_the_package_reads_and_writes_them(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    arrays = {
        name: np.arange(6).reshape(2, 3).astype(code)
        for name, code in checkpoints.SAFETENSORS.items()
        if name != "BF16"
    } | {"number": np.array(3, "f4"), "nothing": np.zeros((0, 2))}
    mg.save(arrays, tmp_path / "ours.safetensors")
    package.save_file(arrays, tmp_path / "theirs.safetensors")
    for found in (package.load_file(tmp_path / "ours.safetensors"), mg.load(tmp_path / "theirs.safetensors")):
        assert found.keys() == arrays.keys()
        for name, array in found.items():
            array = np.asarray(array)
            assert array.dtype == arrays[name].dtype and array.shape == arrays[name].shape
            assert (array == arrays[name]).all()


def test_a_damaged_safetensors_file(tmp_path):
    path = tmp_path / "x.safetensors"
    mg.save({"a": mg.arange(3.0), "b": mg.ones(2, 2)}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            mg.load(path)


def test_a_turned_bit_in_a_safetensors_file(tmp_path):
    path = tmp_path / "x.safetensors"
    saved = {"a": np.arange(3, dtype="f4"), "b": np.ones((2, 2), "i8"), "c": np.array(True), "d": np.zeros((0, 3))}
    mg.save(saved, path)
    whole = path.read_bytes()
    refused = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = mg.load(path)
        except CheckpointError:
            refused += 1
        else:  # a bit of the metadata, or of the spaces after the header: nothing that was saved
            assert {name: (x.numpy().dtype, x.tolist()) for name, x in found.items()} == {
                name: (x.dtype, x.tolist()) for name, x in saved.items()
            }
    assert refused > 4 * len(whole)


def test_safetensors_that_another_program_changed(tmp_path):
    path = tmp_path / "x.safetensors"
    mg.save({"a": mg.arange(2.0)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(np.float32(1).tobytes(), np.float32(2).tobytes()))
    with pytest.raises(CheckpointError, match=r"was changed since minigrad wrote it; .* drops minigrad_crc32"):
        mg.load(path)
    path.write_bytes(path.read_bytes().replace(b"minigrad_crc32", b"an_older_crc32"))
    assert mg.load(path)["a"].tolist() == [0, 2]


def test_writing_takes_no_time_in_a_full_folder(tmp_path):
    for i in range(300):
        (tmp_path / f"{i}.txt").touch()
    started = time.perf_counter()
    for _ in range(20):
        write(tmp_path / "a")
    assert time.perf_counter() - started < 5


def test_where_there_are_no_permissions_files_are_written(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "umask")
    for text in (b"one", b"two"):
        with atomic_write(tmp_path / "a.txt", b"") as file:
            file.write(text)
        monkeypatch.setattr(files, "_has_mark", lambda path, mark: True)
    assert (tmp_path / "a.txt").read_bytes() == b"two" and len(list(tmp_path.iterdir())) == 1


def test_memory_that_is_not_told_is_no_limit(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: -1 if name == "SC_PHYS_PAGES" else 4096)
    assert capacity.memory() > 1e9
