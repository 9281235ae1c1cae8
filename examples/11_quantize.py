"""Weights in eight bits, or four: how small may a number be made before the model notices?

A weight takes 32 bits, and needs few of them. Of every block of 32 weights one scale is kept, and each weight becomes a
whole number:

    d = largest |w| / 127,   q = round(w / d), from -128 to 127,   w is read back as d q

That is Q8_0 of GGUF files (``minigrad/train/gguf.py``): 8 bits a weight and 16 for the scale, 8.5 in all. With four
bits there are 16 levels. The scale of a whole matrix is that of its largest weight; a small block has its own.

python examples/11_quantize.py
"""

from __future__ import annotations

import argparse

import numpy as np

import minigrad as mg
from minigrad import optim
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.tools.cli import natural_int, positive_int, run, verdict

TEXT = "the cat sat on the mat and the dog lay by the door. "
LETTERS = sorted(set(TEXT))
CONTEXT = 32


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=150, help="of training; claims are made from 150 on")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def quantized(w: np.ndarray, bits: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N,) as whole numbers (N / block, block) of so many bits, and the scale of each block."""
    rows = np.pad(w, (0, -len(w) % block)).reshape(-1, block)
    most = 2 ** (bits - 1) - 1  # 127, or 7
    d = (np.abs(rows).max(-1, keepdims=True) / most).astype(np.float16).astype(np.float32)
    q = np.clip(np.round(rows / np.where(d == 0, 1, d)), -most - 1, most).astype(np.int8)
    return q, d


def read_back(q: np.ndarray, d: np.ndarray, like: np.ndarray) -> np.ndarray:
    return (q * d).reshape(-1)[: like.size].reshape(like.shape)


def batch(starts: np.ndarray) -> mg.Tensor:
    ids = np.array([LETTERS.index(letter) for letter in TEXT])
    return mg.tensor(ids[(starts[:, None] + np.arange(CONTEXT + 1)) % len(ids)])  # (B, T + 1)


def main() -> int:
    args = arguments()
    mg.manual_seed(args.seed)
    random = np.random.default_rng(args.seed)
    model = GPT(GPTConfig(len(LETTERS), CONTEXT, n_layer=2, n_head=4, n_embd=64))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(args.steps):
        ids = batch(random.integers(0, len(TEXT), 16))
        loss = model(ids[:, :-1], ids[:, 1:])[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    ids, found = batch(np.arange(len(TEXT))), {}
    matrices = {name: p.detach().numpy().copy() for name, p in model.named_parameters() if p.ndim == 2}
    others = sum(p.numel() for p in model.parameters()) - sum(w.size for w in matrices.values())
    print("  bits  weights share a scale   kilobytes   error of a weight     loss")
    for bits, block in ((32, 0), (8, 1 << 30), (8, 32), (4, 1 << 30), (4, 32), (2, 32)):
        size, error, norm = 4.0 * others, 0.0, 0.0
        for name, p in model.named_parameters():
            if name not in matrices:
                continue
            w = matrices[name]
            back = w
            if bits < 32:
                q, d = quantized(w.reshape(-1), bits, min(block, w.size))
                back = read_back(q, d, w)
            size += w.size * bits / 8 + (0 if bits == 32 else 2 * len(d))
            error, norm = error + float(((back - w) ** 2).sum()), norm + float((w**2).sum())
            with mg.no_grad():
                p.copy_(mg.tensor(back))
        with mg.no_grad():
            loss = model(ids[:, :-1], ids[:, 1:])[1].item()
        found[bits, block] = loss, size, (error / norm) ** 0.5
        shared = "-" if bits == 32 else str(block) if block < 1 << 30 else "the whole matrix"
        print(f"  {bits:4}  {shared:>21} {size / 1000:11.1f}   {found[bits, block][2]:17.2%}   {loss:6.3f}")

    (whole, size, _), (eight, small, off), (_, _, rough) = (found[key] for key in ((32, 0), (8, 32), (4, 32)))
    assert off < 0.01 < rough and small < 0.3 * size, "a quarter of the size, and a weight is wrong by less than 1 %"
    if args.steps < 150:
        return 0
    return verdict(
        (eight - whole < 0.01, f"eight bits cost the model nothing; the loss grows by {eight - whole:.4f}"),
        (found[4, 1 << 30][2] > rough, "a scale of its own for every 32 weights is worth its bits"),
        (found[2, 32][0] > whole + 0.1, f"two bits are too few; the loss is {found[2, 32][0]:.3f}"),
    )


if __name__ == "__main__":
    run(main)
