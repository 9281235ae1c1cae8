"""Train a T5 the way T5 was trained: text with holes in, what is missing out, and nobody has to label anything.

    python examples/train_span_corruption.py                 the Python language reference, one minute
    python examples/train_span_corruption.py --data my.txt   a text of yours

Of each window of text 15 % is cut out, in holes of three characters on average (Raffel et al. 2020, section 3.1.4):

    read   a <0> cat <1>t
    write  <0>red<1>sa<2>

The encoder sees both sides of a hole, the decoder what it has filled in so far. Ctrl-C ends the run after the step in
hand and writes the checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import optim
from minigrad.look.pages.run_page import save_run_page
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F
from minigrad.tools.capacity import check_sizes
from minigrad.tools.cli import natural_float, natural_int, positive_int, run, verdict
from minigrad.train.data import CharTokenizer, guessing_baselines, load_text
from minigrad.train.data.pairs import (
    END,
    PAD,
    SENTINELS,
    Pair,
    PairBatches,
    corrupt_spans,
    decode_texts,
    encode_texts,
    restore_spans,
)
from minigrad.train.settings import open_run, same_text
from minigrad.train.trainer import Trainer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="python-docs", help="python-docs, shakespeare, names, or a text file")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default: runs/spans.npz, or -2, -3, ...)")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="continue this run, with its settings")
    parser.add_argument("--steps", type=natural_int, help="stop after this many steps in all (default: 2000)")
    parser.add_argument("--batch-size", type=positive_int, default=32)
    parser.add_argument("--window", type=positive_int, default=64, help="characters of a text before it gets its holes")
    parser.add_argument("--n-layer", type=positive_int, default=2, help="layers of the encoder, and of the decoder")
    parser.add_argument("--n-head", type=positive_int, default=4)
    parser.add_argument("--n-embd", type=positive_int, default=64, help="channels; a multiple of --n-head")
    parser.add_argument("--warmup", type=positive_int, default=100, help="steps until the highest learning rate")
    parser.add_argument("--lr-factor", type=natural_float, default=1.0, help="multiplies the rates of the schedule")
    parser.add_argument("--eval-every", type=natural_int, default=0, help="steps between validations (0: 20 in all)")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--workers", type=positive_int, help="processes that share a batch (default: one per core)")
    return parser.parse_args()


def readable(text: str) -> str:
    """On one line, sentinels as numbers."""
    return "".join(f"<{SENTINELS.index(c)}>" if c in SENTINELS else c.replace("\n", " ") for c in text)


@mg.no_grad()
def cost_of_missing(model: T5, tokenizer: CharTokenizer, windows: list) -> float:
    """Mean cross-entropy of the missing characters alone: sentinels and the end are easily said."""
    frame = tokenizer.encode(PAD + END + "".join(c for c in SENTINELS if c in tokenizer.characters))
    model.eval()
    costs = []
    for x, y in windows:
        logits, _ = model(mg.tensor(x), mg.tensor(y))  # (B, T, V)
        each = F.cross_entropy(logits.transpose(1, 2), mg.tensor(y), reduction="none")  # (B, T)
        costs.append(each.numpy()[~np.isin(y, frame)])
    return float(np.concatenate(costs).mean())


def main() -> int:
    args = arguments()
    settings, out, checkpoint = open_run(args, "spans", steps=2000, workers=None)
    text = load_text(settings["data"])
    fingerprint = same_text(text, checkpoint)
    cut = len(text) - len(text) // 10
    if len(text) - cut < settings["window"]:
        raise ValueError(f"the tenth of {len(text):,} characters that is held out is shorter than --window")

    def draw(start: int, end: int, generator: mg.Generator) -> Pair:
        """Any window of text[start:end], with holes."""
        first = mg.randint(start, end - settings["window"] + 1, (1,), generator=generator).item()
        return corrupt_spans(text[first : first + settings["window"]], generator)

    # All windows are of one length and have the same number of holes: one of them shows which sentinels are needed.
    tokenizer = CharTokenizer.from_text(PAD + END + text + "".join(corrupt_spans(text[: settings["window"]])))
    seeds = (mg.Generator().manual_seed(settings["seed"] + i) for i in range(2))
    batches = PairBatches(lambda g: draw(0, cut, g), tokenizer, settings["batch_size"], next(seeds))
    held = PairBatches(lambda g: draw(cut, len(text), g), tokenizer, settings["batch_size"], next(seeds))
    windows = [next(held) for _ in range(10)]

    check_sizes(
        settings["n_layer"], settings["n_embd"], tokenizer.vocab_size, settings["batch_size"], settings["window"]
    )
    mg.manual_seed(settings["seed"])
    sizes = {key: settings[key] for key in ("n_layer", "n_head", "n_embd")}
    model = T5(T5Config(vocab_size=tokenizer.vocab_size, block_size=settings["window"] + 1, **sizes))
    optimizer = optim.Adam(model.parameters(), betas=(0.9, 0.98))
    schedule = optim.lr_scheduler.Noam(optimizer, settings["n_embd"], settings["warmup"], settings["lr_factor"])
    trainer = Trainer(
        model,
        optimizer,
        schedule,
        batches,
        lambda model, x, y: model(x, y)[1],
        extra={
            "config": vars(model.config),
            "tokenizer": tokenizer.state_dict(),
            "settings": settings,
            "text": fingerprint,
        },
        workers=settings["workers"],
        ignore_index=model.config.pad,
    )
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{settings['data']}: {len(text):,} characters, {tokenizer.vocab_size} different; {parameters:,} parameters")
    guesses = guessing_baselines(tokenizer.encode(text[:cut]), tokenizer.encode(text[cut:]), tokenizer.vocab_size)
    print("guessing a character costs (nats): " + ", ".join(f"{k} {v:.3f}" for k, v in guesses.items()))

    finished = trainer.fit(
        settings["steps"],
        windows=windows,
        eval_every=settings["eval_every"],
        checkpoint=out,
        curve=out.with_suffix(".csv"),
    )
    page, flow = out.with_suffix(".html"), trainer.flow.state_dict()
    save_run_page(page, out.stem, trainer.history, trainer.curves, settings=settings, flow=flow)
    if not finished:
        print(f"stopped at step {trainer.step}; continue with: python examples/train_span_corruption.py --resume {out}")
        return 130
    print(f"\nafter {trainer.step} steps, on text that was held out:")
    for _ in range(4):
        source, target = held.draw(held.generator)
        ids = model.generate(mg.tensor(encode_texts([source], tokenizer)), settings["window"])
        (answer,) = decode_texts(ids.numpy(), tokenizer)
        for name, line in (("read", source), ("written", answer), ("missing", target)):
            print(f"  {name:8} {readable(line)}")
        print(f"  restored {readable(restore_spans(source, answer))}\n")
    final = trainer.final_loss(windows)
    missing = cost_of_missing(model, tokenizer, windows)
    print(f"validation loss {final:.3f} per token, {missing:.3f} per missing character;", end=" ")
    print(f"checkpoint {out}, page {out.with_suffix('.html')}")
    if settings["steps"] >= 100:
        beats = f"a trained T5 beats unigram guessing, {missing:.3f} < {guesses['unigram']:.3f}; more steps help"
        return verdict((missing < guesses["unigram"], beats))
    return 0


if __name__ == "__main__":
    run(main)
