"""Reads the data of a report from the stages of a run folder that have committed."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.composition import composition, lowest_energies
from sparring.atoms.reference import forces_mask
from sparring.config.reading import read
from sparring.reporting.data import (
    Failure,
    Generation,
    Labelled,
    Origin,
    Paths,
    Predictions,
    Run,
    Sampled,
    TorsionPaths,
    Training,
)
from sparring.runs import generation
from sparring.runs.provenance import PREDICTED
from sparring.runs.saved_run import SavedRun
from sparring.runs.uncertain_atoms import uncertain_atoms_of
from sparring.runs.yields import yields
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.systems.base import System
from sparring.systems.registry import read_system
from sparring.validation.errors.common_set import CommonErrors, known_comparison

__all__ = ["labels_structures", "read_run"]


def read_run(folder: Path) -> Run:
    """Reads a run folder, finished or not.

    Raises:
        ValueError: If the folder holds no run.
    """
    saved = SavedRun(folder)
    if not saved.exists:
        raise ValueError(f"{folder} is not a run folder: it has no config.yaml. Give the folder of a `sparring run`.")
    saved.require_linked()
    config = saved.config_text()
    sections: dict[str, Any] = read(saved.config_file, config).data
    system = read_system(sections["system"])
    generations = saved.generations()
    everything = {one: one.frames() for one in generations}
    fresh = {one: one.labelled() for one in generations}
    lowest = lowest_energies(list(chain.from_iterable([*everything.values(), *fresh.values()])))
    # Energies that the committee itself predicted are no labels.
    datasets = {one: _labels_of(frames) for one, frames in everything.items()}
    predicted = {one: _labels_of(one.predictions()) for one in generations}
    start = next(iter(datasets.values()), [])
    newest = next((one for one in reversed(generations) if predicted[one]), None)
    plane = _plane(system, start)
    return Run(
        folder=folder,
        name=folder.resolve().name,
        system=system,
        strategy="portfolio" if sections.get("propose") else (sections.get("attack") or {}).get("kind", ""),
        config=config,
        n_planned=sections.get("generations"),
        versions=saved.versions(),
        start=_sampled(start, lowest) if start else None,
        generations=tuple(_generation(one, fresh[one], predicted[one], lowest, plane) for one in generations),
        lowest=lowest,
        origins=tuple(_origins(datasets, fresh)),
        newest=tuple(predicted[newest]) if newest else (),
        newest_generation=newest.number if newest else None,
        common=_comparison(folder),
        labels=labels_structures(sections),
        yields=tuple(chain.from_iterable(map(yields, generations))) if sections.get("propose") else (),
        uncertain=uncertain_atoms_of(generations),
    )


def labels_structures(sections: Mapping[str, Any]) -> bool:
    """False for the configuration of a run that ends with the structures to be labelled."""
    labels = sections.get("labels")
    labeller = labels.get("labeller") if isinstance(labels, Mapping) else None
    return not (isinstance(labeller, Mapping) and labeller.get("kind") == "none")


def _labels_of(frames: Sequence[Atoms]) -> list[Atoms]:
    return [atoms for atoms in frames if not atoms.info.get(PREDICTED)]


def _plane(system: System, start: Sequence[Atoms]) -> TorsionPlane | None:
    """The torsions over which there are maps, None if the run has none that it has structures for."""
    return None if system.torsions is None or not start else system.torsions(start)[0]


def _comparison(folder: Path) -> CommonErrors | None:
    try:
        return known_comparison(folder)
    except (ValueError, OSError):
        return None  # the page has the reason, when it is made


def _origins(
    datasets: Mapping[generation.Generation, Sequence[Atoms]], fresh: Mapping[generation.Generation, Sequence[Atoms]]
) -> Iterator[Origin]:
    for place, (one, frames) in enumerate(datasets.items()):
        if frames and place == 0:
            yield Origin(generation=0, file=f"{one.folder.name}/{generation.DATASET}", frames=tuple(frames))
        if fresh[one]:
            file = f"{one.folder.name}/{generation.LABELLED}"
            yield Origin(generation=one.number, file=file, frames=tuple(fresh[one]))


def _generation(
    saved: generation.Generation,
    fresh: Sequence[Atoms],
    predicted: Sequence[Atoms],
    lowest: Mapping[str, float],
    plane: TorsionPlane | None,
) -> Generation:
    attacked, paths = _with_paths(saved.attacks(), saved.paths())
    return Generation(
        number=saved.number,
        metrics=saved.metrics(),
        training=_training(saved.curves()),
        predictions=_predictions(predicted, lowest),
        paths=_paths(paths, attacked, lowest),
        torsions=_torsions(paths, attacked, plane),
        n_selected=len(saved.selected()) if "select" in saved.stages_done else None,
        labelled=_labelled(fresh, lowest) if fresh else None,
        failures=tuple(
            Failure(
                candidate=row["candidate"],
                reason=row["reason"],
                message=row["message"],
                files=row.get("files") or "",
            )
            for row in saved.failure_rows()
        ),
        open_failures=tuple(saved.open_failures()),
    )


def _above(
    energy: Float[np.ndarray, "*shape"], frames: Sequence[Atoms], lowest: Mapping[str, float]
) -> Float[np.ndarray, "*shape"]:
    """Energies, structures last, above the lowest label of each structure's composition."""
    zero = np.array([lowest[composition(atoms)] for atoms in frames])
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


