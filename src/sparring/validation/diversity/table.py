"""Table of diversity: a row for each group of structures."""

import numpy as np
from jaxtyping import Float

from sparring.support.tables import Cell, Column, Table
from sparring.units import EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.diversity.compute import Diversity

__all__ = ["diversity_table"]


def diversity_table(results: Diversity, unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each group of structures: energies, distortion, novelty."""
    rows: list[tuple[Cell, ...]] = []
    for name, members in results.groups().items():
        novelty, spacing = (float(np.median(one[members])) for one in (results.novelty, results.spacing))
        rows.append(
            (
                name,
                len(members),
                _median_and_largest(results.energy[members]),
                _median_and_largest(results.rmsd[members]),
                None if np.isnan(novelty) else novelty,
                novelty / spacing if spacing > 0.0 else None,
            )
        )
    energy = f"{{:z.{unit.decimals}f}} ({{:z.{unit.decimals}f}})"
    return Table(
        columns=(
            Column(title="", left=True),
            Column(title="structures"),
            Column(title="energy", unit=unit.name, format=energy, size=unit.size),
            Column(title="RMSD", unit="Å", format="{:.3f} ({:.3f})"),
            Column(title="novelty", format="{:.3g}"),
            Column(title="in\nspacings", format="{:.1f} ×"),
        ),
        rows=tuple(rows),
        caption=(
            "median (largest) of each group; energy: above the lowest label; RMSD: to the ground state",
            "novelty: median SOAP distance to the nearest structure of the previous training set, and in spacings of "
            "that set",
        ),
    )


def _median_and_largest(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    return float(np.median(values)), float(values.max())
