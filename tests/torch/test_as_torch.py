"""Programs written for PyTorch run as they are: whole scripts in the usual styles, and what is said of the rest."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.metadata
import io
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

import minigrad as mg
from minigrad.torch.as_torch import MODULES, as_torch
from minigrad.utils import data

PROGRAMS = Path(__file__).parent / "programs"


def script(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """``python -m minigrad run`` with these arguments, in a folder, with warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "minigrad", "run", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def torch(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "torch"]:  # where another test imported PyTorch
        monkeypatch.delitem(sys.modules, name)
    with as_torch():
        yield sys.modules["torch"]


# Whole programs


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("nano", ["--steps=30"], ["parameters", "loss 2.", "sampled [3, 4"]),
        ("trainer", [], ["loss 2."]),
        ("letters", ["--max-steps", "40"], ["Bigram: 16 parameters", "MLP", "GRU", "Bag", "scalars go to out"]),
        ("notebook", [], ["[ 3.5000, -4.0000]], requires_grad=True)", "W1     (15, 20)", "epoch 2"]),
    ],
)
def test_programs_in_the_usual_styles(name, arguments, said, tmp_path):
    done = script("--as-torch", PROGRAMS / f"{name}.py", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in said:
        assert text in done.stdout
    if name == "letters":
        with open(tmp_path / "out" / "scalars.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["tag", "step", "value", "time"] and len(rows) == 5


def test_a_script_runs_as_python_runs_it(tmp_path):
    (tmp_path / "beside.py").write_text("value = 3\n")
    (tmp_path / "a b.py").write_text(
        "import sys, torch, beside\nassert __name__ == '__main__'\nprint(sys.argv[1:], beside.value, torch.ones(2))\n"
    )
    done = script("--as-torch", tmp_path / "a b.py", "-x", "--as-torch", "y", folder=PROGRAMS)
    assert done.returncode == 0 and done.stdout == "['-x', '--as-torch', 'y'] 3 tensor([1., 1.])\n", done.stderr
    (tmp_path / "wrong.py").write_text("def f():\n    open('no such file')\nf()\n")
    done = script("--as-torch", tmp_path / "wrong.py", folder=tmp_path)
    assert done.returncode == 1 and done.stderr.splitlines()[1].endswith('wrong.py", line 3, in <module>')
    (tmp_path / "exits.py").write_text("import sys; sys.exit(5)")
    assert script(tmp_path / "exits.py", folder=tmp_path).returncode == 5
    assert "there is no such script" in script("--as-torch", "nowhere.py", folder=tmp_path).stderr


def test_one_changed_line_is_enough(tmp_path):
    text = (PROGRAMS / "trainer.py").read_text(encoding="utf-8")
    text = text.replace("import torch\nimport torch.nn as nn", "import minigrad as torch\nimport minigrad.nn as nn")
    text = text.replace("from torch.utils.data.dataloader", "from minigrad.utils.data").replace(
        "from torch.", "from minigrad."
    )
    (tmp_path / "changed.py").write_text(text, encoding="utf-8")
    done = script(tmp_path / "changed.py", folder=tmp_path)
    assert done.returncode == 0 and "loss 2." in done.stdout, done.stderr


# The stand-in modules


def test_every_module_can_be_imported_in_every_way(torch):
    for name in MODULES:
        space: dict[str, object] = {}
        exec(f"import {name}\nimport {name} as short", space)
        assert space["short"] is sys.modules[name]
        if "." in name:
            parent, _, last = name.rpartition(".")
            exec(f"from {parent} import {last}", space)
            assert space[last] is sys.modules[name]
    assert importlib.metadata.version("torch") == torch.__version__
    assert torch.nn.Linear is mg.nn.Linear and torch.float32 == np.float32 and torch.Tensor is mg.Tensor


def test_it_ends_and_nests_and_gives_way_to_pytorch():
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"}
    for name in before:
        del sys.modules[name]
    try:
        errors = np.geterr()
        outer = as_torch()
        with as_torch():
            assert "torch.nn" in sys.modules
        assert "torch.nn" in sys.modules
        outer.undo()
        outer.undo()
        assert not any(name.partition(".")[0] == "torch" for name in sys.modules) and np.geterr() == errors
        sys.modules["torch"] = types.ModuleType("torch")
        with pytest.raises(RuntimeError, match="imported in this process already"):
            as_torch()
        del sys.modules["torch"]
    finally:
        sys.modules.update(before)


def test_a_missing_name_says_which_where_and_what_instead(torch):
    with pytest.raises(
        AttributeError, match=r"torch\.sofmax is not covered.*test_as_torch\.py, line \d+.*use torch\.softmax"
    ):
        torch.sofmax  # noqa: B018
    with pytest.raises(AttributeError, match=r"torch\.nn\.Conv9d is not covered"):
        torch.nn.Conv9d  # noqa: B018
    with pytest.raises(ImportError, match=r"torch\.nn\.functional\.crossentropy is not covered.*use .*cross_entropy"):
        from torch.nn.functional import crossentropy  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"torch\.fft is not covered.*numpy\.fft"):
        import torch.fft
    for name in ("distribution", "multiprocess"):  # a whole submodule is no guess for another
        with pytest.raises(AttributeError, match=rf"torch\.{name} is not covered.*docs/pytorch\.md lists"):
            getattr(torch, name)
    cell = compile("torch.nn.Conv9d", "ipykernel_1/2.py", "exec")
    with pytest.raises(AttributeError, match=r"asked for in ipykernel_1/2\.py, line 1\)"):
        exec(cell, {"torch": torch})
    with pytest.raises(AttributeError, match=r"minigrad\.sofmax is not covered.*use minigrad\.softmax"):
        mg.sofmax  # noqa: B018
    assert not hasattr(torch, "fft") and hasattr(torch.nn.functional, "scaled_dot_product_attention")
    assert "softmax" in dir(torch)


def test_what_is_not_here_is_answered_or_refused_in_a_sentence(torch, monkeypatch):
    assert not torch.cuda.is_available() and torch.cuda.device_count() == 0 and not torch.backends.mps.is_available()
    assert not torch.distributed.is_initialized() and torch.distributed.get_world_size() == 1
    torch.backends.cudnn.benchmark = True
    torch.cuda.manual_seed_all(1)
    model = torch.nn.Linear(2, 2)
    assert torch.compile(model) is model and torch.compile(mode="reduce-overhead")(max) is max
    with torch.amp.autocast(device_type="cpu", dtype=torch.bfloat16), torch.autocast("cpu"):
        assert model(torch.ones(1, 2)).dtype == torch.float32
    for refused in (
        lambda: torch.ones(2).cuda(), lambda: torch.ones(2).to("cuda:0"), lambda: torch.zeros(2, device="mps"),
        lambda: model.to("cuda"),
        lambda: torch.tensor([1], device=torch.device("cuda")), lambda: torch.cuda.set_device(0), lambda: model.cuda(),
    ):  # fmt: skip
        with pytest.raises((ValueError, RuntimeError), match=r"only device is 'cpu'"):
            refused()
    for refused in (torch.distributed.init_process_group, lambda: torch.nn.parallel.DistributedDataParallel(model)):
        with pytest.raises(RuntimeError, match=r"torchrun"):
            refused()
    monkeypatch.setattr(type(torch.bfloat16), "said", False)
    torch.bfloat16.__dict__.pop("said", None)
    with pytest.warns(UserWarning, match=r"bfloat16.*float32 is used for it"):
        assert torch.ones(2).to(torch.bfloat16).dtype == torch.float32
    assert torch.nn.Linear(2, 2, dtype=torch.bfloat16).weight.dtype == torch.bfloat16  # said once


def test_modules_without_a_place_here_can_be_imported_and_say_what_to_do_at_first_use(torch):
    import torch.multiprocessing as mp
    import torch.onnx
    from torch.hub import load
    from torch.profiler import ProfilerActivity, profile, record_function
    from torch.utils.data.distributed import DistributedSampler

    for use, said in (
        (lambda: torch.onnx.export(None, (), "x"), r"torch\.onnx\.export is not covered.*instead: save the state dict"),
        (lambda: mp.spawn(print), r"torch\.multiprocessing\.spawn.*one process"),
        (lambda: load("a/b", "c"), r"torch\.hub\.load.*from_torch"),
        (lambda: profile(activities=[ProfilerActivity.CPU]), r"torch\.profiler\.profile.*cProfile"),
        (lambda: DistributedSampler([1]), r"DistributedSampler.*shuffle=True"),
        (lambda: torch.jit.trace(print, ()), r"torch\.jit\.trace.*as it is"),
        (lambda: torch._dynamo.explain(print), r"torch\._dynamo\.explain"),
        (lambda: mp.Queue.maker(), r"torch\.multiprocessing\.Queue\.maker"),
    ):
        with pytest.raises(NotImplementedError, match=said):
            use()
    assert torch.jit.script(max) is max and torch.jit.script_method(max) is max and not torch.jit.is_scripting()
    assert torch._dynamo.disable(recursive=False)(max) is max
    torch._dynamo.config.suppress_errors = True
    with torch.serialization.safe_globals([Config]):
        assert torch.serialization.get_safe_globals() == []
    with record_function("step"):
        assert not torch.accelerator.is_available() and torch.accelerator.current_accelerator() is None
    with pytest.raises(AttributeError, match=r"torch\.onnx\.exprot is not covered.*use torch\.onnx\.export"):
        torch.onnx.exprot  # noqa: B018
    assert torch.nn.modules.activation.ReLU is torch.nn.ReLU is torch.nn.modules.ReLU
    assert torch.optim.lr_scheduler._LRScheduler is torch.optim.lr_scheduler.LRScheduler
    assert torch.nn.init.xavier_uniform is torch.nn.init.xavier_uniform_
    assert torch.zeros_like(torch.ones(2), memory_format=torch.preserve_format).tolist() == [0, 0]


# Files


def test_checkpoints_of_any_name_and_no_pickles(torch, tmp_path):
    torch.save({"w": torch.arange(3), "nested": [1.5, ("a", None)]}, tmp_path / "ckpt.pt")
    found = torch.load(tmp_path / "ckpt.pt", map_location="cpu", weights_only=True)
    assert found["w"].tolist() == [0, 1, 2] and found["nested"] == [1.5, ("a", None)]
    buffer = io.BytesIO()
    torch.save(torch.ones(2), buffer)
    buffer.seek(0)
    assert torch.load(buffer).tolist() == [1, 1]
    (tmp_path / "old.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    with zipfile.ZipFile(tmp_path / "new.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    for name in ("old.pt", "new.pt"):
        with pytest.raises(mg.CheckpointError, match=rf"{name} is a pickle of PyTorch's.*from_torch\(torch\.load"):
            torch.load(tmp_path / name)


@dataclasses.dataclass
class Config:
    width: int = 3
    path: Path = Path("a")


def test_a_run_does_not_end_at_saving_what_only_a_pickle_could_hold(torch, tmp_path):
    model = torch.nn.Linear(1, 2)
    given = {
        "model": model, "config": Config(), "args": argparse.Namespace(lr=0.1), "made": print, "seen": {2, 1},
        ("a", 1): 5, "names": np.array(["x"]), "dtype": torch.float32,
    }  # fmt: skip
    with pytest.warns(UserWarning, match=r"saved without pickle.*") as caught:
        torch.save(given, tmp_path / "all.pt")
    assert len(caught) == 1
    said = str(caught[0].message)
    for part in (
        "model (Linear) as its state_dict()", "config (Config) as a dict of its fields", "config.path (", "as text",
        "args (Namespace) as a dict of its attributes", "made (builtin_function_or_method) left out, None is in its",
        "seen (set) as a list", "the key ('a', 1) of the object as text", "names (an array of <U1) left out",
    ):  # fmt: skip
        assert part in said, part
    found = torch.load(tmp_path / "all.pt")
    assert found["model"]["weight"].equal(model.weight) and found["config"] == {"width": 3, "path": "a"}
    assert found["args"] == {"lr": 0.1} and found["made"] is None and found["seen"] == [1, 2]
    assert found["('a', 1)"] == 5 and found["names"] is None and found["dtype"] == "float32"


def test_from_torch_knows_a_tensor_by_what_it_can_do():
    class Foreign:
        dtype = "torch.bfloat16"

        def detach(self):
            return self

        cpu = detach

        def float(self):
            return mg.ones(2)

        def numpy(self):
            raise TypeError("bfloat16")

    found = mg.from_torch({"a": Foreign(), "b": [(1, "x"), mg.ones(1)]})
    assert found["a"].tolist() == [1, 1] and found["b"][0] == (1, "x")


def test_safetensors(tmp_path):
    layer = mg.nn.Linear(2, 3)
    mg.save(layer.state_dict(), tmp_path / "layer.safetensors")
    found = mg.load(tmp_path / "layer.safetensors")
    assert sorted(found) == ["bias", "weight"] and found["weight"].equal(layer.weight)
    with pytest.raises(TypeError, match="dict of tensors"):
        mg.save({"a": 1}, tmp_path / "layer.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "layer.safetensors").read_bytes()[:40])
    with pytest.raises(mg.CheckpointError, match=r"cut\.safetensors is damaged"):
        mg.load(tmp_path / "cut.safetensors")


# Loaders


class Squares(data.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return {"x": mg.tensor([float(i)]), "y": i * i, "name": f"n{i}"}


def test_loader_collates_shuffles_and_drops():
    batches = list(data.DataLoader(Squares(), batch_size=4))
    assert [b["x"].shape for b in batches] == [(4, 1), (4, 1), (2, 1)] and batches[0]["name"] == [
        "n0",
        "n1",
        "n2",
        "n3",
    ]
    assert batches[2]["y"].tolist() == [64, 81] and batches[0]["y"].dtype == mg.int64
    loader = data.DataLoader(
        Squares(), batch_size=4, shuffle=True, drop_last=True, generator=mg.Generator().manual_seed(1)
    )
    once, twice = ([y for b in loader for y in b["y"].tolist()] for _ in range(2))
    assert len(loader) == 2 and len(once) == 8 and once != twice and set(once) < {i * i for i in range(10)}
    pairs = data.TensorDataset(mg.arange(6), mg.arange(6) * 2)
    x, y = next(iter(data.DataLoader(pairs, batch_size=None, sampler=[3, 1])))
    assert (x.item(), y.item()) == (3, 6) and len(data.DataLoader(pairs, batch_size=4)) == 2
    assert [len(b) for b in data.BatchSampler(range(7), 3)] == [3, 3, 1]
    with pytest.raises(ValueError, match="sampler or shuffle"):
        data.DataLoader(pairs, shuffle=True, sampler=[1])


def test_samplers_and_splits():
    generator = mg.Generator().manual_seed(0)
    endless = iter(data.RandomSampler(Squares(), replacement=True, num_samples=10**10))
    assert {next(endless) for _ in range(300)} == set(range(10))
    assert sorted(data.RandomSampler(Squares(), generator=generator)) == list(range(10))
    assert len(list(data.RandomSampler(Squares(), num_samples=25))) == 25
    assert sorted(data.SubsetRandomSampler([4, 2, 9])) == [2, 4, 9]
    weighted = list(data.WeightedRandomSampler([0.0, 1.0, 3.0], 2000))
    assert set(weighted) == {1, 2} and 0.7 < weighted.count(2) / 2000 < 0.8
    parts = data.random_split(range(10), [0.7, 0.3], generator)
    assert [len(p) for p in parts] == [7, 3] and sorted(i for p in parts for i in p) == list(range(10))
    joined = data.ConcatDataset([range(3), range(10, 12)])
    assert list(joined[i] for i in range(5)) == [0, 1, 2, 10, 11] and joined[-1] == 11  # noqa: C400
    with pytest.raises(ValueError, match="sum to 9"):
        data.random_split(range(10), [5, 4])

    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [b.tolist() for b in data.DataLoader(Stream(), batch_size=2)] == [[0, 1], [2, 3], [4]]


# The page


def test_the_page_of_covered_names_is_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "docs" / "pytorch_names.py", "--check"],
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, f"run python docs/pytorch_names.py\n{done.stderr}"


def test_as_pytorch_numbers_and_names_are_accepted_in_both_styles():
    x = mg.arange(6.0).view(2, 3)
    assert x.sum(axis=1, keepdims=True).shape == (2, 1) and mg.cat([x, x], axis=1).shape == (2, 6)
    assert mg.softmax(input=x, dim=-1).shape == x.shape and mg.max(input=x, dim=1).indices.tolist() == [2, 2]
    assert repr(x.requires_grad_().exp().sum().double()).endswith("grad_fn=<ToCopyBackward0>)")
