"""Writes the pictures that README and docs show: ``python docs/make_images.py [FOLDER]`` (default: docs/images)."""

from __future__ import annotations

import sys
from pathlib import Path

import minigrad as mg
from minigrad.trace import trace
from minigrad.viz.graph import Graph, graph
from models.gpt import GPT, GPTConfig


def neuron() -> Graph:
    """One neuron, number by number."""
    x1, x2 = mg.tensor(2.0, requires_grad=True), mg.tensor(0.0, requires_grad=True)
    w1, w2 = mg.tensor(-3.0, requires_grad=True), mg.tensor(1.0, requires_grad=True)
    b = mg.tensor(6.8814, requires_grad=True)
    with trace() as record:
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
    with trace() as record:
        loss = model(ids, ids)[1]
        loss.backward()
    return Graph.from_trace(record, level)


def main(folder: Path) -> None:
    """Draw all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in (("graph-neuron", neuron()), ("graph-gpt", gpt("module")), ("graph-gpt-ops", gpt("op"))):
        print(drawn.save(folder / f"{name}.svg"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
