"""Where a network keeps what it learns: Parameter, and Module, the tree of named parts that every layer is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from minigrad.core.graph import state
from minigrad.core.tensor import Tensor
from minigrad.torch.module import Forward, ModuleMethods, P, R

M = TypeVar("M", bound="Module")
PARTS = ("_parameters", "_modules", "_buffers")


class Parameter(Tensor):
    """A tensor of any shape that is learned: a module that gets one as an attribute lists it in ``parameters()``."""

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data._array if isinstance(data, Tensor) else data, requires_grad=requires_grad)

    @classmethod
    def of_shape(cls, *shape: int, dtype: Any = None) -> Parameter:
        """To be filled: zeros, of the default dtype unless another is given."""
        return cls(cls._zeros(shape, dtype))

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


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


class Module(ModuleMethods):
    """A part of a network: parameters, buffers and smaller modules under their attribute names, and ``forward``.

    A subclass calls ``super().__init__()`` first, then assigns its parts, and defines ``forward``. Calling the module
    runs ``forward`` and notes where it runs, so that every op in the graph and every error knows its module's path.
    """

    training: bool
    forward: Callable[..., Any]
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

    def __call__(self: Forward[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        paths, before = _running.paths, state.scope
        outermost = paths is None
        if paths is None:
            paths = _running.paths = self._paths_below()
        state.scope = paths.get(id(self)) or type(self).__name__
        try:
            if self._pre_hooks or self._hooks:
                output: R = self._run_with_hooks(args, kwargs)
                return output
            return self.forward(*args, **kwargs)
        finally:
            state.scope = before
            if outermost:
                _running.paths = None

    def _paths_below(self) -> dict[int, str]:
        paths: dict[int, str]
        version, paths = self.__dict__.get("_paths", (None, {}))
        if version is not _Structure.version:
            version = _Structure.version
            paths = {id(module): path for path, module in self.named_modules()}
            self.__dict__["_paths"] = version, paths
        return paths

    # Its parts

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._register("_parameters", name, value)
        elif isinstance(value, Module):
            self._register("_modules", name, value)
        else:
            kind = next((kind for kind in PARTS if name in self.__dict__.get(kind, ())), None)
            if kind is None:
                object.__setattr__(self, name, value)
            elif value is None or (kind == "_buffers" and isinstance(value, Tensor)):
                self._register(kind, name, value)
            else:
                wanted = {"_parameters": "parameter: assign a Parameter", "_modules": "module: assign a Module"}
                raise TypeError(f"{name} is a {wanted.get(kind, 'buffer: assign a Tensor')} or None to it")

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__
        if "_modules" not in parts:
            raise AttributeError(f"{type(self).__name__}.__init__() must call super().__init__() before anything else")
        for kind in PARTS:
            if name in parts[kind]:
                return parts[kind][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        for kind in PARTS:
            if name in self.__dict__[kind]:
                del self.__dict__[kind][name]
                self._temporary.discard(name)
                structure_changed()
                return
        object.__delattr__(self, name)

    def _register(self, kind: str, name: str, value: Any) -> None:
        """Put a part under a name, in place of whatever had the name."""
        parts = self.__dict__
        if "_modules" not in parts:
            raise AttributeError(f"{type(self).__name__}.__init__() must call super().__init__() before {name!r}")
        if name not in parts[kind]:
            self._check_name(name)
            for other in PARTS:
                parts[other].pop(name, None)
            parts.pop(name, None)
            self._temporary.discard(name)
        parts[kind][name] = value
        if kind == "_modules":
            structure_changed()

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted paths, each once (under its first path)."""
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, module in self._modules.items():
                if module is not None:
                    yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted paths, in the order of assignment; a shared one once, under its first."""
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def _members(self, kind: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in module.__dict__[kind].items():
                if member is not None and id(member) not in seen:
                    if once:
                        seen.add(id(member))
                    yield f"{path}.{name}" if path else name, member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def zero_grad(self, set_to_none: bool = True) -> None:
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
