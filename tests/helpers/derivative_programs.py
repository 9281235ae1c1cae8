"""Small programs on derivatives of derivatives: what they show on PyTorch is to be shown here.

``python tests/helpers/derivative_programs.py`` asks PyTorch, where it is installed, and writes its answers beside this
file; without it the tests compare with what is written there. In a program, T is the library, ``t`` a double tensor,
``leaf`` one that requires a gradient, ``grad`` is autograd.grad, ``show`` notes values, ``fails`` the type of an error.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = Path(__file__).with_name("derivative_programs.json")
ERRORS = (RuntimeError, TypeError, ValueError, NotImplementedError)

PROGRAMS = {
    "a leaf, three times": """
x = leaf([0.5, -1.5])
g = x.sin().prod()
for _ in range(3):
    g = grad(g.sum(), x, create_graph=True)[0]
    show(g, g.requires_grad, g.is_leaf)
""",
    "an intermediate result": """
x = leaf([1., 2.])
h = x ** 2
y = (h ** 3).sum()
g, = grad(y, h, create_graph=True)
show(g)
show(grad(g.sum(), h, retain_graph=True)[0], grad(g.sum(), x)[0])
""",
    "several outputs and inputs": """
x, w = leaf([1., 2.]), leaf([3., -1.])
a, b = (x * w).exp().sum(), (x / w).tanh()
gx, gw = grad([a, b], [x, w], [None, t([1., 2.])], create_graph=True)
show(gx, gw)
show(*grad((gx * gw).sum(), [x, w]))
""",
    "backward into .grad twice": """
x = leaf([1., -2.])
(x ** 3).sum().backward(create_graph=True)
show(x.grad, x.grad.requires_grad)
first = x.grad
first.sum().backward()
show(x.grad)
""",
    "the gradient's gradient, .grad set to None between": """
x = leaf([1., -2.])
(x ** 3).sum().backward(create_graph=True)
g = x.grad
x.grad = None
(g ** 2).sum().backward()
show(x.grad, g)
""",
    "accumulation over two losses": """
x = leaf([1., 2.])
for k in (2, 3):
    (x ** k).sum().backward(create_graph=True)
show(x.grad, x.grad.requires_grad)
show(grad(x.grad.sum(), x)[0])
""",
    "released by a plain grad": """
x = leaf([1., 2.])
y = x.exp().sum()
grad(y, x)
fails(lambda: grad(y, x))
fails(lambda: grad(y, x, create_graph=True))
""",
    "kept by create_graph": """
x = leaf([1., 2.])
y = (x * x.exp()).sum()
show(grad(y, x, create_graph=True)[0], grad(y, x)[0])
fails(lambda: grad(y, x))
""",
    "create_graph with retain_graph=False": """
x = leaf([1., 2.])
y = x.tanh().sum()
g, = grad(y, x, create_graph=True, retain_graph=False)
show(g)
fails(lambda: grad(y, x))
fails(lambda: grad(g.sum(), x))
""",
    "second backward of the gradient's graph": """
x = leaf([1., 2.])
g, = grad((x ** 3).sum(), x, create_graph=True)
g.sum().backward()
fails(lambda: g.sum().backward())
show(x.grad)
""",
    "a branch not walked is not released": """
x, w = leaf([1., 2.]), leaf([3., 4.])
h = x.exp()
y = (h * w).sum()
show(grad(y, w)[0])
h.sum().backward()
show(x.grad)
""",
    "unused": """
x, u = leaf([1., 2.]), leaf([3.])
y = (x ** 2).sum()
fails(lambda: grad(y, [x, u], create_graph=True))
a, b = grad(y, [x, u], create_graph=True, allow_unused=True)
show(a, b)
c, d = grad(y, [x, u], materialize_grads=True)
show(c, d)
""",
    "materialize against allow_unused": """
x, u = leaf([1., 2.]), leaf([3.])
y = (x ** 2).sum()
fails(lambda: grad(y, [x, u], allow_unused=False, materialize_grads=True))
show(grad(y, [x, u], allow_unused=True, materialize_grads=True)[1])
""",
    "a linear function has no second derivative": """
