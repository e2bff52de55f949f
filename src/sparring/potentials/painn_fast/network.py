"""PaiNN for all members at once, as a function of the vectors from atoms to their neighbours."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sparring.potentials.painn_fast.basis import basis
from sparring.potentials.painn_fast.dense import Dense
from sparring.potentials.painn_fast.features import Table
from sparring.potentials.painn_fast.messages import messages
from sparring.potentials.painn_fast.sources import sources
from sparring.potentials.painn_fast.updates import updated
from sparring.units import KCAL_PER_MOL

__all__ = ["StackedPaiNN"]


class StackedPaiNN:
    """PaiNNs of one architecture, see :class:`sparring.PaiNN` for the equations.

    Args:
        weights: Parameters and buffers, each with a leading axis of members.
        n_interactions: Number of layers.
        n_radial: Number of radial basis functions.
        cutoff: Largest distance at which atoms interact, in Å.
        reference_energies: True if elements have energies of their own.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        n_interactions: int,
        n_radial: int,
        cutoff: float,
        reference_energies: bool,
    ) -> None:
        self.weights = weights
        self.n_layers, self.n_radial, self.cutoff = n_interactions, n_radial, cutoff
        self.reference_energies = reference_energies

    def energy(
        self,
        vectors: Float[Tensor, "n_members 3 n_entries"],
        table: Table,
        atomic_numbers: Int[Tensor, " n_atoms"],
    ) -> Float[Tensor, "n_members n_atoms"]:
        """Energy of every atom in eV, in the order of the table, in double precision.

        Args:
            vectors: Vectors from atoms to their neighbours, in Å.
            table: Table of these neighbours.
            atomic_numbers: Elements of the atoms, in the order of the table.
        """
        features = basis(vectors, table, n_radial=self.n_radial, cutoff=self.cutoff)
        scalars, vector = self.weights["embedding.weight"].index_select(1, atomic_numbers), None
        for layer in range(self.n_layers):
            source = sources(self._dense(f"messages.{layer}.phi"), scalars, vector)
            delta_s, delta_v = messages(table, source, features, self._filter(layer))
            scalars, vector = scalars + delta_s, delta_v if vector is None else vector + delta_v
            mix, a = self.weights[f"updates.{layer}.mix.weight"], self._dense(f"updates.{layer}.a")
            scalars, vector = updated(mix, a, scalars, vector, last=layer == self.n_layers - 1)
        readout = self._dense("readout")
        (atoms,) = readout.parts(functional.silu(readout.hidden(scalars)), 1, (0,))
        atoms = atoms.squeeze(-1).double() * KCAL_PER_MOL
        if self.reference_energies:
            atoms = atoms + self.weights["atomic_energy"].index_select(1, atomic_numbers)
        return atoms

    def _filter(self, layer: int) -> Float[Tensor, "n_members n_filters n_basis"]:
        name = f"messages.{layer}.filter"
        return torch.cat([self.weights[f"{name}.weight"], self.weights[f"{name}.bias"].unsqueeze(-1)], dim=2)

    def _dense(self, name: str) -> Dense:
        return Dense(*(self.weights[f"{name}.{layer}.{kind}"] for layer in (0, 2) for kind in ("weight", "bias")))
