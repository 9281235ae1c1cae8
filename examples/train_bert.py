"""Train a small BERT: first it guesses hidden characters, then it learns to tell kinds of lines apart.

    python examples/train_bert.py                 about two minutes: the Python language reference, then lines of code
    python examples/train_bert.py --data my.txt   pre-trained on a text of yours
    python examples/train_bert.py --resume runs/bert-python-docs.npz

Fine-tuning asks of a line: is it English prose, code, or a table of names, or are its characters shuffled? A line and
its shuffled self have the same characters, so counting characters cannot tell them apart: reading can. The same
fine-tuning from random weights shows what pre-training is worth.

Ctrl-C ends the run after the step in hand and writes the checkpoint; --resume continues it exactly. Fine-tuning is
short and starts again from the pre-trained model.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.models.bert import BERT, BERTClassifier, BERTConfig, MaskedBERT
from minigrad.models.parts import ATTENTIONS, POSITIONS
from minigrad.nn import functional as F
from minigrad.tools.capacity import check_sizes
from minigrad.tools.cli import natural_float, natural_int, positive_int, run, verdict
from minigrad.train import data
from minigrad.train.files import claim_fresh
from minigrad.train.settings import open_run, same_text
from minigrad.train.trainer import Trainer

PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))
KINDS = ("prose", "code", "names", "shuffled")
RIDDLES = (
    "The [MASK]at",
    "The value of the expr[MASK]ssion is returned.",
    "If the name is not f[MASK]und, an error is raised.",
    "This is an o[MASK]ject of the class, or of a sub[MASK]lass",
    "def __init__(self[MASK] name):",
    "for x in range(10)[MASK]",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="python-docs", help="python-docs, shakespeare, names, or a text file")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default: runs/bert-<data>.npz, or -2, -3, ...)")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="continue this run, with its settings")
    parser.add_argument("--steps", type=natural_int, help="steps of pre-training (default: 1200)")
    parser.add_argument("--finetune-steps", type=natural_int, help="steps of fine-tuning (default: 400)")
    parser.add_argument("--batch-size", type=positive_int, default=16)
    parser.add_argument("--block-size", type=positive_int, default=64, help="context length, [CLS] included")
    parser.add_argument("--n-layer", type=positive_int, default=3)
    parser.add_argument("--n-head", type=positive_int, default=4)
    parser.add_argument("--n-embd", type=positive_int, default=128, help="channels; a multiple of --n-head")
    parser.add_argument("--dropout", type=natural_float, default=0.0)
    parser.add_argument("--positions", choices=POSITIONS, default="rotary")
    parser.add_argument("--attention", choices=ATTENTIONS, default="full")
    parser.add_argument("--mask-rate", type=natural_float, default=0.15, help="share of the characters to guess")
    parser.add_argument("--lr", type=natural_float, default=2e-3, help="highest learning rate of pre-training")
    parser.add_argument("--finetune-lr", type=natural_float, default=1e-3, help="highest learning rate of fine-tuning")
    parser.add_argument("--warmup", type=natural_int, default=100, help="steps until the highest learning rate")
    parser.add_argument("--weight-decay", type=natural_float, default=0.01)
    parser.add_argument("--eval-every", type=natural_int, default=0, help="steps between validations (0: 20 in all)")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--workers", type=positive_int, help="processes that share a batch (default: one per core)")
    return parser.parse_args()


def trainer_of(
    model: nn.Module, batches: Any, steps: int, lr: float, settings: dict[str, Any], **extra: Any
) -> Trainer:
    optimizer = optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=settings["weight_decay"])
    schedule = optim.lr_scheduler.CosineWarmup(optimizer, min(settings["warmup"], steps), steps, lr / 10)
    extra["settings"] = settings
    loss_of = lambda model, x, y: model(x, y)[1]  # noqa: E731
    return Trainer(model, optimizer, schedule, batches, loss_of, extra=extra, workers=settings["workers"])


@mg.no_grad()
def logits_of(model: nn.Module, x: np.ndarray, rows: int = 64) -> np.ndarray:
    """The model's logits for many rows, dropout off."""
    model.eval()
    parts = [model(mg.tensor(x[i : i + rows]))[0].numpy() for i in range(0, len(x), rows)]
    model.train()
    return np.concatenate(parts)


