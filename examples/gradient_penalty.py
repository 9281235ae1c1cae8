"""A critic that measures a distance, because its slope is held at 1.

How far apart are two heaps of points? The Wasserstein distance is the work it takes to move one onto the other. Its
dual form asks for a function, the critic f, that is as different on the two as it can be while it is nowhere steeper
than 1:

    distance = max over f with |slope of f| <= 1 of  mean f(real) - mean f(fake)

The critic is a small network. What keeps it from being steep is a penalty on the gradient of its output by its input,
at points between real and fake ones (Gulrajani et al. 2017, WGAN-GP):

    penalty = mean of (|df/dx| - 1)^2

So the loss holds a gradient, and training needs the gradient of that: create_graph=True. One heap here is the other
moved by a known way, so the right answer is known: the length of the way. Without the penalty the critic just grows.
"""

from __future__ import annotations

import argparse

import minigrad as mg
from minigrad import nn, optim
from minigrad.autograd import grad
from minigrad.tools.cli import natural_int, positive_int, run, verdict

WAY = (1.8, 2.4)  # from the fake to the real heap: 3 units long
PENALTY = 100.0  # its weight; with the usual 10 the slope gives way by 3 / 20, and the distance comes out larger


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=400)
    parser.add_argument("--batch", type=positive_int, default=128, help="points of each heap per step")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def heaps(n: int) -> tuple[mg.Tensor, mg.Tensor]:
    """n real points and n fake ones, (n, 2) each."""
    fake = mg.randn(n, 2)
    return mg.randn(n, 2) + mg.tensor(WAY), fake


def gradient_penalty(critic: nn.Module, real: mg.Tensor, fake: mg.Tensor) -> mg.Tensor:
    """How far the slope of the critic is from 1, at random points on the lines from fake to real ones."""
    share = mg.rand(len(real), 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = grad(critic(between).sum(), between, create_graph=True)  # (n, 2)
    return ((slope.norm(dim=1) - 1) ** 2).mean()


def train(steps: int, batch: int, weight: float) -> nn.Module:
    """A critic after so many steps, with the penalty counting weight times."""
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizer = optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    for _ in range(steps):
        real, fake = heaps(batch)
        loss = critic(fake).mean() - critic(real).mean()
        if weight:
            loss = loss + weight * gradient_penalty(critic, real, fake)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return critic


def distance(critic: nn.Module) -> float:
    """What a critic says, on fresh points."""
    with mg.no_grad():
        real, fake = heaps(5000)
        return (critic(real).mean() - critic(fake).mean()).item()


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    held, free = (distance(train(args.steps, args.batch, weight)) for weight in (PENALTY, 0.0))
    truth = mg.tensor(WAY).norm().item()
    print(f"the way from one heap to the other: {truth:.2f}")
    print(f"the critic with the penalty says:   {held:.2f}")
    print(f"the critic without it says:         {free:.2f}")
    return verdict(
        (abs(held - truth) < 0.1 * truth, "the distance to 10 %"),
        (free > 3 * truth, "a critic that grows without the penalty"),
    )


if __name__ == "__main__":
    run(main)
