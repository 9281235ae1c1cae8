"""Which outputs depend on which inputs, from the gradients of one run: a map, and what is wrong with it in a sentence.

A model that predicts the next token may not see it; a batch's rows may not meet; padding may not be read. Whether they
do is not a matter of shapes: the gradient of each output by each input tells. The ops that ran then tell why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.core.graph import state
from minigrad.core.op import Array
from minigrad.core.tensor import Tensor
from minigrad.higher.again import steps_to
from minigrad.look.blame import Kept
from minigrad.look.gradcheck import on_copies
from minigrad.look.pages.influence_page import save_influence_page
from minigrad.torch.grad_mode import enable_grad

MOST = 400  # outputs whose gradients are taken
HIDDEN = 200.0  # a score so far below the largest of its softmax has no weight: -inf, -1e9 and -1e4 all hide
SOFTMAX = {"softmax", "log_softmax"}


@dataclass
class Map:
    """How strongly each output depends on each position of one input: |d output / d input|, the largest there."""

    name: str
    sizes: Array  # (B, T, B, S): output row and position, input row and position
    shift: int = 0  # 1 where the model puts a start before it, and so leaves its last out

    @property
    def seen(self) -> Array:
        """Where an output depends on an input at all."""
        return self.sizes > 1e-12 * float(self.sizes.max(initial=0))

    def within(self) -> Array:
        """(T, S): the largest influence within a row of the batch."""
        return self._rows(self.sizes)

    def seen_within(self) -> Array:
        """(T, S): where an output of some row depends on a position of that row."""
        return self._rows(self.seen)

    def _rows(self, of: Array) -> Array:
        return np.asarray(np.max([of[b, :, b] for b in range(len(of))], 0))

    def text(self, causal: bool) -> str:
        """The map in letters: # where it is seen, ! where it may not be, . where it is not."""
        lines = [f"  {self.name}: outputs downwards, inputs to the right; # seen, . not seen" + ", ! ahead" * causal]
        for t, row in enumerate(self.seen_within()):
            lines.append(
                "    " + " ".join("!" if s > t and causal and x else "#" if x else "." for s, x in enumerate(row))
            )
        return "\n".join(lines)


@dataclass
class Influence:
    """What ``influence`` found: a map for each input, and a sentence for each thing that is wrong."""

    maps: list[Map]
    findings: list[str] = field(default_factory=list)
    causal: bool = False
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = self.findings or ["nothing is wrong with what the outputs see"]
        return "\n".join([*found, *self.notes, *(m.text(self.causal) for m in self.maps)])

    def save(self, path: str | Path) -> None:
        """Write the maps and the findings as one self-contained HTML page."""
        save_influence_page(path, self)


def influence(
    model: Callable[..., Any], *inputs: Any, causal: bool = False, padding: Any = None, seed: int = 0
) -> Influence:
    """Which outputs of ``model(*inputs)`` depend on which inputs, and what is wrong with that.

    Inputs are ids (B, S) that an embedding takes, or floats (B, S, ...); the output is (B, T, ...), the first floating
    tensor that the model returns. With ``causal=True`` an output may see its own position and those before, in the last
    input (of a decoder, the target). ``padding`` (B, S) is True where the first input is padding, which no other
    position may see. The model runs in evaluation mode, so without dropout, on copies of its weights in float64.
    Raises ValueError for more than 400 output positions, and TypeError where no input or output can be followed.
    """
    rng = np.random.default_rng(seed)
    given = [x if isinstance(x, Tensor) else Tensor(np.asarray(x)) if isinstance(x, np.ndarray) else x for x in inputs]
    given = [
        Tensor(x._array.astype(np.float64), requires_grad=True) if isinstance(x, Tensor) and x.dtype.kind == "f" else x
        for x in given
    ]
    training = getattr(model, "training", False)
    if training:
        model.eval()  # type: ignore[attr-defined]
    try:
        with on_copies(model, True):
            maps, calls, notes = _maps(model, given, rng)
    finally:
        if training:
            model.train()  # type: ignore[attr-defined]
    hidden = None if padding is None else np.asarray(padding._array if isinstance(padding, Tensor) else padding, bool)
    found = Influence(maps, causal=causal, notes=notes)
    found.findings = _findings(maps, calls, causal, hidden)
    return found


