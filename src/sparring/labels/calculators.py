"""Energy, forces and stress of a structure by an ASE calculator, in one calculation."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, SCFError, all_changes

from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.reference import has_volume
from sparring.labels.base import Label, LabelError, label_input

__all__ = ["compute_by", "state_parameters"]


def compute_by(
    calculator: Any,  # noqa: ANN401 - no common type
    atoms: Atoms,
    method: str,
    version: str,
    names: Sequence[str],
) -> Label:
    """The label of a structure: energy, forces and, in a cell that is periodic in three directions, stress.

    Args:
        calculator: ASE calculator.
        atoms: Structure.
        method: Method of the label.
        version: Version of the label.
        names: Names in info or arrays that the calculator reads.

    Raises:
        CalculationFailed: If the calculator gave up for another reason than a lack of convergence.
    """
    started = time.perf_counter()
    structure = label_input(atoms, names)
    structure.calc = calculator
    properties = getattr(calculator, "implemented_properties", ())
    energy, forces, stress, converged = np.nan, np.full((len(atoms), 3), np.nan), None, True
    try:
        if has_volume(structure) and "stress" in properties:
            stress = _stress(calculator, structure)
        forces = np.array(structure.get_forces(apply_constraint=False), dtype=float)
        energy = float(structure.get_potential_energy(force_consistent="free_energy" in properties))
    except CalculationFailed as error:
        # Not every interface has a type for this failure; all have the same word in the message.
        if not isinstance(error, SCFError) and "converge" not in str(error).lower():
            raise
        converged = False
    # VASP goes on after the last cycle, and ASE reads results that mean nothing.
    if getattr(calculator, "name", "") == "vasp" and getattr(calculator, "converged", None) is False:
        converged = False
    return Label(
        energy=energy,
        forces=forces,
        stress=stress,
        method=method,
        version=version,
        converged=converged,
        wall_time=time.perf_counter() - started,
    )


def state_parameters(atoms: Atoms, names: tuple[str, str] | None, calculator: str) -> dict[str, int]:
    """Charge and multiplicity as parameters of the calculator; an error if it has none and they are not the default."""
    state = electronic_state(atoms)
    if names is not None:
        return dict(zip(names, state, strict=True))
    if state.charge or state.multiplicity > 2:
        raise LabelError(
            "bad_input",
            f"{atoms.get_chemical_formula()} has charge {state.charge} and multiplicity {state.multiplicity}, which "
            f"{calculator!r} has no parameters for; use a labeller that has",
        )
    return {}


def _stress(calculator: Any, structure: Atoms) -> np.ndarray | None:  # noqa: ANN401 - no common type
    """Stress, with energy and forces, for which a program would run again; None where its settings give none."""
    if getattr(calculator, "use_cache", False):
        calculator.atoms = structure.copy()  # as ASE does
    try:
        calculator.calculate(structure, ["energy", "forces", "stress"], all_changes)
    except NotImplementedError:
        calculator.reset()
    if "stress" not in calculator.results:
        return None
    return np.array(structure.get_stress(apply_constraint=False), dtype=float)
