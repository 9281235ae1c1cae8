"""Why a weight changed: the parts add up to the change, and are what the places of the batch bring."""

import math
import shutil

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.look.commands import graph
from minigrad.look.commands import step as step_command
from minigrad.look.commands import why as command
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F
from minigrad.train.data import RandomBatches
from minigrad.train.files import travel_folder
from minigrad.train.trainer import Trainer

pytest_plugins = ["browser"]

OPTIMIZERS = {
    "sgd": lambda p: mg.optim.SGD(p, lr=0.1),
    "momentum": lambda p: mg.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: mg.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: mg.optim.Adam(p, lr=1e-3, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: mg.optim.AdamW(p, lr=1e-3, weight_decay=0.1, betas=(0.8, 0.99)),
}


def gpt_step(make, steps=3, clip=0.5):
    """A recorded step of a small GPT, its model, and the ids that it was given."""
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8))
    optimizer = make(model.parameters())
    rng = np.random.default_rng(0)
    for step in range(steps):
        ids = mg.tensor(rng.integers(0, 11, (3, 7)))

        def one(ids=ids):
            optimizer.zero_grad()
            model(ids[:, :-1], ids[:, 1:])[1].backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()

        if step < steps - 1:
            one()
        else:
            before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
            with mg.record_step() as record:
                one()
    return record, model, before, ids.numpy()[:, :-1]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("steps", [1, 3])
def test_parts_add_up_to_the_last_digit(make, steps):
    record, model, before, _ = gpt_step(make, steps)
    rng = np.random.default_rng(1)
    for name, p in model.named_parameters():
        index = tuple(int(rng.integers(n)) for n in p.shape)
        found = mg.why(p, record, index)
        after = p.detach().numpy()
        assert found.change == float(after[index].astype(np.float64) - before[name][index].astype(np.float64))
        for one in (found, mg.why(name, record)):
            assert math.fsum(one.terms.values()) == one.change
            assert math.fsum([*one.rest.values(), *(place.part for place in one.places)]) == one.change
            largest = max(map(abs, one.terms.values()))
            slack = 1e-3 * largest + 2e-7  # what a float32 near 1 can resolve
            assert abs(one.terms["rounding"]) < slack and abs(one.rest["rounding"]) < slack
        length = np.linalg.norm(after.astype(np.float64) - before[name].astype(np.float64))
        assert mg.why(p, record).change == pytest.approx(length, rel=1e-12)


def test_terms_are_those_of_the_rule():
    w = mg.tensor([2.0, -4.0], requires_grad=True)
    optimizer = mg.optim.SGD([w], lr=0.5, momentum=0.5, weight_decay=0.25)
    for step in range(2):
        optimizer.zero_grad()
        with mg.record_step() as record:
            (w * mg.tensor([1.0, 3.0])).sum().backward()
            w.grad *= 0.5  # as clipping would
            optimizer.step()
        if step == 0:
            first, velocity = mg.why(w, record, 1), 1.5 + 0.25 * -4
    assert first.terms == {"gradient": -1.5, "clipping": 0.75, "momentum": 0.0, "weight decay": 0.5, "rounding": 0.0}
    found = mg.why(w, record, -1)
    assert found.terms["momentum"] == -0.5 * 0.5 * velocity and found.index == (1,)
    assert found.before == -4.25 and found.change == math.fsum(found.terms.values())


def test_a_shared_weight_is_split_by_use_and_by_token():
    record, _, _, ids = gpt_step(OPTIMIZERS["sgd"], steps=1, clip=1e9)
    found = mg.why("token_embedding.weight", record, (4, 2))
    assert {place.use for place in found.places} == {"linear in head", "embedding in token_embedding"}
    assert math.fsum(found.by_use().values()) == pytest.approx(math.fsum(found.by_token().values()), rel=1e-9)
    for place in found.places:
        assert place.token == ids[place.example, place.position]
        if place.use.startswith("embedding") and place.token != 4:
            assert place.part == 0
    by_example = found.by_example()
    assert sorted(by_example) == [0, 1, 2]


