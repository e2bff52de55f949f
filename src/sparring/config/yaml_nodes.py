"""A YAML file as the tree of its nodes: bounded in size before it is read, and with the line of every problem.

Plain words and numbers are resolved as YAML 1.2 has them: ``3e-4`` is a number, ``yes`` and ``1:30`` are text.
"""

import re
import stat
from pathlib import Path

import yaml

from sparring.config.problems import ConfigError
from sparring.support.suggestions import most_similar

__all__ = ["DEEPEST", "FLOAT", "MOST_VALUES", "PREFIX", "TAGS", "TEXT", "node_of"]

FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$")
PREFIX = "tag:yaml.org,2002:"
TEXT = f"{PREFIX}str"
TAGS = {
    f"{PREFIX}null": re.compile(r"(~|null|Null|NULL|)$"),
    f"{PREFIX}bool": re.compile(r"(true|True|false|False)$"),
    f"{PREFIX}int": re.compile(r"[-+]?[0-9]+$"),
    f"{PREFIX}float": FLOAT,
}
"""Patterns of plain words that have a tag; all others are text."""
LARGEST_FILE = 1_000_000
"""Bytes of a configuration; the largest that makes sense is a hundred times smaller."""
DEEPEST, MOST_VALUES = 50, 10_000
"""Largest depth of sections and lists, and largest number of keys and values, with aliases expanded."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0
    n_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        self.depth += 1
        self.n_nodes += 1
        try:
            if self.depth > DEEPEST:
                self._refuse(f"nested more than {DEEPEST} deep; sections and lists are never that deep")
            if self.n_nodes > MOST_VALUES:
                self._refuse(f"more than {MOST_VALUES:,} keys and values; structures belong into a file of their own")
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        finally:
            self.depth -= 1

    def _refuse(self, problem: str) -> None:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]


for _tag, _first in {
    "null": ["~", "n", "N", ""],
    "bool": "tTfF",
    "int": "-+0123456789",
    "float": "-+.0123456789",
}.items():
    _Loader.add_implicit_resolver(f"{PREFIX}{_tag}", TAGS[f"{PREFIX}{_tag}"], list(_first))


def node_of(path: Path, text: str | None = None) -> yaml.MappingNode:
    """The mapping that a file holds.

    Args:
        path: Path of the file.
        text: Its text, if that has been read already.

    Raises:
        ConfigError: If there is no such file, or it is not one YAML mapping; with the line where that is known.
    """
    text = _text(path) if text is None else text
    try:
        node = _Loader(text).get_single_node()
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
    if not isinstance(node, yaml.MappingNode) or node.tag != f"{PREFIX}map":
        found = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        found = f"the tag {node.tag:.60}" if isinstance(node, yaml.MappingNode) else found
        line = node.start_mark.line + 1
        raise ConfigError([f"{path}:{line}: wanted sections with `key: value` lines, got {found}"])
    return node


def _text(path: Path) -> str:
    content = _content(path)
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


def _content(path: Path) -> bytes:
    """The bytes of a file, and one more than are allowed if it is larger."""
    try:
        kind = path.stat().st_mode
        # A pipe without a writer is waited for without an end.
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise ConfigError([f"{path}: this is a pipe or a device, not a file; save the configuration in a file"])
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        files = [str(path.parent / found.name) for found in path.parent.glob("*.y*ml")]
        near = most_similar(str(path), files, cutoff=0.6)
        hint = f"did you mean {near}?" if near else "`sparring init` writes an example to start from"
        raise ConfigError([f"{path}: there is no such file; {hint}"]) from error
    except IsADirectoryError as error:
        found = sorted(path.glob("*.y*ml"))
        hint = f"; did you mean {found[0]}?" if found else "; give the YAML file"
        raise ConfigError([f"{path}: this is a folder, not a configuration{hint}"]) from error
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from error


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
    elif "another document" in problem or "<document start>" in problem:
        problem = "found a second document after `---` or `...`; keep one"
    elif problem == "second occurrence":
        problem = "an anchor (&name) is given twice; keep one of them"
    elif error.context_mark and "flow" in (error.context or ""):
        problem += f"; the bracket that opens on line {error.context_mark.line + 1} is not closed"
    return f"{path}:{line}: not valid YAML (column {column}): {problem:.200}"
