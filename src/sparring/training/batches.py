"""Minibatches of all members, with their labels."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures

__all__ = ["Batch"]


class Batch(NamedTuple):
    """One minibatch a member, with a leading axis of members.

    Attributes:
        structures: Fields that are the same for all members.
        per_member: Fields of the structures that differ between members, positions among them.
        energy: Reference energies in eV.
        forces: Reference forces in eV/Å; zero for padding atoms.
        weight: Weight of each atom's forces: 1 / 3n in a structure with forces on n atoms, zero for padding atoms and
            for atoms without forces.
        owner: Structure of each atom.
        structure_weight: Weight of each structure's loss; None for equal weights.
        energy_weight: One for energies that count and zero for the others; None if all do.
        virial: Reference derivatives of the energies in the strain, in eV; None if no structure has one.
        virial_weight: Weight of each virial: 1 / 9n² in a structure of n atoms, zero for structures without.
    """

    structures: Structures
    per_member: Mapping[str, object]
    energy: Float[Tensor, "n_members n_batch"]
    forces: Float[Tensor, "n_members n_atoms 3"]
    weight: Float[Tensor, "n_members n_atoms"]
    owner: Int[Tensor, "n_members n_atoms"]
    structure_weight: Float[Tensor, "n_members n_batch"] | None = None
    energy_weight: Float[Tensor, "n_members n_batch"] | None = None
    virial: Float[Tensor, "n_members n_batch 3 3"] | None = None
    virial_weight: Float[Tensor, "n_members n_batch"] | None = None

    @property
    def positions(self) -> Float[Tensor, "n_members n_atoms 3"]:
        """Positions of each member's atoms, in Å."""
        return self._field("positions")

    @property
    def cells(self) -> Float[Tensor, "n_members n_structures 3 3"]:
        """Lattice vectors of each member's structures, in Å, where members have structures of their own."""
        return self._field("cells")

    def _field(self, name: str) -> Tensor:
        values = self.per_member[name]
        assert isinstance(values, Tensor)
        return values

    def part(self, members: slice, structures: slice, atoms: slice) -> "Batch":
        """Labels of some members' structures, where all members share their edges, and their geometry for virials."""
        part = self._replace(
            energy=self.energy[members, structures],
            forces=self.forces[members, atoms],
            weight=self.weight[members, atoms],
            owner=self.owner[members, atoms] - structures.start,
            structure_weight=None if self.structure_weight is None else self.structure_weight[members, structures],
            energy_weight=None if self.energy_weight is None else self.energy_weight[members, structures],
        )
        if self.virial is None or self.virial_weight is None:
            return part
        geometry = {"positions": self.positions[members, atoms], "cells": self.cells[members, structures]}
        rows = self.virial[members, structures], self.virial_weight[members, structures]
        return part._replace(per_member=geometry, virial=rows[0], virial_weight=rows[1])
