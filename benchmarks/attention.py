"""What each kind of attention costs as the sequence grows: time and memory, forward and backward, and its error."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minigrad as mg
from minigrad import nn, ops
from minigrad.speed.tuned import blocked_attention as blocked
from minigrad.tools import cli
from minigrad.train.files import atomic_write, output_path

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:
    torch = None
try:
    from matplotlib.figure import Figure
except ImportError:
    Figure = None

MARK = b'[\n {\n  "name": '  # how a file of figures begins
B, H, D = 1, 4, 32
WINDOW, RANK, FEATURES = 64, 64, 128
Run = Callable[[], np.ndarray]  # goes forward and backward, returns the output


@dataclass
class Row:
    """One kind of attention at one length."""

    name: str
    is_causal: bool
    length: int
    ms: float | None = None  # median
    peak_mb: float | None = None
    error: float | None = None  # |out - exact| / |exact|
    times: list[float] = field(default_factory=list)


def by_op(op: Any, arrays: list[np.ndarray], is_causal: bool) -> Run:
    def run() -> np.ndarray:
        z, backward = op(*arrays[:3], is_causal=is_causal)
        backward(arrays[3])
        return z

    return run


def by_module(module: nn.Module, arrays: list[np.ndarray], is_causal: bool) -> Run:
    inputs = [mg.tensor(x, requires_grad=True) for x in arrays[:3]]

    def run() -> np.ndarray:
        out = module(*inputs, is_causal=is_causal)
        out.backward(mg.Tensor(arrays[3]))
        for x in inputs:
            x.grad = None
        return out.detach().numpy()

    return run


def by_torch(backend: Any, arrays: list[np.ndarray], is_causal: bool) -> Run:
    *inputs, dz = (torch.from_numpy(x) for x in arrays)
    inputs = [x.requires_grad_() for x in inputs]

    def run() -> np.ndarray:
        with sdpa_kernel(backend):
            out = torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=is_causal)
        torch.autograd.grad(out, inputs, dz)
        return out.detach().numpy()

    return run


def contenders(length: int, is_causal: bool, max_mb: float) -> dict[str, Run | None]:
    """What is measured at a length, by name; None for what would need too much memory."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((B, H, length, D), dtype=np.float32) for _ in range(4)]
    fits = 4 * B * H * length**2 * 4 <= max_mb * 1e6  # four arrays of T x T
    found: dict[str, Run | None] = {
        "full, plain": by_op(ops.scaled_dot_product_attention, arrays, is_causal) if fits else None,
        "full, blocked": by_op(blocked.scaled_dot_product_attention, arrays, is_causal),
        f"Longformer, window {WINDOW}": by_module(nn.LongformerAttention(WINDOW), arrays, is_causal),
    }
    if not is_causal:
        found[f"Linformer, rank {RANK}"] = by_module(nn.LinformerAttention(length, RANK), arrays, is_causal)
    found[f"Performer, {FEATURES} features"] = by_module(nn.PerformerAttention(D, FEATURES), arrays, is_causal)
    if torch is not None:
        found["PyTorch, math"] = by_torch(SDPBackend.MATH, arrays, is_causal) if fits else None
        found["PyTorch, flash"] = by_torch(SDPBackend.FLASH_ATTENTION, arrays, is_causal)
    return found


