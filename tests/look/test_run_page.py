"""The page of a training run: what was recorded, escaped, and nothing that is not a number."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.look.pages.run_page import run_page, save_run_page
from minigrad.train.data import RandomBatches
from minigrad.train.trainer import Trainer, snapshots

pytest_plugins = ["browser"]


def data_of(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1))


def trained(steps: int = 6, grad_clip: float = 1.0) -> Trainer:
    mg.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    batches = RandomBatches(np.arange(200) % 5, 2, 6, mg.Generator().manual_seed(0))
    optimizer = mg.optim.SGD(model.parameters(), lr=1.0)
    trainer = Trainer(
        model,
        optimizer,
        None,
        batches,
        lambda model, x, y: nn.functional.cross_entropy(model(x).view(-1, 5), y.view(-1)),
        grad_clip=grad_clip,
    )
    odd = {"sample": "</script><b>", "attention": [{"path": "a<b", "tokens": list('<"\n'), "weights": np.eye(3)[None]}]}
    trainer.fit(steps, eval_every=2, probe=lambda: odd, quiet=True)
    return trainer


def test_the_page_holds_what_the_trainer_kept():
    trainer = trained()
    data = data_of(run_page("a <run>", trainer.history, trainer.curves, {"uniform": math.log(5)}, {"lr": 1.0}))
    assert [row["step"] for row in data["rows"]] == [1, 2, 3, 4, 5, 6] and data["steps"] == 6
    for name, values in trainer.curves.items():
        assert data["curves"][name] == [[n, pytest.approx(value, rel=1e-4)] for n, value in enumerate(values, 1)]
    assert data["rows"][-1]["norms"].keys() == {"0", "1"} and data["rows"][0]["val_loss"] is None
    assert data["rows"][-1]["sample"] == "</script><b>"
    assert data["baselines"]["uniform"] == 1.6094


@pytest.mark.parametrize("grad_clip", [1e-3, 0.05, 1e3])
def test_norms_are_those_before_clipping(grad_clip):
    """Also where nothing was clipped, the norm being smaller."""
    free, clipped = trained(1, grad_clip=0), trained(1, grad_clip=grad_clip)
    for path, (weight, gradient) in free.history[0]["norms"].items():
        assert weight > 0 and clipped.history[0]["norms"][path][1] == pytest.approx(gradient, rel=1e-3)
    total = math.hypot(*(gradient for _, gradient in free.history[0]["norms"].values()))
    assert total == pytest.approx(free.history[0]["grad_norm"], rel=1e-5)


def test_the_history_comes_back_from_a_checkpoint(tmp_path):
    trainer, other = trained(), trained(1)
    mg.save(trainer.state_dict(), tmp_path / "run.npz")
    other.load_state_dict(mg.load(tmp_path / "run.npz"))
    kept = {name: np.float32(values) for name, values in trainer.curves.items()}
    assert run_page("t", other.history, other.curves) == run_page("t", trainer.history, kept)


def test_one_file_without_a_network_reference_that_no_text_can_break(tmp_path):
    trainer = trained()
    save_run_page(tmp_path / "run.html", "</title><script>alert(1)</script>", trainer.history, trainer.curves)
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text and text.count("</script>") == 2
    assert not re.search(r"(src|href)=|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert text == run_page("</title><script>alert(1)</script>", trainer.history, trainer.curves)


def test_long_runs_are_thinned_and_losses_that_are_no_numbers_left_out():
    losses = data_of(run_page("t", [], {"loss": [1.0] * 2500 + [math.nan]}))["curves"]["loss"]
    assert len(losses) == 834 and losses[:2] == [[2, 1.0], [5, 1.0]] and losses[-1] == [2500.5, None]


def test_in_a_browser(browser, tmp_path):
    trainer = trained()
    save_run_page(tmp_path / "run.html", "a run", trainer.history, trainer.curves, {"uniform": math.log(5)})
    browser.open(tmp_path / "run.html")
    assert browser.text("#now") == "step 6" and "guessing by uniform, 1.609" in browser.text("#loss")
    assert browser.text("#sample") == "</script><b>" and "a<b, head 0" in browser.text("#attention")
    row = browser.run("return document.querySelectorAll('#norms tr')[1].textContent")
    weight, _ = trainer.history[-1]["norms"]["0"]
    assert row.startswith("0") and f"{weight:.4g}"[:4] in row
    browser.run("document.getElementById('when').focus()")
    browser.keys("ArrowLeft")
    assert browser.text("#now") == "step 5" and browser.text("#lr .reading") == "step 5: learning rate 1"
    dashed = "return [...document.querySelectorAll('#loss .between, #lr .between')].length"
    assert browser.run(dashed) == 0, "every step was measured"
    assert browser.complaints() == []


def long_run(tmp_path):
    """Two hundred steps, evaluated at some of them: a page without a training."""
    rng, steps = np.random.default_rng(0), np.arange(1, 201)
    curves = {"loss": 2 + 2 * np.exp(-steps / 50) + 0.1 * rng.normal(size=200), "lr": 1e-3 * np.minimum(1, steps / 100)}
    curves |= {"grad_norm": 1 + rng.random(200), "seconds": 0.01 + 0.002 * rng.random(200)}
    looked = {"path": "blocks.0", "tokens": list("abc"), "weights": np.eye(3)[None]}
    history = [
        {
            "step": n, "loss": float(curves["loss"][n - 1]), "val_loss": 2.1 + 2 * math.exp(-n / 50), "lr": 1e-3,
            "grad_norm": 1.0, "tokens_per_second": 900.0, "norms": {"a.long.path.of.a.module": (1.0, 0.5)},
            "probe": {"sample": "x" * 300, "attention": [looked]},
        }
        for n in sorted(snapshots(200))
    ]  # fmt: skip
    save_run_page(tmp_path / "run.html", "a run", history, curves, {"uniform": 4.1, "bigram": 2.4}, {"data": "y" * 200})
    return tmp_path / "run.html"


def test_what_was_not_measured_is_dashed(browser, tmp_path):
    browser.open(long_run(tmp_path))
    points = browser.run("return document.querySelectorAll('#loss circle.validation').length")
    assert points == len(snapshots(200))
    solid, dashed = (
        browser.run(f"return [...document.querySelectorAll('#loss .curve.validation{which}')].map("
                    "(line) => line.points.numberOfItems).reduce((a, b) => a + b, 0)")
        for which in (":not(.between)", ".between")
    )  # fmt: skip
    assert (solid, dashed) == (5, points - 4)  # 1 to 5 follow one another
    assert browser.run("return document.querySelector('#lr polyline').points.numberOfItems") == 200
    assert "Smoothed: a straight line is fitted to the 27 steps" in browser.text("#measured")
    before = browser.run("return document.querySelector('#loss circle:nth-of-type(9)').cx.baseVal.value")
    browser.click("#scale")
    assert browser.run("return document.querySelector('#loss circle:nth-of-type(9)').cx.baseVal.value") > 2 * before
    assert browser.run("return document.getElementById('scale').getAttribute('aria-pressed')") == "true"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, True), (320, False)])
def test_nothing_bars_the_way(browser, tmp_path, width, dark):
    with browser.seen(width, dark=dark):
        browser.open(long_run(tmp_path))
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run("return [...document.querySelectorAll('svg')].every((svg) => svg.getScreenCTM().a > 0.95)")
        assert browser.barriers() == []


def test_gradient_flow_in_a_browser(browser, tmp_path):
    trainer = trained()
    page = tmp_path / "run.html"
    save_run_page(page, "a run", trainer.history, trainer.curves, flow=trainer.flow.state_dict())
    flow = data_of(page.read_text(encoding="utf-8"))["flow"]
    assert flow["stride"] == 1 and [len(line) for line in flow["gradient"].values()] == [6, 6]
    browser.open(page)
    captions = browser.run("return [...document.querySelectorAll('#flow figcaption')].map((c) => c.textContent)")
    assert captions[:2] == ["Gradient of each matrix, before clipping", "Update to weight, of some rows"]
    assert browser.run("return document.querySelectorAll('#flow polyline').length") == 4
    save_run_page(page, "a run", trainer.history, trainer.curves)
    browser.open(page)
    assert browser.run("return document.getElementById('flow-section').hidden")
