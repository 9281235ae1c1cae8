"""From a kernel with a fixed width to attention: whom should a point ask?

Smoothing a noisy series is a soft look-up: the query is a time t, the keys are the times s that were measured, the
values are what was measured there. The Nadaraya-Watson kernel (1964) asks the neighbours:

    weights(t, s) = softmax_s(-(t - s)^2 / (2 width^2))                 one number, the width, is chosen
    smooth(t)     = sum_s weights(t, s) value(s)

Attention is the same sum with weights that are learned. phi(t) describes a time by sine and cosine waves; two vectors,
one number for each wave, say how much it counts in what t looks for and in what s offers:

    query(t) = q * phi(t)        key(s) = k * phi(s)        weights(t, s) = softmax_s(query(t) . key(s))

As sin a sin b + cos a cos b = cos(a - b), the score is a learned function of the distance, as the Gaussian's is a fixed
one: sum_f q_f k_f cos(2 pi f (t - s) / N). (Full matrices in place of q and k have too much freedom for 300 points:
when tried, with 16 channels, they ended behind the Gaussian.)

The series here is a machine that switches: a pattern with jumps that comes again and again. It is chosen so that asking
the neighbours must fail: a wide kernel washes out the jumps, a narrow one averages too few points to get rid of the
noise. The same moment of the other rounds would be the one to ask, but nobody says how long a round is: phi holds waves
of all lengths from the whole series down to a quarter of a round, and training has to find which of them matter.

Both are fitted on the training points alone, by the same rule: the squared error at each training point when it may not
ask itself. Both are compared at the points that were held out. On a series that never repeats there would be nothing of
this kind to find.
"""

from __future__ import annotations

import argparse
import math

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_int, positive_int, run, verdict

ROUND, ROUNDS, NOISE = 20, 20, 0.4  # points in a round, rounds, standard deviation of the noise
LEVELS = ((0, 0.0), (3, 1.0), (7, -0.5), (10, 0.5), (14, -1.0), (18, 0.0))  # from this point on, this level
WAVES = 80  # in the description of a time: 1, 2, ... of them over the whole series


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=150, help="training steps; the claim is made from 100 on")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def make_series() -> tuple[mg.Tensor, mg.Tensor, mg.Tensor]:
    """Times 0, 1, ... (N,), the true level at each (N,), and what was measured (N,)."""
    times = mg.arange(ROUND * ROUNDS).float()
    levels = [max(pair for pair in LEVELS if pair[0] <= t % ROUND)[1] for t in range(ROUND * ROUNDS)]
    truth = mg.tensor(levels)
    return times, truth, truth + NOISE * mg.randn(len(truth))


def smooth(scores: mg.Tensor, values: mg.Tensor, ask_itself: bool) -> tuple[mg.Tensor, mg.Tensor]:
    """The smoothed values (T,) and the weights (T, S), from scores (T, S) and values (S,)."""
    if not ask_itself:
        scores = scores.masked_fill(mg.eye(len(values)) == 1, -math.inf)
    weights = F.softmax(scores, dim=-1)  # (T, S)
    return weights @ values, weights


class Gaussian:
    """Scores of the kernel: minus the squared distance in time."""

    def __init__(self, width: float) -> None:
        self.width = width

    def __call__(self, to: mg.Tensor, of: mg.Tensor) -> mg.Tensor:
        distance = to.unsqueeze(1) - of.unsqueeze(0)  # (T, 1) - (1, S) -> (T, S)
        return -(distance**2) / (2 * self.width**2)


class Attention(nn.Module):
    """Scores that are learned: times (T,), (S,) -> (T, S)."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(mg.full((WAVES,), 0.3))
        self.key = nn.Parameter(mg.full((WAVES,), 0.3))

    def forward(self, to: mg.Tensor, of: mg.Tensor) -> mg.Tensor:
        query = self.describe(to) * self.query.repeat(2)  # (T, D), D = 2 * WAVES
        key = self.describe(of) * self.key.repeat(2)  # (S, D)
        return query @ key.T  # (T, S)

    @staticmethod
    def describe(times: mg.Tensor) -> mg.Tensor:
        """Where each wave stands at each time: (T,) -> (T, D)."""
        angles = times.unsqueeze(1) * (mg.arange(1, WAVES + 1).float() * (2 * math.pi / (ROUND * ROUNDS)))  # (T, WAVES)
        return mg.cat([angles.sin(), angles.cos()], dim=1)


def error_without_itself(model: Gaussian | Attention, times: mg.Tensor, values: mg.Tensor) -> mg.Tensor:
    return F.mse_loss(smooth(model(times, times), values, ask_itself=False)[0], values)


def best_gaussian(times: mg.Tensor, values: mg.Tensor) -> Gaussian:
    widths = [0.3 * 1.1**i for i in range(50)]  # 0.3 to 32 points
    return min((Gaussian(width) for width in widths), key=lambda g: error_without_itself(g, times, values).item())


def train(times: mg.Tensor, values: mg.Tensor, steps: int) -> Attention:
    model = Attention()
    optimizer = optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(steps):
        loss = error_without_itself(model, times, values)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def plot(lines: dict[str, mg.Tensor]) -> None:
    """One round from top to bottom: a letter for each line, low values left, high ones right."""
    for t in range(ROUND):
        cells = [" "] * 61
        for letter, values in lines.items():
            cells[min(max(round((values[t].item() + 1.5) * 20), 0), 60)] = letter
        print(f"   {t:>3} |{''.join(cells).rstrip()}")


@mg.no_grad()
def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    times, truth, measured = make_series()
    order = mg.randperm(len(times))
    held_out, known = order[: len(times) // 4], order[len(times) // 4 :].sort().values

    gaussian = best_gaussian(times[known], measured[known])
    with mg.enable_grad():
        attention = train(times[known], measured[known], args.steps)

    print(f"{len(known)} points to learn from, {len(held_out)} held out; noise of variance {NOISE**2:.2f} in each\n")
    print("                          mean squared error       weight it gives to")
    print("                          held out   to truth      points within 3   same moment of other rounds")
    errors = {}
    for name, model in ((f"Gaussian, width {gaussian.width:.2f}", gaussian), ("attention", attention)):
        guesses, weights = smooth(model(times[held_out], times[known]), measured[known], ask_itself=True)
        errors[name] = F.mse_loss(guesses, measured[held_out]).item()
        distance = (times[held_out].unsqueeze(1) - times[known].unsqueeze(0)).abs()  # (T, S)
        near = (weights * (distance <= 3)).sum(-1).mean().item()
        same = (weights * (distance % ROUND == 0)).sum(-1).mean().item()
        to_truth = F.mse_loss(guesses, truth[held_out]).item()
        print(f"   {name:21}  {errors[name]:8.3f}   {to_truth:8.3f}      {near:15.0%}   {same:27.0%}")
    fixed, learned = errors.values()

    middle = times[ROUND * (ROUNDS // 2) : ROUND * (ROUNDS // 2 + 1)]
    print("\nOne round in the middle: . truth, g Gaussian, A attention")
    lines = {".": truth[middle.long()]}
    for letter, model in (("g", gaussian), ("A", attention)):
        lines[letter] = smooth(model(middle, times[known]), measured[known], ask_itself=True)[0]
    plot(lines)

    if args.steps < 100:
        return 0
    claim = f"attention beats the Gaussian on held-out points, {learned:.3f} < 0.7 * {fixed:.3f}"
    return verdict((learned < 0.7 * fixed, claim))


if __name__ == "__main__":
    run(main)
