"""A real BERT, looked into: does "cat" look at "mat"?

Texts on attention like to draw arrows from word to word, and make the numbers up. Here they are those of
all-MiniLM-L6-v2, an encoder of 6 layers with 12 heads that was trained on a billion pairs of sentences.

1. Every head of every layer has weights of its own. Two are picked, in which "cat" looks at what it does and where.
2. What the model was trained for: the mean of its last states, one vector for a sentence. Sentences that mean alike
   point in the same direction, whatever their words.

Bring the model first: python -m minigrad fetch minilm

python examples/08_a_real_bert.py
python examples/08_a_real_bert.py --page cat.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

import minigrad as mg
from minigrad.look.commands.fetch import cached
from minigrad.look.pages.attention_page import MARK
from minigrad.tools.cli import run, verdict
from minigrad.train.files import output_path
from minigrad.train.pretrained import load_pretrained

TEXT = "The cat sat on the mat."
PICKED = [(5, 3, "cat", "mat"), (1, 8, "cat", "sat")]  # layer, head, who looks, at what
SENTENCES = ["The cat sat on the mat.", "A kitten was lying on a rug.", "The bank raised its interest rates."]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default=TEXT, help="what the model reads; claims are made of the usual text only")
    parser.add_argument("--page", type=Path, help="also write the page of all heads there")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if not args.text.strip():
        raise ValueError("--text is empty: give at least one word")
    if args.page is not None:
        output_path(args.page, MARK, [])
    model, tokenizer, _ = load_pretrained(cached("minilm"))
    bench = mg.attention(model, args.text, tokenizer=tokenizer, title="all-MiniLM-L6-v2")
    if args.page is not None:
        bench.save(args.page)
        print(f"wrote {args.page}; open it in a browser")
    labels = bench.rows[0].labels
    print(f"{len(bench.layers)} layers of {len(bench.layers[0].weights)} heads read {' '.join(labels)}\n")

    claims = []
    for layer, head, asking, asked in PICKED:
        weights = bench.layers[layer].weights[head]  # (T, T)
        if args.text != TEXT:
            i = 1  # the first word
        else:
            i, j = labels.index(asking), labels.index(asked)
            claims.append((weights[i, j] > 0.5, f"{asking} looks at {asked}; its weight there is {weights[i, j]:.2f}"))
        print(f"layer {layer}, head {head}: where {labels[i]!r} looks")
        for k in (-weights[i]).argsort()[:4]:
            print(f"   {labels[k]:8} {weights[i, k]:.2f} " + "#" * round(40 * weights[i, k]))

    print("\nOne vector of length 1 for a sentence; the cosine of the angle between two of them:")
    with mg.no_grad():
        ids = [mg.tensor([tokenizer.encode(text).ids]) for text in SENTENCES]
        vectors = [model.mean(model(x), x)[0] for x in ids]
    near, far = (float(vectors[0] @ other) for other in vectors[1:])
    print(f"   {near:.2f}  {SENTENCES[0]}  {SENTENCES[1]}\n   {far:.2f}  {SENTENCES[0]}  {SENTENCES[2]}")
    claims.append(
        (near > far + 0.3, f"a cat on a mat is nearer to a kitten on a rug than to a bank; {near:.2f}, {far:.2f}")
    )
    return verdict(*claims)


if __name__ == "__main__":
    run(main)
