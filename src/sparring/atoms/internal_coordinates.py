"""Bonds and angles of a structure: their values in many geometries, and geometries in which one of them has a value.

Bonds are those of :func:`sparring.atoms.bonds.find_bonds`, images included: molecules in a periodic box have their own
bonds, and a crystal those to nearest neighbours. A structure without any such bond (argon) has bonds between its
closest pairs. Contacts between molecules are not among them.

To change a bond, one side of it moves along it; to change an angle i-j-k, the side of i or k turns about j in the plane
of the angle. A side is the fragment that only this bond connects to the rest; the smaller one of two without fixed
atoms moves rigidly. In rings and crystals there is no such fragment. There both atoms move, each by half, with the
fragments that only they hold; the rest of the ring stays, so that other bonds of the ring change, too. Nothing can
move where both atoms are images of one, or are fixed.

Coordinates are equivalent if they have the same topology (the same elements in the same environments, by refinement of
colours, Weisfeiler and Leman 1968) and values that are not far apart: the angles of a methyl group are of one group,
those of 90° and 180° in an octahedron of two.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.geometry import turn
from sparring.atoms.rigid_parts import HERE, ImageGraph, Part, Place, Shift, bonds_or_closest_pairs

__all__ = ["InternalCoordinate", "bonds_and_angles", "one_of_each", "scanned", "values", "with_value"]

GAPS = {"bond": 0.15, "angle": math.radians(15)}
"""Largest gap, in Å and radians, between the values of equivalent coordinates."""
STRAIGHT = 1e-6
"""Smallest sine of an angle that has a plane."""


class InternalCoordinate(NamedTuple):
    """A bond or an angle of a structure.

    Attributes:
        kind: A bond, in Å, or an angle, in radians.
        atoms: The two atoms of a bond, or the three of an angle, its vertex in the middle.
        shifts: Images of these atoms, in units of the cell.
        name: Elements and indices of the atoms, such as "C1-H4".
        group: Number of the group of equivalent coordinates.
        parts: Bodies that move when it changes; empty if nothing can.
        fixed_because: Reason why nothing can move; empty otherwise.
    """

    kind: Literal["bond", "angle"]
    atoms: tuple[int, ...]
    shifts: tuple[Shift, ...]
    name: str
    group: int
    parts: tuple[Part, ...]
    fixed_because: str


def bonds_and_angles(atoms: Atoms, bonds: Sequence[Sequence[int]] | None = None) -> tuple[InternalCoordinate, ...]:
    """All bonds of a structure, then all angles between two bonds.

    Args:
        atoms: The structure.
        bonds: Pairs of atoms of a molecule; None to find them from the distances.

    Raises:
        ValueError: If bonds are given for a periodic structure, or are not pairs of different atoms.
    """
    graph = ImageGraph(atoms, bonds_or_closest_pairs(atoms, bonds))
    symbols = atoms.get_chemical_symbols()
    found: list[InternalCoordinate] = []

    def add(kind: Literal["bond", "angle"], places: Sequence[Place], parts: tuple[Part, ...], reason: str) -> None:
        name = "-".join(f"{symbols[atom]}{atom}" for atom, _ in places)
        indices, shifts = tuple(atom for atom, _ in places), tuple(shift for _, shift in places)
        found.append(InternalCoordinate(kind, indices, shifts, name, 0, parts, reason))

    for first, second in graph.bonds:
        add("bond", ((first, HERE), second), *graph.parts_of_bond(first, second))
    for vertex, neighbours in enumerate(graph.neighbours):
        for first_arm, last_arm in itertools.combinations(neighbours, 2):
            places = (first_arm, (vertex, HERE), last_arm)
            add("angle", places, *graph.parts_of_angle(vertex, first_arm, last_arm))
    now = values(torch.as_tensor(atoms.positions), found, torch.as_tensor(atoms.cell.array))
    groups = _groups(found, graph.environments, now.tolist())
    return tuple(one._replace(group=group) for one, group in zip(found, groups, strict=True))


def one_of_each(coordinates: Sequence[InternalCoordinate]) -> tuple[InternalCoordinate, ...]:
    """The first coordinate of each group; of those that can be changed, if there is one."""
    first: dict[int, InternalCoordinate] = {}
    for one in sorted(coordinates, key=lambda one: not one.parts):
        first.setdefault(one.group, one)
    return tuple(first[group] for group in sorted(first))


def values(
    positions: Float[Tensor, "*batch n_atoms 3"],
    coordinates: Sequence[InternalCoordinate],
    cell: Float[Tensor, "*cells 3 3"] | None = None,
) -> Float[Tensor, "*batch n_coordinates"]:
    """Lengths of bonds in Å and angles in radians, of many geometries at once.

    Args:
        positions: Positions in Å. Since the bonds were found, atoms must not have been wrapped into the cell, because
            bonds keep their images.
        coordinates: Bonds and angles.
        cell: Lattice vectors as rows, in Å, of all geometries or of each; None if there are no images.
    """
    result = positions.new_empty((*positions.shape[:-2], len(coordinates)))
    for kind in ("bond", "angle"):
        rows = [row for row, one in enumerate(coordinates) if one.kind == kind]
        if not rows:
            continue
        some = [coordinates[row] for row in rows]
        places = _places(positions, [one.atoms for one in some], [one.shifts for one in some], cell)
        if kind == "bond":
            result[..., rows] = torch.linalg.vector_norm(places[..., 1, :] - places[..., 0, :], dim=-1)
        else:
            to_first, to_last = _arms(places)
            sine = torch.linalg.vector_norm(torch.linalg.cross(to_first, to_last), dim=-1)
            result[..., rows] = torch.atan2(sine, (to_first * to_last).sum(-1))
    return result


def with_value(
    positions: Float[Tensor, "*batch n_atoms 3"],
    coordinate: InternalCoordinate,
    value: Float[Tensor, "*batch"],
    cell: Float[Tensor, "*cells 3 3"] | None = None,
) -> Float[Tensor, "*batch n_atoms 3"]:
    """Geometries in which a bond or an angle has a value.

    An angle of 180° bends in an arbitrary plane, which is always the same.

    Args:
        positions: Positions in Å, not wrapped.
        coordinate: Bond or angle to change.
        value: Length in Å, or angle in radians, of each geometry.
        cell: Lattice vectors as rows, in Å, of all geometries or of each; None if there are no images.

    Raises:
        ValueError: If nothing can move, a length is not positive, or an angle is not between 0 and π.
    """
    called = f"{coordinate.kind} {coordinate.name}"
    if not coordinate.parts:
        raise ValueError(f"{called} cannot be changed: {coordinate.fixed_because}")
    limit, wanted = (math.inf, "above 0 Å") if coordinate.kind == "bond" else (math.pi, "above 0 and up to π")
    if not bool(((value > 0) & (value <= limit)).all()):
        raise ValueError(f"{called} takes values {wanted}, got {float(value.min()):g} to {float(value.max()):g}")
    places = _places(positions, coordinate.atoms, coordinate.shifts, cell)
    change = value - values(positions, [coordinate], cell)[..., 0]
    moved = positions.clone()
    for part in coordinate.parts:
        amount, atoms = (change * part.share).unsqueeze(-1), list(part.atoms)
        if coordinate.kind == "bond":
            moved[..., atoms, :] += (amount * _unit(places[..., 1, :] - places[..., 0, :])).unsqueeze(-2)
        else:
            radii = _places(positions, part.atoms, part.shifts, cell) - places[..., 1:2, :]
            axis = _normal(*_arms(places)).unsqueeze(-2).expand(radii.shape)
            moved[..., atoms, :] += turn(radii, axis, amount.expand(radii.shape[:-1]))
    return moved


def scanned(
    positions: Float[Tensor, "n_atoms 3"],
    coordinate: InternalCoordinate,
    factors: Sequence[float],
    cell: Float[Tensor, "3 3"] | None = None,
) -> tuple[Float[Tensor, " n_values"], Float[Tensor, "n_values n_atoms 3"]]:
    """Values of a bond or an angle at multiples of what it is, and the geometries with these values.

    Args:
        positions: Positions in Å, not wrapped.
        coordinate: Bond or angle to change.
        factors: Multiples of its value; those at which an angle would be wider than 180° are left out.
        cell: Lattice vectors as rows, in Å; None if there are no images.

    Raises:
        ValueError: If nothing can move, or a factor is not positive.
    """
    wanted = values(positions, [coordinate], cell) * torch.tensor(list(factors)).to(positions)
    if coordinate.kind == "angle":
        wanted = wanted[wanted <= math.pi]
    return wanted, with_value(positions.expand(len(wanted), -1, -1), coordinate, wanted, cell)


def _places(
    positions: Float[Tensor, "*batch n_atoms 3"],
    atoms: Sequence[int] | Sequence[Sequence[int]],
    shifts: Sequence[Shift] | Sequence[Sequence[Shift]],
    cell: Float[Tensor, "*cells 3 3"] | None,
) -> Float[Tensor, "*batch_and_atoms 3"]:
    """Positions of images of atoms."""
    places: Tensor = positions[..., torch.tensor(atoms, device=positions.device), :]
    if cell is None:
        return places
    images = torch.tensor(shifts, device=positions.device, dtype=positions.dtype)
    moved: Tensor = (images.reshape(-1, 3) @ cell.to(positions)).unflatten(-2, list(images.shape[:-1]))
    return places + moved


def _arms(places: Float[Tensor, "*batch 3 3"]) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Vectors from the vertex of angles to both ends."""
    return places[..., 0, :] - places[..., 1, :], places[..., 2, :] - places[..., 1, :]


