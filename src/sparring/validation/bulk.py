"""Crystals of a committee's data, and the surfaces of its members and of labels on which they are computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from ase import Atoms

from sparring.atoms.dataset import ENERGY
from sparring.atoms.primitive import has_vacuum, is_crystal, primitive
from sparring.committee import Committee
from sparring.inputs.extxyz import read_labelled
from sparring.inputs.reading import read_atoms
from sparring.labels import LabelError
from sparring.labels.pool import LabelReport
from sparring.runs.generation import DATASET as DATA
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces.crystals import in_parts
from sparring.surfaces.evaluators import Evaluate, committee_surface, label_surface
from sparring.validation.run_labels import LabelFrames

__all__ = [
    "BoundedLabels",
    "LabelsSpentError",
    "OfSurfaces",
    "crystals_of",
    "formula_of",
    "of_surfaces",
    "require_crystal",
]

T = TypeVar("T")

MOST_IN_UNIT = 24
"""Largest number of atoms of a formula unit of a crystal; that of a cell with a defect has more."""


class LabelsSpentError(ValueError):
    """More labels are needed than were allowed."""


class BoundedLabels:
    """Labels of structures, at most so many; those that are stored count, so that a repetition ends at the same place.

    Args:
        label: Function that labels structures.
        most: Largest number of labels.

    Attributes:
        n: Number of labels so far.
        method: Method of the labels; empty before the first.
    """

    def __init__(self, label: LabelFrames, most: int) -> None:
        self._label, self.most = label, most
        self.n, self.method = 0, ""

    @property
    def left(self) -> int:
        """Number of labels that are left."""
        return self.most - self.n

    def label(self, structures: Sequence[Atoms]) -> LabelReport:
        """The labels of structures.

        Raises:
            LabelsSpentError: If there are not as many left; none is computed then.
        """
        if len(structures) > self.left:
            raise LabelsSpentError(f"more than {self.most} labels are needed; raise their number (--labels)")
        self.n += len(structures)
        report = self._label(structures)
        self.method = next((one.method for one in report.labels if not isinstance(one, LabelError)), self.method)
        return report


@dataclass(frozen=True, kw_only=True)
class OfSurfaces(Generic[T]):
    """A result for each member of a committee and for the labels.

    Attributes:
        members: Results of the members; None for those without.
        label: Result of the labels; None if there is none.
        failures: Reasons why members have no result.
        unlabelled: Reason why the labels have no result; empty if they have, or were not asked for.
        method: Method of the labels.
        n_labels: Number of labels.
    """

    members: tuple[T | None, ...]
    label: T | None
    failures: tuple[str, ...]
    unlabelled: str
    method: str
    n_labels: int


def of_surfaces(
    committee: Committee, compute: Callable[[Evaluate], T], *, label: LabelFrames | None, n_labels: int
) -> OfSurfaces[T]:
    """Compute something on the surface of each member in double precision, and on that of the labels.

    Each member is a potential of its own here, with its own relaxed geometries: the standard deviation of a property is
    that of the values of the members, each of which is consistent in itself.

    Args:
        committee: Committee.
        compute: Function of a surface.
        label: Function that labels structures; None for no labels.
        n_labels: Largest number of labels.

    Raises:
        RelaxationError: If no member has a result.
    """
    members: list[T | None] = []
    failures: list[str] = []
    for number, member in enumerate(committee.to(dtype=torch.float64).members):
        one = Committee([member], domain=committee.domain)
        try:
            members.append(compute(in_parts(committee_surface(one, stress=True))))
        except (RelaxationError, ArithmeticError) as error:
            members.append(None)
            failures.append(f"member {number + 1}: {error}")
    if not any(member is not None for member in members):
        raise RelaxationError(f"no member of the committee has a result: {failures[0]}")
    found, unlabelled, labels = None, "", None if label is None else BoundedLabels(label, n_labels)
    if labels is not None and n_labels > 0:
        try:
            found = compute(label_surface(labels))
        except (RelaxationError, ArithmeticError, LabelError, LabelsSpentError) as error:
            unlabelled = str(error)
    return OfSurfaces(
        members=tuple(members),
        label=found,
        failures=tuple(failures),
        unlabelled=unlabelled,
        method="" if labels is None else labels.method,
        n_labels=0 if labels is None else labels.n,
    )


def require_crystal(atoms: Atoms) -> None:
    """Refuse a structure that is no crystal.

    Raises:
        ValueError: If it is not periodic in three directions, or has a layer of vacuum.
    """
    formula = atoms.get_chemical_formula()
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        along = "".join("T" if one else "F" for one in atoms.pbc)
        raise ValueError(
            f"{formula} is no crystal: it is periodic along {int(atoms.pbc.sum())} directions (pbc={along}), and a "
            "crystal along three; give a bulk structure"
        )
    if has_vacuum(atoms):
        raise ValueError(f"{formula} is a slab or a molecule in a box, with an empty layer; give a bulk structure")


def formula_of(atoms: Atoms) -> str:
    """The formula unit of a crystal: "Cu" for a cell of 32 atoms."""
    return str(atoms.symbols.formula.reduce()[0])


def crystals_of(folder: Path, file: Path | None = None) -> list[Atoms]:
    """The crystals of a file, or those of lowest energy per atom of each formula in the data of a committee.

    Those of the data are reduced to their smallest cells (:func:`sparring.atoms.primitive.primitive`); of those without
    energies, a file, all are taken as they are. Cells whose formula unit has more than 24 atoms, such as those with a
    vacancy in a compound, are left out.

    Args:
        folder: Folder of a committee.
        file: File of structures.

    Raises:
        ValueError: If there is no crystal, or one of the file is none.
    """
    if file is not None:
        structures = read_atoms(file, labels="ignored")
        for atoms in structures:
            require_crystal(atoms)
        return [Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True) for atoms in structures]
    data = folder / DATA
    if not data.exists():
        raise ValueError(f"{folder} is not a generation of a run: it has no {DATA}; give CRYSTALS.xyz, a file")
    lowest: dict[str, Atoms] = {}
    for atoms in read_labelled(data, allow_dummy=True):
        if not is_crystal(atoms):
            continue
        name = formula_of(atoms)
        if len(Atoms(name)) <= MOST_IN_UNIT and (name not in lowest or _energy(atoms) < _energy(lowest[name])):
            lowest[name] = atoms
    if not lowest:
        raise ValueError(
            f"{data} has no crystal: no structure is periodic in three directions and without vacuum; give "
            "CRYSTALS.xyz, a file with bulk structures"
        )
    return [primitive(lowest[name]) for name in sorted(lowest)]


def _energy(atoms: Atoms) -> float:
    return float(atoms.info[ENERGY]) / len(atoms)
