"""Torsions that turn.

All seeds are turned at once: their first torsions together, then their second ones, and so on. The axis of each turn is
where the turns before it have left it, so torsions may move each other's axes; the shape in which a molecule ends does
not depend on the order, and every torsion has changed by exactly its delta.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sparring.atoms.bonds import BondGraph
from sparring.atoms.geometry import dihedral, turn
from sparring.atoms.structures import Structures
from sparring.atoms.torsions import Torsion
from sparring.proposers.spaces.base import check_sizes, normal, within
from sparring.proposers.spaces.known_molecules import BROKEN, Molecule, images_of, kinds_of, molecule_of, stretches_of

__all__ = ["Dihedrals", "Molecule"]


class _Turn(NamedTuple):
    """One turn of many seeds: moving atoms, both atoms of the bond about which they move, and the row of delta."""

    moving: Int[Tensor, " n"]
    first: Int[Tensor, " n"]
    second: Int[Tensor, " n"]
    row: Int[Tensor, " n"]


class _Tables(NamedTuple):
    """Torsions of a batch: the rows of delta of a seed are adjacent, in the order of its torsions."""

    fixed: Bool[Tensor, "n_atoms 3"] | None
    owner: Int[Tensor, " n_rows"]
    atoms: Int[Tensor, "4 n_rows"]
    turns: tuple[_Turn, ...]
    images: Float[Tensor, "n_atoms 3"] | None


@dataclass(frozen=True, kw_only=True)
class Dihedrals:
    """Torsions turn, and nothing else changes: no bond length, no angle, no other torsion (Sec. III.C of the paper).

    Delta has a row for each torsion of each seed, seed by seed, in radians: a seed attacked by delta has exactly the
    torsions that it had, plus delta. It may exceed π, to no harm. Which atoms turn follows from the bonds of the
    reference molecule, not from those of a seed, in which a clash would look like a bond. Where a fixed atom is on the
    side that turns, the other side turns the other way. In a periodic structure the molecules turn, also across faces
    of the cell, and the framework stays. Best made by :meth:`Dihedrals.of`.

    Attributes:
        molecules: Different molecules that seeds may be.
        spread: Standard deviation of each angle of the initial delta, in radians.
        radius: Bound on the norm of a seed's delta, in radians; None for none. The paper has π.
        norm: Value of p in that norm, at least 1; ``inf`` bounds every angle by itself.

    Raises:
        ValueError: If there is no molecule, two have the same atoms in the same order, or a size makes no sense.
    """

    molecules: tuple[Molecule, ...]
    spread: float = 0.01
    radius: float | None = None
    norm: float = float("inf")
    # Found once for each batch: to build them in every step of an attack would make the device wait for the host.
    _tables: WeakTensorKeyDictionary = field(
        default_factory=WeakTensorKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.molecules:
            raise ValueError("got no molecule; the torsions of at least one must be known")
        if len({molecule.numbers for molecule in self.molecules}) < len(self.molecules):
            raise ValueError("ambiguous: two molecules have the same atoms in the same order; leave one out")
        check_sizes(spread=self.spread, radius=self.radius, norm=self.norm, unit="rad")

    @classmethod
    def of(
        cls,
        molecule: Atoms | Sequence[Atoms],
        torsions: Sequence[str | Sequence[int]],
        *,
        bonds: Sequence[Sequence[int]] | None = None,
        guest: Sequence[int] | None = None,
        spread: float = 0.01,
        radius: float | None = None,
        norm: float = float("inf"),
    ) -> "Dihedrals":
        """The space of some torsions of a molecule, or of several molecules.

        Args:
            molecule: Intact geometry of it; several if seeds are of different molecules.
            torsions: As in :func:`sparring.atoms.torsions.find`: names such as "rotatable" or "phi", SMARTS, or four
                atoms each. What is not four atoms is looked for in every molecule.
            bonds: Pairs of bonded atoms; None to find them from the distances.
            guest: Atoms of the molecule in a periodic structure; None for all that are not bonded to a framework.
            spread: Standard deviation of the first angles, in rad.
            radius: Radius of the bound, in rad; None for no bound.
            norm: Value of p in the norm of the bound.

        Raises:
            ValueError: As :func:`sparring.atoms.torsions.find`.
        """
        several = [molecule] if isinstance(molecule, Atoms) else list(molecule)
        if bonds is not None and len(several) > 1:
            raise ValueError(f"bonds can be given for one molecule only, got {len(several)} molecules")
        known = tuple(molecule_of(one, torsions, bonds, guest) for one in several)
        return cls(molecules=known, spread=spread, radius=radius, norm=norm)

    def owner(self, seeds: Structures) -> Int[Tensor, " n_rows"]:
        """A row is a torsion of a seed."""
        return self._of(seeds).owner

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, " n_rows"]:
        """Delta drawn from N(0, spread²).

        Raises:
            ValueError: If a seed is none of the molecules, one of its bonds is broken, or a torsion has fixed atoms on
                both sides.
        """
        rows = len(self.owner(seeds))
        self._check_bonds(seeds)
        return self.project(seeds, normal((rows,), self.spread, generator, seeds.positions))

    def displace(self, seeds: Structures, delta: Float[Tensor, " n_rows"]) -> Structures:
        """The seeds with their torsions turned by delta; differentiable in delta and in the seeds' positions."""
        positions = start = self._whole(seeds)
        for moving, first, second, row in self._of(seeds).turns:
            end = positions.index_select(0, second)
            axis = end - positions.index_select(0, first)
            shift = turn(positions.index_select(0, moving) - end, axis, delta.index_select(0, row))
            positions = positions.index_add(0, moving, shift)
        return seeds.with_positions(positions if start is seeds.positions else seeds.positions + (positions - start))

    def project(self, seeds: Structures, delta: Float[Tensor, " n_rows"]) -> Float[Tensor, " n_rows"]:
        """Delta within the bound."""
        return within(delta, self.owner(seeds), seeds.n_structures, radius=self.radius, norm=self.norm)

    def angles(self, structures: Structures) -> Float[Tensor, " n_rows"]:
        """The torsions as they are, in radians from -π to π, in the order of the rows of delta."""
        four = self._whole(structures).index_select(0, self._of(structures).atoms.flatten()).reshape(4, -1, 3)
        return dihedral(four.movedim(0, 1), 0, 1, 2, 3)

    def _whole(self, seeds: Structures) -> Float[Tensor, "n_atoms 3"]:
        """Positions with molecules in one piece."""
        images = self._of(seeds).images
        if images is None:
            return seeds.positions
        cells = seeds.cells.index_select(0, seeds.structure_index)
        return seeds.positions + (images.to(cells).unsqueeze(1) @ cells).squeeze(1)

    def _of(self, seeds: Structures) -> _Tables:
        tables: _Tables | None = self._tables.get(seeds.structure_index)
        if tables is None or tables.fixed is not seeds.fixed:
            tables = self._tables[seeds.structure_index] = _tables(seeds, self.molecules)
        return tables

    def intact(self, structures: Structures) -> Bool[np.ndarray, " n_structures"]:
        """Mask of the structures that have all bonds of their molecule; others cannot be seeds.

        Raises:
            ValueError: If a structure is none of the molecules.
        """
        whole = np.ones(structures.n_structures, dtype=bool)
        for of_kind, _, stretch in stretches_of(structures, self.molecules):
            whole[of_kind] = (stretch < BROKEN).all(axis=1)
        return whole

    def _check_bonds(self, seeds: Structures) -> None:
        for of_kind, molecule, stretch in stretches_of(seeds, self.molecules):
            for row, column in np.argwhere(~(stretch < BROKEN))[:1]:
                symbols = Atoms(molecule.numbers).symbols
                i, j = molecule.bonds[column]
                raise ValueError(
                    f"seed {of_kind[row]} ({symbols.get_chemical_formula()}): the bond {i}-{j} ({symbols[i]}-"
                    f"{symbols[j]}) is {stretch[row, column]:.2f} times as long as in the molecule whose torsions are "
                    "known: it is broken, and what turned would be another molecule; leave this structure out"
                )


