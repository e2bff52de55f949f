"""Results of a validation as JSON files: what the report and other programs read."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Any, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from ase import Atoms

from sparring.inputs.extxyz import structures_text
from sparring.support.checksums import require_unchanged, write_recorded
from sparring.support.files import write_bytes

__all__ = ["Kind", "keep", "keep_frames", "read_record", "write_record"]

T = TypeVar("T")
Kind: TypeAlias = type[T] | GenericAlias
"""The dataclass of a result, or a tuple of them: `tuple[Result, ...]`."""
KEPT = "validation"
"""Name of the folder of results that reports read, whose files are recorded with their SHA-256."""


def keep(path: Path, content: bytes) -> None:
    """Write a file of a result, which is recorded in the checksums of its folder if reports look there."""
    kept = KEPT in (path.absolute().parent.name, path.absolute().parent.parent.name)
    (write_recorded if kept else write_bytes)(path, content)


def keep_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write the structures of a result; see :func:`keep`."""
    keep(path, structures_text(path, frames).encode())


def write_record(path: Path, result: object) -> None:
    """Write a result: a frozen dataclass of numbers, texts, arrays, tuples, mappings and such dataclasses; or several.

    Numbers that are not finite are written as null.
    """
    keep(path, (json.dumps(_plain(result), indent=1, allow_nan=False) + "\n").encode())


def read_record(path: Path, kind: Kind[T]) -> T:
    """Read a result of a kind; its arrays are arrays again, and null in them is nan.

    Raises:
        ValueError: If the file holds no such result, or has changed since it was written.
    """
    require_unchanged(path, "delete it, and compute it again")
    try:
        return cast("T", _result(kind, json.loads(path.read_text(encoding="utf-8"))))
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not hold a {kind.__name__}: {error}") from None


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _result(kind: Any, value: Any) -> Any:  # noqa: ANN401
    """Undo :func:`_plain`, guided by the annotations."""
    if hasattr(kind, "array_type"):  # jaxtyping's
        return np.array(value, dtype={"Bool": bool, "Int": int}.get(kind.dtype.__name__, float))
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        # What a result did not have when it was written is what it is by default.
        fields = [field for field in dataclasses.fields(kind) if field.name in value or _is_needed(field)]
        return kind(**{field.name: _result(hints[field.name], value[field.name]) for field in fields})  # type: ignore[operator]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (one,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _result(one, value)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[1:] == (Ellipsis,) else arguments
        return tuple(_result(of, one) for of, one in zip(kinds, value, strict=True))
    if origin is Mapping:
        return {key: _result(arguments[1], one) for key, one in value.items()}
    return math.nan if kind is float and value is None else value


def _is_needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
