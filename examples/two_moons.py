"""A first network: tell two half-moons apart, with backprop and nothing hidden.

Two half-circles of points are bent round one another, so that no straight line parts them. A network with one hidden
layer learns a curve that does. The loop below is all there is to training:

    loss = how wrong the network is        forward: every op notes how it was made
    loss.backward()                        backward: every parameter gets its .grad
    parameter -= lr * parameter.grad       a small step downhill

The same script is a good one to walk through, to draw and to check, unchanged:

    python -m minigrad step examples/two_moons.py --hidden 2 --points 1
    python -m minigrad graph examples/two_moons.py --hidden 2 --points 1 -o moons.svg
"""

from __future__ import annotations

import argparse
import math

import minigrad as mg
from minigrad.models.mlp import MLP
from minigrad.nn import functional as F
from minigrad.tools.capacity import check_fits
from minigrad.tools.cli import natural_int, positive_int, run, verdict


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=positive_int, default=16, help="neurons of the hidden layer")
    parser.add_argument("--points", type=positive_int, default=100, help="points of each moon")
    parser.add_argument("--steps", type=positive_int, default=500, help="the claim is made from 500 on")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def moons(points: int) -> tuple[mg.Tensor, mg.Tensor]:
    """Points of two half-circles with a little noise, (2N, 2), and which of them each belongs to, (2N,)."""
    angle = mg.rand(points) * math.pi  # (N,)
    upper = mg.stack([angle.cos(), angle.sin()], dim=1)  # (N, 2)
    lower = mg.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=1)
    x = mg.cat([upper, lower]) + 0.1 * mg.randn(2 * points, 2)
    return x, mg.arange(2 * points) // points


@mg.no_grad()
def picture(network: MLP, x: mg.Tensor, y: mg.Tensor) -> str:
    """The plane in characters: shade where the network says moon 1, and the points as o (moon 0) and x (moon 1)."""
    width, height = 64, 20
    across = mg.linspace(-1.5, 2.5, width)
    down = mg.linspace(1.5, -1.0, height)
    grid = mg.stack([across.repeat(height), down.unsqueeze(1).expand(height, width).flatten()], dim=1)  # (H * W, 2)
    answers = network(grid).argmax(-1).reshape(height, width).tolist()
    rows = [["." if answer else " " for answer in row] for row in answers]
    for (a, b), moon in zip(x.tolist(), y.tolist(), strict=True):
        column, row = round((a + 1.5) / 4 * (width - 1)), round((1.5 - b) / 2.5 * (height - 1))
        if 0 <= column < width and 0 <= row < height:
            rows[row][column] = "ox"[moon]
    return "\n".join("  " + "".join(row) for row in rows)


def main() -> int:
    args = arguments()
    check_fits(16 * args.points * args.hidden, f"{args.points} points through {args.hidden} hidden neurons")
    mg.manual_seed(args.seed)
    x, y = moons(args.points)  # (2N, 2), (2N,)
    network = MLP([2, args.hidden, 2])
    lr = 1.0
    for step in range(args.steps):
        loss = F.cross_entropy(network(x), y)
        for parameter in network.parameters():
            parameter.grad = None
        loss.backward()
        with mg.no_grad():
            for parameter in network.parameters():
                parameter -= lr * parameter.grad
        if step % max(1, args.steps // 10) == 0:
            print(f"step {step:4}  loss {loss.item():.4f}")

    fresh_x, fresh_y = moons(500)
    with mg.no_grad():
        right = (network(fresh_x).argmax(-1) == fresh_y).float().mean().item()
    print(picture(network, x, y))
    print(f"{right:.1%} of 1000 fresh points are on the right side of the curve")
    if args.steps >= 500 and args.hidden >= 8 and args.points >= 50:
        return verdict(
            (right > 0.95, f"a hidden layer parts the moons, for more than 95 % of points; here {right:.1%}")
        )
    return 0


if __name__ == "__main__":
    run(main)
