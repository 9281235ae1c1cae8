"""The doctor: it names what is wrong with a training, and is silent on one that is healthy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import trainings
from paths import ROOT

import minigrad as mg
from minigrad import nn
from minigrad.look.commands import doctor as command
from minigrad.look.doctor import findings
from minigrad.nn import functional as F
from minigrad.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

pytest_plugins = ["browser"]


def watched(training, steps=50):
    mg.manual_seed(0)
    with np.errstate(all="ignore"), mg.doctor(steps, quiet=True) as doctor:
        training()
    return doctor


@pytest.mark.parametrize(("training", "kind", "text"), trainings.FAULTY, ids=lambda x: getattr(x, "__name__", ""))
def test_a_mistake_is_named_at_its_line(training, kind, text):
    found = watched(training).findings
    assert [finding.kind for finding in found] == [kind]
    assert found[0].steps >= 3 and found[0].evidence and found[0].mend
    if text:
        assert found[0].line is not None and text in found[0].line.text()


@pytest.mark.parametrize("training", trainings.HEALTHY, ids=lambda x: x.__name__)
def test_a_healthy_training_is_let_be(training):
    doctor = watched(training)
    assert doctor.watch.steps and doctor.findings == []


def test_each_rule_speaks_of_some_training():
    assert {kind for _, kind, _ in trainings.FAULTY} >= set(findings.BRINGS) - {"chance"}


def losses(watch):
    seen = []

    def training():
        model = trainings.dropping()
        optimizer = mg.optim.Adam(model.parameters(), lr=1e-2)
        for xb, yb in trainings.batches(*trainings.clusters(), steps=12):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())

    if watch:
        watched(training)
    else:
        mg.manual_seed(0)
        training()
    return seen


def test_watching_changes_no_number():
    assert losses(True) == losses(False)


def test_it_stops_watching_after_its_steps():
    doctor = watched(trainings.plain, steps=12)
    assert len(doctor.watch.steps) == 12


def test_few_steps_are_no_evidence():
    doctor = watched(trainings.without_zero_grad, steps=3)
    assert doctor.findings == [] and "most findings need 10 steps" in doctor.report()


def test_of_large_tensors_a_part_is_looked_at():
    def training():
        model = nn.Linear(300, 300)
        trainings.fit(model, mg.optim.SGD(model.parameters(), lr=0.1), F.mse_loss, (mg.randn(64, 300),) * 2, steps=12)

    doctor = watched(training)
    weight = max(doctor.watch.weights.values(), key=lambda x: math.prod(x.shape))
    assert "a part" in doctor.report() and weight.size[0] == pytest.approx(10, rel=0.05)


def test_the_script_goes_on_after_an_error_in_it(capsys):
    with pytest.raises(ZeroDivisionError), mg.doctor():
        trainings.plain()
        raise ZeroDivisionError
    assert "nothing found" in capsys.readouterr().err


def test_hooks_of_every_optimizer():
    seen = []
    before = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: seen.append("before"))
    after = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: seen.append(type(optimizer)))
    w = mg.ones(2, requires_grad=True)
    for kind in (mg.optim.SGD, mg.optim.Adam):
        w.sum().backward()
        kind([w], lr=0.1).step()
    before.remove()
    after.remove()
    mg.optim.SGD([w], lr=0.1).step()
    assert seen == ["before", mg.optim.SGD, "before", mg.optim.Adam]


SCRIPT = """import sys
import torch
from torch import nn

torch.manual_seed(int(sys.argv[1]))
model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3), nn.Softmax(dim=1))
opt = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(100):
    x = torch.randn(16, 6)
    y = x[:, :3].argmax(1)
    loss = nn.CrossEntropyLoss()(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
print("not reached")
"""


def test_as_typed_on_a_script_for_pytorch(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    words = [sys.executable, "-m", "minigrad", "doctor", "--as-torch", "--html", "out.html", "train.py", "3"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env={**__import__("os").environ,
                          "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 1 and done.stdout == "out.html\n"
    assert "50 steps, 4 weights watched: 1 finding." in done.stderr
    assert 'train.py", line 11' in done.stderr and "Traceback" not in done.stderr
    assert "there are two of them" in (tmp_path / "out.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("print(1)", "trained nothing"),
        ("", "trained nothing"),
        ("import minigrad as mg\nmg.nn.Linear(2, 2)(mg.ones(1, 2))", "never called backward"),
        ("import minigrad as mg\nmg.nn.Linear(2, 2)(mg.ones(1, 2)).sum().backward()", "no optimizer.step()"),
    ],
)
def test_scripts_without_a_training(tmp_path, text, said):
    (tmp_path / "script.py").write_text(text)
    with pytest.raises(ValueError, match=said):
        command.main([str(tmp_path / "script.py")])


def test_misuse(tmp_path):
    with pytest.raises(FileNotFoundError):
        command.main([str(tmp_path / "absent.py")])
    with pytest.raises(SystemExit):
        command.main(["--steps", "0", "x.py"])
    (tmp_path / "mine.html").write_text("my own")
    with pytest.raises(FileExistsError):
        command.main(["--html", str(tmp_path / "mine.html"), str(tmp_path / "script.py")])
    with pytest.raises(ValueError, match="at least 1"):
        mg.doctor(0)


def test_in_a_browser(browser, tmp_path):
    doctor = watched(trainings.biases_far_below)
    doctor.save(tmp_path / "page.html", "</script><b>")
    browser.open(tmp_path / "page.html")
    assert browser.text("h1") == "</script><b>" and "dead" in browser.text("article h2")
    assert browser.run("return document.querySelectorAll('#run figure').length") == 4
    assert browser.run("return document.querySelectorAll('article svg').length") == 2
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    first = (tmp_path / "page.html").read_bytes()
    doctor.save(tmp_path / "page.html", "</script><b>")
    assert (tmp_path / "page.html").read_bytes() == first


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_for_everybody_and_for_phones(browser, tmp_path, dark):
    watched(trainings.biases_far_below).save(tmp_path / "page.html")
    with browser.seen(390, 800, dark):
        browser.open(tmp_path / "page.html")
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        assert browser.barriers() == []
