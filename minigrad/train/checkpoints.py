"""Checkpoints: nested plain data, arrays and tensors in one ``.npz`` file, without pickle, written in one piece.

A name that ends in ``.safetensors`` is written and read in that format, which holds tensors by name and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.nn import Module
from minigrad.train.files import atomic_write
from minigrad.train.plainer import plain_key, plainer

_STRUCTURE = "structure.json"
_FORMAT = "minigrad checkpoint"
_VERSION = 1
MARK = b'"minigrad checkpoint"'  # in the structure, which is the first entry and not compressed
SAFETENSORS_MARK = b'"made_by":"minigrad"'
CHECKSUM = "minigrad_crc32"  # in the __metadata__ of a .safetensors file
KINDS = "biuf"  # of the numbers in arrays: bool, int, unsigned, float, of 8 bytes at most
SAFETENSORS = {
    "BOOL": "?", "U8": "<u1", "I8": "<i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2",
}  # fmt: skip


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint."""


def save(obj: Any, f: Any) -> None:
    """Write nested dicts, lists, tuples, strings, numbers, bools, None, arrays and tensors to a file.

    ``f`` is a path, or a binary file that is open. The format is NumPy's ``.npz`` whatever the name, but for
    ``.safetensors``. The file replaces an older one only when it is complete, and no file but a checkpoint. Of anything
    else what is in it is saved: a module as its state_dict, a dataclass as a dict of its fields, and what only a pickle
    could hold as None; one warning says of which this is true.
    """
    if str(f).endswith(".safetensors"):
        return _save_safetensors(obj, f)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    changed: list[str] = []
    structure = {"format": _FORMAT, "version": _VERSION, "content": _pack(obj, "", arrays, changed)}
    if changed:
        warnings.warn(f"saved without pickle: {'; '.join(changed)}", stacklevel=2)
    text = np.frombuffer(json.dumps(structure).encode("ascii"), dtype=np.uint8)
    with contextlib.nullcontext(f) if hasattr(f, "write") else atomic_write(f, MARK) as file:
        np.savez(file, allow_pickle=False, **{_STRUCTURE: text}, **arrays)


def load_model(path: str | Path, build: Callable[[dict[str, Any]], Module]) -> tuple[Module, dict[str, Any]]:
    """The model of a training's checkpoint, made by ``build(checkpoint)``, with its weights; and the checkpoint.

    Raises CheckpointError for a file that is none, and where config and weights do not fit each other.
    """
    checkpoint = load(path)
    keys = "config", "model", "tokenizer"
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(key), dict) for key in keys):
        raise CheckpointError(f"{path} is not a checkpoint of a model with a tokenizer")
    config, weights = checkpoint["config"], checkpoint["model"]
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(f"{path}: its model is not made of tensors")
    elements = max((weight.numel() for weight in weights.values()), default=0)
    most = {"n_layer": len(weights), "n_embd": elements, "n_head": elements, "vocab_size": elements}
    for key, highest in most.items():
        if type(config.get(key, 0)) is not int or config.get(key, 0) > highest:
            raise CheckpointError(f"{path}: its config has {key}={config[key]!r}, its weights are not of that size")
    try:
        model = build(checkpoint)
        model.load_state_dict(weights)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise CheckpointError(f"{path}: its config and weights do not fit together or this model ({text})") from error
    return model.eval(), checkpoint


