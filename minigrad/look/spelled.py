"""A step in words and in the script's own names and numbers: ``dn = do · (1 - o²) = 1 · (1 - 0.7071²) = 0.5``."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.look.recording import Contribution, OpRecord, StepRecord, Summary, Trace
from minigrad.look.texts import operand_names
from minigrad.ops import OPS, Array

Part = list[str]  # ["text", " · "] or ["of", "dz"]: a place for a name or a number
LONGEST = 24  # characters of a piece of source that stands for a tensor without a name

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in "exp log sqrt tanh sin cos tan sinh cosh sign floor trunc arcsin arccos arctan arctanh".split()
} | {"max": np.maximum, "min": np.minimum, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
MINUS = "\u2212"
RAISED = ("ᵀ", "^", *"⁰¹²³⁴⁵⁶⁷⁸⁹")  # how a part begins before which a name or number stands in brackets
CONSTANTS = {"pi": math.pi, "inf": math.inf}

# What an op does to a gradient, in a sentence. {z} is its result, {x} and {y} are its inputs, by name.
SAYS = {
    "add": "A sum moves one for one with each of its parts, so each part gets the gradient of {z} unchanged.",
    "sub": "{z} moves one for one with {x}, and the other way with {y}: the gradient goes on as it is, and with its "
    "sign turned.",
    "neg": "{z} moves against {x}: the gradient goes on with its sign turned.",
    "mul": "How fast a product moves with one factor is the other factor, so each gets the gradient of {z} times the "
    "other.",
    "div": "Dividing by {y}: a change of {x} arrives divided by {y}, and a larger {y} makes {z} smaller.",
    "pow": "A power moves with its base by the exponent times the base to one less.",
    "tanh": "tanh is steep near 0 and flat where {z} is close to 1 or -1: its slope is 1 minus {z} squared, and the "
    "gradient is multiplied by it.",
    "sigmoid": "The slope of a sigmoid is {z} times (1 - {z}): the gradient is multiplied by it, and is small where "
    "{z} is close to 0 or 1.",
    "exp": "exp is its own slope: the gradient is multiplied by {z} itself.",
    "log": "The slope of log is 1 / {x}: the gradient is divided by {x}, and is large where {x} is small.",
    "sqrt": "The slope of a square root is 1 / (2 {z}): large where {z} is small.",
    "relu": "Where {x} was above 0 the gradient passes, elsewhere it stops: there a small change changes nothing.",
    "matmul": "Each number of {z} is a sum of products of a row of {x} with a column of {y}. So what goes to {x} is "
    "the gradient of {z} multiplied with {y} transposed, and the other way round.",
    "linear": "Each number of {z} is a sum of products of {x} with a row of the weights, plus a bias. So {x} gets the "
    "gradient times the weights, the weights get it times {x}, and the bias the sum of it.",
    "sum": "Each number went into the sum one for one, so each gets the whole gradient of {z}.",
    "mean": "Each of the n numbers went in with a share of 1 / n, so each gets that share of the gradient.",
    "reshape": "The same numbers in another shape: the gradient is put back into the shape of {x}.",
    "transpose": "The same numbers with two axes exchanged: the gradient gets them exchanged back.",
    "permute": "The same numbers with the axes in another order: the gradient gets them put back.",
    "getitem": "Only the numbers that were picked matter: they get their gradients, all the others 0.",
    "embedding": "Only the rows that were looked up matter: each gets the gradients of all its uses, the others 0.",
    "gather": "Only the numbers that were picked matter: they get their gradients, all the others 0.",
    "softmax": "The shares of a row add up to 1, so what one gains the others lose: from each gradient the weighted "
    "mean of its row is taken away, and the rest is weighted with the share {z}.",
    "log_softmax": "Raising one score lowers the log shares of the others: each gradient loses its share of the sum "
    "of its row.",
    "cross_entropy": "The gradient of the loss is what was predicted minus what was right: each class gets its "
    "probability, the right class that minus 1, divided by the number of examples.",
    "mse_loss": "A squared error moves with twice the error: {x} gets 2 times the difference, averaged.",
    "layer_norm": "After normalizing, only what differs from the mean and the spread of a row matters, so the parts "
    "of the gradient along these are taken away.",
    "scaled_dot_product_attention": "Backwards through attention: to the values by the weights, then through softmax "
    "to the scores, and from those to query and key.",
    "dropout": "What was dropped gets no gradient; what stayed gets its gradient with the same scale.",
    "max": "Only the largest moves {z}: it gets the gradient, all the others 0.",
    "min": "Only the smallest moves {z}: it gets the gradient, all the others 0.",
    "cat": "Each part gets back its own piece of the gradient.",
    "stack": "Each part gets back its own slice of the gradient.",
    "masked_fill": "What was masked is a constant now and gets 0; the gradient passes everywhere else.",
    "where": "Each of the two gets the gradient where it was chosen, and 0 elsewhere.",
}  # fmt: skip
OTHERWISE = (
    "Each input gets the gradient of {z} times how strongly {z} moves with it: that is what the formula below says."
)


@dataclass
class Spelled:
    """A line of an op's formulas, ready for names and numbers: the parts of its right side.

    ``kind`` says how numbers go in: "elements" one by one, "product" as rows times columns of two operands (``left``
    and ``right``, transposed or not), or "" where they do not fit.
    """

    parts: list[Part]
    kind: str = ""
    left: tuple[str, bool] = ("", False)
    right: tuple[str, bool] = ("", False)
    batched: bool = False  # a product of matrices that lie side by side, not of all rows at once


def shown(trace: Trace, tensor: int) -> str:
    """What a reader would call a tensor: its name, or the piece of source that made it, or its label."""
    record = trace.tensors[tensor]
    if record.name is None and record.text and len(record.text) <= LONGEST:
        return record.text
    return trace.label(tensor)


def symbol(trace: Trace, tensor: int) -> str:
    """A tensor as it stands in a formula: its name without the path of the module; a sum or product in brackets."""
    record, name = trace.tensors[tensor], shown(trace, tensor)
    if record.name is not None:
        return name.rsplit(".", 1)[-1]
    return name if re.fullmatch(r"[\w.]+|[\w.]+\([^()]*\)", name) else f"({name})"


def gradient(trace: Trace, tensor: int) -> str:
    """What the gradient of a tensor is called: dw, d(x @ w)."""
    name = symbol(trace, tensor)
    return f"d{name}" if re.fullmatch(r"\w+|\(.*\)", name) else f"d({name})"


def sentence(trace: Trace, op: OpRecord) -> str:
    """What this op does to the gradient, in plain words and the script's own names."""
    names = [shown(trace, slot["tensor"]) if "tensor" in slot else str(slot["number"]) for slot in op.inputs]
    text = SAYS.get(op.op, OTHERWISE)
    fields = {"z": shown(trace, op.output), "x": names[0] if names else "", "y": names[1] if len(names) > 1 else ""}
    return re.sub(r"\{(\w)\}", lambda found: fields[found[1]], text)


