"""The section ``system`` of one's own structures as functions: read them in internal units, and see that they fit."""

import logging
from collections.abc import Callable, Sequence

from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.config import sections
from sparring.labels import Bounds, Label, LabelError
from sparring.plausibility import Comparison, compare, require
from sparring.systems.own import is_labelled, read_own
from sparring.units import quantity

__all__ = ["are_mixed", "compare_own", "in_internal_units", "read_structures_of", "require_comparable"]

logger = logging.getLogger(__name__)

LEAVE_OUT = ("enlarge", "energy_unit", "forces_unit", "check_labels")
"""Keys of the section that say nothing about how a file is read."""


def read_structures_of(system: sections.Own) -> list[Atoms]:
    """The structures of the file, with what labels they have in eV and eV/Å.

    Raises:
        ValueError: If the file cannot be read.
        OSError: If it cannot be opened.
    """
    foreign = (system.energy_unit, system.forces_unit) != ("eV", "eV/Å")
    structures = read_own(**system.arguments(*LEAVE_OUT), foreign_units=foreign)  # type: ignore[arg-type]
    return in_internal_units(structures, energy_unit=system.energy_unit, forces_unit=system.forces_unit)


def in_internal_units(structures: Sequence[Atoms], *, energy_unit: str, forces_unit: str) -> list[Atoms]:
    """Structures whose labels are in other units, in eV and eV/Å."""
    energy, force = quantity(f"1 {energy_unit}", "energy"), quantity(f"1 {forces_unit}", "force")
    if energy == force == 1.0:
        return list(structures)
    converted = [atoms.copy() for atoms in structures]
    for atoms in converted:
        if ENERGY in atoms.info:
            atoms.info[ENERGY] = energy * float(atoms.info[ENERGY])
        if FORCES in atoms.arrays:
            atoms.arrays[FORCES] = force * atoms.arrays[FORCES]
    return converted


def compare_own(
    structures: Sequence[Atoms],
    system: sections.Own,
    label_all: Callable[[Sequence[Atoms]], Sequence[Label | LabelError]],
    bounds: Bounds,
) -> Comparison:
    """The labels of the file against its own forces and those of the labeller."""
    return compare(
        structures,
        label_all,
        file=str(system.file),
        bounds=bounds,
        energy_unit=system.energy_unit,
        forces_unit=system.forces_unit,
    )


def are_mixed(structures: Sequence[Atoms], system: sections.Own, generations: int) -> bool:
    """Whether labels of the file and of the labeller come into one data set."""
    return generations > 1 or system.enlarge is not None or not all(map(is_labelled, structures))


def require_comparable(
    structures: Sequence[Atoms],
    system: sections.Own,
    label_all: Callable[[Sequence[Atoms]], Sequence[Label | LabelError]],
    bounds: Bounds,
    *,
    generations: int,
) -> None:
    """Stop before labels of two kinds are mixed in one data set. Nothing is compared where there are none to mix.

    Raises:
        ValueError: If the labels of the file are not the labeller's, with what was found.
    """
    if not system.check_labels or not are_mixed(structures, system, generations):
        return
    comparison = compare_own(structures, system, label_all, bounds)
    require(comparison)
    for finding in comparison.findings:
        logger.warning("%s", finding.text)
