"""Table of holes: a row for each attack that broke the model."""

from collections.abc import Mapping

from sparring.support.tables import Cell, Column, Table
from sparring.validation.holes.compute import Holes

__all__ = ["MOST", "holes_table"]

MOST = 12
"""Largest number of holes of a generation that the table lists."""


def holes_table(results: Mapping[str, Holes]) -> Table:
    """A row for each hole, that of the lowest energy first; energies are in eV."""
    rows: list[tuple[Cell, ...]] = []
    for name, result in results.items():
        for place, path in enumerate(result.found[:MOST]):
            (one, other), (first, second) = path.elements, path.atoms
            rows.append(
                (
                    name if place == 0 else "",
                    path.attack,
                    path.formula,
                    f"{one}{first}–{other}{second}",
                    float(path.energy[path.top]),
                    float(path.distance[path.top]),
                    float(path.energy[path.low]),
                    float(path.distance[path.low]),
                    path.fall,
                )
            )
    energy, distance = "{:z.2f}", "{:.2f}"
    columns = (
        Column(title="", left=True),
        Column(title="attack"),
        Column(title="structure", left=True),
        Column(title="pair", left=True),
        Column(title="energy", unit="eV", format=energy, group="top of the wall"),
        Column(title="distance", unit="Å", format=distance, group="top of the wall"),
        Column(title="energy", unit="eV", format=energy, group="in the hole"),
        Column(title="distance", unit="Å", format=distance, group="in the hole"),
        Column(title="fall", unit="eV", format=energy),
    )
    caption = ("energies in eV above the start of each attack; pair: elements and indices of the atoms that merged",)
    return Table(columns=columns, rows=tuple(rows), caption=caption)
