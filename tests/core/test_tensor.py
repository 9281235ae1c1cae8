"""What the tensor itself does between the ops and the graph: who watches a backward, and operands that meet."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.core.graph import state


def test_who_watches_is_given_the_tensor_its_gradient_and_the_steps(monkeypatch):
    seen = []
    monkeypatch.setattr(state, "walker", lambda tensor, dz, steps: seen.append((tensor, dz, next(steps).node)))
    x = mg.ones(3, requires_grad=True)
    y = x * 2
    z = y.sum()
    z.backward()
    (tensor, dz, first), node = seen[0], z.grad_fn
    assert tensor is z and isinstance(dz, np.ndarray) and dz == 1 and first is node and len(seen) == 1
    assert x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("made", "values", "dtype"),
    [
        (lambda: 2 * mg.tensor([1, 2]), [2, 4], "int64"),
        (lambda: 2 - mg.tensor([1, 2]), [1, 0], "int64"),
        (lambda: 1 / mg.tensor([2, 4]), [0.5, 0.25], "float32"),
        (lambda: mg.tensor([2, 4]) / 4, [0.5, 1.0], "float32"),
        (lambda: mg.tensor([1, 2]) + mg.tensor([0.5, 0.5]), [1.5, 2.5], "float32"),
        (lambda: mg.tensor([0.5, 0.5]) - mg.tensor([1, 2]), [-0.5, -1.5], "float32"),
        (lambda: mg.ones(2, dtype=mg.float64) - mg.tensor([2.0, 3.0]), [-1, -2], "float64"),
        (lambda: True + mg.tensor([1, 2]), [2, 3], "int64"),
    ],
)
def test_operands_meet_at_one_dtype_in_their_order(made, values, dtype):
    z = made()
    assert z.tolist() == values and z.dtype == dtype


def test_what_a_tensor_can_be_made_of():
    assert mg.Tensor([1, 2]).dtype == mg.float32 and mg.Tensor([1, 2]).tolist() == [1, 2]
    assert mg.Tensor(2, 3).shape == (2, 3) and not mg.Tensor(2, 3).requires_grad
    assert mg.Tensor(np.ones(2), True).requires_grad and not mg.Tensor(np.ones(2), False).requires_grad
    array = np.ones(2)
    assert mg.Tensor(array).numpy() is array


def test_a_gradient_that_is_given_is_used_also_for_a_single_number():
    x = mg.ones(3, requires_grad=True)
    x.sum().backward(mg.tensor(3.0))
    assert x.grad.tolist() == [3, 3, 3]


def test_backward_for_some_inputs_alone():
    x, y = mg.ones(2, requires_grad=True), mg.ones(2, requires_grad=True)
    (x * y * 2).sum().backward(inputs=[y])
    assert x.grad is None and y.grad.tolist() == [2, 2]


def test_a_mean_in_another_dtype():
    assert mg.ones(2).mean(dtype=mg.float64).dtype == mg.float64
    assert mg.tensor([1, 2]).mean(dtype=mg.float32).item() == 1.5


def test_an_index_of_tensors_is_read_as_pytorch_reads_it():
    x = mg.arange(6.0).reshape(3, 2)
    assert x[mg.tensor([2, 0])].tolist() == [[4, 5], [0, 1]] and x[[2, 0]].tolist() == [[4, 5], [0, 1]]
    assert mg.zeros(2, 3, 4)[0, :, [0, 1]].shape == (3, 2)  # where NumPy puts the picked axis in front


def test_what_is_no_view_may_be_written_though_its_array_is_part_of_another():
    x = mg.arange(6.0).reshape(2, 3)
    y = x.amax(0)
    assert y._array.base is not None
    y.add_(10)
    assert y.tolist() == [13, 14, 15] and x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_halves_are_computed_in_single_whatever_runs_for_the_op():
    x = mg.full((4,), 300.0, dtype=mg.float16, requires_grad=True)
    y = mg.nn.functional.layer_norm(x, (4,))
    assert y.tolist() == [0, 0, 0, 0] and y.dtype == mg.float16
    assert (mg.full((4096,), 1.0, dtype=mg.float16)).sum().item() == 4096
