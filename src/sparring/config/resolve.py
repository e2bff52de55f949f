"""From a file, a preset and overrides to one complete configuration, and back to text."""

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sparring.config.completing import attack_kind, complete, merge, part_kind, with_space
from sparring.config.contradictions import contradictions
from sparring.config.limits import beyond_limits
from sparring.config.objectives import boltzmann_per, from_keys, with_per
from sparring.config.problems import ConfigError, KeyPath, dotted, explain, nearest
from sparring.config.proposers import AnyPart, AnyProposer, source_of
from sparring.config.reading import Document, read, write
from sparring.config.sections import Config
from sparring.config.spaces import in_full
from sparring.schema.values import shown

logger = logging.getLogger(__name__)
MOST_PRESETS = 100


def load(path: str | Path, preset: str | None = None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read a configuration and complete it.

    What the file leaves out is filled in by defaults that fit the system. A preset is a partial configuration in the
    file's own ``presets`` section; it is merged over the rest of the file, and overrides over that. Sections are merged
    key by key, lists are replaced, and a section that changes its ``kind`` starts afresh. Presets are checked
    whichever is chosen. The files of ``system``, of ``evaluation`` and of a force field
    are relative to the configuration file, ``labels.store`` to the folder in which the program is run.

    Args:
        path: The YAML file.
        preset: The name of a preset.
        overrides: Nested, or flat with dotted keys: ``{"training.n_epochs": 100}``.

    Raises:
        ConfigError: With all that is wrong, one line a problem.
    """
    path = Path(path)
    document, presets = _without_presets(_as_it_was(read(path), path), path)
    if preset is not None and preset not in presets:
        accepted = nearest(preset, presets) if presets else "the file has none"
        raise ConfigError([f"{path}: presets: no preset is called {preset!r}; {accepted}"])
    chosen = _over(document, presets[preset], path) if preset else document
    config, problems = _validate(_over(chosen, _nested(overrides or {}), path), path)
    for name, other in presets.items():
        # Only the keys of the preset: the rest of the file may need the overrides to be complete.
        own = f": presets.{name}."
        problems += [problem for problem in _validate(_over(document, other, path), path)[1] if own in problem]
    if config is None or problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    _warn_of_keys(_over(chosen, _nested(overrides or {}), path), path)
    return config


def _warn_of_keys(document: Document, path: Path) -> None:
    """Show the formula to write instead of the keys of an objective; a run's own configuration is rewritten anyway."""
    keys = _keys_of_objective(document.data)
    if keys is not None and not _of_a_run(path):
        formula = from_keys(keys)[0]
        logger.warning('%s: attack.objective has keys instead of a formula; write `objective: "%s"`', path, formula)


def _keys_of_objective(data: object) -> Mapping[str, object] | None:
    """The objective of an attack where it is written in keys, not as a formula."""
    attack = data.get("attack") if isinstance(data, Mapping) else None
    objective = attack.get("objective") if isinstance(attack, Mapping) else None
    return objective if isinstance(objective, Mapping) else None


def _of_a_run(path: Path) -> bool:
    return path.name == "config.yaml" and (path.parent / "versions.json").exists()


def weight_counts_per(
    config: Config, proposer: AnyProposer | AnyPart | None = None
) -> Literal["structure", "atom", "degree_of_freedom"]:
    """Amount of structure that kT of Boltzmann weights is meant for, by the objective of a proposer or the system.

    Args:
        config: Configuration.
        proposer: One of its proposers; by default the first.
    """
    proposer = proposer or config.proposers[0]
    return boltzmann_per(getattr(proposer, "objective", "")) or config.system.weight_counts_per


def settled(config: Config, run: Path | None = None) -> Config:
    """The configuration with ``per`` written out in objectives: as a run has it, else as fits the system.

    Args:
        config: Configuration.
        run: Folder of a run that may have begun.

    Raises:
        ConfigError: If the run's own configuration cannot be read.
    """
    objectives = [getattr(proposer, "objective", None) for proposer in config.proposers]
    if all(one is None or with_per(one, "structure") == one for one in objectives):
        return config
    before = run and (run / "versions.json").exists() and (run / "config.yaml").exists()
    known = load(run / "config.yaml") if run and before else config
    of_run = {source_of(proposer): proposer for proposer in known.proposers}
    proposers = []
    for proposer, objective in zip(config.proposers, objectives, strict=True):
        if objective is not None:
            per = weight_counts_per(known, of_run.get(source_of(proposer), proposer))
            proposer = proposer.model_copy(update={"objective": with_per(objective, per)})
        proposers.append(proposer)
    alone = config.propose is None
    return config.model_copy(update={"attack": proposers[0]} if alone else {"propose": tuple(proposers)})


def _as_it_was(document: Document, path: Path) -> Document:
    """A run's own configuration from before there was ``attack.objective.per``, when total energies counted."""
    keys = _keys_of_objective(document.data)
    if keys is None or "per" in keys or not _of_a_run(path):
        return document
    complete = merge(document.data, {"attack": {"objective": {"per": "structure"}}})
    return document._replace(data=dict(complete)) if isinstance(complete, Mapping) else document


def dump(config: Config) -> str:
    """The complete configuration as YAML, which loads back to an equal one; energies in eV, lengths in Å, and so on."""
    return write(config.model_dump(mode="json"))


def _without_presets(document: Document, path: Path) -> tuple[Document, dict[str, Document]]:
    """The file's own values, and what each preset puts over them."""
    data = {key: value for key, value in document.data.items() if key != "presets"}
    given = document.data.get("presets", {})
    presets: dict[str, Document] = {}
    if isinstance(given, Mapping) and len(given) > MOST_PRESETS:
        problem = f"{len(given)} presets, more than {MOST_PRESETS}; split the file"
        raise ConfigError([f"{document.places[('presets',)]}presets: {problem}"])
    for name, values in (given if isinstance(given, Mapping) else {"": given}).items():
        at: KeyPath = ("presets", name) if name else ("presets",)
        head = document.places[at]
        if not isinstance(values, Mapping):
            raise ConfigError([f"{head}{dotted(at)}: wanted a section with `key: value` lines, got {shown(values)}"])
        places = {key[2:]: f"{place}{dotted(at)}." for key, place in document.places.items() if key[:2] == at}
        presets[name] = Document(dict(values), places)
    return Document(data, document.places), presets


def _over(document: Document, update: Document, path: Path) -> Document:
    """One document over another; a portfolio takes the place of an attack, and an attack with a kind that of one."""
    own = document.data
    if update.data.get("propose") is not None:
        own = {key: value for key, value in own.items() if key != "attack"}
    elif isinstance(attack := update.data.get("attack"), Mapping) and "kind" in attack:
        own = {key: value for key, value in own.items() if key != "propose"}
    kind = attack_kind(update.data, attack_kind(own))
    base, new = _in_full(document._replace(data=dict(own)), kind, path), _in_full(update, kind, path)
    data = merge(base if new.get("propose") is not None else with_space(base, kind), new)
    return Document(dict(data) if isinstance(data, Mapping) else {}, {**document.places, **update.places})


def _in_full(document: Document, kind: str, path: Path) -> dict[str, object]:
    """The data of a document with the short keys of proposers in their spaces."""
    problems: list[tuple[KeyPath, str]] = []

    def full(data: Mapping[str, object], kind: str, at: KeyPath) -> dict[str, object]:
        try:
            return in_full(data, kind)
        except KeyError as error:
            key = error.args[0]
            problem = f"is part of {dotted(at)}.space, which is given, too; write `{key}:` there or leave it out"
            problems.append(((*at, key), problem))
            return dict(data)

    data, parts = full(document.data, kind, ("attack",)), document.data.get("propose")
    if isinstance(parts, list):
        places: list[KeyPath] = [("propose", index) for index in range(len(parts))]
        pairs = zip(parts, places, strict=True)
        data["propose"] = [full({"attack": one}, part_kind(one), at)["attack"] for one, at in pairs]
    if problems:
        raise ConfigError(_located(problems, document, path))
    return data


def _nested(overrides: Mapping[str, object]) -> Document:
    data: object = {}
    places: dict[KeyPath, str] = {}
    for name, value in overrides.items():
        steps = name.split(".")
        for step in reversed(steps):
            value = {step: value}
        data = merge(data, value)
        places[tuple(steps)] = "override: "
    return Document(data if isinstance(data, dict) else {}, places)


def _validate(document: Document, path: Path) -> tuple[Config | None, list[str]]:
    data, problems = _with_formula(complete(document.data, path.parent))
    if document.data.get("attack") is not None and document.data.get("propose") is not None:
        problems = [(("propose",), "a run has `attack` or `propose`, not both; leave one of them out"), *problems]
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        return None, _located([*problems, *explain(error, Config)], document, path)
    if problems:
        return None, _located(problems, document, path)
    absurd = list(beyond_limits(config))
    return config, _located(absurd or contradictions(config), document, path)


def _with_formula(data: object) -> tuple[object, list[tuple[KeyPath, str]]]:
    """The data with the formula of an objective that is written in keys, and what is wrong with these."""
    keys = _keys_of_objective(data)
    if keys is None or not isinstance(data, Mapping) or data["attack"].get("kind") != "adversarial":
        return data, []
    formula, problems = from_keys(keys)
    rest = {key: value for key, value in data["attack"].items() if key != "objective"}
    attack = rest if formula is None else {**rest, "objective": formula}
    return {**data, "attack": attack}, [(("attack", "objective", *key), problem) for key, problem in problems]


def _located(problems: Iterable[tuple[KeyPath, str]], document: Document, path: Path) -> list[str]:
    """One line a problem, in the order of the file; a key that is not in the file has the place of its section."""
    order = {key: position for position, key in enumerate(document.places)}
    lines = []
    for long, problem in problems:
        key = _as_written(long, order)
        place = next((key[:length] for length in range(len(key), 0, -1) if key[:length] in order), None)
        head = f"{path}: " if place is None else document.places[place]
        lines.append((-1 if place is None else order[place], f"{head}{dotted(key)}: {problem}"))
    return [line for _, line in sorted(lines)]


def _as_written(key: KeyPath, places: Collection[KeyPath]) -> KeyPath:
    """A key of the space of a proposer as it stands in the file, where that has the short one."""
    n = 2 if key[:1] == ("propose",) else 1
    short = key[:n] + key[n + 1 :]
    of_space = key[:1] in (("attack",), ("propose",)) and key[n : n + 1] == ("space",)
    return short if of_space and key[: n + 2] not in places and short[: n + 1] in places else key