def names_of(op: OpRecord) -> list[str]:
    """What the op calls its inputs."""
    function = OPS.get(op.op)
    count = len(op.inputs)
    return list(operand_names(function, count)) if function else _from_formulas(op.formulas, count)


def _from_formulas(formulas: Sequence[str], count: int) -> list[str]:
    """The names of an op that is not one of ours: those of its lines dx = ..., if there are as many."""
    found = [m[1] for m in (re.match(r"d(\w+) =", line) for line in formulas[1:]) if m]
    return found if len(found) == count else [f"input {i}" for i in range(count)]


def lines_of(op: OpRecord) -> list[int | None]:
    """For each input the formula line of its gradient, if there is one."""
    found = [re.match(r"d(\w+?)(?:_i)? =", line) for line in op.formulas]
    by_name = {m[1]: i for i, m in enumerate(found) if m}
    every = next((i for i, m in enumerate(found) if m and "_i =" in m[0]), None)  # dx_i = ...
    return [by_name.get(name, every) for name in names_of(op)]


def spelled(line: str, arrays: Mapping[str, Any], target: Array | None) -> Spelled:
    """A formula line with places for names; and for numbers, if these give ``target`` exactly so.

    ``arrays`` are z, dz, the inputs by the names of the op, and its constants that are numbers.
    """
    right = line.partition(" = ")[2]
    right = re.split(r", repeated over|, \w+ = ", right)[0]
    found = Spelled(_parts(right, {*arrays, "z", "dz"}))
    if target is None or target.size == 0:
        return found
    values = {k: v for k, v in arrays.items() if v is not None}
    product = re.fullmatch(r"([^\Wᵀ]+)(ᵀ?) @ ([^\Wᵀ]+)(ᵀ?)", right)
    if product and product[1] in values and product[3] in values:
        found.left, found.right = (product[1], bool(product[2])), (product[3], bool(product[4]))
        for batched in (True, False):
            if _agree(_product(found, values, batched), target):
                found.kind, found.batched = "product", batched
                break
    elif _agree(_evaluate(right, values), target):
        found.kind = "elements"
    return found


