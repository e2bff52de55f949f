"""Networks that know the directions of neighbours: the parts that ACE and PaiNN share."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.neighborhoods import EdgeList, Neighborhoods
from sparring.potentials.repulsion import pair_repulsion, smooth_envelope
from sparring.potentials.stacked import StackedModule

__all__ = ["Edge", "EquivariantNetwork", "bessel"]


class Edge(NamedTuple):
    """Geometry of all edges, with leading axes of members.

    Attributes:
        radial: Radial basis times the envelope, (..., n_edges, n_radial).
        envelope: One at zero distance and zero from the cutoff on, (..., n_edges, 1); zero in empty entries.
        unit: Unit vectors from an atom to its neighbour, (..., n_edges, 3).
    """

    radial: Tensor
    envelope: Tensor
    unit: Tensor


class EquivariantNetwork(Architecture):
    """A sum of energies of atoms, which depend on distances and directions within a cutoff.

    Modules are written for tensors with any leading axes, so that the same code evaluates one network, and all members
    of a committee, whose weights and positions then have an axis of members. Interactions end at the cutoff with three
    continuous derivatives. Energies are summed in double precision whatever the precision of the network.

    A subclass defines :meth:`atoms`.

    Args:
        n_features: Number of features of an atom.
        n_interactions: Number of layers.
        n_radial: Number of radial basis functions.
        cutoff: Largest distance at which atoms interact, in Å.
        reference_energies: True for elements with energies of their own, set by :func:`sparring.fit`.
        repulsion: True to add the repulsion of nuclei at distances below a bond length, see
            :func:`sparring.potentials.repulsion.pair_repulsion`.

    Raises:
        ValueError: If the cutoff is not positive, or there is no feature, layer or basis function.
    """

    cutoff: float
    atomic_energy: Tensor

    def __init__(
        self,
        *,
        n_features: int,
        n_interactions: int,
        n_radial: int,
        cutoff: float,
        reference_energies: bool,
        repulsion: bool,
    ) -> None:
        super().__init__()
        if not 0 < cutoff < math.inf:
            raise ValueError(f"the cutoff must be positive, got {cutoff} Å")
        if min(n_features, n_interactions, n_radial) < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one feature, one interaction and one radial basis function, got "
                f"n_features={n_features}, n_interactions={n_interactions}, n_radial={n_radial}"
            )
        self.hyperparameters = {
            "n_features": n_features,
            "n_interactions": n_interactions,
            "n_radial": n_radial,
            "cutoff": cutoff,
            "reference_energies": reference_energies,
            "repulsion": repulsion,
        }
        self.n_features, self.n_radial, self.cutoff = n_features, n_radial, cutoff
        self.reference_energies, self.repulsion = reference_energies, repulsion
        self.register_buffer("atomic_energy", torch.zeros(N_ELEMENTS, dtype=torch.float64))

    def atoms(self, structures: Structures, edge: Edge, neighborhoods: Neighborhoods) -> tuple[Tensor, Tensor]:
        """Energy of every atom without that of its element, in eV and double precision, and the features read for it.

        Args:
            structures: Batch of structures.
            edge: Geometry of the edges.
            neighborhoods: Neighbors of every atom.

        Returns:
            Energies, (..., n_atoms), and features, (..., n_atoms, n_values).
        """
        raise NotImplementedError(f"{type(self).__name__} needs atoms(structures, edge, neighborhoods)")

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energy of each element, in eV, by atomic number; ignored without ``reference_energies``."""
        if self.reference_energies:
            self.atomic_energy = energies.to(self.atomic_energy)

    def get_reference_energies(self) -> Float[Tensor, " n_elements"]:
        """The energy of each element, in eV, by atomic number."""
        return self.atomic_energy

    def stacked_model(self, weights: Mapping[str, Tensor]) -> StackedModule:
        """All members in one pass, on dense tables of neighbours."""
        return StackedModule(self, weights)

    def forward(
        self,
        structures: Structures,
        positions: Tensor | None = None,
        neighborhoods: Neighborhoods | None = None,
        cells: Tensor | None = None,
    ) -> Float[Tensor, "*members n_structures"]:
        """Energy of every structure in eV; the structures must have edges.

        Args:
            structures: Batch of structures.
            positions: Positions with leading axes of members, which weights then have, too; by default those of the
                structures.
            neighborhoods: Neighbors of every atom; by default the edges of the structures.
            cells: Lattice vectors, with leading axes of members if they have cells of their own; by default those of
                the structures.
        """
        positions = structures.positions if positions is None else positions
        return self._evaluated(structures, positions, structures.cells if cells is None else cells, neighborhoods)[0]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of every structure in eV, and the features of atoms that are read out as the energy."""
        return self._evaluated(structures, structures.positions, structures.cells, None)

    def edge(self, structures: Structures, positions: Tensor, cells: Tensor, neighborhoods: Neighborhoods) -> Edge:
        """Geometry of all edges."""
        vectors = neighborhoods.vectors(structures, positions, cells)
        distance = vectors.square().sum(-1).sqrt()
        envelope = smooth_envelope(distance / self.cutoff)
        if neighborhoods.filled is not None:
            envelope = envelope * neighborhoods.filled
        envelope = envelope.unsqueeze(-1)
        radial = bessel(distance, self.n_radial, self.cutoff) * envelope
        return Edge(radial, envelope, vectors / distance.unsqueeze(-1))

    def _evaluated(
        self, structures: Structures, positions: Tensor, cells: Tensor, neighborhoods: Neighborhoods | None
    ) -> tuple[Tensor, Tensor]:
        if structures.edges is None:
            raise ValueError(
                f"{type(self).__name__} needs edges; call neighbors.with_edges(structures, potential.cutoff) first"
            )
        around = neighborhoods or EdgeList(structures.edges, structures.n_atoms)
        atoms, features = self.atoms(structures, self.edge(structures, positions, cells, around), around)
        if self.reference_energies:
            atoms = atoms + self.atomic_energy.index_select(-1, structures.atomic_numbers)
        if self.repulsion:
            atoms = atoms + _repulsion(structures, positions, cells)
        zeros = atoms.new_zeros(*atoms.shape[:-1], structures.n_structures)
        return zeros.index_add(-1, structures.structure_index, atoms), features


def bessel(distance: Float[Tensor, "*n_edges"], n_radial: int, cutoff: float) -> Float[Tensor, "*n_edges n_radial"]:
    r"""Radial basis :math:`\sqrt{2 / r_c} \sin(n \pi d / r_c) / d` (Gasteiger et al., arXiv:2003.03123).

    Args:
        distance: Length of every edge, in Å.
        n_radial: Number of functions.
        cutoff: Distance :math:`r_c` at which all functions are zero, in Å.
    """
    n = torch.arange(1, n_radial + 1, dtype=distance.dtype, device=distance.device)
    d = distance.unsqueeze(-1)
    return math.sqrt(2 / cutoff) * torch.sin(n * (math.pi / cutoff) * d) / d


def _repulsion(structures: Structures, positions: Float[Tensor, "*members n_atoms 3"], cells: Tensor) -> Tensor:
    if positions.dim() == 2:
        return pair_repulsion(replace(structures, positions=positions, cells=cells))
    of_members = zip(positions, cells.expand(len(positions), *cells.shape[-3:]), strict=True)
    return torch.stack([_repulsion(structures, *of_member) for of_member in of_members])
