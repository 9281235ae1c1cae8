"""Pooling at the edges: what counts, and the last window of ceil_mode."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


def test_what_counts():
    x = mg.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    assert np.allclose(F.avg_pool1d(x, 3, 2, 1), [[[1, 3, 3]]])
    assert F.avg_pool1d(x, 3, 2, 1, count_include_pad=False).tolist() == [[[1.5, 3, 4.5]]]
    assert F.avg_pool1d(x, 2, 2, ceil_mode=True).tolist() == [[[1.5, 3.5, 5]]]
    assert F.max_pool1d(x, 2, 2, ceil_mode=True).tolist() == [[[2, 4, 5]]]
    assert F.max_pool1d(x, 2, 4, ceil_mode=True).tolist() == [[[2, 5]]]  # the last begins within the input
    assert F.avg_pool2d(mg.ones(1, 1, 2, 2), 2, divisor_override=3).item() == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="at most half the window"):
        F.avg_pool1d(x, 2, 2, 2)
    with pytest.raises(ValueError, match="argmax"):
        F.max_pool1d(x, 2, return_indices=True)


@pytest.mark.parametrize("size", range(1, 8))
def test_against_pytorch(size):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(size).normal(size=(2, 3, size, size + 2))
    count = 0
    for kernel, stride, padding, ceil, include in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (0, 1), (0, 1)):
        if 2 * padding > kernel or kernel > size:
            continue
        for kind in ("avg", "max"):
            more = {"count_include_pad": bool(include)} if kind == "avg" else {}
            ours, theirs = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
            a = getattr(F, f"{kind}_pool2d")(ours, kernel, stride, padding, ceil_mode=bool(ceil), **more)
            b = getattr(torch.nn.functional, f"{kind}_pool2d")(
                theirs, kernel, stride, padding, ceil_mode=bool(ceil), **more
            )
            what = f"{kind} {kernel} {stride} {padding} {ceil} {include}"
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), err_msg=what)
            (a**2).sum().backward()
            (b**2).sum().backward()
            np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), 1e-6, 1e-12, err_msg=what)
            layer = getattr(nn, f"{kind.title()}Pool2d")(kernel, stride, padding, ceil_mode=bool(ceil), **more)
            assert layer(ours).equal(a)
            count += 1
    assert count >= 6
