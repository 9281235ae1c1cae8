"""The curvature of a trained network's loss: a few steep directions, and a flat rest.

The Hessian of the loss by all weights has one curvature, an eigenvalue, for each direction in the space of weights.
Of a trained network most are nearly 0: the loss does not mind where the weights go there. A few are large, about as
many as there are classes to tell apart (Sagun et al. 2017), and they say how large a learning rate may be: above 2 /
largest, descent jumps from wall to wall.

For a network this small the whole Hessian can be made (autograd.functional.hessian). For a large one it cannot, and
need not be: its product with a vector costs about as much as two walks back, and multiplying again and again turns
any vector into the steepest direction (power iteration). Both are done here, and agree.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.autograd import functional, grad
from minigrad.func import functional_call
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_int, positive_int, run, verdict
from minigrad.train.files import atomic_write

HIDDEN = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=400, help="of training")
    parser.add_argument("--seed", type=natural_int, default=0)
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the spectrum as a picture, an SVG")
    return parser.parse_args()


def moons(n: int) -> tuple[mg.Tensor, mg.Tensor]:
    """n points on two half circles that reach into each other (n, 2), and on which each is (n,)."""
    label = (mg.arange(n) % 2).long()
    angle = math.pi * mg.rand(n)
    side = 1 - 2 * label.float()
    x = mg.stack([side * angle.cos() + (1 - side) / 2, side * angle.sin() + (1 - side) / 4], 1)
    return x + 0.1 * mg.randn(n, 2), label


class Loss:
    """The mean cross-entropy of a network on fixed points, as a function of all its weights in one row."""

    def __init__(self, model: nn.Module, x: mg.Tensor, label: mg.Tensor) -> None:
        self.model, self.x, self.label = model, x, label
        self.shapes = {name: p.shape for name, p in model.named_parameters()}

    def row(self) -> mg.Tensor:
        return mg.cat([p.detach().reshape(-1) for p in self.model.parameters()])

    def __call__(self, row: mg.Tensor) -> mg.Tensor:
        parts = row.split([math.prod(shape) for shape in self.shapes.values()])
        weights = {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return F.cross_entropy(functional_call(self.model, weights, (self.x,)), self.label)


def steepest(loss: Loss, row: mg.Tensor, steps: int = 100) -> float:
    """The largest curvature by Hessian-vector products alone."""
    row = row.detach().requires_grad_()
    (slope,) = grad(loss(row), row, create_graph=True)
    v = mg.randn(len(row), dtype=row.dtype)
    for _ in range(steps):
        v = v / v.norm()
        (product,) = grad(slope, row, v, retain_graph=True)  # H v
        curvature = (v @ product).item()
        v = product
    return curvature


def picture(eigenvalues: list[float]) -> str:
    """The eigenvalues as dots, largest first, on a scale that shows small and large ones."""
    width, height, margin = 640, 320, 50
    low, high = -5.0, math.ceil(math.log10(max(eigenvalues)))

    def y(value: float) -> float:
        return margin + (high - max(math.log10(max(value, 1e-9)), low)) / (high - low) * (height - 2 * margin)

    def x(i: int) -> float:
        return margin + i / max(len(eigenvalues) - 1, 1) * (width - 2 * margin)

    dots = [f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="3" fill="#2563a8"/>' for i, v in enumerate(eigenvalues)]
    ticks = [
        f'<text x="{margin - 8}" y="{y(10.0**k) + 4:.1f}" text-anchor="end">1e{k}</text>'
        f'<line x1="{margin}" x2="{width - margin}" y1="{y(10.0**k):.1f}" y2="{y(10.0**k):.1f}" stroke="#ccc"/>'
        for k in range(int(low), int(high) + 1)
    ]
    title = "Curvatures of the loss, largest first; those below 1e-5, negative ones too, lie on the lowest line"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    text = f'<text x="{margin}" y="24">{title}</text>'
    back = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return f'{head} font-size="12" role="img"><title>{title}</title>{back}{"".join(ticks)}{"".join(dots)}{text}</svg>\n'


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    x, label = moons(200)
    model = nn.Sequential(nn.Linear(2, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    for _ in range(args.steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), label).backward()
        optimizer.step()
    model.double()
    loss = Loss(model, x.double(), label)
    row = loss.row()
    hessian = functional.hessian(loss, row)  # (W, W), for W weights
    eigenvalues = sorted(np.linalg.eigvalsh(hessian.numpy()).tolist(), reverse=True)
    largest = steepest(loss, row)
    flat = sum(v < eigenvalues[0] / 100 for v in eigenvalues) / len(eigenvalues)
    print(f"loss {loss(row).item():.4f} with {len(row)} weights")
    print("the largest curvatures:", ", ".join(f"{v:.3g}" for v in eigenvalues[:5]))
    print(f"the largest by power iteration: {largest:.3g}; descent is stable below a rate of {2 / largest:.2g}")
    print(f"{flat:.0%} of all are below a hundredth of the largest; the most negative is {eigenvalues[-1]:.1e}")
    if args.out is not None:
        with atomic_write(args.out, b"<svg") as file:
            file.write(picture(eigenvalues).encode())
        print(f"wrote {args.out}")
    return verdict(
        (abs(largest - eigenvalues[0]) < 0.01 * eigenvalues[0], "both ways to the largest curvature agree to 1 %"),
        (flat > 0.5, "most directions flat"),
    )


if __name__ == "__main__":
    run(main)
