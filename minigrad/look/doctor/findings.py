"""What is wrong with a training, told from what the watch has noted: a list of named rules.

Each rule is a function of a Watch that yields findings. A rule speaks only where several steps agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.core.op import Array
from minigrad.look.doctor.learnable import score
from minigrad.look.doctor.places import attribute_line
from minigrad.look.doctor.watch import CLASSIFYING, Input, Layer, LossSeen, Model, StepSeen, Watch, Weight
from minigrad.look.texts import Line, inside

ENOUGH = 5  # steps that must agree


@dataclass
class Finding:
    """One thing that is wrong: what, the evidence in numbers, where, and the mend. ``curves`` are values per step."""

    kind: str
    title: str
    evidence: str
    mend: str
    line: Line | None
    chapter: str
    steps: int  # that agree
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    bars: dict[str, list[float]] = field(default_factory=dict)  # label -> counts of a histogram: low, high, counts ...

    def __str__(self) -> str:
        lines = [self.title, *([str(self.line)] if self.line else [])]
        lines += [f"  seen: {self.evidence}", f"  mend: {self.mend}"]
        return "\n".join(lines)


def gradients_pile_up(w: Watch) -> Iterator[Finding]:
    """zero_grad forgotten."""
    carried = [x for x in w.weights.values() if x.carried and sum(x.carried) >= ENOUGH]
    trained = [x for x in w.weights.values() if x.steps]
    if not carried or 2 * len(carried) < len(trained):
        return
    count = max(sum(x.carried) for x in carried)
    if any(not all(x.carried[1:]) for x in carried):
        return
    last = carried[-1]
    yield Finding(
        "zero_grad",
        "the gradients of one step are still there in the next: zero_grad is missing",
        f"at {count} of {len(w.steps)} steps the gradients of {_names(carried)} were those of the step before plus "
        "the new ones; none was cleared in between",
        f"call {_optimizer_name(w, last)}.zero_grad() before each loss.backward()",
        w.steps[-1].backward_line,
        "optimizers: why zero_grad",
        count,
        {f"gradient of {x.name}": _values(x.gradient) for x in carried[:3]},
    )


def softmax_before_loss(w: Watch) -> Iterator[Finding]:
    """softmax before cross_entropy, sigmoid before its twin with logits."""
    for line, losses in _losses_by_line(w).items():
        last = losses[-1]
        if len(losses) < ENOUGH:
            continue
        if last.op in ("cross_entropy", "soft_cross_entropy") and all(x.probabilities for x in losses):
            through = "come out of a softmax" if last.after_softmax else "are never negative and each row sums to 1"
            floor = math.log(1 + (last.classes - 1) / math.e)
            yield Finding(
                "softmax",
                "cross_entropy is given probabilities: it takes the softmax itself, so there are two of them",
                f"at {len(losses)} steps its {last.classes} scores per row {through}; with a second softmax the loss "
                f"cannot fall below {floor:.3f} and its gradients are small",
                "give it the raw scores (logits): leave the softmax out in training, and take it where you print "
                "probabilities",
                line,
                "losses: softmax and cross-entropy",
                len(losses),
                {"loss": [x.value for x in losses]},
            )
        if last.op == "nll_loss" and all(x.probabilities for x in losses):
            yield Finding(
                "softmax",
                "nll_loss is given probabilities, and it wants their logarithms",
                f"at {len(losses)} steps its scores were never negative and each row summed to 1, so the loss is "
                f"negative ({last.value:.3f} at the last)",
                "use log_softmax in place of softmax, or cross_entropy of the raw scores",
                line,
                "losses: softmax and cross-entropy",
                len(losses),
                {"loss": [x.value for x in losses]},
            )
        if last.op == "bce_with_logits" and all(x.sigmoid for x in losses):
            yield Finding(
                "softmax",
                "binary_cross_entropy_with_logits is given probabilities: it takes the sigmoid itself",
                f"at {len(losses)} steps its input came out of a sigmoid",
                "give it the raw scores (logits), or use binary_cross_entropy",
                line,
                "losses: softmax and cross-entropy",
                len(losses),
                {"loss": [x.value for x in losses]},
            )


def dead_units(w: Watch) -> Iterator[Finding]:
    """Units that do nothing for any example."""
    for layer in _trained_layers(w):
        seen = layer.flat[-max(ENOUGH, len(layer.flat) * 2 // 3) :]
        dead = np.logical_and.reduce(seen)
        share = float(dead.mean())
        limit = 0.6 if layer.op == "relu" else 0.9
        if len(seen) < ENOUGH or layer.units < 4 or share < limit or (layer.op != "relu" and not layer.feeds):
            continue
        shares = [float(flat.mean()) for flat in layer.flat]
        if layer.op == "relu":
            title = f"{dead.sum()} of {layer.units} units of a ReLU are dead{inside(layer.scope)}"
            what = "gave 0 for every example, so no gradient reaches the weights before them"
            mend = (
                "start the biases at 0 and the weights as PyTorch does, lower the learning rate, normalise what comes "
                "in, or use GELU or LeakyReLU"
            )
        else:
            title = f"{dead.sum()} of {layer.units} units of a {layer.op} are saturated{inside(layer.scope)}"
            what = "stood at an end of their range for nearly every example, where the slope is 0"
            mend = "start with smaller weights (xavier_uniform_), normalise what comes in, or use ReLU or GELU"
        yield Finding(
            "dead",
            title,
            f"in the last {len(seen)} steps they {what}; {shares[0]:.0%} at the first step, {shares[-1]:.0%} at the "
            f"last; inputs from {layer.edges[0]:.3g} to {layer.edges[1]:.3g}",
            mend,
            layer.line,
            "training: dead units",
            len(seen),
            {"share of dead units": list(shares)},
            {"what the activation is given": [*layer.edges, *map(float, layer.histogram)]},
        )


def symmetry(w: Watch) -> Iterator[Finding]:
    """All units of a layer start alike, and stay so."""
    found = [
        x
        for x in w.weights.values()
        if x.product and len(x.alike) >= ENOUGH and x.alike[0] and all(x.alike[-ENOUGH:]) and len(x.shape) >= 2
    ]
    found = [x for x in found if any(x.gradient) or x.size[-1] == 0]
    if not found:
        return
    zero = [x for x in found if x.size[-1] == 0]
    if len(zero) == len(found) and not any(g is not None for x in zero for g in x.gradient):
        return  # nothing reaches them: another rule says so
    one = found[0]
    start = "zeros" if one.size[0] == 0 else "one and the same number"
    count = len(one.alike)
    yield Finding(
        "symmetry",
        f"all units of {one.name} are alike and stay alike: its weights started at {start}",
        f"after {count} steps the rows or columns of {_names(found)} are still equal to one another: units that start "
        "alike get the same gradient, so a layer of many is worth one",
        "start from random numbers: leave the layer's own initialisation, or nn.init.xavier_uniform_(weight); zeros "
        "are for biases",
        one.line,
        "training: how weights start",
        count,
        {f"size of {x.name}": _values(x.size) for x in found[:3]},
    )


def vanishing(w: Watch) -> Iterator[Finding]:
    """Gradients that shrink or grow by orders of magnitude from layer to layer."""
    chain = [x for x in sorted(w.weights.values(), key=lambda x: x.place) if x.product and len(x.steps) >= ENOUGH]
    chain = [x for x in chain if x.touched and sum(bool(g) for g in x.unclipped) >= ENOUGH]
    if len(chain) < 3:
        return
    steps = min(len(x.unclipped) for x in chain)
    table = _relative([x.unclipped[-steps:] for x in chain], chain)
    first, last = table[: max(1, len(chain) // 4)].max(0), table[-max(1, len(chain) // 4) :].max(0)
    with np.errstate(all="ignore"):
        ratio = first / last
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    if len(ratio) < ENOUGH:
        return
    middle = float(np.median(ratio))
    one, other = chain[0], chain[-1]
    curves = {f"gradient / weight of {x.name}": _values(row.tolist()) for x, row in _ends(chain, table)}
    falling = float(np.median(ratio[-ENOUGH:])) < 20 * float(np.median(ratio[:ENOUGH]))
    if middle < 1e-4 and falling and (ratio < 1e-3).all():
        yield Finding(
            "vanishing",
            f"the gradients vanish on the way back: hardly anything reaches {one.name}",
            f"over {len(ratio)} steps, the gradient of {one.name} is {middle:.1e} times that of {other.name}, each "
            f"relative to its weight, through {len(chain)} layers",
            "use ReLU or GELU in place of sigmoid or tanh, residual connections (x + layer(x)), a norm before each "
            "layer, or weights that start larger (kaiming_normal_)",
            one.line,
            "training: vanishing and exploding",
            len(ratio),
            curves,
        )
    growth = _relative([x.gradient[-steps:] for x in chain], chain)
    huge = bool((np.median(growth, axis=0) > 1e3).mean() > 0.8) and not _adapts(chain[0].optimizer)
    if middle > 1e4 or huge:
        yield Finding(
            "exploding",
            f"the gradients explode on the way back, up to {one.name}",
            f"over {len(ratio)} steps, the gradient of {one.name} is {middle:.1e} times that of {other.name}, each "
            f"relative to its weight; the median gradient is {np.median(growth):.1e} times its weight",
            "start with smaller weights (xavier_uniform_), put a norm before each layer, and clip: "
            "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
            one.line,
            "training: vanishing and exploding",
            len(ratio),
            curves,
        )


def learning_rate(w: Watch) -> Iterator[Finding]:
    """Steps that are far too large or far too small for the weights."""
    for optimizer, steps in _by_optimizer(w).items():
        if len(steps) < 2 * ENOUGH:
            continue
        losses = np.array([s.loss for s in steps])
        weights = [x for x in w.weights.values() if x.optimizer is optimizer and len(x.shape) >= 2 and x.steps]
        weights = weights or [x for x in w.weights.values() if x.optimizer is optimizer and x.steps]
        if not weights:
            continue
        count = min(len(x.steps) for x in weights)
        with np.errstate(all="ignore"):
            ratios = np.array([x.ratios()[-count:] for x in weights])
            ratio = _nanmedian(ratios)
        third = max(ENOUGH, len(steps) // 3)
        begin, end = float(np.median(losses[:3])), losses[-third:]
        lr = steps[-1].lr
        line = w.optimizers[id(optimizer)][2] if optimizer is not None else steps[-1].line
        curves = {"loss": _values(losses.tolist()), "update / weight (median)": _values(ratio.tolist())}
        rate = "" if math.isnan(lr) else f" ({lr:.3g})"
        early = float(np.nanmax(ratio[: max(3, count // 3)], initial=0))
        gone = ~np.isfinite(losses)
        worse = bool(gone.any()) or float(np.median(end)) > begin + 0.3 * abs(begin)
        stuck = bool(np.isfinite(end).all()) and float(np.median(end)) >= 0.98 * begin
        killed = any(x.flat[-1].mean() > x.flat[0].mean() + 0.4 for x in _trained_layers(w) if x.units >= 4)
        large = early > 0.1 or float(np.nanmax(ratio, initial=0)) > 0.5
        if (worse and large) or (early > 0.5 and (stuck or killed)):
            text = "is no finite number any more" if gone.any() else f"went from {begin:.3g} to {np.median(end):.3g}"
            yield Finding(
                "lr_high",
                f"the learning rate{rate} is too high",
                f"one update changed the weights by up to {max(early, float(np.nanmax(ratio, initial=0))):.0%} of "
                f"their size (a usual step is about 0.1 %), and the loss {text} in {len(steps)} steps",
                "divide it by 10 until the loss falls"
                + ("" if math.isnan(lr) else f": try {lr / 10:.1g}, then {lr / 100:.1g}")
                + "; a warm-up and clip_grad_norm_ help too",
                line,
                "optimizers: the learning rate",
                len(steps),
                curves,
            )
        descent = np.sum([np.array(x.descent[-count:]) for x in weights], axis=0)
        used = max(abs(begin), 1e-12)
        pace = float(np.median(descent)) / used
        lrs = [s.lr for s in steps if not math.isnan(s.lr)]
        rising = len(lrs) > 1 and lrs[-1] > 1.5 * lrs[0]
        still = bool(np.isfinite(losses).all()) and float(np.median(end)) > 0.9 * begin
        small = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else 1.0
        slopes = [g for x in weights for g in x.unclipped if g]
        if still and not rising and begin > 0 and 0 < pace < 2e-5 and small < 2e-5 and slopes and lr > 0:
            swallowed = any(f.kind in ("clipping", "decay") for f in swallowed_steps(w))
            if not swallowed:
                yield Finding(
                    "lr_low",
                    f"the learning rate{rate} is too low: the weights hardly move",
                    f"one update changes the weights by {small:.1e} of their size (a usual step is about 1e-3); at "
                    f"this pace the loss would need some {0.1 / pace:,.0f} steps to fall by a tenth",
                    "multiply it by 10 until the loss falls quickly, then take a third of the highest that is stable",
                    line,
                    "optimizers: the learning rate",
                    len(steps),
                    curves,
                )


def at_chance(w: Watch) -> Iterator[Finding]:
    """The loss does not get below what guessing gives, or falls below what is possible."""
    for line, losses in _losses_by_line(w, alone=True).items():
        last = losses[-1]
        if len(losses) < 4 * ENOUGH or last.op not in (*CLASSIFYING, "mse_loss"):
            continue
        values = np.array([x.value for x in losses])
        if not np.isfinite(values).all():
            continue
        chance = np.array([x.entropy if last.op in CLASSIFYING else x.variance for x in losses])
        overall = float(np.median(chance))
        end = float(np.mean(values[-len(values) // 3 :]))
        if not math.isfinite(overall) or overall <= 0 or end < 0.93 * overall or end > 3 * max(overall, 1e-12):
            continue
        if _moved(w) < 0.05:
            continue
        probe = score(w.examples, classes=last.op in CLASSIFYING)
        if probe is None:
            continue
        guess = f"ln of the classes is {math.log(max(last.classes, 1)):.3f}; " if last.op in CLASSIFYING else ""
        curves: dict[str, list[float | None]] = {"loss": _values(values.tolist()), "guessing": _values(chance.tolist())}
        stays = f"the loss is {end:.3f} in the last third of {len(values)} steps, and guessing gives {overall:.3f}"
        weights = f"the weights moved by {_moved(w):.0%} of their size meanwhile"
        if probe.shifted > probe.chance + 0.5 * (1 - probe.chance) and probe.shifted > probe.given + 0.3:
            yield Finding(
                "targets",
                f"the targets belong to other inputs: they are off by one ({probe.shift:+d} in the batch)",
                f"{stays}; the nearest neighbour tells the target of an input in {probe.given:.0%} of {probe.count} "
                f"pairs as they are, and in {probe.shifted:.0%} with the targets shifted by one place",
                "cut inputs and targets at the same indices, and shuffle them with the same permutation",
                line,
                "data: inputs and targets",
                len(losses),
                curves,
            )
        elif probe.given < probe.chance + 0.05 and probe.continuous and probe.count >= 200:
            yield Finding(
                "targets",
                "the targets do not seem to belong to the inputs: the loss stays at what guessing gives",
                f"{guess}{stays}; {weights}; of {probe.count} pairs the nearest neighbour tells {probe.given:.0%} "
                f"(guessing {probe.chance:.0%}), so the inputs say nothing about these targets",
                "look at ten pairs by eye: shuffle inputs and targets with one permutation, and cut them at the same "
                "indices",
                line,
                "data: inputs and targets",
                len(losses),
                curves,
            )
        elif probe.given > probe.chance + 0.4 * (1 - probe.chance) and len(losses) >= 6 * ENOUGH:
            yield Finding(
                "chance",
                "the loss stays at what guessing gives, though the inputs tell the targets",
                f"{guess}{stays}; {weights}; the nearest neighbour tells {probe.given:.0%} of {probe.count} targets "
                f"(guessing {probe.chance:.0%})",
                "see whether the input reaches the output: print the logits of two examples, and look for a detach(), "
                "a softmax over the wrong axis, or a rate that is far off",
                line,
                "training: the loss at the start",
                len(losses),
                curves,
            )


def wrong_pairs(w: Watch) -> Iterator[Finding]:
    """The user's own data pairs the inputs with other targets than the loss is given."""
    bad = [(a, b, same, count, line) for a, b, same, count, line in w.pairings if same < 0.7 * count and count >= 8]
    if len(bad) < 2 or len(bad) < len(w.pairings):
        return
    a, b, *_, line = bad[-1]
    rows, right = sum(x[3] for x in bad), sum(x[2] for x in bad)
    yield Finding(
        "targets",
        f"the targets belong to other inputs: {a} and {b} pair them otherwise",
        f"in {len(bad)} batches, {rows} inputs were found in {a}; only {right} of them came with the target at the "
        f"same index of {b}",
        "cut inputs and targets at the same indices, and shuffle them with the same permutation",
        line,
        "data: inputs and targets",
        len(bad),
        {"loss": [s.loss for s in w.steps]},
    )


