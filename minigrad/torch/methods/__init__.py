"""The methods of ``torch.Tensor`` beyond the core's: a base of Tensor, in groups by kind.

Nothing here knows Tensor: it would be a cycle. A method calls ``self._apply(op, ...)`` and other methods. ``public``
gives it its further names; the functions of the module, and the forms in place, come from that.
"""

from __future__ import annotations

from typing import Any

from minigrad.torch.errors import OpTypeError, OpValueError, explained
from minigrad.torch.methods.base import with_numpy_names
from minigrad.torch.methods.gradients import Gradients
from minigrad.torch.methods.in_place import InPlace, in_place, reshaped_in_place
from minigrad.torch.methods.named import Named
from minigrad.torch.methods.numbers import Numbers
from minigrad.torch.methods.out import Out
from minigrad.torch.methods.picking import Picking
from minigrad.torch.methods.reductions import Reductions
from minigrad.torch.methods.shapes import Shapes

__all__ = ["Methods", "OpTypeError", "OpValueError", "explained"]

# The core's own methods, which stand there written out, that have further names: a function each, these in place too.
CORE = "exp log tanh relu sum mean softmax log_softmax reshape transpose detach"
CORE_IN_PLACE = "exp log tanh relu"


class Methods(Numbers, Reductions, Shapes, Picking, InPlace, Out, Gradients, Named):
    """All groups together. Whoever inherits this directly, which is Tensor, gets the names that ``public`` declares."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        if Methods not in cls.__bases__:
            return
        methods = {name: m for base in reversed(cls.__mro__) for name, m in vars(base).items() if callable(m)}
        for name, method in methods.items():
            facts = getattr(method, "public", None) or {"also": (), "in_place": name in CORE_IN_PLACE.split()}
            if "dim" in getattr(method, "__code__", in_place.__code__).co_varnames[:4]:
                method = with_numpy_names(method)
                setattr(cls, name, method)
            for other in facts["also"]:
                setattr(cls, other, method)
            if facts["in_place"]:
                setattr(cls, f"{name}_", in_place(name))
        for name in ("squeeze", "unsqueeze", "transpose", "t"):
            setattr(cls, f"{name}_", reshaped_in_place(name))


def functions(cls: Any) -> dict[str, Any]:
    """The methods of Tensor that are functions of the module too, by name."""
    found = {}
    for base in reversed(cls.__mro__):
        for name, method in vars(base).items():
            if getattr(method, "public", {}).get("function") or (base is cls and name in CORE.split()):
                for public_name in (name, *getattr(method, "public", {"also": ()})["also"]):
                    found[public_name] = getattr(cls, public_name)
    return found