def test_shares_by_formula_are_those_of_the_ops_own_backward():
    record, _, _, _ = gpt_step(OPTIMIZERS["sgd"], steps=1)
    checked = set()
    for uses in record.uses.values():
        for use in uses:
            shape = use.inputs[use.argument].shape
            index = tuple(n // 2 for n in shape)
            direction = np.random.default_rng(0).normal(size=shape)
            one_by_one = list(use._one_by_one())
            np.testing.assert_allclose(use.shares(index), [part[index] for part in one_by_one], atol=1e-7)
            np.testing.assert_allclose(use.along(direction), [np.vdot(p, direction) for p in one_by_one], atol=1e-6)
            checked.add((use.op, use.argument))
    assert {("linear", 1), ("linear", 2), ("embedding", 0), ("layer_norm", 1), ("layer_norm", 2)} <= checked


def test_examples_of_a_plain_network():
    """Without tokens a place is an example: the part of each is that of its own gradient."""
    mg.manual_seed(0)
    model, x, y = nn.Linear(3, 2), mg.randn(4, 3), mg.tensor([0, 1, 1, 0])
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    start, bias = model.weight.detach().numpy().copy(), model.bias.detach().clone()
    with mg.record_step() as record:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    found = mg.why("weight", record, (1, 2))
    for example, part in found.by_example().items():
        w = mg.tensor(start, requires_grad=True)
        F.cross_entropy(F.linear(x[example : example + 1], w, bias), y[example : example + 1]).backward()
        assert part == pytest.approx(-0.1 * w.grad.numpy()[1, 2] / 4, rel=1e-4)


def test_other_optimizers_are_said_not_to_be_split():
    record, _, _, _ = gpt_step(lambda p: mg.optim.RMSprop(p, lr=1e-3))
    assert "RMSprop, which is not split" in str(mg.why("norm.weight", record))


def test_misuse():
    record, model, _, _ = gpt_step(OPTIMIZERS["sgd"], steps=1)
    with pytest.raises(ValueError, match=r"no weight named 'nix'; there are token_embedding.weight"):
        mg.why("nix", record)
    with pytest.raises(ValueError, match="changed by no optimizer"):
        mg.why(mg.ones(2, requires_grad=True), record)
    with pytest.raises(ValueError, match="an index is 2 numbers"):
        mg.why(model.head.weight, record, (1, 2, 3))
    with pytest.raises(ValueError, match="an index is 2 numbers"):
        mg.why(model.head.weight, record, (1, 99))


SCRIPT = """
import argparse
from pathlib import Path
import numpy as np
import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.train.checkpoints import load
from minigrad.train.data import RandomBatches
from minigrad.train.trainer import Trainer

parser = argparse.ArgumentParser()
parser.add_argument("--resume")
parser.add_argument("--out")
args = parser.parse_args()
mg.manual_seed(0)
model = nn.Sequential(nn.Embedding(5, 8), nn.Dropout(0.1), nn.Linear(8, 5))
batches = RandomBatches(np.arange(300) * 7 % 5, 2, 6, mg.Generator().manual_seed(0))
optimizer = mg.optim.AdamW(model.parameters(), lr=1e-2)
trainer = Trainer(model, optimizer, None, batches,
                  lambda model, x, y: F.cross_entropy(model(x).view(-1, 5), y.view(-1)))
if args.resume:
    trainer.load_state_dict(load(args.resume))
trainer.fit(9, checkpoint=args.out or args.resume, travel=0 if args.resume else 3, quiet=True)
"""


def test_any_step_can_be_run_again(tmp_path, capsys):
    script, out = tmp_path / "train.py", tmp_path / "run.npz"
    script.write_text(SCRIPT)
    from minigrad.tools.script import run_script

    run_script(script, ["--out", str(out)])
    kept = out.read_bytes()
    assert sorted(p.name for p in travel_folder(out).iterdir()) == ["0000000.npz", "0000003.npz", "0000006.npz"]
    for step, start in ((9, 6), (6, 3), (5, 3), (1, 0)):
        assert command.main(["--step", str(step), str(script), "--resume", str(out)]) == 0
        shown = capsys.readouterr()
        assert f"step {step}, loss" in shown.out and "2.weight (moved by" in shown.out
        if start:
            assert f"from the state of step {start}" in shown.err and "to the last bit" in shown.err
    page = tmp_path / "why.html"
    words = ["--weight", "2.weight", "--index", "1,2", "--step", "5", "--html", str(page), str(script)]
    assert command.main([*words, f"--resume={out}"]) == 0
    shown = capsys.readouterr()
    assert "2.weight[1, 2] in step 5 went from" in shown.out and "to the last bit" in shown.err
    assert page.stat().st_size > 5000 and out.read_bytes() == kept
    words = ["--at", "5", "-o", str(tmp_path / "g.svg"), str(script), "--resume", str(out)]
    assert graph.main(words) == 0 and (tmp_path / "g.svg").exists()
    words = ["--at", "5", "--html", str(tmp_path / "s.html"), str(script), "--resume", str(out)]
    assert step_command.main(words) == 0
    then = float(mg.load(out)["curves"]["loss"][4])
    assert f"{then:.4g}" in (tmp_path / "s.html").read_text(encoding="utf-8") and out.read_bytes() == kept
    capsys.readouterr()
    with pytest.raises(ValueError, match="ended after 9 steps, before step 12"):
        command.main(["--step", "12", str(script), "--resume", str(out)])
    shutil.rmtree(travel_folder(out))
    with pytest.raises(ValueError, match="kept no state before step 5: start it with --travel"):
        command.main(["--step", "5", str(script), "--resume", str(out)])


def test_from_the_start_of_any_script(tmp_path, capsys):
    script = tmp_path / "train.py"
    script.write_text(
        "import minigrad as mg\nw = mg.ones(3, requires_grad=True)\no = mg.optim.SGD([w], lr=0.1)\n"
        "m = mg.nn.Linear(3, 1)\np = mg.optim.Adam(m.parameters())\n"
        "for i in range(9):\n    p.zero_grad()\n    m(mg.ones(2, 3)).sum().backward()\n    p.step()\n"
    )
    assert command.main(["--step", "4", "--weight", "weight", str(script)]) == 0
    assert "weight in step 4 moved by +0.00173" in capsys.readouterr().out
    with pytest.raises(ValueError, match="name it with --weight"):
        command.main(["--index", "1", str(script)])
    with pytest.raises(SystemExit):
        command.main(["--weight", "weight", "--index", "a", str(script)])
    (tmp_path / "none.py").write_text("")
    with pytest.raises(ValueError, match="ended after 0 steps"):
        command.main([str(tmp_path / "none.py")])


def test_a_state_goes_on_bit_for_bit(tmp_path):
    def trainer():
        mg.manual_seed(1)
        model = nn.Sequential(nn.Embedding(5, 8), nn.Dropout(0.2), nn.Linear(8, 5))
        batches = RandomBatches(np.arange(200) % 5, 2, 6, mg.Generator().manual_seed(0))
        optimizer = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return Trainer(model, optimizer, None, batches,
                       lambda model, x, y: F.cross_entropy(model(x).view(-1, 5), y.view(-1)))  # fmt: skip

    first, again = trainer(), trainer()
    first.fit(7, checkpoint=tmp_path / "run.npz", travel=2, quiet=True)
    again.load_state_dict(mg.load(travel_folder(tmp_path / "run.npz") / "0000002.npz"))
    again.fit(7, quiet=True)
    assert again.losses == first.losses
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_in_a_browser(browser, tmp_path):
    record, *_ = gpt_step(OPTIMIZERS["adamw"])
    mg.why("token_embedding.weight", record).save(tmp_path / "why.html")
    browser.open(tmp_path / "why.html")
    assert browser.text("h1") == "Why token_embedding.weight changed"
    browser.run("document.getElementById('row').value = 4; document.getElementById('column').value = 2")
    browser.run("document.getElementById('column').dispatchEvent(new Event('change'))")
    found = mg.why("token_embedding.weight", record, (4, 2))
    assert browser.text("#element").startswith("token_embedding.weight[4, 2]:")
    cells = browser.run("return [...document.querySelectorAll('#terms tr')].map((r) => r.textContent)")
    shown = {name: float(row.removeprefix(name)) for row in cells[1:] for name in found.terms if row.startswith(name)}
    for name, part in found.terms.items():
        if name != "rounding":
            assert shown[name] == pytest.approx(part, rel=1e-3, abs=1e-12)
    assert float(cells[-1].removeprefix("together")) == pytest.approx(found.change, rel=1e-4)
    top = max(found.places, key=lambda place: abs(place.part))
    row = browser.run("return document.querySelectorAll('#places tr')[1].textContent")
    assert row.startswith(f"example {top.example}, position {top.position}")
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_for_everybody_and_for_phones(browser, tmp_path, dark):
    mg.why("token_embedding.weight", gpt_step(OPTIMIZERS["adamw"])[0]).save(tmp_path / "page.html")
    with browser.seen(390, 800, dark):
        browser.open(tmp_path / "page.html")
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        assert browser.barriers() == []
