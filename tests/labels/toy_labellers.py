"""Labellers for the tests of the pool; in a module of their own, so that worker processes can import them."""

import os
import time
from pathlib import Path

from sparring.labels import Label, LabelError


class Harmonic:
    """Pulls every atom to the origin; what it is told to do to particular numbers of atoms, it does instead."""

    version = "toy 1"

    def __init__(self, *, log=None, dies_of=None, delays=None, converged=True, method="harmonic k=1"):
        self.method = method
        self.log = log
        self.dies_of = dies_of
        self.delays = delays or {}
        self.converged = converged

    def __call__(self, atoms):
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write(f"{os.getpid()} {atoms.get_chemical_formula()} {os.environ.get('OMP_NUM_THREADS')}\n")
        time.sleep(self.delays.get(len(atoms), 0.0))
        if atoms.get_chemical_formula() == self.dies_of:
            os._exit(42)
        return Label(
            energy=float(0.5 * (atoms.positions**2).sum()),
            forces=-atoms.positions,
            method=self.method,
            version=self.version,
            converged=self.converged,
            wall_time=0.0,
        )


class Faulty(Harmonic):
    """Raises, in ways that a labeller may."""

    def __call__(self, atoms):
        formula = atoms.get_chemical_formula()
        if formula == "He":
            raise LabelError("not_converged", "the SCF oscillates")
        if formula == "Ne":
            raise ZeroDivisionError("no such thing")
        return super().__call__(atoms)


class OtherMethod(Harmonic):
    """Gives labels that do not carry its own method."""

    def __call__(self, atoms):
        return Harmonic(method="harmonic k=2")(atoms)
