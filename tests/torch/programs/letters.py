"""Character models from bigram to GRU with a command line, in the style of one-file model collections."""

import argparse
import os

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader
from torch.utils.tensorboard import SummaryWriter

WORDS = "ann anna annan nan nana hanna hannah ana nahan hana anah nahna hanan ahn nahnah hah".split()


class Words(Dataset):
    def __init__(self, words, chars, longest):
        self.words, self.longest = words, longest
        self.stoi = {c: i + 1 for i, c in enumerate(chars)}

    def __len__(self):
        return len(self.words)

    def __getitem__(self, i):
        ix = torch.tensor([self.stoi[c] for c in self.words[i]], dtype=torch.long)
        x = torch.zeros(self.longest + 1, dtype=torch.long)
        y = torch.zeros(self.longest + 1, dtype=torch.long)
        x[1 : 1 + len(ix)] = ix
        y[: len(ix)] = ix
        y[len(ix) + 1 :] = -1
        return x, y


class Endless:
    def __init__(self, dataset, **settings):
        sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=int(1e10))
        self.loader = DataLoader(dataset, sampler=sampler, **settings)
        self.iterator = iter(self.loader)

    def next(self):
        try:
            return next(self.iterator)
        except StopIteration:
            self.iterator = iter(self.loader)
            return next(self.iterator)


class Bigram(nn.Module):
    def __init__(self, vocab, length, width):
        super().__init__()
        self.length, self.logits = length, nn.Parameter(torch.zeros((vocab, vocab)))

    def scores(self, idx):
        return self.logits[idx]

    def forward(self, idx, targets=None):
        logits, loss = self.scores(idx), None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss


class MLP(Bigram):
    def __init__(self, vocab, length, width):
        super().__init__(vocab, length, width)
        self.vocab, self.window = vocab, 3
        self.wte = nn.Embedding(vocab + 1, width)
        self.mlp = nn.Sequential(nn.Linear(self.window * width, width), nn.Tanh(), nn.Linear(width, vocab))

    def scores(self, idx):
        parts = []
        for _ in range(self.window):
            parts.append(self.wte(idx))
            idx = torch.roll(idx, 1, 1)
            idx[:, 0] = self.vocab
        return self.mlp(torch.cat(parts, -1))


class GRU(Bigram):
    def __init__(self, vocab, length, width):
        super().__init__(vocab, length, width)
        self.start = nn.Parameter(torch.zeros(1, width))
        self.wte = nn.Embedding(vocab, width)
        self.gates = nn.ModuleList([nn.Linear(2 * width, width) for _ in range(3)])
        self.head = nn.Linear(width, vocab)

    def scores(self, idx):
        b, t = idx.size()
        emb, hidden, states = self.wte(idx), self.start.expand((b, -1)), []
        for i in range(t):
            xh = torch.cat([emb[:, i, :], hidden], dim=1)
            r, z = F.sigmoid(self.gates[0](xh)), F.sigmoid(self.gates[1](xh))
            new = F.tanh(self.gates[2](torch.cat([emb[:, i, :], r * hidden], dim=1)))
            hidden = (1 - z) * hidden + z * new
            states.append(hidden)
        return self.head(torch.stack(states, 1))


class Bag(Bigram):
    def __init__(self, vocab, length, width):
        super().__init__(vocab, length, width)
        self.wte, self.norm, self.head = nn.Embedding(vocab, width), nn.LayerNorm(width), nn.Linear(width, vocab)
        self.register_buffer("bias", torch.tril(torch.ones(length, length)).view(1, length, length))
        self.up = nn.ModuleDict({"fc": nn.Linear(width, width)})

    def scores(self, idx):
        B, T = idx.size()
        x = self.wte(idx)
        att = torch.zeros((B, T, T), device=x.device).masked_fill(self.bias[:, :T, :T] == 0, float("-inf"))
        x = x + F.softmax(att, dim=-1) @ x
        return self.head(x + torch.tanh(self.up.fc(self.norm(x))))


@torch.no_grad()
def generate(model, idx, count, top_k=None, do_sample=True):
    for _ in range(count):
        logits, _ = model(idx if idx.size(1) <= model.length else idx[:, -model.length :])
        logits = logits[:, -1, :] / 1.0
        if top_k is not None:
            v, _ = torch.topk(logits, top_k)
            logits[logits < v[:, [-1]]] = -float("Inf")
        probs = F.softmax(logits, dim=-1)
        chosen = torch.multinomial(probs, num_samples=1) if do_sample else torch.topk(probs, k=1, dim=-1)[1]
        idx = torch.cat((idx, chosen), dim=1)
    return idx


@torch.inference_mode()
def evaluate(model, dataset):
    model.eval()
    losses = [model(x, y)[1].item() for x, y in DataLoader(dataset, shuffle=True, batch_size=5, num_workers=0)]
    model.train()
    return torch.tensor(losses).mean().item()


parser = argparse.ArgumentParser()
parser.add_argument("--work-dir", default="out")
parser.add_argument("--device", default="cpu")
parser.add_argument("--max-steps", type=int, default=40)
args = parser.parse_args()
torch.manual_seed(3407)
torch.cuda.manual_seed_all(3407)
os.makedirs(args.work_dir, exist_ok=True)
writer = SummaryWriter(log_dir=args.work_dir)
rp = torch.randperm(len(WORDS)).tolist()
chars, longest = sorted(set("".join(WORDS))), max(map(len, WORDS))
train = Words([WORDS[i] for i in rp[:-3]], chars, longest)
test = Words([WORDS[i] for i in rp[-3:]], chars, longest)
for kind in (Bigram, MLP, GRU, Bag):
    model = kind(len(chars) + 1, longest + 1, 16)
    model.to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    optimizer.step()  # no parameter has a gradient yet
    loader, first = Endless(train, batch_size=8, pin_memory=True, num_workers=4), evaluate(model, train)
    for _ in range(args.max_steps):
        X, Y = (t.to(args.device) for t in loader.next())
        logits, loss = model(X, Y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if args.device.startswith("cuda"):
        torch.cuda.synchronize()
    last = evaluate(model, train)
    writer.add_scalar(f"Loss/{kind.__name__}", evaluate(model, test), args.max_steps)
    print(f"{kind.__name__}: {sum(p.numel() for p in model.parameters())} parameters, loss {first:.4f} -> {last:.4f}")
    assert last < 0.9 * first
    path = os.path.join(args.work_dir, "model.pt")
    torch.save(model.state_dict(), path)
    again = kind(len(chars) + 1, longest + 1, 16)
    again.load_state_dict(torch.load(path))
    start = torch.zeros(4, 1, dtype=torch.long).to(args.device)
    assert generate(again, start, 5, do_sample=False).tolist() == generate(model, start, 5, do_sample=False).tolist()
    for row in generate(model, start, longest, top_k=3)[:, 1:].tolist():
        row = row[: row.index(0)] if 0 in row else row
        print("  ", "".join(chars[i - 1] for i in row))
writer.flush()
