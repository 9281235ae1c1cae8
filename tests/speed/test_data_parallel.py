"""A batch shared by worker processes: results of one process, whatever goes in, comes out or goes wrong."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F
from minigrad.speed import threads, workers
from minigrad.train.data import RandomBatches
from minigrad.train.trainer import Trainer

pytestmark = pytest.mark.skipif(not workers.possible(), reason="workers are forked and share memory files: on Linux")
Pair = namedtuple("Pair", "first second")


@pytest.fixture
def shared():
    """Wraps a module, and ends its workers after the test."""
    made = []

    def wrap(module: nn.Module, count: int = 2, **words: object) -> nn.DataParallel:
        made.append(nn.DataParallel(module, range(count), **words))
        return made[-1]

    yield wrap
    for model in made:
        model.close()


@pytest.fixture
def double():
    mg.set_default_dtype(mg.float64)
    yield
    mg.set_default_dtype(mg.float32)


def small_gpt(**words: object) -> GPT:
    mg.manual_seed(0)
    return GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8, **words)).double()


def batch(rows: int) -> tuple[mg.Tensor, mg.Tensor]:
    rng = np.random.default_rng(1)
    return mg.tensor(rng.integers(0, 11, (rows, 8))), mg.tensor(rng.integers(0, 11, (rows, 8)))


def gradients(module: nn.Module) -> dict[str, np.ndarray]:
    found = {name: p.grad.numpy().copy() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys() and expected
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("rows", "count"), [(6, 2), (5, 2), (5, 3), (2, 4)])
def test_outputs_and_gradients_are_those_of_one_process(shared, rows, count):
    module = small_gpt()
    model = shared(module, count)
    x, y = batch(rows)
    expected, _ = module(x)
    F.cross_entropy(expected.view(-1, 11), y.view(-1)).backward()
    alone = gradients(module)
    for _ in range(2):  # the second time the workers are there already
        logits, loss = model(x)
        assert loss is None
        np.testing.assert_allclose(logits.detach().numpy(), expected.detach().numpy(), atol=1e-12)
        F.cross_entropy(logits.view(-1, 11), y.view(-1)).backward()
        assert_equal(gradients(module), alone)


def test_a_plain_loop_trains_as_in_one_process(shared):
    x, y = batch(6)
    curves, weights = [], []
    for wrap in (lambda module: module, shared):
        module = small_gpt()
        model = wrap(module)
        optimizer = mg.optim.AdamW(model.parameters(), lr=0.01)
        losses = []
        for _ in range(5):
            loss = model(x, y)[1].mean()  # a mean per share
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
        weights.append(module.state_dict())
    np.testing.assert_allclose(*curves, rtol=1e-10)
    for name, tensor in weights[0].items():
        np.testing.assert_allclose(weights[1][name].numpy(), tensor.numpy(), atol=1e-8, err_msg=name)


class Many(nn.Module):
    """Takes and returns all kinds of things."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)
        self.factor = 2.0

    def forward(self, x, pair, *, scale=1.0, extra=None):
        y = self.layer(x) * self.factor * scale
        return {"y": y, "list": [y.sum(1), pair.second + 1], "pair": Pair(y.mean(), "word"), "none": extra}


def test_structures_and_gradients_of_inputs(shared, double):
    mg.manual_seed(0)
    module = Many()
    model = shared(module)
    pair = Pair("text", mg.arange(5))
    grads = []
    for run in (module, model):
        x = mg.tensor(np.arange(15.0).reshape(5, 3) / 10, requires_grad=True)
        z = x * x  # so that it goes on behind the model
        out = run(z, pair, scale=3)
        assert out["pair"].second == "word" and out["none"] is None
        assert out["list"][1].tolist() == [1, 2, 3, 4, 5] and not out["list"][1].requires_grad
        (out["y"].pow(2).sum() + (out["list"][0] * mg.arange(5.0)).sum()).backward()  # two outputs of one call
        grads.append({**gradients(module), "x": x.grad.numpy()})
    assert out["pair"].first.shape == (2,)  # a number per share
    assert_equal(grads[1], grads[0])
    assert "unused.weight" not in grads[1]


def test_several_calls_before_one_backward_and_several_backwards(shared):
    module = small_gpt()
    model = shared(module)
    (x, _), (x2, _) = batch(4), batch(6)
    (module(x)[0].pow(2).sum() + module(x2)[0].pow(2).sum() * 2).backward()
    expected = gradients(module)
    total = model(x)[0].pow(2).sum() + model(x2)[0].pow(2).sum() * 2
    total.backward(retain_graph=True)
    assert_equal(gradients(module), expected)
    model(x)  # forgotten at once
    total.backward()
    assert_equal(gradients(module), expected)
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        total.backward()


