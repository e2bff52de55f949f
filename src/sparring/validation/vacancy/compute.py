r"""Formation energies of vacancies in crystals of one element.

.. math:: E_f = E(N - 1) - \frac{N - 1}{N} E(N)

E(N) is the energy of a supercell of the relaxed crystal, E(N - 1) that without an atom, with the cell fixed and all
atoms relaxed. In a compound the energy of the missing atom would have to be chosen, a chemical potential.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from jaxtyping import Float, Int

from sparring.committee import Committee
from sparring.starting_data.relaxation import relax
from sparring.surfaces.crystals import points_of, relaxed_crystal, repeats
from sparring.surfaces.evaluators import Evaluate, SurfaceCalculator
from sparring.validation.crystals.structures import formula_of, require_crystal
from sparring.validation.crystals.surfaces import About, of_surfaces
from sparring.validation.run_labels import LabelFrames

__all__ = ["Vacancies", "inequivalent_sites", "vacancy"]

FMAX = 0.01
REACH, ALIKE = 6.0, 0.05
"""Distance in Å up to which neighbours tell sites apart, and difference in Å below which they are alike."""


@dataclass(frozen=True, kw_only=True)
class Vacancies:
    """Formation energies of the vacancies of a crystal.

    Attributes:
        about: The crystal, and how the energies were computed.
        n_atoms: Number of atoms of the supercell.
        supercell: Numbers of cells of the supercell.
        sites: Indices of the missing atoms in the cell, one of each kind.
        energy: Formation energies by the members, in eV; NaN where there are none.
        label_energy: Formation energies by the labels, in eV; NaN where there are none.
    """

    about: About
    n_atoms: int
    supercell: tuple[int, int, int]
    sites: tuple[int, ...]
    energy: Float[np.ndarray, "n_members n_sites"]
    label_energy: Float[np.ndarray, " n_sites"]


def vacancy(
    committee: Committee,
    crystal: Atoms,
    *,
    length: float = 10.0,
    label: LabelFrames | None = None,
    n_labels: int = 100,
) -> Vacancies:
    """Formation energies of the vacancies of a crystal by each member of a committee and by labels.

    Args:
        committee: Committee.
        crystal: Crystal of one element near its equilibrium.
        length: Smallest distance between a vacancy and its image, in Å.
        label: Function that labels structures, such as the method ``label`` of a label service; None for no labels.
        n_labels: Largest number of labels.

    Raises:
        ValueError: If the structure is no crystal of one element, or the length leaves no room for a vacancy.
        RelaxationError: If no member has energies.
    """
    require_crystal(crystal)
    if len(set(crystal.numbers.tolist())) > 1:
        raise ValueError(
            f"{formula_of(crystal)} is a compound, and the formation energy of a vacancy is that of a crystal of one "
            "element: the energy of the missing atom in a compound depends on its chemical potential"
        )
    sites, supercell = inequivalent_sites(crystal), repeats(crystal, length)
    n_atoms = len(crystal) * int(np.prod(supercell))
    if n_atoms < 2:
        raise ValueError(f"a supercell of one atom has no room for a vacancy; wanted a longer length than {length:g} Å")
    found = of_surfaces(
        committee,
        crystal,
        partial(_formation_energies, crystal=crystal, supercell=supercell, sites=sites),
        missing=np.full(len(sites), np.nan),
        label=label,
        n_labels=n_labels,
        options={"length": length},
    )
    return Vacancies(
        about=found.about,
        n_atoms=n_atoms,
        supercell=supercell,
        sites=sites,
        energy=np.array(found.members),
        label_energy=found.label,
    )


def inequivalent_sites(crystal: Atoms) -> tuple[int, ...]:
    """The first atom of each kind; kinds differ in elements or in distances of neighbours up to 6 Å."""
    center, other, distance = neighbor_list("ijd", crystal, REACH)
    found: list[tuple[int, Int[np.ndarray, " _"], Float[np.ndarray, " _"]]] = []
    for atom in range(len(crystal)):
        here = center == atom
        order = np.lexsort((distance[here], crystal.numbers[other[here]]))
        numbers, distances = crystal.numbers[other[here]][order], distance[here][order]
        alike = (
            crystal.numbers[first] == crystal.numbers[atom]
            and np.array_equal(numbers, those)
            and bool((np.abs(distances - apart) < ALIKE).all())
            for first, those, apart in found
        )
        if not any(alike):
            found.append((atom, numbers, distances))
    return tuple(atom for atom, *_ in found)


def _formation_energies(
    evaluate: Evaluate, *, crystal: Atoms, supercell: tuple[int, int, int], sites: Sequence[int]
) -> Float[np.ndarray, " n_sites"]:
    whole = relaxed_crystal(crystal, evaluate) * supercell
    (perfect,) = points_of(evaluate, [whole])
    found = []
    for site in sites:
        defective = whole.copy()
        del defective[site]
        relaxed = relax(defective, SurfaceCalculator(evaluate), fmax=FMAX)
        found.append(relaxed.get_potential_energy() - len(relaxed) / len(whole) * perfect.energy)
    return np.array(found)