x = leaf([1., 2.])
g, = grad((3 * x).sum(), x, create_graph=True)
show(g, g.requires_grad)
fails(lambda: grad(g.sum(), x))
fails(lambda: g.sum().backward())
""",
    "linear in x, by w": """
x, w = leaf([1., 2.]), leaf([3., 4.])
g, = grad((x * w).sum(), x, create_graph=True)
show(g, g.requires_grad)
fails(lambda: grad(g.sum(), x))
show(grad(g.sum(), x, allow_unused=True, retain_graph=True)[0], grad(g.sum(), w)[0])
""",
    "no graph": """
x = t([1., 2.])
fails(lambda: grad(x.sum(), x, create_graph=True))
fails(lambda: x.sum().backward(create_graph=True))
y = leaf([1., 2.])
fails(lambda: grad((y * 2), y, create_graph=True))
fails(lambda: grad((y * 2).sum(), x, create_graph=True))
fails(lambda: grad(y * 2, y, t([1., 2., 3.])))
""",
    "a gradient of the gradient of the output": """
x, v = leaf([1., 2.]), leaf([0.5, -1.])
g, = grad(x ** 3, x, v, create_graph=True)
show(g, g.requires_grad)
show(grad((g * t([1., 10.])).sum(), v, retain_graph=True)[0], grad(g.sum(), x)[0])
""",
    "hooks on leaves and results": """
seen = []
x = leaf([1., 2.])
h = x ** 2
x.register_hook(lambda g: seen.append(g))
h.register_hook(lambda g: g * 2)
(h ** 2).sum().backward(create_graph=True)
show(x.grad, seen[0], seen[0].requires_grad)
show(grad(x.grad.sum(), x)[0], len(seen))
""",
    "a hook that uses a parameter": """
x, w = leaf([1., 2.]), leaf([3., 4.])
h = x ** 2
h.register_hook(lambda g: g * w)
g, = grad((h ** 2).sum(), x, create_graph=True)
show(g, grad(g.sum(), [x, w]))
""",
    "retain_grad": """
x = leaf([1., 2.])
h = x ** 2
h.retain_grad()
(h ** 3).sum().backward(create_graph=True)
show(h.grad, h.grad.requires_grad, grad(h.grad.sum(), h)[0])
""",
    "a removed hook": """
x = leaf([1., 2.])
handle = x.register_hook(lambda g: g * 100)
g, = grad((x ** 2).sum(), x, create_graph=True)
handle.remove()
show(g, grad(g.sum(), x)[0])
""",
    "gradient penalty": """
T.manual_seed(0)
W, b, v = leaf([[0.5, -0.3], [0.2, 0.8], [-0.6, 0.1]]), leaf([0.1, -0.2, 0.3]), leaf([[1., -1., 0.5]])
x = leaf([[0.3, -0.7], [1.2, 0.4], [-0.5, 0.9]])
score = F.leaky_relu(F.linear(x, W, b), 0.2).tanh() @ v.t()
g, = grad(score.sum(), x, create_graph=True)
penalty = ((g.norm(2, dim=1) - 1) ** 2).mean()
(score.mean() + 10 * penalty).backward()
show(penalty, W.grad, b.grad, v.grad, x.grad)
""",
    "gradient penalty of a relu network": """
W, v = leaf([[0.5, -0.3], [0.2, 0.8], [-0.6, 0.1]]), leaf([1., -1., 0.5])
x = leaf([[0.3, -0.7], [1.2, 0.4]])
g, = grad((F.relu(x @ W.t()) @ v).sum(), x, create_graph=True)
(g ** 2).sum().backward()
show(W.grad, v.grad, x.grad)
""",
    "double backprop through softmax and cross-entropy": """
