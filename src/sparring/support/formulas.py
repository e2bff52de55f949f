"""Formulas as text: numbers, quantities with units, names and calls with + - * /. They are read, never executed.

>>> formula = parse("log(force_variance) + boltzmann(20 kcal/mol, per=atom)")
>>> formula.right
Call(name='boltzmann', arguments=(Quantity(text='20 kcal/mol'),), keywords=(('per', Name(name='atom')),))
>>> text_of(formula)
'log(force_variance) + boltzmann(20 kcal/mol, per=atom)'
"""

import ast
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["Call", "FormulaError", "Name", "Negative", "Node", "Number", "Operation", "Quantity", "parse", "text_of"]

LONGEST, DEEPEST = 1000, 40
"""Characters of a formula, and levels of brackets and operators."""

_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_QUANTITY = re.compile(rf"([(,=]\s*)([+-]?{_NUMBER}\s*(?:1/)?[A-Za-z°ÅÅµμ][^,()=+*-]*?)(?=\s*[,)])")
_OPERATORS: Mapping[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


class FormulaError(ValueError):
    """A text that is no formula, and the character at which that shows, counted from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (character {position})")
        self.position = position


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float
    position: int = field(default=1, repr=False, compare=False)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, as it is written."""

    text: str
    position: int = field(default=1, repr=False, compare=False)


@dataclass(frozen=True)
class Name:
    """A term, or a word as the value of a keyword."""

    name: str
    position: int = field(default=1, repr=False, compare=False)


@dataclass(frozen=True)
class Call:
    """A function or a term with arguments."""

    name: str
    arguments: tuple["Node", ...]
    keywords: tuple[tuple[str, "Node"], ...] = ()
    position: int = field(default=1, repr=False, compare=False)


@dataclass(frozen=True)
class Negative:
    """A formula with the other sign."""

    of: "Node"
    position: int = field(default=1, repr=False, compare=False)


@dataclass(frozen=True)
class Operation:
    """Two formulas and +, -, * or / between them."""

    operator: str
    left: "Node"
    right: "Node"
    position: int = field(default=1, repr=False, compare=False)


Node: TypeAlias = Number | Quantity | Name | Call | Negative | Operation


def parse(text: str) -> Node:
    """Read a formula.

    Raises:
        FormulaError: If the text is not a formula.
    """
    if len(text) > LONGEST:
        raise FormulaError(f"a formula has at most {LONGEST} characters, got {len(text)}", LONGEST)
    flat = re.sub(r"\s", " ", text).strip()
    if not flat:
        raise FormulaError("the formula is empty", 1)
    quantities: dict[int, str] = {}

    def hidden(match: re.Match[str]) -> str:
        # A name of the same length stands for it, so that positions stay what they are.
        quantities[match.start(2)] = match[2]
        return match[1] + "_" * len(match[2])

    plain = _QUANTITY.sub(hidden, flat)
    strange = re.search(r"[^A-Za-z0-9_ .,+*/()=-]", plain)
    if strange:
        raise FormulaError(f"{strange[0]!r} is not allowed in a formula", strange.start() + 1)
    return _Reader(plain, quantities).node(_expression(plain), 0)


def text_of(node: Node) -> str:
    """The formula in one way of writing, with no more brackets than it needs; :func:`parse` reads it back."""
    if isinstance(node, Number):
        return repr(node.value).removesuffix(".0")
    if isinstance(node, Quantity):
        return node.text
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Call):
        keywords = (f"{name}={text_of(value)}" for name, value in node.keywords)
        return f"{node.name}({', '.join([*map(text_of, node.arguments), *keywords])})"
    if isinstance(node, Negative):
        return f"-{_bracketed(node.of, 3)}"
    level = _PRECEDENCE[node.operator]
    return f"{_bracketed(node.left, level)} {node.operator} {_bracketed(node.right, level + 1)}"


def _bracketed(node: Node, level: int) -> str:
    own = _PRECEDENCE[node.operator] if isinstance(node, Operation) else 2 if isinstance(node, Negative) else 3
    return text_of(node) if own >= level else f"({text_of(node)})"


def _expression(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as for 1and 2
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        at = min(error.offset or 1, len(text) + 1)
        hint = "; a quantity with a unit stands alone between commas or brackets" if _has_unit(text) else ""
        if text.count("(") > text.count(")"):
            hint = "; in braces { } of YAML a formula with a comma must be in quotes"
        raise FormulaError(f"cannot be read as a formula: {error.msg}{hint}", at) from error
    except (ValueError, RecursionError, MemoryError, Warning) as error:
        raise FormulaError("cannot be read as a formula", 1) from error


def _has_unit(text: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_.]){_NUMBER}\s+[A-Za-z]", text) is not None


@dataclass(frozen=True)
class _Reader:
    """Turns a syntax tree of Python into a formula; other nodes are refused."""

    text: str
    quantities: Mapping[int, str]

    def node(self, tree: ast.expr, depth: int) -> Node:
        at = tree.col_offset + 1
        if depth > DEEPEST:
            raise FormulaError(f"nested more than {DEEPEST} deep", at)
        if isinstance(tree, ast.Constant):
            return Number(self.number(tree), at)
        if isinstance(tree, ast.Name):
            known = self.quantities.get(tree.col_offset)
            return Name(tree.id, at) if known is None else Quantity(known, at)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
            inner = self.node(tree.operand, depth + 1)
            return Negative(inner, at) if isinstance(tree.op, ast.USub) else inner
        if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
            left, right = self.node(tree.left, depth + 1), self.node(tree.right, depth + 1)
            return Operation(_OPERATORS[type(tree.op)], left, right, at)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            return Call(tree.func.id, tuple(self.arguments(tree, depth)), tuple(self.keywords(tree, depth)), at)
        raise FormulaError("numbers, names, calls and + - * / are allowed in a formula, nothing else", at)

    def arguments(self, call: ast.Call, depth: int) -> Iterator[Node]:
        for argument in call.args:
            yield self.node(argument, depth + 1)

    def keywords(self, call: ast.Call, depth: int) -> Iterator[tuple[str, Node]]:
        for keyword in call.keywords:
            if keyword.arg is None:
                raise FormulaError("** is not allowed in a formula", call.col_offset + 1)
            yield keyword.arg, self.node(keyword.value, depth + 1)

    def number(self, constant: ast.Constant) -> float:
        at, written = constant.col_offset + 1, self.text[constant.col_offset : constant.end_col_offset]
        value = float(written) if re.fullmatch(_NUMBER, written) else math.nan
        if not math.isfinite(value):
            raise FormulaError(f"{written or 'this'} is no finite decimal number", at)
        return value
