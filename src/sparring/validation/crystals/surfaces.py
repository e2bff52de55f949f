"""Properties of a crystal on the surface of each member of a committee, and on that of the labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from ase import Atoms

from sparring.committee import Committee
from sparring.labels import LabelError
from sparring.labels.pool import LabelReport
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces.crystals import in_parts
from sparring.surfaces.evaluators import Evaluate, committee_surface, label_surface
from sparring.validation.crystals.structures import formula_of, require_crystal
from sparring.validation.run_labels import LabelFrames

__all__ = ["About", "BoundedLabels", "LabelsSpentError", "OfSurfaces", "of_surfaces"]

T = TypeVar("T")


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

    def label(self, structures: Sequence[Atoms]) -> LabelReport:
        """The labels of structures.

        Raises:
            LabelsSpentError: If there are not as many left; none is computed then.
        """
        if self.n + len(structures) > self.most:
            raise LabelsSpentError(f"more than {self.most} labels are needed; raise the number of labels")
        self.n += len(structures)
        report = self._label(structures)
        self.method = next((one.method for one in report.labels if not isinstance(one, LabelError)), self.method)
        return report


@dataclass(frozen=True, kw_only=True)
class About:
    """A crystal, and how a property of it was computed.

    Attributes:
        formula: Formula unit.
        n_atoms: Number of atoms of the cell.
        options: Options of the computation by name.
        failures: Reasons why members have no result.
        unlabelled: Reason why the labels have no result; empty if they have, or were not asked for.
        method: Method of the labels; empty without labels.
        n_labels: Number of labels.
    """

    formula: str
    n_atoms: int
    options: Mapping[str, float]
    failures: tuple[str, ...] = ()
    unlabelled: str = ""
    method: str = ""
    n_labels: int = 0


@dataclass(frozen=True, kw_only=True)
class OfSurfaces(Generic[T]):
    """A property of a crystal for each member of a committee and for the labels.

    Attributes:
        members: Values of the members.
        label: Value of the labels.
        about: The crystal, and how the values were computed.
    """

    members: tuple[T, ...]
    label: T
    about: About


def of_surfaces(
    committee: Committee,
    crystal: Atoms,
    compute: Callable[[Evaluate], T],
    *,
    missing: T,
    label: LabelFrames | None,
    n_labels: int,
    options: Mapping[str, int | float],
) -> OfSurfaces[T]:
    """Compute a property of a crystal on the surface of each member in double precision, and on that of the labels.

    Each member is a potential of its own here, with its own relaxed geometries: the standard deviation of a property is
    that of the values of the members, each of which is consistent in itself.

    Args:
        committee: Committee.
        crystal: Crystal.
        compute: Function of a surface.
        missing: Value of members and labels for which the function raises a RelaxationError or runs out of labels.
        label: Function that labels structures; None for no labels.
        n_labels: Largest number of labels.
        options: Further options, which the result keeps.

    Raises:
        ValueError: If the structure is no crystal, or the committee does not know it.
        RelaxationError: If no member has a value.
    """
    require_crystal(crystal)
    committee.require_known([crystal])
    failures: dict[int, str] = {}
    members = [missing] * len(committee.members)
    for place, member in enumerate(committee.to(dtype=torch.float64).members):
        surface = in_parts(committee_surface(Committee([member], domain=committee.domain), stress=True))
        try:
            members[place] = compute(surface)
        except (RelaxationError, ArithmeticError, np.linalg.LinAlgError) as error:
            failures[place] = f"member {place + 1}: {error}"
    if len(failures) == len(members):
        raise RelaxationError(f"no member of the committee has a result: {failures[0]}")
    found, unlabelled = missing, ""
    labels = BoundedLabels(label, n_labels) if label is not None and n_labels else None
    if labels is not None:
        try:
            found = compute(label_surface(labels))
        except (RelaxationError, ArithmeticError, np.linalg.LinAlgError, LabelError, LabelsSpentError) as error:
            unlabelled = str(error)
    about = About(
        formula=formula_of(crystal),
        n_atoms=len(crystal),
        options={**{name: float(value) for name, value in options.items()}, "n_labels": float(n_labels)},
        failures=tuple(failures.values()),
        unlabelled=unlabelled,
        method="" if labels is None else labels.method,
        n_labels=0 if labels is None else labels.n,
    )
    return OfSurfaces(members=tuple(members), label=found, about=about)