z = leaf([[0.2, -1., 0.7], [1.5, 0.3, -0.2]])
loss = F.cross_entropy(z, T.tensor([2, 0]))
g, = grad(loss, z, create_graph=True)
show(g, grad((g ** 2).sum(), z)[0])
p = z.softmax(1)
g, = grad((p * t([1., 2., 3.])).sum(), z, create_graph=True)
show(g, grad(g[0, 0] + g[1, 2], z)[0])
""",
    "embedding": """
W = leaf([[0.1, 0.2], [0.3, -0.4], [0.5, 0.6]])
e = F.embedding(T.tensor([0, 2, 2]), W)
g, = grad((e ** 3).sum(), W, create_graph=True)
show(g, grad((g ** 2).sum(), W)[0])
""",
    "indexing": """
x = leaf([1., 2., 3., 4.])
y = (x[1:] ** 3).sum() + (x[T.tensor([0, 0, 3])] ** 2).sum() + (x[x > 2.5] ** 4).sum()
g, = grad(y, x, create_graph=True)
show(g, grad(g.sum(), x)[0])
""",
    "broadcasting": """
a, b = leaf([[1.], [2.], [3.]]), leaf([0.5, -1.])
ga, gb = grad(((a * b).exp() / (a + b ** 2)).sum(), [a, b], create_graph=True)
show(ga, gb, *grad((ga.sum() * gb).sum(), [a, b]))
""",
    "shapes": """
x = leaf([[1., 2., 3.], [4., 5., 6.]])
y = T.cat([x.t().reshape(2, 3), x.flip(0)], 1).view(3, 4).permute(1, 0).unsqueeze(0).expand(2, 4, 3)
g, = grad((y ** 3).sum(), x, create_graph=True)
show(g, grad((g * x).sum(), x)[0])
""",
    "reductions": """
x = leaf([[1., -2., 0.5], [0.3, 4., -1.]])
rest = x.cumsum(1).pow(2).mean(), x.max(1)[0].pow(3).sum()
for y in (x.std(), x.var(1).sum(), x.logsumexp(0).sum(), x.prod(), x.norm(), *rest):
    g, = grad(y, x, create_graph=True)
    show(g, grad((g * t([[1., 2., 3.], [4., 5., 6.]])).sum(), x)[0])
""",
    "norms and layers": """
x = leaf([[1., -2., 0.5], [0.3, 4., -1.]])
w = leaf([1., 2., 0.5])
y = F.gelu(F.layer_norm(x, (3,), w, t([0.1, 0.2, 0.3])))
gx, gw = grad(y.pow(2).sum(), [x, w], create_graph=True)
show(gx, gw, *grad((gx * gx).sum() + gw.prod(), [x, w]))
""",
    "convolution": """
x, k = leaf([[[[1., 2., -1.], [0., 1., 3.], [2., -2., 1.]]]]), leaf([[[[1., -1.], [0.5, 2.]]]])
gx, gk = grad(F.conv2d(x, k).tanh().sum(), [x, k], create_graph=True)
show(gx, gk, *grad((gx ** 2).sum() + (gk ** 2).sum(), [x, k]))
""",
    "attention": """
q, k, v = (leaf([[[0.1 * (i * j + s) % 1 for j in range(1, 3)] for i in range(3)]]) for s in (1., 2.5, 4.))
w = (q @ k.transpose(1, 2) / 2 ** 0.5).masked_fill(T.tril(T.ones(3, 3)) == 0, float("-inf")).softmax(-1)
g = grad((w @ v).pow(2).sum(), [q, k, v], create_graph=True)
show(*g, *grad(sum((a ** 2).sum() for a in g), [q, k, v]))
""",
    "matrix products": """
A, x = leaf([[2., 1.], [0.5, 3.]]), leaf([1., -1.])
gA, gx = grad((x @ A @ x).exp(), [A, x], create_graph=True)
show(gA, gx, *grad(gA.sum() + gx.prod(), [A, x]))
show(*grad(T.einsum("i,ij,j->", x, A, x) ** 2, [A, x]))
""",
    "powers": """
