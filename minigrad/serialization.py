"""Checkpoints: nested plain data, arrays and tensors in one ``.npz`` file, without pickle, written atomically."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from minigrad.tensor import Tensor

_STRUCTURE = "structure.json"
_FORMAT = "minigrad checkpoint"
_VERSION = 1


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint."""


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` once it is complete, and vanishes if anything goes wrong."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file name in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save(obj: Any, path: str | Path) -> None:
    """Write nested dicts, lists, tuples, strings, numbers, bools, None, arrays and tensors to a ``.npz`` file.

    The file replaces an older one only when it is complete. Raises TypeError, naming the place, for anything else.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structure = {"format": _FORMAT, "version": _VERSION, "content": _pack(obj, "", arrays)}
    text = np.frombuffer(json.dumps(structure).encode("ascii"), dtype=np.uint8)
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **{_STRUCTURE: text}, **arrays)


def _pack(obj: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """JSON for the structure; arrays are put aside under their dotted path."""
    if obj is None or isinstance(obj, bool | str):
        return obj
    if isinstance(obj, int) and not isinstance(obj, np.generic):
        return obj
    if isinstance(obj, float) and not isinstance(obj, np.generic):
        return {"float": obj.hex()}
    if isinstance(obj, Tensor | np.ndarray | np.generic):
        array = obj._array if isinstance(obj, Tensor) else np.asarray(obj)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"cannot save {path or 'the object'}: an array of {array.dtype}")
        key = path or "value"
        while key in arrays or key in (_STRUCTURE, "file"):
            key += "_"
        arrays[key] = array
        return {"tensor" if isinstance(obj, Tensor) else "array": key}
    if isinstance(obj, dict):
        wrong = [k for k in obj if type(k) not in (str, int)]
        if wrong:
            raise TypeError(f"cannot save {path or 'the object'}: the key {wrong[0]!r} is neither a string nor an int")
        return {"dict": [[k, _pack(v, f"{path}.{k}".lstrip("."), arrays)] for k, v in obj.items()]}
    if isinstance(obj, list | tuple):
        kind = "list" if isinstance(obj, list) else "tuple"
        return {kind: [_pack(v, f"{path}.{i}".lstrip("."), arrays) for i, v in enumerate(obj)]}
    raise TypeError(f"cannot save {path or 'the object'}: {type(obj).__name__} is not plain data, an array or a tensor")


def load(path: str | Path) -> Any:
    """Read what ``save`` wrote, bit for bit; nothing is unpickled.

    Raises FileNotFoundError, or CheckpointError for a file that is truncated, damaged or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile) or _STRUCTURE not in stored.files:
                raise CheckpointError(f"{path} is not a checkpoint of minigrad")
            structure = json.loads(stored[_STRUCTURE].tobytes())
            if structure.get("format") != _FORMAT or structure.get("version") != _VERSION:
                raise CheckpointError(f"{path} has version {structure.get('version')}, this reads version {_VERSION}")
            return _unpack(structure["content"], stored)
    except CheckpointError:
        raise
    except PermissionError:
        raise
    except (Exception, MemoryError) as error:  # whatever a damaged archive makes zipfile, NumPy and json stumble over
        raise CheckpointError(f"{path} is damaged, truncated or not a checkpoint ({type(error).__name__})") from error


def _unpack(content: Any, stored: Any) -> Any:
    if not isinstance(content, dict):
        return content
    ((kind, value),) = content.items()
    if kind == "float":
        return float.fromhex(value)
    if kind == "dict":
        return {k: _unpack(v, stored) for k, v in value}
    if kind == "array":
        return stored[value]
    if kind == "tensor":
        return Tensor(stored[value])
    items = [_unpack(v, stored) for v in value]
    return tuple(items) if kind == "tuple" else items
