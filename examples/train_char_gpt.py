"""Train a small GPT on characters: real text in, text in its style out.

    python examples/train_char_gpt.py                      the Python language reference, about a minute
    python examples/train_char_gpt.py --data my.txt        a text of yours
    python examples/train_char_gpt.py --resume runs/python-docs.npz
    mpiexec -n 4 python examples/train_char_gpt.py         each batch shared by four processes, on one machine or many

Beside the checkpoint a run leaves its curve (.csv) and a page (.html) with curves, samples and attention over time.
Ctrl-C ends the run after the step in hand and writes the checkpoint; --resume continues it exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import minigrad as mg
from minigrad import optim
from minigrad.look.pages.heads import attention_layers
from minigrad.look.pages.run_page import save_run_page
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.speed import ranks as parallel
from minigrad.tools.capacity import check_sizes
from minigrad.tools.cli import natural_float, natural_int, positive_int, run, verdict
from minigrad.train.data import CharTokenizer, RandomBatches, eval_windows, guessing_baselines, load_text, split
from minigrad.train.settings import open_run, same_text
from minigrad.train.trainer import Trainer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="python-docs", help="python-docs, shakespeare, names, or a text file")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default: runs/<data>.npz, or -2, -3, ...)")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="continue this run, with its settings")
    parser.add_argument("--steps", type=natural_int, help="stop after this many steps in all (default: 1500)")
    parser.add_argument("--batch-size", type=positive_int, default=12)
    parser.add_argument("--block-size", type=positive_int, default=64, help="context length in characters")
    parser.add_argument("--n-layer", type=positive_int, default=4)
    parser.add_argument("--n-head", type=positive_int, default=4)
    parser.add_argument("--n-embd", type=positive_int, default=128, help="channels; a multiple of --n-head")
    parser.add_argument("--dropout", type=natural_float, default=0.0)
    parser.add_argument("--lr", type=natural_float, default=1e-3, help="highest learning rate")
    parser.add_argument("--min-lr", type=natural_float, default=1e-4, help="learning rate at the end")
    parser.add_argument("--warmup", type=natural_int, default=100, help="steps until the highest learning rate")
    parser.add_argument("--beta2", type=natural_float, default=0.99)
    parser.add_argument("--weight-decay", type=natural_float, default=0.1)
    parser.add_argument("--grad-clip", type=natural_float, default=1.0, help="largest gradient norm; 0 for no limit")
    parser.add_argument("--eval-every", type=natural_int, default=0, help="steps between validations (0: 20 in all)")
    parser.add_argument("--eval-batches", type=positive_int, default=40, help="batches in a validation")
    parser.add_argument("--save-every", type=natural_float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--travel", type=natural_int, default=0, metavar="N", help="keep the state every N steps")
    parser.add_argument("--sample", type=natural_int, default=400, help="characters to sample at the start and the end")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--workers", type=positive_int, help="processes that share a batch (default: one per core)")
    return parser.parse_args()


def make_optimizer(model: GPT, settings: dict[str, Any]) -> optim.AdamW:
    """AdamW with weight decay on matrices alone: biases and norms are left to themselves."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings["weight_decay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return optim.AdamW(groups, lr=settings["lr"], betas=(0.9, settings["beta2"]))


def sample(model: GPT, tokenizer: CharTokenizer, length: int) -> str:
    """Characters after a line break, drawn at temperature 0.8 with a seed of their own."""
    start = "\n" if "\n" in tokenizer.characters else tokenizer.characters[0]
    ids = mg.tensor(tokenizer.encode(start)).view(1, -1)
    drawn = model.generate(ids, length, temperature=0.8, generator=mg.Generator().manual_seed(1))
    return tokenizer.decode(drawn[0].numpy()[1:])


def probe(model: GPT, tokenizer: CharTokenizer, text: str, length: int) -> dict[str, Any]:
    """What the run's page shows for one moment: a sample, and where the first and last layer look in a text."""
    layers = attention_layers(model, [mg.tensor(tokenizer.encode(text)).view(1, -1)])
    attention = [{"path": x.path, "tokens": list(text), "weights": x.weights} for x in (layers[0], layers[-1])]
    return {"sample": sample(model, tokenizer, min(length, 100)), "attention": attention[: len(layers)]}


