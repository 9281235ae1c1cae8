"""Small programs whose numbers went wrong elsewhere: each leaves its answer in ``out``, and PyTorch's is the right one.

``python tests/helpers/right_numbers.py`` asks PyTorch, where it is installed, and writes its answers beside this file;
without it the tests compare with what is written there. In a program, T is the library, t its tensor, F its nn.functional, G
its gradients: ``G(f, *lists)`` gives f's result and the gradient of each list. An answer of "raises" is an exception.
"""

# ruff: noqa: E501 (the programs are data)
from __future__ import annotations

import importlib
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = Path(__file__).with_name("right_numbers.json")
INF, NAN = math.inf, math.nan


def choices() -> dict[str, str]:
    """Every function that chooses between values, inside functions whose slope is infinite at 0."""
    choosing = {
        "where": "T.where(x > 0, x, 0.)", "where of two": "T.where(x > 0, x, x * 0)", "masked_fill": "x.masked_fill(x < 0, 0.)",
        "clamp": "x.clamp(min=0)", "clamp both": "x.clamp(0, 2)", "clamp tensor": "x.clamp(min=t([0.]))", "relu": "x.relu()",
        "F.relu": "F.relu(x)", "relu6": "F.relu6(x)", "hardtanh": "F.hardtanh(x, 0., 2.)", "threshold": "F.threshold(x, 0., 0.)",
        "maximum": "T.maximum(x, t(0.))", "minimum": "-T.minimum(-x, t(0.))", "fmax": "T.fmax(x, t(0.))",
        "fmin": "-T.fmin(-x, t(0.))", "hardshrink": "F.hardshrink(x, 4.)", "softshrink": "F.softshrink(x, 4.)",
        "leaky_relu": "F.leaky_relu(x, 0.).abs()", "elu": "F.elu(x).relu()", "celu": "F.celu(x, 2.).relu()", "selu": "F.selu(x).relu()",
        "softplus": "F.softplus(x, threshold=1.)", "hardsigmoid": "F.hardsigmoid(x)", "hardswish": "F.hardswish(x)",
        "nan_to_num": "x.nan_to_num(0.)", "tril": "T.tril(x.expand(5, 5))", "index": "x[x > 0]", "clamp_min": "x.clamp_min(0)",
        "nansum": "x.nansum().reshape(1)", "masked_scatter": "x.masked_scatter(x < 0, T.zeros(5))",
        "smooth_l1": "F.smooth_l1_loss(x, x.detach() * 0, reduction='none')", "huber": "F.huber_loss(x, x.detach() * 0, reduction='none')",
    }  # fmt: skip
    outer = ("sqrt", "log", "rsqrt", "reciprocal", "abs")
    made = {}
    for name, inner in choosing.items():
        made[f"{name}"] = f"out = G(lambda x: {inner}, [-2., 7., 0., 3., 1.])"
        if name != "clamp tensor":
            made[f"{name} of NaN"] = f"out = G(lambda x: {inner}, [float('nan'), 7., float('inf'), 0., 1.])"
        for function in outer:
            made[f"{function} of {name}"] = f"out = G(lambda x: ({inner}).{function}(), [-2., 7., -0.5, 3., 1.])"
    return made


def norms() -> dict[str, str]:
    """Lengths of nothing."""
    made = {}
    for p in (0.5, 1, 1.5, 2, 3, math.inf, -math.inf, -1):
        p = f"float('{p}')"
        for name, data in (("zeros", "[0., 0.]"), ("some", "[0., 3., -4.]"), ("ties", "[3., -3.]")):
            made[f"norm {p} of {name}"] = f"out = G(lambda x: x.norm({p}), {data})"
            made[f"vector_norm {p} of {name}"] = f"out = G(lambda x: T.linalg.vector_norm(x, {p}), {data})"
        rows = "[[0., 0.], [3., -4.]]"
        made[f"norm {p} of rows"] = f"out = G(lambda x: x.norm({p}, dim=1), {rows})"
        made[f"norm {p} of rows, kept"] = f"out = G(lambda x: x.norm({p}, -1, True), {rows})"
        if p != "float('-inf')" and p != "float('-1')":
            made[f"cdist {p}"] = f"out = G(lambda x, y: T.cdist(x, y, p={p}), {rows}, [[0., 0.], [1., 5.]])"
            made[f"pairwise {p}"] = f"out = G(lambda x, y: F.pairwise_distance(x, y, {p}, eps=0.), {rows}, {rows})"
    made["norm 0"] = "x = t([0., 3.], requires_grad=True); n = x.norm(0); out = n.detach(), n.requires_grad"
    made["norm of integers"] = "out = t([3, 4]).norm()"
    made["normalize"] = "out = G(lambda x: F.normalize(x, dim=1), [[0., 0.], [3., 4.]])"
    made["cosine"] = "out = G(lambda x, y: F.cosine_similarity(x, y), [[0., 0.], [3., 4.]], [[1., 2.], [1., 2.]])"
    return made


