"""What all optimizers share: parameter groups, state per parameter, saving and loading in PyTorch's layout."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.core.written import note_write
from minigrad.ops import Array
from minigrad.optim.rows import join, joined, movable
from minigrad.torch.grad_mode import enable_grad
from minigrad.torch.hooks import RemovableHandle, add_hook

BEFORE: list[Any] = []  # hooks of every optimizer
AFTER: list[Any] = []


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before each step of every optimizer; it may return other args, kwargs."""
    return add_hook(BEFORE, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after each step of every optimizer."""
    return add_hook(AFTER, hook)


def with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A ``step`` with the hooks before and after it; one that calls another step runs them once."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self._stepping or not (self.pre_hooks or self.post_hooks or BEFORE or AFTER):
            return step(self, *args, **kwargs)
        self._stepping = True
        try:
            for hook in (*BEFORE, *self.pre_hooks):
                args, kwargs = hook(self, args, kwargs) or (args, kwargs)
            result = step(self, *args, **kwargs)
            for hook in (*AFTER, *self.post_hooks):
                hook(self, args, kwargs)
            return result
        finally:
            self._stepping = False

    return hooked


class Optimizer:
    """Changes parameters by their gradients: a subclass defines ``update``, for one parameter of any shape.

    ``params`` are tensors, or dicts with "params" and settings of their own. ``state[parameter]`` is what is kept
    between steps, ``param_groups`` the settings. A subclass may set ``elementwise`` if no element of a parameter looks
    at another, and if what it keeps is "step" and arrays in the parameter's shape.
    """

    elementwise = False
    _stepping = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in vars(cls):
            cls.step = with_hooks(vars(cls)["step"])  # type: ignore[method-assign]
        if "update" in vars(cls):  # whoever writes another one says of it anew that it is elementwise
            cls.elementwise = vars(cls).get("elementwise", False)

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params must be an iterable of tensors or dicts, got a single tensor: write [tensor]")
        if hasattr(params, "parameters"):
            raise TypeError(f"params must be tensors, got the module {type(params).__name__}: write model.parameters()")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._last: dict[int, tuple[list[Any], list[Pile], list[Any]]] = {}  # what ``_piles`` gave, by group
        self.pre_hooks: list[Any] = []
        self.post_hooks: list[Any] = []
        groups = list(params)
        if not groups:
            raise ValueError(
                "the optimizer got no parameters: was the module's parameters() iterator used up before, or are its "
                "layers in a plain list, which a module does not look into? Write nn.ModuleList(layers)"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; ValueError for one that is in a group already."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError("a parameter group must be a dict with a 'params' entry")
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        seen = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"an optimizer changes tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("an optimizer changes leaves, not the result of an op: pass what it was made of")
            if id(p) in seen:
                raise ValueError(f"a parameter of shape {p.shape} is given to the optimizer twice")
            seen.add(id(p))
        group = {**self.defaults, **param_group, "params": params}
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""
        for name in ("lr", "weight_decay", "eps", "momentum", "alpha", "rho", "lr_decay"):
            if not group.get(name, 0) >= 0:
                raise ValueError(f"{name} must not be negative, got {group[name]}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                else:
                    p._clear_grad(set_to_none)

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return other args and kwargs."""
        return add_hook(self.pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return add_hook(self.post_hooks, hook)

    @with_hooks
    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; returns what the closure, if given, returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            params: list[Any] = [p for p in group["params"] if p._grad is not None]
            piles, alone = self._piles(number, params) if self.elementwise else ([], params)
            for pile in piles:
                pile.update(self.update, group)
            for p in alone:
                self.update(p._array, p._grad._array, self.state[p], group)
                note_write(p._array)
        return loss

    def _piles(self, number: int, params: list[Any]) -> tuple[list[Pile], list[Any]]:
        """Of a group's parameters those that are updated together, and the others: as in the last step, if they can."""
        before, piles, alone = self._last.get(number, ([], [], []))
        same = len(before) == len(params) and all(map(is_, before, params)) and not any(map(movable, alone))
        if not (same and all(pile.stands(self.state) for pile in piles)):
            alike: dict[Any, list[Any]] = {}
            for p in params:
                alike.setdefault(self._kind(p), []).append(p)
            piles = [Pile(some, [self.state[p] for p in some]) for some in alike.values() if len(some) > 1]
            alone = [some[0] for some in alike.values() if len(some) == 1]
            self._last[number] = params, piles, alone
        return piles, alone

    def _kind(self, p: Any) -> Any:
        """Equal for parameters that can be updated as one: small, of one dtype, and equally old."""
        own = self.state[p]
        kept = [t for name, t in own.items() if name != "step"]
        alike = p._grad._array.dtype == p._array.dtype
        if alike and all(isinstance(t, Tensor) and t.shape == p.shape and movable(t) for t in (p, *kept)):
            return own.get("step"), p._array.dtype, *own, *(t._array.dtype for t in kept)
        return p

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change one parameter's array in place."""
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def state_dict(self) -> dict[str, Any]:
        """State and settings, with a number in place of each parameter; its tensors share memory with the state."""
        numbers: dict[Tensor, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers[p] = len(numbers)
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[p]: dict(kept) for p, kept in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over copies of state and settings; ValueError, before anything is changed, if they do not fit."""
        groups = state_dict["param_groups"]
        sizes, own_sizes = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != own_sizes:
            raise ValueError(f"the saved groups have {sizes} parameters, this optimizer's have {own_sizes}")
        by_number = {
            int(number): p
            for saved, own in zip(groups, self.param_groups, strict=True)
            for number, p in zip(saved["params"], own["params"], strict=True)
        }
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, kept in state_dict["state"].items():
            p = by_number.get(int(number))
            if p is None:
                raise ValueError(f"the saved state has an entry for parameter {number}, which is in no group")
            state[p] = {name: _fitted(name, value, number, p) for name, value in kept.items()}
        self.state = state
        self.param_groups = [
            {**own, **saved, "params": own["params"]} for saved, own in zip(groups, self.param_groups, strict=True)
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": {}}  # a copy's parameters have memory of their own

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}: {len(group['params'])} tensors")
            lines += [f"    {name}: {value}" for name, value in sorted(group.items()) if name != "params"]
        return "\n".join([*lines, ")"])


class Pile:
    """Small parameters in one row, and in another what is kept for them under each name: one update does for all.

    Their gradients are gathered once a step. Each step looks whether all still lie where they were put.
    """

    def __init__(self, params: list[Any], states: list[dict[str, Any]]) -> None:
        self.params, self.states = params, states
        self.put()

    def put(self) -> None:
        """Put into rows what does not lie in one."""
        self.names = tuple(self.states[0])  # of what is kept for each
        self.whole = {name: joined(kind) for name, kind in self.kinds()}  # the parameters' row under ""
        for name, kind in self.kinds():
            if self.whole[name] is None:
                self.whole[name] = join(kind)

    def kinds(self) -> list[tuple[str, list[Any]]]:
        """The tensors that lie in a row each, and the row's name."""
        return [("", self.params), *((n, [own[n] for own in self.states]) for n in self.names if n != "step")]

    def stands(self, state: dict[Tensor, dict[str, Any]]) -> bool:
        """Whether all are where they were put, of the dtype of their gradients, and equally old."""
        dtype = self.params[0]._array.dtype
        return (
            all(map(is_, map(state.get, self.params), self.states))
            and {*map(tuple, self.states)} == {self.names}
            and len({own.get("step") for own in self.states}) == 1
            and [p._grad._array.dtype for p in self.params].count(dtype) == len(self.params)
            and all(joined(kind) is not None for _, kind in self.kinds())
        )

    def update(self, update: Callable[..., None], group: dict[str, Any]) -> None:
        """One step of all: ``update`` sees one long parameter, and what is kept for it."""
        state = {n: Tensor(self.whole[n]) if n in self.whole else value for n, value in self.states[0].items()}
        grads = np.concatenate([p._grad._array for p in self.params], axis=None)
        update(self.whole[""], grads, state, group)
        for name, value in state.items():
            if not isinstance(value, Tensor):
                for own in self.states:
                    own[name] = value
        if len(state) > len(self.names):
            self.begin({name: value._array for name, value in state.items() if isinstance(value, Tensor)})
        note_write(self.params[0]._array.base)

    def begin(self, rows: dict[str, Array]) -> None:
        """Give each parameter its part of what is kept from this step on."""
        ends = np.cumsum([p._array.size for p in self.params])[:-1]
        for name in [name for name in rows if name not in self.whole]:
            for own, p, part in zip(self.states, self.params, np.split(rows[name], ends), strict=True):
                own[name] = Tensor(part.reshape(p.shape).copy())
        self.put()


def _fitted(name: str, value: Any, number: int, p: Tensor) -> Any:
    """A copy of a saved value, arrays as tensors of the parameter's shape and dtype."""
    if not isinstance(value, Tensor | np.ndarray):
        return value
    array = value._array if isinstance(value, Tensor) else value
    if array.ndim == 0 and (p._array.ndim or name in ("step", "mu_product")):
        return array.item()
    if array.shape != p.shape:
        raise ValueError(f"the saved {name} of parameter {number} has shape {array.shape}, the parameter {p.shape}")
    return Tensor(array.astype(p.dtype if array.dtype.kind == "f" else array.dtype, copy=True))


def kept(state: dict[str, Any], name: str, p: Array) -> Array:
    """The array that the state keeps under a name, made of zeros the first time."""
    if name not in state:
        state[name] = Tensor(np.zeros(p.shape, dtype=p.dtype))
    array: Array = state[name]._array
    return array
