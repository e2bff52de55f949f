r"""Objectives that seek holes: geometries with bonds intact whose mean energy is lower than the data allow.

Dynamics flows into holes, and the members of a committee often agree there, so that attacks on their disagreement miss
them. The energy of a geometry is compared with a lower bound that the labels set, its floor:

.. math::
    V(X) = \tfrac12 \sum_p K_p x_p^2, \qquad x_p = \frac{d_p - d^\circ_p}{\max(d_p, d^\circ_p)}, \qquad
    U = \frac{V}{2} + \frac{R}{2} \left(1 - e^{-V/R}\right), \qquad
    \text{floor}(X) = U(X) + \min_{A \in \mathcal D} \left(E_A - U(A)\right)

======================  ==========================================================
:math:`d_p`             distance of two atoms that are bonded, or at both ends of an angle
:math:`d^\circ_p`       its mean over the data
:math:`K_p`             force constant in eV, at least zero, by least squares to the forces of the data
:math:`\mathcal D`      labels of the molecule that are at most R above the lowest one
:math:`f`               internal degrees of freedom, as in :class:`sparring.proposers.boltzmann.Boltzmann`
:math:`R`               reach of a temperature, :math:`f\,kT/2 + 4 \sqrt{f/2}\,kT`: the expected potential energy, and
                        four standard deviations
======================  ==========================================================

V is the strain of bonds and angles. Stretched, x is the coordinate of Simons, Parr and Finlan (1973,
doi:10.1063/1.1680161), in which the energy of a bond is nearly harmonic up to its dissociation; compressed, it is the
usual one, which has the lower energy. Beyond what the data have sampled, strain counts half (U): bonds soften, and a
bond that is stretched also stretches the 1,3 distances across it. In ethanol (GFN2-xTB) attacks on V itself found
geometries with two thirds of it. No label within reach lies below its own floor.

A floor at one energy for all geometries would not do: lowest label plus f kT/2 lies above the minimum, and the lowest
label alone does too, since snapshots at a temperature T are about f kT/2 above it; attacks would relax the molecule.
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.molecule_tables import MoleculeTables, valence_pairs
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.boltzmann import AMMONIA_DEGREES_OF_FREEDOM, relative_size
from sparring.proposers.objectives import Term
from sparring.units import kT

__all__ = ["EnergyFloor", "below_floor", "reachable"]

N_DEVIATIONS = 4
"""Standard deviations of the potential energy that dynamics reaches above its mean."""
RIDGE = 1e-6
"""Precision of force constants about which the data say nothing, as a part of the largest: they become zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EnergyFloor:
    """Lower bound of the energy of a geometry, from the labels of its molecule.

    Attributes:
        temperature: Temperature in K.
        tables: Bonds and angles of each molecule; none for crystals, whose floor is their lowest label.
        lengths: Means of the distances over the data, in Å.
        constants: Force constants K in eV; 0 where there is no pair.
        lowest: Lowest label less its strain, in eV.
    """

    temperature: float
    tables: MoleculeTables
    lengths: Float[Tensor, "n_molecules n_pairs"]
    constants: Float[Tensor, "n_molecules n_pairs"]
    lowest: Float[Tensor, " n_molecules"]

    @classmethod
    def from_dataset(cls, temperature: float, reference: Dataset) -> "EnergyFloor":
        """Fit the force constants, and find the lowest label.

        Raises:
            ValueError: If the temperature is not positive.
        """
        if not 0 < temperature < math.inf:
            raise ValueError(f"the temperature of the floor must be positive, got {temperature} K")
        tables = MoleculeTables.of(reference, valence_pairs)
        if reference.force_mask is not None:
            reference = reference.take(reference.has_energy.nonzero().flatten().tolist())
        structures, energy = reference.structures, reference.energy
        rows = tables.rows(structures)
        distances = tables.distances(structures, rows)
        reach = _reach(structures, temperature)
        lengths, constants = torch.ones_like(tables.lengths), torch.zeros_like(tables.lengths)
        lowest = energy.new_zeros(len(lengths))
        for row in range(len(lengths)):
            own = (rows == row).nonzero().squeeze(1)
            own = own[energy[own] <= energy[own].min() + reach[own]]
            n_pairs = int(tables.present[row].sum())
            lengths[row] = distances[own].mean(0)
            if n_pairs:
                constants[row, :n_pairs] = _constants(
                    reference.take(own.tolist()), tables.pairs[row, :n_pairs], lengths[row, :n_pairs]
                )
            strain = _strain(distances[own], lengths[row], constants[row], reach[own])
            lowest[row] = (energy[own] - strain).min()
        return cls(temperature=temperature, tables=tables, lengths=lengths, constants=constants, lowest=lowest)

    def __call__(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Floor of every structure in eV; NaN for a molecule that the data do not have."""
        own = self.to(structures.positions.device)
        rows = own.tables.rows(structures)
        known = rows.clamp(min=0)
        distances = own.tables.distances(structures, rows)
        lengths, constants = own.lengths.index_select(0, known), own.constants.index_select(0, known)
        return own._lowest(rows) + _strain(distances, lengths, constants, _reach(structures, self.temperature))

    def unstrained(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Floor of geometries without strain in eV; NaN for a molecule that the data do not have."""
        own = self.to(structures.positions.device)
        return own._lowest(own.tables.rows(structures))

    def _lowest(self, rows: Int[Tensor, " n_structures"]) -> Float[Tensor, " n_structures"]:
        return torch.where(rows >= 0, self.lowest.index_select(0, rows.clamp(min=0)), torch.nan)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - kept on the device, so that no step of an attack copies it
    def to(self, device: torch.device) -> "EnergyFloor":
        """The same floor on another device."""
        values = {name: getattr(self, name).to(device) for name in ("tables", "lengths", "constants", "lowest")}
        return EnergyFloor(temperature=self.temperature, **values)


def below_floor(temperature: float, reference: Dataset) -> Term:
    r"""Depth of the committee's mean energy below the floor of a geometry, in units of the thermal energy.

    .. math:: \ln\left(1 + e^h\right), \qquad h = \frac{\text{floor}(X) - \bar E(X)}{f\,kT/2}

    It is near zero above the floor, and h far below it. Broken bonds are no holes, and holes at high energies harm no
    dynamics, so that it is combined with :func:`sparring.proposers.bond_window.bond_window` and :func:`reachable`:
    ``log(force_variance) + 2 * below_floor(300.0, data) + reachable(300.0, data) + bond_window(0.8, 1.3, data)``.

    Beyond the data the floor is an extrapolation. Torsions and contacts of atoms that are not bonded have none, so that
    it is too low there. A structure of a molecule that the data do not have gets NaN.

    Args:
        temperature: Temperature of the dynamics to come, in K.
        reference: Labelled structures.

    Raises:
        ValueError: If the temperature is not positive.
    """
    floor = EnergyFloor.from_dataset(temperature, reference)

    def depth(prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        thermal, _ = thermal_energy(structures, temperature)
        below = floor(structures) - prediction.energy.double().mean(0)
        return torch.nn.functional.softplus(below / thermal)

    return Term(name=f"below_floor({temperature:g} K)", score=depth)


def reachable(temperature: float, reference: Dataset) -> Term:
    r"""Penalty of mean energies that dynamics at a temperature does not reach: zero within reach, quadratic above.

    .. math:: -\left(\frac{\max(\bar E - E_0 - R, 0)}{\sqrt{f/2}\,kT}\right)^2, \qquad
        E_0 = \min_{A \in \mathcal D} \left(E_A - U(A)\right)

    The Boltzmann weight acts at all energies instead, and leads to the minimum. A structure of a molecule that the data
    do not have gets NaN.

    Args:
        temperature: Temperature of the dynamics to come, in K.
        reference: Labelled structures.

    Raises:
        ValueError: If the temperature is not positive.
    """
    floor = EnergyFloor.from_dataset(temperature, reference)

    def penalty(prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        above = prediction.energy.double().mean(0) - floor.unstrained(structures)
        _, deviation = thermal_energy(structures, temperature)
        return -((above - _reach(structures, temperature)).clamp(min=0.0) / deviation).square()

    return Term(name=f"reachable({temperature:g} K)", score=penalty)


def thermal_energy(
    structures: Structures, temperature: float
) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, " n_structures"]]:
    """Mean f kT/2 and standard deviation sqrt(f/2) kT of the potential energy above a harmonic minimum, in eV."""
    degrees_of_freedom = AMMONIA_DEGREES_OF_FREEDOM * relative_size(structures, "degree_of_freedom")
    return degrees_of_freedom * (kT(temperature) / 2), (degrees_of_freedom / 2).sqrt() * kT(temperature)


def _reach(structures: Structures, temperature: float) -> Float[Tensor, " n_structures"]:
    mean, deviation = thermal_energy(structures, temperature)
    return mean + N_DEVIATIONS * deviation


def _strain(
    distances: Float[Tensor, "n_structures n_pairs"],
    lengths: Float[Tensor, "*n_structures n_pairs"],
    constants: Float[Tensor, "*n_structures n_pairs"],
    reach: Float[Tensor, " n_structures"],
) -> Float[Tensor, " n_structures"]:
    """Strain of bonds and angles in eV, U of the module's docstring."""
    stretch = (distances - lengths) / torch.maximum(distances, lengths)
    harmonic = 0.5 * (constants * stretch.square()).sum(-1)
    return 0.5 * (harmonic - reach * torch.expm1(-harmonic / reach))


def _constants(
    dataset: Dataset, pairs: Int[Tensor, "n_pairs 2"], lengths: Float[Tensor, " n_pairs"]
) -> Float[Tensor, " n_pairs"]:
    """Force constants in eV of one molecule: non-negative least squares to its forces."""
    n_pairs, n_atoms = len(pairs), int(dataset.structures.counts[0])
    normal, right = torch.zeros(n_pairs, n_pairs, dtype=torch.float64), torch.zeros(n_pairs, dtype=torch.float64)
    positions = dataset.structures.positions.reshape(-1, n_atoms, 3)
    forces, known = dataset.forces.reshape(-1, n_atoms, 3), _known(dataset)
    first, second = pairs.T
    for geometry, force in zip(positions[known], forces[known], strict=True):
        vectors = geometry[second] - geometry[first]
        distance = vectors.square().sum(1).sqrt()
        longer = torch.maximum(distance, lengths)
        pull = ((distance - lengths) * lengths / (longer**3 * distance)).unsqueeze(1) * vectors
        rows = torch.zeros(n_pairs, n_atoms, 3, dtype=torch.float64)
        rows[torch.arange(n_pairs), first] = pull
        rows[torch.arange(n_pairs), second] = -pull
        slopes = rows.flatten(1)
        normal, right = normal + slopes @ slopes.T, right + slopes @ force.flatten()
    largest = float(normal.diagonal().max())
    if largest == 0:
        return right
    # |A k - F|² in the triangle of A^T A is the same but for a constant, and small however many structures there are.
    triangle = torch.linalg.cholesky(normal + RIDGE * largest * torch.eye(n_pairs, dtype=torch.float64)).T
    target = torch.linalg.solve_triangular(triangle.T, right.unsqueeze(1), upper=False).squeeze(1)
    return torch.as_tensor(nnls(triangle.numpy(), target.numpy())[0])


def _known(dataset: Dataset) -> Bool[Tensor, " n_structures"]:
    return torch.ones(len(dataset), dtype=torch.bool) if dataset.has_forces is None else dataset.has_forces
