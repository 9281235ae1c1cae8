"""A Trainer with callbacks and data loaders that learns to add, in the style of small library-like training code."""

import copy
import math
import random
from collections import defaultdict

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader

random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
torch.cuda.manual_seed_all(0)


class Gelu(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("bias", torch.tril(torch.ones(length, length)).view(1, 1, length, length))
        self.heads = heads
        up, down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.ModuleDict({"fc": up, "proj": down, "act": Gelu(), "drop": nn.Dropout(0.0)})
        m = self.mlp
        self.mlpf = lambda x: m.drop(m.proj(m.act(m.fc(x))))

    def attend(self, x):
        B, T, C = x.size()
        q, k, v = (p.view(B, T, self.heads, C // self.heads).transpose(1, 2) for p in self.qkv(x).split(C, dim=2))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = F.softmax(att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf")), dim=-1)
        return self.out((att @ v).transpose(1, 2).contiguous().view(B, T, C))

    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return x + self.mlpf(self.ln_2(x))


class Model(nn.Module):
    def __init__(self, vocab, length, width=16, layers=2, heads=2):
        super().__init__()
        self.length = length
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads, length) for _ in range(layers)])
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)
        self.apply(self.start)

    def start(self, module):
        if isinstance(module, nn.Linear):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            torch.nn.init.zeros_(module.bias)
            torch.nn.init.ones_(module.weight)

    def configure_optimizers(self):
        decay, plain = set(), set()
        for module_name, module in self.named_modules():
            for name, _ in module.named_parameters():
                full = f"{module_name}.{name}" if module_name else name
                if name.endswith("weight") and isinstance(module, torch.nn.Linear):
                    decay.add(full)
                elif name.endswith("bias") or isinstance(module, (torch.nn.LayerNorm, torch.nn.Embedding)):
                    plain.add(full)
        found = dict(self.named_parameters())
        assert len(decay & plain) == 0 and len(found.keys() - (decay | plain)) == 0
        groups = [
            {"params": [found[name] for name in sorted(decay)], "weight_decay": 0.1},
            {"params": [found[name] for name in sorted(plain)], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))

    def forward(self, idx, targets=None):
        places = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device).unsqueeze(0)
        x = self.wte(idx) + self.wpe(places)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.ln(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, count):
        for _ in range(count):
            logits, _ = self(idx[:, -self.length :])
            _, best = torch.topk(F.softmax(logits[:, -1, :], dim=-1), k=1, dim=-1)
            idx = torch.cat((idx, best), dim=1)
        return idx


class Sums(Dataset):
    """a b -> the digits of a + b backwards, a and b of one digit."""

    def __init__(self, split):
        order = torch.randperm(100, generator=torch.Generator().manual_seed(1337))
        self.items = order[:10] if split == "test" else order[10:]

    def __len__(self):
        return self.items.nelement()

    def __getitem__(self, i):
        a, b = divmod(self.items[i].item(), 10)
        digits = [a, b, (a + b) % 10, (a + b) // 10]
        x = torch.tensor(digits[:-1], dtype=torch.long)
        y = torch.tensor(digits[1:], dtype=torch.long)
        y[:1] = -1
        return x, y


class Trainer:
    def __init__(self, model, data, max_iters):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model, self.data, self.max_iters = model.to(self.device), data, max_iters
        self.callbacks = defaultdict(list)

    def run(self):
        optimizer = self.model.configure_optimizers()
        sampler = torch.utils.data.RandomSampler(self.data, replacement=True, num_samples=int(1e10))
        loader = DataLoader(self.data, sampler=sampler, shuffle=False, pin_memory=True, batch_size=32, num_workers=4)
        self.model.train()
        for self.iter_num, items in enumerate(loader):
            x, y = (t.to(self.device) for t in items)
            _, self.loss = self.model(x, y)
            self.model.zero_grad(set_to_none=True)
            self.loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            for callback in self.callbacks["on_batch_end"]:
                callback(self)
            if self.iter_num + 1 >= self.max_iters:
                break


def score(model, data):
    model.eval()
    results, factors = [], torch.tensor([[10**i for i in range(2)][::-1]])
    for x, y in DataLoader(data, batch_size=25, num_workers=0, drop_last=False):
        given = x[:, :2]
        found = model.generate(given, 2)[:, -2:].flip(1)
        right = (given.sum(1)).cpu()
        results += [int(v) for v in ((found * factors).sum(1) == right)]
        assert y.shape == x.shape and (y[:, 0] == -1).all()
    model.train()
    return torch.tensor(results, dtype=torch.float).mean().item()


train, test = Sums("train"), Sums("test")
model = Model(vocab=10, length=3)
first = copy.deepcopy(model)
trainer = Trainer(model, train, max_iters=60)
seen = []
trainer.callbacks["on_batch_end"].append(lambda t: seen.append(t.loss.item()))
trainer.run()
print(f"loss {seen[0]:.3f} -> {np.mean(seen[-10:]):.3f}")
print(f"train {score(model, train):.0%}, test {score(model, test):.0%}")
assert np.mean(seen[-10:]) < 0.8 * seen[0]
assert not torch.equal(first.head.weight, model.head.weight)
torch.save(model.state_dict(), "adder.pt")
first.load_state_dict(torch.load("adder.pt"))
assert score(first, train) == score(model, train)
