"""Problems of a configuration, with messages that help to correct it."""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from sparring.schema.values import bound, shown
from sparring.support.suggestions import most_similar

KeyPath = tuple[str | int, ...]

WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "path": "the name of a file or folder",
    "tuple": "a list such as [a, b]",
    "model": "a section with `key: value` lines",
    "mapping": "a section with `key: value` lines",
}
LIMITS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


MOST_SHOWN, MOST_EXPLAINED, MOST_HOMES = 30, 100, 3
"""Largest numbers of problems in a message, of problems that are explained, and of sections that a key belongs in."""


class ConfigError(ValueError):
    """A configuration that cannot be used, with one line a problem: "file:line: key: problem and correction"."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = [f"and {len(problems) - MOST_SHOWN} more problems"] if len(problems) > MOST_SHOWN else []
        super().__init__("\n".join([*problems[:MOST_SHOWN], *more]))
        self.problems = tuple(problems)


class _Where(NamedTuple):
    path: KeyPath
    sections: tuple[type[BaseModel], ...]  # what may stand there; for an unknown key, the section that it stands in


def dotted(path: Iterable[str | int]) -> str:
    """The path of a key in dotted form.

    >>> dotted(("selection", 0, "percentile"))
    'selection[0].percentile'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def nearest(name: str, accepted: Iterable[str]) -> str:
    """Name the accepted word that is nearest to what was given, and all of them.

    >>> nearest("schent", ["schnet", "coordinate_mlp"])
    'did you mean schnet? accepted: schnet, coordinate_mlp'
    """
    accepted = list(accepted)
    near = most_similar(name, accepted)
    return f"{f'did you mean {near}? ' if near else ''}accepted: {', '.join(accepted)}"


def explain(error: ValidationError, top: type[BaseModel]) -> list[tuple[KeyPath, str]]:
    """The problems that pydantic found, each with the path of its key and a sentence; of very many, the first ones."""
    return [_explain(dict(problem), top) for problem in error.errors(include_url=False)[:MOST_EXPLAINED]]


def _explain(problem: Mapping[str, Any], top: type[BaseModel]) -> tuple[KeyPath, str]:
    where = _locate(problem["loc"], top)
    kind, got, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return where.path, _unknown_key(where, top)
    if kind == "union_tag_invalid":
        accepted = nearest(context["tag"], map(_kind, where.sections))
        return (*where.path, "kind"), f"{context['tag']!r:.80} is not known; {accepted}"
    if kind == "union_tag_not_found":
        return where.path, f"needs a `kind:` line; accepted: {', '.join(map(_kind, where.sections))}"
    if kind == "literal_error":
        accepted = nearest(str(got), re.findall("'([^']*)'", context["expected"]))
        return where.path, f"{shown(got)} is not known; {accepted}"
    if kind == "missing" and isinstance(where.path[-1], int):
        return where.path[:-1], f"has too few values, got {shown(got)}"
    return where.path, _wrong_value(kind, got, context, where)


def _wrong_value(kind: str, got: object, context: Mapping[str, Any], where: _Where) -> str:
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return f"is missing; add a line `{where.path[-1]}: ...`"
    if kind == "too_short":
        return f"wanted at least {context['min_length']}, got {shown(got)}"
    if kind == "too_long":
        return f"wanted at most {context['max_length']} values, got {context['actual_length']}"
    if kind in LIMITS:
        word, limit = LIMITS[kind]
        return f"must be {word} {bound(context[limit])}, got {got!r:.80}"
    if got is None:
        return "is empty; give it a value or delete the line"
    wanted = WANTED.get(kind.partition("_")[0])
    kinds = [_kind(section) for section in where.sections if "kind" in section.model_fields]
    hint = f"; write `{{kind: {got}}}`" if got in kinds else ""
    if kind == "tuple_type" and isinstance(got, Mapping):
        hint = "; begin every item with `- `"
    return f"wanted {wanted}, got {shown(got)}{hint}"


def _unknown_key(where: _Where, top: type[BaseModel]) -> str:
    """A key that belongs elsewhere is sent there; any other gets the nearest name of its section."""
    key = str(where.path[-1])
    if key == "trust_pickle":
        return (
            "a configuration cannot consent to unpickle, because it may come from somebody else; give --trust-pickle "
            "on the command line, or set SPARRING_TRUST_PICKLE=1 in the environment"
        )
    homes = [] if key == "kind" else list(_sections_of_keys(top).get(key, ()))
    if homes:
        others = f" and {len(homes) - MOST_HOMES} other sections" if len(homes) > MOST_HOMES else ""
        return f"unknown key here; `{key}` belongs in {' or '.join(homes[:MOST_HOMES])}{others}"
    accepted = [name for section in where.sections for name in section.model_fields]
    if len(where.path) == 1:
        accepted.append("presets")
    return f"unknown key; {nearest(key, accepted)}"


@functools.cache
def _sections_of_keys(top: type[BaseModel]) -> dict[str, dict[str, None]]:
    """For every key the names of the sections that it belongs in, each once, in their order."""
    found: dict[str, dict[str, None]] = {}
    for key, name in _keys(top, ""):
        found.setdefault(key, {})[name or "the top level"] = None
    return found


def _keys(section: type[BaseModel], name: str) -> Iterator[tuple[str, str]]:
    """Every key of a section and of those within, and the name of the section."""
    yield from ((key, name) for key in section.model_fields)
    for field, info in section.model_fields.items():
        inner = list(_models(info.annotation))
        for model in inner:
            label = f"{name}.{field}".removeprefix(".")
            yield from _keys(model, f"{label} (kind: {_kind(model)})" if len(inner) > 1 else label)


def _locate(loc: Iterable[str | int], top: type[BaseModel]) -> _Where:
    """Pydantic's location names the kinds of unions as if they were keys: leave them out."""
    path: KeyPath = ()
    sections: tuple[type[BaseModel], ...] = (top,)
    for step in loc:
        if isinstance(step, str) and len(sections) > 1:
            sections = tuple(section for section in sections if _kind(section) == step)
            continue
        path = (*path, step)
        if isinstance(step, str) and sections and step in sections[0].model_fields:
            sections = tuple(_models(sections[0].model_fields[step].annotation))
    return _Where(path, sections)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _kind(section: type[BaseModel]) -> str:
    return str(get_args(section.model_fields["kind"].annotation)[0])
