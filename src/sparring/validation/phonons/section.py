"""The section of a report about phonons, and its table."""

from collections.abc import Mapping, Sequence

import numpy as np

from sparring.support.tables import Column, Table
from sparring.units import THZ, EnergyUnit
from sparring.validation.base import Published, ReportedRun, ReportFigure, no_published
from sparring.validation.crystals.showing import columns_of, mean_of, named, newest_figure, notes_of, number, spread
from sparring.validation.phonons.compute import Lowest, PhononStates
from sparring.validation.phonons.figure import figure
from sparring.validation.results import each_generation

__all__ = ["figures", "imaginary_modes", "notes", "read", "table"]

Found = tuple[PhononStates, ...]
read = each_generation("phonons", Found, needs_all=False)


def table(results: Mapping[str, Found], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """Highest and mean frequency, the error of the bands, and the number of members with imaginary modes."""
    rows = []
    for name, formula, one in named(results):
        error = float(np.sqrt(np.mean((mean_of(one.bands) - one.label_bands) ** 2)))
        cells = [name, formula]
        for members, label in (
            (one.bands.max(axis=(1, 2)), one.label_bands.max()),
            (one.bands.mean(axis=(1, 2)), one.label_bands.mean()),
        ):
            cells += [spread(members, ".2f", THZ), number(float(label), ".2f", THZ)]
        unstable = sum(lowest.imaginary for lowest in one.lowest)
        rows.append((*cells, number(error, ".2f", THZ), f"{unstable} of {len(one.lowest)}"))
    more = (Column(title="error of bands", unit="THz"), Column(title="members with imaginary modes"))
    return Table(columns=columns_of(("highest frequency (THz)", "mean frequency (THz)"), more), rows=tuple(rows))


def figures(results: Mapping[str, Found], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Bands and densities of states of the newest committee."""
    caption = "Phonons by finite displacements; labels dashed. Frequencies below zero are imaginary."
    return newest_figure(results, "phonons", "Phonons", caption, figure(list(results.values())[-1]))


def notes(results: Mapping[str, Found], run: ReportedRun) -> Sequence[str]:
    """Supercells, imaginary modes, labels and what is missing."""
    newest = list(results.values())[-1]
    cells = "; ".join(f"{one.about.formula} {' x '.join(map(str, one.supercell))}" for one in newest)
    definitions = (
        f"Supercells: {cells}. The error of bands is the root mean square over all bands of the path. Imaginary: below "
        "-0.1 THz."
    )
    return (definitions, *imaginary_modes(results), *notes_of(results))


def imaginary_modes(results: Mapping[str, Found]) -> tuple[str, ...]:
    """A line for each crystal in which a member or the labels have imaginary modes."""
    lines = []
    for name, formula, one in named(results):
        modes = [(f"member {place + 1}", mode) for place, mode in enumerate(one.lowest)]
        words = [f"{who} {_named(mode)}" for who, mode in (*modes, ("labels", one.label_lowest)) if mode.imaginary]
        if words:
            lines.append(f"{name}, {formula}, imaginary modes: {', '.join(words)}.")
    return tuple(lines)


def _named(mode: Lowest) -> str:
    return f"{-mode.frequency / THZ:.2f}i THz at {mode.at}"
