"""``torch.nn.Module``'s longer tail: buffers and hooks, walking, saving and loading, dtypes, the printed form."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np

from minigrad.core.graph import state
from minigrad.core.written import note_write
from minigrad.torch.dtypes import bfloat16, destination, float16, float32, float64, plain
from minigrad.torch.hooks import RemovableHandle, add_hook

if TYPE_CHECKING:
    from minigrad.core.module import Module, Parameter
    from minigrad.core.tensor import Tensor

KEPT = ("_paths", "_found")  # what a module keeps of the last walk over its parts
M = TypeVar("M", bound="ModuleMethods")
P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` left out on either side."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self: Any) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Forward(Protocol[P, R]):
    """What a call sees of a module, so that it takes and returns what the module's own ``forward`` does."""

    _pre_hooks: list[Any]
    _hooks: list[Any]

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def _paths_below(self) -> dict[int, str]: ...
    def _run_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


class Parts(MutableMapping[str, Any]):
    """The parameters, modules or buffers of a module by name: attributes of it, which are changed here too."""

    def __init__(self, module: Any, kind: str) -> None:
        self._module, self._kind, self._kinds = module, kind, module._kinds

    def __getitem__(self, name: str) -> Any:
        if self._kinds.get(name) != self._kind:
            raise KeyError(name)
        return self._module.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._module._register(self._kind, name, value)

    def __delitem__(self, name: str) -> None:
        self[name]  # or a KeyError
        delattr(self._module, name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, kind in self._kinds.items() if kind == self._kind])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def items(self) -> Any:  # and values(): a list is quicker than the views that the base class makes
        return self._module._parts(self._kind)

    def values(self) -> Any:
        return [value for _, value in self.items()]

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class ModuleMethods:
    """Base of Module. What it needs of its subclass are ``_kinds``, ``named_modules`` and ``_register``."""

    __dict__: dict[str, Any]
    _kinds: dict[str, str]  # of each part, in the order of assignment: "_parameters", "_modules" or "_buffers"
    _temporary: set[str]  # names of buffers that stay out of the state dict
    _structure: object
    _pre_hooks: list[Any]
    _hooks: list[Any]
    parameters: Callable[..., Iterator[Parameter]]
    _members: Callable[..., Iterator[tuple[str, Any]]]
    named_modules: Callable[..., Iterator[tuple[str, Any]]]
    shown = ""  # what the printed form shows: "in_features=, bias=", or without = for the value alone

    _parameters = property(lambda self: Parts(self, "_parameters"))
    _modules = property(lambda self: Parts(self, "_modules"))
    _buffers = property(lambda self: Parts(self, "_buffers"))

    def _plain_attributes(self: Any) -> dict[str, Any]:
        """The attributes that are no parts, without what is kept from the last walk."""
        return {name: value for name, value in self.__dict__.items() if name not in (*self._kinds, *KEPT)}

    def _parameters_below(self: Any) -> list[Any]:
        """The parameters of this module and all below it, each once; looked for anew only where a part has changed."""
        version, found = self.__dict__.get("_found", (None, []))
        if version is not self._structure:
            version, found = self._structure, [weakref.ref(p) for _, p in self.named_parameters()]
            self.__dict__["_found"] = version, found
        return [parameter() for parameter in found]

    def __getstate__(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in KEPT}  # ids are not a copy's ids

    def _is_unwatched(self: Any) -> bool:
        """Whether nobody sees how a result comes about: no hooks here or below, and no recorder of ops."""
        return state.observer is None and not any(m._hooks or m._pre_hooks for m in self.modules())

    def _run_with_hooks(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in list(self._pre_hooks):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._hooks):
            changed = hook(self, args, output)
            output = output if changed is None else changed
        return output

    def register_forward_pre_hook(self: Any, hook: Callable[[Any, tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call ``hook(module, args)`` before each forward; what it returns, unless None, takes the place of args."""
        return add_hook(self._pre_hooks, hook)

    def register_forward_hook(self: Any, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward; what it returns, unless None, is the new output."""
        return add_hook(self._hooks, hook)

    def __delattr__(self: Any, name: str) -> None:
        if name in self._kinds:
            self._register(self._kinds[name], name, None)  # so that whoever keeps paths hears of it
            del self._kinds[name]
            self._temporary.discard(name)
        object.__delattr__(self, name)

    def register_parameter(self: Any, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None keeps the name for a parameter that is switched off.

        KeyError, as from the two below, where something else has the name: assign to it, or delete it first.
        """
        self._check_free("_parameters", name)
        self._register("_parameters", name, param)

    def register_buffer(self: Any, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is not learned; it goes into the state dict if persistent."""
        if tensor is not None and not hasattr(tensor, "_array"):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._check_free("_buffers", name)
        self._register("_buffers", name, tensor)
        self._temporary.discard(name)
        if not persistent:
            self._temporary.add(name)

    def add_module(self: Any, name: str, module: Module | None) -> None:
        """Add a smaller module under a name."""
        if module is not None and not isinstance(module, ModuleMethods):
            raise TypeError(f"{name!r} must be a Module or None, got {type(module).__name__}")
        self._check_free("_modules", name)
        self._register("_modules", name, module)

    register_module = add_module

    def modules(self: Any) -> Iterator[Module]:
        """The module itself and every module inside, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self: Any) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self: Any) -> Iterator[Module]:
        """The modules directly inside, each once."""
        return (module for _, module in self.named_children())

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted paths, each once."""
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self: Any, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, those of the modules inside too unless ``recurse`` is False."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self: Any, target: str) -> Module:
        """The module at a dotted path; "" is this one."""
        module: Any = self
        for name in target.split(".") if target else []:
            if module._modules.get(name) is None:
                raise AttributeError(f"{type(self).__name__} has no module {target!r}: no {name!r} there")
            module = module._modules[name]
        return module

    def get_parameter(self: Any, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return parameter

    def get_buffer(self: Any, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        buffer = self.get_submodule(path)._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return buffer

    def apply(self: M, fn: Callable[[Any], Any]) -> M:
        """Call ``fn`` on every module below, then on this one: for initial weights."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def state_dict(self: Any, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Parameters and persistent buffers by dotted path: detached tensors on the same memory."""
        found: OrderedDict[str, Tensor] = OrderedDict()
        for kind in (self._parameters, self._buffers):
            for name, member in kind.items():
                if member is not None and name not in self._temporary:
                    found[prefix + name] = member if keep_vars else member.detach()
        for name, module in self._modules.items():
            if module is not None:
                found.update(module.state_dict(prefix=f"{prefix}{name}.", keep_vars=keep_vars))
        return found

    def load_state_dict(self: Any, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values in by name (tensors or arrays).

        Raises RuntimeError, before anything is changed, that lists every wrong shape and, if strict, every missing and
        unexpected key.
        """
        own = self.state_dict(keep_vars=True)
        arrays = {name: np.asarray(plain(value)) for name, value in state_dict.items() if name in own}
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        errors = [
            f"size mismatch for {name}: {array.shape} in the state_dict, {own[name].shape} in the model"
            for name, array in arrays.items()
            if array.shape != own[name].shape
        ]
        if strict and unexpected:
            errors.insert(0, f"Unexpected key(s) in state_dict: {', '.join(unexpected)}")
        if strict and missing:
            errors.insert(0, f"Missing key(s) in state_dict: {', '.join(missing)}")
        if errors:
            listed = "\n    ".join(errors)
            name = type(self).__name__
            raise RuntimeError(f"cannot load the state_dict into {name}, nothing was changed:\n    {listed}")
        for name, array in arrays.items():
            own[name]._array[...] = array
            note_write(own[name]._array)
        return IncompatibleKeys(missing, unexpected)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Let all parameters be learned, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self: M, *args: Any, dtype: Any = None, device: Any = None, **_: Any) -> M:
        """Turn floating parameters, their gradients and buffers into another dtype, in place; the device is "cpu"."""
        dtype = destination(args, dtype, device)
        if dtype is None:
            return self
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"a module can be turned into floating dtypes only, not {np.dtype(dtype)}")
        for tensor in (*self.parameters(), *self.buffers()):
            for part in (tensor, tensor.grad):
                if part is not None and part.dtype.kind == "f":
                    part._array = part._array.astype(dtype, copy=False)
        return self

    def float(self: M) -> M:
        """Floating parameters and buffers as float32, in place."""
        return self.to(float32)

    def double(self: M) -> M:
        """Floating parameters and buffers as float64, in place."""
        return self.to(float64)

    def half(self: M) -> M:
        """Floating parameters and buffers as float16, in place."""
        return self.to(float16)

    def bfloat16(self: M) -> M:
        """Floating parameters and buffers as bfloat16, in place."""
        return self.to(bfloat16)

    def type(self: M, dst_type: Any) -> M:
        """Floating parameters and buffers in a dtype, in place."""
        return self.to(dst_type)

    def cpu(self: M) -> M:
        """Itself: all memory is the CPU's."""
        return self

    def cuda(self: M, device: Any = None) -> M:
        """Refused: there is no such device here."""
        return self.to(device="cuda")

    def share_memory(self: M) -> M:
        """Itself, as it is: accepted for PyTorch programs."""
        return self

    def compile(self: Any, *_: Any, **__: Any) -> None:
        """Accepted: NumPy runs the module as it is."""

    def zero_grad(self: Any, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for parameter in self.parameters():
            parameter._clear_grad(set_to_none)

    def train(self: M, mode: bool = True) -> M:
        """Training mode, in which dropout is on."""
        if not isinstance(mode, bool):
            raise TypeError(f"train(mode) needs True or False, got {mode!r}")
        for _, module in self.named_modules():
            module.__dict__["training"] = mode
        return self

    def eval(self: M) -> M:
        """Evaluation mode, in which dropout is off."""
        return self.train(False)

    def extra_repr(self: Any) -> str:
        """What stands between the brackets in the printed form: the settings that ``shown`` names."""
        parts = []
        for name in filter(None, self.shown.split(", ")):
            key = name.rstrip("=")
            value = getattr(self, key)
            if key in self._parameters:
                value = value is not None
            if value is not None:
                parts.append(f"{name}{value!r}" if name.endswith("=") else f"{value!r}")
        return ", ".join(parts)

    def __repr__(self: Any) -> str:
        return "\n".join(self._lines(set()))

    def _lines(self: Any, seen: set[int]) -> list[str]:
        """The printed form, with the number of parameters that no line above has counted."""
        every = {id(p): p.numel() for p in self.parameters()}
        count = sum(n for key, n in every.items() if key not in seen)
        note = f"  # {count:,} parameter{'s' * (count != 1)}" if every else ""
        if any(key in seen for key in every):
            note = f"{note}, others shared with the above" if count else "  # parameters shared with the above"
        seen.update(id(p) for p in self.parameters(recurse=False))
        parts: list[tuple[str, str, list[str]]] = []  # first name, last name, lines
        counts: list[int] = []
        for name, module in self._modules.items():
            lines = ["None"] if module is None else module._lines(seen)
            if parts and name.isdigit() and parts[-1][2] == lines:  # 6 equal blocks are printed once
                parts[-1] = parts[-1][0], name, lines
                counts[-1] += 1
            else:
                parts.append((name, name, lines))
                counts.append(1)
        head = f"{type(self).__name__}({self.extra_repr()}"
        if not parts:
            return [f"{head}){note}"]
        inside = []
        for (first, last, lines), times in zip(parts, counts, strict=True):
            label = f"({first}): " if times == 1 else f"({first}-{last}): {times} x "
            inside += [f"  {label}{lines[0]}", *(f"  {line}" for line in lines[1:])]
        return [f"{head}{note}", *inside, ")"]

    def _wrong_part(self: Any, kind: str, name: str) -> TypeError:
        wanted = {"_parameters": "parameter: assign a Parameter", "_modules": "module: assign a Module"}
        what = wanted.get(kind, "buffer: assign a Tensor")
        return TypeError(f"{name} of {type(self).__name__} is a {what} or None to it")

    def _check_name(self: Any, name: str) -> None:
        """Raise KeyError for a name that no part of a module can have."""
        if not name or "." in name:
            raise KeyError(f"{name!r} cannot name a part of a module: it is empty or has a dot in it")
        if hasattr(type(self), name) and name not in self.__dict__:
            raise KeyError(f"{type(self).__name__} has a method or class attribute {name!r} already")

    def _check_free(self: Any, kind: str, name: str) -> None:
        """Raise KeyError where something of another kind has the name, which a registration would drop."""
        if name in self.__dict__ and self._kinds.get(name) != kind:
            raise KeyError(f"attribute {name!r} exists already in {type(self).__name__}: del it before")

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        """What a call of the module computes; each module defines its own."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(), so it cannot be called")
