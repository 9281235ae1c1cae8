"""Parameters that are computed from others at each use: weight norm, spectral norm, and modules of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from minigrad.core.graph import no_grad
from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor
from minigrad.nn.containers import ModuleDict, Sequential
from minigrad.nn.tensors import empty


class ParametrizationList(Sequential):
    """What a parameter is computed by, in order, and ``original`` (or original0, original1, ...) that is learned."""

    def __init__(self, modules: list[Module], original: Tensor) -> None:
        super().__init__(*modules)
        self._take(original)

    def _take(self, value: Tensor) -> None:
        """Keep as original what the parametrizations make the value of, as far as they know the way back."""
        with no_grad():
            for module in reversed(list(self)):
                back = getattr(module, "right_inverse", None)
                value = value if back is None else back(value)
        several = value if isinstance(value, tuple) else (value,)
        self.__dict__["names"] = [f"original{i}" for i in range(len(several))] if len(several) > 1 else ["original"]
        for name, part in zip(self.names, several, strict=True):
            if name in self._parameters:
                getattr(self, name).data = part.detach()
            else:
                self.register_parameter(name, part if isinstance(part, Parameter) else Parameter(part.detach().clone()))

    def forward(self) -> Tensor:  # type: ignore[override]
        first, *rest = list(self)
        value = first(*(getattr(self, name) for name in self.names))
        for module in rest:
            value = module(value)
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """From now on ``module.tensor_name`` is ``parametrization(original)``, and the original is what is learned.

    The original is ``module.parametrizations[tensor_name].original``. Assigning goes through ``right_inverse`` of the
    parametrization where it has one. Raises ValueError where the shape would change, unless ``unsafe``.
    """
    if is_parametrized(module, tensor_name):
        chain = module.parametrizations[tensor_name]
        if hasattr(parametrization, "right_inverse"):
            raise ValueError("a second parametrization with a right_inverse is not covered: put it first")
        chain.append(parametrization.train(module.training))
        return module
    original = module._parameters.get(tensor_name)
    if original is None:
        raise ValueError(f"{type(module).__name__} has no parameter {tensor_name!r} to parametrize")
    chain = ParametrizationList([parametrization.train(module.training)], original)
    with no_grad():
        made = chain()
    if not unsafe and (made.shape != original.shape or made.dtype != original.dtype):
        raise ValueError(f"the parametrization turns {original.shape} into {made.shape}: pass unsafe=True if meant")
    delattr(module, tensor_name)
    if not is_parametrized(module):
        base = type(module)
        module.__class__ = type(f"Parametrized{base.__name__}", (base,), {"parametrized": base})
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = chain

    def get(self: Any) -> Tensor:
        return self.parametrizations[tensor_name]()

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[tensor_name]._take(value)

    setattr(type(module), tensor_name, property(get, put))
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a parameter of the module (of that name, if given) is computed."""
    chains = module._modules.get("parametrizations")
    return isinstance(chains, ModuleDict) and (tensor_name is None or tensor_name in chains)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the parameter an ordinary one again, with its present value, or with the original's."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrization of {tensor_name!r}")
    chain = module.parametrizations[tensor_name]
    if not leave_parametrized and len(chain.names) > 1:
        raise ValueError("leave_parametrized=False: it was computed from several originals")
    with no_grad():
        value = chain() if leave_parametrized else chain.original
    del module.parametrizations[tensor_name]
    delattr(type(module), tensor_name)
    if len(module.parametrizations) == 0:
        del module.parametrizations
        module.__class__ = type(module).parametrized  # type: ignore[attr-defined]
    module.register_parameter(tensor_name, Parameter(value.detach().clone()))
    return module


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Accepted: each use computes the parameter anew, with the same result."""
    yield


class _WeightNorm(Module):
    """g * v / |v|, with the norm over all axes but dim."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def _norm(self, v: Tensor) -> Tensor:
        if self.dim is None or self.dim == -1:
            return (v * v).sum().sqrt()
        return (v * v).sum(tuple(d for d in range(v.ndim) if d != self.dim % v.ndim), keepdim=True).sqrt()

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / self._norm(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norm(weight), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the length and the direction of a weight apart: g * v / |v|. Salimans and Kingma 2016."""
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """weight / its largest singular value, estimated by power iteration, a step for each use in training."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, steps: int, dim: int, eps: float) -> None:
        super().__init__()
        self.steps, self.dim, self.eps = steps, dim, eps
        matrix = self._matrix(weight.detach())
        for name, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
            self.register_buffer(name, self._unit(empty(size, dtype=weight.dtype).normal_()))
        self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1) if weight.ndim > 1 else weight.unsqueeze(0)

    def _unit(self, x: Tensor) -> Tensor:
        return x / (x * x).sum().sqrt().clamp(min=self.eps)

    @no_grad()
    def _iterate(self, matrix: Tensor, steps: int) -> None:
        for _ in range(steps):
            self._u = self._unit(matrix @ self._v)
            self._v = self._unit(matrix.t() @ self._u)

    def forward(self, weight: Tensor) -> Tensor:
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.steps)
        return weight / (self._u * (matrix @ self._v)).sum()


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value. Miyato et al. 2018."""
    weight = getattr(module, name)
    transposed = type(module).__name__.startswith("ConvTranspose")
    made = _SpectralNorm(weight, n_power_iterations, int(transposed) if dim is None else dim, eps)
    return register_parametrization(module, name, made)


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again, with its present value."""
    return remove_parametrizations(module, name)


remove_spectral_norm = remove_weight_norm
