"""Table of free energies: a row for each committee."""

from collections.abc import Mapping

from sparring.support.tables import Cell, Column, Table
from sparring.units import EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.free_energy.histograms import FreeEnergies

__all__ = ["free_energy_table"]


def free_energy_table(
    results: Mapping[str, FreeEnergies], unit: EnergyUnit, *, published: Published = no_published
) -> Table:
    """A row for each committee: its difference from the reference in the bins that both have sampled."""
    rows: list[tuple[Cell, ...]] = []
    for name, one in results.items():
        differences: tuple[Cell, ...] = ((one.difference, one.difference_sigma), one.noise, one.weighted)
        committee, reference = one.inside
        rows.append(
            (
                name,
                *(differences if one.shared.any() else (None, None, None)),
                f"{int(one.shared.sum())} of {one.shared.size}",
                (100 * committee, 100 * reference),
                f"{one.n_failed} of {one.n_blocks[0]}",
            )
        )
    energy = f"{{:z.{unit.decimals}f}}"
    return Table(
        columns=(
            Column(title="", left=True),
            Column(title="mean |ΔF|", unit=unit.name, format=f"{energy} ± {energy}", size=unit.size),
            Column(title="from\nnoise alone", format=energy, size=unit.size),
            Column(title="weighted by\nthe reference", format=energy, size=unit.size),
            Column(title="bins\nshared"),
            Column(title="time there,\ncommittee / reference", format="{:.0f} % / {:.0f} %"),
            Column(title="copies\nfailed"),
        ),
        rows=tuple(rows),
        caption=("|ΔF|: absolute difference of the free energies in bins that both have sampled often enough",),
    ).without_empty_columns()
