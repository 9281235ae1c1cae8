"""``python -m minigrad inside``: what is inside a language model while it reads a prompt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minigrad.look.commands.fetch import SOURCES, cached
from minigrad.look.pages.inside_page import MARK, look_inside
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.tools.cli import fresh_path
from minigrad.train.checkpoints import load_model
from minigrad.train.data import CharTokenizer
from minigrad.train.files import output_path
from minigrad.train.pretrained import load_pretrained


def main(arguments: Sequence[str]) -> int:
    """``python -m minigrad inside MODEL TEXT [--patch TEXT]``. Raises ValueError for what cannot be looked into."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad inside",
        description="What each layer would say, on which heads and tokens the answer rests, what carries the "
        "difference to another prompt, and what the heads do: in words, and as a page.",
    )
    parser.add_argument("model", help=f"a fetched model ({', '.join(SOURCES)}), a .safetensors or .gguf file, or the "
                        "checkpoint (.npz) of a GPT that was trained here")  # fmt: skip
    parser.add_argument("text", help="what the model reads, such as 'The capital of Italy is'")
    parser.add_argument("--patch", metavar="TEXT", help="a prompt of as many tokens, whose values are put in place")
    parser.add_argument("--answer", metavar="TOKEN", help="the answer to explain (default: the likeliest; of --patch)")
    parser.add_argument(
        "--against", metavar="TOKEN", help="the answer it is compared with (with --patch: the likeliest)"
    )
    parser.add_argument("-o", "--out", type=Path, help="the page to write (default: inside.html, or a free name)")
    options = parser.parse_args(arguments)
    path = cached(options.model) if options.model in SOURCES else Path(options.model)
    out = options.out or fresh_path(Path("inside.html"))
    output_path(out, MARK, [path])
    model, encode, spell = _load(path)
    ids = _within(model, encode(options.text), "the text")
    other = None if options.patch is None else _within(model, encode(options.patch), "the text of --patch")
    if other is not None and len(other) != len(ids):
        raise ValueError(
            f"the prompts have {len(ids)} and {len(other)} tokens, and a value needs its like: "
            f"{' | '.join(map(spell, ids))}   and   {' | '.join(map(spell, other))}"
        )
    found = look_inside(
        model,
        ids,
        spell,
        other=other,
        answer=_token(encode, options.answer, "--answer"),
        against=_token(encode, options.against, "--against"),
        title=f"{type(model).__name__} {path.stem} reading {options.text!r}",
        shown=partial(tqdm, desc="patching", unit="layer", leave=False, disable=not sys.stderr.isatty()),
    )
    found.save(out)
    print(found)
    print(f"wrote {out}; open it in a browser")
    return 0


def _load(path: Path) -> tuple[Any, Callable[[str], list[int]], Callable[[int], str]]:
    """A model, how it reads a text as tokens, and how it spells one."""
    if path.suffix == ".npz":
        model, checkpoint = load_model(path, lambda checkpoint: GPT(GPTConfig(**checkpoint["config"])))
        letters = CharTokenizer.from_state_dict(checkpoint["tokenizer"])
        return model, lambda text: letters.encode(text).tolist(), lambda token: letters.decode([token])
    found = load_pretrained(path)
    tokenizer = found.tokenizer
    if tokenizer is None:
        raise ValueError(f"{path} has no tokenizer: put the model's tokenizer.json beside the file")
    return (
        found.model,
        lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
        lambda token: str(tokenizer.decode([token], skip_special_tokens=False)),
    )


def _within(model: Any, ids: list[int], what: str) -> list[int]:
    if not ids:
        raise ValueError(f"{what} is empty: give at least one token")
    if len(ids) > model.config.block_size:
        raise ValueError(f"{what} has {len(ids)} tokens, and the context of the model has {model.config.block_size}")
    return ids


def _token(encode: Callable[[str], list[int]], text: str | None, option: str) -> int | None:
    """The first token of an answer; a word usually begins with a space."""
    if text is None:
        return None
    if not (ids := encode(text)):
        raise ValueError(f"{option} is empty: give a token, such as ' Paris'")
    return ids[0]
