"""A YAML file as plain data that remembers on which line every key stands.

Plain words and numbers are read as YAML 1.2 has them, not as PyYAML does by default: ``3e-4`` is a number, ``yes`` and
``1:30`` are text, ``010`` is ten. A key that is given twice is an error, and so is a tag that asks for an object.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import yaml

from sparring.config.problems import ConfigError, KeyPath, dotted

FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$")


class Document(NamedTuple):
    """What a file says, and where: ``places`` maps the path of a key to how a line about it begins, "file:line: "."""

    data: dict[str, object]
    places: dict[KeyPath, str]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


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
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from error
    if node is None:
        raise ConfigError([f"{path}: the file is empty; `sparring init` writes an example to start from"])
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            [f"{path}:{_line(node)}: wanted sections with `key: value` lines, got {type(node).__name__[:-4].lower()}"]
        )
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
            return self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            why = getattr(error, "problem", None) or error
            self.problems.append(f"{self.head(node)}{dotted(at)}: cannot be read: {why}")
            return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        files = [str(path.parent / found.name) for found in path.parent.glob("*.y*ml")]
        near = get_close_matches(str(path), files, n=1)
        hint = f"did you mean {near[0]}?" if near else "`sparring init` writes an example to start from"
        raise ConfigError([f"{path}: there is no such file; {hint}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not a text file in UTF-8 (byte {error.start}); save it as UTF-8"]) from error
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error


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
