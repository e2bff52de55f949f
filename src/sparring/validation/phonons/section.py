"""The section of a report about phonons."""

from collections.abc import Mapping, Sequence

from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.bulk_results import notes_of
from sparring.validation.phonons.compute import PhononStatesOfCrystals
from sparring.validation.phonons.figure import phonon_figure
from sparring.validation.phonons.table import imaginary_modes
from sparring.validation.results import Results, each_generation

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Mapping[str, PhononStatesOfCrystals] | None:
    """The phonons of each committee."""
    return each_generation("phonons", PhononStatesOfCrystals)(files)


def figures(results: Mapping[str, PhononStatesOfCrystals], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Bands and densities of states of the newest committee."""
    name, newest = list(results.items())[-1]
    caption = (
        "Phonons by finite displacements: mean of the committee with the standard deviation σ of its members, labels "
        "dashed. Frequencies below zero are imaginary."
    )
    figure = phonon_figure(newest)
    return (ReportFigure(name="phonons", title=f"Phonons, {name}", caption=caption, figure=figure),)


def notes(results: Mapping[str, PhononStatesOfCrystals], run: ReportedRun) -> Sequence[str]:
    """Supercells, imaginary modes, labels and what is missing."""
    newest = list(results.values())[-1]
    cells = "; ".join(f"{one.formula} {' x '.join(map(str, one.supercell))}" for one in newest.crystals)
    definitions = (
        f"Supercells: {cells}. The error of bands is the root mean square over all bands of the path. Imaginary: below "
        "-0.1 THz."
    )
    return (definitions, *imaginary_modes(results), *notes_of(results))
