"""Two torsions, two endpoints and a grid, from the keys and files of the section of one's own molecule."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import ENERGY
from sparring.atoms.inheritance import bare_copy
from sparring.atoms.torsions import Torsion, bond_graph, find
from sparring.inputs.reading import read_atoms
from sparring.labels.base import composition
from sparring.starting_data.isolated import split_isolated
from sparring.surfaces.grids import Grid, grid
from sparring.surfaces.path_endpoints import require_path
from sparring.surfaces.torsion_plane import TorsionPlane

__all__ = ["read_endpoints", "read_grid", "require_one_molecule", "require_path_of", "torsions_of"]


def torsions_of(
    torsions: Sequence[Any], structures: Callable[[], list[Atoms]], start: Sequence[Atoms]
) -> tuple[TorsionPlane, Atoms]:
    """The two torsions over which there are maps, and the molecule whose torsions are turned.

    Args:
        torsions: Torsions, as :func:`sparring.atoms.torsions.find` takes them.
        structures: Function that reads the structures of the file, for use outside of a run.
        start: Starting structures of a run, of which the first one counts.

    Raises:
        ValueError: If the molecule does not have them, or they are not two.
    """
    molecules, _ = split_isolated(list(start or structures()))
    if not molecules:
        raise ValueError("system.torsions: the file has isolated atoms only, which have no torsions")
    molecule = molecules[0]
    if molecule.pbc.any():
        formula = molecule.get_chemical_formula()
        raise ValueError(
            f"system.torsions: {formula} is periodic, and maps over torsions are those of molecules; leave them out "
            "(set pbc to False if this is a molecule in a box)"
        )
    try:
        graph = bond_graph(molecule)
        found = find(molecule, torsions, graph.bonds)
    except ValueError as error:
        raise ValueError(f"system.torsions: {error}") from error
    if len(found) != 2:
        names = ", ".join(torsion.name for torsion in found)
        raise ValueError(
            f"system.torsions: maps are drawn over two torsions, got {len(found)} ({names}); name two, each by four "
            "atoms such as [0, 1, 2, 3]"
        )
    first, second = found
    plane = TorsionPlane(
        names=(_name(first, molecule), _name(second, molecule)),
        torsions=(first.atoms, second.atoms),
        bonds=tuple(graph.bonds),
    )
    return plane, bare_copy(molecule)


def _name(torsion: Torsion, molecule: Atoms) -> str:
    """A name that stands in the comment line of a file: phi2, or C0-C1-O2-H8."""
    if torsion.name.isalnum():
        return torsion.name
    return "-".join(f"{molecule.symbols[atom]}{atom}" for atom in torsion.atoms)


def require_one_molecule(structures: Sequence[Atoms], file: Path) -> None:
    """Check that torsions are those of the same atoms in all structures.

    Raises:
        ValueError: If there are several molecules, or orders of atoms.
    """
    others = [atoms for atoms in structures if not np.array_equal(atoms.numbers, structures[0].numbers)]
    if others:
        raise ValueError(
            f"system.torsions: maps are those of one molecule with its atoms in one order, but {file} has "
            f"{structures[0].symbols} and {others[0].symbols}; give the molecules runs of their own, or leave out "
            "`torsions`"
        )


def read_endpoints(files: tuple[Path, Path], with_state: Callable[[list[Atoms]], list[Atoms]]) -> tuple[Atoms, Atoms]:
    """The two geometries between which there is a barrier.

    Args:
        files: A file for each.
        with_state: Function that gives charge and multiplicity to structures that do not have their own.

    Raises:
        ValueError: If a file cannot be read, or has not one structure.
    """
    start, end = with_state([_only_structure(file) for file in files])
    return start, end


def _only_structure(file: Path) -> Atoms:
    try:
        structures = read_atoms(file, labels="ignored")
    except OSError as error:
        raise ValueError(f"system.endpoints: {file} cannot be read ({error.strerror}); give the path of a file") from (
            error
        )
    if len(structures) != 1:
        raise ValueError(
            f"system.endpoints: {file} has {len(structures)} structures; give each endpoint in a file of its own"
        )
    return structures[0]


def require_path_of(
    ends: tuple[Atoms, Atoms], files: tuple[Path, Path], structures: Sequence[Atoms], file: Path
) -> None:
    """Check that there can be a path between endpoints, and that a committee of these structures knows them.

    Raises:
        ValueError: If there can be no path, or the structures have another composition.
    """
    try:
        require_path(*ends)
    except ValueError as error:
        raise ValueError(f"system.endpoints: {files[0]} and {files[1]}: {error}") from error
    known = sorted({composition(atoms) for atoms in structures})
    if composition(ends[0]) not in known:
        raise ValueError(
            f"system.endpoints: {files[0]} is {composition(ends[0])}, but {file} has {', '.join(known)}; give "
            "geometries of the same composition and charge"
        )


def read_grid(file: Path, x: str | None = None, y: str | None = None, *, x_unit: str = "", y_unit: str = "") -> Grid:
    """The structures of a file on the grid that they form.

    Args:
        file: Structures with their variables in ``info``.
        x: Name of the first variable; None for the variables that all structures have, if these are one or two.
        y: Name of the second variable.
        x_unit: Unit of the first variable.
        y_unit: Unit of the second variable.

    Raises:
        ValueError: If the file cannot be read, or its structures form no grid of the variables.
    """
    try:
        frames = read_atoms(file, allow_dummy=True)
    except OSError as error:
        raise ValueError(f"system.grid: {file} cannot be read ({error.strerror}); give the path of a file") from error
    if x is None:
        x, y = _variables(frames, file)
    try:
        return grid(frames, x, y, x_unit=x_unit, y_unit=y_unit)
    except ValueError as error:
        raise ValueError(f"system.grid: {file}: {error}") from error


def _variables(frames: Sequence[Atoms], file: Path) -> tuple[str, str | None]:
    """The names of numbers that all structures have and that vary, labels left out."""
    names = [
        key
        for key, value in frames[0].info.items()
        if isinstance(value, float)
        and "energy" not in key.casefold()
        and key != ENERGY
        and all(isinstance(atoms.info.get(key), float) for atoms in frames)
        and len({atoms.info[key] for atoms in frames}) > 1
    ]
    if len(names) == 1:
        return names[0], None
    if len(names) == 2:
        return names[0], names[1]
    raise ValueError(
        f"system.grid: the variables of {file} are not clear (numbers that vary: {', '.join(names) or 'none'}); write "
        f"`grid: {{file: {file.name}, x: NAME, y: NAME}}`"
    )
