"""Where a network keeps what it learns: Parameter, and Module, the tree of named parts that every layer is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minigrad.core.graph import state
from minigrad.core.tensor import Tensor
from minigrad.torch.module import Forward, ModuleMethods, P, R


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

    _structure = object()  # a new one each time a parameter or module is added to a module, or taken from it
    training: bool
    forward: Callable[..., Any]

    def __init__(self) -> None:
        kinds: dict[
            str, str
        ] = {}  # which attributes are parts, and of what kind: "_parameters", "_modules", "_buffers"
        temporary: set[str] = set()  # names of buffers that stay out of the state dict
        # Not by assignment: __setattr__ below looks into these.
        self.__dict__.update(training=True, _kinds=kinds, _temporary=temporary, _pre_hooks=[], _hooks=[])

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
            kind = self.__dict__.get("_kinds", {}).get(name)
            if kind is None:
                object.__setattr__(self, name, value)
            elif value is None or (kind == "_buffers" and isinstance(value, Tensor)):
                self._register(kind, name, value)
            else:
                raise self._wrong_part(kind, name)

    def __getattr__(self, name: str) -> Any:  # asked only where there is no such attribute, or by a subclass's own
        if name in self.__dict__:
            return self.__dict__[name]
        if "_kinds" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__() must call super().__init__() before anything else")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def _register(self, kind: str, name: str, value: Any) -> None:
        """Put a part under a name, in place of whatever had the name."""
        if "_kinds" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__() must call super().__init__() before {name!r}")
        if self._kinds.get(name) != kind:
            self._check_name(name)
            self._kinds.pop(name, None)
            self._kinds[name] = kind
            self._temporary.discard(name)
        self.__dict__[name] = value
        if kind != "_buffers":
            Module._structure = object()

    def _parts(self, kind: str) -> list[tuple[str, Any]]:
        """The parts of one kind with their names, in the order of assignment."""
        return [(name, self.__dict__[name]) for name, found in self._kinds.items() if found == kind]

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted paths, each once (under its first path)."""
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, module in self._parts("_modules"):
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
            for name, member in module._parts(kind):
                if member is not None and id(member) not in seen:
                    if once:
                        seen.add(id(member))
                    yield f"{path}.{name}" if path else name, member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; without those of the modules inside if ``recurse`` is False."""
        if recurse and type(self).named_parameters is Module.named_parameters:
            return iter(self._parameters_below())
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))
