"""Small trainings for the doctor: faulty ones, each with what is to be said and at which line, and healthy ones."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F
from minigrad.utils.data import DataLoader, TensorDataset

FAULTY = []  # (function, kind of the finding, text of its line)
HEALTHY = []
STEPS = 40


def faulty(kind, line=""):
    def enter(function):
        FAULTY.append((function, kind, line))
        return function

    return enter


def healthy(function):
    HEALTHY.append(function)
    return function


def clusters(count=256, classes=4, width=8, noise=0.6, seed=0):
    """Points around a centre for each class, (N, C) float32, and the classes (N,)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width)) * 1.5
    y = rng.integers(0, classes, count)
    x = centres[y] + noise * rng.normal(size=(count, width))
    return mg.tensor(x.astype("float32")), mg.tensor(y)


def curve(count=256, seed=0):
    """A sine with noise: (N, 1), (N, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (count, 1)).astype("float32")
    return mg.tensor(x), mg.tensor(np.sin(2 * x) + 0.05 * rng.normal(size=x.shape).astype("float32"))


def mlp(width=8, hidden=32, classes=4, act=nn.ReLU):
    return nn.Sequential(nn.Linear(width, hidden), act(), nn.Linear(hidden, classes))


def batches(x, y, size=32, steps=STEPS, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        at = rng.integers(0, len(x), size)
        yield x[at], y[at]


def fit(model, optimizer, loss_fn=F.cross_entropy, data=None, steps=STEPS, after=lambda step: None):
    x, y = clusters() if data is None else data
    for step, (xb, yb) in enumerate(batches(x, y, steps=steps)):
        optimizer.zero_grad()
        loss_fn(model(xb), yb).backward()
        optimizer.step()
        after(step)


# 1 zero_grad forgotten


@faulty("zero_grad", "loss.backward()")
def without_zero_grad():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.01)
    for xb, yb in batches(x, y):
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()


@faulty("zero_grad", "total.backward()")
def zero_grad_once_before_the_loop():
    x, y = curve()
    net = mlp(1, 16, 1, nn.Tanh)
    opt = mg.optim.Adam(net.parameters(), lr=1e-3)
    opt.zero_grad()
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    for _ in range(10):
        for a, b in loader:
            total = ((net(a) - b) ** 2).mean()
            total.backward()
            opt.step()


@faulty("zero_grad")
def by_hand_without_clearing():
    x, y = clusters()
    model = mlp()
    for xb, yb in batches(x, y):
        F.cross_entropy(model(xb), yb).backward()
        with mg.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad


# 2 softmax before the loss


@faulty("softmax", "F.cross_entropy")
def softmax_layer_then_cross_entropy():
    model = nn.Sequential(*mlp(), nn.Softmax(dim=-1))
    x, y = clusters()
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-2)
    for xb, yb in batches(x, y):
        loss = F.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@faulty("softmax", "criterion(")
def own_softmax_then_criterion():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            e = self.body(x).exp()
            return e / e.sum(-1, keepdim=True)

    net, criterion = Net(), nn.CrossEntropyLoss()
    opt = mg.optim.SGD(net.parameters(), lr=0.1)
    for xb, yb in batches(*clusters()):
        opt.zero_grad()
        criterion(net(xb), yb).backward()
        opt.step()


@faulty("softmax", "F.nll_loss")
def softmax_then_nll():
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    for xb, yb in batches(*clusters()):
        optimizer.zero_grad()
        F.nll_loss(model(xb).softmax(-1), yb).backward()
        optimizer.step()


@faulty("softmax", "BCE")
def sigmoid_then_bce_with_logits():
    model = nn.Sequential(*mlp(classes=1), nn.Sigmoid())
    BCE = nn.BCEWithLogitsLoss()
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-2)
    for xb, yb in batches(*clusters(classes=2)):
        optimizer.zero_grad()
        BCE(model(xb).squeeze(-1), yb.float()).backward()
        optimizer.step()


# 3 dead units


@faulty("dead")
def biases_far_below():
    model = mlp()
    with mg.no_grad():
        model[0].bias.fill_(-20)
    fit(model, mg.optim.SGD(model.parameters(), lr=0.1))


@faulty("dead")
def second_layer_dies():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 4)
            nn.init.constant_(self.b.bias, -8.0)

        def forward(self, x):
            return self.c(F.relu(self.b(self.a(x).relu())))

    net = Net()
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-3))


@faulty("dead")
def saturated_tanh():
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))
    nn.init.normal_(model[0].weight, std=60.0)
    fit(model, mg.optim.SGD(model.parameters(), lr=0.05))


# 4 symmetry, zeros


@faulty("symmetry")
def constant_weights():
    model = mlp()
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)
    fit(model, mg.optim.SGD(model.parameters(), lr=0.1))


@faulty("symmetry")
def all_zeros():
    net = mlp(1, 16, 1, nn.Tanh)
    for p in net.parameters():
        p.data.zero_()
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-2), F.mse_loss, curve())


@faulty("symmetry")
def plain_tensors_of_ones():
    w1 = mg.ones(8, 16, requires_grad=True)
    w2 = mg.ones(16, 4, requires_grad=True)
    optimizer = mg.optim.SGD([w1, w2], lr=0.01)
    for xb, yb in batches(*clusters()):
        optimizer.zero_grad()
        F.cross_entropy((xb @ w1).tanh() @ w2, yb).backward()
        optimizer.step()


# 5 vanishing and exploding


@faulty("vanishing")
def deep_sigmoid():
    layers = [nn.Linear(8, 32), nn.Sigmoid()]
    for _ in range(8):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    fit(model, mg.optim.SGD(model.parameters(), lr=0.1))


@faulty("vanishing")
def deep_tanh_of_small_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(8 if i == 0 else 24, 24) for i in range(10))
            self.head = nn.Linear(24, 4)
            for layer in self.layers:
                nn.init.normal_(layer.weight, std=0.02)

        def forward(self, x):
            for layer in self.layers:
                x = mg.tanh(layer(x))
            return self.head(x)

    net = Net()
    fit(net, mg.optim.AdamW(net.parameters(), lr=1e-4))


@faulty("exploding")
def deep_linear_of_large_weights():
    layers = [nn.Linear(8, 32), *(nn.Linear(32, 32) for _ in range(8))]
    for layer in layers:
        nn.init.normal_(layer.weight, std=1.0)
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    fit(model, mg.optim.SGD(model.parameters(), lr=1e-12))


# 6, 7 the learning rate


@faulty("lr_high", "optimizer = ")
def rate_too_high():
    model = mlp(1, 32, 1)
    optimizer = mg.optim.Adam(model.parameters(), lr=3.0)
    fit(model, optimizer, F.mse_loss, curve())


@faulty("lr_high", "SGD(")
def diverges():
    model = nn.Linear(8, 1)
    optimizer = mg.optim.SGD(model.parameters(), lr=1.5)
    x, y = clusters()
    fit(model, optimizer, lambda out, t: ((out.squeeze(-1) - t.float()) ** 2).mean(), (x, y))


@faulty("lr_low", "optimizer = ")
def rate_too_low():
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=1e-6)
    fit(model, optimizer)


@faulty("lr_low", "AdamW")
def rate_too_low_for_adam():
    net = mlp(1, 32, 1, nn.Tanh)
    opt = mg.optim.AdamW(net.parameters(), lr=1e-8, weight_decay=0.0)
    fit(net, opt, F.mse_loss, curve())


# 8 at chance, or below what guessing allows


@faulty("chance")
def only_noise_reaches_the_output():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 32), nn.Linear(32, 4)

        def forward(self, x):
            h = self.a(x).softmax(0)  # over the batch
            return self.b(h * 0.05).mean(0, keepdim=True).expand(len(x), 4)

    net = Net()
    fit(net, mg.optim.Adam(net.parameters(), lr=3e-3))


@faulty("future")
def language_model_without_mask():
    rng = np.random.default_rng(0)
    text = rng.integers(0, 12, 2000)

    class LM(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.pos = nn.Embedding(12, 16), nn.Embedding(16, 16)
            self.q, self.k, self.v, self.head = (nn.Linear(16, n) for n in (16, 16, 16, 12))

        def forward(self, ids):
            x = self.emb(ids) + self.pos(mg.arange(ids.shape[1]))
            scores = self.q(x) @ self.k(x).transpose(1, 2) / 4
            return self.head(x + scores.softmax(-1) @ self.v(x))

    net = LM()
    opt = mg.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(STEPS):
        at = rng.integers(0, len(text) - 17, 8)
        ids = mg.tensor(np.stack([text[i : i + 16] for i in at]))
        wanted = mg.tensor(np.stack([text[i + 1 : i + 17] for i in at]))
        loss = F.cross_entropy(net(ids).view(-1, 12), wanted.view(-1))
        opt.zero_grad()
        loss.backward()
        opt.step()


# 9 parameters that the optimizer does not know


@faulty("unknown", "self.layers = [")
def layers_in_a_plain_list():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(8, 32), nn.Linear(32, 32)]
            self.head = nn.Linear(32, 4)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x).relu()
            return self.head(x)

    net = Net()
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-3))


@faulty("unknown", "self.parts = {")
def layers_in_a_dict():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = {"up": nn.Linear(8, 16)}
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            return self.head(F.gelu(self.parts["up"](x)))

    net = Net()
    fit(net, mg.optim.SGD(net.parameters(), lr=0.1))


@faulty("unknown", "optimizer = ")
def made_after_the_optimizer():
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    model.append(nn.Linear(32, 4))
    fit(model, optimizer)


@faulty("unknown", "opt = ")
def replaced_after_the_optimizer():
    net = mlp(classes=10)
    opt = mg.optim.Adam(net.parameters(), lr=1e-3)
    net[2] = nn.Linear(32, 4)
    fit(net, opt)


@faulty("unknown", "opt = ")
def first_layer_replaced():
    net = mlp(width=3)
    opt = mg.optim.Adam(net.parameters(), lr=1e-3)
    net[0] = nn.Linear(8, 32)
    fit(net, opt)


# 10 parameters without a gradient


@faulty("no_gradient")
def detached_features():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(8, 32, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(self.body(x).detach())

    net = Net()
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-3))


@faulty("no_gradient")
def features_without_a_graph():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(8, 32, 16), nn.Linear(16, 4)

        def forward(self, x):
            with mg.no_grad():
                h = self.body(x)
            return self.head(h)

    net = Net()
    fit(net, mg.optim.SGD(net.parameters(), lr=0.1))


@faulty("no_gradient", "self.unused = ")
def a_layer_that_is_not_called():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(8, 32)
            self.unused = nn.Linear(32, 32)
            self.b = nn.Linear(32, 4)

        def forward(self, x):
            return self.b(self.a(x).relu())

    net = Net()
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-3))


@faulty("no_gradient")
def the_head_is_frozen():
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    for p in net[4].parameters():
        p.requires_grad = False
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-3))


# 11 train and eval


def dropping():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))


@faulty("mode")
def trained_in_eval_mode():
    model = dropping()
    model.eval()
    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3))


@faulty("mode")
def no_train_after_the_first_evaluation():
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    x, y = clusters()

    def evaluate(step):
        if step == 10:
            model.eval()
            with mg.no_grad():
                F.cross_entropy(model(x), y).item()

    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3), data=(x, y), after=evaluate)


@faulty("mode")
def evaluated_in_train_mode():
    model = dropping()
    x, y = clusters()

    def evaluate(step):
        if step % 10 == 9:
            with mg.no_grad():
                F.cross_entropy(model(x), y).item()

    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3), data=(x, y), after=evaluate)


@faulty("mode")
def accuracy_in_train_mode():
    model = dropping()
    x, y = clusters()

    @mg.no_grad()
    def accuracy(step):
        if step % 10 == 9:
            return sum((model(x[i : i + 64]).argmax(-1) == y[i : i + 64]).sum().item() for i in range(0, 256, 64))

    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3), data=(x, y), after=accuracy)


# 12 a batch that never changes


@faulty("batch")
def always_the_first_of_the_loader():
    model = mlp()
    loader = DataLoader(TensorDataset(*clusters(512)), batch_size=32)
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        xb, yb = next(iter(loader))
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        optimizer.step()


@faulty("batch")
def drawn_before_the_loop():
    x, y = clusters(1000)
    at = np.random.default_rng(0).integers(0, 1000, 32)
    xb, yb = x[at], y[at]
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        loss = F.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@faulty("batch")
def seeded_in_every_step():
    def draw():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(32, 8)).astype("float32")
        return mg.tensor(x), mg.tensor((x[:, 0] > 0).astype(int))

    model = mlp(classes=2)
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        xb, yb = draw()
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        optimizer.step()


# 13 targets that do not fit


@faulty("targets", "F.cross_entropy")
def shuffled_apart():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        xb, yb = x[rng.permutation(256)[:32]], y[rng.permutation(256)[:32]]
        loss = F.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@faulty("targets")
def shuffled_once_before():
    x, y = clusters(512)
    x = x[np.random.default_rng(1).permutation(512)]
    model = mlp()
    fit(model, mg.optim.Adam(model.parameters(), lr=1e-2), data=(x, y))


@faulty("targets")
def rows_off_by_one():
    x, y = clusters(600)
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    for i in range(0, 560, 14):
        xb, yb = x[i : i + 32], y[i + 1 : i + 33]
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        optimizer.step()


@faulty("targets")
def repeats_what_it_is_given():
    rng = np.random.default_rng(0)
    text = rng.integers(0, 12, 2000)
    model = GPT(GPTConfig(vocab_size=12, block_size=16, n_layer=1, n_head=2, n_embd=16))
    optimizer = mg.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        ids = mg.tensor(np.stack([text[i : i + 16] for i in rng.integers(0, 1900, 8)]))
        optimizer.zero_grad()
        model(ids, ids)[1].backward()
        optimizer.step()


@faulty("targets")
def shifted_twice():
    rng = np.random.default_rng(0)
    text = mg.tensor(rng.integers(0, 12, 2000))
    model = GPT(GPTConfig(vocab_size=12, block_size=16, n_layer=1, n_head=2, n_embd=16))
    optimizer = mg.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        at = rng.integers(0, 1900, 8).tolist()
        ids = mg.stack([text[i : i + 16] for i in at])
        wanted = mg.stack([text[i + 2 : i + 18] for i in at])
        optimizer.zero_grad()
        model(ids, wanted)[1].backward()
        optimizer.step()


# 14 inputs, masks


@faulty("inputs")
def pixels_up_to_255():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 256)
    x = rng.integers(0, 60, (256, 16)) + (y[:, None] == np.arange(16) % 4) * 190
    model = mlp(16)
    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3), data=(mg.tensor(x.astype("float32")), mg.tensor(y)))


@faulty("inputs")
def columns_of_other_units():
    x, y = clusters()
    x = x * mg.tensor(np.float32([1, 1, 1000, 1, 30, 1, 1, 1]))
    net = mlp(act=nn.Tanh)
    fit(net, mg.optim.SGD(net.parameters(), lr=1e-3), data=(x, y))


class Attends(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.emb, self.pos = nn.Embedding(12, 16), nn.Embedding(16, 16)
        self.q, self.k, self.v, self.head = (nn.Linear(16, n) for n in (16, 16, 16, 12))
        self.mask = mask

    def forward(self, ids):
        x = self.emb(ids) + self.pos(mg.arange(ids.shape[1]))
        return self.head(x + self.mask(self.q(x), self.k(x), self.v(x)))


def read(net, lr=3e-3, steps=STEPS):
    rng = np.random.default_rng(0)
    text = np.cumsum(rng.integers(0, 3, 2000)) % 12
    opt = mg.optim.Adam(net.parameters(), lr=lr)
    for _ in range(steps):
        at = rng.integers(0, len(text) - 17, 8)
        ids = mg.tensor(np.stack([text[i : i + 16] for i in at]))
        wanted = mg.tensor(np.stack([text[i + 1 : i + 17] for i in at]))
        opt.zero_grad()
        F.cross_entropy(net(ids).flatten(0, 1), wanted.flatten()).backward()
        opt.step()


@faulty("mask", "scores + ")
def mask_of_ones_added():
    def attend(q, k, v):
        scores = q @ k.transpose(1, 2) / 4
        scores = scores + mg.tril(mg.ones(16, 16))
        return scores.softmax(-1) @ v

    read(Attends(attend))


@faulty("mask", "scaled_dot_product_attention")
def mask_of_ones_handed_over():
    read(Attends(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mg.tril(mg.ones(16, 16)))))


@faulty("mask", "* mg.tril")
def mask_of_ones_multiplied():
    read(Attends(lambda q, k, v: F.softmax(q @ k.transpose(1, 2) / 4 * mg.tril(mg.ones(16, 16)), dim=-1) @ v))


# 15 decay, clipping; the graph


@faulty("decay", "optimizer = ")
def decay_of_ten():
    model = mlp()
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=10.0)
    fit(model, optimizer)


@faulty("decay", "opt = ")
def decay_in_sgd():
    net = mlp(1, 32, 1, nn.Tanh)
    opt = mg.optim.SGD(net.parameters(), lr=0.05, weight_decay=1.0)
    fit(net, opt, F.mse_loss, curve())


@faulty("clipping")
def clipped_to_nothing():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    for xb, yb in batches(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-4)
        optimizer.step()


@faulty("clipping")
def values_clipped_to_nothing():
    x, y = curve()
    net = mlp(1, 32, 1, nn.Tanh)
    opt = mg.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for xb, yb in batches(x, y):
        opt.zero_grad()
        F.mse_loss(net(xb), yb).backward()
        nn.utils.clip_grad_value_(net.parameters(), 1e-6)
        opt.step()


@faulty("graph", "total = total + loss")
def losses_added_up():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    total = mg.zeros(())
    for xb, yb in batches(x, y):
        loss = F.cross_entropy(model(xb), yb)
        total = total + loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@faulty("graph", "kept.append")
def evaluations_kept_with_their_graph():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    kept = []
    for xb, yb in batches(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        optimizer.step()
        kept.append(F.cross_entropy(model(x[:8]), y[:8]))


# Healthy ones, with unusual settings


@healthy
def plain():
    model = mlp()
    fit(model, mg.optim.SGD(model.parameters(), lr=0.1))


@healthy
def accumulation_of_gradients():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-3)
    for i, (xb, yb) in enumerate(batches(x, y, steps=80)):
        (F.cross_entropy(model(xb), yb) / 4).backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


@healthy
def full_batch_with_a_high_rate():
    x, y = clusters()
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@healthy
def full_batch_copied_each_step():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(100, 8))
    labels = (data[:, 0] > 0).astype(int)
    model = mlp(classes=2)
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        xb, yb = mg.tensor(data).float(), mg.tensor(labels)
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        optimizer.step()


@healthy
def long_warmup_from_zero():
    model = mlp()
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = mg.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 4000)
    fit(model, optimizer, after=lambda step: schedule.step())


@healthy
def adversaries():
    """Two networks with an optimizer each, one trained against the other."""
    make = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
    judge = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(16, 1))
    one, two = (mg.optim.Adam(m.parameters(), lr=2e-3, betas=(0.5, 0.999)) for m in (make, judge))
    for xb, _ in batches(*clusters()):
        with mg.no_grad():
            fake = make(mg.randn(32, 4))
        two.zero_grad()
        right = F.binary_cross_entropy_with_logits(judge(xb), mg.ones(32, 1))
        (right + F.binary_cross_entropy_with_logits(judge(fake), mg.zeros(32, 1))).backward()
        two.step()
        one.zero_grad()
        F.binary_cross_entropy_with_logits(judge(make(mg.randn(32, 4))), mg.ones(32, 1)).backward()
        one.step()


@healthy
def frozen_body_and_a_new_head():
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    for p in net[0].parameters():
        p.requires_grad = False
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-2))


@healthy
def only_the_head_is_given():
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    fit(net, mg.optim.SGD(net[2].parameters(), lr=0.1))


@healthy
def small_updates_of_a_large_matrix():
    """Low rank: the first factor starts at zero."""
    base = mlp()
    for p in base.parameters():
        p.requires_grad = False

    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = base
            self.a, self.b = nn.Parameter(mg.randn(2, 8) * 0.3), nn.Parameter(mg.zeros(4, 2))

        def forward(self, x):
            return self.base(x) + x @ self.a.transpose(0, 1) @ self.b.transpose(0, 1)

    net = Adapted()
    fit(net, mg.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-2))


@healthy
def zero_head():
    model = mlp()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    fit(model, mg.optim.SGD(model.parameters(), lr=0.1))


@healthy
def logistic_regression_from_zeros():
    model = nn.Linear(8, 4)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    fit(model, mg.optim.SGD(model.parameters(), lr=0.5))


@healthy
def strong_decay_for_late_understanding():
    model = mlp(hidden=64)
    fit(model, mg.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98)))


@healthy
def clipped_always():
    model = mlp()
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-3)
    for xb, yb in batches(*clusters()):
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()


@healthy
def gpt_with_dropout():
    mg.manual_seed(0)
    rng = np.random.default_rng(0)
    text = rng.integers(0, 12, 2000)
    model = GPT(GPTConfig(vocab_size=12, block_size=16, n_layer=2, n_head=2, n_embd=16, dropout=0.1))
    optimizer = mg.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(30):
        at = rng.integers(0, 1900, 4)
        ids = mg.tensor(np.stack([text[i : i + 16] for i in at]))
        wanted = mg.tensor(np.stack([text[i + 1 : i + 17] for i in at]))
        optimizer.zero_grad()
        model(ids, wanted)[1].backward()
        optimizer.step()
        if step % 10 == 9:
            model.eval()
            with mg.no_grad():
                model(ids, wanted)
            model.train()


@healthy
def averages_of_drawn_networks():
    """Dropout at work while predicting, on purpose: the mean of several draws."""
    model = dropping()
    x, y = clusters()

    def predict(step):
        if step % 10 == 9:
            with mg.no_grad():
                mg.stack([model(x).softmax(-1) for _ in range(5)]).mean(0)

    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3), data=(x, y), after=predict)


@healthy
def a_teacher_in_train_mode():
    teacher, student = dropping(), dropping()
    optimizer = mg.optim.Adam(student.parameters(), lr=1e-3)
    for xb, yb in batches(*clusters()):
        with mg.no_grad():
            wanted = teacher(xb)
        optimizer.zero_grad()
        (F.cross_entropy(student(xb), yb) + F.mse_loss(student(xb), wanted)).backward()
        optimizer.step()


@healthy
def batch_norm_held_still():
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    model[1].eval()
    fit(model, mg.optim.SGD(model.parameters(), lr=0.1))


@healthy
def parity():
    """Hard, and at chance for a long time: that is nobody's mistake."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (512, 16)).astype("float32") * 2 - 1
    y = (x[:, :8].prod(1) > 0).astype(int)
    model = mlp(16, 64, 2)
    fit(model, mg.optim.AdamW(model.parameters(), lr=1e-2), data=(mg.tensor(x), mg.tensor(y)))


