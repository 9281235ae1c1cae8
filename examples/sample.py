"""Continue a prompt with a trained character GPT.

python examples/sample.py runs/python-docs.npz --prompt "The class " --temperature 0.8 --top-k 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

import minigrad as mg
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.tools.cli import natural_float, natural_int, positive_int, run
from minigrad.train.checkpoints import load_model
from minigrad.train.data import CharTokenizer


def load(path: Path) -> tuple[GPT, CharTokenizer]:
    """The model of a checkpoint, ready to sample from, and its tokenizer."""
    model, checkpoint = load_model(path, lambda checkpoint: GPT(GPTConfig(**checkpoint["config"])))
    return model, CharTokenizer.from_state_dict(checkpoint["tokenizer"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--prompt", default="\n", help="text to continue (default: a line break)")
    parser.add_argument("--length", type=natural_int, default=500, help="characters to add")
    parser.add_argument("--temperature", type=natural_float, default=0.8, help="0 takes the likeliest character")
    parser.add_argument("--top-k", type=positive_int, help="draw from the k likeliest characters only")
    parser.add_argument("--top-p", type=natural_float, help="draw from the likeliest characters of this total mass")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.prompt:
        raise ValueError("--prompt is empty: give at least one character")
    model, tokenizer = load(args.checkpoint)
    ids = mg.tensor(tokenizer.encode(args.prompt)).view(1, -1)
    generator = mg.Generator().manual_seed(args.seed)
    drawn = model.generate(ids, args.length, args.temperature, args.top_k, args.top_p, generator)
    print(tokenizer.decode(drawn[0].numpy()))
    return 0


if __name__ == "__main__":
    run(main)
