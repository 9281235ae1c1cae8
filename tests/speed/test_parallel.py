"""Several ranks train like one: the same gradients and weights, one terminal, one checkpoint, and an end for all.

The tests with MPI start this file under ``mpiexec``: the functions named ``on_ranks_...`` are what each rank does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paths import HELPERS, ROOT

import minigrad as mg
from minigrad import nn, optim
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn.utils import clip_grad_norm_
from minigrad.speed import ranks as parallel
from minigrad.train.data import RandomBatches, eval_windows
from minigrad.train.trainer import RankError, Trainer, TrainingError

ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
IDS = np.random.default_rng(0).integers(0, 11, 400)


def trainer(world: parallel.World, loss_of=lambda model, x, y: model(x, y)[1], dropout: float = 0.0) -> Trainer:
    """A tiny run with batches of 6 rows, which 4 ranks cannot share evenly, and gradients that get clipped."""
    mg.manual_seed(1)
    model = GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=dropout))
    batches = RandomBatches(IDS, 6, 8, mg.Generator().manual_seed(2))
    return Trainer(model, optim.AdamW(model.parameters(), lr=1e-2), None, batches, loss_of, grad_clip=0.1, world=world)


def digest(model: nn.Module) -> str:
    return hashlib.sha256(b"".join(p.numpy().tobytes() for p in model.state_dict().values())).hexdigest()


# What each rank does


def on_ranks_train(world: parallel.World, out: Path) -> None:
    """One averaged gradient, five steps, a resumed run with dropout; the main rank saves what came out."""
    mg.set_default_dtype(mg.float64)
    first = trainer(world)
    x, y = next(first.batches)
    own_x, own_y = world.shard(x, y)
    first.model(mg.tensor(own_x), mg.tensor(own_y))[1].backward()
    notes = world.average_gradients(first.model.parameters(), len(own_x), [len(own_x), world.rank])
    gradients = {name: p.grad.numpy() for name, p in first.model.named_parameters()}

    mg.manual_seed(world.rank)
    different = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    different(mg.rand(4, 2))
    world.broadcast(different)

    windows = eval_windows(IDS, 6, 8, 5)
    run = trainer(world)
    steps = [run.train_step() for _ in range(5)]
    val_loss = run.evaluate(windows)

    straight, half, rest = (trainer(world, dropout=0.3) for _ in range(3))
    mg.manual_seed(3)
    straight.fit(4, quiet=True)
    mg.manual_seed(3)
    half.fit(2, quiet=True)
    half.save(out / "half.npz")
    world.barrier()
    rest.load_state_dict(mg.load(out / "half.npz"))
    rest.fit(4, quiet=True)

    world.own_randomness(7)
    facts = {
        "replicas": world.gather([digest(m) for m in (different, run.model, straight.model, rest.model)]),
        "drawn": world.gather(mg.rand(1).item()),
        "notes": notes,
        "steps": steps,
        "val_loss": val_loss,
    }
    if world.main:
        mg.save({"gradients": gradients, "model": run.model.state_dict()}, out / "found.npz")
        (out / "facts.json").write_text(json.dumps(facts))


def on_ranks_trouble(world: parallel.World, out: Path) -> None:
    """On the last rank alone: another run than the others', Ctrl-C, a loss that is not finite, an error in a step."""
    last = world.rank == world.size - 1
    with pytest.raises(RuntimeError, match=f"steps are 3 in rank 0 and 4 in rank {world.size - 1}"):
        trainer(world).fit(3 + last, quiet=True)
    frozen = trainer(world)
    frozen.model.head.weight.requires_grad_(not last)
    with pytest.raises(
        RuntimeError, match=r"frozen weights are \[\] in rank 0 and \['token_embedding.weight'\] in rank"
    ):
        frozen.fit(3, quiet=True)
    with pytest.raises(RuntimeError, match=r"shapes of weights are \[\(1, 2\), .* in rank 0 and \[\(1, 3\)"):
        world.check_alike(nn.Linear(2 + last, 1), {})
    calls = 0

    def interrupted(model, x, y):
        if last and run.step == 1:
            run.interrupted.set()
        return model(x, y)[1]

    def not_finite(model, x, y):
        return model(x, y)[1] * (float("nan") if last else 1.0)

    def fails(model, x, y):
        nonlocal calls
        calls += 1
        if last and calls == 4:
            raise MemoryError("nothing left")
        return model(x, y)[1]

    run = trainer(world, interrupted)
    assert run.fit(9, quiet=True) is False and world.gather(run.step) == [2] * world.size
    with pytest.raises(TrainingError, match="the loss is nan at step 1") as nan:
        trainer(world, not_finite).fit(3, checkpoint=out / "nan.npz", quiet=True)
    assert not isinstance(nan.value, RankError)
    print("the main rank speaks")
    trainer(world, fails).fit(9, checkpoint=out / "failed.npz", quiet=True)


def on_ranks_alone(world: parallel.World, out: Path) -> None:
    parallel.PATIENCE = 0.2
    if world.rank == 1:
        raise OSError("this disk is full")
    world.barrier()


