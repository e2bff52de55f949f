"""Differences between two configurations, as far as they change results."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from sparring.config.problems import KeyPath, dotted
from sparring.config.sections import Config, Evaluation
from sparring.schema.values import shown

__all__ = ["difference", "unchangeable"]

INDIFFERENT = (
    "device",
    "stop",
    "threads",
    "labels.n_workers",
    "labels.store",
    "labels.time_limit",
    "labels.memory_limit",
    "labels.max_failed",
    "labels.min_succeeded",
    *(f"labels.labeller.{key}" for key in ("energy_key", "forces_key", "stress_key", "tolerance")),
    "attack.max_memory",
    "training.checkpoint",
    "system.check_labels",
    "system.skip_bad",
    *(f"system.{key}" for key in ("torsions", "endpoints", "grid", "unphysical")),
    *(f"evaluation.{key}" for key in Evaluation.model_fields),
)
"""Keys that do not change the results of a run, only its speed or its report: they and all keys below them may change
between a run and its continuation."""


def difference(old: Config, new: Config) -> list[str]:
    """Changes of the configuration that change results, one line a key; empty if there is none.

    Keys of speed and report do not count, nor do the folders of the files that a configuration names.
    """
    return [
        f"{dotted(key)}: {shown(was)} -> {shown(now)}"
        for key, was, now in _changes(_without_folders(old), _without_folders(new))
        if not _is_indifferent(dotted(key))
    ]


def unchangeable(config: Config, but: Collection[str] = ()) -> dict[str, object]:
    """Values that change the results of a run, by their keys.

    Args:
        config: Configuration.
        but: Sections that are left out.
    """
    values = _without_folders(config)
    kept = {name: value for name, value in values.items() if name not in but}
    return {dotted(key): value for key, value in _leaves(kept) if not _is_indifferent(dotted(key))}


def _without_folders(config: Config) -> dict[str, Any]:
    """Values of a configuration, with the names of files instead of their paths."""
    values: dict[str, Any] = config.model_dump(mode="json")
    for section in (values["system"], values["labels"]["labeller"]):
        for key in ("file", "topology", "system"):
            if isinstance(section.get(key), str):
                section[key] = PurePath(section[key]).name
        if isinstance(section.get("forcefield"), list):
            section["forcefield"] = [PurePath(one).name for one in section["forcefield"]]
    if isinstance(replay := values["training"].get("replay"), dict):
        replay["file"] = PurePath(replay["file"]).name
    if isinstance(models := values["committee"].get("models"), list):
        values["committee"]["models"] = [PurePath(one).name for one in models]
    return values


def _leaves(values: object, key: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Values that are no sections, with the paths of their keys."""
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from _leaves(value, (*key, name))
    else:
        yield key, values


def _is_indifferent(key: str) -> bool:
    key = re.sub(r"^propose\[\d+\]", "attack", key)
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in INDIFFERENT)


def _changes(old: object, new: object, key: KeyPath = ()) -> Iterator[tuple[KeyPath, object, object]]:
    """The smallest parts that differ; sections of different kind and lists of different length differ as a whole."""
    pairs: Iterable[tuple[str | int, tuple[object, object]]]
    if isinstance(old, Mapping) and isinstance(new, Mapping) and set(old) == set(new) and _same_kind(old, new):
        pairs = ((name, (old[name], new[name])) for name in old)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
    else:
        if old != new:
            yield key, old, new
        return
    for step, (was, now) in pairs:
        yield from _changes(was, now, (*key, step))


def _same_kind(old: Mapping[str, object], new: Mapping[str, object]) -> bool:
    return old.get("kind") == new.get("kind")