def measure(length: int, is_causal: bool, rounds: int, max_mb: float, progress: tqdm) -> list[Row]:
    """All contenders in turn, ``rounds`` times; before that once each for the error, and once for the peak memory."""
    exact: np.ndarray | None = None
    runs = contenders(length, is_causal, max_mb)
    rows = {name: Row(name, is_causal, length) for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            progress.set_postfix_str(f"T={length}, {name}")
            progress.update()
            if run is None:
                continue
            row = rows[name]
            if turn > 0:
                time.sleep(0.02)  # threads of the one before may still be spinning
                start = time.perf_counter()
                run()
                row.times.append(1000 * (time.perf_counter() - start))
                continue
            out = run()
            if not name.startswith("PyTorch"):  # whose memory tracemalloc does not see
                tracemalloc.start()
                run()
                row.peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
                tracemalloc.stop()
            if exact is None:
                rng = np.random.default_rng(0)
                inputs = [rng.standard_normal((B, H, length, D), dtype=np.float32).astype(np.float64) for _ in range(3)]
                exact = blocked.scaled_dot_product_attention(*inputs, is_causal=is_causal)[0]
            row.error = float(np.linalg.norm(out - exact) / np.linalg.norm(exact))
    for row in rows.values():
        row.ms = statistics.median(row.times) if row.times else None
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """The rows as Markdown: a table of times, and one of memory and errors, for each direction."""
    lengths = sorted({row.length for row in rows})
    lines = []
    for is_causal in (True, False):
        chosen = [row for row in rows if row.is_causal == is_causal]
        head = "causal" if is_causal else "bidirectional"
        for title, show in (
            (f"{head}, ms", lambda row: f"{row.ms:.1f}"),
            (f"{head}, peak MB", lambda row: f"{row.peak_mb:.1f}"),
            (f"{head}, relative error", lambda row: f"{row.error:.1e}"),
        ):
            lines += [f"| {title} | {' | '.join(f'T={n}' for n in lengths)} |", "|---|" + "--:|" * len(lengths)]
            for name in dict.fromkeys(row.name for row in chosen):
                if "MB" in title and name.startswith("PyTorch"):
                    continue
                cells = []
                for n in lengths:
                    row = next(row for row in chosen if (row.name, row.length) == (name, n))
                    cells.append("-" if row.ms is None else show(row))
                lines.append(f"| {name} | {' | '.join(cells)} |")
            lines.append("")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Time and memory over length, one line per kind of attention; the file's ending says PNG or SVG."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for across, is_causal in zip(axes, (True, False), strict=True):
        chosen = [row for row in rows if row.is_causal == is_causal and row.ms is not None]
        for axis, unit in zip(across, ("ms", "peak_mb"), strict=True):
            for name in dict.fromkeys(row.name for row in chosen):
                points = [(row.length, getattr(row, unit)) for row in chosen if row.name == name]
                points = [(x, y) for x, y in points if y is not None]
                if points:
                    axis.loglog(*zip(*points, strict=True), marker="o", label=name, base=2)
            axis.set_title(f"{'causal' if is_causal else 'bidirectional'}, forward and backward")
            axis.set_xlabel("tokens")
            axis.set_ylabel("ms" if unit == "ms" else "peak MB")
            axis.grid(alpha=0.3)
        across[0].legend()
    with atomic_write(path, b"") as file:
        figure.savefig(file, format=path.suffix[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=cli.positive_int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192])
    parser.add_argument(
        "--rounds", type=cli.positive_int, default=3, help="timings of each, of which the median counts"
    )
    parser.add_argument("--max-mb", type=cli.natural_float, default=2500, help="skip what holds T x T beyond this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a .png or .svg there (needs matplotlib)")
    given = parser.parse_args()
    if given.plot and Figure is None:
        raise ValueError("--plot needs matplotlib: pip install matplotlib")
    if given.plot and given.plot.suffix not in (".png", ".svg"):
        raise ValueError(f"--plot makes .png and .svg files, not {given.plot.name}")

    for path, mark in ((given.json, MARK), (given.plot, b"")):
        if path:
            output_path(path, mark)
    lengths = sorted(set(given.lengths))
    mg.manual_seed(0)
    rows: list[Row] = []
    steps = sum(len(contenders(1, c, given.max_mb)) for c in (True, False)) * len(lengths) * (given.rounds + 1)
    with tqdm(total=steps, file=sys.stderr, unit="run", disable=None) as progress:
        for length in lengths:
            for is_causal in (True, False):
                rows += measure(length, is_causal, given.rounds, given.max_mb, progress)

    print(f"Forward and backward, B={B}, H={H}, D={D}, float32, normal inputs; median of {given.rounds}.")
    print(
        f"NumPy {np.__version__}, {f'PyTorch {torch.__version__}, ' if torch else ''}Python {platform.python_version()}"
    )
    print("Errors are against exact attention; of the approximate kinds, random inputs show the worst.")
    if any(row.ms is None for row in rows):
        print(f"Left out: what would hold more than {given.max_mb:g} MB of T x T arrays (--max-mb).")
    print(f"\n{table(rows)}")
    if given.json:
        with atomic_write(given.json, MARK) as file:
            file.write(json.dumps([asdict(row) for row in rows], indent=1).encode())
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    cli.run(main)