def _product(found: Spelled, values: Mapping[str, Any], batched: bool) -> Array | None:
    def matrix(name: str, turned: bool) -> Array:
        x = np.asarray(values[name], dtype=np.float64)
        x = x if batched else x.reshape(-1, x.shape[-1])
        return x.swapaxes(-1, -2) if turned else x

    try:
        return np.asarray(matrix(*found.left) @ matrix(*found.right))
    except (ValueError, IndexError):
        return None


def _evaluate(text: str, values: Mapping[str, Any]) -> Array | None:
    """What an expression of names, numbers and functions comes to; None where it is more than that."""
    text = re.sub(r"^(.*) where (.*), else (.*)$", r"where(\2, \1, \3)", text)
    text = re.sub(r"^(.*) where (.*), and .*$", r"nothing", text)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        return None
    raised = {k: np.asarray(v, dtype=np.float64) if np.asarray(v).dtype.kind == "f" else v for k, v in values.items()}
    known = {**CONSTANTS, **raised, **FUNCTIONS, "where": np.where}
    allowed = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Load, ast.Constant)
    for node in ast.walk(tree):
        plain = isinstance(node, (*allowed, ast.operator, ast.unaryop, ast.cmpop)) and not isinstance(node, ast.MatMult)
        if not plain or (isinstance(node, ast.Name) and node.id not in known):
            return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(eval(compile(tree, "formula", "eval"), {"__builtins__": {}}, known))
    except (ValueError, TypeError, ArithmeticError):
        return None


def _agree(found: Array | None, target: Array) -> bool:
    """Whether a formula gives the target, after broadcast axes are summed away."""
    if found is None or found.dtype.kind not in "fiub":
        return False
    try:
        extra = found.ndim - target.ndim
        if extra >= 0 and found.shape != target.shape:
            found = found.sum(tuple(range(extra)))
            axes = tuple(i for i, n in enumerate(target.shape) if n == 1 and found.shape[i] != 1)
            found = found.sum(axes, keepdims=True) if axes else found
        wide = np.broadcast_to(found, target.shape)
    except ValueError:
        return False
    size = float(np.max(np.abs(target), initial=0, where=np.isfinite(target)))
    return bool(np.allclose(wide, target, rtol=1e-3, atol=1e-4 * size + 1e-30, equal_nan=True))


