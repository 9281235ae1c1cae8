"""Files that are written: in one piece, never over what is not ours, and by one run at a time.

Every kind of file carries a mark (the generator line of a page, the format of a checkpoint), and only a file with that
mark is ever replaced by one of that kind.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import itertools
import json
import os
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
elif sys.platform != "wasi":  # in a browser no file is shared, and there are neither locks nor permissions
    import fcntl

WINDOWS = os.name == "nt"
BEGINNING, END = 1024, 128  # bytes of a file in which its mark stands
PART, LOCK = ".part", ".lock"
OURS = ".minigrad-"  # how the names of both begin

_claims: dict[Path, IO[bytes]] = {}  # lock file -> the file, open, by which this process holds it
_made: list[Path] = []  # folders for them


def output_path(path: str | Path, mark: bytes, inputs: Iterable[str | Path | None] = ()) -> Path:
    """The path, if a file with this mark may be written there: the place where all outputs are decided on.

    It may be new, empty, or have the mark, and must be none of the inputs. Without a mark nothing is replaced. Raises
    FileExistsError, IsADirectoryError, FileNotFoundError for a missing folder, and ValueError for a name that is none.
    """
    path = Path(path)
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r} has a null byte, which no file name can have")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file name in it")
    for source in inputs:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise FileExistsError(f"{path} is what is read here: write to another file")
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {real.parent if path.is_symlink() else path.parent} does not exist: make it first"
        )
    if real.exists() and not (real.is_file() and _has_mark(real, mark)):
        raise FileExistsError(f"{path} is there already, and was not written by this: it stays, choose another name")
    return path


def _has_mark(path: Path, mark: bytes) -> bool:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = file.read(BEGINNING)
        file.seek(max(len(found), size - END))
        return not size or (bool(mark) and mark in found + file.read())


def travel_folder(checkpoint: str | Path) -> Path:
    """Where a run keeps its states to go back to: beside its checkpoint."""
    return Path(checkpoint).with_suffix(".travel")


def page_mark(view: str) -> bytes:
    """The mark of a page with such a view."""
    return f'<meta name="generator" content="minigrad {view}">'.encode()


@contextlib.contextmanager
def atomic_write(path: str | Path, mark: bytes) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` once it is complete, and vanishes if anything goes wrong.

    What is written should have the mark, see ``output_path``. A link stays one, and what it leads to is replaced; the
    permissions of an older file stay. Errors of the disk name the path.
    """
    with _naming(output_path(path, mark)):
        real = Path(os.path.realpath(path))
        remove_leftovers(real.parent)
        file, name = _part(real.parent)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                _copy_permissions(real, name)
                if WINDOWS:
                    file.close()  # what is open cannot be moved there
                os.replace(name, real)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        _sync_folder(real.parent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of the disk name the file that was asked for, also where a library tells them in its own words."""
    before = sys.exc_info()[1]
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause not in (None, before) and not (isinstance(cause, OSError) and cause.errno):
            cause = cause.__context__ if cause is not None else None
        if not isinstance(cause, OSError) or cause is before:
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def _part(folder: Path) -> tuple[IO[bytes], str]:
    """A new file in the folder, held for as long as it is open, and its name."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=OURS, suffix=PART, dir=folder)
        file = os.fdopen(descriptor, "wb")
        if _hold(file) and os.path.exists(name):
            return file, name
        file.close()  # taken for a leftover just then


def _copy_permissions(old: Path, new: str) -> None:
    if not hasattr(os, "chmod") or not hasattr(os, "umask"):
        return
    try:
        found = os.stat(old)
    except FileNotFoundError:
        os.chmod(new, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        return
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(new, found.st_uid, found.st_gid)
    os.chmod(new, stat.S_IMODE(found.st_mode))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Let the new name outlive a power cut too, where the system can be asked for it."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def claim(path: str | Path) -> None:
    """Take the name of a checkpoint for this process, until it ends, however it ends.

    A file beside it, held by the system's lock, says whose it is. Raises FileExistsError where another process has
    taken the name, OSError where the folder cannot be written to, ValueError for a name that is no text.
    """
    path = Path(path)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{str(path)!r} has bytes that are no text (UTF-8): choose another name") from None
    real = Path(os.path.realpath(path))
    name = real.with_name(f"{OURS}{real.name}{LOCK}")
    if name in _claims:
        return
    with _naming(path):
        if not real.parent.exists():
            _made.append(real.parent)
            real.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(real.parent)
        while True:
            file = open(name, "a+b", buffering=0)  # noqa: SIM115 - until this process ends
            if not _hold(file):
                raise _Taken(f"{path} is being written by {_owner(file)}: wait for its end, or choose another --out")
            if os.path.exists(name) and os.path.samestat(os.fstat(file.fileno()), os.stat(name)):
                break
            file.close()  # the owner before removed it just then
        who = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.truncate(0)
        file.write(json.dumps(who).encode())
    _claims[name] = file


class _Taken(FileExistsError):
    """A name that another process has claimed."""


def claim_fresh(path: Path, endings: Sequence[str] = ()) -> Path:
    """Claim the path, or with -2, -3, ... before its ending, whichever is free; so are those with the other endings."""
    for n in itertools.count(1):
        candidate = path if n == 1 else path.with_name(f"{path.stem}-{n}{path.suffix}")
        if any(os.path.lexists(candidate.with_suffix(ending)) for ending in (path.suffix, *endings)):
            continue
        with contextlib.suppress(_Taken):
            claim(candidate)
            return candidate
    raise AssertionError("the numbers do not end")


def _owner(file: IO[bytes]) -> str:
    """Who says in a lock file that it is theirs."""
    try:
        file.seek(0)
        who = json.loads(file.read())
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"
    finally:
        file.close()


def _hold(file: IO[bytes], unsure: bool = True) -> bool:
    """Whether this process has the file for itself from now on; ``unsure`` where the system has no such locks."""
    try:
        if sys.platform == "win32":
            place = file.tell()
            file.seek(1 << 30)  # far behind all that is written, which stays readable
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(place)
        elif sys.platform != "wasi":
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        taken = error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        return unsure and not taken
    return True


def _remove_held(file: IO[bytes], path: Path) -> None:
    if WINDOWS:
        file.close()  # what is open cannot be removed there
    with contextlib.suppress(OSError):
        os.unlink(path)
    file.close()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left of their files and claims: what nobody holds."""
    for ending in (PART, LOCK):
        for path in folder.glob(f"{OURS}*{ending}"):
            if path not in _claims:
                with contextlib.suppress(OSError), open(path, "r+b") as file:
                    if _hold(file, unsure=False):
                        _remove_held(file, path)


@atexit.register
def _release() -> None:
    for name, file in _claims.items():
        _remove_held(file, name)
    _claims.clear()
    for folder in _made:
        with contextlib.suppress(OSError):  # nothing has been written there
            folder.rmdir()


def _forget() -> None:
    """A fork has none of the claims: they would outlive the process that made them."""
    for file in _claims.values():
        file.close()
    _claims.clear()
    _made.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
