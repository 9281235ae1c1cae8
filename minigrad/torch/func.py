"""``torch.func``: functions that give the derivatives of functions. They nest freely."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from minigrad.core.module import Module
from minigrad.core.tensor import Tensor
from minigrad.torch.variables import Level, basis, stacked


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of ``func`` by the arguments ``argnums``, a number or a tuple of them.

    ``func`` returns a tensor with one number, or with ``has_aux`` a pair of it and anything else, which comes out too.
    """

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        grads, (_, *aux) = _grad_and_value(func, argnums, has_aux, args, kwargs)
        return (grads, aux[0]) if has_aux else grads

    return gradient


def grad_and_value(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of ``func``, and what ``func`` returns: see ``grad``."""

    @functools.wraps(func)
    def both(*args: Any, **kwargs: Any) -> Any:
        grads, (value, *aux) = _grad_and_value(func, argnums, has_aux, args, kwargs)
        return grads, ((value, aux[0]) if has_aux else value)

    return both


def _grad_and_value(func: Any, argnums: Any, has_aux: bool, args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
    with Level() as level:
        args, wanted, spec = _opened(level, args, argnums)
        out, aux = _called(func, has_aux, args, kwargs)
        if not isinstance(out, Tensor) or out.ndim:
            what = f"a tensor of shape {out.shape}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise RuntimeError(f"grad: the function must return a tensor with a single number (0 axes), not {what}")
        found = level.gradients([out], wanted, [Tensor(np.ones((), out.dtype))])
        return spec(found), [level.result(out), *(_mapped(level.result, a) for a in aux)]


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``func(*primals)``, and a function from a gradient of that to the gradients of the primals."""
    level = Level()
    with level:
        args, wanted, spec = _opened(level, primals, tuple(range(len(primals))))
        out, aux = _called(func, has_aux, args, {})
    outs, rebuilt = _flat(out)

    def back(*cotangents: Any) -> Any:
        given, _ = _flat(cotangents[0] if len(cotangents) == 1 else cotangents)
        if len(given) != len(outs):
            raise RuntimeError(f"vjp: {len(given)} cotangents for {len(outs)} outputs")
        for dz, z in zip(given, outs, strict=True):
            if dz.shape != z.shape:
                raise RuntimeError(f"vjp: a cotangent of shape {dz.shape} for an output of shape {z.shape}")
        again = Level()
        again.variables = level.variables
        with again:
            return spec(again.gradients(outs, wanted, given))

    value = rebuilt([level.result(x) for x in outs])
    return (value, back, *(_mapped(level.result, a) for a in aux))


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """``func(*primals)``, and how it moves where the primals move along the tangents."""
    _not_strict(strict)
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple) or len(primals) != len(tangents):
        raise RuntimeError("jvp: primals and tangents must be tuples of the same length: write (x,) for one tensor")
    with Level() as level:
        args, wanted, _ = _opened(level, primals, tuple(range(len(primals))))
        along = [t for tangent in tangents for t in _flat(tangent)[0]]
        if any(t.shape != x.shape for t, x in zip(along, wanted, strict=True)):
            raise RuntimeError("jvp: each tangent must have the shape of its primal")
        out, aux = _called(func, has_aux, args, {})
        outs, rebuilt = _flat(out)
        moved = level.pushed(outs, wanted, along)
        value = rebuilt([level.result(x) for x in outs])
        return (value, rebuilt(moved), *(_mapped(level.result, a) for a in aux))


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``, (*output, *input), row by row: one walk back for each output.

    ``chunk_size`` changes nothing here.
    """
    return functools.partial(_jacobian, func, argnums, has_aux, _rows)


def jacfwd(
    func: Callable[..., Any],
    argnums: Any = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
    chunk_size: Any = None,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``, (*output, *input), column by column: one walk for each input.

    ``randomness`` changes nothing here.
    """
    return functools.partial(_jacobian, func, argnums, has_aux, _columns)


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of ``func``, (*output, *input, *input)."""
    return jacrev(jacrev(func, argnums), argnums)


def _jacobian(func: Any, argnums: Any, has_aux: bool, by: Any, *args: Any, **kwargs: Any) -> Any:
    with Level() as level:
        opened, wanted, spec = _opened(level, args, argnums)
        out, aux = _called(func, has_aux, opened, kwargs)
        outs, rebuilt = _flat(out)
        table = by(level, outs, wanted)
        found = rebuilt([spec(row) for row in table])
        return (found, *(_mapped(level.result, a) for a in aux)) if has_aux else found


def _rows(level: Level, outs: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[list[Tensor]]:
    """For each output and each input the Jacobian, by the way back."""
    table = []
    for out in outs:
        rows = [level.gradients([out], wanted, [unit]) for unit in basis(out)]
        columns = zip(*rows, strict=True) if rows else ([] for _ in wanted)
        table.append([stacked(c, out.shape, x.shape, out) for c, x in zip(columns, wanted, strict=True)])
    return table


def _columns(level: Level, outs: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[list[Tensor]]:
    """The same, by the way forward."""
    us = [level.variable(Tensor(np.zeros(out.shape, out.dtype))) for out in outs]
    back = level.gradients(outs, wanted, us, create_graph=True)
    table: list[list[Tensor]] = [[] for _ in outs]
    for x, dx in zip(wanted, back, strict=True):
        moved = [level.gradients([dx], us, [unit]) for unit in basis(x)]
        for i, out in enumerate(outs):
            column = stacked([m[i] for m in moved], x.shape, out.shape, x)
            axes = (*range(x.ndim, x.ndim + out.ndim), *range(x.ndim))
            table[i].append(column.permute(*axes) if axes else column)
    return table


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args)`` with other tensors in the place of its parameters and buffers, by their dotted names.

    Where two names are one tensor, as tied weights are, giving one replaces both, unless ``tie_weights=False``.
    ``strict`` wants all of them given.
    """
    dicts = parameter_and_buffer_dicts
    given: dict[str, Any] = dicts if isinstance(dicts, dict) else {k: v for part in dicts for k, v in part.items()}
    members = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    unknown = sorted(given.keys() - members.keys())
    if unknown:
        raise KeyError(f"functional_call: {type(module).__name__} has no parameter or buffer {', '.join(unknown)}")
    tied = dict(given)
    if tie_weights:
        by_tensor = {id(members[name]): value for name, value in given.items()}
        tied.update({k: by_tensor[id(v)] for k, v in members.items() if k not in given and id(v) in by_tensor})
    missing = sorted(members.keys() - tied.keys())
    if strict and missing:
        raise RuntimeError(f"functional_call: strict=True, and {', '.join(missing)} is not given")
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, tied):
        return module(*args, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, tensors: dict[str, Any]) -> Any:
    """A module with other tensors, for a while."""
    modules = dict(module.named_modules(remove_duplicate=False))
    before = []
    try:
        for path, tensor in tensors.items():
            owner, _, name = path.rpartition(".")
            parts = modules[owner].__dict__
            before.append((parts, name, parts[name]))
            parts[name] = tensor
        yield
    finally:
        for parts, name, tensor in reversed(before):
            parts[name] = tensor