def masked_score(model: MaskedBERT, windows: list[tuple[np.ndarray, np.ndarray]], mask: int) -> dict[str, float]:
    """Accuracy and loss in nats where [MASK] is shown; half of the other chosen positions show the answer."""
    x, y = (np.concatenate(part) for part in zip(*windows, strict=True))
    logits, truth = logits_of(model, x)[x == mask], y[x == mask]
    loss = F.cross_entropy(mg.tensor(logits), mg.tensor(truth)).item()
    return {"accuracy": float((logits.argmax(1) == truth).mean()), "loss": loss}


def fill(model: MaskedBERT, tokenizer: data.CharTokenizer, riddle: str, best: int = 4) -> None:
    """Print the likeliest characters for each [MASK] of a riddle."""
    mask = tokenizer.special["[MASK]"]
    pieces = [tokenizer.encode(piece) for piece in riddle.split("[MASK]")]
    ids = np.concatenate([[tokenizer.special["[CLS]"]], pieces[0], *(np.append(mask, piece) for piece in pieces[1:])])
    logits = logits_of(model, ids[None])[0][ids == mask]
    print(f"  {riddle}")
    for row in mg.tensor(logits).softmax(-1).numpy():
        top = row.argsort()[::-1][:best]
        print("      " + "  ".join(f"{tokenizer.decode([i])!r} {row[i]:.0%}" for i in top))


