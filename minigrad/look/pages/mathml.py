"""The formula lines of ops as MathML, which every browser sets like a textbook does, without fonts or network."""

from __future__ import annotations

import html
import inspect
import re
from typing import Any, NoReturn

from minigrad.core.op import OPS, facts
from minigrad.ops.docstring import formulas as op_formulas

Tree = list[Any]  # [tag, child, ...] or [tag, {attributes}, child, ...]; a child is a Tree or a text

_TOKENS = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[^\W\d_][^\Wᵀ]*)"
    r"|(?P<mark>ᵀ|\.\.\.|\*\*|<=|>=|\+=|[-+*/@=<>(),;|\[\]]))"
)
_SIGNS = {"-": "\u2212", "<=": "\u2264", ">=": "\u2265"}
_COMPARE = ("=", "<", ">", "<=", ">=", "+=")
_SCALARS = {"scale", "n", "N", "\u03c0", "\u03b5"}


def formula(line: str, symbols: frozenset[str] = frozenset()) -> Tree:
    """One formula line, ``dx = z * (dz - sum(dz * z))``, as the tree of a ``<math>`` element.

    Words of prose stay words. A line that is no formula at all becomes plain text. ``symbols`` are names that stand
    for numbers although they look like a word of English, such as ``a``.
    """
    tree = parse(line, symbols)
    return ["math", {"displaystyle": "true"}, ["mtext", line] if tree is None else tree]


def formulas(lines: list[str]) -> list[Tree]:
    """All formula lines of an op; a name that one of them defines is a symbol in the others."""
    symbols = frozenset(name for line in lines for name in re.findall(r"(\w+) =", line))
    return [formula(line, symbols) for line in lines]


def parse(line: str, symbols: frozenset[str] = frozenset()) -> Tree | None:
    """The tree of a formula line, or None where it is not one."""
    try:
        return _Parser(line, symbols).line()
    except ValueError:
        return None


def markup(tree: Tree | str) -> str:
    """A tree as text for an HTML file; whatever its texts hold, they do not become markup."""
    if isinstance(tree, str):
        return html.escape(tree)
    tag, *children = tree
    attributes = children.pop(0) if children and isinstance(children[0], dict) else {}
    written = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{written}>{''.join(markup(child) for child in children)}</{tag}>"


