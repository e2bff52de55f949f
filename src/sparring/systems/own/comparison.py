"""Structures of one's own in internal units, and their labels against those of the labeller."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.inputs.reading import read_file
from sparring.inputs.skipping import Skipped
from sparring.labels import Bounds, Label, LabelError
from sparring.plausibility import Comparison, Finding, compare, contradictions, require
from sparring.systems.own.structures import is_labelled, read_own
from sparring.units import quantity

if TYPE_CHECKING:
    from sparring.systems.own.section import Own

__all__ = [
    "are_mixed",
    "compare_own",
    "findings_of",
    "in_internal_units",
    "read_structures_of",
    "require_comparable",
    "skipped_of",
]

logger = logging.getLogger(__name__)

READING = ("file", "energy_key", "forces_key", "stress_key", "relabel", "charge", "multiplicity", "skip_bad")
"""Keys of the section about the format of a file."""
UNITS = ("energy_unit", "forces_unit", "stress_unit", "stress_sign")
"""Keys about the units of its labels, and the sign of stresses."""


def read_structures_of(system: "Own") -> list[Atoms]:
    """The structures of the file, with what labels they have in eV and eV/Å.

    Raises:
        ValueError: If the file cannot be read.
        OSError: If it cannot be opened.
    """
    units = {name: getattr(system, name) for name in UNITS}
    reading: dict[str, Any] = {key: getattr(system, key) for key in READING}
    structures = read_own(**reading, foreign_units=_foreign(system))
    return in_internal_units(structures, **units)


def skipped_of(system: "Own") -> tuple[Skipped, ...]:
    """The frames of the file that are wrong and are left out."""
    if not system.skip_bad:
        return ()
    reading: dict[str, Any] = {key: getattr(system, key) for key in ("energy_key", "forces_key", "stress_key")}
    labels: Literal["relabel", "optional"] = "relabel" if system.relabel else "optional"
    return read_file(system.file, labels=labels, foreign_units=_foreign(system), skip_bad=True, **reading).skipped


def _foreign(system: "Own") -> bool:
    return (system.energy_unit, system.forces_unit, system.stress_unit or "eV/Å³") != ("eV", "eV/Å", "eV/Å³")


def _units(system: "Own") -> dict[str, str]:
    return {name: getattr(system, name) or "eV/Å³" for name in UNITS}


def in_internal_units(
    structures: Sequence[Atoms],
    *,
    energy_unit: str,
    forces_unit: str,
    stress_unit: str | None = None,
    stress_sign: str = "tension",
) -> list[Atoms]:
    """Structures whose labels are in other units, in eV, eV/Å and eV/Å³; stresses positive under tension.

    Stresses whose unit is not named are left out where the other units are not eV and eV/Å.
    """
    energy, force = quantity(f"1 {energy_unit}", "energy"), quantity(f"1 {forces_unit}", "force")
    stress = quantity(f"1 {stress_unit or 'eV/Å³'}", "pressure") * (-1 if stress_sign == "compression" else 1)
    if stress_unit is None and not energy == force == 1.0:
        if n_with_stress := sum(STRESS in atoms.info for atoms in structures):
            logger.warning("the stresses of %d frames are left out: name their unit (`stress_unit`)", n_with_stress)
        stress = 0.0
    if energy == force == stress == 1.0:
        return list(structures)
    converted = [atoms.copy() for atoms in structures]
    for atoms in converted:
        if ENERGY in atoms.info:
            atoms.info[ENERGY] = energy * float(atoms.info[ENERGY])
        if FORCES in atoms.arrays:
            atoms.arrays[FORCES] = force * atoms.arrays[FORCES]
        if not stress:
            atoms.info.pop(STRESS, None)
        elif STRESS in atoms.info:
            atoms.info[STRESS] = stress * atoms.info[STRESS]
    return converted


def compare_own(
    structures: Sequence[Atoms],
    system: "Own",
    label_all: Callable[[Sequence[Atoms]], Sequence[Label | LabelError]],
    bounds: Bounds,
) -> Comparison:
    """The labels of the file against its own forces and stresses, and those of the labeller."""
    return compare(
        structures,
        label_all,
        file=str(system.file),
        bounds=bounds,
        **_units(system),
    )


def findings_of(
    system: "Own",
    structures: Sequence[Atoms],
    label_all: Callable[[Sequence[Atoms]], Sequence[Label | LabelError]],
    bounds: Bounds,
    generations: int,
) -> Comparison:
    """The comparison that a run of so many generations calls for; one that mixes no labels stops for contradictions."""
    if not system.check_labels:
        return Comparison(())
    comparison = compare_own(structures, system, label_all, bounds)
    if are_mixed(structures, system, generations):
        return comparison
    own = contradictions(structures, str(system.file), **_units(system))
    others = [Finding("warn", finding.text) for finding in comparison.findings if finding.about == "labels"]
    return comparison._replace(findings=(*own, *others))


def are_mixed(structures: Sequence[Atoms], system: "Own", generations: int) -> bool:
    """True if labels of the file and of the labeller come into one data set."""
    return generations > 1 or system.enlarge is not None or not all(map(is_labelled, structures))


def require_comparable(
    structures: Sequence[Atoms],
    system: "Own",
    label_all: Callable[[Sequence[Atoms]], Sequence[Label | LabelError]],
    bounds: Bounds,
    *,
    generations: int,
) -> None:
    """Stop before labels of two kinds are mixed in one data set, or labels that contradict each other are learnt.

    Nothing is labelled where there are no labels to mix.

    Raises:
        ValueError: If the labels of the file are not the labeller's, or contradict each other, with what was found.
    """
    if not system.check_labels:
        return
    if are_mixed(structures, system, generations):
        comparison = compare_own(structures, system, label_all, bounds)
    else:
        comparison = Comparison(contradictions(structures, str(system.file), **_units(system)))
    require(comparison)
    for finding in comparison.findings:
        logger.warning("%s", finding.text)
