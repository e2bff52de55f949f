"""The Boltzmann weight of a structure, which keeps attacks where structures are likely to be met (Eq. 11 to 13)."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.objectives import Objective, Term, exp
from sparring.units import GPA

__all__ = ["Boltzmann", "Per", "boltzmann", "boltzmann_weighted", "relative_size"]

Per = Literal["structure", "atom", "degree_of_freedom"]
"""Share of the energy that counts in the Boltzmann weight."""
AMMONIA_ATOMS, AMMONIA_DEGREES_OF_FREEDOM = 4, 6
"""The size of the molecule for which the paper chose kT = 20 kcal/mol."""


@dataclass(frozen=True, kw_only=True)
class Boltzmann:
    r"""Logarithm of the probability that a structure is met at a temperature, :math:`\ln p`.

    .. math:: \ln p(X) = -\bar E(X) / kT - \ln Q, \qquad Q = \sum_{\mathcal D} \exp(-E / kT)

    Eq. 11 and 12 of Schwalbe-Koda et al. (2021), with total energies. These grow with the number of atoms n, while
    :math:`\sigma_F^2` is a mean over atoms: in a large molecule the weight decides alone, and attacks become
    relaxations. With ``per`` other than "structure" E is counted per atom or per degree of freedom, in units of
    ammonia's, so that kT means in every structure what it means for the paper's ammonia:

    .. math:: E / kT \;\to\; E / (s\,kT), \qquad s = n / 4 \quad\text{or}\quad s = f / 6, \quad
        f = \max(3n - 6, 1), \text{ or } \max(3n - 3, 1) \text{ of what is periodic}

    At a pressure P the enthalpy E + PV takes the place of the energy, in the data, too: crystals whose cells may change
    are met with this probability (the ensemble of constant N, P and T). V is that of a structure periodic in all three
    directions, and zero for others. The components of the strain are degrees of freedom then, 6 of a crystal and 3 of a
    slab: f = 3n + 3 of a crystal.

    f degrees of freedom hold a thermal energy of f kT/2, so that a structure as hot as ammonia in every one of them has
    the same weight. Energies of molecules that differ in composition or charge
    share no zero, so each composition has a Q of its own, from the structures of the data set that have it. Everything
    is measured from the lowest energy of the composition, so that thousands of eV neither overflow nor drown the rest.

    A structure whose composition the data set does not have gets NaN.

    Attributes:
        kT: Thermal energy in eV.
        per: Share of the energy that counts: the total, or that of an atom or a degree of freedom.
        pressure: Pressure in eV/Å³ at which cells change; None for cells that stay.
        compositions: Number of atoms of each element, and the charge last; one row a composition.
        lowest: Lowest energy, or enthalpy, of each composition, in eV.
        log_partition: :math:`\ln Q` of each composition, measured from its lowest energy.
    """

    kT: float
    per: Per = "structure"
    pressure: float | None = None
    compositions: Int[Tensor, "n_compositions n_elements_and_charge"]
    lowest: Float[Tensor, " n_compositions"]
    log_partition: Float[Tensor, " n_compositions"]

    @classmethod
    def from_dataset(
        cls, kT: float, reference: Dataset, per: Per = "structure", pressure: float | None = None
    ) -> "Boltzmann":
        """Construct Q from labelled structures.

        Raises:
            ValueError: If kT is not positive, `per` is none of the three, or the pressure is not finite.
        """
        if not (kT > 0 and math.isfinite(kT)):
            raise ValueError(f"kT must be a positive energy in eV, got {kT}")
        if per not in get_args(Per):
            raise ValueError(f"energies count per {', '.join(get_args(Per))}, got per={per!r}")
        if pressure is not None and not math.isfinite(pressure):
            raise ValueError(f"the pressure must be finite, got {pressure} eV/Å³")
        rows = reference.structures.element_counts(int(reference.structures.atomic_numbers.max()) + 1)
        compositions, which = torch.unique(rows, dim=0, return_inverse=True)
        enthalpy = reference.energy + work(reference.structures, pressure)
        groups = [enthalpy[which == k] for k in range(len(compositions))]
        lowest = torch.stack([energies.min() for energies in groups])
        thermal = kT * relative_size(reference.structures, per, cells=pressure is not None)
        above = [(groups[k] - lowest[k]) / thermal[which == k] for k in range(len(compositions))]
        log_partition = torch.stack([torch.logsumexp(-energies, 0) for energies in above])
        return cls(
            kT=kT,
            per=per,
            pressure=pressure,
            compositions=compositions,
            lowest=lowest,
            log_partition=log_partition,
        )

    def __call__(self, prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Logarithm of p for every structure under the committee's mean energy."""
        device = prediction.energy.device
        rows = structures.element_counts(self.compositions.shape[1] - 1)
        same = (rows.unsqueeze(1) == self.compositions.to(device)).all(-1)
        # Rows of zeros where nothing matches would pass for an energy of zero; NaN marks an unknown composition.
        unknown = torch.where(same.any(1), 0.0, torch.nan)
        lowest = (same * self.lowest.to(device)).sum(1)
        log_partition = (same * self.log_partition.to(device)).sum(1) + unknown
        thermal = self.kT * relative_size(structures, self.per, cells=self.pressure is not None).to(device)
        enthalpy = prediction.energy.double().mean(0) + work(structures, self.pressure)
        return -(enthalpy - lowest) / thermal - log_partition


