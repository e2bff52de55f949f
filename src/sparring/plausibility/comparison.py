"""A file's labels against the labeller's own on a few frames: the part that computes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from sparring.atoms.composition import composition
from sparring.atoms.constraints import without_constraints
from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.inheritance import bare_copy
from sparring.labels import Bounds, Label, LabelError
from sparring.plausibility.agreement import Compared, disagreements
from sparring.plausibility.choice import frames_to_compare, name_of
from sparring.plausibility.consistency import inconsistencies
from sparring.plausibility.findings import Finding
from sparring.plausibility.stresses import stress_inconsistencies

__all__ = ["Comparison", "compare", "contradictions", "require"]

Labels = Sequence[Label | LabelError]


class Comparison(NamedTuple):
    """Findings of a comparison of labels, and the labels of the labeller.

    Attributes:
        findings: Faults and doubts, worst first; empty if all agrees.
        frames: Frames that were labelled once more.
        labels: The labeller's labels of them.
    """

    findings: tuple[Finding, ...]
    frames: tuple[int, ...] = ()
    labels: tuple[Label | LabelError, ...] = ()

    @property
    def n_compared(self) -> int:
        """Number of frames that have both labels."""
        return sum(isinstance(label, Label) for label in self.labels)


def compare(
    structures: Sequence[Atoms],
    label_all: Callable[[Sequence[Atoms]], Labels],
    *,
    file: str,
    bounds: Bounds | None = None,
    energy_unit: str = "eV",
    forces_unit: str = "eV/Å",
    stress_unit: str = "eV/Å³",
    stress_sign: str = "tension",
) -> Comparison:
    """Compare the labels of a file with its own forces and stresses, and with a labeller's on one to three frames.

    Args:
        structures: Frames of the file, with their labels in eV, eV/Å and eV/Å³.
        label_all: The labeller, for several structures.
        file: Name of the file.
        bounds: Limits outside which a label is not compared.
        energy_unit: Unit that the energies of the file were read in.
        forces_unit: Unit that its forces were read in.
        stress_unit: Unit that its stresses were read in.
        stress_sign: Sign that they were read with: positive under "tension" or "compression".
    """
    units = {"energy_unit": energy_unit, "forces_unit": forces_unit}
    of_stress = {"stress_unit": stress_unit, "stress_sign": stress_sign}
    chosen = frames_to_compare(structures, bounds)
    labels = tuple(label_all([_bare(structures[index]) for index in chosen])) if chosen else ()
    pairs, failures = [], []
    for index, label in zip(chosen, labels, strict=True):
        name = name_of(structures[index], index)
        if isinstance(label, Label):
            pairs.append(_compared(structures[index], name, label))
        elif label.reason != "missing":  # an offline label that is awaited
            text = f"{file}, {name}: its label cannot be compared, because the labeller failed: {label}"
            failures.append(Finding("warn", text))
    # After a disagreement with a labeller, the consistency of the file adds nothing.
    found = disagreements(pairs, file, **units, **of_stress) or inconsistencies(structures, file, **units)
    found = found or stress_inconsistencies(structures, file, **of_stress)
    return Comparison((*found, *failures), tuple(chosen), labels)


def contradictions(
    structures: Sequence[Atoms],
    file: str,
    *,
    energy_unit: str = "eV",
    forces_unit: str = "eV/Å",
    stress_unit: str = "eV/Å³",
    stress_sign: str = "tension",
) -> tuple[Finding, ...]:
    """Contradictions of energies, forces and stresses of a file; nothing of stresses where the others contradict."""
    found = inconsistencies(structures, file, energy_unit=energy_unit, forces_unit=forces_unit)
    return tuple(found or stress_inconsistencies(structures, file, stress_unit=stress_unit, stress_sign=stress_sign))


def require(comparison: Comparison, remedy: str = "write `check_labels: false` in the section system") -> None:
    """Stop because of what a comparison has found, if it would put wrong numbers into the data.

    Args:
        comparison: Comparison.
        remedy: Words on how to go on all the same.

    Raises:
        ValueError: If the severity of a finding is "stop". The message has one line for each.
    """
    stops = [finding for finding in comparison.findings if finding.severity == "stop"]
    if not stops:
        return
    if all(finding.about == "stress" for finding in stops):
        why = (
            "A committee would learn these stresses. To leave them aside, write `stress_key: null` in the section "
            "system; to go on all the same, `check_labels: false`."
        )
    elif all(finding.about == "consistency" for finding in stops):
        why = f"A committee would learn labels that contradict each other. To go on all the same, {remedy}."
    else:
        why = (
            "Labels of the file and of the labeller would be mixed in one data set. To mix them all the same, write "
            "`check_labels: false` in the section system."
        )
    raise ValueError("\n".join([*(finding.text for finding in stops), why]))


def _compared(atoms: Atoms, name: str, label: Label) -> Compared:
    forces = atoms.arrays.get(FORCES)
    return Compared(
        name=name,
        composition=composition(atoms),
        numbers=atoms.numbers.tolist(),
        energy=float(atoms.info[ENERGY]),
        forces=None if forces is None else np.asarray(forces, dtype=float),
        own_energy=label.energy,
        own_forces=label.forces,
        stress=atoms.info.get(STRESS),
        own_stress=label.stress,
    )


def _bare(atoms: Atoms) -> Atoms:
    """The frame without its label, and with no atom fixed."""
    return without_constraints(bare_copy(atoms))
