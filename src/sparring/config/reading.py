"""A YAML file as plain data with the line of every key.

Plain words and numbers are read as YAML 1.2 has them, not as PyYAML does by default: ``3e-4`` is a number, ``yes`` and
``1:30`` are text, ``010`` is ten. A key that is given twice is an error, and so is a tag for an object.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from sparring.config.problems import ConfigError, KeyPath, dotted
from sparring.config.yaml_nodes import DEEPEST, FLOAT, MOST_VALUES, PREFIX, TAGS, TEXT, node_of
from sparring.support.printable import is_printable

LONGEST_KEY, LONGEST_INTEGER = 100, 100
"""Largest numbers of characters of a key and of an integer."""


class Document(NamedTuple):
    """Data of a file; ``places`` maps the path of a key to the beginning of its messages, "file:line: "."""

    data: dict[str, object]
    places: dict[KeyPath, str]


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this or the usual reader would take for something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def read(path: Path, text: str | None = None) -> Document:
    """Read a configuration file.

    Args:
        path: Path of the file.
        text: Its text, if that has been read already.

    Raises:
        ConfigError: If there is no such file, or it is not one YAML mapping; with the line where that is known.
    """
    node = node_of(path, text)
    _check_aliases(path, node)
    reader = _Reader(path)
    data = reader.mapping(node, ())
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(data, reader.places)


def write(data: Mapping[str, object]) -> str:
    """The data as YAML which :func:`read` reads back to the same."""
    text: str = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Reader:
    """Turns the nodes of one file into plain data, keeping lines and collecting problems on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[KeyPath, str] = {}
        self.problems: list[str] = []
        self.inside: list[yaml.Node] = []

    def mapping(self, node: yaml.MappingNode, at: KeyPath) -> dict[str, object]:
        data: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, here = key_node.value, self.head(key_node)
            if problem := _wrong_key(key_node):
                self.problems.append(f"{here}{dotted(at) or 'top level'}: {problem}")
                continue
            path = (*at, key)
            if key in data:
                self.problems.append(f"{here}{dotted(path)}: given twice, first on line {lines[key]}; keep one of them")
            else:
                lines[key] = _line(key_node)
                self.places[path] = here
                data[key] = self.value(value_node, path)
        return data

    def head(self, node: yaml.Node) -> str:
        return f"{self.path}:{_line(node)}: "

    def value(self, node: yaml.Node, at: KeyPath) -> object:
        if any(node is parent for parent in self.inside):
            self.problems.append(f"{self.head(node)}{dotted(at)}: an alias inside of what it stands for")
            return None
        self.inside.append(node)
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{PREFIX}map":
                return self.mapping(node, at)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{PREFIX}seq":
                return [self.item(item, (*at, index)) for index, item in enumerate(node.value)]
            return self.scalar(node, at)
        finally:
            self.inside.pop()

    def item(self, node: yaml.Node, at: KeyPath) -> object:
        self.places[at] = self.head(node)
        return self.value(node, at)

    def scalar(self, node: yaml.Node, at: KeyPath) -> object:
        try:
            return _scalar(node)
        except ValueError as error:
            self.problems.append(f"{self.head(node)}{dotted(at)}: cannot be read: {error}")
            return None


def _wrong_key(node: yaml.Node) -> str | None:
    """The problem of a key; None if it is a name."""
    if not isinstance(node, yaml.ScalarNode):
        return "keys are names, got a list or a section; delete the `?`"
    key = node.value
    if key == "<<":
        return "merge keys (<<) are not read; write out the keys that are meant"
    if node.tag != TEXT:
        return f"keys are names, got {key!r:.60}; quote it"
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        return f"keys are names of 1 to {LONGEST_KEY} characters in one line, got {key!r:.60}"
    return None


def _scalar(node: yaml.Node) -> object:
    """The value of a node that is no mapping and no list.

    Raises:
        ValueError: If its tag is not allowed, or it is none of its tag.
    """
    if not isinstance(node, yaml.ScalarNode) or node.tag not in (TEXT, *TAGS):
        raise ValueError(f"tag {node.tag:.60} is not allowed; delete it")
    text, tag = node.value, node.tag.rpartition(":")[2]
    if node.tag == TEXT:
        if not is_printable(text):
            raise ValueError(f"control characters are not allowed, got {text!r:.80}")
        return text
    whole = TAGS[f"{PREFIX}int"].fullmatch(text)
    if not TAGS[node.tag].fullmatch(text) and not (tag == "float" and whole):
        raise ValueError(f"{text!r:.60} is no {tag}, as its tag says; delete the tag")
    if tag == "int" and len(text) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(text)} digits; at most {LONGEST_INTEGER} are allowed")
    if tag == "float":
        return _float(text)
    return int(text) if tag == "int" else text.lower() == "true" if tag == "bool" else None


def _float(text: str) -> float:
    if text.lower().endswith(".inf"):
        return float(text.lower().replace(".inf", "inf"))
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.60} is larger than any number that a computer holds, {sys.float_info.max:.3g}")
    return number


class _Extent(NamedTuple):
    n_values: int
    depth: int


def _check_aliases(path: Path, node: yaml.Node) -> None:
    """Refuse what a few aliases (*name) blow up."""
    known: dict[int, _Extent] = {}
    n_values, depth = _extent(node, known)
    if n_values <= MOST_VALUES and depth <= DEEPEST:
        return
    while True:
        large = [
            part for part in _parts(node) if known[id(part)].n_values > MOST_VALUES or known[id(part)].depth > DEEPEST
        ]
        if not large or large[0] is node:
            break
        node = large[0]
    what = f"{n_values:.3g} values" if n_values > MOST_VALUES else f"lists that are nested {depth} deep"
    allowed = f"{MOST_VALUES:,} values, {DEEPEST} deep"
    raise ConfigError(
        [f"{path}:{_line(node)}: aliases (*name) stand for {what} in all; allowed are {allowed}: write them out"]
    )


def _extent(node: yaml.Node, known: dict[int, _Extent]) -> _Extent:
    """Number of values of a node with aliases expanded, and its depth; a node within itself counts once."""
    if id(node) not in known:
        known[id(node)] = _Extent(1, 1)
        parts = [_extent(part, known) for part in _parts(node)]
        known[id(node)] = _Extent(
            1 + sum(part.n_values for part in parts), 1 + max((p.depth for p in parts), default=0)
        )
    return known[id(node)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
