"""From a file, a preset and overrides to one complete configuration, and back to text."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from pydantic import ValidationError

from sparring.config.problems import ConfigError, KeyPath, dotted, explain, nearest
from sparring.config.reading import Document, read, write
from sparring.config.sections import Config
from sparring.config.values import shown

DIMENSIONS = {"double_well_1d": 1, "double_well_2d": 2}
MOLECULE: dict[str, object] = {
    "labels": {"labeller": {"kind": "pyscf"}},
    "committee": {"potential": {"kind": "schnet"}},
}


def _well(n_coordinates: int) -> dict[str, object]:
    # The walls of a well are steep and its depth is arbitrary: bounds made for molecules would refuse good labels.
    no_bounds = {"min_distance": None, "max_force": None, "energy_window": None}
    return {
        "labels": {"labeller": {"kind": "ground_truth"}, "bounds": no_bounds},
        "committee": {"potential": {"kind": "coordinate_mlp", "n_coordinates": n_coordinates}},
        "training": {"splits": {"validation": "shared"}, "patience": None},
        "attack": {"axes": "xyz"[:n_coordinates], "seeds": "random", "n_seeds": None},
    }


DEFAULTS: dict[str, dict[str, object]] = {
    "double_well_1d": _well(1),
    "double_well_2d": _well(2),
    "ammonia": MOLECULE,
    "own": MOLECULE,
}
INDIFFERENT = ("device", "labels.n_workers", "labels.store", "attack.max_memory")
"""Where and how fast a run is computed, not what: these may change between a run and its continuation."""


def load(path: str | Path, preset: str | None = None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read a configuration and complete it.

    What the file leaves out is filled in by defaults that fit the system. A preset is a partial configuration in the
    file's own ``presets`` section; it is merged over the rest of the file, and overrides over that. Sections are merged
    key by key, lists are replaced, and a section that changes its ``kind`` starts afresh. What presets say is checked
    whichever is chosen. ``system.file`` is relative to the configuration file, ``labels.store`` to the folder in which
    the program is run.

    Args:
        path: The YAML file.
        preset: The name of a preset.
        overrides: Nested, or flat with dotted keys: ``{"training.n_epochs": 100}``.

    Raises:
        ConfigError: With all that is wrong, one line a problem.
    """
    path = Path(path)
    document, presets = _without_presets(read(path), path)
    if preset is not None and preset not in presets:
        accepted = nearest(preset, presets) if presets else "the file has none"
        raise ConfigError([f"{path}: presets: no preset is called {preset!r}; {accepted}"])
    chosen = _over(document, presets[preset]) if preset else document
    config, problems = _validate(_over(chosen, _nested(overrides or {})), path)
    for name, other in presets.items():
        # Only what the preset itself says: the rest of the file may need the overrides to be complete.
        own = f": presets.{name}."
        problems += [problem for problem in _validate(_over(document, other), path)[1] if own in problem]
    if config is None or problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def dump(config: Config) -> str:
    """The complete configuration as YAML, which loads back to an equal one; energies in eV, lengths in Å, and so on."""
    return write(config.model_dump(mode="json"))


def difference(old: Config, new: Config) -> list[str]:
    """What a change of configuration would change in the results, one line a key, empty if nothing.

    Keys that only say where and how fast a run is computed do not count, nor does the folder of ``system.file``.
    """
    before, after = (config.model_dump(mode="json") for config in (old, new))
    for values in (before, after):
        if "file" in values["system"]:
            values["system"]["file"] = PurePath(values["system"]["file"]).name
    return [
        f"{dotted(key)}: {shown(was)} -> {shown(now)}"
        for key, was, now in _changes(before, after)
        if dotted(key) not in INDIFFERENT
    ]


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
    presets = {}
    for name, values in (given if isinstance(given, Mapping) else {"": given}).items():
        at: KeyPath = ("presets", name) if name else ("presets",)
        head = document.places[at]
        if not isinstance(values, Mapping):
            raise ConfigError([f"{head}{dotted(at)}: wanted a section with `key: value` lines, got {shown(values)}"])
        places = {key[2:]: f"{place}{dotted(at)}." for key, place in document.places.items() if key[:2] == at}
        presets[name] = Document(dict(values), places)
    return Document(data, document.places), presets


