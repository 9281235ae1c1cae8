"""Look into the attention of a trained model: a page with every head, or where one word looks, in the terminal.

    python examples/attention_workbench.py runs/python-docs.npz --text "The cat sat on the mat"
    python examples/attention_workbench.py runs/python-docs.npz --text "The cat sat on the mat" --token cat
    python examples/attention_workbench.py runs/python-docs.npz --text "The cat sat" --token cat --layer 0 --head 1
    python examples/attention_workbench.py runs/bert-python-docs.npz --text "The [MASK]at sat on the mat"
    python examples/attention_workbench.py runs/translation.npz --text forty-two --target zweiundvierzig

The page, attention.html, opens in any browser, without a network. With --token the terminal shows where it looks in
each layer and head, and with --layer and --head how one weight comes about, from query and key to the output.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.look.pages.attention_page import MARK, Workbench, attention
from minigrad.models.bert import BERT, BERTClassifier, BERTConfig, MaskedBERT
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.t5 import T5, T5Config
from minigrad.nn import functional as F
from minigrad.tools.cli import fresh_path, natural_int, positive_int, run
from minigrad.train.checkpoints import load_model
from minigrad.train.data import CharTokenizer
from minigrad.train.data.pairs import decode_texts, encode_texts
from minigrad.train.files import output_path

FAMILIES = ("gpt", "bert", "t5")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="of train_char_gpt.py, train_bert.py, train_translation.py, ...")
    parser.add_argument("--text", default="The cat sat on the mat", help="what the model reads")
    parser.add_argument("--target", help="T5: what it is made to write (default: what it writes itself)")
    parser.add_argument("--token", help="a token or word: print where it looks, its last character")
    parser.add_argument("--each", action="store_true", default=None, help="with --token: each of its characters")
    parser.add_argument("--top", type=positive_int, help="with --token: so many of the strongest keys (default: 4)")
    parser.add_argument("--layer", type=natural_int, help="with --token: this layer only")
    parser.add_argument("--head", type=natural_int, help="with --token: this head only; with --layer, its arithmetic")
    parser.add_argument("--key", help="with --layer and --head: this key (default: the one with the largest weight)")
    parser.add_argument(
        "--family", choices=FAMILIES, help="what model it is (default: as the checkpoint's config says)"
    )
    parser.add_argument("-o", "--out", type=Path, help="the page to write (default: attention.html, or a free name)")
    args = parser.parse_args()
    if args.token is None:
        for name in ("layer", "head", "key", "top", "each"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name} needs --token: the page shows all heads")
    if args.key is not None and None in (args.layer, args.head):
        raise ValueError("--key needs --layer and --head")
    return args


def load(path: Path, family: str | None = None) -> tuple[nn.Module, CharTokenizer]:
    """The model of a checkpoint of any family, and its tokenizer."""

    def build(checkpoint: dict[str, Any]) -> nn.Module:
        config, state = checkpoint["config"], checkpoint["model"]
        kind = family or ("t5" if "end" in config else "bert" if "pad" in config else "gpt")
        if kind == "gpt":
            return GPT(GPTConfig(**config))
        if kind == "t5":
            return T5(T5Config(**config))
        if "pooler.weight" in state:
            return BERTClassifier(BERT(BERTConfig(**config)), len(state["head.weight"]))
        return MaskedBERT(BERT(BERTConfig(**config)))

    try:
        model, checkpoint = load_model(path, build)
    except mg.CheckpointError as error:
        raise ValueError(f"{error}; --family says which model it is, where that was not seen") from error
    return model, CharTokenizer.from_state_dict(checkpoint["tokenizer"])


def look(model: nn.Module, tokenizer: CharTokenizer, text: str, target: str | None, title: str) -> Workbench:
    """The attention of a model while it reads a text: of a GPT the loss is that of the next characters."""
    known: dict[str, Any] = {"tokenizer": tokenizer, "title": title}
    if isinstance(model, T5):
        if target is None:
            source = mg.tensor(encode_texts([text], tokenizer))
            (target,) = decode_texts(model.generate(source, model.config.block_size - 1).numpy(), tokenizer)
        return attention(model, (text, target), **known)
    if target is not None:
        raise ValueError("--target is for a T5, which reads one text and writes another")
    if isinstance(model, GPT):
        following = mg.tensor(tokenizer.encode(text)[1:])

        def loss(out: Any) -> mg.Tensor:
            logits = out[0][0, :-1]  # of as many tokens as the context holds
            return F.cross_entropy(logits, following[-len(logits) :])

        return attention(model, text, loss=loss if len(following) else None, **known)
    pieces = [tokenizer.encode(piece) for piece in text.split("[MASK]")]
    special = tokenizer.special
    ids = [[special["[CLS]"]], pieces[0], *(part for piece in pieces[1:] for part in ([special["[MASK]"]], piece))]
    return attention(model, mg.tensor(np.concatenate(ids)).view(1, -1), **known)


def main() -> int:
    args = arguments()
    if not args.text:
        raise ValueError("--text is empty: give at least one character")
    out = args.out or fresh_path(Path("attention.html"))
    if args.token is None:
        output_path(out, MARK, [args.checkpoint])
    model, tokenizer = load(args.checkpoint, args.family)
    bench = look(model, tokenizer, args.text, args.target, f"{type(model).__name__} {args.checkpoint.stem}")
    if args.token is not None:
        print(bench.text(args.token, args.layer, args.head, args.key, args.top or 4, bool(args.each)))
        return 0
    bench.save(out)
    layers, heads = len(bench.layers), sum(len(layer.weights) for layer in bench.layers)
    found = f"{layers} attention layer{'s' * (layers != 1)}, {heads} head{'s' * (heads != 1)}"
    print(f"wrote {out}: {found}; open it in a browser")
    return 0


if __name__ == "__main__":
    run(main)