def _normal(first: Float[Tensor, "*batch 3"], last: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis about which the last arm turns away from the first; across both if they are on a line."""
    first, last = _unit(first), _unit(last)
    normal = torch.linalg.cross(first, last)
    least = torch.nn.functional.one_hot(last.abs().argmin(-1), 3).to(last)
    on_a_line = torch.linalg.vector_norm(normal, dim=-1, keepdim=True) < STRAIGHT
    axis: Tensor = torch.where(on_a_line, torch.linalg.cross(least, last), normal)
    return axis


def _unit(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    unit: Tensor = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return unit


def _groups(coordinates: Sequence[InternalCoordinate], environments: Sequence[int], now: Sequence[float]) -> list[int]:
    """Numbers of the groups of equivalent coordinates, in the order in which the groups appear."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for row, one in enumerate(coordinates):
        first, *middle, last = (environments[atom] for atom in one.atoms)
        key = (one.kind, *middle, *sorted((first, last)), len(one.parts))
        alike.setdefault(key, []).append(row)
    groups: list[list[int]] = []
    for rows in alike.values():
        rows.sort(key=lambda row: now[row])
        groups.append(rows[:1])
        for before, row in itertools.pairwise(rows):
            if now[row] - now[before] > GAPS[coordinates[row].kind]:
                groups.append([])
            groups[-1].append(row)
    number = [0] * len(coordinates)
    for index, rows in enumerate(sorted(groups, key=min)):
        for row in rows:
            number[row] = index
    return number