def kinds() -> dict[str, str]:
    """A NaN among numbers that are put in order; integers and truth values in functions of floats; nothing at all."""
    bad = "t([3., float('nan'), 1.])"
    made = {f"NaN {code}": f"x = {bad}; out = {code}" for code in (
        "x.median()", "x.median(0)", "x.quantile(0.5)", "T.stack([x, T.ones(3)]).quantile(t([0., 1.]), dim=1, keepdim=True)",
        "x.cummax(0)", "x.cummin(0)", "x.max(0)", "x.amin()", "x.sort().values", "x.nanmean()",
    )}  # fmt: skip
    for dtype in ("uint8", "int16", "int64", "bool"):
        for code in (
            "x.logit()", "T.atan2(x, T.ones(3, dtype=T.float16))", "T.atan2(x, t(1., dtype=T.float64))", "T.atan2(x, x)",
            "x.all()", "x.any(0)", "x.diff()", "x.sinh()", "x.float().std()", "2 ** x[1]", "2 ** x", "2.5 ** x",
        ):  # fmt: skip
            made[f"{dtype} {code}"] = f"x = t([0, 1, 1], dtype=T.{dtype}); out = {code}"
    for dtype in ("uint8", "int16", "int64"):
        made[f"{dtype} relu6"] = f"out = F.relu6(t([0, 5, 9], dtype=T.{dtype}))"
        made[f"{dtype} nothing"] = (
            f"x = T.zeros(0, 3, dtype=T.{dtype}); y = t([0, 1, 2], dtype=T.{dtype}); out = x // y, x % y"
        )
    made["hardtanh of integers"] = "out = F.hardtanh(t([-5, 0, 9]))"
    made["chunk of nothing"] = "out = T.zeros(0, 2).chunk(3)"
    made["diff of nothing"] = "out = T.zeros(0, 2).diff(dim=0), T.zeros(2, 3).diff(5)"
    made["median of nothing"] = "out = T.zeros(0, 2).median()"
    return made


def halves() -> dict[str, str]:
    """Half precision, whose squares pass its largest number soon."""
    rows = "x = t([[-400., 300., 500., 100.], [3., 4., 5., 6.]], dtype=T.float16, requires_grad=True); "
    made = {}
    for code in (
        "F.layer_norm(x, (4,))", "F.rms_norm(x, (4,), eps=1e-5)", "F.group_norm(x, 1)", "F.instance_norm(x[None])",
        "F.batch_norm(x, None, None, training=True)", "x.std()", "x.var(1)", "x.std(1)", "x.norm()", "x.norm(dim=1)",
        "F.normalize(x, dim=1)", "F.cosine_similarity(x, x.detach() + 1, dim=1)",
        "F.mse_loss(x, x.detach() * 0.5, reduction='mean')", "T.hypot(x, x.detach() + 1)", "F.gelu(x, approximate='tanh')", "F.gelu(x)",
        "x.mean()", "x.sum(0)", "x.softmax(0)", "x.logsumexp(1)", "x.max()", "x.cumsum(1)",
        "F.smooth_l1_loss(x, x.detach() * 0.5)", "F.l1_loss(x, x.detach() * 0.5)", "F.cross_entropy(x, t([0, 2]))",
    ):  # fmt: skip
        made[f"half {code}"] = f"{rows}z = {code}; z.float().sum().backward(); out = z.detach(), x.grad"
    for code in ("x.max()", "x.amax()", "x.mean()"):
        made[f"many halves {code}"] = (
            f"x = T.ones(70000, dtype=T.float16).requires_grad_(); {code}.backward(); out = x.grad[:2].float()"
        )
    made["half columns"] = "out = T.ones(5000, 2, dtype=T.float16).sum(0)"
    made["half cumsum"] = "out = T.ones(5000, dtype=T.float16).cumsum(0)[-2:]"
    made["half bias"] = (
        "b = t([1.], dtype=T.float16, requires_grad=True); (T.ones(5000, 1).half() + b).sum().backward(); out = b.grad"
    )
    return made