def work(structures: Structures, pressure: float | None) -> Float[Tensor, " n_structures"]:
    """Pressure times volume in eV, of structures that are periodic in all directions; zero for others."""
    whole = volumes(structures.cells.double()) * structures.pbc.all(1)
    return (pressure or 0.0) * whole


def relative_size(structures: Structures, per: Per, *, cells: bool = False) -> Float[Tensor, " n_structures"]:
    """Size of a structure relative to ammonia: by its atoms, by its degrees of freedom, or 1 for all.

    Args:
        structures: Structures.
        per: Measure of the size.
        cells: Flag to count strains of cells as degrees of freedom.
    """
    counts = structures.counts.double()
    if per == "structure":
        return torch.ones_like(counts)
    if per == "atom":
        return counts / AMMONIA_ATOMS
    # A crystal as a whole does not turn: three translations are all that leaves its energy as it is.
    rigid = torch.where(structures.pbc.any(1), 3.0, 6.0)
    n_fixed = torch.zeros_like(counts)
    if structures.fixed is not None:
        n_fixed = n_fixed.index_add(0, structures.structure_index, structures.fixed.double().sum(1))
        rigid = torch.where(n_fixed > 0, 0.0, rigid)  # a structure with fixed atoms does not move as a whole
    n_periodic = structures.pbc.double().sum(1)
    strains = n_periodic * (n_periodic + 1) / 2 if cells else 0.0
    return ((3 * counts - n_fixed - rigid).clamp(min=0.0) + strains).clamp(min=1.0) / AMMONIA_DEGREES_OF_FREEDOM


def boltzmann(kT: float, reference: Dataset, *, per: Per = "structure", pressure: float | None = None) -> Term:
    r"""The thermodynamic likelihood of a structure as a term: :math:`\ln p(X)` of Eq. 12 (see :class:`Boltzmann`).

    Args:
        kT: Thermal energy in eV; with `per` other than "structure", that of a molecule as large as ammonia.
        reference: Labelled structures for Q.
        per: Share of the energy that counts: the total as in the paper, or that of an "atom" or a "degree_of_freedom",
            so that kT means the same for structures of every size.
        pressure: Pressure in eV/Å³ for crystals whose cells are attacked; None for cells that stay.
    """
    size = "" if per == "structure" else f", per={per}"
    at = "" if pressure is None else f", pressure={pressure / GPA:.4g} GPa"
    weight = Boltzmann.from_dataset(kT, reference, per, pressure)
    return Term(name=f"boltzmann(kT={kT:.4g} eV{size}{at})", score=weight)


def boltzmann_weighted(
    objective: Objective, *, kT: float, reference: Dataset, per: Per = "structure", pressure: float | None = None
) -> Term:
    r"""An uncertainty weighted by how likely the structure is: :math:`p(X)\,\sigma^2(X)`, Eq. 13.

    Its logarithm, ``log(objective) + boltzmann(kT, reference)``, has its maxima in the same places.
    """
    return exp(boltzmann(kT, reference, per=per, pressure=pressure)) * objective
