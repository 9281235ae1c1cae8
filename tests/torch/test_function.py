"""Functions of one's own: several outputs, a context set up apart, places left empty; backward for some inputs."""

from __future__ import annotations

import pytest

import minigrad as mg
from minigrad.autograd import Function, Variable, once_differentiable


class Both(Function):
    """x * w, whether x is positive, and x + w."""

    @staticmethod
    def forward(ctx, x, w, bias=None):
        ctx.save_for_backward(x, w, bias)
        return x * w, x > 0, x + w

    @staticmethod
    @once_differentiable
    def backward(ctx, product, positive, total):
        x, w, bias = ctx.saved_tensors
        assert bias is None and positive.shape == x.shape and not positive.any()
        return product * w + total, product * x + total, None


def leaves():
    return mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0], requires_grad=True)


def test_several_outputs():
    x, w = leaves()
    product, positive, total = Both.apply(x, w, None)
    assert product.tolist() == [3, 8] and positive.tolist() == [True, True] and total.tolist() == [4, 6]
    assert product.requires_grad and total.requires_grad and not positive.requires_grad
    (product.sum() * 2).backward()  # nothing depends on the total: its gradient is zeros
    assert x.grad.tolist() == [6, 8] and w.grad.tolist() == [2, 4]
    x, w = leaves()
    product, _, total = Both.apply(x, w)
    (product * total).sum().backward()  # d (x w (x + w))
    assert x.grad.tolist() == [15, 32] and w.grad.tolist() == [7, 20]
    with mg.no_grad():
        assert not Both.apply(x, w)[0].requires_grad


def test_a_context_set_up_apart_and_an_output_without_gradient():
    class Power(Function):
        @staticmethod
        def forward(x, k):
            return x**k, x * 10

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.k = inputs
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, dz, _):
            (x,) = ctx.saved_tensors
            return dz * ctx.k * x ** (ctx.k - 1), None

    x, _ = leaves()
    z, tens = Power.apply(x, 3)
    assert not tens.requires_grad and tens.tolist() == [10, 20]
    z.sum().backward()
    assert x.grad.tolist() == [3, 12]


def test_outputs_of_two_dtypes_keep_them():
    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            return x.float(), x.double() * 2

        @staticmethod
        def backward(ctx, a, b):
            assert a.dtype == mg.float32 and b.dtype == mg.float64
            return a.double() + 2 * b

    x = mg.tensor([[1.0, 2.0]], dtype=mg.float64, requires_grad=True)
    a, b = Split.apply(x)
    assert (a.dtype, b.dtype, a.shape, b.shape) == (mg.float32, mg.float64, (1, 2), (1, 2))
    (a.sum() + 3 * b.sum()).backward()
    assert x.grad.tolist() == [[7, 7]]


def test_what_is_wrong_is_said():
    class Nothing(Function):
        @staticmethod
        def forward(ctx, x):
            return 3.0

    class Writes(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x

    with pytest.raises(TypeError, match="forward must return a Tensor or a tuple with one in it, got float"):
        Nothing.apply(mg.ones(1))
    with pytest.raises(NotImplementedError, match="return a new tensor"):
        Writes.apply(mg.ones(1))


def test_variable_is_a_tensor_on_the_same_memory():
    x, _ = leaves()
    v = Variable(x, requires_grad=True)
    assert isinstance(v, mg.Tensor) and isinstance(x, Variable) and not isinstance(3, Variable)
    assert v is not x and v.requires_grad and v.is_leaf and not Variable(x * 2).requires_grad
    v.data[0] = 7
    assert x[0] == 7


def test_backward_for_some_inputs():
    x, w = leaves()
    y = x * w
    z = (y * y).sum()
    mg.autograd.backward(z, inputs=[x, y], retain_graph=True)
    assert x.grad.tolist() == [18, 64] and y.grad.tolist() == [6, 16] and w.grad is None
    mg.autograd.backward([z, y], [mg.tensor(1.0), mg.ones(2)], inputs=w, retain_graph=True)
    assert w.grad.tolist() == [6 + 1, 32 + 2] and x.grad.tolist() == [18, 64]
    mg.autograd.backward([z, y.sum()])
    assert x.grad.tolist() == [18 + 21, 64 + 68]
    x, w = leaves()
    x.grad = mg.ones(2)
    y = x * w
    (y * y).sum().backward(inputs=[w, y])
    assert x.grad.tolist() == [1, 1] and w.grad.tolist() == [6, 32] and y.grad.tolist() == [6, 16]
