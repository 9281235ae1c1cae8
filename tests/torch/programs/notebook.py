"""A course notebook in one file: tensors by hand, a layer of one's own, digits with a small convolution network."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_printoptions(linewidth=120)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
g = torch.Generator().manual_seed(2147483647)
print(torch.tensor([[1.0, 2.0], [3.5, -4.0]], requires_grad=True))

# Counts of pairs, and what they say
N = torch.zeros((4, 4), dtype=torch.int32)
for a, b in zip("abcabcab", "bcabcabc", strict=True):
    N[ord(a) - ord("a") + 1, ord(b) - ord("a") + 1] += 1
P = (N + 1).float()
P /= P.sum(1, keepdim=True)
ix = torch.multinomial(P[1], num_samples=20, replacement=True, generator=g)
assert P.sum(axis=1).allclose(torch.ones(4)) and ix.shape == (20,) and int(N.sum()) == 8

# An MLP out of tensors, batch normalisation by hand, gradients by hand
X, Y = torch.randint(0, 4, (64, 3), generator=g), torch.randint(0, 4, (64,), generator=g)
C = torch.randn((4, 5), generator=g)
W1 = torch.randn((15, 20), generator=g) * (5 / 3) / (15**0.5)
gain, shift = torch.ones((1, 20)), torch.zeros((1, 20))
W2, b2 = torch.randn((20, 4), generator=g) * 0.1, torch.zeros(4)
parameters = [C, W1, gain, shift, W2, b2]
for p in parameters:
    p.requires_grad = True
lossi = []
for _ in range(100):
    emb = C[X]
    hpre = emb.view(emb.shape[0], -1) @ W1
    h = torch.tanh(gain * (hpre - hpre.mean(0, keepdim=True)) / (hpre.std(0, keepdim=True) + 1e-5) + shift)
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Y)
    for p in parameters:
        p.grad = None
    loss.backward()
    with torch.no_grad():
        for p in parameters:
            p -= 0.3 * p.grad
    lossi.append(loss.log10().item())
assert lossi[-1] < lossi[0] - 0.1
logits = h.detach() @ W2 + b2
logits.retain_grad()
counts = (logits - logits.max(1, keepdim=True).values).exp()
by_hand = -(counts / counts.sum(1, keepdim=True)).log()[range(64), Y].mean()
by_hand.backward()
dlogits = F.softmax(logits, 1)
dlogits[range(64), Y] -= 1
assert (dlogits / 64).isclose(logits.grad, atol=1e-6).all()
for name, p in zip("C W1 gain shift W2 b2".split(), parameters, strict=True):
    print(f"{name:6} {tuple(p.shape)!s:10} grad {p.grad.std() if p.grad is not None else 0:.2e}")


# A class with layers of one's own, attention without the library's
class Head(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(width, size, bias=False) for _ in range(3))
        self.register_buffer("tril", torch.tril(torch.ones(8, 8)))

    def forward(self, x):
        k, q = self.key(x), self.query(x)
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        scores.masked_fill_(self.tril[: x.shape[1], : x.shape[1]] == 0, -torch.inf)
        return torch.softmax(scores, dim=-1) @ self.value(x)


out = Head(6, 3)(torch.randn(2, 5, 6))
assert out.shape == torch.Size([2, 5, 3]) and out.requires_grad

# Pictures: bars that lie or stand
images = torch.zeros(200, 1, 8, 8)
labels = torch.arange(200) % 2
for i in range(200):
    at = int(torch.randint(0, 8, (1,)))
    if labels[i] == 0:
        images[i, 0, at, :] = 1
    else:
        images[i, 0, :, at] = 1
images += 0.1 * torch.randn_like(images)
train_set, test_set = random_split(TensorDataset(images, labels), [0.8, 0.2], generator=g)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(4 * 4 * 4, 2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return F.log_softmax(self.fc(self.drop(torch.flatten(x, 1))), dim=1)


model, criterion = Net().to(device), nn.NLLLoss()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
for epoch in range(3):
    model.train()
    running = 0.0
    for data, target in DataLoader(train_set, batch_size=32, shuffle=True):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()
        running += loss.item() * data.size(0)
    scheduler.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in DataLoader(test_set, batch_size=100):
            correct += model(data).argmax(dim=1, keepdim=True).eq(target.view_as(target.unsqueeze(1))).sum().item()
    print(f"epoch {epoch}: loss {running / len(train_set):.4f}, {100.0 * correct / len(test_set):.0f} % right")
assert correct / len(test_set) > 0.9 and scheduler.get_last_lr()[0] == 0.025
weights = model.conv.weight.detach().cpu().numpy()
assert weights.shape == (4, 1, 3, 3) and np.isfinite(weights).all()