def digits() -> dict[str, str]:
    """Functions that lose digits when made of others."""
    made = {}
    for name, values in {
        "erf": "[1e-30, 1e-9, 1e-4, 0.3, 0.5, 0.51, 1., 3., -0.2, -5.]", "erfc": "[4., 6., 9., 0.1, -1., 0.49, 0.5, -6.]",
        "sinh": "[1e-8, 1e-4, 1., -3.]", "cosh": "[1e-8, 1., -3.]", "tan": "[1e-8, 1., 1.5]", "asin": "[1e-8, .5, -.9, 1.]",
        "acos": "[1e-8, .5, -.9, 1., -1.]", "atan": "[1e-8, 1., 1e10]", "exp2": "[3., -2., .5]", "log2": "[8., 536870912., 3.]",
        "log10": "[1000., 1e-5, 3.]", "expm1": "[1e-8, 1.]", "log1p": "[1e-8, 1.]", "tanh": "[1e-8, 1.]",
    }.items():  # fmt: skip
        made[name] = f"out = G(lambda x: T.{name}(x), {values})"
        made[f"{name} in float64"] = f"out = T.{name}(t({values}, dtype=T.float64))"
    for code in ("F.elu(x)", "F.celu(x, 2.)", "F.selu(x)", "F.softplus(x)", "F.logsigmoid(x)", "F.softplus(x, 2.)"):
        made[code] = f"out = G(lambda x: {code}, [-30., -20., -5., -1e-6, 0., 1e-6, 5., 19., 30.])"
    for code in (
        "F.hardswish(x)",
        "F.hardsigmoid(x)",
        "F.relu6(x)",
        "F.hardtanh(x, -3., 3.)",
        "F.prelu(x, t([.1]))",
        "F.mish(x)",
        "F.silu(x)",
    ):
        made[code] = f"out = G(lambda x: {code}, [-3., 3., -4., 4., 0., 6., -2.9, INF])"
    made["prelu's weight beside infinity"] = "out = G(F.prelu, [INF, -1.], [.5])"
    made["lerp to the end"] = "out = T.lerp(t([1e8]), t([1.]), 1.)"
    made["lerp by tensor"] = "out = G(T.lerp, [1., 2.], [5., 9.], [.2, .9])"
    made["erf of halves"] = "out = T.erf(t([.1, .5, 2.], dtype=T.float16))"
    for values in ("[INF, 1.]", "[-INF, 1.]", "[-INF, -INF]", "[INF, -INF]", "[NAN, 1.]"):
        made[f"logsumexp {values}"] = f"out = t({values}).logsumexp(0)"
        made[f"logcumsumexp {values}"] = f"out = t({values}).logcumsumexp(0)"
        made[f"logaddexp {values}"] = f"out = T.logaddexp(t({values}), t({values}))"
    made["logsumexp gradient"] = "out = G(lambda x: x.logsumexp(0), [-INF, 1., 2.])"
    made["logcumsumexp gradient"] = "out = G(lambda x: x.logcumsumexp(0), [-2., 1., 300.])"
    made["logaddexp gradient"] = "out = G(T.logaddexp, [1., -INF, 300.], [2., 1., 1.])"
    return made


