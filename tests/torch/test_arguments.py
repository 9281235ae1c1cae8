"""Shapes, axes and data as PyTorch reads them, where NumPy would read them otherwise and say nothing."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "var", "std", "norm"])
@pytest.mark.parametrize("dim", [[], ()])
def test_no_axes_at_all_are_all_axes(name, dim):
    x = mg.arange(6.0).reshape(2, 3)
    assert getattr(x, name)(dim=dim).equal(getattr(x, name)())


def test_no_axes_at_all_change_nothing_for_squeeze_any_and_all():
    x = mg.ones(2, 1, 3)
    assert x.squeeze([]).shape == (2, 1, 3) and x.any(dim=[]).shape == (2, 1, 3) and x.all(dim=()).shape == (2, 1, 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x: x.view(-2, 3), "a size is at least 0"),
        (lambda x: x.reshape(-1, -1), "one unknown dimension"),
        (lambda x: x.repeat(2, -1), "must not be negative"),
        (lambda x: x.flatten(1, 0), "comes after"),
    ],
)
def test_shapes_are_not_taken_on_trust(wrong, says):
    with pytest.raises(RuntimeError, match=says):
        wrong(mg.ones(2, 3))


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([np.float64(1)], "float64"),
        ([1.0, np.float64(2)], "float64"),
        ([[1.0], [np.float64(1)]], "float64"),
        ([np.arange(2.0)], "float64"),
        ([mg.ones((), dtype=mg.float64), 1.0], "float64"),
        ([1.0, 2.0], "float32"),
        ([np.float32(1), 1.0], "float32"),
        ([mg.ones(()), 2.0], "float32"),
        ([np.int32(1)], "int32"),
        ([True, 1], "int64"),
    ],
)
def test_data_keeps_the_precision_it_came_with(data, dtype):
    assert mg.tensor(data).dtype == dtype and mg.as_tensor(data).dtype == dtype


def test_trace_of_a_matrix_is_a_number_and_of_a_run_a_record():
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with mg.trace() as record:
        mg.trace(x).backward()
    assert x.grad.tolist() == [[1.0, 0.0], [0.0, 1.0]] and record.ops


@pytest.mark.parametrize(
    ("index", "shape"),
    [
        ((((0,),),), (1, 1, 3, 4)),
        (((0, 1),), (2, 3, 4)),
        (((0, 1), (1, 2)), (2, 4)),
        ((0, (1, 2)), (2, 4)),
        (([0, 1],), (2, 3, 4)),
    ],
)
def test_tuples_within_an_index_pick_as_lists_do(index, shape):
    x = np.arange(24).reshape(2, 3, 4)
    lists = tuple(np.array(part) for part in index)
    assert mg.tensor(x)[index].shape == shape
    np.testing.assert_array_equal(mg.tensor(x)[index].numpy(), x[lists])


def test_a_saved_leaf_is_a_leaf_again(tmp_path):
    saved = {"w": mg.ones(2, requires_grad=True), "x": mg.ones(2), "made": mg.ones(2, requires_grad=True) * 2}
    mg.save(saved, tmp_path / "some.npz")
    loaded = mg.load(tmp_path / "some.npz")
    assert {name: x.requires_grad for name, x in loaded.items()} == {"w": True, "x": False, "made": False}
