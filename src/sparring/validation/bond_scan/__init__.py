"""Scans of bonds and angles with a committee."""

from sparring.validation.base import Imported, Validation
from sparring.validation.bond_scan.command import bonds

__all__ = ["validation"]

validation = Validation(
    name="bonds",
    title="Scans of bonds and angles",
    compute=Imported("sparring.validation.bond_scan.compute:scan_bonds"),
    command=bonds,
    read=Imported("sparring.validation.bond_scan.section:read"),
    table=Imported("sparring.validation.bond_scan.table:bonds_table"),
    figures=Imported("sparring.validation.bond_scan.section:figures"),
    notes=Imported("sparring.validation.bond_scan.section:notes"),
    more_tables=Imported("sparring.validation.bond_scan.section:more_tables"),
    applies=lambda run: run.has_molecules,
)