def integers() -> dict[str, str]:
    """Whole numbers stay whole; what is lost is said."""
    big = "t([16777217, -16777217, 2147483647, -7, 7])"
    made = {}
    for code in (
        f"T.div({big}, 1, rounding_mode='trunc')", f"T.div({big}, 2, rounding_mode='trunc')", f"T.div({big}, -2, rounding_mode='floor')",
        f"{big} // 3", f"{big} % 3", f"{big} % -3", f"T.fmod({big}, 3)", f"T.fmod({big}, -3)", "T.fmod(t([1., 5., 6., -7.5]), 0.1)",
        "T.remainder(t([1., 5., 6., -7.5]), 0.1)", "T.fmod(t([5., -5.]), float('inf'))", "t([5., -5.]) % float('inf')", "7 % t([2, -3])",
        "T.fmod(t([5., -5.]), 0.)", "t([200, 100], dtype=T.uint8).norm()", "t([100, 100], dtype=T.int8).cumprod(0)",
        "t([100, 100], dtype=T.int8).prod()", "t([100, 100], dtype=T.int8).sum()", "t([100, 100], dtype=T.int8).cumsum(0)",
        "t([1, 2]) // 0", "t([1, 2]) % 0", "T.fmod(t([1, 2]), 0)", "T.div(t([1, 2]), 0, rounding_mode='trunc')", "t([1., -1.]) // 0",
        "t([1, 2, 3]).float().var()", "t([1, 2, 3]).var()", "t([1, 2, 3]).std()", "t([1, 2, 3]).mean()", "t([2, 3]) ** -1", "t([1, 2]) / 2",
        "T.clamp(t([1, 5]), min=2.5)", "t([1, 2]).masked_fill(t([True, False]), 2.5)", "T.div(t([7., -7.]), 2., rounding_mode='trunc')",
    ):  # fmt: skip
        made[code] = f"out = {code}"
    for code in ("x /= 2", "x += 0.5", "x *= 1.5", "x -= 0.5", "x **= 0.5", "x.add_(0.5)", "x.div_(2)", "x.sqrt_()", "x.exp_()",
                 "x += t(.5)", "x.normal_()", "x.uniform_()", "x.masked_fill_(x > 1, .5)", "x.clamp_(min=.5)", "x.sigmoid_()"):  # fmt: skip
        made[f"{code} on integers"] = f"x = t([1, 2, 3]); {code}; out = x"
    for code in (
        "x[0] = 2.7",
        "x.fill_(2.7)",
        "x.copy_(t([1.5, 2.5, 3.5]))",
        "x //= 2",
        "x += 1",
        "x += True",
        "x %= 2",
        "x.mul_(3)",
    ):
        made[f"{code} on integers"] = f"x = t([1, 2, 3]); {code}; out = x"
    made["bool += int"] = "x = t([True, False]); x += 1; out = x"
    for value in ("INF", "3.", "-3."):
        made[f"% {value} in and out of the graph"] = (
            f"x = t([5., -5., 7.5]); out = x % {value}, (x.clone().requires_grad_() % {value}).detach(), G(lambda x: x % {value}, [5., -5.])"
        )
    made["remainder of two"] = "out = G(lambda x, y: x % y, [5., -5., 7.5], [3., 3., -2.])"
    made["fmod of two"] = "out = G(T.fmod, [5., -5., 7.5], [3., 3., -2.])"
    return made


