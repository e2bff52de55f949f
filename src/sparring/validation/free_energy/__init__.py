"""Free energy over two torsions from plain dynamics."""

from sparring.validation.base import Validation, imported
from sparring.validation.free_energy.command import free_energy

__all__ = ["validation"]

validation = Validation(
    name="free-energy",
    title="Free energy",
    compute=imported("sparring.validation.free_energy.compute:committee_visits"),
    command=free_energy,
    read=imported("sparring.validation.free_energy.section:read"),
    table=imported("sparring.validation.free_energy.table:free_energy_table"),
    figures=imported("sparring.validation.free_energy.section:figures"),
    notes=imported("sparring.validation.free_energy.section:notes"),
    applies=lambda run: run.has_torsions,
)
