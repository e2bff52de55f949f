"""Defaults that fit the system, and names of files relative to the configuration."""

from collections.abc import Mapping
from pathlib import Path

from sparring.config.sections import MOST_PARTS
from sparring.config.spaces import SHORT, in_full
from sparring.schema.values import is_file_name
from sparring.systems.sections import SECTIONS, SystemSection

__all__ = ["attack_kind", "complete", "merge", "part_kind", "with_space"]


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


def attack_kind(data: Mapping[str, object], otherwise: str = "adversarial") -> str:
    """Kind of the attack of a configuration, or another where it has none."""
    attack = data.get("attack")
    return str(attack.get("kind", otherwise)) if isinstance(attack, Mapping) else otherwise


def part_kind(part: object) -> str:
    """Kind of a part of a portfolio."""
    return attack_kind({"attack": part})


def with_space(data: Mapping[str, object], kind: str) -> object:
    """The data with the Cartesian space for an attack that names no space."""
    if data.get("propose") is not None:
        return data
    return merge({"attack": {"space": {"kind": "cartesian"}}}, data) if kind in SHORT else data


def complete(data: Mapping[str, object], folder: Path) -> object:
    """The data on top of the defaults of their system, with absolute names of files."""
    alone = {key: value for key, value in data.items() if key != "propose"}
    parts = data.get("propose")
    if parts is None:
        return _complete({key: value for key, value in alone.items() if key != "attack" or value is not None}, folder)
    base = {key: value for key, value in alone.items() if key != "attack"}
    completed = _complete(base, folder)
    if not isinstance(completed, Mapping):
        return completed
    filled = (
        [_complete_part(base, part, folder) for part in parts[: MOST_PARTS + 1]] if isinstance(parts, list) else parts
    )
    return {**completed, "attack": None, "propose": filled}


def _complete_part(base: Mapping[str, object], part: object, folder: Path) -> object:
    """A part of a portfolio on top of the defaults of an attack on the system."""
    completed = _complete({**base, "attack": part}, folder) if isinstance(part, Mapping) else None
    return completed["attack"] if isinstance(completed, Mapping) else part


def _complete(data: Mapping[str, object], folder: Path) -> object:
    """The data of a run with one proposer on top of the defaults of their system."""
    system = data.get("system")
    system = system if isinstance(system, Mapping) else {}
    section = SECTIONS.get(str(system.get("kind")), SystemSection)
    attack = attack_kind(data)
    foreign = _kind_of(data.get("committee")) in ("foreign", "heads")
    defaults = in_full(_for_any_attack(section.defaults, attack), attack)
    if foreign:  # what fits the system is a network to be trained
        defaults = {key: value for key, value in defaults.items() if key not in ("committee", "training")}
    if several := _several(data.get("committee")):
        defaults = {**defaults, "committee": {}}
    completed = merge(with_space(defaults, attack), data)
    found = {key: _from_folder(system[key], folder) for key in section.paths if key in system}
    completed = merge(completed, {"system": found}) if found else completed
    if paths := _paths_of_evaluation(data.get("evaluation"), folder):
        completed = merge(completed, {"evaluation": paths})
    completed = _complete_forcefield(completed, section.forcefield, folder)
    completed = _complete_teacher(completed, folder)
    training = data.get("training")
    if foreign:
        completed = merge({"committee": _single_member(data)}, completed)
        completed = merge(completed, {"committee": _with_models(data["committee"], folder)})
    if isinstance(training, Mapping) and "replay" in training:
        completed = merge(completed, {"training": {"replay": _from_folder(training["replay"], folder)}})
    kinds = {
        "committee": {"kind": "mixed" if several else "trained"},
        "training": {"kind": "none" if foreign else "fit"},
    }
    # Last, because what fits the system fits any kind of attack.
    return merge({"attack": {"kind": "adversarial"}, **kinds}, completed)


def _paths_of_evaluation(evaluation: object, folder: Path) -> dict[str, object]:
    """Files of the section ``evaluation``, relative to the folder of the configuration."""
    if not isinstance(evaluation, Mapping):
        return {}
    found = {"file": _from_folder(evaluation["file"], folder)} if "file" in evaluation else {}
    survival = evaluation.get("survival")
    if isinstance(survival, Mapping) and "start" in survival:
        found["survival"] = {"start": _from_folder(survival["start"], folder)}
    return found


def _kind_of(section: object) -> object:
    return section.get("kind") if isinstance(section, Mapping) else None


def _several(committee: object) -> bool:
    """True if the members are of several architectures, which replace the one that fits the system."""
    return isinstance(committee, Mapping) and "potentials" in committee


def _single_member(data: Mapping[str, object]) -> object:
    """One member for a single model that is not trained."""
    committee, training = data.get("committee"), data.get("training")
    models = committee.get("models") if isinstance(committee, Mapping) else None
    single = isinstance(models, list) and len(models) == 1 and (training is None or _kind_of(training) == "none")
    return {"n_members": 1} if single else {}


def _with_models(section: object, folder: Path) -> object:
    """Checkpoints from the folder of the configuration; what is not there is the name of a model."""
    if not isinstance(section, Mapping):
        return {}
    backbone = section.get("backbone")
    if isinstance(backbone, Mapping) and isinstance(backbone.get("model"), str):
        return {"backbone": {"model": _model(backbone["model"], folder)}}
    models = section.get("models")
    if not isinstance(models, list) or not all(isinstance(one, str) for one in models):
        return {}
    return {"models": [_model(one, folder) for one in models]}


def _model(name: str, folder: Path) -> str:
    return str((folder / name).absolute()) if _exists(folder / name) else name


def _exists(path: Path) -> bool:
    return is_file_name(path) and path.exists()


def _from_folder(names: object, folder: Path) -> object:
    """The name of a file, several of them, or a section with a ``file``, from the folder of the configuration."""
    if isinstance(names, str):
        return str((folder / names).absolute()) if names.strip() else names
    if isinstance(names, list):
        return [_from_folder(name, folder) if isinstance(name, str) else name for name in names]
    if isinstance(names, Mapping) and isinstance(names.get("file"), str):
        return {**names, "file": _from_folder(names["file"], folder)}
    return names


def _for_any_attack(defaults: Mapping[str, object], attack: str) -> dict[str, object]:
    """The defaults of a system without axes where the attack is a plugin or a scan, which have none."""
    section = defaults.get("attack")
    if attack not in ("plugin", "scan") or not isinstance(section, Mapping):
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
        found["forcefield"] = [
            str((folder / one).absolute()) if _exists(folder / one) and (folder / one).is_file() else one
            for one in fields
        ]
    return merge(data, {"labels": {"labeller": found}})


def _complete_teacher(data: object, folder: Path) -> object:
    """The model of a potential that labels, from the folder of the configuration."""
    labels = data.get("labels") if isinstance(data, Mapping) else None
    labeller = labels.get("labeller") if isinstance(labels, Mapping) else None
    if not isinstance(labeller, Mapping) or labeller.get("kind") != "potential":
        return data
    model = labeller.get("model")
    if not isinstance(model, str) or not _exists(folder / model):
        return data
    return merge(data, {"labels": {"labeller": {"model": str((folder / model).absolute())}}})