def _maps(model: Any, inputs: list[Any], rng: np.random.Generator) -> tuple[list[Map], list[Kept], list[str]]:
    calls: list[Kept] = []
    leaves: dict[int, list[tuple[Tensor, int]]] = {}  # of each input: where it enters, and by how much it is shifted
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor) and x.requires_grad:
            leaves[i] = [(x, 0)]

    def note(op: Any, operands: Sequence[Any], constants: dict[str, Any], out: Tensor) -> None:
        calls.append(Kept.of(op, operands, constants, out, copies=[], z=out._array))
        ids = constants.get("ids") if op.__name__ == "embedding" else None
        for i, x in enumerate(inputs):
            if ids is not None and isinstance(x, Tensor) and x.dtype.kind in "iu" and np.shape(ids) == x.shape:
                if np.array_equal(ids, x._array):
                    leaves.setdefault(i, []).append((out, 0))
                elif x.ndim > 1 and np.array_equal(ids[:, 1:], x._array[:, :-1]):  # behind a start, as a decoder does
                    leaves.setdefault(i, []).append((out, 1))

    before, state.observer = state.observer, note
    try:
        with enable_grad():
            made = model(*inputs)
    finally:
        state.observer = before
    outputs = [x for x in (made if isinstance(made, tuple | list) else [made]) if isinstance(x, Tensor)]
    out = next((x for x in outputs if x.dtype.kind == "f" and x.ndim >= 2 and x.requires_grad), None)
    if out is None:
        raise TypeError("influence: the model must return a floating tensor (B, T, ...) in the graph")
    if not leaves:
        raise TypeError("influence: no input is a floating tensor, or ids that an embedding takes")
    B, T = out.shape[0], out.shape[1] if out.ndim > 2 else 1
    if B * T > MOST:
        raise ValueError(
            f"influence: {B} rows of {T} positions are {B * T} outputs, each walked back from: give {MOST} at most"
        )
    ends = [x._node or x for found in leaves.values() for x, _ in found]
    maps = {i: np.zeros((B, T, *xs[0][0].shape[:2])) for i, xs in leaves.items()}
    weights = rng.normal(size=out.shape)
    for b, t in np.ndindex(B, T):
        dz = np.zeros(out.shape)
        place = (b, t) if out.ndim > 2 else (b,)
        dz[place] = weights[place]
        arrived: dict[int, Array] = {}

        def receive(end: Any, dx: Any, shared: bool, arrived: dict[int, Array] = arrived) -> None:
            arrived[id(end)] = arrived.get(id(end), 0) + np.asarray(dx)

        for _ in steps_to([(out, Tensor(dz))], ends, receive, retain_graph=True, create_graph=False):
            pass
        for i, xs in leaves.items():
            for x, shift in xs:
                dx = arrived.get(id(x._node or x))
                if dx is not None:
                    sizes = np.abs(dx).reshape(*x.shape[:2], -1).max(-1, initial=0)[:, shift:]
                    there = maps[i][b, t][:, : sizes.shape[1]]
                    np.maximum(there, sizes, out=there)
    names = ["input"] if len(maps) == 1 else [f"input {i}" for i in maps]
    modules = model.modules() if hasattr(model, "modules") else ()
    dropped = [m for m in modules if type(m).__name__ == "Dropout" and m.p]
    notes = ["dropout is switched off for this"] if dropped else []
    every = zip(names, maps.items(), strict=True)
    return [Map(name, sizes, min(shift for _, shift in leaves[i])) for name, (i, sizes) in every], calls, notes


