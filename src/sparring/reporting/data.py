"""What the report reads from a run folder: plain arrays, and nothing of a stage that has not committed."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from jaxtyping import Bool, Float, Int

from sparring.extxyz import read_structures
from sparring.units import KCAL_PER_MOL


@dataclass(frozen=True, kw_only=True)
class EnergyUnit:
    """The unit in which people are shown energies: one of it is `size` eV, and tables give it with `decimals`."""

    name: str
    size: float
    decimals: int

    def show(self, energy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The energies, given in eV, in this unit."""
        return energy / self.size


KCAL = EnergyUnit(name="kcal/mol", size=KCAL_PER_MOL, decimals=2)
EV = EnergyUnit(name="eV", size=1.0, decimals=3)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Losses (Eq. 3, in eV²) of every member after every epoch: one row each."""

    epoch: Int[np.ndarray, " n_rows"]
    member: Int[np.ndarray, " n_rows"]
    train_loss: Float[np.ndarray, " n_rows"]
    validation_loss: Float[np.ndarray, " n_rows"]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A committee's mean on its own data set, beside the labels.

    Energies are in eV above the lowest label of the composition. Force components, all atoms' in one row, are in eV/Å.
    """

    energy: Float[np.ndarray, " n_structures"]
    committee_energy: Float[np.ndarray, " n_structures"]
    is_test: Bool[np.ndarray, " n_structures"]
    forces: Float[np.ndarray, " n_components"]
    committee_forces: Float[np.ndarray, " n_components"]
    is_test_component: Bool[np.ndarray, " n_components"]


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Attacks, step by step: the committee's mean energy in eV above the lowest label, and its σ_F in eV/Å."""

    energy: Float[np.ndarray, "n_points n_seeds"]
    force_sigma: Float[np.ndarray, "n_points n_seeds"]
    best_step: Int[np.ndarray, " n_seeds"]
    status: Int[np.ndarray, " n_seeds"]


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Labelled structures: their energy in eV above the lowest label of their composition, and where they came from."""

    energy: Float[np.ndarray, " n_structures"]
    source: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Labelled(Sampled):
    """What a generation labelled, with what its committee, not yet trained on it, had predicted.

    `force_sigma` is the committee's own σ_F, `force_error` the root mean square of its error over all force components,
    both in eV/Å. `wall_time` is what the label cost when it was computed, in seconds.
    """

    force_sigma: Float[np.ndarray, " n_structures"]
    force_error: Float[np.ndarray, " n_structures"]
    wall_time: Float[np.ndarray, " n_structures"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A candidate that got no label, and why."""

    candidate: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Generation:
    """All that one generation has committed; what it has not is None or empty."""

    number: int
    metrics: Mapping[str, Any]
    training: Training | None
    predictions: Predictions | None
    paths: Paths | None
    labelled: Labelled | None
    failures: tuple[Failure, ...]

    def metric(self, *keys: str) -> Any:  # noqa: ANN401
        """The entry of the metrics under these keys, None where there is none."""
        value: Any = self.metrics
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the report shows it."""

    name: str
    config: str
    n_planned: int | None
    versions: Mapping[str, str]
    unit: EnergyUnit
    start: Sampled | None
    generations: tuple[Generation, ...]


def read_run(folder: Path) -> Run:
    """Reads a run folder, finished or not.

    Raises:
        ValueError: If the folder holds no run.
    """
    if not (folder / "config.yaml").is_file():
        raise ValueError(f"{folder} is not a run folder: it has no config.yaml. Give the folder of a `sparring run`.")
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    sections = yaml.safe_load(config)
    kind = sections["system"]["kind"]
    folders = sorted(path for path in folder.glob("generation-*") if path.is_dir())
    datasets = {path: _frames(path / "dataset.extxyz") for path in folders}
    fresh = {path: _frames(path / "labelled.extxyz") for path in folders}
    lowest = _lowest_energies(chain.from_iterable([*datasets.values(), *fresh.values()]))
    start = next(iter(datasets.values()), [])
    return Run(
        name=folder.resolve().name,
        config=config,
        n_planned=sections.get("generations"),
        versions=_versions(folder / "versions.json"),
        # The energies of the toy wells are numbers that stand for eV; kcal/mol would give them a meaning they lack.
        unit=EV if kind.startswith("double_well") else KCAL,
        start=_sampled(start, lowest) if start else None,
        generations=tuple(_generation(path, fresh[path], lowest) for path in folders),
    )


def _generation(folder: Path, fresh: Sequence[Atoms], lowest: Mapping[str, float]) -> Generation:
    metrics = folder / "metrics.json"
    return Generation(
        number=int(folder.name.removeprefix("generation-")),
        metrics=json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {},
        training=_training(folder / "training.csv"),
        predictions=_predictions(_frames(folder / "predictions.extxyz"), lowest),
        paths=_paths(folder / "paths.npz", _frames(folder / "attacks.extxyz"), lowest),
        labelled=_labelled(fresh, lowest) if fresh else None,
        failures=tuple(
            Failure(candidate=row["candidate"], reason=row["reason"], message=row["message"])
            for row in _rows(folder / "failures.csv")
        ),
    )


def _frames(path: Path) -> list[Atoms]:
    """All frames; none if the stage has not committed, or has committed that there are none."""
    if not path.is_file() or path.stat().st_size == 0:
        return []
    return read_structures(path, allow_dummy=True)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _versions(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {name: str(version) for name, version in json.loads(path.read_text(encoding="utf-8")).items()}


def _lowest_energies(frames: Iterable[Atoms]) -> dict[str, float]:
    lowest: dict[str, float] = {}
    for atoms in frames:
        formula = atoms.get_chemical_formula()
        lowest[formula] = min(lowest.get(formula, np.inf), float(atoms.info["REF_energy"]))
    return lowest


def _above(
    energy: Float[np.ndarray, "*shape"], frames: Sequence[Atoms], lowest: Mapping[str, float]
) -> Float[np.ndarray, "*shape"]:
    """Energies, structures last, above the lowest label of each structure's composition."""
    zero = np.array([lowest[atoms.get_chemical_formula()] for atoms in frames])
    above: Float[np.ndarray, "*shape"] = energy - zero
    return above


