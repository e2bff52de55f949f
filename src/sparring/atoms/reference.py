"""The label that a structure carries: an energy and forces, by their names or as results of a calculator."""

import math
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Bool, Float

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
    "checked_stress",
    "forces_mask",
    "has_labels",
    "has_volume",
    "known_results",
    "stress_named",
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
ASYMMETRY, SMALLEST_ASYMMETRY = 1e-2, 1e-5
"""Components of a symmetric matrix differ by less: by this share of the largest one, and this in eV/Å³."""
HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP = "REF_hessian_direction", "REF_hessian_product", "REF_hessian_step"
HESSIAN = (HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP)
"""Names of a Hessian-vector label (:mod:`sparring.atoms.curvature`): two in `arrays`, and the step in `info`."""


def has_labels(atoms: Atoms) -> bool:
    """True if a structure carries an energy and forces: `REF_energy` and `REF_forces`, or results of a calculator."""
    results = known_results(atoms)
    return (ENERGY in atoms.info or "energy" in results) and (FORCES in atoms.arrays or "forces" in results)


def with_label(atoms: Atoms, energy_key: str, forces_key: str, where: str, stress_key: str = STRESS) -> Atoms:
    """The label that a structure carries, under any names, as `REF_energy` in eV and `REF_forces` in eV/Å.

    Under these names themselves the forces may be missing, as in files of a run that learns from energies only. A
    stress, or a virial if the name says so, becomes `REF_stress`; it comes from the results if the energy does. Only
    cells that are periodic in all three directions keep one.

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
    from_results = energy_key in results and energy_key not in atoms.info
    stress = atoms.info.pop(stress_key, results.get("stress") if from_results else None)
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
    if stress is not None and has_volume(atoms):
        atoms.info[STRESS] = stress_named(stress_key, stress, atoms, where)
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


def has_volume(atoms: Atoms) -> bool:
    """True if a structure can have a stress as a label: it is periodic in all three directions.

    The stress of a slab, a wire or a molecule in a box would depend on the vacuum in the cell.
    """
    return bool(atoms.pbc.all() and atoms.cell.rank == 3)


def stress_named(name: str, value: object, atoms: Atoms, where: str) -> Float[np.ndarray, "6"]:
    """Stress in eV/Å³, from a stress, or from a virial in eV: one whose name has this word.

    The virial is minus the volume times the stress, as in ASE, MACE, GAP and NEP.

    Raises:
        ValueError: As :func:`checked_stress`.
    """
    if "virial" not in name.lower():
        return checked_stress(name, value, where)
    volume = abs(float(atoms.cell.volume))
    return -checked_stress(name, value, where, unit=volume) / volume


def checked_stress(name: str, value: object, where: str, *, unit: float = 1.0) -> Float[np.ndarray, "6"]:
    """Components xx, yy, zz, yz, xz, xy of a stress, from these six or the nine of a symmetric matrix.

    Args:
        name: Name of the stress in its file.
        value: Components.
        where: File and frame, for messages.
        unit: Value of 1 eV/Å³ in the unit of the components: the volume for those of a virial.

    Raises:
        ValueError: If there are not as many, or they are not finite or not symmetric; the message begins with `where`.
    """
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "fiu" or numbers.shape not in ((6,), (9,), (3, 3)):
        raise ValueError(
            f"{where}: {name} must have six components (xx, yy, zz, yz, xz, xy) or the nine of a symmetric matrix, got "
            f"{f'the shape {numbers.shape}' if numbers.dtype.kind in 'fiu' else repr(value)[:80]}; correct or remove it"
        )
    if not np.isfinite(numbers).all():
        raise ValueError(f"{where}: {name} is {numbers.tolist()}, which is not finite; remove it, or label it again")
    numbers = numbers.astype(np.float64)
    if numbers.size == 6:
        return numbers
    matrix = numbers.reshape(3, 3)
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > ASYMMETRY * np.abs(matrix).max() + SMALLEST_ASYMMETRY * unit:
        raise ValueError(
            f"{where}: {name} is not symmetric ({matrix.tolist()}): components differ from their mirror images by "
            f"{asymmetry:.3g}; correct it, remove it, or label it again"
        )
    return np.asarray(full_3x3_to_voigt_6_stress(matrix))


def forces_mask(atoms: Atoms) -> Bool[np.ndarray, " n_atoms"]:
    """Mask of the atoms whose forces count: all, unless `REF_forces_mask` has those of an environment's core."""
    return np.asarray(atoms.arrays.get(FORCES_MASK, np.ones(len(atoms))), dtype=bool)


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