x, p = leaf([0.5, 2., 3.]), leaf([2., 3., 0.5])
gx, gp = grad((x ** p).sum(), [x, p], create_graph=True)
show(gx, gp, *grad((gx + gp).sum(), [x, p]))
g, = grad((2 ** p).sum() + (p ** -2).sum(), p, create_graph=True)
show(g, grad(g.sum(), p)[0])
""",
    "where keeps the other branch away": """
x = leaf([-1., 0., 4.])
y = T.where(x > 0, x, T.ones_like(x)).sqrt() + T.where(x > 0, x.abs().sqrt(), x * 0)
g, = grad(y.sum(), x, create_graph=True)
h, = grad(g[2], x)
show(g[0], g[2], h[0], h[2])
""",
    "curves at their bends": """
for name in ("relu", "softplus", "logsigmoid", "silu", "elu", "gelu"):
    x = leaf([-30., -1., -0.001, 0., 0.001, 1., 30.])
    g, = grad(getattr(F, name)(x).sum(), x, create_graph=True)
    show(g, grad(g.sum(), x)[0])
""",
    "written in place": """
x = leaf([1., 2.])
h = x * 2
h *= x
h[0] = h[1] * 3
g, = grad(h.prod(), x, create_graph=True)
show(g, grad(g.sum(), x)[0])
""",
    "a leaf changed before the second derivative": """
x = leaf([1., 2.])
g, = grad((x ** 3).sum(), x, create_graph=True)
with T.no_grad():
    x += 1
fails(lambda: grad(g.sum(), x))
""",
    "detached on the way": """
x = leaf([1., 2.])
y = (x ** 2 * x.detach()).sum()
g, = grad(y, x, create_graph=True)
show(g, grad(g.sum(), x)[0])
g, = grad((x ** 3).sum(), x, create_graph=True)
show((g.detach() * x).sum(), g.detach().requires_grad)
""",
    "no_grad around": """
x = leaf([1., 2.])
y = (x ** 3).sum()
with T.no_grad():
    g, = grad(y, x, create_graph=True)
    show(g.requires_grad, (g * 2).requires_grad)
show(grad(g.sum(), x)[0])
""",
    "backward(inputs=)": """
x, w = leaf([1., 2.]), leaf([3., 4.])
h = x * w
(h ** 2).sum().backward(inputs=[w, h], create_graph=True)
show(x.grad, w.grad, h.grad, w.grad.requires_grad)
w.grad.sum().backward(inputs=x)
show(x.grad)
fails(lambda: h.sum().backward(inputs=[]))
""",
    "autograd.backward of several": """
x = leaf([1., 2.])
T.autograd.backward([x ** 2, (x ** 3).sum()], [t([1., 10.]), None], create_graph=True)
g = x.grad
x.grad = None
T.autograd.backward(g.sum())
show(g, x.grad)
""",
    "a Function, twice": """
