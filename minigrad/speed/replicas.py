"""Replicas of a module in worker processes: each takes a share of a batch forward and back beside this process.

To the graph here, a share done elsewhere is two kinds of node. ``replica`` is made before the share of this process,
so the walk back comes to it last, when the other's gradients are ready; ``replica_output`` is made after, so the walk
back comes to it first, and sends the other on its own walk.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minigrad.core.graph import backward_steps, state
from minigrad.core.module import Module, Parameter
from minigrad.core.tensor import Tensor, apply
from minigrad.ops import Array
from minigrad.speed.nested import replaced, tensors_in
from minigrad.speed.workers import SharedMemory, Worker
from minigrad.tools.random import default_generator
from minigrad.torch.dtypes import get_default_dtype, set_default_dtype
from minigrad.torch.grad_mode import set_grad_enabled

Structure = list[tuple[Any, ...]]  # what a replica must have in common with the module, to be compared by identity

NOTHING = np.empty(0)  # in place of a gradient
PLAIN = (type(None), bool, int, float, complex, str, bytes, np.ndarray)  # attributes whose copies can be sent


class Sent(NamedTuple):
    """A tensor on its way to a replica."""

    array: Array
    requires_grad: bool


class Received(NamedTuple):
    """A tensor on its way back: which of the arrays of the answer it has."""

    position: int
    requires_grad: bool


class Team:
    """The workers that have replicas of a module, started when they are first needed."""

    def __init__(self) -> None:
        self.module: Module
        self.workers: list[Worker] = []
        self.structure: Structure = []
        self.attributes: list[dict[str, Any]] = []  # of each module, as the replicas know them
        self.walking: dict[Worker, tuple[Call, int]] = {}  # who walks back for which call, and the request's number
        self.weights: list[Array]  # in memory that all replicas see
        self.gradients: dict[Worker, list[Array]] = {}  # of the parameters, in memory that a worker writes to
        self.count = 0  # calls so far
        self.forgotten: list[int] = []  # calls whose graph nobody holds any more
        self.user: threading.Thread | None = None  # the one that may talk to the workers
        self.deciding = threading.Lock()
        weakref.finalize(self, _end, self.workers)

    def start(
        self, module: Module, shares: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
    ) -> list[Callable[[], Any]]:
        """Give each share, (args, kwargs), to a replica; calling what is returned waits for its output."""
        self.check_thread()
        tensors = self.bring_up_to_date(module, len(shares))
        parameters = [t for t in tensors if t.requires_grad]
        stream = default_generator.numpy.bit_generator.state["state"]["state"] % 2**64
        started = []
        for i, (worker, (args, kwargs)) in enumerate(zip(self.workers, shares, strict=False)):
            inputs = [x for x in tensors_in((args, kwargs)) if x.requires_grad]
            call = Call(self, worker, inputs)
            modes = state.grad_enabled, get_default_dtype().str, (stream, i)
            call.answer = worker.send(("forward", call.number, modes, packed((args, kwargs))))
            started.append((call, apply(replica, *parameters, *inputs, call=call)))
        return [functools.partial(call.output, ticket) for call, ticket in started]

    def check_thread(self) -> None:
        """Raise RuntimeError in a second thread: the answers to one would be taken for those to the other."""
        here = threading.current_thread()
        with self.deciding:
            if self.user is None or not self.user.is_alive():
                self.user = here
            if self.user is not here:
                raise RuntimeError(
                    f"this DataParallel is used by the thread {self.user.name!r}, and cannot be by {here.name!r} too: "
                    "make one for each thread, or close() it when a thread is done with it"
                )

    def bring_up_to_date(self, module: Module, count: int) -> list[Tensor]:
        """Let at least so many replicas be like the module is now; returns its weights and buffers."""
        self.module = module
        modules = list(module.modules())
        tensors = tensors_of(modules)
        structure: Structure = [(m, tuple(m._hooks), tuple(m._pre_hooks)) for m in modules]
        structure += [  # a buffer may be another each time, for forward may assign it anew
            (t if t.requires_grad or isinstance(t, Parameter) else None, t.shape, t.dtype, t.requires_grad)
            for t in tensors
        ]
        gone = len(self.workers) < count or any(worker.closed for worker in self.workers)
        if gone or not _same(structure, self.structure):
            self.restart(count, structure, tensors)
        news = {
            (i, name): value
            for i, (m, known) in enumerate(zip(modules, self.attributes, strict=True))
            for name, value in m._plain_attributes().items()
            if name not in known or known[name] is not value
        }
        if not _copies_well(list(news.values())):
            self.restart(count, structure, tensors)
            news = {}
        for worker in self.workers:
            worker.catch_up()
        self.walking.clear()
        if news or self.forgotten:
            request = "follow", packed(news), self.forgotten
            self.forgotten = []
            for worker in self.workers:
                worker.send(request)
        for array, t in zip(self.weights, tensors, strict=True):
            array[...] = t._array
        return tensors

    def restart(self, count: int, structure: Structure, tensors: list[Tensor]) -> None:
        """Fork at least so many workers anew, from the module as it is now."""
        count = max(count, len(self.workers))
        user = self.user
        self.close()
        self.user = user
        weights = SharedMemory()
        self.weights = weights.views(weights.write([t._array for t in tensors]))
        self.structure = structure
        self.note_attributes()
        for i in range(1, count + 1):
            memory = SharedMemory()
            gradients = memory.views(memory.write([t._array for t in tensors if t.requires_grad]))
            worker = Worker(Replica(self.module, self.weights, gradients).serve, f"worker {i} of {count}")
            self.workers.append(worker)
            self.gradients[worker] = gradients

    def note_attributes(self) -> None:
        """Take what the modules' attributes are now for known: ``forward`` changed them, here as there."""
        self.attributes = [m._plain_attributes() for m in self.module.modules()]

    def close(self) -> None:
        """End the workers."""
        self.user = None
        _end(self.workers)
        self.walking.clear()
        self.gradients.clear()


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.close()
    workers.clear()


