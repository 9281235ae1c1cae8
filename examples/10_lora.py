"""LoRA: teach a trained model something new by a fraction of its weights. Hu et al. 2021 (arXiv 2106.09685).

What fine-tuning adds to a weight W (out, in) needs few directions. So W stays as it is, and two thin matrices are
learned beside it, A (r, in) and B (out, r), with r = 4:

    y = x W^T + (alpha / r) x A^T B^T

B begins as zeros: at first nothing is changed. Afterwards W + (alpha / r) B A is one matrix again, and costs nothing.

A GPT reads one text until it knows it. Then it is given another, which only its adapters may learn: on the projections
of attention and on the feed-forward network. The first text fades while the adapters are on; without them it is there.

python examples/10_lora.py
"""

from __future__ import annotations

import argparse

import minigrad as mg
from minigrad import nn, optim
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.tools.cli import natural_int, positive_int, run, verdict

FIRST = "the cat sat on the mat and the dog lay by the door. "
SECOND = "my dog ran to the sea and a cat hid in the red hat. "
LETTERS = sorted({*FIRST, *SECOND})
CONTEXT, BATCH = 32, 16


class LoRA(nn.Module):
    """A linear layer that is kept, and what is learned beside it: (..., in) -> (..., out)."""

    def __init__(self, layer: nn.Linear, rank: int, alpha: float = 8.0) -> None:
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = nn.Parameter(mg.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(mg.zeros(layer.out_features, rank))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)

    def merged(self) -> nn.Linear:
        """One layer that does the same."""
        with mg.no_grad():
            self.layer.weight += self.scale * (self.b @ self.a)
        return self.layer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=200, help="of training each; claims are made from 200 on")
    parser.add_argument("--rank", type=positive_int, default=4, help="r, how many directions each matrix may learn")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def encoded(text: str) -> mg.Tensor:
    return mg.tensor([LETTERS.index(letter) for letter in text])


def loss_on(model: GPT, text: str, starts: mg.Tensor) -> mg.Tensor:
    """The mean loss of pieces of the text, over and over, from these places."""
    ids = encoded(text)[(starts.unsqueeze(1) + mg.arange(CONTEXT + 1)) % len(text)]  # (B, T + 1)
    return model(ids[:, :-1], ids[:, 1:])[1]


def train(model: GPT, text: str, steps: int, lr: float) -> None:
    """Every weight that wants a gradient learns the text."""
    optimizer = optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        loss = loss_on(model, text, mg.randint(0, len(text), (BATCH,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@mg.no_grad()
def measured(model: GPT, text: str) -> float:
    return loss_on(model, text, mg.arange(len(text))).item()


def adapt(model: GPT, rank: int) -> list[tuple[nn.Module, str]]:
    """Freeze the model, and put an adapter beside every linear layer of its blocks: where they are."""
    model.requires_grad_(False)
    places = [
        (module, name)
        for block in model.blocks
        for module in block.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.Linear)
    ]
    for module, name in places:
        setattr(module, name, LoRA(getattr(module, name), rank))
    return places


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    model = GPT(GPTConfig(len(LETTERS), CONTEXT, n_layer=2, n_head=4, n_embd=32))
    train(model, FIRST, args.steps, lr=3e-3)
    total = sum(p.numel() for p in model.parameters())
    before = measured(model, FIRST), measured(model, SECOND)
    print(f"loss, in nats a letter      first text   second text   weights that learn\n{'':50}of {total:,}")
    print(f"after the first text        {before[0]:10.3f}  {before[1]:12.3f}         all")

    places = adapt(model, args.rank)
    same = abs(measured(model, SECOND) - before[1])
    learn = sum(p.numel() for p in model.parameters() if p.requires_grad)
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    train(model, SECOND, args.steps, lr=1e-2)
    after = measured(model, FIRST), measured(model, SECOND)
    print(f"adapters on the second      {after[0]:10.3f}  {after[1]:12.3f}         {learn:,} ({learn / total:.0%})")
    untouched = all((p == kept[name]).all() for name, p in model.named_parameters() if name in kept)

    for module, name in places:
        setattr(module, name, getattr(module, name).merged())
    merged = measured(model, SECOND)
    print(f"merged: {sum(p.numel() for p in model.parameters()):,} weights, loss {merged:.3f} on the second text")
    assert same < 1e-6 and untouched and abs(merged - after[1]) < 1e-4, "an adapter is W + B A, and W stays"
    if args.steps < 200 or args.rank < 4:
        return 0
    return verdict(
        (before[0] < 0.3 < 1.5 < before[1], "it knows the first text and not the second"),
        (after[1] < before[1] / 3, f"the adapters have learned the second; its loss is {after[1]:.3f}"),
        (learn < 0.4 * total, f"few weights have learned it, {learn / total:.0%}"),
    )


if __name__ == "__main__":
    run(main)
