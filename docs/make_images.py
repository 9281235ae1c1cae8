"""Writes the pictures that README and docs show: ``python docs/make_images.py [FOLDER]`` (default: docs/images).

Takes a minute: a GPT is trained for the picture of its attention. The pages are photographed in Chromium through
Selenium (``pip install selenium``, and the system's chromium and chromedriver).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

import minigrad as mg
from minigrad import optim
from minigrad.look.pages.attention_page import attention
from minigrad.look.pages.graph_page import Graph, graph
from minigrad.look.pages.stepper_page import LIMIT, stepper_page
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.train.data import CharTokenizer, RandomBatches, load_text
from minigrad.train.trainer import Trainer


def neuron() -> Graph:
    """One neuron, number by number."""
    x1, x2 = mg.tensor(2.0, requires_grad=True), mg.tensor(0.0, requires_grad=True)
    w1, w2 = mg.tensor(-3.0, requires_grad=True), mg.tensor(1.0, requires_grad=True)
    b = mg.tensor(6.8814, requires_grad=True)
    with mg.trace() as record:
        n = x1 * w1 + x2 * w2 + b
        o = n.tanh()
        o.backward()
    return Graph.from_trace(record, legend=False)


def gpt(level: str) -> Graph:
    """A GPT of four blocks: its modules, or its ops with the sizes of their gradients."""
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=65))
    ids = mg.randint(0, 65, (12, 64))
    if level == "module":
        loss = model(ids, ids)[1]
        return graph(loss, level, model=model, legend=False)
    with mg.trace() as record:
        loss = model(ids, ids)[1]
        loss.backward()
    return Graph.from_trace(record, level)


def derivative() -> Graph:
    """The gradient of a tanh, as the computation that it is."""
    x = mg.tensor([0.5, -1.0], requires_grad=True)
    y = x.tanh()
    (g,) = mg.autograd.grad(y.sum(), x, create_graph=True)
    return graph(g, "op", legend=False, variables={"x": x, "g": g})


def stepped() -> str:
    """The page that steps through the backward pass of a small GPT."""
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=9, block_size=6, n_layer=2, n_head=2, n_embd=8))
    with (recording := mg.trace(LIMIT, live=True)):
        _, loss = model(mg.tensor([[1, 5, 3, 8, 2, 0]]), mg.tensor([[5, 3, 8, 2, 0, 4]]))
        loss.backward()
    return stepper_page(recording.recorder, "a small GPT")


def attended() -> str:
    """The page that looks into the attention of a GPT after 400 steps on the language reference."""
    mg.manual_seed(0)
    text = load_text("python-docs")
    tokenizer = CharTokenizer.from_text(text)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size))
    batches = RandomBatches(tokenizer.encode(text), 12, 64, mg.Generator().manual_seed(0))
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    Trainer(model, optimizer, None, batches, lambda model, x, y: model(x, y)[1]).fit(400)
    return attention(model, "the value of the name", tokenizer=tokenizer).html()


def photograph(page: str, picture: Path, size: tuple[int, int], hash: str = "", keys: str = "") -> None:
    """What Chromium shows of a page, after some keys."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(argument)
    with tempfile.TemporaryDirectory() as folder, webdriver.Chrome(options=options, service=service) as driver:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        driver.get(file.as_uri() + hash)
        for key in keys:
            ActionChains(driver).send_keys(key).perform()
        driver.save_screenshot(str(picture))


def main(folder: Path) -> None:
    """Make all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"neuron": neuron(), "gradient": derivative(), "gpt": gpt("module"), "gpt-ops": gpt("op")}
    for name, picture in drawn.items():
        print(picture.save(folder / f"graph-{name}.svg"))
    photograph(stepped(), folder / "stepper.png", (1280, 860), hash="#step=14")
    photograph(attended(), folder / "attention.png", (1280, 860), keys="\ue015\ue007")  # down, enter: open a head
    print(folder / "stepper.png", folder / "attention.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