class Unsendable(float):
    """A number that cannot be pickled."""

    def __reduce__(self):
        raise TypeError("not to be sent")


def test_changes_reach_the_workers(shared, double):
    mg.manual_seed(0)
    module = Many()
    model = shared(module)
    x, pair = mg.randn(4, 3), Pair(0, mg.arange(4))

    def check() -> None:
        expected = module(x, pair)["y"].detach().numpy()
        np.testing.assert_allclose(model(x, pair)["y"].detach().numpy(), expected, atol=1e-12)

    check()
    module.factor = 5.0
    check()
    module.factor = mg.tensor(7.0)
    check()
    module.load_state_dict({name: -value for name, value in module.state_dict().items()})
    check()
    module.layer.weight.data = module.layer.weight.data * 2
    check()
    first = model.team.workers[0].pid
    module.layer.bias.requires_grad_(False)
    check()
    model(x, pair)["y"].sum().backward()
    assert gradients(module).keys() == {"layer.weight"}
    module.factor = Unsendable()
    check()
    module.layer = nn.Linear(3, 3, bias=False)
    check()
    module.layer.register_forward_hook(lambda module, args, output: output + 1)
    check()
    module.float()
    assert model(x.float(), pair)["y"].dtype == mg.float32
    assert model.team.workers[0].pid != first
    with mg.no_grad():
        assert not model(x.float(), pair)["y"].requires_grad


def test_workers_without_a_share_learn_of_changes_too(shared, double):
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor, self.calls = 1.0, 0

        def forward(self, x):
            self.calls += 1
            return x * self.factor

    module = Counting()
    model = shared(module, 3)
    x = mg.ones(6)
    model(x)
    pids = [worker.pid for worker in model.team.workers]
    module.factor = 2.0
    assert model(x[:2]).tolist() == [2.0, 2.0]
    assert model(x).tolist() == [2.0] * 6
    assert module.calls == 3 and [worker.pid for worker in model.team.workers] == pids


class Steps(nn.Module):
    """Goes through what is in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.steps = [self.first]

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x


def test_a_new_list_of_modules_has_those_of_the_model(shared, double):
    module = Steps()
    model = shared(module)
    x = mg.randn(4, 3)
    model(x)
    module.steps = [module.first, module.second]
    module(x).sum().backward()
    expected = gradients(module)
    model(x).sum().backward()
    assert_equal(gradients(module), expected)


def test_a_function_of_the_same_name_is_another(shared, monkeypatch):
    module = Steps()
    model = shared(module)
    for factor in (1.0, 2.0):

        def step(x, factor=factor):
            return x * factor

        step.__qualname__ = "step"  # as in a notebook, where a cell defines it once more
        monkeypatch.setitem(globals(), "step", step)
        module.steps = [step]
        assert model(mg.ones(4)).tolist() == [factor] * 4


def test_a_hook_in_place_of_another_reaches_the_workers(shared):
    module = nn.Identity()
    model = shared(module)
    for factor in (2.0, 3.0):
        handle = module.register_forward_hook(lambda module, args, output, factor=factor: output * factor)
        assert model(mg.ones(4)).tolist() == [factor] * 4
        handle.remove()


def test_another_module_in_the_place_of_the_first_reaches_the_workers(shared):
    model = shared(nn.Linear(2, 2))
    x = mg.ones(4, 2)
    model(x)
    model.module = nn.Linear(2, 2)
    np.testing.assert_array_equal(model(x).detach().numpy(), model.module(x).detach().numpy())


def test_a_leaf_that_is_an_attribute_gets_its_gradient(shared, double):
    module = Many()
    model = shared(module)
    x, pair = mg.randn(4, 3), Pair(0, mg.arange(4))
    for value in (2.0, 3.0):
        found = []
        module.factor = mg.tensor(value, requires_grad=True)
        for run in (module, model):
            run(x, pair)["y"].sum().backward()
            found.append(module.factor.grad.item())
            module.factor.grad = None
        np.testing.assert_allclose(found[1], found[0])


def test_a_parameter_of_another_module_is_refused(shared):
    outside = nn.Linear(3, 3)

    class Inside(nn.Module):
        def forward(self, x):
            return outside(x)

    total = shared(Inside())(mg.ones(4, 3, requires_grad=True)).sum()
    with pytest.raises(RuntimeError, match=r"a parameter of shape \(3, 3\) got a gradient .* is none of the module"):
        total.backward()


def test_hooks_of_parameters_see_the_whole_gradient_once(shared, double):
    module = nn.Linear(3, 1)
    seen = []
    module.weight.register_hook(lambda grad: seen.append(grad.numpy().copy()))
    x = mg.randn(6, 3)
    module(x).sum().backward()
    shared(module)(x).sum().backward()
    assert len(seen) == 2
    np.testing.assert_allclose(seen[1], seen[0], atol=1e-12)


def test_dropout_differs_between_shares_and_repeats_with_the_seed(shared):
    model = shared(nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)))
    x = mg.ones(4, 4)
    drawn = []
    for _ in range(2):
        mg.manual_seed(3)
        drawn.append([model(x).detach().numpy() for _ in range(2)])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    zeros = (drawn[0][0][0] == 0, drawn[0][0][2] == 0, drawn[0][1][2] == 0)  # two shares, and two steps of one
    assert len({z.tobytes() for z in zeros}) == 3
    model.eval()
    assert (model(x).detach().numpy() != 0).all()


def test_running_means_are_those_of_the_first_share(shared, double):
    module = nn.BatchNorm1d(2)
    x = mg.tensor([[1.0, 2.0], [3.0, 6.0], [50.0, 60.0], [70.0, 80.0]])
    model = shared(module)
    model(x)
    np.testing.assert_allclose(module.running_mean.numpy(), [0.2, 0.4])
    model.eval()
    expected = module.eval()(x).detach().numpy()
    np.testing.assert_allclose(model(x).detach().numpy(), expected, atol=1e-12)


class Averaging(nn.Module):
    """Assigns its buffer anew, in place of writing into it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("mean", mg.zeros(2))

    def forward(self, x):
        self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
        return self.layer(x - self.mean)