def _same(structure: Structure, other: Structure) -> bool:
    return len(structure) == len(other) and all(
        mine[0] is theirs[0] and mine[1:] == theirs[1:] for mine, theirs in zip(structure, other, strict=True)
    )


class Call:
    """One share of one forward pass, done elsewhere. Lives as long as the nodes that need its graph."""

    def __init__(self, team: Team, worker: Worker, inputs: list[Tensor]) -> None:
        self.team = team
        team.count += 1
        self.inputs = len(inputs)  # those that want a gradient
        self.worker = worker
        self.number = team.count
        self.answer = 0  # the number of the request for the forward pass
        self.walked: set[int] = set()  # the outputs that this backward has come to
        self.found: list[Array | None] = []  # the gradient of each leaf so far

    def output(self, ticket: Tensor) -> Any:
        """What the module returned there."""
        content, arrays = self.worker.hear(self.answer)
        arrays = [array.copy() for array in arrays]

        def made(sent: Received) -> Tensor:
            array = arrays[sent.position]
            if not sent.requires_grad:
                return Tensor(array)
            return apply(replica_output, ticket, call=self, index=sent.position, array=array)

        return replaced(content, Received, made)

    def walk_back(self, index: int, dz: Array) -> None:
        """Send the replica back from one of its outputs, without waiting. One walk at a time, for a worker."""
        self.team.check_thread()
        walking = self.team.walking
        if index in self.walked:  # by a backward that failed on the way
            walking.pop(self.worker, None)
            self.walked, self.found = set(), []
        if walking.get(self.worker, (None,))[0] is self:  # another's has failed on the way, and nobody wants it
            self.keep()
        self.walked.add(index)
        walking[self.worker] = self, self.worker.send(("walk_back", self.number, index, np.array(dz)))

    def arrive(self) -> list[Array | None]:
        """Wait for the end of the walk: what it found for each leaf, weights first, in memory that the next changes."""
        _, request = self.team.walking.pop(self.worker)
        there, of_inputs = self.worker.hear(request)
        arrays = [*self.team.gradients[self.worker], *of_inputs]
        return [array if here else None for array, here in zip(arrays, there, strict=True)]

    def keep(self) -> None:
        """Add up what a walk found, for another is to come."""
        pairs = itertools.zip_longest(self.found, self.arrive())
        self.found = [x if y is None else y.copy() if x is None else x + y for x, y in pairs]

    def gradients(self) -> tuple[Array | None, ...]:
        """What all walks back have brought to each leaf."""
        self.team.check_thread()
        self.walked.clear()
        here = self.team.walking.get(self.worker, (None,))[0] is self
        if here and not self.found and not self.inputs:
            return tuple(self.arrive())  # no need to copy: the engine adds each to a leaf's gradient at once
        if here:
            self.keep()
        found, self.found = self.found, []
        return tuple(found)

    def __del__(self) -> None:
        self.team.forgotten.append(self.number)


def replica(*leaves: Array, call: Call) -> tuple[Array, Callable[[Array], tuple[Array | None, ...]]]:
    """z = 0: stands for the share of another process
    dleaves = the gradients that came to its weights and inputs
    """

    def backward(dz: Array) -> tuple[Array | None, ...]:
        return call.gradients()

    backward.__dict__["again"] = not_here
    return np.zeros(()), backward


def replica_output(
    ticket: Array, *, call: Call, index: int, array: Array
) -> tuple[Array, Callable[[Array], tuple[Array]]]:
    """z = an output of the share of another process
    dticket = 0; dz goes to that process, which walks back from there
    """

    def backward(dz: Array) -> tuple[Array]:
        call.walk_back(index, dz)
        return (np.zeros(()),)

    backward.__dict__["again"] = not_here
    return array, backward


