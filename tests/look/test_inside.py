"""Inside a run: values read and replaced are the model's own, and the parts of an answer add up to it."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.look.commands import inside as command
from minigrad.look.inside import (
    attribution,
    copying_loss,
    head_scores,
    inside,
    logit_lens,
    patching,
    repeated,
    saliency,
)
from minigrad.look.pages.inside_page import look_inside
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.llama import Llama, LlamaConfig
from minigrad.train.data import CharTokenizer

pytest_plugins = ["browser"]

IDS, OTHER = np.array([3, 1, 4, 1, 5]), np.array([3, 1, 2, 1, 5])
MODELS = {
    "gpt": lambda: GPT(GPTConfig(11, 12, 2, 2, 12)),
    "gpt without bias": lambda: GPT(GPTConfig(11, 12, 3, 3, 12, bias=False, positions="rotary")),
    "llama": lambda: Llama(LlamaConfig(11, 12, 2, 4, 16, n_kv_head=2, n_hidden=20)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def make(name="gpt", dtype=mg.float64):
    mg.manual_seed(2)
    model = MODELS[name]().to(dtype)
    with mg.no_grad():
        for p in model.parameters():
            p.add_(0.3 * mg.randn(*p.shape, dtype=dtype))
    return model.eval()


def logits_of(model, ids=IDS):
    with mg.no_grad():
        return model(mg.tensor(ids[None]))[0].numpy()[0]


def test_values_are_read_by_path():
    model = make()
    with inside(model) as run:
        logits, _ = model(mg.tensor(IDS[None]))
    assert (run["head"] == logits).all() and run["blocks.0"].shape == (1, 5, 12)
    assert (run.given("blocks.1") == run["blocks.0"]).all()
    block = run["blocks.0.attention"] + run.given("blocks.0")
    np.testing.assert_allclose((block + run["blocks.0.mlp"]).detach().numpy(), run["blocks.0"].detach().numpy())
    with pytest.raises(KeyError, match=r"no module 'blocks.0.atention'; near it: blocks.0.attention"):
        run["blocks.0.atention"]
    with inside(model) as idle, pytest.raises(KeyError, match="norm has not run in here"):
        idle["norm"]
    assert not any(m._hooks for m in model.modules() if hasattr(m, "_hooks")), "no hook stays"


def test_values_are_replaced():
    model, ids = make(), mg.tensor(IDS[None])
    with inside(model) as kept:
        model(mg.tensor(OTHER[None]))
    with inside(model) as run:
        run.replace("blocks.1", kept["blocks.1"])
        assert (model(ids)[0].detach().numpy() == logits_of(model, OTHER)).all()
    with inside(model) as run:
        run.replace("blocks.0", lambda x: x * 2, at=[1, 3])
        model(ids)
        doubled = run["blocks.0"].detach().numpy()
    with inside(model) as run:
        model(ids)
        plain = run["blocks.0"].detach().numpy()
    factors = np.array([1, 2, 1, 2, 1.0])[:, None]
    np.testing.assert_allclose(doubled[0], plain[0] * factors)
    with inside(model) as run:
        run.replace("blocks.0.mlp", 0.0)
        run.replace("blocks.0.attention", 0.0)
        model(ids)
        assert (run["blocks.0"] == run.given("blocks.0")).all()
    with inside(model) as run:
        run.replace("blocks.0", np.ones((3, 3)))
        with pytest.raises(ValueError, match=r"blocks.0: \(3, 3\) cannot stand in the place of \(1, 5, 12\)"):
            model(ids)
    assert (model(ids)[0].detach().numpy() == logits_of(model)).all()


@every_model
def test_a_head_that_is_off_gives_nothing(name):
    model = make(name)
    with inside(model) as run:
        run.off(1, 0)
        model(mg.tensor(IDS[None]))
    heads = run.modules["blocks.1.attention"].heads
    z = run.given("blocks.1.attention.output").detach().numpy().reshape(5, heads, -1)
    assert (z[:, 0] == 0).all() and (z[:, 1:] != 0).all()
    with inside(model) as run, pytest.raises(ValueError, match=f"there is no head 9: blocks.1.attention has {heads}"):
        run.off(1, 9)


@every_model
def test_the_lens_ends_with_what_the_model_says(name):
    model = make(name)
    lens = logit_lens(model, IDS, top=3)
    assert lens.paths[:2] == ["start", "blocks.0"] and lens.tokens.shape == (len(lens.paths), 5, 3)
    z = np.exp(logits_of(model))
    p = z / z.sum(-1, keepdims=True)
    assert (lens.tokens[-1] == np.argsort(-p, -1)[:, :3]).all()
    np.testing.assert_allclose(lens.probabilities[-1], -np.sort(-p, -1)[:, :3])
    with mg.no_grad(), inside(model) as run:
        model(mg.tensor(IDS[None]))
        early = model.head(model.norm(run["blocks.0"])).numpy()[0]
    assert (lens.tokens[1, :, 0] == early.argmax(-1)).all() and not model.training


@every_model
@pytest.mark.parametrize("against", [None, 7])
def test_the_parts_of_a_score_add_up_to_it(name, against):
    model = make(name)
    parts = attribution(model, IDS, 4, against, position=3)
    wanted = logits_of(model)[3, 4] - (0 if against is None else logits_of(model)[3, against])
    assert parts.total == pytest.approx(wanted, rel=1e-9)
    assert parts.start + parts.heads.sum() + parts.mlps.sum() + parts.rest == pytest.approx(wanted, rel=1e-9)
    with mg.no_grad(), inside(model) as run:
        model(mg.tensor(IDS[None]))
        norm, x, mlp = model.norm, run.given("norm")[0, 3], run["blocks.1.mlp"][0, 3]
    z = (lambda v: v - v.mean())(x.numpy()) if isinstance(norm, nn.LayerNorm) else x.numpy()
    part = (lambda v: v - v.mean())(mlp.numpy()) if isinstance(norm, nn.LayerNorm) else mlp.numpy()
    scaled = part / np.sqrt((z * z).mean() + norm.eps) * norm.weight.detach().numpy()
    head = model.head.weight.detach().numpy()
    assert parts.mlps[1] == pytest.approx(scaled @ (head[4] - (0 if against is None else head[against])), rel=1e-9)


@every_model
def test_what_is_taken_from_another_run_carries_its_answer(name):
    model = make(name)
    found = patching(model, IDS, OTHER, 4, 7, rows=2)
    assert found.share.shape == (len(found.paths), 5)
    assert np.allclose(found.share[:, :2], 0, atol=1e-9), "before the difference there is none"
    assert found.share[-1] == pytest.approx([0, 0, 0, 0, 1], abs=1e-9), "after the last block, only the last position"
    scores = logits_of(model), logits_of(model, OTHER)
    assert [found.base, found.other] == pytest.approx([s[-1, 4] - s[-1, 7] for s in scores])
    with mg.no_grad():
        with inside(model) as kept:
            model(mg.tensor(OTHER[None]))
        with inside(model) as run:
            run.replace("blocks.0.mlp", kept["blocks.0.mlp"][:, 2], at=2)
            z = model(mg.tensor(IDS[None]))[0].numpy()[0, -1]
    one = patching(model, IDS, OTHER, 4, 7, "mlp").share[0, 2]
    assert found.base + one * (found.other - found.base) == pytest.approx(z[4] - z[7])
    with pytest.raises(ValueError, match="the prompts have 5 and 4 tokens"):
        patching(model, IDS, OTHER[:4], 4, 7)
    with pytest.raises(ValueError, match="nothing that could go over"):
        patching(model, IDS, IDS, 4, 7)


def test_saliency_is_the_gradient_times_the_embedding():
    model = make("llama")
    model.token_embedding.weight.grad = None
    found, step = saliency(model, IDS, 4, position=3), 1e-6
    assert model.token_embedding.weight.grad is None
    assert found[4] == 0, "what comes later is not read"
    for place in (0, 2, 3):
        scores = []
        for sign in (1, -1):
            with mg.no_grad(), inside(model) as run:
                run.replace("token_embedding", lambda e, sign=sign: e * (1 + sign * step), at=[place])
                scores.append(model(mg.tensor(IDS[None]))[0][0, 3, 4].item())
        assert found[place] == pytest.approx((scores[0] - scores[1]) / (2 * step), rel=1e-5)


def copier():
    """Two layers that copy: a head for the token before, one that looks for it, and writes what came after."""
    V, T = 8, 17
    C = 2 * V + T + 1
    model = GPT(GPTConfig(V, T, 2, 1, C, bias=False)).double()
    with mg.no_grad():
        for p in model.parameters():
            p.zero_()
        eye = np.eye(V)
        model.token_embedding.weight._array[:, :V] = eye
        model.positions.added.weight._array[:, 2 * V : 2 * V + T] = np.eye(T)
        for norm in (model.norm, *(n for b in model.blocks for n in (b.attention_norm, b.mlp_norm))):
            norm.weight.fill_(1.0)
        first, second = (block.attention for block in model.blocks)
        query, key = first.query.weight._array, first.key.weight._array
        for t in range(1, T):
            query[t, 2 * V + t], key[t, 2 * V + t - 1] = 60, 60
        first.value.weight._array[:V, :V] = eye
        first.output.weight._array[V : 2 * V, :V] = eye  # the token before, in channels of its own
        second.query.weight._array[:V, :V], second.key.weight._array[:V, V : 2 * V] = 60 * eye, 60 * eye
        second.value.weight._array[:V, :V] = eye
        second.output.weight._array[:V, :V] = 30 * eye  # over the token itself, which the head reads too
    return model


def test_an_induction_head_is_found_and_is_what_copies():
    model = copier()
    scores = head_scores(model, seed=1)
    ids = scores.ids
    assert (ids == repeated(8, 8, 1)).all() and len(ids) == 16 and sorted(ids[:8]) == list(range(8))
    assert scores.kind(0, 0) == "previous token" and scores.scores["previous token"][0, 0] > 0.9
    assert scores.kind(1, 0) == "induction" and scores.best("induction", 1)[0][:2] == (1, 0)
    assert copying_loss(model, ids) < 0.6 < 1.5 < copying_loss(model, ids, [(1, 0)])
    assert len(set(repeated(3, 8, 1))) == 3, "there are not enough for each to come once"
    with pytest.raises(ValueError, match="9 tokens, twice, do not fit into a context of 17"):
        head_scores(model, 9)


def test_models_of_other_kinds_are_refused():
    for model, text in (
        (nn.Linear(2, 2), "Linear has no blocks of attention and mlp"),
        (BERT(BERTConfig(9, 8, 1, 1, 4)), "BERT has no norm and head after its blocks"),
    ):
        with pytest.raises(ValueError, match=text):
            logit_lens(model, IDS)
    with pytest.raises(ValueError, match=r"one sequence of token ids is wanted, \(T,\) or \(1, T\), got \(2, 3\)"):
        logit_lens(make(), np.zeros((2, 3), dtype=int))


@pytest.fixture
def checkpoint(tmp_path):
    tokenizer = CharTokenizer("abcdefghij ")
    model = make(dtype=mg.float32)
    state = {"config": model.config.__dict__, "model": model.state_dict(), "tokenizer": tokenizer.state_dict()}
    mg.save(state, tmp_path / "gpt.npz")
    return str(tmp_path / "gpt.npz")


def test_the_command(checkpoint, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert command.main([checkpoint, "a cab", "--patch", "a dab", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    for text in ("GPT gpt reading 'a cab'", "logit lens: ", "position 4", "previous token: blocks.", f"wrote {out}"):
        assert text in said
    for words, error in (
        ([checkpoint, ""], "the text is empty"),
        ([checkpoint, "a" * 13], "the text has 13 tokens, and the context of the model has 12"),
        ([checkpoint, "ab", "--patch", "abc"], r"the prompts have 2 and 3 tokens.*a \| b   and   a \| b \| c"),
        ([checkpoint, "ab", "--answer", ""], "--answer is empty"),
        ([checkpoint, "aXb"], "X"),
        ([checkpoint, "ab", "-o", checkpoint], "gpt.npz"),
    ):
        with pytest.raises((ValueError, FileExistsError), match=error):
            command.main([*words, *([] if "-o" in words else ["-o", str(tmp_path / "b.html")])])


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_for_all(browser, tmp_path, dark):
    look_inside(make(), IDS, lambda i: "<b>&\u2028abcdefgh"[i], other=OTHER, title="</script>").save(
        tmp_path / "a.html"
    )
    with browser.seen(390, 800, dark):
        browser.open(tmp_path / "a.html")
        assert (
            browser.text("h1") == "</script>" and browser.run("return document.querySelectorAll('table').length") == 9
        )
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.barriers() == []