def _save_safetensors(obj: Any, path: str | Path) -> None:
    if not isinstance(obj, Mapping) or not all(isinstance(v, Tensor | np.ndarray) for v in obj.values()):
        raise TypeError("a .safetensors file holds a dict of tensors: save(model.state_dict(), path), or use .npz")
    arrays = {name: np.asarray(v._array if isinstance(v, Tensor) else v, order="C") for name, v in obj.items()}
    arrays = {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
    names = {np.dtype(code).str.lstrip("<|="): name for name, code in SAFETENSORS.items() if name != "BF16"}
    header: dict[str, Any] = {}
    end = 0
    for name, array in arrays.items():
        code = array.dtype.newbyteorder("=").str.lstrip("<>|=")
        if code not in names:
            raise TypeError(f"cannot save {name}: an array of {array.dtype}")
        header[name] = {"dtype": names[code], "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    checksum = _checksum(header, arrays.values())
    about = {"made_by": "minigrad", "format": "pt", CHECKSUM: checksum}
    text = json.dumps({"__metadata__": about, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8 bytes
    with atomic_write(path, SAFETENSORS_MARK) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())


def _checksum(header: Mapping[str, Any], parts: Iterable[Any]) -> str:
    """CRC-32 of names, shapes, places and numbers: the format has none of its own."""
    checksum = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return f"{checksum:08x}"


def _pack(obj: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]], changed: list[str]) -> Any:
    """JSON for the structure; arrays are put aside under their dotted path, what is saved as another thing is noted."""
    if obj is None or isinstance(obj, bool | str):
        return obj
    if isinstance(obj, int) and not isinstance(obj, np.generic):
        return obj
    if isinstance(obj, float) and not isinstance(obj, np.generic):
        return {"float": obj.hex()}
    if isinstance(obj, Tensor | np.ndarray | np.generic):
        array = obj._array if isinstance(obj, Tensor) else np.asarray(obj)
        if array.dtype.kind not in KINDS or array.dtype.itemsize > 8:
            return _pack(plainer(obj, path, changed, f"an array of {array.dtype}"), path, arrays, changed)
        key = path or "value"
        while key in arrays or key in (_STRUCTURE, "file"):
            key += "_"
        arrays[key] = array
        kind = "array" if not isinstance(obj, Tensor) else "leaf" if obj._requires_grad else "tensor"
        return {kind: key}
    if isinstance(obj, dict):
        items = [(plain_key(k, path, changed), v) for k, v in obj.items()]
        return {"dict": [[k, _pack(v, f"{path}.{k}".lstrip("."), arrays, changed)] for k, v in items]}
    if isinstance(obj, list | tuple):
        kind = "list" if isinstance(obj, list) else "tuple"
        return {kind: [_pack(v, f"{path}.{i}".lstrip("."), arrays, changed) for i, v in enumerate(obj)]}
    return _pack(plainer(obj, path, changed), path, arrays, changed)


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
            return _read_safetensors(file.read(), path)
        return _read(file, path)


def _read(file: Any, name: Any) -> Any:
    try:
        start = file.tell()
        first = file.read(1)
        if first == b"\x80":
            raise CheckpointError(_pickle(name))
        length = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        with zipfile.ZipFile(file) as archive:
            return _Archive(archive, length, name).content()
    except (CheckpointError, PermissionError):
        raise
    except (Exception, MemoryError) as error:  # whatever a damaged archive makes zipfile, NumPy and json stumble over
        raise CheckpointError(f"{name} is damaged, truncated or not a checkpoint ({type(error).__name__})") from error


def _pickle(name: Any) -> str:
    return (
        f"{name} is a pickle of PyTorch's, which could run any code: this engine reads none. Convert it where "
        "PyTorch is: minigrad.save(minigrad.from_torch(torch.load(path, map_location='cpu')), 'new.npz')"
    )


class _Archive:
    """The entries of a ``.npz`` file, each to be taken once. None can be larger than its place in the file."""

    def __init__(self, archive: zipfile.ZipFile, length: int, name: Any) -> None:
        self.archive = archive
        self.name = name
        entries = archive.infolist()
        self.entries = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        if any(key.endswith("data.pkl") for key in self.entries):
            raise CheckpointError(_pickle(name))
        if _STRUCTURE not in self.entries:
            raise CheckpointError(f"{name} is not a checkpoint of minigrad")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError(f"{name} has compressed entries, which could be of any size: minigrad writes none")
        if len(self.entries) < len(entries) or sum(entry.file_size for entry in entries) > length:
            raise CheckpointError(f"{name} has entries that are in it twice, or one in another")

    def content(self) -> Any:
        """What was saved."""
        structure = json.loads(self.array(_STRUCTURE).tobytes())
        if structure.get("format") != _FORMAT or structure.get("version") != _VERSION:
            raise CheckpointError(f"{self.name} has version {structure.get('version')}, this reads version {_VERSION}")
        found = self.unpack(structure["content"])
        if self.entries:
            raise CheckpointError(f"{self.name} has an array that belongs nowhere: {next(iter(self.entries))}")
        return found

    def array(self, key: str) -> np.ndarray[Any, Any]:
        """An entry, which is gone then."""
        if key not in self.entries:
            raise CheckpointError(f"{self.name} lacks the array {key}, or names it twice")
        data = self.archive.read(self.entries.pop(key))
        text = io.BytesIO(data)
        version = np.lib.format.read_magic(text)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(text)
        if dtype.kind not in KINDS or dtype.itemsize > 8:
            raise CheckpointError(f"{self.name}: the array {key} is of {dtype}, and not of plain numbers")
        start = text.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - start:
            raise CheckpointError(f"{self.name}: the array {key} is not as long as its shape {shape} says")
        array = np.ndarray(shape, dtype, bytearray(data[start:]), order="F" if fortran else "C")
        return array.astype(dtype.newbyteorder("="), copy=False)

    def unpack(self, content: Any) -> Any:
        """Plain data from its JSON."""
        if not isinstance(content, dict):
            if isinstance(content, list | float):
                raise ValueError("such a value is never written bare")
            return content
        ((kind, value),) = content.items()
        if kind == "float":
            return float.fromhex(value)
        if kind == "dict":
            found = {key: self.unpack(part) for key, part in value}
            if len(found) < len(value) or any(type(key) not in (str, int) for key in found):
                raise ValueError("a key is there twice, or is none")
            return found
        if kind in ("array", "tensor", "leaf"):
            array = self.array(value)
            return array if kind == "array" else Tensor(array, requires_grad=kind == "leaf")
        return {"list": list, "tuple": tuple}[kind](self.unpack(part) for part in value)


def _read_safetensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start], object_pairs_hook=_once)
        if start > len(data):
            raise ValueError("it ends within its header")
        about = header.pop("__metadata__", {})
        places = sorted((tuple(entry["data_offsets"]), name) for name, entry in header.items())
        end = 0
        for (first, last), name in places:
            if first != end or last < first:
                raise ValueError(f"{name} does not begin where the tensor before it ends")
            end = last
        if end != len(data) - start:
            raise ValueError(f"its tensors have {end} bytes, the file {len(data) - start} for them")
        if CHECKSUM in about and about[CHECKSUM] != _checksum(header, [memoryview(data)[start:]]):
            raise ValueError(f"it was changed since minigrad wrote it; a program that means to drops {CHECKSUM}")
        return {name: Tensor(_numbers(name, entry, data, start)) for name, entry in header.items()}
    except NotImplementedError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (Exception, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged or no .safetensors file ({error or type(error).__name__})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _numbers(name: str, entry: dict[str, Any], data: bytes, start: int) -> np.ndarray[Any, Any]:
    kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in SAFETENSORS:
        raise NotImplementedError(
            f"{name} is of {kind}, which NumPy does not have: convert it where PyTorch is, with tensor.float()"
        )
    dtype = np.dtype(SAFETENSORS[kind])
    if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) * dtype.itemsize != last - first:
        raise ValueError(f"{name} is not as long as its shape {shape} says")
    array = np.ndarray(shape, dtype, bytearray(data[start + first : start + last]))
    if kind == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    if kind == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"{name} has a truth value that is none")
    return array.astype(dtype.newbyteorder("="), copy=False)


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