def sees_its_target(w: Watch) -> Iterator[Finding]:
    """A language model that is given its target, or predicts the wrong place."""
    sights = [s for s in w.sights if s.offset is not None]
    if len(sights) < 3 or len({(s.offset, s.last) for s in sights}) > 1:
        return
    s = sights[-1]
    causal = s.last <= s.asked
    losses = {"loss": _values([x.loss for x in w.steps])}
    offset = s.offset or 0
    if offset == 1 and not causal:
        yield Finding(
            "future",
            "the model sees the tokens that it is to predict: there is no causal mask, or it is wrong",
            f"the score of place {s.asked} depends on tokens up to place {s.last} of {s.length}, and its target is "
            f"token {s.asked + 1}, in {len(sights)} batches; the loss then falls below what guessing allows",
            "mask the scores above the diagonal with -inf before the softmax, or pass is_causal=True",
            s.line,
            "attention: the causal mask",
            len(sights),
            losses,
        )
    if offset != 1 and causal:
        what = {0: "the token it has just been given", -1: "the token before it"}.get(
            offset, "the token after the next"
        )
        yield Finding(
            "targets",
            f"the targets are off by one: each place is to say {what}",
            f"in {len(sights)} batches every target is the input at its place {offset:+d}, and a model that sees "
            "nothing of what follows is to predict place +1",
            "inputs are tokens[:, :-1], targets are tokens[:, 1:], and the model shifts nothing itself",
            s.line,
            "data: inputs and targets",
            len(sights),
            losses,
        )


