"""Out of the library and into Python: NumPy arrays, numbers, lists, dtypes, the printed form, copies."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from minigrad import ops
from minigrad.core.graph import state
from minigrad.core.op import Array
from minigrad.core.written import memory_of
from minigrad.torch.dtypes import (
    CPU,
    LEGACY,
    Device,
    bfloat16,
    bool_,
    check_dtype,
    destination,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    plain,
    uint8,
)
from minigrad.torch.errors import OpValueError
from minigrad.torch.methods.base import Base, is_tensor, public
from minigrad.torch.printing import array_text, backward_name, with_notes

if TYPE_CHECKING:
    from minigrad.core.tensor import Tensor


class Out(Base):
    __slots__ = ()

    _heading = ""  # what the printed form begins with

    @property
    def device(self: Any) -> Device:
        """Where its memory is: the CPU."""
        return CPU

    @property
    def is_cuda(self: Any) -> bool:
        """Never: there is no GPU here."""
        return False

    @property
    def itemsize(self: Any) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self: Any) -> int:
        """Bytes of all elements."""
        return self._array.nbytes

    @overload
    def size(self: Any, dim: None = None) -> tuple[int, ...]: ...
    @overload
    def size(self: Any, dim: int) -> int: ...
    def size(self: Any, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[dim]

    @overload
    def stride(self: Any, dim: None = None) -> tuple[int, ...]: ...
    @overload
    def stride(self: Any, dim: int) -> int: ...
    def stride(self: Any, dim: int | None = None) -> Any:
        """How many elements of memory lie between neighbours along each axis."""
        strides = tuple(step // self.dtype.itemsize for step in self._array.strides)
        return strides if dim is None else strides[dim]

    @public(function=False, also="ndimension")
    def dim(self: Any) -> int:
        """The number of axes."""
        return self.ndim

    @property
    def is_sparse(self: Any) -> bool:
        """Never: every element is stored."""
        return False

    def data_ptr(self: Any) -> int:
        """The address of the first element in memory, as an integer."""
        return self._array.ctypes.data

    def storage_offset(self: Any) -> int:
        """How many elements into its memory a view starts."""
        start = memory_of(self._array)
        return (self._array.ctypes.data - start.ctypes.data) // self.dtype.itemsize

    @public(also="nelement")
    def numel(self: Any) -> int:
        """The number of elements."""
        return self._array.size

    def element_size(self: Any) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @public
    def is_floating_point(self: Any) -> bool:
        """Whether its dtype is a floating one, and so can have a gradient."""
        return self.dtype.kind == "f"

    def is_contiguous(self: Any) -> bool:
        """Whether the elements lie in one piece of memory, in the order of the axes."""
        return bool(self._array.flags.c_contiguous)

    def numpy(self: Any, *, force: bool = False) -> Array:
        """The values as a NumPy array that shares memory. RuntimeError while a gradient is wanted, unless ``force``."""
        if self.requires_grad and state.grad_enabled and not force:
            raise RuntimeError("numpy() would leave the graph silently: say .detach().numpy()")
        return self._array

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def __array_ufunc__(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """What NumPy's own functions, and its arrays and numbers left of an operator, do with a tensor."""
        if method == "__call__" and not kwargs:
            if ufunc in _OPERATORS:
                return _OPERATORS[ufunc](self._like(inputs[0]), inputs[1])
            if len(inputs) == 1 and hasattr(self, ufunc.__name__):
                return getattr(self, ufunc.__name__)()
        found = getattr(ufunc, method)(*(x.numpy() if is_tensor(x) else x for x in inputs), **kwargs)
        return found if "out" in kwargs or isinstance(found, tuple) else self._made(found)

    def item(self: Any) -> Any:
        """The one number in it, as a Python number."""
        if self._array.size != 1:
            raise OpValueError(f"item() needs one element, this has shape {self.shape}: index it, or use tolist()")
        return self._array.item()

    def tolist(self: Any) -> Any:
        """The elements as nested lists of Python numbers; of no axes, one number."""
        return self._array.tolist()

    def __float__(self: Any) -> float:
        return float(self.item())

    def __int__(self: Any) -> int:
        return int(self.item())

    def __index__(self: Any) -> int:
        if self.dtype.kind not in "iub":
            raise TypeError(f"only an integer tensor can be an index, this one is {self.dtype}")
        return operator.index(self.item())

    def __bool__(self: Any) -> bool:
        if self.numel() != 1:
            raise OpValueError(f"the truth of a tensor of shape {self.shape} is ambiguous: use .any() or .all()")
        return bool(self.item())

    def __len__(self: Any) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor has no len()")
        return self.shape[0]

    def __iter__(self: Any) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("cannot iterate over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __contains__(self: Any, value: Any) -> bool:
        return bool((self._array == plain(value)).any())

    def __repr__(self: Any) -> str:
        text = "tensor(" + (array_text(self._array, len("tensor(")) if self.numel() else "[]")
        notes = []
        if self.numel() == 0 and self.ndim != 1:
            notes.append(f"size={self.shape}")
        shown = (get_default_dtype(),) if self.numel() == 0 else (get_default_dtype(), int64, bool_)
        if self.dtype not in shown:
            notes.append(f"dtype={self.dtype}")
        if self._node is not None:
            notes.append(f"grad_fn=<{backward_name(self._node)}>")
        elif self._requires_grad:
            notes.append("requires_grad=True")
        return self._heading + with_notes(text, notes, len("tensor("))

    def __format__(self: Any, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 or (spec and self.numel() == 1) else format(str(self), spec)

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaves can be deep-copied: use .detach().clone()")
        new = self._made(self._array.copy())
        new.__class__ = type(self)
        new._requires_grad = self._requires_grad
        if self._grad is not None:
            new._grad = self._made(self._grad._array.copy())
        memo[id(self)] = new
        return new

    def to(self: Any, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **_: Any) -> Tensor:
        """In another dtype, or that of another tensor; the only device is "cpu"."""
        dtype = destination(args, dtype, device)
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self.clone() if copy else self
        if np.dtype(dtype).kind != "f":
            with np.errstate(invalid="ignore"):  # NaN as an integer: some number, as in PyTorch
                return self._made(self._array.astype(dtype))
        return self._apply(ops.cast, self, dtype=np.dtype(dtype))

    def new_tensor(self: Any, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        """A tensor of data in this one's dtype."""
        made = self._made(np.array(plain(data), dtype=check_dtype(dtype) or self.dtype))
        return made.requires_grad_() if requires_grad else made

    def new_full(
        self: Any, size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        """A tensor of one number, of another shape, in this one's dtype."""
        made = self._made(np.full(size, fill_value, dtype=check_dtype(dtype) or self.dtype))
        return made.requires_grad_() if requires_grad else made

    @public(function=False, also="new_empty")
    def new_zeros(
        self: Any, *sizes: Any, size: Any = (), dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        """A tensor of zeros, of another shape, in this one's dtype."""
        return self.new_full(_sizes(sizes) or size, 0, dtype, device, requires_grad)

    def new_ones(
        self: Any, *sizes: Any, size: Any = (), dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        """A tensor of ones, of another shape, in this one's dtype."""
        return self.new_full(_sizes(sizes) or size, 1, dtype, device, requires_grad)

    @overload
    def type(self: Any, dtype: None = None, non_blocking: bool = False) -> str: ...
    @overload
    def type(self: Any, dtype: Any, non_blocking: bool = False) -> Tensor: ...
    def type(self: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
        """In another dtype, also given as ``FloatTensor`` or "torch.FloatTensor"; without one, that name."""
        return f"torch.{_NAMES[self.dtype.name]}Tensor" if dtype is None else self.to(dtype=check_dtype(dtype))

    def type_as(self: Any, other: Tensor) -> Tensor:
        """In the dtype of another tensor."""
        return self.to(other.dtype)

    def cpu(self: Any) -> Tensor:
        """Itself: all memory is the CPU's."""
        return self

    def cuda(self: Any, device: Any = None, non_blocking: bool = False) -> Tensor:
        """Refused: there is no such device here."""
        return self.to(device="cuda")

    def pin_memory(self: Any) -> Tensor:
        """Itself: there is no other memory to copy to."""
        return self

    def bfloat16(self: Any) -> Tensor:
        """In bfloat16."""
        return self.to(bfloat16)

    def short(self: Any) -> Tensor:
        """In int16."""
        return self.to(int16)

    def byte(self: Any) -> Tensor:
        """In uint8."""
        return self.to(uint8)

    def char(self: Any) -> Tensor:
        """In int8."""
        return self.to(int8)

    def float(self: Any) -> Tensor:
        """In float32."""
        return self.to(float32)

    def double(self: Any) -> Tensor:
        """In float64."""
        return self.to(float64)

    def half(self: Any) -> Tensor:
        """In float16."""
        return self.to(float16)

    def long(self: Any) -> Tensor:
        """In int64."""
        return self.to(int64)

    def int(self: Any) -> Tensor:
        """In int32."""
        return self.to(int32)

    def bool(self: Any) -> Tensor:
        """As bools: true where it is other than 0."""
        return self.to(bool_)


_OPERATORS: dict[np.ufunc, Callable[[Any, Any], Any]] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.true_divide: operator.truediv,
    np.floor_divide: operator.floordiv, np.remainder: operator.mod, np.power: operator.pow, np.matmul: operator.matmul,
    np.equal: operator.eq, np.not_equal: operator.ne, np.less: operator.lt, np.less_equal: operator.le,
    np.greater: operator.gt, np.greater_equal: operator.ge, np.bitwise_and: operator.and_, np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in LEGACY.items()}


def _sizes(size: tuple[Any, ...]) -> Any:
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size
