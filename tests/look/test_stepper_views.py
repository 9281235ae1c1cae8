"""What the stepper's page explains: words and formulas in the script's names, curves, the script, quiz and bugs."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad.look.mistakes import BUGS, with_bug
from minigrad.look.nudges import Rerun, explore, step_of
from minigrad.look.pages.html import ASSETS
from minigrad.look.pages.stepper_page import fnv1a, read_quiz_code, stepper_page
from minigrad.look.recording import trace
from minigrad.look.replay import Replay
from minigrad.look.spelled import arrays_of, equation, introduction, lines_of, sentence, spelled, whole
from minigrad.nn import functional as F
from minigrad.ops import OPS

pytest_plugins = ["browser"]

PROGRAMS = {
    "neuron": """
import minigrad as mg
x1, x2 = mg.tensor(2.0, requires_grad=True), mg.tensor(0.0, requires_grad=True)
w1, w2 = mg.tensor(-3.0, requires_grad=True), mg.tensor(1.0, requires_grad=True)
b = mg.tensor(6.8813735870195432, requires_grad=True)
n = x1 * w1 + x2 * w2 + b
o = n.tanh()
o.backward()
""",
    "matrices": """
import minigrad as mg
mg.manual_seed(0)
A = mg.randn(2, 3, requires_grad=True)
B = mg.randn(3, 2, requires_grad=True)
bias = mg.randn(2, requires_grad=True)
C = A @ B + bias
loss = (C * C - C).sum()
loss.backward()
""",
    "loop": """
import minigrad as mg
w = mg.tensor([[0.5, 0.1], [0.2, 0.4]], requires_grad=True)
h = mg.ones(1, 2)
for t in range(5):
    h = (h @ w).tanh()
h.sum().backward()
""",
    "passes": """
import minigrad as mg
w = mg.tensor(1.0, requires_grad=True)
for k in range(3):
    loss = (w - k) ** 2
    loss.backward()
""",
    "bad": """