class _Parser:
    """Recursive descent, one method per level: phrase, comparison, sum, product, sign, power, atom."""

    def __init__(self, line: str, symbols: frozenset[str]) -> None:
        self.symbols = symbols
        self.tokens: list[tuple[str, str, bool]] = []  # kind, text, whether it touches the one before
        place = 0
        line = line.rstrip()
        while place < len(line):
            found = _TOKENS.match(line, place)
            if not found:
                raise ValueError(f"no formula from {line[place:]!r} on")
            kind = next(k for k in ("number", "name", "mark") if found[k] is not None)
            self.tokens.append((kind, found[kind], found.start(kind) == place))
            place = found.end()
        self.place = 0

    def peek(self, ahead: int = 0) -> str:
        """The text of a token to come; nothing at the end."""
        return self.tokens[self.place + ahead][1] if self.place + ahead < len(self.tokens) else ""

    def touches(self, mark: str, ahead: int = 0) -> bool:
        """Whether a token to come is this mark, with no space before it."""
        return self.peek(ahead) == mark and self.tokens[self.place + ahead][2]

    def take(self, *wanted: str) -> str:
        """The next token if it is one of these."""
        if self.peek() in wanted and self.peek():
            self.place += 1
            return self.tokens[self.place - 1][1]
        return ""

    def expect(self, wanted: str) -> None:
        if not self.take(wanted):
            self.fail()

    def fail(self) -> NoReturn:
        raise ValueError(f"unexpected {self.peek() or 'end'!r}")

    def line(self) -> Tree:
        tree = self.phrase()
        if self.place < len(self.tokens):
            self.fail()
        return tree

    def phrase(self, *ends: str) -> Tree:
        """Expressions, words and commas side by side, up to a closing mark."""
        parts: list[Tree] = []
        while self.peek() and self.peek() not in ends:
            if mark := self.take(",", ";"):
                parts.append(["mo", {"separator": "true"}, mark])
            elif self.is_prose():
                words = []
                while self.is_prose():
                    words.append(self.peek())
                    self.place += 1
                parts.append(["mtext", " ".join(words)])
            elif mark := self.take("+="):
                parts.append(["mtext", mark])
            else:
                parts.append(self.comparison())
        return _row(_spaced(parts, "0.15em" if ends else "0.8em"))

    def is_prose(self) -> bool:
        """Whether the next token is a word of English, and not something to calculate with."""
        if self.place >= len(self.tokens) or self.tokens[self.place][0] != "name":
            return False
        name, after = self.peek(), self.peek(1)
        if name in self.symbols or _without_d(name) or "_" in name:
            return False
        if self.touches("(", 1):
            return False
        if is_function(name):  # "sum of dz", "max x": a function only if it has an operand
            return self.place + 1 < len(self.tokens) and self.word(1)
        if len(name) == 1:
            return name == "a"
        operators = ("*", "/", "@", "+", "**", "ᵀ", ")", "]", "<=", ">=", "=", "-")
        before = self.tokens[self.place - 1][1] if self.place else ""
        calculated = before in ("*", "/", "@", "+", "-", "**", "<=", ">=") or after in operators
        return not calculated and not self.touches("[", 1)

    def word(self, ahead: int) -> bool:
        """Whether a token to come is a word that cannot be an operand of a function."""
        kind, name, _ = self.tokens[self.place + ahead]
        known = name in self.symbols or is_function(name) or len(name) == 1 or _without_d(name)
        return kind == "name" and not known and "_" not in name and not self.touches("(", ahead + 1)

    def comparison(self) -> Tree:
        parts = [self.sum()]
        while sign := self.take(*_COMPARE):
            parts.append(["mo", _SIGNS.get(sign, sign)])
            if self.is_prose() or (self.peek() == "the"):
                break  # dx = the inside of dz
            parts.append(self.sum())
        return _row(parts)

    def sum(self) -> Tree:
        parts = [self.product()]
        while sign := self.take("+", "-"):
            parts += [["mo", _SIGNS.get(sign, sign)], self.product()]
        return _row(parts)

    def product(self) -> Tree:
        parts = [self.sign()]
        while sign := self.take("*", "/", "@"):
            right = self.sign()
            if sign == "/":  # all that stands before it in this product is above the line
                parts = [
                    ["mfrac", _row([_unwrapped(p) for p in parts] if len(parts) == 1 else parts), _unwrapped(right)]
                ]
            elif sign == "@":
                parts += [["mspace", {"width": "0.25em"}], right]
            else:
                scalar = self.is_scalar(parts[-1]) or self.is_scalar(right)
                parts += [["mo", "\u22c5" if scalar else "\u2299"], right]
        return _row(parts)

    def is_scalar(self, tree: Tree) -> bool:
        """Whether a factor is a single number, so that a product with it is no elementwise one."""
        if tree[0] in ("msqrt", "mfrac"):
            return all(self.is_scalar(part) for part in tree[1:])
        return tree[0] == "mn" or (tree[0] == "mi" and tree[-1] in _SCALARS and tree[-1] not in self.symbols)

    def sign(self) -> Tree:
        if self.take("-"):
            return ["mrow", ["mo", {"form": "prefix"}, "\u2212"], self.sign()]
        return self.power()

    def power(self) -> Tree:
        name, kind = self.peek(), self.tokens[self.place][0] if self.place < len(self.tokens) else ""
        if kind == "name" and is_function(name) and not self.touches("(", 1):  # sum exp(x), mean x ** 2
            self.place += 1
            operand = self.sign()
            if name == "sum":
                while self.take("*"):  # sum dz * n: the sum of the products
                    operand = ["mrow", operand, ["mo", "\u2299"], self.sign()]
            return ["mrow", _name(name), ["mspace", {"width": "0.17em"}], operand]
        base = self.atom()
        while self.take("**"):
            exponent = self.sign()
            base = ["msup", base, _unwrapped(exponent)]
        return base

    def atom(self) -> Tree:
        if self.place >= len(self.tokens):
            self.fail()
        kind, text, _ = self.tokens[self.place]
        self.place += 1
        base: Tree
        if kind == "number":
            base = ["mn", text]
        elif kind == "name" and text == "sqrt" and self.touches("("):
            self.expect("(")
            inside = self.phrase(")")
            self.expect(")")
            base = ["msqrt", inside]
        elif kind == "name":
            base = _name(text)
            if self.touches("("):
                base = ["mrow", base, self.bracketed("(", ")")]
        elif text in ("(", "["):
            self.place -= 1
            base = self.bracketed(text, {"(": ")", "[": "]"}[text])
        elif text == "|":
            inside = self.sum()
            self.expect("|")
            base = ["mrow", ["mo", {"fence": "true"}, "|"], inside, ["mo", {"fence": "true"}, "|"]]
        elif text == "...":
            base = ["mo", {"lspace": "0", "rspace": "0"}, "\u2026"]
        else:
            self.place -= 1
            self.fail()
        if self.take("ᵀ"):
            base = ["msup", base, ["mi", {"mathvariant": "normal"}, "T"]]
        indices: list[Tree] = []
        while self.touches("["):  # x[i][j]: directly behind, an index
            self.expect("[")
            indices += [["mo", {"separator": "true"}, ","]] if indices else []
            indices.append(self.phrase("]"))
            self.expect("]")
        return ["msub", base, _row(indices)] if indices else base

    def bracketed(self, left: str, right: str) -> Tree:
        self.expect(left)
        inside = self.phrase(right)
        self.expect(right)
        return ["mrow", ["mo", {"fence": "true"}, left], inside, ["mo", {"fence": "true"}, right]]


