"""A system of one's own, from its section of the configuration."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

from ase import Atoms

from sparring.starting_data.isolated import split_isolated
from sparring.starting_data.normal_modes import n_hessian_labels
from sparring.starting_data.screening import require_one_state
from sparring.surfaces.barriers import barrier_evaluation
from sparring.surfaces.grids import Grid
from sparring.surfaces.torsion_grids import POINTS
from sparring.systems.base import Metric, Start, StartCost, System, SystemGrid
from sparring.systems.langevin import n_snapshots, snapshots
from sparring.systems.metrics import BARRIER, BARRIER_PROGRESS, TORSIONS, TORSIONS_PROGRESS
from sparring.systems.own import structures
from sparring.systems.own.comparison import findings_of, read_structures_of, require_comparable, skipped_of
from sparring.systems.own.criteria import criteria
from sparring.systems.own.files import read_endpoints, read_grid, require_one_molecule, require_path_of, torsions_of
from sparring.systems.own.section import Displacements, NormalModes, Own
from sparring.systems.section import Langevin

__all__ = ["system"]

N_IMAGES = 11
"""Images of the path between two endpoints, each of which takes about as many labels as a relaxation."""


def system(section: Own) -> System:
    """The structures of a file, with the properties that the keys of the section give them."""
    read, with_state = partial(read_structures_of, section), partial(_with_state, section)
    torsions = endpoints = progress = None
    metrics: tuple[Metric, ...] = ()
    in_report: list[Literal["landscape", "barrier"]] = []
    if section.torsions is not None:
        torsions = partial(torsions_of, section.torsions, read)
        metrics, progress = TORSIONS, TORSIONS_PROGRESS
    if section.torsions is not None or section.grid is not None:
        in_report.append("landscape")
    if section.endpoints is not None:
        endpoints = partial(read_endpoints, section.endpoints, with_state)
        metrics, progress = (*BARRIER, *metrics), BARRIER_PROGRESS
        in_report.append("barrier")
    return System(
        name=section.kind,
        structures=read,
        start=partial(_start, section),
        cost=partial(_cost, section),
        file=section.file,
        compare=partial(findings_of, section),
        skipped=partial(skipped_of, section) if section.skip_bad else None,
        check=partial(_check, section) if section.torsions or section.endpoints or section.grid else None,
        electronic_state=with_state,
        evaluation=None if endpoints is None else partial(barrier_evaluation, endpoints),
        metrics=metrics,
        progress=progress,
        torsions=torsions,
        endpoints=None if endpoints is None else lambda _: endpoints(),
        grid=None if section.grid is None else SystemGrid(make=lambda *_: _grid(section)),
        unphysical=partial(criteria, section.unphysical) if section.unphysical else None,
        in_report=tuple(in_report),
    )


def _with_state(section: Own, frames: list[Atoms]) -> list[Atoms]:
    """Structures with the charge and the multiplicity of the section; those that have their own keep it."""
    return structures.assume_state(frames, charge=section.charge, multiplicity=section.multiplicity)


def _grid(section: Own) -> Grid:
    assert section.grid is not None
    return read_grid(**section.grid.arguments())  # type: ignore[arg-type]


def _check(section: Own, frames: Sequence[Atoms]) -> None:
    """Try torsions, endpoints and grid."""
    molecules, _ = split_isolated(list(frames))
    if section.torsions is not None:
        require_one_molecule(molecules, section.file)
        torsions_of(section.torsions, partial(read_structures_of, section), molecules)
    if section.endpoints is not None:
        require_path_of(
            read_endpoints(section.endpoints, partial(_with_state, section)), section.endpoints, molecules, section.file
        )
    if section.grid is not None:
        _grid(section)


def _start(section: Own, given: Start) -> list[Atoms]:
    frames, service, more = read_structures_of(section), given.label_service, section.enlarge
    require_one_state(frames, potential=given.potential, file=str(section.file))
    enlarge: structures.NormalModes | structures.Displacements | structures.Snapshots | None = None
    if isinstance(more, NormalModes):
        enlarge = structures.NormalModes(**more.arguments())  # type: ignore[arg-type]
    elif isinstance(more, Displacements):
        enlarge = structures.Displacements(**more.arguments())  # type: ignore[arg-type]
    elif isinstance(more, Langevin):
        enlarge = structures.Snapshots(partial(snapshots, more, label_service=service))
    require_comparable(
        frames, section, lambda some: service.label(some).labels, service.bounds, generations=given.n_generations
    )
    return structures.starting_data(
        frames,
        service.calculator,
        given.label_many,
        enlarge=enlarge,
        seed=given.seed,
        bounds=service.bounds,
        failed=given.failed,
        file=str(section.file),
    )


def _cost(section: Own, frames: Sequence[Atoms]) -> StartCost:
    n_unlabelled = sum(not structures.is_labelled(atoms) for atoms in frames)
    n_hessian = n_relaxations = 0
    if isinstance(section.enlarge, NormalModes):
        # Structures are shared out over the frames with more than one atom, the first ones first.
        relaxed = [atoms for atoms in frames if len(atoms) > 1][: section.enlarge.n_structures]
        n_hessian, n_relaxations = sum(map(n_hessian_labels, relaxed)), len(relaxed)
    if isinstance(section.enlarge, Langevin):
        n_added = len(frames) * n_snapshots(section.enlarge)
    else:
        n_added = section.enlarge.n_structures if section.enlarge else 0
    return StartCost(
        n_labels=n_unlabelled + n_hessian + n_added + (math.prod(POINTS) if section.torsions else 0),
        n_structures=len(frames) + n_added + n_relaxations,
        n_hessian=n_hessian,
        n_relaxations=n_relaxations + (N_IMAGES if section.endpoints else 0),
    )
