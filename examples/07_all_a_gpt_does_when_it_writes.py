"""Writing with a GPT, without the engine: the whole of inference in NumPy.

    x = words[ids] + positions                          (B, T, C)   what each token is, and where
    per block:
        n = norm(x); query, key, value = n @ W + b      (B, H, T, D)
        x = x + softmax(query @ keys.T / sqrt(D)) @ values @ Wo + bo   keys and values of all so far
        x = x + gelu(norm(x) @ W1 + b1) @ W2 + b2
    logits = norm(x) @ words.T                          (B, V)      for the token that follows

That is all that a GPT does when it writes; what trains it is the way back, which is not needed here. The code is
models/inference.py. This script trains a small GPT on a text that can be learned by heart, lets the page and the model
itself write the same text, compares their logits, and says what a token costs with each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import minigrad as mg
from minigrad import optim
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.inference import Page
from minigrad.tools.cli import natural_int, positive_int, run, verdict

TEXT = "the cat sat on the mat and the dog sat on the log. "
LETTERS = sorted(set(TEXT))
CONTEXT, START, LENGTH = 32, "the cat", 44


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=200, help="training steps; the text is right from 200 on")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def trained(steps: int) -> GPT:
    """A GPT that has read pieces of the text, over and over."""
    model = GPT(GPTConfig(len(LETTERS), CONTEXT, n_layer=2, n_head=2, n_embd=32))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    ids = [LETTERS.index(letter) for letter in TEXT * 2]
    for _ in range(steps):
        starts = mg.randint(0, len(TEXT), (8,)).tolist()
        pieces = mg.tensor([ids[start : start + CONTEXT + 1] for start in starts])
        _, loss = model(pieces[:, :-1], pieces[:, 1:])
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def written(logits_of: Callable[[np.ndarray], np.ndarray], length: int) -> tuple[str, float]:
    """The start, continued by the likeliest letter each time; and milliseconds per letter."""
    ids = np.array([[LETTERS.index(letter) for letter in START]])
    began = time.perf_counter()
    for _ in range(length):
        ids = np.concatenate([ids, logits_of(ids).argmax(-1)[:, None]], axis=1)
    return "".join(LETTERS[i] for i in ids[0]), 1e3 * (time.perf_counter() - began) / length


def main() -> int:
    options = arguments()
    mg.manual_seed(options.seed)
    model = trained(options.steps)
    page, caches = Page(model, batch=1), model.new_caches()

    @mg.no_grad()
    def by_model(ids: np.ndarray) -> np.ndarray:
        logits, _ = model(mg.tensor(ids[:, caches[0].length :]), caches=caches)
        return logits[:, -1].numpy()

    length = CONTEXT - len(START)  # within the context each token is read once
    text, ms = written(page.logits, length)
    same, model_ms = written(by_model, length)
    print(f"the page:   {text!r}\nthe model:  {same!r}")
    print(f"a letter takes {ms:.2f} ms on the page, {model_ms:.2f} ms through modules, tensors and ops")

    ids = np.array([[LETTERS.index(letter) for letter in TEXT[:CONTEXT]]])
    with mg.no_grad():
        difference = np.abs(Page(model, 1).logits(ids) - model(mg.tensor(ids))[0][:, -1].numpy()).max()
    print(f"largest difference of their logits after {TEXT[:CONTEXT]!r}: {difference:.1e}")

    longer, _ = written(Page(model, 1).logits, LENGTH)  # past the context the last 32 letters are read anew each time
    print(f"past the context of {CONTEXT}: {longer!r}")
    assert text == same
    assert difference < 1e-4
    return verdict((options.steps < 200 or longer in TEXT * 3, f"it has learned the text; it writes {longer!r}"))


if __name__ == "__main__":
    run(main)
