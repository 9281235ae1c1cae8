"""Why several small heads: one head has one look, and a look is an average.

Multi-head attention cuts the C channels of query, key and value into H parts of D = C / H, lets each part attend on its
own, and puts the answers side by side again:

    head_h = softmax(query_h @ key_h.T / sqrt(D)) @ value_h       (B, T, D) for each of H heads
    answer = concat(head_1, ..., head_H) @ W.T + b                (B, T, C) the output projection mixes the heads

The four projections are (C, C) however many heads there are: more heads cost no parameters. (Vaswani et al. 2017,
section 3.2.2.) First this is written by hand and compared with nn.MultiheadAttention on the same weights.

Then a task that needs two places at once: at every position name the symbol one step back AND the symbol three steps
back. Queries and keys see the places, values the symbols, so that where a head looks does not depend on what it finds.
One head has to share one look between both places. Its answer is one weighted sum of two symbols, and a linear layer
that is to name the lighter of them is drawn to the heavier one; with equal weights nobody can tell which stood where.
Two heads can look at one place each, with half of the channels each for what they find (now and then both start out on
a mixture and stay there). Four have heads to spare.
"""

from __future__ import annotations

import argparse
import math

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_int, positive_int, run, verdict

SYMBOLS, T, C = 8, 10, 32  # V, length, channels
BACK = (1, 3)  # the two places, in steps back


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=500, help="training steps; the claim is made from 400 on")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def by_hand(x: mg.Tensor, attention: nn.MultiheadAttention) -> mg.Tensor:
    """Self-attention (B, T, C) -> (B, T, C), one head after the other, with the weights of the module."""
    size = attention.head_dim  # D
    query_weight, key_weight, value_weight = attention.in_proj_weight.chunk(3)  # (C, C) each
    query_bias, key_bias, value_bias = attention.in_proj_bias.chunk(3)  # (C,) each
    query = x @ query_weight.T + query_bias  # (B, T, C)
    key = x @ key_weight.T + key_bias
    value = x @ value_weight.T + value_bias
    answers = []
    for head in range(attention.num_heads):
        own = slice(head * size, (head + 1) * size)
        scores = query[..., own] @ key[..., own].mT / math.sqrt(size)  # (B, T, D) @ (B, D, S) -> (B, T, S)
        answers.append(F.softmax(scores, dim=-1) @ value[..., own])  # (B, T, D)
    joined = mg.cat(answers, dim=-1)  # (B, T, H * D) = (B, T, C)
    return joined @ attention.out_proj.weight.T + attention.out_proj.bias  # (B, T, C)


class TwoPlaces(nn.Module):
    """Symbols to two guesses for every position: (B, T) -> (B, T, 2, V). Attention, and nothing after it to help."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.symbol_embedding = nn.Embedding(SYMBOLS, C)
        self.position_embedding = nn.Embedding(T, C)
        self.attention = nn.MultiheadAttention(C, heads, batch_first=True)
        self.guess = nn.Linear(C, len(BACK) * SYMBOLS)

    def forward(self, ids: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        symbols = self.symbol_embedding(ids)  # (B, T, C)
        places = self.position_embedding(mg.arange(T)).expand(len(ids), T, C)  # (B, T, C)
        x, weights = self.attention(places, places, symbols, average_attn_weights=False)  # (B, T, C), (B, H, T, S)
        return self.guess(x).unflatten(-1, (len(BACK), SYMBOLS)), weights  # (B, T, 2, V)


def questions(batch: int) -> tuple[mg.Tensor, mg.Tensor]:
    """Random symbols (B, T), and what stood 1 and 3 steps before every position that has both: (B, T - 3, 2)."""
    ids = mg.randint(0, SYMBOLS, (batch, T))
    first = max(BACK)
    return ids, mg.stack([ids[:, first - back : T - back] for back in BACK], dim=-1)


def train(heads: int, steps: int, seed: int) -> TwoPlaces:
    mg.manual_seed(seed)
    model = TwoPlaces(heads)
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    schedule = optim.lr_scheduler.CosineWarmup(optimizer, min(20, steps), steps, 1e-3)
    for _ in range(steps):
        ids, targets = questions(32)
        guesses, _ = model(ids)  # (B, T, 2, V)
        loss = F.cross_entropy(guesses[:, max(BACK) :].reshape(-1, SYMBOLS), targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@mg.no_grad()
def examine(model: TwoPlaces, seed: int) -> tuple[float, float, float]:
    """How often, on 500 fresh sequences, the symbol 1 back, the symbol 3 back, and both are right."""
    mg.manual_seed(seed + 1)
    ids, targets = questions(500)
    guesses, _ = model(ids)
    right = guesses[:, max(BACK) :].argmax(-1) == targets  # (B, T - 3, 2)
    one, three = right.float().mean((0, 1)).tolist()
    return one, three, right.all(-1).float().mean().item()


@mg.no_grad()
def looks(model: TwoPlaces) -> list[tuple[float, float]]:
    """For every head, the mean weight on 1 back and on 3 back."""
    _, weights = model(questions(100)[0])  # (B, H, T, S)
    weights = weights.mean(0)[:, max(BACK) :]  # (H, T - 3, S)
    rows = mg.arange(T - max(BACK))
    return [tuple(head[rows, rows + max(BACK) - back].mean().item() for back in BACK) for head in weights]


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    attention = nn.MultiheadAttention(C, 4, batch_first=True)
    for bias in (attention.in_proj_bias, attention.out_proj.bias):
        nn.init.normal_(bias)  # zeros would hide a wrong bias
    x = mg.randn(2, T, C)  # (B, T, C)
    difference = (by_hand(x, attention) - attention(x, x, x, need_weights=False)[0]).abs().max().item()
    print(f"1. Four heads by hand against nn.MultiheadAttention: largest difference {difference:.1e}\n")

    print(f"2. Name the symbol 1 back and the symbol 3 back ({SYMBOLS} symbols: a guess is right 1 time in {SYMBOLS})")
    print("   heads x size  parameters   1 back   3 back   both right   each head's weight on 1 back / 3 back")
    both, counts = {}, set()
    for heads in (1, 2, 4):
        model = train(heads, args.steps, args.seed)
        one, three, both[heads] = examine(model, args.seed)
        counts.add(sum(p.numel() for p in model.parameters()))
        places = "  ".join(f"{a:.2f}/{b:.2f}" for a, b in looks(model))
        sizes = f"{heads:>5} x {C // heads:<4} {max(counts):>11,}"
        print(f"   {sizes}  {one:>6.1%}  {three:>7.1%}  {both[heads]:>11.1%}   {places}")
    print("\nOne head cannot keep two places apart, however many channels it has; several heads can.")

    assert difference < 1e-5, "by hand and by module are the same computation"
    assert len(counts) == 1, "heads cost no parameters"
    if args.steps < 400:
        return 0
    return verdict(
        (both[1] < 0.5, f"one head does not get both right; it does in {both[1]:.1%}"),
        (both[2] > both[1] + 0.3, f"two heads do far better than one; they are right in {both[2]:.1%}"),
        (both[4] > 0.95, f"four heads get both right; they do in {both[4]:.1%}"),
    )


if __name__ == "__main__":
    run(main)
