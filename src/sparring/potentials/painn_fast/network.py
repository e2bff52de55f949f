"""PaiNN for all members at once, as a function of the vectors from atoms to their neighbours."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sparring.potentials.painn_fast.messages import Basis, Source, messages
from sparring.potentials.painn_fast.pair_table import PairTable
from sparring.potentials.repulsion import smooth_envelope
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
        table: PairTable,
        atomic_numbers: Int[Tensor, " n_atoms"],
    ) -> Float[Tensor, "n_members n_atoms"]:
        """Energy of every atom in eV, in the order of the table, in double precision.

        Args:
            vectors: Vectors from atoms to their neighbours, in Å.
            table: Table of these neighbours.
            atomic_numbers: Elements of the atoms, in the order of the table.
        """
        basis = self.basis(vectors, table)
        scalars, vector = self.weights["embedding.weight"].index_select(1, atomic_numbers), None
        for layer in range(self.n_layers):
            source = self._source(layer, scalars, vector)
            delta_s, delta_v = messages(table, source, basis, self._filter(layer))
            scalars, vector = scalars + delta_s, delta_v if vector is None else vector + delta_v
            delta_s, delta_v = self._update(layer, scalars, vector)
            scalars, vector = scalars + delta_s, vector + delta_v
        atoms = self._mlp("readout", scalars)[0].squeeze(-1).double() * KCAL_PER_MOL
        if self.reference_energies:
            atoms = atoms + self.weights["atomic_energy"].index_select(1, atomic_numbers)
        return atoms

    def basis(self, vectors: Float[Tensor, "n_members 3 n_entries"], table: PairTable) -> Basis:
        """Radial basis and a one for the bias of the filters, both times the envelope; zero in empty entries."""
        distance = vectors.square().sum(1).sqrt()
        envelope = smooth_envelope(distance / self.cutoff)
        if table.filled is not None:
            envelope = envelope * table.filled
        n = torch.arange(1, self.n_radial + 1, dtype=distance.dtype, device=distance.device)
        sines = torch.sin(distance.unsqueeze(-1) * (n * (math.pi / self.cutoff)))
        radial = sines * (envelope / distance * math.sqrt(2 / self.cutoff)).unsqueeze(-1)
        q = torch.cat([radial, envelope.unsqueeze(-1)], dim=-1)
        return Basis(q, q.unsqueeze(1) * (vectors / distance.unsqueeze(1)).unsqueeze(-1))

    def _source(self, layer: int, scalars: Tensor, vector: Tensor | None) -> Source:
        p, vv, r = self._mlp(f"messages.{layer}.phi", scalars, 3)
        return Source(p, r, None if vector is None else vector * vv.unsqueeze(1))

    def _filter(self, layer: int) -> Float[Tensor, "n_members 3_f n_basis"]:
        name = f"messages.{layer}.filter"
        return torch.cat([self.weights[f"{name}.weight"], self.weights[f"{name}.bias"].unsqueeze(-1)], dim=2)

    def _update(self, layer: int, scalars: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        flat = vector.flatten(1, 2)
        u, v = (
            torch.bmm(flat, matrix.mT).view_as(vector)
            for matrix in self.weights[f"updates.{layer}.mix.weight"].chunk(2, dim=1)
        )
        square = v.square().sum(1)
        norm = square / (1 + (1 + square).sqrt())
        a_ss, a_sv, a_vv = self._mlp(f"updates.{layer}.a", torch.cat([scalars, norm], dim=-1), 3)
        return a_ss + a_sv * (u * v).sum(1), a_vv.unsqueeze(1) * u

    def _mlp(self, name: str, x: Tensor, n_parts: int = 1) -> tuple[Tensor, ...]:
        """Two dense layers; the result in equal parts of its columns."""
        weights = self.weights
        hidden = torch.baddbmm(weights[f"{name}.0.bias"].unsqueeze(1), x, weights[f"{name}.0.weight"].mT)
        hidden = functional.silu(hidden)
        parts = zip(*(weights[f"{name}.2.{kind}"].chunk(n_parts, dim=1) for kind in ("bias", "weight")), strict=True)
        return tuple(torch.baddbmm(bias.unsqueeze(1), hidden, weight.mT) for bias, weight in parts)
