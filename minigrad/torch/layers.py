"""What layers of the core offer beyond running: lists of modules as lists, tables from given vectors."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigrad.core.module import Module


class Numbered:
    """Modules under the names "0", "1", ... that can be indexed as a list."""

    def __len__(self: Any) -> int:
        return len(self._modules)

    def __iter__(self: Any) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    def __getitem__(self: Any, index: Any) -> Any:
        if isinstance(index, slice):
            return self._sliced(index)
        return self._modules[self._name(index)]

    def __setitem__(self: Any, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self: Any, index: int | slice) -> None:
        names = list(self._modules)
        gone = set(names[index] if isinstance(index, slice) else [self._name(index)])
        self._set_all([module for name, module in self._modules.items() if name not in gone])

    def append(self: Any, module: Module) -> Any:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: Any, modules: Iterable[Module]) -> Any:
        """Add modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: Any, index: int, module: Module) -> None:
        """Add a module before the one at the index."""
        if not hasattr(module, "_modules"):
            raise TypeError(f"only a Module can be inserted, got {type(module).__name__}")
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._set_all(modules)

    def _sliced(self: Any, index: slice) -> Any:
        return type(self)().extend(list(self)[index])

    def _set_all(self: Any, modules: list[Any]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def _name(self: Any, index: int) -> str:
        index, n = operator.index(index), len(self)
        if not -n <= index < n:
            raise IndexError(f"{type(self).__name__} has {n} modules, there is no [{index}]")
        return list(self._modules)[index]

    def pop(self: Any, index: int = -1) -> Module:
        """Take a module out and return it."""
        module = self[index]
        del self[index]
        return module

    def __add__(self: Any, modules: Iterable[Module]) -> Any:
        """A new one with these modules at the end, which both share."""
        return self[:].extend(modules)

    def __iadd__(self: Any, modules: Iterable[Module]) -> Any:
        return self.extend(modules)


class EmbeddingMethods:
    """Base of Embedding."""

    @classmethod
    def from_pretrained(cls: Any, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Any:
        """A table with these vectors (V, C), which stay as they are if freeze."""
        table = cls(embeddings.shape[0], embeddings.shape[1], padding_idx)
        table.weight = type(table.weight)(embeddings, requires_grad=not freeze)
        return table