def unknown_parameters(w: Watch) -> Iterator[Finding]:
    """Weights that get gradients and that no optimizer knows."""
    if not w.optimizers:
        return
    known = [x for x in w.weights.values() if x.optimizer is not None]
    fresh = [x for x in w.weights.values() if x.optimizer is None and x.touched and x.tensor.requires_grad]
    fresh = [x for x in fresh if x.raw]
    stale = [x for x in known if not x.touched and not x.in_model and len(x.steps) >= ENOUGH]
    optimizer = next(iter(w.optimizers.values()))
    for holder in {x.holder[0] for x in fresh if x.holder is not None}:
        listed = [x for x in fresh if x.holder is not None and x.holder[0] == holder]
        assert listed[0].holder is not None
        yield Finding(
            "unknown",
            f"the optimizer does not know the layers in {holder}: they are in a plain list or dict",
            f"{_names(listed)} got gradients in {w.backwards} backward passes, and no optimizer has them: they stay "
            "as they started",
            f"write self.{holder.rpartition('.')[2]} = nn.ModuleList([...]) (nn.ModuleDict for a dict; "
            "nn.ParameterList for parameters)",
            listed[0].holder[1] or listed[0].line,
            "modules: what parameters() sees",
            len(w.steps),
        )
    rest = [x for x in fresh if x.holder is None]
    if not rest or len(w.steps) < ENOUGH:
        return
    if stale:
        yield Finding(
            "unknown",
            f"the optimizer still has the old {_names(stale, 2)}, and not what was put in its place",
            f"{_names(rest)} got gradients in {w.backwards} backward passes and no optimizer has them; "
            f"{len(stale)} of the optimizer's parameters took part in no step",
            "make the optimizer after the last layer is in its place, or call optimizer.add_param_group",
            optimizer[2] or rest[0].line,
            "modules: what parameters() sees",
            len(w.steps),
        )
        return
    for model in w.models.values():
        order = {id(p): i for i, p in enumerate(model.module.parameters())}
        own = [x for x in known if id(x.tensor) in order]
        if not own:
            continue  # a network beside the trained one
        first, last = min(x.place for x in own), max(order[id(x.tensor)] for x in own)
        ours = [x for x in rest if id(x.tensor) in order]
        later = [x for x in ours if x.late or x.place > first or order[id(x.tensor)] > last]
        if not later or len(later) > max(2, len([x for x in own if x.touched])):
            continue
        yield Finding(
            "unknown",
            f"the optimizer does not know {_names(later)}",
            f"they got gradients in {w.backwards} backward passes, and no optimizer has them: they stay as they "
            "started, while others of the model are trained",
            "make the optimizer after all layers are made, from model.parameters(), or call optimizer.add_param_group",
            optimizer[2] or later[0].line,
            "modules: what parameters() sees",
            len(w.steps),
        )


