"""The gradient check of whole modules, which the tests of layers and models share."""

from minigrad.autograd import gradcheck
from minigrad.core.tensor import Tensor


def all_gradients(module, call, *inputs):
    """gradcheck of ``call(*inputs)`` for every parameter and input; the module is left as it was.

    Each call runs with the parameters replaced by arguments, a shared one in each of its places, and puts them back.
    """
    parameters = list(module.parameters())
    places = [(i, *_place(module, name)) for i, p in enumerate(parameters) for name in _names(module, p)]

    def run(*args):
        try:
            for i, owner, name in places:
                owner._parameters[name] = args[len(inputs) + i]
            return call(*args[: len(inputs)])
        finally:
            for i, owner, name in places:
                owner._parameters[name] = parameters[i]

    return gradcheck(run, [*inputs, *(Tensor(p._array.copy(), requires_grad=True) for p in parameters)])


def _names(module, parameter):
    return [name for name, p in module.named_parameters(remove_duplicate=False) if p is parameter]


def _place(module, name):
    path, _, last = name.rpartition(".")
    return module.get_submodule(path), last
