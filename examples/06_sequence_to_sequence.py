"""Why attention was invented: one vector is too small for a long sentence.

The task: read a word of letters, write it backwards. Three models of about the same size see the same words.

1. A GRU reads the word, and its last states (one vector, whatever the length) are all that the GRU which writes gets
   (Sutskever et al. 2014; Cho et al. 2014). The longer the word, the more has to go through the same bottleneck.
   Training widens it, but slowly: try --steps 2000.
2. The same two GRUs with additive attention: at every step the writer compares its state with all states of the
   reader, score[s] = v @ tanh(W state + U states[s]), and gets their mix, weighted by the softmax of the scores
   (Bahdanau et al. 2015). What can be looked up need not be remembered. The weights show what was looked at; a state
   of the reader knows the letters beside it, so the place next door is often as good.
3. A transformer (Vaswani et al. 2017): attention alone, and no state is handed from step to step. All positions are
   computed at once, so it trains quickest; but where a letter stands, which a GRU learns by reading, must be added.

An answer counts if every letter is right and it ends where it should.
"""

from __future__ import annotations

import argparse
import time

from tqdm import tqdm

import minigrad as mg
from minigrad import nn, optim
from minigrad.models.rnn_seq2seq import RNNSeq2Seq, RNNSeq2SeqConfig
from minigrad.nn import functional as F
from minigrad.tools.cli import natural_int, positive_int, run, verdict

LETTERS = "<>abcdefgh"
START, END, V = 0, 1, len(LETTERS)  # START is padding, too
C = 32  # channels, in all three
LONGEST = 10
BINS = [(low, low + 1) for low in range(1, LONGEST, 2)]  # 1-2, 3-4, ...
IGNORED = -100  # no loss here


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=250, help="training steps; claims are for 200 to 2000")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


class Transformer(nn.Module):
    """Source (B, S) and the target so far (B, T) to logits for the next token at every position (B, T, V)."""

    def __init__(self) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(V, C)
        self.target_embedding = nn.Embedding(V, C)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=0.3)  # below the positions, which are what matters at first
        self.positions = nn.SinusoidalPositions(C, base=100.0)  # waves for tens of places, not for thousands
        self.transformer = nn.Transformer(C, 2, 1, 1, 3 * C, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(C, V)

    def forward(self, ids: mg.Tensor, target: mg.Tensor, lengths: mg.Tensor) -> tuple[mg.Tensor, None]:
        padding = mg.arange(ids.shape[1]) >= lengths.unsqueeze(1)  # (B, S)
        x = self.transformer(
            self.positions(self.source_embedding(ids)),  # (B, S, C)
            self.positions(self.target_embedding(target)),  # (B, T, C)
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.shape[1]),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )  # (B, T, C)
        return self.head(x), None

    @mg.no_grad()
    def generate(self, ids: mg.Tensor, max_new_tokens: int, lengths: mg.Tensor) -> mg.Tensor:
        target = mg.full((len(ids), 1), START, dtype=mg.long)
        for _ in range(max_new_tokens):
            logits, _ = self(ids, target, lengths)
            target = mg.cat([target, logits[:, -1].argmax(-1, keepdim=True)], dim=1)  # (B, T + 1)
        return target[:, 1:]


def questions(lengths: mg.Tensor, generator: mg.Generator) -> tuple[mg.Tensor, mg.Tensor]:
    """Random words (B, S), padded with START, and their answers (B, S + 1): backwards, END, and IGNORED after it."""
    B, S = len(lengths), int(lengths.max())
    row, place, length = mg.arange(B).unsqueeze(1), mg.arange(S + 1), lengths.unsqueeze(1)
    ids = mg.randint(2, V, (B, S), generator=generator).masked_fill(place[:S] >= length, START)
    answers = ids[row, (length - 1 - place).clamp(min=0)]  # (B, S + 1)
    return ids, answers.masked_fill(place == length, END).masked_fill(place > length, IGNORED)