class Cube(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3
    @staticmethod
    def backward(ctx, dz):
        x, = ctx.saved_tensors
        return 3 * x ** 2 * dz
x = leaf([1., 2.])
g, = grad(Cube.apply(x).sum(), x, create_graph=True)
h, = grad(g.sum(), x, create_graph=True)
show(g, h, grad(h.sum(), x)[0])
""",
    "a Function that saves its result, and one that saves a number on the way": """
class Exp(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        z = x.exp()
        ctx.save_for_backward(z)
        return z
    @staticmethod
    def backward(ctx, dz):
        z, = ctx.saved_tensors
        return z * dz
class Halfway(T.autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        s = x.sin()
        ctx.k, ctx.x = k, x
        ctx.save_for_backward(s)
        return s * s * k
    @staticmethod
    def backward(ctx, dz):
        s, = ctx.saved_tensors
        return 2 * s * ctx.x.cos() * dz * ctx.k, None
x = leaf([0.1, 2.])
for f in (Exp.apply, lambda x: Halfway.apply(x, 3.)):
    g, = grad(f(x).sum(), x, create_graph=True)
    show(g, grad(g.sum(), x)[0])
""",
    "a Function of two inputs and outputs": """
class Both(T.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b, a.sin()
    @staticmethod
    def backward(ctx, dp, ds):
        a, b = ctx.saved_tensors
        return dp * b + ds * a.cos(), dp * a
a, b = leaf([1., 2.]), leaf([0.5, -1.])
p, s = Both.apply(a, b)
ga, gb = grad((p * s).sum(), [a, b], create_graph=True)
show(ga, gb, *grad((ga * gb).sum(), [a, b]))
""",
    "once differentiable": """
class Once(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 2
    @staticmethod
    @T.autograd.function.once_differentiable
    def backward(ctx, dz):
        x, = ctx.saved_tensors
        return 2 * x * dz
x = leaf([1., 2.])
g, = grad((Once.apply(x) ** 2).sum(), x, create_graph=True)
show(g)
fails(lambda: grad(g.sum(), x))
""",
    "a meta-gradient through two steps of descent": """
w, rate = leaf([1., -2.]), leaf(0.1)
fast = w
for _ in range(2):
    loss = ((fast - t([0.5, 0.5])) ** 4).sum()
    g, = grad(loss, fast, create_graph=True)
    fast = fast - rate * g
show(fast, *grad((fast ** 2).sum(), [w, rate]))
""",
    "Jacobian and Hessian": """
AF = T.autograd.functional
x = t([0.5, -1.2, 2.])
f = lambda x: (x.sin() * x ** 2).sum()
show(AF.jacobian(lambda x: x.exp() * x.sum(), x), AF.hessian(f, x))
show(AF.hvp(f, x, t([1., 2., 3.])), AF.vhp(f, x, t([1., 2., 3.])))
show(AF.jvp(lambda x: x ** 3, x, t([1., 2., 3.])), AF.vjp(lambda x: x ** 3, x, t([1., 2., 3.])))
a, b = t([1., 2.]), t([[0.5, 1.], [2., -1.]])
show(AF.hessian(lambda a, b: (b @ a).tanh().sum(), (a, b)), AF.jacobian(lambda a, b: (b @ a, a.sum()), (a, b)))
show(AF.jacobian(lambda a: t([3., 4.]), a), AF.hessian(lambda a: a.sum(), a))
""",
    "errors of the functional names": """
AF = T.autograd.functional
x = t([1., 2.])
fails(lambda: AF.hessian(lambda x: x ** 2, x))
fails(lambda: AF.hvp(lambda x: (x ** 2).sum(), x))
fails(lambda: AF.hvp(lambda x: (x ** 2).sum(), x, t([1., 2., 3.])))
fails(lambda: AF.jacobian(lambda x: 3., x))
fails(lambda: AF.jacobian(lambda x: x, [1., 2.]))
fails(lambda: AF.vjp(lambda x: x ** 2, x))
""",
    "create_graph of the functional names": """
AF = T.autograd.functional
x = leaf([1., 2.])
w = leaf([3., 4.])
J = AF.jacobian(lambda x: x ** 3 * w, x, create_graph=True)
show(J, J.requires_grad, *grad(J.sum(), [x, w]))
show(AF.jacobian(lambda x: x ** 3 * w, x).requires_grad, AF.hessian(lambda x: (x ** 3 * w).sum(), x).requires_grad)
H = AF.hessian(lambda x: (x ** 3 * w).sum(), x, create_graph=True)
show(*grad(H.sum(), [x, w]))
""",
    "functions of functions": """
names = "grad grad_and_value vjp jvp jacrev jacfwd hessian".split()
G, grad_and_value, vjp, jvp, jacrev, jacfwd, hessian = (getattr(T.func, name) for name in names)
x = t([0.5, -1.2])
f = lambda x: (x.sin() * x ** 2).sum()
show(G(f)(x), G(lambda x: G(f)(x).pow(2).sum())(x), hessian(f)(x), jacfwd(jacrev(f))(x))
show(grad_and_value(f)(x), G(lambda x, y: (x * y ** 2).sum(), argnums=(0, 1))(x, x + 1))
show(G(lambda p: (p["a"] * p["b"]).sum())({"a": x, "b": x + 1}))
z, back = vjp(lambda x: (x ** 2, x.sum()), x)
show(z, back((x, t(2.))))
show(jvp(lambda x, y: x * y, (x, x + 1), (t([1., 0.]), t([0., 1.]))))
show(jacrev(lambda x, y: x[:, None] * y, argnums=1)(x, t([1., 2., 3.])), jacfwd(lambda x: x ** 2)(x))
show(G(lambda x: x * G(lambda y: x + y)(t(1.)))(t(1.)), G(lambda x: (x ** 2, {"twice": x * 2}), has_aux=True)(t(3.)))
fails(lambda: G(lambda x: x * 2)(x))
fails(lambda: G(f, argnums=3)(x))
""",
    "functions of functions meet leaves": """
G, functional_call = T.func.grad, T.func.functional_call
w = leaf([1., 2.])
g = G(lambda x: ((x * w) ** 2).sum())(t([3., 4.]))
show(g, g.requires_grad, grad(g.sum(), w)[0])
x = leaf([0.5, 1.])
g = G(lambda x: x.exp().sum())(x)
show(g.requires_grad, grad(g.sum(), x)[0])
with T.no_grad():
    show(G(lambda x: (x ** 2 * w).sum())(x).requires_grad)
m = T.nn.Linear(2, 1, bias=False).double()
show(functional_call(m, {"weight": t([[1., 2.]])}, (t([3., 4.]),)))
show(G(lambda p: functional_call(m, p, (t([3., 4.]),)).pow(2).sum())({"weight": t([[1., 2.]])}))
""",
    "third order of two variables": """
x, y = leaf(0.7), leaf(-0.4)
f = (x * y).sin() * (x - y ** 2).exp()
order = [x, y, x]
for v in order:
    f, = grad(f, v, create_graph=True)
    show(f)
""",
    "a physics loss": """
x = leaf([[0.1], [0.5], [0.9]])
W1, b1, W2 = leaf([[1.], [-0.5]]), leaf([0.1, 0.2]), leaf([[0.7, -1.1]])
u = F.linear(F.linear(x, W1, b1).tanh(), W2)
du, = grad(u.sum(), x, create_graph=True)
ddu, = grad(du.sum(), x, create_graph=True)
((ddu + u) ** 2).mean().backward()
show(du, ddu, W1.grad, b1.grad, W2.grad)
""",
    "single precision": """
x = T.tensor([0.5, 1.5], requires_grad=True)
g, = grad(x.double().exp().float().pow(2).sum(), x, create_graph=True)
show(g, str(g.dtype).split(".")[-1], grad(g.sum(), x)[0])
""",
}


def answer(code: str, name: str) -> Any:
    """What a program shows with a library, rounded to 5 significant digits; of an error its type."""
    library = importlib.import_module(name)
    shown: list[Any] = []
    double = library.float64

    def fails(call: Any) -> None:
        try:
            call()
        except Exception as error:
            shown.append("RuntimeError" if isinstance(error, RuntimeError) else type(error).__name__)
        else:
            shown.append("fine")

    place = {
        "T": library, "F": library.nn.functional, "grad": library.autograd.grad, "fails": fails,
        "t": lambda data: library.tensor(data, dtype=double),
        "leaf": lambda data: library.tensor(data, dtype=double, requires_grad=True),
        "show": lambda *values: shown.extend(plain(v) for v in values),
    }  # fmt: skip
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            exec(code, place)
        except Exception as error:
            shown.append(f"stopped: {type(error).__name__}: {error}")
    return shown


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return plain(value.detach().tolist()) if hasattr(value, "detach") else str(value) if value != value else value


def same(a: Any, b: Any) -> bool:
    """Equal, numbers within 1e-9 of their size, or of 1."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if type(a) is float and type(b) is float:
        return a == b or abs(a - b) <= 1e-9 * max(1, abs(a))
    return bool(a == b)


if __name__ == "__main__":
    found = {name: answer(code, "torch") for name, code in PROGRAMS.items()}
    ANSWERS.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
