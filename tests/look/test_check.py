"""The command that checks the gradients of a file's function."""

from __future__ import annotations

import sys

import pytest

from minigrad.look.commands.check import main
from minigrad.tools import cli

SOURCE = '''
import minigrad as mg
from minigrad import nn
from minigrad.autograd import Function
from minigrad.nn import functional as F

def right(x, w):
    return F.gelu(F.linear(x, w))

def half(x):
    def half(x):
        """z = x ** 2
        dx = dz * 2 * x
        """
        return x * x, lambda dz: (dz * x,)
    return mg.apply(half, x).sum()

def pair():
    return nn.Linear(3, 2), mg.randn(4, 3)

def nothing():
    return 3

def const(x):
    return 3

def none(x):
    return None

def deep(x):
    return {"a": x}[inner(x)]

def inner(x):
    raise ArithmeticError("boom")

class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, dz):
        return 2 * dz

class Wide(nn.Module):
    def __init__(self, size):
        super().__init__()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(20, 20)

    def forward(self, x):
        return self.layer(x)
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", ["pytest", "--shape"])
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["right", "--shape", "2,3", "--shape", "4,3"], "right: 18 elements of 2 inputs agree with finite differences"),
        (["Double", "--shape", "5"], "Double: 5 elements of 1 input agree"),
        (["Double", "--shape", ""], "Double: 1 elements of 1 input agree"),
        (["pair"], "pair: 8 elements of 2 inputs agree"),
        (["Net", "--shape", "1,20", "--max-elements", "7"], "Net: 21 elements of 3 inputs agree"),
    ],
)
def test_what_is_right(file, arguments, printed, capsys):
    assert main([f"{file}:{arguments[0]}", *arguments[1:]]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(printed) and "(largest difference " in out and out.count("\n") == 1 and err == ""


def test_what_is_wrong(file, capsys):
    assert main([f"{file}:half", "--shape", "3"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("half: gradcheck: 3 of 3 elements disagree")
    assert "first wrong op is half" in out and "dx = dz * 2 * x" in out and "counted half" in out and "mine.py" in out


@pytest.mark.parametrize(("factor", "code"), [("2 * ", 0), ("", 1)])
def test_an_op(tmp_path, capsys, monkeypatch, factor, code):
    monkeypatch.setattr("minigrad.core.op.OPS", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "from minigrad.core.op import op\n@op\ndef square(x):\n"
        f'    """z = x ** 2\n    dx = dz * 2 * x\n    """\n    return x * x, lambda dz: ({factor}dz * x,)\n'
    )
    assert main([f"{file}:square", "--shape", "3,4"]) == code
    out = capsys.readouterr().out
    assert out.startswith("square: 12 elements of 1 input agree" if code == 0 else "square: gradcheck: 12 of 12")
    assert code == 0 or "first wrong op is square" in out


def test_a_sample_is_announced(file, capsys):
    assert main([f"{file}:Net", "--shape", "1,20"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Net: 140 elements of 3 inputs") and "140 of 440 elements are checked" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: FILE:NAME"),
        (["nofile"], "'nofile' should be FILE:NAME"),
        (["no.py:f"], "there is no Python file 'no.py'"),
        (["{file}:nix"], "has no function 'nix'; it has right, half, pair, nothing, const, none, deep, inner, Double"),
        (["{file}:right", "--shape", "2,3"], "right(x, w) with 1 of --shape: missing a required argument: 'w'"),
        (["{file}:right"], "right(x, w) with no arguments: missing a required argument"),
        (["{file}:Double"], "Double is a class: say the shapes"),
        (["{file}:Wide", "--shape", "2"], "Wide(size) with no arguments: missing a required argument: 'size'"),
        (["{file}:nothing"], "nothing() should return (function, inputs)"),
        (["{file}:right", "--max-elements", "0"], "'0' is not an integer of at least 1"),
        (["{file}:half", "--shape", "two"], "'two' is not a shape such as 3,4"),
        (["{file}:right", "--shape", "2,3", "--shape", "4,5"], "mine.py:8: OpValueError: linear((2, 3) float64"),
        (["{file}:const", "--shape", "3,3"], "the function must return a tensor or a tuple of tensors, not int"),
        (["{file}:none", "--shape", "3"], "must return a floating tensor, so there is nothing to check"),
        (["{file}:deep", "--shape", "3"], "error: mine.py:34: ArithmeticError: boom"),
        (["{file}:half", "--shape", "0"], "there is nothing to check: the inputs of half have no elements"),
    ],
)
def test_misuse_is_one_line(file, arguments, text, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.run(lambda: main([a.format(file=file) for a in arguments]))
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1 and text in err


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def f(:", "invalid syntax"),
        ("import sys\nsys.exit(sys.argv[1:])", r"mine\.py:2: SystemExit: \[\]"),  # what check was given is not its own
        ("1 / 0", r"mine\.py:1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_with_an_error_in_it(file, source, text):
    file.write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"mine\.py cannot be loaded: {text}"):
        main([f"{file}:f"])
