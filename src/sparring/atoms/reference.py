"""The label that a structure carries: an energy and forces, by their names or as results of a calculator."""

import math
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

__all__ = [
    "ENERGY",
    "FORCES",
    "FORCES_MASK",
    "HESSIAN",
    "HESSIAN_DIRECTION",
    "HESSIAN_PRODUCT",
    "HESSIAN_STEP",
    "STRESS",
    "checked_forces",
    "has_labels",
    "known_results",
    "with_hessian_label",
    "with_label",
]

ENERGY, FORCES = "REF_energy", "REF_forces"
"""Names of a label in `info` (eV) and `arrays` (eV/Å)."""
STRESS = "REF_stress"
"""Name of the stress of a label in `info`: six components in eV/Å³, in the order xx, yy, zz, yz, xz, xy, positive under
tension, as in ASE."""
FORCES_MASK = "REF_forces_mask"
"""Name in `arrays` of the mask of an environment's core, whose forces are those of the larger structure."""
HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP = "REF_hessian_direction", "REF_hessian_product", "REF_hessian_step"
HESSIAN = (HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP)
"""Names of a Hessian-vector label (:mod:`sparring.atoms.curvature`): two in `arrays`, and the step in `info`."""


def has_labels(atoms: Atoms) -> bool:
    """True if a structure carries an energy and forces: `REF_energy` and `REF_forces`, or results of a calculator."""
    results = known_results(atoms)
    return (ENERGY in atoms.info or "energy" in results) and (FORCES in atoms.arrays or "forces" in results)


def with_label(atoms: Atoms, energy_key: str, forces_key: str, where: str) -> Atoms:
    """The label that a structure carries, under any names, as `REF_energy` in eV and `REF_forces` in eV/Å.

    Under these names themselves the forces may be missing, as in files of a run that learns from energies only.

    Raises:
        ValueError: If it is missing, not finite or of wrong shape; the message begins with `where`.
    """
    results = known_results(atoms)
    # All or nothing: the energy of one method and the forces of another would be no label.
    if (energy_key, forces_key) == (ENERGY, FORCES) and ENERGY not in atoms.info and FORCES not in atoms.arrays:
        # Labels that are computed are the force-consistent energy, too.
        consistent = "free_energy" if "free_energy" in results else "energy"
        energy_key, forces_key = (consistent, "forces") if results else (ENERGY, FORCES)
    known = sorted({*atoms.info, *atoms.arrays, *results} - {"numbers", "positions"})
    energy = atoms.info.pop(energy_key, results.get(energy_key))
    forces = atoms.arrays.pop(forces_key, results.get(forces_key))
    # A run writes what it has: an energy alone, if there were no forces. Forces of another name are no part of it.
    columns = {*atoms.arrays, *results} - {"committee_forces"}
    alone = (energy_key, forces_key) == (ENERGY, FORCES) and energy is not None and forces is None
    alone = alone and not any("force" in name.lower() for name in columns)
    for key, value, option in ((energy_key, energy, "energy_key"), (forces_key, forces, "forces_key")):
        if value is None and not alone:
            raise ValueError(
                f"{where}: there is no {key!r}, only {', '.join(known) or 'the geometry'}; name it with {option}, or "
                "label the structures first"
            )
    if isinstance(energy, bool) or not isinstance(energy, (int, float, np.number)) or not math.isfinite(energy):
        raise ValueError(f"{where}: {energy_key} must be one finite number in eV, got {energy!r}; label it again")
    atoms.info[ENERGY] = float(energy)
    if alone:
        atoms.calc = None
        return atoms
    atoms.calc = None
    atoms.arrays[FORCES] = checked_forces(forces_key, np.asarray(forces), len(atoms), where)
    return atoms


def checked_forces(name: str, forces: np.ndarray, n_atoms: int, where: str) -> np.ndarray:
    """Forces in double precision.

    Raises:
        ValueError: If they are not finite or of wrong shape; the message begins with `where`.
    """
    if forces.shape != (n_atoms, 3) or forces.dtype.kind not in "fiu":
        raise ValueError(
            f"{where}: {name} must have three numbers for each of {n_atoms} atoms, got the shape "
            f"{forces.shape} of {forces.dtype}; label it again"
        )
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{where}: {name} of atom {bad[0]} is {forces[bad[0]].tolist()}, which is not finite; label it again"
        )
    return forces.astype(np.float64)


def known_results(atoms: Atoms) -> dict[str, Any]:
    """Results of an attached calculator for this geometry, without computing anything."""
    calculator = atoms.calc
    if calculator is None or calculator.calculation_required(atoms, []):
        return {}
    return dict(calculator.results)


def with_hessian_label(
    atoms: Atoms, direction: Float[np.ndarray, "n_atoms 3"], product: Float[np.ndarray, "n_atoms 3"], step: float
) -> Atoms:
    """A copy of a structure that carries a Hessian-vector label.

    Args:
        atoms: Structure.
        direction: Direction.
        product: Product of the Hessian with the direction, in eV/Å².
        step: Step of the finite difference in Å; zero for an exact product.
    """
    labelled: Atoms = atoms.copy()
    labelled.set_array(HESSIAN_DIRECTION, np.asarray(direction, dtype=float), shape=(3,))
    labelled.set_array(HESSIAN_PRODUCT, np.asarray(product, dtype=float), shape=(3,))
    labelled.info[HESSIAN_STEP] = float(step)
    return labelled