# What is wrong


def _findings(maps: list[Map], calls: list[Kept], causal: bool, padding: Array | None) -> list[str]:
    found: list[str] = []
    if not all(np.isfinite(m.sizes).all() for m in maps):
        return ["a gradient is not finite: see `with minigrad.detect_anomaly():`"]
    mixed = [m for m in maps if len(m.sizes) == m.sizes.shape[2] and (m.seen & ~_own_row(m)).any()]
    cut = _cut_apart(calls)
    attention = _attention(calls)
    for m in mixed[:1]:
        b, t, c, s = np.argwhere(m.seen & ~_own_row(m))[0]
        why = _why_mixed(m, calls)
        found.append(
            f"rows of the batch are mixed: row {b}, output {t} depends on row {c}, position {s} of {m.name}{why}"
        )
    if not mixed:
        found += cut
    odd = [] if mixed or cut else attention.odd
    target = maps[-1]
    if causal and not mixed:
        found += _ahead(target, [*cut, *odd], attention, len(maps) > 1)
    found += [sentence for sentence in odd if sentence not in " ".join(found)]
    if padding is not None:
        found += _padding(maps[0], padding)
    for m in maps:
        seen = np.asarray(m.seen.any((0, 1)))[:, : m.sizes.shape[3] - m.shift]
        if padding is not None and m is maps[0] and padding.shape == m.sizes.shape[2:]:
            seen = seen | padding[:, : seen.shape[1]]
        if not seen.all() and not (causal and m is target and found):
            missing = sorted({int(s) for _, s in np.argwhere(~seen)})
            found.append(f"no output depends on {_places(missing)} of {m.name}")
    return found


def _own_row(m: Map) -> Array:
    B = len(m.sizes)
    return np.asarray(np.eye(B, dtype=bool)[:, None, :, None])


def _why_mixed(m: Map, calls: list[Kept]) -> str:
    B, T, _, S = m.sizes.shape
    if T == S > 1 and not (m.seen & ~np.eye(T, dtype=bool)[None, :, None, :]).any():
        return ": batch and time are exchanged, as where a layer takes (T, B, C) and is given (B, T, C)"
    for call in calls:
        x = call.inputs[0] if call.inputs else None
        if call.op.__name__ == "reshape" and isinstance(x, np.ndarray) and x.ndim >= 3 and B != T:
            turned = x.shape[1], x.shape[0]
            if x.shape[:2] != turned and call.shape[:2] == turned:
                shapes = _shapes(x.shape, call.shape)
                return f": {shapes} does not exchange batch and time, it mixes them: use transpose(0, 1){_at(call)}"
    return ": a reshape, a sum or a product goes over the batch"


def _cut_apart(calls: list[Kept]) -> list[str]:
    """Heads that are split or joined without a transpose: each then has pieces of several positions."""
    found = []
    for call in calls:
        if call.op.__name__ != "reshape" or not isinstance(call.inputs[0], np.ndarray):
            continue
        a, b = call.inputs[0].shape, call.shape
        if len(a) == 3 and len(b) == 4 and a[1] != b[1] and a[1] == b[2] and b[1] * b[3] == a[2] and b[1] > 1:
            found.append(
                f"positions are mixed in the heads: {_shapes(a, b)} cuts across them; "
                f"view as {(a[0], a[1], b[1], b[3])}, then transpose(1, 2){_at(call)}"
            )
        if len(a) == 4 and len(b) == 3 and b[1] != a[1] and b[1] == a[2] and a[1] * a[3] == b[2] and a[1] > 1:
            found.append(
                f"positions are mixed where heads are joined: {_shapes(a, b)}; transpose(1, 2) before it{_at(call)}"
            )
    return list(dict.fromkeys(found))[:2]


