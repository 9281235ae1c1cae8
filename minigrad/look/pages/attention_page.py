"""The attention workbench: all heads of a model on a page, as figures, or in the terminal, in numbers that add up."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.core.tensor import Tensor
from minigrad.look.pages.heads import AttentionLayer, attention_layers
from minigrad.look.pages.html import page
from minigrad.look.pages.tokens import END, Tokens, WordPieces, visible, words_of
from minigrad.look.pages.what_if import Answers, ask, probabilities
from minigrad.nn import Module
from minigrad.ops import Array
from minigrad.train.files import atomic_write, page_mark

MARK = page_mark("attention")
LIMIT = 64  # tokens of a sequence that the page shows
POSITIVE, NEGATIVE, NOT_ALLOWED = (200, 70, 40), (30, 90, 200), "#ececec"  # colours of a figure on white paper


@dataclass
class Workbench:
    """The attention of a run: ``layers[n]`` holds the arrays, ``rows[n]`` and ``columns[n]`` the tokens on their axes.

    ``html()`` is the page, ``svg(layer, head)`` a figure for a paper, ``text(...)`` the same in the terminal; ``print``
    shows what each head does, and a notebook the page.
    """

    title: str
    layers: list[AttentionLayer]
    rows: list[Tokens]
    columns: list[Tokens]
    limit: int = LIMIT
    answers: Answers | None = None
    target: list[int | None] = field(default_factory=list)  # by query: the token that is right there, if that is known
    spell: Callable[[int], str] = str  # a token's label by its number

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        layers, heads = len(self.layers), sum(len(layer.weights) for layer in self.layers)
        return f"Workbench({self.title}: {layers} layer{'s' * (layers != 1)}, {heads} head{'s' * (heads != 1)})"

    def html(self) -> str:
        """The page, one file that needs no other."""
        return page(f"Attention of {self.title}", "attention", _data(self), parts=["answers"])

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        with atomic_write(path, MARK) as file:
            file.write(self.html().encode("utf-8", "replace"))

    def _repr_html_(self) -> str:
        name, text = html.escape(f"Attention of {self.title}"), html.escape(self.html())
        return f'<iframe title="{name}" style="width: 100%; height: 860px; border: 0" srcdoc="{text}"></iframe>'

    def svg(self, layer: int = 0, head: int = 0) -> str:
        """The heat map of a head with its tokens: an SVG without script, at most ``limit`` tokens a side."""
        one = self.head(layer, head)
        rows, columns = (t[layer].labels[: self.limit] for t in (self.rows, self.columns))
        title = f"{self.title}: {one.path}, head {head}"
        return figure(title, one.weights[head], one.allowed[head], rows, columns)

    def text(
        self,
        token: str | None = None,
        layer: int | None = None,
        head: int | None = None,
        key: str | None = None,
        top: int = 4,
        each: bool = False,
    ) -> str:
        """For the terminal: what each head does; or where a token looks, the last character of it or each of them.

        With a layer and a head also the arithmetic of one weight: of the token and a key, its strongest if none is
        given. Raises ValueError for a token that is not in the text.
        """
        if layer is not None or head is not None:
            self.head(layer or 0, head or 0)
        lines = [self.title]
        missing = None
        for n, one in enumerate(self.layers):
            if layer not in (None, n):
                continue
            rows, columns = self.rows[n], self.columns[n]
            try:
                queries = None if token is None else rows.find(token)
            except ValueError as error:  # a word of the target is not in the source
                missing = error
                continue
            lines += [f"\nlayer {n}, {one.path}", *(f"  odd: {note}" for note in one.notes)]
            for h in range(len(one.weights)):
                if head not in (None, h):
                    continue
                if queries is None:
                    lines.append(f"  head {h}  {character(one, h)}{self._worth(n, h)}")
                    continue
                for i in queries if each else queries[-1:]:
                    best = np.argsort(-one.weights[h, i], kind="stable")[:top]
                    looks = [f"{_at(columns, j):<6} {one.weights[h, i, j]:.3f}" for j in best if one.allowed[h, i, j]]
                    lines.append(f"  head {h}  {_at(rows, i)} -> {'   '.join(looks)}")
                if head is not None and layer is not None:
                    i = queries[-1]
                    j = columns.find(key)[-1] if key is not None else int(one.weights[h, i].argmax())
                    lines += ["", *self.arithmetic(n, h, i, j)]
        if missing is not None and len(lines) == 1:
            raise missing
        return "\n".join(lines)

    def _worth(self, layer: int, head: int) -> str:
        """How much the loss grows without a head, where that was tried."""
        off = self.answers.off if self.answers is not None else None
        growth = off[layer][head] if off is not None and off[layer] else None
        return "" if growth is None else f"; with it off: loss {growth:+.2g}"

    def expected(self, query: int, top: int = 5) -> list[tuple[str, float]]:
        """The tokens that the model expects at a query, likeliest first, with their probabilities; [] if not known."""
        if self.answers is None or self.answers.logits is None:
            return []
        return _likeliest(probabilities(self.answers.logits)[query], self.spell, top)

    def arithmetic(self, layer: int, head: int, query: int, key: int) -> list[str]:
        """How one weight and one output come about, in lines of numbers: query and key are positions."""
        one = self.head(layer, head)
        for what, place, size in (("query", query, one.weights.shape[1]), ("key", key, one.weights.shape[2])):
            if not 0 <= place < size:
                raise ValueError(f"there is no {what} {place}: they are 0 to {size - 1}")
        q, k, scores = one.query[head, query], one.key[head, key], one.scores[head, query]
        products, allowed = q * k, one.allowed[head, query]
        raw = products.sum()
        scaled = one.scale * raw
        lines = [
            f"query {_at(self.rows[layer], query)}, key {_at(self.columns[layer], key)}",
            f"  q          {_vector(q)}",
            f"  k          {_vector(k)}",
            f"  q * k      {_vector(products)}",
            f"  sum        {_short(raw)}",
            f"  scaled     {_short(raw)} * {_short(one.scale)} = {_short(scaled)}",
        ]
        if one.bias is not None:
            bias = one.bias[head, query, key]
            lines.append(f"  with bias  {_short(scaled)} + {_short(bias)} = {_short(scaled + bias)}")
        if not allowed[key]:
            lines.append("  mask       not allowed: the score is -inf, the weight 0")
        elif one.exact is None:
            top = scores[allowed].max()
            total = np.exp(scores[allowed] - top).sum()
            lines += [
                f"  softmax    exp({_short(scores[key])} - {_short(top)}) = {_short(np.exp(scores[key] - top))}, "
                f"of {_short(total)} in all {int(allowed.sum())} keys",
                f"  weight     {_short(one.weights[head, query, key])}",
            ]
        else:
            implied, exact = one.weights[head, query, key], one.exact[head, query, key]
            how = "as used" if one.cost is None else f"implied by {one.method}"
            lines.append(f"  weight     {_short(implied)} {how}, {_short(exact)} in exact attention")
        if one.gradient is not None:
            lines.append(f"  dL/dA      {_short(one.gradient[head, query, key])}")
        lines += [
            f"  v          {_vector(one.value[head, key])}",
            f"  output     {_vector(one.output[head, query])}  (the sum of weight * v over all keys)",
        ]
        return lines

    def head(self, layer: int, head: int) -> AttentionLayer:
        """The layer, if it has this head. Raises ValueError if not."""
        if not 0 <= layer < len(self.layers):
            raise ValueError(f"there is no layer {layer}: they are 0 to {len(self.layers) - 1}")
        if not 0 <= head < len(self.layers[layer].weights):
            raise ValueError(f"layer {layer} has no head {head}: they are 0 to {len(self.layers[layer].weights) - 1}")
        return self.layers[layer]


def attention(
    model: Module,
    text: Any,
    path: str | Path | None = None,
    *,
    tokenizer: Any = None,
    tokens: Sequence[Any] | None = None,
    loss: Callable[[Any], Tensor] | None = None,
    title: str | None = None,
    limit: int = LIMIT,
) -> Workbench:
    """Run a model on a text and look into its attention; with a path, also write the page there.

    ``text`` is a string, or a pair of them, to read and to write: then ``tokenizer`` has ``encode(text)`` and
    ``decode(ids)``, or is one of the package tokenizers; its [CLS] comes first, its END last, where it has them. Or
    ``text`` is a tensor, or a tuple of what the model is called with: then ``tokens`` are the labels of the first
    sequence in the batch, a list or, for source and target, a pair of lists; without them, ids as the tokenizer spells
    them, or numbers. ``loss(output)`` is what dL/dA is taken of, see ``attention_layers``. The page shows the first
    ``limit`` tokens of a sequence; of what is longer than the model's ``config.block_size`` the model reads the last
    tokens. The model runs again without each of its heads, and as if it ended after each block. Raises ValueError for
    a model that has no attention, and for labels that fit none of it.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    if hasattr(tokenizer, "token_to_id"):
        tokenizer = WordPieces(tokenizer)
    inputs, spelt = _inputs(model, text, tokenizer)
    given = tokens is not None
    if tokens is not None:
        lists = [tokens] if all(isinstance(t, str | int) for t in tokens) else tokens
        spelt = [[str(t) for t in part] for part in lists]
        if len(spelt) > 2:
            raise ValueError(f"tokens= is a list of labels, or a pair of lists: got {len(spelt)} lists")
    names = {1: [""], 2: ["source", "target"], 3: ["source", "target as read", "target as written"]}
    sequences = [
        Tokens(part, name, words_of(text, part, None if given else tokenizer, given))
        for part, name in zip(spelt, names.get(len(spelt), []), strict=True)
    ]
    room = getattr(getattr(model, "config", None), "block_size", None)
    if isinstance(room, int):
        inputs = tuple(x[:, -room:] if _are_ids(x) and x.ndim == 2 else x for x in inputs)
        for part in sequences:
            part.drop(len(part) - room)
    layers = attention_layers(model, inputs, loss)
    lengths = sorted({n for layer in layers for n in layer.weights.shape[1:]})
    numbers = [Tokens([str(i) for i in range(n)], words=range(n)) for n in lengths]
    axes = [_axes(layer, sequences, numbers) for layer in layers]
    if given:
        for part in sequences:
            if not any(part in pair for pair in axes):
                raise ValueError(
                    f"tokens= has {len(part)} labels, the attention has {', '.join(map(str, lengths))} places"
                )
    answers = ask(model, inputs, layers, loss)
    made = Workbench(
        title or type(model).__name__, layers, [rows for rows, _ in axes], [columns for _, columns in axes], limit,
        answers, _targets(model, inputs, answers), lambda token: _label(token, tokenizer),
    )  # fmt: skip
    if path is not None:
        made.save(path)
    return made


