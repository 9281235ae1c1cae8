"""A look-up that can learn: from a dictionary to attention.

A dictionary compares the query with every key, and answers with the value of the one that is equal:

    hard:   answer = values[i]  where  keys[i] == query           nothing is found in between, nothing can be learned

Attention makes each of the three words a vector, "equal" a matter of degree, and the answer a mixture:

    scores  = keys @ query                  (S,)    how alike are they: the dot product
    weights = softmax(scores / temperature) (S,)    positive, sum to 1
    soft:   answer = weights @ values       (C,)    a little of every value, most of the best match

As the temperature goes to 0 the soft answer becomes that of the best match; as it grows, the mean of all values. In
between it has a gradient with respect to everything it was made from, so query, keys and values can all be learned.
"""

from __future__ import annotations

import argparse
import math

import minigrad as mg
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_float, run

# What the wind brings: hours of sun, millimetres of rain.
WEATHER = {"north": (6.0, 1.0), "east": (9.0, 0.0), "south": (8.0, 4.0), "west": (2.0, 12.0)}
ANGLES = {"north": 0.0, "east": 90.0, "south": 180.0, "west": 270.0}  # degrees, clockwise
TEMPERATURES = (100.0, 10.0, 1.0, 0.3, 0.1, 0.03, 0.01)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--angle", type=natural_float, default=30.0, help="where the wind comes from, in degrees clockwise from north"
    )
    return parser.parse_args()


def direction(degrees: float) -> list[float]:
    return [math.sin(math.radians(degrees)), math.cos(math.radians(degrees))]


def soft_lookup(
    query: mg.Tensor, keys: mg.Tensor, values: mg.Tensor, temperature: float = 1.0
) -> tuple[mg.Tensor, mg.Tensor]:
    """The answer (C,) and the weights (S,) of a query (D,) among keys (S, D) with values (S, C)."""
    scores = keys @ query  # (S,)
    weights = F.softmax(scores / temperature, dim=0)  # (S,)
    return weights @ values, weights  # (C,), (S,)


def hard_lookup(query: mg.Tensor, keys: mg.Tensor, values: mg.Tensor) -> mg.Tensor:
    """The value (C,) of the best match."""
    return values[(keys @ query).argmax()]  # (C,)


def gradient_sizes(answer: mg.Tensor, inputs: dict[str, mg.Tensor]) -> dict[str, float]:
    """The norm of the gradient of the hours of sun with respect to each input; 0 where none arrives."""
    for x in inputs.values():
        x.grad = None
    answer[0].backward()
    return {name: 0.0 if x.grad is None else x.grad.norm().item() for name, x in inputs.items()}


def main() -> None:
    args = arguments()
    names = list(WEATHER)
    query = mg.tensor(direction(args.angle), requires_grad=True)  # (D,)
    keys = mg.tensor([direction(ANGLES[name]) for name in names], requires_grad=True)  # (S, D)
    values = mg.tensor([WEATHER[name] for name in names], requires_grad=True)  # (S, C)

    print("1. A dictionary")
    print(f"   WEATHER['north']      -> {WEATHER['north']}")
    print(f"   a wind from {args.angle:g} degrees -> KeyError, though north and east are both near\n")

    print(f"2. Soft look-up of {args.angle:g} degrees: weights over the keys, and the answer")
    print(f"   temperature  {'  '.join(f'{name:>5}' for name in names)}     sun   rain    distance to hard")
    hard = hard_lookup(query, keys, values)
    distances = []
    for temperature in TEMPERATURES:
        soft, weights = soft_lookup(query, keys, values, temperature)
        distances.append((soft - hard).norm().item())
        row = "  ".join(f"{w:5.3f}" for w in weights.tolist())
        print(f"   {temperature:>11g}  {row}   {soft[0]:5.2f}  {soft[1]:5.2f}    {distances[-1]:.6f}")
    print(f"   {'hard':>11}  {'':26}   {hard[0]:5.2f}  {hard[1]:5.2f}\n")

    print("3. Gradient of the hours of sun: how much arrives")
    inputs = {"query": query, "keys": keys, "values": values}
    reached = {
        "hard": gradient_sizes(hard_lookup(**inputs), inputs),
        "soft": gradient_sizes(soft_lookup(**inputs)[0], inputs),
    }
    for kind, sizes in reached.items():
        print(f"   {kind}:  " + "   ".join(f"{name} {size:.3f}" for name, size in sizes.items()))
    print("   The hard one can be told what to answer, but never where to look. (A dictionary has no gradient at all.)")

    warmest, _ = soft_lookup(query, keys, values, 1e6)
    assert warmest.allclose(values.mean(0), atol=1e-3), "at a high temperature the answer is the mean of the values"
    first, second = (keys @ query).topk(2).values.tolist()
    if first - second > 0.2:
        assert distances[-1] < 1e-4, "at temperature 0.01 the soft answer is the hard one"
        assert distances[-1] <= distances[-2] <= distances[-3], "and it comes closer all the while"
    assert reached["hard"]["query"] == reached["hard"]["keys"] == 0, "argmax has no gradient"
    assert all(size > 0 for size in reached["soft"].values()), "the soft look-up has one everywhere"


if __name__ == "__main__":
    run(main)