def no_gradient(w: Watch) -> Iterator[Finding]:
    """Weights that the optimizer has and that never get a gradient."""
    if any(f.kind == "unknown" for f in unknown_parameters(w)):
        return
    silent: list[Weight] = []
    for x in w.weights.values():
        nothing = len(x.steps) >= 2 * ENOUGH and not any(x.unclipped) and not any(x.gradient)
        if nothing and x.optimizer is not None and x.tensor.requires_grad:
            silent.append(x)
    moving = [x for x in w.weights.values() if any(x.gradient)]
    if silent and moving:
        unused = [x for x in silent if not x.touched]
        cut = [x for x in silent if x.touched]
        cut = cut if any(len(x.shape) >= 2 for x in cut) else []  # a bias alone may well cancel out
        if cut and not all(x.size[-1] == 0 for x in cut) and not _units_explain(w):
            yield Finding(
                "no_gradient",
                f"no gradient reaches {_names(cut)}",
                f"in {len(cut[0].steps)} steps they took part in the forward pass, and their gradient was nothing or "
                "0: the way back is cut, or 0 all along",
                "look for detach(), .data, .numpy(), no_grad() or argmax between them and the loss, and for a factor "
                "that is 0",
                cut[0].line,
                "backward: where gradients stop",
                len(cut[0].steps),
            )
        if unused:
            yield Finding(
                "no_gradient",
                f"{_names(unused)} have no part in the loss",
                f"in {len(unused[0].steps)} steps no op with a gradient took them: the layer is not called in forward, "
                "or runs under no_grad or on .data, or what it gives is cut off by detach()",
                "use the layer in forward, take the detach() or no_grad() away, or leave the layer out of the model",
                _defined(w, unused[0]),
                "backward: where gradients stop",
                len(unused[0].steps),
            )
    frozen = [
        x
        for x in w.weights.values()
        if x.optimizer is not None and not x.tensor.requires_grad and len(x.steps) >= ENOUGH and len(x.shape) >= 2
    ]
    if not frozen or not moving:
        return
    order = _order_in_model(w)
    last = max((x for x in moving if len(x.shape) >= 2), key=lambda x: order.get(id(x.tensor), -1), default=None)
    behind = [x for x in frozen if last is not None and order.get(id(x.tensor), -1) > order.get(id(last.tensor), -1)]
    if behind and len(frozen) <= len([x for x in moving if len(x.shape) >= 2]):
        yield Finding(
            "no_gradient",
            f"{_names(behind)} are frozen, behind layers that are trained",
            f"in {len(behind[0].steps)} steps requires_grad was False, while the optimizer has them and layers before "
            "them change",
            "set requires_grad_(True) again, or leave them out of the optimizer if that is meant",
            _defined(w, behind[0]),
            "backward: where gradients stop",
            len(behind[0].steps),
        )