def test_a_buffer_that_forward_assigns_is_that_of_the_first_share(shared, double):
    module = Averaging()
    model = shared(module)
    model(mg.zeros(4, 2))
    pid = model.team.workers[0].pid
    x = mg.tensor([[2.0, 2.0]] * 2 + [[4.0, 4.0]] * 2)
    total = model(x).sum() + model(x).sum()
    module(mg.ones(2, 2) * 8)  # in this process alone
    expected = 0.5 * module.mean.numpy() + 0.5 * 4
    out = model(x)
    np.testing.assert_allclose(
        out.detach().numpy()[2:], module.layer(x[2:] - mg.tensor(expected)).detach().numpy(), atol=1e-12
    )
    total.backward()  # the workers of the earlier calls are there still
    assert model.team.workers[0].pid == pid
    np.testing.assert_allclose(module.layer.bias.grad.numpy(), [8])


class Fragile(nn.Module):
    """Fails, or dies, in the worker: there a row is above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.how = "raises"

    def forward(self, x):
        if (x > 0).any():
            if self.how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyError("no such thing")
        return self.layer(x)


def test_errors_in_a_worker_come_out_and_the_next_call_works(shared):
    module = Fragile()
    model = shared(module)
    good, bad = mg.zeros(2, 1), mg.tensor([[0.0], [1.0]])
    with pytest.raises(KeyError, match="no such thing") as caught:
        model(bad)
    assert "in worker 1 of 1" in str(caught.value.__cause__) and "in forward" in str(caught.value.__cause__)
    assert model(good).shape == (2, 1)
    with pytest.raises(KeyError):
        model(bad.flip(0))  # the share of this process: nobody waits for the worker's
    pid = model.team.workers[0].pid
    model(good).sum().backward()
    assert model.team.workers[0].pid == pid
    module.how = "dies"
    with pytest.raises(workers.WorkerError, match="worker 1 of 1 was killed by SIGKILL"):
        model(bad)
    assert model(good).shape == (2, 1) and model.team.workers[0].pid != pid


def test_a_backward_whose_worker_is_gone_says_what_to_do(shared):
    model = shared(nn.Linear(2, 2))
    out = model(mg.ones(4, 2))
    model.close()
    with pytest.raises(workers.WorkerError, match="worker 1 of 1 was ended before it could answer: run the forward"):
        out.sum().backward()


class NoWayBack(mg.autograd.Function):
    """An op whose backward fails."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, dz):
        raise KeyError("no way back")


