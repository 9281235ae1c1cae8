"""8 · When it does not learn

idea: A program that does not learn seldom says so. Eight broken trainings, each with one mistake, and how to find it.

able: find the usual reasons why a loss does not fall, by looking at the right number first.

minutes: 60

next: Next is chapter 9, attention. python -m minigrad doctor train.py watches a training of yours and says which of
these mistakes it makes; mg.detect_anomaly() names the line in which the first NaN arises.
"""

# %% [markdown]
# ## Look before you change
#
# A training that does not learn usually runs without an error. Changing things at random takes days. Look at numbers,
# in this order:
#
# 1. The **first loss**. A model that knows nothing of K classes has log(K). Much more: scores are too large at the
#    start. Exactly log(K), for ever: nothing arrives, or all units are equal.
# 2. **One batch**, again and again. A sound program learns 20 examples by heart. If it cannot, it is broken; if it
#    can, the trouble is the data, or the size.
# 3. The **size of the step**: how far do the weights move, compared with their own size? About a thousandth per step
#    is usual. A millionth: it will take for ever. As much as themselves: it jumps.
# 4. **Who gets a gradient**, and does the optimizer know him? `p.grad is None` says: nothing arrived.
# 5. **Inputs and targets**: still in pairs? Of a size near 1?
#
# Each script below is one of these. All have the same task: points in the plane, two classes, one inside a ring of the
# other. Mend each with as little change as possible: one or two lines. The judge runs them and looks at the last loss,
# which a sound one brings well below 0.3; log(2) = 0.69 is guessing.

# %%
import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F

STEPS = 60


def points(seed):
    """120 points (120, 2), and which are in the ring (120,)."""
    rng = np.random.default_rng(seed)
    angle, ring = rng.uniform(0, 2 * np.pi, 120), np.arange(120) % 2
    radius = 0.6 * rng.uniform(0, 1, 120) + 1.4 * ring
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return mg.tensor(x.astype(np.float32)), mg.tensor(ring)


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


# %% predict
# Two classes, and a network that knows nothing yet. What is its cross-entropy, roughly: 0.5, 0.69 or 2?
PREDICTION = None

# %%
if __name__ == "__main__":
    mg.manual_seed(0)
    x, y = points(0)
    print(f"first loss {F.cross_entropy(network()(x), y).item():.2f}; log(2) = {np.log(2):.2f}")


# %% exercise
def script_1(seed):
    """The loss wobbles, falls and climbs again; the steps grow larger and larger."""
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.8)
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        ### BEGIN SOLUTION
        optimizer.zero_grad()
        #: # every step adds to the gradients: is that what you want?
        ### END SOLUTION
        loss.backward()
        optimizer.step()
    return loss.item()


# %% exercise
def script_2(seed):
    """The loss falls, slowly, and never below 0.31."""
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        ### BEGIN SOLUTION
        loss = F.cross_entropy(model(x), y)
        #: loss = F.cross_entropy(F.softmax(model(x), dim=-1), y)
        ### END SOLUTION
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %% exercise
def script_3(seed):
    """The loss is log(2), and stays there."""
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    for p in model.parameters():
        ### BEGIN SOLUTION
        nn.init.normal_(p, std=0.5)
        #: nn.init.zeros_(p)
        ### END SOLUTION
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %% exercise
def script_4(seed):
    """The loss falls in the fifth decimal."""
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    ### BEGIN SOLUTION
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    #: optimizer = optim.Adam(model.parameters(), lr=1e-6)
    ### END SOLUTION
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %% exercise
class Script5(nn.Module):
    """It learns a little: only its last layer does. Who knows the others?"""

    def __init__(self):
        super().__init__()
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList([nn.Linear(2, 16), nn.Linear(16, 16)])
        #: self.layers = [nn.Linear(2, 16), nn.Linear(16, 16)]
        ### END SOLUTION
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
        return self.head(x)


# %% exercise
def script_6(seed):
    """It never gets below guessing, and a batch of one example would be learned by heart."""
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    rng = np.random.default_rng(seed)
    ### BEGIN SOLUTION
    places = rng.permutation(len(x))
    x, y = x[places], y[places]
    #: x = x[rng.permutation(len(x))]
    #: y = y[rng.permutation(len(y))]
    ### END SOLUTION
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %% exercise
def script_7(seed):
    """The points came in micrometres. Hardly a gradient reaches the first layer: all its units are at -1 or 1."""
    mg.manual_seed(seed)
    x, y = points(seed)
    x = 1000 * x + 5000
    ### BEGIN SOLUTION
    x = (x - x.mean(0)) / x.std(0)
    #: # what sizes has x here?
    ### END SOLUTION
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %% exercise
def script_8(seed):
    """The optimizer steps, and the loss does not move at all."""
    mg.manual_seed(seed)
    x, y = points(seed)
    model = network()
    ### BEGIN SOLUTION
    model[0] = nn.Linear(2, 16)
    model[2] = nn.Linear(16, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    #: optimizer = optim.Adam(model.parameters(), lr=0.05)
    #: model[0] = nn.Linear(2, 16)  # start again with fresh layers
    #: model[2] = nn.Linear(16, 2)
    ### END SOLUTION
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %%
if __name__ == "__main__":
    for script in (script_1, script_2, script_3, script_4, script_6, script_7, script_8):
        print(f"{script.__name__}: last loss {script(0):.3f}")
    print("script 5:", sum(p.numel() for p in Script5().parameters()), "weights are known to its optimizer")

# %% [markdown]
# ## More that happens
#
# - The loss becomes NaN: `with mg.detect_anomaly():` stops at the op and the line in which it arises.
# - It learns, and is bad on new examples: dropout or batch norm still in training, `model.eval()` forgotten.
# - The loss is far too good: the model sees what it is to predict (chapter 9), or the examples of the test.
# - The memory grows from step to step: `total += loss` keeps every step's graph. `total += loss.item()`.
# - A ReLU unit that gives 0 for all examples gets no gradient, and stays so: a step was too large once.