def _training(rows: Sequence[Mapping[str, str]]) -> Training | None:
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
    known = np.array(["REF_forces" in atoms.arrays for atoms in frames])
    with_forces = [(atoms, forces_mask(atoms)) for atoms, has in zip(frames, known, strict=True) if has]
    whole = np.array([bool(forces_mask(atoms).all()) for atoms in frames])
    with_energy = [atoms for atoms, has in zip(frames, whole, strict=True) if has]
    stressed = np.array(["REF_stress" in atoms.info and "committee_stress" in atoms.info for atoms in frames]) & whole
    stresses = [atoms.info for atoms, has in zip(frames, stressed, strict=True) if has]
    nothing = np.zeros(0)
    return Predictions(
        energy=_above(_info(with_energy, "REF_energy"), with_energy, lowest),
        committee_energy=_above(_info(with_energy, "committee_energy"), with_energy, lowest),
        is_test=is_test[whole],
        forces=np.concatenate([nothing, *(atoms.arrays["REF_forces"][mask].ravel() for atoms, mask in with_forces)]),
        committee_forces=np.concatenate(
            [nothing, *(atoms.arrays["committee_forces"][mask].ravel() for atoms, mask in with_forces)]
        ),
        is_test_component=np.repeat(is_test[known], [3 * int(mask.sum()) for _, mask in with_forces]),
        stress=np.concatenate([nothing, *(np.ravel(info["REF_stress"]) for info in stresses)]),
        committee_stress=np.concatenate([nothing, *(np.ravel(info["committee_stress"]) for info in stresses)]),
        is_test_stress=np.repeat(is_test[stressed], 6),
    )


def _with_paths(
    attacked: Sequence[Atoms], arrays: Mapping[str, np.ndarray]
) -> tuple[list[Atoms], Mapping[str, np.ndarray]]:
    """Candidates of a portfolio that have a path, where some have one; those of one proposer as they are."""
    several = [atoms for atoms in attacked if "source" in atoms.info]
    longer = np.isfinite(arrays["energy"][1:]).any(0) if several and arrays else np.zeros(0, dtype=bool)
    if not longer.any():
        return list(attacked), arrays
    of_atoms = np.repeat(longer, [len(atoms) for atoms in attacked])
    taken = {name: values[..., longer] for name, values in arrays.items() if name not in ("positions", "cells")}
    taken["positions"] = arrays["positions"][:, of_atoms]
    return [atoms for atoms, has in zip(attacked, longer, strict=True) if has], taken


def _paths(arrays: Mapping[str, np.ndarray], seeds: Sequence[Atoms], lowest: Mapping[str, float]) -> Paths | None:
    if not arrays or not seeds:
        return None
    return Paths(
        energy=_above(arrays["energy"].astype(float), seeds, lowest),
        force_sigma=np.sqrt(arrays["force_variance"].astype(float)),
        best_step=arrays["best_step"],
        status=arrays["status"],
    )


def _torsions(
    arrays: Mapping[str, np.ndarray], seeds: Sequence[Atoms], plane: TorsionPlane | None
) -> TorsionPaths | None:
    if plane is None or not arrays or not seeds:
        return None
    positions = torch.as_tensor(arrays["positions"].astype(float))
    angles = plane.angles(positions.reshape(len(positions), len(seeds), -1, 3)).numpy()
    return TorsionPaths(names=plane.names, angles=angles, best_step=arrays["best_step"])