def _tables(seeds: Structures, molecules: Sequence[Molecule]) -> _Tables:
    device = seeds.structure_index.device
    kinds, counts = kinds_of(seeds, molecules), seeds.counts.cpu().numpy()
    first = counts.cumsum() - counts
    fixed = np.zeros(seeds.n_atoms, dtype=bool) if seeds.fixed is None else seeds.fixed.any(-1).cpu().numpy()
    n_torsions = np.array([len(molecule.torsions) for molecule in molecules])[kinds]
    first_row = n_torsions.cumsum() - n_torsions
    atoms = np.empty((4, n_torsions.sum()), dtype=np.int64)
    turns = []
    for k in range(n_torsions.max()):
        parts = []
        for kind, molecule in enumerate(molecules):
            if k >= len(molecule.torsions):
                continue
            torsion, of_kind = molecule.torsions[k], np.flatnonzero(kinds == kind)
            rows, starts = first_row[of_kind] + k, first[of_kind]
            atoms[:, rows] = starts + np.array(torsion.atoms)[:, None]
            parts += [
                _turned(side, starts[chosen], rows[chosen])
                for side, chosen in _sides(molecule, torsion, fixed[starts[:, None] + np.arange(len(molecule.numbers))])
            ]
        turns.append(_Turn(*torch.as_tensor(np.concatenate(parts, axis=1), device=device)))
    owner = torch.as_tensor(np.repeat(np.arange(len(kinds)), n_torsions), device=device)
    images = images_of(seeds, kinds, molecules)
    return _Tables(
        fixed=seeds.fixed,
        owner=owner,
        atoms=torch.as_tensor(atoms, device=device),
        turns=tuple(turns),
        images=None if images is None else torch.as_tensor(images, dtype=seeds.positions.dtype, device=device),
    )