def losses() -> dict[str, str]:
    """Gradients of targets, weights that have none, and PyTorch's older names for the reduction."""
    made = {}
    for reduction in ("mean", "sum", "none"):
        for code in (
            f"F.cross_entropy(x, y, reduction='{reduction}')", f"F.cross_entropy(x, y, label_smoothing=.2, reduction='{reduction}')",
            f"F.cross_entropy(x, y, t([1., 2., 3.]), reduction='{reduction}')", f"F.binary_cross_entropy_with_logits(x, y, reduction='{reduction}')",
            f"F.binary_cross_entropy_with_logits(x, y, t([1., 2., 3.]), pos_weight=t([3., 1., 2.]), reduction='{reduction}')",
            f"F.binary_cross_entropy(x.sigmoid(), y, reduction='{reduction}')", f"F.mse_loss(x, y, reduction='{reduction}')",
            f"F.l1_loss(x, y, reduction='{reduction}')", f"F.smooth_l1_loss(x, y, beta=.5, reduction='{reduction}')",
            f"F.huber_loss(x, y, delta=.5, reduction='{reduction}')", f"F.kl_div(x, y, reduction='{reduction}')",
            f"F.kl_div(x, y, log_target=True, reduction='{reduction}')", f"F.poisson_nll_loss(x, y, reduction='{reduction}')",
            f"F.gaussian_nll_loss(x, y, x * x + 1, reduction='{reduction}')",
        ):  # fmt: skip
            made[code] = f"out = G(lambda x, y: {code}, [[1., 2., 3.], [-1., .5, 0.]], [[.2, .3, .5], [.1, .8, .1]])"
    for given in ("size_average=False", "size_average=True", "reduce=False", "reduce=True, size_average=False"):
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits",
                     "poisson_nll_loss", "soft_margin_loss", "hinge_embedding_loss"):  # fmt: skip
            made[f"{name} {given}"] = f"out = F.{name}(t([.1, .9]), t([1., 1.]), {given})"
        made[f"cross_entropy {given}"] = f"out = F.cross_entropy(t([[1., 2.], [3., 1.]]), t([0, 1]), {given})"
        made[f"nll_loss {given}"] = f"out = F.nll_loss(t([[1., 2.], [3., 1.]]), t([0, 1]), {given})"
        made[f"margin_ranking_loss {given}"] = (
            f"out = F.margin_ranking_loss(t([1., 2.]), t([3., 1.]), t([1., 1.]), .5, {given})"
        )
        made[f"triplet_margin_loss {given}"] = (
            f"out = F.triplet_margin_loss(T.ones(2, 3), T.ones(2, 3) * 2, T.ones(2, 3) * 1.5, {given})"
        )
        made[f"cosine_embedding_loss {given}"] = (
            f"out = F.cosine_embedding_loss(T.ones(2, 3), T.eye(3)[:2], t([1., -1.]), {given})"
        )
    weight = "w = t([1., 2.], requires_grad=True); x = t([[.1, .9]], requires_grad=True); "
    made["weight of nll_loss"] = weight + "F.nll_loss(x, t([1]), w).backward(); out = w.grad"
    made["weight of bce"] = weight + "F.binary_cross_entropy(x, x.detach(), w).backward(); out = w.grad"
    made["weight of bce with logits"] = (
        weight + "F.binary_cross_entropy_with_logits(x, x.detach(), w).backward(); out = w.grad"
    )
    made["pos_weight"] = (
        weight + "F.binary_cross_entropy_with_logits(x, x.detach(), pos_weight=w).backward(); out = w.grad"
    )
    made["bce where it is most wrong"] = "out = G(lambda p: F.binary_cross_entropy(p, t([1., 0., 1.])), [0., 1., 1.])"
    made["l1 beside NaN"] = (
        "x = t([0., 0.], requires_grad=True); y = t([0., NAN]); "
        "F.l1_loss(x, y, reduction='none')[~y.isnan()].sum().backward(); out = x.grad"
    )
    made["masked_fill by a tensor"] = "out = G(lambda x, v: x.masked_fill(x > 1, v), [1., 2., 3.], 5.)"
    made["index_fill by a tensor"] = "out = G(lambda x, v: x.index_fill(0, t([1, 1]), v), [[1.], [2.], [3.]], 5.)"
    made["masked_select"] = "out = G(lambda x: x.masked_select(t([True, False])), [[1., 2.], [3., 4.]])"
    made["masked_select, wider mask"] = "out = G(lambda x: x.masked_select(t([[True, False], [True, True]])), [1., 2.])"
    made["index_fill"] = "out = G(lambda x: x.index_fill(0, t([1, -1]), 7.), [[1.], [2.], [3.]])"
    return made


