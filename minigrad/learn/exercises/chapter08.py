"""What chapter 8 asks for: eight trainings to mend, and how each is broken."""

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.learn.exercise import Exercise, given
from minigrad.nn import functional as F

STEPS, GOOD = 60, 0.3


def points(seed):
    rng = np.random.default_rng(seed)
    angle, ring = rng.uniform(0, 2 * np.pi, 120), np.arange(120) % 2
    radius = 0.6 * rng.uniform(0, 1, 120) + 1.4 * ring
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return mg.tensor(x.astype(np.float32)), mg.tensor(ring)


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def train(seed, x, y, model, optimizer, loss_of=F.cross_entropy, zero=True):
    for _ in range(STEPS):
        loss = loss_of(model(x), y)
        if zero:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def learned(values, seed):
    """Whether the last loss is that of a sound training."""
    loss = float(values[0])
    if not np.isfinite(loss):
        return f"the last loss is {loss}"
    if loss < 0:
        return f"the last loss is {loss:.3f}, and a cross-entropy is never below 0"
    if loss > GOOD:
        return f"the last loss is {loss:.3f}: it should come below {GOOD} (guessing is 0.693)"
    return None


def exercise(name, hints, adapt=lambda subject: subject, **more):
    return Exercise(
        name,
        draw=lambda rng: given(seed=int(rng.integers(1, 1000))),
        definition=None,
        holds=learned,
        gradient=False,
        library=True,
        hints=hints,
        adapt=adapt,
        **more,
    )


script_1 = exercise(
    "script_1",
    (
        "What is in p.grad before backward() is called?",
        "The engine adds to gradients: they are set to zero once per step.",
        "optimizer.zero_grad()",
    ),
)


@script_1.mistake()
def gradients_never_zeroed(seed):
    """The gradients are never set to zero: each step goes along the sum of all gradients so far.

    One call per step, before backward().
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    return train(seed, x, y, model, optim.SGD(model.parameters(), lr=0.5, momentum=0.8), zero=False)


@script_1.mistake()
def zeroed_between_backward_and_step(seed):
    """The gradients are set to zero between backward() and step(): nothing is left to step along.

    zero_grad() comes before backward(), or after step().
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    return F.cross_entropy(network()(x), y).item()


script_2 = exercise(
    "script_2",
    (
        "What does cross_entropy want: scores, or shares?",
        "cross_entropy does the softmax itself: softmax of shares between 0 and 1 can never be sure.",
        "loss = F.cross_entropy(model(x), y)",
    ),
)


@script_2.mistake()
def softmax_before_cross_entropy(seed):
    """cross_entropy is given the softmax of the scores: softmax is applied twice, and the loss cannot fall below 0.31.

    Give it the scores as they are.
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    adam = optim.Adam(model.parameters(), lr=0.05)
    return train(seed, x, y, model, adam, lambda scores, y: F.cross_entropy(F.softmax(scores, dim=-1), y))


@script_2.mistake()
def log_softmax_of_softmax_in_nll(seed):
    """nll_loss is given shares, and wants their logarithms.

    F.cross_entropy takes the scores and does both.
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    adam = optim.Adam(model.parameters(), lr=0.05)
    return train(seed, x, y, model, adam, lambda scores, y: F.nll_loss(F.softmax(scores, dim=-1), y))


script_3 = exercise(
    "script_3",
    (
        "All units of the hidden layer start equal: what could make them differ later?",
        "With zeros, every unit has the same gradient, or none. They must start at different random numbers.",
        "nn.init.normal_(p, std=0.5)",
    ),
)


EQUAL = "All weights start equal: every unit computes the same, gets the same gradient, and stays the same."


def constant(fill):
    def wrong(seed):
        mg.manual_seed(seed)
        x, y = points(seed)
        model = network()
        for p in model.parameters():
            fill(p)
        return train(seed, x, y, model, optim.Adam(model.parameters(), lr=0.05))

    return wrong


for name, says, fill in [
    (
        "all weights zero",
        "All weights start at 0: nothing arrives in the first layer, and all units are equal.",
        nn.init.zeros_,
    ),
    (
        "all weights one",
        EQUAL,
        nn.init.ones_,
    ),
    (
        "all weights equal",
        EQUAL,
        lambda p: nn.init.constant_(p, 0.1),
    ),
    (
        "all weights a half",
        EQUAL,
        lambda p: nn.init.constant_(p, 0.5),
    ),
]:
    wrong = constant(fill)
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\nRandom numbers break the symmetry: nn.init.normal_."
    script_3.mistake()(wrong)


script_4 = exercise(
    "script_4",
    (
        "How far do the weights move in a step, compared with their own size?",
        "Adam moves each weight by about lr per step: after 60 steps by 60 lr. Weights are about 0.5 large.",
        "lr=0.05",
    ),
)


