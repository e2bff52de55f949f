"""Checks that values in a file can be a structure: columns, elements, coordinates, cells, sizes of labels.

Each check is cheap and comes before code that would be slow or fail with such a value: a neighbour search in a
cell of 1e-6 Å does not end, one in a cell of 1e7 Å beside 12 Å kills the process.
"""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import complete_cell

__all__ = ["check_atoms", "check_cell", "check_columns", "check_labels", "check_stress", "require_finite_geometry"]

HEAVIEST = 99
"""Largest atomic number that potentials support."""
SHORTEST_VECTOR = 0.5
LONGEST_VECTOR = 1e4
THINNEST_CELL = 0.1
FLATTEST_CELL = 1e-3
FARTHEST = 1e5
SAME_PLACE = 0.01
LARGEST_FORCE = 1e8
LARGEST_ENERGY = 1e11
LARGEST_STRESS = 1e4
"""A stress in eV/Å³ beyond all matter; it is a thousand times that of the sun's centre."""
FOREIGN = 1e6
"""Factor by which labels in other units may be larger: bar for eV/Å³ is the largest one."""
LONGEST_ALONG_NOTHING, SHORTEST_ALONG_NOTHING = 1e10, 1e-4
"""Lengths of lattice vectors along which nothing repeats, in Å."""
SELF_OVERLAP = 0.6
"""Shortest periodic lattice vector, as a share of the largest covalent radius: atoms would lie on their own images."""
LARGEST_MOMENT = 100.0
HEAVIEST_MASS = 1000.0
_FINITE = ("initial_magmoms", "initial_charges", "masses", "momenta", "REF_hessian_direction", "REF_hessian_product")


def require_finite_geometry(atoms: Atoms, where: str, *, allow_dummy: bool) -> None:
    """Check that elements exist, coordinates and cell are finite, and periodic directions have a lattice vector.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    for index, number in enumerate(atoms.numbers):
        if number == 0 and not allow_dummy:
            raise ValueError(
                f"{where}: atom {index} is the dummy X (atomic number 0), which has no chemistry; remove it"
            )
        if not 0 <= number < len(chemical_symbols):
            raise ValueError(
                f"{where}: atom {index} has atomic number {number}, wanted 1 to {len(chemical_symbols) - 1}"
            )
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{where}: atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}, which is not finite; remove the frame"
        )
    if not np.isfinite(atoms.cell.array).all():
        raise ValueError(f"{where}: the cell (Lattice) is not finite: {atoms.cell.array.tolist()}; correct it")
    flat = [axis for axis in range(3) if atoms.pbc[axis] and not atoms.cell.array[axis].any()]
    if flat:
        raise ValueError(
            f"{where}: it is periodic (pbc) along lattice vector {flat[0]}, which is zero; "
            'give a Lattice or pbc="F F F"'
        )


def check_cell(atoms: Atoms, where: str) -> None:
    """Check that the periodic lattice vectors have plausible lengths and span a lattice.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    vectors = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    for number, length in zip(np.flatnonzero(atoms.pbc), lengths, strict=True):
        if not SHORTEST_VECTOR <= length <= LONGEST_VECTOR:
            raise ValueError(
                f"{where}: lattice vector {number} is {length:.4g} Å long, allowed are {SHORTEST_VECTOR:g} to "
                f"{LONGEST_VECTOR:g} Å where it repeats; correct the Lattice (in Å), or set pbc=F along it"
            )
    for axis, vector in enumerate(atoms.cell.array):
        length = float(np.abs(vector).max())
        if not atoms.pbc[axis] and length and not SHORTEST_ALONG_NOTHING <= length <= LONGEST_ALONG_NOTHING:
            raise ValueError(
                f"{where}: lattice vector {axis} is {length:.4g} Å long, which is no length, though nothing repeats "
                "along it; correct the Lattice, or leave it out"
            )
    if len(lengths) and len(atoms):
        radii = covalent_radii[np.clip(atoms.numbers, 1, len(covalent_radii) - 1)]
        if lengths.min() < SELF_OVERLAP * radii.max():
            raise ValueError(
                f"{where}: a lattice vector of {lengths.min():.3g} Å puts {atoms.symbols[int(radii.argmax())]} onto "
                "its own image; correct the Lattice (in Å)"
            )
    # Distances between lattice planes: of a vector from the span of the others.
    for axis in range(len(vectors)) if len(vectors) > 1 else ():
        others = np.delete(vectors, axis, axis=0)
        inside = others.T @ np.linalg.lstsq(others.T, vectors[axis], rcond=None)[0]
        height = np.linalg.norm(vectors[axis] - inside)
        if height < max(THINNEST_CELL, FLATTEST_CELL * lengths[axis]):
            raise ValueError(
                f"{where}: the lattice vectors {vectors.tolist()} lie in a plane or a line (one is {height:.2g} Å out "
                "of it); correct the Lattice"
            )


