"""The section of a report about elastic constants."""

from collections.abc import Mapping, Sequence

from sparring.support.tables import Table
from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.crystals.showing import newest_figure, notes_of
from sparring.validation.elastic.compute import ElasticConstants
from sparring.validation.elastic.figure import figure
from sparring.validation.elastic.table import constants_table
from sparring.validation.results import each_generation

__all__ = ["figures", "more_tables", "notes", "read"]

Found = tuple[ElasticConstants, ...]
read = each_generation("elastic", Found, needs_all=False)


def figures(results: Mapping[str, Found], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Constants of the newest committee."""
    caption = (
        "Elastic constants with relaxed atoms, and bulk (K) and shear modulus (G) of a polycrystal; labels as circles. "
        "Of constants that are alike, the mean is shown under the name of the first."
    )
    return newest_figure(results, "elastic", "Elastic constants", caption, figure(list(results.values())[-1]))


def more_tables(results: Mapping[str, Found], unit: EnergyUnit) -> tuple[tuple[str, Table], ...]:
    """Constants of each crystal of the newest committee."""
    name, newest = list(results.items())[-1]
    return tuple((f"Constants of {one.about.formula}, {name}", constants_table(one)) for one in newest)


def notes(results: Mapping[str, Found], run: ReportedRun) -> Sequence[str]:
    """Definitions, labels and what is missing."""
    definitions = (
        "Each member has its own relaxed cell; ± is the standard deviation between members. Moduli by Voigt, Reuss and "
        "Hill; a crystal is stable where the lowest eigenvalue is above zero. The mean error is that of all 21 "
        "constants against the labels."
    )
    return (definitions, *notes_of(results))
