"""The section of a report about scans of bonds and angles."""

from collections.abc import Mapping, Sequence

from sparring.support.tables import Table
from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.bond_scan.figure import MOST_PANELS, bonds_figure
from sparring.validation.bond_scan.scans import REACH, BondScan
from sparring.validation.bond_scan.table import flag_table
from sparring.validation.results import Results, each_generation

__all__ = ["figures", "more_tables", "notes", "read", "summary"]


def read(files: Results) -> Mapping[str, BondScan] | None:
    """The scans of each committee."""
    return each_generation("bonds", BondScan)(files)


def figures(results: Mapping[str, BondScan], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """All scans of the newest committee."""
    name, newest = list(results.items())[-1]
    caption = (
        "Energy of the committee with its σ while one bond or angle changes and all else stays rigid, above the start; "
        "labels as circles. Scans with holes are in the second colour; crosses are the worst points of holes and of "
        "errors beyond σ. Of equivalent bonds and angles one is shown, with their number."
    )
    if len(newest.scans) > MOST_PANELS:
        caption += f" {MOST_PANELS} of {len(newest.scans)} scans, those with holes first."
    figure = bonds_figure(newest, unit=unit)
    return (ReportFigure(name="bonds", title=f"Scans of bonds and angles, {name}", caption=caption, figure=figure),)


def more_tables(results: Mapping[str, BondScan], unit: EnergyUnit) -> tuple[tuple[str, Table], ...]:
    """Flags of the newest committee."""
    name, newest = list(results.items())[-1]
    return ((f"Flags, {name}", flag_table(newest, unit)),) if newest.found else ()


def notes(results: Mapping[str, BondScan], run: ReportedRun) -> Sequence[str]:
    """Criteria, labels and skipped coordinates of the newest committee."""
    name, newest = list(results.items())[-1]
    tolerance = f"{newest.tolerance / run.unit.size:.2g} {run.unit.name}"
    lines = [
        f"{newest.formula}. A hole: the energy falls by more than {tolerance} behind a wall or below the start, or is "
        f"within {REACH / run.unit.size:.2g} {run.unit.name} of the start and below a label by more than "
        f"{newest.n_sigma:g} σ and {tolerance}. A label that agrees overrules the first two. An error: more than "
        f"{newest.n_sigma:g} σ and {tolerance} away from a label at any energy. error/σ: its 90 % quantile."
    ]
    if newest.method:
        lines.append(f"Labels by {newest.method}.")
    if newest.skipped:
        some = "; ".join(newest.skipped[:5])
        lines.append(f"Not scanned in {name}: {len(newest.skipped)} bonds and angles ({some}).")
    return tuple(lines)


def summary(result: BondScan) -> str:
    """One line on a committee."""
    labels = f", {result.n_labels} labels by {result.method}" if result.method else ", no labels"
    return (
        f"{len(result.holes)} of {len(result.scans)} scans of bonds and angles of {result.formula} have holes{labels}"
    )
