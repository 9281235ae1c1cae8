"""How fast SmolLM2 writes: minigrad and PyTorch on the same weights, in turns, and how fast the memory is.

Every token reads every weight once: 135 million of 4 bytes. No program is faster than the memory that they lie in.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.look.commands.fetch import cached
from minigrad.models.llama_inference import LlamaPage
from minigrad.tools import cli
from minigrad.train.pretrained import load_pretrained

try:
    import torch
except ImportError:
    torch = None

PROMPT = "The capital of France is"


def in_pytorch(page: LlamaPage) -> Callable[[list[int], int], list[int]]:
    """The same loop in PyTorch, with a cache, from the arrays of the page: the likeliest tokens, one after another."""
    F = torch.nn.functional

    def norm(x: Any, layer: Any) -> Any:
        return F.rms_norm(x, x.shape[-1:], layer[0], layer[1])

    def of(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return torch.from_numpy(x)
        return type(x)(of(part) for part in x) if isinstance(x, list | tuple) else x

    words, head, last, blocks = of(page.words), of(page.head), of(page.norm), of(page.blocks)
    D, half, speeds = page.kept.shape[-1], page.kept.shape[-1] // 2, torch.from_numpy(page.speeds)

    def turned(x: Any, cos: Any, sin: Any) -> Any:
        pairs = x.unflatten(-1, (half, 2)) if page.interleaved else x.unflatten(-1, (2, half)).transpose(-1, -2)
        a, b = pairs.unbind(-1)
        z = torch.stack((a * cos - b * sin, a * sin + b * cos), -1)
        return z.flatten(-2) if page.interleaved else z.transpose(-1, -2).flatten(-2)

    def write(ids: list[int], count: int) -> list[int]:
        kept = torch.empty((*page.kept.shape[:4], len(ids) + count, D))
        past, new, found = 0, torch.tensor([ids]), []
        for _ in range(count):
            T = new.shape[1]
            angles = torch.arange(past, past + T)[:, None] * speeds
            cos, sin = angles.cos().float(), angles.sin().float()
            x = words[new]
            for cache, (attention_norm, projections, output, mlp_norm, (gate, expand, contract)) in zip(
                kept, blocks, strict=True
            ):
                n = norm(x, attention_norm)
                query, key, value = (F.linear(n, w).view(1, T, -1, D).transpose(1, 2) for w in projections)
                cache[0, :, :, past : past + T], cache[1, :, :, past : past + T] = turned(key, cos, sin), value
                z = F.scaled_dot_product_attention(
                    turned(query, cos, sin), *cache[:, :, :, : past + T], is_causal=T > 1, enable_gqa=True
                )
                x = x + F.linear(z.transpose(1, 2).flatten(2), output)
                n = norm(x, mlp_norm)
                x = x + F.linear(F.silu(F.linear(n, gate)) * F.linear(n, expand), contract)
            past += T
            new = F.linear(norm(x[:, -1:], last), head).argmax(-1)
            found.append(int(new))
        return found

    return torch.inference_mode()(write)


def main() -> int:
    """``python -m benchmarks talk [--rounds N] [--tokens N]``; wants the fetched model, and PyTorch for its column."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks talk", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=cli.positive_int, default=5, help="how often each has its turn")
    parser.add_argument("--tokens", type=cli.positive_int, default=40, help="written in a turn")
    args = parser.parse_args()
    begun = time.perf_counter()
    model, tokenizer, _ = load_pretrained(cached("smollm2"))
    print(f"loaded in {time.perf_counter() - begun:.2f} s")
    ids, page = tokenizer.encode(PROMPT).ids, LlamaPage(model, 1)
    weights = [w for block in page.blocks for part in block for w in (part if isinstance(part, list) else [part])]
    matrices = [w for w in [*weights, page.head] if isinstance(w, np.ndarray) and w.ndim == 2]

    def ours(ids: list[int], count: int) -> list[int]:
        return list(model.generate(mg.tensor([ids]), count, 0)[0, len(ids) :].tolist())

    writers = {"minigrad": ours} | ({"PyTorch": in_pytorch(page)} if torch is not None else {})
    texts = {name: write(ids, args.tokens) for name, write in writers.items()}
    if len({tuple(text) for text in texts.values()}) > 1:
        raise ValueError(f"they do not write the same: {[tokenizer.decode(text) for text in texts.values()]}")
    times: dict[str, list[float]] = {name: [] for name in (*writers, "reading all weights")}
    for _ in range(args.rounds):
        for name, write in writers.items():
            start = time.perf_counter()
            write(ids, args.tokens)
            times[name].append((time.perf_counter() - start) / args.tokens)
        start = time.perf_counter()
        for w in matrices:
            w @ np.ones(w.shape[1], w.dtype)
        times["reading all weights"].append(time.perf_counter() - start)
    size = sum(w.nbytes for w in matrices) / 1e9
    for name, seconds in times.items():
        s = statistics.median(seconds)
        print(f"{name:20} {1 / s:6.1f} tokens a second, {1000 * s:6.1f} ms, {size / s:5.1f} GB/s")
    return 0