def not_here(*_: Any, **__: Any) -> NoReturn:
    """What runs in their place for a derivative that is to be differentiated."""
    raise RuntimeError(
        "DataParallel: with create_graph=True the gradients need the graph of every share, and that of a share in "
        "another process is there; call the module itself, model.module(x), where a gradient is to be differentiated"
    )


class Replica:
    """The module in a worker, and what is kept there between forward and backward."""

    def __init__(self, module: Module, weights: list[Array], gradients: list[Array]) -> None:
        self.module = module
        self.modules = list(module.modules())
        self.weights = weights
        learned = [t for t in tensors_of(self.modules) if t.requires_grad]
        self.gradients = dict(zip(learned, gradients, strict=True))
        self.ready = False
        self.graphs: dict[int, tuple[list[Tensor], list[Tensor]]] = {}  # of each call: outputs, inputs to differentiate

    def serve(self, request: tuple[Any, ...]) -> tuple[Any, Sequence[Array]]:
        """Answer a request: its first word is the method, the rest the arguments."""
        if not self.ready:  # here begins the worker
            for p, weight in zip(tensors_of(self.modules), self.weights, strict=True):
                p.hooks = None  # they wait for the whole gradient, over there
                if isinstance(p, Parameter):
                    p._array = weight
            self.ready = True
        return getattr(self, request[0])(*request[1:])

    def follow(self, news: dict[tuple[int, str], Any], forgotten: list[int]) -> tuple[None, Sequence[Array]]:
        """Take over changed attributes, by the number of the module, and drop the graphs of forgotten calls."""
        for (i, name), value in news.items():
            vars(self.modules[i])[name] = replaced(value, Sent, lambda sent: Tensor(sent.array))
        for number in forgotten:
            self.graphs.pop(number, None)
        return None, ()

    def forward(self, number: int, modes: tuple[bool, str, tuple[int, int]], share: Any) -> tuple[Any, Sequence[Array]]:
        """The module's output for a share of the batch, and whether each tensor of it wants a gradient."""
        grad_enabled, dtype, randomness = modes
        set_default_dtype(dtype)
        default_generator.numpy = np.random.default_rng(randomness)
        for buffer, array in zip(tensors_of(self.modules), self.weights, strict=True):
            if not isinstance(buffer, Parameter):
                buffer._array = array.copy()
        args, kwargs = replaced(share, Sent, lambda sent: Tensor(sent.array, requires_grad=sent.requires_grad))
        inputs = [x for x in tensors_in((args, kwargs)) if x.requires_grad]
        with set_grad_enabled(grad_enabled):
            output = self.module(*args, **kwargs)
        outputs = list(tensors_in(output))
        if any(x.requires_grad for x in outputs):
            self.graphs[number] = outputs, inputs
        order = iter(range(len(outputs)))
        content = replaced(output, Tensor, lambda x: Received(next(order), x.requires_grad))
        return content, [x._array for x in outputs]

    def walk_back(self, number: int, index: int, dz: Array) -> tuple[list[bool], Sequence[Array]]:
        """Whether an output's gradient dz comes to each leaf, weights first; what comes to inputs."""
        outputs, inputs = self.graphs[number]
        found: dict[Tensor, Array] = {}

        def receive(leaf: Tensor, dx: Array, shared: bool) -> None:
            if leaf in found:
                found[leaf] += dx
            elif leaf in self.gradients:
                found[leaf] = self.gradients[leaf]
                found[leaf][...] = dx
            elif isinstance(leaf, Parameter):
                raise RuntimeError(
                    f"a parameter of shape {leaf.shape} got a gradient from a worker, but is none of the module that "
                    "shares its batch: make it one, or it would learn from the first share only"
                )
            else:
                found[leaf] = dx.copy() if shared else dx

        root = outputs[index]
        for _ in backward_steps([(root._node or root, dz)], retain_graph=True, receive=receive):
            pass
        return [leaf in found for leaf in (*self.gradients, *inputs)], [found.get(x, NOTHING) for x in inputs]


def tensors_of(modules: list[Module]) -> list[Tensor]:
    """Their parameters, buffers and other leaves that are attributes, each once."""
    members = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
    members += [t for m in modules for t in m._plain_attributes().values() if type(t) is Tensor and t._requires_grad]
    return list({id(t): t for t in members}.values())


def _copies_well(value: Any) -> bool:
    """Whether a copy is as good: not of functions (known by name, even if redefined), modules, what wants gradients."""
    if type(value) in (tuple, list):
        return all(map(_copies_well, value))
    if type(value) is dict:
        return _copies_well(list(value)) and _copies_well(list(value.values()))
    if type(value) is Tensor:
        return not value.requires_grad
    return type(value) in PLAIN or isinstance(value, np.generic | np.dtype)


def packed(value: Any) -> Any:
    """The value with arrays for tensors, to be sent to a replica."""
    return replaced(value, Tensor, lambda x: Sent(x._array, x.requires_grad))
