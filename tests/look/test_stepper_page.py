"""The stepper's page in a real browser: it steps, its numbers are the engine's, and it needs nothing but itself."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.look.pages import stepper_page as stepper_file
from minigrad.look.pages.stepper_page import LIMIT, layout, stepper_page
from minigrad.look.recording import trace
from minigrad.look.spelled import shown as shown_name
from minigrad.models.gpt import GPT, GPTConfig

pytest_plugins = ["browser"]


def neuron():
    x = mg.tensor([[2.0, 3.0], [1.0, -1.0], [0.5, 2.0]])
    w = mg.tensor([0.5, -0.25], requires_grad=True)
    b = mg.tensor(0.1, requires_grad=True)
    score = x @ w + b
    y = score.tanh()
    loss = (score * y).sum()
    loss.backward()
    return w, b


def gpt(**sizes):
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=7, block_size=8, **{"n_layer": 2, "n_head": 2, "n_embd": 4, **sizes}))
    ids = mg.randint(0, 7, (2, 8))
    loss = model(ids, ids)[1]
    loss.backward()
    return model


def recorded(program, limit=LIMIT):
    recording = trace(limit=limit, live=True)
    with recording:
        result = program()
    return recording.recorder, result


@pytest.fixture(scope="module")
def neuron_page(tmp_path_factory):
    recorder, leaves = recorded(neuron)
    path = tmp_path_factory.mktemp("page") / "a neuron.html"
    path.write_text(stepper_page(recorder, "neuron.py"), encoding="utf-8")
    return path, recorder.trace, leaves


@pytest.fixture(scope="module")
def gpt_page(tmp_path_factory):
    recorder, model = recorded(gpt)
    path = tmp_path_factory.mktemp("page") / "gpt.html"
    path.write_text(stepper_page(recorder, "gpt"), encoding="utf-8")
    return path, recorder.trace, model


def step_of(browser):
    found = re.match(r"Step (\d+) of", browser.text("#said"))
    return int(found[1]) if found else 0


def data_of(text):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    return data["views"][0]


def chips(browser):
    return browser.run(
        "return Object.fromEntries([...document.querySelectorAll('.row:not(.group)')]"
        ".map(r => [r.id.slice(4), r.querySelector('.chip').innerText]))"
    )


def shown(browser, caption):
    """The numbers of the figure with this caption: as text, row by row."""
    return browser.run(
        "const f = [...document.querySelectorAll('#panel figure')].find(f => f.innerText.startsWith(arguments[0]));"
        "return [...f.querySelectorAll('td, .big')].map(c => c.innerText)",
        caption,
    )


def numbers(texts):
    return [float(t) for t in texts]


def test_the_browser_notices_errors_and_requests(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<script>console.error('planted')</script><img src='http://127.0.0.1:9/x.png'>", encoding="utf-8")
    browser.open(path)
    found: list[str] = []
    expected = ("planted", "a request to http://127.0.0.1:9/x.png", "ERR_")  # the last: that nobody answered it
    browser.until(lambda: found.extend(browser.complaints()) or all(e in " ".join(found) for e in expected))
    path.write_text("<p>good</p>", encoding="utf-8")
    browser.open(path)
    assert browser.complaints() == []


def test_keys_step_and_the_place_is_in_the_address(browser, neuron_page):
    path, record, _ = neuron_page
    steps = len(record.passes[0].steps)
    browser.open(path)
    assert browser.text("#said").startswith(f"Before the first of {steps} steps")
    browser.keys("ArrowRight", "ArrowRight")
    assert browser.text("#said") == f"Step 2 of {steps}: mul sends gradients to score and y"
    assert browser.run("return location.hash") == "#step=2"
    for key, expected in (("ArrowLeft", 1), ("End", steps), ("ArrowRight", steps), ("Home", 0), ("ArrowLeft", 0)):
        browser.keys(key)
        assert step_of(browser) == expected
    browser.open(path, "#step=3")
    assert step_of(browser) == 3
    assert "score.tanh()" in browser.text("#panel .source") and "test_stepper_page.py" in browser.text("#panel .source")
    assert browser.run("return document.querySelectorAll('#panel .formulas math').length") == 2
    browser.run("location.hash = '#step=1'")
    browser.run("return new Promise(requestAnimationFrame)")
    assert step_of(browser) == 1


def test_play_and_pause(browser, neuron_page):
    browser.open(neuron_page[0])
    browser.run("window.realInterval = setInterval; window.setInterval = (f) => realInterval(f, 5)")
    browser.keys(" ")
    for _ in range(200):
        if step_of(browser) == 5:
            break
    assert step_of(browser) == 5 and browser.text("#play") == "Play"
    browser.run("window.setInterval = window.realInterval")
    browser.keys(" ")
    assert browser.text("#play") == "Pause"
    browser.keys(" ")
    assert browser.text("#play") == "Play"


def test_what_is_not_reached_says_so_and_never_0(browser, neuron_page):
    path, record, _ = neuron_page
    browser.open(path)
    arrived = {}
    for number, step in enumerate(record.passes[0].steps, 1):
        for grad in step.grads:
            if grad is not None:
                made_by = record.tensors[grad.tensor].made_by
                arrived.setdefault(f"leaf-{grad.tensor}" if made_by is None else f"op-{made_by}", number)
    root = f"op-{record.tensors[record.passes[0].root].made_by}"
    for number in range(len(record.passes[0].steps) + 1):
        for row, text in chips(browser).items():
            reached = row == root or arrived[row] <= number
            assert (text == "not yet computed") != reached, (number, row, text)
            assert "grad" in text or not reached
        browser.keys("ArrowRight")
    assert "= 0.1" in browser.text("#rows"), "values of the forward pass are there from the start"


def test_the_numbers_are_the_engines(browser, neuron_page):
    path, record, (w, b) = neuron_page
    browser.open(path)
    seen = 0
    for step in record.passes[0].steps:
        browser.keys("ArrowRight")
        assert numbers(shown(browser, "dz, the gradient")) == pytest.approx(step.dz.data, rel=5e-4)
        for grad in step.grads:
            if grad is None:
                continue
            seen += 1
            label = shown_name(record, grad.tensor)
            part = (
                "const s = [...document.querySelectorAll('#panel section.input')].find(s => s.innerText.includes("
                "'contribution to ' + arguments[0]));"
                "return [...s.querySelectorAll('figure')].map(f => [f.querySelector('figcaption').innerText,"
                "[...f.querySelectorAll('td, .big')].map(c => c.innerText), f.innerText, s.innerText])"
            )
            figures = browser.run(part, label)
            by_caption = {caption: (cells, text) for caption, cells, text, _ in figures}

            def cells(start, by_caption=by_caption):
                return next(v for k, v in by_caption.items() if k.startswith(start))

            assert numbers(cells(f"contribution to {label}")[0]) == pytest.approx(grad.contribution.data, rel=5e-4)
            about = f"{label}.grad" if label in "wb" else f"gradient of {label}"
            assert numbers(cells(f"{about} after")[0]) == pytest.approx(grad.after.data, rel=5e-4)
            if grad.before is None:
                assert "not yet computed" in cells(f"{about} before")[1]
            else:
                assert numbers(cells(f"{about} before")[0]) == pytest.approx(grad.before.data, rel=5e-4)
            assert ("awaited" in figures[0][3]) == (grad.waiting > 0) != ("complete" in figures[0][3])
        if record.ops[step.op].op == "tanh":
            slope = numbers(shown(browser, "local derivative"))
            assert np.multiply(slope, step.dz.data) == pytest.approx(step.grads[0].contribution.data, rel=1e-3)
    assert seen == sum(g is not None for s in record.passes[0].steps for g in s.grads) > 5
    finals = {g.tensor: g.after for step in record.passes[0].steps for g in step.grads if g is not None}
    texts = chips(browser)
    for tensor, after in finals.items():
        made_by = record.tensors[tensor].made_by
        said = texts[f"leaf-{tensor}" if made_by is None else f"op-{made_by}"].split()[1]
        assert float(said) == pytest.approx(after.norm if after.shape else after.data[0], rel=5e-4)
    named = {record.label(tensor): after.data for tensor, after in finals.items()}
    assert np.float32(named["b"]) == b.grad.numpy() and (np.float32(named["w"]) == w.grad.numpy()).all()


def test_breakpoints_stop_continue_and_play(browser, gpt_page):
    path, record, _ = gpt_page
    browser.open(path)
    steps = [s.op for s in record.passes[0].steps]
    attention = [i for i, op in enumerate(steps, 1) if record.ops[op].op == "scaled_dot_product_attention"]
    assert len(attention) == 2
    for number in attention[:2]:
        browser.run("location.hash = '#step=' + arguments[0]; return new Promise(requestAnimationFrame)", number)
        browser.keys("b")
    browser.keys("Home", "c")
    assert step_of(browser) == attention[0]
    browser.keys("c")
    assert step_of(browser) == attention[1]
    browser.keys("c")
    assert step_of(browser) == len(steps)
    browser.run("location.hash = '#step=' + arguments[0]; return new Promise(requestAnimationFrame)", attention[0])
    assert "(breakpoint)" in browser.text("#said")
    browser.keys("b", "Home", "c")
    assert step_of(browser) == attention[1], "cleared"
    browser.run("const real = window.setInterval; window.setInterval = (f) => real(f, 2)")
    browser.keys("Home", " ")
    for _ in range(300):
        if browser.text("#play") == "Play":
            break
    assert step_of(browser) == attention[1]


def test_modules_fold_search_and_the_next_module(browser, gpt_page):
    path, record, _ = gpt_page
    browser.open(path)
    folded = browser.run(
        "return [...document.querySelectorAll('.row.group[aria-expanded=false]')].filter(r => r.offsetHeight)"
        ".map(r => r.querySelector('b').innerText)"
    )
    assert folded == ["blocks.0", "blocks.1"]
    browser.keys("/")
    browser.run("const q = document.getElementById('query'); q.value = 'blocks.1 expand.weight';"
                "q.dispatchEvent(new Event('input'))")  # fmt: skip
    browser.keys("Enter")
    assert "blocks.1.mlp.expand.weight" in browser.text("#panel h2") and "not yet computed" in browser.text("#panel")
    assert browser.run("return document.activeElement.offsetHeight") > 0, "unfolded, and has the focus"
    browser.keys("ArrowUp")
    assert "Backward comes here at" in browser.text("#panel") and "expand" in browser.text("#panel h2")
    browser.keys("ArrowDown", "ArrowDown")
    assert "blocks.1.mlp.expand.bias" in browser.text("#panel h2")
    browser.keys("b", "c")  # a breakpoint on a parameter: where its gradient arrives
    assert "blocks.1.mlp.expand" in browser.text("#said")
    modules = [record.ops[s.op].module for s in record.passes[0].steps]
    before = step_of(browser)
    browser.keys("m")
    after = step_of(browser)
    assert after > before and modules[after - 1] != modules[before - 1]
    assert all(m == modules[before - 1] for m in modules[before - 1 : after - 1])
    browser.keys("?")
    assert browser.run("return document.getElementById('keys').open")


def test_larger_arrays_by_slices(browser, gpt_page):
    path, record, _ = gpt_page
    number = next(
        i for i, s in enumerate(record.passes[0].steps, 1) if record.ops[s.op].op == "scaled_dot_product_attention"
    )
    dz = record.passes[0].steps[number - 1].dz
    array = np.array(dz.data).reshape(dz.shape)  # (2, 2, 8, 2)
    browser.open(path, f"#step={number}")
    assert numbers(shown(browser, "dz, the gradient")) == pytest.approx(array[0, 0].ravel(), rel=5e-3)
    browser.run(
        "const i = document.querySelector('#panel input[aria-label=\"axis 1\"]'); i.value = 1;"
        "i.dispatchEvent(new Event('change'))"
    )
    assert numbers(shown(browser, "dz, the gradient")) == pytest.approx(array[0, 1].ravel(), rel=5e-3)


def test_paths_and_bugs(browser, neuron_page):
    path, _, (w, _) = neuron_page
    browser.open(path)
    browser.click("#tab-paths")
    assert browser.text("#panel").count("= gradient") == 1
    said = browser.text("#panel")
    assert float(re.search(r"= gradient (\S+)", said)[1]) == pytest.approx(w.grad[0].item(), rel=5e-4)
    assert "w[0]" in said and "tanh" in said
    browser.click("#tab-bugs")
    select = "const s = document.getElementById('bug'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))"
    browser.run("document.getElementById('bug').focus()")
    browser.run(select, "overwrite")
    said = browser.text("#panel")
    assert "finite difference" in said and "differs" in said and "gradient of score after" in said
    assert step_of(browser) == 3 and browser.run("return document.querySelector('.row.parts .op').innerText") == "tanh"
    browser.keys("ArrowLeft")
    assert browser.run("return document.activeElement.id") == "bug", "it has the focus, the arrow steps"
    assert "Up to here both agree." in browser.text("#panel")
    browser.run(select, "no-scale")
    assert "makes no difference" in browser.text("#panel")


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"</script><img src=x onerror=alert(1)>": nn.Linear(2, 1)})

    def forward(self, x):
        return self.parts["</script><img src=x onerror=alert(1)>"](x).sum()  # </script><img src=x onerror=alert(2)>


def test_odd_labels_stay_text(browser, tmp_path):
    def program():
        loss = Odd()(mg.ones(1, 2))  # <!-- </script><b>"'&amp;
        loss.backward()  # </script><img src=x onerror=alert(3)>

    recorder, _ = recorded(program)
    text = stepper_page(recorder, "</title><img src=x onerror=alert(4)>")
    path = tmp_path / "odd <b> é.html"
    path.write_text(text, encoding="utf-8")
    browser.open(path)
    assert "<img src=x onerror=alert(4)>" in browser.text("#title")
    assert "</script><img src=x onerror=alert(3)>" in browser.text("#panel")
    seen = set()
    for _ in recorder.trace.passes[0].steps:
        browser.keys("ArrowRight")
        seen.add("onerror=alert(1)" in browser.text("#said"))
        assert browser.run("return document.querySelectorAll('img, #panel b').length") == 0
    assert True in seen


def test_without_arrays_the_page_says_so(browser, tmp_path):
    with trace() as t:
        neuron()
    path = tmp_path / "plain.html"
    path.write_text(stepper_page(t, "plain"), encoding="utf-8")
    browser.open(path, "#step=3")
    assert "step 3" in browser.text("#said").lower()
    for tab in ("#tab-paths", "#tab-bugs"):
        browser.click(tab)
        assert "kept no arrays" in browser.text("#panel")


def test_an_infinite_gradient_is_written():
    def program():
        x = mg.tensor([0.0, 4.0], requires_grad=True)
        x.sqrt().sum().backward()

    recorder, _ = recorded(program)
    first, second = data_of(stepper_page(recorder, "infinite"))["paths"]["elements"]
    assert (first["gradient"], first["paths"][0]["derivatives"]) == ("inf", ["inf", 1.0])
    assert first["paths"][0]["product"] == "inf" and second["gradient"] == 0.25


def test_a_run_that_writes_to_its_weights_midway_is_not_replayed():
    def program():
        w = mg.tensor([1.0, 2.0], requires_grad=True)
        first = w.sum()
        with mg.no_grad():
            w.mul_(3)
        (first + w.sum()).backward()

    recorder, _ = recorded(program)
    data = data_of(stepper_page(recorder, "midway"))
    assert "changed in place" in data["note"] and "changed in place" in data["paths"]["note"] and not data["bugs"]


def test_narrow_dark_and_print_have_nothing_cut_off(browser, gpt_page):
    browser.open(gpt_page[0], "#step=14")
    try:
        browser.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
        )
        assert browser.run("return document.documentElement.scrollWidth") <= 360
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert browser.run("return getComputedStyle(document.querySelector('.controls')).display") == "none"
        assert "Step 14" in browser.text("#said")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_controls_have_names_for_a_screen_reader(browser, gpt_page):
    browser.open(gpt_page[0])
    nameless = browser.run(
        "return [...document.querySelectorAll('button, select, input, nav, section, dialog')].filter(e => "
        "!(e.innerText.trim() || e.getAttribute('aria-label') || e.closest('label'))).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert browser.run("return document.getElementById('said').getAttribute('aria-live')") == "polite"


def test_the_page_is_small_and_the_same_for_the_same_run(monkeypatch):
    pages = []
    for _ in range(2):
        recorder, _ = recorded(lambda: gpt(n_layer=1))
        pages.append(stepper_page(recorder, "gpt"))
    assert pages[0] == pages[1]
    assert not re.search(r"(src|href)=|@import|https?://(?!www\.w3\.org)", pages[0].split('id="data"')[0])
    whole = data_of(pages[0])
    assert not any("corner" in item for item in whole["pool"])
    budget = len(json.dumps(whole, separators=(",", ":"))) * 5 // 6
    monkeypatch.setattr(stepper_file, "BUDGET", budget)
    data = data_of(stepper_page(recorder, "gpt"))
    assert len(json.dumps(data, separators=(",", ":"))) <= budget
    assert all(len(item.get("data") or []) <= data["limit"] for item in data["pool"])
    assert any("corner" in item for item in data["pool"])


def test_a_long_pass_is_cut_and_the_page_says_so(browser, tmp_path, monkeypatch):
    def program():
        x = mg.tensor(1.0, requires_grad=True)
        y = x
        for _ in range(40):
            y = y * 0.5 + x
        y.backward()

    monkeypatch.setattr(stepper_file, "MAX_STEPS", 25)
    recorder, _ = recorded(program)
    path = tmp_path / "long.html"
    path.write_text(stepper_page(recorder, "long"), encoding="utf-8")
    browser.open(path)
    assert "the first 25 of 80 steps" in browser.text("#subtitle")
    browser.keys("End")
    assert step_of(browser) == 25 and len(chips(browser)) == 26


def test_leaves_stand_before_their_first_use_and_all_ops_are_there():
    recorder, model = recorded(gpt)
    record = recorder.trace

    def flat(rows):
        for row in rows:
            yield from flat(row["rows"]) if "rows" in row else [row]

    rows = list(flat(layout([record.ops[n] for n in record.ancestors(record.passes[0].root)], record)))
    assert [r["op"] for r in rows if "op" in r] == [o.id for o in record.ops]
    assert len([r for r in rows if "leaf" in r]) == len(list(model.parameters()))
    for place, row in enumerate(rows):
        if "op" in row:
            leaves = [s.get("tensor") for s in record.ops[row["op"]].inputs]
            assert all(
                {"leaf": t} in rows[:place] for t in leaves if t is not None and record.tensors[t].kind == "parameter"
            )


def test_runs_without_backward_are_refused():
    with trace() as t:
        x = mg.ones(2, requires_grad=True)
        (x * 2).sum()
    with pytest.raises(ValueError, match=r"called no backward\(\)"):
        stepper_page(t, "none")
    with trace() as t:
        neuron()
    with pytest.raises(ValueError, match=r"no backward pass 2 .* 1 times"):
        stepper_page(t, "one", which=1)


def test_the_page_steps_inside_another_page(browser, neuron_page, tmp_path):
    """In a frame that may do nothing but run its script, and has no address of its own."""
    text = html.escape(neuron_page[0].read_text(encoding="utf-8"), quote=True)
    outer = tmp_path / "outer.html"
    outer.write_text(f'<iframe sandbox="allow-scripts" srcdoc="{text}"></iframe>', encoding="utf-8")
    browser.open(outer)
    browser.driver.switch_to.frame(0)
    browser.until(lambda: browser.run("return document.documentElement.dataset.ready === 'yes'"))
    before = browser.run("return document.getElementById('slider').value")
    browser.run("document.getElementById('next').click()")
    assert browser.run("return document.getElementById('slider').value") == str(int(before) + 1)
    assert step_of(browser) == int(before) + 1
    browser.driver.switch_to.default_content()
