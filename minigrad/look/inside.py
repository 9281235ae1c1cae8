"""Inside a run of a model: any value read or replaced by its path, and what the parts have to do with the answer.

Every function takes a model with ``blocks`` of ``attention`` and ``mlp``, then ``norm`` and ``head``: GPT and Llama.
Shapes: B batch, T time, C channels, L blocks, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.core.graph import no_grad
from minigrad.core.tensor import Tensor
from minigrad.higher.again import steps_to
from minigrad.look.pages.heads import attention_layers
from minigrad.nn import Module
from minigrad.ops import Array
from minigrad.torch.grad_mode import enable_grad

Value = Tensor | Array | float | Callable[[Tensor], Tensor]


class Run:
    """What the modules of a model take and give while it runs, by dotted path; see ``inside``."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.modules = {path: module for path, module in model.named_modules() if path}
        self._made: dict[str, Any] = {}
        self._given: dict[str, Any] = {}
        self._instead: dict[tuple[str, bool], list[Callable[[Tensor], Tensor]]] = {}

    def __getitem__(self, path: str) -> Any:
        """What the module at a path gave, in its latest call."""
        return self._seen(self._made, path)

    def given(self, path: str) -> Any:
        """What the module at a path was given, its first argument."""
        return self._seen(self._given, path)

    def replace(self, path: str, value: Value, at: Any = None, given: bool = False) -> None:
        """Put a value in the place of what a module gives, or (``given``) of what it is given.

        ``value`` is a tensor of the same shape, a number, or a function of what stands there. With ``at`` only these
        positions of T are replaced. Raises ValueError, in the run, for a value of another shape.
        """
        self._check(path)

        def put(x: Tensor) -> Tensor:
            if not isinstance(x, Tensor):
                raise ValueError(f"{path} has a {type(x).__name__} there, and only a tensor can be replaced")
            place = x if at is None else x[:, at]
            new = value(place) if callable(value) else value
            new = new if isinstance(new, Tensor) else Tensor(np.asarray(new, x.dtype))
            if new.ndim and new.shape != place.shape:
                raise ValueError(f"{path}: {tuple(new.shape)} cannot stand in the place of {tuple(place.shape)}")
            if at is None:
                return new.expand(*x.shape) if new.ndim == 0 else new
            z = x.clone()
            z[:, at] = new
            return z

        self._instead.setdefault((path, given), []).append(put)

    def off(self, layer: int, head: int) -> None:
        """Let a head give 0: its D channels of what ``attention.output`` is given."""
        path = f"{blocks_of(self.model)[layer]}.attention"
        heads = self.modules[path].heads
        if not 0 <= head < heads:
            raise ValueError(f"there is no head {head}: {path} has {heads}")

        def silent(z: Tensor) -> Tensor:
            B, T, C = z.shape
            parts = z.reshape(B, T, heads, C // heads).clone()
            parts[:, :, head] = 0.0
            return parts.reshape(B, T, C)

        self.replace(f"{path}.output", silent, given=True)

    def _check(self, path: str) -> None:
        if path not in self.modules:
            near = difflib.get_close_matches(path, self.modules, 3, 0.4)
            raise KeyError(f"there is no module {path!r}" + (f"; near it: {', '.join(near)}" if near else ""))

    def _seen(self, values: dict[str, Any], path: str) -> Any:
        self._check(path)
        if path not in values:
            raise KeyError(f"{path} has not run in here: call the model first, inside the with block")
        return values[path]

    def _before(self, path: str) -> Callable[..., Any]:
        def hook(module: Module, args: tuple[Any, ...]) -> Any:
            puts = self._instead.get((path, True), ())
            for put in puts:
                args = (put(args[0]), *args[1:])
            self._given[path] = args[0] if args else None
            return args if puts else None

        return hook

    def _after(self, path: str) -> Callable[..., Any]:
        def hook(module: Module, args: tuple[Any, ...], out: Any) -> Any:
            for put in self._instead.get((path, False), ()):
                out = put(out)
            self._made[path] = out
            return out

        return hook


@contextmanager
def inside(model: Module) -> Iterator[Run]:
    """Read and replace the values of whatever the model runs in this block, by path.

        with inside(model) as run:
            run.replace("blocks.3.mlp", 0.0)
            logits, _ = model(ids)
        run["blocks.3"]  # (B, T, C)

    Other hooks stay; afterwards the model is as it was.
    """
    run, hooks = Run(model), []
    try:
        for path, module in run.modules.items():
            hooks += [module.register_forward_pre_hook(run._before(path))]
            hooks += [module.register_forward_hook(run._after(path))]
        yield run
    finally:
        for hook in hooks:
            hook.remove()


def blocks_of(model: Module) -> list[str]:
    """The paths of a model's blocks. Raises ValueError for a model that is not made of such."""
    blocks = [path for path, _ in model.named_modules() if path.startswith("blocks.") and path.count(".") == 1]
    parts = dict(model.named_modules())
    if not blocks or not all(f"{block}.{part}" in parts for block in blocks for part in ("attention", "mlp")):
        raise ValueError(f"{type(model).__name__} has no blocks of attention and mlp, as GPT and Llama have")
    if not {"norm", "head"} <= parts.keys() or not hasattr(model, "token_embedding"):
        raise ValueError(f"{type(model).__name__} has no norm and head after its blocks, so it predicts no next token")
    return blocks


@contextmanager
def _evaluated(model: Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        model.train(training)


def _logits(model: Module, ids: Tensor) -> Array:
    """(B, T, V)."""
    out = model(ids)
    return np.asarray((out[0] if isinstance(out, tuple) else out).detach().numpy())


def _one(ids: Any) -> Tensor:
    """Token ids as (1, T)."""
    found = ids if isinstance(ids, Tensor) else Tensor(np.asarray(ids, dtype=np.int64))
    found = found.reshape(1, -1) if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[0] != 1 or found.shape[1] == 0:
        raise ValueError(f"one sequence of token ids is wanted, (T,) or (1, T), got {tuple(found.shape)}")
    return found


@dataclass
class Lens:
    """The likeliest tokens after each block, if the model ended there: (L + 1, T, k), with their probabilities."""

    paths: list[str]  # "start", before all blocks, then each block
    tokens: Array
    probabilities: Array


def logit_lens(model: Module, ids: Any, top: int = 5) -> Lens:
    """What each block would say: norm and head read the state after it, (T, C). nostalgebraist 2020.

    ``ids`` (T,) is one sequence. Of every position the ``top`` likeliest next tokens are kept.
    """
    blocks, ids, found = blocks_of(model), _one(ids), []
    with _evaluated(model):
        with inside(model) as run:
            model(ids)
        states = [run.given(blocks[0]), *(run[block] for block in blocks)]
        for x in states:
            scores = model.head(model.norm(x)).numpy()[0].astype(np.float64)  # (T, V)
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            best = np.argsort(-p, axis=-1, kind="stable")[:, :top]
            found.append((best, np.take_along_axis(p, best, -1)))
    tokens, probabilities = (np.stack(part) for part in zip(*found, strict=True))
    return Lens(["start", *blocks], tokens, probabilities)


@dataclass
class Attribution:
    """A score of the next token as a sum: of the embedding, of each head (L, H) and mlp (L,), and of all biases."""

    start: float
    heads: Array
    mlps: Array
    rest: float
    total: float


def attribution(model: Module, ids: Any, token: int, against: int | None = None, position: int = -1) -> Attribution:
    """Direct logit attribution: what each part adds to the score of a token at a position. Elhage et al. 2021.

    The state before the head is a sum, of the embedding and of what each head and each mlp wrote. The last norm divides
    by one number, taken as it is; the rest is linear, so the score is the sum of the parts' own. ``against`` takes the
    score of another token away. Raises ValueError for a model whose parts do not add up to its answer.
    """
    blocks, ids = blocks_of(model), _one(ids)
    with _evaluated(model):
        with inside(model) as run:
            logits = _logits(model, ids)[0, position].astype(np.float64)

        def at(x: Tensor) -> Array:
            return x.numpy()[0, position].astype(np.float64)

        x, norm, weight = at(run.given("norm")), model.norm, model.head.weight.numpy().astype(np.float64)
        direction = weight[token] - (0 if against is None else weight[against])
        scale = 1.0 if norm.weight is None else norm.weight.numpy().astype(np.float64)
        bias = getattr(norm, "bias", None)
        centred = "LayerNorm" in type(norm).__name__
        mean = x.mean() if centred else 0.0
        eps = norm.eps if norm.eps is not None else float(np.finfo(run.given("norm").dtype).eps)
        direction_in = scale * direction / np.sqrt(((x - mean) ** 2).mean() + eps)
        if centred:
            direction_in = direction_in - direction_in.mean()  # (p - mean p) · d = p · (d - mean d)
        rest = 0.0 if bias is None else float(bias.numpy() @ direction)
        if model.head.bias is not None:
            biases = model.head.bias.numpy()
            rest += float(biases[token] - (0 if against is None else biases[against]))
        heads, mlps = [], []
        for block in blocks:
            output = run.modules[f"{block}.attention.output"]
            H = run.modules[f"{block}.attention"].heads
            z = at(run.given(f"{block}.attention.output")).reshape(H, -1)  # (H, D)
            into = (direction_in @ output.weight.numpy().astype(np.float64)).reshape(H, -1)
            heads.append((z * into).sum(-1))
            if output.bias is not None:
                rest += float(output.bias.numpy() @ direction_in)
            mlps.append(float(at(run[f"{block}.mlp"]) @ direction_in))
        start = float(at(run.given(blocks[0])) @ direction_in)
    found = Attribution(start, np.array(heads), np.array(mlps), rest, 0.0)
    found.total = start + float(found.heads.sum()) + float(found.mlps.sum()) + rest
    wanted = float(logits[token] - (0 if against is None else logits[against]))
    if not np.isclose(found.total, wanted, rtol=1e-2, atol=1e-2):
        raise ValueError(
            f"the parts of this {type(model).__name__} give {found.total:.3f}, and its score is {wanted:.3f}: what its "
            "blocks write is not added up as in GPT and Llama"
        )
    return found


@dataclass
class Patching:
    """How far an answer goes over to that of another prompt with one value from there: (L, T), 0 not, 1 all the way."""

    paths: list[str]
    share: Array
    base: float  # the score difference as it is
    other: float  # in the run that the values are taken from


def patching(
    model: Module,
    ids: Any,
    other: Any,
    answer: int,
    against: int | None = None,
    what: str = "blocks",
    position: int = -1,
    rows: int = 16,
    shown: Callable[[list[str]], Iterable[str]] = iter,
) -> Patching:
    """Activation patching: run ``ids`` with one value of the run of ``other``, for each block and position.

    Meng et al. 2022 (causal tracing), Vig et al. 2020. The score is logit(answer) - logit(against) at ``position``:
    ``answer`` is the right token of ``other``, ``against`` (if any) that of ``ids``. ``what``: the state after a block
    ("blocks"), or what "attention" or "mlp" writes. ``rows`` runs go together; ``shown`` may be a bar, such as tqdm.
    Raises ValueError for prompts of different lengths, or where both have the same score.
    """
    blocks, ids, other = blocks_of(model), _one(ids), _one(other)
    if ids.shape != other.shape:
        raise ValueError(f"the prompts have {ids.shape[1]} and {other.shape[1]} tokens: a value needs its like")
    if what not in ("blocks", "attention", "mlp"):
        raise ValueError(f"what is {what!r}: there are blocks, attention, mlp")
    paths = [block if what == "blocks" else f"{block}.{what}" for block in blocks]
    T = ids.shape[1]

    def score(logits: Array) -> Array:
        last = logits[:, position].astype(np.float64)
        return np.asarray(last[:, answer] - (0 if against is None else last[:, against]))

    with _evaluated(model):
        base = float(score(_logits(model, ids))[0])
        with inside(model) as kept:
            wanted = float(score(_logits(model, other))[0])
        if abs(wanted - base) < 1e-6 * max(1.0, abs(base)):
            raise ValueError(f"both prompts have the score {base:.4g}: there is nothing that could go over")
        share = np.empty((len(paths), T))
        for line, path in zip(share, shown(paths), strict=True):
            theirs = kept[path].numpy()[0]  # (T, C)
            for first in range(0, T, rows):
                places = np.arange(first, min(first + rows, T))
                line[places] = score(_patched(model, ids, path, theirs, places))
    return Patching(paths, (share - base) / (wanted - base), base, wanted)


def _patched(model: Module, ids: Tensor, path: str, theirs: Array, places: Array) -> Array:
    """The logits of a run for each place, in which what stands at that place is theirs: (N, T, V)."""

    def put(x: Tensor) -> Tensor:
        z = x.numpy().copy()
        z[np.arange(len(places)), places] = theirs[places]
        return Tensor(z)

    with inside(model) as run:
        run.replace(path, put)
        return _logits(model, Tensor(np.repeat(ids.numpy(), len(places), axis=0)))


def saliency(model: Module, ids: Any, token: int, against: int | None = None, position: int = -1) -> Array:
    """Gradient times input: how much the score of a token rests on each token that was read, (T,).

    The gradient of the score by each embedding, times the embedding (Shrikumar et al. 2016): for a linear model these
    are its parts; for others a first look, true near by. No ``.grad`` is changed.
    """
    blocks_of(model)
    ids, training = _one(ids), model.training
    model.eval()
    try:
        with enable_grad(), inside(model) as run:
            run.replace("token_embedding", lambda e: e.detach().requires_grad_())
            out = model(ids)
            last = (out[0] if isinstance(out, tuple) else out)[0, position]
            score = last[token] if against is None else last[token] - last[against]
            embedded = run["token_embedding"]
            found: dict[int, Array] = {}

            def receive(leaf: Any, dz: Array, shared: bool) -> None:
                found[0] = found[0] + dz if found else dz

            ends = [(score, Tensor(np.ones((), score.dtype)))]
            for _ in steps_to(ends, [embedded], receive, retain_graph=False, create_graph=False):
                pass
    finally:
        model.train(training)
    if 0 not in found:
        return np.zeros(ids.shape[1])
    return np.asarray((found[0] * embedded.detach().numpy())[0].sum(-1), dtype=np.float64)


KINDS = {  # mean attention weights on a sequence of random tokens that is repeated
    "previous token": "on the token before",
    "same token": "on the same token, earlier: in the second copy (Wang et al. 2022)",
    "first token": "on the first token, where a head looks that has nothing to do (Xiao et al. 2023)",
    "itself": "on the token itself",
    "induction": "on the token that followed the same one: in the second copy, what to write next (Olsson et al. 2022)",
}


@dataclass
class HeadScores:
    """What each head does, as mean attention weights: ``scores[kind]`` is (L, H); the kinds are those of ``KINDS``."""

    scores: dict[str, Array]
    ids: Array

    def kind(self, layer: int, head: int, least: float = 0.3) -> str:
        """The kind with the largest weight; "" where that is below ``least``."""
        best = max(self.scores, key=lambda kind: self.scores[kind][layer, head])
        return best if self.scores[best][layer, head] >= least else ""

    def best(self, kind: str, count: int = 5) -> list[tuple[int, int, float]]:
        """The heads that do most of a kind: layer, head, weight."""
        scores = self.scores[kind]
        order = np.argsort(-scores, axis=None, kind="stable")[:count]
        return [(int(i // scores.shape[1]), int(i % scores.shape[1]), float(scores.flat[i])) for i in order]


def repeated(vocabulary: int, length: int, seed: int = 0) -> Array:
    """Random tokens, twice: (2 · length,), each once in a copy if there are enough.

    Nothing but copying tells what comes in the second half.
    """
    once = np.random.default_rng(seed).choice(vocabulary, length, replace=length > vocabulary)
    return np.concatenate([once, once])


def head_scores(model: Module, length: int | None = None, seed: int = 0) -> HeadScores:
    """What the heads of a model do with ``length`` random tokens that come twice; by default 25, or what fits.

    The scores are mean attention weights, from 0 to 1 (``KINDS``). Raises ValueError for a context that is too short.
    """
    blocks_of(model)
    n = min(25, model.config.block_size // 2, model.config.vocab_size) if length is None else length
    if n < 2 or 2 * n > model.config.block_size:
        raise ValueError(f"{n} tokens, twice, do not fit into a context of {model.config.block_size}, or are too few")
    ids = repeated(model.config.vocab_size, n, seed)
    layers = attention_layers(model, [Tensor(ids[None])])
    t, later = np.arange(1, 2 * n), np.arange(n, 2 * n)
    places = {
        "previous token": (t, t - 1),
        "same token": (later, later - n),
        "first token": (t[1:], 0 * t[1:]),
        "itself": (t, t),
        "induction": (later, later - n + 1),
    }
    return HeadScores(
        {kind: np.array([x.weights[:, i, j].mean(-1) for x in layers]) for kind, (i, j) in places.items()}, ids
    )


def copying_loss(model: Module, ids: Array, off: Sequence[tuple[int, int]] = ()) -> float:
    """The mean loss on the second half of ``repeated`` tokens, in nats, with these heads (layer, head) off."""
    half = len(ids) // 2
    with _evaluated(model), inside(model) as run:
        for layer, head in off:
            run.off(layer, head)
        z = _logits(model, _one(ids))[0, half - 1 : -1].astype(np.float64)  # (n, V)
    top = z.max(-1)
    right = z[np.arange(half), ids[half:]]
    return float((np.log(np.exp(z - top[:, None]).sum(-1)) + top - right).mean())
