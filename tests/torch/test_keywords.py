"""Arguments go by PyTorch's names: each has been called by name, and the names are those of PyTorch's own schemas."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import minigrad as mg

X = np.arange(6.0).reshape(2, 3)

CALLS = [  # (function, arguments, what it is)
    ("flip", {"input": X, "dims": (0,)}, X[::-1]),
    ("permute", {"input": X, "dims": (1, 0)}, X.T),
    ("tile", {"input": X, "dims": (2, 1)}, np.tile(X, (2, 1))),
    ("reshape", {"input": X, "shape": (3, 2)}, X.reshape(3, 2)),
    ("broadcast_to", {"input": X, "size": (2, 2, 3)}, np.broadcast_to(X, (2, 2, 3))),
    ("swapdims", {"input": X, "dim0": 0, "dim1": 1}, X.T),
    ("pow", {"input": X, "exponent": 2}, X**2),
    ("mm", {"input": X, "mat2": X.T}, X @ X.T),
    ("bmm", {"input": X[None], "mat2": X.T[None]}, (X @ X.T)[None]),
    ("mv", {"input": X, "vec": X[1]}, X @ X[1]),
    ("dot", {"input": X[0], "tensor": X[1]}, X[0] @ X[1]),
    ("inner", {"input": X, "other": X}, X @ X.T),
    ("addmm", {"input": X[:, :2], "mat1": X, "mat2": X.T, "beta": 2, "alpha": 3}, 2 * X[:, :2] + 3 * X @ X.T),
    ("addmv", {"input": X[:, 0], "mat": X, "vec": X[1]}, X[:, 0] + X @ X[1]),
    ("baddbmm", {"input": X[None, :, :2], "batch1": X[None], "batch2": X.T[None]}, (X[:, :2] + X @ X.T)[None]),
    ("max", {"input": X, "other": 6 - X}, np.maximum(X, 6 - X)),
    ("min", {"input": X, "other": 6 - X}, np.minimum(X, 6 - X)),
    ("isin", {"elements": X, "test_elements": X[0], "invert": True}, [[False] * 3, [True] * 3]),
    ("diff", {"input": X, "prepend": X[:, :1], "append": X[:, :1]}, [[0, 1, 1, -2], [0, 1, 1, -2]]),
    ("true_divide", {"dividend": X, "divisor": 2}, X / 2),
    ("diag_embed", {"input": X[0], "dim1": 0, "dim2": 1}, np.diag(X[0])),
    ("quantile", {"input": X, "q": 0.3, "interpolation": "lower"}, 1.0),
    ("quantile", {"input": X, "q": 0.3, "interpolation": "higher"}, 2.0),
    ("quantile", {"input": X, "q": 0.3, "interpolation": "midpoint"}, 1.5),
    ("quantile", {"input": X, "q": 0.36, "interpolation": "nearest"}, 2.0),
    ("atan2", {"input": X, "other": X + 1}, np.arctan2(X, X + 1)),
    ("zeros", {"size": (2, 3)}, np.zeros((2, 3))),
    ("ones", {"size": (2,)}, np.ones(2)),
    ("empty", {"size": [1, 2]}, np.zeros((1, 2))),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS)
def test_calls_by_name(name, arguments, expected):
    given = {key: mg.tensor(value) if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    found = getattr(mg, name)(**given)
    np.testing.assert_allclose(found.numpy(), expected, err_msg=name)


def test_methods_by_name():
    x = mg.tensor(X)
    assert x.reshape(shape=(3, 2)).shape == x.expand(size=(4, 2, 3)).shape[:0:-1] == (3, 2)
    assert (
        x.repeat(repeats=(1, 2)).shape == (2, 6)
        and x.flip(dims=[1])[0, 0] == 2
        and x.permute(dims=(1, 0)).shape == (3, 2)
    )
    assert x.reshape(-1).shape == (6,) and x[:1, :1].reshape(()).shape == x[:1, :1].reshape().shape == ()
    assert [part.tolist() for part in mg.split(tensor=x, split_size_or_sections=1)] == [[[0, 1, 2]], [[3, 4, 5]]]
    assert len(mg.tensor_split(x, sections=2)) == 2 and mg.hsplit(input=x, indices=[1])[0].shape == (2, 1)
    mg.manual_seed(0)
    drawn = mg.zeros(1000).uniform_(**{"from": 2, "to": 3})
    assert 2 <= drawn.min() < 2.1 < 2.9 < drawn.max() <= 3
    assert set(mg.zeros(100).random_(**{"from": 1, "to": 3}).tolist()) == {1.0, 2.0}
    assert mg.zeros(2).copy_(src=mg.ones(2), non_blocking=True).tolist() == [1, 1]
    assert [t.shape for t in (mg.randn(size=(2, 3)), mg.rand(size=(1,)), x.new_zeros(size=(4,)))] == [
        (2, 3),
        (1,),
        (4,),
    ]
    assert mg.normal(0.0, 1.0, size=(2,), requires_grad=True).requires_grad
    for (var, mean), unbiased in (
        (mg.var_mean(x, 1, unbiased=False), 0),
        (mg.var_mean(x, 1), 1),
        (mg.var_mean(x, False), 0),
    ):
        assert np.allclose(var, X.var(axis=1 if var.ndim else None, ddof=unbiased))
        assert np.allclose(mean, X.mean(axis=1 if var.ndim else None))


# What PyTorch's schemas name and this does not take: options of memory and code, and a type of another kind.
OPTIONS = {
    "dtype", "layout", "device", "pin_memory", "out", "names", "generator", "memory_format", "non_blocking",
    "out_dtype", "split_sizes", "tensor_indices_or_sections",
}  # fmt: skip
LEFT = {
    ("Tensor", "expand", "implicit"), ("Tensor", "bernoulli", "p"), ("Tensor", "to", "other"),
    ("Tensor", "view", "size"), ("Tensor", "copy_", "other"), ("functions", "isin", "test_element"),
}  # fmt: skip


def test_every_name_of_pytorchs_schemas_is_taken():
    torch = pytest.importorskip("torch")
    schemas: dict[str, set[str]] = {}
    for schema in torch._C._jit_get_all_schemas():
        arguments = schema.arguments
        on_tensors = arguments and str(arguments[0].type) == "Tensor"
        named = any("Dimname" in str(a.type) for a in arguments) or any(a.is_out for a in arguments)
        if schema.name.startswith("aten::") and on_tensors and not named:
            schemas.setdefault(schema.name[6:], set()).update(a.name for a in arguments)
    checked, lacking = 0, []
    for holder, names, theirs in (
        ("Tensor", dir(mg.Tensor), torch.Tensor), ("functions", mg.functions.__all__, torch),
    ):  # fmt: skip
        for name in names:
            method = getattr(mg.Tensor if holder == "Tensor" else mg.functions, name)
            if name.startswith("_") or name not in schemas or not callable(method) or not hasattr(theirs, name):
                continue
            parameters = inspect.signature(method).parameters
            if name.endswith("_") and "kwargs" in parameters:  # hands all on to the method of that name
                continue
            taken = {p.name for p in parameters.values() if p.kind is not inspect.Parameter.VAR_POSITIONAL}
            taken |= set(getattr(method, "takes", {})) | {"self", "a", "b"}  # of TorchScript's own plain numbers
            wanted = schemas[name] - OPTIONS - taken
            lacking += [(holder, name, argument) for argument in sorted(wanted) if (holder, name, argument) not in LEFT]
            checked += 1
    assert checked > 300 and not lacking
