"""Dtypes and devices by PyTorch's names and rules: the default dtype, dtype promotion, what data turns into."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from minigrad.core.op import Array
from minigrad.torch.errors import OpTypeError

Number: TypeAlias = "bool | int | float"

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int8, int16, int32, int64, uint8 = (np.dtype(n) for n in ("int8", "int16", "int32", "int64", "uint8"))
bool_ = np.dtype("bool")


class Device(str):
    """The name of a place for tensors, "cpu" being the only one where there are any."""

    def __new__(cls, type: str, index: int | None = None) -> Device:
        return super().__new__(cls, type if index is None else f"{type}:{index}")

    @property
    def type(self) -> str:
        return str(self).partition(":")[0]

    @property
    def index(self) -> Any:
        return int(str(self).partition(":")[2]) if ":" in self else None

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


CPU = Device("cpu")


def check_device(name: Any) -> None:
    """Raise ValueError, with what to write instead, for any device but the CPU."""
    if name is not None and str(name).partition(":")[0] != "cpu":
        raise ValueError(f"device {str(name)!r}: this engine runs on NumPy, its only device is 'cpu'")


class _MissingDtype:
    """A dtype that NumPy does not have: where it is used, a wider one takes its place, and that is said once."""

    kind = "f"
    said = False

    def __init__(self, name: str, instead: np.dtype[Any]) -> None:
        self.name = name
        self.instead = instead

    @property
    def dtype(self) -> np.dtype[Any]:
        """What NumPy asks an object for that is given as a dtype."""
        if not self.said:
            self.said = True
            warnings.warn(
                f"{self.name}: NumPy has no such dtype, {self.instead} is used for it: more memory, more precision",
                stacklevel=3,
            )
        return self.instead

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.instead

    def __hash__(self) -> int:
        return hash(self.instead)


bfloat16 = _MissingDtype("bfloat16", float32)


def check_dtype(dtype: Any) -> Any:
    """The dtype, or the one that takes its place where NumPy has none; types and names of tensors stand for theirs."""
    if isinstance(dtype, str) and dtype.startswith("torch."):
        return _named(dtype)
    own = getattr(dtype, "dtype", None)
    return own if isinstance(own, np.dtype) else dtype


def _named(name: str) -> np.dtype[Any]:
    """ "torch.FloatTensor" or "torch.float32" as a dtype."""
    short = name.removeprefix("torch.").removeprefix("cuda.")
    if name.startswith("torch.cuda."):
        check_device("cuda")
    found = LEGACY.get(short.removesuffix("Tensor")) or (None if short.endswith("Tensor") else short)
    if found is None:
        raise OpTypeError(f"there is no tensor type {name!r}")
    return np.dtype(found) if found != "bfloat16" else bfloat16.dtype


LEGACY = {  # PyTorch's first names for tensors of each dtype, before Tensor
    "Float": "float32", "Double": "float64", "Half": "float16", "Long": "int64", "Int": "int32", "Short": "int16",
    "Char": "int8", "Byte": "uint8", "Bool": "bool", "BFloat16": "bfloat16",
}  # fmt: skip


class _Settings:
    default_dtype = float32


def get_default_dtype() -> np.dtype[Any]:
    """The dtype that Python floats turn into."""
    return _Settings.default_dtype


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats turn into; float32 unless set."""
    dtype = check_dtype(dtype)
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"the default dtype must be a floating one, got {np.dtype(dtype)}")
    _Settings.default_dtype = np.dtype(dtype)


def plain(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return getattr(value, "_array", value)


def result_type(x: Any, y: Any) -> np.dtype[Any]:
    """The dtype of x and y together, by PyTorch's rule.

    Floating beats integer beats bool. Within one of these kinds, a tensor with axes beats a 0-d one, and that beats a
    plain number: so float32 stays float32 beside numbers and float64 scalars.
    """
    (rank_x, dtype_x), (rank_y, dtype_y) = _rank(x), _rank(y)
    kind_x, kind_y = _KINDS[dtype_x.kind], _KINDS[dtype_y.kind]
    if kind_x != kind_y:
        return dtype_x if kind_x > kind_y else dtype_y
    if rank_x != rank_y:
        return dtype_x if rank_x > rank_y else dtype_y
    return np.promote_types(dtype_x, dtype_y)


_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def _rank(x: Any) -> tuple[int, np.dtype[Any]]:
    if isinstance(x, bool):
        return 0, bool_
    if isinstance(x, int):
        return 0, int64
    if isinstance(x, float):
        return 0, _Settings.default_dtype
    x = plain(x)
    dtype = x.dtype if isinstance(x, np.ndarray | np.generic) else np.asarray(x).dtype
    if dtype.kind not in _KINDS:
        raise TypeError(f"cannot compute with {type(x).__name__} of dtype {dtype}: numbers and tensors only")
    return (1 if np.ndim(x) == 0 else 2), dtype


def array_from(data: Any, dtype: Any, copy: bool) -> Array:
    """What a tensor of the data holds: Python floats get the default dtype, ints int64; arrays keep theirs."""
    dtype = check_dtype(dtype)
    data = plain(data)
    given = isinstance(data, np.ndarray | np.generic) or (dtype is None and _holds_double(data))
    if isinstance(data, list | tuple):
        data = _without_tensors(data)
    array = np.array(data, dtype=dtype) if copy else np.asarray(data, dtype=dtype)
    if dtype is None and not given and array.dtype == np.float64:
        array = array.astype(_Settings.default_dtype)
    if array.dtype.kind not in "biuf":
        raise OpTypeError(f"cannot make a tensor of {array.dtype} from {type(data).__name__}: numbers only")
    return array


def _holds_double(data: Any) -> bool:
    """Whether there is a NumPy float64, an array or a tensor of them, in nested lists: then the whole is float64."""
    if isinstance(data, list | tuple):
        return any(_holds_double(d) for d in data)
    return getattr(data, "dtype", None) == np.float64


def _without_tensors(data: Any) -> Any:
    """Nested lists with plain numbers in place of tensors."""
    if isinstance(data, list | tuple):
        return [_without_tensors(d) for d in data]
    return data._array.tolist() if hasattr(data, "_array") else data


def legacy_array(data: Any, sizes: tuple[int, ...]) -> Array:
    """What ``Tensor(...)`` of something else than an array holds: PyTorch's oldest constructor makes floats."""
    data = plain(data)
    if isinstance(data, np.ndarray | np.generic):
        return np.asarray(data)
    if sizes or isinstance(data, int):
        return np.zeros((data, *sizes), dtype=_Settings.default_dtype)
    return array_from(data, _Settings.default_dtype, copy=True)


def destination(args: Sequence[Any], dtype: Any, device: Any) -> Any:
    """The dtype that the arguments of ``to()`` ask for, None for none; ValueError for a device that is not there."""
    for arg in args:
        if hasattr(arg, "_array"):
            dtype = arg.dtype
        elif isinstance(arg, str) and not arg.startswith(("float", "int", "uint", "bool", "torch.")):
            device = arg
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    check_device(device)
    return check_dtype(dtype)