def is_function(name: str) -> bool:
    """Whether a name needs no brackets, as in sum x and log s: an op that reduces, or whose formula is its name."""
    op = OPS.get(name)
    return op is not None and (facts(op).reduces or op_formulas(op)[0] == f"z = {name}(x)")


def _row(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else ["mrow", *parts]


def _spaced(parts: list[Tree], after_comma: str) -> list[Tree]:
    """Parts side by side, with the space that words and commas want."""
    out: list[Tree] = []
    for part in parts:
        if out and part[0] != "mo":
            out.append(["mspace", {"width": after_comma if out[-1][0] == "mo" else "0.3em"}])
        out.append(part)
    return out


def _unwrapped(tree: Tree) -> Tree:
    """Without the brackets around it, which a fraction or an exponent makes needless."""
    if tree[0] == "mrow" and len(tree) == 4 and tree[1] == ["mo", {"fence": "true"}, "("]:
        return tree[2]
    return tree


def _without_d(name: str) -> str:
    """x for dx, query for dquery; nothing for a name that is no gradient's."""
    rest = name[1:]
    if name[0] != "d" or not rest:
        return ""
    input_of_an_op = any(rest in inspect.signature(op).parameters for op in OPS.values())
    return rest if len(rest.split("_")[0]) == 1 or input_of_an_op else ""


def _name(name: str) -> Tree:
    """A name: dx with an upright d, x_i with a subscript, pi and sum as signs."""
    if _without_d(name):
        return ["mrow", ["mi", {"mathvariant": "normal"}, "d"], _name(name[1:])]
    if "_" in name:
        base, below = name.split("_", 1)
        return ["msub", ["mi", base], ["mn" if below.isdigit() else "mi", below]]
    if name == "sum":
        return ["mo", {"largeop": "false", "movablelimits": "false"}, "\u2211"]
    return ["mi", {"pi": "\u03c0", "eps": "\u03b5", "inf": "\u221e"}.get(name, name)]
