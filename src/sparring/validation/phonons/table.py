"""Table of phonons: a row for each crystal of each committee; and the names of imaginary modes."""

from collections.abc import Mapping

import numpy as np

from sparring.support.tables import UNKNOWN, Column, Table
from sparring.units import EV, THZ, EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.bulk_results import named, number, spread
from sparring.validation.phonons.compute import Lowest, PhononStatesOfCrystals

__all__ = ["imaginary_modes", "phonon_table"]


def phonon_table(
    results: Mapping[str, PhononStatesOfCrystals], unit: EnergyUnit = EV, *, published: Published = no_published
) -> Table:
    """Highest and mean frequency, the error of the bands, and the number of members with imaginary modes."""
    columns = (
        Column(title="", left=True),
        Column(title="crystal", left=True),
        Column(title="committee", group="highest frequency (THz)"),
        Column(title="label", group="highest frequency (THz)"),
        Column(title="committee", group="mean frequency (THz)"),
        Column(title="label", group="mean frequency (THz)"),
        Column(title="error of bands", unit="THz"),
        Column(title="members with imaginary modes"),
    )
    rows = []
    for name, formula, one in named(results):
        error = np.sqrt(np.mean((_mean(one.bands) - one.label_bands) ** 2))
        unstable = sum(lowest.imaginary for lowest in one.lowest)
        rows.append(
            (
                name,
                formula,
                spread(one.bands.max(axis=(1, 2)), ".2f", THZ),
                number(one.label_bands.max(), ".2f", THZ),
                spread(one.bands.mean(axis=(1, 2)), ".2f", THZ),
                number(one.label_bands.mean(), ".2f", THZ),
                number(float(error), ".2f", THZ),
                f"{unstable} of {len(one.lowest)}",
            )
        )
    return Table(columns=columns, rows=tuple(rows))


def imaginary_modes(results: Mapping[str, PhononStatesOfCrystals]) -> tuple[str, ...]:
    """A line for each crystal in which a member or the labels have imaginary modes."""
    lines = []
    for name, formula, one in named(results):
        modes = [(f"member {number + 1}", mode) for number, mode in enumerate(one.lowest)]
        words = [f"{who} {_named(mode)}" for who, mode in (*modes, ("labels", one.label_lowest)) if mode.imaginary]
        if words:
            lines.append(f"{name}, {formula}, imaginary modes: {', '.join(words)}.")
    return tuple(lines)


def _named(mode: Lowest) -> str:
    return f"{-mode.frequency / THZ:.2f}i THz at {mode.at or UNKNOWN}"


def _mean(bands: np.ndarray) -> np.ndarray:
    known = bands[np.isfinite(bands).all(axis=(1, 2))]
    return known.mean(axis=0) if len(known) else np.full(bands.shape[1:], np.nan)
