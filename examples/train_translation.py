"""Train a T5 to translate numbers, letter by letter: "forty-two" in, "zweiundvierzig" out.

    python examples/train_translation.py                       numbers below 10,000; needs num2words
    python examples/train_translation.py --positions rotary    another way to know the order of letters
    python examples/train_translation.py --resume runs/translation.npz

A tenth of the numbers is held out. German says the units before the tens, and the weights of cross-attention show it:
while the decoder writes "zwei" it looks at "two", at the end of the source, then it goes back to "forty" for "vierzig".
Beside the checkpoint a run leaves its curve (.csv) and a page (.html) with curves and translations over time.
Ctrl-C ends the run after the step in hand and writes the checkpoint; --resume continues it exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import minigrad as mg
from minigrad import optim
from minigrad.look.pages.heads import attention_layers
from minigrad.look.pages.run_page import save_run_page
from minigrad.models.beam_search import beam_search
from minigrad.models.parts import ATTENTIONS, POSITIONS
from minigrad.models.t5 import T5, T5Config
from minigrad.tools.capacity import check_fits, check_sizes
from minigrad.tools.cli import natural_float, natural_int, positive_int, run, verdict
from minigrad.train.data import CharTokenizer, guessing_baselines
from minigrad.train.data.pairs import END, PAD, Pair, PairBatches, decode_texts, encode_texts, number_words
from minigrad.train.settings import open_run, same_text
from minigrad.train.trainer import Trainer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=positive_int, default=10_000, help="translate the numbers below this one")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default: runs/translation.npz, or -2, -3, ...)")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="continue this run, with its settings")
    parser.add_argument("--steps", type=natural_int, help="stop after this many steps in all (default: 2000)")
    parser.add_argument("--batch-size", type=positive_int, default=32)
    parser.add_argument("--n-layer", type=positive_int, default=2, help="layers of the encoder, and of the decoder")
    parser.add_argument("--n-head", type=positive_int, default=4)
    parser.add_argument("--n-embd", type=positive_int, default=64, help="channels; a multiple of --n-head")
    parser.add_argument("--positions", choices=POSITIONS, default="relative")
    parser.add_argument("--attention", choices=ATTENTIONS, default="full", help="of the encoder")
    parser.add_argument("--dropout", type=natural_float, default=0.0)
    parser.add_argument("--label-smoothing", type=natural_float, default=0.1)
    parser.add_argument("--warmup", type=positive_int, default=100, help="steps until the highest learning rate")
    parser.add_argument(
        "--lr-factor", type=natural_float, default=0.4, help="multiplies the schedule of learning rates"
    )
    parser.add_argument("--grad-clip", type=natural_float, default=1.0, help="largest gradient norm; 0 for no limit")
    parser.add_argument("--eval-every", type=natural_int, default=0, help="steps between validations (0: 20 in all)")
    parser.add_argument("--save-every", type=natural_float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--travel", type=natural_int, default=0, metavar="N", help="keep the state every N steps")
    parser.add_argument("--beams", type=positive_int, default=4, help="of the beam search at the end")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--workers", type=positive_int, help="processes that share a batch (default: one per core)")
    return parser.parse_args()


def held_out(pairs: list[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """Nine tenths to train on and one tenth to examine, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    count = len(pairs) // 10
    return [pairs[i] for i in order[count:]], [pairs[i] for i in order[:count]]


def translate(model: T5, tokenizer: CharTokenizer, texts: list[str], beams: int | None = None) -> list[str]:
    """Greedily, or by beam search."""
    longest = model.config.block_size
    answers: list[str] = []
    for start in tqdm(range(0, len(texts), 100), desc="translating", leave=False, disable=len(texts) <= 100):
        source = mg.tensor(encode_texts(texts[start : start + 100], tokenizer))  # (B, S)
        ids = model.generate(source, longest) if beams is None else beam_search(model, source, longest, beams)[0]
        answers += decode_texts(ids.numpy(), tokenizer)
    return answers


def looks(model: T5, tokenizer: CharTokenizer, pair: Pair) -> np.ndarray:
    """Where each layer of the decoder looks in the source, the mean over its heads: (layers, T, S)."""
    layers = attention_layers(model, [mg.tensor(encode_texts([text], tokenizer)) for text in pair])
    return np.stack([layer.weights.mean(0) for layer in layers if layer.kind == "cross"])


def swaps(model: T5, tokenizer: CharTokenizer, pairs: list[Pair]) -> np.ndarray:
    """At the first letter of the units / the tens, the weight on the English units / tens: (layers, 2, 2).

    The mean over pairs with a hyphen and an "und".
    """
    tables = []
    for source, target in pairs:
        weights, hyphen = looks(model, tokenizer, (source, target)), source.index("-")
        units, tens = weights[..., hyphen + 1 : len(source)].sum(-1), weights[..., :hyphen].sum(-1)  # (layers, T)
        tables.append([[units[:, t], tens[:, t]] for t in (0, target.index("und") + 3)])
    return np.mean(tables, axis=0).transpose(2, 0, 1)


def show_look(weights: np.ndarray, source: str, target: str) -> None:
    """A line for each letter written, with the weight on each letter of the source in percent."""
    print("      " + "".join(f"{letter:>4}" for letter in [*source, "end"]))
    for letter, row in zip([*target, "end"], weights, strict=True):
        print(f"{letter:>6}" + "".join(f"{100 * weight:4.0f}" if weight >= 0.01 else "   ." for weight in row))


