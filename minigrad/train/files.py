"""Checkpoints: nested plain data, arrays and tensors in one ``.npz`` file, without pickle, written atomically.

A name that ends in ``.safetensors`` is written and read in that format, which holds tensors by name and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.tools.extras import need

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
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
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


def save(obj: Any, f: Any) -> None:
    """Write nested dicts, lists, tuples, strings, numbers, bools, None, arrays and tensors to a file.

    ``f`` is a path, or a binary file that is open. The format is NumPy's ``.npz`` whatever the name, but for
    ``.safetensors``. The file replaces an older one only when it is complete. Raises TypeError, naming the place, for
    anything else.
    """
    if str(f).endswith(".safetensors"):
        return _save_safetensors(obj, f)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structure = {"format": _FORMAT, "version": _VERSION, "content": _pack(obj, "", arrays)}
    text = np.frombuffer(json.dumps(structure).encode("ascii"), dtype=np.uint8)
    with contextlib.nullcontext(f) if hasattr(f, "write") else atomic_write(f) as file:
        np.savez(file, allow_pickle=False, **{_STRUCTURE: text}, **arrays)


def _save_safetensors(obj: Any, path: str | Path) -> None:
    if not isinstance(obj, Mapping) or not all(isinstance(v, Tensor | np.ndarray) for v in obj.values()):
        raise TypeError("a .safetensors file holds a dict of tensors: save(model.state_dict(), path), or use .npz")
    arrays = {name: np.ascontiguousarray(v._array if isinstance(v, Tensor) else v) for name, v in obj.items()}
    data = need("safetensors.numpy", extra="safetensors").save(arrays)
    with atomic_write(path) as file:
        file.write(data)


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
    hint = ", save its state_dict()" if hasattr(obj, "state_dict") else ""
    raise TypeError(
        f"cannot save {path or 'the object'}: {type(obj).__name__} is not plain data, an array or a tensor{hint}"
    )


def load(f: Any, map_location: Any = None, *, weights_only: bool = True, mmap: bool | None = None) -> Any:
    """Read what ``save`` wrote, bit for bit; nothing is unpickled. ``f`` is a path, or a binary file that is open.

    Raises FileNotFoundError, or CheckpointError for a file that is truncated, damaged or of another kind.
    """
    if hasattr(f, "read"):
        return _read(f, getattr(f, "name", "the file"))
    path = Path(f)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    with open(path, "rb") as file:
        if path.suffix == ".safetensors":
            return _load_safetensors(file.read(), path)
        return _read(file, path)


def _read(file: Any, name: Any) -> Any:
    try:
        start = file.tell()
        if file.read(1) == b"\x80" or _has_pickle(file, start):
            raise CheckpointError(
                f"{name} is a pickle of PyTorch's, which could run any code: this engine reads none. Convert it where "
                "PyTorch is: minigrad.save(minigrad.from_torch(torch.load(path, map_location='cpu')), 'new.npz')"
            )
        file.seek(start)
        with np.load(file, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile) or _STRUCTURE not in stored.files:
                raise CheckpointError(f"{name} is not a checkpoint of minigrad")
            structure = json.loads(stored[_STRUCTURE].tobytes())
            if structure.get("format") != _FORMAT or structure.get("version") != _VERSION:
                raise CheckpointError(f"{name} has version {structure.get('version')}, this reads version {_VERSION}")
            return _unpack(structure["content"], stored)
    except CheckpointError:
        raise
    except PermissionError:
        raise
    except (Exception, MemoryError) as error:  # whatever a damaged archive makes zipfile, NumPy and json stumble over
        raise CheckpointError(f"{name} is damaged, truncated or not a checkpoint ({type(error).__name__})") from error


def _has_pickle(file: Any, start: int) -> bool:
    """Whether it is the archive that torch.save makes."""
    file.seek(start)
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _load_safetensors(data: bytes, path: Path) -> dict[str, Tensor]:
    reader = need("safetensors.numpy", extra="safetensors")
    try:
        return {name: Tensor(array) for name, array in reader.load(data).items()}
    except Exception as error:
        raise CheckpointError(f"{path} is damaged or no .safetensors file ({type(error).__name__})") from error


def from_torch(obj: Any) -> Any:
    """PyTorch's tensors as ours, copied, also inside dicts, lists and tuples (a state dict, a checkpoint).

    PyTorch is not imported: a tensor is what has ``detach``, ``cpu`` and ``numpy``. bfloat16 becomes float32.
    """
    if isinstance(obj, Mapping):
        return {key: from_torch(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple) and not hasattr(obj, "_fields"):
        return type(obj)(from_torch(value) for value in obj)
    if isinstance(obj, Tensor) or not all(hasattr(obj, name) for name in ("detach", "cpu", "numpy", "float")):
        return obj
    obj = obj.detach().cpu()
    return Tensor(np.array((obj.float() if str(obj.dtype) == "torch.bfloat16" else obj).numpy()))


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
