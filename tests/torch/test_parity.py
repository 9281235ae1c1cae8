"""The same program on PyTorch and here: values, shapes, dtypes, gradients, trajectories. Needs PyTorch to run."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import minigrad as mg

torch = pytest.importorskip("torch")

HERE, THERE = (mg, mg.nn, mg.nn.functional), (torch, torch.nn, torch.nn.functional)
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "float16": 2e-3}


def array(*shape: int, kind: str = "f", seed: int = 0) -> np.ndarray:
    """Random numbers: "f" around 0, "p" positive, "u" in (0, 1), "i" small integers, "b" bools."""
    rng = np.random.default_rng(seed + 7 * len(shape) + sum(shape))
    x = rng.normal(size=shape)
    made = {
        "f": x,
        "p": np.abs(x) + 0.3,
        "u": 0.05 + 0.9 * rng.random(shape),
        "i": np.round(2 * x).astype(int),
        "b": x > 0,
    }
    return np.asarray(made[kind])


def flat(out: Any) -> list[Any]:
    """Tensors and numbers of a result, in order."""
    if isinstance(out, Mapping):
        return [part for key in sorted(out) for part in flat(out[key])]
    if isinstance(out, tuple | list) and not isinstance(out, torch.Size):
        return [part for item in out for part in flat(item)]
    return [out]


def plain(x: Any) -> np.ndarray:
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def same(ours: Any, theirs: Any, what: str, tolerance: float | None = None) -> None:
    assert hasattr(ours, "detach") == hasattr(theirs, "detach"), f"{what}: {type(ours)} for {type(theirs)}"
    a, b = plain(ours), plain(theirs)
    assert a.shape == b.shape, f"{what}: shape {a.shape} for {b.shape}"
    if hasattr(theirs, "detach"):
        assert name_of(ours.dtype) == name_of(theirs.dtype), f"{what}: {ours.dtype} for {theirs.dtype}"
    if a.dtype.kind == "f":
        close = TOLERANCE[a.dtype.name] if tolerance is None else tolerance
        np.testing.assert_allclose(a, b, close, close, err_msg=what)
    else:
        np.testing.assert_array_equal(a, b, err_msg=what)


def run(library: Any, function: Callable[..., Any], inputs: list[Any], grad: bool) -> tuple[list[Any], list[Any]]:
    """The results, and the gradients of the floating inputs for a random cotangent."""
    lib = library[0]
    made = [lib.from_numpy(x) if isinstance(x, np.ndarray) else x for x in inputs]
    leaves = [x for x in made if lib.is_tensor(x) and lib.is_floating_point(x)]
    if grad:
        for leaf in leaves:
            leaf.requires_grad_()
    outs = flat(function(*library, *made))
    wanted = [o for o in outs if lib.is_tensor(o) and o.requires_grad]
    if wanted:
        total = 0
        for i, o in enumerate(wanted):
            total = total + (o.double() * lib.from_numpy(np.asarray(array(*o.shape, seed=i + 3)))).sum()
        total.backward()
    return outs, [leaf.grad for leaf in leaves] if wanted else []


def compare(function: Callable[..., Any], *inputs: Any, grad: bool = True, tolerance: float | None = None) -> None:
    """function(library, nn, F, *inputs) gives the same there and here, from contiguous arrays and from others."""
    for layout in ("contiguous", "strided"):
        arrays = [np.array(x) if isinstance(x, np.ndarray) else x for x in inputs]
        if layout == "strided":
            if not any(isinstance(x, np.ndarray) and x.ndim for x in inputs):
                return
            arrays = [np.repeat(x, 2, -1)[..., ::2] if isinstance(x, np.ndarray) and x.ndim else x for x in arrays]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            theirs, their_grads = run(THERE, function, [_copy(a) for a in arrays], grad)
            ours, our_grads = run(HERE, function, [_copy(a) for a in arrays], grad)
        assert len(ours) == len(theirs)
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, f"{layout} result {i}", tolerance)
        for i, (a, b) in enumerate(zip(our_grads, their_grads, strict=False)):
            if a is None or b is None:
                assert not plain(b if a is None else a).any() if (a is None) != (b is None) else True, f"gradient {i}"
            else:
                same(a, b, f"{layout} gradient {i}", tolerance)
        assert bool(our_grads) == bool(their_grads)


def _copy(x: Any) -> Any:
    """A copy with the same strides."""
    if not isinstance(x, np.ndarray):
        return x
    return np.repeat(x, 2, -1)[..., ::2] if x.ndim and not x.flags.c_contiguous else x.copy()


# Elementwise

SHAPES = ((), (1,), (3,), (2, 3), (0, 3), (2, 1, 3))
UNARY = (
    "neg abs exp expm1 exp2 sin cos tan sinh cosh tanh sigmoid erf erfc atan deg2rad rad2deg relu square "
    "floor ceil round trunc sign frac isnan isinf isfinite clone detach logical_not nan_to_num"
)
POSITIVE = "asin acos log log1p log2 log10 sqrt rsqrt reciprocal logit"
NO_GRADIENT_HERE = {"floor", "ceil", "round", "trunc", "sign"}  # zero there


@pytest.mark.parametrize("name", [*UNARY.split(), *POSITIVE.split()])
def test_unary(name):
    kind = "u" if name in POSITIVE.split() else "f"
    for shape in SHAPES:
        for call in (lambda t, nn, F, x: getattr(t, name)(x), lambda t, nn, F, x: getattr(x, name)()):
            compare(call, array(*shape, kind=kind), grad=name not in NO_GRADIENT_HERE)
    compare(lambda t, nn, F, x: getattr(t, name)(x), array(2, 3, kind=kind).astype(np.float32), grad=False)
    if name not in ("neg", "frac", "nan_to_num", "logit"):
        compare(lambda t, nn, F, x: getattr(t, name)(x), np.arange(1, 4), grad=False)


BROADCAST = [((), ()), ((), (3,)), ((3,), ()), ((1,), (3,)), ((2, 1), (1, 3)), ((4, 1, 3), (2, 3)), ((0, 3), (3,))]
BINARY = "add sub mul div maximum minimum fmod remainder pow floor_divide eq ne lt le gt ge"


@pytest.mark.parametrize("name", BINARY.split())
def test_binary(name):
    for a, b in BROADCAST:
        x, y = array(*a, kind="p"), array(*b, kind="p", seed=1)
        compare(lambda t, nn, F, x, y: getattr(t, name)(x, y), x, y, grad=name != "floor_divide")
    for kinds in itertools.product("if", repeat=2):
        x, y = array(2, 3, kind=kinds[0]), array(3, kind=kinds[1], seed=1)
        y = np.where(y == 0, 2, np.abs(y)) if name in ("div", "fmod", "remainder", "floor_divide", "pow") else y
        x = np.abs(x) + 1 if name == "pow" else x
        compare(lambda t, nn, F, x, y: getattr(t, name)(x, y), x, y, grad=False)


def test_operators():
    x, y = array(2, 3, kind="p"), array(3, kind="p", seed=1)
    for function in (
        lambda t, nn, F, x, y: (x + y, x - y, x * y, x / y, x**y, x @ y, -x, +x, abs(x)),
        lambda t, nn, F, x, y: (1 - x, 0.5 * x, 2 / x, 2**x, 3 + x, 2.0**y, 1 - y),
        lambda t, nn, F, x, y: (x % 0.7, x**2, x**3, x**0.5, x**-1, x**0),
        lambda t, nn, F, x, y: (x > 1, (x > 0.5) & (x < 1), (x > 1) | (x < 0.5), ~(x > 1), x == x, x != y),
        lambda t, nn, F, x, y: (x.detach() // 0.3, 7 // x.detach(), 7 % x.detach()),
        lambda t, nn, F, x, y: (x + x, x * x * x, (x + 1) * (x + 1), x - x),
    ):
        compare(function, x, y)
    compare(
        lambda t, nn, F, i: (i // 2, i % 3, i / 2, i * 2.5, -i, i**2, i & 3, i | 1, i ^ 2, ~i), array(2, 3, kind="i")
    )
    compare(
        lambda t, nn, F, b: (b & ~b, b | b, b ^ True, b + b, b * 2, b * 0.5, b.sum(), b.float()), array(4, kind="b")
    )


DTYPES = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")


@pytest.mark.parametrize("first", DTYPES)
def test_promotion(first):
    x = np.ones((2,), first)
    for second, shape in itertools.product(DTYPES, [(2,), ()]):
        y = np.ones(shape, second)
        for name in ("add", "mul", "div", "eq"):
            compare(
                lambda t, nn, F, x, y, name=name: (getattr(t, name)(x, y), getattr(t, name)(y, x)), x, y, grad=False
            )
        compare(lambda t, nn, F, x, y: t.where(x > 0, x, y), x, y, grad=False)
    for number in (True, 2, 2.5):
        compare(lambda t, nn, F, x, number=number: (x + number, x * number, number * x, x / 2), x, grad=False)
    compare(lambda t, nn, F, x: (x.sum(), x.prod(), x.cumsum(0), x.max(), x.sum(0)), x, grad=False)


# Reductions


@pytest.mark.parametrize("name", "sum mean prod var std amax amin logsumexp nansum".split())
def test_reductions(name):
    dims = [None, 0, 1, -1] + ([] if name == "prod" else [(0, 2), (-1, 1), [0, 1]])
    for dim, keepdim in itertools.product(dims, (False, True)):
        if dim is None and (keepdim or name == "logsumexp"):
            continue
        options = {} if dim is None else {"dim": dim, "keepdim": keepdim}
        compare(lambda t, nn, F, x, o=options: (getattr(t, name)(x, **o), getattr(x, name)(**o)), array(2, 3, 4))
    if name != "logsumexp":
        compare(lambda t, nn, F, x: getattr(x, name)(), array(5))
    if name not in ("var", "std", "logsumexp"):
        compare(lambda t, nn, F, x: getattr(x, name)(), array())
    if name in ("sum", "mean", "prod", "var"):
        compare(lambda t, nn, F, x: (getattr(x, name)(1), getattr(x, name)(axis=-1, keepdims=True)), array(2, 3))
    if name in ("sum", "prod", "nansum"):
        compare(lambda t, nn, F, x: (getattr(x, name)(0), getattr(x, name)()), array(0, 3))
        compare(lambda t, nn, F, x: (getattr(x, name)(0), getattr(x, name)()), array(2, 3, kind="b"), grad=False)


@pytest.mark.parametrize(
    "name", "max min argmax argmin sort argsort cumsum cumprod median any all topk kthvalue".split()
)
def test_along_an_axis(name):
    more = {"topk": (2,), "kthvalue": (2,)}.get(name, ())
    for dim in (0, 1, -1):
        compare(lambda t, nn, F, x, d=dim: getattr(t, name)(x, *more, dim=d), array(4, 3))
        if name in ("max", "min", "argmax", "median", "any", "all"):
            compare(lambda t, nn, F, x, d=dim: getattr(x, name)(d, keepdim=True), array(4, 3))
    if name not in ("cumsum", "cumprod", "sort", "argsort", "topk", "kthvalue"):
        compare(lambda t, nn, F, x: getattr(x, name)(), array(3, 4))


OTHER_REDUCTIONS = {
    "ties": lambda t, nn, F, x: (x.max(), x.amax(), x.max(0).values, x.relu(), x.abs(), x.clamp(0, 1)),
    "norms": lambda t, nn, F, x: (
        x.norm(), x.norm(p=1), x.norm(dim=1), x.norm(2, 0, True), x.norm(3), x.norm(float("inf")), x.norm(p="fro"),
        t.norm(x, dim=(0, 1)), t.linalg.norm(x), t.linalg.vector_norm(x, dim=-1),
    ),
    "unbiased": lambda t, nn, F, x: (
        x.var(0, False), x.var(unbiased=False), x.std(1, True, True), x.var(dim=1, correction=0), x.std(False),
        x.var(1, keepdim=True, unbiased=True), t.var_mean(x, dim=0), t.std_mean(x, dim=1),
    ),
    "counts": lambda t, nn, F,
    x: (x.count_nonzero(), x.count_nonzero(dim=0), t.unique(x.detach().round()), x.aminmax()),
    "quantiles": lambda t, nn, F, x: (
        x.quantile(0.3), x.quantile(0.5, dim=0), x.quantile(0.5, dim=1, keepdim=True), x.nanmean(),
        x.quantile(t.tensor([0.1, 0.9], dtype=t.float64), dim=1),
    ),
    "softmaxes": lambda t, nn, F, x: (
        x.softmax(0), t.softmax(x, dim=-1), F.softmax(x, dim=1), x.log_softmax(-1), F.log_softmax(x, 0),
        F.softmin(x, 1),
        F.softmax(x, dim=-1, dtype=t.float32), t.softmax(input=x, dim=0),
    ),
    "so far": lambda t, nn, F, x: (x.cummax(0), t.cummin(x, 1), x.logcumsumexp(0), t.logcumsumexp(x, dim=-1)),
    "of two": lambda t, nn, F,
    x: (t.fmax(x, x.flip(0)), t.fmin(x, x[:1] * 2), t.heaviside(x.detach(), x.detach() * 0 + 0.5)),
    "smallest": lambda t, nn, F, x: (x.topk(2, largest=False), x.topk(2, 0), x.sort(descending=True), x.sort(0)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_REDUCTIONS)
def test_other_reductions(name):
    compare(OTHER_REDUCTIONS[name], array(4, 3), tolerance=1e-6 if name == "softmaxes" else None)  # one in float32
    if name == "ties":
        compare(lambda t, nn, F, x: (x.amax(), x.max(), x.relu(), x.max(1).values), np.array([[1.0, 1.0], [0.0, 1.0]]))


# Shapes, joining, picking

SHAPE_OPS = {
    "reshape": lambda t, nn, F, x: (
        x.reshape(3, 8), x.view(-1), x.view(2, -1), x.reshape((4, 6)), t.reshape(x, (-1, 2)),
        x.view_as(x.reshape(2, 12)),
        x.flatten(), x.flatten(1), x.flatten(0, 1), x.unflatten(2, (2, 2)), x.ravel(), x.reshape_as(x.view(24)),
    ),
    "permute": lambda t, nn, F, x: (
        x.permute(2, 0, 1), x.permute((0, 2, 1)), x.transpose(0, 2), x.transpose(-1, -2), x.mT, x.movedim(0, -1),
        x.movedim((0, 1), (2, 0)), t.swapaxes(x, 0, 1), x[0].T, x[0].t(), t.movedim(x, -1, 0),
    ),
    "squeeze": lambda t, nn, F, x: (
        x.unsqueeze(0), x.unsqueeze(-1), x[:, :1].squeeze(), x[:, :1].squeeze(1), x.squeeze(0),
        x.unsqueeze(1).squeeze(),
        x[:1, :1].squeeze((0, 1)),
    ),
    "expand": lambda t, nn, F, x: (
        x[:, :1].expand(2, 5, 4), x[:, :1].expand(-1, 3, -1), x.expand(3, 2, 3, 4), x[0, :1].expand_as(x[0]),
        x[0].broadcast_to((2, 3, 4)), t.broadcast_tensors(x[0], x)[0],
    ),
    "repeat": lambda t, nn, F, x: (
        x.repeat(1, 2, 1), x.repeat(2, 1, 1, 3), x.tile(2), t.tile(x, (2, 1)), x.repeat_interleave(2),
        x.repeat_interleave(2, dim=1), x.repeat_interleave(t.tensor([1, 2]), dim=0),
    ),
    "split": lambda t, nn, F, x: (
        x.split(2, dim=2), x.split([1, 3], -1), x.chunk(2, 1), x.chunk(3, dim=-1), x.unbind(1), t.split(x, 1),
        x.tensor_split(3, 2), x.narrow(1, 1, 2), x.select(2, 1), t.chunk(x, 2, dim=-1), x.unbind(),
    ),
    "flip": lambda t, nn, F, x: (
        x.flip(0), x.flip(1, 2), x.flip((0,)), t.flip(x, [1]), x.roll(1, 1), t.roll(x, 1, 1), x.roll((1, 2), (0, 2)),
        x.roll(3), t.fliplr(x[0]), t.flipud(x[0]),
    ),
    "join": lambda t, nn, F, x: (
        t.cat((x, x * 2), dim=1), t.cat([x, x], -1), t.stack([x, x], 1), t.stack((x, x), dim=-1), t.hstack((x, x)),
        t.vstack((x, x)), t.dstack((x[0], x[0])), t.column_stack((x[0], x[0])), t.concat([x, x]), t.cat((x, x), axis=2),
        t.cat([t.tensor([], dtype=t.float64), x[0, 0]]), t.cat([x[0], t.ones(1, 4)]),
    ),
    "triangles": lambda t, nn, F, x: (
        x.tril(), t.triu(x, 1), x.tril(-1), t.tril(t.ones(3, 3)), t.tril_indices(3, 3), t.triu_indices(3, 4, 1),
        x[0].diag(), t.diag(x[0, 0]), x.diagonal(0, 1, 2), x[0].trace(), t.diag(x[0, 0], 1), t.diag(x[0], -1),
    ),
    "windows": lambda t, nn, F,
    x: (x.unfold(2, 2, 1), x.unfold(-1, 3, 1), x.diff(), x.diff(dim=0), t.diff(x, n=2, dim=2)),
    "grids": lambda t, nn, F, x: (
        x[0].rot90(), x[0].hsplit(2), x.vsplit(2), t.kron(x[0], x[1]), t.kron(x[0, 0], x[1]), t.block_diag(x[0], x[1]),
        t.combinations(x[0, 0]), t.cross(x[0, :, :3], x[1, :, :3], dim=-1), t.diag_embed(x), x[0].diag_embed(1),
        t.hypot(x, x + 1), t.logaddexp(x, x * 2),
        t.meshgrid(x[0, 0], x[1, 0], indexing="ij"), t.meshgrid(x[0, 0], x[1, 0], indexing="xy"),
        t.cartesian_prod(x[0, 0], x[1, 0]), t.atleast_1d(x[0, 0, 0]),
    ),
    "memory": lambda t, nn, F, x: (
        x.transpose(0, 1).contiguous(), x.is_contiguous(), x.stride(), x.transpose(0, 1).stride(), x.numel(), x.dim(),
        x.nelement(), x.element_size(), x.size(1), x.size(-1), len(x), x.ndim, x[1:].storage_offset(), x.dtype.itemsize,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPE_OPS)
def test_shapes(name):
    function = SHAPE_OPS[name]
    if name == "memory":
        function = lambda t, nn, F, x: SHAPE_OPS[name](t, nn, F, x.clone())  # noqa: E731
    compare(function, array(2, 3, 4))


IDS = np.array([[0, 2], [1, 0], [2, 2]])
PICKS = {
    "basic": lambda t, nn, F,
    x: (x[0], x[-1], x[1:], x[:, -1], x[..., 0], x[:, None], x[None, ...], x[::2], x[0, 1], x[:]),
    "ranges": lambda t, nn, F, x: (x[:, -2:], x[:, 1:100], x[5:], x[:, : t.tensor(2)], x[t.tensor(1)], x[1:1]),
    "lists": lambda t, nn, F,
    x: (x[[0, 2]], x[:, [-1]], x[:, [0, 1]], x[[0, 1], [1, 2]], x[range(2)], x[[True, False, True]]),
    "tensors": lambda t, nn, F, x: (
        x[t.tensor([0, 0, 1])], x[t.tensor([[0, 1], [2, 2]])], x[:, t.tensor([1, 1])],
        x[t.tensor([0, 1]), t.tensor([2, 0])],
        x[t.arange(3), t.tensor([0, 1, 2])], x[t.tensor([-1])], x[t.tensor([0, 1]), 1], x[1, t.tensor([0, 2])],
    ),
    "mixed": lambda t, nn, F, x: (
        x.view(1, 3, 3)[0, :, t.tensor([0, 2])], x.view(3, 1, 3)[t.tensor([0, 2]), :, 1],
        x.view(3, 3, 1)[[1, 0], ..., 0],
        x.view(3, 1, 3)[t.tensor([0, 2]), :, t.tensor([1, 1])], x[None, 1, :, None][:, [2, 0]], x[:, None, [1, 1]],
        x.view(1, 3, 3, 1)[0, :, [0, 2], 0], x.view(1, 3, 3)[0, :, t.tensor([True, False, True])],
    ),
    "masks": lambda t, nn, F, x: (
        x[x > 0], x[t.tensor([True, False, True])], x.masked_select(x > 0.1), x.masked_fill(x > 0, 0.5),
        x.masked_fill(x > 0, float("-inf"))[x <= 0], t.where(x > 0, x, 0.0), t.where(x > 0, x, x * 2),
        t.where(x > 0)[0], t.where(x > 0, 1, 0), t.where(x > 0, 1, 0.5),
        x.where(x > 0, t.zeros_like(x)), (x > 0).nonzero(), t.nonzero(x > 0, as_tuple=True)[1],
        x.masked_fill((x > 0)[0], t.tensor(2.0)), t.argwhere(x > 0),
    ),
    "gather": lambda t, nn, F, x: (
        x.gather(1, t.tensor([[0], [2], [1]])), t.gather(x, 0, t.tensor([[0, 0, 2]])),
        x.index_select(0, t.tensor([2, 0])),
        x.take(t.tensor([0, 8])), x.take_along_dim(t.tensor([[0], [1], [1]]), 1),
        t.index_select(x, 1, t.tensor([1, 1])),
    ),
    "scatter": lambda t, nn, F, x: (
        t.zeros(3, 4, dtype=t.float64).scatter(1, t.tensor([[0], [2], [1]]), x[:, :1]),
        t.zeros(3, 4, dtype=t.float64).scatter(1, t.tensor([[0], [2], [1]]), 1.5),
        x.scatter_add(0, t.tensor([[0, 0, 2]]), x[:1]), x.index_add(0, t.tensor([0, 0]), x[:2]),
        x.index_fill(1, t.tensor([0]), 9.0), x.index_copy(0, t.tensor([2, 0]), x[:2] * 2),
        x.masked_scatter(x > 0, t.arange(9.0, dtype=t.float64)),
    ),
    "embedding": lambda t, nn, F, x: (F.embedding(t.tensor([[0, 2], [1, 1]]), x), x[t.tensor([[0, 2], [1, 1]])],
                                      F.embedding(t.tensor([0, 2, 0]), x, padding_idx=0)),
    "sets": lambda t, nn, F, x: (
        t.tensor([[1, 2, 2], [3, 1, 3], [4, 4, 1]]).mode(), t.mode(t.tensor([[1, 2], [1, 0]]), 0),
        t.tensor([2, 2]).cummax(0),
        t.bincount(t.tensor([0, 1, 1, 4])), t.unique(t.tensor([3, 1, 3]), return_counts=True, return_inverse=True),
        t.isin(t.tensor([1, 2]), t.tensor([2, 5])),
        t.searchsorted(t.tensor([1.0, 2.0, 3.0]), t.tensor([0.5, 2.0, 9.0])),
        t.bucketize(t.tensor([0.5, 2.0, 9.0]), t.tensor([1.0, 2.0, 3.0]), right=True),
        t.histogram(t.tensor([1.0, 2.0, 1.0]), 3, density=True), t.histogram(t.tensor([0.5]), bins=2, range=(0.0, 1.0)),
        t.histc(t.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3), F.one_hot(t.tensor([0, 2, 1]), 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKS)
def test_picking(name):
    compare(PICKS[name], array(3, 3))


def _written(change: Callable[..., Any]) -> Callable[..., Any]:
    def function(t, nn, F, x):
        x = x.detach().clone()
        change(t, x)
        return x

    return function


WRITES = {
    "number": lambda t, x: x.__setitem__((slice(None), 0), 7.0),
    "row": lambda t, x: x.__setitem__(1, t.arange(3.0)),
    "rest": lambda t, x: x.__setitem__(slice(1, None), -1),
    "mask": lambda t, x: x.__setitem__(x < x[:, [-1]], -float("inf")),
    "item": lambda t, x: x.__setitem__(2, 5),
    "places": lambda t, x: x.__setitem__((t.tensor([0, 1]), t.tensor([2, 2])), t.tensor([8.0, 9.0], dtype=x.dtype)),
    "mixed": lambda t, x: x.view(1, 3, 3).__setitem__(
        (0, slice(None), t.tensor([0, 2])), t.arange(6.0).view(3, 2).to(x)
    ),
    "ellipsis": lambda t, x: x.__setitem__(..., 0.5),
    "fill_": lambda t, x: x.fill_(3),
    "zero_": lambda t, x: x.zero_(),
    "add_": lambda t, x: x.add_(x, alpha=2).sub_(1).mul_(3).div_(2),
    "masked_fill_": lambda t, x: x.masked_fill_(x > 0, -9.0),
    "copy_": lambda t, x: x.copy_(t.ones(3)),
    "clamp_": lambda t, x: x.clamp_(-0.5, 0.5).clamp_min_(-0.2),
    "unary_": lambda t, x: x.abs_().sqrt_().neg_().exp_().tanh_().sigmoid_().log_().square_().round_(),
    "scatter_": lambda t, x: x.scatter_(1, t.tensor([[0], [1], [2]]), 4.0).scatter_add_(
        0, t.tensor([[0, 0, 1]]), x[:1].clone()
    ),
    "index_add_": lambda t, x: x.index_add_(0, t.tensor([0, 0]), t.ones(2, 3, dtype=x.dtype)),
    "lerp_": lambda t, x: x.lerp_(t.ones_like(x), 0.3).addcmul_(x, x, value=0.1).addcdiv_(x, x.abs() + 1, value=-0.5),
    "operators": lambda t, x: (x.__iadd__(1), x.__imul__(2), x.__isub__(x), x.__itruediv__(3)),
    "view": lambda t, x: x.view(-1)[2:5].zero_(),
    "row view": lambda t, x: x[0].add_(5),
    "shape_": lambda t, x: x.unsqueeze_(0).squeeze_(0).t_().transpose_(0, 1),
    "fill_diagonal_": lambda t, x: x.fill_diagonal_(9),
    "tril_": lambda t, x: x.tril_(),
    "data": lambda t, x: x.data.mul_(2),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes(name):
    compare(_written(WRITES[name]), array(3, 3), grad=False)
    if name not in ("lerp_", "unary_", "operators", "add_", "scatter_", "index_add_", "clamp_", "mask"):
        compare(_written(WRITES[name]), array(3, 3, kind="i"), grad=False)


def test_in_place_methods_on_results_in_the_graph():
    compare(
        lambda t, nn, F, x: ((x * 2).masked_fill_(x > 0, -1.0), (x * 3).add_(x), (x @ x).mul_(x), (x + 1).exp_()),
        array(3, 3),
    )

    def accumulated(t, nn, F, x):
        total = t.zeros(3, dtype=t.float64)
        for row in x:
            total = total + row
        total += x[0]
        return total, sum(x)

    compare(accumulated, array(3, 3))


MADE = {
    "numbers": lambda t, nn, F: (
        t.zeros(2, 3), t.ones((2, 3)), t.full((2,), 7), t.full((2,), 1.5), t.full((2,), True), t.eye(3), t.eye(2, 3),
        t.zeros(2, dtype=t.long), t.ones(2, dtype=t.bool), t.zeros(()), t.zeros(0), t.full((), 2.0), t.zeros([2, 2]),
    ),
    "ranges": lambda t, nn, F: (
        t.arange(5), t.arange(2, 5), t.arange(0, 1, 0.25), t.arange(5.0), t.arange(5, 0, -2), t.linspace(0, 1, 5),
        t.arange(0, 4, dtype=t.float32), t.linspace(-1, 1, 1), t.logspace(0, 2, 3), t.arange(0), t.arange(1, 2.5, 0.5),
    ),
    "data": lambda t, nn, F: (
        t.tensor([1, 2]), t.tensor([1.0, 2]), t.tensor(3), t.tensor(2.5), t.tensor([[True]]), t.tensor([]),
        t.tensor([[]]),
        t.tensor([1, 2], dtype=t.float32), t.tensor(np.arange(3)), t.tensor(np.ones(2)), t.tensor(np.float32(2)),
        t.as_tensor([1, 2.5]), t.Tensor([1, 2]), t.FloatTensor([1, 2]), t.LongTensor([1, 2]), t.BoolTensor([True]),
        t.tensor([t.tensor(1.0), t.tensor(2.0)]), t.tensor((1, 2)), t.Tensor([[1.5]]), t.tensor([1, 2.5, True]),
    ),
    "like": lambda t, nn, F: (
        t.zeros_like(t.arange(3)), t.ones_like(t.ones(2, 2), dtype=t.long), t.full_like(t.ones(2), 3),
        t.zeros(2).new_zeros(3),
        t.arange(3).new_ones(2, 2), t.ones(2).new_tensor([1, 2]), t.ones(2).new_full((2,), 3),
        t.empty_like(t.ones(2)).dim(),
    ),
    "casts": lambda t, nn, F: (
        t.tensor([1.7, -1.7]).long(), t.tensor([1.5]).int(), t.tensor([0.0, 2.0]).bool(), t.arange(3).float(),
        t.arange(2).double(), t.ones(2).half(), t.ones(2).to(t.float64), t.ones(2).to("cpu", t.long),
        t.ones(2).type(t.int32),
        t.ones(2).to(device="cpu", dtype=t.float16), t.ones(2).type_as(t.arange(2)), t.ones(2).type(),
        t.arange(2).type(),
        t.tensor([300]).byte(), t.tensor(3).short(), t.arange(2).to(t.ones(1)),
    ),
    "python": lambda t, nn, F: (
        t.tensor(3).item(), t.tensor([1, 2]).tolist(), int(t.tensor(2.7)), float(t.tensor(2)), bool(t.tensor([0])),
        len(t.ones(3)), [int(v) for v in t.arange(3)], list(range(10))[t.tensor(3)], f"{t.tensor(2.5):.3f}",
        f"{t.tensor(3)}",
        "%.2f" % t.tensor(1.234),  # noqa: UP031
        round(float(t.tensor(2.6))), t.tensor(2.0) in t.tensor([1.0, 2.0]),
        max(t.arange(4)).item(),
        t.is_tensor(1), t.numel(t.ones(3)), isinstance(t.ones(1), t.Tensor), str(t.device("cpu")),
        t.device("cuda", 1).index,
        t.device("cuda:1").type, t.finfo(t.float32).max, t.iinfo(t.int64).max, t.pi, t.inf,
        t.equal(t.ones(2), t.ones(2)),
        t.allclose(t.ones(2), t.ones(2) + 1e-9), t.is_floating_point(t.arange(2)), t.get_default_dtype() == t.float32,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_made(name):
    compare(MADE[name])


PRODUCTS = {
    "matmul": ([(3,), (3,)], [(2, 3), (3,)], [(3,), (3, 4)], [(2, 3), (3, 4)], [(5, 2, 3), (3, 4)],
    [(5, 2, 3), (5, 3, 4)],
               [(2, 1, 2, 3), (4, 3, 2)], [(0, 3), (3, 2)], [(2, 0), (0, 3)]),
    "mm": ([(2, 3), (3, 4)],),
    "bmm": ([(5, 2, 3), (5, 3, 4)],),
    "mv": ([(2, 3), (3,)],),
    "dot": ([(3,), (3,)],),
    "outer": ([(3,), (4,)],),
    "inner": ([(3,), (3,)],),
    "cdist": ([(2, 3), (4, 3)],),
}  # fmt: skip


def test_numpy_functions_take_tensors():
    def function(t, nn, F, x):
        return (
            np.exp(x), np.sqrt(x.abs()), np.float32(2) * x, 2 * x - np.ones(3), x / np.ones(3), x @ np.ones(3),
            np.sin(x),
            np.stack([x, x]), np.concatenate([x, x]), np.where(x > 0, 1, 0), np.float64(1.5) - x, np.allclose(x, x),
            np.argmax(x), np.add(x, 1), np.maximum(x, 0), np.mean([v.item() for v in x[0]]), np.asarray(x).sum(),
        )  # fmt: skip

    compare(function, array(3, 3), grad=False)


def test_products():
    for name, pairs in PRODUCTS.items():
        for a, b in pairs:
            compare(lambda t, nn, F, x, y, n=name: getattr(t, n)(x, y), array(*a), array(*b, seed=5))
    x, y = array(2, 3, 4), array(2, 4, 3, seed=2)
    for equation in ("bij,bjk->bik", "bij,bjk", "bij,bjk->b", "...ij,...jk->...ik", "bij,cjk->bcik"):
        compare(lambda t, nn, F, x, y, e=equation: t.einsum(e, x, y), x, y)
    compare(lambda t, nn, F, x, y: (t.einsum("bij->bji", [x]), t.tensordot(x, y, dims=([0, 2], [0, 1]))), x, y)
    compare(
        lambda t, nn, F, x, y: (t.tensordot(x[0], y[0], 1), t.baddbmm(t.ones(2, 3, 3, dtype=t.float64), x, y)), x, y
    )
    compare(
        lambda t, nn, F, x, y: (t.addmm(x[0] @ y[0], x[0], y[0], beta=0.5, alpha=2), x[0].addmm(x[0], y[0] @ x[0])),
        x,
        y,
    )
    compare(lambda t, nn, F, x, y: (t.lerp(x, x * 2, 0.3), t.addcmul(x, x, x, value=2), x.clamp(min=x * 0 + 0.1)), x, y)
    compare(lambda t, nn, F, x, y: (x.clamp(-0.5, 0.5), x.clamp(min=0), x.clip(max=0.2), t.clamp(x, 0, 1)), x, y)


# Functions of networks

FUNCTIONS = (
    "relu gelu silu sigmoid tanh leaky_relu elu selu celu relu6 softplus logsigmoid hardtanh hardsigmoid hardswish "
    "softsign tanhshrink mish glu normalize softshrink hardshrink"
)


@pytest.mark.parametrize("name", FUNCTIONS.split())
def test_functions(name):
    for shape in ((2, 4), (3, 2, 6)):
        compare(lambda t, nn, F, x: getattr(F, name)(x), array(*shape) * 3, tolerance=1e-7)


MORE_FUNCTIONS = {
    "settings": lambda t, nn, F, x: (
        F.gelu(x, approximate="tanh"), F.leaky_relu(x, 0.2), F.elu(x, 0.5), F.softplus(x, beta=2),
        F.threshold(x, 0.1, 9.0),
        F.hardtanh(x, -0.3, 0.4), F.glu(x, 0), F.normalize(x, p=1, dim=0), F.prelu(x, t.tensor([0.1], dtype=t.float64)),
        F.celu(x, 0.7), F.softplus(x * 30),
    ),
    "norms": lambda t, nn, F, x: (
        F.layer_norm(x, (6,)), F.layer_norm(x, (4, 6)), F.layer_norm(x, (6,), x[0], x[1], 1e-3), F.rms_norm(x, (6,)),
        F.group_norm(x, 2), F.group_norm(x, 3, x[0], x[1]), F.batch_norm(x, None, None, training=True),
        F.batch_norm(x, x[0].detach(), x[1].detach() ** 2, x[2], x[3]),
    ),
    "linear": lambda t, nn, F,
    x: (F.linear(x, x), F.linear(x[0], x, x[:, 0]), F.bilinear(x, x, t.ones(2, 6, 6, dtype=x.dtype))),
    "distances": lambda t, nn, F, x: (
        F.cosine_similarity(x, x.flip(0)), F.cosine_similarity(x, x[:1], dim=-1), F.pairwise_distance(x, x.flip(0)),
        F.pairwise_distance(x, x[:1] * 2, p=1, keepdim=True),
    ),
    "pad": lambda t, nn, F, x: (
        F.pad(x, (1, 2)), F.pad(x, (1, 0, 0, 2), value=3.0), F.pad(x, (-1, 1)), F.pad(x[None], (1, 2), mode="reflect"),
        F.pad(x[None], (1, 2), mode="replicate"), F.pad(x[None], (1, 2), mode="circular"),
    ),
    "dropout off": lambda t, nn, F, x: (F.dropout(x, 0.5, training=False), F.dropout(x, 0.0), F.dropout(x, 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE_FUNCTIONS)
def test_more_functions(name):
    compare(MORE_FUNCTIONS[name], array(4, 6), tolerance=1e-7)


def test_attention():
    q, k, v = array(2, 2, 3, 4), array(2, 2, 5, 4, seed=1), array(2, 2, 5, 4, seed=2)
    mask, bias = array(3, 5, kind="b", seed=3), array(3, 5, seed=4)
    mask[:, 0] = True
    attend = lambda F, *args, **settings: F.scaled_dot_product_attention(*args, **settings)  # noqa: E731
    compare(
        lambda t, nn, F, q, k, v: (attend(F, q, k, v), attend(F, q, k[:, :, :3], v[:, :, :3], is_causal=True)), q, k, v
    )
    compare(lambda t, nn, F, q, k, v, m: attend(F, q, k, v, attn_mask=m), q, k, v, mask)
    compare(lambda t, nn, F, q, k, v, b: attend(F, q, k, v, attn_mask=b, scale=0.3), q, k, v, bias)


def test_convolution_and_pooling():
    x, w = array(2, 4, 9), array(6, 4, 3, seed=1)
    for settings in (
        {},
        {"stride": 2},
        {"padding": 1},
        {"dilation": 2},
        {"padding": "same"},
        {"stride": 2, "padding": 2},
    ):
        compare(lambda t, nn, F, x, w, s=settings: F.conv1d(x, w, w[:, 0, 0], **s), x, w)
        image, kernel = array(2, 4, 7, 6), array(6, 4, 3, 2, seed=1)
        compare(lambda t, nn, F, x, w, s=settings: F.conv2d(x, w, w[:, 0, 0, 0], **s), image, kernel)
    compare(lambda t, nn, F, x, w: (F.conv1d(x, w[:, :2], groups=2), F.conv1d(x[0], w)), x, w)
    compare(lambda t, nn, F, x: (F.max_pool1d(x, 3), F.max_pool1d(x, 2, 1), F.avg_pool1d(x, 3, padding=1)), x)
    compare(
        lambda t, nn, F, x: (F.max_pool1d(x, 3, padding=1), F.adaptive_avg_pool1d(x, 3), F.adaptive_avg_pool1d(x, 4)), x
    )
    compare(
        lambda t, nn, F, x: (F.max_pool2d(x, 2), F.avg_pool2d(x, (2, 3)), F.adaptive_avg_pool2d(x, (2, 2))),
        array(2, 3, 7, 6),
    )
    compare(
        lambda t, nn, F, x: (F.max_pool2d(x, 3, stride=2, padding=1), F.adaptive_avg_pool2d(x, 1)), array(2, 3, 7, 6)
    )


def _targets(kind: str, n: int = 5, classes: int = 4) -> np.ndarray:
    rng = np.random.default_rng(8)
    if kind == "class":
        return rng.integers(0, classes, n)
    return rng.random((n, classes)) if kind == "share" else np.sign(rng.normal(size=(n, classes)))


LOSSES = {
    "cross_entropy": ("f", "class", [{}, {"label_smoothing": 0.1}, {"ignore_index": 2}]),
    "nll_loss": ("f", "class", [{}, {"ignore_index": 1}]),
    "mse_loss": ("f", "share", [{}]),
    "l1_loss": ("f", "share", [{}]),
    "smooth_l1_loss": ("f", "share", [{}, {"beta": 0.3}]),
    "huber_loss": ("f", "share", [{}, {"delta": 0.3}]),
    "binary_cross_entropy": ("u", "share", [{}]),
    "binary_cross_entropy_with_logits": ("f", "share", [{}]),
    "kl_div": ("f", "share", [{}, {"log_target": True}]),
    "poisson_nll_loss": ("f", "share", [{}]),
    "soft_margin_loss": ("f", "sign", [{}]),
    "hinge_embedding_loss": ("f", "sign", [{}, {"margin": 0.5}]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    kind, target, settings = LOSSES[name]
    for more, reduction in itertools.product(settings, ("mean", "sum", "none")):
        options = {**more, "reduction": reduction}
        compare(
            lambda t, nn, F, x, y, o=options: getattr(F, name)(x, y if y.dtype == t.int64 else y.detach(), **o),
            array(5, 4, kind=kind), _targets(target), tolerance=1e-8,
        )  # fmt: skip


def test_other_losses():
    x, y = array(5, 4), array(5, 4, seed=1)
    sign = np.sign(array(5, seed=2))
    compare(lambda t, nn, F, x, y, s: F.cosine_embedding_loss(x, y, s.detach(), 0.1), x, y, sign)
    compare(lambda t, nn, F, x, y, s: F.margin_ranking_loss(x[:, 0], y[:, 0], s.detach(), 0.2), x, y, sign)
    compare(lambda t, nn, F, x, y: F.triplet_margin_loss(x, y, x.flip(0)), x, y)
    compare(
        lambda t, nn, F, x, y: (
            F.gaussian_nll_loss(x, y, y**2 + 0.1),
            F.kl_div(x, y.softmax(1), reduction="batchmean"),
        ),
        x,
        y,
    )
    weight = array(4, kind="p")
    for reduction in ("mean", "sum", "none"):
        compare(
            lambda t, nn, F, x, w, r=reduction: F.cross_entropy(x, t.tensor([0, 1, 2, 3, 3]), w.detach(), reduction=r),
            x,
            weight,
        )
        compare(lambda t, nn, F, x, y, r=reduction: F.cross_entropy(x, y.softmax(-1).detach(), reduction=r), x, y)
    compare(lambda t, nn, F, x: F.cross_entropy(x.view(1, 4, 5), t.tensor([[0, 1, -100, 3, 3]])), x)
    compare(lambda t, nn, F, x: F.cross_entropy(x, t.tensor([-1, 1, -1, 3, 3]), ignore_index=-1), x)


# Layers: from PyTorch's weights, in training and evaluation

LAYERS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "Linear": (lambda nn: nn.Linear(4, 3), [(2, 4)]),
    "Linear no bias": (lambda nn: nn.Linear(4, 3, bias=False), [(2, 5, 4)]),
    "Bilinear": (lambda nn: nn.Bilinear(3, 4, 2), [(5, 3), (5, 4)]),
    "LayerNorm": (lambda nn: nn.LayerNorm(4), [(2, 3, 4)]),
    "LayerNorm no bias": (lambda nn: nn.LayerNorm((3, 4), bias=False), [(2, 3, 4)]),
    "RMSNorm": (lambda nn: nn.RMSNorm(4), [(2, 4)]),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(4), [(6, 4)]),
    "BatchNorm1d plain": (lambda nn: nn.BatchNorm1d(4, affine=False, momentum=None), [(6, 4, 5)]),
    "BatchNorm1d untracked": (lambda nn: nn.BatchNorm1d(4, track_running_stats=False), [(6, 4)]),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(3, momentum=0.3), [(2, 3, 4, 5)]),
    "GroupNorm": (lambda nn: nn.GroupNorm(2, 4), [(3, 4, 5)]),
    "InstanceNorm1d": (lambda nn: nn.InstanceNorm1d(4, affine=True), [(3, 4, 5)]),
    "InstanceNorm2d": (lambda nn: nn.InstanceNorm2d(4), [(3, 4, 5, 2)]),
    "Conv1d": (lambda nn: nn.Conv1d(4, 6, 3, padding=1, stride=2), [(2, 4, 9)]),
    "Conv2d": (lambda nn: nn.Conv2d(2, 4, (3, 2), groups=2, bias=False), [(2, 2, 6, 5)]),
    "ConvTranspose1d": (lambda nn: nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1), [(2, 4, 5)]),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(4, 2, (3, 2), groups=2, dilation=2), [(2, 4, 4, 5)]),
    "ConvTranspose2d square": (lambda nn: nn.ConvTranspose2d(3, 2, 4, 2, 1, bias=False), [(2, 3, 4, 4)]),
    "MaxPool2d": (lambda nn: nn.MaxPool2d(2), [(2, 3, 6, 5)]),
    "AvgPool1d": (lambda nn: nn.AvgPool1d(3, 2), [(2, 3, 8)]),
    "AdaptiveAvgPool2d": (lambda nn: nn.AdaptiveAvgPool2d((1, 1)), [(2, 3, 6, 5)]),
    "PReLU": (lambda nn: nn.PReLU(4), [(3, 4)]),
    "Flatten": (lambda nn: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 3))), [(2, 3, 4)]),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), nn.LogSoftmax(-1)), [(5, 4)]),
    "ModuleDict": (lambda nn: nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.ModuleList([nn.Linear(2, 2)])})["a"],
    [(3, 4)]),
    "RNN": (lambda nn: nn.RNN(3, 4, 2, batch_first=True), [(2, 5, 3)]),
    "RNN relu": (lambda nn: nn.RNN(3, 4, nonlinearity="relu", bidirectional=True), [(5, 2, 3)]),
    "GRU": (lambda nn: nn.GRU(3, 4, 2, bidirectional=True), [(5, 2, 3)]),
    "LSTM": (lambda nn: nn.LSTM(3, 4, 2, batch_first=True), [(2, 5, 3)]),
    "RNNCell": (lambda nn: nn.RNNCell(3, 4), [(2, 3), (2, 4)]),
    "GRUCell": (lambda nn: nn.GRUCell(3, 4), [(2, 3), (2, 4)]),
    "LSTMCell": (lambda nn: nn.LSTMCell(3, 4), [(2, 3)]),
    "MultiheadAttention": (lambda nn: nn.MultiheadAttention(4, 2, batch_first=True), [(2, 5, 4), (2, 3, 4), (2, 3, 4)]),
    "EncoderLayer": (lambda nn: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), [(2, 5, 4)]),
    "DecoderLayer": (lambda nn: nn.TransformerDecoderLayer(4, 2, 8, 0.0, "gelu", batch_first=True),
    [(2, 5, 4), (2, 3, 4)]),
    "Transformer": (lambda nn: nn.Transformer(4, 2, 1, 1, 8, 0.0), [(5, 2, 4), (3, 2, 4)]),
    "ZeroPad2d": (lambda nn: nn.ZeroPad2d((1, 2, 0, 1)), [(2, 3, 4, 5)]),
    "ConstantPad1d": (lambda nn: nn.Sequential(nn.ConstantPad1d(1, 2.0), nn.ReflectionPad1d(2)), [(2, 3, 4)]),
    "Upsample": (lambda nn: nn.Upsample(scale_factor=2), [(2, 3, 4, 5)]),
    "CosineSimilarity": (lambda nn: nn.CosineSimilarity(), [(3, 4), (3, 4)]),
    "PairwiseDistance": (lambda nn: nn.PairwiseDistance(), [(3, 4), (3, 4)]),
}  # fmt: skip
PLAIN = (
    "ReLU ReLU6 GELU SiLU SELU ELU CELU LeakyReLU Mish Sigmoid Tanh Softplus Softsign LogSigmoid Hardtanh Hardsigmoid "
)
PLAIN += "Hardswish Tanhshrink GLU Identity"
LAYERS |= {name: (lambda nn, name=name: getattr(nn, name)(), [(3, 4)]) for name in PLAIN.split()}
LAYERS |= {
    name: (lambda nn, name=name: getattr(nn, name)(dim=1), [(3, 4)]) for name in ("Softmax", "LogSoftmax", "Softmin")
}


def pair(build: Callable[..., Any]) -> tuple[Any, Any]:
    """The same module here and there, in float64, with the weights of there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = build(torch.nn).double()
    ours = build(mg.nn).double()
    state = mg.from_torch(theirs.state_dict())
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    build, shapes = LAYERS[name]
    torch.manual_seed(0)
    ours, theirs = pair(build)
    inputs = [array(*shape, seed=i) for i, shape in enumerate(shapes)]
    for train in (True, True, False):
        ours.train(train), theirs.train(train)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outs, grads = run((mg, mg.nn, None), lambda t, nn, F, *x: ours(*x), [x.copy() for x in inputs], True)
            wanted, wanted_grads = run(
                (torch, torch.nn, None), lambda t, nn, F, *x: theirs(*x), [x.copy() for x in inputs], True
            )
        for what, a, b in (("out", outs, wanted), ("gradient", grads, wanted_grads)):
            assert len(a) == len(b)
            for i, (mine, yours) in enumerate(zip(a, b, strict=True)):
                same(mine, yours, f"{what} {i}, training {train}", 1e-8)
    for (key, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        if b.grad is not None:
            same(a.grad, b.grad, key, 1e-8)
    for (key, a), (_, b) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        same(a, b, key, 1e-8)
    assert [k for k, _ in ours.named_modules()] == [k for k, _ in theirs.named_modules()]


@pytest.mark.parametrize(
    "name", [n for n, (_, shapes) in LAYERS.items() if n not in PLAIN and "attention" not in n.lower()]
)
def test_initial_weights_have_the_same_distribution(name):
    make = LAYERS[name][0]
    torch.manual_seed(1), mg.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = [[make(nn).state_dict() for _ in range(40)] for nn in (mg.nn, torch.nn)]
    for key in draws[0][0]:
        a, b = (np.concatenate([plain(state[key]).reshape(-1).astype(float) for state in draw]) for draw in draws)
        spread = b.std() / np.sqrt(b.size)
        assert abs(a.mean() - b.mean()) <= 6 * spread + 1e-12, key
        assert abs(a.std() - b.std()) <= 6 * spread + 1e-12, key
        assert abs(np.abs(a).max() - np.abs(b).max()) <= 0.25 * np.abs(b).max() + 1e-12, key


@pytest.mark.parametrize(
    "name",
    "uniform_ normal_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_ "
    "zeros_ ones_ eye_".split(),
)  # fmt: skip
def test_init(name):
    torch.manual_seed(0), mg.manual_seed(0)
    a, b = (plain(getattr(lib.nn.init, name)(lib.empty(60, 50))) for lib in (mg, torch))
    assert a.shape == b.shape and abs(a.mean() - b.mean()) <= 0.1 * b.std() and abs(a.std() - b.std()) <= 0.05 * b.std()
    assert abs(np.abs(a).max() - np.abs(b).max()) <= 0.3 * np.abs(b).max()
    assert mg.nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)