def _info(frames: Sequence[Atoms], key: str) -> Float[np.ndarray, " n_structures"]:
    return np.array([float(atoms.info.get(key, np.nan)) for atoms in frames])


def _sampled(frames: Sequence[Atoms], lowest: Mapping[str, float]) -> Sampled:
    return Sampled(
        energy=_above(_info(frames, "REF_energy"), frames, lowest),
        source=tuple(str(atoms.info.get("source", "file")) for atoms in frames),
    )


def _labelled(frames: Sequence[Atoms], lowest: Mapping[str, float]) -> Labelled:
    sampled = _sampled(frames, lowest)
    errors = [atoms.arrays["committee_forces"] - atoms.arrays["REF_forces"] for atoms in frames]
    return Labelled(
        energy=sampled.energy,
        source=sampled.source,
        force_sigma=np.sqrt(_info(frames, "force_variance")),
        force_error=np.array([np.sqrt(np.mean(error**2)) for error in errors]),
        wall_time=_info(frames, "wall_time"),
    )


def _training(path: Path) -> Training | None:
    rows = _rows(path)
    if not rows:
        return None
    return Training(
        epoch=np.array([int(row["epoch"]) for row in rows]),
        member=np.array([int(row["member"]) for row in rows]),
        train_loss=np.array([float(row["train_loss"]) for row in rows]),
        validation_loss=np.array([float(row["validation_loss"]) for row in rows]),
    )


def _predictions(frames: Sequence[Atoms], lowest: Mapping[str, float]) -> Predictions | None:
    if not frames:
        return None
    is_test = np.array([atoms.info["split"] == "test" for atoms in frames])
    return Predictions(
        energy=_above(_info(frames, "REF_energy"), frames, lowest),
        committee_energy=_above(_info(frames, "committee_energy"), frames, lowest),
        is_test=is_test,
        forces=np.concatenate([atoms.arrays["REF_forces"].ravel() for atoms in frames]),
        committee_forces=np.concatenate([atoms.arrays["committee_forces"].ravel() for atoms in frames]),
        is_test_component=np.repeat(is_test, [3 * len(atoms) for atoms in frames]),
    )


def _paths(path: Path, seeds: Sequence[Atoms], lowest: Mapping[str, float]) -> Paths | None:
    if not path.is_file() or not seeds:
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return Paths(
            energy=_above(arrays["energy"].astype(float), seeds, lowest),
            force_sigma=np.sqrt(arrays["force_variance"].astype(float)),
            best_step=arrays["best_step"],
            status=arrays["status"],
        )