@dataclass
class _Attention:
    """What the ops say of attention: what is odd, and who may see whom in the scores, by (T, S)."""

    odd: list[str] = field(default_factory=list)
    allowed: list[Array] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def _attention(calls: list[Kept]) -> _Attention:
    """Of each softmax over scores: its axis, what was added before, what was hidden after."""
    found = _Attention()
    made = {id(call.z): call for call in calls}
    for place, call in enumerate(calls):
        if call.op.__name__ == "scaled_dot_product_attention":
            query, key, mask = call.inputs[0], call.inputs[1], call.constants.get("mask")
            whole = query.shape[-2], key.shape[-2]
            allowed = np.tri(*whole, dtype=bool) if call.constants.get("is_causal") else np.ones(whole, dtype=bool)
            if mask is not None:
                allowed = allowed & np.asarray(mask, bool).reshape(-1, *np.shape(mask)[-2:]).any(0)
            found.allowed.append(np.broadcast_to(allowed, whole))
            found.lines.append(_at(call))
            bias = call.inputs[3] if len(call.inputs) > 3 else None
            if isinstance(bias, np.ndarray) and _zeros_and_ones(bias):
                found.odd.append(_added(_at(call)))
        elif call.op.__name__ in SOFTMAX and _scores(call.inputs[0]):
            scores, axis = call.inputs[0], call.constants.get("axis", -1) % call.inputs[0].ndim
            if axis != scores.ndim - 1 and _from_product(call.inputs[0], made):
                found.odd.append(
                    f"the softmax goes over axis {axis} of {scores.shape}, the queries, not over the keys, the "
                    f"last one: the weights of a query do not sum to 1{_at(call)}"
                )
            if not _from_product(scores, made):
                continue
            shown = scores > scores.max(axis, keepdims=True) - HIDDEN
            found.allowed.append(shown.reshape(-1, *scores.shape[-2:]).any(0))
            found.lines.append(_at(call))
            for before in _behind(scores, made):
                if before.op.__name__ == "add" and any(
                    isinstance(x, np.ndarray) and x.ndim >= 2 and _zeros_and_ones(x) for x in before.inputs
                ):
                    found.odd.append(_added(_at(before)))
            after = next((c for c in calls[place + 1 :] if any(x is call.z for x in c.inputs)), None)
            if after is not None and after.op.__name__ in ("mul", "where", "masked_fill") and _hides(after):
                found.odd.append(
                    "the mask is applied after the softmax: what it hides still counts in the sum of the weights; "
                    f"fill the scores with -inf before it{_at(after)}"
                )
    found.odd = list(dict.fromkeys(found.odd))
    return found


def _added(at: str) -> str:
    return (
        f"a mask of 0 and 1 is added to the scores, which hides nothing: add -inf, or masked_fill(mask == 0, -inf){at}"
    )


