"""Relaxation of structures to a minimum of the energy."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS

from sparring.atoms.inheritance import bare_copy

__all__ = ["RelaxationError", "relax"]


class RelaxationError(RuntimeError):
    """A relaxation that has not converged. Potentials trained on few structures cause it; evaluations count it."""


def relax(atoms: Atoms, calculator: BaseCalculator, *, fmax: float = 0.005, max_steps: int = 300) -> Atoms:
    """Move the atoms downhill (BFGS) until no force is larger than `fmax`, in eV/Å.

    ASE's constraints hold, and the forces that must vanish are those that they leave. The energy and the unconstrained
    forces that the calculator gave for the last geometry come along (`get_forces(apply_constraint=False)` is free).

    Raises:
        RelaxationError: If the forces are not finite or still too large after `max_steps`.
    """
    moving = bare_copy(atoms)
    moving.calc = calculator
    with BFGS(moving, logfile=None) as optimiser:
        for _ in optimiser.irun(fmax=fmax, steps=max_steps):
            if not np.isfinite(moving.get_forces()).all():
                raise RelaxationError(
                    f"relaxing {moving.get_chemical_formula()}: forces are not finite after {optimiser.nsteps} steps"
                )
    energy, forces = moving.get_potential_energy(), moving.get_forces(apply_constraint=False)
    largest = np.linalg.norm(moving.get_forces(), axis=1).max()
    if not largest <= fmax:
        raise RelaxationError(
            f"relaxing {moving.get_chemical_formula()}: the largest force is {largest:.3g} eV/Å after {max_steps} "
            f"steps, wanted {fmax:g}; start from a better geometry, or allow more steps or a larger fmax"
        )
    moving.calc = SinglePointCalculator(moving, energy=energy, forces=forces)
    return moving