def wrong_mode(w: Watch) -> Iterator[Finding]:
    """train() or eval() forgotten."""
    for model in w.models.values():
        steps = sorted(model.trained)
        if not model.draws or not steps:
            continue
        off = [step for step in steps if not model.trained[step]]
        tail = steps[-ENOUGH:]
        if len(off) >= 2 * ENOUGH and all(not model.trained[s] for s in tail) and _is_trained(w, model):
            since = (
                next(i for i in reversed(range(len(steps))) if model.trained[steps[i]]) + 1
                if len(off) < len(steps)
                else 0
            )
            before = f"from step {steps[since] + 1} on" if since else "from the first step on"
            yield Finding(
                "mode",
                f"{model.name} is trained in eval mode: dropout and batch norm are switched off",
                f"{before}, {len(off)} of {len(steps)} training steps ran with training=False",
                f"call {model.name}.train() before the training steps, and again after each evaluation",
                model.eval_line,
                "modules: train and eval",
                len(off),
            )
        mistaken = [e for e in model.evaluated if not e.used]
        repeated = {(e.step, e.digest) for e in mistaken if sum(
            (f.step, f.digest) == (e.step, e.digest) for f in mistaken) > 1}  # fmt: skip
        shown = [e for e in mistaken if e.loss or (e.dropped and (e.step, e.digest) not in repeated)]
        different = {(e.step, e.digest) for e in shown}
        if len(different) >= 2 and len(steps) >= ENOUGH and not (repeated and not any(e.loss for e in shown)):
            yield Finding(
                "mode",
                f"{model.name} is evaluated in train mode: dropout and batch norm are still at work",
                f"{len(different)} forward passes without a graph ran with training=True",
                f"call {model.name}.eval() before the evaluation, and {model.name}.train() after it",
                shown[-1].line,
                "modules: train and eval",
                len(different),
            )


