"""12 · A GPT

idea: Blocks that read from a stream and add to it, trained to say what comes next, with your own functions inside.

able: put a GPT together, say what the residual stream is for, and train one in which the arithmetic is all yours.

minutes: 75

quick: --steps 3 --characters 40000

next: Next is chapter 13, how such a model speaks. In the library: models/gpt.py, of which you know all lines now.
python -m minigrad examples train_char_gpt trains a larger one, with checkpoints and a page of curves.
"""

# %% [markdown]
# ## The stream
#
# Each token is a row of C numbers. It starts as the token's row of a table, plus the row of its place (chapter 11).
# Then block after block *reads* the row and *adds* something to it:
#
#     x = x + attention(norm(x))        gather from other tokens
#     x = x + mlp(norm(x))              work on what was gathered, each token on its own
#
# At the end a matrix turns each row into a score for every token that may come next. Why add, in place of replacing?
# Because of the way back: the gradient of x + f(x) is dz plus what comes through f. The first part reaches the lowest
# block as it is, however many blocks there are. With replacing it is multiplied at each, and fades. It also lets a
# block do nothing, by adding 0, which is where training starts.
#
# The norm stands *inside* the branch, before attention, so the stream itself stays untouched. Who sets it on the stream
# (norm(x + f(x)), as in the first transformer) trains too, and needs more care with many blocks.
#
# What is the feed-forward part (mlp) for? Attention only mixes values: means of what is there. The mlp computes: C
# numbers to 4 C, a bend, and back. Most of a model's weights are there.

# %%
import numpy as np


# %% exercise
def block(x, norm_1, attention, norm_2, mlp):
    """One block of a GPT. The last four are functions from (T, C) to (T, C). Returns the new x."""
    ### BEGIN SOLUTION
    x = x + attention(norm_1(x))
    x = x + mlp(norm_2(x))
    ### END SOLUTION
    return x


# %% [markdown]
# ## The bend
#
# Between the two matrices of the mlp stands GELU: x, times how likely it is that a random number is below x. Far to the
# right it is x, far to the left 0, and round in between: a softened ReLU. GPT-2 uses this approximation:
#
#     u = √(2/π) (x + 0.044715 x³)
#     z = x (1 + tanh u) / 2
#
# x occurs twice: as the factor in front, and inside u. By the product rule, with t = tanh u:
#
#     dx = dz * ((1 + t) / 2  +  x / 2 * (1 - t²) * du/dx),   du/dx = √(2/π) (1 + 3 * 0.044715 x²)


# %% exercise
def gelu(x):
    """x of any shape; z as above."""
    ### BEGIN SOLUTION
    c = np.sqrt(2 / np.pi).astype(x.dtype)
    t = np.tanh(c * (x + 0.044715 * x * x * x))
    z = x * (1 + t) / 2

    def backward(dz):
        du = c * (1 + 3 * 0.044715 * x * x)
        return dz * ((1 + t) / 2 + x / 2 * (1 - t * t) * du)

    ### END SOLUTION
    return z, backward


# %% [markdown]
# ## What comes next
#
# Training is next-token prediction at every place at once. From a text of ids, take a piece of T + 1 at a place. Its
# first T are the inputs, its last T the targets: at each place the target is the token that follows. The mask of
# chapter 9 sees to it that nobody looks there.


# %% exercise
def next_tokens(ids, start, length):
    """ids (N,): a text. Returns inputs and targets, both (length,), of the piece that begins at start."""
    ### BEGIN SOLUTION
    inputs = ids[start : start + length]
    targets = ids[start + 1 : start + 1 + length]
    ### END SOLUTION
    return inputs, targets


# %% predict
# A model that knows nothing guesses among about 90 characters: a loss of log(90) = 4.5. One that knows how often
# each character occurs: about 3.3. What will a small GPT reach in a minute: 3.0, 2.5 or 1.8? (exp(1.8) = 6 choices.)
PREDICTION = None

# %% [markdown]
# ## Yours, all of it
#
# The model below is the library's, and it asks a table which function to run for each op. `your_ops` enters yours: it
# judges the chapters in this folder, and takes what holds. What is missing stays the library's. Then it trains on the
# language reference that every Python carries.
#
#     python chapter12.py               about a minute
#     python chapter12.py --steps 3000  five, and better

# %%
if __name__ == "__main__":
    import argparse
    import time

    import minigrad as mg
    from minigrad import optim
    from minigrad.learn.yours import your_ops
    from minigrad.models.gpt import GPT, GPTConfig
    from minigrad.train.data import CharTokenizer, load_text

    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--characters", type=int, default=1_000_000)
    options, _ = parser.parse_known_args()

    text = load_text("python-docs")[: options.characters]
    tokenizer = CharTokenizer.from_text(text)
    ids = tokenizer.encode(text)
    train, held_out = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    rng = np.random.default_rng(0)

    def batch(ids, count, length=48):
        pairs = [next_tokens(ids, int(rng.integers(len(ids) - length - 1)), length) for _ in range(count)]
        return mg.tensor(np.array([x for x, _ in pairs])), mg.tensor(np.array([y for _, y in pairs]))

    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=48, n_layer=2, n_head=2, n_embd=64))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    began = time.time()
    with your_ops() as mine:
        for step in range(options.steps):
            for group in optimizer.param_groups:  # up, then down to nothing
                group["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / options.steps)
            _, loss = model(*batch(train, 12))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 100 == 0:
                print(f"step {step:4}: loss {loss.item():.2f}, {time.time() - began:.0f} s", flush=True)
        with mg.no_grad():
            validation = np.mean([model(*batch(held_out, 12))[1].item() for _ in range(4)])
        begin = mg.tensor(tokenizer.encode("\nThe ")).view(1, -1)
        written = model.generate(begin, 40 if options.steps < 50 else 200, temperature=0.7)
    print(mine.text())
    print(f"validation loss {validation:.2f}")
    print("sample:", tokenizer.decode(written[0].numpy()).strip()[:90].replace("\n", " / "))
