"""Right solutions of chapter 8, mended in other ways."""

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F


def points(seed):
    rng = np.random.default_rng(seed)
    angle, ring = rng.uniform(0, 2 * np.pi, 120), np.arange(120) % 2
    radius = 0.6 * rng.uniform(0, 1, 120) + 1.4 * ring
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return mg.tensor(x.astype(np.float32)), mg.tensor(ring)


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def train(x, y, model, optimizer):
    for _ in range(60):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def by_adam(seed):
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    return train(x, y, model, optim.Adam(model.parameters(), lr=0.1))


def by_hand(seed):
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    for _ in range(60):
        for p in model.parameters():
            p.grad = None
        loss = F.nll_loss(F.log_softmax(model(x), dim=-1), y)
        loss.backward()
        with mg.no_grad():
            for p in model.parameters():
                p -= 1.0 * p.grad
    return loss.item()


def xavier(seed):
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    for p in model.parameters():
        if p.ndim == 2:
            nn.init.xavier_normal_(p)
    return train(x, y, model, optim.Adam(model.parameters(), lr=0.05))


def over_a_thousand(seed):
    mg.manual_seed(seed)
    x, y = points(seed)
    x = 1000 * x + 5000
    x = (x - 5000) / 1000
    model = network()
    return train(x, y, model, optim.Adam(model.parameters(), lr=0.05))


class InSequential(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.layers(x))


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.second(self.first(x).tanh()).tanh())


RIGHT = {
    "script_1": [by_hand, by_adam],
    "script_2": [by_hand],
    "script_3": [xavier],
    "script_4": [by_adam],
    "Script5": [InSequential, Named],
    "script_6": [by_adam],
    "script_7": [over_a_thousand],
    "script_8": [by_adam],
}