def same_batch(w: Watch) -> Iterator[Finding]:
    """Every step gets the same batch."""
    seen = [s for s in w.steps if s.batch is not None]
    if len(seen) < 2 * ENOUGH:
        return
    digests = {s.batch.digest for s in seen if s.batch is not None}
    batch = seen[-1].batch
    assert batch is not None
    if len(digests) > 1 or not batch.array.ndim:
        return
    held = all(s.batch_is_held for s in seen[2:])
    evaluated = any(e for m in w.models.values() for e in m.evaluated)
    text = ""
    if w.larger is not None and not (held and evaluated):
        text = f"; {w.larger[0]} has {w.larger[1]:,} rows"
    elif held or not _drawn(batch.array) or w.copied_whole:
        return
    how = "the same array" if held else "drawn anew each time, and equal"
    yield Finding(
        "batch",
        "the batch never changes: every step is given the same examples",
        f"{len(seen)} steps were given one and the same batch of {len(batch.array)} ({how}){text}",
        "draw a batch inside the loop: for x, y in loader, with shuffle=True; seed the generator once, before the loop",
        batch.line if not held else (seen[-1].backward_line or batch.line),
        "data: batches",
        len(seen),
        {"loss": [s.loss for s in w.steps]},
    )


def raw_inputs(w: Watch) -> Iterator[Finding]:
    """Inputs that are not normalised."""
    for seen in w.inputs.values():
        if len(seen.size) < ENOUGH:
            continue
        size, mean = float(np.median(seen.size)), float(np.median(seen.mean))
        if size > 20 or (size > 5 and float(np.median(seen.columns)) > 1e3):
            uneven = float(np.median(seen.columns))
            more = f"; the columns differ by a factor of up to {uneven:,.0f}" if uneven > 100 else ""
            yield Finding(
                "inputs",
                f"the inputs are not normalised{inside(seen.scope)}",
                f"over {len(seen.size)} steps their root mean square is {size:.3g} and their mean {mean:.3g} (from "
                f"{seen.low:.3g} to {seen.high:.3g}), where about 1 and 0 are usual{more}",
                "x = (x - mean) / std, with mean and std per column of the training data (images: / 255 first), or a "
                "norm as the first layer",
                seen.line,
                "data: inputs and targets",
                len(seen.size),
                {"root mean square of the inputs": list(seen.size)},
            )
            return


def float_mask(w: Watch) -> Iterator[Finding]:
    """A mask of zeros and ones where -inf belongs."""
    for how, line, steps in w.masks.values():
        if len(steps) >= ENOUGH:
            yield Finding(
                "mask",
                f"a mask of zeros and ones is {how} the attention scores: it forbids nothing",
                f"in {len(steps)} steps; what is to be forbidden still has a weight of at least exp(-1) of the others"
                if "added" in how
                else f"in {len(steps)} steps; a score of 0 still gets a weight, exp(0) = 1",
                "scores.masked_fill(mask == 0, -inf) before the softmax, or a bool mask (True: allowed) for "
                "scaled_dot_product_attention",
                line,
                "attention: masks",
                len(steps),
            )


def swallowed_steps(w: Watch) -> Iterator[Finding]:
    """Weight decay or clipping that leaves nothing of the step."""
    for optimizer, steps in _by_optimizer(w).items():
        if optimizer is None or len(steps) < 2 * ENOUGH:
            continue
        weights = [x for x in w.weights.values() if x.optimizer is optimizer and x.steps and any(x.gradient)]
        if not weights:
            continue
        count = min(len(x.steps) for x in weights)
        line = w.optimizers[id(optimizer)][2]
        decay = np.array([[v**2 for v in x.decay[:count]] for x in weights]).sum(0) ** 0.5
        pull = np.array([[v**2 for v in x.pull[:count]] for x in weights]).sum(0) ** 0.5
        size = np.array([[v**2 for v in x.size[:count]] for x in weights]).sum(0) ** 0.5
        losses = np.array([s.loss for s in steps])
        open_ = bool(np.isfinite(losses).all()) and float(np.median(losses[-ENOUGH:])) > 0.5 * float(losses[0])
        shrunk = size[-1] < 0.8 * size[0] if size[0] > 0 else False
        with np.errstate(all="ignore"):
            share = decay / pull
        value = max(float(g.get("weight_decay", 0) or 0) for g in optimizer.param_groups)
        rapid = shrunk and steps[-1].lr * value > 0.03  # of the weights, in every step
        if rapid or (open_ and shrunk and float((share[1:] > 3).mean()) > 0.8):
            yield Finding(
                "decay",
                f"weight decay ({value:.3g}) swallows the steps: the weights shrink towards 0 and learn nothing",
                f"over {count} steps its part of the update is {float(np.median(share)):.3g} times that of the "
                f"gradient, and the weights went from {size[0]:.3g} to {size[-1]:.3g}",
                "lower weight_decay: 0.01 to 0.1 for AdamW, 1e-4 for SGD",
                line,
                "optimizers: weight decay",
                count,
                {"weight decay / gradient": _values(share.tolist()), "size of the weights": _values(size.tolist())},
            )
        clips = np.array([s.clip for s in steps])
        ratio = _nanmedian(np.array([x.ratios()[-count:] for x in weights]))
        still = float(np.median(losses[-ENOUGH:])) > 0.95 * float(np.median(losses[:3]))
        if (clips < 0.02).mean() > 0.9 and still and float(np.nanmedian(ratio)) < 1e-4:
            yield Finding(
                "clipping",
                "clipping swallows the steps: hardly anything is left of the gradients",
                f"at {int((clips < 0.02).sum())} of {len(steps)} steps the gradients were scaled to "
                f"{float(np.median(clips)):.1e} of what backward gave; an update is {float(np.nanmedian(ratio)):.1e} "
                "of the weights",
                "clip at about the usual norm of the gradients (1.0 is common), or divide the loss by the accumulation "
                "steps, once",
                steps[-1].line,
                "optimizers: clipping",
                len(steps),
                {"share of the gradient that is left": _values(clips.tolist())},
            )


