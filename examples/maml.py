"""Learning to learn: weights from which one step of descent, on five points, fits a new sine wave.

Every task is a wave of its own, of another height and shift. A network trained on all of them at once learns their
mean, which is nearly nothing, and has to unlearn it for each new one. MAML (Finn et al. 2017) trains the start
instead:

    fast  = start - rate * gradient of the loss on 5 points, at start        the inner step, as it will be in use
    loss  = loss of fast on other points of the same wave                    what the start is judged by

The gradient of this loss by the start goes through the inner step, which is a gradient itself: create_graph=True.

All waves of a batch are learned side by side: every weight gets an axis in front, one copy for each wave.
"""

from __future__ import annotations

import argparse
import math

import minigrad as mg
from minigrad import nn, optim
from minigrad.autograd import grad
from minigrad.tools.cli import natural_int, positive_int, run, verdict

HIDDEN, POINTS, RATE = 40, 5, 0.02  # of the network; of a wave to learn from; of the inner step
Weights = list[mg.Tensor]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=800, help="of training, for each of the two")
    parser.add_argument("--waves", type=positive_int, default=16, help="in a batch")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def sample(waves: int, points: int) -> tuple[mg.Tensor, mg.Tensor, mg.Tensor, mg.Tensor]:
    """Of each wave points to learn from and points to be judged by: x and y, (waves, points, 1) each, twice."""
    height, shift = 0.5 + 2.5 * mg.rand(waves, 1, 1), math.pi * mg.rand(waves, 1, 1)
    x = 10 * mg.rand(waves, points + 20, 1) - 5
    y = height * (x - shift).sin()
    return x[:, :points], y[:, :points], x[:, points:], y[:, points:]


def first_weights() -> Weights:
    """Matrices and rows of numbers of a network 1 -> HIDDEN -> HIDDEN -> 1."""
    layers = [nn.Linear(n, m) for n, m in ((1, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))]
    weights = [w.detach() for layer in layers for w in (layer.weight.t(), layer.bias)]
    return [w.requires_grad_() for w in weights]


def predict(weights: Weights, x: mg.Tensor) -> mg.Tensor:
    """(waves, points, 1) -> (waves, points, 1), with weights that all waves share or one copy for each."""
    for i in range(0, len(weights), 2):
        x = x @ weights[i] + (weights[i + 1] if weights[i + 1].ndim == 1 else weights[i + 1].unsqueeze(1))
        x = x if i + 2 == len(weights) else x.tanh()
    return x


def inner_step(weights: Weights, x: mg.Tensor, y: mg.Tensor, create_graph: bool) -> Weights:
    """The weights after one step of descent for each wave on its own points."""
    copies = [w.expand(len(x), *w.shape) for w in weights]
    loss = ((predict(copies, x) - y) ** 2).mean(dim=(1, 2)).sum()  # the sum keeps the waves apart
    grads = grad(loss, copies, create_graph=create_graph)
    return [w - RATE * g for w, g in zip(copies, grads, strict=True)]


def train(weights: Weights, steps: int, waves: int, ahead: bool) -> None:
    """Train the start: judged after an inner step, or, without looking ahead, as it is."""
    optimizer = optim.Adam(weights, lr=2e-3)
    for _ in range(steps):
        x, y, more_x, more_y = sample(waves, POINTS)
        fast = inner_step(weights, x, y, create_graph=True) if ahead else weights
        loss = ((predict(fast, more_x) - more_y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def judge(weights: Weights) -> tuple[float, float]:
    """The squared error on new waves, before and after one step on five points of each."""
    x, y, more_x, more_y = sample(500, POINTS)
    fast = inner_step(weights, x, y, create_graph=False)
    before, after = (((predict(w, more_x) - more_y) ** 2).mean().item() for w in (weights, fast))
    return before, after


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    results = {}
    print("squared error on new waves       before   after one step\n")
    for name, ahead in (("trained on all waves at once", False), ("trained to be a start", True)):
        weights = first_weights()
        train(weights, args.steps, args.waves, ahead)
        results[name] = judge(weights)
        print(f"{name:32} {results[name][0]:6.2f}   {results[name][1]:6.2f}")
    joint, start = (after for _, after in results.values())
    return verdict((start < 0.6 * joint, "a start that learns from five points far better"))


if __name__ == "__main__":
    run(main)