def _scores(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.ndim >= 2 and x.dtype.kind == "f"


def _zeros_and_ones(x: Array) -> bool:
    return x.size > 1 and set(np.unique(x)) == {0.0, 1.0}


def _hides(call: Kept) -> bool:
    """Whether an op sets part of (T, S) numbers to 0, whatever they are."""
    arrays = [
        x for x in (*call.inputs, *call.constants.values()) if isinstance(x, np.ndarray) and x is not call.inputs[0]
    ]
    return any(x.ndim >= 2 and x.shape[-2:] == call.shape[-2:] and len(set(np.unique(x))) == 2 for x in arrays)


def _behind(x: Any, made: dict[int, Kept], depth: int = 6) -> list[Kept]:
    """The ops that made an array, elementwise ones and views, back to the product of matrices."""
    found = []
    while depth and (call := made.get(id(x))) is not None and call.op.__name__ not in ("matmul", "einsum"):
        found.append(call)
        inner = [y for y in call.inputs if isinstance(y, np.ndarray) and id(y) in made and y.size == call.z.size]
        x, depth = inner[0] if inner else None, depth - 1
    return found


def _from_product(x: Any, made: dict[int, Kept]) -> bool:
    """Whether scores come from a product of two results, as query and key."""
    chain = _behind(x, made)
    at: Any = x
    if chain:
        at = next((y for y in chain[-1].inputs if isinstance(y, np.ndarray) and y.size == chain[-1].z.size), None)
    call = made.get(id(at))
    return call is not None and call.op.__name__ in ("matmul", "einsum") and not any(call.parameters)


def _ahead(m: Map, causes: list[str], attention: _Attention, two: bool) -> list[str]:
    """What an output may not see: the positions after its own."""
    size = m.within()
    T, S = size.shape
    if T != S:
        return [f"causal: {m.name} has {S} positions, the output {T}: which of them are ahead cannot be said"]
    seen = m.seen_within()
    ahead = np.triu(seen, 1)
    if not ahead.any():
        return []
    t, s = np.argwhere(ahead)[0]
    most = f"output {t} depends on position {s} (|d out / d in| up to {np.triu(size, 1).max():.3g})"
    subject = "the target sees its own future" if two else "an output sees what is ahead of it"
    if causes:
        return [f"{subject}: {most}; {causes[0]}"]
    square = [(a, line) for a, line in zip(attention.allowed, attention.lines, strict=True) if a.shape == (T, T)]
    for allowed, line in square or [(seen, "")]:
        if (allowed == np.tri(T, dtype=bool)).all() or not np.triu(allowed, 1).any():
            continue
        if allowed.all():
            where = " in attention to the target" if two and any(not np.triu(a, 1).any() for a, _ in square) else ""
            return [f"{subject}: {most}; no mask hides anything{where}{line}"]
        if (allowed == ~np.tri(T, dtype=bool)).all() or not np.tril(allowed[:-1]).any():
            return [f"{subject}, and that alone: {most}; True and False are exchanged in the mask{line}"]
        if (allowed == np.triu(np.ones((T, T), bool))).all():
            return [f"{subject}, and not what was before: {most}; the mask is upside down: triu for tril{line}"]
        for more in range(1, T - 1):
            if (allowed == np.tri(T, T, more, dtype=bool)).all():
                return [f"{subject}: {most}; the mask is {more} too wide: tril(diagonal={more}){line}"]
    return [f"{subject}: {most}"]


def _padding(m: Map, padding: Array) -> list[str]:
    """Whether what is no padding depends on padding."""
    if padding.shape != m.sizes.shape[2:]:
        return [f"padding has shape {padding.shape}, the input {m.sizes.shape[2:]}"]
    B, T = m.sizes.shape[:2]
    real = ~padding if padding.shape == (B, T) else np.ones((B, T), dtype=bool)
    pairs = m.seen & real[:, :, None, None] & padding[None, None]
    others = m.seen & real[:, :, None, None] & ~padding[None, None]
    if padding.shape == (B, T):
        own = np.eye(B, dtype=bool)[:, None, :, None] & np.eye(T, dtype=bool)[None, :, None, :]
        others = others & ~own
    if not pairs.any():
        return []
    b, t, _, s = np.argwhere(pairs)[0]
    most = f"(|d out / d in| up to {m.sizes[pairs].max():.3g})"
    how = f"row {b}, output {t} depends on position {s}, which is padding {most}"
    if not others.any():
        return [f"only padding is seen: {how}; True and False are exchanged in the mask"]
    return [f"padding is seen: {how}; hide it in every attention"]


def _places(places: list[int]) -> str:
    return (
        f"position {places[0]}"
        if len(places) == 1
        else f"positions {', '.join(map(str, places[:8]))}" + ", ..." * (len(places) > 8)
    )


def _shapes(a: Sequence[int], b: Sequence[int]) -> str:
    return f"a reshape of {tuple(a)} to {tuple(b)}"


def _at(call: Kept) -> str:
    return f"\n{call.line}" if call.line else ""
