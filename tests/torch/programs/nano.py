"""A small GPT trained from a script, in the style of one-file training code: settings, batches, loop, checkpoint."""

import inspect
import math
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP

out_dir = "."
steps = 30
for argument in sys.argv[1:]:
    key, value = argument.removeprefix("--").split("=")
    globals()[key] = type(globals()[key])(value)

device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float16"
torch.manual_seed(1337)
torch.cuda.manual_seed(1337)
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True
numbers = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
context = nullcontext() if device == "cpu" else torch.amp.autocast(device_type=device, dtype=numbers)
parallel = int(os.environ.get("RANK", -1)) != -1
if parallel:
    init_process_group(backend="nccl")
    torch.cuda.set_device(device)


@dataclass
class Config:
    block_size: int = 16
    vocab_size: int = 11
    n_layer: int = 2
    n_head: int = 2
    n_embd: int = 32
    dropout: float = 0.0
    bias: bool = False


class LayerNorm(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, input):
        return F.layer_norm(input, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, config, fast):
        super().__init__()
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.drop = nn.Dropout(config.dropout)
        self.heads, self.width, self.dropout = config.n_head, config.n_embd, config.dropout
        self.fast = fast and hasattr(F, "scaled_dot_product_attention")
        mask = torch.tril(torch.ones(config.block_size, config.block_size))
        self.register_buffer("mask", mask.view(1, 1, config.block_size, config.block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.qkv(x).split(self.width, dim=2)
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in (q, k, v))
        if self.fast:
            y = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask=None, dropout_p=self.dropout if self.training else 0, is_causal=True
            )
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
            y = self.drop(F.softmax(scores, dim=-1)) @ v
        return self.drop(self.proj(y.transpose(1, 2).contiguous().view(B, T, C)))


class Block(nn.Module):
    def __init__(self, config, fast):
        super().__init__()
        self.norm_1, self.norm_2 = LayerNorm(config.n_embd, config.bias), LayerNorm(config.n_embd, config.bias)
        self.attention = Attention(config, fast)
        self.mlp = nn.ModuleDict({"up": nn.Linear(config.n_embd, 4 * config.n_embd), "act": nn.GELU()})
        self.down = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.down(self.mlp.act(self.mlp.up(self.norm_2(x))))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            dict(  # noqa: C408
                wte=nn.Embedding(config.vocab_size, config.n_embd),
                wpe=nn.Embedding(config.block_size, config.n_embd),
                h=nn.ModuleList([Block(config, fast=i % 2 == 0) for i in range(config.n_layer)]),
                norm=LayerNorm(config.n_embd, config.bias),
            )
        )
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.head.weight
        self.apply(self.init_weights)
        for name, p in self.named_parameters():
            if name.endswith("proj.weight"):
                torch.nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * config.n_layer))
        print(f"{sum(p.numel() for p in self.parameters()) / 1e6:.2f}M parameters")

    def init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            torch.nn.init.zeros_(module.bias)

    def forward(self, ids, targets=None):
        T = ids.size(1)
        assert self.config.block_size >= T, f"{T} tokens are too many"
        places = torch.arange(0, T, dtype=torch.long, device=ids.device)
        x = self.transformer.wte(ids) + self.transformer.wpe(places)
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.norm(x)
        if targets is None:
            return self.head(x[:, [-1], :]), None
        logits = self.head(x)
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)

    def optimizer(self, lr):
        found = {name: p for name, p in self.named_parameters() if p.requires_grad}
        groups = [
            {"params": [p for p in found.values() if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in found.values() if p.dim() < 2], "weight_decay": 0.0},
        ]
        assert "fused" in inspect.signature(torch.optim.AdamW).parameters
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))

    @torch.no_grad()
    def generate(self, ids, count, temperature=1.0, top_k=None):
        for _ in range(count):
            logits, _ = self(ids if ids.size(1) <= self.config.block_size else ids[:, -self.config.block_size :])
            logits = logits[:, -1, :] / temperature
            if top_k is not None:
                v, _ = torch.topk(logits, min(top_k, logits.size(-1)))
                logits[logits < v[:, [-1]]] = -float("Inf")
            ids = torch.cat((ids, torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)), dim=1)
        return ids


def batch(size=8):
    start = torch.randint(11, (size, 1))
    line = (start + torch.arange(17)) % 11
    rows = [torch.from_numpy(np.array(row.tolist(), dtype=np.uint16).astype(np.int64)) for row in line]
    x, y = torch.stack([row[:-1] for row in rows]), torch.stack([row[1:] for row in rows])
    if device == "cuda":
        return x.pin_memory().to(device, non_blocking=True), y.pin_memory().to(device, non_blocking=True)
    return x.to(device), y.to(device)


model = GPT(Config()).to(device)
scaler = torch.cuda.amp.GradScaler(enabled=(dtype == "float16"))
optimizer = model.optimizer(1e-2)
model = torch.compile(model)
if parallel:
    model = DDP(model, device_ids=[0])


@torch.no_grad()
def evaluate(batches=4):
    model.eval()
    losses = torch.zeros(batches)
    for k in range(batches):
        with context:
            _, loss = model(*batch())
        losses[k] = loss.item()
    model.train()
    return losses.mean()


before = evaluate()
for step in range(steps):
    rate = 1e-2 * min(1.0, (step + 1) / 5) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = rate
    for _ in range(2):
        with context:
            _, loss = model(*batch())
            loss = loss / 2
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
after = evaluate()
print(f"loss {before:.4f} -> {after:.4f}")
assert after < 0.7 * before

path = os.path.join(out_dir, "ckpt.pt")
raw = model.module if parallel else getattr(model, "_orig_mod", model)
checkpoint = {"model": raw.state_dict(), "optimizer": optimizer.state_dict(), "best": after}
checkpoint["config"] = Config().__dict__
torch.save(checkpoint, path)
saved = torch.load(path, map_location=device)
again = GPT(Config(**saved["config"]))
again.load_state_dict(saved["model"])
again.optimizer(1e-3).load_state_dict(saved["optimizer"])
with torch.no_grad():
    again.head.weight.copy_(saved["model"]["head.weight"].t().contiguous().t())
again.eval()
model.eval()
ids = torch.tensor([3, 4], dtype=torch.long, device=device)[None, ...]
assert torch.equal(model(ids)[0], again(ids)[0]) and saved["best"] == after
print("sampled", again.generate(ids, 20, temperature=0.8, top_k=2)[0].tolist())
assert torch.equal(again.generate(ids, 8, top_k=1), model.generate(ids, 8, top_k=1))
if parallel:
    destroy_process_group()