def train(model: nn.Module, name: str, steps: int, generator: mg.Generator) -> None:
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    schedule = optim.lr_scheduler.CosineWarmup(optimizer, min(20, steps), steps, 2e-4)
    for _ in tqdm(range(steps), name, leave=False, disable=None):  # None: only on a terminal
        lengths = mg.randint(1, LONGEST + 1, (32,), generator=generator)
        ids, answers = questions(lengths, generator)
        starts = mg.full((len(ids), 1), START, dtype=mg.long)
        target = mg.cat([starts, answers[:, :-1].clamp(min=0)], dim=1)  # what stood before each token of the answer
        logits, _ = model(ids, target, lengths)  # (B, T, V)
        loss = F.cross_entropy(logits.reshape(-1, V), answers.reshape(-1), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def examine(model: nn.Module, low: int, high: int, generator: mg.Generator) -> float:
    """How many of 400 fresh words of low to high letters are answered without any mistake."""
    lengths = mg.randint(low, high + 1, (400,), generator=generator)
    ids, answers = questions(lengths, generator)
    written = model.generate(ids, answers.shape[1], lengths)  # (B, S + 1)
    return ((written == answers) | (answers == IGNORED)).all(-1).float().mean().item()


@mg.no_grad()
def looks(model: RNNSeq2Seq, generator: mg.Generator) -> tuple[mg.Tensor, mg.Tensor, mg.Tensor]:
    """100 of the longest words (B, S), what is written (B, S + 1), and the weights at each step (B, S + 1, S)."""
    ids, _ = questions(mg.full((100,), LONGEST, dtype=mg.long), generator)
    written = model.generate(ids, LONGEST + 1)
    starts = mg.full((len(ids), 1), START, dtype=mg.long)
    _, weights = model(ids, mg.cat([starts, written[:, :-1]], dim=1))
    return ids, written, weights


def main() -> int:
    args = arguments()
    sizes = {"source_vocab_size": V, "target_vocab_size": V, "n_embd": C, "n_hidden": C, "start": START, "end": END}
    makers = {
        "GRU, no attention": lambda: RNNSeq2Seq(RNNSeq2SeqConfig(**sizes, attention="none")),
        "GRU, additive attention": lambda: RNNSeq2Seq(RNNSeq2SeqConfig(**sizes, attention="additive")),
        "transformer": Transformer,
    }
    print(f"1. Words of 1 to {LONGEST} letters, backwards: answers without a mistake, by the length of the word\n")
    print(f"   {'':<24} parameters  training" + "".join(f"{f'{low}-{high}':>9}" for low, high in BINS))
    models, right = {}, {}
    for name, make in makers.items():
        mg.manual_seed(args.seed)
        models[name] = model = make()
        generator = mg.Generator().manual_seed(args.seed + 1)  # the same words for each model
        start = time.perf_counter()
        train(model, name, args.steps, generator)
        seconds = time.perf_counter() - start
        right[name] = [examine(model, low, high, generator) for low, high in BINS]
        size = sum(p.numel() for p in model.parameters())
        print(f"   {name:<24} {size:>10,} {seconds:>7.1f} s" + "".join(f"{share:>9.1%}" for share in right[name]))

    ids, written, weights = looks(models["GRU, additive attention"], generator)
    print("\n2. Where the GRU with attention looked (across) when it wrote each letter (down); > is the end\n")
    print("       " + " ".join(LETTERS[i] for i in ids[0].tolist()))
    for i, row in zip(written[0].tolist(), weights[0].tolist(), strict=True):
        print(f"     {LETTERS[i]} " + " ".join(" .:-=+*#%@"[min(int(10 * weight), 9)] for weight in row))
    wanted = mg.arange(LONGEST - 1, -1, -1).unsqueeze(1)  # (T, 1) where the letter to be written stands
    near = (mg.arange(LONGEST) - wanted).abs() <= 1  # (T, S)
    found = (weights[:, :LONGEST] * near).sum(-1).mean().item()
    even = near.float().mean().item()
    print(
        f"\n   {found:.0%} of the weight is within one place of the letter to be written ({even:.0%} if spread evenly)."
    )

    none, additive, transformer = right.values()
    print(f"\nOne vector holds the shortest words ({none[0]:.0%} right), not the longest ({none[-1]:.0%}).")
    print(f"With attention nothing has to be held: {additive[-1]:.0%}, and without any state, {transformer[-1]:.0%}.")

    if not 200 <= args.steps <= 2000:
        return 0
    return verdict(
        (none[0] > 0.8, f"one vector holds 1 or 2 letters; {none[0]:.1%} are right"),
        (additive[-1] > none[-1] + 0.3, f"attention helps with long words; {additive[-1]:.1%} are right"),
        (transformer[-1] > none[-1] + 0.3, f"so does a transformer; {transformer[-1]:.1%} are right"),
        (found > even + 0.25, f"the weights are near the letter to be written; {found:.1%} are"),
    )


if __name__ == "__main__":
    run(main)
