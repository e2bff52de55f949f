"""Tables of scans of bonds and angles: a row for each committee, and a row for each flag."""

import math
from collections.abc import Mapping

import numpy as np

from sparring.support.tables import Cell, Column, Table
from sparring.units import EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.bond_scan.scans import BondScan, CoordinateScan, Flag

__all__ = ["bonds_table", "flag_table"]

WORDS = {
    "turns over": "turns over: energy falls by",
    "below": "energy below the start by",
    "too low": "within reach, below the label by",
    "error": "error against the label",
    "not finite": "energy is not finite",
}


def bonds_table(results: Mapping[str, BondScan], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each committee: numbers of scans and of flagged ones, and errors against labels."""
    columns = (
        Column(title="", left=True),
        Column(title="scans"),
        Column(title="with holes"),
        Column(title="turn over"),
        Column(title="below the start"),
        Column(title="too low"),
        Column(title="errors"),
        Column(title="labels"),
        Column(title="refused"),
        Column(title="median error", unit=unit.name, size=unit.size, format="{:.2f}"),
        Column(title="error/σ, 90 %", format="{:.1f}"),
    )
    return Table(columns=columns, rows=tuple((name, *_cells(result)) for name, result in results.items()))


def flag_table(result: BondScan, unit: EnergyUnit) -> Table:
    """A row for each flag, the scans in their order."""
    columns = (
        Column(title="scan", left=True),
        Column(title="equivalent"),
        Column(title="at", left=True),
        Column(title="flag", left=True),
        Column(title="amount", format="{:.1f}", unit=unit.name, size=unit.size),
        Column(title="in σ", format="{:.0f}"),
    )
    rows = [_flag_cells(scan, flag) for scan in result.found for flag in scan.flags]
    return Table(columns=columns, rows=tuple(rows)).without_empty_columns()


def _cells(result: BondScan) -> tuple[Cell, ...]:
    kinds = [{flag.kind for flag in scan.flags} for scan in result.scans]
    error = np.concatenate([[], *(np.abs(scan.energy - scan.label) for scan in result.scans)])
    sigma = np.concatenate([[], *(scan.energy_sigma for scan in result.scans)])
    known = np.isfinite(error) & (sigma > 0)
    return (
        len(result.scans),
        len(result.holes),
        sum("turns over" in some for some in kinds),
        sum("below" in some for some in kinds),
        sum("too low" in some for some in kinds) if result.n_labels else None,
        sum("error" in some for some in kinds) if result.n_labels else None,
        result.n_labels or None,
        result.refused if result.method or result.refused else None,
        float(np.median(error[np.isfinite(error)])) if result.n_labels else None,
        float(np.quantile(error[known] / sigma[known], 0.9)) if known.any() else None,
    )


def _flag_cells(scan: CoordinateScan, flag: Flag) -> tuple[Cell, ...]:
    form = ".2f" if scan.kind == "bond" else ".0f"
    at = f"{scan.values[flag.point]:{form}} {scan.unit} (start {scan.start:{form}})"
    sigma = float(scan.energy_sigma[flag.point])
    in_sigma = abs(flag.amount) / sigma if flag.kind in ("error", "too low") and sigma > 0 else None
    amount = None if math.isnan(flag.amount) else flag.amount
    return scan.title, scan.n_equivalent, at, WORDS[flag.kind], amount, in_sigma
