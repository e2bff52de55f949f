"""Results of the study of alanine dipeptide: a record of all committees, and what is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparring.atoms.dataset import ENERGY
from sparring.inputs.extxyz import read_labelled
from sparring.runs.folder import read_metrics
from sparring.surfaces.landscape import Landscape, Landscapes
from sparring.surfaces.torsion_maps import CAPS, GRIDS, LOW
from sparring.units import KCAL_PER_MOL
from sparring.validation.free_energy.histograms import FreeEnergies
from sparring.validation.records import read_record
from studies.alanine_dipeptide.plan import Study
from studies.common import records
from studies.common.records import ended_seeds, merge_records

__all__ = ["CommitteeRow", "FreeEnergyRow", "Results", "collect", "landscapes"]

COMMAND = "python -m studies.alanine_dipeptide run && python -m studies.alanine_dipeptide report"
ENOUGH = 3
"""Number of seeds that every strategy should have."""


@dataclass(frozen=True, kw_only=True)
class OnGrid:
    """A committee on one of the two grids.

    Attributes:
        rmse_below: Error of the energy, in eV, where the true energy is below each of the caps.
        typical_error: Median absolute error where the true energy is below 50 kcal/mol, in eV.
        largest_error: Largest absolute error there, in eV.
        force_variance: Mean σ_F² there, in (eV/Å)².
        force_ratio: Ratio of the RMS force error to the RMS σ_F there; nan in older records, which do not have it.
    """

    rmse_below: Mapping[str, float]
    typical_error: float
    largest_error: float
    force_variance: float
    force_ratio: float = math.nan


@dataclass(frozen=True, kw_only=True)
class CommitteeRow(records.CommitteeRow):
    """One committee; energies are in eV.

    Attributes:
        coverage: Fraction of the 24 × 24 bins of (φ, ψ) that its data cover.
        energies: Lowest energy, quartiles and highest energy of the labels added for it, above the lowest of its run.
        grids: Results by the kind of the grid; grids that have not been computed are missing.
    """

    coverage: float
    energies: tuple[float, ...]
    grids: Mapping[str, OnGrid]


@dataclass(frozen=True, kw_only=True)
class FreeEnergyRow:
    """The free energy of a committee against that of the force field; energies are in eV."""

    strategy: str
    seed: int
    generation: int
    difference: float
    difference_sigma: float
    noise: float
    weighted: float
    n_shared: int
    inside: tuple[float, float]
    n_failed: int
    methods: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Results(records.Results[CommitteeRow]):
    """All results.

    Attributes:
        committees: Rows by strategy, generation and seed.
        free_energies: Free energies of some of the committees.
    """

    committees: tuple[CommitteeRow, ...]
    free_energies: tuple[FreeEnergyRow, ...]


# --- reading --------------------------------------------------------------------------------------------------------


def collect(study: Study, earlier: Results | None = None) -> Results:
    """Read all results in the folder of a study, and merge them with an earlier record."""
    rows: Sequence[CommitteeRow] = [_row(study, *committee) for committee in study.committees()]
    energies = [
        _free_energy(study, strategy, seed)
        for strategy in study.strategies
        for seed in study.seeds_of(strategy)
        if study.free_energy(strategy, seed).exists()
    ]
    if earlier is not None:
        rows = merge_records(rows, earlier.committees, tuple(study.strategies), lambda row: len(row.grids))
        energies = list({(row.strategy, row.seed): row for row in (*earlier.free_energies, *energies)}.values())
    return Results(
        command=COMMAND,
        committees=tuple(rows),
        free_energies=tuple(energies),
        missing=tuple(_missing(study, rows, energies)),
    )


def landscapes(study: Study, strategy: str, seed: int, which: str) -> dict[int, Landscape]:
    """The landscapes of a run's committees by generation; none if they have not been computed."""
    file = study.maps(strategy, seed, which)
    if not file.exists():
        return {}
    found = read_record(file, Landscapes).committees
    return {int(name.removeprefix("generation ")): one for name, one in found.items()}


def _row(study: Study, strategy: str, seed: int, generation: int) -> CommitteeRow:
    metrics = read_metrics(study.generation(strategy, seed, generation))
    labels = study.labels_before(strategy, seed, generation)
    known = {which: landscapes(study, strategy, seed, which).get(generation) for which in GRIDS}
    test = metrics["errors"]["test"]
    return CommitteeRow(
        strategy=strategy,
        seed=seed,
        generation=generation,
        n_requested=study.n_more(strategy) + sum(counts["n_chosen"] for counts in labels),
        n_failed=sum(counts["n_failed"] for counts in labels),
        coverage=metrics["system"]["coverage"],
        energy_mae=test["energy_mae"],
        force_mae=test["force_mae"],
        energies=_energies(study.generation(strategy, seed, generation)),
        grids={which: _on_grid(one) for which, one in known.items() if one is not None},
    )


def _energies(folder: Path) -> tuple[float, ...]:
    """Quantiles of the energies of the labels that a generation has added."""
    data = read_labelled(folder / "dataset.extxyz")
    energy = np.array([float(atoms.info[ENERGY]) for atoms in data])
    number = int(folder.name.removeprefix("generation-"))
    mine = energy[[int(atoms.info["generation"]) == number for atoms in data]] - energy.min()
    return tuple(np.percentile(mine, (0, 25, 50, 75, 100)).tolist()) if len(mine) else ()


def _on_grid(one: Landscape) -> OnGrid:
    errors = one.rmse_below([cap * KCAL_PER_MOL for cap in CAPS])
    typical, largest = one.error_percentiles_below(LOW * KCAL_PER_MOL, (50.0, 100.0))
    return OnGrid(
        typical_error=float(typical),
        largest_error=float(largest),
        rmse_below={f"{cap:g} kcal/mol": float(error) for cap, error in zip(CAPS, errors, strict=True)},
        force_variance=float(one.force_variance_below([LOW * KCAL_PER_MOL])[0]),
        force_ratio=float(one.force_ratio_below([LOW * KCAL_PER_MOL])[0]),
    )


def _free_energy(study: Study, strategy: str, seed: int) -> FreeEnergyRow:
    one = read_record(study.free_energy(strategy, seed), FreeEnergies)
    return FreeEnergyRow(
        strategy=strategy,
        seed=seed,
        generation=study.last(strategy, seed),
        n_shared=int(one.shared.sum()),
        **{
            name: getattr(one, name)
            for name in ("difference", "difference_sigma", "noise", "weighted", "inside", "n_failed", "methods")
        },
    )


def _missing(study: Study, rows: Sequence[CommitteeRow], energies: Sequence[FreeEnergyRow]) -> Iterable[str]:
    for strategy in study.strategies:
        n_runs = len(ended_seeds(study, rows, strategy))
        if n_runs < ENOUGH:
            yield f"{strategy}: {n_runs} of {ENOUGH} runs have ended"
        for which in GRIDS:
            seeds = {row.seed for row in rows if row.strategy == strategy and which in row.grids}
            if len(seeds) < ENOUGH:
                yield f"{strategy}: {which} grid of {len(seeds)} of {ENOUGH} seeds"
    for strategy in study.free_energies:
        n_seeds = len({row.seed for row in energies if row.strategy == strategy})
        if n_seeds < ENOUGH:
            yield f"{strategy}: free energy of {n_seeds} of {ENOUGH} seeds"
