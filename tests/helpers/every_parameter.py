"""The gradient check of whole modules, which the tests of layers and models share."""

import numpy as np

from minigrad.autograd import grad
from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.core.written import note_write


def all_gradients(module, call, *inputs, draws=3):
    """Whether the gradients of ``call(*inputs)`` for every parameter and input are its slopes.

    Of each tensor along ``draws`` directions of random signs, in which every element weighs alike: one that is wrong by
    1e-6 of the sum of their sizes is noticed. That takes far fewer calls than a slope for each element.
    """
    tensors = [*inputs, *module.parameters()]
    random = np.random.default_rng(0)

    def run():
        z = call(*inputs)
        return z if isinstance(z, tuple) else (z,)

    outputs = run()
    weights = [random.standard_normal(z.shape) for z in outputs]
    gradients = grad(outputs, tensors, [Tensor(w) for w in weights], allow_unused=True)

    def weighed():
        return sum(float((z._array * w).sum()) for z, w in zip(run(), weights, strict=True))

    with no_grad():
        for i, (x, dx) in enumerate(zip(tensors, gradients, strict=True)):
            for _ in range(draws):
                signs = random.choice([-1.0, 1.0], x.shape)
                wanted = _slope(weighed, x, signs)
                found = 0.0 if dx is None else float((dx._array * signs).sum())
                size = 0.0 if dx is None else float(np.abs(dx._array).sum())
                assert abs(found - wanted) <= 1e-6 * size + 1e-8, f"tensor {i} {x.shape}: {found}, not {wanted}"
    return True


def _slope(f, x, direction, eps=1e-5):
    """The slope of f() when ``x`` moves that way, by central differences; x is left as it was."""
    before, values = x._array.copy(), []
    try:
        for step in (eps, -eps):
            x._array[...] = before + step * direction
            note_write(x._array)
            values.append(f())
    finally:
        x._array[...] = before
        note_write(x._array)
    return (values[0] - values[1]) / (2 * eps)
