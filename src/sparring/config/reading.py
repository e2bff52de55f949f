"""A YAML file as plain data with the line of every key.

Plain words and numbers are read as YAML 1.2 has them, not as PyYAML does by default: ``3e-4`` is a number, ``yes`` and
``1:30`` are text, ``010`` is ten. A key that is given twice is an error, and so is a tag for an object.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from sparring.config.problems import ConfigError, KeyPath, dotted
from sparring.support.suggestions import most_similar

FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$")


class Document(NamedTuple):
    """Data of a file; ``places`` maps the path of a key to the beginning of its messages, "file:line: "."""

    data: dict[str, object]
    places: dict[KeyPath, str]


LARGEST_FILE = 1_000_000
"""Bytes of a configuration; the largest that makes sense is a thousand times smaller."""
DEEPEST, MOST_VALUES = 50, 100_000
"""Largest depth of sections and lists, and largest number of values with aliases expanded."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        self.depth += 1
        try:
            if self.depth > DEEPEST:
                problem = f"nested more than {DEEPEST} deep; sections and lists are never that deep"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        finally:
            self.depth -= 1


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this or the usual reader would take for something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def read(path: Path) -> Document:
    """Read a configuration file.

    Raises:
        ConfigError: If there is no such file, or it is not one YAML mapping; with the line where that is known.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax(path, error)]) from error
    except yaml.reader.ReaderError as error:
        raise ConfigError([_unreadable(path, text, error)]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{path}: not valid YAML: nested too deep"]) from error
    if node is None:
        raise ConfigError([f"{path}: the file is empty; `sparring init` writes an example to start from"])
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            [f"{path}:{_line(node)}: wanted sections with `key: value` lines, got {type(node).__name__[:-4].lower()}"]
        )
    _check_aliases(path, node)
    reader = _Reader(path, loader)
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

    def __init__(self, path: Path, loader: _Loader) -> None:
        self.path = path
        self.loader = loader
        self.places: dict[KeyPath, str] = {}
        self.problems: list[str] = []
        self.inside: list[yaml.Node] = []

    def mapping(self, node: yaml.MappingNode, at: KeyPath) -> dict[str, object]:
        data: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, here = key_node.value, self.head(key_node)
            path = (*at, str(key))
            if key_node.tag != "tag:yaml.org,2002:str":
                self.problems.append(f"{here}{dotted(at) or 'top level'}: keys are names, got {key!r:.60}; quote it")
            elif key in data:
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
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return self.mapping(node, at)
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.item(item, (*at, index)) for index, item in enumerate(node.value)]
            return self.scalar(node, at)
        finally:
            self.inside.pop()

    def item(self, node: yaml.Node, at: KeyPath) -> object:
        self.places[at] = self.head(node)
        return self.value(node, at)

    def scalar(self, node: yaml.Node, at: KeyPath) -> object:
        try:
            if not isinstance(node, yaml.ScalarNode):
                raise ValueError(f"tag {node.tag} is not allowed")
            return _plain(self.loader.construct_object(node))
        except (yaml.YAMLError, ValueError) as error:
            why = getattr(error, "problem", None) or error
            self.problems.append(f"{self.head(node)}{dotted(at)}: cannot be read: {why}")
            return None


def _plain(value: object) -> object:
    """A value, unless it is a text with characters that no name and no number has."""
    if isinstance(value, str) and any(unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t" for one in value):
        raise ValueError(f"control characters are not allowed, got {value!r:.80}")
    return value


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


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        files = [str(path.parent / found.name) for found in path.parent.glob("*.y*ml")]
        near = most_similar(str(path), files, cutoff=0.6)
        hint = f"did you mean {near}?" if near else "`sparring init` writes an example to start from"
        raise ConfigError([f"{path}: there is no such file; {hint}"]) from error
    except IsADirectoryError as error:
        found = sorted(path.glob("*.y*ml"))
        hint = f"; did you mean {found[0]}?" if found else "; give the YAML file"
        raise ConfigError([f"{path}: this is a folder, not a configuration{hint}"]) from error
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(
            [f"{path}: larger than {LARGEST_FILE / 1e6:g} MB, so no configuration; structures belong into a file"]
        )
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        what = "a text file in UTF-16" if wide else f"not a text file in UTF-8 (byte {error.start})"
        raise ConfigError([f"{path}:{line}: {what}; save it as UTF-8"]) from error


def _unreadable(path: Path, text: str, error: yaml.reader.ReaderError) -> str:
    line = text.count("\n", 0, error.position) + 1
    return f"{path}:{line}: not valid YAML: unacceptable character #x{ord(text[error.position]):04x}; delete it"


def _syntax(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or error.context or "cannot be read"
    if r"'\t'" in problem:
        problem = "found a tab; indent with spaces"
    elif "mapping values are not allowed" in problem:
        problem = "found a second `key:` on one line, or a line that is indented too far"
    elif "expected <block end>" in problem:
        problem = "the indentation does not fit the lines above it"
    elif "another document" in problem:
        problem = "found a second document after `---`; keep one"
    elif error.context_mark and "flow" in (error.context or ""):
        problem += f"; the bracket that opens on line {error.context_mark.line + 1} is not closed"
    return f"{path}:{line}: not valid YAML (column {column}): {problem}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
