"""One attention head on one sentence, every array of it on the table.

    X = [which word | which place], one-hot        (T, C)
    query = X @ Wq.T [+ bq]                        (T, D)    what each word looks for
    key   = X @ Wk.T [+ bk]                        (T, D)    what each word offers to be found by
    value = X @ Wv.T [+ bv]                        (T, D)    what each word gives when found
    scores  = query @ key.T                        (T, S)    row: who looks; column: who is looked at
    scaled  = scores / sqrt(D)
    masked  = scaled, -inf where s > t                       causal only: no word sees those after it
    weights = softmax(masked)                      (T, S)    every row sums to 1
    output  = weights @ value                      (T, D)

The weights are random at first, so where "cat" looks means nothing. Then the same head is trained on a task of which
the answer is known: say the word before you. The training texts are words drawn at random, so that there is nothing to
learn by heart and no other word to guess from; the only way is to look one place back. Afterwards "cat" looks at "The".
"""

from __future__ import annotations

import argparse
import math

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_int, positive_int, run, verdict

SENTENCE = "The cat sat on the mat".split()
VOCABULARY = sorted({word.lower() for word in SENTENCE})
T, D = len(SENTENCE), 4
C = len(VOCABULARY) + T


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bias", action="store_true", help="give the three projections a bias")
    parser.add_argument("--steps", type=positive_int, default=400, help="training steps; the claim is made from 300 on")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


class Head(nn.Module):
    """One head over words and places, and a linear layer that reads a word out of its output."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.query = nn.Linear(C, D, bias=bias)
        self.key = nn.Linear(C, D, bias=bias)
        self.value = nn.Linear(C, D, bias=bias)
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight)  # wide enough for weights that differ visibly before training
        self.guess = nn.Linear(D, len(VOCABULARY))

    def arrays(self, ids: mg.Tensor, causal: bool) -> dict[str, mg.Tensor]:
        """Everything from X to output, by name, for words (..., T)."""
        words = F.one_hot(ids, len(VOCABULARY)).float()  # (..., T, V)
        places = mg.eye(T).expand(*ids.shape, T)  # (..., T, T)
        a = {"X": mg.cat([words, places], dim=-1)}  # (..., T, C)
        for name in ("query", "key", "value"):
            a[name] = getattr(self, name)(a["X"])  # (..., T, D)
        a["scores"] = a["query"] @ a["key"].mT  # (..., T, S)
        a["scaled"] = a["scores"] / math.sqrt(D)
        if causal:
            a["masked"] = a["scaled"].masked_fill(~mg.ones(T, T, dtype=mg.bool).tril(), -math.inf)
        a["weights"] = F.softmax(a["masked" if causal else "scaled"], dim=-1)
        a["output"] = a["weights"] @ a["value"]  # (..., T, D)
        return a


def show(name: str, array: mg.Tensor) -> None:
    """A matrix with its name and shape, a word at every row, and one at every column that stands for a word."""
    print(f"{name} {array.shape}" + (f": {', '.join(VOCABULARY)}; place 0 to {T - 1}" if name == "X" else ""))
    if name in ("scores", "scaled", "masked", "weights"):
        print("      " + "".join(f"{word:>7}" for word in SENTENCE))
    for word, row in zip(SENTENCE, array.tolist(), strict=True):
        cells = (f"{x:4.0f}" if name == "X" else "   -inf" if x == -math.inf else f"{x:7.2f}" for x in row)
        print(f"  {word:>4}" + "".join(cells))
    print()


def check(head: Head, ids: mg.Tensor) -> float:
    """The largest difference from F.scaled_dot_product_attention, causal and not; checks what must hold on the way."""
    differences = []
    for causal in (False, True):
        a = head.arrays(ids, causal)
        whole = F.scaled_dot_product_attention(a["query"], a["key"], a["value"], is_causal=causal)
        differences.append((a["output"] - whole).abs().max().item())
        for name in ("query", "key", "value"):
            layer = getattr(head, name)
            plain = a["X"] @ layer.weight.T
            by_hand = plain if layer.bias is None else plain + layer.bias
            assert a[name].allclose(by_hand, atol=1e-6), f"{name} = X @ W.T + b"
            assert (layer.bias is None) == a[name].allclose(plain, atol=1e-6), f"the bias of {name} counts"
        assert a["weights"].sum(-1).allclose(mg.ones(T), atol=1e-6), "every row of the weights sums to 1"
        if causal:
            assert a["weights"].triu(1).abs().sum().item() == 0, "nothing looks ahead"
    return max(differences)


def train(head: Head, steps: int) -> float:
    """Teach the head to say the word before, not causally; the share of right answers on fresh texts."""
    optimizer = optim.Adam(head.parameters(), lr=5e-2)
    for _ in range(steps):
        guesses, before = guess_random_text(head, 32)
        loss = F.cross_entropy(guesses.reshape(-1, len(VOCABULARY)), before.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    guesses, before = guess_random_text(head, 500)
    return (guesses.argmax(-1) == before).float().mean().item()


def guess_random_text(head: Head, batch: int) -> tuple[mg.Tensor, mg.Tensor]:
    """Guesses (B, T - 1, V) for all places but the first, and the words before them (B, T - 1)."""
    ids = mg.randint(0, len(VOCABULARY), (batch, T))  # (B, T)
    guesses = head.guess(head.arrays(ids, causal=False)["output"])  # (B, T, D) -> (B, T, V)
    return guesses[:, 1:], ids[:, :-1]


def look_of_cat(head: Head, ids: mg.Tensor) -> list[float]:
    return head.arrays(ids, causal=False)["weights"][SENTENCE.index("cat")].tolist()


def main() -> int:
    args = arguments()
    ids = mg.tensor([VOCABULARY.index(word.lower()) for word in SENTENCE])  # (T,)
    mg.manual_seed(args.seed)
    heads = {bias: Head(bias) for bias in (False, True)}
    head = heads[args.bias]

    print(f"1. {' '.join(SENTENCE)}: random weights, {'with' if args.bias else 'without'} bias, causal\n")
    for name, array in head.arrays(ids, causal=True).items():
        show(name, array)
    for bias, each in heads.items():
        kind = "with" if bias else "without"
        difference = check(each, ids)
        print(f"{kind} bias, largest difference from F.scaled_dot_product_attention: {difference:.1e}")
        assert difference < 1e-5, "by hand and in one call are the same computation"

    print('\n2. Where "cat" looks, if it may look anywhere')
    print(f"{'':28}" + "".join(f"{word:>7}" for word in SENTENCE))
    rows = {"random weights (no meaning)": look_of_cat(head, ids)}
    share = train(head, args.steps)
    rows['trained: "the word before"'] = after = look_of_cat(head, ids)
    for title, row in rows.items():
        print(f"{title:28}" + "".join(f"{x:7.2f}" for x in row))
    print(f"\nThe trained head names the word before in {share:.1%} of the places of fresh random texts.")
    if args.steps < 300:
        return 0
    return verdict(
        (after[0] > 0.8, f'"cat" looks at the word before it; its weight there is {after[0]:.2f}'),
        (share > 0.95, f"the head has learned the task; it is right in {share:.1%}"),
    )


if __name__ == "__main__":
    run(main)
