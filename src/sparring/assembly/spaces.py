"""The section ``attack.space`` of a configuration as a space, and the molecules whose torsions it turns."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from sparring.atoms.dataset import ENERGY
from sparring.atoms.guests import molecules_in, require_host
from sparring.atoms.structures import Structures
from sparring.config import Config
from sparring.config import spaces as section_of
from sparring.proposers.spaces import (
    Cartesian,
    Combined,
    Dihedrals,
    RandomDisplacement,
    Rigid,
    Space,
    Strain,
    Uniform,
    plugin,
)
from sparring.proposers.spaces.rigid import Which
from sparring.proposers.spaces.strain import MOST

__all__ = [
    "Bonds",
    "bonds_of",
    "have_cells",
    "have_guests",
    "have_torsions",
    "of_seeds",
    "one_of_each",
    "parts_of",
    "space_of",
]

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
        turning = Dihedrals.of(molecules, section.torsions, bonds=bonds, guest=section.guest)
        return Uniform(space=turning, amplitude=section.amplitude)
    if isinstance(section, section_of.RandomStrain):
        return Uniform(space=Strain(which=section.which, radius=MOST), amplitude=section.amplitude)
    if isinstance(section, section_of.Strain):
        return Strain(which=section.which, spread=section.initial_spread, radius=section.radius)
    if isinstance(section, section_of.RandomRigid):
        sizes: dict[Which, float] = {"translation": section.amplitude, "rotation": section.rotation}
        motions = (
            Uniform(space=Rigid.of(molecules, section.atoms, which=which), amplitude=size)
            for which, size in sizes.items()
        )
        return Combined(spaces=tuple(motions))
    if isinstance(section, section_of.Rigid):
        return Rigid.of(
            molecules,
            section.atoms,
            which=section.which,
            spread=section.initial_spread,
            rotation_spread=section.initial_rotation,
            max_translation=section.max_translation,
            max_rotation=section.max_rotation,
        )
    if isinstance(section, section_of.RandomPlugin):
        return Uniform(space=plugin(section.name, section.parameters), amplitude=section.amplitude)
    if isinstance(section, section_of.Plugin):
        return plugin(section.name, section.parameters)
    bound: dict[str, Any] = section.bound.arguments() if section.bound else {}
    if isinstance(section, section_of.Dihedrals):
        return Dihedrals.of(
            molecules, section.torsions, bonds=bonds, guest=section.guest, spread=section.initial_spread, **bound
        )
    return Cartesian(spread=section.initial_spread, axes=section.axes, atoms=section.atoms, **bound)


def have_torsions(
    torsions: Sequence[Any], structures: Sequence[Atoms], bonds: Bonds | None, guest: Sequence[int] | None = None
) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that have the torsions and the bonds of their molecule."""
    found, errors = np.zeros(len(structures), dtype=bool), []
    for molecule in one_of_each(structures):
        try:
            turning = Dihedrals.of(molecule, torsions, bonds=bonds, guest=guest)
        except ValueError as error:
            errors.append(error)
            continue
        same = [index for index, one in enumerate(structures) if np.array_equal(one.numbers, molecule.numbers)]
        found[same] = turning.intact(Structures.from_atoms([structures[index] for index in same]))
    if len(errors) == len(one_of_each(structures)):
        raise errors[0]
    return found


def have_guests(
    structures: Sequence[Atoms], atoms: Sequence[int] | None = None, *, in_host: bool = False
) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures with a molecule that is not bonded to a framework, or with the atoms that are named.

    Args:
        structures: The structures.
        atoms: Atoms that are named.
        in_host: Flag for structures that must have a framework, too.

    Raises:
        ValueError: If there is none.
    """
    found, errors = np.zeros(len(structures), dtype=bool), []
    for reference in one_of_each(structures):
        try:
            molecules = molecules_in(reference, atoms)
            if in_host:
                require_host(reference, molecules)
        except ValueError as error:
            errors.append(error)
            continue
        found |= np.array([np.array_equal(one.numbers, reference.numbers) for one in structures])
    if not found.any():
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


def of_seeds(molecules: Sequence[Atoms], seeds: Structures) -> list[Atoms]:
    """The molecules that are among the seeds: others need not have the torsions."""
    attacked = {tuple(one.numbers) for one in one_of_each(seeds.to_atoms())}
    return [one for one in molecules if tuple(one.numbers) in attacked]


def bonds_of(config: Config) -> Bonds | None:
    """Bonds of a system that has a list of them; None where they follow from distances."""
    return config.system.build().bonds
