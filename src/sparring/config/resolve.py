"""From a file, a preset and overrides to one complete configuration, and back to text."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Literal

from pydantic import ValidationError

from sparring.config.contradictions import contradictions
from sparring.config.limits import beyond_limits
from sparring.config.objectives import boltzmann_per, from_keys, with_per
from sparring.config.problems import ConfigError, KeyPath, dotted, explain, nearest
from sparring.config.reading import Document, read, write
from sparring.config.sections import Config
from sparring.config.spaces import SHORT, in_full
from sparring.schema.values import shown
from sparring.systems.sections import SECTIONS, SystemSection

logger = logging.getLogger(__name__)
MOST_PRESETS = 100
INDIFFERENT = (
    "device",
    "threads",
    "labels.n_workers",
    "labels.store",
    "labels.time_limit",
    "labels.memory_limit",
    "labels.max_failed",
    "attack.max_memory",
    "system.check_labels",
    *(f"system.{key}" for key in ("torsions", "endpoints", "grid", "unphysical")),
    *(f"evaluation.{key}" for key in ("file", "energy_key", "forces_key", "near")),
)
"""Where and how fast a run is computed, and what the report compares, not what the run does: these may change between
 a run and its continuation, and so may all keys below them."""


def load(path: str | Path, preset: str | None = None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read a configuration and complete it.

    What the file leaves out is filled in by defaults that fit the system. A preset is a partial configuration in the
    file's own ``presets`` section; it is merged over the rest of the file, and overrides over that. Sections are merged
    key by key, lists are replaced, and a section that changes its ``kind`` starts afresh. What presets say is checked
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
        # Only what the preset itself says: the rest of the file may need the overrides to be complete.
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


def weight_counts_per(config: Config) -> Literal["structure", "atom", "degree_of_freedom"]:
    """``per`` of the Boltzmann weight: as the formula has it, else the paper's form for the paper's systems."""
    return boltzmann_per(getattr(config.attack, "objective", "")) or config.system.weight_counts_per


def settled(config: Config, run: Path | None = None) -> Config:
    """The configuration with ``per`` written out in ``attack.objective``: as a run has it, else as fits the system.

    Args:
        config: Configuration.
        run: Folder of a run that may have begun.

    Raises:
        ConfigError: If the run's own configuration cannot be read.
    """
    objective = getattr(config.attack, "objective", None)
    if objective is None or with_per(objective, "structure") == objective:
        return config
    before = run and (run / "versions.json").exists() and (run / "config.yaml").exists()
    known = load(run / "config.yaml") if run and before else config
    per = weight_counts_per(known)
    attack = config.attack.model_copy(update={"objective": with_per(objective, per)})
    return config.model_copy(update={"attack": attack})


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


def difference(old: Config, new: Config) -> list[str]:
    """What a change of configuration would change in the results, one line a key, empty if nothing.

    Keys that only say where and how fast a run is computed do not count, nor do the folders of files that it names.
    """
    before, after = (config.model_dump(mode="json") for config in (old, new))
    for values in (before, after):
        for section in (values["system"], values["labels"]["labeller"]):
            for key in ("file", "topology", "system"):
                if isinstance(section.get(key), str):
                    section[key] = PurePath(section[key]).name
            if isinstance(section.get("forcefield"), list):
                section["forcefield"] = [PurePath(one).name for one in section["forcefield"]]
    return [
        f"{dotted(key)}: {shown(was)} -> {shown(now)}"
        for key, was, now in _changes(before, after)
        if not _is_indifferent(dotted(key))
    ]


def _is_indifferent(key: str) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in INDIFFERENT)


def merge(base: object, update: object) -> object:
    """Merge two nested mappings; the second wins. Lists are replaced, and so is a mapping whose ``kind`` changes.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    >>> merge({"kind": "pyscf", "method": "HF/STO-3G"}, {"kind": "ase", "name": "emt"})
    {'kind': 'ase', 'name': 'emt'}
    """
    if not isinstance(base, Mapping) or not isinstance(update, Mapping):
        return update
    if "kind" in base and update.get("kind", base["kind"]) != base["kind"]:
        return update
    new = {key: merge(base[key], value) if key in base else value for key, value in update.items()}
    return {**base, **new}


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
    kind = _attack_kind(update.data, _attack_kind(document.data))
    data = merge(_with_space(_in_full(document, kind, path), kind), _in_full(update, kind, path))
    return Document(dict(data) if isinstance(data, Mapping) else {}, {**document.places, **update.places})


def _attack_kind(data: Mapping[str, object], otherwise: str = "adversarial") -> str:
    attack = data.get("attack")
    return str(attack.get("kind", otherwise)) if isinstance(attack, Mapping) else otherwise


def _in_full(document: Document, kind: str, path: Path) -> dict[str, object]:
    try:
        return in_full(document.data, kind)
    except KeyError as error:
        key = error.args[0]
        problem = f"is part of attack.space, which is given, too; write `{key}:` there or leave it out"
        raise ConfigError(_located([(("attack", key), problem)], document, path)) from None


def _with_space(data: Mapping[str, object], kind: str) -> object:
    """Where nothing is said of the space of an attack, it is the Cartesian one."""
    return merge({"attack": {"space": {"kind": "cartesian"}}}, data) if kind in SHORT else data


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
    data, problems = _with_formula(_complete(document.data, path.parent))
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


def _complete(data: Mapping[str, object], folder: Path) -> object:
    """Put the defaults of the system under the data, and make the name of a file hold wherever the program runs."""
    system = data.get("system")
    system = system if isinstance(system, Mapping) else {}
    section = SECTIONS.get(str(system.get("kind")), SystemSection)
    attack = _attack_kind(data)
    defaults = in_full(_for_any_attack(section.defaults, attack), attack)
    completed = merge(_with_space(defaults, attack), data)
    found = {key: _from_folder(system[key], folder) for key in section.paths if key in system}
    completed = merge(completed, {"system": found}) if found else completed
    evaluation = data.get("evaluation")
    if isinstance(evaluation, Mapping) and isinstance(evaluation.get("file"), str):
        completed = merge(completed, {"evaluation": {"file": str((folder / evaluation["file"]).absolute())}})
    completed = _complete_forcefield(completed, section.forcefield, folder)
    # Last, because what fits the system fits any kind of attack.
    return merge({"attack": {"kind": "adversarial"}}, completed)


def _from_folder(names: object, folder: Path) -> object:
    """The name of a file, several of them, or a section with a ``file``, from the folder of the configuration."""
    if isinstance(names, str):
        return str((folder / names).absolute())
    if isinstance(names, list):
        return [_from_folder(name, folder) if isinstance(name, str) else name for name in names]
    if isinstance(names, Mapping) and isinstance(names.get("file"), str):
        return {**names, "file": _from_folder(names["file"], folder)}
    return names


def _for_any_attack(defaults: Mapping[str, object], attack: str) -> dict[str, object]:
    """The defaults of a system without axes where the attack is a plugin, which may not have any."""
    section = defaults.get("attack")
    if attack != "plugin" or not isinstance(section, Mapping):
        return dict(defaults)
    return {**defaults, "attack": {key: value for key, value in section.items() if key != "axes"}}


def _complete_forcefield(data: object, default: str | None, folder: Path) -> object:
    """The files of a force field from the folder of the configuration; what is no file there is a name."""
    labels = data.get("labels") if isinstance(data, Mapping) else None
    labeller = labels.get("labeller") if isinstance(labels, Mapping) else None
    if not isinstance(labeller, Mapping) or labeller.get("kind") != "openmm":
        return data
    found: dict[str, object] = {}
    for name in ("topology", "system"):
        if isinstance(labeller.get(name), str):
            found[name] = str((folder / labeller[name]).absolute())
    fields = labeller.get("forcefield")
    if fields is None and labeller.get("system") is None and default is not None:
        fields = [default]
    if isinstance(fields, str):
        fields = [fields]
    if isinstance(fields, list) and all(isinstance(one, str) for one in fields):
        found["forcefield"] = [str((folder / one).absolute()) if (folder / one).is_file() else one for one in fields]
    return merge(data, {"labels": {"labeller": found}})


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
    """A key of an attack's space as it stands in the file, where that has the short one."""
    short = key[:1] + key[2:]
    return short if key[:2] == ("attack", "space") and key[:3] not in places and short[:2] in places else key


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
