"""Free energy over two torsions from plain dynamics."""

from sparring.validation.base import Imported, Validation
from sparring.validation.free_energy.command import free_energy

__all__ = ["validation"]

validation = Validation(
    name="free-energy",
    title="Free energy",
    compute=Imported("sparring.validation.free_energy.compute:committee_visits"),
    command=free_energy,
    read=Imported("sparring.validation.free_energy.section:read"),
    table=Imported("sparring.validation.free_energy.table:free_energy_table"),
    figures=Imported("sparring.validation.free_energy.section:figures"),
    notes=Imported("sparring.validation.free_energy.section:notes"),
    applies=lambda run: run.has_torsions,
)