def with_rate(lr):
    def wrong(seed):
        mg.manual_seed(seed)
        x, y = points(seed)
        model = network()
        return train(seed, x, y, model, optim.Adam(model.parameters(), lr=lr))

    return wrong


for lr in (1e-6, 1e-5, 1e-4):
    wrong = with_rate(lr)
    wrong.__name__ = f"learning rate {lr:g}"
    wrong.__doc__ = f"""The learning rate is {lr:g}: in 60 steps no weight moves by more than {60 * lr:g}.

    A usual step moves a weight by a thousandth of its size or more."""
    script_4.mistake()(wrong)


def built(Model):
    """The training of a model that the learner wrote."""

    def run(*, seed):
        mg.manual_seed(seed)
        x, y = points(seed)
        model = Model()
        known = sum(p.numel() for p in model.parameters())
        optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.8)
        return np.array([train(seed, x, y, model, optimizer), known])

    return run


def whole(values, seed):
    loss, known = values[0]
    if known < 350:
        return f"model.parameters() has {known:.0f} weights of 354: the others are never trained"
    return learned([loss], seed)


Script5 = Exercise(
    "Script5",
    draw=lambda rng: given(seed=int(rng.integers(1, 1000))),
    definition=None,
    holds=whole,
    gradient=False,
    library=True,
    adapt=built,
    hints=(
        "How many weights does model.parameters() give?",
        "A module finds parameters in its attributes, and in a list of modules only where it is an nn.ModuleList.",
        "self.layers = nn.ModuleList([nn.Linear(2, 16), nn.Linear(16, 16)])",
    ),
)


@Script5.mistake()
class layers_in_a_plain_list(nn.Module):
    """The layers stand in a plain list: parameters() does not find them, and the optimizer never trains them.

    nn.ModuleList is a list that a module looks into.
    """

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 16), nn.Linear(16, 16)]
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
        return self.head(x)


script_6 = exercise(
    "script_6",
    (
        "Print x[0] and y[0] before and after the shuffle.",
        "Point and class must stay a pair: one permutation for both.",
        "places = rng.permutation(len(x)); x, y = x[places], y[places]",
    ),
)


@script_6.mistake()
def shuffled_apart(seed):
    """Points and classes are shuffled separately: they no longer belong together, and there is nothing to learn.

    One permutation for both.
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    model, rng = network(), np.random.default_rng(seed)
    x = x[rng.permutation(len(x))]
    y = y[rng.permutation(len(y))]
    return train(seed, x, y, model, optim.Adam(model.parameters(), lr=0.05))


@script_6.mistake()
def only_the_points_shuffled(seed):
    """Only the points are shuffled: the classes stay where they were.

    One permutation for both.
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    model, rng = network(), np.random.default_rng(seed)
    x = x[rng.permutation(len(x))]
    return train(seed, x, y, model, optim.Adam(model.parameters(), lr=0.05))


script_7 = exercise(
    "script_7",
    (
        "How large are the numbers in x, and what does tanh do with such numbers?",
        "Bring each column to mean 0 and spread 1.",
        "x = (x - x.mean(0)) / x.std(0)",
    ),
)


def scaled(change):
    def wrong(seed):
        mg.manual_seed(seed)
        x, y = points(seed)
        x = change(1000 * x + 5000)
        model = network()
        return train(seed, x, y, model, optim.Adam(model.parameters(), lr=0.05))

    return wrong


for name, says, change in [
    (
        "inputs in the thousands",
        "The inputs are thousands: every tanh is at -1 or 1, where its slope is 0.",
        lambda x: x,
    ),
    (
        "spread left as it is",
        "The mean is taken off, and the inputs are still a thousand large.",
        lambda x: x - x.mean(0),
    ),
]:
    wrong = scaled(change)
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\nMean 0 and spread 1: (x - x.mean(0)) / x.std(0)."
    script_7.mistake()(wrong)


script_8 = exercise(
    "script_8",
    (
        "Which tensors does the optimizer hold: those of the new layers, or of the old?",
        "An optimizer holds the parameters that there were when it was made.",
        "Make the optimizer after the layers.",
    ),
)


@script_8.mistake()
def layers_replaced_after_the_optimizer(seed):
    """The layers are replaced after the optimizer was made: it moves the old ones, which nobody uses.

    Make the optimizer last.
    """
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    model[0] = nn.Linear(2, 16)
    model[2] = nn.Linear(16, 2)
    return train(seed, x, y, model, optimizer)


EXERCISES = (script_1, script_2, script_3, script_4, Script5, script_6, script_7, script_8)
