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
from minigrad.train.trainer import Trainer

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
    data = data_of(run_page("a <run>", trainer.history, trainer.losses, {"uniform": math.log(5)}, {"lr": 1.0}))
    assert [row["step"] for row in data["rows"]] == [1, 2, 4, 6]
    assert len(data["losses"]) == 6 and data["losses"][-1][1] == pytest.approx(trainer.losses[-1], rel=1e-4)
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
    assert run_page("t", other.history, other.losses) == run_page("t", trainer.history, np.float32(trainer.losses))


def test_one_file_without_a_network_reference_that_no_text_can_break(tmp_path):
    trainer = trained()
    save_run_page(tmp_path / "run.html", "</title><script>alert(1)</script>", trainer.history, trainer.losses)
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text and text.count("</script>") == 2
    assert not re.search(r"(src|href)=|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert text == run_page("</title><script>alert(1)</script>", trainer.history, trainer.losses)


def test_long_runs_are_thinned_and_losses_that_are_no_numbers_left_out():
    data = data_of(run_page("t", [], [1.0] * 2500 + [math.nan]))
    assert len(data["losses"]) == 834 and data["losses"][0] == [3, 1.0] and data["losses"][-1] == [2501, None]


def test_in_a_browser(browser, tmp_path):
    trainer = trained()
    save_run_page(tmp_path / "run.html", "a run", trainer.history, trainer.losses, {"uniform": math.log(5)})
    browser.open(tmp_path / "run.html")
    assert browser.text("#now") == "step 6" and "guessing by uniform, 1.609" in browser.text("#loss")
    assert browser.text("#sample") == "</script><b>" and "a<b, head 0" in browser.text("#attention")
    row = browser.run("return document.querySelectorAll('#norms tr')[1].textContent")
    weight, _ = trainer.history[-1]["norms"]["0"]
    assert row.startswith("0") and f"{weight:.4g}"[:4] in row
    browser.run("document.getElementById('when').focus()")
    browser.keys("ArrowLeft")
    assert browser.text("#now") == "step 4"
    assert browser.complaints() == []
