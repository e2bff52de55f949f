"""Molecules that are shifted and turned as they are: a guest in a host."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_masses
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sparring.atoms.geometry import rotate
from sparring.atoms.guests import Guests, closest_images
from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import check_sizes, normal, within

__all__ = ["Rigid", "Which"]

Which = Literal["all", "translation", "rotation"]


class _Tables(NamedTuple):
    """Molecules of a batch: their seeds, and of their atoms index, molecule, share of mass, and image."""

    owner: Int[Tensor, " n_rows"]
    atoms: Int[Tensor, " n_moving"]
    body: Int[Tensor, " n_moving"]
    weight: Float[Tensor, "n_moving 1"]
    shifts: Float[Tensor, "n_moving 3"]


@dataclass(frozen=True, kw_only=True)
class Rigid:
    r"""Molecules shift and turn about their centres of mass, and keep their shape; everything else stays.

    .. math:: x' = c + t + e^{[w]_\times} (x - c)

    Delta has a row for each molecule of each seed: a translation t in Å, and a rotation vector w, the axis times the
    angle in radians. Molecules that lie across a face of the cell are moved as one body. Best made by :meth:`Rigid.of`.

    Attributes:
        guests: Molecules that move.
        which: "all" for six numbers a molecule; "translation" or "rotation" for three.
        spread: Standard deviation of each component of the initial translation, in Å.
        rotation_spread: Standard deviation of each component of the initial rotation vector, in rad.
        max_translation: Bound on the length of a molecule's translation, in Å; None for none.
        max_rotation: Bound on the angle of a molecule's rotation, in rad; None for none.

    Raises:
        ValueError: If `which` is unknown, or a size is out of range.
    """

    guests: Guests
    which: Which = "all"
    spread: float = 0.01
    rotation_spread: float = 0.01
    max_translation: float | None = None
    max_rotation: float | None = None
    # Found once for each batch: to build them in every step of an attack would make the device wait for the host.
    _tables: WeakTensorKeyDictionary = field(
        default_factory=WeakTensorKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.which not in get_args(Which):
            raise ValueError(f"rigid motions are one of {', '.join(get_args(Which))}, got which={self.which!r}")
        check_sizes(spread=self.spread, radius=self.max_translation, norm=2.0, unit="Å")
        check_sizes(spread=self.rotation_spread, radius=self.max_rotation, norm=2.0, unit="rad")

    @classmethod
    def of(
        cls,
        structures: Atoms | Sequence[Atoms],
        atoms: Sequence[int] | None = None,
        *,
        which: Which = "all",
        spread: float = 0.01,
        rotation_spread: float = 0.01,
        max_translation: float | None = None,
        max_rotation: float | None = None,
    ) -> "Rigid":
        """The space of the molecules of a structure, or of several structures.

        Args:
            structures: A structure with its guest; several if seeds have different atoms.
            atoms: Atoms that move as one, counted from 0; None for each molecule that is not bonded to a framework.
            which: "all", "translation" or "rotation".
            spread: Standard deviation of the first translations, in Å.
            rotation_spread: Standard deviation of the first rotations, in rad.
            max_translation: Bound on translations, in Å; None for no bound.
            max_rotation: Bound on angles, in rad; None for no bound.

        Raises:
            ValueError: As :meth:`sparring.Guests.of`.
        """
        return cls(
            guests=Guests.of(structures, atoms),
            which=which,
            spread=spread,
            rotation_spread=rotation_spread,
            max_translation=max_translation,
            max_rotation=max_rotation,
        )

    def owner(self, seeds: Structures) -> Int[Tensor, " n_rows"]:
        """A row is a molecule of a seed."""
        return self._of(seeds).owner

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_rows n_components"]:
        """Delta drawn from N(0, spread²).

        Raises:
            ValueError: If a seed is none of the structures, or an atom that should move is fixed.
        """
        rows = len(self.owner(seeds))
        self._check_free(seeds)
        delta = normal((rows, 6 if self.which == "all" else 3), 1.0, generator, seeds.positions)
        parts = zip(self._parts(delta), (self.spread, self.rotation_spread), strict=True)
        return self.project(seeds, self._joined([spread * part for part, spread in parts]))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_rows n_components"]) -> Structures:
        """The seeds with their molecules moved; differentiable in delta, and in positions and cells of the seeds."""
        tables = self._of(seeds)
        cells = seeds.cells.index_select(0, seeds.structure_index.index_select(0, tables.atoms))
        whole = seeds.positions.index_select(0, tables.atoms)
        whole = whole + (tables.shifts.to(whole).unsqueeze(1) @ cells).squeeze(1)
        centre = whole.new_zeros(len(tables.owner), 3).index_add(0, tables.body, tables.weight.to(whole) * whole)
        translation, rotation = (part.index_select(0, tables.body) for part in self._parts(delta))
        moved = translation + rotate(whole - centre.index_select(0, tables.body), rotation)
        return seeds.with_positions(seeds.positions.index_add(0, tables.atoms, moved))

    def project(
        self, seeds: Structures, delta: Float[Tensor, "n_rows n_components"]
    ) -> Float[Tensor, "n_rows n_components"]:
        """Delta with translations and rotations of every molecule within their bounds."""
        rows = torch.arange(len(delta), device=delta.device)
        parts = zip(self._parts(delta), (self.max_translation, self.max_rotation), strict=True)
        return self._joined([within(part, rows, len(delta), radius=radius, norm=2.0) for part, radius in parts])

    def _parts(self, delta: Float[Tensor, "n_rows n_components"]) -> tuple[Tensor, Tensor]:
        """Translations and rotation vectors; zeros for those that are left out."""
        still = torch.zeros_like(delta[:, :3])
        if self.which == "all":
            return delta[:, :3], delta[:, 3:]
        return (delta, still) if self.which == "translation" else (still, delta)

    def _joined(self, parts: Sequence[Tensor]) -> Float[Tensor, "n_rows n_components"]:
        translation, rotation = parts
        if self.which == "all":
            return torch.cat([translation, rotation], dim=1)
        return translation if self.which == "translation" else rotation

    def _of(self, seeds: Structures) -> _Tables:
        tables: _Tables | None = self._tables.get(seeds.structure_index)
        if tables is None:
            tables = self._tables[seeds.structure_index] = _tables(seeds, self.guests)
        return tables

    def _check_free(self, seeds: Structures) -> None:
        if seeds.fixed is None:
            return
        atoms = self._of(seeds).atoms
        for atom in atoms[seeds.fixed.any(1)[atoms]].tolist()[:1]:
            seed = int(seeds.structure_index[atom])
            raise ValueError(
                f"seed {seed}: atom {atom - int(seeds.first_atoms[seed])} is fixed, but is part of a molecule that is "
                "to move; free it (atoms.set_constraint()), or leave the rigid motion out"
            )


def _tables(seeds: Structures, guests: Guests) -> _Tables:
    device = seeds.structure_index.device
    owner, atoms, body, weight, shifts = list[int](), list[int](), list[int](), list[np.ndarray](), list[np.ndarray]()
    first = seeds.first_atoms.tolist()
    for seed, (frame, molecules) in enumerate(zip(seeds.to_atoms(), guests.molecules(seeds), strict=True)):
        for molecule in molecules:
            members = list(molecule)
            mass = atomic_masses[frame.numbers[members]]
            atoms += [first[seed] + atom for atom in members]
            body += [len(owner)] * len(members)
            weight.append(mass / mass.sum())
            shifts.append(closest_images(frame, members))
            owner.append(seed)
    return _Tables(
        owner=torch.tensor(owner, device=device),
        atoms=torch.tensor(atoms, device=device),
        body=torch.tensor(body, device=device),
        weight=torch.as_tensor(np.concatenate(weight)[:, None], dtype=seeds.positions.dtype, device=device),
        shifts=torch.as_tensor(np.concatenate(shifts), dtype=seeds.positions.dtype, device=device),
    )
