"""The section ``attack.space`` of a configuration as a space, and the molecules whose torsions it turns."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from sparring.atoms.dataset import ENERGY
from sparring.atoms.structures import Structures
from sparring.config import Config
from sparring.config import spaces as section_of
from sparring.proposers.spaces import Cartesian, Combined, Dihedrals, RandomDisplacement, Space, Strain, Uniform, plugin
from sparring.proposers.spaces.strain import MOST

__all__ = ["Bonds", "bonds_of", "have_cells", "have_torsions", "one_of_each", "parts_of", "space_of"]

Bonds: TypeAlias = Sequence[tuple[int, int]]


def space_of(section: section_of.AnySpace, molecules: Sequence[Atoms] = (), bonds: Bonds | None = None) -> Space:
    """The section ``attack.space``.

    Raises:
        ValueError: If a molecule does not have the torsions, or no package registers a plugin.
    """
    if isinstance(section, section_of.Combined | section_of.RandomCombined):
        scales = tuple(getattr(part, "scale", 1.0) for part in section.spaces)
        return Combined(spaces=tuple(space_of(part, molecules, bonds) for part in section.spaces), scales=scales)
    if isinstance(section, section_of.RandomCartesian):
        return RandomDisplacement(amplitude=section.amplitude, axes=section.axes, atoms=section.atoms)
    if isinstance(section, section_of.RandomDihedrals):
        turning = Dihedrals.of(molecules, section.torsions, bonds=bonds)
        return Uniform(space=turning, amplitude=section.amplitude)
    if isinstance(section, section_of.RandomStrain):
        return Uniform(space=Strain(which=section.which, radius=MOST), amplitude=section.amplitude)
    if isinstance(section, section_of.Strain):
        return Strain(which=section.which, spread=section.initial_spread, radius=section.radius)
    if isinstance(section, section_of.RandomPlugin):
        return Uniform(space=plugin(section.name, section.parameters), amplitude=section.amplitude)
    if isinstance(section, section_of.Plugin):
        return plugin(section.name, section.parameters)
    bound: dict[str, Any] = section.bound.arguments() if section.bound else {}
    if isinstance(section, section_of.Dihedrals):
        return Dihedrals.of(molecules, section.torsions, bonds=bonds, spread=section.initial_spread, **bound)
    return Cartesian(spread=section.initial_spread, axes=section.axes, atoms=section.atoms, **bound)


def have_torsions(
    torsions: Sequence[Any], structures: Sequence[Atoms], bonds: Bonds | None
) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that have the torsions and the bonds of their molecule."""
    found, errors = np.zeros(len(structures), dtype=bool), []
    for molecule in one_of_each(structures):
        try:
            turning = Dihedrals.of(molecule, torsions, bonds=bonds)
        except ValueError as error:
            errors.append(error)
            continue
        same = [index for index, one in enumerate(structures) if np.array_equal(one.numbers, molecule.numbers)]
        found[same] = turning.intact(Structures.from_atoms([structures[index] for index in same]))
    if len(errors) == len(one_of_each(structures)):
        raise errors[0]
    return found


def have_cells(structures: Sequence[Atoms]) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that have a cell to strain, and no atom that cannot follow it.

    Raises:
        ValueError: If there is none.
    """
    found = np.array([bool(atoms.pbc.any()) and not atoms.constraints for atoms in structures])
    if not found.any():
        raise ValueError(
            "no structure has a cell that can be strained: all are without periodic boundaries or have fixed atoms; "
            "leave the strain out of `space`"
        )
    return found


def parts_of(section: section_of.AnySpace) -> Sequence[Any]:
    """The parts of a combination, or the section itself."""
    parts: Sequence[Any] = getattr(section, "spaces", (section,))
    return parts


def one_of_each(structures: Sequence[Atoms]) -> list[Atoms]:
    """The structure of lowest energy for every sequence of atoms; the first one where none has an energy."""
    lowest: dict[tuple[int, ...], Atoms] = {}
    for atoms in structures:
        known = lowest.setdefault(tuple(atoms.numbers.tolist()), atoms)
        if atoms.info.get(ENERGY, float("inf")) < known.info.get(ENERGY, float("inf")):
            lowest[tuple(atoms.numbers.tolist())] = atoms
    return list(lowest.values())


def bonds_of(config: Config) -> Bonds | None:
    """Bonds of a system that has a list of them; None where they follow from distances."""
    return config.system.build().bonds
