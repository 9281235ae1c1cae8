"""Why the scores of attention are divided by the square root of d.

A score is a sum of d products. With entries of mean 0 and variance 1 that are independent of each other,

    score = sum_i query_i key_i        mean 0, variance d:  typical scores grow as sqrt(d)

and softmax turns large scores into weights that are nearly 0 or 1. There its derivative is nearly 0:

    d weight_i / d score_j = weight_i (1[i = j] - weight_j)        0 for weights 0 and 1

so the more channels, the less a head can learn about where to look. score / sqrt(d) has variance 1 for every d.
(Vaswani et al. 2017, section 3.2.1.)

The table shows random queries over random keys: the spread of what goes into softmax, the entropy of the weights (how
many keys they are spread over: exp(entropy)), and the norm of the gradient that arrives at the input of softmax (median
over the queries). Weights that have begun to choose pass on a little more than even ones; past that it dries up.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import minigrad as mg
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_int, run, verdict

SIZES = (4, 16, 64, 256, 1024)  # d
QUERIES, KEYS = 256, 64  # T, S


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def measure(query: mg.Tensor, key: mg.Tensor, scale: float) -> tuple[float, float, float]:
    """Standard deviation of the scaled scores, mean entropy of the weights, median gradient norm: (T, D), (S, D)."""
    scores = (query @ key.T * scale).requires_grad_()  # (T, S)
    weights = F.softmax(scores, dim=-1)  # (T, S)
    # The gradient that comes down from the layers above: random, of the same size for every d.
    weights.backward(mg.randn(*weights.shape, generator=mg.Generator().manual_seed(1)))
    weights = weights.detach()
    entropy = -(weights * weights.clamp(min=1e-30).log()).sum(-1).mean()
    return scores.std().item(), entropy.item(), float(np.median(scores.grad.norm(dim=-1).numpy()))


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    print(f"{QUERIES} queries over {KEYS} keys; even weights have entropy ln {KEYS} = {math.log(KEYS):.2f} nats\n")
    print("          query @ key.T                       query @ key.T / sqrt(d)")
    print("     d    spread  entropy  keys  gradient     spread  entropy  keys  gradient")
    plain, scaled = [], []
    for d in SIZES:
        query, key = mg.randn(QUERIES, d), mg.randn(KEYS, d)  # (T, D), (S, D)
        plain.append(measure(query, key, 1.0))
        scaled.append(measure(query, key, 1 / math.sqrt(d)))
        columns = (
            f"{spread:6.2f}  {entropy:7.3f}  {math.exp(entropy):4.1f}  {gradient:8.5f}"
            for spread, entropy, gradient in (plain[-1], scaled[-1])
        )
        print(f"  {d:4}    " + "     ".join(columns))
    print("\nLeft: the spread doubles with every row, the weights close in on one key, the gradient dries up.")
    print("Right: next to nothing changes from d = 4 to d = 1024.")

    claims = []
    for d, (spread, _, _), (spread_scaled, entropy_scaled, _) in zip(SIZES, plain, scaled, strict=True):
        claims += [
            (0.7 < spread / math.sqrt(d) < 1.3, f"the spread of the scores is the square root of d = {d}"),
            (0.7 < spread_scaled < 1.3, f"divided by it, the spread is 1 at d = {d}"),
            (entropy_scaled > 0.8 * math.log(KEYS), f"the scaled weights stay spread out at d = {d}"),
        ]
    for column, what in ((1, "entropy"), (2, "gradient")):
        falls = [row[column] for row in plain[1:]]
        stays = [row[column] for row in scaled]
        claims += [
            (falls == sorted(falls, reverse=True), f"without the division the {what} falls from d = {SIZES[1]} on"),
            (falls[-1] < 0.2 * plain[0][column], f"most of the {what} is gone at d = {SIZES[-1]}"),
            (max(stays) < 1.3 * min(stays), f"with the division the {what} stays"),
        ]
    return verdict(*claims)


if __name__ == "__main__":
    run(main)
