"""From a configuration to the functions that a run is made of: each section becomes arguments of one function."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float

from sparring.assembly.labels import counted, label_service_of
from sparring.assembly.own_structures import read_structures_of, require_comparable
from sparring.assembly.proposing import attackable, proposer, require_proposer, source_of
from sparring.atoms.dataset import Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.config import Config, sections
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.labels import Bounds, Label, LabelError, Labeller, OpenMM, langevin_snapshots
from sparring.labels.base import composition, depends_on
from sparring.labels.service import Failed, LabelService
from sparring.potentials import ARCHITECTURES, Architecture
from sparring.runs.loop import Fitted, Plan
from sparring.selection import Budget, Distinct, EnergyWindow, Selector, UncertaintyAbove, threshold_from
from sparring.starting_data.base import Starting, note_forces, references
from sparring.starting_data.isolated import split_isolated
from sparring.starting_data.sampling import LabelMany, RelaxationError
from sparring.starting_data.screening import screen, tell_states
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.seeds import derive
from sparring.surfaces.torsion_maps import evaluation
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.systems import alanine_dipeptide, ammonia, own, wells
from sparring.training.fitting import FitReport, fit
from sparring.training.splits import Splits

__all__ = ["architecture", "fit_arguments", "plan", "plane_of", "train"]

logger = logging.getLogger(__name__)


def plan(config: Config, folder: Path, progress_bars: ProgressBars = no_progress_bars) -> Plan:
    """Everything that a configuration says of a run in a folder, as functions.

    Raises:
        ValueError: If a labeller, a method or a calculator is not known.
        ModuleNotFoundError: If the package that a labeller needs is not installed.
    """
    require_proposer(config)
    label_service = label_service_of(config, folder, progress_bars)
    start, evaluate = _system(config, label_service)
    network, training = architecture(config.committee.potential), fit_arguments(config)

    def fit_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        committee, report = fit(
            network,
            dataset,
            splits=splits,
            seed=seed,
            progress=progress_bars("training"),
            **training,  # type: ignore[arg-type]
        )
        return _naming_labels(committee, label_service.labeller), report

    return Plan(
        seed=config.seed,
        n_generations=config.generations,
        start=start,
        fit=fit_members,
        evaluate=evaluate,
        seeds=lambda dataset, seed: choose_seeds(
            dataset, config.attack.seeds, config.attack.n_seeds, seed, attackable(config, dataset)
        ),
        proposer=lambda dataset: proposer(config, dataset, progress_bars),
        selectors=lambda variances, lowest, seed: selectors(config, variances, lowest, seed, progress_bars),
        label=label_service.label,
        max_failed=config.labels.max_failed,
        n_members=config.committee.n_members,
        fractions=config.training.splits.fractions,
        shared_validation=config.training.splits.validation == "shared",
        source=source_of(config),
        inherited=depends_on(label_service.labeller),
    )


def _naming_labels(committee: Committee, labeller: Labeller) -> Committee:
    """The committee, which then knows what computed the labels that it was trained on."""
    if committee.domain is None:
        return committee
    return committee.with_domain(replace(committee.domain, method=labeller.method, method_version=labeller.version))


def plane_of(config: Config | None) -> TorsionPlane | None:
    """The torsions over which a system has maps; None if it has none."""
    known = config is not None and isinstance(config.system, sections.AlanineDipeptide)
    return alanine_dipeptide.torsion_plane() if known else None


def train(config: Config, dataset: Dataset, progress_bars: ProgressBars = no_progress_bars) -> Fitted:
    """The sections ``committee`` and ``training`` on data of one's own: one committee, without the loop.

    Isolated atoms are not trained on; they give elements their energies. Labels beyond the bounds are left out.

    Raises:
        ValueError: If no label is left, or one geometry has several.
    """
    bounds = Bounds(**config.labels.bounds.arguments())  # type: ignore[arg-type]
    frames = own.numbered(dataset.to_atoms())
    kept = screen(frames, bounds, lambda _, error: logger.warning("%s", error), file="the data")
    structures, isolated = split_isolated(kept)
    if not structures:
        raise ValueError(f"none of {len(dataset)} structures can be trained on: look at labels.bounds and the labels")
    if len(structures) < len(dataset):
        dataset = Dataset.from_atoms(structures)
        dataset = replace(dataset, atomic_energies=references(isolated, dataset))
    note_forces(dataset)
    splits = Splits.draw(
        len(dataset),
        n_members=config.committee.n_members,
        seed=derive(config.seed, "splits"),
        fractions=config.training.splits.fractions,
        shared=config.training.splits.validation == "shared",
        groups=duplicate_groups(dataset.structures),
    )
    network, arguments = architecture(config.committee.potential), fit_arguments(config)
    progress = progress_bars("training")
    return Fitted(*fit(network, dataset, splits=splits, seed=config.seed, progress=progress, **arguments))  # type: ignore[arg-type]


def architecture(section: sections.SchNet | sections.CoordinateMLP) -> Architecture:
    """The section ``committee.potential``."""
    return ARCHITECTURES[section.kind](**section.arguments())


def fit_arguments(config: Config) -> dict[str, object]:
    """The section ``training``, and where and how precisely to compute."""
    return {
        **config.training.arguments("splits"),
        "dtype": getattr(torch, config.dtype),
        "device": config.device,
    }


def choose_seeds(
    dataset: Dataset,
    which: str,
    n_seeds: int | None,
    seed: int,
    allowed: Bool[np.ndarray, " n_structures"] | None = None,
) -> list[int]:
    """Which structures of the data are attacked.

    ``lowest_energy`` is the lowest of every composition, one after the other as often as needed; ``random`` are all
    in random order, begun again once they are used up. None for as many seeds as there are structures.

    Raises:
        ValueError: If no structure is allowed.
    """
    n = len(dataset)
    allowed = np.ones(n, dtype=bool) if allowed is None else allowed
    if not allowed.any():
        raise ValueError(
            f"none of {n} structures can be attacked: all have broken bonds or are isolated atoms; look at the data"
        )
    if which == "random":
        order = np.random.default_rng(derive(seed, "which")).permutation(n)
        pool = order[allowed[order]].tolist()
    else:
        lowest: dict[str, int] = {}
        for index, atoms in enumerate(dataset.to_atoms()):
            name = composition(atoms)
            if allowed[index] and (name not in lowest or dataset.energy[index] < dataset.energy[lowest[name]]):
                lowest[name] = index
        pool = list(lowest.values())
    return [pool[k % len(pool)] for k in range(n if n_seeds is None else n_seeds)]


def selectors(
    config: Config,
    variances: Float[np.ndarray, " n_train"],
    lowest: Mapping[str, float],
    seed: int,
    progress_bars: ProgressBars = no_progress_bars,
) -> list[Selector]:
    """The section ``selection``."""
    steps: list[Selector] = []
    for section in config.selection:
        if isinstance(section, sections.UncertaintyAbove):
            steps.append(UncertaintyAbove(threshold=threshold_from(variances, float(section.percentile))))
        elif isinstance(section, sections.EnergyWindow):
            steps.append(EnergyWindow(above=lowest, window=section.window))
        elif isinstance(section, sections.Distinct):
            steps.append(Distinct(**section.arguments(), progress=progress_bars("comparison")))  # type: ignore[arg-type]
        else:
            steps.append(Budget(n=section.n, order=section.order, seed=seed))
    return steps


Start = Callable[[], Starting]
Evaluate = Callable[[Committee, Dataset], Mapping[str, object]]


def _system(config: Config, label_service: LabelService) -> tuple[Start, Evaluate]:
    """The section ``system``: labelled structures to begin with, and what a committee is asked in the end."""
    system, seed = config.system, derive(config.seed, 1, "start") % 2**31
    if isinstance(system, sections.Ammonia):

        def begin(label_many: LabelMany, failed: Failed) -> Sequence[Atoms]:
            # The ground state itself is one of the structures: the one that is attacked.
            sample = ammonia.starting_data(
                label_service.calculator,
                label_many,
                n_structures=system.n_structures - 1,
                temperatures=system.temperatures,
                seed=seed,
            )
            return [sample.minimum, *sample.structures]

        return counted(label_service, begin), lambda committee, _: inversion(committee, label_service)
    if isinstance(system, sections.AlanineDipeptide):
        take = _sampling(system.sampling, label_service)
        geometry = partial(take, alanine_dipeptide.geometry(), seed)
        start = counted(label_service, lambda label_many, failed: label_many(geometry()))
        return start, evaluation(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service)
    if isinstance(system, sections.Own):
        begin_own = partial(_own_start, config, system, label_service, seed)
        return counted(label_service, begin_own), lambda *_: {}
    well = wells.WELLS[system.kind]()
    if isinstance(system, sections.DoubleWell2D) and isinstance(well, wells.DoubleWell2D):
        return lambda: Starting(
            well.starting_data(seed=seed, n_points=system.n_points)
        ), lambda committee, _: grid_error(committee, well)
    assert isinstance(well, wells.DoubleWell1D)
    return lambda: Starting(well.starting_data()), lambda committee, _: grid_error(committee, well)


def _own_start(
    config: Config, system: sections.Own, label_service: LabelService, seed: int, label_many: LabelMany, failed: Failed
) -> list[Atoms]:
    section = system.enlarge
    enlarge: own.NormalModes | own.Displacements | own.Snapshots | None = None
    if isinstance(section, sections.NormalModes):
        enlarge = own.NormalModes(**section.arguments())  # type: ignore[arg-type]
    elif isinstance(section, sections.Displacements):
        enlarge = own.Displacements(**section.arguments())  # type: ignore[arg-type]
    elif isinstance(section, sections.Langevin):
        enlarge = own.Snapshots(_sampling(section, label_service))
    structures = read_structures_of(system)
    tell_states(structures, potential=config.committee.potential.kind, file=str(system.file))
    label_all = partial(_labels_of, label_service)
    require_comparable(structures, system, label_all, label_service.bounds, generations=config.generations)
    return own.starting_data(
        structures,
        label_service.calculator,
        label_many,
        enlarge=enlarge,
        seed=seed,
        bounds=label_service.bounds,
        failed=failed,
        file=str(system.file),
    )


def _labels_of(label_service: LabelService, structures: Sequence[Atoms]) -> Sequence[Label | LabelError]:
    return label_service.label(structures).labels


def _sampling(section: sections.Langevin, label_service: LabelService) -> Callable[[Atoms, int], list[Atoms]]:
    """Snapshots of dynamics under the force field that labels."""
    worker = label_service.labeller
    assert isinstance(worker, OpenMM)  # a configuration with another labeller is refused
    moving: dict[str, Any] = section.arguments()

    def take(atoms: Atoms, seed: int) -> list[Atoms]:
        return langevin_snapshots(worker, atoms, seed=seed, progress=label_service.progress_bars("dynamics"), **moving)

    return take


def grid_error(committee: Committee, well: wells.DoubleWell1D | wells.DoubleWell2D) -> dict[str, object]:
    """RMSE of the mean energy on the paper's grid, in eV."""

    def predict(structures: Structures) -> torch.Tensor:
        return committee.predict(structures, differentiable=False).energy.mean(0)

    return {"grid_rmse": wells.grid_rmse(well, predict)}


def inversion(committee: Committee, label_service: LabelService) -> dict[str, object]:
    """The barrier of ammonia's inversion on the committee's surface and on the label's own, both relaxed, in eV."""
    reference = ammonia.inversion_barrier(label_service.calculator)
    try:
        height = ammonia.inversion_barrier(CommitteeCalculator(committee), start=reference.minimum).height
    except RelaxationError as error:
        logger.warning("the committee has no inversion barrier: %s", error)
        return {"barrier": None, "barrier_reference": reference.height, "barrier_error": None}
    return {"barrier": height, "barrier_reference": reference.height, "barrier_error": height - reference.height}