def growing_graph(w: Watch) -> Iterator[Finding]:
    """The graph of one step holds that of the steps before."""
    if len(w.steps) < 2 * ENOUGH:
        return
    nodes = np.array([s.nodes for s in w.steps])
    old = np.array([s.old_nodes for s in w.steps])
    alive = np.array([s.alive for s in w.steps])
    grown = np.diff(nodes[-2 * ENOUGH :]) > 0
    if grown.all() and (np.diff(old[-2 * ENOUGH :]) > 0).all():
        yield Finding(
            "graph",
            "the graph grows from step to step: backward goes through the steps before again",
            f"{nodes[0]} ops at the first step, {nodes[-1]} at step {len(nodes)}, of which {old[-1]} belong to earlier "
            "steps",
            "detach() what is carried from step to step (hidden = hidden.detach()), and add up loss.item()",
            w.steps[-1].backward_line,
            "backward: what keeps a graph alive",
            2 * ENOUGH,
            {"ops in the graph": [float(n) for n in nodes]},
        )
    elif (np.diff(alive[-2 * ENOUGH :]) > 0).all() and alive[-1] >= alive[-2 * ENOUGH] + 2 * ENOUGH - 1:
        yield Finding(
            "graph",
            "the graphs of earlier steps stay in memory",
            f"{alive[0]} ops of earlier steps were alive after the first step, {alive[-1]} after step {len(alive)}, "
            "more with every one",
            "keep numbers, not tensors: total += loss.item(), losses.append(loss.item()), and evaluate under no_grad()",
            w.kept_line,
            "backward: what keeps a graph alive",
            2 * ENOUGH,
            {"ops of earlier steps in memory": [float(n) for n in alive]},
        )


RULES: tuple[Callable[[Watch], Iterator[Finding]], ...] = (
    gradients_pile_up, softmax_before_loss, float_mask, sees_its_target, wrong_pairs, unknown_parameters, no_gradient,
    symmetry, wrong_mode, same_batch, raw_inputs, swallowed_steps, growing_graph, learning_rate, dead_units, vanishing,
    at_chance,
)  # fmt: skip

# What follows from what: a finding hides those that it brings about.
BRINGS = {
    "zero_grad": {"lr_high", "dead", "exploding", "vanishing", "chance", "clipping"},
    "mask": {"future"},
    "softmax": {"chance", "vanishing", "lr_low"},
    "targets": {"chance", "dead"},
    "symmetry": {"chance", "vanishing", "no_gradient", "lr_low", "dead", "exploding"},
    "inputs": {"dead", "exploding", "lr_high", "chance", "vanishing"},
    "decay": {"chance", "lr_low", "vanishing", "dead", "lr_high", "symmetry"},
    "clipping": {"lr_low", "chance"},
    "lr_high": {"dead", "exploding", "vanishing", "chance", "targets"},
    "lr_low": {"chance"},
    "dead": {"chance", "vanishing", "no_gradient"},
    "vanishing": {"chance"},
    "exploding": {"dead"},
    "no_gradient": {"chance"},
    "unknown": {"chance"},
}


def examine(w: Watch) -> list[Finding]:
    """All findings, without those that another one brings about."""
    found: list[Finding] = []
    for rule in RULES:
        found += rule(w)
    hidden = {kind for finding in found for kind in BRINGS.get(finding.kind, ())}
    if any(f.kind == "targets" for f in found):  # said once
        first = next(f for f in found if f.kind == "targets")
        found = [f for f in found if f.kind != "targets" or f is first]
    return [finding for finding in found if finding.kind not in hidden]


# Small things


def _names(weights: Sequence[Weight], most: int = 3) -> str:
    names = [x.name for x in weights]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _values(numbers: Sequence[float | None]) -> list[float | None]:
    return [None if x is None or not math.isfinite(x) else float(x) for x in numbers]