def on_ranks_killed(world: parallel.World, out: Path) -> None:
    def killed(model, x, y):
        if world.rank == 1 and run.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return model(x, y)[1]

    run = trainer(world, killed)
    run.fit(9, checkpoint=out / "killed.npz", save_every=0, quiet=True)


# One process


class Ranks:
    """As much of a communicator as a World needs to know its place."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def Get_library_version(self) -> str:
        return "MPICH Version: 5"


def test_one_process_imports_no_mpi(tmp_path):
    code = (
        "import sys; sys.modules['mpi4py'] = None; import minigrad.speed.ranks as p, minigrad.train.trainer\n"
        "with p.world() as world: print(world.rank, world.size, world.main, world.shard([1, 2]), world.mean([1, 3]))"
    )
    env = {k: v for k, v in ENV.items() if k not in parallel.RANKS}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "0 1 True ([1, 2],) 2.0", done.stderr


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_shards_are_the_batch(size):
    x = np.arange(12).reshape(6, 2)
    shards = [parallel.World(Ranks(rank, size) if size > 1 else None).shard(x, mg.tensor(x)) for rank in range(size)]
    assert np.array_equal(np.concatenate([a for a, _ in shards]), x)
    assert all(np.array_equal(a, b.numpy()) for a, b in shards)
    assert max(len(a) for a, _ in shards) - min(len(a) for a, _ in shards) <= 1


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(ValueError, match="2 rows is too small for 3 ranks"):
        parallel.World(Ranks(0, 3)).shard(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"same number of rows, got \[2, 3\]"):
        parallel.World().shard(np.zeros(2), np.zeros(3))


def test_mpi_missing_or_of_another_kind(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(RuntimeError, match="pip install mpi4py mpich"):
        parallel.world()
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setattr(parallel, "_mpi", lambda: type("MPI", (), {"COMM_WORLD": Ranks(0, 1)}))
    with pytest.raises(RuntimeError, match=r"4 processes, but mpi4py sees 1.*MPICH"):
        parallel.world()


# Several processes


@pytest.fixture(scope="module")
def mpiexec() -> list[str]:
    """The command that starts ranks, up to their number; skips where there is none that works."""
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("there is no mpiexec: pip install mpi4py mpich")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    openmpi = ["--oversubscribe", "--allow-run-as-root"] if "Open MPI" in version or "OpenRTE" in version else []
    command = [found, *openmpi, "-n"]
    code = "from mpi4py.MPI import COMM_WORLD as ranks; print(ranks.size if ranks.rank == 0 else '', end='')"
    probe = subprocess.run([*command, "2", sys.executable, "-c", code], env=ENV, capture_output=True, text=True)
    if probe.stdout != "2":
        lines = (probe.stderr or probe.stdout).strip().splitlines()
        pytest.skip(f"mpiexec and mpi4py do not work together (pip install mpi4py mpich): {lines[-1] if lines else ''}")
    return command


def ranks(mpiexec: list[str], size: int, name: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [*mpiexec, str(size), sys.executable, __file__, name, str(out)]
    env = {**ENV, "PYTHONPATH": f"{ROOT}{os.pathsep}{HELPERS}"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_train_as_one_process(size, mpiexec, tmp_path):
    done = ranks(mpiexec, size, "train", tmp_path)
    assert done.returncode == 0, done.stderr
    found, facts = mg.load(tmp_path / "found.npz"), json.loads((tmp_path / "facts.json").read_text())
    mg.set_default_dtype(mg.float64)
    try:
        alone = trainer(parallel.World())
        x, y = next(alone.batches)
        alone.model(mg.tensor(x), mg.tensor(y))[1].backward()
        for name, p in alone.model.named_parameters():
            np.testing.assert_allclose(found["gradients"][name], p.grad.numpy(), atol=1e-12, err_msg=name)
        assert float(clip_grad_norm_(alone.model.parameters(), 0.1)) > 0.2, "clipping must matter here"
        alone = trainer(parallel.World())
        steps = [alone.train_step() for _ in range(5)]
        np.testing.assert_allclose(facts["steps"], steps, rtol=1e-9)  # loss, norm, tokens
        for name, weights in alone.model.state_dict().items():
            np.testing.assert_allclose(found["model"][name].numpy(), weights.numpy(), atol=1e-9, err_msg=name)
        windows = eval_windows(IDS, 6, 8, 5)
        assert facts["val_loss"] == pytest.approx(alone.evaluate(windows), rel=1e-9)
    finally:
        mg.set_default_dtype(mg.float32)
    shares = [len(x) for x in np.array_split(np.arange(6), size)]
    assert facts["notes"] == pytest.approx([np.average(v, weights=shares) for v in (shares, range(size))])
    assert len(facts["replicas"]) == size and len(set(map(tuple, facts["replicas"]))) == 1, "replicas drifted apart"
    *_, straight, resumed = facts["replicas"][0]
    assert straight == resumed
    assert len(set(facts["drawn"])) == size


def test_a_rank_in_trouble_ends_all_and_leaves_a_checkpoint(mpiexec, tmp_path):
    done = ranks(mpiexec, 2, "trouble", tmp_path)
    assert done.returncode != 0
    assert done.stdout.count("the main rank speaks") == 1
    assert done.stderr.count("rank 1 of 2 failed in step 4: MemoryError: nothing left; the 3 steps before") >= 1
    assert not (tmp_path / "nan.npz").exists()
    resumed = trainer(parallel.World())
    resumed.load_state_dict(mg.load(tmp_path / "failed.npz"))
    assert resumed.step == 3
    straight = trainer(parallel.World())
    losses = [straight.train_step()[0] for _ in range(5)]
    assert [resumed.train_step()[0] for _ in range(2)] == pytest.approx(losses[3:], rel=1e-4)


def test_a_rank_that_fails_alone_or_is_killed_ends_all(mpiexec, tmp_path):
    alone = ranks(mpiexec, 3, "alone", tmp_path)
    assert alone.returncode != 0
    assert "this disk is full" in alone.stderr and "rank 1 of 3 failed alone" in alone.stderr
    killed = ranks(mpiexec, 2, "killed", tmp_path)
    assert killed.returncode != 0
    assert mg.load(tmp_path / "killed.npz")["step"] in (2, 3)


def test_the_script_stops_and_goes_on_with_other_ranks(mpiexec, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 40)
    script = [sys.executable, str(ROOT / "examples/train_char_gpt.py")]
    small = "--block-size=16 --n-layer=1 --n-head=2 --n-embd=16 --batch-size=6 --eval-every=50 --eval-batches=2"
    args = [*small.split(), "--sample=10", "--steps=400", f"--data={text}", f"--out={tmp_path / 'run.npz'}"]
    process = subprocess.Popen(
        [*mpiexec, "3", *script, *args], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run.npz").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    step = mg.load(tmp_path / "run.npz")["step"]
    assert 0 < step < 400, stderr
    if "--oversubscribe" not in mpiexec:  # Open MPI listens no more to those it has asked to stop
        assert f"stopped at step {step}" in stdout, stderr
    assert process.returncode != 0
    resume = ["--resume", str(tmp_path / "run.npz"), "--steps", str(step + 20)]
    again = subprocess.run([*mpiexec, "2", *script, *resume], env=ENV, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("; checkpoint ") == 1 and f"{step + 20}/{step + 20}" in again.stderr
    state = mg.load(tmp_path / "run.npz")
    losses = state["curves"]["loss"]
    assert state["step"] == step + 20 == len(losses) and losses[-1] < losses[0]
    wrong = subprocess.run(
        [*mpiexec, "2", *script, "--steps", "-3"], env=ENV, capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2 and wrong.stderr.count("'-3' is not an integer") == 1


# On to PyTorch


def example():
    """The module of examples/to_pytorch.py; skips without PyTorch."""
    pytest.importorskip("torch", reason="there is no PyTorch: pip install torch")
    spec = importlib.util.spec_from_file_location("to_pytorch", ROOT / "examples" / "to_pytorch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkpoint(path: Path, **words: object) -> Path:
    """As the training script writes it, every weight random."""
    mg.manual_seed(0)
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8, **words)
    weights = {name: mg.randn(*w.shape) for name, w in GPT(config).state_dict().items()}
    weights["head.weight"] = weights["token_embedding.weight"]
    mg.save({"config": vars(config), "model": weights, "tokenizer": {}}, path)
    return path


@pytest.mark.parametrize("words", [{}, {"positions": "sinusoidal", "bias": False}], ids=["learned", "sinusoidal"])
def test_the_logits_are_those_of_pytorch(words, tmp_path, monkeypatch, capsys):
    module, out = example(), tmp_path / "gpt.pt"
    path = checkpoint(tmp_path / "run.npz", **words)
    monkeypatch.setattr(sys, "argv", ["to_pytorch.py", str(path), "--out", str(out)])
    assert module.main() == 0  # it ends well only if the logits are equal
    assert "largest difference" in capsys.readouterr().out
    model = module.GPT(GPTConfig(**mg.load(path)["config"]))
    model.load_state_dict(module.torch.load(out))


def test_words_that_are_not_carried_over(tmp_path, monkeypatch):
    module = example()
    monkeypatch.setattr(sys, "argv", ["to_pytorch.py", str(checkpoint(tmp_path / "run.npz", positions="alibi"))])
    with pytest.raises(ValueError, match="positions='alibi' is not carried over"):
        module.main()


def test_without_pytorch_one_line_says_what_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError")
    env = {**ENV, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    script = [sys.executable, str(ROOT / "examples" / "to_pytorch.py"), "run.npz"]
    done = subprocess.run(script, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install torch" in done.stderr and len(done.stderr.splitlines()) == 1


if __name__ == "__main__":
    with parallel.world() as found_world:
        globals()[f"on_ranks_{sys.argv[1]}"](found_world, Path(sys.argv[2]))