def lines_to_tell_apart(
    lines: dict[str, list[str]], tokenizer: data.CharTokenizer, block_size: int, seed: int, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Lines with their kind, at most so many of each, then all of them shuffled: ids (N, T), kinds (N,)."""
    texts = [line for kind in KINDS[:3] for line in lines[kind][:most]]
    kinds = [i for i, kind in enumerate(KINDS[:3]) for _ in lines[kind][:most]]
    random = mg.Generator().manual_seed(seed)
    ids = data.encode_lines(texts + [data.shuffled(line, random) for line in texts], tokenizer, block_size)
    return ids, np.array(kinds + [3] * len(texts))


def line_score(logits: np.ndarray, kinds: np.ndarray) -> tuple[float, float]:
    """Accuracy among the three kinds of real lines, and in telling a real line from a shuffled one."""
    real = kinds < 3
    which = (logits[real, :3].argmax(1) == kinds[real]).mean()
    return float(which), float(((logits.argmax(1) < 3) == real).mean())


def bag_of_characters(train: tuple[np.ndarray, np.ndarray], x: np.ndarray, V: int, steps: int) -> np.ndarray:
    """Logits for x from logistic regression on how often a line has each character."""
    counts, test_counts = (
        mg.tensor(np.stack([np.bincount(row, minlength=V) for row in ids]), dtype=mg.float32).log1p()
        for ids in (train[0], x)
    )
    model, kinds = nn.Linear(V, len(KINDS)), mg.tensor(train[1])
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss = F.cross_entropy(model(counts), kinds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model(test_counts).detach().numpy()


def main() -> int:
    args = arguments()
    name = f"bert-{Path(args.data).stem or 'run'}"
    settings, out, checkpoint = open_run(args, name, steps=1200, finetune_steps=400, workers=None)
    seed, batch_size, block_size = (settings[key] for key in ("seed", "batch_size", "block_size"))
    lines_out = claim_fresh(out.with_name(f"{out.stem}-lines.npz"))
    text = data.load_text(settings["data"])
    if checkpoint is None:
        tokenizer = data.CharTokenizer(text + PRINTABLE, data.SPECIAL)
    else:
        tokenizer = data.CharTokenizer.from_state_dict(checkpoint["tokenizer"])
    V, mask = tokenizer.vocab_size, tokenizer.special["[MASK]"]
    train_ids, val_ids = data.split(tokenizer.encode(text, tokenizer.smallest), 0.1)
    sizes = ("block_size", "n_layer", "n_head", "n_embd", "dropout", "positions", "attention")
    config = BERTConfig(vocab_size=V, pad=tokenizer.special["[PAD]"], **{key: settings[key] for key in sizes})
    saved = {"config": vars(config), "tokenizer": tokenizer.state_dict(), "text": same_text(text, checkpoint)}

    batches = data.MaskedBatches(
        train_ids, batch_size, block_size, tokenizer, mg.Generator().manual_seed(seed), settings["mask_rate"]
    )
    once = mg.Generator().manual_seed(seed + 1)  # the validation's masks are drawn once, so that scores compare
    windows = [
        data.mask_tokens(data.with_cls(x, tokenizer), tokenizer, once)
        for x, _ in data.eval_windows(val_ids, 64, block_size - 1, 20)
    ]
    train_lines, test_lines = data.labelled_lines(block_size - 1, seed)
    train = lines_to_tell_apart(train_lines, tokenizer, block_size, seed)
    x, kinds = lines_to_tell_apart(test_lines, tokenizer, block_size, seed + 1, most=500)

    check_sizes(config.n_layer, config.n_embd, config.vocab_size, batch_size, block_size)
    mg.manual_seed(seed)
    model = MaskedBERT(BERT(config))
    trainer = trainer_of(model, batches, settings["steps"], settings["lr"], settings, **saved)
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)

    parameters = sum(p.numel() for p in model.parameters())
    print(f"{settings['data']}: {len(text):,} characters; {parameters:,} parameters")
    guesses = data.masking_baselines(train_ids, val_ids, V)
    done = trainer.fit(
        settings["steps"],
        windows=windows,
        eval_every=settings["eval_every"],
        checkpoint=out,
        curve=out.with_suffix(".csv"),
    )
    if not done:
        print(f"stopped at step {trainer.step}; continue with: python examples/train_bert.py --resume {out}")
        return 130
    guesses["BERT"] = masked_score(model, windows, mask)
    print("\nguessing hidden characters (validation)    accuracy   loss in nats")
    for name, score in guesses.items():
        print(f"  {name:<41}{score['accuracy']:>7.1%} {score['loss']:>12.3f}")
    print()
    for riddle in RIDDLES:
        fill(model, tokenizer, riddle)

    print()
    scores = {"counting characters": line_score(bag_of_characters(train, x, V, settings["finetune_steps"]), kinds)}
    for name, bert in (("BERT from random weights", BERT(config)), ("BERT, pre-trained", model.bert)):
        print(f"fine-tuning {name}")
        mg.manual_seed(seed)
        classifier = BERTClassifier(bert, len(KINDS))
        examples = data.RandomExamples(*train, batch_size, mg.Generator().manual_seed(seed))
        trainer = trainer_of(
            classifier, examples, settings["finetune_steps"], settings["finetune_lr"], settings, **saved
        )
        if not trainer.fit(
            settings["finetune_steps"],
            windows=[(x[::20], kinds[::20])],
            checkpoint=lines_out if bert is model.bert else None,
        ):
            print(f"stopped; fine-tune again with: python examples/train_bert.py --resume {out}")
            return 130
        logits = logits_of(classifier, x)
        scores[name] = line_score(logits, kinds)
    print(f"\n{len(x):,} lines of modules not trained on    prose, code or names    real or shuffled")
    for name, (which, real) in scores.items():
        print(f"  {name:<36}{which:>12.1%} {real:>21.1%}")
    print()
    for i in np.arange(6) * len(x) // 6:
        guess = KINDS[logits[i].argmax()]
        print(f"  {guess:<9}{tokenizer.decode(x[i][1:]).removesuffix('[PAD]' * int((x[i] == config.pad).sum()))}")
    print(f"\ncheckpoints {out} and {lines_out}")

    bag, bert = scores["counting characters"], scores["BERT, pre-trained"]
    assert abs(bag[1] - 0.5) < 0.01, "a line and its shuffled self have the same counts: one answer is always wrong"
    if settings["steps"] >= 1200:
        claims = [
            (guesses["BERT"]["accuracy"] > guesses["two neighbours"]["accuracy"], "BERT guesses better than neighbours")
        ]
        if settings["finetune_steps"] >= 400:
            random = scores["BERT from random weights"][1]
            claims.append((bert[0] > bag[0] - 0.04, "fine-tuned, it tells kinds as well as counting does"))
            claims.append((bert[1] > bag[1] + 0.35, "fine-tuned, it tells shuffled lines, which counting cannot"))
            claims.append((bert[1] > random + 0.1, "pre-training is worth a tenth of the lines"))
        return verdict(*claims)
    return 0


if __name__ == "__main__":
    run(main)