# Optimizers and schedules

OPTIMIZERS = {
    "SGD": [{"lr": 0.1}, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    {"lr": 0.05, "momentum": 0.9, "nesterov": True},
            {"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "maximize": True}],
    "Adam": [{}, {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95)}, {"lr": 0.05, "amsgrad": True}],
    "AdamW": [{}, {"lr": 0.05, "weight_decay": 0.3, "eps": 1e-5}],
    "RMSprop": [{}, {"lr": 0.02, "momentum": 0.5, "centered": True, "weight_decay": 0.1}],
    "Adagrad": [{}, {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}],
    "Adadelta": [{}, {"lr": 0.5, "weight_decay": 0.1, "rho": 0.8}],
    "Adamax": [{}, {"lr": 0.05, "weight_decay": 0.1}],
    "NAdam": [{}, {"lr": 0.05, "weight_decay": 0.1}],
    "RAdam": [{}, {"lr": 0.05, "weight_decay": 0.1}],
}  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), [(n, s) for n, every in OPTIMIZERS.items() for s in every], ids=str)
def test_fifty_steps(name, settings):
    paths = []
    for lib in (mg, torch):
        x = lib.from_numpy(array(6, 3))
        ws = [lib.from_numpy(array(3, 4, seed=1)).requires_grad_(), lib.from_numpy(array(4, seed=2)).requires_grad_()]
        optimizer = getattr(lib.optim, name)([{"params": ws[:1]}, {"params": ws[1:], "lr": 0.03}], **settings)
        path = []
        for _ in range(50):
            optimizer.zero_grad()
            ((x @ ws[0]).tanh() @ ws[1]).sin().sum().backward()
            optimizer.step()
            path.append([plain(w).copy() for w in ws])
        paths.append(path)
    for ours, theirs in zip(*paths, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            close = 1e-6 if name == "NAdam" else 1e-8  # PyTorch keeps a factor of it in float32
            np.testing.assert_allclose(a, b, 10 * close, close)


SCHEDULES = {
    "LambdaLR": lambda L, o: L.LambdaLR(o, lambda step: 0.9**step),
    "MultiplicativeLR": lambda L, o: L.MultiplicativeLR(o, lambda step: 0.9 + step / 1000),
    "StepLR": lambda L, o: L.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda L, o: L.MultiStepLR(o, [5, 11, 12], 0.3),
    "ExponentialLR": lambda L, o: L.ExponentialLR(o, 0.95),
    "ConstantLR": lambda L, o: L.ConstantLR(o, 0.5, 6),
    "LinearLR": lambda L, o: L.LinearLR(o, 0.2, 0.9, 10),
    "PolynomialLR": lambda L, o: L.PolynomialLR(o, 20, 2.0),
    "CosineAnnealingLR": lambda L, o: L.CosineAnnealingLR(o, 15, 0.01),
    "CosineAnnealingWarmRestarts": lambda L, o: L.CosineAnnealingWarmRestarts(o, 5, 2, 0.01),
    "OneCycleLR": lambda L, o: L.OneCycleLR(o, [0.5, 0.2], total_steps=41),
    "OneCycleLR linear": lambda L, o: L.OneCycleLR(o, 0.5, epochs=10, steps_per_epoch=5, anneal_strategy="linear"),
    "SequentialLR": lambda L, o: L.SequentialLR(
        o, [L.LinearLR(o, 0.1, total_iters=5), L.CosineAnnealingLR(o, 20)], [5]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    rates = []
    for lib in (mg, torch):
        groups = [
            {"params": [lib.zeros(1, requires_grad=True)]},
            {"params": [lib.zeros(1, requires_grad=True)], "lr": 0.03},
        ]
        optimizer = lib.optim.AdamW(groups, lr=0.1)
        schedule = SCHEDULES[name](lib.optim.lr_scheduler, optimizer)
        seen = []
        for _ in range(40):
            optimizer.step()
            seen.append([(g["lr"], g["betas"][0]) for g in optimizer.param_groups] + [schedule.get_last_lr()[0]])
            schedule.step()
        rates.append([flat(s) for s in seen])
    np.testing.assert_allclose(rates[0], rates[1], 1e-7, 1e-12)


def test_reduce_on_plateau():
    values = [3, 2, 2, 2, 2, 1.9999, 1.5, 1.6, 1.7, 1.8, 1.9, 1.4] * 2
    rates = []
    for lib in (mg, torch):
        optimizer = lib.optim.SGD([lib.zeros(1, requires_grad=True)], lr=0.1)
        schedule = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.01)
        rates.append([(schedule.step(v), optimizer.param_groups[0]["lr"])[1] for v in values])
    np.testing.assert_allclose(rates[0], rates[1])


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_clipping(norm):
    def clip(t, nn, F, x):
        y = x.detach().clone().requires_grad_()
        (y * 3).sin().sum().backward()
        total = nn.utils.clip_grad_norm_([y], 0.3, norm_type=norm)
        again = nn.utils.clip_grad_norm_(y, 100.0)
        nn.utils.clip_grad_value_(y, 0.05)
        return total, again, y.grad

    compare(clip, array(3, 4), grad=False)


# Printing, errors

PRINTED = (
    [1.0, 2.5], [1, 2], [True, False], 3, 2.5, [], [[]], [1e-5, 1.0], [1e9, 1.0], [float("nan"), 1.0, float("inf")],
    [[0.0, 0.0]],
    np.arange(24.0).reshape(2, 3, 4).tolist(), np.linspace(0, 1, 30).tolist(), np.arange(2000).tolist(),
    [[-1.5, 1000.25]],
    np.linspace(-3, 3, 3000).reshape(50, 60).tolist(), [0.1] * 4, [1e-3, 5e3], [100000.0, 2.0], [-float("inf"), 1.0],
)  # fmt: skip


def test_printing():
    for data in PRINTED:
        ours, theirs = mg.tensor(data), torch.tensor(data)
        assert repr(ours) == repr(theirs)
        if theirs.is_floating_point():
            ours.requires_grad_(), theirs.requires_grad_()
            assert repr(ours) == repr(theirs) and repr(ours + 1) == repr(theirs + 1)
            assert repr(ours.double()).replace(" ", "").replace("\n", "") == repr(theirs.double()).replace(
                "torch.", ""
            ).replace(" ", "").replace("\n", "")
    for text in (
        "x.exp() x-1 x*2 x/2 x**2 x.tanh() x.log() x.relu() x.sqrt() x.sigmoid() -x x.view(-1) x.reshape(4) x.sum() "
        "x.mean() x@x x.clone() x.softmax(-1) x.log_softmax(-1) x.transpose(0,1) t.cat([x,x]) t.stack([x,x]) "
        "x.abs() x.unsqueeze(0) x.expand(2,2,2) F.gelu(x) x.tril() x.max() x.min() x.masked_fill(x>0,1.) "
        "F.linear(x,x,x[0]) F.linear(x,x) x[0] x[0:1] x[[0]] x.T x.permute(1,0) x.sum(0) x.mean(0) "
        "t.bmm(x[None],x[None]) F.cross_entropy(x,t.tensor([0,1])) x.amax(0) x.gather(1,t.tensor([[0],[1]])) "
        "x.var() x.std() x.flatten() t.where(x>0,x,x) F.dropout(x) F.layer_norm(x,(2,)) F.mse_loss(x,x.detach()) "
        "F.embedding(t.tensor([1]),x) x.double().sum() x.cumsum(0) t.maximum(x,x) F.silu(x) x[0]@x[0] "
    ).split():
        function = eval(f"lambda t, F, x: {text}")
        ours, theirs = (function(t, F, t.ones(2, 2, requires_grad=True)) for t, _, F in (HERE, THERE))
        assert repr(ours).split("grad_fn")[1] == repr(theirs).split("grad_fn")[1], text


ERRORS = {
    "matmul": lambda t: t.ones(2, 3) @ t.ones(2, 3),
    "broadcast": lambda t: t.ones(2, 3) + t.ones(2, 4),
    "reshape": lambda t: t.ones(6).view(4, 2),
    "index": lambda t: t.ones(3)[5],
    "rows": lambda t: t.ones(3)[t.tensor([5])],
    "dim": lambda t: t.ones(3).sum(dim=2),
    "squeeze dim": lambda t: t.ones(3).transpose(0, 2),
    "cat": lambda t: t.cat([t.ones(2, 3), t.ones(2, 4)]),
    "stack": lambda t: t.stack([t.ones(2), t.ones(3)]),
    "embedding": lambda t: t.nn.functional.embedding(t.tensor([9]), t.ones(3, 2)),
    "target": lambda t: t.nn.functional.cross_entropy(t.ones(2, 3), t.tensor([0, 7])),
    "mean of ints": lambda t: t.arange(3).mean(),
    "grad of ints": lambda t: t.arange(3).requires_grad_(),
    "backward": lambda t: t.ones(3, requires_grad=True).backward(),
    "no graph": lambda t: t.ones(3).sum().backward(),
    "twice": lambda t: [
        loss.backward() for loss in [(t.ones(3, requires_grad=True) ** 2).exp().sum()] for _ in range(2)
    ],
    "leaf in place": lambda t: t.ones(3, requires_grad=True).add_(1),
    "numpy of grad": lambda t: t.ones(3, requires_grad=True).numpy(),
    "item": lambda t: t.ones(3).item(),
    "truth": lambda t: bool(t.ones(3)),
    "len": lambda t: len(t.tensor(1.0)),
    "iterate": lambda t: iter(t.tensor(1.0)),
    "multinomial": lambda t: t.multinomial(t.tensor([0.0, 0.0]), 1),
    "topk": lambda t: t.ones(3).topk(4),
    "expand": lambda t: t.ones(2, 3).expand(4, 3),
    "keys": lambda t: t.nn.Linear(2, 3).load_state_dict({}),
    "no forward": lambda t: t.nn.Module()(1),
    "no parameters": lambda t: t.optim.SGD([], lr=0.1),
    "super": lambda t: type("M", (t.nn.Module,), {"__init__": lambda self: setattr(self, "a", t.nn.Linear(1, 1))})(),
    "attribute": lambda t: t.nn.Linear(1, 1).nothing,
    "name": lambda t: t.no_such_name,
    "split": lambda t: t.ones(4).split([1, 2]),
    "gather": lambda t: t.ones(2, 2).gather(1, t.tensor([[5]])),
    "narrow": lambda t: t.ones(3).narrow(0, 2, 5),
    "linear": lambda t: t.nn.Linear(3, 2)(t.ones(2, 4)),
    "mask": lambda t: t.ones(3)[t.tensor([True, False])],
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_caught_by_the_same_except(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(theirs.type):
        ERRORS[name](mg)


def test_from_torch():
    state = {
        "a": torch.ones(2, dtype=torch.bfloat16),
        "b": [torch.arange(3), 1, "x"],
        "c": (torch.nn.Parameter(torch.ones(1)),),
    }
    ours = mg.from_torch(state)
    assert ours["a"].dtype == mg.float32 and ours["b"][0].tolist() == [0, 1, 2] and ours["b"][1:] == [1, "x"]
    assert isinstance(ours["c"], tuple) and isinstance(ours["c"][0], mg.Tensor)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_of_pytorch_is_refused_with_the_way_out(tmp_path, legacy):
    torch.save({"a": torch.ones(2)}, tmp_path / "ckpt.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(mg.CheckpointError, match=r"from_torch\(torch\.load"):
        mg.load(tmp_path / "ckpt.pt")