def check_atoms(atoms: Atoms, where: str) -> None:
    """Check that potentials support the elements, coordinates are in Å, and no two atoms are at one position.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    heavy = np.flatnonzero(atoms.numbers > HEAVIEST)
    if len(heavy):
        raise ValueError(
            f"{where}: atom {heavy[0]} is {chemical_symbols[atoms.numbers[heavy[0]]]} (atomic number "
            f"{atoms.numbers[heavy[0]]}); potentials support elements up to {chemical_symbols[HEAVIEST]} ({HEAVIEST})"
        )
    far = np.flatnonzero(np.abs(atoms.positions).max(axis=1) > FARTHEST)
    if len(far):
        raise ValueError(
            f"{where}: atom {far[0]} is at {atoms.positions[far[0]].tolist()}, farther than {FARTHEST:g} Å from the "
            "origin; coordinates are in Å, correct them or remove the frame"
        )
    pair = _same_place(atoms)
    if pair is not None:
        i, j, distance = pair
        raise ValueError(
            f"{where}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are in one place "
            f"({distance:.2g} Å apart); remove one of them, or the frame"
        )


def check_columns(atoms: Atoms, where: str) -> None:
    """Check that columns with a meaning have plausible numbers: moments, charges, masses, momenta.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    for name in _FINITE:
        values = atoms.arrays.get(name)
        if values is None:
            continue
        bad = ~np.isfinite(np.asarray(values, dtype=float)).reshape(len(atoms), -1).all(axis=1)
        wanted = "finite"
        if name in ("initial_magmoms", "initial_charges"):
            bad |= (np.abs(values) > LARGEST_MOMENT).reshape(len(atoms), -1).any(axis=1)
            wanted = f"-{LARGEST_MOMENT:g} to {LARGEST_MOMENT:g}"
        elif name == "masses":
            bad |= (values <= 0) | (values > HEAVIEST_MASS)
            wanted = f"above 0, up to {HEAVIEST_MASS:g}"
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{where}: {name} of atom {first} is {values[first].tolist()}, allowed is {wanted}; correct the "
                "column, or remove it"
            )


def check_labels(energy: float | None, forces: np.ndarray | None, where: str, *, foreign_units: bool = False) -> None:
    """Check that energy (eV) and forces (eV/Å) are of a plausible size.

    Args:
        energy: Energy of a frame.
        forces: Forces on its atoms.
        where: File and frame, for messages.
        foreign_units: Flag for labels that are not in eV and eV/Å yet.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    scale = FOREIGN if foreign_units else 1.0
    if energy is not None and abs(energy) > LARGEST_ENERGY * scale:
        raise ValueError(f"{where}: the energy of {energy:.4g} eV is no energy of a structure; label the frame again")
    if forces is None or not len(forces):
        return
    largest = np.abs(forces).max(axis=1)
    if largest.max() > LARGEST_FORCE * scale:
        raise ValueError(
            f"{where}: the force on atom {largest.argmax()} is {largest.max():.4g} eV/Å, which no method gives; "
            "label the frame again or remove it"
        )


def check_stress(stress: np.ndarray, name: str, where: str, *, foreign_units: bool = False) -> None:
    """Check that a stress (eV/Å³) is of a plausible size.

    Args:
        stress: Components.
        name: Name of the stress in its file.
        where: File and frame, for messages.
        foreign_units: Flag for stresses that are not in eV/Å³ yet.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    largest = float(np.abs(stress).max())
    if largest > LARGEST_STRESS * (FOREIGN if foreign_units else 1.0):
        raise ValueError(
            f"{where}: {name} has a component of {largest:.4g} eV/Å³, which no matter has; correct or remove it"
        )


def _same_place(atoms: Atoms) -> tuple[int, int, float] | None:
    """Two atoms at one position, also across the faces of the cell."""
    if len(atoms) < 2:
        return None
    from scipy.spatial import cKDTree

    periodic = atoms.pbc
    cell = complete_cell(np.where(periodic[:, None], atoms.cell.array, 0.0)) if periodic.any() else np.eye(3)
    inverse = np.linalg.inv(cell)
    fractions, owner = atoms.positions @ inverse, np.arange(len(atoms))
    fractions = np.where(periodic, fractions % 1.0, fractions)
    for axis in np.flatnonzero(periodic):  # atoms next to a face are repeated beyond it
        near = fractions[:, axis] < SAME_PLACE * np.linalg.norm(inverse[:, axis])
        fractions = np.concatenate([fractions, fractions[near] + np.eye(3)[axis]])
        owner = np.concatenate([owner, owner[near]])
    everywhere = fractions @ cell
    for i, j in sorted(cKDTree(everywhere).query_pairs(SAME_PLACE)):
        if owner[i] != owner[j]:
            return (
                int(min(owner[i], owner[j])),
                int(max(owner[i], owner[j])),
                float(np.linalg.norm(everywhere[i] - everywhere[j])),
            )
    return None
