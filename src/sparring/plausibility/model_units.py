"""Units of the energies of models that another package trained: by their forces, against labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.plausibility.findings import ENERGY_UNITS

__all__ = ["require_units", "wrong_unit"]

AT_MOST = 20
"""Largest number of structures that are compared."""
AGREES = 0.5
"""Largest relative deviation of forces at which a model is taken to describe the labels, in the unit tried."""
BETTER = 2.0
"""Smallest ratio of deviations, as given and in another unit, that is no coincidence."""
SMALLEST = 0.05
"""Root mean square of forces, in eV/Å, below which structures are too near their minima to tell."""


class WrongUnit(NamedTuple):
    """Unit in which energies of a model agree with the labels.

    Attributes:
        name: Unit in words.
        factor: Label's forces over the model's, for the mean number of atoms.
    """

    name: str
    factor: float


def wrong_unit(
    forces: Float[np.ndarray, "n_atoms 3"],
    labels: Float[np.ndarray, "n_atoms 3"],
    n_atoms_of: Int[np.ndarray, " n_atoms"],
) -> WrongUnit | None:
    r"""Unit of a model's energies, if another than eV for the whole structure agrees better with the labels.

    Units and, for energies of an atom, the number n of atoms are tried for the smallest deviation

    .. math:: \lVert F^\text{label} - u\, n^p F^\text{model} \rVert / \lVert F^\text{label} \rVert, \quad p = 0, 1.

    Args:
        forces: Forces of the model, as if its energies were in eV.
        labels: Labels, in eV/Å.
        n_atoms_of: Number of atoms in the structure of each atom.
    """
    size = float(np.linalg.norm(labels))
    if size <= SMALLEST * np.sqrt(labels.size) or not np.isfinite(forces).all() or not forces.any():
        return None
    deviations = {
        (unit, per_atom): float(np.linalg.norm(labels - factor * _share(n_atoms_of, per_atom) * forces)) / size
        for unit, factor in ENERGY_UNITS.items()
        for per_atom in (False, True)
    }
    total, atomic = (
        min((one for one in deviations if one[1] == of_atom), key=deviations.__getitem__) for of_atom in (False, True)
    )
    # A kJ/mol for each of four atoms is nearly a kcal/mol, so that an atom's energy must be much better.
    best = atomic if BETTER * deviations[atomic] < deviations[total] else total
    if deviations[best] > AGREES or deviations["eV", False] <= BETTER * deviations[best]:
        return None
    unit, per_atom = best
    factor = ENERGY_UNITS[unit] * float(_share(n_atoms_of, per_atom).mean())
    return WrongUnit(f"{unit} an atom" if per_atom else unit, factor)


def require_units(committee: Committee, dataset: Dataset, name: Callable[[int], str] = "member {}".format) -> None:
    """Check that forces of models agree with labels about the unit of energy; energies alone do not tell it.

    Args:
        committee: Models.
        dataset: Labelled structures; some of them are compared.
        name: Name of a member, by its number.

    Raises:
        ValueError: If energies of a member are in another unit, or those of one atom.
    """
    have = dataset.has_energy if dataset.has_forces is None else dataset.has_energy & dataset.has_forces
    known = np.flatnonzero(have.cpu().numpy())
    if not len(known):
        return
    chosen = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), AT_MOST)).round().astype(int))]
    some = dataset.take(chosen.tolist())
    structures, labels = some.structures, some.forces.double().cpu().numpy()
    if not np.isfinite(labels).all():
        return
    prediction = committee.without_domain().predict(structures, differentiable=False)
    n_atoms_of = structures.counts[structures.structure_index].cpu().numpy()
    for index, forces in enumerate(prediction.forces.double().cpu().numpy()):
        found = wrong_unit(forces, labels, n_atoms_of)
        if found is not None:
            raise ValueError(
                f"energies of {name(index)} are in {found.name}, not in eV for the whole structure: its forces times "
                f"{found.factor:.4g} agree with the labels. Convert the energies in the model, or if the model is "
                "right, the labels"
            )


def _share(n_atoms_of: Sequence[int] | Int[np.ndarray, " n_atoms"], per_atom: bool) -> np.ndarray:
    counts = np.asarray(n_atoms_of, dtype=float)[:, None]
    return counts if per_atom else np.ones_like(counts)
