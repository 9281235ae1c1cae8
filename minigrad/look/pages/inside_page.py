"""The page of what is inside a run: tables whose cells are coloured by their numbers, each with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.look import inside
from minigrad.look.pages.html import page
from minigrad.look.pages.tokens import visible
from minigrad.nn import Module
from minigrad.ops import Array
from minigrad.train.files import atomic_write, page_mark

MARK = page_mark("inside")


@dataclass
class Table:
    """Numbers (R, C) as colours; ``labels`` stand in the cells, else the numbers themselves."""

    heading: str
    text: str
    rows: list[str]
    columns: list[str]
    values: Array
    scale: float
    labels: list[list[str]] | None = None

    def data(self) -> dict[str, Any]:
        values = [[float(f"{x:.4g}") for x in row] for row in self.values]
        return {**self.__dict__, "values": values}


@dataclass
class Inside:
    """What ``look_inside`` found: for the terminal (``print``), and as a page (``save``)."""

    title: str
    answers: list[tuple[str, float]]  # the likeliest next tokens, and their probabilities
    tables: list[Table]
    summary: list[str]

    def __str__(self) -> str:
        expected = "   ".join(f"{token} {p:.3f}" for token, p in self.answers)
        return "\n".join([self.title, f"next: {expected}", *self.summary])

    def html(self) -> str:
        """The page, one file that needs no other."""
        data = {
            "title": self.title,
            "answers": [[token, f"{p:.3f}"] for token, p in self.answers],
            "summary": self.summary,
            "tables": [table.data() for table in self.tables],
        }
        return page(f"Inside of {self.title}", "inside", data)

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        with atomic_write(path, MARK) as file:
            file.write(self.html().encode("utf-8"))


def look_inside(
    model: Module,
    ids: Any,
    spell: Callable[[int], str] = str,
    *,
    other: Any = None,
    answer: int | None = None,
    against: int | None = None,
    title: str = "a model",
    shown: Callable[[list[str]], Iterable[str]] = iter,
) -> Inside:
    """Everything ``minigrad.look.inside`` tells of one prompt, ids (T,): in words, and as tables for a page.

    The answer that is explained is the likeliest one, or a token number. With the ids of another prompt of as many
    tokens, values of its run are put into this one: ``answer`` is then the other's, ``against`` this one's. Raises
    ValueError as those functions do.
    """
    blocks = inside.blocks_of(model)
    ids = np.asarray(ids.numpy() if isinstance(ids, Tensor) else ids).reshape(-1)

    def said(token: int) -> str:
        return visible(spell(int(token)))

    lens = inside.logit_lens(model, ids)
    tokens = [said(i) for i in ids]
    heading = [f"{i} {token}" for i, token in enumerate(tokens)]
    likeliest = int(lens.tokens[-1, -1, 0])
    theirs = likeliest
    if other is not None:
        other = np.asarray(other.numpy() if isinstance(other, Tensor) else other).reshape(-1)
        theirs = int(inside.logit_lens(model, other, 1).tokens[-1, -1, 0]) if len(other) else likeliest
        if against is None and likeliest not in (theirs, answer):
            against = likeliest
    answer = theirs if answer is None else answer
    score = f"{said(answer)}" + ("" if against is None else f" rather than {said(against)}")
    tables, summary = [], []

    first = [int(row[-1, 0]) == likeliest for row in lens.tokens]
    since = next((i for i in range(len(first)) if all(first[i:])), len(first) - 1)
    summary.append(f"logit lens: {said(likeliest)} is the likeliest from {lens.paths[since]} on")
    tables.append(
        Table(
            "What each layer would say",
            "The likeliest next token at each position, if the model ended after this block; the stronger the colour, "
            "the surer (logit lens, nostalgebraist 2020).",
            lens.paths,
            heading,
            lens.probabilities[:, :, 0],
            1.0,
            [[said(i) for i in row] for row in lens.tokens[:, :, 0]],
        )
    )

    parts = inside.attribution(model, ids, answer, against)
    H = parts.heads.shape[1]
    values = np.concatenate([parts.heads, parts.mlps[:, None]], axis=1)
    summary.append(f"score of {score}: {parts.total:+.2f}; the parts that add most to it, or take most from it:")
    for place in np.argsort(-np.abs(values), axis=None, kind="stable")[:5]:
        layer, part = divmod(int(place), H + 1)
        summary.append(f"  {blocks[layer]} {'mlp' if part == H else f'head {part}'} {values[layer, part]:+.2f}")
    tables.append(
        Table(
            f"What each part adds to the score of {score}",
            f"They add up to {parts.total:.3f}, with the embedding {parts.start:+.3f} and all biases {parts.rest:+.3f} "
            "(direct logit attribution, Elhage et al. 2021).",
            blocks,
            [*(f"head {h}" for h in range(H)), "mlp"],
            values,
            float(np.abs(values).max()),
        )
    )

    rests = inside.saliency(model, ids, answer, against)
    tables.append(
        Table(
            f"On which tokens {score} rests",
            "The gradient of the score by each token's embedding, times the embedding (Shrikumar et al. 2016).",
            ["gradient x input"],
            heading,
            rests[None],
            float(np.abs(rests).max()),
        )
    )

    if other is not None:
        found = inside.patching(model, ids, other, answer, against, shown=shown)
        lines, carried = found.share.argmax(-1), found.share.max(-1) > 0.5
        summary.append(f"patching: the score of {score} is {found.base:+.2f} here and {found.other:+.2f} there")
        for i, (place, by) in enumerate(zip(lines, carried, strict=True)):
            if by and (i == 0 or not carried[i - 1] or lines[i - 1] != place):
                summary.append(f"  from {blocks[i]} on, position {place} ({tokens[place]}) carries it")
        tables.append(
            Table(
                "What carries the difference",
                f"How far the score of {score} goes over when the state after this block, at this position, is taken "
                f"from the other prompt, {''.join(spell(int(i)) for i in other)!r}: 0 not at all, 1 all the way "
                "(activation patching, Meng et al. 2022).",
                found.paths,
                [
                    f"{i} {a}" if a == b else f"{i} {a} / {b}"
                    for i, (a, b) in enumerate(zip(tokens, map(said, other), strict=True))
                ],
                found.share,
                1.0,
            )
        )

    if model.config.block_size >= 8:
        heads = inside.head_scores(model)
        ours = [
            f"{kind}: {', '.join(f'{blocks[i]} head {h} ({x:.2f})' for i, h, x in heads.best(kind, 3))}"
            for kind in heads.scores
        ]
        summary += [
            "what heads do, by their mean weights on random tokens that come twice:",
            *(f"  {line}" for line in ours),
        ]
        for kind, what in inside.KINDS.items():
            scores = heads.scores[kind]
            tables.append(
                Table(
                    f"Heads: {kind}",
                    f"The mean weight {what}.",
                    blocks,
                    [f"head {h}" for h in range(scores.shape[1])],
                    scores,
                    1.0,
                )
            )
    best = zip(lens.tokens[-1, -1], lens.probabilities[-1, -1], strict=True)
    return Inside(title, [(said(i), float(p)) for i, p in best], tables, summary)
