"""``python -m minigrad talk``: a conversation with a language model, its answer written as it is drawn."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import minigrad as mg
from minigrad.look.commands.fetch import SOURCES, cached
from minigrad.models.generate import check
from minigrad.tools.cli import natural_float, natural_int, positive_int
from minigrad.tools.extras import need
from minigrad.train.pretrained import EXTRA, Pretrained, load_pretrained

Message = dict[str, str]  # "role": "system", "user" or "assistant"; "content"


def main(arguments: Sequence[str]) -> int:
    """``python -m minigrad talk smollm2``. Raises ValueError for a model that does not write, what loading raises."""
    parser = argparse.ArgumentParser(
        prog="python -m minigrad talk",
        description="Talk with a language model. Ctrl-C stops an answer; Ctrl-D, or Ctrl-C at the prompt, ends.",
    )
    parser.add_argument("model", help=f"a fetched model ({', '.join(SOURCES)}), or a .safetensors or .gguf file")
    parser.add_argument("text", nargs="?", help="what to say; without it you are asked, or the input is read by lines")
    parser.add_argument("--system", help="what the model is told first")
    parser.add_argument("--temperature", type=natural_float, default=0.7, help="0: always the likeliest token")
    parser.add_argument("--top-k", type=positive_int, default=40, help="draw from the k likeliest tokens")
    parser.add_argument("--top-p", type=float, help="draw from the likeliest tokens that together have this mass")
    parser.add_argument("--max-tokens", type=positive_int, default=400, help="an answer is no longer than this")
    parser.add_argument("--seed", type=natural_int, help="for the same answers again")
    options = parser.parse_args(arguments)
    check(options.temperature, options.top_k, options.top_p)
    path = cached(options.model) if options.model in SOURCES else Path(options.model)
    speaker = Speaker(load_pretrained(path), path)
    generator = mg.Generator().manual_seed(options.seed) if options.seed is not None else None
    settings = options.temperature, options.top_k, options.top_p, generator
    messages: list[Message] = [{"role": "system", "content": options.system}] if options.system else []
    for text in [options.text] if options.text is not None else asked():
        if not text.strip():
            continue
        messages.append({"role": "user", "content": text})
        ids, left_out = speaker.prompt(messages, options.max_tokens)
        if left_out:
            print(f"(the first {left_out} messages no longer fit into the context and are left out)", file=sys.stderr)
        messages.append({"role": "assistant", "content": say(speaker, ids, options.max_tokens, settings)})
    return 0


def asked() -> Iterator[str]:
    """What the user types, line by line, until the input ends."""
    while (line := ask()) is not None:
        yield line


def ask() -> str | None:
    terminal = sys.stdin.isatty()
    try:
        return input("> " if terminal else "")
    except (EOFError, KeyboardInterrupt):
        if terminal:
            print()
        return None


def say(speaker: Speaker, ids: list[int], most: int, settings: tuple[Any, ...]) -> str:
    """Write an answer as it is drawn; Ctrl-C ends it."""
    parts, begun = [], time.monotonic()
    try:
        for part in speaker.answer(ids, most, settings):
            parts.append(part)
            print(part, end="", flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="")
    print()
    if sys.stderr.isatty():
        seconds = max(time.monotonic() - begun, 1e-9)
        print(f"[{speaker.count} tokens, {speaker.count / seconds:.1f} a second]", file=sys.stderr)
    return "".join(parts)


class Speaker:
    """A model that writes, with its tokenizer and the form in which it wants a conversation."""

    def __init__(self, found: Pretrained, path: Path) -> None:
        if not hasattr(found.model, "stream"):
            raise ValueError(f"{path} is a {type(found.model).__name__}: it reads, and writes nothing")
        if found.tokenizer is None:
            raise ValueError(f"{path} has no tokenizer: put the model's tokenizer.json beside the file")
        self.model, self.tokenizer = found.model, found.tokenizer
        special = self.tokenizer.get_added_tokens_decoder()
        self.control = {number: str(token.content) for number, token in special.items() if token.special}
        self.form = None
        self.count = 0  # tokens of the latest answer
        if found.chat_template is not None:
            sandbox = need("jinja2.sandbox", EXTRA).ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
            try:
                self.form = sandbox.from_string(found.chat_template)
            except Exception as error:  # whatever a file has for a template
                raise ValueError(f"the model's chat template cannot be followed ({error})") from error

    def prompt(self, messages: Sequence[Message], room: int) -> tuple[list[int], int]:
        """The token ids of a conversation that leave so much room, and how many messages had to go for that.

        Raises ValueError where the last message alone is too long.
        """
        first = [m for m in messages[:1] if m["role"] == "system"]
        others = messages[len(first) :]
        size = self.model.config.block_size
        for left_out in range(0, len(others), 2):
            ids = self.encoded([*first, *others[left_out:]])
            if len(ids) + min(room, size // 4) <= size:
                return ids, left_out
        raise ValueError(f"the message has {len(ids)} tokens, and the context of the model has {size}")

    def encoded(self, messages: Sequence[Message]) -> list[int]:
        if self.form is None:  # a model that goes on with a text
            text = "\n".join(message["content"] for message in messages)
        else:
            names = {f"{name}_token": self.named(name) for name in ("bos", "eos")}
            try:
                text = self.form.render(messages=list(messages), add_generation_prompt=True, **names)
            except Exception as error:  # whatever the template of a file does
                raise ValueError(f"the model's chat template cannot be followed ({error})") from error
        return list(self.tokenizer.encode(text, add_special_tokens=self.form is None).ids)

    def named(self, name: str) -> str:
        """The token that begins or ends a text, by its usual names."""
        wanted = {"bos": ("<|im_start|>", "<s>", "<|begin_of_text|>"), "eos": ("<|im_end|>", "</s>", "<|end_of_text|>")}
        return next((token for token in wanted[name] if token in self.control.values()), "")

    def answer(self, ids: list[int], most: int, settings: tuple[Any, ...]) -> Iterator[str]:
        """The answer in pieces, until the model ends it or it has so many tokens."""
        found: list[int] = []
        self.count, shown = 0, ""
        with contextlib.closing(self.model.stream(mg.tensor([ids]), *settings)) as stream:
            for chosen in itertools.islice(stream, most):
                self.count += 1
                if (token := int(chosen.item())) in self.control:
                    return
                found.append(token)
                text = self.tokenizer.decode(found)
                if not text.endswith("\ufffd"):  # half a letter waits for the rest of its bytes
                    yield text[len(shown) :]
                    shown = text