def _turned(
    torsion: Torsion, starts: Int[np.ndarray, " n_seeds"], rows: Int[np.ndarray, " n_seeds"]
) -> Int[np.ndarray, "4 n"]:
    """Columns of a turn of some seeds, from their first atoms and their rows of delta."""
    moving = starts[:, None] + np.array(torsion.moving)
    ends = [np.broadcast_to(starts[:, None] + atom, moving.shape) for atom in torsion.atoms[1:3]]
    return np.stack([moving, *ends, np.broadcast_to(rows[:, None], moving.shape)]).reshape(4, -1)


def _sides(
    molecule: Molecule, torsion: Torsion, fixed: Bool[np.ndarray, "n_seeds n_atoms"]
) -> Iterator[tuple[Torsion, Bool[np.ndarray, " n_seeds"]]]:
    """The torsion for the seeds none of whose moving atoms are fixed, and its other side for the rest."""
    blocked = np.asarray(fixed[:, torsion.moving].any(axis=1))
    yield torsion, np.logical_not(blocked)
    if not blocked.any():
        return
    _, j, k, _ = torsion.atoms
    beyond = BondGraph.of(len(molecule.numbers), molecule.bonds).beyond(k, j) - {j}
    other = Torsion(torsion.atoms[::-1], tuple(sorted(beyond)), torsion.name)
    for seed in np.flatnonzero(blocked & fixed[:, other.moving].any(axis=1))[:1]:
        atoms = Atoms(molecule.numbers)
        ends = [next(atom for atom in side.moving if fixed[seed, atom]) for side in (other, torsion)]
        one, two = (f"{atom} ({atoms.symbols[atom]})" for atom in ends)
        raise ValueError(
            f"torsion {torsion.name} of {atoms.get_chemical_formula()} cannot turn: atom {one} on one side of the bond "
            f"{j}-{k} and atom {two} on the other are fixed; leave this torsion out, or fix atoms on one side only"
        )
    yield other, blocked
