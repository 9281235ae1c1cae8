"""Where a network keeps what it learns: Parameter, and Module, the tree of named parts that every layer is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minigrad.core.graph import state
from minigrad.core.tensor import Tensor
from minigrad.torch.module import Forward, ModuleMethods, P, R

PARTS = ("_parameters", "_modules", "_buffers")


class Parameter(Tensor):
    """A tensor of any shape that is learned: a module that gets one as an attribute lists it in ``parameters()``."""

    _heading = "Parameter containing:\n"  # of its printed form

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data._array if isinstance(data, Tensor) else data, requires_grad=requires_grad)


class Module(ModuleMethods):
    """A part of a network: parameters, buffers and smaller modules under their attribute names, and ``forward``.

    A subclass calls ``super().__init__()`` first, then assigns its parts, and defines ``forward``. Calling the module
    runs ``forward`` and notes where it runs, so that every op in the graph and every error knows its module's path.
    """

    _structure = object()  # a new one each time a module is added to or taken from another: paths have changed then
    training: bool
    forward: Callable[..., Any]
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        temporary: set[str] = set()  # names of buffers that stay out of the state dict
        # Not by assignment: __setattr__ below looks into these dicts.
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _temporary=temporary)
        self.__dict__.update(_pre_hooks=[], _hooks=[])

    def __call__(self: Forward[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        paths, before = state.paths, state.scope
        outermost = paths is None
        if paths is None:
            paths = state.paths = self._paths_below()
        state.scope = paths.get(id(self)) or type(self).__name__
        try:
            if self._pre_hooks or self._hooks:
                return self._run_with_hooks(args, kwargs)  # type: ignore[no-any-return]
            return self.forward(*args, **kwargs)
        finally:
            state.scope = before
            if outermost:
                state.paths = None

    def _paths_below(self) -> dict[int, str]:
        """The dotted paths of this module and all below it, by id; made anew only where a part has changed since."""
        version, paths = self.__dict__.get("_paths", (None, {}))
        if version is not Module._structure:
            version = Module._structure
            paths = {id(module): path for path, module in self.named_modules()}
            self.__dict__["_paths"] = version, paths
        return paths  # type: ignore[no-any-return]

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
                raise self._wrong_part(kind, name)

    def __getattr__(self, name: str) -> Any:  # asked only where there is no such attribute in __dict__ or the class
        parts = self.__dict__
        if "_modules" not in parts:
            raise AttributeError(f"{type(self).__name__}.__init__() must call super().__init__() before anything else")
        for kind in PARTS:
            if name in parts[kind]:
                return parts[kind][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

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
            Module._structure = object()

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
        """The parts of one kind (``_parameters`` or ``_buffers``) with their dotted paths."""
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