import minigrad as mg
x = mg.tensor([1.0, 0.0, 4.0], requires_grad=True)
y = (x.sqrt() * 2).sum()
y.backward()
""",
}


@pytest.fixture(scope="module")
def recorders(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("views"), {}
    for name, text in PROGRAMS.items():
        script = folder / f"{name}.py"
        script.write_text(text, encoding="utf-8")
        recording = trace(4096, live=True)
        with recording, np.errstate(all="ignore"):
            exec(compile(text, str(script), "exec"), {})
        found[name] = recording.recorder
    return found


@pytest.fixture(scope="module")
def pages(recorders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")

    def page(name, **options):
        path = folder / f"{name}{'-quiz' if options.get('quiz') else ''}.html"
        if not path.exists():
            path.write_text(stepper_page(recorders[name], f"{name}.py", **options), encoding="utf-8")
        return path

    return page


# In words


def test_the_neuron_in_its_own_names(recorders):
    t = recorders["neuron"].trace
    said = " ".join(introduction(t, 0))
    assert "The script has computed o = 0.7071, from x1, w1, x2, w2 and b, in 5 operations." in said
    assert "if x1 were a little larger, how much larger would o be?" in said and "tanh made o from n" in said
    steps = t.passes[0].steps
    assert equation(t, t.ops[steps[0].op], steps[0], 0) == "dn = do · (1 \u2212 o²) = 1 · (1 \u2212 0.7071²) = 0.5"
    assert equation(t, t.ops[steps[-1].op], steps[-1], 0).endswith(" · w1 = 0.5 · (\u22123) = \u22121.5")
    assert "1 minus o squared" in sentence(t, t.ops[steps[0].op])


def test_numbers_are_filled_in_only_where_the_formula_gives_the_gradient(recorders):
    def wrong(x):
        """z = x * x
        dx = dz * 3 * x
        """
        return x * x, lambda dz: (dz * 2 * x,)

    recording = trace(live=True)
    with recording:
        x = mg.tensor(3.0, requires_grad=True)
        y = mg.apply(wrong, x)
        y.backward()
    t = recording.recorder.trace
    assert equation(t, t.ops[0], t.passes[0].steps[0], 0) == "dx = dy · 3 · x"  # and no = 18 where it was 18, not 27
    kinds = set()
    for recorder in recorders.values():
        for p in recorder.trace.passes:
            for step in p.steps:
                op = recorder.trace.ops[step.op]
                for grad, line in zip(step.grads, lines_of(op), strict=True):
                    if grad is not None and line is not None and not grad.contribution.nonfinite:
                        found = spelled(
                            op.formulas[line], arrays_of(recorder.trace, op, step), whole(grad.contribution)
                        )
                        assert found.kind or op.op == "sum", (op.op, op.formulas[line])
                        kinds.add(found.kind)
    assert {"elements", "product"} <= kinds


def test_every_sentence_is_of_an_op_that_there_is(recorders):
    from minigrad.look.spelled import SAYS

    assert set(SAYS) <= set(OPS)
    assert "{" not in "".join(sentence(r.trace, op) for r in recorders.values() for op in r.trace.ops)


# The page


def test_step_0_and_a_step_say_it_in_words(browser, pages):
    browser.open(pages("neuron"))
    assert "The script has computed o = 0.7071" in browser.text("#panel")
    browser.keys("ArrowRight")
    assert browser.text("#panel .spelled") == "dn = do · (1 \u2212 o²) = 1 · (1 \u2212 0.7071²) = 0.5"
    assert browser.text("#panel .forward") == "forward: o = tanh(n) = tanh(0.8814) = 0.7071"
    assert "the gradient of o, which has arrived" in browser.text("#symbols")
    browser.run("document.querySelector('.formulas mi').dispatchEvent(new Event('pointerover', {bubbles: true}))")
    assert browser.text("#symbols .lit").startswith("z")


def test_a_cell_spells_its_sum_and_lights_what_it_is_made_of(browser, pages, recorders):
    t = recorders["matrices"].trace
    number = next(i for i, s in enumerate(t.passes[0].steps, 1) if t.ops[s.op].op == "matmul")
    step = t.passes[0].steps[number - 1]
    dz, b = whole(step.dz), whole(t.tensors[t.ops[step.op].inputs[1]["tensor"]].value)
    browser.open(pages("matrices"), f"#step={number}")
    browser.run(
        "document.querySelector('figure[data-role=dx] td[data-at=\"5\"]')"  # row 1, column 2
        ".dispatchEvent(new Event('pointerover', {bubbles: true}))"
    )
    said = browser.text("#panel .spelled").replace("\u2212", "-")
    assert said.startswith("dA = d(A @ B) @ Bᵀ; dA[1, 2] = ")
    numbers = [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", said.split("] = ")[1])]
    assert numbers == pytest.approx([dz[1, 0], b[2, 0], dz[1, 1], b[2, 1], (dz @ b.T)[1, 2]], rel=5e-3)
    lit = browser.run(
        "return Object.fromEntries(['dz', 'y'].map(r => [r, [...document.querySelectorAll(`figure[data-role=${r}] "
        "td.lit`)].map(c => Number(c.dataset.at))]))"
    )
    assert lit == {"dz": [2, 3], "y": [4, 5]}
    browser.run("document.querySelector('section.input figure[data-role=dx] .frame').focus()")
    browser.keys("ArrowRight", "ArrowRight")
    assert "dA[0, 1] = " in browser.text("#panel .spelled"), "the arrows move in a table"
    assert browser.run("return location.hash") == f"#step={number}"


def test_a_broadcast_gradient_is_spelled_as_its_sum(browser, pages, recorders):
    t = recorders["matrices"].trace
    number = next(
        i for i, s in enumerate(t.passes[0].steps, 1) if any(g and t.label(g.tensor) == "bias" for g in s.grads)
    )
    browser.open(pages("matrices"), f"#step={number}")
    said = browser.run("return [...document.querySelectorAll('.spelled')].at(-1).innerText")
    assert re.match(r"dbias = dC; dbias\[\d\] = \S+ \+ \S+ = \S+$", said), said


def test_the_pure_parts_of_the_page_agree_with_numpy(browser):
    browser.driver.get("about:blank")
    text = (ASSETS / "stepper" / "spell.js").read_text(encoding="utf-8")

    def call(expression, *arguments):
        return browser.run(f"{text}\nreturn {expression}", *arguments)

    for shape, wide in (((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2, 2)), ((1, 3), (4, 2, 3)), ((2, 3), (2, 3))):
        x = np.arange(int(np.prod(shape))).reshape(shape)
        whole_x = np.broadcast_to(x, wide)
        for flat in range(x.size):
            expected = [list(map(int, i)) for i in np.argwhere(whole_x == flat)]
            assert call("widened(...arguments)", flat, list(shape), list(wide)) == expected
        for index in np.ndindex(wide):
            assert call("narrowed(...arguments)", list(index), list(shape)) == int(whole_x[index])
    parts = [["of", "dz"], ["text", " · "], ["of", "x"], ["text", "²"]]
    line = {"parts": parts, "kind": "elements"}
    arrays = {"dz": {"shape": [], "data": [2]}, "x": {"shape": [2], "data": [-1, 3]}}
    found = call("spellElement(arguments[0], arguments[1], {shape: [2]}, 0, String).text", line, arrays)
    assert found == "2 · (-1)²"


def test_keyboard_list_is_one_stop_and_the_panel_keeps_its_arrows(browser, pages):
    browser.open(pages("neuron"), "#step=2")
    assert browser.run("return document.querySelectorAll('.row[tabindex=\"0\"]').length") == 1
    browser.run("document.getElementById('panel').focus()")
    browser.keys("ArrowDown")
    assert browser.run("return document.activeElement.id") == "panel"
    browser.run("document.querySelector('.row[tabindex=\"0\"]').focus()")
    browser.keys("ArrowUp")
    assert browser.run("return document.activeElement.className").startswith("row")


def test_nudges_hold_the_gradient_against_the_loss(browser, pages, recorders):
    browser.open(pages("neuron"), "#step=5")
    browser.click("#row-leaf-1")
    assert browser.text(".promise") == "w1 from \u22123 to \u22122.9: the gradient promises +0.1, really +0.0866"
    browser.run("const n = document.getElementById('nudge'); n.value = -2; n.dispatchEvent(new Event('input'))")
    assert browser.text(".promise").startswith(
        "w1 from \u22123 to \u22123.2: the gradient promises \u22120.2, really \u2212"
    )
    browser.open(pages("matrices"), "#step=3")
    browser.click("#row-leaf-0")
    browser.run("document.querySelector('figure[data-role=leaf] td[data-at=\"4\"]').click()")
    assert browser.text(".promise").startswith("A[1, 1] from ")


def test_a_nudge_is_what_the_program_itself_would_have_come_to():
    def loss_of(w):
        return ((mg.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=mg.float64) @ w).tanh() ** 2).sum()

    recording = trace(live=True)
    w = mg.tensor([0.3, -0.04], dtype=mg.float64, requires_grad=True)
    with recording:
        loss_of(w).backward()
    replay = Replay(recording.recorder).backward()
    found = explore(recording.recorder, replay.gradients)
    assert len(found) == 2 and found[0].gradient == pytest.approx(w.grad[tuple(found[0].index)].item())
    for nudge in found:
        for k, loss in enumerate(nudge.losses, -5):
            moved = w.detach().numpy().copy()
            moved[tuple(nudge.index)] += k * nudge.step
            assert loss == pytest.approx(loss_of(mg.tensor(moved)).item(), rel=1e-12)
    assert step_of(np.array(-3.0), ()) == pytest.approx(0.1) and step_of(np.zeros(3), (0,)) == 0.1
    assert Rerun(recording.recorder).loss(found[0].tensor, w.detach().numpy()) == pytest.approx(loss_of(w).item())


def test_the_script_is_a_map(browser, pages, recorders):
    t = recorders["loop"].trace
    number = next(i for i, s in enumerate(t.passes[0].steps, 1) if t.ops[s.op].source.turn == 3)
    browser.open(pages("loop"), f"#step={number}")
    assert "iteration 3 of 5" in browser.text("#panel .source")
    browser.click("#tab-script")
    assert "h = (h @ w).tanh()" in browser.text(".line.active") and "iteration 3 of 5" in browser.text(".line.active")
    assert browser.run("return document.querySelectorAll('.listing .line').length") == len(
        PROGRAMS["loop"].splitlines()
    )
    browser.click(".line.active")
    assert browser.text(".line.stop .number") == "6"
    browser.keys("Home", "c")
    assert "(breakpoint)" in browser.text("#said") and "tanh" in browser.text("#said")


def test_the_picture_steps(browser, pages, recorders):
    browser.open(pages("neuron"), "#step=2")
    browser.click("#tab-picture")
    boxes = (
        "return [...document.querySelectorAll('.node')].map(n => [n.classList.contains('filled'), "
        "...[...n.querySelectorAll('text')].map(t => t.textContent)])"
    )
    filled = {name: grad for full, name, grad in browser.run(boxes) if full}
    assert filled == {"o": "1", "n": "0.5", "x1 * w1 + x2 *\u2026": "0.5", "b": "0.5"}
    assert browser.run("return [...document.querySelectorAll('.carried')].map(t => t.textContent)") == ["0.5", "0.5"]
    assert browser.run("return document.querySelectorAll('.edge').length") == 9
    assert browser.run("return document.querySelectorAll('.edge.lit').length") == 2
    browser.run("[...document.querySelectorAll('.node')].find(n => n.textContent.includes('x2 * w2'))"
                ".dispatchEvent(new Event('click'))")  # fmt: skip
    assert browser.text("#tab-picture[aria-selected=true]") == "Picture"
    browser.open(pages("loop"), "#step=1")
    t = recorders["loop"].trace
    last = next(i for i, s in enumerate(t.passes[0].steps, 1) if any(g and g.before for g in s.grads))
    browser.run(f"location.hash = '#step={last}'; return new Promise(requestAnimationFrame)")
    browser.click("#tab-picture")
    assert any(" + " in text for *_, text in browser.run(boxes)), "a sum is shown as a sum"
    places = browser.run("return [...document.querySelectorAll('.node')].map(n => n.getAttribute('transform'))")
    assert len(set(places)) == len(places)


def test_passes_are_chosen_and_what_was_not_zeroed_is_red(browser, pages):
    path = pages("passes", which=range(3))
    browser.open(path)
    assert "not zeroed" not in browser.text("#panel")
    browser.run("location.hash = '#pass=3&step=0'")
    browser.until(lambda: browser.run("return document.getElementById('passes')?.value") == "2")
    browser.until(lambda: browser.run("return document.documentElement.dataset.ready") == "yes")
    assert browser.text("#panel p.bad") == "w.grad was not zeroed since pass 1: this pass adds to what it holds."


def test_numbers_that_are_not_finite_are_red(browser, pages):
    browser.open(pages("bad"), "#step=3")
    assert (
        browser.run("return [...document.querySelectorAll('.chip .bad')].map(c => c.innerText)[0]")
        == "1 of 3 not finite"
    )
    assert browser.run("return document.querySelectorAll('#panel td.bad').length") > 0


# Quiz and bugs


def answer(browser, i, text):
    browser.run(
        "const a = document.getElementById(`answer-${arguments[0]}`); a.value = arguments[1]; a.form.requestSubmit()",
        i,
        text,
    )


def test_a_quiz_hides_asks_hints_and_gives_a_code(browser, pages, recorders):
    browser.open(pages("neuron", quiz=True), "#step=1")
    assert "contribution" not in browser.text("#panel") and browser.text("#row-op-3 .chip") == "not yet computed"
    answer(browser, 0, "1")
    assert "still to be multiplied" in browser.text("#hint-0")
    answer(browser, 0, "-0.5")
    assert "the sign is not" in browser.text("#hint-0")
    answer(browser, 0, "0.5")
    assert "contribution to n" in browser.text("#panel") and "0.5" in browser.text("#row-op-3 .chip")
    browser.keys("ArrowRight")
    answer(browser, 0, "0.5")
    answer(browser, 1, "0.5")
    browser.run("location.hash = '#step=5'; return new Promise(requestAnimationFrame)")
    answer(browser, 0, "1")  # x1 gets 0.5 · w1; 1 is what goes to w1
    assert "factor is the other input" in browser.text("#hint-0")
    code = browser.text("#quiz code")
    assert "3 of 9 answered, 2 right at the first try" in browser.text("#quiz")
    t = recorders["neuron"].trace
    assert read_quiz_code(code, t, 0) == (2, 9)
    for bad in ("", "zz", code[:-1], code.replace("-", "0-", 1)):
        with pytest.raises(ValueError, match="no code of a quiz"):
            read_quiz_code(bad, t, 0)
    with pytest.raises(ValueError, match="no code of a quiz"):
        read_quiz_code(code, recorders["matrices"].trace, 0)
    assert fnv1a("") == "811c9dc5" and fnv1a("a") == "e40c292c"


def test_find_the_bug(browser, pages):
    path = pages("matrices")
    browser.open(path)
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)[1])["views"][0]
    browser.click("#tab-bugs")
    browser.run("Math.random = () => 0")
    browser.click("#hunt")
    bug = next(b for b in data["bugs"] if b["first"] is not None and b["steps"])
    assert bug["first"] > 0 and bug["says"] not in browser.text("#panel")
    assert not browser.run("return [...document.querySelectorAll('.chip')].some(c => c.innerText)"), (
        "the right run is hidden"
    )
    browser.click("#guess")
    assert "Here the numbers are still right" in browser.text("#panel")
    browser.run(f"location.hash = '#step={bug['first'] + 1}'; return new Promise(requestAnimationFrame)")
    browser.click("#guess")
    assert bug["says"] in browser.text("#panel") and "finite difference" in browser.text("#panel")


def test_the_judge_is_red_only_where_the_number_is_wrong(browser, recorders, tmp_path):
    def program():
        b = mg.tensor([[1.0, 2.0]], requires_grad=True)
        (mg.tensor([[1.0, 0.0], [0.0, 1.0]]) * 2 + b)[:1].sum().backward()

    recording = trace(4096, live=True)
    with recording:
        program()
    path = tmp_path / "shape.html"
    path.write_text(stepper_page(recording.recorder, "shape"), encoding="utf-8")
    report = with_bug("no-unbroadcast", recording.recorder)
    assert not report.judge.differs and "the same number, in the shape (2, 2) where (1, 2) is right" in str(
        report.judge
    )
    browser.open(path)
    browser.click("#tab-bugs")
    browser.run(
        "const s = document.getElementById('bug'); s.value = 'no-unbroadcast'; s.dispatchEvent(new Event('change'))"
    )
    assert browser.run("return document.querySelectorAll('table.judge .bad').length") == 0
    assert "what is wrong is the shape" in browser.text("#panel")


def masked_attention():
    mg.manual_seed(1)
    query, key, value = (mg.randn(3, 3, requires_grad=True) for _ in range(3))
    scores = (query @ key.T).masked_fill(mg.tensor(np.triu(np.ones((3, 3)), 1)) == 1, float("-inf"))
    return ((F.softmax(scores, dim=-1) @ value - 1) ** 2).sum()


@pytest.mark.parametrize(
    "name", ["not-zeroed", "wrong-axis", "mask-after-softmax", "not-transposed", "mean-for-sum", "detached", "sign"]
)
def test_each_mistake_bites_where_it_can(name):
    def program():
        if name == "sign":
            x = mg.tensor([1.0, 2.0], requires_grad=True)
            return ((1 - x) ** 2).sum()
        return masked_attention()

    recording = trace(live=True)
    with recording:
        program().backward()
    report = with_bug(name, recording.recorder)
    assert report.parts is not None and report.error is None
    judge = report.judge
    assert judge.right == pytest.approx(judge.slope, rel=1e-3) and judge.wrong != pytest.approx(judge.slope, rel=1e-2)
    quiet = trace(live=True)
    with quiet:
        x = mg.tensor(2.0, requires_grad=True)
        x.exp().backward()
    assert (with_bug(name, quiet.recorder).parts is None) == (name != "not-zeroed")


def test_a_fused_attention_masks_after_softmax_too():
    recording = trace(live=True)
    with recording:
        mg.manual_seed(0)
        query, key, value = (mg.randn(1, 4, 2, requires_grad=True) for _ in range(3))
        F.scaled_dot_product_attention(query, key, value, is_causal=True).pow(2).sum().backward()
    assert with_bug("mask-after-softmax", recording.recorder).parts is not None
    assert len(BUGS) == 12


# For everybody

STATES = {
    "start": ("neuron", "", []),
    "step": ("matrices", "#step=4", []),
    "leaf": ("matrices", "#step=4", ["#row-leaf-0"]),
    "picture": ("neuron", "#step=3", ["#tab-picture"]),
    "script": ("loop", "#step=4", ["#tab-script"]),
    "paths": ("neuron", "#step=2", ["#tab-paths"]),
    "bugs": ("matrices", "#step=4", ["#tab-bugs"]),
    "hunt": ("matrices", "#step=4", ["#tab-bugs", "#hunt"]),
    "bad": ("bad", "#step=3", []),
    "keys": ("neuron", "#step=1", ["#help"]),
}


def test_every_state_is_accessible_and_fits_a_phone(browser, pages):
    for number, (name, (program, hash, clicks)) in enumerate(STATES.items()):
        for width, height, dark in ((1280, 900, True), (390, 844, False)):
            with browser.seen(width, height, dark):
                browser.open(pages(program), hash)
                for selector in clicks:
                    browser.click(selector)
                assert browser.run("return document.documentElement.scrollWidth") <= width, name
                if dark or number % 2:
                    assert browser.barriers() == [], (name, width, dark)
