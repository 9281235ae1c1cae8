"""Newton's method: the slope says which way is down, the curvature how far to go.

Gradient descent takes a small step against the gradient g, and how small is a guess. Newton's method asks for the
second derivatives too, the Hessian H, and goes at once to where the parabola with this slope and this curvature has
its lowest point:

    step = -H^-1 g

The valley here is Rosenbrock's (1960): (1 - x)^2 + 100 (y - x^2)^2. It is curved, with steep walls and a floor that
is nearly flat: a step that is small enough not to jump out of the walls hardly moves along the floor. The minimum is
at (1, 1). Near it the number of right digits doubles with every step of Newton's.

H comes from autograd.functional.hessian: the derivative of a derivative, which is a computation like any other.
"""

from __future__ import annotations

import argparse

import minigrad as mg
from minigrad.autograd import functional, grad
from minigrad.tools.cli import natural_float, positive_int, run, verdict

START = (-1.2, 1.0)  # where Rosenbrock began


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=1000, help="of gradient descent")
    parser.add_argument("--lr", type=natural_float, default=0.001, help="of gradient descent; twice as much diverges")
    return parser.parse_args()


def rosenbrock(point: mg.Tensor) -> mg.Tensor:
    """The height of the valley at a point (2,)."""
    x, y = point
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def descend(point: mg.Tensor, lr: float, steps: int) -> mg.Tensor:
    """The point (2,) after so many small steps downhill."""
    for _ in range(steps):
        point = point.detach().requires_grad_()
        (g,) = grad(rosenbrock(point), point)
        point = point - lr * g
    return point.detach()


def newton(point: mg.Tensor) -> tuple[mg.Tensor, int]:
    """The point (2,) where the slope is 0 to seven digits, and how many steps it took."""
    for step in range(50):
        point = point.detach().requires_grad_()
        (g,) = grad(rosenbrock(point), point)
        print(f"{step:4}  ({point[0].item():+.9f}, {point[1].item():+.9f})  {rosenbrock(point).item():.3e}")
        if g.abs().max().item() < 1e-7:
            return point.detach(), step
        hessian = functional.hessian(rosenbrock, point)  # (2, 2)
        point = point - mg.linalg.solve(hessian, g)
    return point.detach(), 50


def main() -> int:
    args = arguments()
    start = mg.tensor(START, dtype=mg.float64)
    print("step  point                         height\n")
    found, steps = newton(start)
    slow = descend(start, args.lr, args.steps)
    height = rosenbrock(slow).item()
    print(f"\nNewton: {steps} steps to ({found[0].item():.9f}, {found[1].item():.9f})")
    print(f"gradient descent: {args.steps} steps to ({slow[0].item():.3f}, {slow[1].item():.3f}), height {height:.2g}")
    return verdict(
        (steps <= 6 and rosenbrock(found).item() < 1e-18, "Newton's method at the minimum within 6 steps"),
        (args.steps > 1000 or height > 1e-3, "gradient descent far from there after up to 1000"),
    )


if __name__ == "__main__":
    run(main)