def _over(document: Document, update: Document) -> Document:
    data = merge(document.data, update.data)
    return Document(dict(data) if isinstance(data, Mapping) else {}, {**document.places, **update.places})


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
    try:
        config = Config.model_validate(_complete(document.data, path.parent))
    except ValidationError as error:
        return None, _located(explain(error, Config), document, path)
    return config, _located(_contradictions(config), document, path)


def _complete(data: Mapping[str, object], folder: Path) -> object:
    """Put the defaults of the system under the data, and make the name of a file hold wherever the program runs."""
    system = data.get("system")
    system = system if isinstance(system, Mapping) else {}
    completed = merge(DEFAULTS.get(str(system.get("kind")), MOLECULE), data)
    if isinstance(system.get("file"), str):
        completed = merge(completed, {"system": {"file": str((folder / system["file"]).absolute())}})
    # Last, because what fits the system fits any kind of attack.
    return merge({"attack": {"kind": "adversarial"}}, completed)


def _located(problems: Iterable[tuple[KeyPath, str]], document: Document, path: Path) -> list[str]:
    """One line a problem, in the order of the file; a key that is not in the file has the place of its section."""
    order = {key: position for position, key in enumerate(document.places)}
    lines = []
    for key, problem in problems:
        place = next((key[:length] for length in range(len(key), 0, -1) if key[:length] in order), None)
        head = f"{path}: " if place is None else document.places[place]
        lines.append((-1 if place is None else order[place], f"{head}{dotted(key)}: {problem}"))
    return [line for _, line in sorted(lines)]


def _contradictions(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Values that are right by themselves but do not fit each other."""
    kind, potential, training, attack = config.system.kind, config.committee.potential, config.training, config.attack
    dimensions = DIMENSIONS.get(kind)
    wanted = "schnet" if dimensions is None else "coordinate_mlp"
    if potential.kind != wanted:
        yield ("committee", "potential", "kind"), f"{potential.kind} does not fit system {kind}; use {wanted}"
    elif potential.kind == "coordinate_mlp" and potential.n_coordinates != dimensions:
        at = ("committee", "potential", "n_coordinates")
        yield at, f"must be {dimensions} for system {kind}, got {potential.n_coordinates}"
    labeller = config.labels.labeller.kind
    if (labeller == "ground_truth") != (dimensions is not None):
        fitting = "pyscf, ase or plugin" if dimensions is None else "ground_truth"
        yield ("labels", "labeller", "kind"), f"{labeller} does not fit system {kind}; use {fitting}"
    if training.energy_weight == training.force_weight == 0:
        yield ("training",), "energy_weight and force_weight are both 0, so that there is nothing to learn; raise one"
    if dimensions is not None and not set(attack.axes) <= set("xyz"[:dimensions]):
        yield ("attack", "axes"), f"{kind} has only {'xyz'[:dimensions]}, got {attack.axes}"
    if attack.kind == "dynamics":
        if dimensions is None and attack.axes != "xyz":
            yield ("attack", "axes"), f"atoms of molecules move along xyz, got {attack.axes}"
        if round(attack.duration / attack.timestep) < attack.every:
            steps = f"{attack.every} steps of {attack.timestep:g} fs"
            yield ("attack", "every"), f"{steps} are longer than the duration of {attack.duration:g} fs; take fewer"
    if attack.seeds == "lowest_energy" and attack.n_seeds is None:
        yield ("attack", "n_seeds"), "null attacks every structure of the training data: that needs `seeds: random`"


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