def schedules() -> dict[str, str]:
    """Schedules of the learning rate, alone, several on one optimizer, one after the other, and with a group that comes later."""
    kinds = (
        "S.StepLR(o, 2, .5)", "S.MultiStepLR(o, [2, 5], .5)", "S.ExponentialLR(o, .9)", "S.ConstantLR(o, .5, 3)", "S.LinearLR(o, .3, 1., 4)",
        "S.LinearLR(o, .5, .2, 3)", "S.PolynomialLR(o, 5, 2.)", "S.CosineAnnealingLR(o, 4, .01)", "S.MultiplicativeLR(o, lambda e: .95)",
        "S.LambdaLR(o, lambda e: 1 / (e + 1))", "S.CosineAnnealingWarmRestarts(o, 3, 2)",
    )  # fmt: skip
    start = "o = T.optim.SGD([{'params': [t([1.], requires_grad=True)]}, {'params': [t([1.], requires_grad=True)], 'lr': .3}], lr=1.); S = T.optim.lr_scheduler; out = []; "
    run = "\nfor i in range(11):\n    out.append([g['lr'] for g in o.param_groups]); o.step(); [x.step() for x in q]"
    added = "\n    if i == 4: o.add_param_group({'params': [t([1.], requires_grad=True)], 'lr': .7})"
    made = {}
    for first in kinds:
        made[first] = f"{start}q = [{first}]{run}"
        for second in kinds[:9]:
            made[f"{first}, {second}"] = f"{start}q = [{first}, {second}]{run}"
            made[f"{first}, then {second}"] = f"{start}q = [S.SequentialLR(o, [{first}, {second}], [3])]{run}"
        if (
            "Lambda" not in first
            and "Multiplicative" not in first
            and "Restarts" not in first
            and "MultiStep" not in first
        ):
            made[f"{first}, a group later"] = f"{start}q = [{first}]{run}{added}"
    for three in (False, True):
        for how in ("cos", "linear"):
            made[f"OneCycle {how} {three}"] = (
                f"{start}q = [S.OneCycleLR(o, 1., total_steps=12, three_phase={three}, anneal_strategy='{how}', cycle_momentum=False)]{run}"
            )
    made["plateau, a group later"] = (
        start
        + "q = S.ReduceLROnPlateau(o, patience=0); o.add_param_group({'params': [t([1.], requires_grad=True)], 'lr': .5})"
        "\nfor v in (1., 1., 1.): q.step(v)\nout = [g['lr'] for g in o.param_groups]"
    )
    return made


PROGRAMS = {**choices(), **norms(), **kinds(), **halves(), **digits(), **integers(), **losses(), **schedules()}


def answer(code: str, name: str) -> Any:
    """What a program leaves in ``out`` with a library, as plain data, or "raises"."""
    library = importlib.import_module(name)

    def gradients(function: Any, *data: Any) -> Any:
        tensors = [library.tensor(d, requires_grad=True) for d in data]
        z = function(*tensors)
        z.sum().backward()
        return [z.detach(), *(x.grad for x in tensors)]

    place = {"T": library, "t": library.tensor, "F": importlib.import_module(f"{name}.nn.functional"), "np": np}
    place |= {"G": gradients, "INF": INF, "NAN": NAN}
    library.manual_seed(0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            exec(code, place)
        except Exception:
            return "raises"
        return plain(place["out"])


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "detach"):
        return [str(value.dtype).removeprefix("torch."), list(value.shape), numbers(value.detach().tolist())]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def numbers(value: Any) -> Any:
    """Nested lists with words in place of NaN and infinities, which JSON lacks."""
    if isinstance(value, list):
        return [numbers(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def same(a: Any, b: Any, rel: float = 1e-5) -> bool:
    """Equal, numbers within a relative error: 1e-5, of float64 1e-14, of halves 5e-3 (or 1e-4 absolute)."""
    if isinstance(a, list) and isinstance(b, list):
        if a and a[0] in ("float64", "float16"):
            rel = {"float64": 1e-14, "float16": 5e-3}[a[0]]
        return len(a) == len(b) and all(same(x, y, rel) for x, y in zip(a, b, strict=True))
    if type(a) is float and type(b) is float:
        return math.isclose(a, b, rel_tol=rel, abs_tol=1e-38 if rel < 1e-3 else 1e-4)
    return a == b


if __name__ == "__main__":
    found = {code: answer(code, "torch") for code in PROGRAMS.values()}
    lines = ",\n".join(f"{json.dumps(code)}: {json.dumps(found[code], allow_nan=False)}" for code in found)
    ANSWERS.write_text("{\n" + lines + "\n}\n")
