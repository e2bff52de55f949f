"""Barrier between two minima, by a nudged elastic band."""

from sparring.validation.barrier.command import barrier
from sparring.validation.base import Validation, imported

__all__ = ["validation"]

validation = Validation(
    name="barrier",
    title="Barrier",
    compute=imported("sparring.validation.barrier.compute:barriers"),
    command=barrier,
    read=imported("sparring.validation.barrier.section:read"),
    table=imported("sparring.validation.barrier.table:barrier_table"),
    figures=imported("sparring.validation.barrier.section:figures"),
    notes=imported("sparring.validation.barrier.section:notes"),
    applies=lambda run: run.has_molecules,
)