def show(title: str, text: str) -> None:
    print(f"--- {title} ---\n{text}\n")


def main() -> int:
    with parallel.world() as world:
        return train(world)


def train(world: parallel.World) -> int:
    args = arguments()
    settings, out, checkpoint = open_run(args, Path(args.data).stem or "run", world, steps=1500, workers=None)
    if args.travel:
        settings["workers"] = 1  # the places of a batch that workers share cannot be told apart
    text = load_text(settings["data"])
    fingerprint = same_text(text, checkpoint)
    if checkpoint is None:
        tokenizer = CharTokenizer.from_text(text)
    else:
        tokenizer = CharTokenizer.from_state_dict(checkpoint["tokenizer"])
    train_ids, val_ids = split(tokenizer.encode(text, tokenizer.smallest), 0.1)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size,
        **{key: settings[key] for key in ("block_size", "n_layer", "n_head", "n_embd", "dropout")},
    )
    batches = RandomBatches(
        train_ids, settings["batch_size"], config.block_size, mg.Generator().manual_seed(settings["seed"])
    )
    windows = eval_windows(val_ids, settings["batch_size"], config.block_size, settings["eval_batches"])

    check_sizes(config.n_layer, config.n_embd, config.vocab_size, settings["batch_size"], config.block_size)
    mg.manual_seed(settings["seed"])
    model = GPT(config)
    optimizer = make_optimizer(model, settings)
    steps = settings["steps"]
    schedule = optim.lr_scheduler.CosineWarmup(optimizer, min(settings["warmup"], steps), steps, settings["min_lr"])
    trainer = Trainer(
        model,
        optimizer,
        schedule,
        batches,
        lambda model, x, y: model(x, y)[1],
        grad_clip=settings["grad_clip"],
        extra={"config": vars(config), "tokenizer": tokenizer.state_dict(), "settings": settings, "text": fingerprint},
        world=world,
        workers=settings["workers"],
    )
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)

    parameters = sum(p.numel() for p in model.parameters())
    print(f"{settings['data']}: {len(text):,} characters, {tokenizer.vocab_size} different; {parameters:,} parameters")
    guesses = guessing_baselines(train_ids, val_ids, tokenizer.vocab_size)
    print("validation loss (nats per character) of guessing: " + ", ".join(f"{k} {v:.3f}" for k, v in guesses.items()))
    if args.sample and checkpoint is None and world.main:
        show("before training", sample(model, tokenizer, min(args.sample, 200)))

    looked_at = tokenizer.decode(val_ids[: min(config.block_size, 48)])
    finished = trainer.fit(
        settings["steps"],
        windows=windows,
        eval_every=settings["eval_every"],
        checkpoint=out,
        save_every=args.save_every,
        travel=args.travel,
        curve=out.with_suffix(".csv"),
        probe=lambda: probe(model, tokenizer, looked_at, args.sample),
    )
    if world.main:
        page, flow = out.with_suffix(".html"), trainer.flow.state_dict()
        save_run_page(page, out.stem, trainer.history, trainer.curves, guesses, settings, flow)
    if not finished:
        print(f"stopped at step {trainer.step}; continue with: python examples/train_char_gpt.py --resume {out}")
        return 130
    if args.sample and world.main:
        show(f"after {trainer.step} steps", sample(model, tokenizer, args.sample))
    final = trainer.final_loss(windows)
    print(f"validation loss {final:.3f}; checkpoint {out}, page {out.with_suffix('.html')}")
    if settings["steps"] >= 500:
        beats = (
            f"a trained GPT beats bigram guessing, {final:.3f} < {guesses['bigram']:.3f}; more steps or channels help"
        )
        return verdict((final < guesses["bigram"], beats))
    return 0


if __name__ == "__main__":
    run(main)
