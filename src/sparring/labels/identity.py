"""Identity of a labeller in the key of a label: its parameters and the version of its code."""

import functools
import hashlib
import importlib
import inspect
import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions
from importlib.metadata import version as distribution_version
from pathlib import Path

import numpy as np


def code_version(calculator_class: type) -> str:
    """The installed distribution that provides a class, with its version; else a checksum of the class's module."""
    package = calculator_class.__module__.partition(".")[0]
    try:
        names = sorted(set(_distributions().get(package, [package])))
        return ", ".join(f"{name} {distribution_version(name)}" for name in names)
    except PackageNotFoundError:
        pass
    try:
        module = inspect.getsource(importlib.import_module(calculator_class.__module__))
    except (OSError, TypeError):
        raise ValueError(
            f"{calculator_class.__qualname__} is neither from an installed package nor from a file, so its version is "
            "not known; give FromCalculator a version"
        ) from None
    return f"{calculator_class.__module__} {hashlib.sha256(module.encode()).hexdigest()[:16]}"


def described(parameters: Mapping[str, object]) -> str:
    """Parameters as text that is the same wherever they are equal; one that names a file counts by its content.

    Raises:
        ValueError: If a parameter is no number, string, file, list or mapping.
    """
    return json.dumps(_plain(parameters), sort_keys=True, ensure_ascii=False)


def absolute(parameters: Mapping[str, object]) -> dict[str, object]:
    """Parameters whose files and folders do not depend on the current folder, which is another for every label.

    A text that names a file here is that file. One that names a folder is that folder if the parameter is for
    folders, such as ``pseudo_dir``, or if the text has a slash.
    """
    return {name: _absolute(name, value) for name, value in parameters.items()}


def _absolute(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _absolute(str(key), entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_absolute(name, entry) for entry in value)
    if not isinstance(value, str | os.PathLike) or not str(value) or "\n" in str(value):
        return value
    path = Path(value)
    named = os.sep in str(value) or any(word in name.casefold() for word in ("dir", "path", "folder"))
    try:
        found = path.is_file() or (named and path.is_dir())
    except (OSError, ValueError):
        return value
    return str(path.absolute()) if found and not path.is_absolute() else value


def _plain(value: object) -> object:
    """A parameter as JSON has it; a file by what is in it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, str | os.PathLike) and Path(value).is_file():
        return {"file_sha256": hashlib.sha256(Path(value).read_bytes()).hexdigest()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"a parameter is made of numbers, strings, files, lists and mappings, got {value!r}")


_distributions = functools.cache(packages_distributions)