@healthy
def modular_addition():
    rng = np.random.default_rng(0)

    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.out = nn.Embedding(23, 16), mlp(32, 64, 23)

        def forward(self, pairs):
            return self.out(self.emb(pairs).flatten(1))

    pairs = rng.integers(0, 23, (400, 2))
    net = Adds()
    fit(net, mg.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.5),
        data=(mg.tensor(pairs), mg.tensor(pairs.sum(1) % 23)))  # fmt: skip


@healthy
def equation_on_a_grid():
    """The same points in every step, made anew: y' = y, y(0) = 1."""
    net = mlp(1, 16, 1, nn.Tanh)
    optimizer = mg.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(STEPS):
        t = mg.linspace(0, 1, 20).view(-1, 1)
        h = 1e-2
        slope = (net(t + h) - net(t - h)) / (2 * h)
        loss = ((slope - net(t)) ** 2).mean() + (net(mg.zeros(1, 1)) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@healthy
def a_code_of_tokens_and_back():
    """An autoencoder: the targets are the inputs, through something narrow."""
    rng = np.random.default_rng(0)
    ids = mg.tensor(rng.integers(0, 12, (256, 8)))

    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.code, self.out = nn.Embedding(12, 8), nn.Linear(64, 24), nn.Linear(24, 96)

        def forward(self, x):
            return self.out(self.code(self.emb(x).flatten(1)).tanh()).view(-1, 8, 12)

    net = Narrow()
    fit(net, mg.optim.Adam(net.parameters(), lr=1e-2), lambda out, t: F.cross_entropy(out.flatten(0, 1), t.flatten()),
        data=(ids, ids))  # fmt: skip


@healthy
def a_recurrent_net_that_carries_its_state():
    net, head = nn.LSTM(4, 16, batch_first=True), nn.Linear(16, 4)
    optimizer = mg.optim.RMSprop([*net.parameters(), *head.parameters()], lr=1e-3)
    rng, state = np.random.default_rng(0), None
    for _ in range(20):
        x = mg.tensor(rng.normal(size=(4, 6, 4)).astype("float32"))
        out, state = net(x, state)
        state = tuple(s.detach() for s in state)
        optimizer.zero_grad()
        F.mse_loss(head(out), x.roll(1, 1)).backward()
        optimizer.step()


@healthy
def deep_with_shortcuts():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.a = nn.LayerNorm(16), nn.Linear(16, 16)
            self.scale = nn.Parameter(mg.zeros(1))

        def forward(self, x):
            return x + self.scale * self.a(self.norm(x)).relu()

    model = nn.Sequential(nn.Linear(8, 16), *(Block() for _ in range(10)), nn.Linear(16, 4))
    fit(model, mg.optim.Adam(model.parameters(), lr=1e-3))


@healthy
def by_hand():
    model = mlp()
    for xb, yb in batches(*clusters()):
        F.cross_entropy(model(xb), yb).backward()
        with mg.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
                p.grad = None


@healthy
def second_order():
    x, y = curve()
    net = mlp(1, 16, 1, nn.Tanh)
    optimizer = mg.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        return loss

    for _ in range(15):
        optimizer.step(closure)


@healthy
def loss_scaled_up_and_down():
    model = mlp()
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    for xb, yb in batches(*clusters()):
        optimizer.zero_grad()
        (F.cross_entropy(model(xb), yb) * 65536).backward()
        for p in model.parameters():
            p.grad /= 65536
        optimizer.step()


@healthy
def fine_tuning_with_a_small_rate():
    model = mlp()
    x, y = clusters()
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-2)
    for xb, yb in batches(x, y, steps=60):
        optimizer.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        optimizer.step()
        if optimizer.param_groups[0]["lr"] > 1e-5:
            optimizer.param_groups[0]["lr"] *= 0.8


@healthy
def a_bottleneck_of_sparse_units():
    """Few units of many are at work for an example, by a penalty on them."""
    up, down = nn.Linear(8, 64), nn.Linear(64, 8)
    optimizer = mg.optim.Adam([*up.parameters(), *down.parameters()], lr=1e-3)
    for xb, _ in batches(*clusters()):
        code = (up(xb) - 0.5).relu()
        loss = F.mse_loss(down(code), xb) + 1e-3 * code.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
