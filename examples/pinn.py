"""A network that solves a differential equation, by being told the equation and nothing else.

The swing of a spring: u'' = -u, from u(0) = 0 with u'(0) = 1. The answer is sin(x), but nobody tells. The network is
asked how far it is from obeying the equation, at points in between (Raissi et al. 2019: physics-informed networks):

    loss = mean of (u''(x) + u(x))^2

u'' is a derivative of the network's output by its input, twice. The loss then has to be differentiated once more, by
the weights: the third derivative on the way, by create_graph=True.

u(x) = x + x^2 N(x) has the right start whatever the network N is. So the equation alone is to be learned.
"""

from __future__ import annotations

import argparse
import math
import time

import minigrad as mg
from minigrad import nn, optim
from minigrad.autograd import grad
from minigrad.tools.cli import natural_int, positive_int, run, verdict

END = math.pi  # the equation holds from 0 to here
POINTS = 40  # where it is asked for


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=8, help="of L-BFGS, each up to 25 evaluations")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


class Solution(nn.Module):
    """u(x) = x + x^2 N(x): (N, 1) -> (N, 1)."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return x + x**2 * self.net(x)


def residual(u: Solution, x: mg.Tensor) -> mg.Tensor:
    """u'' + u at points x (N, 1): 0 where the equation is obeyed."""
    x = x.detach().requires_grad_()
    value = u(x)
    (slope,) = grad(value.sum(), x, create_graph=True)  # a value depends on its own x alone: the sum keeps them apart
    (bend,) = grad(slope.sum(), x, create_graph=True)
    return bend + value


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    u = Solution().double()
    x = mg.linspace(0, END, POINTS, dtype=mg.float64).unsqueeze(1)  # (N, 1)
    optimizer = optim.LBFGS(u.parameters(), lr=1.0, max_iter=20, line_search_fn="strong_wolfe")

    def closure() -> mg.Tensor:
        optimizer.zero_grad()
        loss = (residual(u, x) ** 2).mean()
        loss.backward()
        return loss

    between = mg.linspace(0, END, 201, dtype=mg.float64).unsqueeze(1)

    def error() -> float:
        with mg.no_grad():
            return (u(between) - between.sin()).abs().max().item()

    begun = time.perf_counter()
    print("step     loss     largest |u(x) - sin(x)|\n")
    for step in range(args.steps):
        loss = optimizer.step(closure)
        print(f"{step + 1:4}  {loss.item():.3e}  {error():.3e}")
    print(f"\nsin(x) to {error():.1e}, in {time.perf_counter() - begun:.1f} s")
    return verdict((error() < 1e-3, "the solution to 1e-3"))


if __name__ == "__main__":
    run(main)
