"""A real language model, looked into: where does it keep that Paris is the capital of France?

SmolLM2 has 30 layers with 9 heads, 135 million weights, and is a Llama: ``models/llama.py``.

1. It is asked for two capitals. Each layer is made to say what it would answer if the model ended there.
2. Where is the country? One value of the run on France is put into the run on Italy, for every layer and position.
   Where the answer goes over to Paris, that value carried it: first at the word for the country, then, from one layer
   on, at the last word, where the answer is written.
3. Heads that copy. On random words that come twice, an induction head looks at what followed the same word the first
   time. Without the best of them the model can hardly repeat; without as many others it can. Olsson et al. 2022.

Bring the model first: python -m minigrad fetch smollm2

python examples/09_a_real_llm.py
"""

from __future__ import annotations

import argparse

import numpy as np

from minigrad.look.commands.fetch import cached
from minigrad.look.inside import copying_loss, head_scores, logit_lens, patching
from minigrad.tools.cli import natural_int, positive_int, run, verdict
from minigrad.train.pretrained import load_pretrained

HERE, THERE = "The capital of Italy is", "The capital of France is"
ANSWERS = " Rome", " Paris"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=positive_int, default=8, help="so many induction heads are switched off")
    parser.add_argument("--seed", type=natural_int, default=0, help="of the random words, and of the other heads")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    model, tokenizer, _ = load_pretrained(cached("smollm2"))
    here, there = (tokenizer.encode(text).ids for text in (HERE, THERE))
    rome, paris = (tokenizer.encode(word).ids[0] for word in ANSWERS)

    lens = logit_lens(model, there, top=1)
    words = [tokenizer.decode([int(token)]) for token in lens.tokens[:, -1, 0]]
    print(f"1. {THERE!r}: what each layer would say next\n   " + " ".join(repr(word) for word in words[1:]))

    found = patching(model, here, there, paris, rome)
    words_here = [tokenizer.decode([token]) for token in here]
    print(f"\n2. {HERE!r}, with one value from {THERE!r}: how far the answer goes over to Paris")
    print("             " + "".join(f"{word:>10}" for word in words_here))
    for path, row in list(zip(found.paths, found.share, strict=True))[::2]:
        print(f"   {path:10}" + "".join(f"{share:10.2f}" for share in row))
    country, last = here.index(next(a for a, b in zip(here, there, strict=True) if a != b)), len(here) - 1
    moved = int(np.argmax(found.share[:, last] > 0.5))
    print(f"The word{words_here[country]} carries it until {found.paths[moved]}; from there on it is at the last word.")

    scores = head_scores(model, seed=args.seed)
    best = scores.best("induction", args.heads)
    print("\n3. Heads that look at what followed the same word: " + ", ".join(f"{n}.{h} ({x:.2f})" for n, h, x in best))
    L, H = scores.scores["induction"].shape
    off = [(n, h) for n, h, _ in best]
    others = [(n, h) for n in range(L) for h in range(H) if (n, h) not in off]
    chosen = np.random.default_rng(args.seed).choice(len(others), len(off), replace=False)
    whole, without = copying_loss(model, scores.ids), copying_loss(model, scores.ids, off)
    random = copying_loss(model, scores.ids, [others[i] for i in chosen])
    print(
        f"   loss on the second copy: {whole:.2f} nats; without them {without:.2f}; without as many others {random:.2f}"
    )
    return verdict(
        (words[-1] == " Paris", f"the capital of France is Paris; it says {words[-1]!r}"),
        (found.share[0, country] > 0.9, "at first the word for the country carries the answer"),
        (found.share[-1, last] > 0.9 and found.share[-1, country] < 0.1, "at last the last word does"),
        (best[0][2] > 0.5, f"there is an induction head; the best has a weight of {best[0][2]:.2f}"),
        (without - whole > 2 * abs(random - whole), "induction heads copy, others do not"),
    )


if __name__ == "__main__":
    run(main)
