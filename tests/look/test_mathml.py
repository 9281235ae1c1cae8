"""Formula lines as MathML: all ops' formulas parse, and typical ones are set as a textbook would."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from minigrad import ops
from minigrad.look.pages import mathml


def text(line: str, symbols: str = "") -> str:
    """A formula as a line of signs, with the structure in brackets: what a reader sees, roughly."""

    def written(tree) -> str:
        if isinstance(tree, str):
            return tree.replace("\N{MINUS SIGN}", "-")
        tag, *children = tree
        parts = [written(c) for c in children if not isinstance(c, dict)]
        if tag == "mfrac":
            return "{" + "}/{".join(parts) + "}"
        if tag in ("msup", "msub"):
            return parts[0] + ("^" if tag == "msup" else "_") + "{" + parts[1] + "}"
        if tag == "msqrt":
            return "√{" + "".join(parts) + "}"
        return " " if tag == "mspace" else "".join(parts)

    tree = mathml.parse(line, frozenset(symbols.split()))
    assert tree is not None, line
    return written(tree)


@pytest.mark.parametrize("name", ops.OPS)
def test_the_formulas_of_every_op_parse(name: str):
    lines = ops.formulas(ops.OPS[name])
    for line, tree in zip(lines, mathml.formulas(lines), strict=True):
        assert tree[0] == "math" and tree[-1] != ["mtext", line], line
        root = ET.fromstring(mathml.markup(tree))
        assert {e.tag for e in root.iter()} <= set("math mrow mi mn mo mtext mspace mfrac msqrt msup msub".split()), (
            line
        )
        for fraction in (*root.iter("mfrac"), *root.iter("msup"), *root.iter("msub")):
            assert len(fraction) == 2


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("dx = z * (dz - sum(dz * z))", "dx=z⊙(dz-∑(dz⊙z))"),
        ("dquery = scale * ds @ key", "dquery=scale⋅ds key"),
        ("z = x @ weightᵀ + bias", "z=x weight^{T}+bias"),
        ("z = 1 / (1 + exp(-x))", "z={1}/{1+exp(-x)}"),
        ("z = exp(x) / sum exp(x)", "z={exp(x)}/{∑ exp(x)}"),
        ("dz * (1 - z ** 2)", "dz⊙(1-z^{2})"),
        ("dx = dz / (2 * z)", "dx={dz}/{2⋅z}"),
        ("z = sqrt(sum (x - mean x) ** 2 / (n - correction))", "z=√{{∑ (x-mean x)^{2}}/{n-correction}}"),
        ("u = sqrt(2 / pi) * x ** 3", "u=√{{2}/{π}}⋅x^{3}"),
        ("z = x * (a - b - c)", "z=x⊙(a-b-c)"),
        ("z = a / b / c", "z={{a}/{b}}/{c}"),
        ("dx = dz * [x > 0]", "dx=dz⊙[x>0]"),
        ("z = |x - y|", "z=|x-y|"),
        ("z = weight[ids]", "z=weight_{ids}"),
        ("z_i = x_1 + ... + x_i", "z_{i}=x_{1}+…+x_{i}"),
        ("z = x where condition, else y", "z=x where condition, else y"),
    ],
)
def test_typical_formulas(line: str, seen: str):
    assert text(line, "a b c") == seen


def test_a_is_a_word_unless_it_is_defined():
    assert text("x with a border") == "x with a border"
    assert text("a @ x", "a") == "a x"


@pytest.mark.parametrize("line", ["z = (x", "z = x +", "z = x ** ** y", "z = <img onerror=alert(1)>", "z = x # y", ")"])
def test_what_is_no_formula_becomes_text(line: str):
    assert mathml.parse(line) is None
    tree = mathml.formula(line)
    assert tree[-1] == ["mtext", line]
    assert ET.fromstring(mathml.markup(tree))[0].text == line
