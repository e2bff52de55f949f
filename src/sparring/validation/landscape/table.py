"""Tables of landscapes: errors and uncertainty below several caps of the true energy."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sparring.support.tables import Cell, Column, Table
from sparring.surfaces.landscape import Landscape
from sparring.surfaces.torsion_maps import CAPS
from sparring.units import KCAL_PER_MOL, EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.landscape.compute import LandscapeResult

__all__ = ["SHOWN", "landscape_table", "truth_lines", "usual_caps"]

Caps = Float[np.ndarray, " n_caps"]

SHOWN = 5
"""Largest number of missing points that are named."""


def landscape_table(
    results: Mapping[str, Landscape],
    unit: EnergyUnit,
    *,
    published: Published = no_published,
    aligned: bool = False,
) -> Table:
    """A row for each committee: errors over all points whose true energy is below several caps, and mean σ_F."""
    first = next(iter(results.values()))
    limits = usual_caps(first, unit)
    zero = ", aligned at the lowest point" if aligned else ""
    ratio = "RMS error of the forces / RMS σ_F (above 1: overconfident)"
    quantities: list[tuple[str, Column, dict[str, Caps]]] = [
        (
            f"RMS error of the energy ({unit.name}{zero})",
            Column(title="", format=f"{{:z.{unit.decimals}f}}", size=unit.size),
            {name: one.rmse_below(limits, aligned=aligned) for name, one in results.items()},
        ),
        (
            "mean σ_F of the committee (eV/Å)",
            Column(title="", format="{:.3f}"),
            {name: one.force_sigma_below(limits) for name, one in results.items()},
        ),
    ]
    ratios = {name: one.force_ratio_below(limits) for name, one in results.items()}
    if np.isfinite([*ratios.values()]).any():
        quantities.append((ratio, Column(title="", format="{:.2f}"), ratios))
    titles = [f"≤ {cap / unit.size:g}" for cap in limits]
    columns = [replace(column, title=title, group=group) for group, column, _ in quantities for title in titles]
    points: list[Cell] = ["points", *map(str, first.n_below(limits).tolist())]
    points += [""] * (len(columns) + 1 - len(points))
    rows = [(name, *(cell for _, _, values in quantities for cell in _cells(values[name]))) for name in results]
    return Table(
        columns=(Column(title="", left=True), *columns),
        rows=(tuple(points), *rows),
        caption=(f"where the true energy is at most so many {unit.name} above its lowest:",),
    )


def _cells(values: Caps) -> tuple[Cell, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def usual_caps(landscape: Landscape, unit: EnergyUnit) -> tuple[float, ...]:
    """Energies in eV below which errors of a landscape are usually given."""
    if unit.size != KCAL_PER_MOL:
        return (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
    caps = (5.0, 10.0, 20.0, 40.0, 80.0) if landscape.x.period is None else CAPS
    return tuple(cap * KCAL_PER_MOL for cap in caps)


def truth_lines(found: LandscapeResult) -> list[str]:
    """Source of the true energies of a grid, and the points that have none."""
    grid, truth = found.grid, found.truth
    n_known, n = int(np.isfinite(truth.energy).sum()), grid.index.size
    sides = " × ".join(f"{len(one.values)} of {one.name}" for one in (grid.x, grid.y) if one)
    lines = [f"{n} points: {sides}"]
    if grid.missing:
        more = f" and {len(grid.missing) - SHOWN} more" if len(grid.missing) > SHOWN else ""
        lines.append(f"{len(grid.missing)} without a structure: {'; '.join(grid.missing[:SHOWN])}{more}")
    if not truth.method:
        return [*lines, "no true energies: the structures have none, and none were computed"]
    counts = (
        (truth.n_computed, "computed"),
        (truth.n_reused, "from the store"),
        (truth.n_mirrored, "mirror images"),
        (len(truth.failures), "failed"),
    )
    parts = ", ".join(f"{count} {what}" for count, what in counts if count)
    lines.append(f"true energies of {n_known}" + (f" ({parts})" if parts else "") + f": {truth.method}")
    return lines
