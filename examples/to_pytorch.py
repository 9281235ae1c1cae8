"""Take a GPT trained with minigrad to PyTorch: the same model in PyTorch's words, the same weights, the same logits.

    python examples/to_pytorch.py runs/python-docs.npz
    python examples/to_pytorch.py runs/python-docs.npz --out gpt.pt      and write the weights with torch.save

The classes below are models/gpt.py and models/attention.py with `torch` for `minigrad`: since all the names
are the same, load_state_dict finds every weight. From here on the model can grow, on a GPU.
Learned and sinusoidal positions with full attention; for other words of the config, carry the module over likewise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn as our_nn
from minigrad.models import gpt as ours
from minigrad.tools.cli import run
from minigrad.train.checkpoints import load_model
from minigrad.train.files import atomic_write, output_path

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit("error: this example needs PyTorch: pip install torch (pytorch.org has the command for a GPU)")


class Positions(nn.Module):
    """A vector for each position, learned or made of waves: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: ours.GPTConfig) -> None:
        super().__init__()
        self.added = nn.Module()
        if config.positions == "learned":
            self.added.weight = nn.Parameter(torch.empty(config.block_size, config.n_embd))
        else:
            waves = our_nn.SinusoidalPositions(config.n_embd).table(config.block_size).numpy()
            self.added.register_buffer("weight", torch.from_numpy(waves), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.added.weight[: x.shape[1]]


class Attention(nn.Module):
    """Each token asks, and gathers what the earlier ones offer: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: ours.GPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.dropout = config.dropout
        self.query, self.key, self.value, self.output = (
            nn.Linear(config.n_embd, config.n_embd, bias=config.bias) for _ in range(4)
        )
        self.output_dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (self.split_heads(layer(x)) for layer in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)  # (B, H, T, D)
        return self.output_dropout(self.output(out.transpose(1, 2).reshape(x.shape)))

    def split_heads(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        return x.view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, D)


class FeedForward(nn.Module):
    """Each token on its own, through a hidden layer four times as wide: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: ours.GPTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.activation = nn.GELU(approximate="tanh")
        self.contract = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.contract(self.activation(self.expand(x))))


class Block(nn.Module):
    """Communicate, then compute; each adds to the stream it read from: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: ours.GPTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = FeedForward(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    """Tokens to logits for the next token at every position: (B, T) -> (B, T, V). Raises ValueError for other words."""

    def __init__(self, config: ours.GPTConfig) -> None:
        super().__init__()
        for name, known in (("positions", ("learned", "sinusoidal")), ("attention", ("full",))):
            if getattr(config, name) not in known:
                raise ValueError(
                    f"{name}={getattr(config, name)!r} is not carried over by this example, only {' and '.join(known)}"
                )
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = Positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.head.weight = self.token_embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.positions(self.token_embedding(ids)))  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # (B, T, V)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="what examples/train_char_gpt.py wrote")
    parser.add_argument("--out", type=Path, help="file for PyTorch's state dict; a new one")
    args = parser.parse_args()
    if args.out:
        output_path(args.out, b"", [args.checkpoint])
    model, checkpoint = load_model(args.checkpoint, lambda checkpoint: ours.GPT(ours.GPTConfig(**checkpoint["config"])))
    config = model.config
    theirs = GPT(config).eval()
    theirs.load_state_dict({name: torch.tensor(weight.numpy()) for name, weight in checkpoint["model"].items()})

    ids = np.random.default_rng(0).integers(0, config.vocab_size, (4, config.block_size))
    with mg.no_grad(), torch.no_grad():
        z = model(mg.tensor(ids))[0].numpy()  # (B, T, V)
        z_theirs = theirs(torch.tensor(ids)).numpy()
    difference, largest = np.abs(z - z_theirs).max(), np.abs(z).max()
    print(f"{sum(p.numel() for p in theirs.parameters()):,} weights carried over by name")
    print(f"logits of {ids.size} tokens: largest {largest:.3f}, largest difference {difference:.1e}")
    assert difference <= 1e-4 * max(largest, 1), f"the models differ by {difference}"
    if args.out:
        with atomic_write(args.out, b"") as file:
            torch.save(theirs.state_dict(), file)
        print(f"written: {args.out}; read it with GPT(config).load_state_dict(torch.load({str(args.out)!r}))")
    print("next: model.to('cuda'), batches likewise, and a config ten times as large; docs/scaling.md says when")
    return 0


if __name__ == "__main__":
    run(main)
