"""Barrier between two minima, by a nudged elastic band."""

from sparring.validation.barrier.command import barrier
from sparring.validation.base import Imported, Validation

__all__ = ["validation"]

validation = Validation(
    name="barrier",
    title="Barrier",
    compute=Imported("sparring.validation.barrier.compute:barriers"),
    command=barrier,
    read=Imported("sparring.validation.barrier.section:read"),
    table=Imported("sparring.validation.barrier.table:barrier_table"),
    figures=Imported("sparring.validation.barrier.section:figures"),
    notes=Imported("sparring.validation.barrier.section:notes"),
    applies=lambda run: run.has_molecules and run.has_labels,
)