def _optimizer_name(w: Watch, weight: Weight) -> str:
    return w.optimizers[id(weight.optimizer)][1] if id(weight.optimizer) in w.optimizers else "model"


def _losses_by_line(w: Watch, alone: bool = False) -> dict[Line | None, list[LossSeen]]:
    """The losses of all steps by their line, the last of a step; ``alone``: those of steps that have no other kind."""
    found: dict[Line | None, list[LossSeen]] = {}
    for step in w.steps:
        if alone and len({x.op for x in step.losses}) != 1:
            continue
        for loss in {x.line: x for x in step.losses}.values():
            found.setdefault(loss.line, []).append(loss)
    return {line: losses for line, losses in found.items() if len({x.op for x in losses}) == 1}


def _by_optimizer(w: Watch) -> dict[Any, list[StepSeen]]:
    found: dict[Any, list[StepSeen]] = {}
    for step in w.steps:
        found.setdefault(step.optimizer, []).append(step)
    return found


def _adapts(optimizer: Any) -> bool:
    """Whether an optimizer divides the gradient by its usual size, so that this does not matter."""
    return optimizer is not None and bool({"betas", "alpha", "rho", "lr_decay"} & optimizer.param_groups[0].keys())


def _trained_layers(w: Watch) -> list[Layer]:
    return [layer for layer in w.layers.values() if len(layer.steps) >= 2 * ENOUGH]


def _nanmedian(table: Array) -> Array:
    """Per column, the median of what is a number; nan where nothing is."""
    known = np.isfinite(table).any(0)
    out = np.full(table.shape[1], np.nan)
    if known.any():
        out[known] = np.nanmedian(np.where(np.isfinite(table[:, known]), table[:, known], np.nan), axis=0)
    return out


def _relative(gradients: Sequence[Sequence[float | None]], weights: Sequence[Weight]) -> Array:
    """The sizes of gradients relative to those of their weights: a row for each weight."""
    rows = zip(gradients, weights, strict=True)
    return np.array([np.array([g or 0.0 for g in row]) / np.maximum(x.size[-len(row) :], 1e-12) for row, x in rows])


def _ends(chain: list[Weight], table: Array) -> list[tuple[Weight, Array]]:
    picked = sorted({0, len(chain) // 2, len(chain) - 1})
    return [(chain[i], table[i]) for i in picked]


def _moved(w: Watch) -> float:
    """By what share of their size the weights were moved in all, added up over the steps."""
    sums = [float(np.nansum(x.ratios())) for x in w.weights.values() if x.steps and len(x.shape) >= 2]
    return float(np.median(sums)) if sums else 0.0


def _drawn(batch: Array) -> bool:
    """Whether numbers look as if they were drawn: many different ones, in no order."""
    flat = batch.reshape(-1)
    steps = np.diff(flat.astype(np.float64))
    enough = len(np.unique(flat)) >= min(8, flat.size) if batch.dtype.kind == "f" else len(np.unique(flat)) >= 3
    return flat.size >= 8 and enough and 0.2 < float((steps > 0).mean()) < 0.8 and len(np.unique(steps)) > 4


def _units_explain(w: Watch) -> bool:
    return any(np.mean([f.mean() for f in layer.flat]) > 0.95 for layer in _trained_layers(w))


def _defined(w: Watch, weight: Weight) -> Line | None:
    """Where a weight's layer was used, or else where it is made."""
    if weight.line is not None:
        return weight.line
    for model in w.models.values():
        keeper: Any = model.module
        *path, attribute = weight.name.split(".")[:-1] or [weight.name]
        for part in path:
            keeper = getattr(keeper, part, None)
        if keeper is not None and (line := attribute_line(keeper, attribute)) is not None:
            return line
    return None


def _order_in_model(w: Watch) -> dict[int, int]:
    """Weights, by id, in the order of their model: layers are made in the order of the forward pass."""
    return {id(p): i for m in w.models.values() for i, p in enumerate(m.module.parameters())}


def _is_trained(w: Watch, model: Model) -> bool:
    own = {id(p) for p in model.module.parameters()}
    return any(id(x.tensor) in own and x.steps and any(x.update) for x in w.weights.values())


def chart(w: Watch) -> dict[str, Any]:
    """What the page shows of the run as a whole: curves of the loss, of gradients and updates per layer, of units."""
    weights = sorted((x for x in w.weights.values() if x.steps and len(x.shape) >= 2), key=lambda x: x.place)
    return {
        "loss": _values([s.loss for s in w.steps]),
        "gradients": {x.name: _values(x.unclipped) for x in weights[:40]},
        "updates": {x.name: _values(x.ratios().tolist()) for x in weights[:40]},
        "dead": {
            f"{layer.op}{inside(layer.scope)}": [float(f.mean()) for f in layer.flat]
            for layer in _trained_layers(w)[:40]
        },
        "histograms": {
            f"{layer.op}{inside(layer.scope)}": [*layer.edges, *map(float, layer.histogram)]
            for layer in _trained_layers(w)[:40]
            if layer.histogram
        },
    }


__all__ = ["RULES", "Finding", "Input", "chart", "examine"]