def _parts(text: str, names: set[str]) -> list[Part]:
    """A formula as its parts: names to fill in, and the text between, with the signs of a textbook."""
    parts: list[Part] = []

    def put(kind: str, what: str) -> None:
        if kind == "text" and parts and parts[-1][0] == "text":
            parts[-1][1] += what
        else:
            parts.append([kind, what])

    for token in re.findall(r" \*\* \d+(?![\d.])| \*\* | \* | - |-|[^\Wᵀ]+|.", text):
        power = re.fullmatch(r" \*\* (\d+)", token)
        if power:
            put("text", power[1].translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")))
        elif token in names:
            put("of", token)
        else:
            put("text", {" * ": " · ", " ** ": "^", " - ": f" {MINUS} ", "-": MINUS}.get(token, token))
    return parts


# Filled in


def with_names(found: Spelled, names: Mapping[str, str]) -> str:
    """The right side in the script's own names; ``names`` by the op's: z, dz, x, ..."""
    texts = []
    for place, (kind, what) in enumerate(found.parts):
        text = names.get(what, what) if kind == "of" else what
        raised = place + 1 < len(found.parts) and found.parts[place + 1][1][:1] in RAISED
        texts.append(f"({text})" if kind == "of" and raised and not re.fullmatch(r"\w+|\(.*\)", text) else text)
    return "".join(texts)


def with_numbers(found: Spelled, values: Mapping[str, Any]) -> str:
    """The right side in numbers, where all of them are single ones."""
    texts = []
    for place, (kind, what) in enumerate(found.parts):
        if kind == "text":
            texts.append(what)
            continue
        number = figure(float(values[what]))
        raised = place + 1 < len(found.parts) and found.parts[place + 1][1][:1] in RAISED
        after_sign = bool(texts) and texts[-1].rstrip()[-1:] in ("·", MINUS, "/", "+", "^")
        texts.append(f"({number})" if number.startswith(MINUS) and (raised or after_sign) else number)
    return "".join(texts)


def figure(value: float) -> str:
    """A number as a reader wants it: 4 significant digits."""
    return f"{value:.4g}".replace("-", MINUS)


def equation(trace: Trace, op: OpRecord, step: StepRecord, i: int) -> str:
    """The gradient of input ``i`` in names, and in numbers where they are single ones; "" without a formula."""
    grad, line = step.grads[i], lines_of(op)[i]
    if grad is None or line is None:
        return ""
    names = names_of(op)
    labels = {name: symbol(trace, slot["tensor"]) if "tensor" in slot else _plain(slot["number"])
              for name, slot in zip(names, op.inputs, strict=True)}  # fmt: skip
    labels |= {"z": symbol(trace, op.output), "dz": gradient(trace, op.output)}
    values = arrays_of(trace, op, step)
    target = whole(grad.contribution)
    found = spelled(op.formulas[line], values, target)
    left = gradient(trace, grad.tensor)
    written = with_names(found, labels)
    single = all(np.size(v) == 1 for v in values.values() if v is not None) and target is not None and target.size == 1
    if found.kind == "elements" and single:
        numbers = with_numbers(found, {k: np.asarray(v).reshape(()) for k, v in values.items() if v is not None})
        value = figure(float(np.asarray(target).reshape(())))
        return f"{left} = {written} = {numbers}" + (f" = {value}" if numbers != value else "")
    return f"{left} = {written}"


def arrays_of(trace: Trace, op: OpRecord, step: StepRecord | None) -> dict[str, Any]:
    """z, dz, the inputs and the constants of an op that are numbers, by the names in its formulas."""
    values: dict[str, Any] = {name: value for name, value in op.constants.items() if isinstance(value, int | float)}
    values["z"] = whole(trace.tensors[op.output].value)
    if step is not None:
        values["dz"] = whole(step.dz)
    for name, slot in zip(names_of(op), op.inputs, strict=True):
        values[name] = whole(trace.tensors[slot["tensor"]].value) if "tensor" in slot else slot["number"]
    x = next((v for name, v in values.items() if name == "x" and isinstance(v, np.ndarray)), None)
    if x is not None and values["z"] is not None and values["z"].size:  # how many are averaged
        values |= {name: x.size // values["z"].size for name in ("n", "N") if name not in values}
    return values


def whole(summary: Summary) -> Array | None:
    """The array of a summary that has all its elements."""
    if summary.data is None:
        return None
    return np.array(summary.data, dtype=np.float64 if "float" in summary.dtype else None).reshape(summary.shape)


def _plain(number: Any) -> str:
    return figure(number) if isinstance(number, int | float) else str(number)


def total(trace: Trace, grad: Contribution) -> str:
    """How a contribution is added to what was there before, for single numbers: 0.5 + 0.25 = 0.75."""
    if grad.before is None or grad.after.data is None or len(grad.after.data) != 1:
        return ""
    before, more, after = (whole(s) for s in (grad.before, grad.contribution, grad.after))
    if before is None or more is None or after is None or more.size != 1:
        return ""
    numbers = [figure(float(x.reshape(()))) for x in (before, more, after)]
    plus = f"({numbers[1]})" if numbers[1].startswith(MINUS) else numbers[1]
    return f"{numbers[0]} + {plus} = {numbers[2]}"


# Before the first step


def introduction(trace: Trace, which: int) -> list[str]:
    """What was computed, what is asked, and why the walk goes from the end: a few sentences in the script's names."""
    backward = trace.passes[which]
    order = trace.ancestors(backward.root)
    root = shown(trace, backward.root)
    used = dict.fromkeys(slot["tensor"] for number in order for slot in trace.ops[number].inputs if "tensor" in slot)
    leaves = [t for t in used if trace.tensors[t].kind in ("parameter", "leaf")]
    data = [t for t in used if trace.tensors[t].kind == "constant"]
    value = trace.tensors[backward.root].value
    number = f" = {figure(float(value.data[0]))}" if value.data is not None and len(value.data) == 1 else ""
    made = f"{len(order)} operation{'s' * (len(order) != 1)}"
    about = f", with {_listed(trace, data)} as data" if data else ""
    lines = [f"The script has computed {root}{number}, from {_listed(trace, leaves)}{about}, in {made}."]
    one = shown(trace, leaves[0]) if leaves else "a number"
    each = "each of them" if len(leaves) > 1 else "it"
    lines.append(
        f"Backward asks for {each}: if {one} were a little larger, how much larger would {root} be? That number, per "
        f"unit of {one}, is the gradient of {one}."
    )
    last = trace.ops[order[-1]] if order else None
    if last is not None:
        given = [shown(trace, slot["tensor"]) for slot in last.inputs if "tensor" in slot]
        lines.append(
            f"It starts at the end, where the answer is known: {root} moves with itself by 1. {last.op} made {root} "
            f"from {_join(list(dict.fromkeys(given)))}, so their answers come next, and so on back to {one}: each step "
            "needs only the answer of the step after it."
        )
    return lines


def _listed(trace: Trace, tensors: list[int]) -> str:
    names = [shown(trace, t) for t in tensors]
    if len(names) > 5:
        return f"{', '.join(names[:4])} and {len(names) - 4} more"
    return _join(names) if names else "nothing that wants a gradient"


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