class Turning(nn.Module):
    """Goes back, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.fails = False

    def forward(self, x):
        return NoWayBack.apply(self.layer(x)) if self.fails else self.layer(x)


def test_a_failed_backward_leaves_nothing_for_the_next(shared, double):
    module = Turning()
    model = shared(module)
    x = mg.randn(4, 3)
    module(x).sum().backward()
    expected = gradients(module)
    for order in ("before", "after"):
        module.fails = True
        bad = model(x).sum()
        module.fails = False
        good = [model(x).sum()] if order == "before" else []
        with pytest.raises(KeyError, match="no way back"):
            bad.backward()
        module.zero_grad()
        (good or [model(x).sum()])[0].backward()
        assert_equal(gradients(module), expected)


def test_answers_that_nobody_waits_for_do_not_pile_up(shared):
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    model = shared(nn.Linear(2, 2), 3)
    model(mg.ones(3, 2))

    def waiting() -> int:
        time.sleep(0.05)
        pipe = model.team.workers[1]._from.fileno()
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)

    model(mg.ones(2, 2))  # the second worker only learns that it can forget a graph
    model(mg.ones(2, 2))
    before = waiting()
    for _ in range(5):
        model(mg.ones(2, 2))
    assert waiting() <= before


def test_what_a_worker_prints_is_not_lost(shared, monkeypatch, tmp_path):
    class Prints(nn.Module):
        def forward(self, x):
            print("rows", len(x))
            return x

    with open(tmp_path / "out", "w+", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        shared(Prints())(mg.ones(3))
        monkeypatch.undo()
        file.flush()
    assert sorted((tmp_path / "out").read_text(encoding="utf-8").splitlines()) == ["rows 1", "rows 2"]


def test_an_argument_that_cannot_be_sent_is_named_and_the_next_call_works(shared):
    model = shared(nn.Identity())
    model(mg.ones(4))
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        model(mg.ones(4), lambda: 0)
    assert model(mg.ones(4)).shape == (4,)


def test_a_fork_of_this_process_has_workers_of_its_own(shared):
    model = shared(nn.Linear(2, 1))
    x = mg.ones(4, 2)
    expected = model(x).tolist()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with mg.no_grad():
                model.module.weight.fill_(0)
                model.module.bias.fill_(7)
            theirs = model.team.workers[0].pid
            status = 2 * (model(x).flatten().tolist() != [7.0] * 4) + 4 * (model.team.workers[0].pid == theirs)
            model.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert model(x).tolist() == expected


def test_a_backward_that_failed_can_be_done_again(shared, double):
    class Failing(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            y.register_hook(fail)
            return y

    def fail(grad):
        if failing and os.getpid() == here:
            raise ArithmeticError("once")

    here, failing = os.getpid(), True
    module = Failing(2, 2)
    x = mg.ones(4, 2)
    loss = shared(module)(x).sum()
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            loss.backward(retain_graph=True)
    module.zero_grad()
    failing = False
    loss.backward()
    assert module.weight.grad.tolist() == [[4, 4], [4, 4]]


def test_a_fork_that_fails_leaves_no_files_open(shared, monkeypatch):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    model = shared(nn.Linear(2, 1))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(workers.WorkerError, match="worker 1 of 1 cannot be started: Resource temporarily unavailable"):
        model(mg.ones(4, 2))
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # the weights, for the next try
    monkeypatch.undo()
    assert model(mg.ones(4, 2)).shape == (4, 1)


def test_a_worker_has_no_workers_of_its_own(shared):
    class Asks(nn.Module):
        def forward(self, x):
            return x + workers.possible()

    found = shared(nn.DataParallel(Asks(), range(2)))(mg.zeros(4))
    assert found.tolist() == [1, 0, 0, 0]  # the outer worker does its share alone


def test_workers_forget_graphs_and_end_with_the_model():
    module = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
    model = nn.DataParallel(module, range(2))
    x = mg.ones(4096, 256)  # a graph holds 4 MB and more in the worker

    def resident() -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

    model(x)
    pid = model.team.workers[0].pid
    for _ in range(3):
        model(x)
    before = resident()
    for _ in range(12):
        model(x)
    assert resident() - before < 20
    del model
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_threads_are_given_back(shared, monkeypatch):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = mg.get_num_threads()
    mg.set_num_threads(2)
    try:
        if mg.get_num_threads() != 2:
            pytest.skip("this BLAS does not let its threads be set")
        first, second = shared(nn.Linear(2, 2)), shared(nn.Linear(2, 2))
        first(mg.ones(2, 2))
        second(mg.ones(2, 2))
        assert mg.get_num_threads() == 1
        first.close()
        assert mg.get_num_threads() == 1
        second.close()
        assert mg.get_num_threads() == 2
        first(mg.ones(2, 2))
        mg.set_num_threads(3)
        first.close()
        assert mg.get_num_threads() == 3  # chosen meanwhile
        mg.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        first(mg.ones(2, 2))
        assert mg.get_num_threads() == 2
    finally:
        first.close()
        mg.set_num_threads(before)
    with pytest.raises(ValueError, match="positive integer, got 0"):
        mg.set_num_threads(0)


def test_who_is_not_helped_by_sharing_runs_alone(shared, monkeypatch):
    x, y = batch(4)
    automatic = nn.DataParallel(small_gpt())
    assert automatic(x, y)[1].shape == () and not automatic.team.workers
    model = shared(small_gpt())
    with mg.detect_anomaly():
        assert model(x, y)[1].shape == ()
    assert model(x[:1], y[:1])[1].shape == () and not model.team.workers
    large = nn.DataParallel(nn.Linear(1000, 1000))
    assert large.shares((mg.ones(100, 1000),), {}) == min(threads.cores(), 100)
    assert large.shares((mg.ones(10, 1000),), {}) == 1
    monkeypatch.setattr("minigrad.speed.data_parallel.cores", lambda: 8)
    assert [large.shares((mg.ones(n, 1000),), {}) for n in (20, 40, 100, 1000)] == [1, 2, 6, 8]


def test_what_cannot_be_shared_is_refused(shared):
    model = shared(small_gpt())
    with pytest.raises(ValueError, match=r"cut along dim 0: the tensors given have \[3, 4\] rows"):
        model(batch(4)[0], batch(3)[1])
    with pytest.raises(ValueError, match="device_ids is empty"):
        nn.DataParallel(nn.Linear(1, 1), [])

    class Rows(nn.Module):
        def forward(self, x):
            return len(x)

    assert shared(Rows())(mg.ones(4)) == 2
    with pytest.raises(TypeError, match="must return tensors, or the same in all shares; here a int differs: 2, 1"):
        shared(Rows())(mg.ones(3))


def test_names_and_copies(shared):
    model = shared(nn.Linear(2, 2))
    assert list(model.state_dict()) == ["module.weight", "module.bias"]
    x = mg.ones(4, 2)
    model(x)
    other = copy.deepcopy(model)
    other.module.weight.data.fill_(0)
    assert (model(x).detach().numpy() != other(x).detach().numpy()).any()
    assert not np.shares_memory(model.module.weight.detach().numpy(), other.module.weight.detach().numpy())
    other.close()


def trainer(count: int, dropout: float = 0.0, ignored: int = -100) -> Trainer:
    def loss_of(model: GPT, x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
        return F.cross_entropy(model(x)[0].view(-1, 11), y.view(-1), ignore_index=ignored)

    module = small_gpt(dropout=dropout)
    batches = RandomBatches(np.random.default_rng(0).integers(0, 11, 200), 5, 8, mg.Generator().manual_seed(1))
    optimizer = mg.optim.AdamW(module.parameters(), lr=0.01)
    return Trainer(module, optimizer, None, batches, loss_of, grad_clip=0.1, workers=count, ignore_index=ignored)


@pytest.mark.parametrize("ignored", [-100, 3])
def test_a_trainer_weighs_shares_by_their_targets(double, ignored):
    alone, both = trainer(1, ignored=ignored), trainer(2, ignored=ignored)
    x, y = (part.numpy() for part in batch(5))
    y[:3] = ignored if ignored == 3 else y[:3]  # nothing counts in the first share
    windows = [(x, y)]
    steps = [[t.train_step() for _ in range(4)] + [t.evaluate(windows)] for t in (alone, both)]
    both.shared.close()
    assert alone.shared is None
    np.testing.assert_allclose(*(np.hstack(s) for s in steps), rtol=1e-9)
    for name, tensor in alone.model.state_dict().items():
        np.testing.assert_allclose(both.model.state_dict()[name].numpy(), tensor.numpy(), atol=1e-9, err_msg=name)


def test_a_resumed_run_with_workers_is_the_same_bit_for_bit():
    straight = trainer(2, dropout=0.2)
    losses = [straight.train_step()[0] for _ in range(5)]
    first = trainer(2, dropout=0.2)
    for _ in range(2):
        first.train_step()
    saved = first.state_dict()
    resumed = trainer(2, dropout=0.2)
    resumed.load_state_dict(saved)
    assert [resumed.train_step()[0] for _ in range(3)] == losses[2:]
    for model in (straight, first, resumed):
        model.shared.close()
