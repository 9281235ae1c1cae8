"""The methods of ``torch.Tensor`` beyond the core's: a base of Tensor, in groups by kind.

Nothing here knows Tensor: it would be a cycle. A method calls ``self._apply(op, ...)`` and other methods. ``public``
gives it its further names; the functions of the module, and the forms in place, come from that.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from minigrad.core.op import OPS, facts
from minigrad.torch.errors import OpTypeError, OpValueError, explained
from minigrad.torch.halves import in_single
from minigrad.torch.methods.base import Names, with_numpy_names
from minigrad.torch.methods.gradients import Gradients
from minigrad.torch.methods.named import Named
from minigrad.torch.methods.numbers import Numbers
from minigrad.torch.methods.out import Out
from minigrad.torch.methods.picking import Picking
from minigrad.torch.methods.products import Products
from minigrad.torch.methods.reductions import Reductions
from minigrad.torch.methods.shapes import Shapes
from minigrad.torch.methods.views import Views, follow
from minigrad.torch.methods.writing import InPlace, in_place

__all__ = ["Methods", "OpTypeError", "OpValueError", "explained", "follow", "in_single"]


class Methods(Numbers, Products, Reductions, Shapes, Picking, InPlace, Views, Out, Gradients, Named):
    """All groups together. Whoever inherits this directly, which is Tensor, gets the names that ``public`` declares."""

    __slots__ = ()
    _names: ClassVar[dict[str, Names]]  # of each method, its further names

    def __init_subclass__(cls) -> None:
        if Methods not in cls.__bases__:
            return
        cls._names = {}
        methods = {name: m for base in reversed(cls.__mro__) for name, m in vars(base).items() if callable(m)}
        for name, method in methods.items():
            names = getattr(method, "public", None) or core_names(cls, name)
            if "dim" in getattr(inspect.unwrap(method), "__code__", in_place.__code__).co_varnames[:4]:
                method = with_numpy_names(method)
                setattr(cls, name, method)
            for other in names.also.split():
                setattr(cls, other, method)
            if names.in_place:
                setattr(cls, f"{name}_", in_place(name))
            cls._names[name] = names


def core_names(cls: Any, name: str) -> Names:
    """A method that the core writes out is a function too if it bears an op's name, and in place if elementwise."""
    if name not in vars(cls) or name not in OPS:
        return Names(function=False)
    return Names(in_place=facts(OPS[name]).elementwise)


def functions(cls: Any) -> dict[str, str]:
    """The functions of the module that are methods of Tensor too, and the method's first name for each."""
    every = [(name, names) for name, names in cls._names.items() if names.function]
    return {function: name for name, names in every for function in (name, *names.also.split())}
