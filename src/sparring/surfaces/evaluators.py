"""Potential energy surfaces, evaluated for many structures at once: that of a committee, or that of the labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from jaxtyping import Float

from sparring.atoms.strain import to_voigt
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.labels import LabelError, Labeller, LabelReport
from sparring.labels.results import compute

__all__ = [
    "Evaluate",
    "Labelling",
    "SinglePoint",
    "SurfaceCalculator",
    "committee_surface",
    "label_surface",
    "labeller_surface",
]


class SinglePoint(NamedTuple):
    """Energy and forces of one structure, and its stress where there is one.

    Attributes:
        energy: Energy in eV.
        forces: Forces in eV/Å.
        member_energy: Energy of each member of a committee, whose mean is the energy; any other surface has one member.
        stress: Stress in eV/Å³ and Voigt order, as ASE has it; None if it is not known.
    """

    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    member_energy: Float[np.ndarray, " n_members"]
    stress: Float[np.ndarray, "6"] | None = None


Evaluate: TypeAlias = Callable[[Sequence[Atoms]], Sequence[SinglePoint | LabelError]]
"""A surface: structures in, their energies and forces out, in the same order; an error in place of what has none."""


@runtime_checkable
class Labelling(Protocol):
    """Labels many structures in one call."""

    def label(self, structures: Sequence[Atoms]) -> LabelReport:
        """The labels of the structures, in their order."""
        ...


def committee_surface(committee: Committee, *, stress: bool = False) -> Evaluate:
    """The mean of a committee (Eq. 4 and 6); all structures of a call in one pass.

    A call raises a ValueError for structures that the committee does not know.

    Args:
        committee: The committee.
        stress: True for stresses, too.
    """

    def evaluate(structures: Sequence[Atoms]) -> list[SinglePoint]:
        committee.require_known(structures)
        batch = Structures.from_atoms(structures, ignore_constraints=True)
        found = committee.without_domain().predict(batch, differentiable=False, stress=stress)
        members = found.energy.double().cpu().numpy().T
        mean = np.split(found.forces.double().mean(0).cpu().numpy(), batch.counts.cumsum(0)[:-1].tolist())
        no_stresses: list[None] = [None] * len(structures)
        stresses = no_stresses if found.stress is None else to_voigt(found.stress.double().mean(0).cpu().numpy())
        points = zip(members, mean, stresses, strict=True)
        return [SinglePoint(float(one.mean()), forces, one, of_cell) for one, forces, of_cell in points]

    return evaluate


def label_surface(label_service: Labelling) -> Evaluate:
    """The surface that labels are points of; all structures of a call at once, in as many processes as there are."""

    def evaluate(structures: Sequence[Atoms]) -> list[SinglePoint | LabelError]:
        points: list[SinglePoint | LabelError] = []
        for index, (atoms, label) in enumerate(zip(structures, label_service.label(structures).labels, strict=True)):
            if isinstance(label, LabelError):
                # Its index in this call has no meaning for the caller.
                here = f"structure {index} ({atoms.get_chemical_formula()}): "
                points.append(LabelError(label.reason, str(label).removeprefix(here)))
            else:
                points.append(SinglePoint(label.energy, label.forces, np.array([label.energy]), label.stress))
        return points

    return evaluate


def labeller_surface(labeller: Labeller) -> Evaluate:
    """The surface of a labeller, which computes one structure after the other, without a store.

    For fast labellers: the intermediate steps of relaxations need no record.
    """

    def one(atoms: Atoms) -> SinglePoint | LabelError:
        try:
            label = compute(labeller, atoms)
        except LabelError as error:
            return error
        return SinglePoint(label.energy, label.forces, np.array([label.energy]), label.stress)

    return lambda structures: [one(atoms) for atoms in structures]


class SurfaceCalculator(Calculator):
    """A surface as an ASE calculator; it has a stress where the surface has one.

    Raises:
        LabelError: From a calculation, if the structure has no label.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (ASE declares it so)

    def __init__(self, evaluate: Evaluate) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.evaluate = evaluate

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results``; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        assert self.atoms is not None  # ASE's own calculate has just put them there
        (point,) = self.evaluate([self.atoms])
        if isinstance(point, LabelError):
            raise point
        self.results = {"energy": point.energy, "forces": point.forces}
        if point.stress is not None:
            self.results["stress"] = point.stress