def vmap(*_: Any, **__: Any) -> NoReturn:
    """Refused: a batch is an axis in front."""
    raise NotImplementedError("vmap is not here: write the function for a batch axis in front, or loop over the batch")


def linearize(*_: Any, **__: Any) -> NoReturn:
    """Refused: ``jvp`` gives the same."""
    raise NotImplementedError("linearize is not here: call jvp(func, primals, tangents) for each tangent")


def stack_module_state(*_: Any, **__: Any) -> NoReturn:
    """Refused, as ``vmap`` is."""
    raise NotImplementedError("stack_module_state is for vmap, which is not here: loop over the models")


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """The function as it is: writing in place is in the graph here."""
    return func


def _opened(level: Level, args: Sequence[Any], argnums: Any) -> tuple[list[Any], list[Tensor], Callable[..., Any]]:
    """The arguments with variables at ``argnums``, the variables, and how gradients of them are put together."""
    single = isinstance(argnums, int)
    numbers = (argnums,) if single else tuple(argnums)
    if not numbers:
        raise RuntimeError("argnums is empty: it says by which arguments to differentiate")
    for n in numbers:
        if not isinstance(n, int) or not -len(args) <= n < len(args):
            raise RuntimeError(f"argnums is {argnums}, and {len(args)} positional arguments are given")
    opened, wanted, builders = list(args), [], []
    for n in numbers:
        tensors, rebuilt = _flat(args[n])
        variables = [level.variable(x) for x in tensors]
        opened[n] = rebuilt(variables)
        builders.append((len(variables), rebuilt))
        wanted += variables

    def put_together(grads: Sequence[Tensor]) -> Any:
        found, start = [], 0
        for count, rebuilt in builders:
            found.append(rebuilt(grads[start : start + count]))
            start += count
        return found[0] if single else tuple(found)

    return opened, wanted, put_together


def _called(func: Any, has_aux: bool, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
    """What the function returns, and what comes along with it."""
    out = func(*args, **kwargs)
    if not has_aux:
        return out, []
    if not isinstance(out, tuple) or len(out) != 2:
        raise RuntimeError("has_aux=True: the function must return a pair, its output and what comes along")
    return out[0], [out[1]]


def _flat(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The tensors in nested tuples, lists and dicts, and how others are put in their places."""
    leaves: list[Any] = []
    _mapped(leaves.append, tree)

    def rebuilt(values: Sequence[Any]) -> Any:
        rest = iter(values)
        return _mapped(lambda _: next(rest), tree)

    return leaves, rebuilt


def _mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """A tree with every leaf changed."""
    if isinstance(tree, tuple | list):
        parts = [_mapped(change, x) for x in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, dict):
        return {k: _mapped(change, x) for k, x in tree.items()}
    return change(tree)


def _not_strict(strict: bool) -> None:
    if strict:
        raise NotImplementedError(
            "strict=True is not here: where an output does not depend on an input there is a zero"
        )