def _inputs(model: Module, text: Any, tokenizer: Any) -> tuple[tuple[Any, ...], list[list[str]]]:
    """What the model is called with, and the tokens of the sequences that can be told from it."""
    several = isinstance(text, tuple) or (isinstance(text, list) and any(isinstance(part, str) for part in text))
    parts = tuple(text) if several else (text,)
    if any(isinstance(part, str) for part in parts):
        parts = _encoded(parts, tokenizer)
    inputs = tuple(Tensor(np.array(part)) if isinstance(part, np.ndarray | list) else part for part in parts)
    ids = [part for part in inputs if _are_ids(part)]
    if not ids:
        return inputs, []
    if len(ids) < 2 or not hasattr(model, "shifted"):
        return inputs, [_spell(part, tokenizer) for part in ids[: 1 + several]]
    source, target = ids[:2]  # what the decoder is given to write the target is the target, moved on by one
    read = ["⟨start⟩", *_spell(model.shifted(target), tokenizer)[1:]]
    return inputs, [_spell(source, tokenizer), read, _spell(target, tokenizer)]


def _are_ids(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype.kind in "iu" and part.ndim in (1, 2)


def _label(token: int, tokenizer: Any) -> str:
    """A token as it is spelt; as its number where the tokenizer has none of that number."""
    if tokenizer is None:
        return str(token)
    try:
        return visible(tokenizer.decode([token]))
    except (IndexError, KeyError, ValueError):
        return str(token)


def _targets(model: Module, inputs: Sequence[Any], answers: Answers) -> list[int | None]:
    """The token that is right at each query: the one that follows, or for a decoder the one to be written."""
    ids = [part for part in inputs if _are_ids(part) and part.ndim == 2]
    if answers.logits is None:
        return []
    if answers.following:
        return [*ids[0].numpy()[0, 1:].tolist(), None]
    if hasattr(model, "shifted") and len(ids) > 1:
        return list(ids[1].numpy()[0].tolist())
    return [None] * len(answers.logits)


def _likeliest(p: Array, spell: Callable[[int], str], top: int) -> list[tuple[str, float]]:
    best = np.argsort(-p, kind="stable")[:top]
    return [(spell(int(token)), float(p[token])) for token in best]


def _encoded(texts: tuple[Any, ...], tokenizer: Any) -> tuple[Any, ...]:
    """The ids (1, T) of a text, or of the two of a pair."""
    if len(texts) > 2 or not all(isinstance(text, str) for text in texts):
        raise ValueError("text is a string, a pair of them, or tensors; it cannot be a mixture")
    if tokenizer is None:
        raise ValueError("a text needs tokenizer=, the one that the model was trained with")
    if "" in texts:
        raise ValueError("the text is empty: give at least one character")
    if len(texts) == 2 and END in getattr(tokenizer, "characters", ""):
        texts = tuple(text + END for text in texts)
    first = [tokenizer.special["[CLS]"]] if "[CLS]" in getattr(tokenizer, "special", {}) else []
    return tuple(np.array([[*first, *tokenizer.encode(text)]]) for text in texts)


def _spell(ids: Any, tokenizer: Any) -> list[str]:
    """The tokens of the first sequence; without a tokenizer, their numbers."""
    row = np.asarray(ids.numpy() if isinstance(ids, Tensor) else ids)
    return [tokenizer.decode([int(i)]) if tokenizer else str(i) for i in row.reshape(-1, row.shape[-1])[0]]


def _axes(layer: AttentionLayer, sequences: list[Tokens], numbers: list[Tokens]) -> tuple[Tokens, Tokens]:
    """Which tokens ask and which are asked, by the layer's kind, path and lengths; numbers where none fit."""
    asking = asked = sequences
    if layer.kind == "cross":
        asking = sequences[::-1]  # the last is what a decoder writes, the first what it looks at
    elif "decoder" in layer.path:
        asking = asked = sequences[1:] + sequences[:1]
    T, S = layer.weights.shape[1:]
    rows, columns = (
        next(s for s in (*order, *numbers) if len(s) == length) for order, length in ((asking, T), (asked, S))
    )
    return rows, rows if layer.kind == "self" else columns


def character(layer: AttentionLayer, head: int) -> str:
    """What a head mostly does, in a few words: its mean weight on some places, over the rows that have a choice."""
    A, allowed = layer.weights[head], layer.allowed[head]
    if A.min() < -1e-6:  # as mixtures of keys may imply
        return f"weights from {A.min():.2f} to {A.max():.2f}"
    S = A.shape[1]
    rows = np.flatnonzero(allowed.sum(1) > 1)
    if not len(rows):
        return "no choice: one key a row"
    places = {"the first token": (rows, 0 * rows), "the last token": (rows, 0 * rows + S - 1)}
    if layer.kind == "self":
        before, after = rows[rows > 0], rows[rows < S - 1]
        places |= {"the token itself": (rows, rows), "the token before": (before, before - 1)}
        places |= {"the token after": (after, after + 1)}
    shares = {name: float(A[where].mean()) for name, where in places.items() if len(where[0])}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= 0.3:
        return f"{best}, {shares[best]:.0%}"
    chances = np.clip(A[rows], 1e-12, None)
    spread = np.exp(-(chances * np.log(chances)).sum(1)).mean()
    distance = (A[rows] * np.abs(rows[:, None] - np.arange(S))).sum(1).mean()
    return f"over about {spread:.0f} tokens" + (f", {distance:.0f} away on average" if layer.kind == "self" else "")


def group(layer: AttentionLayer, sequences: int) -> str:
    """What the tabs of the page call a layer's kind."""
    if layer.kind == "cross":
        return "Cross-attention"
    for part in ("encoder", "decoder"):
        if sequences and part in layer.path:
            return f"{part.capitalize()} self-attention"
    return "Self-attention"


def figure(title: str, weights: Array, allowed: Array, rows: list[str], columns: list[str]) -> str:
    """The drawing behind ``Workbench.svg``; the page draws the same, ``figure`` in ``assets/attention.js``."""
    cell, font = 14, 11
    wide = max(map(len, columns)) > 2  # such labels are turned
    left = 34 + 7 * max(map(len, rows))
    top = 50 + (7 * max(map(len, columns)) if wide else 16)
    width, height = max(left + cell * len(columns) + 14, 14 + 7 * len(title), 290), top + cell * len(rows) + 52
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="DejaVu Sans, Arial, sans-serif" fill="#111">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="20" font-size="13">{html.escape(title)}</text>',
        f'<text x="12" y="38" font-size="{font}" fill="#555">rows: queries, columns: keys</text>',
        f'<g font-family="DejaVu Sans Mono, monospace" font-size="{font}">',
    ]
    for i, label in enumerate(rows):
        out.append(f'<text x="{left - 5}" y="{top + cell * i + 11}" text-anchor="end">{html.escape(label)}</text>')
    for j, label in enumerate(columns):
        x = left + cell * j + 7
        turned = f'transform="translate({x + 4} {top - 5}) rotate(-90)"'
        upright = f'x="{x}" y="{top - 5}" text-anchor="middle"'
        out.append(f"<text {turned if wide else upright}>{html.escape(label)}</text>")
    out.append("</g>")
    for i in range(len(rows)):
        for j in range(len(columns)):
            fill = shade(float(np.float32(weights[i, j]))) if allowed[i, j] else NOT_ALLOWED
            if fill != "#ffffff":
                out.append(
                    f'<rect x="{left + cell * j}" y="{top + cell * i}" width="{cell}" height="{cell}" fill="{fill}"/>'
                )
    bottom = top + cell * len(rows)
    size = f'width="{cell * len(columns)}" height="{cell * len(rows)}"'
    out.append(f'<rect x="{left}" y="{top}" {size} fill="none" stroke="#999"/>')
    for n, percent in enumerate([0, 1, 10, 25, 50, 100]):
        x, fill = 12 + 44 * n, shade(percent / 100)
        out.append(f'<rect x="{x}" y="{bottom + 14}" width="44" height="10" fill="{fill}" stroke="#999"/>')
        out.append(f'<text x="{x + 22}" y="{bottom + 36}" font-size="9" text-anchor="middle">{percent} %</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def shade(weight: float) -> str:
    """The colour of a weight on white: as strong as its square root, so that small weights are seen."""
    level = math.floor(255 * min(1.0, math.sqrt(abs(weight))) + 0.5)
    full = NEGATIVE if weight < 0 else POSITIVE
    return "#" + "".join(f"{(255 * (255 - level) + c * level) // 255:02x}" for c in full)


class _Pool:
    """Arrays in the page, as base64 of little-endian float32 (masks: bytes); those that are equal are in it once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def add(self, array: Array | None, kind: str = "<f4") -> int | None:
        """The number of an array in the pool."""
        if array is None:
            return None
        text = base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode("ascii")
        return self.numbers.setdefault(text, len(self.numbers))


def _data(bench: Workbench) -> dict[str, Any]:
    """All that the page shows, as JSON: see ``assets/attention.js``."""
    pool, limit = _Pool(), bench.limit
    sequences: list[Tokens] = []
    for part in (*bench.rows, *bench.columns):
        if not any(part is s for s in sequences):
            sequences.append(part)
    place = {id(s): n for n, s in enumerate(sequences)}
    layers = []
    for n, layer in enumerate(bench.layers):
        H, T, S = layer.weights.shape
        heads = []
        for h in range(H):
            rest = _rest(layer, h, limit)
            heads.append(
                {
                    "query": pool.add(layer.query[h, :limit]),
                    "key": pool.add(layer.key[h, :limit]),
                    "value": pool.add(layer.value[h, :limit]),
                    "output": pool.add(layer.output[h, :limit]),
                    "allowed": pool.add(layer.allowed[h, :limit, :limit], "u1"),
                    **{
                        name: pool.add(None if array is None else array[h, :limit, :limit])
                        for name, array in (
                            ("weights", layer.weights),
                            ("bias", layer.bias),
                            ("gradient", layer.gradient),
                            ("exact", layer.exact),
                        )
                    },
                    "rest": {name: pool.add(array) for name, array in rest.items()} if rest else None,
                    "character": character(layer, h),
                }
            )
        D, E = layer.query.shape[-1], layer.value.shape[-1]
        exact_cost = {"multiply_adds": T * S * (D + E), "scratch_bytes": 4 * T * S}
        layers.append(
            {
                "path": layer.path,
                "group": group(layer, len(sequences)),
                "method": layer.method,
                "cross": layer.kind == "cross",
                "rows": place[id(bench.rows[n])],
                "columns": place[id(bench.columns[n])],
                "sizes": [D, E],
                "totals": [T, S],
                "scale": layer.scale,
                "notes": layer.notes,
                "heads": heads,
                "cost": None if layer.cost is None else {"here": layer.cost, "exact": exact_cost},
            }
        )
    return {
        "title": bench.title,
        "limit": limit,
        "sequences": [
            {
                "name": s.name,
                "labels": s.labels[:limit],
                "words": s.words[:limit],
                "total": len(s),
                "dropped": s.dropped,
            }
            for s in sequences
        ],
        "answers": _answers(bench),
        "layers": layers,
        "pool": list(pool.numbers),
    }


def _answers(bench: Workbench) -> dict[str, Any] | None:
    """What the model answers at each token that is shown, as JSON."""
    answers = bench.answers
    if answers is None:
        return None

    def rows(logits: Array, top: int) -> list[dict[str, Any]]:
        p = probabilities(logits[: bench.limit])
        return [
            {
                "top": [(label, round(chance, 5)) for label, chance in _likeliest(row, bench.spell, top)],
                "p": None if target is None else float(f"{row[target]:.4g}"),
            }
            for row, target in zip(p, bench.target, strict=False)
        ]

    own = [] if answers.logits is None else rows(answers.logits, 5)
    for row, target in zip(own, bench.target, strict=False):
        row["target"] = None if target is None else bench.spell(target)
        row["loss"] = None if target is None else -math.log(max(row["p"], 1e-30))
    return {
        "loss": answers.loss if math.isfinite(answers.loss) else str(answers.loss),
        "what": answers.what,
        "following": answers.following,
        "rows": own,
        "lens": [{"path": path, "rows": rows(logits, 3)} for path, logits in answers.lens],
        "off": answers.off and [[_finite(growth) for growth in layer] for layer in answers.off],
    }


def _finite(growth: float | None) -> float | None:
    return None if growth is None or not math.isfinite(growth) else float(f"{growth:.4g}")


def _rest(layer: AttentionLayer, head: int, limit: int) -> dict[str, Array] | None:
    """What the keys after the limit add to the rows shown: log sum of exp(score), weights, and to the output."""
    hidden = layer.weights[head, :limit, limit:]
    if not layer.allowed[head, :limit, limit:].any():
        return None
    return {
        "scores": np.logaddexp.reduce(layer.scores[head, :limit, limit:], axis=1),
        "weights": hidden.sum(1),
        "output": hidden @ layer.value[head, limit:],
    }


def _at(tokens: Tokens, i: int) -> str:
    return f"{tokens.labels[i]}@{i}"


def _short(value: Any) -> str:
    return f"{float(value):.4g}"


def _vector(values: Array, shown: int = 8) -> str:
    more = f" ... ({len(values)} numbers)" if len(values) > shown else ""
    return " ".join(f"{float(v):8.4f}" for v in values[:shown]) + more