def main() -> int:
    args = arguments()
    settings, out, checkpoint = open_run(args, "translation", steps=2000, workers=None)
    if args.travel:
        settings["workers"] = 1  # the places of a batch that workers share cannot be told apart
    if settings["numbers"] < 100:
        raise ValueError(f"--numbers must be at least 100, got {settings['numbers']}")

    check_fits(200 * settings["numbers"], f"a list of {settings['numbers']:,} numbers in words")
    pairs = number_words(range(settings["numbers"]))
    fingerprint = same_text("\n".join(map("\t".join, pairs)), checkpoint)
    train, held = held_out(pairs, settings["seed"])
    tokenizer = CharTokenizer.from_text(PAD + END + "".join(source + target for source, target in pairs))
    config = T5Config(
        vocab_size=tokenizer.vocab_size,
        block_size=max(len(text) for pair in pairs for text in pair) + 1,
        **{key: settings[key] for key in ("n_layer", "n_head", "n_embd", "positions", "attention", "dropout")},
    )
    check_sizes(config.n_layer, config.n_embd, config.vocab_size, settings["batch_size"], config.block_size)
    mg.manual_seed(settings["seed"])
    model = T5(config)
    optimizer = optim.Adam(model.parameters(), betas=(0.9, 0.98))
    schedule = optim.lr_scheduler.Noam(optimizer, config.n_embd, settings["warmup"], settings["lr_factor"])
    batches = PairBatches(
        lambda generator: train[mg.randint(0, len(train), (1,), generator=generator).item()],
        tokenizer,
        settings["batch_size"],
        mg.Generator().manual_seed(settings["seed"]),
    )
    windows = [tuple(encode_texts(texts, tokenizer) for texts in zip(*held[:500], strict=True))]
    trainer = Trainer(
        model,
        optimizer,
        schedule,
        batches,
        lambda model, x, y: model(x, y, settings["label_smoothing"] if model.training else 0.0)[1],
        grad_clip=settings["grad_clip"],
        extra={"config": vars(config), "tokenizer": tokenizer.state_dict(), "settings": settings, "text": fingerprint},
        workers=settings["workers"],
        ignore_index=config.pad,
    )
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)

    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(train):,} numbers to learn and {len(held):,} held out, of {tokenizer.vocab_size} letters", end="; ")
    print(f"{parameters:,} parameters")
    letters = [tokenizer.encode("".join(target + END for _, target in part)) for part in (train, held)]
    guesses = guessing_baselines(*letters, tokenizer.vocab_size)
    print("validation loss (nats per letter) of guessing: " + ", ".join(f"{k} {v:.3f}" for k, v in guesses.items()))

    finished = trainer.fit(
        settings["steps"],
        windows=windows,
        eval_every=settings["eval_every"],
        checkpoint=out,
        save_every=args.save_every,
        travel=args.travel,
        curve=out.with_suffix(".csv"),
        probe=lambda: {"sample": "\n".join(translate(model, tokenizer, [source for source, _ in held[:8]]))},
    )
    page, flow = out.with_suffix(".html"), trainer.flow.state_dict()
    save_run_page(page, out.stem, trainer.history, trainer.curves, guesses, settings, flow)
    if not finished:
        print(f"stopped at step {trainer.step}; continue with: python examples/train_translation.py --resume {out}")
        return 130

    sources, targets = zip(*held, strict=True)
    greedy = translate(model, tokenizer, sources)
    searched = translate(model, tokenizer, sources, args.beams)
    print(f"\nheld-out numbers after {trainer.step} steps:")
    answers = list(zip(sources, targets, greedy, strict=True))
    wrong = [row for row in answers[8:] if row[1] != row[2]]
    for source, target, answer in answers[:8] + wrong[:8]:
        print(f"  {source:<{config.block_size}} {answer}")
        if answer != target:
            print(f"  {'':<{config.block_size}} {target} is right")
    exact, exact_beams = (np.mean([*map(str.__eq__, texts, targets)]) for texts in (greedy, searched))
    print(f"exactly right: {exact:.1%}, with {args.beams} beams {exact_beams:.1%}\n")

    swap = swaps(model, tokenizer, [pairs[n] for n in range(21, 100) if n % 10])  # (layers, 2, 2)
    # the layer whose look changes sides most
    layer = int((swap[:, 0, 0] - swap[:, 0, 1] + swap[:, 1, 1] - swap[:, 1, 0]).argmax())
    print(f"where layer {layer + 1} of the decoder looks while it writes, the mean of its heads in percent:")
    show_look(looks(model, tokenizer, pairs[42])[layer], *pairs[42])
    print("\nfrom 21 to 99, at the first letter of   weight on the English units   on the English tens")
    for name, (units, tens) in zip(("units", "tens"), swap[layer], strict=True):
        print(f"{f'the German {name}':>37} {units:29.0%} {tens:21.0%}")
    val_loss = trainer.history[-1]["val_loss"] if trainer.history else trainer.evaluate(windows)
    print(f"validation loss {val_loss:.3f}; checkpoint {out}, page {out.with_suffix('.html')}")
    claims = []
    if trainer.step >= 200:
        beats = f"a trained T5 beats bigram guessing, {val_loss:.3f} < {guesses['bigram']:.3f}; more steps help"
        claims.append((val_loss < guesses["bigram"], beats))
    if trainer.step >= 300:
        claims.append((swap[layer, 0, 0] > swap[layer, 0, 1], "the German units look at the English units"))
        claims.append((swap[layer, 1, 1] > swap[layer, 1, 0], "the German tens look at the English tens"))
    if trainer.step >= 2000 and settings["numbers"] >= 10_000 and settings["positions"] == "relative":
        claims.append((exact >= 0.99, f"99 % of held-out numbers are right; here {exact:.1%}"))
    return verdict(*claims)


if __name__ == "__main__":
    run(main)
