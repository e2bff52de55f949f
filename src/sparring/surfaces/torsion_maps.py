"""The (φ, ψ) plane of a run: torsions, the grids over them, and the numbers that each generation gets.

A relaxed grid takes some hundred evaluations a point, so it is computed once for each labeller and kept beside the
labels.

Errors are those of total energies as they are, not aligned: labels in total energies are what committees learn from, so
truth and prediction have the same zero, and a surface that is too high everywhere is wrong. (Aligned at the lowest true
point, the error of that one point would be in all others; aligned by the mean difference, what a committee that
extrapolates badly is credited with would depend on how much of the grid is high.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels.service import LabelService
from sparring.support.cached import cached
from sparring.support.digest import digest
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.surfaces.evaluators import labeller_surface
from sparring.surfaces.grids import Grid, Truth, true_energies
from sparring.surfaces.landscape import Landscape, landscape
from sparring.surfaces.torsion_grids import POINTS, relaxed_grid, rigid_grid
from sparring.surfaces.torsion_plane import TorsionPlane, coverage
from sparring.units import KCAL_PER_MOL

__all__ = ["CAPS", "GRIDS", "LOW", "GridKind", "evaluation", "metrics", "torsion_grid"]

GridKind: TypeAlias = Literal["rigid", "relaxed"]
GRIDS: tuple[GridKind, ...] = ("rigid", "relaxed")
CAPS = (20.0, 50.0, 100.0, 300.0)
"""In kcal/mol above the lowest true energy on the grid, below which errors are given."""
LOW = 50.0
"""In kcal/mol, below which the uncertainty is looked at."""


def torsion_grid(
    plane: TorsionPlane,
    reference: Atoms,
    label_service: LabelService | None,
    *,
    which: GridKind = "rigid",
    points: tuple[int, int] = POINTS,
    progress_bars: ProgressBars = no_progress_bars,
) -> Grid:
    """A grid over two torsions.

    Args:
        plane: Torsions of the map.
        label_service: Labels of the surface on which a grid is relaxed; the grid is kept beside them.
        reference: Molecule whose torsions are turned.
        which: The reference with only its torsions turned, or with all else relaxed.
        points: Number of points along the two sides.
        progress_bars: Progress bars by title.

    Raises:
        ValueError: If the grid is relaxed and there is no labeller.
    """
    rigid = rigid_grid(reference, plane, points=points)
    if which == "rigid":
        return rigid
    if label_service is None:
        raise ValueError("a relaxed grid needs the labeller of a run or of a configuration (--config)")
    name = f"{_digest(reference, plane, points, label_service)}.extxyz"
    workers = label_service.workers
    structures = cached(
        label_service.store.folder / "relaxed-grids" / name,
        lambda: list(
            relaxed_grid(rigid, plane, labeller_surface(workers), progress=progress_bars("relaxed grid")).structures
        ),
        read=read_structures,
        write=write_structures,
    )
    return replace(rigid, structures=tuple(structures))


def _digest(reference: Atoms, plane: TorsionPlane, points: tuple[int, int], label_service: LabelService) -> str:
    facts = {
        "numbers": reference.numbers.tolist(),
        "positions": np.round(reference.positions, 6).tolist(),
        "torsions": plane.torsions,
        "points": points,
        "labeller": (label_service.labeller.method, label_service.labeller.version),
    }
    return digest(facts)[:24]


# --- evaluation of each generation ----------------------------------------------------------------------------------


def evaluation(
    plane: TorsionPlane, reference: Atoms, label_service: LabelService, *, points: tuple[int, int] = POINTS
) -> Callable[[Committee, Dataset], Mapping[str, object]]:
    """The evaluation of each generation: :func:`metrics` on the rigid grid, whose labels are computed once."""

    @cache
    def known() -> tuple[Grid, Truth]:
        grid = torsion_grid(plane, reference, label_service, points=points)
        return grid, true_energies(grid, label_service.without_bounds().label)

    def evaluate(committee: Committee, dataset: Dataset) -> dict[str, object]:
        return metrics(landscape(committee, *known()), plane, dataset.to_atoms())

    return evaluate


def metrics(mapped: Landscape, plane: TorsionPlane, data: Sequence[Atoms]) -> dict[str, object]:
    """Errors of a committee on a grid over two torsions, and the coverage of the plane by its data.

    ``grid_rmse_below`` has the error of the energy, in eV, where the true energy is below each of `CAPS`,
    ``grid_force_variance_below`` the mean of σ_F², in (eV/Å)², below `LOW`; both are None where no point is.
    ``coverage`` is the part of the 24 × 24 bins that has a structure of the data in it.
    """
    caps = {f"{cap:g} kcal/mol": cap * KCAL_PER_MOL for cap in CAPS}
    errors = mapped.rmse_below(list(caps.values()))
    (variance,) = mapped.force_variance_below([LOW * KCAL_PER_MOL])
    return {
        "grid_rmse_below": {name: _number(error) for name, error in zip(caps, errors, strict=True)},
        "grid_force_variance_below": {f"{LOW:g} kcal/mol": _number(variance)},
        "coverage": coverage(plane.values(data)),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
