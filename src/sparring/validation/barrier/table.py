"""Tables of barriers: one row for each surface, and a path image by image."""

import numpy as np

from sparring.support.tables import Cell, Column, Table
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.units import EnergyUnit
from sparring.validation.barrier.compute import Barriers
from sparring.validation.base import Published, no_published

__all__ = ["barrier_table", "profile_table"]

REFERENCE = "label method"


def barrier_table(results: Barriers, unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each committee, and one for the label method; errors beside published ones."""
    truth = results.truth

    def energy(title: str, form: str = "{:z.%df}") -> Column:
        return Column(title=title, format=form.replace("%d", str(unit.decimals)), size=unit.size)

    rows: list[tuple[Cell, ...]] = []
    for name, path in results.committees.items():
        members = np.sort(path.member_barriers).tolist()
        several = len(members) > 1
        rows.append(
            (
                name,
                path.barrier,
                path.barrier_sigma if several else None,
                (members[0], members[-1]) if several else None,
                path.barrier_reverse,
                path.interpolated_barrier,
                None if truth is None else path.barrier - truth.barrier,
                published("barrier_error", name),
                _converged(path),
            )
        )
    if truth is not None:
        heights = (truth.barrier, "", "", truth.barrier_reverse, truth.interpolated_barrier, "", "")
        rows.append((REFERENCE, *heights, _converged(truth)))
    columns = (
        Column(title="", left=True),
        Column(title="barrier", unit=unit.name, format=f"{{:z.{unit.decimals}f}}", size=unit.size),
        energy("±"),
        energy("members", "{:z.%df} to {:z.%df}"),
        energy("back"),
        energy("curve"),
        energy("error", "{:+z.%df}"),
        Column(title="paper's\nerror"),
        Column(title="converged", left=True),
    )
    caption = (
        f"barriers in {unit.name}: highest image above the start (±: standard deviation between members); back: above "
        "the end; curve: top of the curve through all images",
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption).without_empty_columns()


def profile_table(name: str, path: MinimumEnergyPath, truth: MinimumEnergyPath | None, unit: EnergyUnit) -> Table:
    """The path of a committee, image by image, beside the path on the surface of the labels."""
    energy, distance = f"{{:z.{unit.decimals}f}}", "{:.3f}"
    columns = [
        Column(title="image", left=True),
        Column(title="path", unit="Å", format=distance),
        Column(title="energy", format=energy, size=unit.size),
        Column(title="±", format=energy, size=unit.size),
    ]
    if truth is not None:
        columns.append(Column(title="labels: path", unit="Å", format=distance))
        columns.append(Column(title="energy", format=energy, size=unit.size))
    rows: list[tuple[Cell, ...]] = []
    for number, values in enumerate(zip(path.coordinate, path.energy, path.energy_sigma, strict=True)):
        beside = () if truth is None else (float(truth.coordinate[number]), float(truth.energy[number]))
        rows.append((number, *map(float, values), *beside))
    caption = f"{name}: energies in {unit.name} above the start, ± the standard deviation between members"
    return Table(columns=tuple(columns), rows=tuple(rows), caption=(caption,))


def _converged(path: MinimumEnergyPath) -> str:
    return "yes" if path.converged else f"no: {path.fmax:.2g} eV/Å after {path.n_steps} steps"
