"""Where a network keeps what it learns: Parameter, and Module, the tree of named parts that every layer is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minigrad.graph import note_write, state
from minigrad.tensor import RemovableHandle, Tensor, as_tensor, bfloat16, destination, float16, float32, float64

M = TypeVar("M", bound="Module")
T = TypeVar("T")


class Parameter(Tensor):
    """A tensor of any shape that is learned: a module that gets one as an attribute lists it in ``parameters()``."""

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(as_tensor(data)._array, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` left out on either side."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class _Running(threading.local):
    """The paths of all modules under the outermost module that is running in this thread, by id."""

    paths: dict[int, str] | None = None


class _Structure:
    """A new object each time a module is added to or taken from any other: tells whether cached paths still hold."""

    version = object()


_running = _Running()


def structure_changed() -> None:
    """To be called by whatever adds, replaces or removes a submodule."""
    _Structure.version = object()


def _no_forward(self: Module, *args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError(f"{type(self).__name__} defines no forward(), so it cannot be called")


class Module:
    """A part of a network: parameters, buffers and smaller modules under their attribute names, and ``forward``.

    A subclass calls ``super().__init__()`` first, then assigns its parts, and defines ``forward``. Calling the module
    runs ``forward`` and notes where it runs, so that every op in the graph and every error knows its module's path.
    """

    training: bool
    forward: Callable[..., Any] = _no_forward
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _temporary=set(),  # names of buffers that stay out of the state dict
            _pre_hooks=[],
            _hooks=[],
        )

    # Running

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        paths, before = _running.paths, state.scope
        outermost = paths is None
        if paths is None:
            paths = _running.paths = self._paths_below()
        state.scope = paths.get(id(self)) or type(self).__name__
        try:
            if self._pre_hooks or self._hooks:
                return self._run_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            state.scope = before
            if outermost:
                _running.paths = None

    def _paths_below(self) -> dict[int, str]:
        version, paths = self.__dict__.get("_paths", (None, {}))
        if version is not _Structure.version:
            version = _Structure.version
            paths = {id(module): path for path, module in self.named_modules()}
            self.__dict__["_paths"] = version, paths
        return paths

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_paths"}  # ids are not a copy's ids

    def _run_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in list(self._pre_hooks):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._hooks):
            changed = hook(self, args, output)
            output = output if changed is None else changed
        return output

    def register_forward_pre_hook(self, hook: Callable[[Any, tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call ``hook(module, args)`` before each forward; what it returns, unless None, takes the place of args."""
        return _add_hook(self._pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward; what it returns, unless None, is the new output."""
        return _add_hook(self._hooks, hook)

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        parts = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif "_modules" not in parts:
            object.__setattr__(self, name, value)
        elif name in parts["_parameters"]:
            if value is not None:
                raise TypeError(f"{name} of {type(self).__name__} is a parameter: assign a Parameter or None to it")
            parts["_parameters"][name] = None
        elif name in parts["_modules"]:
            if value is not None:
                raise TypeError(f"{name} of {type(self).__name__} is a module: assign a Module or None to it")
            parts["_modules"][name] = None
            structure_changed()
        elif name in parts["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"{name} of {type(self).__name__} is a buffer: assign a Tensor or None to it")
            parts["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__
        if "_modules" not in parts:
            raise AttributeError(f"{type(self).__name__}.__init__() must call super().__init__() before anything else")
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in parts[kind]:
                return parts[kind][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in self.__dict__[kind]:
                del self.__dict__[kind][name]
                self._temporary.discard(name)
                structure_changed()
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._modules, *self._buffers})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None keeps the name for a parameter that is switched off."""
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is not learned; it goes into the state dict if persistent."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._register("_buffers", name, tensor)
        self._temporary.discard(name)
        if not persistent:
            self._temporary.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a smaller module under a name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{name!r} must be a Module or None, got {type(module).__name__}")
        self._register("_modules", name, module)
        structure_changed()

    register_module = add_module

    def _register(self, kind: str, name: str, value: Any) -> None:
        parts = self.__dict__
        if "_modules" not in parts:
            raise AttributeError(
                f"{type(self).__name__} gets {name!r} too early: its __init__() must call super().__init__() first"
            )
        if not name or "." in name:
            raise KeyError(f"{name!r} cannot name a part of a module: it is empty or has a dot in it")
        if name not in parts[kind]:
            if hasattr(type(self), name) and name not in parts:
                raise KeyError(f"{type(self).__name__} has a method or class attribute {name!r} already")
            parts.pop(name, None)
            for other in ("_parameters", "_modules", "_buffers"):
                parts[other].pop(name, None)
            self._temporary.discard(name)
        parts[kind][name] = value

    # Walking the tree

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted paths, each once (under its first path)."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted paths, in the order of assignment; a shared one once, under its first."""
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted paths, each once."""
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _members(self, kind: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in module.__dict__[kind].items():
                if member is not None and id(member) not in seen:
                    if once:
                        seen.add(id(member))
                    yield _join(path, name), member

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; "" is this one."""
        module: Any = self
        for name in target.split(".") if target else []:
            if module._modules.get(name) is None:
                raise AttributeError(f"{type(self).__name__} has no module {target!r}: no {name!r} there")
            module = module._modules[name]
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        buffer = self.get_submodule(path)._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return buffer

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below, then on this one: for initial weights."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # Saving and loading

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted path: detached tensors on the same memory."""
        found: dict[str, Tensor] = {}
        for kind in (self._parameters, self._buffers):
            for name, member in kind.items():
                if member is not None and name not in self._temporary:
                    found[prefix + name] = member if keep_vars else member.detach()
        for name, module in self._modules.items():
            if module is not None:
                found.update(module.state_dict(prefix=f"{prefix}{name}.", keep_vars=keep_vars))
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values in by name (tensors or arrays).

        Raises RuntimeError, before anything is changed, that lists every wrong shape and, if strict, every missing and
        unexpected key.
        """
        own = self.state_dict(keep_vars=True)
        arrays = {name: as_tensor(value)._array for name, value in state_dict.items() if name in own}
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

    # Switches for the whole tree

    def train(self: M, mode: bool = True) -> M:
        """Training mode, in which dropout is on."""
        if not isinstance(mode, bool):
            raise TypeError(f"train(mode) needs True or False, got {mode!r}")
        for module in self.modules():
            module.__dict__["training"] = mode
        return self

    def eval(self: M) -> M:
        """Evaluation mode, in which dropout is off."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Let all parameters be learned, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for parameter in self.parameters():
            clear_grad(parameter, set_to_none)

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
        return self.to(float32)

    def double(self: M) -> M:
        return self.to(float64)

    def half(self: M) -> M:
        return self.to(float16)

    def bfloat16(self: M) -> M:
        return self.to(bfloat16)

    def type(self: M, dst_type: Any) -> M:
        return self.to(dst_type)

    def cpu(self: M) -> M:
        return self

    def cuda(self: M, device: Any = None) -> M:
        """Refused: there is no such device here."""
        return self.to(device="cuda")

    def share_memory(self: M) -> M:
        return self

    def compile(self, *_: Any, **__: Any) -> None:
        """Accepted: NumPy runs the module as it is."""

    # Looking at it

    def extra_repr(self) -> str:
        """What stands between the brackets in the printed form: the settings."""
        return ""

    def __repr__(self) -> str:
        return "\n".join(self._lines(set()))

    def _lines(self, seen: set[int]) -> list[str]:
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


def clear_grad(tensor: Tensor, set_to_none: bool) -> None:
    """Forget a gradient, or fill it with zeros."""
    if set_to_none:
        tensor.grad = None
    elif tensor.grad is not None:
        tensor.grad._array[...] = 0
        note_write(tensor.grad._array)


def _add_hook(hooks: list[Any], hook: Callable[..., Any]) -> RemovableHandle:
    entry = partial(hook)  # compares by identity, so the same hook can be there twice
    hooks.append(entry)
    return RemovableHandle(hooks, entry)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
