"""A user's program, for a type checker alone: each line says what it has to infer, or that it is a mistake."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import minigrad as mg
from minigrad import nn
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.nn import functional as F
from minigrad.torch.methods.reductions import ValuesIndices


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(2, 3)

    def forward(self, x: mg.Tensor, scale: float = 1.0) -> mg.Tensor:
        return F.relu(self.inside(x)) * scale


class Untyped(nn.Module):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return x


x = mg.randn(2)
i: int = 0

# Functions, methods, their further names and forms in place
assert_type(x, mg.Tensor)
assert_type(mg.tensor([1.0, 2.0]), mg.Tensor)
assert_type(mg.exp(x), mg.Tensor)
assert_type(mg.exp(input=x), mg.Tensor)
assert_type(x.exp(), mg.Tensor)
assert_type(x.exp_(), mg.Tensor)
assert_type(x.add_(1), mg.Tensor)
assert_type(x.add(1, alpha=2), mg.Tensor)
assert_type(x.multiply(x), mg.Tensor)
assert_type(mg.mm(x, x), mg.Tensor)
assert_type(x.squeeze_(0), mg.Tensor)
assert_type(x.zero_(), mg.Tensor)
assert_type(mg.cat([x, x]), mg.Tensor)
assert_type(mg.where(x > 0, x, 0), mg.Tensor)
assert_type(mg.where(x > 0), tuple[mg.Tensor, ...])

# Operators
assert_type(x + 1, mg.Tensor)
assert_type(1 - x, mg.Tensor)
assert_type(x @ x, mg.Tensor)
assert_type(-x, mg.Tensor)
assert_type(x[0], mg.Tensor)
assert_type(x == 1, mg.Tensor)
assert_type(x > 1, mg.Tensor)
x += 1
assert_type(x, mg.Tensor)

# What does not return one tensor
assert_type(x.max(), mg.Tensor)
assert_type(x.max(0), ValuesIndices)
assert_type(mg.sort(x).indices, mg.Tensor)
assert_type(x.split(1), tuple[mg.Tensor, ...])
assert_type(x.nonzero(), mg.Tensor)
assert_type(x.size(), tuple[int, ...])
assert_type(x.size(0), int)
assert_type(x.shape, tuple[int, ...])
assert_type(x.item(), Any)
assert_type(x.tolist(), Any)
assert_type(x.numel(), int)
assert_type(x.grad, "mg.Tensor | None")
assert_type(x.detach().clone().requires_grad_(), mg.Tensor)

# Modules: a call takes and returns what forward does
model = Net()
loss = model(x).sum()
assert_type(model(x), mg.Tensor)
assert_type(model(x, scale=2.0), mg.Tensor)
assert_type(model.double().train()(x), mg.Tensor)
assert_type(nn.Linear(2, 3)(x), mg.Tensor)
assert_type(nn.Sequential(nn.Linear(2, 3), nn.ReLU())(x), mg.Tensor)
assert_type(nn.MSELoss()(x, x), mg.Tensor)
assert_type(nn.MultiheadAttention(4, 2)(x, x, x)[0], mg.Tensor)
assert_type(Untyped()(x), Any)
assert_type(F.softmax(x, -1), mg.Tensor)
assert_type(F.cross_entropy(x, x), mg.Tensor)
logits, _ = GPT(GPTConfig(vocab_size=5))(x)
assert_type(logits, mg.Tensor)
assert_type(loss.backward(), None)


@mg.no_grad()
def evaluate(model: Net) -> float:
    return float(model(x).sum())


assert_type(evaluate(model), float)

# Mistakes
print(mg.no_such_name)  # type: ignore[attr-defined]
print(mg.Sequence)  # type: ignore[attr-defined]
print(x.no_such_name)  # type: ignore[attr-defined]
print(nn.NoSuchLayer)  # type: ignore[attr-defined]
model("text")  # type: ignore[arg-type]
mg.exp()  # type: ignore[call-arg]
